/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contract between the VMM and its guest: memory layout, op codes and control ports.
 * Shared with guest.S, hence the plain #defines.
 *
 * A vCPU starts in 64-bit mode at GUEST_CODE with RDI = its area. The area is one struct
 * guest_area, the stack and the table of ops; the guest walks the table until it reaches
 * OP_DONE. All memory below 4 GiB is mapped one to one.
 */
#ifndef IHO_DEMO_GUEST_H
#define IHO_DEMO_GUEST_H

/*
 * Control ports: the OUTs that a script causes beside the ones it asks for. A test that counts
 * every exit adds one per `sleep`, `gate`, `discard`, `unmap` and `remap`, and one at the end. The
 * only other extra exits are those of struct guest_area's eoi_wrmsrs and eoi_rdmsrs, which are 0
 * on most hosts.
 * Scripts may not use GUEST_PORT_FIRST..GUEST_PORT_LAST themselves.
 */
#define GUEST_PORT_FAULT 0xf0 /* 1 byte: an exception in the guest, usually a refused MSR */
#define GUEST_PORT_SLEEP 0xf1 /* 4 bytes: milliseconds that the vCPU's thread shall sleep */
#define GUEST_PORT_GATE	 0xf2 /* 1 byte: wait until the gate opens */
#define GUEST_PORT_PAGE	 0xf3 /* 1 byte, PAGE_*: what the VMM shall do to the page of OP_DONATE */
#define GUEST_PORT_DONE	 0xf4 /* 1 byte: the script has ended */
#define GUEST_PORT_FIRST GUEST_PORT_FAULT
#define GUEST_PORT_LAST	 GUEST_PORT_DONE

/* Of a VM with one vCPU. Each behind the back of KVM, which may have pinned it. */
#define PAGE_DISCARD 0 /* it is empty, as after MADV_DONTNEED, e.g. of a balloon */
#define PAGE_UNMAP   1 /* it is no RAM of the guest's any more */
#define PAGE_REMAP   2 /* it is again, elsewhere first, then where it was */

/* Op codes; also the index of the guest's counter of that op. */
#define OP_OUT	      0
#define OP_IN	      1
#define OP_MMIO_WRITE 2
#define OP_MMIO_READ  3
#define OP_WRMSR      4
#define OP_RDMSR      5
#define OP_CPUID      6
#define OP_HLT	      7
#define OP_BUSY	      8
#define OP_SLEEP      9
#define OP_GATE	      10
#define OP_MARK	      11
#define OP_LOOP	      12
#define OP_TIMER      13
#define OP_DONATE     14
#define OP_WITHDRAW   15
#define OP_ACCOUNT    16
#define OP_FORGE      17
#define OP_ICR	      18
#define OP_ICR_DIRECT 19
#define OP_ICR_ASKED  20
#define OP_DISCARD    21
#define OP_UNMAP      22
#define OP_REMAP      23
#define OP_DONE	      24
#define GUEST_NR_OPS  25

/* Guest-physical layout. */
#define GUEST_GDT	 0x1000
#define GUEST_IDT	 0x2000
#define GUEST_PML4	 0x3000
#define GUEST_PDPT	 0x4000
#define GUEST_PD	 0x5000 /* four pages: 4 GiB in 2 MiB pages */
#define GUEST_CODE	 0x9000
#define GUEST_CODE_BYTES 0x1000
#define GUEST_AREAS	 0x10000 /* the per-vCPU areas, one after the other */
#define GUEST_STACK_TOP	 0x400	 /* within an area; the ops follow */

#define GUEST_CS       0x08
#define GUEST_DS       0x10
#define GUEST_WAKE_VEC 0x40
#define GUEST_TIMER_VEC 0x41

/* How a wake-up interrupt has to be acknowledged where KVM's paravirtual EOI does not do it. */
#define EOI_UNKNOWN 0
#define EOI_WRITE   1
#define EOI_NEVER   2

/* RAM ends at or below this; addresses from here up to the I/O APIC are free for MMIO. */
#define GUEST_MMIO_START 0x40000000
#define GUEST_MMIO_END	 0xfec00000

/* Offsets for guest.S; guest.c asserts that they match the structures. */
#define AREA_WAKE_TSC	0
#define AREA_PV_EOI	8
#define AREA_EOI_MODE	12
#define AREA_EOI_WRMSRS 16
#define AREA_EOI_RDMSRS 24
#define AREA_PAGE	32
#define AREA_DONATED	40
#define AREA_FIRED	48
#define AREA_EARLY	56
#define AREA_FORGED	64
#define AREA_STRAY	72
#define AREA_DONE	80
#define GUEST_OP_BYTES	32
#define GUEST_OP_KIND	0
#define GUEST_OP_BACK	4
#define GUEST_OP_ARG	8
#define GUEST_OP_COUNT	16
#define GUEST_OP_LEFT	24

#ifndef __ASSEMBLER__

#include <stddef.h>
#include <stdint.h>

#include <linux/kvm.h>

/**
 * struct guest_op - one entry of the table
 * @kind: OP_*
 * @back: OP_LOOP: bytes from this op back to the first op of the loop
 * @arg: port, guest-physical address, MSR, CPUID leaf, value for the ICR; TSC ticks for OP_HLT
 *	(until the wake-up), OP_TIMER and OP_BUSY; milliseconds for OP_SLEEP
 * @count: how often; OP_LOOP: 0 is endless
 * @left: OP_LOOP, written by the guest: rounds left, 0 before the first round has ended
 */
struct guest_op {
	uint32_t kind;
	uint32_t back;
	uint64_t arg;
	uint64_t count;
	uint64_t left;
};

/**
 * struct guest_area - what one vCPU shares with the VMM
 * @wake_tsc: guest TSC at which the halted (or halting) vCPU is to be woken; 0: nothing to wake.
 *	Set by the guest before STI;HLT, cleared by whoever takes on the duty to wake it
 * @pv_eoi: KVM's paravirtual EOI word (Documentation/virt/kvm/x86/msr.rst,
 *	MSR_KVM_PV_EOI_EN): bit 0 set means that no EOI need be written
 * @eoi_mode: EOI_*. Most KVMs set @pv_eoi or virtualize the EOI in hardware, so that it never
 *	exits. One that does neither may even send the EOI itself; the guest finds out at its
 *	first HLT, so that no later one causes needless exits
 * @eoi_wrmsrs: EOIs written to the x2APIC: the only MSR writes (0x80b) beside the script's
 * @eoi_rdmsrs: reads of the in-service register to set @eoi_mode: the only MSR reads (0x812)
 *	beside the script's, at most one
 * @page: what OP_DONATE gives KVM, a page of its own behind the ops; set by guest_load_ops()
 * @donated: @page, while it is KVM's: struct iho_page of the patches in kvm-patches/
 * @fired: timer interrupts since the last deadline was written
 * @early: timer interrupts that came before their deadline, after which OP_TIMER wrote it again
 * @forged: OP_FORGE or one of OP_ICR* has been, and any interrupt may come, NMIs too
 * @stray: interrupts since, other than those that were asked for
 * @done: executed so far, by op code. Counted after the instruction, so a vCPU stopped half-way
 *	may have one exit more than this says
 */
struct guest_area {
	uint64_t wake_tsc;
	uint32_t pv_eoi;
	uint32_t eoi_mode;
	uint64_t eoi_wrmsrs;
	uint64_t eoi_rdmsrs;
	uint64_t page;
	uint64_t donated;
	uint64_t fired;
	uint64_t early;
	uint64_t forged;
	uint64_t stray;
	uint64_t done[GUEST_NR_OPS];
};

/*
 * Bytes of an area with @nr_ops ops, and the page that may be KVM's: whole pages, areas of two
 * vCPUs never share one.
 */
size_t guest_area_bytes(size_t nr_ops);

/* Write everything that the vCPUs share (code, descriptor tables, page tables) into zeroed RAM. */
void guest_build(uint8_t *ram);

/* Write one vCPU's table of @nr_ops ops into its area, a zeroed part of guest RAM at @gpa. */
void guest_load_ops(uint8_t *area, uint64_t gpa, const struct guest_op *ops, size_t nr_ops);

/* Turn @sregs and @regs into the start state of the vCPU whose area lies at @area_gpa. */
void guest_start_state(struct kvm_sregs *sregs, struct kvm_regs *regs, uint64_t area_gpa);

/* Index of the op at which the vCPU with @regs is, for messages. */
size_t guest_current_op(const struct kvm_regs *regs);

#endif /* !__ASSEMBLER__ */
#endif
