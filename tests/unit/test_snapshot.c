// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Snapshots of records in ordinary memory that stands for the mapped BPF maps. Where somebody
 * writes meanwhile it is a thread that runs the real state machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../bpf/iho.h"
#include "../../userspace/lib/snapshot.h"

#define N_SLOTS 8
#define N_CPUS	3
/* Not the size of a record: the stride is the map's. */
#define SLOT_STRIDE (sizeof(struct iho_slot) + 192)
#define CPU_STRIDE  (sizeof(struct iho_cpu) + 64)

static char slot_memory[N_SLOTS * SLOT_STRIDE] __attribute__((aligned(64)));
static char cpu_memory[N_CPUS * CPU_STRIDE] __attribute__((aligned(64)));
static struct iho_drill shared[IHO_SHARED];
static struct iho_vm vms[IHO_VMS];

static struct iho_ledger ledger;
static struct iho_slot archive[N_SLOTS];
static const struct iho_maps maps = {
	.ledger = &ledger,
	.archive = archive,
	.slots = slot_memory,
	.slot_stride = SLOT_STRIDE,
	.n_slots = N_SLOTS,
	.cpus = cpu_memory,
	.cpu_stride = CPU_STRIDE,
	.n_cpus = N_CPUS,
	.shared = shared,
	.vms = vms,
};

static struct iho_cpu *cpu_of(unsigned int cpu)
{
	return (struct iho_cpu *)iho_maps_cpu(&maps, cpu);
}

static inline struct iho_slot *iho_slot_at(__u32 index)
{
	return index < N_SLOTS ? (struct iho_slot *)iho_maps_slot(&maps, index) : NULL;
}

#include "../../bpf/state.h"

static struct iho_snapshot *snap;
static pthread_t writer;
static bool writing;
static int stop_writer;

static int setup(void **state)
{
	(void)state;
	memset(slot_memory, 0, sizeof(slot_memory));
	memset(cpu_memory, 0, sizeof(cpu_memory));
	memset(shared, 0, sizeof(shared));
	memset(vms, 0, sizeof(vms));
	snap = iho_snapshot_new(N_SLOTS);
	return !snap;
}

/* Also after a test that failed while it wrote. */
static void stop_writing(void)
{
	if (!writing)
		return;
	__atomic_store_n(&stop_writer, 1, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
	writing = false;
}

static int teardown(void **state)
{
	(void)state;
	stop_writing();
	iho_snapshot_free(snap);
	return 0;
}

static uint64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static struct iho_slot *take_slot(unsigned int i, enum iho_state st, uint64_t now)
{
	struct iho_slot *s = iho_slot_at(i);

	memset(s, 0, sizeof(*s));
	s->core.first_ns = s->core.since_ns = now;
	s->core.state = s->core.resume = st;
	s->tid = 100 + i;
	s->life = IHO_LIVE;
	return s;
}

static uint64_t sum(const uint64_t time_ns[IHO_ST_MAX])
{
	uint64_t ns = 0;

	for (int i = 0; i < IHO_ST_MAX; i++)
		ns += time_ns[i];
	return ns;
}

/* ---- the copy ---- */

static void test_nothing_used(void **state)
{
	uint64_t before = clock_now();

	(void)state;
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_int_equal(snap->n_slots, N_SLOTS);
	assert_int_equal(snap->n_used, 0);
	for (int i = 0; i < N_SLOTS; i++)
		assert_false(snap->vcpu[i].used);
	assert_in_range(snap->now_ns, before, clock_now());
	iho_snapshot_free(NULL);
}

/* Everything of a slot, and of the exits those that are in use. */
static void test_copy(void **state)
{
	struct iho_slot *s = iho_slot_at(3), *copy;

	(void)state;
	for (size_t i = 0; i < sizeof(*s); i++)
		((unsigned char *)s)[i] = i * 7 + i / 256;
	s->seq = 12;
	s->life = IHO_LIVE;
	s->n_exits = 5;
	s->n_user_exits = 7;
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_int_equal(snap->n_used, 1);
	for (int i = 0; i < N_SLOTS; i++)
		assert_int_equal(snap->vcpu[i].used, i == 3);
	copy = snap->vcpu[3].slot;
	assert_memory_equal(copy, s, offsetof(struct iho_slot, exits));
	assert_memory_equal(copy->exits, s->exits, 5 * sizeof(s->exits[0]));
	assert_int_equal(snap->vcpu[3].torn, 0);

	/* all of them in use, the one that collects the overflow as well */
	s->n_exits = IHO_EXITS;
	s->n_user_exits = IHO_USER_EXITS;
	s->drill[IHO_DRILLS - 1].count++;
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_ptr_equal(snap->vcpu[3].slot, copy); /* its memory is used again */
	assert_memory_equal(copy, s, sizeof(*s));
}

/* Whoever reads the copy walks arrays by these numbers. */
static void test_counts_are_clamped(void **state)
{
	struct iho_slot *s = take_slot(0, IHO_ST_GUEST, 1);

	(void)state;
	s->n_exits = 0xffffffff;
	s->n_user_exits = IHO_USER_EXITS + 1;
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_int_equal(snap->vcpu[0].slot->n_exits, IHO_EXITS);
	assert_int_equal(snap->vcpu[0].slot->n_user_exits, IHO_USER_EXITS);
}

static void test_come_and_go(void **state)
{
	struct iho_slot *first, *last;

	(void)state;
	take_slot(0, IHO_ST_GUEST, 1);
	take_slot(N_SLOTS - 1, IHO_ST_QEMU, 1);
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	first = snap->vcpu[0].slot;
	last = snap->vcpu[N_SLOTS - 1].slot;
	assert_int_equal(snap->n_used, 2);
	assert_int_equal(first->tid, 100);
	assert_int_equal(last->tid, 100 + N_SLOTS - 1);
	assert_int_equal(snap->vcpu[0].state, IHO_ST_GUEST);
	assert_int_equal(snap->vcpu[N_SLOTS - 1].state, IHO_ST_QEMU);

	iho_slot_at(0)->life = IHO_FREE;
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_int_equal(snap->n_used, 1);
	assert_false(snap->vcpu[0].used);
	assert_true(snap->vcpu[N_SLOTS - 1].used);

	take_slot(0, IHO_ST_HALTED, 1)->tid = 555;
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_int_equal(snap->n_used, 2);
	assert_int_equal(snap->vcpu[0].slot->tid, 555);
	assert_int_equal(snap->vcpu[0].state, IHO_ST_HALTED);
}

static void test_bill_up_to_now(void **state)
{
	const struct iho_snap_vcpu *v = &snap->vcpu[0];
	uint64_t begin = clock_now() - 1000000;
	struct iho_slot *s = take_slot(0, IHO_ST_GUEST, begin);

	(void)state;
	iho_on_exit(s, begin + 1000, IHO_ISA_VMX, 30);
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_in_range(v->now_ns, begin + 1000000, clock_now());
	assert_int_equal(v->state, IHO_ST_KVM);
	assert_int_equal(v->time_ns[IHO_ST_KVM], v->now_ns - begin - 1000);
	assert_int_equal(sum(v->time_ns), v->now_ns - begin);
}

/* A thread that ended has no state any more: nothing is added, however long it is looked at. */
static void test_bill_of_the_dead(void **state)
{
	const struct iho_snap_vcpu *v = &snap->vcpu[0];
	struct iho_slot *s = take_slot(0, IHO_ST_GUEST, 1000);

	(void)state;
	iho_on_exit(s, 1500, IHO_ISA_VMX, 30);
	iho_on_sched_out(s, 1600, 0, IHO_TASK_DEAD);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(iho_snapshot_take(snap, &maps), 0);
		assert_true(v->used);
		assert_int_equal(v->slot->life, IHO_GONE);
		assert_int_equal(v->now_ns, 1600);
		assert_int_equal(v->time_ns[IHO_ST_GUEST], 500);
		assert_int_equal(v->time_ns[IHO_ST_KVM], 100);
		assert_int_equal(sum(v->time_ns), 600);
	}
}

static void test_sums_over_cpus(void **state)
{
	(void)state;
	for (unsigned int cpu = 0; cpu < N_CPUS; cpu++) {
		for (int k = 0; k < IHO_LOSS_MAX; k++)
			cpu_of(cpu)->loss[k] = 10 * k + cpu;
		for (int k = 0; k < IHO_EV_MAX; k++)
			cpu_of(cpu)->events[k] = 1000 * k + cpu;
	}
	for (int round = 0; round < 2; round++) { /* the second is no larger than the first */
		assert_int_equal(iho_snapshot_take(snap, &maps), 0);
		for (int k = 0; k < IHO_LOSS_MAX; k++)
			assert_int_equal(snap->loss[k], N_CPUS * 10 * k + 0 + 1 + 2);
		for (int k = 0; k < IHO_EV_MAX; k++)
			assert_int_equal(snap->events[k], N_CPUS * 1000 * k + 0 + 1 + 2);
	}
}

static void test_tables(void **state)
{
	(void)state;
	for (int i = 0; i < IHO_SHARED; i++)
		shared[i] = (struct iho_drill){ .key = i + 1, .count = 2 * i };
	for (int i = 0; i < IHO_VMS; i++)
		vms[i] = (struct iho_vm){ .process = i, .inhibits = 3 * i };
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_memory_equal(snap->shared, shared, sizeof(shared));
	assert_memory_equal(snap->vms, vms, sizeof(vms));
}

/* ---- torn copies ---- */

/* A writer that never comes back: said so for that slot, and all others are there. */
static void test_writer_stuck(void **state)
{
	(void)state;
	take_slot(0, IHO_ST_GUEST, 1);
	take_slot(1, IHO_ST_GUEST, 1)->seq = 7;
	take_slot(2, IHO_ST_GUEST, 1)->seq = 8;
	alarm(60); /* ends the test program if it hangs */
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_int_equal(snap->n_used, 3);
	assert_int_equal(snap->vcpu[0].torn, 0);
	assert_int_equal(snap->vcpu[1].torn, 1);
	assert_int_equal(snap->vcpu[2].torn, 0);
	assert_int_equal(snap->vcpu[1].slot->tid, 101);
	for (int i = 0; i < 50; i++)
		assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_true(snap->vcpu[1].torn >= 1);
	assert_int_equal(snap->vcpu[2].torn, 0);
	alarm(0);
}

/* What was missed of one vCPU is not held against the next one in its slot. */
static void *finish_late(void *slot)
{
	const struct timespec t = { .tv_nsec = 5000000 };

	nanosleep(&t, NULL);
	__atomic_store_n(&((struct iho_slot *)slot)->seq, 8, __ATOMIC_RELEASE);
	return NULL;
}

/* A writer whose CPU was taken away for milliseconds: the copy waits for it. */
static void test_writer_late(void **state)
{
	struct iho_slot *s = take_slot(0, IHO_ST_GUEST, 1);
	pthread_t thread;

	(void)state;
	/* a loaded machine may keep the thread away for longer, but not each time */
	for (int i = 0; i < 20; i++) {
		s->seq = 7;
		snap->vcpu[0].torn = 0;
		assert_int_equal(pthread_create(&thread, NULL, finish_late, s), 0);
		assert_int_equal(iho_snapshot_take(snap, &maps), 0);
		pthread_join(thread, NULL);
		if (!snap->vcpu[0].torn)
			break;
	}
	assert_int_equal(snap->vcpu[0].torn, 0);
}

static void test_torn_of_a_former_vcpu(void **state)
{
	(void)state;
	take_slot(0, IHO_ST_GUEST, 1)->seq = 7;
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_int_equal(snap->vcpu[0].torn, 1);
	take_slot(0, IHO_ST_GUEST, 5000)->tid = 555;
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_int_equal(snap->vcpu[0].slot->tid, 555);
	assert_int_equal(snap->vcpu[0].torn, 0);
}

/* Slot 0 lives a vCPU's life, as fast as it can; all fields of slot 1's core are one number. */
static void *write_on(void *arg)
{
	struct iho_slot *s = iho_slot_at(0), *same = iho_slot_at(1);
	struct iho_cpu *cpu = cpu_of(0);
	uint64_t t = s->core.since_ns;

	(void)arg;
	for (uint64_t n = 1; !__atomic_load_n(&stop_writer, __ATOMIC_RELAXED); n++) {
		iho_write_begin(same);
		same->core.first_ns = n;
		same->core.since_ns = n;
		same->core.pend_ns = n;
		for (int i = 0; i < IHO_ST_MAX; i++)
			same->core.time_ns[i] = n;
		same->core.state = n % IHO_ST_MAX;
		same->core.resume = n % IHO_ST_MAX;
		iho_write_end(same);

		iho_on_exit(s, t += 100, IHO_ISA_VMX, n % 40);
		iho_on_userspace_exit(s, t += 10, n % 7, 0);
		iho_on_sched_out(s, t += 3, 0, IHO_TASK_INTERRUPTIBLE);
		iho_on_wakeup(s, t += 40, cpu, 0, 0);
		iho_wait_end(cpu, s, 0);
		iho_on_sched_in(s, t += 2, 0);
		iho_on_run(s, t += 5);
		iho_on_sched_out(s, t += 7, 1, 0);
		iho_on_sched_in(s, t += 8, 0);
		iho_on_sched_out(s, t += 30, 0, IHO_TASK_INTERRUPTIBLE);
		iho_on_wakeup(s, t += 90, cpu, 0, 0);
		iho_wait_end(cpu, s, 0);
		iho_on_sched_in(s, t += 4, 0);
		iho_on_halt_poll_ns(s, 20, s->poll_limit_ns);
		iho_on_vcpu_wakeup(s, t += 5, 20 + 90 + 4 + 5, 1);
		iho_on_vcpu_wakeup(s, t += 50, 30, 0);
		iho_on_entry(s, t += 6);
	}
	return NULL;
}

static void check_same(const struct iho_core *c)
{
	uint64_t n = c->first_ns;

	assert_int_equal(c->since_ns, n);
	assert_int_equal(c->pend_ns, n);
	for (int i = 0; i < IHO_ST_MAX; i++)
		assert_int_equal(c->time_ns[i], n);
	assert_int_equal(c->state, n % IHO_ST_MAX);
	assert_int_equal(c->resume, n % IHO_ST_MAX);
}

/* Each copy of a core is one that was there: it sums up, while the writer goes on. */
static void test_concurrent_writer(void **state)
{
	const uint64_t enough = 5000, apart = 20, limit = clock_now() + 60000000000ULL;
	uint64_t good[2] = {}, moved[2] = {}, last[2] = {};

	(void)state;
	take_slot(0, IHO_ST_GUEST, 1000);
	take_slot(1, IHO_ST_UNKNOWN, 0);
	stop_writer = 0;
	assert_int_equal(pthread_create(&writer, NULL, write_on, NULL), 0);
	writing = true;
	/* most of them differ; under valgrind, where one thread runs at a time, some do */
	while (good[0] < enough || good[1] < enough || moved[0] < apart || moved[1] < apart) {
		if (clock_now() > limit)
			break;
		snap->vcpu[0].torn = snap->vcpu[1].torn = 0;
		assert_int_equal(iho_snapshot_take(snap, &maps), 0);
		for (int i = 0; i < 2; i++) {
			const struct iho_snap_vcpu *v = &snap->vcpu[i];
			const struct iho_core *c = &v->slot->core;

			if (v->torn)
				continue;
			good[i]++;
			moved[i] += c->since_ns != last[i];
			assert_true(c->since_ns >= last[i]);
			last[i] = c->since_ns;
			if (i) {
				check_same(c);
				continue;
			}
			assert_int_equal(sum((const uint64_t *)c->time_ns) + c->pend_ns,
					 c->since_ns - c->first_ns);
			assert_int_equal(sum(v->time_ns), v->now_ns - c->first_ns);
		}
	}
	stop_writing();
	for (int i = 0; i < 2; i++) {
		assert_true(good[i] >= enough);
		assert_true(moved[i] >= apart);
	}

	/* and when it is quiet, the copy is the original */
	snap->vcpu[0].torn = 0;
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	assert_int_equal(snap->vcpu[0].torn, 0);
	assert_memory_equal(&snap->vcpu[0].slot->core, &iho_slot_at(0)->core,
			    sizeof(struct iho_core));
}

/* ---- the bill at a moment ---- */

static void test_open_interval(void **state)
{
	uint64_t time_ns[IHO_ST_MAX];

	(void)state;
	for (uint32_t st = 0; st < IHO_ST_MAX; st++) {
		struct iho_core c = { .first_ns = 1000, .since_ns = 5000, .state = st };

		for (int i = 0; i < IHO_ST_MAX; i++)
			c.time_ns[i] = 10 * i;
		assert_int_equal(iho_bill_at(&c, 0, true, 5700, time_ns), st);
		for (uint32_t i = 0; i < IHO_ST_MAX; i++)
			assert_int_equal(time_ns[i], 10 * i + (i == st ? 700 : 0));
		/* taken before the event that is in it: nothing is open */
		assert_int_equal(iho_bill_at(&c, 0, true, 4999, time_ns), st);
		assert_memory_equal(time_ns, c.time_ns, sizeof(time_ns));
		assert_int_equal(iho_bill_at(&c, 0, true, 5000, time_ns), st);
		assert_memory_equal(time_ns, c.time_ns, sizeof(time_ns));
	}
}

/* A state from a newer or broken writer must not be an index. */
static void test_state_out_of_range(void **state)
{
	struct iho_core c = { .first_ns = 1000, .since_ns = 5000, .state = IHO_ST_MAX };
	uint64_t time_ns[IHO_ST_MAX];

	(void)state;
	assert_int_equal(iho_bill_at(&c, 0, true, 5700, time_ns), IHO_ST_UNKNOWN);
	assert_int_equal(time_ns[IHO_ST_UNKNOWN], 700);
	c.state = 0xffffffff;
	assert_int_equal(iho_bill_at(&c, 5100, true, 5700, time_ns), IHO_ST_UNKNOWN);
	assert_int_equal(sum(time_ns), 700);
}

static void test_pending(void **state)
{
	struct iho_core c = {
		.first_ns = 1000,
		.since_ns = 5000,
		.pend_ns = 300,
		.state = IHO_ST_HALTED,
	};
	uint64_t time_ns[IHO_ST_MAX];

	(void)state;
	c.time_ns[IHO_ST_KVM] = 3000;
	c.time_ns[IHO_ST_GUEST_OR_KVM] = 700;
	assert_int_equal(iho_bill_at(&c, 0, true, 5050, time_ns), IHO_ST_HALTED);
	assert_int_equal(time_ns[IHO_ST_KVM], 3300);
	assert_int_equal(time_ns[IHO_ST_GUEST_OR_KVM], 700);
	assert_int_equal(time_ns[IHO_ST_HALTED], 50);
	assert_int_equal(sum(time_ns), 4050);

	assert_int_equal(iho_bill_at(&c, 0, false, 5050, time_ns), IHO_ST_HALTED);
	assert_int_equal(time_ns[IHO_ST_KVM], 3000);
	assert_int_equal(time_ns[IHO_ST_GUEST_OR_KVM], 1000);
	assert_int_equal(sum(time_ns), 4050);
}

/* Woken, but not on a core yet: the sleep ends at the wake-up, what follows is a wait. */
static void test_woken(void **state)
{
	uint64_t time_ns[IHO_ST_MAX];

	(void)state;
	for (uint32_t st = 0; st < IHO_ST_MAX; st++) {
		struct iho_core c = { .first_ns = 1000, .since_ns = 5000, .state = st };
		bool asleep = st == IHO_ST_HALTED || st == IHO_ST_BLOCKED || st == IHO_ST_STOPPED ||
			      st == IHO_ST_QEMU_ASLEEP;

		if (st == IHO_ST_RUNNABLE)
			continue;
		assert_int_equal(iho_bill_at(&c, 5600, true, 5700, time_ns),
				 asleep ? IHO_ST_RUNNABLE : st);
		assert_int_equal(time_ns[st], asleep ? 600 : 700);
		assert_int_equal(time_ns[IHO_ST_RUNNABLE], asleep ? 100 : 0);
		assert_int_equal(sum(time_ns), 700);

		/* a wake-up before it slept, and one after this moment, are none */
		assert_int_equal(iho_bill_at(&c, 4900, true, 5700, time_ns), st);
		assert_int_equal(time_ns[st], 700);
		assert_int_equal(iho_bill_at(&c, 5800, true, 5700, time_ns), st);
		assert_int_equal(time_ns[st], 700);
		assert_int_equal(sum(time_ns), 700);
	}
}

/* ---- the bill while life goes on ---- */

static uint64_t seed = 99;
static uint64_t t, last_read[IHO_ST_MAX];
static struct iho_slot *one;

static uint64_t rnd(uint64_t below)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (seed * 0x2545f4914f6cdd1dULL >> 11) % below;
}

/*
 * What is shown only grows, with one exception: that a KVM interval was halt polling is known when
 * the halt is over, so these two only grow together. And it always sums to the wall time.
 */
static void look(void)
{
	uint64_t time_ns[IHO_ST_MAX];

	iho_bill_at(&one->core, one->wake_ns, one->entry_seen, t, time_ns);
	assert_int_equal(sum(time_ns), t - one->core.first_ns);
	for (int i = 0; i < IHO_ST_MAX; i++)
		if (i != IHO_ST_KVM)
			assert_true(time_ns[i] >= last_read[i]);
	assert_true(time_ns[IHO_ST_KVM] + time_ns[IHO_ST_HALT_POLL] >=
		    last_read[IHO_ST_KVM] + last_read[IHO_ST_HALT_POLL]);
	memcpy(last_read, time_ns, sizeof(last_read));
}

static void pass(uint64_t ns)
{
	uint64_t end = t + ns;

	while (rnd(2)) {
		t += rnd(end - t + 1);
		look();
	}
	t = end;
}

static void off_core(uint32_t task_state)
{
	iho_on_sched_out(one, t, task_state == 0, task_state);
	pass(rnd(5000));
	if (task_state && rnd(4)) {
		iho_on_wakeup(one, t, cpu_of(0), 0, 0);
		pass(rnd(300));
	}
	if (one->wait_cpu)
		iho_wait_end(cpu_of(0), one, 0);
	iho_on_sched_in(one, t, 0);
}

static void test_bill_while_life_goes_on(void **state)
{
	static const uint32_t task_states[] = { 0, IHO_TASK_INTERRUPTIBLE, 2, 0x104 };
	uint64_t start;

	(void)state;
	t = 1000;
	memset(last_read, 0, sizeof(last_read));
	one = take_slot(0, IHO_ST_GUEST, t);
	one->entry_seen = 1;
	one->poll_limit_ns = one->poll_next_ns = 500;
	for (int i = 0; i < 50000; i++) {
		pass(rnd(5000));
		iho_on_exit(one, t, IHO_ISA_VMX, i % 60);
		pass(rnd(500));
		switch (rnd(5)) {
		case 0:
			off_core(task_states[rnd(3)]);
			break;
		case 1:
			start = t;
			pass(rnd(500));
			off_core(IHO_TASK_INTERRUPTIBLE);
			pass(rnd(20));
			iho_on_vcpu_wakeup(one, t, t - start, 1);
			break;
		case 2:
			start = t;
			pass(rnd(500));
			iho_on_vcpu_wakeup(one, t, t - start, 0);
			break;
		case 3:
			iho_on_userspace_exit(one, t, i % 50, 0);
			pass(rnd(500));
			off_core(task_states[rnd(4)]);
			pass(rnd(500));
			iho_on_run(one, t);
			break;
		}
		pass(rnd(300));
		iho_on_entry(one, t);
	}
	for (int i = 1; i < IHO_ST_MAX; i++)
		assert_true(i == IHO_ST_GUEST_OR_KVM || last_read[i]);
}

/* What must not go back from one snapshot to the next, and what is somebody else's. */
static void test_carry(void **state)
{
	struct iho_snapshot *prev = iho_snapshot_new(N_SLOTS);
	uint64_t now = clock_now();
	struct iho_slot *s = take_slot(0, IHO_ST_KVM, now - 1000000);

	(void)state;
	assert_non_null(prev);
	s->entry_seen = 1;
	take_slot(1, IHO_ST_GUEST, now)->seq = 1; /* torn every time */
	assert_int_equal(iho_snapshot_take(prev, &maps), 0);
	assert_true(prev->vcpu[0].time_ns[IHO_ST_KVM] >= 1000000);

	/* the halt is over: all of it was polling */
	iho_on_vcpu_wakeup(s, clock_now(), 1ULL << 40, 0);
	assert_int_equal(s->core.time_ns[IHO_ST_KVM], 0);
	s->core.state = IHO_ST_GUEST;
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	iho_snapshot_carry(snap, prev);
	assert_int_equal(snap->vcpu[0].time_ns[IHO_ST_KVM], prev->vcpu[0].time_ns[IHO_ST_KVM]);
	assert_int_equal(snap->vcpu[1].torn, 2);
	assert_int_equal(snap->vcpu[0].torn, 0);

	/* another vCPU in the slot inherits nothing */
	take_slot(0, IHO_ST_GUEST, clock_now())->tid = 7;
	take_slot(1, IHO_ST_GUEST, clock_now())->tid = 8;
	assert_int_equal(iho_snapshot_take(snap, &maps), 0);
	iho_snapshot_carry(snap, prev);
	assert_int_equal(snap->vcpu[0].time_ns[IHO_ST_KVM], 0);
	assert_int_equal(snap->vcpu[1].torn, 0);
	iho_snapshot_free(prev);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- slots change hands ---- */

#define MOVES 20
#define MOVED 1000

static volatile bool moving;

/* A keeper that loses its core in the middle of each change, for longer than anybody spins. */
static void *move_to_archive(void *arg)
{
	struct iho_slot *slot = iho_slot_at(0);

	for (int i = 0; i < MOVES; i++) {
		__atomic_store_n(&ledger.generation, ledger.generation + 1, __ATOMIC_SEQ_CST);
		__atomic_store_n(&archive[0].halts, archive[0].halts + MOVED, __ATOMIC_SEQ_CST);
		usleep(20000);
		__atomic_store_n(&slot->halts, slot->halts - MOVED, __ATOMIC_SEQ_CST);
		__atomic_store_n(&ledger.generation, ledger.generation + 1, __ATOMIC_SEQ_CST);
		usleep(500);
	}
	moving = false;
	return NULL;
}

/* What a vCPU's earlier threads counted is in one place or in the other, never in both. */
static void test_change(void **state)
{
	struct iho_snapshot *s = iho_snapshot_new(N_SLOTS);
	struct iho_slot *slot = iho_slot_at(0);
	unsigned int between = 0;
	pthread_t thread;

	assert_non_null(s);
	memset(slot_memory, 0, sizeof(slot_memory));
	memset(archive, 0, sizeof(archive));
	slot->life = archive[0].life = IHO_GONE;
	slot->halts = MOVES * MOVED;
	ledger.archived = 1;
	moving = true;
	assert_int_equal(pthread_create(&thread, NULL, move_to_archive, NULL), 0);
	while (moving) {
		assert_int_equal(iho_snapshot_take(s, &maps), 0);
		assert_int_equal(s->vcpu[0].slot->halts + s->vcpu[N_SLOTS].slot->halts,
				 MOVES * MOVED);
		between += s->vcpu[0].slot->halts && s->vcpu[N_SLOTS].slot->halts;
	}
	pthread_join(thread, NULL);
	assert_true(between > 0);
	iho_snapshot_free(s);
	memset(slot_memory, 0, sizeof(slot_memory));
	memset(archive, 0, sizeof(archive));
	memset(&ledger, 0, sizeof(ledger));
}

/* One that died in the middle of a change does not hold its readers up for ever. */
static void test_dead_keeper(void **state)
{
	struct iho_snapshot *s = iho_snapshot_new(N_SLOTS);

	assert_non_null(s);
	ledger.generation = 7;
	assert_int_equal(iho_snapshot_take(s, &maps), 0);
	assert_int_equal(s->n_used, 0);
	iho_snapshot_free(s);
	memset(&ledger, 0, sizeof(ledger));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_used),
		TEST(test_copy),
		TEST(test_counts_are_clamped),
		TEST(test_come_and_go),
		TEST(test_bill_up_to_now),
		TEST(test_bill_of_the_dead),
		TEST(test_sums_over_cpus),
		TEST(test_tables),
		TEST(test_writer_stuck),
		TEST(test_writer_late),
		TEST(test_torn_of_a_former_vcpu),
		TEST(test_concurrent_writer),
		TEST(test_open_interval),
		TEST(test_state_out_of_range),
		TEST(test_pending),
		TEST(test_woken),
		TEST(test_bill_while_life_goes_on),
		TEST(test_carry),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_dead_keeper),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
