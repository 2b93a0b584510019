// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "utilisation.h"

#define NSEC 1000000000ULL

/*
 * The kernel's books run ahead of, or behind, the exact times by what lies between two ticks. More
 * than a few ticks of it is something else, and is not carried on.
 */
#define CARRY_TICKS 4

/* arch/x86/include/uapi/asm/vmx.h and svm.h */
#define VMX_HLT 12
#define SVM_HLT 0x78

enum counter { REF, USER, KERNEL, MPERF, COUNTERS };

/* The counters of one thread. */
struct counters {
	int fd[COUNTERS]; /* -1: none. REF leads USER and KERNEL */
	bool open;
	bool failed; /* could not be read, and is not opened again */
	unsigned int windows;
	uint64_t tsc, ns; /* of the last reading; ns 0: none yet */
	uint64_t at_ns; /* and of the bill beside it */
	uint64_t time_ns[IHO_ST_MAX];
	uint64_t value[COUNTERS], enabled, running;
};

/* Of the guest's own account, where the last window ended. */
struct account {
	uint64_t at_ns; /* 0: none yet */
	uint64_t updated_ns, idle_ns;
	uint64_t time_ns[IHO_ST_MAX];
};

struct watch {
	struct iho_utilisation out;
	uint64_t first_ns; /* of the slot's owner, with its start */
	uint64_t time_ns[IHO_ST_MAX]; /* the bill at the last look */
	bool has_books;
	uint64_t user_ns; /* the books at the last look */
	uint64_t user_due; /* what the books have and cpu_ns[] has not, yet */
	double user_share; /* of the guest's time; < 0: not known */
	struct counters c;
	struct account guest;
};

struct iho_utilisation_set {
	struct iho_utilisation_system sys;
	struct watch *watch;
	unsigned int n_slots, n_open, open_most;
	unsigned int next; /* whose books are read first */
	uint64_t at_ns;
	uint64_t tick_ns;
	enum iho_probed has[COUNTERS];
	uint32_t msr_type;
	uint64_t mperf_config;
};

static uint64_t grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- the system ---- */

static int real_open(void *arg, const struct perf_event_attr *attr, pid_t tid, int leader)
{
	long fd = syscall(SYS_perf_event_open, attr, tid, -1, leader, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

static ssize_t real_read(void *arg, int fd, void *buf, size_t len)
{
	ssize_t n = read(fd, buf, len);

	return n < 0 ? -errno : n;
}

static void real_close(void *arg, int fd)
{
	close(fd);
}

static void real_clocks(void *arg, uint64_t *tsc, uint64_t *ns)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	*tsc = __rdtsc();
	*ns = t.tv_sec * NSEC + t.tv_nsec;
}

static const struct iho_utilisation_system real_system = {
	.proc = "/proc",
	.pmus = "/sys/bus/event_source/devices",
	.counter_open = real_open,
	.counter_read = real_read,
	.counter_close = real_close,
	.clocks = real_clocks,
};

/* A small file as a string: its length, or -errno. */
static ssize_t read_text(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	size_t used = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	do {
		n = read(fd, buf + used, len - 1 - used);
		if (n > 0)
			used += n;
		else if (n < 0)
			err = errno;
	} while (n > 0 || (n < 0 && err == EINTR));
	close(fd);
	buf[used] = '\0';
	return n < 0 ? -err : (ssize_t)used;
}

/* ---- the kernel's books ---- */

static uint64_t ticks_ns(const struct iho_utilisation_set *u, uint64_t ticks)
{
	return ticks > UINT64_MAX / u->tick_ns ? UINT64_MAX : ticks * u->tick_ns;
}

/*
 * The thread's own user time. proc_pid_stat(5): utime (14), which includes guest_time (43), and
 * starttime (22), all in clock ticks. The name in the second field may hold anything.
 *
 * The guest_time is good for no more than this: where the bill cannot tell the guest from KVM, the
 * KVM is one that does not mark its guest either (kvm_pvm: one tick of it in 0.8 s of guest).
 */
static int read_books(const struct iho_utilisation_set *u, const struct iho_slot *s,
		      uint64_t *user_ns)
{
	enum { UTIME = 14, START = 22, GUEST = 43 };
	uint64_t field[GUEST + 1] = {}, start = s->start_ns / u->tick_ns;
	char path[PATH_MAX], text[2048], *p, *end;
	ssize_t n;

	n = snprintf(path, sizeof(path), "%s/%u/task/%u/stat", u->sys.proc, s->tgid, s->tid);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	n = read_text(path, text, sizeof(text));
	if (n < 0)
		return n;
	p = strrchr(text, ')');
	if (!p || p[1] != ' ' || !p[2] || p[3] != ' ')
		return -EINVAL;
	p += 3;
	for (int i = 4; i <= GUEST; i++) {
		errno = 0;
		field[i] = strtoull(p, &end, 10);
		if (end == p || (errno && errno != ERANGE))
			return -EINVAL;
		p = end;
	}
	/* a tid that was used again is somebody else's */
	if (grown(field[START], start) > 1 || grown(start, field[START]) > 1)
		return -ESRCH;
	*user_ns = ticks_ns(u, grown(field[UTIME], field[GUEST]));
	return 0;
}

/*
 * What a thread had done before its first look counts as far as it fits: only then can it have been
 * since its slot was taken.
 */
static void use_books(struct watch *w, uint64_t user_ns, uint64_t vmm_ns)
{
	w->user_due += w->has_books ? grown(user_ns, w->user_ns) : least(user_ns, vmm_ns);
	if (user_ns > w->user_ns)
		w->user_ns = user_ns;
	w->has_books = true;
}

/* Without time in the VMM since the last look, there is nothing to divide. */
static bool wants_books(const struct watch *w, const struct iho_snap_vcpu *v)
{
	return v->slot->life == IHO_LIVE &&
	       (!w->has_books || v->time_ns[IHO_ST_QEMU] > w->time_ns[IHO_ST_QEMU]);
}

/* ---- the columns ---- */

static uint64_t awake_ns(const uint64_t time_ns[IHO_ST_MAX])
{
	return time_ns[IHO_ST_GUEST] + time_ns[IHO_ST_KVM] + time_ns[IHO_ST_GUEST_OR_KVM] +
	       time_ns[IHO_ST_QEMU] + time_ns[IHO_ST_HALT_POLL];
}

static void add_guest(struct watch *w, uint64_t ns)
{
	uint64_t user;

	if (w->user_share < 0) {
		w->out.cpu_ns[IHO_CPU_GUEST] += ns;
		return;
	}
	user = least(ns, (uint64_t)(w->user_share * ns));
	w->out.cpu_ns[IHO_CPU_GUEST_USER] += user;
	w->out.cpu_ns[IHO_CPU_GUEST_SYSTEM] += ns - user;
}

static void set_known(struct watch *w, bool splits)
{
	uint32_t known = 1 << IHO_CPU_HOST_USER;

	if (splits)
		known |= 1 << IHO_CPU_HOST_SYSTEM;
	else
		known |= 1 << IHO_CPU_GUEST_OR_HOST_SYSTEM;
	if (w->user_share >= 0)
		known |= 1 << IHO_CPU_GUEST_USER | 1 << IHO_CPU_GUEST_SYSTEM;
	else if (splits)
		known |= 1 << IHO_CPU_GUEST;
	for (int i = 0; i < IHO_CPU_MAX; i++)
		if (w->out.cpu_ns[i])
			known |= 1u << i;
	w->out.cpu_known = known;
}

/*
 * The time that the bill had awake since the last look, each part of it in one column. The first
 * sign of entries moves time within the bill, so that the parts may grow by more than the whole.
 */
static void fill_columns(const struct iho_utilisation_set *u, struct watch *w,
			 const struct iho_snap_vcpu *v, const uint64_t *user_ns)
{
	uint64_t rest = grown(awake_ns(v->time_ns), awake_ns(w->time_ns));
	uint64_t vmm, undivided, guest, user;

	vmm = least(grown(v->time_ns[IHO_ST_QEMU], w->time_ns[IHO_ST_QEMU]), rest);
	rest -= vmm;
	undivided = least(grown(v->time_ns[IHO_ST_GUEST_OR_KVM], w->time_ns[IHO_ST_GUEST_OR_KVM]),
			  rest);
	rest -= undivided;
	guest = least(grown(v->time_ns[IHO_ST_GUEST], w->time_ns[IHO_ST_GUEST]), rest);
	rest -= guest; /* KVM and its polling */

	if (user_ns)
		use_books(w, *user_ns, vmm);
	user = least(w->user_due, vmm);
	w->user_due = least(w->user_due - user, CARRY_TICKS * u->tick_ns);
	w->out.cpu_ns[IHO_CPU_HOST_USER] += user;
	rest += vmm - user;
	if (v->slot->entry_seen) {
		w->out.cpu_ns[IHO_CPU_GUEST_OR_HOST_SYSTEM] += undivided;
		w->out.cpu_ns[IHO_CPU_HOST_SYSTEM] += rest;
		add_guest(w, guest);
	} else {
		w->out.cpu_ns[IHO_CPU_GUEST_OR_HOST_SYSTEM] += rest + undivided + guest;
	}
	set_known(w, v->slot->entry_seen);
}

/* ---- counters ---- */

static bool fatal(int err)
{
	/* the thread is gone, or we are short of something: says nothing about the host */
	return err != -ESRCH && err != -EMFILE && err != -ENFILE && err != -ENOMEM;
}

static int open_one(struct iho_utilisation_set *u, struct counters *c, enum counter which,
		    struct perf_event_attr *attr, pid_t tid)
{
	int leader = which == USER || which == KERNEL ? c->fd[REF] : -1;
	int fd;

	if (u->has[which] == IHO_ABSENT)
		return -ENOENT;
	attr->size = sizeof(*attr);
	attr->read_format = PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED |
			    PERF_FORMAT_TOTAL_TIME_RUNNING;
	fd = u->sys.counter_open(u->sys.arg, attr, tid, leader);
	if (fd < 0) {
		if (fatal(fd))
			u->has[which] = IHO_ABSENT;
		return fd;
	}
	u->has[which] = IHO_PRESENT;
	c->fd[which] = fd;
	return 0;
}

static void close_one(struct iho_utilisation_set *u, struct counters *c, enum counter which)
{
	if (c->fd[which] >= 0)
		u->sys.counter_close(u->sys.arg, c->fd[which]);
	c->fd[which] = -1;
}

static void close_counters(struct iho_utilisation_set *u, struct watch *w)
{
	for (int i = COUNTERS - 1; i >= 0; i--)
		close_one(u, &w->c, i);
	if (w->c.open)
		u->n_open--;
	w->c.open = false;
	w->out.signals &= 1u << IHO_BUSY_GUEST;
	w->out.disagree = false;
}

/*
 * One group: the reference cycles of the guest, and its cycles by privilege. The latter only as a
 * ratio: Intel's PMU has a single counter for reference cycles, but can count cycles twice.
 */
static void open_guest_group(struct iho_utilisation_set *u, struct counters *c, pid_t tid)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_REF_CPU_CYCLES,
		.exclude_host = 1,
	};

	if (open_one(u, c, REF, &attr, tid))
		return;
	if (u->has[KERNEL] == IHO_ABSENT) /* half of a ratio is none */
		return;
	attr.config = PERF_COUNT_HW_CPU_CYCLES;
	attr.exclude_kernel = 1;
	if (open_one(u, c, USER, &attr, tid))
		return;
	attr.exclude_kernel = 0;
	attr.exclude_user = 1;
	if (open_one(u, c, KERNEL, &attr, tid))
		close_one(u, c, USER);
}

static void open_mperf(struct iho_utilisation_set *u, struct counters *c, pid_t tid)
{
	struct perf_event_attr attr = { .type = u->msr_type, .config = u->mperf_config };

	open_one(u, c, MPERF, &attr, tid);
}

/* The number and the event of perf's msr PMU; its mperf is there only where the CPU has APERF. */
static void find_mperf(struct iho_utilisation_set *u)
{
	char path[PATH_MAX], text[64];
	unsigned int type, event;

	u->has[MPERF] = IHO_ABSENT;
	snprintf(path, sizeof(path), "%s/msr/type", u->sys.pmus);
	if (read_text(path, text, sizeof(text)) < 0 || sscanf(text, "%u", &type) != 1)
		return;
	snprintf(path, sizeof(path), "%s/msr/events/mperf", u->sys.pmus);
	if (read_text(path, text, sizeof(text)) < 0 || sscanf(text, "event=%x", &event) != 1)
		return;
	u->msr_type = type;
	u->mperf_config = event;
	u->has[MPERF] = IHO_NOT_PROBED;
}

static void open_counters(struct iho_utilisation_set *u, struct watch *w, const struct iho_slot *s)
{
	if (w->c.open || w->c.failed || u->n_open >= u->open_most)
		return;
	open_guest_group(u, &w->c, s->tid);
	open_mperf(u, &w->c, s->tid);
	if (w->c.fd[REF] < 0 && w->c.fd[MPERF] < 0)
		return;
	w->c.open = true;
	u->n_open++;
}

/* What a read() of a group gives: see perf_event_open(2). */
struct group {
	uint64_t nr, enabled, running, value[3];
};

static bool read_group(struct iho_utilisation_set *u, int fd, uint64_t nr, struct group *g)
{
	size_t len = (3 + nr) * sizeof(uint64_t);

	memset(g, 0, sizeof(*g));
	return u->sys.counter_read(u->sys.arg, fd, g, sizeof(*g)) == (ssize_t)len && g->nr == nr;
}

/* A counter may have shared its place in the PMU with others: its part counts for the whole. */
static bool counted(uint64_t now, uint64_t before, double scale, double *cycles)
{
	if (now < before)
		return false;
	*cycles = (now - before) * scale;
	return true;
}

static void add_signal(struct iho_utilisation *out, enum iho_busy_signal s, double busy_ns,
		       uint64_t wall_ns)
{
	out->signals |= 1u << s;
	out->busy_ns[s] += busy_ns <= 0	      ? 0
			   : busy_ns < wall_ns ? (uint64_t)busy_ns
					       : wall_ns;
	out->of_ns[s] += wall_ns;
}

/* Guest cycles between two readings; `rate` is the TSC's, in cycles a nanosecond. */
static void use_guest_group(struct watch *w, const struct iho_snap_vcpu *v, const struct group *g,
			    double rate, uint64_t wall_ns)
{
	const struct counters *c = &w->c;
	uint64_t enabled = grown(g->enabled, c->enabled), running = grown(g->running, c->running);
	double ref, user, kernel, scale = running ? (double)enabled / running : 0;

	/* It did not run at all, or its counters never had a place. */
	if (!running && enabled)
		return;
	if (!counted(g->value[0], c->value[REF], scale, &ref))
		return;
	if (v->slot->entry_seen)
		add_signal(&w->out, IHO_BUSY_REF_CYCLES,
			   ref / rate + grown(v->time_ns[IHO_ST_KVM], c->time_ns[IHO_ST_KVM]) +
				   grown(v->time_ns[IHO_ST_QEMU], c->time_ns[IHO_ST_QEMU]),
			   wall_ns);
	if (g->nr == 3 && counted(g->value[1], c->value[USER], scale, &user) &&
	    counted(g->value[2], c->value[KERNEL], scale, &kernel) && user + kernel > 0)
		w->user_share = user / (user + kernel);
}

/* Do two valid signals contradict each other, in this window? */
static bool disagree(const struct watch *w, const struct iho_utilisation *before,
		     const struct iho_snap_vcpu *v, uint64_t wall_ns)
{
	uint64_t by_bill = grown(iho_bill_busy_ns(v->time_ns), iho_bill_busy_ns(w->c.time_ns));
	double share, low = 2, high = -1;

	if (iho_idle_seen(v->slot) >= IHO_IDLE_SEEN_YES)
		low = high = (double)least(by_bill, wall_ns) / wall_ns;
	for (int i = IHO_BUSY_REF_CYCLES; i <= IHO_BUSY_MPERF; i++) {
		if (!(w->out.signals >> i & 1))
			continue;
		share = (double)(w->out.busy_ns[i] - before->busy_ns[i]) / wall_ns;
		low = share < low ? share : low;
		high = share > high ? share : high;
	}
	return high - low > IHO_DISAGREE_SHARE;
}

static void keep_reading(struct counters *c, const struct iho_snap_vcpu *v, const struct group *g,
			 uint64_t mperf)
{
	c->at_ns = v->now_ns;
	memcpy(c->time_ns, v->time_ns, sizeof(c->time_ns));
	c->enabled = g->enabled;
	c->running = g->running;
	c->value[REF] = g->value[0];
	c->value[USER] = g->value[1];
	c->value[KERNEL] = g->value[2];
	c->value[MPERF] = mperf;
}

static void use_counters(struct iho_utilisation_set *u, struct watch *w,
			 const struct iho_snap_vcpu *v)
{
	struct counters *c = &w->c;
	struct iho_utilisation before = w->out;
	uint64_t tsc, ns, wall_ns = grown(v->now_ns, c->at_ns);
	struct group guest = {}, core = {};
	bool valid;
	double rate, mperf;

	u->sys.clocks(u->sys.arg, &tsc, &ns);
	if (c->ns && ns < c->ns + (c->windows ? IHO_COUNTERS_NS : IHO_BOOKS_NS))
		return;
	if ((c->fd[REF] >= 0 && !read_group(u, c->fd[REF], c->fd[USER] >= 0 ? 3 : 1, &guest)) ||
	    (c->fd[MPERF] >= 0 && !read_group(u, c->fd[MPERF], 1, &core))) {
		close_counters(u, w);
		c->failed = true;
		return;
	}
	/* after a suspend the TSC may have begun again */
	valid = c->ns && tsc > c->tsc && ns > c->ns && wall_ns;
	w->out.signals &= 1u << IHO_BUSY_GUEST;
	if (valid) {
		rate = (double)(tsc - c->tsc) / (ns - c->ns);
		if (c->fd[REF] >= 0)
			use_guest_group(w, v, &guest, rate, wall_ns);
		if (c->fd[MPERF] >= 0 && counted(core.value[0], c->value[MPERF], 1, &mperf))
			add_signal(&w->out, IHO_BUSY_MPERF,
				   mperf / rate - grown(v->time_ns[IHO_ST_HALT_POLL],
							c->time_ns[IHO_ST_HALT_POLL]),
				   wall_ns);
		w->out.disagree = disagree(w, &before, v, wall_ns);
		c->windows++;
	}
	c->tsc = tsc;
	c->ns = ns;
	keep_reading(c, v, &guest, core.value[0]);
}

/* ---- the guest's own account ---- */

/*
 * The guest's account is as old as its last interrupt of the timer; of what it idled between two of
 * them the host's window, which begins and ends a little later, has its share.
 */
static uint64_t idle_in_guest(const struct account *a, const struct iho_direct *d)
{
	uint64_t asleep = grown(d->time_ns[IHO_ST_HALTED], a->time_ns[IHO_ST_HALTED]) +
			  grown(d->time_ns[IHO_ST_HALT_POLL], a->time_ns[IHO_ST_HALT_POLL]);
	uint64_t guest = grown(d->time_ns[IHO_ST_GUEST], a->time_ns[IHO_ST_GUEST]);
	double idle = (double)grown(d->total[IHO_DIRECT_IDLE_NS], a->idle_ns) *
		      (double)(d->at_ns - a->at_ns) / (double)(d->updated_ns - a->updated_ns);

	if (idle <= asleep)
		return 0;
	return idle - asleep < guest ? (uint64_t)(idle - asleep) : guest;
}

static void use_account(struct watch *w, const struct iho_snap_vcpu *v)
{
	const struct iho_direct *d = &v->slot->direct;
	struct account *a = &w->guest;
	uint64_t time_ns[IHO_ST_MAX], busy;

	memcpy(time_ns, d->time_ns, sizeof(time_ns));
	if (grown(v->now_ns, d->at_ns) > IHO_GUEST_STALE_NS)
		w->out.signals &= ~(1u << IHO_BUSY_GUEST);
	if (!d->at_ns || !d->updated_ns || !v->slot->entry_seen)
		return;
	if (a->at_ns && d->updated_ns > a->updated_ns) {
		if (d->at_ns < a->at_ns + IHO_BOOKS_NS / 2)
			return;
		busy = grown(iho_bill_busy_ns(time_ns), iho_bill_busy_ns(a->time_ns));
		busy = grown(busy, idle_in_guest(a, d));
		add_signal(&w->out, IHO_BUSY_GUEST, busy, d->at_ns - a->at_ns);
	} else if (a->at_ns && d->updated_ns == a->updated_ns) {
		return;
	}
	a->at_ns = d->at_ns;
	a->updated_ns = d->updated_ns;
	a->idle_ns = d->total[IHO_DIRECT_IDLE_NS];
	memcpy(a->time_ns, time_ns, sizeof(a->time_ns));
}

/* ---- the set ---- */

/* Half of the descriptors that this process may have are for others. */
static unsigned int most_counters(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	return least(IHO_COUNTERS_MOST, limit.rlim_cur / 2 / COUNTERS);
}

int iho_utilisation_open(struct iho_utilisation_set **out, unsigned int n_slots,
			 const struct iho_utilisation_system *system)
{
	struct iho_utilisation_set *u = calloc(1, sizeof(*u));
	long hz = sysconf(_SC_CLK_TCK);

	*out = NULL;
	if (!u)
		return -ENOMEM;
	u->watch = calloc(n_slots ? n_slots : 1, sizeof(*u->watch));
	if (!u->watch) {
		free(u);
		return -ENOMEM;
	}
	u->sys = system ? *system : real_system;
	u->n_slots = n_slots;
	u->tick_ns = NSEC / (hz > 0 ? hz : 100);
	u->open_most = most_counters();
	find_mperf(u);
	*out = u;
	return 0;
}

static void forget(struct iho_utilisation_set *u, struct watch *w)
{
	if (!w->out.start_ns)
		return;
	close_counters(u, w);
	memset(w, 0, sizeof(*w));
}

static void begin(struct watch *w, const struct iho_slot *s)
{
	w->out.start_ns = s->start_ns;
	w->first_ns = s->core.first_ns;
	w->user_share = -1;
	for (int i = 0; i < COUNTERS; i++)
		w->c.fd[i] = -1;
}

void iho_utilisation_close(struct iho_utilisation_set *u)
{
	if (!u)
		return;
	for (unsigned int i = 0; i < u->n_slots; i++)
		forget(u, &u->watch[i]);
	free(u->watch);
	free(u);
}

static void look(struct iho_utilisation_set *u, struct watch *w, const struct iho_snap_vcpu *v,
		 unsigned int *read)
{
	bool live = v->slot->life == IHO_LIVE, wanted = wants_books(w, v), have = false;
	uint64_t user_ns;

	if (wanted) {
		(*read)++;
		have = !read_books(u, v->slot, &user_ns);
	}
	fill_columns(u, w, v, have ? &user_ns : NULL);
	/* only of a thread that has just been seen to be the slot's owner */
	if (have)
		open_counters(u, w, v->slot);
	if (!live)
		close_counters(u, w);
	else if (w->c.open)
		use_counters(u, w, v);
	if (live)
		use_account(w, v);
	else
		w->out.signals = 0;
	memcpy(w->time_ns, v->time_ns, sizeof(w->time_ns));
	w->out.at_ns = v->now_ns;
	w->out.wall_ns = grown(v->now_ns, w->first_ns);
}

void iho_utilisation_update(struct iho_utilisation_set *u, const struct iho_snapshot *s)
{
	unsigned int n = least(u->n_slots, s->n_slots), read = 0, first = u->next;

	if (u->at_ns && s->now_ns < u->at_ns + IHO_BOOKS_NS)
		return;
	u->at_ns = s->now_ns;
	for (unsigned int k = 0; k < n; k++) {
		unsigned int i = (first + k) % n;
		const struct iho_snap_vcpu *v = &s->vcpu[i];
		struct watch *w = &u->watch[i];

		if (w->out.start_ns && (!v->used || w->out.start_ns != v->slot->start_ns ||
					w->first_ns != v->slot->core.first_ns))
			forget(u, w);
		if (!v->used || !v->slot->start_ns)
			continue;
		if (!w->out.start_ns)
			begin(w, v->slot);
		if (w->out.at_ns == v->now_ns) /* it ended, and that has been seen */
			continue;
		/* the others come first in the next round, over a longer window */
		if (read == IHO_BOOKS_MOST && wants_books(w, v)) {
			u->next = u->next == first ? i : u->next;
			continue;
		}
		look(u, w, v, &read);
	}
}

void iho_utilisation_probe(struct iho_utilisation_set *u)
{
	struct counters c;

	for (int i = 0; i < COUNTERS; i++)
		c.fd[i] = -1;
	open_guest_group(u, &c, 0);
	open_mperf(u, &c, 0);
	for (int i = COUNTERS - 1; i >= 0; i--)
		close_one(u, &c, i);
}

const struct iho_utilisation *iho_utilisation_get(const struct iho_utilisation_set *u,
						  unsigned int slot)
{
	return &u->watch[slot].out;
}

enum iho_probed iho_utilisation_has(const struct iho_utilisation_set *u, enum iho_busy_signal s)
{
	return s == IHO_BUSY_REF_CYCLES ? u->has[REF]
	       : s == IHO_BUSY_MPERF	? u->has[MPERF]
					: IHO_PRESENT;
}

enum iho_idle_seen iho_idle_seen(const struct iho_slot *s)
{
	if (s->idle == IHO_IDLE_IN_GUEST)
		return IHO_IDLE_SEEN_NO;
	if (s->idle == IHO_IDLE_EXITS)
		return IHO_IDLE_SEEN_YES;
	if (s->halts)
		return IHO_IDLE_SEEN_HALT;
	for (unsigned int i = 0; i < s->n_exits && i < IHO_EXITS; i++)
		if (s->exits[i].count &&
		    s->exits[i].code == (s->exits[i].isa == IHO_ISA_VMX ? VMX_HLT : SVM_HLT))
			return IHO_IDLE_SEEN_HALT;
	for (unsigned int i = 0; i < s->n_user_exits && i < IHO_USER_EXITS; i++)
		if (s->user_exits[i].count && s->user_exits[i].code == KVM_EXIT_HLT)
			return IHO_IDLE_SEEN_HALT;
	return IHO_IDLE_SEEN_UNKNOWN;
}

uint64_t iho_bill_busy_ns(const uint64_t time_ns[IHO_ST_MAX])
{
	return awake_ns(time_ns) - time_ns[IHO_ST_HALT_POLL];
}

/* ---- readers ---- */

void iho_utilisation_step(struct iho_utilisation_window *w, const struct iho_utilisation *now)
{
	if (w->now.start_ns != now->start_ns || now->at_ns < w->now.at_ns) {
		memset(w, 0, sizeof(*w));
		w->now = *now;
		return;
	}
	if (now->at_ns != w->now.at_ns) {
		w->before.at_ns = w->now.at_ns;
		w->before.wall_ns = w->now.wall_ns;
		memcpy(w->before.cpu_ns, w->now.cpu_ns, sizeof(w->before.cpu_ns));
	}
	for (int i = 0; i < IHO_BUSY_MAX; i++) {
		if (now->of_ns[i] == w->now.of_ns[i])
			continue;
		w->before.of_ns[i] = w->now.of_ns[i];
		w->before.busy_ns[i] = w->now.busy_ns[i];
	}
	w->now = *now;
}

static json_t *numbers(const uint64_t *v, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; a && i < n; i++)
		json_array_append_new(a, json_integer((json_int_t)least(v[i], INT64_MAX)));
	return a;
}

json_t *iho_utilisation_to_json(const struct iho_utilisation *v)
{
	return json_pack("{sI sI sI so si si so so sb}", "start_ns",
			 (json_int_t)least(v->start_ns, INT64_MAX), "at_ns",
			 (json_int_t)least(v->at_ns, INT64_MAX), "wall_ns",
			 (json_int_t)least(v->wall_ns, INT64_MAX), "cpu_ns",
			 numbers(v->cpu_ns, IHO_CPU_MAX), "cpu_known", (int)v->cpu_known, "signals",
			 (int)v->signals, "busy_ns", numbers(v->busy_ns, IHO_BUSY_MAX), "of_ns",
			 numbers(v->of_ns, IHO_BUSY_MAX), "disagree", v->disagree);
}

static int take_numbers(const json_t *a, uint64_t *v, size_t n)
{
	if (!json_is_array(a) || json_array_size(a) != n)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		const json_t *e = json_array_get(a, i);

		if (!json_is_integer(e) || json_integer_value(e) < 0)
			return -EINVAL;
		v[i] = json_integer_value(e);
	}
	return 0;
}

static int take_number(const json_t *o, const char *key, uint64_t most, uint64_t *v)
{
	const json_t *e = json_object_get(o, key);

	if (!json_is_integer(e) || json_integer_value(e) < 0 ||
	    (uint64_t)json_integer_value(e) > most)
		return -EINVAL;
	*v = json_integer_value(e);
	return 0;
}

int iho_utilisation_from_json(struct iho_utilisation *v, const json_t *o)
{
	const json_t *apart = json_object_get(o, "disagree");
	struct iho_utilisation got = {};
	uint64_t known = 0, signals = 0;

	memset(v, 0, sizeof(*v));
	if (take_number(o, "start_ns", INT64_MAX, &got.start_ns) ||
	    take_number(o, "at_ns", INT64_MAX, &got.at_ns) ||
	    take_number(o, "wall_ns", INT64_MAX, &got.wall_ns) ||
	    take_number(o, "cpu_known", (1 << IHO_CPU_MAX) - 1, &known) ||
	    take_number(o, "signals", (1 << IHO_BUSY_MAX) - 1, &signals) ||
	    take_numbers(json_object_get(o, "cpu_ns"), got.cpu_ns, IHO_CPU_MAX) ||
	    take_numbers(json_object_get(o, "busy_ns"), got.busy_ns, IHO_BUSY_MAX) ||
	    take_numbers(json_object_get(o, "of_ns"), got.of_ns, IHO_BUSY_MAX) ||
	    !json_is_boolean(apart))
		return -EINVAL;
	got.cpu_known = known;
	got.signals = signals;
	got.disagree = json_is_true(apart);
	*v = got;
	return 0;
}
