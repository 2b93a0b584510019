// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine_internal.h"

#define HEAP_BYTES   (96 << 20) /* SQLite's, of all engines of this process */
#define VALUE_BYTES  (1 << 20)
#define PROGRESS_OPS 2000 /* of SQLite's machine between two looks at the clock */

const struct vmi_limits vmi_limits_default = {
	.rows = 1000000,
	.bytes = 64 << 20,
	.ns = 10000000000,
	.walk = { .steps = 20000000, .bytes = 1ULL << 30, .ns = 5000000000 },
};

uint64_t engine_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- what a statement may do ---- */

static const struct {
	int action;
	const char *what;
} denied_names[] = {
	{ SQLITE_ALTER_TABLE, "ALTER TABLE" },
	{ SQLITE_ANALYZE, "ANALYZE" },
	{ SQLITE_ATTACH, "ATTACH" },
	{ SQLITE_CREATE_INDEX, "CREATE INDEX" },
	{ SQLITE_CREATE_TABLE, "CREATE TABLE" },
	{ SQLITE_CREATE_TEMP_INDEX, "CREATE INDEX" },
	{ SQLITE_CREATE_TEMP_TABLE, "CREATE TABLE" },
	{ SQLITE_CREATE_TEMP_TRIGGER, "CREATE TRIGGER" },
	{ SQLITE_CREATE_TEMP_VIEW, "CREATE VIEW" },
	{ SQLITE_CREATE_TRIGGER, "CREATE TRIGGER" },
	{ SQLITE_CREATE_VIEW, "CREATE VIEW" },
	{ SQLITE_CREATE_VTABLE, "CREATE VIRTUAL TABLE" },
	{ SQLITE_DELETE, "DELETE" },
	{ SQLITE_DETACH, "DETACH" },
	{ SQLITE_DROP_TABLE, "DROP TABLE" },
	{ SQLITE_FUNCTION, "this function" },
	{ SQLITE_INSERT, "INSERT" },
	{ SQLITE_PRAGMA, "this PRAGMA" },
	{ SQLITE_REINDEX, "REINDEX" },
	{ SQLITE_SAVEPOINT, "SAVEPOINT" },
	{ SQLITE_TRANSACTION, "a transaction" },
	{ SQLITE_UPDATE, "UPDATE" },
};

static int deny(struct vmi_engine *e, int action, const char *table)
{
	if (e->denied)
		return SQLITE_DENY;
	e->denied = "this";
	if (table && !sqlite3_strnicmp(table, "sqlite_", 7)) {
		e->denied = "a change of the schema";
		return SQLITE_DENY;
	}
	for (size_t i = 0; i < sizeof(denied_names) / sizeof(denied_names[0]); i++)
		if (denied_names[i].action == action)
			e->denied = denied_names[i].what;
	return SQLITE_DENY;
}

static bool listed(const char *const *list, const char *name)
{
	for (; name && *list; list++)
		if (!sqlite3_stricmp(*list, name))
			return true;
	return false;
}

/*
 * Reading is all there is to allow. Functions: those that reach out of the database, or take C
 * pointers, are not for strangers.
 */
static int authorize(void *arg, int action, const char *a, const char *b, const char *db,
		     const char *by)
{
	static const char *const pragmas[] = { "table_info", "table_xinfo", NULL };
	static const char *const functions[] = { "load_extension", "fts3_tokenizer", NULL };
	struct vmi_engine *e = arg;

	switch (action) {
	case SQLITE_SELECT:
	case SQLITE_READ:
	case SQLITE_RECURSIVE:
		return SQLITE_OK;
	case SQLITE_FUNCTION:
		return listed(functions, b) ? deny(e, action, NULL) : SQLITE_OK;
	case SQLITE_PRAGMA:
		return listed(pragmas, a) ? SQLITE_OK : deny(e, action, NULL);
	}
	return deny(e, action, a);
}

static int on_progress(void *arg)
{
	struct vmi_engine *e = arg;

	return e->cancel || (e->deadline_ns && engine_now_ns() >= e->deadline_ns);
}

static void set_limits(sqlite3 *db)
{
	static const struct {
		int id, value;
	} limits[] = {
		{ SQLITE_LIMIT_LENGTH, VALUE_BYTES },
		{ SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES_MAX },
		{ SQLITE_LIMIT_COLUMN, SQL_COLUMNS_MAX },
		{ SQLITE_LIMIT_EXPR_DEPTH, 200 },
		{ SQLITE_LIMIT_COMPOUND_SELECT, 100 },
		{ SQLITE_LIMIT_VDBE_OP, 1000000 },
		{ SQLITE_LIMIT_FUNCTION_ARG, 100 },
		{ SQLITE_LIMIT_ATTACHED, 0 },
		{ SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000 },
		{ SQLITE_LIMIT_VARIABLE_NUMBER, 100 },
		{ SQLITE_LIMIT_TRIGGER_DEPTH, 1 },
		{ SQLITE_LIMIT_WORKER_THREADS, 0 },
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		sqlite3_limit(db, limits[i].id, limits[i].value);
}

/* ---- life ---- */

static int prepare_database(struct vmi_engine *e)
{
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY |
			  SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
	int r;

	sqlite3_hard_heap_limit64(HEAP_BYTES);
	r = sqlite3_open_v2(":memory:", &e->db, flags, NULL);
	if (r)
		return r;
	sqlite3_extended_result_codes(e->db, 0);
	sqlite3_db_config(e->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(e->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(e->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
	sqlite3_db_config(e->db, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0, NULL);
	sqlite3_db_config(e->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(e->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	/* A sorter that grows has no file to go to: the sandbox has none. */
	r = sqlite3_exec(e->db, "PRAGMA temp_store = memory; PRAGMA cell_size_check = 1", NULL,
			 NULL, NULL);
	if (!r)
		r = functions_register(e->db);
	if (!r)
		r = modules_register(e);
	if (!r)
		set_limits(e->db);
	sqlite3_set_authorizer(e->db, authorize, e);
	sqlite3_progress_handler(e->db, PROGRESS_OPS, on_progress, e);
	return r;
}

int vmi_engine_open(struct vmi_engine **out, struct vmi_guest *g,
		    const struct vmi_engine_options *o, struct vmi_error *err)
{
	struct vmi_engine *e = calloc(1, sizeof(*e));
	int r;

	*out = NULL;
	if (!e) {
		snprintf(err->text, sizeof(err->text), "out of memory");
		return -ENOMEM;
	}
	e->guest = g;
	e->o = *o;
	r = prepare_database(e);
	if (r) {
		snprintf(err->text, sizeof(err->text), "cannot prepare SQLite: %s",
			 e->db ? sqlite3_errmsg(e->db) : sqlite3_errstr(r));
		vmi_engine_close(e);
		return r == SQLITE_NOMEM ? -ENOMEM : -EIO;
	}
	*out = e;
	return 0;
}

void vmi_engine_close(struct vmi_engine *e)
{
	if (!e)
		return;
	scans_drop(e);
	sqlite3_close(e->db);
	free(e->modules);
	free(e);
}

void vmi_engine_cancel(struct vmi_engine *e)
{
	e->cancel = 1;
}

/* ---- a statement ---- */

static int fail(struct vmi_engine *e, int code, struct vmi_error *err)
{
	uint64_t s = e->o.limits.ns / 1000000000;
	const char *why = sqlite3_errmsg(e->db);

	if (e->denied) {
		snprintf(err->text, sizeof(err->text),
			 "only reading statements are allowed, not %s", e->denied);
		return -EPERM;
	}
	switch (code & 0xff) {
	case SQLITE_INTERRUPT:
		if (e->cancel) {
			snprintf(err->text, sizeof(err->text), "the statement was cancelled");
			return -ECANCELED;
		}
		snprintf(err->text, sizeof(err->text),
			 "the statement took longer than %llu.%03llu s", (unsigned long long)s,
			 (unsigned long long)(e->o.limits.ns / 1000000 % 1000));
		return -ETIME;
	case SQLITE_NOMEM:
		snprintf(err->text, sizeof(err->text),
			 "the statement needs more memory than it may have");
		return -ENOMEM;
	case SQLITE_AUTH:
		snprintf(err->text, sizeof(err->text), "%s", why);
		return -EPERM;
	}
	snprintf(err->text, sizeof(err->text), "%s", why);
	return -EINVAL;
}

/* White space, comments and semicolons may follow, another statement may not. */
static int only_statement(struct vmi_engine *e, const char *tail, struct vmi_error *err)
{
	while (*tail) {
		sqlite3_stmt *more = NULL;
		const char *next;
		int r = sqlite3_prepare_v2(e->db, tail, -1, &more, &next);

		sqlite3_finalize(more);
		if (r || more) {
			snprintf(err->text, sizeof(err->text),
				 "one statement at a time: there is more behind the semicolon");
			return -EINVAL;
		}
		if (next == tail)
			break;
		tail = next;
	}
	return 0;
}

static int prepare(struct vmi_engine *e, const char *sql, sqlite3_stmt **out, struct vmi_error *err)
{
	const char *tail;
	int r;

	if (strlen(sql) > SQL_BYTES_MAX) {
		snprintf(err->text, sizeof(err->text), "a statement has %u bytes at most",
			 SQL_BYTES_MAX);
		return -EINVAL;
	}
	r = sqlite3_prepare_v2(e->db, sql, -1, out, &tail);
	if (r)
		return fail(e, r, err);
	if (!*out) {
		snprintf(err->text, sizeof(err->text), "there is no statement");
		return -EINVAL;
	}
	if (!sqlite3_stmt_readonly(*out)) {
		snprintf(err->text, sizeof(err->text), "only reading statements are allowed");
		return -EPERM;
	}
	return only_statement(e, tail, err);
}

static int send_columns(sqlite3_stmt *stmt, const struct vmi_sink *sink, size_t n)
{
	const char **names = calloc(n + 1, sizeof(*names));
	int r;

	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		names[i] = sqlite3_column_name(stmt, (int)i);
		if (!names[i])
			names[i] = "";
	}
	r = sink->columns(sink->arg, names, n);
	free(names);
	return r;
}

/*
 * A value on its way out. A blob goes as hexadecimal digits, and a text that SQL made is made
 * presentable as the tables' are: it may hold bytes that are none, or a NUL.
 */
static int take_value(sqlite3_stmt *stmt, int i, struct vmi_value *v, char **owned)
{
	static const char digits[] = "0123456789ABCDEF";
	const unsigned char *p;

	*owned = NULL;
	*v = (struct vmi_value){ .kind = VMI_V_NULL };
	switch (sqlite3_column_type(stmt, i)) {
	case SQLITE_INTEGER:
		v->kind = VMI_V_INT;
		v->i = sqlite3_column_int64(stmt, i);
		return 0;
	case SQLITE_FLOAT:
		v->kind = VMI_V_DOUBLE;
		v->d = sqlite3_column_double(stmt, i);
		return 0;
	case SQLITE_NULL:
		return 0;
	case SQLITE_TEXT:
		/* As a blob: SQLite would move a text to have room for its NUL. Empty is NULL. */
		p = sqlite3_column_blob(stmt, i);
		v->n = (size_t)sqlite3_column_bytes(stmt, i);
		*owned = malloc(v->n + 1);
		if (!*owned || (v->n && !p))
			return -ENOMEM;
		vmi_presentable(*owned, (const char *)p, v->n);
		break;
	default:
		p = sqlite3_column_blob(stmt, i);
		v->n = 2 * (size_t)sqlite3_column_bytes(stmt, i);
		*owned = malloc(v->n + 1);
		if (!*owned || (v->n && !p))
			return -ENOMEM;
		for (size_t k = 0; k < v->n / 2; k++) {
			(*owned)[2 * k] = digits[p[k] >> 4];
			(*owned)[2 * k + 1] = digits[p[k] & 15];
		}
		(*owned)[v->n] = 0;
	}
	v->kind = VMI_V_TEXT;
	v->s = *owned;
	return 0;
}

/* 1: enough. */
static int send_row(struct vmi_engine *e, sqlite3_stmt *stmt, const struct vmi_sink *sink,
		    struct vmi_value *values, char **owned, size_t n, uint64_t *bytes)
{
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		if (!r)
			r = take_value(stmt, (int)i, &values[i], &owned[i]);
		*bytes += values[i].kind == VMI_V_TEXT ? values[i].n : 8;
	}
	if (!r && (e->out->rows >= e->o.limits.rows || *bytes > e->o.limits.bytes)) {
		e->out->cut = true;
		snprintf(e->out->why, sizeof(e->out->why), "the result was cut: %s",
			 e->out->rows >= e->o.limits.rows ? "it has too many rows"
							  : "it has too many bytes");
		r = 1;
	}
	if (!r && sink->row(sink->arg, values, n))
		r = 1;
	else if (!r)
		e->out->rows++;
	for (size_t i = 0; i < n; i++) {
		free(owned[i]);
		owned[i] = NULL;
		values[i] = (struct vmi_value){ .kind = VMI_V_NULL };
	}
	return r;
}

static int run(struct vmi_engine *e, sqlite3_stmt *stmt, const struct vmi_sink *sink,
	       struct vmi_error *err)
{
	size_t n = (size_t)sqlite3_column_count(stmt);
	struct vmi_value *values = calloc(n + 1, sizeof(*values));
	char **owned = calloc(n + 1, sizeof(*owned));
	uint64_t bytes = 0;
	int r = 0, step = SQLITE_DONE;

	if (!values || !owned)
		r = -ENOMEM;
	if (!r)
		r = send_columns(stmt, sink, n) ? 1 : 0;
	while (!r && (step = sqlite3_step(stmt)) == SQLITE_ROW)
		r = send_row(e, stmt, sink, values, owned, n, &bytes);
	if (r == -ENOMEM)
		snprintf(err->text, sizeof(err->text), "out of memory");
	else if (r > 0)
		r = 0;
	else if (step != SQLITE_DONE)
		r = fail(e, step, err);
	free(values);
	free(owned);
	return r;
}

int vmi_engine_query(struct vmi_engine *e, const char *sql, const struct vmi_sink *sink,
		     struct vmi_outcome *out, struct vmi_error *err)
{
	uint64_t start = engine_now_ns();
	sqlite3_stmt *stmt = NULL;
	int r;

	*out = (struct vmi_outcome){};
	err->text[0] = 0;
	e->cancel = 0;
	e->out = out;
	e->denied = NULL;
	e->deadline_ns = start + e->o.limits.ns;
	r = prepare(e, sql, &stmt, err);
	if (!r)
		r = run(e, stmt, sink, err);
	sqlite3_finalize(stmt);
	scans_drop(e);
	e->deadline_ns = 0;
	e->out = NULL;
	out->ns = engine_now_ns() - start;
	return r;
}
