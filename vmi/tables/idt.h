/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/tables: the interrupt descriptor table, for the table and for the verdicts about
 * it. */
#ifndef VMI_IDT_H
#define VMI_IDT_H

#include "code.h"

#define VMI_IDT_GATES 256
#define VMI_IDT_BYTES (VMI_IDT_GATES * 16)

struct vmi_gate {
	uint64_t offset; /* of the handler */
	uint16_t selector;
	uint8_t ist, type, dpl; /* type: 14 = interrupt, 15 = trap */
	bool present;
};

/* The first `n` gates of the table at `gva`. 0 or a negative errno value. */
int vmi_idt_read(struct vmi_walk *w, uint64_t gva, struct vmi_gate *out, unsigned int n);

/*
 * Is a handler called `symbol` (exactly there) what Linux sets up for the vector? 1, 0.
 * `offset` is how far behind the symbol the handler is.
 */
int vmi_idt_expected(unsigned int vector, const char *symbol, uint64_t offset);

#endif /* VMI_IDT_H */
