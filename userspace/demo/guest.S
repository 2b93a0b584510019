/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest: an interpreter of struct guest_op. Copied to GUEST_CODE, so position-independent.
 *
 *	%rdi	the vCPU's area, never changed
 *	%rsi	the current op
 *	%r8	repetitions left
 *	%r9	the op's argument
 *
 * Each op counts after its instruction, in memory, so that the count is right whenever the VMM
 * stops the vCPU. No PAUSE anywhere: pause-loop exiting would add exits nobody asked for.
 */
#include "guest.h"

/* Intel SDM, table "Local APIC Register Address Map Supported by x2APIC" */
#define X2APIC_EOI	   0x80b
#define X2APIC_ICR	   0x830
#define X2APIC_ISR(vector) (0x810 + (vector) / 32)
#define X2APIC_LVT_TIMER   0x832
#define LVT_TSC_DEADLINE   0x40000
#define LVT_MASKED	   0x10000
#define MSR_TSC_DEADLINE   0x6e0

/* kvm-patches/, uapi/asm/iho_para.h */
#define IHO_HC_DONATE	     0x49484f01
#define IHO_HC_WITHDRAW	     0x49484f02
#define IHO_HC_ICR	     0x49484f03
#define IHO_DIRECT_TIMER     1
#define PAGE_MODES	     64
#define PAGE_TSC_OFFSET	     72
#define PAGE_DEADLINE_OFFSET 128
#define PAGE_DEADLINE_DIRECT 136
#define PAGE_DEADLINES	     144
#define PAGE_FIRED	     152
#define PAGE_SPURIOUS	     160
#define PAGE_IDLE_NS	     168
#define PAGE_UPDATED_NS	     192
#define PAGE_IPI_TO	     200

#define DONE(op) (AREA_DONE + 8 * (op))(%rdi)

	.section .rodata
	.globl	guest_code, guest_code_bytes
	.globl	guest_wake_offset, guest_timer_offset, guest_stray_offset, guest_nmi_offset
	.globl	guest_fault_offset
	.balign	64
guest_code:
	lea	GUEST_STACK_TOP(%rdi), %rsi
dispatch:
	mov	GUEST_OP_COUNT(%rsi), %r8
	mov	GUEST_OP_ARG(%rsi), %r9
	mov	GUEST_OP_KIND(%rsi), %eax
	lea	op_table(%rip), %rdx
	movslq	(%rdx, %rax, 4), %rax
	add	%rdx, %rax
	jmp	*%rax

	.balign	4
op_table:
	.long	op_out - op_table
	.long	op_in - op_table
	.long	op_mmio_write - op_table
	.long	op_mmio_read - op_table
	.long	op_wrmsr - op_table
	.long	op_rdmsr - op_table
	.long	op_cpuid - op_table
	.long	op_hlt - op_table
	.long	op_busy - op_table
	.long	op_sleep - op_table
	.long	op_gate - op_table
	.long	op_mark - op_table
	.long	op_loop - op_table
	.long	op_timer - op_table
	.long	op_donate - op_table
	.long	op_withdraw - op_table
	.long	op_account - op_table
	.long	op_forge - op_table
	.long	op_icr - op_table
	.long	op_icr_direct - op_table
	.long	op_icr_asked - op_table
	.long	op_discard - op_table
	.long	op_unmap - op_table
	.long	op_remap - op_table
	.long	op_done - op_table

op_out:
	mov	%r9d, %edx
	mov	$'.', %eax
1:	out	%al, %dx
	incq	DONE(OP_OUT)
	dec	%r8
	jnz	1b
	jmp	next

op_in:
	mov	%r9d, %edx
1:	in	%dx, %al
	incq	DONE(OP_IN)
	dec	%r8
	jnz	1b
	jmp	next

op_mmio_write:
1:	mov	%r8d, (%r9)
	incq	DONE(OP_MMIO_WRITE)
	dec	%r8
	jnz	1b
	jmp	next

op_mmio_read:
1:	mov	(%r9), %eax
	incq	DONE(OP_MMIO_READ)
	dec	%r8
	jnz	1b
	jmp	next

op_wrmsr:
	mov	%r9d, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
1:	wrmsr
	incq	DONE(OP_WRMSR)
	dec	%r8
	jnz	1b
	jmp	next

op_rdmsr:
	mov	%r9d, %ecx
1:	rdmsr
	incq	DONE(OP_RDMSR)
	dec	%r8
	jnz	1b
	jmp	next

op_cpuid:
1:	mov	%r9d, %eax
	xor	%ecx, %ecx
	cpuid
	incq	DONE(OP_CPUID)
	dec	%r8
	jnz	1b
	jmp	next

/*
 * One wake-up per HLT: the waker may act at any moment after the store, but the interrupt is
 * taken only behind the HLT, because STI holds it off for one instruction and IF is clear
 * everywhere else. An early wake-up ends the HLT at once; it never replaces it.
 */
op_hlt:
1:	rdtsc
	shl	$32, %rdx
	lea	1(%rax, %rdx), %rax
	add	%r9, %rax
	mov	%rax, AREA_WAKE_TSC(%rdi)
	sti
hlt_insn:
	hlt
	cli
	incq	DONE(OP_HLT)
	dec	%r8
	jnz	1b
	jmp	next

op_busy:
	rdtsc
	shl	$32, %rdx
	or	%rax, %rdx
	mov	%rdx, %r10
1:	rdtsc
	shl	$32, %rdx
	or	%rax, %rdx
	sub	%r10, %rdx
	cmp	%r9, %rdx
	jb	1b
	incq	DONE(OP_BUSY)
	jmp	next

op_sleep:
	mov	%r9d, %eax
	out	%eax, $GUEST_PORT_SLEEP
	incq	DONE(OP_SLEEP)
	jmp	next

op_gate:
	out	%al, $GUEST_PORT_GATE
	incq	DONE(OP_GATE)
	jmp	next

op_mark:
	incq	DONE(OP_MARK)
next:
	add	$GUEST_OP_BYTES, %rsi
	jmp	dispatch

/* left: 0 on the first arrival of a (possibly nested) loop, then the rounds still to run. */
op_loop:
	incq	DONE(OP_LOOP)
	test	%r8, %r8
	jz	2f
	mov	GUEST_OP_LEFT(%rsi), %rax
	test	%rax, %rax
	cmovz	%r8, %rax
	dec	%rax
	mov	%rax, GUEST_OP_LEFT(%rsi)
	jz	next
2:	mov	GUEST_OP_BACK(%rsi), %eax
	sub	%rax, %rsi
	jmp	dispatch

/*
 * Deadlines, one after the other, each waited for in HLT. With a page that is KVM's, and if KVM
 * says so, in direct form: the interrupt is one that this vCPU posts to itself.
 */
op_timer:
	mov	$X2APIC_LVT_TIMER, %ecx
	mov	$(LVT_TSC_DEADLINE | GUEST_TIMER_VEC), %eax
	xor	%edx, %edx
	wrmsr
1:	rdtsc
	shl	$32, %rdx
	lea	(%rax, %rdx), %r10
	add	%r9, %r10
2:	movq	$0, AREA_FIRED(%rdi)
	mov	%r10, %rax
	mov	AREA_DONATED(%rdi), %r11
	test	%r11, %r11
	jz	4f
	testl	$IHO_DIRECT_TIMER, PAGE_MODES(%r11)
	jz	3f
	lock btsl $(GUEST_TIMER_VEC % 32), GUEST_TIMER_VEC / 32 * 4(%r11)
	mov	PAGE_TSC_OFFSET(%r11), %rdx
	mov	%rdx, PAGE_DEADLINE_OFFSET(%r11)
	movl	$1, PAGE_DEADLINE_DIRECT(%r11)
	incq	PAGE_DEADLINES(%r11)
	sub	%rdx, %rax
	jmp	4f
3:	movl	$0, PAGE_DEADLINE_DIRECT(%r11)
4:	mov	%rax, %rdx
	shr	$32, %rdx
	mov	$MSR_TSC_DEADLINE, %ecx
	wrmsr
5:	sti
	hlt
	cli
	cmpq	$0, AREA_FIRED(%rdi)
	je	5b
	rdtsc
	shl	$32, %rdx
	or	%rdx, %rax
	cmp	%r10, %rax
	jae	6f
	incq	AREA_EARLY(%rdi)
	test	%r11, %r11
	jz	2b
	incq	PAGE_SPURIOUS(%r11)
	jmp	2b
6:	incq	DONE(OP_TIMER)
	dec	%r8
	jnz	1b
	mov	$X2APIC_LVT_TIMER, %ecx
	mov	$(LVT_MASKED | LVT_TSC_DEADLINE | GUEST_TIMER_VEC), %eax
	xor	%edx, %edx
	wrmsr
	jmp	next

/* Refused is a fault: the script has no way to go on without. */
op_donate:
	mov	AREA_PAGE(%rdi), %rbx
	mov	$IHO_HC_DONATE, %eax
	vmcall
	test	%rax, %rax
	jnz	exception
	mov	%rbx, AREA_DONATED(%rdi)
	incq	DONE(OP_DONATE)
	jmp	next

op_withdraw:
	mov	$IHO_HC_WITHDRAW, %eax
	vmcall
	test	%rax, %rax
	jnz	exception
	movq	$0, AREA_DONATED(%rdi)
	incq	DONE(OP_WITHDRAW)
	jmp	next

/* A second of the guest's clock has passed, it says, and so much of it idle. */
op_account:
	mov	AREA_DONATED(%rdi), %r11
	test	%r11, %r11
	jz	exception
	imul	$1000000, %r9, %rax
	add	%rax, PAGE_IDLE_NS(%r11)
	addq	$1000000000, PAGE_UPDATED_NS(%r11)
	incq	DONE(OP_ACCOUNT)
	jmp	next

/* Random words (xorshift) all over what KVM, the processor and the guest have in the page. */
op_forge:
	mov	AREA_DONATED(%rdi), %r11
	test	%r11, %r11
	jz	exception
	movq	$1, AREA_FORGED(%rdi)
	rdtsc
	shl	$32, %rdx
	lea	1(%rax, %rdx), %r10
1:	mov	%r10, %rax
	shl	$13, %rax
	xor	%rax, %r10
	mov	%r10, %rax
	shr	$7, %rax
	xor	%rax, %r10
	mov	%r10, %rax
	shl	$17, %rax
	xor	%rax, %r10
	mov	%r10, %rax
	shr	$59, %rax
	mov	%r10, (%r11, %rax, 8)
	incq	DONE(OP_FORGE)
	dec	%r8
	jnz	1b
	jmp	next

/* An IPI to whomever: as any guest sends it .. */
op_icr:
	movq	$1, AREA_FORGED(%rdi)
	mov	$X2APIC_ICR, %ecx
	mov	%r9d, %eax
	mov	%r9, %rdx
	shr	$32, %rdx
1:	wrmsr
	incq	DONE(OP_ICR)
	dec	%r8
	jnz	1b
	jmp	next

/* .. and as one that was allowed to write to the processor's ICR; so KVM believes, or does not. */
op_icr_direct:
	mov	AREA_DONATED(%rdi), %r11
	test	%r11, %r11
	jz	exception
	movq	$1, AREA_FORGED(%rdi)
	movl	$1, PAGE_IPI_TO(%r11)
	mov	$X2APIC_ICR, %ecx
	mov	%r9d, %eax
	mov	%r9, %rdx
	shr	$32, %rdx
1:	wrmsr
	incq	DONE(OP_ICR_DIRECT)
	dec	%r8
	jnz	1b
	movl	$0, PAGE_IPI_TO(%r11)
	jmp	next

/* .. and by asking KVM, whose own ICR it is then. */
op_icr_asked:
	movq	$1, AREA_FORGED(%rdi)
1:	mov	%r9, %rbx
	mov	$IHO_HC_ICR, %eax
	vmcall
	test	%rax, %rax
	jnz	exception
	incq	DONE(OP_ICR_ASKED)
	dec	%r8
	jnz	1b
	jmp	next

op_discard:
	mov	$PAGE_DISCARD, %al
	out	%al, $GUEST_PORT_PAGE
	incq	DONE(OP_DISCARD)
	jmp	next

op_unmap:
	mov	$PAGE_UNMAP, %al
	out	%al, $GUEST_PORT_PAGE
	incq	DONE(OP_UNMAP)
	jmp	next

op_remap:
	mov	$PAGE_REMAP, %al
	out	%al, $GUEST_PORT_PAGE
	incq	DONE(OP_REMAP)
	jmp	next

op_done:
	incq	DONE(OP_DONE)
	out	%al, $GUEST_PORT_DONE
	jmp	op_done

/*
 * The wake-up interrupt. Meant to be taken right behind op_hlt's HLT, but an emulated hypervisor
 * may repeat it anywhere (QEMU's SVM does, when its own loop is interrupted before the next
 * #VMEXIT), so it keeps all registers, and an EOI too many does no harm.
 */
interrupt_wake:
	push	%rax
	push	%rcx
	push	%rdx
	lock btrl $0, AREA_PV_EOI(%rdi)
	jnc	1f
	/* A KVM that sets the bit wants an EOI whenever it is clear. */
	movl	$EOI_WRITE, AREA_EOI_MODE(%rdi)
	jmp	3f
1:	cmpl	$EOI_UNKNOWN, AREA_EOI_MODE(%rdi)
	jne	2f
	mov	$X2APIC_ISR(GUEST_WAKE_VEC), %ecx
	rdmsr
	incq	AREA_EOI_RDMSRS(%rdi)
	mov	$EOI_WRITE, %ecx
	mov	$EOI_NEVER, %edx
	bt	$(GUEST_WAKE_VEC % 32), %eax
	cmovnc	%edx, %ecx
	mov	%ecx, AREA_EOI_MODE(%rdi)
2:	cmpl	$EOI_WRITE, AREA_EOI_MODE(%rdi)
	jne	3f
	mov	$X2APIC_EOI, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	incq	AREA_EOI_WRMSRS(%rdi)
	/*
	 * STI's hold was lost (QEMU's SVM loses it when a physical interrupt hits it), so the HLT
	 * is still to come: ask for another wake-up at once, or it would never end.
	 */
3:	lea	hlt_insn(%rip), %rax
	cmp	%rax, 24(%rsp)
	jne	4f
	movq	$1, AREA_WAKE_TSC(%rdi)
4:	pop	%rdx
	pop	%rcx
	pop	%rax
	iretq

/* The timer's interrupt, wherever it comes. */
interrupt_timer:
	push	%rax
	push	%rcx
	push	%rdx
	incq	AREA_FIRED(%rdi)
	mov	AREA_DONATED(%rdi), %rax
	test	%rax, %rax
	jz	1f
	incq	PAGE_FIRED(%rax)
1:	lock btrl $0, AREA_PV_EOI(%rdi)
	jc	2f
	mov	$X2APIC_EOI, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	incq	AREA_EOI_WRMSRS(%rdi)
2:	pop	%rdx
	pop	%rcx
	pop	%rax
	iretq

/* No vector that anybody asked for: as after op_forge or op_icr, or a fault. */
interrupt_stray:
	cmpq	$0, AREA_FORGED(%rdi)
	je	exception
	push	%rax
	push	%rcx
	push	%rdx
	incq	AREA_STRAY(%rdi)
	mov	$X2APIC_EOI, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	pop	%rdx
	pop	%rcx
	pop	%rax
	iretq

/* Likewise, but an NMI wants no EOI. */
interrupt_nmi:
	cmpq	$0, AREA_FORGED(%rdi)
	je	exception
	incq	AREA_STRAY(%rdi)
	iretq

/* Any exception. %rsi tells the VMM which op it was. */
exception:
	out	%al, $GUEST_PORT_FAULT
	jmp	exception
code_end:

	.balign	4
guest_code_bytes:
	.long	code_end - guest_code
guest_wake_offset:
	.long	interrupt_wake - guest_code
guest_timer_offset:
	.long	interrupt_timer - guest_code
guest_stray_offset:
	.long	interrupt_stray - guest_code
guest_nmi_offset:
	.long	interrupt_nmi - guest_code
guest_fault_offset:
	.long	exception - guest_code

	.section .note.GNU-stack, "", @progbits
