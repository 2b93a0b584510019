// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state machine of bpf/state.h as plain C, driven with made-up events.
 *
 * A test says how long the vCPU was in each state and which event ended it; the truth is the sum of
 * these numbers, written down again in the test's expectation. Event functions are called as the
 * programs of bpf/iho.bpf.c call them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../bpf/iho.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define N_SLOTS	      8
#define N_CPUS	      2

static struct iho_slot slots[N_SLOTS];

static inline struct iho_slot *iho_slot_at(__u32 index)
{
	return index < N_SLOTS ? &slots[index] : NULL;
}

#include "../../bpf/state.h"

/* VMX basic exit reasons (SDM volume 3, appendix C). */
#define VMX_CPUID 10
#define VMX_HLT	  12
#define VMX_IO	  30
#define VMX_WRMSR 32
#define VMX_EPT	  48

/* linux/sched.h */
#define TASK_UNINTERRUPTIBLE 0x2
#define TASK_STOPPED	     0x104 /* __TASK_STOPPED | TASK_WAKEKILL */
#define TASK_TRACED	     0x8
#define TASK_KILLABLE	     0x102
#define TASK_FREEZABLE	     0x2000

#define T0 1000000ULL

static struct iho_cpu cpus[N_CPUS];
static struct iho_slot *const v = &slots[0];
static uint64_t t; /* now */

static void fresh_slot(struct iho_slot *s, enum iho_state st, uint32_t entry_seen)
{
	memset(s, 0, sizeof(*s));
	s->core.first_ns = s->core.since_ns = t;
	s->core.state = s->core.resume = st;
	s->life = IHO_LIVE;
	s->tid = 1000 + (s - slots);
	s->entry_seen = entry_seen;
}

static int setup(void **state)
{
	(void)state;
	t = T0;
	memset(cpus, 0, sizeof(cpus));
	for (int i = 0; i < N_SLOTS; i++)
		fresh_slot(&slots[i], IHO_ST_GUEST, 1);
	return 0;
}

/* ---- events of slot 0, `ns` after the last one ---- */

static void entry(uint64_t ns)
{
	t += ns;
	iho_on_entry(v, t);
}

static void vmx_exit(uint64_t ns, uint32_t code)
{
	t += ns;
	iho_on_exit(v, t, IHO_ISA_VMX, code);
}

static void svm_exit(uint64_t ns, uint32_t code)
{
	t += ns;
	iho_on_exit(v, t, IHO_ISA_SVM, code);
}

static void user_exit(uint64_t ns, uint32_t reason)
{
	t += ns;
	iho_on_userspace_exit(v, t, reason, 0);
}

static void user_error(uint64_t ns, int err)
{
	t += ns;
	iho_on_userspace_exit(v, t, KVM_EXIT_MMIO, err); /* an error leaves an old reason behind */
}

static void run(uint64_t ns)
{
	t += ns;
	iho_on_run(v, t);
}

static void sleeps(uint64_t ns, uint32_t task_state)
{
	t += ns;
	assert_int_equal(iho_on_sched_out(v, t, 0, task_state), 0);
}

static void preempted(uint64_t ns)
{
	t += ns;
	assert_int_equal(iho_on_sched_out(v, t, 1, 0), 1);
}

static void woken(uint64_t ns)
{
	t += ns;
	iho_on_wakeup(v, t, &cpus[0], 0, 0);
}

static void scheduled(uint64_t ns)
{
	t += ns;
	if (v->wait_cpu)
		iho_wait_end(&cpus[v->wait_cpu - 1], v, 0);
	iho_on_sched_in(v, t, 0);
}

static void halt_over(uint64_t ns, uint64_t halt_ns, uint32_t waited)
{
	t += ns;
	iho_on_vcpu_wakeup(v, t, halt_ns, waited);
}

/* What sched_switch does on a CPU, for a host of several threads. */
struct thread {
	uint32_t tid;
	int slot; /* -1: no vCPU */
	char comm[IHO_COMM];
};

static const struct thread swapper = { 0, -1, "swapper/0" };
static const struct thread vcpu_thread[] = {
	{ 1000, 0, "CPU 0/KVM" }, { 1001, 1, "CPU 1/KVM" }, { 1002, 2, "CPU 2/KVM" },
	{ 1003, 3, "CPU 3/KVM" }, { 1004, 4, "CPU 4/KVM" },
};

static void switch_on(uint32_t cpu, uint64_t ns, const struct thread *prev, int preempt,
		      uint32_t prev_state, const struct thread *next)
{
	struct iho_cpu *c = &cpus[cpu];

	t += ns;
	if (c->n_waiters)
		iho_charge_waiters(c, prev->tid, prev->comm, t);
	if (prev->slot >= 0 && iho_on_sched_out(&slots[prev->slot], t, preempt, prev_state)) {
		c->switch_ns = t;
		iho_wait_begin(c, cpu, &slots[prev->slot], prev->slot, t);
	}
	if (next->slot >= 0) {
		if (slots[next->slot].wait_cpu)
			iho_wait_end(c, &slots[next->slot], next->slot);
		iho_on_sched_in(&slots[next->slot], t, cpu);
	}
}

static void migrate(int slot)
{
	struct iho_slot *s = &slots[slot];

	s->migrations++;
	if (s->wait_cpu)
		iho_wait_end(&cpus[s->wait_cpu - 1], s, slot);
}

/* ---- checks ---- */

static uint64_t billed(const struct iho_slot *s)
{
	uint64_t sum = s->core.pend_ns;

	for (int i = 0; i < IHO_ST_MAX; i++)
		sum += s->core.time_ns[i];
	return sum;
}

static void check_bill(const struct iho_slot *s, const uint64_t want[IHO_ST_MAX], int line)
{
	for (int i = 0; i < IHO_ST_MAX; i++)
		if (s->core.time_ns[i] != want[i])
			fail_msg("line %d: state %d has %llu ns, not %llu", line, i,
				 (unsigned long long)s->core.time_ns[i],
				 (unsigned long long)want[i]);
	if (s->core.pend_ns)
		fail_msg("line %d: %llu ns pending", line, (unsigned long long)s->core.pend_ns);
	if (billed(s) != s->core.since_ns - s->core.first_ns)
		fail_msg("line %d: the bill does not sum to the wall time", line);
	if (s->seq & 1)
		fail_msg("line %d: the sequence count is odd", line);
}

/* BILL([IHO_ST_GUEST] = 100, ...): what is not named is 0. */
#define BILL_OF(s, ...) check_bill(s, (const uint64_t[IHO_ST_MAX]){ __VA_ARGS__ }, __LINE__)
#define BILL(...)	BILL_OF(v, __VA_ARGS__)

static const struct iho_exit *find_exit(uint32_t isa, uint32_t code)
{
	const struct iho_exit *found = NULL;

	for (unsigned int i = 0; i < v->n_exits; i++) {
		if (v->exits[i].code != code || v->exits[i].isa != isa)
			continue;
		assert_null(found); /* never twice */
		found = &v->exits[i];
	}
	return found;
}

static const struct iho_exit *exit_of(uint32_t code)
{
	const struct iho_exit *e = find_exit(IHO_ISA_VMX, code);

	assert_non_null(e);
	return e;
}

static const struct iho_user_exit *user_exit_of(uint32_t code)
{
	for (unsigned int i = 0; i < v->n_user_exits; i++)
		if (v->user_exits[i].code == code)
			return &v->user_exits[i];
	fail_msg("no userspace exit %u", code);
	return NULL;
}

static uint64_t finished(const struct iho_exit *e)
{
	uint64_t n = 0;

	for (int i = 0; i < IHO_HIST_BUCKETS; i++)
		n += e->hist[i];
	return n;
}

static uint64_t all_exits(const struct iho_slot *s)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < s->n_exits; i++)
		n += s->exits[i].count;
	return n;
}

static uint64_t all_user_exits(const struct iho_slot *s)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < s->n_user_exits; i++)
		n += s->user_exits[i].count;
	return n;
}

static void check_no_loss(void)
{
	assert_int_equal(v->unpaired_exits, 0);
	assert_int_equal(v->unpaired_entries, 0);
	assert_int_equal(v->clock_back, 0);
	assert_int_equal(v->exit_overflow, 0);
	assert_int_equal(v->user_overflow, 0);
}

/* The bucket of a duration, from the definition: four equal parts of each power of two. */
static int true_bucket(uint64_t ns)
{
	long double low = 32;
	int bucket = 0;

	if (ns < 32)
		return 0;
	while (bucket < IHO_HIST_BUCKETS - 4 && (long double)ns >= 2 * low) {
		low *= 2;
		bucket += 4;
	}
	while (bucket < IHO_HIST_BUCKETS - 1 && bucket % 4 < 3 &&
	       (long double)ns >= low * (5 + bucket % 4) / 4)
		bucket++;
	return bucket;
}

/* ---- histograms ---- */

static void test_log2(void **state)
{
	(void)state;
	for (unsigned int bit = 0; bit < 64; bit++) {
		assert_int_equal(iho_log2(1ULL << bit), bit);
		assert_int_equal(iho_log2((1ULL << bit) | ((1ULL << bit) - 1)), bit);
	}
}

static void test_hist_bucket(void **state)
{
	static const struct {
		uint64_t ns;
		unsigned int bucket;
	} known[] = {
		{ 0, 0 },
		{ 31, 0 },
		{ 32, 0 },
		{ 39, 0 },
		{ 40, 1 },
		{ 47, 1 },
		{ 48, 2 },
		{ 55, 2 },
		{ 56, 3 },
		{ 63, 3 },
		{ 64, 4 },
		{ 79, 4 },
		{ 80, 5 },
		{ 1024, 20 },
		{ 1279, 20 },
		{ 1280, 21 },
		{ (1ULL << 33) - 1, 111 },
		{ 1ULL << 33, 111 },
		{ ~0ULL, 111 },
		{ 7ULL << 30, 111 },
		{ (7ULL << 30) - 1, 110 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		assert_int_equal(iho_hist_bucket(known[i].ns), known[i].bucket);
	for (uint64_t ns = 1; ns < 1ULL << 40; ns += 1 + ns / 97)
		assert_int_equal(iho_hist_bucket(ns), true_bucket(ns));
	for (unsigned int bit = 0; bit < 64; bit++)
		for (int d = -1; d <= 1; d++)
			assert_int_equal(iho_hist_bucket((1ULL << bit) + d),
					 true_bucket((1ULL << bit) + d));
}

/* ---- entry and exit ---- */

static void test_entry_exit_pairs(void **state)
{
	const struct iho_exit *io, *cpuid;

	(void)state;
	vmx_exit(1000, VMX_IO);
	entry(50);
	vmx_exit(2000, VMX_IO);
	entry(70);
	vmx_exit(3000, VMX_CPUID);
	entry(500);
	vmx_exit(4000, VMX_IO);
	entry(60);

	BILL([IHO_ST_GUEST] = 10000, [IHO_ST_KVM] = 680);
	io = exit_of(VMX_IO);
	assert_int_equal(io->count, 3);
	assert_int_equal(io->time_ns, 180);
	assert_int_equal(io->kvm_ns, 180);
	assert_int_equal(io->max_ns, 70);
	assert_int_equal(io->hist[2], 1); /* 48..55 */
	assert_int_equal(io->hist[3], 1); /* 56..63 */
	assert_int_equal(io->hist[4], 1); /* 64..79 */
	assert_int_equal(finished(io), 3);
	cpuid = exit_of(VMX_CPUID);
	assert_int_equal(cpuid->count, 1);
	assert_int_equal(cpuid->time_ns, 500);
	assert_int_equal(cpuid->max_ns, 500);
	assert_int_equal(cpuid->hist[true_bucket(500)], 1);
	assert_int_equal(v->n_exits, 2);
	assert_int_equal(v->core.state, IHO_ST_GUEST);
	check_no_loss();
}

static void test_userspace_round_trip(void **state)
{
	const struct iho_user_exit *u;
	const struct iho_exit *e;

	(void)state;
	vmx_exit(1000, VMX_IO);
	user_exit(30, KVM_EXIT_IO);
	assert_int_equal(v->core.state, IHO_ST_QEMU);
	run(500);
	assert_int_equal(v->core.state, IHO_ST_KVM);
	entry(20);
	vmx_exit(1000, VMX_IO);
	user_exit(40, KVM_EXIT_IO);
	run(100);
	entry(10);

	BILL([IHO_ST_GUEST] = 2000, [IHO_ST_KVM] = 100, [IHO_ST_QEMU] = 600);
	u = user_exit_of(KVM_EXIT_IO);
	assert_int_equal(u->count, 2);
	assert_int_equal(u->time_ns, 600);
	assert_int_equal(u->max_ns, 500);
	e = exit_of(VMX_IO);
	assert_int_equal(e->count, 2);
	assert_int_equal(e->time_ns, 700);
	assert_int_equal(e->kvm_ns, 100);
	assert_int_equal(e->max_ns, 550);
	assert_int_equal(e->hist[true_bucket(550)], 1);
	assert_int_equal(e->hist[true_bucket(150)], 1);
	assert_int_equal(finished(e), 2);
	check_no_loss();
}

/* Where kvm_fpu does not exist, KVM_RUN is not seen: the VMM's turn lasts until the guest runs. */
static void test_userspace_without_run_event(void **state)
{
	(void)state;
	vmx_exit(1000, VMX_IO);
	user_exit(30, KVM_EXIT_IO);
	entry(500);
	vmx_exit(100, VMX_CPUID);
	entry(50);

	BILL([IHO_ST_GUEST] = 1100, [IHO_ST_KVM] = 80, [IHO_ST_QEMU] = 500);
	assert_int_equal(user_exit_of(KVM_EXIT_IO)->time_ns, 500);
	assert_int_equal(user_exit_of(KVM_EXIT_IO)->max_ns, 500);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 530);
	assert_int_equal(exit_of(VMX_IO)->kvm_ns, 30);
	assert_int_equal(exit_of(VMX_CPUID)->time_ns, 50);
	check_no_loss();
}

static void test_exit_without_entry(void **state)
{
	(void)state;
	vmx_exit(1000, VMX_IO);
	vmx_exit(300, VMX_CPUID); /* when the guest ran in between, and how long, is not known */
	entry(40);
	vmx_exit(100, VMX_HLT);
	entry(45);

	BILL([IHO_ST_GUEST] = 1100, [IHO_ST_KVM] = 385);
	assert_int_equal(v->unpaired_exits, 1);
	assert_int_equal(v->unpaired_entries, 0);
	assert_int_equal(exit_of(VMX_IO)->count, 1);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 0);
	assert_int_equal(finished(exit_of(VMX_IO)), 0);
	assert_int_equal(exit_of(VMX_CPUID)->count, 1);
	assert_int_equal(exit_of(VMX_CPUID)->time_ns, 40);
	assert_int_equal(exit_of(VMX_CPUID)->kvm_ns, 40);
	assert_int_equal(exit_of(VMX_CPUID)->max_ns, 40);
	assert_int_equal(exit_of(VMX_HLT)->time_ns, 45);

	/* the VMM was at work on the first when the second came */
	vmx_exit(100, VMX_IO);
	user_exit(10, KVM_EXIT_IO);
	vmx_exit(200, VMX_CPUID);
	entry(40);
	assert_int_equal(v->unpaired_exits, 2);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 0);
	assert_int_equal(exit_of(VMX_CPUID)->time_ns, 80);
	assert_int_equal(user_exit_of(KVM_EXIT_IO)->time_ns, 200);
}

/* KVM_RUN was called and an exit follows at once: the entry between them is missing. */
static void test_exit_after_run(void **state)
{
	(void)state;
	fresh_slot(v, IHO_ST_QEMU, 1);
	run(10);
	vmx_exit(20, VMX_IO);
	entry(30);

	BILL([IHO_ST_QEMU] = 10, [IHO_ST_KVM] = 50);
	assert_int_equal(v->unpaired_exits, 1);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 30);
}

static void test_entry_without_exit(void **state)
{
	(void)state;
	entry(1000);
	assert_int_equal(v->unpaired_entries, 1);
	entry(500);
	assert_int_equal(v->unpaired_entries, 2);
	vmx_exit(10, VMX_IO);
	entry(20);

	BILL([IHO_ST_GUEST] = 1510, [IHO_ST_KVM] = 20);
	assert_int_equal(v->unpaired_entries, 2);
	assert_int_equal(v->unpaired_exits, 0);
	assert_int_equal(all_exits(v), 1);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 20);
}

/* Attached in the middle: the first event tells what it tells, the time before it is unknown. */
static void test_attach_in_mid_run(void **state)
{
	(void)state;
	fresh_slot(v, IHO_ST_UNKNOWN, 0);
	vmx_exit(700, VMX_IO);
	entry(50);
	BILL([IHO_ST_UNKNOWN] = 700, [IHO_ST_KVM] = 50);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 50);
	check_no_loss();

	fresh_slot(v, IHO_ST_UNKNOWN, 0);
	entry(700);
	vmx_exit(60, VMX_IO);
	BILL([IHO_ST_UNKNOWN] = 700, [IHO_ST_GUEST] = 60);
	check_no_loss();

	fresh_slot(v, IHO_ST_UNKNOWN, 0);
	user_exit(700, KVM_EXIT_IO);
	run(30);
	BILL([IHO_ST_UNKNOWN] = 700, [IHO_ST_QEMU] = 30);
	check_no_loss();

	/* It sleeps, and nothing is known about why. */
	fresh_slot(v, IHO_ST_UNKNOWN, 1);
	sleeps(700, IHO_TASK_INTERRUPTIBLE);
	scheduled(40);
	entry(5);
	BILL([IHO_ST_UNKNOWN] = 745);
	check_no_loss();
}

static void test_killed_inside_an_exit(void **state)
{
	(void)state;
	vmx_exit(1000, VMX_IO);
	sleeps(80, IHO_TASK_DEAD);

	assert_int_equal(v->life, IHO_GONE);
	assert_int_equal(v->gone_ns, t);
	assert_int_equal(v->core.since_ns, t);
	BILL([IHO_ST_GUEST] = 1000, [IHO_ST_KVM] = 80);
	assert_int_equal(exit_of(VMX_IO)->count, 1);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 0);
	assert_int_equal(finished(exit_of(VMX_IO)), 0);

	/* A waker that comes late finds nobody to put on a list. */
	woken(50);
	assert_int_equal(cpus[0].n_waiters, 0);
	assert_int_equal(v->wait_cpu, 0);
	BILL([IHO_ST_GUEST] = 1000, [IHO_ST_KVM] = 80);
	check_no_loss();
}

/* A SIGKILL while it is halted: KVM_RUN returns -EINTR, and the thread never comes back to it. */
static void test_killed_while_halted(void **state)
{
	(void)state;
	vmx_exit(1000, VMX_HLT);
	sleeps(80, IHO_TASK_INTERRUPTIBLE);
	woken(5000);
	scheduled(20);
	user_error(10, -EINTR);
	sleeps(30, IHO_TASK_DEAD);

	assert_int_equal(v->life, IHO_GONE);
	BILL([IHO_ST_GUEST] = 1000, [IHO_ST_KVM] = 90, [IHO_ST_HALTED] = 5000,
	     [IHO_ST_RUNNABLE] = 20, [IHO_ST_QEMU] = 30);
	assert_int_equal(user_exit_of(KVM_EXIT_INTR)->count, 1);
	check_no_loss();
}

static void test_nested_userspace_exit(void **state)
{
	(void)state;
	vmx_exit(1000, VMX_IO);
	user_exit(30, KVM_EXIT_IO);
	user_exit(200, KVM_EXIT_MMIO); /* no sign of the KVM_RUN between them */
	run(400);
	entry(10);

	BILL([IHO_ST_GUEST] = 1000, [IHO_ST_KVM] = 40, [IHO_ST_QEMU] = 600);
	assert_int_equal(user_exit_of(KVM_EXIT_IO)->count, 1);
	assert_int_equal(user_exit_of(KVM_EXIT_IO)->time_ns, 200);
	assert_int_equal(user_exit_of(KVM_EXIT_IO)->max_ns, 200);
	assert_int_equal(user_exit_of(KVM_EXIT_MMIO)->count, 1);
	assert_int_equal(user_exit_of(KVM_EXIT_MMIO)->time_ns, 400);
	assert_int_equal(user_exit_of(KVM_EXIT_MMIO)->max_ns, 400);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 640);
	assert_int_equal(exit_of(VMX_IO)->kvm_ns, 40);
	check_no_loss();
}

/* Nothing of the VMM's time before an exit is part of the exit. */
static void test_exit_starts_from_zero(void **state)
{
	(void)state;
	fresh_slot(v, IHO_ST_QEMU, 1);
	user_exit(700, KVM_EXIT_INTR);
	run(300);
	entry(20);
	vmx_exit(1000, VMX_IO);
	entry(50);

	BILL([IHO_ST_QEMU] = 1000, [IHO_ST_KVM] = 70, [IHO_ST_GUEST] = 1000);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 50);
	assert_int_equal(exit_of(VMX_IO)->kvm_ns, 50);
	/* nor is the time before the first userspace exit part of that one */
	assert_int_equal(user_exit_of(KVM_EXIT_INTR)->time_ns, 300);
	check_no_loss();
}

/* ---- the clock ---- */

/* Counters are plain 64-bit words: one that is full starts again at 0, and nothing else happens. */
static void test_counter_wrap(void **state)
{
	struct iho_exit *e;

	(void)state;
	vmx_exit(100, VMX_IO);
	user_exit(10, KVM_EXIT_IO);
	run(10);
	entry(10);
	iho_drill_add(v, IHO_DRILL_PIO, 7);
	e = &v->exits[0];
	e->count = ~0ULL;
	e->time_ns = ~0ULL - 9;
	e->kvm_ns = ~0ULL - 9;
	e->hist[true_bucket(100)] = ~0ULL;
	v->user_exits[0].count = ~0ULL;
	v->user_exits[0].time_ns = ~0ULL;
	v->core.time_ns[IHO_ST_GUEST] = ~0ULL - 49;
	v->seq = ~0ULL - 1;
	for (int i = 0; i < IHO_DRILLS; i++)
		if (v->drill[i].key)
			v->drill[i].count = ~0ULL;

	vmx_exit(100, VMX_IO);
	user_exit(30, KVM_EXIT_IO);
	run(60);
	entry(10);
	iho_drill_add(v, IHO_DRILL_PIO, 7);

	assert_int_equal(e->count, 0);
	assert_int_equal(e->time_ns, 90);
	assert_int_equal(e->kvm_ns, 30);
	assert_int_equal(e->hist[true_bucket(100)], 0);
	assert_int_equal(v->user_exits[0].count, 0);
	assert_int_equal(v->user_exits[0].time_ns, 59);
	assert_int_equal(v->core.time_ns[IHO_ST_GUEST], 50);
	assert_int_equal(v->seq & 1, 0);
	for (int i = 0; i < IHO_DRILLS; i++)
		if (v->drill[i].key)
			assert_int_equal(v->drill[i].count, 0);
	check_no_loss();
}

/*
 * CLOCK_MONOTONIC wraps after 584 years. Durations across the wrap are right, and it is not taken
 * for a clock that goes back; only comparisons fail once: that wake-up and that poll are not seen.
 */
static void test_clock_wrap(void **state)
{
	(void)state;
	t = ~0ULL - 999; /* 1000 ns before the wrap */
	fresh_slot(v, IHO_ST_GUEST, 1);
	vmx_exit(900, VMX_IO);
	entry(300); /* now = 200 */
	BILL([IHO_ST_GUEST] = 900, [IHO_ST_KVM] = 300);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 300);

	t = ~0ULL - 999;
	fresh_slot(v, IHO_ST_KVM, 1);
	sleeps(900, IHO_TASK_INTERRUPTIBLE);
	woken(300);
	scheduled(50);
	entry(5);
	BILL([IHO_ST_KVM] = 905, [IHO_ST_HALTED] = 350);

	t = ~0ULL - 999;
	fresh_slot(v, IHO_ST_KVM, 1);
	v->poll_limit_ns = 2000;
	sleeps(1500, IHO_TASK_INTERRUPTIBLE);
	woken(100);
	scheduled(50);
	halt_over(5, 1155, 1);
	entry(5);
	BILL([IHO_ST_KVM] = 1510, [IHO_ST_HALTED] = 100, [IHO_ST_RUNNABLE] = 50);
	check_no_loss();
}

static void test_clock_stands_still(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		vmx_exit(0, VMX_HLT);
		sleeps(0, IHO_TASK_INTERRUPTIBLE);
		woken(0);
		scheduled(0);
		halt_over(0, 0, i & 1);
		user_exit(0, KVM_EXIT_IO);
		preempted(0);
		scheduled(0);
		run(0);
		entry(0);
	}
	BILL([IHO_ST_GUEST] = 0);
	assert_int_equal(v->core.since_ns, T0);
	assert_int_equal(exit_of(VMX_HLT)->count, 10);
	assert_int_equal(exit_of(VMX_HLT)->time_ns, 0);
	assert_int_equal(exit_of(VMX_HLT)->max_ns, 0);
	assert_int_equal(exit_of(VMX_HLT)->hist[0], 10);
	assert_int_equal(user_exit_of(KVM_EXIT_IO)->count, 10);
	assert_int_equal(user_exit_of(KVM_EXIT_IO)->time_ns, 0);
	assert_int_equal(v->halts, 10);
	assert_int_equal(v->halts_polled, 5);
	assert_int_equal(v->preemptions, 10);
	assert_int_equal(cpus[0].n_waiters, 0);
	check_no_loss();
}

/* Nothing is billed until the clock has caught up, so nothing is billed twice. */
static void test_clock_goes_back(void **state)
{
	(void)state;
	vmx_exit(1000, VMX_IO); /* T0 + 1000 */
	t -= 400;
	iho_on_entry(v, t); /* T0 + 600 */
	assert_int_equal(v->clock_back, 1);
	assert_int_equal(v->core.since_ns, T0 + 1000);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 0);
	vmx_exit(100, VMX_IO); /* T0 + 700 */
	assert_int_equal(v->clock_back, 2);
	entry(500); /* T0 + 1200: 200 ns after the last billed moment */
	assert_int_equal(v->clock_back, 2);
	BILL([IHO_ST_GUEST] = 1000, [IHO_ST_KVM] = 200);
	assert_int_equal(exit_of(VMX_IO)->count, 2);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 200);
	assert_int_equal(exit_of(VMX_IO)->max_ns, 200);

	/* The same at a block, a wake-up and a halt's end. */
	vmx_exit(100, VMX_HLT); /* T0 + 1300 */
	t -= 100;
	sleeps(0, IHO_TASK_INTERRUPTIBLE);
	assert_int_equal(v->clock_back, 3);
	assert_int_equal(v->core.pend_ns, 0);
	woken(0); /* before the last billed moment: not believed */
	scheduled(150); /* T0 + 1350 */
	t -= 50;
	iho_on_vcpu_wakeup(v, t, 20, 0);
	assert_int_equal(v->clock_back, 4);
	entry(60); /* T0 + 1360 */
	BILL([IHO_ST_GUEST] = 1100, [IHO_ST_KVM] = 210, [IHO_ST_HALTED] = 50);
	assert_int_equal(v->clock_back, 4);
	assert_int_equal(v->unpaired_exits + v->unpaired_entries, 0);
}

/* ---- halts ---- */

static void test_halt_polling_off(void **state)
{
	(void)state;
	vmx_exit(100, VMX_HLT);
	sleeps(30, IHO_TASK_INTERRUPTIBLE);
	assert_int_equal(v->core.state, IHO_ST_HALTED);
	assert_int_equal(billed(v), 130);
	woken(1000);
	scheduled(40);
	assert_int_equal(v->core.state, IHO_ST_KVM);
	halt_over(15, 1060, 1);
	entry(5);

	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 50, [IHO_ST_HALTED] = 1000,
	     [IHO_ST_RUNNABLE] = 40);
	assert_int_equal(v->halts, 1);
	assert_int_equal(v->halts_polled, 0);
	assert_int_equal(exit_of(VMX_HLT)->time_ns, 50);
	assert_int_equal(exit_of(VMX_HLT)->kvm_ns, 50);
	assert_int_equal(exit_of(VMX_HLT)->max_ns, 50);
	check_no_loss();
}

/* One halt of a vCPU that polls: KVM 30, polls 200, sleeps 1000, waits 40, KVM 15 and 5. */
static void polled_halt(uint32_t next_limit)
{
	vmx_exit(100, VMX_HLT);
	sleeps(230, IHO_TASK_INTERRUPTIBLE);
	woken(1000);
	scheduled(40);
	if (next_limit != ~0u)
		iho_on_halt_poll_ns(v, next_limit, v->poll_limit_ns);
	halt_over(15, 200 + 1000 + 40 + 15, 1);
	entry(5);
}

static void test_halt_polling_on(void **state)
{
	(void)state;
	v->poll_limit_ns = v->poll_next_ns = 200;
	polled_halt(~0u);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 50, [IHO_ST_HALT_POLL] = 200,
	     [IHO_ST_HALTED] = 1000, [IHO_ST_RUNNABLE] = 40);
	assert_int_equal(exit_of(VMX_HLT)->time_ns, 50);
	assert_int_equal(exit_of(VMX_HLT)->kvm_ns, 50);
	polled_halt(~0u);
	BILL([IHO_ST_GUEST] = 200, [IHO_ST_KVM] = 100, [IHO_ST_HALT_POLL] = 400,
	     [IHO_ST_HALTED] = 2000, [IHO_ST_RUNNABLE] = 80);
	assert_int_equal(v->halts, 2);
	assert_int_equal(v->halts_polled, 0);
	assert_int_equal(exit_of(VMX_HLT)->max_ns, 50);
	check_no_loss();
}

/* kvm_halt_poll_ns comes before the halt's kvm_vcpu_wakeup and tells the limit of the next halt. */
static void test_halt_poll_limit_of_next_halt(void **state)
{
	(void)state;
	/* off so far: what looks like a poll is KVM's own time */
	polled_halt(200);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 250, [IHO_ST_HALTED] = 1000,
	     [IHO_ST_RUNNABLE] = 40);
	/* this one polls, and the next will not */
	polled_halt(0);
	BILL([IHO_ST_GUEST] = 200, [IHO_ST_KVM] = 300, [IHO_ST_HALT_POLL] = 200,
	     [IHO_ST_HALTED] = 2000, [IHO_ST_RUNNABLE] = 80);
	polled_halt(~0u);
	BILL([IHO_ST_GUEST] = 300, [IHO_ST_KVM] = 550, [IHO_ST_HALT_POLL] = 200,
	     [IHO_ST_HALTED] = 3000, [IHO_ST_RUNNABLE] = 120);
	check_no_loss();
}

/* The first halt that is seen: the event that changes the limit tells the one in effect as well. */
static void test_halt_poll_first_halt(void **state)
{
	(void)state;
	vmx_exit(100, VMX_HLT);
	sleeps(200, IHO_TASK_INTERRUPTIBLE);
	woken(1000);
	scheduled(40);
	iho_on_halt_poll_ns(v, 400, 200);
	halt_over(10, 200 + 1000 + 40 + 10, 1);
	assert_int_equal(v->poll_limit_ns, 400);
	entry(5);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 15, [IHO_ST_HALT_POLL] = 200,
	     [IHO_ST_HALTED] = 1000, [IHO_ST_RUNNABLE] = 40);
	check_no_loss();
}

static void test_successful_poll(void **state)
{
	(void)state;
	vmx_exit(100, VMX_HLT);
	halt_over(30 + 120, 120, 0);
	assert_int_equal(v->core.time_ns[IHO_ST_HALT_POLL], 120);
	entry(5);

	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 35, [IHO_ST_HALT_POLL] = 120);
	assert_int_equal(v->halts, 1);
	assert_int_equal(v->halts_polled, 1);
	assert_int_equal(exit_of(VMX_HLT)->time_ns, 35);
	assert_int_equal(exit_of(VMX_HLT)->kvm_ns, 35);
	check_no_loss();
}

/* A poll that claims to be longer than all there is: it cannot take time from other states. */
static void test_poll_longer_than_the_exit(void **state)
{
	(void)state;
	vmx_exit(100, VMX_HLT);
	halt_over(50, 1000000, 0);
	entry(5);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 5, [IHO_ST_HALT_POLL] = 50);

	v->poll_limit_ns = 200;
	vmx_exit(100, VMX_HLT);
	sleeps(60, IHO_TASK_INTERRUPTIBLE);
	woken(1000);
	scheduled(40);
	halt_over(15, 1000000, 1);
	entry(5);
	BILL([IHO_ST_GUEST] = 200, [IHO_ST_KVM] = 25, [IHO_ST_HALT_POLL] = 110,
	     [IHO_ST_HALTED] = 1000, [IHO_ST_RUNNABLE] = 40);

	/* and one that began before the clock did */
	vmx_exit(100, VMX_HLT);
	halt_over(20, ~0ULL, 1);
	entry(5);
	BILL([IHO_ST_GUEST] = 300, [IHO_ST_KVM] = 50, [IHO_ST_HALT_POLL] = 110,
	     [IHO_ST_HALTED] = 1000, [IHO_ST_RUNNABLE] = 40);
	check_no_loss();
}

/*
 * Preempted while it polls: what it polled before was billed as KVM when the core was taken away,
 * and stays there, since a counter never runs backwards. The rest of the poll is exact.
 */
static void test_preempted_while_polling(void **state)
{
	(void)state;
	v->poll_limit_ns = v->poll_next_ns = 200;
	vmx_exit(100, VMX_HLT);
	preempted(30 + 80);
	scheduled(500);
	sleeps(60, IHO_TASK_INTERRUPTIBLE);
	woken(1000);
	scheduled(40);
	halt_over(15, 80 + 500 + 60 + 1000 + 40 + 15, 1);
	entry(5);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 30 + 80 + 15 + 5, [IHO_ST_HALT_POLL] = 60,
	     [IHO_ST_PREEMPTED] = 500, [IHO_ST_HALTED] = 1000, [IHO_ST_RUNNABLE] = 40);
	assert_int_equal(exit_of(VMX_HLT)->time_ns, 130);

	/* the same where the poll succeeds */
	vmx_exit(100, VMX_HLT);
	preempted(30 + 80);
	scheduled(500);
	halt_over(60, 80 + 500 + 60, 0);
	entry(5);
	BILL([IHO_ST_GUEST] = 200, [IHO_ST_KVM] = 130 + 115, [IHO_ST_HALT_POLL] = 120,
	     [IHO_ST_PREEMPTED] = 1000, [IHO_ST_HALTED] = 1000, [IHO_ST_RUNNABLE] = 40);
	check_no_loss();
}

/* KVM halts the vCPU again without an entry, when the wake-up was for nothing. */
static void test_two_halts_in_a_row(void **state)
{
	(void)state;
	v->poll_limit_ns = v->poll_next_ns = 200;
	vmx_exit(100, VMX_HLT);
	sleeps(30 + 200, IHO_TASK_INTERRUPTIBLE);
	woken(1000);
	scheduled(40);
	halt_over(15, 200 + 1000 + 40 + 15, 1);
	sleeps(7 + 150, IHO_TASK_INTERRUPTIBLE);
	woken(3000);
	scheduled(50);
	halt_over(12, 150 + 3000 + 50 + 12, 1);
	entry(5);

	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 30 + 15 + 7 + 12 + 5, [IHO_ST_HALT_POLL] = 350,
	     [IHO_ST_HALTED] = 4000, [IHO_ST_RUNNABLE] = 90);
	assert_int_equal(v->halts, 2);
	assert_int_equal(exit_of(VMX_HLT)->count, 1);
	assert_int_equal(exit_of(VMX_HLT)->time_ns, 69);
	check_no_loss();
}

/* kvm_vcpu_block() goes back to sleep by itself: one halt, of which only the first block had a
 * poll. */
static void test_blocks_twice_in_one_halt(void **state)
{
	(void)state;
	v->poll_limit_ns = v->poll_next_ns = 200;
	vmx_exit(100, VMX_HLT);
	sleeps(30 + 200, IHO_TASK_INTERRUPTIBLE);
	woken(1000);
	scheduled(40);
	sleeps(8, IHO_TASK_INTERRUPTIBLE);
	woken(2000);
	scheduled(60);
	halt_over(15, 200 + 1000 + 40 + 8 + 2000 + 60 + 15, 1);
	entry(5);

	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 30 + 8 + 15 + 5, [IHO_ST_HALT_POLL] = 200,
	     [IHO_ST_HALTED] = 3000, [IHO_ST_RUNNABLE] = 100);
	assert_int_equal(exit_of(VMX_HLT)->time_ns, 58);
	check_no_loss();
}

/* A vCPU that waits for its SIPI blocks without kvm_vcpu_halt(), so no kvm_vcpu_wakeup follows. */
static void test_block_without_wakeup_event(void **state)
{
	(void)state;
	v->poll_limit_ns = v->poll_next_ns = 200;
	vmx_exit(100, VMX_HLT);
	sleeps(30, IHO_TASK_INTERRUPTIBLE);
	woken(1000);
	scheduled(40);
	entry(5);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 35, [IHO_ST_HALTED] = 1000,
	     [IHO_ST_RUNNABLE] = 40);
	assert_int_equal(exit_of(VMX_HLT)->time_ns, 35);
	assert_int_equal(v->halts, 0);

	/* nothing of it is left for the next halt, which is split as ever */
	polled_halt(~0u);
	BILL([IHO_ST_GUEST] = 200, [IHO_ST_KVM] = 85, [IHO_ST_HALT_POLL] = 200,
	     [IHO_ST_HALTED] = 2000, [IHO_ST_RUNNABLE] = 80);

	/* the same where it leaves to the VMM */
	vmx_exit(100, VMX_HLT);
	sleeps(30, IHO_TASK_INTERRUPTIBLE);
	woken(1000);
	scheduled(40);
	user_error(5, -EAGAIN);
	run(50);
	entry(2);
	BILL([IHO_ST_GUEST] = 300, [IHO_ST_KVM] = 122, [IHO_ST_HALT_POLL] = 200,
	     [IHO_ST_HALTED] = 3000, [IHO_ST_RUNNABLE] = 120, [IHO_ST_QEMU] = 50);
	assert_int_equal(user_exit_of(IHO_USER_ERROR | EAGAIN)->time_ns, 50);

	/* and where the next thing seen is another exit */
	vmx_exit(100, VMX_HLT);
	sleeps(30, IHO_TASK_INTERRUPTIBLE);
	woken(1000);
	scheduled(40);
	vmx_exit(5, VMX_IO);
	entry(2);
	BILL([IHO_ST_GUEST] = 400, [IHO_ST_KVM] = 159, [IHO_ST_HALT_POLL] = 200,
	     [IHO_ST_HALTED] = 4000, [IHO_ST_RUNNABLE] = 160, [IHO_ST_QEMU] = 50);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 2);
	assert_int_equal(exit_of(VMX_IO)->kvm_ns, 2);
	assert_int_equal(v->unpaired_exits, 1);
}

/* A poll that succeeds in an exit that had blocked before: no more than the poll is polling. */
static void test_successful_poll_after_a_block(void **state)
{
	(void)state;
	vmx_exit(100, VMX_HLT);
	sleeps(10, IHO_TASK_INTERRUPTIBLE);
	woken(1000);
	scheduled(40);
	halt_over(5 + 50, 50, 0);
	entry(2);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 17, [IHO_ST_HALT_POLL] = 50,
	     [IHO_ST_HALTED] = 1000, [IHO_ST_RUNNABLE] = 40);
	assert_int_equal(exit_of(VMX_HLT)->time_ns, 17);
	assert_int_equal(exit_of(VMX_HLT)->kvm_ns, 17);
	check_no_loss();
}

/* A page that must be read from disk: asleep inside KVM, but not because the guest halted. */
static void test_blocked_inside_kvm(void **state)
{
	static const uint32_t sleeps_of[] = { TASK_UNINTERRUPTIBLE, TASK_KILLABLE };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sleeps_of); i++) {
		vmx_exit(100, VMX_EPT);
		sleeps(30, sleeps_of[i]);
		assert_int_equal(v->core.state, IHO_ST_BLOCKED);
		assert_int_equal(v->core.pend_ns, 0);
		woken(7000);
		scheduled(40);
		entry(5);
	}
	BILL([IHO_ST_GUEST] = 200, [IHO_ST_KVM] = 70, [IHO_ST_BLOCKED] = 14000,
	     [IHO_ST_RUNNABLE] = 80);
	assert_int_equal(exit_of(VMX_EPT)->time_ns, 70);
	assert_int_equal(exit_of(VMX_EPT)->max_ns, 35);
	check_no_loss();
}

/* ---- in the VMM ---- */

static void test_sleep_in_the_vmm(void **state)
{
	(void)state;
	vmx_exit(100, VMX_IO);
	user_exit(10, KVM_EXIT_IO);
	sleeps(20, IHO_TASK_INTERRUPTIBLE | TASK_FREEZABLE);
	assert_int_equal(v->core.state, IHO_ST_QEMU_ASLEEP);
	woken(300);
	scheduled(40);
	assert_int_equal(v->core.state, IHO_ST_QEMU);
	sleeps(6, TASK_UNINTERRUPTIBLE); /* a disk: it is the VMM's own wait, too */
	assert_int_equal(v->core.state, IHO_ST_QEMU_ASLEEP);
	woken(200);
	scheduled(0);
	run(5);
	entry(3);

	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 13, [IHO_ST_QEMU] = 31,
	     [IHO_ST_QEMU_ASLEEP] = 500, [IHO_ST_RUNNABLE] = 40);
	assert_int_equal(user_exit_of(KVM_EXIT_IO)->time_ns, 531);
	assert_int_equal(user_exit_of(KVM_EXIT_IO)->max_ns, 531);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 544);
	assert_int_equal(exit_of(VMX_IO)->kvm_ns, 13);
	check_no_loss();
}

static void test_stopped_in_the_vmm(void **state)
{
	static const uint32_t stops[] = { TASK_STOPPED, TASK_TRACED };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(stops); i++) {
		vmx_exit(100, VMX_IO);
		user_error(10, -EINTR);
		sleeps(20, stops[i]);
		assert_int_equal(v->core.state, IHO_ST_STOPPED);
		woken(90000);
		scheduled(40);
		assert_int_equal(v->core.state, IHO_ST_QEMU);
		run(5);
		entry(3);
	}
	BILL([IHO_ST_GUEST] = 200, [IHO_ST_KVM] = 26, [IHO_ST_QEMU] = 50, [IHO_ST_STOPPED] = 180000,
	     [IHO_ST_RUNNABLE] = 80);
	assert_int_equal(user_exit_of(KVM_EXIT_INTR)->time_ns, 50);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 76);
	check_no_loss();
}

static void test_userspace_errors(void **state)
{
	(void)state;
	fresh_slot(v, IHO_ST_KVM, 1);
	user_error(10, -EINTR);
	run(20);
	user_exit(1, KVM_EXIT_INTR); /* an interrupted KVM_RUN, in the other of its two forms */
	run(30);
	user_error(10, -EFAULT);
	run(7);
	user_error(10, -ENOSYS);
	run(8);

	assert_int_equal(v->n_user_exits, 3);
	assert_int_equal(user_exit_of(KVM_EXIT_INTR)->count, 2);
	assert_int_equal(user_exit_of(KVM_EXIT_INTR)->time_ns, 50);
	assert_int_equal(user_exit_of(KVM_EXIT_INTR)->max_ns, 30);
	assert_int_equal(user_exit_of(IHO_USER_ERROR | EFAULT)->count, 1);
	assert_int_equal(user_exit_of(IHO_USER_ERROR | EFAULT)->time_ns, 7);
	assert_int_equal(user_exit_of(IHO_USER_ERROR | ENOSYS)->time_ns, 8);
	BILL([IHO_ST_KVM] = 31, [IHO_ST_QEMU] = 65);
	check_no_loss();
}

static void test_too_many_userspace_reasons(void **state)
{
	const uint32_t kinds = IHO_USER_EXITS + 10;

	(void)state;
	fresh_slot(v, IHO_ST_KVM, 1);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < kinds; i++) {
			user_exit(1, i);
			run(10 + i);
		}
	}
	assert_int_equal(v->n_user_exits, IHO_USER_EXITS);
	for (uint32_t i = 0; i < IHO_USER_EXITS - 1; i++) {
		assert_int_equal(user_exit_of(i)->count, 3);
		assert_int_equal(user_exit_of(i)->time_ns, 3 * (10 + i));
		assert_int_equal(user_exit_of(i)->max_ns, 10 + i);
	}
	assert_int_equal(user_exit_of(IHO_CODE_OVERFLOW)->count, 3 * 11);
	/* reasons 31..41: 11 of them, 41..51 ns each */
	assert_int_equal(user_exit_of(IHO_CODE_OVERFLOW)->time_ns, 3 * 11 * 46);
	assert_int_equal(user_exit_of(IHO_CODE_OVERFLOW)->max_ns, 51);
	assert_int_equal(v->user_overflow, 3 * 11);
	assert_int_equal(all_user_exits(v), 3 * kinds);
}

/* ---- reasons of exits ---- */

static void test_unknown_exit_codes(void **state)
{
	static const struct {
		uint32_t isa, code;
	} codes[] = {
		{ IHO_ISA_VMX, 0 },
		{ IHO_ISA_VMX, 191 }, /* the last one below SVM's gap */
		{ IHO_ISA_VMX, 192 },
		{ IHO_ISA_VMX, 0x400 }, /* a bucket of SVM's, but not of VMX's */
		{ IHO_ISA_VMX, 0xffff },
		{ IHO_ISA_VMX, 0x80000021 }, /* FAILED_VMENTRY | INVALID_STATE */
		{ IHO_ISA_VMX, 33 }, /* INVALID_STATE without the flag is another code */
		{ IHO_ISA_VMX, 0x08000001 }, /* ENCLAVE */
	};
	/* VMEXIT_*; NPF, AVIC and VMGEXIT; codes of software's own; VMEXIT_INVALID; and the gaps */
	static const uint32_t svm[] = {
		0x0,   0x60,  0xa5,  0xbf,  0xc0,  0xff,       0x100,	   0x3ff,      0x400,
		0x401, 0x402, 0x403, 0x420, 0x43f, 0x440,      0x80000001, 0x8000fffd, 0xffffffff,
	};

	(void)state;
	for (int round = 1; round <= 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
			t += 100;
			iho_on_exit(v, t, codes[i].isa, codes[i].code);
			entry(40 + i);
		}
		assert_int_equal(v->n_exits, ARRAY_SIZE(codes));
		for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
			const struct iho_exit *e = find_exit(codes[i].isa, codes[i].code);

			assert_non_null(e);
			assert_int_equal(e->count, round);
			assert_int_equal(e->time_ns, round * (40 + i));
		}
	}
	check_no_loss();

	fresh_slot(v, IHO_ST_GUEST, 1);
	for (int round = 1; round <= 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(svm); i++) {
			svm_exit(100, svm[i]);
			entry(40 + i);
		}
		assert_int_equal(v->n_exits, ARRAY_SIZE(svm));
		for (size_t i = 0; i < ARRAY_SIZE(svm); i++) {
			const struct iho_exit *e = find_exit(IHO_ISA_SVM, svm[i]);

			assert_non_null(e);
			assert_int_equal(e->count, round);
			assert_int_equal(e->time_ns, round * (40 + i));
		}
	}
	check_no_loss();
}

static void test_too_many_exit_reasons(void **state)
{
	const uint32_t kinds = IHO_EXITS + 10;
	const struct iho_exit *other;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < kinds; i++) {
			/* half of them have no place in the index and are searched for */
			vmx_exit(100, i & 1 ? i : 0x1000 + i);
			entry(100 + i);
		}
	}
	assert_int_equal(v->n_exits, IHO_EXITS);
	for (uint32_t i = 0; i < IHO_EXITS - 1; i++) {
		const struct iho_exit *e = exit_of(i & 1 ? i : 0x1000 + i);

		assert_int_equal(e->count, 3);
		assert_int_equal(e->time_ns, 3 * (100 + i));
		assert_int_equal(e->hist[true_bucket(100 + i)], 3);
	}
	other = exit_of(IHO_CODE_OVERFLOW);
	assert_int_equal(other->count, 3 * 11);
	/* reasons 31..41: 131..141 ns each */
	assert_int_equal(other->time_ns, 3 * 11 * 136);
	assert_int_equal(other->max_ns, 141);
	assert_int_equal(finished(other), 3 * 11);
	assert_int_equal(v->exit_overflow, 3 * 11);
	assert_int_equal(all_exits(v), 3 * kinds);
	assert_int_equal(v->unpaired_exits, 0);
	BILL([IHO_ST_GUEST] = 3 * 42 * 100, [IHO_ST_KVM] = 3 * (42 * 100 + 41 * 42 / 2));
}

/* ---- hosts that emit no kvm_entry and no kvm_exit ---- */

static void test_host_without_entry_and_exit(void **state)
{
	(void)state;
	fresh_slot(v, IHO_ST_UNKNOWN, 0);
	run(10);
	assert_int_equal(v->core.state, IHO_ST_GUEST_OR_KVM);
	user_exit(1000, KVM_EXIT_IO);
	run(200);
	/* a halt that does not poll, one that does in vain, one that does */
	sleeps(300, IHO_TASK_INTERRUPTIBLE);
	assert_int_equal(v->core.state, IHO_ST_HALTED);
	woken(5000);
	scheduled(40);
	iho_on_halt_poll_ns(v, 250, v->poll_limit_ns);
	halt_over(7, 5047, 1);
	sleeps(100 + 250, IHO_TASK_INTERRUPTIBLE);
	woken(6000);
	scheduled(50);
	halt_over(8, 250 + 6058, 1);
	halt_over(90 + 120, 120, 0);
	preempted(60);
	scheduled(70);
	user_exit(3, KVM_EXIT_MMIO);
	run(4);

	BILL([IHO_ST_UNKNOWN] = 10, [IHO_ST_GUEST_OR_KVM] = 1000 + 300 + 7 + 100 + 8 + 90 + 60 + 3,
	     [IHO_ST_QEMU] = 204, [IHO_ST_HALTED] = 11000, [IHO_ST_RUNNABLE] = 90,
	     [IHO_ST_HALT_POLL] = 370, [IHO_ST_PREEMPTED] = 70);
	assert_int_equal(user_exit_of(KVM_EXIT_IO)->time_ns, 200);
	assert_int_equal(user_exit_of(KVM_EXIT_MMIO)->time_ns, 4);
	assert_int_equal(v->n_exits, 0);
	assert_int_equal(v->entry_seen, 0);
	assert_int_equal(v->halts, 3);
	assert_int_equal(v->halts_polled, 1);
	check_no_loss();
}

/* The undivided time was KVM on its way into the guest if an entry ends it... */
static void test_first_entry_divides(void **state)
{
	(void)state;
	fresh_slot(v, IHO_ST_QEMU, 0);
	run(10);
	entry(500);
	BILL([IHO_ST_QEMU] = 10, [IHO_ST_KVM] = 500);
	vmx_exit(100, VMX_IO);
	user_exit(20, KVM_EXIT_IO);
	run(30);
	assert_int_equal(v->core.state, IHO_ST_KVM);
	entry(5);
	BILL([IHO_ST_QEMU] = 40, [IHO_ST_KVM] = 525, [IHO_ST_GUEST] = 100);
	check_no_loss();
}

/* ...and the guest if an exit does; from then on both are told apart. */
static void test_first_exit_divides(void **state)
{
	(void)state;
	fresh_slot(v, IHO_ST_QEMU, 0);
	run(10);
	preempted(200);
	scheduled(50);
	vmx_exit(300, VMX_IO);
	BILL([IHO_ST_QEMU] = 10, [IHO_ST_GUEST] = 500, [IHO_ST_PREEMPTED] = 50);
	entry(20);
	vmx_exit(30, VMX_IO);
	user_exit(1, KVM_EXIT_IO);
	run(2);
	entry(3);
	BILL([IHO_ST_QEMU] = 12, [IHO_ST_GUEST] = 530, [IHO_ST_KVM] = 24, [IHO_ST_PREEMPTED] = 50);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 26);
	check_no_loss();

	/* Time held back at a block belongs to KVM either way. */
	fresh_slot(v, IHO_ST_GUEST_OR_KVM, 0);
	sleeps(300, IHO_TASK_INTERRUPTIBLE);
	woken(1000);
	scheduled(10);
	entry(5);
	BILL([IHO_ST_KVM] = 305, [IHO_ST_HALTED] = 1000, [IHO_ST_RUNNABLE] = 10);
	check_no_loss();
}

/* ---- scheduler ---- */

static const struct iho_task *interloper(const struct iho_slot *s, uint32_t tid)
{
	for (int i = 0; i < IHO_TASKS; i++)
		if (s->interlopers[i].used && s->interlopers[i].tid == tid)
			return &s->interlopers[i];
	return NULL;
}

static uint64_t all_interlopers(const struct iho_slot *s)
{
	uint64_t ns = 0;

	for (int i = 0; i < IHO_TASKS; i++)
		ns += s->interlopers[i].ns;
	return ns;
}

#define CHARGED(slot, id, time, times) check_charged(&slots[slot], id, time, times, __LINE__)

static void check_charged(const struct iho_slot *s, uint32_t tid, uint64_t ns, uint64_t count,
			  int line)
{
	const struct iho_task *task = interloper(s, tid);

	if (!task)
		fail_msg("line %d: task %u is not in the table", line, tid);
	else if (task->ns != ns || task->count != count)
		fail_msg("line %d: task %u had %llu ns in %llu turns", line, tid,
			 (unsigned long long)task->ns, (unsigned long long)task->count);
}

static void check_waiters(void)
{
	for (int c = 0; c < N_CPUS; c++) {
		unsigned int n = 0;

		for (int i = 0; i < IHO_WAITERS; i++)
			n += cpus[c].waiter[i] != 0;
		assert_int_equal(cpus[c].n_waiters, n);
	}
}

static void test_preempted_by_whom(void **state)
{
	static const struct thread x = { 77, -1, "stress" }, y = { 88, -1, "kworker/0:1" };
	const struct thread *a = &vcpu_thread[0];

	(void)state;
	switch_on(0, 100, a, 1, 0, &x);
	assert_int_equal(v->core.state, IHO_ST_PREEMPTED);
	switch_on(0, 30, &x, 1, 0, &y);
	switch_on(0, 50, &y, 0, IHO_TASK_INTERRUPTIBLE, &x);
	switch_on(0, 7, &x, 1, 0, a);
	assert_int_equal(v->core.state, IHO_ST_GUEST);
	assert_int_equal(cpus[0].n_waiters, 0);
	/* x runs on while nobody waits, then the vCPU yields to it */
	switch_on(0, 200, a, 0, 0, &x);
	switch_on(0, 11, &x, 1, 0, a);
	vmx_exit(1, VMX_IO);

	CHARGED(0, 77, 48, 3);
	CHARGED(0, 88, 50, 1);
	assert_string_equal(interloper(v, 77)->comm, "stress");
	assert_string_equal(interloper(v, 88)->comm, "kworker/0:1");
	BILL([IHO_ST_GUEST] = 301, [IHO_ST_PREEMPTED] = 98);
	assert_int_equal(all_interlopers(v), 98);
	assert_int_equal(v->preemptions, 2);
	assert_int_equal(v->switches, 2);
	check_waiters();
	check_no_loss();
}

static void test_late_wakeup_is_the_idle_task(void **state)
{
	const struct thread *a = &vcpu_thread[0];

	(void)state;
	iho_on_exit(v, t += 100, IHO_ISA_VMX, VMX_HLT);
	switch_on(0, 20, a, 0, IHO_TASK_INTERRUPTIBLE, &swapper);
	t += 5000;
	iho_on_wakeup(v, t, &cpus[0], 0, 0);
	assert_int_equal(cpus[0].n_waiters, 1);
	switch_on(0, 9, &swapper, 0, 0, a);
	entry(1);

	CHARGED(0, 0, 9, 1);
	assert_string_equal(interloper(v, 0)->comm, "swapper/0");
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 21, [IHO_ST_HALTED] = 5000,
	     [IHO_ST_RUNNABLE] = 9);
	check_waiters();
}

/* Woken behind a task that has run for long: only what it runs from then on is held against it. */
static void test_charged_from_the_wakeup_on(void **state)
{
	static const struct thread x = { 77, -1, "stress" };
	const struct thread *a = &vcpu_thread[0];

	(void)state;
	iho_on_exit(v, t += 100, IHO_ISA_VMX, VMX_HLT);
	switch_on(0, 20, a, 0, IHO_TASK_INTERRUPTIBLE, &x);
	t += 5000;
	iho_on_wakeup(v, t, &cpus[0], 0, 0);
	switch_on(0, 60, &x, 1, 0, a);
	iho_on_exit(v, t += 1, IHO_ISA_VMX, VMX_HLT);
	CHARGED(0, 77, 60, 1);
	assert_int_equal(v->core.time_ns[IHO_ST_HALTED], 5000);
	assert_int_equal(v->core.time_ns[IHO_ST_RUNNABLE], 60);
}

static void test_several_waiters(void **state)
{
	static const struct thread x = { 77, -1, "stress" };
	const struct thread *a = &vcpu_thread[0], *b = &vcpu_thread[1], *c = &vcpu_thread[2];

	(void)state;
	/* c halts; a runs; b preempts a, x preempts b, c is woken behind x; then all come back */
	iho_on_exit(&slots[2], t += 5, IHO_ISA_VMX, VMX_HLT);
	switch_on(0, 5, c, 0, IHO_TASK_INTERRUPTIBLE, a);
	switch_on(0, 100, a, 1, 0, b);
	switch_on(0, 20, b, 1, 0, &x);
	t += 10;
	iho_on_wakeup(&slots[2], t, &cpus[0], 0, 2);
	assert_int_equal(cpus[0].n_waiters, 3);
	switch_on(0, 30, &x, 1, 0, a);
	assert_int_equal(cpus[0].n_waiters, 2);
	switch_on(0, 7, a, 0, IHO_TASK_INTERRUPTIBLE, c);
	switch_on(0, 8, c, 0, IHO_TASK_INTERRUPTIBLE, b);
	switch_on(0, 9, b, 0, IHO_TASK_INTERRUPTIBLE, &swapper);

	CHARGED(0, 1001, 20, 1);
	CHARGED(0, 77, 40, 1);
	assert_int_equal(slots[0].core.time_ns[IHO_ST_PREEMPTED], 60);
	assert_int_equal(all_interlopers(&slots[0]), 60);
	CHARGED(1, 77, 40, 1);
	CHARGED(1, 1000, 7, 1);
	CHARGED(1, 1002, 8, 1);
	assert_int_equal(slots[1].core.time_ns[IHO_ST_PREEMPTED], 55);
	assert_int_equal(all_interlopers(&slots[1]), 55);
	CHARGED(2, 77, 30, 1);
	CHARGED(2, 1000, 7, 1);
	assert_int_equal(slots[2].core.time_ns[IHO_ST_RUNNABLE], 37);
	assert_int_equal(all_interlopers(&slots[2]), 37);
	assert_int_equal(cpus[0].n_waiters, 0);
	assert_int_equal(cpus[0].loss[IHO_LOSS_WAITERS], 0);
	check_waiters();
}

/* No room on the list: the wait is billed all the same, only by whom is not known, and that is
 * said. */
static void test_waiter_list_full(void **state)
{
	static const struct thread x = { 77, -1, "stress" };

	(void)state;
	for (int i = 0; i < IHO_WAITERS; i++)
		switch_on(0, 10, &vcpu_thread[i], 1, 0, &vcpu_thread[i + 1]);
	assert_int_equal(cpus[0].n_waiters, IHO_WAITERS);
	assert_int_equal(cpus[0].loss[IHO_LOSS_WAITERS], 0);
	switch_on(0, 10, &vcpu_thread[IHO_WAITERS], 1, 0, &x);
	assert_int_equal(cpus[0].n_waiters, IHO_WAITERS);
	assert_int_equal(cpus[0].loss[IHO_LOSS_WAITERS], 1);
	assert_int_equal(slots[IHO_WAITERS].wait_cpu, 0);
	switch_on(0, 100, &x, 1, 0, &vcpu_thread[IHO_WAITERS]);
	switch_on(0, 3, &vcpu_thread[IHO_WAITERS], 0, IHO_TASK_INTERRUPTIBLE, &vcpu_thread[0]);

	assert_int_equal(slots[IHO_WAITERS].core.time_ns[IHO_ST_PREEMPTED], 100);
	assert_int_equal(all_interlopers(&slots[IHO_WAITERS]), 0);
	for (int i = 0; i < IHO_WAITERS; i++)
		CHARGED(i, 77, 100, 1);
	/* slot 0 left its place, and the next one takes it */
	assert_int_equal(cpus[0].n_waiters, IHO_WAITERS - 1);
	switch_on(0, 5, &vcpu_thread[0], 1, 0, &vcpu_thread[1]);
	assert_int_equal(slots[0].wait_cpu, 1);
	assert_int_equal(cpus[0].loss[IHO_LOSS_WAITERS], 1);
	check_waiters();
}

static void test_migrated_while_running(void **state)
{
	static const struct thread x = { 77, -1, "stress" };
	const struct thread *a = &vcpu_thread[0];

	(void)state;
	vmx_exit(100, VMX_IO);
	switch_on(0, 20, a, 1, 0, &x); /* the stopper thread takes it off this core */
	migrate(0);
	switch_on(1, 30, &swapper, 0, 0, a);
	assert_int_equal(v->cpu, 1);
	entry(4);

	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 24, [IHO_ST_PREEMPTED] = 30);
	assert_int_equal(exit_of(VMX_IO)->time_ns, 24);
	assert_int_equal(v->migrations, 1);
	assert_int_equal(v->switches, 1);
	assert_int_equal(cpus[0].n_waiters + cpus[1].n_waiters, 0);
	check_waiters();
	check_no_loss();
}

static void test_migrated_while_waiting(void **state)
{
	static const struct thread x = { 77, -1, "stress" }, y = { 88, -1, "other" };
	const struct thread *a = &vcpu_thread[0];

	(void)state;
	switch_on(0, 100, a, 1, 0, &x);
	switch_on(0, 30, &x, 1, 0, &y);
	t += 5;
	migrate(0);
	assert_int_equal(v->wait_cpu, 0);
	assert_int_equal(cpus[0].n_waiters, 0);
	/* y runs on where nobody waits any more, and x after it */
	switch_on(0, 500, &y, 1, 0, &x);
	switch_on(1, 10, &swapper, 0, 0, a);
	switch_on(0, 10, &x, 1, 0, &y);
	vmx_exit(0, VMX_IO);

	CHARGED(0, 77, 30, 1);
	assert_null(interloper(v, 88));
	assert_int_equal(v->cpu, 1);
	BILL([IHO_ST_GUEST] = 110, [IHO_ST_PREEMPTED] = 30 + 5 + 500 + 10);
	check_waiters();
}

static void test_interloper_table_full(void **state)
{
	const struct thread *a = &vcpu_thread[0];
	struct thread x = { 0, -1, "task" };
	uint64_t wanted = 0;

	(void)state;
	for (uint32_t i = 0; i < IHO_TASKS; i++) {
		x.tid = 100 + i;
		switch_on(0, 10, a, 1, 0, &x);
		switch_on(0, 500 + (i * 7) % IHO_TASKS, &x, 1, 0, a);
		wanted += 500 + (i * 7) % IHO_TASKS;
	}
	for (uint32_t i = 0; i < IHO_TASKS; i++)
		CHARGED(0, 100 + i, 500 + (i * 7) % IHO_TASKS, 1);
	assert_int_equal(v->task_evicted, 0);

	/* the smallest is task 100, with 500 ns: it goes for the seventeenth, which has less */
	strcpy(x.comm, "seventeenth");
	x.tid = 900;
	switch_on(0, 10, a, 1, 0, &x);
	switch_on(0, 3, &x, 1, 0, a);
	assert_int_equal(v->task_evicted, 1);
	assert_int_equal(v->task_evicted_ns, 500);
	assert_null(interloper(v, 100));
	CHARGED(0, 900, 3, 1);
	assert_string_equal(interloper(v, 900)->comm, "seventeenth");
	assert_int_equal(v->task_evicted_times, 1);
	switch_on(0, 10, a, 1, 0, &x);
	switch_on(0, 4, &x, 1, 0, a);
	CHARGED(0, 900, 7, 2);

	/* and then that one is the smallest */
	x.tid = 901;
	switch_on(0, 10, a, 1, 0, &x);
	switch_on(0, 40, &x, 1, 0, a);
	assert_int_equal(v->task_evicted, 2);
	assert_int_equal(v->task_evicted_ns, 507);
	assert_int_equal(v->task_evicted_times, 3);
	assert_null(interloper(v, 900));
	CHARGED(0, 901, 40, 1);
	vmx_exit(0, VMX_IO);
	assert_int_equal(v->core.time_ns[IHO_ST_PREEMPTED], wanted + 47);
	assert_int_equal(all_interlopers(v) + v->task_evicted_ns, wanted + 47);
}

/* The waker was faster: the thread is still on its CPU, or sleeps only after that. */
static void test_woken_before_it_slept(void **state)
{
	(void)state;
	vmx_exit(100, VMX_HLT);
	woken(10);
	assert_int_equal(cpus[0].n_waiters, 0);
	assert_int_equal(v->wait_cpu, 0);
	sleeps(20, IHO_TASK_INTERRUPTIBLE);
	scheduled(500); /* this wake-up was not seen; that one does not count */
	entry(5);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 35, [IHO_ST_HALTED] = 500);

	/* In time: schedule() finds a task that is running, and only yields. */
	vmx_exit(100, VMX_HLT);
	woken(10);
	t += 20;
	assert_int_equal(iho_on_sched_out(v, t, 0, 0), 1);
	scheduled(60);
	entry(5);
	BILL([IHO_ST_GUEST] = 200, [IHO_ST_KVM] = 70, [IHO_ST_HALTED] = 500,
	     [IHO_ST_PREEMPTED] = 60);

	/* A wake-up while it is preempted changes nothing: it was runnable all along. */
	vmx_exit(100, VMX_IO);
	preempted(10);
	woken(30);
	scheduled(40);
	entry(5);
	BILL([IHO_ST_GUEST] = 300, [IHO_ST_KVM] = 85, [IHO_ST_HALTED] = 500,
	     [IHO_ST_PREEMPTED] = 130);
	check_waiters();
	check_no_loss();
}

/* Preempted between set_current_state(TASK_INTERRUPTIBLE) and schedule(): no sleep. */
static void test_preempted_about_to_sleep(void **state)
{
	(void)state;
	vmx_exit(100, VMX_HLT);
	t += 20;
	assert_int_equal(iho_on_sched_out(v, t, 1, IHO_TASK_INTERRUPTIBLE), 1);
	assert_int_equal(v->core.state, IHO_ST_PREEMPTED);
	assert_int_equal(v->core.pend_ns, 0); /* only a sleep can end a poll */
	scheduled(50);
	entry(5);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 25, [IHO_ST_PREEMPTED] = 50);
	assert_int_equal(v->preemptions, 1);
	check_no_loss();
}

/* Woken twice, listed once. */
static void test_woken_twice(void **state)
{
	(void)state;
	vmx_exit(100, VMX_HLT);
	sleeps(20, IHO_TASK_INTERRUPTIBLE);
	woken(500);
	woken(0);
	assert_int_equal(cpus[0].n_waiters, 1);
	scheduled(30);
	assert_int_equal(cpus[0].n_waiters, 0);
	entry(5);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 25, [IHO_ST_HALTED] = 500,
	     [IHO_ST_RUNNABLE] = 30);
	check_waiters();
}

/* An event of the thread while it is billed as off its core: the sched_switch was not reported. */
static void found_running(uint64_t ns)
{
	t += ns;
	if (v->wait_cpu)
		iho_wait_end(&cpus[v->wait_cpu - 1], v, 0);
	iho_found_running(v, t, 1);
}

static void test_switch_in_not_reported(void **state)
{
	(void)state;
	vmx_exit(100, VMX_HLT);
	sleeps(20, IHO_TASK_INTERRUPTIBLE);
	woken(500);
	found_running(30);
	assert_int_equal(v->core.state, IHO_ST_KVM);
	assert_int_equal(v->cpu, 1);
	entry(5);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 25, [IHO_ST_HALTED] = 500,
	     [IHO_ST_RUNNABLE] = 30);
	assert_int_equal(v->missed_switches, 1);
	assert_int_equal(cpus[0].n_waiters, 0);

	vmx_exit(100, VMX_IO);
	preempted(10);
	found_running(60);
	user_exit(1, KVM_EXIT_IO);
	sleeps(2, IHO_TASK_INTERRUPTIBLE);
	found_running(70);
	sleeps(3, TASK_STOPPED);
	found_running(80);
	run(4);
	sleeps(5, TASK_UNINTERRUPTIBLE);
	found_running(90);
	entry(6);
	BILL([IHO_ST_GUEST] = 200, [IHO_ST_KVM] = 47, [IHO_ST_HALTED] = 500, [IHO_ST_RUNNABLE] = 30,
	     [IHO_ST_PREEMPTED] = 60, [IHO_ST_QEMU] = 9, [IHO_ST_QEMU_ASLEEP] = 70,
	     [IHO_ST_STOPPED] = 80, [IHO_ST_BLOCKED] = 90);
	assert_int_equal(v->missed_switches, 5);
	assert_int_equal(v->switches, 5);
	check_waiters();
	check_no_loss();
}

/* Off the core twice, and no event in between: what it goes on with is what it did before. */
static void test_switched_out_twice(void **state)
{
	(void)state;
	vmx_exit(100, VMX_EPT);
	sleeps(20, TASK_UNINTERRUPTIBLE);
	sleeps(300, TASK_UNINTERRUPTIBLE);
	preempted(40);
	scheduled(50);
	assert_int_equal(v->core.state, IHO_ST_KVM);
	entry(5);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 25, [IHO_ST_BLOCKED] = 340,
	     [IHO_ST_PREEMPTED] = 50);

	vmx_exit(100, VMX_IO);
	user_exit(1, KVM_EXIT_IO);
	sleeps(2, IHO_TASK_INTERRUPTIBLE);
	sleeps(30, IHO_TASK_INTERRUPTIBLE);
	scheduled(40);
	assert_int_equal(v->core.state, IHO_ST_QEMU);
	run(3);
	entry(4);
	BILL([IHO_ST_GUEST] = 200, [IHO_ST_KVM] = 30, [IHO_ST_BLOCKED] = 340,
	     [IHO_ST_PREEMPTED] = 50, [IHO_ST_QEMU] = 5, [IHO_ST_QEMU_ASLEEP] = 70);
	check_no_loss();
}

/* Who runs as billed is left alone. */
static void test_found_running_as_billed(void **state)
{
	(void)state;
	found_running(0); /* guest */
	vmx_exit(100, VMX_IO);
	found_running(0); /* KVM */
	user_exit(10, KVM_EXIT_IO);
	found_running(0); /* QEMU */
	run(5);
	entry(5);
	BILL([IHO_ST_GUEST] = 100, [IHO_ST_KVM] = 15, [IHO_ST_QEMU] = 5);
	fresh_slot(v, IHO_ST_UNKNOWN, 0);
	found_running(10);
	run(10);
	found_running(0); /* guest or KVM */
	user_exit(10, KVM_EXIT_IO);
	BILL([IHO_ST_UNKNOWN] = 20, [IHO_ST_GUEST_OR_KVM] = 10);
	assert_int_equal(v->missed_switches, 0);
	assert_int_equal(v->switches, 0);
}

/* ---- interrupts ---- */

static void test_interrupts(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		for (uint32_t nr = 0; nr < IHO_HARDIRQS; nr++)
			iho_charge_hardirq(v, nr * 3, 100 + nr);
		iho_charge_softirq(v, 0, 7);
		iho_charge_softirq(v, IHO_SOFTIRQS - 1, 9);
	}
	for (uint32_t nr = 0; nr < IHO_HARDIRQS; nr++) {
		assert_int_equal(v->hardirq[nr].nr, nr * 3);
		assert_int_equal(v->hardirq[nr].ns, 2 * (100 + nr));
		assert_int_equal(v->hardirq[nr].count, 2);
	}
	assert_int_equal(v->softirq[0].used, 1);
	assert_int_equal(v->softirq[0].ns, 14);
	assert_int_equal(v->softirq[0].count, 2);
	assert_int_equal(v->softirq[1].used, 0);
	assert_int_equal(v->softirq[IHO_SOFTIRQS - 1].nr, IHO_SOFTIRQS - 1);
	assert_int_equal(v->softirq[IHO_SOFTIRQS - 1].ns, 18);
	assert_int_equal(v->irq_overflow, 0);

	iho_charge_hardirq(v, 999, 5);
	assert_int_equal(v->irq_overflow, 1);
	iho_charge_softirq(v, IHO_SOFTIRQS, 5);
	iho_charge_softirq(v, ~0u, 5);
	assert_int_equal(v->irq_overflow, 3);
	iho_charge_hardirq(v, 0, 1);
	assert_int_equal(v->hardirq[0].ns, 201);
	assert_int_equal(v->irq_overflow, 3);
}

/* ---- drill-down ---- */

static uint64_t drilled(enum iho_drill_kind kind, uint64_t value)
{
	uint64_t n = 0;
	int found = 0;

	for (int i = 0; i < IHO_DRILLS; i++) {
		if (v->drill[i].key == IHO_DRILL_KEY(kind, value)) {
			n = v->drill[i].count;
			found++;
		}
	}
	assert_in_range(found, 0, 1);
	return n;
}

static void test_drill(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		iho_drill_add(v, IHO_DRILL_PIO, 0x3f8 << 1);
		iho_drill_add(v, IHO_DRILL_MSR, 0x6e0 << 1 | 1);
	}
	iho_drill_add(v, IHO_DRILL_CPUID, 0x6e0 << 1 | 1); /* the kind is part of the key */
	iho_drill_add(v, IHO_DRILL_PIO, 0);
	iho_drill_add(v, IHO_DRILL_HYPERCALL, ~0ULL);

	assert_int_equal(drilled(IHO_DRILL_PIO, 0x3f8 << 1), 3);
	assert_int_equal(drilled(IHO_DRILL_MSR, 0x6e0 << 1 | 1), 3);
	assert_int_equal(drilled(IHO_DRILL_CPUID, 0x6e0 << 1 | 1), 1);
	assert_int_equal(drilled(IHO_DRILL_PIO, 0), 1);
	assert_int_equal(drilled(IHO_DRILL_HYPERCALL, (1ULL << 56) - 1), 1);
	for (uint32_t kind = 0; kind < IHO_DRILL_MAX; kind++)
		assert_int_equal(v->drill_overflow[kind], 0);
	assert_int_equal(IHO_DRILL_KIND(IHO_DRILL_KEY(IHO_DRILL_IPI, ~0ULL)), IHO_DRILL_IPI);
	assert_int_equal(IHO_DRILL_VALUE(IHO_DRILL_KEY(IHO_DRILL_IPI, 77)), 77);
}

/* One value of every kind, such as a vector that is sent, injected and ended: 17 of 512 places. */
static void test_drill_one_value_of_every_kind(void **state)
{
	(void)state;
	for (uint32_t kind = IHO_DRILL_PIO; kind < IHO_DRILL_MAX; kind++)
		for (uint32_t i = 0; i < kind; i++)
			iho_drill_add(v, kind, 0xec);
	for (uint32_t kind = IHO_DRILL_PIO; kind < IHO_DRILL_MAX; kind++) {
		assert_int_equal(v->drill_overflow[kind], 0);
		assert_int_equal(drilled(kind, 0xec), kind);
	}
}

/* Every event is in a row or in the overflow of its kind: nothing vanishes or counts twice. */
static void test_drill_overflow(void **state)
{
	static const enum iho_drill_kind kinds[] = { IHO_DRILL_PIO, IHO_DRILL_MSR, IHO_DRILL_MMIO };
	const uint32_t values = 200, rounds = 3;
	uint64_t overflow = 0;

	(void)state;
	for (uint32_t r = 0; r < rounds; r++)
		for (uint32_t i = 0; i < values; i++)
			for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
				iho_drill_add(v, kinds[k], i);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		uint64_t sum = 0;

		for (uint32_t i = 0; i < values; i++) {
			uint64_t n = drilled(kinds[k], i);

			assert_true(n <= rounds);
			sum += n;
		}
		assert_int_equal(sum + v->drill_overflow[kinds[k]], rounds * values);
		overflow += v->drill_overflow[kinds[k]];
	}
	/* 600 values, 512 places */
	assert_true(overflow >= rounds * (values * ARRAY_SIZE(kinds) - IHO_DRILLS));
	assert_int_equal(v->drill_overflow[IHO_DRILL_CPUID], 0);
}

/* The next value from *value on whose neighbourhood begins at `home`. */
static uint64_t next_at_home(uint64_t *value, uint32_t home)
{
	while ((iho_hash(IHO_DRILL_KEY(IHO_DRILL_MSR, *value)) & (IHO_DRILLS - 1)) != home)
		(*value)++;
	return (*value)++;
}

/*
 * A neighbourhood is IHO_DRILL_PROBES places, also across the end of the table. Where it is full of
 * values that are used, a new one has no row; a value that was seen a few times gives way.
 */
static void test_drill_neighbourhood(void **state)
{
	(void)state;
	for (uint32_t home = 0; home < IHO_DRILLS; home += IHO_DRILLS - 1) {
		uint64_t value = 0, used[IHO_DRILL_PROBES], fresh, rare;

		fresh_slot(v, IHO_ST_GUEST, 1);
		for (unsigned int i = 0; i < IHO_DRILL_PROBES; i++) {
			used[i] = next_at_home(&value, home);
			for (unsigned int k = 0; k < IHO_DRILL_RARE + 1 - (i == 5); k++)
				iho_drill_add(v, IHO_DRILL_MSR, used[i]);
			assert_int_not_equal(v->drill[(home + i) % IHO_DRILLS].key, 0);
		}
		assert_int_equal(v->drill_overflow[IHO_DRILL_MSR], 0);
		fresh = next_at_home(&value, home);
		iho_drill_add(v, IHO_DRILL_MSR, fresh);
		assert_int_equal(drilled(IHO_DRILL_MSR, used[5]), 0);
		assert_int_equal(drilled(IHO_DRILL_MSR, fresh), 1);
		assert_int_equal(v->drill_overflow[IHO_DRILL_MSR], IHO_DRILL_RARE);
		for (unsigned int k = 0; k < IHO_DRILL_RARE; k++)
			iho_drill_add(v, IHO_DRILL_MSR, fresh);

		/* now all are in use */
		rare = next_at_home(&value, home);
		iho_drill_add(v, IHO_DRILL_MSR, rare);
		assert_int_equal(drilled(IHO_DRILL_MSR, rare), 0);
		assert_int_equal(v->drill_overflow[IHO_DRILL_MSR], IHO_DRILL_RARE + 1);
		for (unsigned int i = 0; i < IHO_DRILL_PROBES; i++)
			if (i != 5)
				assert_int_equal(drilled(IHO_DRILL_MSR, used[i]),
						 IHO_DRILL_RARE + 1);
		assert_int_equal(drilled(IHO_DRILL_MSR, fresh), IHO_DRILL_RARE + 1);
	}
}

/* A Linux guest that looks for its hypervisor: what it uses from then on must have its rows. */
static void test_drill_after_a_scan(void **state)
{
	(void)state;
	for (int boot = 0; boot < 3; boot++)
		for (uint32_t leaf = 0; leaf < 256; leaf++)
			iho_drill_add(v, IHO_DRILL_CPUID, 0x40000000 + (leaf << 8));
	for (uint32_t i = 0; i < 100; i++)
		for (uint32_t msr = 0; msr < 30; msr++)
			iho_drill_add(v, IHO_DRILL_MSR, msr << 1);
	for (uint32_t msr = 0; msr < 30; msr++)
		assert_int_equal(drilled(IHO_DRILL_MSR, msr << 1), 100);
}

static void test_cpuid_leaf(void **state)
{
	(void)state;
	for (uint32_t leaf = 0x40000000; leaf < 0x40010000; leaf += 0x100) {
		assert_int_equal(iho_cpuid_leaf(leaf), leaf < 0x40000200 ? leaf : 0x40000200);
		assert_int_equal(iho_cpuid_leaf(leaf + 1), leaf + 1);
	}
	assert_int_equal(iho_cpuid_leaf(0x40010000), 0x40010000);
	assert_int_equal(iho_cpuid_leaf(7), 7);
	assert_int_equal(iho_cpuid_leaf(0x80000000), 0x80000000);
}

/* Attached to a running vCPU: what it was doing was a guess, and the first event may not fit it. */
static void test_guessed_state(void **state)
{
	(void)state;
	fresh_slot(v, IHO_ST_KVM, 1);
	v->guessed = 1;
	vmx_exit(100, VMX_HLT);
	entry(10);
	vmx_exit(100, VMX_HLT);
	assert_int_equal(v->unpaired_exits, 0);
	vmx_exit(10, VMX_HLT);
	assert_int_equal(v->unpaired_exits, 1);

	fresh_slot(v, IHO_ST_GUEST, 1);
	v->guessed = 1;
	entry(10);
	assert_int_equal(v->unpaired_entries, 0);
	entry(10);
	assert_int_equal(v->unpaired_entries, 1);

	/* it came in between the look at it and its slot; later ones are missing */
	fresh_slot(v, IHO_ST_PREEMPTED, 1);
	v->core.resume = IHO_ST_KVM;
	v->guessed = 1;
	found_running(20);
	assert_int_equal(v->core.state, IHO_ST_KVM);
	assert_int_equal(v->missed_switches, 0);
	preempted(5);
	found_running(20);
	assert_int_equal(v->missed_switches, 1);
}

/* ---- random events ---- */

static uint64_t seed;

/* xorshift64*, so that a failure repeats everywhere (Vigna, "An experimental exploration...", 2016)
 */
static uint64_t rnd(uint64_t below)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (seed * 0x2545f4914f6cdd1dULL >> 11) % below;
}

/* A vCPU that lives as KVM lets it live, with a diary of what it really did. */
struct diary {
	uint64_t time_ns[IHO_ST_MAX];
	struct {
		uint64_t count, time_ns, kvm_ns, max_ns, hist[IHO_HIST_BUCKETS];
	} exit[64], user[40];
	uint64_t preemptions, switches, halts, polled;
	/* of the exit that goes on */
	uint64_t kvm_ns, work_ns;
};

static struct diary truth;

/* Time passes; the event that ends it comes next. */
static void lived(enum iho_state st, uint64_t ns)
{
	t += ns;
	truth.time_ns[st] += ns;
	if (st == IHO_ST_KVM)
		truth.kvm_ns += ns;
	if (st == IHO_ST_KVM || st == IHO_ST_QEMU || st == IHO_ST_QEMU_ASLEEP)
		truth.work_ns += ns;
}

/* Off the core and back, in the middle of `st`. */
static void off_core(enum iho_state st, uint32_t task_state)
{
	int stolen = task_state == 0;

	assert_int_equal(iho_on_sched_out(v, t, stolen, task_state), stolen);
	if (stolen) {
		truth.preemptions++;
		lived(IHO_ST_PREEMPTED, rnd(5000));
	} else {
		lived(st, 1 + rnd(100000));
		if (rnd(8)) {
			woken(0);
			lived(IHO_ST_RUNNABLE, rnd(300));
		}
	}
	truth.switches++;
	scheduled(0);
}

static uint64_t live_in_vmm(uint64_t before)
{
	lived(IHO_ST_QEMU, rnd(3000));
	for (int i = rnd(4); i > 0; i--) {
		switch (rnd(4)) {
		case 0:
			off_core(0, 0);
			break;
		case 1:
			off_core(IHO_ST_QEMU_ASLEEP, IHO_TASK_INTERRUPTIBLE | TASK_FREEZABLE);
			break;
		case 2:
			off_core(IHO_ST_STOPPED, TASK_STOPPED);
			break;
		}
		lived(IHO_ST_QEMU, rnd(3000));
	}
	return truth.work_ns - before;
}

static void live_userspace_exit(void)
{
	uint32_t reason = rnd(40), at = reason < IHO_USER_EXITS - 1 ? reason : IHO_USER_EXITS - 1;
	uint64_t ns, before;

	iho_on_userspace_exit(v, t, reason, 0);
	truth.user[at].count++;
	before = truth.work_ns;
	ns = live_in_vmm(before);
	iho_on_run(v, t);
	truth.user[at].time_ns += ns;
	if (ns > truth.user[at].max_ns)
		truth.user[at].max_ns = ns;
}

/* kvm_vcpu_halt(): polls as long as the limit in effect allows, then blocks. */
static void live_halt(uint32_t *limit)
{
	uint64_t start = t;
	int waited = 1;

	if (*limit) {
		int success = rnd(3) == 0;

		lived(IHO_ST_HALT_POLL, 1 + (success ? rnd(*limit) : *limit));
		waited = !success;
	}
	if (waited) {
		for (int i = 1 + rnd(2); i > 0; i--) {
			off_core(IHO_ST_HALTED, IHO_TASK_INTERRUPTIBLE);
			lived(IHO_ST_KVM, rnd(40));
		}
		if (rnd(2)) {
			*limit = rnd(3) * 10000;
			iho_on_halt_poll_ns(v, *limit, v->poll_limit_ns);
		}
	}
	iho_on_vcpu_wakeup(v, t, t - start, waited);
	truth.halts++;
	truth.polled += !waited;
}

static void live_exit(uint32_t code, uint32_t *limit)
{
	uint32_t at = code < IHO_EXITS - 1 ? code : IHO_EXITS - 1;

	iho_on_exit(v, t, IHO_ISA_SVM, code < 20 ? code : 0x3ff + code);
	truth.exit[at].count++;
	truth.kvm_ns = truth.work_ns = 0;
	lived(IHO_ST_KVM, rnd(1 << rnd(20)));
	for (int i = rnd(3); i > 0; i--) {
		switch (rnd(5)) {
		case 0:
			off_core(0, 0);
			break;
		case 1:
			off_core(IHO_ST_BLOCKED, TASK_UNINTERRUPTIBLE);
			break;
		case 2:
			live_userspace_exit();
			break;
		case 3:
			live_halt(limit);
			break;
		}
		lived(IHO_ST_KVM, rnd(500));
	}
	iho_on_entry(v, t);
	truth.exit[at].time_ns += truth.work_ns;
	truth.exit[at].kvm_ns += truth.kvm_ns;
	truth.exit[at].hist[true_bucket(truth.work_ns)]++;
	if (truth.work_ns > truth.exit[at].max_ns)
		truth.exit[at].max_ns = truth.work_ns;
}

static void test_random_lawful_life(void **state)
{
	uint32_t limit = 0;

	(void)state;
	seed = 20240607;
	memset(&truth, 0, sizeof(truth));
	/* each code and reason once and in order, so that the diary knows who shares the last place
	 */
	for (uint32_t i = 0; i < IHO_USER_EXITS - 1; i++) {
		iho_on_userspace_exit(v, t, i, 0);
		truth.user[i].count++;
		iho_on_run(v, t);
	}
	iho_on_entry(v, t);
	for (int i = 0; i < 60000; i++) {
		lived(IHO_ST_GUEST, rnd(20000));
		live_exit(i < IHO_EXITS ? i : (int)rnd(40), &limit);
		assert_int_equal(billed(v), t - T0);
	}

	for (int i = 0; i < IHO_ST_MAX; i++)
		assert_int_equal(v->core.time_ns[i], truth.time_ns[i]);
	assert_int_equal(v->core.pend_ns, 0);
	assert_int_equal(v->n_exits, IHO_EXITS);
	for (uint32_t i = 0; i < IHO_EXITS; i++) {
		const struct iho_exit *e = &v->exits[i];

		assert_int_equal(e->count, truth.exit[i].count);
		assert_int_equal(e->time_ns, truth.exit[i].time_ns);
		assert_int_equal(e->kvm_ns, truth.exit[i].kvm_ns);
		assert_int_equal(e->max_ns, truth.exit[i].max_ns);
		assert_memory_equal(e->hist, truth.exit[i].hist, sizeof(e->hist));
	}
	assert_int_equal(v->n_user_exits, IHO_USER_EXITS);
	for (uint32_t i = 0; i < IHO_USER_EXITS; i++) {
		assert_int_equal(v->user_exits[i].count, truth.user[i].count);
		assert_int_equal(v->user_exits[i].time_ns, truth.user[i].time_ns);
		assert_int_equal(v->user_exits[i].max_ns, truth.user[i].max_ns);
	}
	assert_int_equal(v->exit_overflow, truth.exit[IHO_EXITS - 1].count);
	assert_int_equal(v->user_overflow, truth.user[IHO_USER_EXITS - 1].count);
	assert_int_equal(v->preemptions, truth.preemptions);
	assert_int_equal(v->switches, truth.switches);
	assert_int_equal(v->halts, truth.halts);
	assert_int_equal(v->halts_polled, truth.polled);
	assert_int_equal(v->unpaired_exits + v->unpaired_entries + v->clock_back, 0);
	check_waiters();
}

/* What happened to a slot in a world without laws. */
struct tally {
	uint64_t exits, user_exits, halts, out_preempted, in, drills[IHO_DRILL_MAX], hardirqs;
};

static struct tally tally[3];

static void check_only_grew(const struct iho_slot *old, const struct iho_slot *new, bool divided)
{
	for (int i = 0; i < IHO_ST_MAX; i++)
		if (i != IHO_ST_GUEST_OR_KVM || !divided)
			assert_true(new->core.time_ns[i] >= old->core.time_ns[i]);
	assert_true(new->seq >= old->seq);
	assert_true(new->core.since_ns >= old->core.since_ns);
	assert_true(new->n_exits >= old->n_exits);
	assert_true(new->n_user_exits >= old->n_user_exits);
	assert_true(new->unpaired_exits >= old->unpaired_exits);
	assert_true(new->unpaired_entries >= old->unpaired_entries);
	assert_true(new->clock_back >= old->clock_back);
	assert_true(new->exit_overflow >= old->exit_overflow);
	assert_true(new->user_overflow >= old->user_overflow);
	assert_true(new->task_evicted_ns >= old->task_evicted_ns);
	assert_true(new->task_evicted >= old->task_evicted);
	assert_true(new->task_evicted_times >= old->task_evicted_times);
	assert_true(new->irq_overflow >= old->irq_overflow);
}

static void check_records_only_grew(const struct iho_slot *old, const struct iho_slot *new)
{
	for (int i = 0; i < IHO_EXITS; i++) {
		assert_true(new->exits[i].count >= old->exits[i].count);
		assert_true(new->exits[i].time_ns >= old->exits[i].time_ns);
		assert_true(new->exits[i].kvm_ns >= old->exits[i].kvm_ns);
		assert_true(new->exits[i].max_ns >= old->exits[i].max_ns);
		for (int k = 0; k < IHO_HIST_BUCKETS; k++)
			assert_true(new->exits[i].hist[k] >= old->exits[i].hist[k]);
	}
	for (int i = 0; i < IHO_USER_EXITS; i++) {
		assert_true(new->user_exits[i].count >= old->user_exits[i].count);
		assert_true(new->user_exits[i].time_ns >= old->user_exits[i].time_ns);
		assert_true(new->user_exits[i].max_ns >= old->user_exits[i].max_ns);
	}
	for (int i = 0; i < IHO_DRILLS; i++) {
		/* only what is rare gives way; it may come back later */
		if (old->drill[i].count <= IHO_DRILL_RARE)
			continue;
		assert_int_equal(new->drill[i].key, old->drill[i].key);
		assert_true(new->drill[i].count >= old->drill[i].count);
	}
}

static void check_slot(const struct iho_slot *s, const struct tally *y)
{
	uint64_t kvm_ns = 0, work_ns = 0, user_ns = 0, drills[IHO_DRILL_MAX] = {}, irqs = 0;

	assert_int_equal(all_exits(s), y->exits);
	assert_int_equal(all_user_exits(s), y->user_exits);
	assert_int_equal(s->halts, y->halts);
	assert_int_equal(s->preemptions, y->out_preempted);
	assert_int_equal(s->switches, y->in);
	for (int i = 0; i < IHO_EXITS; i++) {
		const struct iho_exit *e = &s->exits[i];

		kvm_ns += e->kvm_ns;
		work_ns += e->time_ns;
		assert_true(e->kvm_ns <= e->time_ns);
		assert_true(e->max_ns <= e->time_ns);
		assert_true(finished(e) <= e->count);
	}
	for (int i = 0; i < IHO_USER_EXITS; i++) {
		user_ns += s->user_exits[i].time_ns;
		assert_true(s->user_exits[i].max_ns <= s->user_exits[i].time_ns);
	}
	assert_true(kvm_ns <= s->core.time_ns[IHO_ST_KVM]);
	assert_true(user_ns <= s->core.time_ns[IHO_ST_QEMU] + s->core.time_ns[IHO_ST_QEMU_ASLEEP]);
	assert_true(work_ns - kvm_ns <=
		    s->core.time_ns[IHO_ST_QEMU] + s->core.time_ns[IHO_ST_QEMU_ASLEEP]);
	for (int i = 0; i < IHO_DRILLS; i++)
		if (s->drill[i].key)
			drills[IHO_DRILL_KIND(s->drill[i].key)] += s->drill[i].count;
	for (int i = 0; i < IHO_DRILL_MAX; i++)
		assert_int_equal(drills[i] + s->drill_overflow[i], y->drills[i]);
	for (int i = 0; i < IHO_HARDIRQS; i++)
		irqs += s->hardirq[i].count;
	assert_int_equal(irqs + s->irq_overflow, y->hardirqs);
}

/* Any event at any moment to any slot, whether it makes sense or not. */
static void random_event(int slot)
{
	static const uint32_t task_states[] = {
		0,
		IHO_TASK_INTERRUPTIBLE,
		IHO_TASK_INTERRUPTIBLE,
		IHO_TASK_INTERRUPTIBLE,
		TASK_UNINTERRUPTIBLE,
		TASK_STOPPED,
		TASK_TRACED,
		TASK_KILLABLE,
		IHO_TASK_DEAD,
		IHO_TASK_INTERRUPTIBLE | TASK_FREEZABLE,
		0xffffffff,
	};
	static const struct thread other = { 7, -1, "other" };
	struct iho_slot *s = &slots[slot];
	struct tally *y = &tally[slot];
	uint32_t cpu = rnd(N_CPUS), kind, st;
	uint64_t ns;

	switch (rnd(17)) {
	case 0:
	case 1:
	case 2:
		iho_on_entry(s, t);
		break;
	case 3:
	case 4:
	case 5:
		y->exits++;
		iho_on_exit(s, t, rnd(3),
			    rnd(2) ? rnd(70) : (uint32_t)(rnd(1ULL << 32)) >> rnd(32));
		break;
	case 6:
		y->user_exits++;
		iho_on_userspace_exit(s, t, rnd(40), rnd(2) ? 0 : -(int)rnd(4096));
		break;
	case 7:
		iho_on_run(s, t);
		break;
	case 8:
		iho_on_halt_poll_ns(s, rnd(3) * 1000, s->poll_limit_ns);
		break;
	case 9:
		y->halts++;
		iho_on_vcpu_wakeup(s, t, rnd(2) ? rnd(5000) : seed, rnd(2));
		break;
	case 10:
	case 11:
		st = task_states[rnd(ARRAY_SIZE(task_states))];
		if (iho_on_sched_out(s, t, rnd(3) == 0, st)) {
			y->out_preempted++;
			cpus[cpu].switch_ns = t;
			iho_wait_begin(&cpus[cpu], cpu, s, slot, t);
		}
		break;
	case 12:
		if (s->wait_cpu)
			iho_wait_end(&cpus[rnd(8) ? s->wait_cpu - 1 : cpu], s, slot);
		y->in++;
		iho_on_sched_in(s, t, cpu);
		break;
	case 13:
		iho_on_wakeup(s, rnd(8) ? t : t - rnd(100), &cpus[cpu], cpu, slot);
		break;
	case 15:
		ns = s->missed_switches;
		iho_found_running(s, t, cpu);
		y->in += s->missed_switches - ns;
		break;
	case 14:
		iho_charge_waiters(&cpus[cpu], rnd(30), other.comm, t);
		ns = rnd(100);
		y->hardirqs++;
		iho_charge_hardirq(s, rnd(12), ns);
		break;
	default:
		kind = 1 + rnd(IHO_DRILL_MAX - 1);
		y->drills[kind]++;
		iho_drill_add(s, kind, rnd(2) ? rnd(40) : seed);
		break;
	}
}

/*
 * Every legal and illegal order, a million events. Where the clock goes back the bill still sums to
 * the time up to the last billed moment.
 */
static void test_random_chaos(void **state)
{
	static struct iho_slot old[3];
	const int events = 1000000;

	(void)state;
	seed = 0x1234567;
	memset(tally, 0, sizeof(tally));
	fresh_slot(&slots[0], IHO_ST_UNKNOWN, 0);
	fresh_slot(&slots[1], IHO_ST_QEMU, 1);
	fresh_slot(&slots[2], IHO_ST_HALTED, 0);
	memcpy(old, slots, sizeof(old));
	for (int i = 0; i < events; i++) {
		/* the first half with a clock that only goes on */
		bool back = i >= events / 2 && rnd(50) == 0;
		int slot = rnd(3);
		struct iho_slot *s = &slots[slot];
		uint64_t before[IHO_ST_MAX], since = s->core.since_ns;
		uint32_t divided = s->entry_seen;

		memcpy(before, s->core.time_ns, sizeof(before));
		t = back ? t - rnd(1000) : t + (rnd(4) ? rnd(1 << rnd(16)) : 0);
		random_event(slot);

		assert_int_equal(s->seq & 1, 0);
		assert_in_range(s->core.state, 0, IHO_ST_MAX - 1);
		assert_in_range(s->core.resume, 0, IHO_ST_MAX - 1);
		assert_int_equal(billed(s), s->core.since_ns - s->core.first_ns);
		assert_true(s->core.since_ns >= since);
		assert_true(s->core.since_ns == since || s->core.since_ns == t);
		for (int k = 0; k < IHO_ST_MAX; k++)
			if (k != IHO_ST_GUEST_OR_KVM || divided)
				assert_true(s->core.time_ns[k] >= before[k]);
		if (i == events / 2 - 1)
			for (int k = 0; k < 3; k++)
				assert_int_equal(slots[k].clock_back, 0);
		if (i % 4096 && i != events - 1)
			continue;
		check_waiters();
		for (int k = 0; k < 3; k++) {
			bool split = old[k].entry_seen != slots[k].entry_seen;

			check_only_grew(&old[k], &slots[k], split);
			check_records_only_grew(&old[k], &slots[k]);
			check_slot(&slots[k], &tally[k]);
		}
		memcpy(old, slots, sizeof(old));
	}
	/* It was chaos: each counter of loss has something to tell. */
	for (int k = 0; k < 3; k++) {
		assert_true(slots[k].unpaired_exits && slots[k].unpaired_entries);
		assert_true(slots[k].clock_back && slots[k].exit_overflow);
		assert_true(slots[k].user_overflow && slots[k].task_evicted);
		for (int i = 1; i < IHO_ST_MAX; i++)
			assert_true(i == IHO_ST_GUEST_OR_KVM || slots[k].core.time_ns[i]);
	}
	assert_true(cpus[0].loss[IHO_LOSS_WAITERS]);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

/* ---- direct mode ---- */

static uint64_t counter[IHO_DIRECT_MAX];

/* A trace `ns` after the last event. */
static void stat_after(uint64_t ns)
{
	t += ns;
	iho_on_direct_stat(v, t, IHO_DIRECT_TIMER, 0, (const __u64 *)counter, t + 5);
}

static void assert_direct(enum iho_direct_counter c, uint64_t n)
{
	assert_int_equal(v->direct.total[c], n);
}

static void add(uint64_t deadlines, uint64_t fired, uint64_t given, uint64_t taken)
{
	counter[IHO_DIRECT_DEADLINES] += deadlines;
	counter[IHO_DIRECT_FIRED] += fired;
	counter[IHO_DIRECT_GIVEN] += given;
	counter[IHO_DIRECT_TAKEN] += taken;
}

/* Counting starts with the first trace, whatever the counters are then. */
static void test_direct_counts(void **state)
{
	(void)state;
	for (int i = 0; i < IHO_DIRECT_MAX; i++)
		counter[i] = 1000000 * i;
	v->core.time_ns[IHO_ST_KVM] = 7;
	stat_after(100);
	for (int i = 0; i < IHO_DIRECT_MAX; i++)
		assert_direct(i, 0);
	assert_int_equal(v->direct.first_ns, t);
	assert_int_equal(v->direct.modes, IHO_DIRECT_TIMER);
	for (int i = 0; i < IHO_DIRECT_MAX; i++)
		counter[i] += i + 1;
	stat_after(10000);
	for (int i = 0; i < IHO_DIRECT_MAX; i++)
		assert_direct(i, i + 1);
	assert_int_equal(v->direct.refused, 0);
	assert_int_equal(v->direct.at_ns, t);
	assert_int_equal(v->direct.updated_ns, t + 5);
	/* the bill of that moment, with the state that goes on */
	assert_int_equal(v->direct.time_ns[IHO_ST_KVM], 7);
	assert_int_equal(v->direct.time_ns[IHO_ST_GUEST], 10100);
	assert_int_equal(v->core.time_ns[IHO_ST_GUEST], 0);
	assert_int_equal(v->seq % 2, 0);
	iho_on_direct_vcpu(v, 0, IHO_DIRECT_MISSING_PAGE);
	assert_int_equal(v->direct.modes, 0);
	assert_int_equal(v->direct.missing, IHO_DIRECT_MISSING_PAGE);
	assert_int_equal(v->seq % 2, 0);
}

/* A module that was loaded anew counts from 0 on; what lies between the traces is lost. */
static void test_direct_counters_start_again(void **state)
{
	(void)state;
	memset(counter, 0, sizeof(counter));
	add(500, 500, 0, 0);
	stat_after(100);
	add(10, 10, 0, 0);
	stat_after(100000);
	memset(counter, 0, sizeof(counter));
	add(3, 3, 0, 0);
	stat_after(100000);
	assert_direct(IHO_DIRECT_DEADLINES, 10);
	assert_int_equal(v->direct.refused, 1);
	add(4, 4, 0, 0);
	stat_after(100000);
	assert_direct(IHO_DIRECT_DEADLINES, 14);
	assert_direct(IHO_DIRECT_FIRED, 14);
	assert_int_equal(v->direct.without_exit, 14);
	assert_int_equal(v->direct.refused, 1);
}

/* Whatever the guest writes: no counter goes back, none grows faster than it can. */
static void test_direct_hostile_counters(void **state)
{
	static const uint64_t values[] = { UINT64_MAX, 0, 1ULL << 63, 1, UINT64_MAX - 1, 5000 };

	(void)state;
	memset(counter, 0, sizeof(counter));
	stat_after(100);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		for (int k = IHO_DIRECT_DEADLINES; k < IHO_DIRECT_MAX; k++)
			counter[k] = values[i];
		stat_after(1000000);
		assert_direct(IHO_DIRECT_DEADLINES, 0);
		assert_direct(IHO_DIRECT_FIRED, 0);
		assert_true(v->direct.total[IHO_DIRECT_IDLE_NS] <= t - v->direct.first_ns);
	}
	assert_int_equal(v->direct.refused, ARRAY_SIZE(values));
	assert_int_equal(v->direct.without_exit, 0);
	assert_int_equal(v->direct.with_exit, 0);
	/* as fast as it can, and one faster */
	add(10000, 10000, 0, 0);
	stat_after(10000 * IHO_DIRECT_LEAST_NS);
	assert_direct(IHO_DIRECT_DEADLINES, 10000);
	add(10001, 10000, 0, 0);
	stat_after(10000 * IHO_DIRECT_LEAST_NS);
	assert_direct(IHO_DIRECT_DEADLINES, 10000);
	assert_direct(IHO_DIRECT_FIRED, 20000);
	/* counters of the record itself wrap as all others do, and go on */
	v->direct.last[IHO_DIRECT_GIVEN] = counter[IHO_DIRECT_GIVEN] = UINT64_MAX - 1;
	counter[IHO_DIRECT_GIVEN] = UINT64_MAX;
	stat_after(1000);
	assert_direct(IHO_DIRECT_GIVEN, 1);
	counter[IHO_DIRECT_GIVEN] = 2;
	stat_after(1000);
	assert_direct(IHO_DIRECT_GIVEN, 1);
}

static void send(uint64_t posted, uint64_t kicked)
{
	counter[IHO_DIRECT_IPIS_POSTED] += posted;
	counter[IHO_DIRECT_IPIS_KICKED] += kicked;
	stat_after(100000);
}

/* The exit of one is counted after it was traced; whatever a guest says, no count goes back. */
static void test_direct_ipis(void **state)
{
	(void)state;
	memset(counter, 0, sizeof(counter));
	stat_after(1000);
	send(10, 0);
	assert_int_equal(v->direct.ipis_without_exit, 10);
	send(10, 3);
	assert_int_equal(v->direct.ipis_without_exit, 17);
	send(0, 2);
	assert_int_equal(v->direct.ipis_without_exit, 17);
	send(5, 0);
	assert_int_equal(v->direct.ipis_without_exit, 20);
	send(1, 100);
	assert_int_equal(v->direct.ipis_without_exit, 20);
	send(100, 0);
	assert_int_equal(v->direct.ipis_without_exit, 21);
	assert_direct(IHO_DIRECT_IPIS_POSTED, 126);
	assert_int_equal(v->direct.refused, 0);
}

static void test_direct_times_are_bounded(void **state)
{
	(void)state;
	memset(counter, 0, sizeof(counter));
	stat_after(100);
	counter[IHO_DIRECT_IDLE_NS] = 600;
	stat_after(1000);
	assert_direct(IHO_DIRECT_IDLE_NS, 600);
	counter[IHO_DIRECT_IDLE_NS] += 1300; /* of an account that was late: 1900 in 2000 */
	stat_after(1000);
	assert_direct(IHO_DIRECT_IDLE_NS, 1900);
	counter[IHO_DIRECT_IDLE_NS] += 5000;
	stat_after(1000);
	assert_direct(IHO_DIRECT_IDLE_NS, 3000);
	assert_int_equal(v->direct.refused, 0);
}

static void test_direct_clock_goes_back(void **state)
{
	(void)state;
	memset(counter, 0, sizeof(counter));
	stat_after(1000);
	add(1, 1, 0, 0);
	t -= 10;
	stat_after(0);
	assert_int_equal(v->clock_back, 1);
	assert_direct(IHO_DIRECT_FIRED, 0);
	stat_after(1000);
	assert_direct(IHO_DIRECT_FIRED, 1);
}

/* with, without: of the interrupts so far */
static void assert_delivered(uint64_t without, uint64_t with)
{
	assert_int_equal(v->direct.without_exit, without);
	assert_int_equal(v->direct.with_exit, with);
}

static void test_direct_deliveries(void **state)
{
	(void)state;
	memset(counter, 0, sizeof(counter));
	stat_after(1000);
	/* in the guest from beginning to end */
	add(200, 200, 0, 0);
	stat_after(1000000);
	assert_delivered(200, 0);
	/* deadlines with an exit: the guest counts only that they fired */
	add(0, 100, 0, 0);
	stat_after(1000000);
	assert_delivered(200, 100);
	/* each is left to KVM, as the vCPU halts */
	add(50, 50, 50, 0);
	stat_after(1000000);
	assert_delivered(200, 150);
	/* left to KVM and taken back, each time */
	add(50, 50, 50, 50);
	stat_after(1000000);
	assert_delivered(250, 150);
	/* written before a trace and fired after it */
	add(1, 0, 0, 0);
	stat_after(1000000);
	assert_delivered(250, 150);
	add(0, 1, 0, 0);
	stat_after(1000000);
	assert_delivered(251, 150);
	/* one can be pending, not those that were written over */
	add(70, 0, 0, 0);
	stat_after(1000000);
	add(0, 70, 0, 0);
	stat_after(1000000);
	assert_delivered(252, 219);
	/* traced when it has written a deadline and halts, again and again: KVM gets each */
	add(1, 0, 0, 0);
	stat_after(1000000);
	add(50, 50, 50, 0);
	stat_after(1000000);
	add(50, 50, 50, 0);
	stat_after(1000000);
	assert_delivered(252, 319);
	add(0, 1, 1, 0);
	stat_after(1000000);
	assert_delivered(252, 320);
	/* found outside the guest: neither; the guest counts it a trace later */
	add(10, 9, 0, 0);
	counter[IHO_DIRECT_RECOVERED] += 1;
	stat_after(1000000);
	assert_delivered(261, 320);
	add(0, 1, 0, 0);
	stat_after(1000000);
	assert_delivered(261, 320);
}

/* Random counters, random times: the invariants. */
static void test_direct_random(void **state)
{
	struct iho_direct was;

	(void)state;
	memset(counter, 0, sizeof(counter));
	srandom(7);
	for (int i = 0; i < 100000; i++) {
		int k = (int)(random() % IHO_DIRECT_MAX);

		was = v->direct;
		counter[k] = random() % 3 ? counter[k] + (uint64_t)(random() % 50)
					  : (uint64_t)random() << (random() % 40);
		stat_after((uint64_t)(random() % 20000));
		for (int c = 0; c < IHO_DIRECT_MAX; c++) {
			uint64_t most = (v->direct.at_ns - was.at_ns) / IHO_DIRECT_LEAST_NS;

			assert_true(v->direct.total[c] >= was.total[c]);
			if (c < IHO_DIRECT_IDLE_NS && was.first_ns)
				assert_true(v->direct.total[c] - was.total[c] <= most);
			else
				assert_true(v->direct.total[c] <= t - v->direct.first_ns);
		}
		assert_true(v->direct.without_exit >= was.without_exit);
		assert_true(v->direct.with_exit >= was.with_exit);
		assert_true(v->direct.without_exit + v->direct.with_exit <=
			    v->direct.total[IHO_DIRECT_FIRED]);
		assert_true(v->direct.without_exit <= v->direct.total[IHO_DIRECT_DEADLINES] +
							      v->direct.total[IHO_DIRECT_TAKEN]);
		assert_true(v->direct.armed <= 1 && v->direct.left <= 1 && v->direct.posted <= 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_log2),
		TEST(test_hist_bucket),
		TEST(test_entry_exit_pairs),
		TEST(test_userspace_round_trip),
		TEST(test_userspace_without_run_event),
		TEST(test_exit_without_entry),
		TEST(test_exit_after_run),
		TEST(test_entry_without_exit),
		TEST(test_attach_in_mid_run),
		TEST(test_killed_inside_an_exit),
		TEST(test_killed_while_halted),
		TEST(test_nested_userspace_exit),
		TEST(test_exit_starts_from_zero),
		TEST(test_counter_wrap),
		TEST(test_clock_wrap),
		TEST(test_clock_stands_still),
		TEST(test_clock_goes_back),
		TEST(test_halt_polling_off),
		TEST(test_halt_polling_on),
		TEST(test_halt_poll_limit_of_next_halt),
		TEST(test_halt_poll_first_halt),
		TEST(test_successful_poll),
		TEST(test_poll_longer_than_the_exit),
		TEST(test_preempted_while_polling),
		TEST(test_two_halts_in_a_row),
		TEST(test_blocks_twice_in_one_halt),
		TEST(test_block_without_wakeup_event),
		TEST(test_successful_poll_after_a_block),
		TEST(test_blocked_inside_kvm),
		TEST(test_sleep_in_the_vmm),
		TEST(test_stopped_in_the_vmm),
		TEST(test_userspace_errors),
		TEST(test_too_many_userspace_reasons),
		TEST(test_unknown_exit_codes),
		TEST(test_too_many_exit_reasons),
		TEST(test_host_without_entry_and_exit),
		TEST(test_first_entry_divides),
		TEST(test_first_exit_divides),
		TEST(test_preempted_by_whom),
		TEST(test_late_wakeup_is_the_idle_task),
		TEST(test_charged_from_the_wakeup_on),
		TEST(test_several_waiters),
		TEST(test_waiter_list_full),
		TEST(test_migrated_while_running),
		TEST(test_migrated_while_waiting),
		TEST(test_interloper_table_full),
		TEST(test_woken_before_it_slept),
		TEST(test_preempted_about_to_sleep),
		TEST(test_woken_twice),
		TEST(test_switch_in_not_reported),
		TEST(test_switched_out_twice),
		TEST(test_found_running_as_billed),
		TEST(test_interrupts),
		TEST(test_drill),
		TEST(test_drill_one_value_of_every_kind),
		TEST(test_drill_overflow),
		TEST(test_drill_neighbourhood),
		TEST(test_drill_after_a_scan),
		TEST(test_cpuid_leaf),
		TEST(test_guessed_state),
		TEST(test_direct_counts),
		TEST(test_direct_counters_start_again),
		TEST(test_direct_hostile_counters),
		TEST(test_direct_ipis),
		TEST(test_direct_times_are_bounded),
		TEST(test_direct_clock_goes_back),
		TEST(test_direct_deliveries),
		TEST(test_direct_random),
		TEST(test_random_lawful_life),
		TEST(test_random_chaos),
	};

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
