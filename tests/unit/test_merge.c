// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The record of two threads that ended: every counter is the sum, nothing is lost in a full table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keeper.h"

static struct iho_slot *a, *b;

static int setup(void **state)
{
	a = calloc(1, sizeof(*a));
	b = calloc(1, sizeof(*b));
	assert_non_null(a);
	assert_non_null(b);
	a->life = b->life = IHO_GONE;
	return 0;
}

static int teardown(void **state)
{
	free(a);
	free(b);
	return 0;
}

static void test_bill(void **state)
{
	uint64_t sum = 0;

	a->core.first_ns = 1000;
	a->core.since_ns = 1500;
	a->core.time_ns[IHO_ST_GUEST] = 300;
	a->core.time_ns[IHO_ST_KVM] = 200;
	a->gone_ns = 1500;
	b->core.first_ns = 5000;
	b->core.since_ns = 5070;
	b->core.time_ns[IHO_ST_GUEST] = 70;
	b->gone_ns = 5070;
	iho_slot_merge(a, b);
	for (int i = 0; i < IHO_ST_MAX; i++)
		sum += a->core.time_ns[i];
	assert_int_equal(a->core.since_ns - a->core.first_ns, 570);
	assert_int_equal(sum, 570);
	assert_int_equal(a->core.time_ns[IHO_ST_GUEST], 370);
	assert_int_equal(a->gone_ns, 5070);
}

static void test_counters(void **state)
{
	for (int i = 0; i < IHO_EV_MAX; i++) {
		a->events[i] = i;
		b->events[i] = 1000 + i;
	}
	a->halts = 1;
	b->halts = 2;
	a->preemptions = 3;
	b->preemptions = 4;
	a->switches = 5;
	b->switches = 6;
	a->migrations = 7;
	b->migrations = 8;
	a->unpaired_exits = b->unpaired_entries = 9;
	b->missed_switches = 10;
	iho_slot_merge(a, b);
	for (int i = 0; i < IHO_EV_MAX; i++)
		assert_int_equal(a->events[i], 1000 + 2 * i);
	assert_int_equal(a->halts, 3);
	assert_int_equal(a->preemptions, 7);
	assert_int_equal(a->switches, 11);
	assert_int_equal(a->migrations, 15);
	assert_int_equal(a->unpaired_exits, 9);
	assert_int_equal(a->unpaired_entries, 9);
	assert_int_equal(a->missed_switches, 10);
}

static void set_exit(struct iho_slot *s, unsigned int i, uint32_t code, uint64_t count)
{
	s->exits[i].code = code;
	s->exits[i].isa = IHO_ISA_VMX;
	s->exits[i].count = count;
	s->exits[i].time_ns = 10 * count;
	s->exits[i].max_ns = code;
	s->exits[i].hist[7] = count;
	if (s->n_exits <= i)
		s->n_exits = i + 1;
}

static void test_exits(void **state)
{
	set_exit(a, 0, 12, 5);
	set_exit(a, 1, 30, 6);
	set_exit(b, 0, 30, 100); /* in another place than in a */
	set_exit(b, 1, 48, 200);
	iho_slot_merge(a, b);
	assert_int_equal(a->n_exits, 3);
	assert_int_equal(a->exits[0].count, 5);
	assert_int_equal(a->exits[1].count, 106);
	assert_int_equal(a->exits[1].time_ns, 1060);
	assert_int_equal(a->exits[1].hist[7], 106);
	assert_int_equal(a->exits[2].code, 48);
	assert_int_equal(a->exits[2].count, 200);
	assert_int_equal(a->exits[2].max_ns, 48);
}

/* Reasons without a row of their own join the last one, and are counted as such. */
static void test_full_tables(void **state)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < IHO_EXITS; i++)
		set_exit(a, i, i, 1);
	set_exit(b, 0, 100, 7);
	set_exit(b, 1, 101, 8);
	for (unsigned int i = 0; i < IHO_DRILLS; i++) {
		a->drill[i].key = IHO_DRILL_KEY(IHO_DRILL_PIO, i);
		a->drill[i].count = 1;
		b->drill[i].key = IHO_DRILL_KEY(IHO_DRILL_MSR, i);
		b->drill[i].count = 2;
	}
	b->drill[3].key = IHO_DRILL_KEY(IHO_DRILL_PIO, 500); /* a has it, elsewhere */
	iho_slot_merge(a, b);
	assert_int_equal(a->n_exits, IHO_EXITS);
	for (unsigned int i = 0; i < IHO_EXITS; i++)
		sum += a->exits[i].count;
	assert_int_equal(sum, IHO_EXITS + 15);
	assert_int_equal(a->exits[IHO_EXITS - 1].code, IHO_CODE_OVERFLOW);
	assert_int_equal(a->exit_overflow, 15);
	assert_int_equal(a->drill[500].count, 3);
	assert_int_equal(a->drill_overflow[IHO_DRILL_MSR], 2 * (IHO_DRILLS - 1));
}

static void test_interlopers(void **state)
{
	for (unsigned int i = 0; i < IHO_TASKS; i++)
		a->interlopers[i] = (struct iho_task){ i + 1, 1, "a", 10, 1 };
	b->interlopers[0] = (struct iho_task){ 3, 1, "a", 5, 2 };
	b->interlopers[1] = (struct iho_task){ 99, 1, "b", 7, 4 };
	a->hardirq[0] = (struct iho_irq){ 9, 1, 100, 1 };
	b->hardirq[5] = (struct iho_irq){ 9, 1, 50, 2 };
	b->softirq[0] = (struct iho_irq){ 1, 1, 60, 3 };
	iho_slot_merge(a, b);
	assert_int_equal(a->interlopers[2].ns, 15);
	assert_int_equal(a->interlopers[2].count, 3);
	assert_int_equal(a->task_evicted, 1);
	assert_int_equal(a->task_evicted_ns, 7);
	assert_int_equal(a->task_evicted_times, 4);
	assert_int_equal(a->hardirq[0].ns, 150);
	assert_int_equal(a->hardirq[0].count, 3);
	assert_int_equal(a->softirq[0].ns, 60);
}

static void test_direct(void **state)
{
	for (int i = 0; i < IHO_DIRECT_MAX; i++) {
		a->direct.total[i] = 10 + i;
		b->direct.total[i] = 100;
	}
	a->direct.without_exit = 1;
	b->direct.without_exit = 2;
	b->direct.with_exit = 3;
	b->direct.ipis_without_exit = 6;
	b->direct.refused = 4;
	b->direct.first_ns = 5;
	iho_slot_merge(a, b);
	for (int i = 0; i < IHO_DIRECT_MAX; i++)
		assert_int_equal(a->direct.total[i], 110 + i);
	assert_int_equal(a->direct.without_exit, 3);
	assert_int_equal(a->direct.with_exit, 3);
	assert_int_equal(a->direct.ipis_without_exit, 6);
	assert_int_equal(a->direct.refused, 4);
	assert_int_equal(a->direct.first_ns, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_counters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interlopers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_direct, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
