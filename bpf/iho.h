/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The door of bpf/: the records that the BPF programs write and every reader maps.
 *
 * All maps are BPF_F_MMAPABLE arrays, frozen: only BPF programs write to them. A reader maps them
 * and takes its snapshots without a system call. Times are CLOCK_MONOTONIC in nanoseconds.
 * Counters only grow; they start at 0 when the slot is taken, which is the moment a vCPU is first
 * seen.
 *
 * Who writes what:
 *  - a slot: only the vCPU's own thread, or the scheduler while it switches that thread in or out.
 *    Both run on one CPU at a time and hold off preemption, so there are no atomics. `core` is
 *    guarded by `seq` (odd while it changes); everything outside it is single 64-bit words that a
 *    reader may load one by one, but `direct`, which is under `seq` too. Four exceptions, each a
 *    field of its own: `wake_ns` (the waker, under the run queue's lock), `hardirq`/`softirq`
 *    (interrupt context on the vCPU's core), `interlopers` (sched_switch on the core where the vCPU
 *    waits; then it does not run) and `idle` (whoever changes the VM's modes).
 *  - a struct iho_cpu: its own CPU; `waiter` under that CPU's run-queue lock.
 *  - shared tables: anyone, with atomics.
 */
#ifndef IHO_H
#define IHO_H

#include <linux/types.h>

#include "events.h"

/* What a vCPU can be doing. It is in exactly one of these at any moment. */
enum iho_state {
	IHO_ST_UNKNOWN, /* before the first event that tells: shown as "unaccounted" */
	IHO_ST_GUEST, /* in VMX non-root mode or the SVM guest */
	IHO_ST_KVM, /* KVM handles an exit, on the CPU */
	IHO_ST_GUEST_OR_KVM, /* in KVM_RUN on a host that emits no kvm_entry/kvm_exit */
	IHO_ST_QEMU, /* the VMM's own code, on the CPU */
	IHO_ST_QEMU_ASLEEP, /* the VMM's own code, waiting for something */
	IHO_ST_HALT_POLL, /* KVM spins for a wake-up before it blocks */
	IHO_ST_HALTED, /* blocked because the guest executed HLT (or waits for its SIPI) */
	IHO_ST_BLOCKED, /* asleep inside KVM for another reason: a page, a lock */
	IHO_ST_RUNNABLE, /* woken, waits for a core */
	IHO_ST_PREEMPTED, /* lost its core while it had work */
	IHO_ST_STOPPED, /* SIGSTOP or a debugger */
	IHO_ST_MAX,
};

/*
 * What the VM's guest does when it has nothing to do (KVM_CAP_X86_DISABLE_EXITS). Where it halts
 * without an exit, an idle guest looks like a busy one from here. KVM lets nobody change it once
 * the VM has a vCPU, so it is read once; the patched KVM does, and tells (kvm_iho_modes).
 */
enum iho_idle { IHO_IDLE_UNKNOWN, IHO_IDLE_EXITS, IHO_IDLE_IN_GUEST };

/* The hardware that an exit code belongs to: KVM_ISA_VMX, KVM_ISA_SVM of the kernel's trace.h. */
enum iho_isa { IHO_ISA_NONE, IHO_ISA_VMX, IHO_ISA_SVM };

/*
 * Histograms are log-linear: IHO_HIST_SUB buckets to each power of two, so a bucket's middle is at
 * most 12.5 % away from any value in it. The first bucket takes everything below 40 ns, the last
 * one everything above its lower bound; the exact maximum is kept beside the histogram.
 */
#define IHO_HIST_SUB	   4
#define IHO_HIST_MIN_SHIFT 5 /* 2^5 = 32 ns */
#define IHO_HIST_OCTAVES   28 /* up to 2^33 ns, 8.6 s */
#define IHO_HIST_BUCKETS   (IHO_HIST_OCTAVES * IHO_HIST_SUB)

#define IHO_EXITS	  32 /* exit reasons of one vCPU; the last one collects the overflow */
#define IHO_USER_EXITS	  32 /* likewise for KVM_EXIT_* */
#define IHO_DRILLS	  512
#define IHO_DRILL_PROBES  8
#define IHO_DRILL_RARE	  8 /* an entry seen so rarely gives way to a new one */
#define IHO_TASKS	  16
#define IHO_HARDIRQS	  8
#define IHO_SOFTIRQS	  10 /* NR_SOFTIRQS of linux/interrupt.h */
#define IHO_WAITERS	  4 /* waiting vCPUs of one CPU whose interlopers are named */
#define IHO_SHARED	  4096
#define IHO_VMS		  1024
#define IHO_COMM	  16
#define IHO_CODE_OVERFLOW 0xfffffffeu /* the code of the entry that collects the overflow */
#define IHO_CPUID_SCAN	  0x40000200u /* see iho_cpuid_leaf() */
#define IHO_USER_ERROR	  0x10000u /* KVM_RUN failed: IHO_USER_ERROR | errno */

/* One exit reason of one vCPU. Durations are the work for the guest (KVM and VMM): no halt, no
 * wait. */
struct iho_exit {
	__u32 code; /* the raw code: VMX exit reason or SVM exit code */
	__u32 isa;
	__u64 count;
	__u64 time_ns; /* KVM and VMM time of all finished exits */
	__u64 kvm_ns; /* the part of it inside KVM */
	__u64 max_ns;
	__u64 hist[IHO_HIST_BUCKETS];
};

/* One reason for which KVM_RUN returned to the VMM: KVM_EXIT_*, or IHO_USER_ERROR | errno. */
struct iho_user_exit {
	__u32 code;
	__u32 pad;
	__u64 count;
	__u64 time_ns; /* time in the VMM until KVM_RUN is called again */
	__u64 max_ns;
};

/*
 * The drill-down: one open-addressed table per vCPU, the kind is part of the key. Where it is
 * crowded, what was seen only a few times gives way: a booting Linux asks for 256 CPUID leaves in
 * search of its hypervisor, and these must not keep the ports and registers out that it uses from
 * then on.
 */
enum iho_drill_kind {
	IHO_DRILL_NONE,
	IHO_DRILL_PIO, /* port << 1 | write */
	IHO_DRILL_MMIO, /* gfn << 1 | write */
	IHO_DRILL_FAST_MMIO, /* gfn */
	IHO_DRILL_MSR, /* index << 1 | write */
	IHO_DRILL_CPUID, /* leaf; iho_cpuid_leaf() */
	IHO_DRILL_CR, /* number << 1 | write */
	IHO_DRILL_HYPERCALL, /* number */
	IHO_DRILL_PAGE_FAULT, /* error code */
	IHO_DRILL_INJ_VIRQ, /* vector */
	IHO_DRILL_INJ_EXCEPTION, /* vector */
	IHO_DRILL_IPI, /* ICR: delivery mode << 8 | vector, as the low ICR has them */
	IHO_DRILL_EOI, /* vector */
	IHO_DRILL_PV_EOI, /* vector */
	IHO_DRILL_APIC_ACCEPT, /* shared table: see iho_shared_key() */
	IHO_DRILL_APICV_ACCEPT, /* shared table */
	IHO_DRILL_MSI, /* shared table */
	IHO_DRILL_PI_IRTE, /* shared table */
	IHO_DRILL_MAX,
};

#define IHO_DRILL_KEY(kind, value) (((__u64)(kind) << 56) | ((__u64)(value) & ((1ULL << 56) - 1)))
#define IHO_DRILL_KIND(key)	   ((__u32)((key) >> 56))
#define IHO_DRILL_VALUE(key)	   ((key) & ((1ULL << 56) - 1))

struct iho_drill {
	__u64 key; /* IHO_DRILL_KEY(), 0 = free */
	__u64 count;
};

/*
 * A process, and not the next one that gets its pid: the pid (22 bits, PID_MAX_LIMIT of
 * linux/threads.h), then its start in units of about a millisecond.
 */
#define IHO_PROCESS(tgid, start_ns) ((__u64)(tgid) | (__u64)(start_ns) >> 20 << 22)
#define IHO_PROCESS_TGID(process)   ((__u32)(process)&0x3fffff)

/*
 * Interrupts are accepted for a vCPU by whoever sends them, so these counts belong to a VM and not
 * to the thread that runs: key = kind, then APIC id (16 bits), vector (8 bits), VM's process (the
 * low 32 bits of IHO_PROCESS). Process 0: sent from interrupt context, the VM is not known.
 */
#define IHO_SHARED_KEY(kind, apicid, vector, process)                                              \
	IHO_DRILL_KEY(kind, ((__u64)((apicid)&0xffff) << 40) | ((__u64)((vector)&0xff) << 32) |    \
				    (__u32)(process))
#define IHO_SHARED_APICID(key)	((__u32)((key) >> 40) & 0xffff)
#define IHO_SHARED_VECTOR(key)	((__u32)((key) >> 32) & 0xff)
#define IHO_SHARED_PROCESS(key) ((__u32)(key))

/* A host task that had the vCPU's core while the vCPU wanted it. */
struct iho_task {
	__u32 tid; /* 0 with a name: the idle task, that is a late wake-up */
	__u32 used;
	char comm[IHO_COMM];
	__u64 ns;
	__u64 count;
};

struct iho_irq {
	__u32 nr;
	__u32 used;
	__u64 ns;
	__u64 count;
};

/* The part of a slot that must be read as a whole: the bill and what is going on now. */
struct iho_core {
	__u64 first_ns; /* when this vCPU was first seen */
	__u64 since_ns; /* when `state` began, or was last billed */
	__u64 pend_ns; /* KVM time before a block: halt polling or not is known at the wake-up */
	__u64 time_ns[IHO_ST_MAX];
	__u32 state;
	__u32 resume; /* the state to go on with when the thread gets a core again */
};

/*
 * Direct mode of the patched KVM (kvm-patches/, uapi/linux/iho.h): a vCPU whose guest has donated a
 * page writes the deadlines of its timer, and takes its interrupts, without exits. What happened in
 * it KVM tells with an exit, ten times a second at most (kvm_direct_stat).
 *
 * From IHO_DIRECT_DEADLINES on, the counters are the guest's, in memory that it can write:
 * nobody has checked them. See iho_on_direct_stat() for what is believed of them.
 */
enum iho_direct_counter {
	IHO_DIRECT_ENGAGED, /* times that its deadlines began to make no exit */
	IHO_DIRECT_GIVEN, /* deadlines left to KVM's timer, as it halted or left direct mode */
	IHO_DIRECT_TAKEN, /* ... and taken back */
	IHO_DIRECT_RECOVERED, /* interrupts that came while it was outside the guest */
	IHO_DIRECT_HOST_TIMER, /* exits for the host's own timer */
	IHO_DIRECT_IPIS_KICKED, /* IPIs in direct form that made an exit all the same */
	IHO_DIRECT_DRAINED, /* times that its VMM read its APIC while it was in direct mode */
	IHO_DIRECT_DEADLINES, /* written without an exit */
	IHO_DIRECT_FIRED, /* interrupts of the timer, with exits and without */
	IHO_DIRECT_SPURIOUS, /* of them, before their deadline */
	IHO_DIRECT_IPIS_POSTED, /* to other vCPUs, by the guest itself */
	IHO_DIRECT_IPIS_NOTIFIED, /* of them, those for which it wrote the ICR */
	IHO_DIRECT_IPIS_ASKED, /* IPIs that it left to KVM, by hypercall */
	IHO_DIRECT_IDLE_NS, /* of the vCPU, as its guest accounts it; in HLT, wherever that is */
	IHO_DIRECT_IRQ_NS,
	IHO_DIRECT_SOFTIRQ_NS,
	IHO_DIRECT_MAX,
};

/* IHO_MODE_* and IHO_MISSING_* of uapi/linux/iho.h; iho.bpf.c sees that they are the same. */
#define IHO_DIRECT_TIMER	     (1u << 1)
#define IHO_DIRECT_IPI		     (1u << 2)
#define IHO_DIRECT_MISSING_PAGE	     (1u << 0)
#define IHO_DIRECT_MISSING_APIC	     (1u << 1)
#define IHO_DIRECT_MISSING_TSC_RATIO (1u << 2)
#define IHO_DIRECT_MISSING_NESTED    (1u << 3)
#define IHO_DIRECT_MISSING_PINNED    (1u << 4)
#define IHO_DIRECT_MISSING_X2APIC    (1u << 5)
#define IHO_DIRECT_MISSING_DRAINED   (1u << 6)

/* No vCPU writes deadlines, or takes interrupts, faster than one in this time. */
#define IHO_DIRECT_LEAST_NS 100

struct iho_direct {
	__u32 modes; /* what it may do without exits now */
	__u32 missing; /* what keeps it from that */
	__u64 first_ns; /* when its counters were first traced; 0: never, no page was donated */
	__u64 at_ns; /* ... and last */
	__u64 updated_ns; /* by the guest's clock: when it wrote its times; 0: it keeps none */
	__u64 last[IHO_DIRECT_MAX]; /* as they were traced last */
	__u64 total[IHO_DIRECT_MAX]; /* since first_ns */
	__u64 without_exit; /* of total[IHO_DIRECT_FIRED], see iho_direct_deliver() */
	__u64 with_exit;
	__u64 ipis_without_exit; /* of total[IHO_DIRECT_IPIS_POSTED], see iho_direct_send() */
	__u64 ipis_kicked; /* those of total[IHO_DIRECT_IPIS_KICKED] that are in none of them yet */
	__u64 refused; /* times that a counter went back, or grew faster than it can */
	__u32 armed; /* a deadline that may be pending without KVM knowing: 0 or 1 */
	__u32 left; /* ... or that KVM's timer has */
	__u32 posted; /* an interrupt that KVM recovered and the guest has not counted: 0 or 1 */
	__u32 pad;
	__u64 time_ns[IHO_ST_MAX]; /* the bill at at_ns */
};

/* How a slot is used: set last when it is taken, so a reader never sees half an identity. */
enum iho_life { IHO_FREE, IHO_LIVE, IHO_GONE };

struct iho_slot {
	__u64 seq;
	struct iho_core core;
	struct iho_direct direct;

	__u64 wake_ns; /* the last wake-up; counts if it lies after core.since_ns */

	/* identity */
	__u32 life;
	__u32 tgid;
	__u32 tid;
	__s32 vcpu_id; /* -1: not known yet */
	__u64 start_ns; /* the thread's start, so that a reused tid is another vCPU */
	__u64 process_start_ns; /* likewise for the process */
	__u64 vm_key; /* tells VMs of one process apart; a keyed hash, never the kernel's pointer */
	__u64 gone_ns;

	/* where it runs */
	__s32 cpu;
	__u32 wait_cpu; /* CPU + 1 where it is listed as a waiter */
	__u64 wait_since_ns;
	__u64 migrations;
	__u64 preemptions;
	__u64 switches; /* times it was switched in */

	/* the exit being handled */
	__u32 cur_exit; /* index + 1 */
	__u32 cur_user; /* index + 1 */
	__u64 cur_kvm_ns;
	__u64 cur_work_ns; /* KVM and VMM */
	__u64 cur_user_ns;

	/* halt polling */
	__u64 block_ns; /* when the current halt first blocked */
	__u32 poll_limit_ns; /* in effect for the current halt */
	__u32 poll_next_ns;
	__u64 halts;
	__u64 halts_polled; /* ended while polling */
	__u32 ple_window;

	__u32 n_exits;
	__u32 n_user_exits;
	__u32 entry_seen; /* this host tells guest from KVM */
	__u32 idle; /* enum iho_idle */
	__u32 guessed; /* `state` was a guess when the slot was taken; no entry or exit since */

	/* what went wrong with this vCPU's events */
	__u64 unpaired_exits; /* an exit while KVM was already handling one */
	__u64 unpaired_entries; /* an entry while already in the guest */
	__u64 clock_back; /* an event older than the one before it */
	__u64 exit_overflow; /* exits beyond IHO_EXITS reasons */
	__u64 user_overflow;
	__u64 drill_overflow[IHO_DRILL_MAX]; /* events without a row of their own (any more) */
	__u64 task_evicted_ns; /* interloper time whose task lost its place in the table */
	__u64 task_evicted;
	__u64 task_evicted_times; /* how often these had the core */
	__u64 irq_overflow;
	__u64 missed_switches; /* found running although no switch was reported */

	__u64 events[IHO_EV_MAX];

	__u8 exit_idx[256]; /* bucket of the code -> index + 1 */
	struct iho_irq hardirq[IHO_HARDIRQS];
	struct iho_irq softirq[IHO_SOFTIRQS];
	struct iho_task interlopers[IHO_TASKS];
	struct iho_user_exit user_exits[IHO_USER_EXITS];
	struct iho_drill drill[IHO_DRILLS];
	struct iho_exit exits[IHO_EXITS];
};

/* What is lost for the host as a whole. */
enum iho_loss {
	IHO_LOSS_NO_SLOT, /* events of vCPUs that found no free slot */
	IHO_LOSS_NO_STORAGE, /* events for which the kernel refused task storage */
	IHO_LOSS_WAITERS, /* more waiting vCPUs on a CPU than IHO_WAITERS */
	IHO_LOSS_SHARED, /* no room in the shared tables */
	IHO_LOSS_NESTED, /* a switch in the middle of an event's program */
	IHO_LOSS_READ, /* a kernel structure could not be read */
	IHO_LOSS_MAX,
};

struct iho_cpu {
	__u32 cur; /* slot + 1 of the vCPU thread on this CPU, 0 = none */
	__u32 n_waiters;
	__u32 waiter[IHO_WAITERS]; /* slot + 1 */
	__u64 switch_ns; /* the last switch while somebody waited */
	__u64 hardirq_ns; /* start of the handler that runs, 0 = none */
	__u64 softirq_ns;
	__u64 softirq_stolen_ns; /* time of hard interrupts inside this softirq */
	__u64 loss[IHO_LOSS_MAX];
	__u64 events[IHO_EV_MAX]; /* events outside any vCPU */
} __attribute__((aligned(64)));

/* APICv/AVIC of one VM, by process. */
struct iho_vm {
	__u64 process; /* IHO_PROCESS, 0 = free */
	__s32 last_reason; /* bit number: enum kvm_apicv_inhibit of the running kernel; -1 = none */
	__u64 inhibits; /* bit mask */
	__u64 since_ns; /* when it last changed, or was first read */
	__u64 changes; /* 0: `inhibits` was read at start-up and has not changed since */
};

/* What a program that clears something is told: which entry, and whose it was. */
struct iho_clear {
	__u32 idx;
	__u32 pad;
	__u64 key;
};

#endif /* IHO_H */
