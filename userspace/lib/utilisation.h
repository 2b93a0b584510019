/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: how much of its time a guest really used.
 *
 * Two questions. Whose code ran (the classic columns: host user and system, guest user and system),
 * and was the guest busy or idle, which guest time alone does not tell: a guest that halts without
 * an exit sits in guest mode, and reads as 100 %.
 *
 * The bill answers most of the first: guest, KVM and VMM time are exact. It does not divide the
 * VMM's time into user and system, nor the guest's: the former is asked of the kernel's own books
 * (/proc/PID/task/TID/stat, sampled at the clock tick), the latter of the PMU.
 *
 * For the second there are up to four signals, each valid only where it can know:
 *  - bill: guest, KVM and VMM on the CPU, without halt polling. Valid where an idle guest exits.
 *  - ref_cycles: unhalted reference cycles in guest mode (perf, exclude_host), and KVM and VMM from
 *    the bill. Needs a PMU that counts guests apart.
 *  - mperf: unhalted cycles of the core while the vCPU's thread had it (perf's msr PMU), less halt
 *    polling.
 *  - guest: the bill's, less the time that the guest says it idled in guest mode: what it says of
 *    its idle time (direct mode of the patched KVM, guest-module/), less the time that the bill has
 *    as halted or polling, and no more than it has as the guest's. Whatever a guest says, the
 *    result lies between none and all of its guest time; within that it can lie, so it comes last
 *    and is not compared with the others. Its window is from one of the guest's own accounts to
 *    another, so one that makes no exit for long is told of later.
 * MPERF and reference cycles count at the rate of the TSC while the core is not halted (SDM volume
 * 3, "Hardware Coordination Feedback" and CPU_CLK_UNHALTED.REF_TSC), so cycles divided by that
 * rate are time.
 *
 * One process asks the system, at most once a second (struct iho_utilisation_set). What it learns
 * is a plain struct of running totals for each slot, which can be sent as JSON; a reader makes
 * windows of them (struct iho_utilisation_window).
 *
 * Reading a counter of a thread that runs interrupts its core, which is an exit. So counters are
 * read once in IHO_COUNTERS_NS, and only where the host has them at all.
 */
#ifndef IHO_UTILISATION_H
#define IHO_UTILISATION_H

#include <jansson.h>
#include <linux/perf_event.h>

#include "report.h"
#include "snapshot.h"

/* The shortest window: so much less than a second that reports a second apart find one each. */
#define IHO_BOOKS_NS	   900000000ULL
#define IHO_COUNTERS_NS	   4900000000ULL
#define IHO_BOOKS_MOST	   64 /* threads whose books are read in one round */
#define IHO_COUNTERS_MOST  256 /* vCPUs with counters; fewer where RLIMIT_NOFILE is low */
#define IHO_GUEST_STALE_NS 60000000000ULL /* how long what a guest said of itself is good for */
#define IHO_DISAGREE_SHARE 0.10 /* signals that are further apart contradict each other */

/* What is known of one vCPU. Totals begin when its slot was taken; all times are nanoseconds. */
struct iho_utilisation {
	uint64_t start_ns; /* the thread's start, as in its slot: whose this is */
	uint64_t at_ns; /* CLOCK_MONOTONIC of the last look; 0: none yet */
	uint64_t wall_ns; /* up to that look */
	uint64_t cpu_ns[IHO_CPU_MAX];
	uint32_t cpu_known; /* bit mask: the modes that this host can tell */
	uint32_t signals; /* bit mask: what was valid in its last window */
	uint64_t busy_ns[IHO_BUSY_MAX]; /* not IHO_BUSY_BILL: that is the bill */
	uint64_t of_ns[IHO_BUSY_MAX]; /* the time that it is a part of */
	bool disagree; /* in the last window, see IHO_DISAGREE_SHARE */
};

/* The edge to the system; NULL in iho_utilisation_open() stands for the real one. */
struct iho_utilisation_system {
	const char *proc; /* "/proc" */
	const char *pmus; /* "/sys/bus/event_source/devices" */
	/* perf_event_open() on a thread: a descriptor, or -errno. */
	int (*counter_open)(void *arg, const struct perf_event_attr *attr, pid_t tid, int leader);
	/* read() of a leader: the bytes read, or -errno. */
	ssize_t (*counter_read)(void *arg, int fd, void *buf, size_t len);
	void (*counter_close)(void *arg, int fd);
	/* The TSC and CLOCK_MONOTONIC at one moment. */
	void (*clocks)(void *arg, uint64_t *tsc, uint64_t *ns);
	void *arg;
};

/* What this host has beside the bill; known after a vCPU was looked at, or a probe. */
enum iho_probed { IHO_NOT_PROBED, IHO_ABSENT, IHO_PRESENT };

struct iho_utilisation_set;

/* 0 or -ENOMEM. `system` is copied. */
int iho_utilisation_open(struct iho_utilisation_set **out, unsigned int n_slots,
			 const struct iho_utilisation_system *system);
void iho_utilisation_close(struct iho_utilisation_set *u);

/* Looks at the vCPUs of a snapshot; does nothing within IHO_BOOKS_NS of the last time. */
void iho_utilisation_update(struct iho_utilisation_set *u, const struct iho_snapshot *s);

/* Of a slot; start_ns 0: nobody's. Valid until the next update. */
const struct iho_utilisation *iho_utilisation_get(const struct iho_utilisation_set *u,
						  unsigned int slot);

/* Opens each counter on this thread, and closes it. */
void iho_utilisation_probe(struct iho_utilisation_set *u);
enum iho_probed iho_utilisation_has(const struct iho_utilisation_set *u, enum iho_busy_signal s);

/* Where a guest is idle, does the bill see it? And how do we know? */
enum iho_idle_seen iho_idle_seen(const struct iho_slot *s);

/* The time that a guest used, by the bill. */
uint64_t iho_bill_busy_ns(const uint64_t time_ns[IHO_ST_MAX]);

/* ---- for readers ---- */

/* The last look, and for each figure the look before it that was different. */
struct iho_utilisation_window {
	struct iho_utilisation now, before;
};

void iho_utilisation_step(struct iho_utilisation_window *w, const struct iho_utilisation *now);

/*
 * A new object, or NULL: no memory. iho_utilisation_from_json() returns -EINVAL and leaves zeroes
 * where a member is missing, of another type or out of range; unknown members are ignored.
 */
json_t *iho_utilisation_to_json(const struct iho_utilisation *v);
int iho_utilisation_from_json(struct iho_utilisation *v, const json_t *o);

#endif /* IHO_UTILISATION_H */
