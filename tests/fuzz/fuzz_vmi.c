/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole stack over the memory of a guest that lies: from its page tables to the rows of each
 * table, and SQL. A made-up guest (tests/vmi/fake) is right in each byte; the input says what
 *becomes wrong, where there is something to be wrong, before it is opened and while it is read.
 *
 * An input is a header of 4 bytes, and changes of 8 bytes:
 *
 *	header	guest (which of those built); what is done with it, bit 7: the guest was opened
 *before any change; after how many reads, in units of 64, memory fails (0 = it does not) change
 *what to do, with what, which word (u16), an operand (u16), when (u16): 0 = at once, else after 8
 *times so many reads
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../vmi/sql/engine.h"
#include "../../vmi/tables/rows.h"
#include "../vmi/fake/fake.h"

#define CHANGES_MAX 64
#define ROWS_MAX    4096
#define GUESTS	    3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
const char *__asan_default_options(void);

enum place { OBJECTS, PAGE_TABLES, RODATA, DATA, PLACES };

/* The words of a guest that are not 0, by where they lie: what is worth changing. */
struct words {
	uint32_t *gpa;
	size_t n;
};

struct change {
	uint8_t what, with;
	uint16_t word, operand, when;
};

static struct guest {
	struct fake *fake;
	struct words places[PLACES];
	struct change changes[CHANGES_MAX];
	size_t n, next;
	uint64_t fail_at;
	struct vmi_guest *opened; /* when it was right */
} guests[GUESTS];

static const char *const statements[] = {
	"SELECT * FROM processes p JOIN kernel_log l ON l.caller = 'T' || p.pid ORDER BY l.time_ns",
	"SELECT name, count(*), sum(total_size) FROM processes GROUP BY 1 HAVING count(*) > 0",
	"SELECT m.name, s.name FROM kernel_modules m, kernel_symbols s WHERE s.type = m.status",
	"SELECT * FROM processes WHERE pid = 100",
	"SELECT * FROM processes WHERE pid IN (1, 100, -1, 1e300, NULL, 'x') AND name LIKE '%a%'",
};

static const struct vmi_budget small = { .steps = 50000, .bytes = 8 << 20, .ns = 2000000000 };

/* -------------------------------------------------------------------------------------- changes */

static const uint64_t telling[] = {
	0,
	1,
	2,
	3,
	8,
	255,
	256,
	4095,
	4096,
	65535,
	65536,
	1u << 20,
	1u << 24,
	INT32_MAX,
	UINT32_MAX,
	1ull << 32,
	INT64_MAX,
	1ull << 63,
	UINT64_MAX,
	UINT64_MAX - 7,
	0xdead000000000100,
	FAKE_PAGE_OFFSET,
	FAKE_PAGE_OFFSET - 8,
	FAKE_PAGE_OFFSET + FAKE_RAM - 4,
	FAKE_PAGE_OFFSET + FAKE_RAM,
	FAKE_TEXT,
	FAKE_TEXT + 0x400000 - 8,
	FAKE_VMALLOC,
	FAKE_VMEMMAP,
	0x0000800000000000,
	0x00007fffffffffff,
	FAKE_USER_STACK,
	0x00ffffffffff0000,
};

static uint64_t gva_of(uint64_t gpa)
{
	return FAKE_PAGE_OFFSET + gpa;
}

static void apply(struct guest *g, const struct change *c)
{
	struct words *w = &g->places[c->what % PLACES];
	uint64_t gpa, v, other;

	if (!w->n)
		return;
	gpa = w->gpa[c->word % w->n];
	memcpy(&v, g->fake->ram + gpa, 8);
	memcpy(&other, g->fake->ram + w->gpa[c->operand % w->n], 8);
	switch (c->what / PLACES % 8) {
	case 0:
		v = telling[c->operand % (sizeof(telling) / sizeof(telling[0]))];
		break;
	case 1: /* what another word holds, or near it */
		v = other + 8 * (uint64_t)(int8_t)c->with;
		break;
	case 2: /* where another word is */
		v = gva_of(w->gpa[c->operand % w->n]) + 8 * (uint64_t)(int8_t)c->with;
		break;
	case 3: /* where it is itself, or near it */
		v = gva_of(gpa) - 8 * (uint64_t)(c->with % 64);
		break;
	case 4:
		v += (uint64_t)(int16_t)c->operand;
		break;
	case 5:
		v ^= 1ull << (c->with & 63);
		break;
	case 6: /* two bytes of it */
		memcpy((char *)&v + c->with % 7, &c->operand, 2);
		break;
	case 7: /* four, from the value of others */
		memcpy((char *)&v + c->with % 2 * 4, &other, 4);
		break;
	}
	fake_write_phys(g->fake, gpa, &v, 8);
}

static int on_read(struct fake *f, uint64_t gpa, size_t len)
{
	struct guest *g = f->arg;

	while (g->next < g->n && g->changes[g->next].when * 8u <= f->reads)
		apply(g, &g->changes[g->next++]);
	return g->fail_at && f->reads >= g->fail_at ? -EIO : 0;
}

static int by_time(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	return (int)x->when - (int)y->when;
}

/* Blocks are freed by the thousand: not all are to be kept from being used again. */
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=8:malloc_context_size=4";
}

/* --------------------------------------------------------------------------------------- guests */

static void note(struct words *w, uint32_t from, uint32_t to, const uint8_t *ram)
{
	for (uint32_t gpa = from; gpa < to; gpa += 8) {
		static const uint8_t none[8];

		if (!memcmp(ram + gpa, none, 8))
			continue;
		if (!(w->n & (w->n - 1)))
			w->gpa = realloc(w->gpa, (w->n ? 2 * w->n : 1) * sizeof(*w->gpa));
		w->gpa[w->n++] = gpa;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct fake_options options[GUESTS] = {
		{ .kallsyms = FAKE_KALLSYMS_6_4 },
		{ .kallsyms = FAKE_KALLSYMS_7_0, .la57 = true },
		{ .kallsyms = FAKE_KALLSYMS_5_10, .no_registers = true },
	};

	for (int i = 0; i < GUESTS; i++) {
		struct guest *g = &guests[i];
		uint32_t data;

		g->fake = fake_new(&options[i]);
		if (fake_open(g->fake, &g->opened) || g->opened->level != VMI_LEVEL_TYPES)
			abort();
		g->fake->on_read = on_read;
		g->fake->arg = g;
		data = (uint32_t)g->fake->pgd + 4096;
		note(&g->places[OBJECTS], 0x800000, (uint32_t)g->fake->heap_brk, g->fake->ram);
		note(&g->places[PAGE_TABLES], 0x1000, 0x400000, g->fake->ram);
		note(&g->places[PAGE_TABLES], data - 4096, data, g->fake->ram);
		note(&g->places[RODATA], 0x600000, data - 4096, g->fake->ram);
		note(&g->places[DATA], data, 0x800000, g->fake->ram);
	}
	return 0;
}

/* --------------------------------------------------------------------------------------- checks */

static void check_value(const struct vmi_value *v)
{
	if (v->kind == VMI_V_TEXT)
		assert(strlen(v->s) == v->n);
}

static void run_table(struct vmi_guest *g, const struct vmi_table *t)
{
	const struct vmi_run run = { .budget = &small, .columns = ~0ull, .max_rows = ROWS_MAX };
	struct vmi_error err;
	struct vmi_rows *r;
	int ret;

	if (vmi_rows_open(&r, g, t))
		return;
	ret = vmi_rows_run(r, &run, &err);
	assert(!ret == !err.text[0] || ret == -ENOMEM);
	assert(vmi_rows_count(r) <= ROWS_MAX);
	assert(vmi_rows_walked(r)->steps <= small.steps &&
	       vmi_rows_walked(r)->bytes <= small.bytes);
	for (size_t i = 0; i < vmi_rows_count(r); i++) {
		for (unsigned int c = 0; c <= t->n_columns; c++) {
			struct vmi_value v;

			vmi_rows_value(r, i, c, &v);
			check_value(&v);
		}
	}
	vmi_rows_close(r);
}

static int take_columns(void *arg, const char *const *names, size_t n)
{
	*(size_t *)arg = n;
	return 0;
}

static int take_row(void *arg, const struct vmi_value *values, size_t n)
{
	assert(n == *(size_t *)arg);
	for (size_t i = 0; i < n; i++)
		check_value(&values[i]);
	return 0;
}

static void run_statement(struct vmi_guest *g, const char *sql)
{
	struct vmi_engine_options o = { .limits = vmi_limits_default };
	size_t columns = 0;
	const struct vmi_sink sink = { take_columns, take_row, &columns };
	struct vmi_outcome out;
	struct vmi_engine *e;
	struct vmi_error err;
	int ret;

	o.limits.walk = small;
	if (vmi_engine_open(&e, g, &o, &err))
		return;
	ret = vmi_engine_query(e, sql, &sink, &out, &err);
	assert(!ret == !err.text[0]);
	vmi_engine_close(e);
}

/* 0: all tables; up to 100: one; above: a statement. */
static void run(struct vmi_guest *g, unsigned int what)
{
	size_t n = 0;

	while (vmi_tables[n])
		n++;
	if (what > 100)
		run_statement(g, statements[what % (sizeof(statements) / sizeof(statements[0]))]);
	else if (what)
		run_table(g, vmi_tables[what % n]);
	for (size_t i = 0; i < n && !what; i++)
		run_table(g, vmi_tables[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmi_guest *opened;
	struct guest *g;

	if (size < 4)
		return 0;
	g = &guests[data[0] % GUESTS];
	g->fail_at = data[2] * 64u;
	g->n = (size - 4) / 8 < CHANGES_MAX ? (size - 4) / 8 : CHANGES_MAX;
	g->next = 0;
	g->fake->reads = 0;
	memcpy(g->changes, data + 4, g->n * 8);
	qsort(g->changes, g->n, sizeof(g->changes[0]), by_time);
	if (data[1] & 128) {
		run(g->opened, data[1] & 127);
	} else if (!fake_open(g->fake, &opened)) {
		run(opened, data[1]);
		vmi_guest_close(opened);
	}
	fake_undo(g->fake);
	return 0;
}
