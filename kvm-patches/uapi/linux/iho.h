/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/iho: switches what a VM does without exits, from outside its VMM.
 *
 * An open file of the device is a session, which is of one VM from IHO_ATTACH
 * on, and the VM's only one.  What it switched is undone when it is closed, by
 * whatever its holder ends.
 */
#ifndef _UAPI_LINUX_IHO_H
#define _UAPI_LINUX_IHO_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Raised by what an older program cannot ignore. */
#define IHO_ABI_VERSION		1

/* Modes */
#define IHO_MODE_HLT		(1u << 0)	/* HLT does not exit */
/*
 * The guest writes the deadlines of its timer to the processor's, and has the
 * interrupt delivered by it.  A vCPU does so once its guest takes part, see
 * asm/iho_para.h, and nothing that IHO_GET_VCPU names is missing.
 */
#define IHO_MODE_TIMER		(1u << 1)
/*
 * The guest posts its IPIs itself and writes to the processor's ICR; needs what
 * IHO_MODE_TIMER needs.  Such a guest can send any interrupt, NMI or INIT to any
 * CPU of the host.  It is for guests that are trusted with the host.
 */
#define IHO_MODE_IPI_RAW	(1u << 2)

/* Why a mode was refused */
#define IHO_REFUSED_UNKNOWN	(1u << 0)	/* this KVM has no such mode */
#define IHO_REFUSED_SMT_RSB	(1u << 1)	/* kvm.mitigate_smt_rsb */
/* The VM's CPUID has KVM_FEATURE_PV_UNHALT (QEMU: kvm-pv-unhalt=off). */
#define IHO_REFUSED_PV_UNHALT	(1u << 2)
#define IHO_REFUSED_VENDOR	(1u << 3)	/* this processor's maker has no such mode */
#define IHO_REFUSED_APICV	(1u << 4)	/* kvm_intel.enable_apicv is off */
/* No TSC deadline timer, VMX-preemption timer, or MSR bitmaps on this host. */
#define IHO_REFUSED_HOST_TIMER	(1u << 5)
#define IHO_REFUSED_UNPINNED	(1u << 6)	/* a vCPU's thread may run on many CPUs */
#define IHO_REFUSED_CPU0	(1u << 7)	/* or on CPU 0, which is the host's own */
#define IHO_REFUSED_X2APIC	(1u << 8)	/* the host's APICs are not in x2APIC mode */

/* What a vCPU lacks, of what IHO_MODE_TIMER and IHO_MODE_IPI_RAW need */
#define IHO_MISSING_PAGE	(1u << 0)	/* the guest's part */
#define IHO_MISSING_APIC	(1u << 1)	/* APICv active, and the TSC deadline mode */
#define IHO_MISSING_TSC_RATIO	(1u << 2)	/* the guest's TSC runs at the host's rate */
#define IHO_MISSING_NESTED	(1u << 3)	/* it runs no guest of its own */
#define IHO_MISSING_PINNED	(1u << 4)	/* to one CPU, not CPU 0 */
#define IHO_MISSING_X2APIC	(1u << 5)	/* its APIC is in x2APIC mode; IPIs only */
#define IHO_MISSING_DRAINED	(1u << 6)	/* it hasn't run since its VMM read its APIC */

struct iho_info {
	__u32 version;		/* IHO_ABI_VERSION */
	__u32 modes;		/* those that this KVM has */
	__u64 reserved[3];
};

struct iho_modes {
	__u32 modes;		/* in: all that are to be on */
	__u32 refused;		/* out, of IHO_SET_MODES: why, or 0 */
};

struct iho_vcpu {
	__u32 index;		/* in: 0 is the one that was made first */
	__u32 modes;		/* out: those that are on, but IHO_MODE_HLT */
	__u32 missing;		/* IHO_MISSING_*, of the last time that it ran */
	__u32 reserved0;
	__u64 engaged;		/* times that its deadlines began to make no exit */
	__u64 given;		/* deadlines left to KVM's timer: the vCPU halted, .. */
	__u64 taken;		/* and taken back */
	__u64 recovered;	/* interrupts of the timer that came outside the guest */
	__u64 host_timer;	/* exits for the host's own timer */
	/* What the guest says in struct iho_page: nobody has checked it. */
	__u32 generation;
	__u32 seen_generation;
	__u64 deadlines;
	__u64 fired;
	__u64 spurious;
	__u64 idle_ns;
	__u64 irq_ns;
	__u64 softirq_ns;
	__u64 updated_ns;
	__u64 ipis_posted;
	__u64 ipis_notified;
	__u64 ipis_asked;
	/* KVM's again. */
	__u64 ipi_engaged;	/* times that writes to the ICR began to make no exit */
	__u64 ipi_kicked;	/* IPIs in direct form that made one all the same */
	__u64 drained;		/* times that the VMM read its APIC in a mode */
	__u64 reserved[2];
};

#define IHO_TYPE		0xBD

#define IHO_GET_INFO		_IOR(IHO_TYPE, 0x00, struct iho_info)
/*
 * The VM of a descriptor of KVM's, such as pidfd_getfd() takes from a VMM.
 * EBUSY: this session, or that VM, has another one already.
 */
#define IHO_ATTACH		_IOW(IHO_TYPE, 0x01, __s32)
/* EOPNOTSUPP: see `refused`; nothing was changed.  ENODEV: not attached. */
#define IHO_SET_MODES		_IOWR(IHO_TYPE, 0x02, struct iho_modes)
#define IHO_GET_MODES		_IOR(IHO_TYPE, 0x03, struct iho_modes)
/* ENOENT: there is no such vCPU.  EOPNOTSUPP: no mode here has a vCPU's state. */
#define IHO_GET_VCPU		_IOWR(IHO_TYPE, 0x04, struct iho_vcpu)

#endif /* _UAPI_LINUX_IHO_H */
