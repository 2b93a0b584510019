// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SQL over tables: what is pushed down to a table, what a statement may do, and that none gets more
 * time, memory or rows than allowed. The tables are made up here; the guest is empty.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../vmi/sql/engine.h"

/* ---- numbers: n, square, name; 0 to 999, or what n is to equal ---- */

static struct {
	unsigned int runs, rows;
	uint64_t columns;
	bool want_n, want_name;
	int64_t n;
	char name[64];
} seen;

enum { COL_N, COL_SQUARE, COL_NAME, COL_SECRET };

static const struct vmi_column number_columns[] = {
	[COL_N] = { "n", VMI_INTEGER, "the number", .index = true },
	[COL_SQUARE] = { "square", VMI_INTEGER, "n * n" },
	[COL_NAME] = { "name", VMI_TEXT, "in words of a sort", .index = true },
	[COL_SECRET] = { "secret", VMI_INTEGER, "not part of *", .hidden = true },
};

static int number_rows(struct vmi_rows *r)
{
	int64_t from = 0, to = 999;
	const char *name;

	seen.runs++;
	seen.columns = 0;
	for (unsigned int i = 0; i < 4; i++)
		seen.columns |= (uint64_t)vmi_wants(r, i) << i;
	seen.want_n = vmi_want_int(r, COL_N, &seen.n);
	seen.want_name = vmi_want_str(r, COL_NAME, &name);
	if (seen.want_name)
		snprintf(seen.name, sizeof(seen.name), "%s", name);
	if (seen.want_n)
		from = to = seen.n;
	for (int64_t n = from; n <= to && n >= 0 && n <= 999; n++) {
		vmi_row(r);
		vmi_int(r, COL_N, n);
		vmi_int(r, COL_SQUARE, n * n);
		vmi_strf(r, COL_NAME, "n%d", (int)n);
		vmi_int(r, COL_SECRET, -n);
		if (n == 13)
			vmi_row_torn(r);
		seen.rows++;
		if (vmi_row_end(r))
			break;
	}
	return 0;
}

static const struct vmi_table numbers = {
	.name = "numbers",
	.doc = "Numbers.",
	.columns = number_columns,
	.n_columns = 4,
	.rows = number_rows,
};

/* ---- endless: rows until somebody stops it; broken: an error ---- */

static const struct vmi_column one_column[] = {
	[0] = { .name = "x", .type = VMI_TEXT, .doc = "a text" }
};

static struct vmi_engine *engine;
static unsigned long cancel_at; /* the row at which somebody does; 0: nobody */

static int endless_rows(struct vmi_rows *r)
{
	unsigned long n = 0;

	do {
		if (++n == cancel_at)
			vmi_engine_cancel(engine);
		vmi_step(vmi_rows_walk(r));
		vmi_row(r);
		vmi_str(r, 0, "\xff\x01ok\xc3\xa9");
	} while (!vmi_row_end(r));
	return 0;
}

static const struct vmi_table endless = { .name = "endless",
					  .doc = "Endless.",
					  .columns = one_column,
					  .n_columns = 1,
					  .rows = endless_rows };

static int broken_rows(struct vmi_rows *r)
{
	return vmi_rows_error(r, "broken: the list leads nowhere");
}

static const struct vmi_table broken = { .name = "broken",
					 .doc = "Broken.",
					 .columns = one_column,
					 .n_columns = 1,
					 .rows = broken_rows };

static const struct vmi_table deep = { .name = "deep",
				       .doc = "Needs types.",
				       .needs = VMI_LEVEL_TYPES,
				       .columns = one_column,
				       .n_columns = 1,
				       .rows = broken_rows };

static int host_rows(struct vmi_rows *r)
{
	json_t *a = vmi_rows_host(r, "vms");

	if (!a)
		return -EINVAL;
	for (size_t i = 0; i < json_array_size(a); i++) {
		vmi_row(r);
		vmi_str(r, 0, json_string_value(json_array_get(a, i)));
		vmi_row_end(r);
	}
	json_decref(a);
	return 0;
}

static const struct vmi_table host = { .name = "host",
				       .doc = "Of the host.",
				       .columns = one_column,
				       .n_columns = 1,
				       .rows = host_rows };

static const struct vmi_table *const tables[] = { &broken, &deep, &endless, &host, &numbers, NULL };

/* ---- running statements ---- */

static struct vmi_guest guest = { .level = VMI_LEVEL_MEMORY, .missing = "there is no Linux" };
static struct vmi_outcome outcome;
static struct vmi_error error;
static char text[1 << 16]; /* a result: "a|b\n1|2\n", NULL is "-" */
static size_t text_len, max_sink_rows;

static void add(const char *s)
{
	size_t n = strlen(s);

	if (text_len + n < sizeof(text)) {
		memcpy(text + text_len, s, n + 1);
		text_len += n;
	}
}

static int sink_columns(void *arg, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		add(i ? "|" : "");
		add(names[i]);
	}
	add("\n");
	return 0;
}

static int sink_row(void *arg, const struct vmi_value *v, size_t n)
{
	char number[40];

	for (size_t i = 0; i < n; i++) {
		add(i ? "|" : "");
		if (v[i].kind == VMI_V_DOUBLE)
			snprintf(number, sizeof(number), "%.6g", v[i].d);
		else
			snprintf(number, sizeof(number), "%" PRId64, v[i].i);
		add(v[i].kind == VMI_V_TEXT ? v[i].s : v[i].kind == VMI_V_NULL ? "-" : number);
	}
	add("\n");
	return max_sink_rows && !--max_sink_rows;
}

static int query(const char *sql)
{
	const struct vmi_sink sink = { .columns = sink_columns, .row = sink_row };

	memset(&seen, 0, sizeof(seen));
	text_len = 0;
	text[0] = 0;
	return vmi_engine_query(engine, sql, &sink, &outcome, &error);
}

static void gives(const char *sql, const char *want)
{
	int r = query(sql);

	if (r)
		print_message("%s: %s\n", sql, error.text);
	assert_int_equal(r, 0);
	assert_string_equal(strchr(text, '\n') + 1, want);
}

static void fails(const char *sql, int code, const char *part)
{
	assert_int_equal(query(sql), code);
	if (!strstr(error.text, part))
		print_message("%s: %s\n", sql, error.text);
	assert_non_null(strstr(error.text, part));
	assert_null(strchr(error.text, '\n'));
}

static json_t *host_answer(void *arg, const char *topic, struct vmi_error *err)
{
	return json_pack("[s, s]", topic, "b");
}

static int setup_with(const struct vmi_limits *limits)
{
	const struct vmi_engine_options o = { .limits = *limits,
					      .tables = tables,
					      .host = host_answer };

	return vmi_engine_open(&engine, &guest, &o, &error);
}

static int setup(void **state)
{
	return setup_with(&vmi_limits_default);
}

static int setup_small(void **state)
{
	struct vmi_limits l = vmi_limits_default;

	l.rows = 10;
	l.ns = 300000000;
	l.bytes = 10000;
	l.walk.steps = 1000;
	return setup_with(&l);
}

static int teardown(void **state)
{
	vmi_engine_close(engine);
	engine = NULL;
	return 0;
}

/* ---- tests ---- */

static void test_reads(void **state)
{
	gives("SELECT n, square, name FROM numbers WHERE n > 997",
	      "998|996004|n998\n999|998001|n999\n");
	assert_int_equal(outcome.rows, 2);
	gives("SELECT * FROM numbers WHERE n = 2;", "2|4|n2\n");
	gives("SELECT secret, torn FROM numbers WHERE n IN (2, 13) ;-- and that is all\n",
	      "-2|0\n-13|1\n");
	gives("SELECT count(*) FROM numbers", "1000\n");
	gives("SELECT NULL, 1.5, x'00ff', char(9, 233)", "-|1.5|00FF|\t\xc3\xa9\n");
	gives("WITH RECURSIVE c(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM c WHERE i < 4) "
	      "SELECT sum(i) FROM c",
	      "10\n");
	gives("SELECT name FROM pragma_table_info('numbers')", "n\nsquare\nname\n");
	assert_int_equal(query("SELECT n AS a, 'x' FROM numbers WHERE 0"), 0);
	assert_string_equal(text, "a|'x'\n");
	assert_int_equal(query("EXPLAIN QUERY PLAN SELECT * FROM numbers"), 0);
}

static void test_pushes_down(void **state)
{
	gives("SELECT square FROM numbers WHERE n = 7", "49\n");
	assert_true(seen.want_n);
	assert_int_equal(seen.n, 7);
	assert_int_equal(seen.rows, 1);
	assert_int_equal(seen.columns, 1 << COL_N | 1 << COL_SQUARE);
	gives("SELECT square FROM numbers WHERE n = '7'", "49\n");
	assert_int_equal(seen.rows, 1);
	gives("SELECT square FROM numbers WHERE n = 7.0", "49\n");
	gives("SELECT square FROM numbers WHERE n = 7.5", "");
	gives("SELECT square FROM numbers WHERE n = 'seven'", "");
	gives("SELECT square FROM numbers WHERE n = NULL", "");
	assert_int_equal(seen.runs, 0);
	gives("SELECT square FROM numbers WHERE n IS NULL", "");
	gives("SELECT square FROM numbers WHERE n = 3 AND n = 4", "");
	gives("SELECT square FROM numbers WHERE n = 9223372036854775807", "");
	gives("SELECT n FROM numbers WHERE name = 'n5'", "5\n");
	assert_true(seen.want_name);
	assert_string_equal(seen.name, "n5");
	/* a comparison that the table does not make in SQLite's way is not its business */
	gives("SELECT n FROM numbers WHERE name = 'N5' COLLATE NOCASE", "5\n");
	assert_false(seen.want_name);
	gives("SELECT n FROM numbers WHERE name = 'n5' || char(0)", "");
	gives("SELECT n FROM numbers WHERE name = x'6e35'", "");
	gives("SELECT n FROM numbers WHERE square = 25", "5\n");
	assert_false(seen.want_n);
	gives("SELECT count(*) FROM numbers WHERE n = 7 OR name = 'n8'", "2\n");
}

static void test_limit(void **state)
{
	gives("SELECT n FROM numbers LIMIT 3", "0\n1\n2\n");
	assert_int_equal(seen.rows, 3);
	assert_int_equal(outcome.n_notes, 0);
	gives("SELECT n FROM numbers LIMIT 2 OFFSET 4", "4\n5\n");
	assert_int_equal(seen.rows, 6);
	gives("SELECT n FROM numbers LIMIT 2 OFFSET -4", "0\n1\n");
	gives("SELECT n FROM numbers LIMIT 0", "");
	gives("SELECT n FROM numbers LIMIT -1 OFFSET 998", "998\n999\n");
	gives("SELECT n FROM numbers ORDER BY n DESC LIMIT 2", "999\n998\n");
	gives("SELECT n FROM numbers WHERE square > 100 LIMIT 2", "11\n12\n");
	gives("SELECT DISTINCT n % 2 FROM numbers LIMIT 2", "0\n1\n");
	gives("SELECT count(*) FROM numbers LIMIT 1", "1000\n");
	gives("SELECT a.n FROM numbers a, numbers b WHERE b.n = a.n LIMIT 2", "0\n1\n");
	gives("SELECT n FROM numbers WHERE n = 8 LIMIT 1", "8\n");
	gives("SELECT n FROM numbers WHERE n % 10 = 9 LIMIT 1", "9\n");
	gives("SELECT * FROM (SELECT n FROM numbers LIMIT 3) WHERE n = 2", "2\n");
}

/* However often a join comes back to a table, the guest is walked once. */
static void test_walks_once(void **state)
{
	gives("SELECT count(*) FROM numbers a, numbers b WHERE a.square = b.square", "1000\n");
	assert_in_range(seen.runs, 1, 2);
	gives("SELECT count(*) FROM numbers a JOIN numbers b ON a.n = b.n % 50", "1000\n");
	assert_in_range(seen.runs, 2, 200);
	gives("SELECT (SELECT count(*) FROM numbers) - (SELECT count(*) FROM numbers)", "0\n");
	/* another statement sees another state */
	gives("SELECT count(*) FROM numbers", "1000\n");
	assert_int_equal(seen.runs, 1);
}

static void test_only_reads(void **state)
{
	static const char *const denied[] = {
		"CREATE TABLE t(x)",
		"CREATE TEMP TABLE t AS SELECT 1",
		"CREATE VIEW v AS SELECT 1",
		"CREATE TRIGGER t AFTER INSERT ON numbers BEGIN SELECT 1; END",
		"INSERT INTO numbers(n) VALUES (1)",
		"DELETE FROM numbers",
		"UPDATE numbers SET n = 1",
		"DELETE FROM sqlite_master",
		"DROP TABLE numbers",
		"ATTACH '/tmp/iho-engine-test' AS f",
		"ATTACH ':memory:' AS f",
		"DETACH main",
		"VACUUM INTO '/tmp/iho-engine-test'",
		"BEGIN",
		"SAVEPOINT s",
		"ANALYZE",
		"PRAGMA writable_schema = 1",
		"PRAGMA temp_store_directory = '/tmp'",
		"PRAGMA hard_heap_limit = 0",
		"CREATE VIRTUAL TABLE t USING fts5(x)",
		"CREATE VIRTUAL TABLE t USING numbers",
		"SELECT load_extension('/tmp/x.so')",
		"SELECT fts3_tokenizer('simple')",
		"SELECT * FROM pragma_database_list",
		"SELECT * FROM dbstat",
		"SELECT * FROM sqlite_stmt",
	};

	for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
		int r = query(denied[i]);

		if (r != -EPERM && r != -EINVAL)
			print_message("%s: %d %s\n", denied[i], r, text);
		assert_true(r == -EPERM || r == -EINVAL);
		assert_true(error.text[0]);
	}
	fails("CREATE TABLE t(x)", -EPERM, "only reading statements are allowed, not a change");
	fails("SELECT load_extension('x')", -EPERM, "only reading");
	assert_int_equal(access("/tmp/iho-engine-test", F_OK), -1);
	gives("SELECT 1", "1\n");
}

static void test_wrong(void **state)
{
	fails("", -EINVAL, "there is no statement");
	fails(" -- nothing\n;", -EINVAL, "there is no statement");
	fails("SELEC 1", -EINVAL, "syntax error");
	fails("SELECT * FROM nowhere", -EINVAL, "no such table: nowhere");
	fails("SELECT 1; SELECT 2", -EINVAL, "one statement at a time");
	fails("SELECT 1; nonsense", -EINVAL, "one statement at a time");
	fails("SELECT * FROM broken", -EINVAL, "broken: the list leads nowhere");
	fails("SELECT * FROM deep", -EINVAL, "there is no Linux");
	fails("SELECT n, * FROM numbers WHERE", -EINVAL, "");
	gives("SELECT * FROM host", "vms\nb\n");
}

static void test_torn(void **state)
{
	gives("SELECT count(*), sum(torn) FROM numbers", "1000|1\n");
	assert_int_equal(outcome.n_notes, 1);
	assert_string_equal(outcome.notes[0].table, "numbers");
	assert_int_equal(outcome.notes[0].stop, VMI_STOP_NONE);
	assert_int_equal(outcome.notes[0].torn, 1);
}

/* A walk that its budget ends keeps its rows, and says so; texts come out presentable. */
static void test_partial(void **state)
{
	gives("SELECT count(*) > 900, min(x), max(x) FROM endless",
	      "1|\?\?ok\xc3\xa9|\?\?ok\xc3\xa9\n");
	assert_int_equal(outcome.n_notes, 1);
	assert_string_equal(outcome.notes[0].table, "endless");
	assert_int_equal(outcome.notes[0].stop, VMI_STOP_STEPS);
	assert_true(outcome.steps >= 1000);
	gives("SELECT CAST(x'61ff00e2' AS TEXT)", "a???\n");
}

static void test_cut(void **state)
{
	assert_int_equal(query("SELECT n FROM numbers"), 0);
	assert_int_equal(outcome.rows, 10);
	assert_true(outcome.cut);
	assert_non_null(strstr(outcome.why, "rows"));
	gives("SELECT n FROM numbers LIMIT 10", "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
	assert_false(outcome.cut);
	assert_int_equal(query("SELECT hex(zeroblob(4000)) FROM numbers"), 0);
	assert_int_equal(outcome.rows, 1);
	assert_true(outcome.cut);
	max_sink_rows = 2;
	gives("SELECT n FROM numbers", "0\n1\n");
	assert_false(outcome.cut);
}

static void test_bombs(void **state)
{
	static const char *const slow[] = {
		"WITH RECURSIVE c(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM c) SELECT max(i) "
		"FROM c",
		"SELECT count(*) FROM numbers a, numbers b, numbers c",
		"SELECT count(*) FROM numbers a, numbers b, numbers c WHERE a.n + b.n + c.n < 0 "
		"ORDER BY a.n",
	};
	static const char *const large[] = {
		"SELECT zeroblob(1000000000)",
		"SELECT zeroblob(3000000) || zeroblob(3000000)",
		"SELECT group_concat(hex(zeroblob(40000))) FROM numbers",
		"SELECT replace(hex(zeroblob(100000)), '0', hex(zeroblob(10000)))",
	};

	for (size_t i = 0; i < sizeof(slow) / sizeof(slow[0]); i++) {
		fails(slow[i], -ETIME, "took longer than 0.300 s");
		assert_in_range(outcome.ns, 300000000, 3000000000);
	}
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
		int r = query(large[i]);

		if (r != -EINVAL && r != -ENOMEM)
			print_message("%s: %d %s\n", large[i], r, error.text);
		assert_true(r == -EINVAL || r == -ENOMEM);
	}
	gives("SELECT 1", "1\n");
}

/* Memory: a sorter that holds all it is given must run into the limit, not into the host's. */
static void test_memory(void **state)
{
	int r = query(
		"WITH RECURSIVE c(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM c "
		"WHERE i < 1000000) SELECT i, hex(zeroblob(400)) || i AS x FROM c ORDER BY x");

	assert_true(r == -ENOMEM || r == -ETIME);
	gives("SELECT 1", "1\n");
}

static void test_long(void **state)
{
	size_t n = 100000;
	char *sql = malloc(n + 1);

	memset(sql, ' ', n);
	memcpy(sql, "SELECT 1", 8);
	sql[n] = 0;
	assert_int_equal(query(sql), -EINVAL);
	memset(sql, '(', 40000);
	memcpy(sql, "SELECT ", 7);
	sql[40000] = 0;
	assert_int_equal(query(sql), -EINVAL);
	free(sql);
}

static void on_alarm(int sig)
{
	vmi_engine_cancel(engine);
}

static void test_cancel(void **state)
{
	const struct itimerval soon = { .it_value.tv_usec = 50000 };

	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &soon, NULL);
	fails("SELECT count(*) FROM numbers a, numbers b, numbers c", -ECANCELED, "cancelled");
	gives("SELECT 1", "1\n");
	cancel_at = 1000;
	fails("SELECT count(*) FROM endless", -ECANCELED, "cancelled");
	cancel_at = 0;
	assert_int_equal(outcome.notes[0].stop, VMI_STOP_CANCELLED);
}

static void test_functions(void **state)
{
	gives("SELECT split('a:b;; c ', ':;', 2), split('a', ':', 1), split(NULL, ':', 0)",
	      "c|-|-\n");
	gives("SELECT regex_match('/usr/bin/ls', '^/(\\w+)/(.*)$', 2), regex_match('x', 'y', 0), "
	      "regex_match('abc', 'b', 0), regex_match('abc', 'b', 1)",
	      "bin/ls|-|b|-\n");
	gives("SELECT regex_split('a1b22c', '[0-9]+', 2), regex_split('abc', '', 0)", "c|abc\n");
	gives("SELECT 'abc' REGEXP '^a.c$', 'abc' REGEXP 'x'", "1|0\n");
	gives("SELECT concat('a', NULL, 1), concat_ws('-', 'a', NULL, 'b'), concat()", "a1|a-b|\n");
	gives("SELECT inet_aton('10.0.0.1'), inet_aton('10.0.0'), inet_aton('x')",
	      "167772161|-|-\n");
	gives("SELECT in_cidr_block('10.0.0.0/8', '10.9.8.7'), in_cidr_block('10.0.0.0/8', "
	      "'11.0.0.1'), "
	      "in_cidr_block('fe80::/10', 'fe80::1'), in_cidr_block('10.0.0.0/8', '::1'), "
	      "in_cidr_block('10.0.0.0', '10.0.0.1')",
	      "1|0|1|0|-\n");
	gives("SELECT version_compare('1.10', '1.9'), version_compare('6.1.0-9', '6.1.0-10'), "
	      "version_compare('1.0', '1.0'), version_compare('1.0', '1.0.1')",
	      "1|-1|0|-1\n");
	gives("SELECT md5(''), sha1('abc')",
	      "d41d8cd98f00b204e9800998ecf8427e|a9993e364706816aba3e25717850c26c9cd0d89d\n");
	gives("SELECT sha256('abc')",
	      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n");
	gives("SELECT to_base64('hello'), from_base64('aGVsbG8='), from_base64('?')",
	      "aGVsbG8=|hello|-\n");
	fails("SELECT regex_match('a', '(', 0)", -EINVAL, "pattern");
	fails("SELECT regex_match(hex(zeroblob(2000)), '(0+)+(0+)+[xy]', 0)", -EINVAL, "work");
	gives("SELECT sqrt(16), json_extract('{\"a\": 3}', '$.a')", "4|3\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pushes_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_walks_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_functions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_partial, setup_small, teardown),
		cmocka_unit_test_setup_teardown(test_cut, setup_small, teardown),
		cmocka_unit_test_setup_teardown(test_bombs, setup_small, teardown),
	};

	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
