// SPDX-License-Identifier: GPL-2.0-or-later
/* Guest memory and the vCPUs' start state: what firmware and a boot loader would have done. */
#include "guest.h"

#include <assert.h>
#include <string.h>

/* guest.S */
extern const uint8_t guest_code[];
extern const uint32_t guest_code_bytes, guest_wake_offset, guest_timer_offset, guest_stray_offset,
	guest_nmi_offset, guest_fault_offset;

static_assert(offsetof(struct guest_area, wake_tsc) == AREA_WAKE_TSC, "guest.S");
static_assert(offsetof(struct guest_area, pv_eoi) == AREA_PV_EOI, "guest.S");
static_assert(offsetof(struct guest_area, eoi_mode) == AREA_EOI_MODE, "guest.S");
static_assert(offsetof(struct guest_area, eoi_wrmsrs) == AREA_EOI_WRMSRS, "guest.S");
static_assert(offsetof(struct guest_area, eoi_rdmsrs) == AREA_EOI_RDMSRS, "guest.S");
static_assert(offsetof(struct guest_area, page) == AREA_PAGE, "guest.S");
static_assert(offsetof(struct guest_area, donated) == AREA_DONATED, "guest.S");
static_assert(offsetof(struct guest_area, fired) == AREA_FIRED, "guest.S");
static_assert(offsetof(struct guest_area, early) == AREA_EARLY, "guest.S");
static_assert(offsetof(struct guest_area, forged) == AREA_FORGED, "guest.S");
static_assert(offsetof(struct guest_area, stray) == AREA_STRAY, "guest.S");
static_assert(offsetof(struct guest_area, done) == AREA_DONE, "guest.S");
static_assert(offsetof(struct guest_op, kind) == GUEST_OP_KIND, "guest.S");
static_assert(offsetof(struct guest_op, back) == GUEST_OP_BACK, "guest.S");
static_assert(offsetof(struct guest_op, arg) == GUEST_OP_ARG, "guest.S");
static_assert(offsetof(struct guest_op, count) == GUEST_OP_COUNT, "guest.S");
static_assert(offsetof(struct guest_op, left) == GUEST_OP_LEFT, "guest.S");
static_assert(sizeof(struct guest_op) == GUEST_OP_BYTES, "guest.S");
static_assert(sizeof(struct guest_area) + 256 <= GUEST_STACK_TOP, "no room for the stack");

#define PAGE_BYTES 4096

/* Intel SDM 4.5 "4-level paging"; accessed and dirty are set so that no walk has to. */
#define PTE_TABLE 0x23 /* present, writable, accessed */
#define PTE_LARGE 0xe3 /* the same, dirty, 2 MiB page */

#define NMI_VECTOR 2

#define EFER_LME 0x100
#define EFER_LMA 0x400
#define CR0_PE	 0x1
#define CR0_ET	 0x10
#define CR0_NE	 0x20
#define CR0_WP	 0x10000
#define CR0_PG	 0x80000000
#define CR4_PAE	 0x20

size_t guest_area_bytes(size_t nr_ops)
{
	size_t bytes = GUEST_STACK_TOP + nr_ops * sizeof(struct guest_op);

	return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES + PAGE_BYTES;
}

/* A 64-bit interrupt gate (Intel SDM 6.14.1): interrupts stay off in the handler. */
static void set_gate(uint8_t *ram, unsigned int vector, uint32_t code_offset)
{
	uint64_t addr = GUEST_CODE + code_offset;
	uint64_t gate[2] = {
		(addr & 0xffff) | GUEST_CS << 16 | 0x8eULL << 40 | (addr >> 16 & 0xffff) << 48,
		addr >> 32,
	};

	memcpy(ram + GUEST_IDT + vector * sizeof(gate), gate, sizeof(gate));
}

void guest_build(uint8_t *ram)
{
	static const uint64_t gdt[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	uint64_t *pml4 = (uint64_t *)(ram + GUEST_PML4);
	uint64_t *pdpt = (uint64_t *)(ram + GUEST_PDPT);
	uint64_t *pd = (uint64_t *)(ram + GUEST_PD);

	assert(guest_code_bytes <= GUEST_CODE_BYTES);
	memcpy(ram + GUEST_CODE, guest_code, guest_code_bytes);
	memcpy(ram + GUEST_GDT, gdt, sizeof(gdt));

	for (unsigned int vector = 0; vector < 16; vector++)
		set_gate(ram, vector, guest_fault_offset);
	/* Interrupts, which can have the numbers of exceptions, too. */
	for (unsigned int vector = 16; vector < 256; vector++)
		set_gate(ram, vector, guest_stray_offset);
	set_gate(ram, NMI_VECTOR, guest_nmi_offset);
	set_gate(ram, GUEST_WAKE_VEC, guest_wake_offset);
	set_gate(ram, GUEST_TIMER_VEC, guest_timer_offset);

	pml4[0] = GUEST_PDPT | PTE_TABLE;
	for (uint64_t gib = 0; gib < 4; gib++)
		pdpt[gib] = (GUEST_PD + gib * PAGE_BYTES) | PTE_TABLE;
	for (uint64_t i = 0; i < 4 * 512ULL; i++)
		pd[i] = i << 21 | PTE_LARGE;
}

void guest_load_ops(uint8_t *area, uint64_t gpa, const struct guest_op *ops, size_t nr_ops)
{
	((struct guest_area *)area)->page = gpa + guest_area_bytes(nr_ops) - PAGE_BYTES;
	memcpy(area + GUEST_STACK_TOP, ops, nr_ops * sizeof(*ops));
}

void guest_start_state(struct kvm_sregs *sregs, struct kvm_regs *regs, uint64_t area_gpa)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = GUEST_CS, .type = 11, .present = 1, .s = 1, .l = 1,
		.g = 1,
	};
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = GUEST_DS, .type = 3, .present = 1, .s = 1, .db = 1,
		.g = 1,
	};

	sregs->cs = code;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->gdt = (struct kvm_dtable){ .base = GUEST_GDT, .limit = 3 * 8 - 1 };
	sregs->idt = (struct kvm_dtable){ .base = GUEST_IDT, .limit = 256 * 16 - 1 };
	sregs->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	sregs->cr3 = GUEST_PML4;
	sregs->cr4 = CR4_PAE;
	sregs->efer = EFER_LME | EFER_LMA;

	*regs = (struct kvm_regs){
		.rip = GUEST_CODE,
		.rsp = area_gpa + GUEST_STACK_TOP,
		.rdi = area_gpa,
		.rflags = 2,
	};
}

size_t guest_current_op(const struct kvm_regs *regs)
{
	return (size_t)(regs->rsi - regs->rdi - GUEST_STACK_TOP) / sizeof(struct guest_op);
}
