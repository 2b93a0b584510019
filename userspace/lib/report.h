/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the views show: one report is the difference of two snapshots, with names.
 *
 * Flow: source -> snapshot (collector.h) -> report -> view. A view reads nothing else: no BPF, no
 * /proc. `total` counts from the moment a vCPU was first seen, `delta` since the previous report.
 * Times are nanoseconds. All memory of a report belongs to it and lives until it is built again.
 */
#ifndef IHO_REPORT_H
#define IHO_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../bpf/iho.h"
#include "migration.h"

/* The bill as it is shown: it sums to the wall time since the vCPU was first seen. */
enum iho_bill {
	IHO_BILL_GUEST,
	IHO_BILL_KVM,
	IHO_BILL_GUEST_OR_KVM, /* only where the host emits no kvm_entry/kvm_exit */
	IHO_BILL_QEMU, /* the VMM's own code, on the CPU or asleep */
	IHO_BILL_HALT_POLL,
	IHO_BILL_HALTED,
	IHO_BILL_BLOCKED,
	IHO_BILL_RUNNABLE,
	IHO_BILL_PREEMPTED,
	IHO_BILL_STOPPED,
	IHO_BILL_UNACCOUNTED,
	IHO_BILL_MAX,
};

struct iho_bill_ns {
	uint64_t total[IHO_BILL_MAX];
	uint64_t delta[IHO_BILL_MAX];
	uint64_t qemu_asleep_total; /* the part of QEMU in which the VMM's thread slept */
	uint64_t qemu_asleep_delta;
	uint64_t wall_total;
	uint64_t wall_delta;
};

/* An exit reason. Times are the work for the guest, in KVM and the VMM: no halt and no wait. */
struct iho_exit_row {
	char reason[40];
	uint32_t code;
	uint32_t isa; /* enum iho_isa */
	uint64_t total, delta;
	uint64_t time_ns, time_delta_ns;
	uint64_t kvm_ns; /* the part of time_ns inside KVM */
	uint64_t mean_ns, p50_ns, p99_ns,
		max_ns; /* since the vCPU was first seen; <= 12.5 % off, max exact */
	const uint64_t *hist; /* IHO_HIST_BUCKETS finished exits; NULL in the rows of a vCPU */
};

struct iho_user_row {
	char reason[40];
	uint32_t code;
	uint64_t total, delta;
	uint64_t time_ns, time_delta_ns; /* in the VMM, until KVM_RUN is called again */
	uint64_t max_ns;
};

/* One line of the drill-down; iho_drill_describe() puts it into words. */
struct iho_drill_row {
	enum iho_drill_kind kind;
	uint64_t value;
	uint64_t total, delta;
};

enum iho_interloper_kind { IHO_BY_TASK, IHO_BY_IRQ, IHO_BY_SOFTIRQ };

/* Who had the core while the vCPU wanted to run. */
struct iho_interloper_row {
	enum iho_interloper_kind kind;
	uint32_t id; /* tid, IRQ number, softirq number */
	char name[32]; /* comm, the name in /proc/interrupts, NET_RX... */
	uint64_t total_ns, delta_ns;
	uint64_t total, delta;
};

/*
 * Interrupts accepted for a VM: by the software APIC, by APICv/AVIC, as MSI, or set up as
 * posted.
 */
struct iho_accept_row {
	enum iho_drill_kind kind;
	uint32_t apicid;
	uint32_t vector;
	uint64_t total, delta;
};

/* Whose code had the CPU. The VMM's user and system part is sampled, see utilisation.h. */
enum iho_cpu_mode {
	IHO_CPU_HOST_USER, /* the VMM's own code */
	IHO_CPU_HOST_SYSTEM, /* KVM, halt polling, system calls of the VMM */
	IHO_CPU_GUEST_USER, /* only where a PMU counts guests by privilege; else IHO_CPU_GUEST */
	IHO_CPU_GUEST_SYSTEM,
	IHO_CPU_GUEST, /* the guest, not divided */
	IHO_CPU_GUEST_OR_HOST_SYSTEM, /* where this host cannot tell the guest from KVM */
	IHO_CPU_MAX,
};

/* Where the true busy share of a vCPU comes from, the best first; see utilisation.h. */
enum iho_busy_signal {
	IHO_BUSY_BILL,
	IHO_BUSY_REF_CYCLES,
	IHO_BUSY_MPERF,
	IHO_BUSY_GUEST, /* what the guest says of itself; nobody has checked it */
	IHO_BUSY_MAX,
};

/* Does the host see an idle guest as idle? */
enum iho_idle_seen {
	IHO_IDLE_SEEN_UNKNOWN, /* the kernel does not say, and it never halted so far */
	IHO_IDLE_SEEN_NO, /* halts do not exit */
	IHO_IDLE_SEEN_YES, /* halts exit: the kernel says so */
	IHO_IDLE_SEEN_HALT, /* the kernel does not say, but it has been seen to halt */
};

/* Of a signal that is not known, all is 0. */
struct iho_busy {
	bool known;
	uint64_t busy_ns, of_ns; /* totals, of the time in which the signal was valid */
	uint64_t busy_delta_ns, of_delta_ns;
};

/*
 * The kernel's books and counters are looked at about once a second: `window_ns` is the time
 * between the last two looks, and the *_delta_ns are of it. The bill's are of the report's
 * interval.
 */
struct iho_cpu_times {
	uint32_t known; /* bit mask of enum iho_cpu_mode: what this host can tell */
	uint64_t ns[IHO_CPU_MAX];
	uint64_t delta_ns[IHO_CPU_MAX];
	uint64_t window_ns; /* of a VM: summed over its vCPUs */
	struct iho_busy busy[IHO_BUSY_MAX];
	bool disagree; /* two valid signals of the host are more than 10 percentage points apart */
	enum iho_idle_seen idle_seen; /* of a VM: the worst of its vCPUs */
};

/*
 * Direct mode of the patched KVM, of a vCPU or summed over a VM's. What the counters are, and from
 * which on they are as the guest says, is in bpf/iho.h; here with what follows from them:
 *  - without_exit: interrupts of the timer that came without an exit. A vCPU has one deadline at a
 *    time: it is what was counted as fired, no more than the deadlines written without an exit,
 *    less those that KVM took over or recovered (iho_direct_deliver() of bpf/state.h);
 *  - with_exit: the others, but those recovered; these needed no exit of their own;
 *  - ipis_without_exit: IPIs that the guest posted, less those that made an exit all the same
 *    (iho_direct_send());
 *  - saved: exits that there would have been: of each deadline that was written without one, the
 *    exit for WRMSR; of each interrupt without one, that for the timer; of each IPI without one,
 *    that for WRMSR. HLTs without an exit are not in it: nothing counts them. An estimate, as good
 *    as the guest's counters are.
 */
enum iho_direct_derived {
	IHO_DIRECT_WITHOUT_EXIT = IHO_DIRECT_MAX,
	IHO_DIRECT_WITH_EXIT,
	IHO_DIRECT_IPIS_WITHOUT_EXIT,
	IHO_DIRECT_SAVED,
	IHO_DIRECT_ALL,
};

struct iho_direct_report {
	bool traced; /* there are counters, be it of vCPUs that ended */
	unsigned int known; /* vCPUs whose counters KVM has traced, of those that live */
	unsigned int on; /* ... that write deadlines without exits now */
	unsigned int ipi_on; /* ... that send IPIs without exits now */
	uint32_t missing; /* IHO_DIRECT_MISSING_*, of any of them */
	uint64_t total[IHO_DIRECT_ALL], delta[IHO_DIRECT_ALL];
	uint64_t refused; /* times that a counter was not believed */
	double age_s; /* since a vCPU's counters were traced; of a VM the oldest; < 0: never */
};

#define IHO_ROWS(type)                                                                             \
	struct {                                                                                   \
		struct type *v;                                                                    \
		size_t n;                                                                          \
	}

struct iho_vcpu {
	int id; /* -1: not known (yet) */
	pid_t tid;
	int cpu; /* where it ran last */
	char affinity[64]; /* the CPUs that it may use, as in /proc: "0-3,8"; "" = unknown */
	bool pinned; /* exactly one CPU allowed */
	bool gone; /* its thread ended */
	bool archived; /* ... long ago, while its VM lives: here for the sums, not to be shown */
	struct iho_bill_ns bill;
	struct iho_cpu_times cpu_times;
	struct iho_direct_report direct;
	enum iho_bill state; /* what it is doing now */
	uint64_t exits, exits_delta; /* all reasons */
	uint64_t user_exits, user_exits_delta;
	IHO_ROWS(iho_exit_row) exit_rows; /* by total, descending */
	IHO_ROWS(iho_user_row) user_rows;
	IHO_ROWS(iho_drill_row) drill_rows; /* by kind, then total descending */
	IHO_ROWS(iho_interloper_row) interloper_rows; /* by time, descending */
	uint64_t events[IHO_EV_MAX], events_delta[IHO_EV_MAX];
	uint64_t halts, halts_polled, preemptions, migrations, switches;
	uint64_t halts_delta, preemptions_delta, migrations_delta;
	uint32_t halt_poll_limit_ns;
	uint32_t ple_window;
	/* losses of this vCPU */
	uint64_t unpaired, clock_back, torn, missed_switches;
	uint64_t exit_overflow, user_overflow, irq_overflow;
	/* tasks without a row any more: how many, their time, how often they had the core */
	uint64_t interlopers_evicted, interlopers_evicted_ns, interlopers_evicted_times;
	uint64_t drill_overflow[IHO_DRILL_MAX];
};

enum iho_apicv { IHO_APICV_UNKNOWN, IHO_APICV_OFF, IHO_APICV_INHIBITED, IHO_APICV_ON };

struct iho_apicv_state {
	enum iho_apicv state;
	char text[160]; /* one sentence: on, off or inhibited, and why */
	char reasons[640]; /* names of the inhibit reasons that are set, comma-separated */
	uint64_t inhibits;
	double since_s; /* seconds in this state; < 0: since before we looked */
	uint64_t changes;
};

struct iho_vm_report {
	pid_t pid;
	uint64_t key; /* tells VMs of one process apart */
	char name[64];
	const char *vmm; /* "qemu", "firecracker", "cloud-hypervisor", "libvirt", "unknown" */
	bool gone; /* ended; shown for a minute */
	double gone_s;
	struct iho_vcpu *vcpus; /* by id */
	size_t n_vcpus;
	struct iho_bill_ns bill; /* sums over the vCPUs */
	struct iho_cpu_times cpu_times; /* known: for all vCPUs that live */
	struct iho_direct_report direct;
	uint64_t exits, exits_delta, user_exits, user_exits_delta;
	IHO_ROWS(iho_exit_row) exit_rows;
	IHO_ROWS(iho_user_row) user_rows;
	IHO_ROWS(iho_drill_row) drill_rows;
	IHO_ROWS(iho_accept_row) accept_rows;
	struct iho_apicv_state apicv;
};

/* What we cost, and what we missed. */
struct iho_self {
	/* Of the process that hosts the BPF programs: of one core, over the interval. */
	double cpu_share;
	uint64_t cpu_ns; /* in all */
	double start_time_s; /* when the counters began, since the epoch */
	uint64_t rss_bytes;
	/* This process, where it only reads what ihod collects; else 0. */
	double reader_cpu_share;
	uint64_t reader_rss_bytes;
	uint64_t map_bytes; /* kernel memory of the BPF maps */
	double bpf_ns_per_event; /* < 0: not measured yet; see collector.h for how it is sampled */
	double bpf_share; /* of one core: ns per event times the events of this interval */
	double snapshot_us; /* how long taking this report's snapshot took */
	uint64_t events, events_delta;
	/*
	 * The sum of the lost_... and ..._overflow and clock_back. Not interlopers_evicted: one
	 * that lost its place in the table is named less, its time stays in the bill.
	 */
	uint64_t lost;
	uint64_t lost_no_slot, lost_storage, lost_shared, lost_waiters, lost_nested, lost_read;
	uint64_t drill_overflow, exit_overflow, irq_overflow, interlopers_evicted;
	uint64_t unpaired, clock_back, torn;
	uint64_t missed_switches; /* threads found running that the kernel reported no switch for */
	unsigned int slots, slots_used;
	unsigned int vcpus_without_id;
};

struct iho_report {
	double time_s; /* wall clock, seconds since the epoch */
	double interval_s;
	const char *source; /* "bpf" */
	const char *host; /* who hosts it: "ihod" or "self" */
	bool splits_guest; /* this host tells guest from KVM time; else GUEST_OR_KVM is used */
	char missing[512]; /* one sentence: what this host cannot show; "" = nothing */
	struct iho_vm_report *vms; /* by name */
	size_t n_vms;
	struct iho_self self;
	const struct iho_migration_view *migration; /* NULL: nobody watches migrations here */
};

/* Names for a column or a key: "guest", "kvm", "guest_or_kvm", ... and "Guest", "KVM", ... */
const char *iho_bill_key(enum iho_bill b);
const char *iho_bill_label(enum iho_bill b);

/* "host_user", ...; "bill", "ref_cycles", "mperf", "guest"; one sentence about idle_seen. */
const char *iho_cpu_key(enum iho_cpu_mode m);
const char *iho_cpu_label(enum iho_cpu_mode m);
const char *iho_busy_key(enum iho_busy_signal s);
const char *iho_idle_key(enum iho_idle_seen s);
const char *iho_idle_text(enum iho_idle_seen s);

/* "given", ..., "idle_ns", "without_exit", ..., by enum iho_direct_counter and ..._derived. */
const char *iho_direct_key(unsigned int counter);

/* One of IHO_DIRECT_MISSING_*, by its number: "page", ..., and in words; NULL: there is none. */
const char *iho_direct_missing_key(unsigned int bit);
const char *iho_direct_missing_text(unsigned int bit);

/* The busy share, 0 to 1, of the last window; < 0: not known. */
double iho_busy_share(const struct iho_busy *b);

/* The signal to show where there is room for one; IHO_BUSY_MAX: none is valid. */
enum iho_busy_signal iho_busy_best(const struct iho_cpu_times *t);

/* "pio", "mmio", "msr", ...: the JSON key of a drill-down kind, and its title for a screen. */
const char *iho_drill_key(enum iho_drill_kind kind);
const char *iho_drill_title(enum iho_drill_kind kind);

/* A drill-down value taken apart, for output that is not for a person. */
struct iho_drill_fields {
	const char *number_key; /* "port", "page", "msr", "leaf", "vector"... */
	uint64_t number; /* a page is its guest physical address */
	bool has_write, write;
	unsigned int delivery_mode; /* of an IPI, as in the ICR */
};

void iho_drill_decode(enum iho_drill_kind kind, uint64_t value, struct iho_drill_fields *f);

/* One line for a person: "port 0x3f8 write", "MSR 0x6e0 write", "page 0xfee00000 write". */
void iho_drill_describe(enum iho_drill_kind kind, uint64_t value, char *buf, size_t len);

/* For the vectors that x86 fixes: "NMI", "#GP"...; "" where the guest chooses. */
const char *iho_exception_name(unsigned int vector);

#endif /* IHO_REPORT_H */
