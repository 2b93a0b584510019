// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kallsyms in every layout that Linux had from 5.10 on, written by an encoder of ours, found by a
 * search and by VMCOREINFO; and tables that lie.
 */
#include <errno.h>

#include "fake_kernel.h"

struct reader {
	struct vmi_guest guest;
	struct vmi_walk walk;
};

static int decode(struct fake *f, const struct vmi_kallsyms *at, struct vmi_symbols **out)
{
	static const struct vmi_budget budget = { 64u << 20, 4ull << 30, 60ull * 1000000000 };
	struct reader *r = calloc(1, sizeof(*r));
	char why[160];
	int err;

	assert_non_null(r);
	r->guest.mem = f->mem;
	r->guest.pgd = f->pgd;
	r->guest.la57 = f->la57;
	vmi_walk_start(&r->walk, &r->guest, &budget);
	err = vmi_symbols_open(out, &r->walk, at, f->text, f->text + 3 * FAKE_PMD, why,
			       sizeof(why));
	assert_true(!err == (*out != NULL));
	assert_true(err != -ENOENT || why[0]);
	free(r);
	return err;
}

static void assert_all(const struct fake *f, const struct vmi_symbols *s)
{
	assert_int_equal(vmi_symbols_count(s), f->n);
	for (unsigned int i = 0; i < f->n; i++) {
		const struct vmi_symbol *got = vmi_symbol_nth(s, i), *at;
		const struct fake_symbol *want = &f->symbols[i];

		assert_int_equal(got->addr, want->addr);
		assert_int_equal(got->type, want->name[0]);
		assert_string_equal(got->name, want->name + 1);
		at = vmi_symbol_at(s, want->addr);
		if (want->addr < f->text || want->addr >= f->text + FAKE_AT_END)
			assert_null(at);
		else
			assert_int_equal(at->addr, want->addr);
		if (strcmp(want->name + 1, "same_name"))
			assert_int_equal(vmi_symbol_addr(s, want->name + 1), want->addr);
	}
	assert_null(vmi_symbol_nth(s, f->n));
	/* Of several the first. */
	assert_int_equal(vmi_symbol_addr(s, "same_name"), f->text + 0x100);
	assert_int_equal(vmi_symbol_addr(s, "function"), 0);
	assert_int_equal(vmi_symbol_addr(s, ""), 0);
	assert_string_equal(vmi_symbol_at(s, f->text)->name, "_stext");
	assert_string_equal(vmi_symbol_at(s, f->text + FAKE_AT_TASK + 5)->name, "init_task");
	assert_null(vmi_symbol_at(s, f->text - 1));
	assert_null(vmi_symbol_at(s, UINT64_MAX));
}

static struct fake *make(enum fake_layout l)
{
	struct fake *f = fake_new(l % 2, 0x6600000, 0x800000);

	if (fake_percpu_absolute(l))
		fake_symbols_percpu(f);
	if (l != FAKE_5_10)
		fake_symbols_long(f);
	fake_kallsyms(f, l);
	return f;
}

static void every_layout_is_found(void **state)
{
	for (int l = 0; l < FAKE_LAYOUTS; l++) {
		struct fake *f = make(l);
		struct vmi_symbols *s;

		if (decode(f, NULL, &s))
			fail_msg("layout %d is not found", l);
		assert_all(f, s);
		vmi_symbols_close(s);
		fake_close(f);
	}
}

static void every_layout_is_read_where_it_is_named(void **state)
{
	for (int l = 0; l < FAKE_LAYOUTS; l++) {
		struct fake *f = make(l);
		struct vmi_symbols *s;

		if (decode(f, &f->at, &s))
			fail_msg("layout %d is not read", l);
		assert_all(f, s);
		vmi_symbols_close(s);
		fake_close(f);
	}
}

/* Of VMCOREINFO of another kernel, say: then the tables are searched for. */
static void names_that_lead_nowhere(void **state)
{
	struct fake *f = make(FAKE_6_4);
	uint64_t *const fields[] = { &f->at.names,	 &f->at.num_syms, &f->at.token_table,
				     &f->at.token_index, &f->at.offsets,  &f->at.relative_base };
	static const uint64_t wrong[] = { 1, 0xffffffffffffffffull, 0xffffffff87700000ull };

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
			uint64_t right = *fields[i];
			struct vmi_symbols *s;

			*fields[i] = wrong[k];
			assert_int_equal(decode(f, &f->at, &s), 0);
			assert_all(f, s);
			vmi_symbols_close(s);
			*fields[i] = right;
		}
	}
	fake_close(f);
}

/* rodata=off, or before it is made so: all is writable and executable. */
static void rodata_that_is_not_read_only(void **state)
{
	struct fake *f = make(FAKE_6_15);
	struct vmi_symbols *s;

	fake_map(f, f->pgd, f->text + FAKE_PMD, fake_gpa(f, f->text) + FAKE_PMD, 21, 2);
	assert_int_equal(decode(f, NULL, &s), 0);
	assert_all(f, s);
	vmi_symbols_close(s);
	fake_close(f);
}

/* CONFIG_KALLSYMS_ALL=n: no data, so no banner. */
static void functions_only(void **state)
{
	struct fake *f = fake_new(false, 0, 0);
	struct vmi_symbols *s;
	unsigned int n = 0;

	for (unsigned int i = 0; i < f->n; i++)
		if (strchr("Tt", f->symbols[i].name[0]))
			f->symbols[n++] = f->symbols[i];
	f->n = n;
	fake_kallsyms(f, FAKE_6_15);
	assert_int_equal(decode(f, NULL, &s), 0);
	assert_int_equal(vmi_symbols_count(s), n);
	assert_int_equal(vmi_symbol_addr(s, "_text"), f->text);
	vmi_symbols_close(s);
	fake_close(f);
}

/* ----------------------------------------------------------------------------------------- lies */

static void assert_refused(struct fake *f)
{
	struct vmi_symbols *s;

	assert_int_equal(decode(f, NULL, &s), -ENOENT);
	assert_null(s);
}

static void witnesses_that_disagree(void **state)
{
	struct fake *f = make(FAKE_6_4);
	struct vmi_symbols *s;
	uint32_t swap[2];
	char *banner = fake_at(f, f->text + FAKE_AT_BANNER);
	unsigned char *offsets = fake_at(f, f->at.offsets);

	banner[0] = 'l';
	assert_refused(f);
	banner[0] = 'L';
	*(uint64_t *)fake_at(f, f->at.relative_base) += FAKE_PAGE;
	assert_refused(f);
	*(uint64_t *)fake_at(f, f->at.relative_base) -= FAKE_PAGE;
	/* Addresses that do not rise. */
	memcpy(swap, offsets + 4 * 700, 8);
	memcpy(offsets + 4 * 700, &swap[1], 4);
	memcpy(offsets + 4 * 701, &swap[0], 4);
	assert_refused(f);
	memcpy(offsets + 4 * 700, swap, 8);
	assert_int_equal(decode(f, NULL, &s), 0);
	vmi_symbols_close(s);
	fake_close(f);
}

static void tables_that_disagree(void **state)
{
	struct fake *f = make(FAKE_6_15);
	uint32_t *markers = fake_at(f, f->markers), *n = fake_at(f, f->at.num_syms);
	uint16_t *index = fake_at(f, f->at.token_index);
	unsigned char *names = fake_at(f, f->at.names);
	struct vmi_symbols *s;

	markers[1]++;
	assert_refused(f);
	markers[1]--;
	index[200]++;
	assert_refused(f);
	index[200]--;
	names[0]++;
	assert_refused(f);
	names[0]--;
	for (unsigned int i = 0; i < 32; i++) {
		uint32_t right = *n;

		*n ^= 1u << i;
		assert_refused(f);
		*n = right;
	}
	assert_int_equal(decode(f, NULL, &s), 0);
	vmi_symbols_close(s);
	fake_close(f);
}

/* A name of 300 tokens, all of which stand for one character, or for 32: no name is so long. */
static void names_without_measure(void **state)
{
	struct fake *f = make(FAKE_6_15);
	unsigned char *p = fake_at(f, f->at.names);
	struct vmi_symbols *s;
	size_t len;

	while (!(*p & 0x80))
		p += *p + 1;
	len = (*p & 0x7f) | p[1] << 7;
	assert_true(len > 128);
	memset(p + 2, 'a', len);
	assert_int_equal(decode(f, NULL, &s), 0);
	vmi_symbols_close(s);
	assert_int_equal(strlen(fake_token(0x85)), 32);
	memset(p + 2, 0x85, len);
	assert_refused(f);
	fake_close(f);
}

/* Holes in what the tables lie in. */
static void tables_that_are_not_whole(void **state)
{
	struct fake *f = make(FAKE_6_2);
	uint64_t gpa = fake_gpa(f, f->text) + FAKE_PMD, first, last;
	struct vmi_symbols *s;

	/* In pages of 4 KiB, of which one at a time is not there. */
	((uint64_t *)fake_phys(f, f->pgd))[511] = 0;
	for (unsigned int i = 0; i < 512; i++)
		fake_map(f, f->pgd, f->text + FAKE_PMD + i * FAKE_PAGE, gpa + i * FAKE_PAGE, 12,
			 FAKE_NX);
	fake_map(f, f->pgd, f->text, gpa - FAKE_PMD, 21, 0);
	first = f->at.offsets / FAKE_PAGE * FAKE_PAGE;
	last = (f->tables_end - 1) / FAKE_PAGE * FAKE_PAGE;
	for (uint64_t gva = f->text + FAKE_PMD; gva <= last + FAKE_PAGE; gva += FAKE_PAGE) {
		int err;

		fake_map(f, f->pgd, gva, 0, 12, FAKE_NONE);
		err = decode(f, NULL, &s);
		if (gva < first && gva != f->text + FAKE_PMD)
			assert_int_equal(err, 0);
		else if (gva <= last)
			assert_int_equal(err, -ENOENT);
		vmi_symbols_close(s);
		fake_map(f, f->pgd, gva, fake_gpa(f, gva), 12, FAKE_NX);
	}
	fake_close(f);
}

/*
 * Any byte of the tables another one: refused, or decoded to as many names, all of which end. The
 * sanitizer watches.
 */
static void every_byte_changed(void **state)
{
	static const enum fake_layout layouts[] = { FAKE_6_1, FAKE_6_3, FAKE_7_0 };

	for (size_t l = 0; l < sizeof(layouts) / sizeof(*layouts); l++) {
		struct fake *f = make(layouts[l]);
		uint64_t start = f->at.offsets < f->at.num_syms ? f->at.offsets : f->at.num_syms;
		unsigned int seed = 1;

		for (unsigned int i = 0; i < 400; i++) {
			unsigned char *p, was;
			struct vmi_symbols *s;

			seed = seed * 1103515245u + 12345u;
			p = fake_at(f, start + (seed >> 8) % (f->tables_end - start));
			was = *p;
			*p = (unsigned char)(seed >> 24 ^ seed);
			if (!decode(f, i % 2 ? &f->at : NULL, &s)) {
				size_t chars = 0;

				for (size_t k = 0; k < vmi_symbols_count(s); k++)
					chars += strlen(vmi_symbol_nth(s, k)->name);
				assert_true(chars <= vmi_symbols_count(s) * 512);
				vmi_symbols_close(s);
			}
			*p = was;
		}
		fake_close(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_layout_is_found),
		cmocka_unit_test(every_layout_is_read_where_it_is_named),
		cmocka_unit_test(names_that_lead_nowhere),
		cmocka_unit_test(rodata_that_is_not_read_only),
		cmocka_unit_test(functions_only),
		cmocka_unit_test(witnesses_that_disagree),
		cmocka_unit_test(tables_that_disagree),
		cmocka_unit_test(names_without_measure),
		cmocka_unit_test(tables_that_are_not_whole),
		cmocka_unit_test(every_byte_changed),
	};

	return cmocka_run_group_tests_name("symbols", tests, NULL, NULL);
}
