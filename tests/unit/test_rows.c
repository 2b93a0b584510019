/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of a table: values, texts that may hold anything, limits, torn verdicts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../vmi/tables/rows.h"

static uint8_t ram[65536] __attribute__((aligned(4096)));

/* Guest physical memory is `ram`; the guest's page tables map it one to one. */
static int read_ram(void *arg, uint64_t gpa, void *buf, size_t len)
{
	memcpy(buf, ram + gpa, len);
	return 0;
}

static struct vmi_guest *guest(void)
{
	static struct vmi_guest g;
	struct vmi_region region = { .bytes = sizeof(ram), .backing = VMI_BACKING_CALL, .fd = -1 };
	uint64_t *table = (uint64_t *)(ram + 0x1000);

	memset(ram, 0, sizeof(ram));
	table[0] = 0x2003;
	table[512] = 0x3003;
	table[1024] = 0x4003;
	for (unsigned int i = 0; i < sizeof(ram) / 4096; i++)
		table[1536 + i] = i << 12 | 3;
	vmi_mem_close(g.mem);
	memset(&g, 0, sizeof(g));
	g.level = VMI_LEVEL_TYPES;
	g.pgd = 0x1000;
	assert_int_equal(vmi_mem_open(&g.mem, &region, 1, read_ram, NULL), 0);
	return &g;
}

static int (*maker)(struct vmi_rows *r);

static int make(struct vmi_rows *r)
{
	return maker(r);
}

static const struct vmi_column columns[] = {
	{ "number", VMI_INTEGER, "", .index = true },
	{ "text", VMI_TEXT, "", .index = true },
	{ .name = "real", .type = VMI_DOUBLE, .doc = "" },
};

static const struct vmi_table table = {
	.name = "test", .columns = columns, .n_columns = 3, .rows = make, .needs = VMI_LEVEL_BANNER
};

static struct vmi_rows *run_all(int (*fn)(struct vmi_rows *), const struct vmi_run *run, int want)
{
	static const struct vmi_run all = { .columns = ~0ull };
	struct vmi_error err;
	struct vmi_rows *r;

	maker = fn;
	assert_int_equal(vmi_rows_open(&r, guest(), &table), 0);
	assert_int_equal(vmi_rows_run(r, run ? run : &all, &err), want);
	assert_true(!want == !err.text[0]);
	return r;
}

static int make_values(struct vmi_rows *r)
{
	vmi_row(r);
	vmi_int(r, 0, INT64_MIN);
	vmi_str(r, 1, "a\tb\n\x01\x7f\xff\xc3\xa4\xc0\x80\xed\xa0\x80\xe2\x82\xac"
		      "\xf0\x9f\x98\x80\xe2\x82");
	vmi_double(r, 2, 0.5);
	vmi_int(r, 3, 7); /* no such column: `torn` is not a table's to set */
	vmi_row_end(r);
	vmi_row(r);
	vmi_str(r, 1, NULL);
	vmi_row_end(r);
	vmi_row(r);
	vmi_int(r, 0, 9);
	vmi_row_drop(r);
	return 0;
}

static void test_values(void **state)
{
	struct vmi_rows *r = run_all(make_values, NULL, 0);
	struct vmi_value v;

	assert_int_equal(vmi_rows_count(r), 2);
	vmi_rows_value(r, 0, 0, &v);
	assert_int_equal(v.kind, VMI_V_INT);
	assert_true(v.i == INT64_MIN);
	vmi_rows_value(r, 0, 1, &v);
	assert_string_equal(v.s, "a\tb\n???\xc3\xa4?????\xe2\x82\xac\xf0\x9f\x98\x80??");
	assert_int_equal(v.n, strlen(v.s));
	vmi_rows_value(r, 0, 2, &v);
	assert_true(v.kind == VMI_V_DOUBLE && v.d == 0.5);
	vmi_rows_value(r, 0, 3, &v);
	assert_true(v.kind == VMI_V_INT && v.i == 0);
	for (unsigned int i = 0; i < 3; i++) {
		vmi_rows_value(r, 1, i, &v);
		assert_int_equal(v.kind, VMI_V_NULL);
	}
	vmi_rows_close(r);
}

/* The second row's witness changes between its beginning and its end. */
static int make_torn(struct vmi_rows *r)
{
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t v;

		assert_int_equal(vmi_uint(vmi_rows_walk(r), 0x8000, 4, &v), 0);
		vmi_witness(vmi_rows_walk(r), 0x8000, 4, v);
		vmi_row(r);
		if (i == 1)
			ram[0x8003]++;
		vmi_row_end(r);
	}
	return 0;
}

static void test_torn(void **state)
{
	struct vmi_rows *r = run_all(make_torn, NULL, 0);

	for (unsigned int i = 0; i < 3; i++) {
		struct vmi_value v;

		vmi_rows_value(r, i, 3, &v);
		assert_int_equal(v.i, i == 1);
	}
	assert_int_equal(vmi_rows_torn(r), 1);
	vmi_rows_close(r);
}

static int make_endless(struct vmi_rows *r)
{
	do {
		vmi_row(r);
		vmi_str(r, 1, "a text of some length");
	} while (!vmi_row_end(r));
	return 0;
}

static int make_until_budget(struct vmi_rows *r)
{
	uint64_t v;

	do {
		vmi_row(r);
		vmi_uint(vmi_rows_walk(r), 0x8000, 8, &v);
	} while (!vmi_row_end(r));
	return 0;
}

static void test_limits(void **state)
{
	struct vmi_run few = { .columns = ~0ull, .max_rows = 10 };
	struct vmi_budget small = { .steps = 100, .bytes = 1 << 20, .ns = 1000000000000 };
	struct vmi_budget no_bytes = { .steps = 100, .bytes = 100, .ns = 1000000000000 };
	struct vmi_rows *r = run_all(make_endless, &few, 0);

	assert_int_equal(vmi_rows_count(r), 10);
	assert_int_equal(vmi_rows_walked(r)->stop, VMI_STOP_NONE);
	vmi_rows_close(r);

	r = run_all(make_endless, NULL, 0);
	assert_int_equal(vmi_rows_count(r), VMI_ROWS_MAX);
	assert_int_equal(vmi_rows_walked(r)->stop, VMI_STOP_ROWS);
	vmi_rows_close(r);

	few.max_rows = 0;
	few.budget = &small;
	r = run_all(make_until_budget, &few, 0);
	assert_int_equal(vmi_rows_walked(r)->stop, VMI_STOP_STEPS);
	assert_in_range(vmi_rows_count(r), 50, 101);
	vmi_rows_close(r);

	few.budget = &no_bytes;
	r = run_all(make_until_budget, &few, 0);
	assert_int_equal(vmi_rows_walked(r)->stop, VMI_STOP_BYTES);
	vmi_rows_close(r);
}

static int make_large(struct vmi_rows *r)
{
	static char text[1 << 20];

	memset(text, 'x', sizeof(text) - 1);
	do {
		vmi_row(r);
		vmi_str(r, 1, text);
	} while (!vmi_row_end(r));
	return 0;
}

static void test_memory(void **state)
{
	struct vmi_rows *r = run_all(make_large, NULL, 0);

	assert_int_equal(vmi_rows_walked(r)->stop, VMI_STOP_MEMORY);
	assert_in_range(vmi_rows_count(r), 200, 256);
	vmi_rows_close(r);
}

static int make_wants(struct vmi_rows *r)
{
	const char *s;
	int64_t i;

	assert_true(vmi_want_int(r, 0, &i) && i == 42);
	assert_true(vmi_want_str(r, 1, &s) && !strcmp(s, "x"));
	assert_false(vmi_want_int(r, 1, &i));
	assert_false(vmi_want_int(r, 2, &i));
	assert_true(vmi_wants(r, 0) && !vmi_wants(r, 1) && vmi_wants(r, 2));
	return vmi_rows_error(r, "no %s", "luck");
}

static void test_wants(void **state)
{
	struct vmi_want wants[] = {
		{ 0, { .kind = VMI_V_INT, .i = 42 } },
		{ 1, { .kind = VMI_V_TEXT, .s = "x", .n = 1 } },
	};
	struct vmi_run run = { .columns = 5, .wants = wants, .n_wants = 2 };

	vmi_rows_close(run_all(make_wants, &run, -22));
}

static void test_level(void **state)
{
	struct vmi_run run = { .columns = ~0ull };
	struct vmi_guest *g = guest();
	struct vmi_error err;
	struct vmi_rows *r;

	g->level = VMI_LEVEL_MEMORY;
	strcpy(g->missing, "nothing was found");
	maker = make_values;
	assert_int_equal(vmi_rows_open(&r, g, &table), 0);
	assert_int_equal(vmi_rows_run(r, &run, &err), -22);
	assert_string_equal(err.text, "test needs a Linux kernel in the guest: nothing was found");
	assert_int_equal(vmi_rows_count(r), 0);
	vmi_rows_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values), cmocka_unit_test(test_torn),
		cmocka_unit_test(test_limits), cmocka_unit_test(test_memory),
		cmocka_unit_test(test_wants), cmocka_unit_test(test_level),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
