/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interrupt descriptor table (SDM vol. 3, 6.14.1) that Linux sets up for all CPUs
 * (arch/x86/kernel/idt.c). Whether each CPU uses this one is a matter of its IDTR: see integrity.
 */
#include <errno.h>
#include <string.h>

#include "idt.h"

enum {
	COL_VECTOR,
	COL_OFFSET,
	COL_SELECTOR,
	COL_IST,
	COL_DPL,
	COL_TYPE,
	COL_PRESENT,
	COL_SYMBOL,
	COL_MODULE,
	COL_EXPECTED,
};

static const struct vmi_column columns[] = {
	[COL_VECTOR] = { "vector", VMI_INTEGER, "0 to 255" },
	[COL_OFFSET] = { "offset", VMI_TEXT, "address of the handler" },
	[COL_SELECTOR] = { "selector", VMI_INTEGER, "code segment" },
	[COL_IST] = { "ist", VMI_INTEGER, "entry in the interrupt stack table; 0 = none" },
	[COL_DPL] = { "dpl", VMI_INTEGER, "who may call it by INT n: 0 = the kernel, 3 = anybody" },
	[COL_TYPE] = { "type", VMI_TEXT, "interrupt or trap" },
	[COL_PRESENT] = { "present", VMI_INTEGER, "1: in use" },
	[COL_SYMBOL] = { "symbol", VMI_TEXT, "the handler's name; NULL = no known code" },
	[COL_MODULE] = { "module", VMI_TEXT, "the module that it is in; NULL = the kernel" },
	[COL_EXPECTED] = { "expected", VMI_INTEGER, "1: such a handler is to be there; 0: not" },
};

#define TYPE_INTERRUPT 14
#define TYPE_TRAP      15

int vmi_idt_read(struct vmi_walk *w, uint64_t gva, struct vmi_gate *out, unsigned int n)
{
	uint8_t raw[VMI_IDT_BYTES];
	int err;

	if (n > VMI_IDT_GATES)
		return -E2BIG;
	err = vmi_read(w, gva, raw, n * 16);
	if (err)
		return err;
	for (unsigned int i = 0; i < n; i++) {
		uint64_t lo, hi;

		memcpy(&lo, raw + i * 16, 8);
		memcpy(&hi, raw + i * 16 + 8, 8);
		out[i].offset = (lo & 0xffff) | (lo >> 32 & 0xffff0000) | hi << 32;
		out[i].selector = lo >> 16 & 0xffff;
		out[i].ist = lo >> 32 & 7;
		out[i].type = lo >> 40 & 15;
		out[i].dpl = lo >> 45 & 3;
		out[i].present = lo >> 47 & 1;
	}
	return 0;
}

/* The exceptions' names (arch/x86/include/asm/idtentry.h); "" is free for Linux' own use. */
static const char *const exceptions[32] = {
	"divide_error",
	"debug",
	"nmi",
	"int3",
	"overflow",
	"bounds",
	"invalid_op",
	"device_not_available",
	"double_fault",
	"coproc_segment_overrun",
	"invalid_tss",
	"segment_not_present",
	"stack_segment",
	"general_protection",
	"page_fault",
	"spurious_interrupt_bug",
	"coprocessor_error",
	"alignment_check",
	"machine_check",
	"simd_coprocessor_error",
	[21] = "control_protection",
	[29] = "vmm_communication",
};

int vmi_idt_expected(unsigned int vector, const char *symbol, uint64_t offset)
{
	static const char prefix[] = "asm_exc_";

	/*
	 * Stubs, one behind the other, for interrupts of devices and those that nobody waits for.
	 */
	if (vector >= 32 &&
	    (!strcmp(symbol, "irq_entries_start") || !strcmp(symbol, "spurious_entries_start")))
		return 1;
	/*
	 * What no CPU raises, or this kernel was built without, keeps the stub of the early boot.
	 */
	if (!strcmp(symbol, "early_idt_handler_array"))
		return vector < 32 && (vector > 19 || !exceptions[vector]);
	if (offset)
		return 0;
	if (!strncmp(symbol, "xen_", 4))
		symbol += 4;
	if (vector == 0x80) /* the old way of system calls of 32 bits */
		return !strcmp(symbol, "asm_int80_emulation") ||
		       !strcmp(symbol, "entry_INT80_compat") || !strncmp(symbol, "asm_sysvec_", 11);
	if (vector >= 32)
		return !strncmp(symbol, "asm_sysvec_", 11);
	if (strncmp(symbol, prefix, sizeof(prefix) - 1))
		return 0;
	return exceptions[vector] ? !strcmp(symbol + sizeof(prefix) - 1, exceptions[vector]) : 1;
}

static void handler(struct vmi_rows *r, struct vmi_code *c, unsigned int vector,
		    const struct vmi_gate *g)
{
	const char *symbol, *module;
	uint64_t offset;
	char text[256];

	if (vmi_code_symbol(c, g->offset, &symbol, &offset, &module)) {
		vmi_int(r, COL_EXPECTED, 0);
		return;
	}
	vmi_code_name(c, g->offset, true, text, sizeof(text));
	vmi_str(r, COL_SYMBOL, text);
	if (*module)
		vmi_str(r, COL_MODULE, module);
	vmi_int(r, COL_EXPECTED, !*module && vmi_idt_expected(vector, symbol, offset));
}

static int rows(struct vmi_rows *r)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	uint64_t table = vmi_sym(w->guest, "idt_table");
	struct vmi_gate gate[VMI_IDT_GATES];
	struct vmi_code *c;

	if (!table)
		return vmi_rows_error(r, "idt_table is not among the kernel's symbols "
					 "(CONFIG_KALLSYMS_ALL)");
	if (vmi_idt_read(w, table, gate, VMI_IDT_GATES))
		return vmi_rows_error(r, "idt_table cannot be read");
	if (vmi_code_open(&c, w))
		return vmi_rows_error(r, "the map of the kernel's code cannot be made");
	for (unsigned int i = 0; i < VMI_IDT_GATES; i++) {
		const struct vmi_gate *g = &gate[i];

		vmi_row(r);
		vmi_int(r, COL_VECTOR, i);
		vmi_int(r, COL_PRESENT, g->present);
		if (g->present) {
			vmi_hex(r, COL_OFFSET, g->offset);
			vmi_int(r, COL_SELECTOR, g->selector);
			vmi_int(r, COL_IST, g->ist);
			vmi_int(r, COL_DPL, g->dpl);
			vmi_str(r, COL_TYPE,
				g->type == TYPE_INTERRUPT ? "interrupt"
				: g->type == TYPE_TRAP	  ? "trap"
							  : NULL);
			handler(r, c, i, g);
		}
		if (vmi_row_end(r))
			break;
	}
	vmi_code_close(c);
	return 0;
}

const struct vmi_table vmi_table_idt = {
	.name = "idt",
	.doc = "The guest's interrupt descriptor table: which code is entered for each vector.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_SYMBOLS,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
