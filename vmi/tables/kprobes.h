/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: kprobes (include/linux/kprobes.h), for their table and for the verdicts.
 */
#ifndef VMI_KPROBES_H
#define VMI_KPROBES_H

#include "code.h"

enum { /* kprobe.flags */
       VMI_KPROBE_GONE = 1,
       VMI_KPROBE_DISABLED = 2,
       VMI_KPROBE_OPTIMIZED = 4,
       VMI_KPROBE_FTRACE = 8,
};

struct vmi_kprobe {
	uint64_t gva, addr;
	uint64_t pre, post; /* handlers; 0 = none */
	uint64_t ret; /* of a kretprobe: its handler */
	uint32_t flags; /* of the probe that is armed, where several share an address */
	uint32_t own; /* its own */
	uint64_t missed;
	uint8_t opcode; /* the first byte of what it replaced */
	char symbol[128]; /* as the one who set it named the place; "" = by address */
	uint32_t offset;
	bool aggregate; /* stands for several, which follow; not for one who set it */
	bool returns;
};

/* 0; -ENOENT: this kernel has no kprobes. `fn` returns true when it has enough. */
int vmi_kprobes(struct vmi_walk *w, bool (*fn)(void *arg, const struct vmi_kprobe *k), void *arg);

#endif /* VMI_KPROBES_H */
