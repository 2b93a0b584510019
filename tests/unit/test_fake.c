/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole stack on a guest of which each byte is known: see tests/vmi/fake/fake.h. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../vmi/tables/rows.h"
#include "../vmi/fake/fake.h"

static void understood(const struct fake_options *o)
{
	struct fake *f = fake_new(o);
	struct vmi_guest *g;

	assert_int_equal(fake_open(f, &g), 0);
	assert_string_equal(g->missing, "");
	assert_int_equal(g->level, VMI_LEVEL_TYPES);
	assert_string_equal(g->banner, FAKE_BANNER);
	assert_string_equal(g->release, "6.12.0-fake");
	assert_int_equal(g->text, FAKE_TEXT);
	assert_int_equal(g->page_offset, FAKE_PAGE_OFFSET);
	assert_int_equal(g->kaslr_offset, FAKE_TEXT - 0xffffffff81000000ull);
	assert_int_equal(g->cpus, 2);
	assert_string_equal(g->build_id, "010e1b2835424f5c697683909daab7c4d1deebf8");
	assert_int_equal(vmi_sym(g, "init_task"), f->world.init_task);
	assert_int_equal(vmi_types_size(g->types, "task_struct"), sizeof(struct task_struct));
	vmi_guest_close(g);
	fake_free(f);
}

static void test_layouts(void **state)
{
	for (int k = FAKE_KALLSYMS_5_10; k <= FAKE_KALLSYMS_7_0; k++) {
		struct fake_options o = { .kallsyms = (enum fake_kallsyms)k };

		understood(&o);
		o.la57 = true;
		understood(&o);
		o.no_registers = true;
		understood(&o);
		o.la57 = false;
		understood(&o);
	}
}

struct ending {
	uint64_t at; /* the read before which it ends */
	void *pgd;
};

static int ends(struct fake *f, uint64_t gpa, size_t len)
{
	const struct ending *e = f->arg;

	if (f->reads == e->at)
		memset(e->pgd, 0, 4096);
	return 0;
}

/*
 * The process that vCPU 0 ran ends while the kernel is looked for by its page table, at any moment:
 * the kernel is the same, by the other vCPU's.
 */
static void test_page_table_gone(void **state)
{
	struct fake *f = fake_new(NULL);
	uint64_t page = fake_alloc(f, 4096, 4096), reads;
	struct ending e = { .pgd = fake_at(f, page) };
	struct vmi_guest *g;

	f->vcpus[0].cr3 = page - FAKE_PAGE_OFFSET;
	memcpy(e.pgd, fake_phys(f, f->pgd), 4096);
	f->on_read = ends;
	f->arg = &e;
	assert_int_equal(fake_open(f, &g), 0);
	vmi_guest_close(g);
	reads = f->reads;
	for (uint64_t i = 1; i < reads; i += 1 + reads / 200) {
		memcpy(e.pgd, fake_phys(f, f->pgd), 4096);
		f->reads = 0;
		e.at = i;
		assert_int_equal(fake_open(f, &g), 0);
		if (g->level != VMI_LEVEL_TYPES)
			fail_msg("at read %" PRIu64 " of %" PRIu64 ": %s", i, reads, g->missing);
		vmi_guest_close(g);
	}
	fake_free(f);
}

/* A table's rows, one text each: the columns that are named, with a blank between them. */
static void rows_are(struct vmi_guest *g, const struct vmi_table *t, const char *const *names,
		     const char *const *expected)
{
	const struct vmi_run run = { .columns = ~0ull };
	struct vmi_error err;
	struct vmi_rows *r;
	size_t n = 0;

	assert_int_equal(vmi_rows_open(&r, g, t), 0);
	if (vmi_rows_run(r, &run, &err))
		fail_msg("%s: %s", t->name, err.text);
	assert_string_equal(vmi_stop_key(vmi_rows_walked(r)->stop), "whole");
	assert_int_equal(vmi_rows_torn(r), 0);
	for (; n < vmi_rows_count(r) && expected[n]; n++) {
		char text[1024] = "";
		size_t len = 0;

		for (size_t i = 0; names[i]; i++) {
			unsigned int c = 0;
			struct vmi_value v;

			while (strcmp(t->columns[c].name, names[i]))
				assert_true(++c < t->n_columns);
			vmi_rows_value(r, n, c, &v);
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", i ? " " : "");
			if (v.kind == VMI_V_INT)
				len += (size_t)snprintf(text + len, sizeof(text) - len, "%" PRId64,
							v.i);
			else
				len += (size_t)snprintf(text + len, sizeof(text) - len, "%s",
							v.kind == VMI_V_TEXT ? v.s : "NULL");
		}
		assert_string_equal(text, expected[n]);
	}
	assert_int_equal(vmi_rows_count(r), n);
	assert_null(expected[n]);
	vmi_rows_close(r);
}

static const struct vmi_table *table(const char *name)
{
	size_t i = 0;

	while (strcmp(vmi_tables[i]->name, name))
		assert_non_null(vmi_tables[++i]);
	return vmi_tables[i];
}

#define TEXTS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void test_processes(void **state)
{
	struct fake *f = fake_new(NULL);
	struct vmi_guest *g;

	assert_int_equal(fake_open(f, &g), 0);
	rows_are(g, table("processes"),
		 TEXTS("pid", "name", "parent", "uid", "threads", "state", "kernel", "cmdline",
		       "cgroup_path"),
		 TEXTS("1 init 0 0 1 R 0 /sbin/init splash /system.slice",
		       "2 kthreadd 0 0 1 S 1  /system.slice",
		       "77 rcu_preempt 2 0 1 S 1  /system.slice",
		       "100 server 1 33 3 S 0 /usr/bin/server -p 80 /system.slice",
		       "4242 sh 100 1000 1 S 0 -sh /system.slice"));
	vmi_guest_close(g);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_page_table_gone),
		cmocka_unit_test(test_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
