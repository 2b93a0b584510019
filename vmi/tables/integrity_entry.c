/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * integrity: where the kernel is entered: system calls, interrupts, and the registers that say so.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "idt.h"
#include "integrity.h"
#include "syscall_table.h"

struct syscalls {
	struct vmi_integrity *v;
	unsigned int n;
	const char *abi; /* whose calls are counted */
};

static bool summary(struct syscalls *s)
{
	unsigned int bad = s->v->bad;

	if (!s->abi || bad)
		return false;
	return vmi_fine(s->v, s->abi, "%u system calls lead to the functions that they should",
			s->n);
}

/* One that is not what it should be; the same text for table and switch. */
static bool wrong(struct syscalls *s, const struct vmi_syscall *c, const char *subject,
		  uint64_t addr, const char *where)
{
	const char *symbol, *module;
	char name[256];
	uint64_t offset;

	vmi_integrity_name(s->v, addr, name, sizeof(name));
	if (vmi_code_kind(s->v->c, addr) != VMI_CODE_KERNEL ||
	    vmi_code_symbol(s->v->c, addr, &symbol, &offset, &module))
		return vmi_bad(s->v, subject, "%s leads to %s", where, name);
	if (offset || vmi_syscall_expected(c, symbol) == 0)
		return vmi_bad(s->v, subject, "%s leads to %s, which is another function", where,
			       name);
	return false;
}

static bool syscall_(void *arg, const struct vmi_syscall *c)
{
	struct syscalls *s = arg;
	char subject[96], table[128], dispatch[128];

	if (!s->abi || strcmp(s->abi, c->abi)) {
		if (summary(s))
			return true;
		s->abi = c->abi;
		s->n = 0;
	}
	s->n++;
	snprintf(subject, sizeof(subject), "%s %u %s", c->abi, c->nr, c->name ? c->name : "");
	if (c->table && wrong(s, c, subject, c->table, "the table"))
		return true;
	if (c->odd)
		return vmi_bad(s->v, subject,
			       "the switch over system calls is no tree of comparisons "
			       "any more at 0x%016llx",
			       (unsigned long long)c->stopped);
	if (!c->dispatch)
		return false;
	if (wrong(s, c, subject, c->dispatch, "the switch"))
		return true;
	if (c->table && c->table != c->dispatch && !s->v->bad)
		return vmi_bad(s->v, subject, "the table leads to %s, the switch to %s",
			       vmi_integrity_name(s->v, c->table, table, sizeof(table)),
			       vmi_integrity_name(s->v, c->dispatch, dispatch, sizeof(dispatch)));
	return false;
}

int vmi_check_syscalls(struct vmi_integrity *v)
{
	struct syscalls s = { .v = v };
	int err = vmi_syscalls(v->w, syscall_, &s);

	if (err == -ENOENT) {
		vmi_unknown(v, "",
			    "neither a table of system calls nor a switch over them is among the "
			    "kernel's symbols");
		return 0;
	}
	if (!err)
		summary(&s);
	return err;
}

int vmi_check_idt(struct vmi_integrity *v)
{
	struct vmi_gate gate[VMI_IDT_GATES];
	uint64_t table = vmi_sym(v->g, "idt_table");
	unsigned int present = 0;

	if (!table || vmi_idt_read(v->w, table, gate, VMI_IDT_GATES)) {
		vmi_unknown(v, "",
			    "idt_table is not among the kernel's symbols, or cannot be read");
		return 0;
	}
	for (unsigned int i = 0; i < VMI_IDT_GATES; i++) {
		const char *symbol = "", *module = "";
		char subject[32], name[256];
		uint64_t offset = 0;
		bool known;

		if (!gate[i].present)
			continue;
		present++;
		known = !vmi_code_symbol(v->c, gate[i].offset, &symbol, &offset, &module);
		if (known && !*module && vmi_idt_expected(i, symbol, offset))
			continue;
		snprintf(subject, sizeof(subject), "vector %u", i);
		if (vmi_bad(v, subject, "the gate leads to %s",
			    vmi_integrity_name(v, gate[i].offset, name, sizeof(name))))
			return 0;
	}
	if (!v->bad)
		vmi_fine(v, "", "%u gates lead to the kernel's entries", present);
	return 0;
}

/* The IDTR holds the address of a read-only alias of idt_table: both lead to the same memory. */
static bool check_idtr(struct vmi_integrity *v, const struct vmi_vcpu *c, const char *subject)
{
	uint64_t table = vmi_sym(v->g, "idt_table"), a, b, left;

	if (!(c->known & VMI_REG_DTR) || !table)
		return vmi_unknown(v, subject, "its IDTR is not known");
	if (vmi_translate(v->w, v->g->pgd, table, &a, &left, NULL) ||
	    vmi_translate(v->w, v->g->pgd, c->idt_base, &b, &left, NULL))
		return vmi_bad(v, subject, "IDTR holds 0x%016llx, where nothing is mapped",
			       (unsigned long long)c->idt_base);
	if (a != b || c->idt_limit != VMI_IDT_BYTES - 1)
		return vmi_bad(v, subject,
			       "IDTR holds 0x%016llx, limit 0x%x, which is not idt_table",
			       (unsigned long long)c->idt_base, c->idt_limit);
	return vmi_fine(v, subject, "IDTR leads to idt_table");
}

#define CR0_WP	 (1ull << 16)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
#define CR4_UMIP (1ull << 11)

/*
 * The kernel keeps these bits of CR4 as they were at the end of its boot
 * (arch/x86/kernel/cpu/common.c: cr4_pinned_bits); whoever clears one means to let user memory be
 * executed or read.
 */
static bool check_cr(struct vmi_integrity *v, const struct vmi_vcpu *c, const char *subject)
{
	uint64_t at = vmi_sym(v->g, "cr4_pinned_bits"), pinned = 0, gone;

	if (!(c->known & VMI_REG_CR))
		return vmi_unknown(v, subject, "its control registers are not known");
	if (!(c->cr0 & CR0_WP) &&
	    vmi_bad(v, subject, "CR0 is 0x%llx: WP is off, the kernel can write read-only pages",
		    (unsigned long long)c->cr0))
		return true;
	if (!at || vmi_ptr(v->w, at, &pinned))
		return vmi_unknown(v, subject, "which bits of CR4 the kernel had set is not known");
	gone = pinned & ~c->cr4;
	if (gone)
		return vmi_bad(v, subject, "CR4 is 0x%llx, without%s%s%s that the kernel had set",
			       (unsigned long long)c->cr4, gone & CR4_SMEP ? " SMEP" : "",
			       gone & CR4_SMAP ? " SMAP" : "",
			       gone & ~(CR4_SMEP | CR4_SMAP) ? " bits" : "");
	return vmi_fine(v, subject, "CR0 has WP%s%s%s", pinned & CR4_SMEP ? ", CR4 has SMEP" : "",
			pinned & CR4_SMAP ? ", SMAP" : "", pinned & CR4_UMIP ? ", UMIP" : "");
}

static bool check_lstar(struct vmi_integrity *v, const struct vmi_vcpu *c, const char *subject)
{
	uint64_t entry = vmi_sym(v->g, "entry_SYSCALL_64");
	char name[256];

	/* Where registers come from the notes of a dump, it reads as 0. */
	if (!(c->known & VMI_REG_LSTAR) || !c->lstar || !entry)
		return vmi_unknown(v, subject, "its LSTAR is not known");
	if (c->lstar != entry)
		return vmi_bad(v, subject, "LSTAR leads to %s, not to entry_SYSCALL_64",
			       vmi_integrity_name(v, c->lstar, name, sizeof(name)));
	return vmi_fine(v, subject, "LSTAR leads to entry_SYSCALL_64");
}

int vmi_check_registers(struct vmi_integrity *v)
{
	const struct vmi_target *t = v->g->target;
	char subject[32];

	if (!t->n_vcpus)
		vmi_unknown(v, "", "no vCPU's registers are known");
	for (size_t i = 0; i < t->n_vcpus; i++) {
		snprintf(subject, sizeof(subject), "vcpu %d", t->vcpus[i].id);
		if (check_idtr(v, &t->vcpus[i], subject) || check_cr(v, &t->vcpus[i], subject) ||
		    check_lstar(v, &t->vcpus[i], subject))
			break;
	}
	return 0;
}
