/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What a guest and KVM's direct mode have to say to each other.
 *
 * A vCPU asks with IHO_HC_OFFER whether there is direct mode, and donates a
 * page of its memory, whose start is its posted-interrupt descriptor (Intel
 * SDM, "Posted-Interrupt Processing") from then on.  KVM keeps that page in
 * place until the vCPU withdraws it, disables its local APIC, or has the state of
 * that replaced by its VMM, as in a reset, and takes its memory for the vCPU's
 * own: it believes nothing in it.
 */
#ifndef _UAPI_ASM_X86_IHO_PARA_H
#define _UAPI_ASM_X86_IHO_PARA_H

#include <linux/types.h>

/*
 * Hypercalls, made as those of asm/kvm_para.h.  -KVM_ENOSYS: not this KVM, or
 * not this processor.  -KVM_EOPNOTSUPP: not this VM, where the processor or the
 * IOMMU posts interrupts by itself.
 */
/* Returns IHO_ABI_PARA, and from bit 8 on the modes that there can be. */
#define IHO_HC_OFFER		0x49484f00
/*
 * The page at this guest-physical address: RAM, and no other vCPU's.
 * -KVM_EINVAL: not the address of a page, -KVM_EFAULT: not RAM that can be kept
 * in place, -KVM_EPERM: there is a page already.
 */
#define IHO_HC_DONATE		0x49484f01
/* KVM is done with the page when this returns.  -KVM_EPERM: there is none. */
#define IHO_HC_WITHDRAW		0x49484f02
/* Writes a value to the ICR as a WRMSR in plain form does.  -KVM_EINVAL: #GP. */
#define IHO_HC_ICR		0x49484f03

#define IHO_ABI_PARA		1

/* IHO_PAGE.modes, and what IHO_HC_OFFER has from bit 8 on */
#define IHO_DIRECT_TIMER	0x1	/* deadlines */
#define IHO_DIRECT_IPI		0x2	/* IPIs, to vCPUs whose page has it too */

/*
 * A deadline is written to IA32_TSC_DEADLINE in one of two forms, with interrupts
 * off from the look at `modes` on.  With IHO_DIRECT_TIMER, the direct form:
 *
 *	set PIR[vector of the LVT timer register], atomically
 *	deadline_offset = tsc_offset
 *	deadline_direct = 1
 *	WRMSR(IA32_TSC_DEADLINE, deadline - deadline_offset)
 *
 * Without, or to stop the timer, the plain form:
 *
 *	deadline_direct = 0
 *	WRMSR(IA32_TSC_DEADLINE, deadline, or 0)
 *
 * Both work whatever KVM has made of the mode meanwhile, with an exit or without.
 * But what would stay is lost: after a deadline in direct form, and as long as
 * the mode is on, there must be none in plain form but 0.
 *
 * The timer's interrupt can come early: any other posted interrupt takes the bit
 * in PIR along.  Who finds it early writes the deadline again.  A timer that is
 * stopped leaves its bit in PIR behind: clear it.
 */

/*
 * With IHO_DIRECT_IPI in its own page, a vCPU in x2APIC mode sends a vector to
 * another one, in whose page that is as well, as hardware would.  With
 * interrupts off from the look at `modes` on, and `to` the other one's page:
 *
 *	set PIR[vector] in `to`, atomically
 *	set ON in `to`, atomically: done if it was set
 *	read `control` of `to`: done if SN is set
 *	ipi_to = vcpu of `to`, + 1
 *	WRMSR(ICR, NDST << 32 | NV, both of `control`)
 *	ipi_to = 0
 *
 * And whatever else it sends, with IHO_HC_ICR: once it has sent in this form
 * its ICR is the processor's, and what is written there goes to the CPUs of the
 * host.  It is KVM's again after IHO_HC_WITHDRAW.  Without IHO_DIRECT_IPI, WRMSR
 * has the plain form, with ipi_to 0.
 *
 * Who withdraws a page first sees to it that nobody is about to post to it.
 */

/*
 * A guest may go on with another KVM at any time, after a migration or from a
 * snapshot.  Its page has no modes then, and another generation than before.  Who
 * finds that it is another one after what was to be done in either form does it
 * again; that one has no use of the page until it is donated to it.  Whether it
 * has, IHO_HC_DONATE tells: -KVM_EPERM if so.
 */

/* The first 256 bytes of the page. */
struct iho_page {
	/* The descriptor: the processor's and KVM's; a guest may set in PIR. */
	__u32 pir[8];
	__u64 control;
	__u64 pid_reserved[3];

	/* KVM's. */
	__u32 modes;		/* what may be done without an exit */
	__u32 generation;	/* another one with each change here */
	__u64 tsc_offset;	/* of the guest's TSC to the processor's */
	__u32 vcpu;		/* a number for ipi_to */
	__u32 kvm_reserved0;
	__u64 kvm_reserved[5];

	/* The guest's. */
	__u64 deadline_offset;
	__u32 deadline_direct;
	__u32 seen_generation;	/* the last that the guest acted on */
	/* For the provider to read; they only grow, and are 0 where not kept. */
	__u64 deadlines;	/* written in direct form */
	__u64 fired;		/* interrupts of the timer */
	__u64 spurious;		/* of them, before their deadline */
	__u64 idle_ns;		/* of the vCPU, as its guest accounts it */
	__u64 irq_ns;
	__u64 softirq_ns;
	__u64 updated_ns;	/* when the last three were, CLOCK_MONOTONIC */
	__u32 ipi_to;
	__u32 guest_reserved0;
	/* For the provider again. */
	__u64 ipis_posted;	/* vectors set in others' pages */
	__u64 ipis_notified;	/* of them, with a WRMSR */
	__u64 ipis_asked;	/* IHO_HC_ICR */
	__u64 guest_reserved[3];
};

#endif /* _UAPI_ASM_X86_IHO_PARA_H */
