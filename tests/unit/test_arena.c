// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that is given back all at once: aligned, zeroed, not shared, used again after a reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "../../userspace/lib/arena.h"

#define PIECES 3000

static bool is_zero(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static size_t chunks(const struct iho_arena *a)
{
	size_t n = 0;

	for (const struct iho_arena_chunk *c = a->first; c; c = c->next)
		n++;
	return n;
}

/* Small pieces, and now and then one that is larger than a chunk. */
static size_t size_of_piece(size_t i)
{
	return i % 500 == 499 ? 200000 + i : 1 + i * 37 % 700;
}

static void test_pieces(void **state)
{
	static unsigned char *piece[PIECES];
	struct iho_arena a = {};
	size_t first_round = 0;

	(void)state;
	for (int round = 0; round < 4; round++) {
		for (size_t i = 0; i < PIECES; i++) {
			size_t n = size_of_piece(i);

			piece[i] = iho_arena_get(&a, n, 1);
			assert_non_null(piece[i]);
			assert_int_equal((uintptr_t)piece[i] % 16, 0);
			/* also where an earlier round had left something */
			assert_true(is_zero(piece[i], n));
			memset(piece[i], 1 + i % 255, n);
		}
		/* whoever overlaps with another has its bytes */
		for (size_t i = 0; i < PIECES; i++)
			for (size_t k = 0; k < size_of_piece(i); k++)
				assert_int_equal(piece[i][k], 1 + i % 255);
		if (!round)
			first_round = chunks(&a);
		/* the same again takes no more memory */
		assert_int_equal(chunks(&a), first_round);
		iho_arena_reset(&a);
	}
	iho_arena_free(&a);
	assert_null(a.first);
	assert_null(a.cur);
}

static void test_arrays(void **state)
{
	struct iho_arena a = {};
	uint64_t *v, *w;

	(void)state;
	v = iho_arena_get(&a, 100, sizeof(*v));
	w = iho_arena_get(&a, 100, sizeof(*w));
	assert_non_null(v);
	assert_non_null(w);
	assert_true(w >= v + 100 || v >= w + 100);
	v[99] = 1;
	w[0] = 2;
	assert_int_equal(v[99], 1);
	iho_arena_free(&a);
}

/* An array of nothing is not a failure. */
static void test_nothing(void **state)
{
	struct iho_arena a = {};

	(void)state;
	iho_arena_reset(&a);
	assert_non_null(iho_arena_get(&a, 0, 8));
	assert_non_null(iho_arena_get(&a, 8, 0));
	iho_arena_reset(&a);
	assert_non_null(iho_arena_get(&a, 0, 8));
	iho_arena_free(&a);
	iho_arena_free(&a);
}

/* A size that no memory holds, or that does not fit into a size_t, is refused and harms nothing. */
static void test_too_much(void **state)
{
	struct iho_arena a = {};
	unsigned char *p;

	(void)state;
	assert_null(iho_arena_get(&a, SIZE_MAX, 1));
	assert_null(iho_arena_get(&a, SIZE_MAX / 8 + 2, 8));
	assert_null(iho_arena_get(&a, 1, SIZE_MAX));
	p = iho_arena_get(&a, 1, 100);
	assert_non_null(p);
	assert_true(is_zero(p, 100));
	assert_null(iho_arena_get(&a, SIZE_MAX - 7, 1));
	p[99] = 1;
	assert_true(is_zero(iho_arena_get(&a, 1, 100), 100));
	iho_arena_free(&a);
}

/* After a reset, chunks that are too small for a large piece are passed by, and freed all the same.
 */
static void test_large_after_small(void **state)
{
	struct iho_arena a = {};
	unsigned char *p;

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_non_null(iho_arena_get(&a, 60000, 1));
	iho_arena_reset(&a);
	p = iho_arena_get(&a, 500000, 1);
	assert_non_null(p);
	memset(p, 0xff, 500000);
	assert_true(is_zero(iho_arena_get(&a, 70000, 1), 70000));
	iho_arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_arrays),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_large_after_small),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
