/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: where a kernel's switch over system calls leads to.
 *
 * Since 6.9 (and 6.1.90, 6.6.30) system calls are made by x64_sys_call() and ia32_sys_call(), a
 * switch that compilers turn into a tree of comparisons with jumps at its leaves; the tables are
 * read by tracing only. Each number is followed through that tree.
 */
#ifndef VMI_DISPATCH_H
#define VMI_DISPATCH_H

#include "code.h"

#define VMI_DISPATCH_BYTES (64u << 10) /* no such function is larger */

struct vmi_dispatch {
	uint64_t start;
	size_t bytes;
	uint32_t max; /* the largest number that is compared with */
	uint8_t text[VMI_DISPATCH_BYTES];
};

/* Copies the text of function `name`. -ENOENT: this kernel has none. */
int vmi_dispatch_load(struct vmi_dispatch *d, struct vmi_walk *w, const char *name);

/*
 * The function that is called for `nr`: 0 with `*target`; -EINVAL: the text there is not such a
 * tree (`*target` is then where it stopped to be one).
 */
int vmi_dispatch_target(const struct vmi_dispatch *d, uint32_t nr, uint64_t *target);

#endif /* VMI_DISPATCH_H */
