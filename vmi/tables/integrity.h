/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/tables: what the checks of the table `integrity` share. */
#ifndef VMI_INTEGRITY_H
#define VMI_INTEGRITY_H

#include "code.h"
#include "text.h"

struct vmi_integrity {
	struct vmi_rows *r;
	struct vmi_walk *w;
	struct vmi_guest *g;
	struct vmi_code *c;
	struct vmi_sites sites; /* loaded by vmi_integrity_sites() */
	bool has_sites;
	bool enough; /* no more rows are wanted */
	const char *check; /* the one that runs */
	unsigned int bad, unknown; /* its verdicts so far */
};

/* Each returns 0 or a negative errno value, after verdicts for what is bad or cannot be told. */
int vmi_check_syscalls(struct vmi_integrity *v);
int vmi_check_idt(struct vmi_integrity *v);
int vmi_check_registers(struct vmi_integrity *v);
int vmi_check_permissions(struct vmi_integrity *v);
int vmi_check_ftrace(struct vmi_integrity *v);
int vmi_check_kprobes(struct vmi_integrity *v);
int vmi_check_constants(struct vmi_integrity *v);
int vmi_check_branches(struct vmi_integrity *v);
int vmi_check_text(struct vmi_integrity *v);
int vmi_check_modules(struct vmi_integrity *v);
int vmi_check_tasks(struct vmi_integrity *v);
int vmi_check_credentials(struct vmi_integrity *v);

/* A row; true: no more are wanted. */
bool vmi_bad(struct vmi_integrity *v, const char *subject, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
bool vmi_unknown(struct vmi_integrity *v, const char *subject, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The row of a check, or a part of it, without a finding; not made where one was bad. */
bool vmi_fine(struct vmi_integrity *v, const char *subject, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

int vmi_integrity_sites(struct vmi_integrity *v);

/* "vfs_read+0x10", or "0xffff..., where no code is known": for evidence. */
const char *vmi_integrity_name(struct vmi_integrity *v, uint64_t addr, char *buf, size_t size);

/* An address that the kernel may call: its own, a module's, or what it generated. */
static inline bool vmi_integrity_known(const struct vmi_integrity *v, uint64_t addr)
{
	return vmi_code_kind(v->c, addr) != VMI_CODE_UNKNOWN;
}

#endif /* VMI_INTEGRITY_H */
