/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: the kernel's text, and where the kernel itself changes it while it runs.
 */
#ifndef VMI_TEXT_H
#define VMI_TEXT_H

#include "code.h"

enum vmi_site_kind {
	VMI_SITE_JUMP_LABEL, /* a static branch: a jump or a nop, 2 or 5 bytes */
	/* A call or jump that is aimed anew, 5 bytes, 6 of a conditional one. */
	VMI_SITE_STATIC_CALL,
	VMI_SITE_TRAMPOLINE, /* of a static call: a jump or a return, 5 bytes */
	VMI_SITE_FTRACE, /* a call or a nop, 5 bytes */
	VMI_SITE_KPROBE, /* a breakpoint, 1 byte, or a jump, 5 bytes */
};

struct vmi_site {
	uint64_t addr;
	uint8_t len;
	uint8_t kind; /* enum vmi_site_kind */
};

/* All sites of the kernel and its modules, by address; they may overlap. */
struct vmi_sites {
	struct vmi_site *v;
	size_t n, room;
};

/* 0 or a negative errno value; what this kernel has not is not there. To be freed all the same. */
int vmi_sites_load(struct vmi_sites *s, struct vmi_walk *w, struct vmi_code *c);
void vmi_sites_free(struct vmi_sites *s);

/* The first site that ends behind `addr`. */
size_t vmi_sites_from(const struct vmi_sites *s, uint64_t addr);
/* A site of one of the kinds (a mask of 1 << kind) that begins at `addr`, NULL = none. */
const struct vmi_site *vmi_site_at(const struct vmi_sites *s, uint64_t addr, unsigned int kinds);

#endif /* VMI_TEXT_H */
