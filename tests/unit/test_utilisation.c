// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hand-made snapshots, a folder that stands for /proc and for the PMUs in /sys, and counters that
 * this file sets: only the edge to the system is not the real one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/lib/utilisation.h"

#define SEC	1000000000ULL
#define MSEC	1000000ULL
#define FIRST	(50 * SEC)
#define PID	4000
#define N_SLOTS 320
#define TSC_MHZ 2000 /* two cycles a nanosecond */
#define BIT(n)	(1u << (n))

static char root[64], proc[96], pmus[96];
static struct iho_snapshot *snap;
static struct iho_utilisation_set *set;
static uint64_t tick_ns;

/* ---- the fake counters ---- */

struct fake {
	bool open;
	pid_t tid;
	int leader;
	struct perf_event_attr attr;
	uint64_t value;
};

static struct fake fakes[3 * N_SLOTS];
static uint64_t enabled_ns, running_ns, tsc;
static unsigned int n_opened, n_open, n_reads;
static int refuse_hardware, refuse_msr, refuse_read; /* -errno */
static int hardware_most; /* so many members of a group fit into the PMU */

static int fake_open(void *arg, const struct perf_event_attr *attr, pid_t tid, int leader)
{
	int members = 0;

	assert_ptr_equal(arg, fakes);
	n_opened++;
	if (attr->type == PERF_TYPE_HARDWARE && refuse_hardware)
		return refuse_hardware;
	if (attr->type != PERF_TYPE_HARDWARE && refuse_msr)
		return refuse_msr;
	for (int i = 0; leader >= 0 && i < 3 * N_SLOTS; i++)
		members += fakes[i].open && (i == leader || fakes[i].leader == leader);
	if (leader >= 0 && members >= hardware_most)
		return -EINVAL;
	for (int i = 0; i < 3 * N_SLOTS; i++) {
		if (fakes[i].open)
			continue;
		fakes[i] = (struct fake){
			.open = true, .tid = tid, .leader = leader, .attr = *attr
		};
		n_open++;
		return i;
	}
	return -EMFILE;
}

static ssize_t fake_read(void *arg, int fd, void *buf, size_t len)
{
	uint64_t *v = buf;
	size_t n = 0;

	assert_true(fakes[fd].open);
	n_reads++;
	if (refuse_read)
		return refuse_read;
	v[1] = enabled_ns;
	v[2] = running_ns;
	v[3 + n++] = fakes[fd].value;
	for (int i = 0; i < 3 * N_SLOTS; i++)
		if (fakes[i].open && fakes[i].leader == fd)
			v[3 + n++] = fakes[i].value;
	v[0] = n;
	assert_true(len >= (3 + n) * sizeof(*v));
	return (ssize_t)((3 + n) * sizeof(*v));
}

static void fake_close(void *arg, int fd)
{
	assert_true(fakes[fd].open);
	fakes[fd].open = false;
	n_open--;
}

static void fake_clocks(void *arg, uint64_t *t, uint64_t *ns)
{
	*t = tsc;
	*ns = snap->now_ns;
}

/* ---- the fake files ---- */

static void put(const char *path, const char *text)
{
	char part[256];
	FILE *f;

	snprintf(part, sizeof(part), "%s", path);
	for (char *s = strchr(part + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = '\0';
		if (mkdir(part, 0755))
			assert_int_equal(errno, EEXIST);
		*s = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void stat_path(unsigned int i, char *buf, size_t len)
{
	snprintf(buf, len, "%s/%d/task/%d/stat", proc, PID, 5000 + (int)i);
}

static uint64_t start_of(unsigned int i)
{
	return (100 + i) * tick_ns + 7; /* the books have it in ticks */
}

/* The books of slot `i`'s thread, in ticks; its name is as bad as a name can be. */
static void put_books(unsigned int i, const char *utime, uint64_t guest, uint64_t start)
{
	char path[192], text[512];

	stat_path(i, path, sizeof(path));
	snprintf(text, sizeof(text),
		 "%d (a) R 9 (b\n) S 1 1 1 0 -1 4194624 1 2 3 4 %s 55 0 0 20 0 3 0 %llu 1 2 3 4 5 "
		 "6 7 8 9 0 1 2 0 0 0 17 1 0 0 0 %llu 0 1 2 3 4 5 6 7 0\n",
		 5000 + (int)i, utime, (unsigned long long)start, (unsigned long long)guest);
	put(path, text);
}

static void books(unsigned int i, uint64_t user, uint64_t guest)
{
	char utime[32];

	snprintf(utime, sizeof(utime), "%llu", (unsigned long long)(user + guest));
	put_books(i, utime, guest, start_of(i) / tick_ns);
}

static void put_msr(const char *type, const char *event)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/msr/type", pmus);
	put(path, type);
	snprintf(path, sizeof(path), "%s/msr/events/mperf", pmus);
	put(path, event);
}

/* ---- the fake snapshots ---- */

static struct iho_snap_vcpu *vcpu(unsigned int i)
{
	struct iho_snap_vcpu *v = &snap->vcpu[i];
	struct iho_slot *s = v->slot ? v->slot : calloc(1, sizeof(*s));

	assert_non_null(s);
	memset(s, 0, sizeof(*s));
	memset(v, 0, sizeof(*v));
	v->slot = s;
	v->used = true;
	v->now_ns = snap->now_ns;
	s->life = IHO_LIVE;
	s->tgid = PID;
	s->tid = 5000 + i;
	s->start_ns = start_of(i);
	s->core.first_ns = FIRST;
	s->entry_seen = 1;
	s->idle = IHO_IDLE_EXITS;
	return v;
}

static void later(uint64_t ns)
{
	snap->now_ns += ns;
	tsc += ns * TSC_MHZ / 1000;
	for (unsigned int i = 0; i < N_SLOTS; i++)
		if (snap->vcpu[i].used && snap->vcpu[i].slot->life == IHO_LIVE)
			snap->vcpu[i].now_ns = snap->now_ns;
}

static void spend(unsigned int i, enum iho_state st, uint64_t ns)
{
	snap->vcpu[i].time_ns[st] += ns;
}

static const struct iho_utilisation *look(void)
{
	iho_utilisation_update(set, snap);
	return iho_utilisation_get(set, 0);
}

static void open_set(void)
{
	const struct iho_utilisation_system sys = {
		.proc = proc,
		.pmus = pmus,
		.counter_open = fake_open,
		.counter_read = fake_read,
		.counter_close = fake_close,
		.clocks = fake_clocks,
		.arg = fakes,
	};

	assert_int_equal(iho_utilisation_open(&set, N_SLOTS, &sys), 0);
}

static int setup(void **state)
{
	(void)state;
	tick_ns = SEC / (uint64_t)sysconf(_SC_CLK_TCK);
	strcpy(root, "/tmp/iho-utilisation.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(proc, sizeof(proc), "%s/proc", root);
	snprintf(pmus, sizeof(pmus), "%s/pmus", root);
	snap = iho_snapshot_new(N_SLOTS);
	if (!snap)
		return -1;
	snap->now_ns = FIRST;
	memset(fakes, 0, sizeof(fakes));
	n_opened = n_open = n_reads = 0;
	enabled_ns = running_ns = tsc = 0;
	refuse_hardware = refuse_msr = -ENOENT;
	refuse_read = 0;
	hardware_most = 3;
	open_set();
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	iho_utilisation_close(set);
	iho_snapshot_free(snap);
	if (n_open) /* every counter was closed */
		return -1;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static uint64_t sum(const struct iho_utilisation *v)
{
	uint64_t ns = 0;

	for (int i = 0; i < IHO_CPU_MAX; i++)
		ns += v->cpu_ns[i];
	return ns;
}

/* ---- columns ---- */

static void test_columns(void **state)
{
	const struct iho_utilisation *v;

	(void)state;
	vcpu(0);
	books(0, 5, 1000);
	later(SEC);
	spend(0, IHO_ST_GUEST, 400 * MSEC);
	spend(0, IHO_ST_KVM, 100 * MSEC);
	spend(0, IHO_ST_QEMU, 200 * MSEC);
	spend(0, IHO_ST_HALT_POLL, 30 * MSEC);
	spend(0, IHO_ST_QEMU_ASLEEP, 70 * MSEC);
	spend(0, IHO_ST_HALTED, 100 * MSEC);
	spend(0, IHO_ST_PREEMPTED, 100 * MSEC);
	v = look();
	assert_int_equal(v->start_ns, start_of(0));
	assert_int_equal(v->at_ns, FIRST + SEC);
	assert_int_equal(v->wall_ns, SEC);
	assert_int_equal(v->cpu_ns[IHO_CPU_GUEST], 400 * MSEC);
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_USER], 5 * tick_ns);
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_SYSTEM], 330 * MSEC - 5 * tick_ns);
	assert_int_equal(sum(v), 730 * MSEC);
	assert_int_equal(v->cpu_known, BIT(IHO_CPU_GUEST) | BIT(IHO_CPU_HOST_USER) |
					       BIT(IHO_CPU_HOST_SYSTEM));
	/* the next look adds what is new, and no more */
	books(0, 7, 1000);
	later(SEC);
	spend(0, IHO_ST_QEMU, 100 * MSEC);
	spend(0, IHO_ST_GUEST, 900 * MSEC);
	v = look();
	assert_int_equal(v->cpu_ns[IHO_CPU_GUEST], 1300 * MSEC);
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_USER], 7 * tick_ns);
	assert_int_equal(sum(v), 1730 * MSEC);
	assert_int_equal(iho_bill_busy_ns(snap->vcpu[0].time_ns), 1700 * MSEC);
}

static void test_columns_undivided(void **state)
{
	const struct iho_utilisation *v;

	(void)state;
	vcpu(0)->slot->entry_seen = 0;
	books(0, 2, 60); /* such a KVM's guest_time is not to be trusted */
	later(SEC);
	spend(0, IHO_ST_GUEST_OR_KVM, 600 * MSEC);
	spend(0, IHO_ST_QEMU, 100 * MSEC);
	v = look();
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_USER], 2 * tick_ns);
	assert_int_equal(v->cpu_ns[IHO_CPU_GUEST_OR_HOST_SYSTEM], 700 * MSEC - 2 * tick_ns);
	assert_int_equal(v->cpu_known,
			 BIT(IHO_CPU_HOST_USER) | BIT(IHO_CPU_GUEST_OR_HOST_SYSTEM));
	/* The first entry: the bill moves what was undivided, and no column may run backwards. */
	snap->vcpu[0].slot->entry_seen = 1;
	later(SEC);
	snap->vcpu[0].time_ns[IHO_ST_GUEST_OR_KVM] = 0;
	spend(0, IHO_ST_KVM, 600 * MSEC);
	spend(0, IHO_ST_GUEST, 300 * MSEC);
	v = look();
	assert_int_equal(v->cpu_ns[IHO_CPU_GUEST_OR_HOST_SYSTEM], 700 * MSEC - 2 * tick_ns);
	assert_int_equal(v->cpu_ns[IHO_CPU_GUEST], 300 * MSEC);
	assert_int_equal(sum(v), 1000 * MSEC);
	assert_true(v->cpu_known & BIT(IHO_CPU_GUEST_OR_HOST_SYSTEM));
}

/* Ticks that come before the time they stand for wait for it; but not for ever. */
static void test_ticks_ahead(void **state)
{
	const struct iho_utilisation *v;

	(void)state;
	vcpu(0);
	books(0, 0, 0);
	later(SEC);
	spend(0, IHO_ST_QEMU, MSEC);
	look();
	books(0, 2, 0);
	later(SEC);
	spend(0, IHO_ST_QEMU, MSEC);
	v = look();
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_USER], MSEC);
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_SYSTEM], MSEC);
	later(SEC);
	spend(0, IHO_ST_QEMU, SEC);
	v = look();
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_USER], 2 * tick_ns);
	/* books that have more than there can be: the rest is forgotten but for a few ticks */
	books(0, 1000, 0);
	later(SEC);
	spend(0, IHO_ST_QEMU, MSEC);
	look();
	later(SEC);
	spend(0, IHO_ST_QEMU, SEC);
	v = look();
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_USER], 2 * tick_ns + MSEC + 4 * tick_ns);
	/* and books that run backwards take nothing back */
	books(0, 1, 0);
	later(SEC);
	spend(0, IHO_ST_QEMU, SEC);
	v = look();
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_USER], 6 * tick_ns + MSEC);
}

static void test_bad_books(void **state)
{
	static const char *const texts[] = {
		"",
		"5000",
		"5000 (x)",
		"5000 (x) R",
		"5000 (x) R 1 2 3",
		"5000 (x) R a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9",
		"no name at all R 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
	};
	const struct iho_utilisation *v;
	char path[192];

	(void)state;
	vcpu(0);
	stat_path(0, path, sizeof(path));
	for (size_t i = 0; i <= sizeof(texts) / sizeof(texts[0]); i++) {
		later(SEC);
		spend(0, IHO_ST_QEMU, 100 * MSEC);
		if (i) /* first, there is no such file */
			put(path, texts[i - 1]);
		v = look();
		assert_int_equal(v->cpu_ns[IHO_CPU_HOST_USER], 0);
		assert_int_equal(v->cpu_ns[IHO_CPU_HOST_SYSTEM], (i + 1) * 100 * MSEC);
	}
	assert_int_equal(n_opened, 0); /* nobody has seen that the thread is the right one */
	/* numbers beyond all numbers are as much as fits */
	put_books(0, "99999999999999999999999999", 3, start_of(0) / tick_ns);
	later(SEC);
	spend(0, IHO_ST_QEMU, 100 * MSEC);
	v = look();
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_USER], 100 * MSEC);
}

static void test_once_a_second(void **state)
{
	(void)state;
	vcpu(0);
	books(0, 0, 0);
	later(SEC);
	spend(0, IHO_ST_GUEST, 10 * MSEC);
	assert_int_equal(look()->cpu_ns[IHO_CPU_GUEST], 10 * MSEC);
	later(SEC / 2);
	spend(0, IHO_ST_GUEST, 10 * MSEC);
	assert_int_equal(look()->cpu_ns[IHO_CPU_GUEST], 10 * MSEC);
	later(SEC / 2 - 5 * MSEC); /* a report that comes a little early still finds one */
	assert_int_equal(look()->cpu_ns[IHO_CPU_GUEST], 20 * MSEC);
}

/* ---- whose numbers they are ---- */

static void test_tid_reuse(void **state)
{
	const struct iho_utilisation *v;

	(void)state;
	refuse_hardware = 0;
	vcpu(0);
	/* the slot's thread is gone, and its number is somebody else's, who was busy */
	put_books(0, "500", 0, start_of(0) / tick_ns + 2);
	later(SEC);
	spend(0, IHO_ST_QEMU, 100 * MSEC);
	v = look();
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_USER], 0);
	assert_int_equal(n_opened, 0);
	/* rounding is not another thread */
	put_books(0, "3", 0, start_of(0) / tick_ns + 1);
	later(SEC);
	spend(0, IHO_ST_QEMU, 100 * MSEC);
	v = look();
	assert_int_equal(v->cpu_ns[IHO_CPU_HOST_USER], 3 * tick_ns);
	assert_int_equal(n_open, 3);
	/* the slot is taken by another thread with the same number: all begins again */
	snap->vcpu[0].slot->start_ns += 50 * tick_ns;
	snap->vcpu[0].slot->core.first_ns = snap->now_ns;
	memset(snap->vcpu[0].time_ns, 0, sizeof(snap->vcpu[0].time_ns));
	put_books(0, "1", 0, start_of(0) / tick_ns + 50);
	later(SEC);
	spend(0, IHO_ST_QEMU, 60 * MSEC);
	v = look();
	assert_int_equal(v->start_ns, start_of(0) + 50 * tick_ns);
	assert_int_equal(v->wall_ns, SEC);
	assert_int_equal(sum(v), 60 * MSEC);
	assert_int_equal(n_open, 3);
	/* and given back: nobody's, nothing stays open */
	snap->vcpu[0].used = false;
	later(SEC);
	v = look();
	assert_int_equal(v->start_ns, 0);
	assert_int_equal(sum(v), 0);
	assert_int_equal(n_open, 0);
}

static void test_ended(void **state)
{
	const struct iho_utilisation *v;

	(void)state;
	refuse_hardware = 0;
	vcpu(0);
	books(0, 0, 0);
	later(SEC);
	spend(0, IHO_ST_GUEST, SEC);
	look();
	assert_int_equal(n_open, 3);
	later(SEC / 2);
	spend(0, IHO_ST_GUEST, SEC / 2);
	snap->vcpu[0].slot->life = IHO_GONE;
	later(SEC / 2);
	v = look();
	assert_int_equal(n_open, 0);
	assert_int_equal(v->cpu_ns[IHO_CPU_GUEST], SEC + SEC / 2);
	assert_int_equal(v->wall_ns, SEC + SEC / 2);
	later(SEC);
	assert_int_equal(look()->wall_ns, SEC + SEC / 2);
}

static void test_books_are_bounded(void **state)
{
	unsigned int seen, again = 0;

	(void)state;
	for (unsigned int i = 0; i < 150; i++) {
		vcpu(i);
		books(i, 0, 0);
	}
	for (int round = 0; round < 3; round++) {
		later(SEC);
		for (unsigned int i = 0; i < 150; i++)
			spend(i, IHO_ST_QEMU, MSEC);
		look();
	}
	for (unsigned int i = 0; i < 150; i++) {
		seen = iho_utilisation_get(set, i)->at_ns > 0;
		assert_int_equal(seen, 1);
		again += iho_utilisation_get(set, i)->at_ns == snap->now_ns;
	}
	assert_int_equal(again, IHO_BOOKS_MOST);
	/* those without time in the VMM need no books, and are all seen at once */
	later(SEC);
	for (unsigned int i = 0; i < 150; i++)
		snap->vcpu[i].time_ns[IHO_ST_QEMU] = 0;
	look();
	for (unsigned int i = 0; i < 150; i++)
		assert_int_equal(iho_utilisation_get(set, i)->at_ns, snap->now_ns);
}

/* ---- counters ---- */

static void test_no_counters(void **state)
{
	const struct iho_utilisation *v;

	(void)state;
	refuse_hardware = -EOPNOTSUPP;
	assert_int_equal(iho_utilisation_has(set, IHO_BUSY_BILL), IHO_PRESENT);
	assert_int_equal(iho_utilisation_has(set, IHO_BUSY_REF_CYCLES), IHO_NOT_PROBED);
	assert_int_equal(iho_utilisation_has(set, IHO_BUSY_MPERF), IHO_ABSENT); /* no such file */
	for (unsigned int i = 0; i < 10; i++) {
		vcpu(i);
		books(i, 0, 0);
	}
	for (int round = 0; round < 8; round++) {
		later(SEC);
		v = look();
	}
	assert_int_equal(iho_utilisation_has(set, IHO_BUSY_REF_CYCLES), IHO_ABSENT);
	assert_int_equal(n_opened, 1); /* asked once for the host */
	assert_int_equal(n_reads, 0);
	assert_int_equal(v->signals, 0);
	assert_false(v->disagree);
}

static void test_ref_cycles(void **state)
{
	const struct iho_utilisation *v;

	(void)state;
	refuse_hardware = 0;
	vcpu(0);
	books(0, 0, 0);
	later(SEC);
	v = look(); /* opened, and read for the first time */
	assert_int_equal(n_open, 3);
	assert_int_equal(fakes[0].attr.config, PERF_COUNT_HW_REF_CPU_CYCLES);
	assert_int_equal(fakes[0].tid, 5000);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(fakes[i].attr.exclude_host, 1);
		assert_int_equal(fakes[i].attr.exclude_guest, 0);
		assert_int_equal(fakes[i].leader, i ? 0 : -1);
	}
	assert_int_equal(fakes[1].attr.exclude_kernel, 1);
	assert_int_equal(fakes[2].attr.exclude_user, 1);
	assert_int_equal(v->signals, 0);
	assert_int_equal(v->of_ns[IHO_BUSY_REF_CYCLES], 0);

	/*
	 * A guest that idles in guest mode: 900 ms there, of which its core worked 300 ms; KVM and
	 * the VMM 50 ms each. Its bill says that it exits to idle, so the two contradict.
	 */
	later(SEC);
	spend(0, IHO_ST_GUEST, 900 * MSEC);
	spend(0, IHO_ST_KVM, 50 * MSEC);
	spend(0, IHO_ST_QEMU, 50 * MSEC);
	enabled_ns = running_ns = SEC;
	fakes[0].value = 300 * MSEC * 2;
	fakes[1].value = 900; /* three quarters of its cycles in user mode */
	fakes[2].value = 300;
	v = look();
	assert_int_equal(v->signals, BIT(IHO_BUSY_REF_CYCLES));
	assert_int_equal(v->of_ns[IHO_BUSY_REF_CYCLES], SEC);
	assert_int_equal(v->busy_ns[IHO_BUSY_REF_CYCLES], 400 * MSEC);
	assert_true(v->disagree);
	assert_int_equal(v->cpu_ns[IHO_CPU_GUEST], 900 * MSEC); /* not known then */

	/* From here on the guest's time is divided; the counters rest for a few seconds. */
	later(SEC);
	spend(0, IHO_ST_GUEST, 100 * MSEC);
	v = look();
	assert_int_equal(n_reads, 2);
	assert_int_equal(v->cpu_ns[IHO_CPU_GUEST_USER], 75 * MSEC);
	assert_int_equal(v->cpu_ns[IHO_CPU_GUEST_SYSTEM], 25 * MSEC);
	assert_int_equal(v->cpu_ns[IHO_CPU_GUEST], 900 * MSEC);
	assert_int_equal(v->cpu_known, BIT(IHO_CPU_GUEST) | BIT(IHO_CPU_GUEST_USER) |
					       BIT(IHO_CPU_GUEST_SYSTEM) |
					       BIT(IHO_CPU_HOST_USER) | BIT(IHO_CPU_HOST_SYSTEM));
	assert_true(v->disagree); /* of the last window, which is still this one */

	/* They agree now; and had their counters half of the time only. */
	later(4 * SEC);
	spend(0, IHO_ST_GUEST, 2400 * MSEC);
	enabled_ns += 4 * SEC;
	running_ns += 2 * SEC;
	fakes[0].value += 1250 * MSEC * 2;
	v = look();
	assert_int_equal(n_reads, 3);
	assert_int_equal(v->of_ns[IHO_BUSY_REF_CYCLES], 6 * SEC);
	assert_int_equal(v->busy_ns[IHO_BUSY_REF_CYCLES], 2900 * MSEC);
	assert_false(v->disagree);
}

/* Where the bill cannot know, it contradicts nobody. */
static void test_silent_bill(void **state)
{
	const struct iho_utilisation *v;

	(void)state;
	refuse_hardware = 0;
	vcpu(0)->slot->idle = IHO_IDLE_IN_GUEST;
	books(0, 0, 0);
	later(SEC);
	look();
	later(SEC);
	spend(0, IHO_ST_GUEST, SEC);
	enabled_ns = running_ns = SEC;
	fakes[0].value = 100 * MSEC * 2;
	v = look();
	assert_int_equal(v->busy_ns[IHO_BUSY_REF_CYCLES], 100 * MSEC);
	assert_false(v->disagree);
	/* and a second counter that does not agree with the first */
	iho_utilisation_close(set);
	put_msr("7\n", "event=0x03\n");
	refuse_msr = 0;
	open_set();
	look();
	later(SEC);
	fakes[0].value += 100 * MSEC * 2;
	enabled_ns = running_ns += SEC;
	for (int i = 0; i < 4; i++)
		if (fakes[i].attr.type == 7)
			fakes[i].value += 500 * MSEC * 2;
	v = look();
	assert_int_equal(v->signals, BIT(IHO_BUSY_REF_CYCLES) | BIT(IHO_BUSY_MPERF));
	assert_true(v->disagree);
}

static void test_ref_cycles_alone(void **state)
{
	const struct iho_utilisation *v;

	(void)state;
	refuse_hardware = 0;
	hardware_most = 2; /* no room for the group's third */
	vcpu(0);
	vcpu(1);
	books(0, 0, 0);
	books(1, 0, 0);
	later(SEC);
	look();
	assert_int_equal(n_open, 2);
	assert_int_equal(n_opened, 3 + 1); /* that there is no room is known by then */
	later(SEC);
	spend(0, IHO_ST_GUEST, SEC);
	enabled_ns = running_ns = SEC;
	fakes[0].value = SEC * 2;
	v = look();
	assert_int_equal(v->busy_ns[IHO_BUSY_REF_CYCLES], SEC);
	later(SEC);
	spend(0, IHO_ST_GUEST, SEC);
	v = look();
	assert_int_equal(v->cpu_ns[IHO_CPU_GUEST], 2 * SEC);
	assert_false(v->cpu_known & BIT(IHO_CPU_GUEST_USER));
}

static void test_mperf(void **state)
{
	const struct iho_utilisation *v;

	(void)state;
	iho_utilisation_close(set);
	put_msr("7\n", "event=0x03\n");
	open_set();
	refuse_msr = 0;
	vcpu(0);
	books(0, 0, 0);
	later(SEC);
	look();
	assert_int_equal(n_open, 1);
	assert_int_equal(fakes[0].attr.type, 7);
	assert_int_equal(fakes[0].attr.config, 3);
	later(SEC);
	spend(0, IHO_ST_GUEST, 500 * MSEC);
	spend(0, IHO_ST_HALT_POLL, 200 * MSEC);
	fakes[0].value = 700 * MSEC * 2; /* the core worked all the time that it was the vCPU's */
	v = look();
	assert_int_equal(iho_utilisation_has(set, IHO_BUSY_MPERF), IHO_PRESENT);
	assert_int_equal(v->signals, BIT(IHO_BUSY_MPERF));
	assert_int_equal(v->busy_ns[IHO_BUSY_MPERF], 500 * MSEC); /* polling is no work */
	assert_int_equal(v->of_ns[IHO_BUSY_MPERF], SEC);
	assert_false(v->disagree);
	/* never more than the wall time, never less than nothing */
	later(5 * SEC);
	fakes[0].value += 9 * SEC * 2;
	v = look();
	assert_int_equal(v->busy_ns[IHO_BUSY_MPERF], 5500 * MSEC);
	later(5 * SEC);
	spend(0, IHO_ST_HALT_POLL, SEC);
	v = look();
	assert_int_equal(v->busy_ns[IHO_BUSY_MPERF], 5500 * MSEC);
	assert_int_equal(v->of_ns[IHO_BUSY_MPERF], 11 * SEC);
	/* a counter or a clock that jumps back makes no window */
	later(5 * SEC);
	fakes[0].value = 5;
	v = look();
	assert_int_equal(v->of_ns[IHO_BUSY_MPERF], 11 * SEC);
	assert_int_equal(v->signals, 0);
	later(5 * SEC);
	tsc = 10;
	v = look();
	assert_int_equal(v->of_ns[IHO_BUSY_MPERF], 11 * SEC);
	/* and the one after is good again */
	later(5 * SEC);
	fakes[0].value += SEC * 2;
	v = look();
	assert_int_equal(v->of_ns[IHO_BUSY_MPERF], 16 * SEC);
	assert_int_equal(v->busy_ns[IHO_BUSY_MPERF], 6500 * MSEC);
	/* one that cannot be read any more is closed, and stays so */
	later(5 * SEC);
	refuse_read = -EIO;
	v = look();
	assert_int_equal(v->signals, 0);
	assert_int_equal(n_open, 0);
	later(5 * SEC);
	spend(0, IHO_ST_QEMU, MSEC);
	look();
	assert_int_equal(n_opened, 2);
}

/* The guest's account is traced now: it idled so long, up to that moment by its clock. */
static void account(struct iho_snap_vcpu *v, uint64_t idle_ns, uint64_t updated_ns)
{
	struct iho_direct *d = &v->slot->direct;

	d->at_ns = v->now_ns;
	d->first_ns = d->first_ns ? d->first_ns : d->at_ns;
	d->total[IHO_DIRECT_IDLE_NS] += idle_ns;
	d->updated_ns = updated_ns;
	for (int i = 0; i < IHO_ST_MAX; i++)
		d->time_ns[i] = v->time_ns[i];
}

static void test_guest_account(void **state)
{
	struct iho_snap_vcpu *v;
	const struct iho_utilisation *u;

	(void)state;
	v = vcpu(0);
	v->slot->entry_seen = 1;
	books(0, 0, 0);
	later(SEC);
	account(v, 0, 100 * SEC);
	u = look();
	assert_int_equal(u->signals, 0);
	/* halts in guest mode: of a second of guest time it says that it idled 0.7 */
	later(SEC);
	spend(0, IHO_ST_GUEST, SEC);
	account(v, 700 * MSEC, 101 * SEC);
	u = look();
	assert_int_equal(u->signals, BIT(IHO_BUSY_GUEST));
	assert_int_equal(u->busy_ns[IHO_BUSY_GUEST], 300 * MSEC);
	assert_int_equal(u->of_ns[IHO_BUSY_GUEST], SEC);
	/* halts with exits: its idle time is the bill's, which has it as no work already */
	later(SEC);
	spend(0, IHO_ST_GUEST, 400 * MSEC);
	spend(0, IHO_ST_KVM, 50 * MSEC);
	spend(0, IHO_ST_HALTED, 450 * MSEC);
	spend(0, IHO_ST_HALT_POLL, 100 * MSEC);
	account(v, 600 * MSEC, 102 * SEC);
	u = look();
	assert_int_equal(u->busy_ns[IHO_BUSY_GUEST], 300 * MSEC + 400 * MSEC);
	/* it says more than there is of guest time: KVM's and the VMM's stay */
	later(SEC);
	spend(0, IHO_ST_GUEST, 800 * MSEC);
	spend(0, IHO_ST_KVM, 150 * MSEC);
	spend(0, IHO_ST_QEMU, 50 * MSEC);
	account(v, 5 * SEC, 103 * SEC);
	u = look();
	assert_int_equal(u->busy_ns[IHO_BUSY_GUEST], 700 * MSEC + 200 * MSEC);
	assert_int_equal(u->of_ns[IHO_BUSY_GUEST], 3 * SEC);
	/* a clock that hardly moves makes much of little, within the same bounds */
	later(SEC);
	spend(0, IHO_ST_GUEST, SEC);
	account(v, MSEC, 103 * SEC + 1);
	u = look();
	assert_int_equal(u->busy_ns[IHO_BUSY_GUEST], 900 * MSEC);
	assert_int_equal(u->of_ns[IHO_BUSY_GUEST], 4 * SEC);
}

/* Windows end with the guest's own account, not with ours. */
static void test_guest_account_is_late(void **state)
{
	struct iho_snap_vcpu *v;
	const struct iho_utilisation *u;

	(void)state;
	v = vcpu(0);
	v->slot->entry_seen = 1;
	books(0, 0, 0);
	later(SEC);
	account(v, 0, 100 * SEC);
	look();
	later(SEC);
	spend(0, IHO_ST_GUEST, SEC);
	account(v, 0, 100 * SEC); /* an exit, but no interrupt of its timer since */
	u = look();
	assert_int_equal(u->signals, 0);
	assert_int_equal(u->of_ns[IHO_BUSY_GUEST], 0);
	later(SEC);
	spend(0, IHO_ST_GUEST, SEC);
	account(v, 1500 * MSEC, 102 * SEC);
	u = look();
	assert_int_equal(u->busy_ns[IHO_BUSY_GUEST], 500 * MSEC);
	assert_int_equal(u->of_ns[IHO_BUSY_GUEST], 2 * SEC);
	/* its clock began again, with a new kernel: no window, and the next is good */
	later(SEC);
	spend(0, IHO_ST_GUEST, SEC);
	account(v, 0, SEC);
	u = look();
	assert_int_equal(u->of_ns[IHO_BUSY_GUEST], 2 * SEC);
	later(SEC);
	spend(0, IHO_ST_GUEST, SEC);
	account(v, SEC, 2 * SEC);
	u = look();
	assert_int_equal(u->busy_ns[IHO_BUSY_GUEST], 500 * MSEC);
	assert_int_equal(u->of_ns[IHO_BUSY_GUEST], 3 * SEC);
	assert_int_equal(u->signals, BIT(IHO_BUSY_GUEST));
	/* nothing traced for long: what it said then says nothing about now */
	later(61 * SEC);
	u = look();
	assert_int_equal(u->signals, 0);
	/* and nobody else's account, where the slot was given away */
	v->slot->start_ns++;
	v->slot->core.first_ns++;
	later(SEC);
	u = look();
	assert_int_equal(u->of_ns[IHO_BUSY_GUEST], 0);
}

static void test_guest_keeps_no_account(void **state)
{
	struct iho_snap_vcpu *v;

	(void)state;
	v = vcpu(0);
	v->slot->entry_seen = 1;
	books(0, 0, 0);
	for (int i = 0; i < 3; i++) {
		later(SEC);
		spend(0, IHO_ST_GUEST, SEC);
		account(v, 0, 0);
		assert_int_equal(look()->signals, 0);
	}
}

static void test_probe(void **state)
{
	(void)state;
	iho_utilisation_probe(set);
	assert_int_equal(iho_utilisation_has(set, IHO_BUSY_REF_CYCLES), IHO_ABSENT);
	iho_utilisation_close(set);
	put_msr("7", "event=0x03");
	refuse_hardware = refuse_msr = 0;
	open_set();
	iho_utilisation_probe(set);
	assert_int_equal(iho_utilisation_has(set, IHO_BUSY_REF_CYCLES), IHO_PRESENT);
	assert_int_equal(iho_utilisation_has(set, IHO_BUSY_MPERF), IHO_PRESENT);
	assert_int_equal(n_open, 0);
}

static void test_bad_msr_files(void **state)
{
	static const char *const bad[][2] = {
		{ "", "event=0x03" },
		{ "x", "event=0x03" },
		{ "7", "" },
		{ "7", "umask=0x03" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		iho_utilisation_close(set);
		put_msr(bad[i][0], bad[i][1]);
		open_set();
		assert_int_equal(iho_utilisation_has(set, IHO_BUSY_MPERF), IHO_ABSENT);
	}
}

/* To be short of descriptors, or late, says nothing about the host. */
static void test_transient_errors(void **state)
{
	static const int errors[] = { -EMFILE, -ENFILE, -ESRCH, -ENOMEM };

	(void)state;
	vcpu(0);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		books(0, 0, 0);
		later(SEC);
		spend(0, IHO_ST_QEMU, MSEC);
		refuse_hardware = errors[i];
		look();
		assert_int_equal(iho_utilisation_has(set, IHO_BUSY_REF_CYCLES), IHO_NOT_PROBED);
	}
	refuse_hardware = 0;
	later(SEC);
	spend(0, IHO_ST_QEMU, MSEC);
	look();
	assert_int_equal(n_open, 3);
	assert_int_equal(iho_utilisation_has(set, IHO_BUSY_REF_CYCLES), IHO_PRESENT);
}

/* Half of the descriptors are for others: with 800 of them, 100 vCPUs have their four. */
static void test_counters_are_bounded(void **state)
{
	struct rlimit before, few;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = 800;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	iho_utilisation_close(set);
	open_set();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	refuse_hardware = 0;
	hardware_most = 1;
	for (unsigned int i = 0; i < N_SLOTS; i++) {
		vcpu(i);
		books(i, 0, 0);
	}
	for (int round = 0; round < 8; round++) {
		later(SEC);
		for (unsigned int i = 0; i < N_SLOTS; i++)
			spend(i, IHO_ST_QEMU, MSEC);
		look();
	}
	assert_int_equal(n_open, 100);
	/* who leaves makes room */
	for (unsigned int i = 0; i < N_SLOTS - 50; i++)
		snap->vcpu[i].used = false;
	for (int round = 0; round < 8; round++) {
		later(SEC);
		for (unsigned int i = N_SLOTS - 50; i < N_SLOTS; i++)
			spend(i, IHO_ST_QEMU, MSEC);
		look();
	}
	assert_int_equal(n_open, 50);
}

/* ---- does the host see it idle? ---- */

static void test_idle_seen(void **state)
{
	struct iho_slot *s;

	(void)state;
	s = vcpu(0)->slot;
	assert_int_equal(iho_idle_seen(s), IHO_IDLE_SEEN_YES);
	s->idle = IHO_IDLE_IN_GUEST;
	s->halts = 7; /* a stray halt is no proof */
	assert_int_equal(iho_idle_seen(s), IHO_IDLE_SEEN_NO);
	s->idle = IHO_IDLE_UNKNOWN;
	assert_int_equal(iho_idle_seen(s), IHO_IDLE_SEEN_HALT);
	s->halts = 0;
	assert_int_equal(iho_idle_seen(s), IHO_IDLE_SEEN_UNKNOWN);
	s->n_exits = 1;
	s->exits[0].code = 12;
	s->exits[0].isa = IHO_ISA_VMX;
	s->exits[0].count = 1;
	assert_int_equal(iho_idle_seen(s), IHO_IDLE_SEEN_HALT);
	s->exits[0].isa = IHO_ISA_SVM; /* another reason there */
	assert_int_equal(iho_idle_seen(s), IHO_IDLE_SEEN_UNKNOWN);
	s->exits[0].code = 0x78;
	assert_int_equal(iho_idle_seen(s), IHO_IDLE_SEEN_HALT);
	s->n_exits = 0;
	s->n_user_exits = 2;
	s->user_exits[0].code = KVM_EXIT_IO;
	s->user_exits[0].count = 9;
	s->user_exits[1].code = KVM_EXIT_HLT;
	assert_int_equal(iho_idle_seen(s), IHO_IDLE_SEEN_UNKNOWN);
	s->user_exits[1].count = 1;
	assert_int_equal(iho_idle_seen(s), IHO_IDLE_SEEN_HALT);
}

/* ---- readers ---- */

static void test_windows(void **state)
{
	struct iho_utilisation_window w = {};
	struct iho_utilisation v = { .start_ns = 9, .at_ns = 100, .wall_ns = 60 };

	(void)state;
	v.cpu_ns[IHO_CPU_GUEST] = 40;
	iho_utilisation_step(&w, &v); /* the first one: since the beginning */
	assert_int_equal(w.now.cpu_ns[IHO_CPU_GUEST] - w.before.cpu_ns[IHO_CPU_GUEST], 40);
	assert_int_equal(w.now.wall_ns - w.before.wall_ns, 60);
	v.at_ns = 200;
	v.wall_ns = 160;
	v.cpu_ns[IHO_CPU_GUEST] = 70;
	v.of_ns[IHO_BUSY_MPERF] = 50;
	v.busy_ns[IHO_BUSY_MPERF] = 20;
	for (int i = 0; i < 3; i++) { /* nothing new: the window stays */
		iho_utilisation_step(&w, &v);
		assert_int_equal(w.now.cpu_ns[IHO_CPU_GUEST] - w.before.cpu_ns[IHO_CPU_GUEST], 30);
		assert_int_equal(w.now.wall_ns - w.before.wall_ns, 100);
	}
	/* a look at which this counter was not read: its window is an older one */
	v.at_ns = 300;
	v.wall_ns = 260;
	iho_utilisation_step(&w, &v);
	assert_int_equal(w.now.cpu_ns[IHO_CPU_GUEST] - w.before.cpu_ns[IHO_CPU_GUEST], 0);
	assert_int_equal(w.now.busy_ns[IHO_BUSY_MPERF] - w.before.busy_ns[IHO_BUSY_MPERF], 20);
	assert_int_equal(w.now.of_ns[IHO_BUSY_MPERF] - w.before.of_ns[IHO_BUSY_MPERF], 50);
	v.at_ns = 400;
	v.of_ns[IHO_BUSY_MPERF] = 150;
	v.busy_ns[IHO_BUSY_MPERF] = 30;
	iho_utilisation_step(&w, &v);
	assert_int_equal(w.now.busy_ns[IHO_BUSY_MPERF] - w.before.busy_ns[IHO_BUSY_MPERF], 10);
	/* somebody else, or the process that looks began again */
	v.start_ns = 10;
	iho_utilisation_step(&w, &v);
	assert_int_equal(w.before.at_ns, 0);
	assert_int_equal(w.before.cpu_ns[IHO_CPU_GUEST], 0);
	v.at_ns = 500;
	iho_utilisation_step(&w, &v);
	assert_int_equal(w.before.at_ns, 400);
	v.at_ns = 450;
	iho_utilisation_step(&w, &v);
	assert_int_equal(w.before.at_ns, 0);
}

static void test_share(void **state)
{
	struct iho_cpu_times t = {};

	(void)state;
	assert_int_equal(iho_busy_best(&t), IHO_BUSY_MAX);
	t.busy[IHO_BUSY_MPERF] = (struct iho_busy){ true, 5, 9, 1, 4 };
	assert_int_equal(iho_busy_best(&t), IHO_BUSY_MPERF);
	assert_true(iho_busy_share(&t.busy[IHO_BUSY_MPERF]) == 0.25);
	t.busy[IHO_BUSY_BILL] = (struct iho_busy){ true, 5, 9, 0, 0 }; /* no time to tell of */
	assert_int_equal(iho_busy_best(&t), IHO_BUSY_MPERF);
	t.busy[IHO_BUSY_BILL] = (struct iho_busy){ true, 5, 9, 7, 4 };
	assert_int_equal(iho_busy_best(&t), IHO_BUSY_BILL);
	assert_true(iho_busy_share(&t.busy[IHO_BUSY_BILL]) == 1);
	assert_true(iho_busy_share(&t.busy[IHO_BUSY_REF_CYCLES]) < 0);
}

static void test_json(void **state)
{
	static const char *const members[] = { "start_ns", "at_ns",   "wall_ns",
					       "cpu_ns",   "busy_ns", "of_ns",
					       "signals",  "disagree", "cpu_known" };
	struct iho_utilisation v = { .start_ns = 1, .at_ns = INT64_MAX, .wall_ns = 3 }, got;
	const struct iho_utilisation none = {};
	json_t *o, *bad;

	(void)state;
	v.cpu_known = (1 << IHO_CPU_MAX) - 1;
	v.signals = BIT(IHO_BUSY_MPERF);
	v.disagree = true;
	for (int i = 0; i < IHO_CPU_MAX; i++)
		v.cpu_ns[i] = 10 + i;
	for (int i = 0; i < IHO_BUSY_MAX; i++) {
		v.busy_ns[i] = 20 + i;
		v.of_ns[i] = 30 + i;
	}
	o = iho_utilisation_to_json(&v);
	assert_non_null(o);
	json_object_set_new(o, "of_the_future", json_true());
	assert_int_equal(iho_utilisation_from_json(&got, o), 0);
	assert_memory_equal(&got, &v, sizeof(v));
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		bad = json_deep_copy(o);
		assert_int_equal(json_object_del(bad, members[i]), 0);
		assert_int_equal(iho_utilisation_from_json(&got, bad), -EINVAL);
		assert_memory_equal(&got, &none, sizeof(none));
		json_object_set_new(bad, members[i], json_string("5"));
		assert_int_equal(iho_utilisation_from_json(&got, bad), -EINVAL);
		json_object_set_new(bad, members[i], json_integer(-1));
		assert_int_equal(iho_utilisation_from_json(&got, bad), -EINVAL);
		json_decref(bad);
	}
	json_object_set_new(o, "cpu_known", json_integer(1 << IHO_CPU_MAX));
	assert_int_equal(iho_utilisation_from_json(&got, o), -EINVAL);
	json_object_set_new(o, "cpu_known", json_integer(1));
	json_array_append_new(json_object_get(o, "cpu_ns"), json_integer(1));
	assert_int_equal(iho_utilisation_from_json(&got, o), -EINVAL);
	json_decref(o);
	assert_int_equal(iho_utilisation_from_json(&got, NULL), -EINVAL);
	/* more than JSON can hold is as much as it can */
	v.at_ns = UINT64_MAX;
	o = iho_utilisation_to_json(&v);
	assert_int_equal(iho_utilisation_from_json(&got, o), 0);
	assert_int_equal(got.at_ns, INT64_MAX);
	json_decref(o);
}

/* The real edge: this process' own books, and what this host really has. */
static void test_real_system(void **state)
{
	const struct iho_utilisation *v;
	unsigned long long start;
	struct iho_slot *s;
	char text[1024];
	FILE *f;

	(void)state;
	iho_utilisation_close(set);
	assert_int_equal(iho_utilisation_open(&set, N_SLOTS, NULL), 0);
	s = vcpu(0)->slot;
	s->tgid = s->tid = getpid();
	f = fopen("/proc/self/stat", "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_int_equal(sscanf(strrchr(text, ')'),
				") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
				"%*d %*d %*d %llu",
				&start),
			 1);
	s->start_ns = start * tick_ns;
	later(SEC);
	spend(0, IHO_ST_GUEST, MSEC);
	look();
	later(SEC);
	v = look();
	assert_int_equal(sum(v), MSEC);
	/* whatever this host has: it has been asked, or cannot be asked by this user */
	assert_int_not_equal(iho_utilisation_has(set, IHO_BUSY_REF_CYCLES), IHO_NOT_PROBED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_columns),
		TEST(test_columns_undivided),
		TEST(test_ticks_ahead),
		TEST(test_bad_books),
		TEST(test_once_a_second),
		TEST(test_tid_reuse),
		TEST(test_ended),
		TEST(test_books_are_bounded),
		TEST(test_no_counters),
		TEST(test_ref_cycles),
		TEST(test_silent_bill),
		TEST(test_ref_cycles_alone),
		TEST(test_mperf),
		TEST(test_guest_account),
		TEST(test_guest_account_is_late),
		TEST(test_guest_keeps_no_account),
		TEST(test_probe),
		TEST(test_bad_msr_files),
		TEST(test_transient_errors),
		TEST(test_counters_are_bounded),
		TEST(test_idle_seen),
		TEST(test_windows),
		TEST(test_share),
		TEST(test_json),
		TEST(test_real_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
