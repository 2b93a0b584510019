/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: ftrace (include/linux/ftrace.h): who is called, and which functions call.
 */
#ifndef VMI_FTRACE_HOOKS_H
#define VMI_FTRACE_HOOKS_H

#include "code.h"

/* A struct ftrace_ops: somebody who wants to be called. */
struct vmi_ftrace_ops {
	uint64_t gva, func, trampoline, flags;
	uint64_t filter; /* its struct ftrace_hash of the functions it wants; 0 = all */
	uint64_t functions; /* how many those are; 0 = all */
};

/*
 * A place where a function calls ftrace, or a nop that can become such a call (struct dyn_ftrace).
 */
struct vmi_ftrace_site {
	uint64_t ip, flags;
};

#define VMI_FTRACE_SITE_BYTES 5

struct vmi_ftrace {
	struct vmi_walk *w;
	struct vmi_field func, next, flags, trampoline, func_hash, filter_hash;
	struct vmi_field hash_count, hash_bits, hash_buckets, entry_node, entry_ip, entry_direct;
	struct vmi_field page_next, page_records, page_index, rec_ip, rec_flags;
	uint32_t rec_size;
	uint64_t enabled, count_mask; /* of the flags of a site */
};

/* 0; -ENOENT: no dynamic ftrace, or not understood. */
int vmi_ftrace_open(struct vmi_ftrace *f, struct vmi_walk *w);

/* Each of the list; `fn` returns true when it has enough. */
void vmi_ftrace_each_ops(struct vmi_ftrace *f,
			 bool (*fn)(void *arg, const struct vmi_ftrace_ops *o), void *arg);

/* Each site, those of modules too. 0; -ENOMEM. */
int vmi_ftrace_each_site(struct vmi_ftrace *f,
			 bool (*fn)(void *arg, const struct vmi_ftrace_site *s), void *arg);

/* Each function of a hash. `direct`: see direct_functions. */
void vmi_ftrace_each_entry(struct vmi_ftrace *f, uint64_t hash,
			   bool (*fn)(void *arg, uint64_t ip, uint64_t direct), void *arg);

/* "ENABLED DYNAMIC ...": names of the bits in flags of ops, and of a site. */
void vmi_ftrace_ops_flags(const struct vmi_guest *g, uint64_t flags, char *buf, size_t size);
void vmi_ftrace_site_flags(const struct vmi_guest *g, uint64_t flags, char *buf, size_t size);

#endif /* VMI_FTRACE_HOOKS_H */
