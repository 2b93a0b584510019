// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Each table is an eponymous-only virtual table: it is there without CREATE, and cannot be created
 * again. A scan's rows are all made before the first is handed over, and kept until the statement
 * ends: a join that scans a table for each row of another walks the guest once, and the statement
 * sees one state of it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

/* The rows of a table, as a statement asked for them. */
struct scan {
	struct scan *next;
	const struct vmi_table *table;
	uint64_t columns, max_rows;
	struct vmi_want wants[WANTS_MAX]; /* texts are ours */
	size_t n_wants;
	struct vmi_rows *rows;
	unsigned int users; /* cursors */
	bool kept; /* in the engine's list */
};

struct table {
	sqlite3_vtab base;
	struct module *module;
};

struct cursor {
	sqlite3_vtab_cursor base;
	struct scan *scan; /* NULL: no row can fit */
	size_t row;
};

/* ---- scans ---- */

static void scan_free(struct scan *s)
{
	for (size_t i = 0; i < s->n_wants; i++)
		if (s->wants[i].value.kind == VMI_V_TEXT)
			free((char *)s->wants[i].value.s);
	vmi_rows_close(s->rows);
	free(s);
}

static void scan_put(struct scan *s)
{
	if (!s)
		return;
	s->users--;
	if (!s->users && !s->kept)
		scan_free(s);
}

void scans_drop(struct vmi_engine *e)
{
	while (e->scans) {
		struct scan *s = e->scans;

		e->scans = s->next;
		s->kept = false;
		if (!s->users)
			scan_free(s);
	}
	e->n_scans = 0;
}

/* The oldest goes. */
static void scans_trim(struct vmi_engine *e)
{
	struct scan **at = &e->scans, *s;

	if (e->n_scans <= SCANS_MAX)
		return;
	while ((*at)->next)
		at = &(*at)->next;
	s = *at;
	*at = NULL;
	e->n_scans--;
	s->kept = false;
	if (!s->users)
		scan_free(s);
}

static bool value_equal(const struct vmi_value *a, const struct vmi_value *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == VMI_V_TEXT)
		return a->n == b->n && !memcmp(a->s, b->s, a->n);
	return a->i == b->i;
}

/* Made with the same wishes, it serves whoever needs no more columns and rows. */
static bool scan_serves(const struct scan *s, const struct scan *like)
{
	if (s->table != like->table || like->columns & ~s->columns || s->n_wants != like->n_wants ||
	    s->max_rows != like->max_rows)
		return false;
	for (size_t i = 0; i < s->n_wants; i++)
		if (s->wants[i].column != like->wants[i].column ||
		    !value_equal(&s->wants[i].value, &like->wants[i].value))
			return false;
	return true;
}

static struct vmi_note *note_of(struct vmi_outcome *out, const char *table, enum vmi_stop stop,
				const char *where)
{
	struct vmi_note *n;

	for (size_t i = 0; i < out->n_notes; i++) {
		n = &out->notes[i];
		if (!strcmp(n->table, table) && n->stop == stop && !strcmp(n->where, where))
			return n;
	}
	if (out->n_notes == sizeof(out->notes) / sizeof(out->notes[0])) {
		out->more_notes++;
		return NULL;
	}
	n = &out->notes[out->n_notes++];
	n->stop = stop;
	snprintf(n->table, sizeof(n->table), "%s", table);
	snprintf(n->where, sizeof(n->where), "%s", where);
	return n;
}

static void account(struct vmi_engine *e, const struct scan *s)
{
	const struct vmi_walk *w = vmi_rows_walked(s->rows);
	uint64_t torn = vmi_rows_torn(s->rows);
	struct vmi_note *n;

	e->out->steps += w->steps;
	e->out->guest_bytes += w->bytes;
	if (w->stop == VMI_STOP_NONE && !torn)
		return;
	n = note_of(e->out, s->table->name, w->stop, w->stop == VMI_STOP_NONE ? "" : w->where);
	if (n)
		n->torn += torn;
}

static int scan_run(struct vmi_engine *e, struct scan *s, struct vmi_error *err)
{
	struct vmi_budget budget = e->o.limits.walk;
	uint64_t now = engine_now_ns();
	struct vmi_run run = {
		.budget = &budget,
		.columns = s->columns,
		.wants = s->wants,
		.n_wants = s->n_wants,
		.max_rows = s->max_rows,
		.cancel = &e->cancel,
		.host = e->o.host,
		.host_arg = e->o.host_arg,
	};
	int r;

	if (now >= e->deadline_ns)
		return -ETIME;
	if (budget.ns > e->deadline_ns - now)
		budget.ns = e->deadline_ns - now;
	r = vmi_rows_open(&s->rows, e->guest, s->table);
	if (r)
		snprintf(err->text, sizeof(err->text), "%s: %s", s->table->name, strerror(-r));
	else
		r = vmi_rows_run(s->rows, &run, err);
	if (r && !err->text[0])
		snprintf(err->text, sizeof(err->text), "%s: %s", s->table->name, strerror(-r));
	if (!r)
		account(e, s);
	return r;
}

/* Takes over `like`. *out has a user more. */
static int scan_get(struct vmi_engine *e, struct scan *like, struct scan **out,
		    struct vmi_error *err)
{
	int r;

	for (struct scan *s = e->scans; s; s = s->next) {
		if (!scan_serves(s, like))
			continue;
		scan_free(like);
		s->users++;
		*out = s;
		return 0;
	}
	r = scan_run(e, like, err);
	if (r) {
		scan_free(like);
		return r;
	}
	like->users = 1;
	like->kept = true;
	like->next = e->scans;
	e->scans = like;
	e->n_scans++;
	scans_trim(e);
	*out = like;
	return 0;
}

/* ---- a table ---- */

static const char *const type_names[] = {
	[VMI_TEXT] = "TEXT",
	[VMI_INTEGER] = "INTEGER",
	[VMI_DOUBLE] = "DOUBLE",
};

static int on_connect(sqlite3 *db, void *arg, int argc, const char *const *argv, sqlite3_vtab **out,
		      char **message)
{
	struct module *m = arg;
	sqlite3_str *s = sqlite3_str_new(db);
	struct table *t;
	char *sql;
	int r;

	sqlite3_str_appendall(s, "CREATE TABLE x(");
	for (size_t i = 0; i < m->table->n_columns; i++) {
		const struct vmi_column *c = &m->table->columns[i];

		sqlite3_str_appendf(s, "\"%w\" %s%s, ", c->name, type_names[c->type],
				    c->hidden ? " HIDDEN" : "");
	}
	sqlite3_str_appendall(s, "torn INTEGER HIDDEN)");
	sql = sqlite3_str_finish(s);
	if (!sql)
		return SQLITE_NOMEM;
	r = sqlite3_declare_vtab(db, sql);
	sqlite3_free(sql);
	if (r)
		return r;
	t = sqlite3_malloc(sizeof(*t));
	if (!t)
		return SQLITE_NOMEM;
	*t = (struct table){ .module = m };
	*out = &t->base;
	return SQLITE_OK;
}

static int on_disconnect(sqlite3_vtab *v)
{
	sqlite3_free(v);
	return SQLITE_OK;
}

/* An equality that may be handed to the table: its text compares bytes, as the table will. */
static bool usable(const struct vmi_table *t, sqlite3_index_info *info, int i)
{
	int column = info->aConstraint[i].iColumn;

	return info->aConstraint[i].usable &&
	       info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_EQ && column >= 0 &&
	       (size_t)column < t->n_columns && t->columns[column].index &&
	       !sqlite3_stricmp(sqlite3_vtab_collation(info, i), "BINARY");
}

/*
 * LIMIT is of use only where every row counts: no other condition, no order. SQLite applies OFFSET
 * and LIMIT itself all the same.
 */
static bool limit_only(const sqlite3_index_info *info)
{
	for (int i = 0; i < info->nConstraint; i++) {
		int op = info->aConstraint[i].op;

		if (!info->aConstraint[i].usable ||
		    (op != SQLITE_INDEX_CONSTRAINT_LIMIT && op != SQLITE_INDEX_CONSTRAINT_OFFSET))
			return false;
	}
	return info->nConstraint && !info->nOrderBy;
}

/* The plan, for on_filter(): "COLUMNS[,NUMBER]...[,L][,O]", in the order of its arguments. */
static int on_best_index(sqlite3_vtab *v, sqlite3_index_info *info)
{
	const struct vmi_table *t = ((struct table *)v)->module->table;
	sqlite3_str *s = sqlite3_str_new(NULL);
	uint64_t taken = 0;
	bool limit = limit_only(info);
	int n = 0;

	sqlite3_str_appendf(s, "%llx", (unsigned long long)info->colUsed);
	for (int i = 0; i < info->nConstraint; i++) {
		int column = info->aConstraint[i].iColumn;

		if (limit) {
			info->aConstraintUsage[i].argvIndex = ++n;
			sqlite3_str_appendf(s, ",%s",
					    info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_LIMIT
						    ? "L"
						    : "O");
		} else if (n < WANTS_MAX && usable(t, info, i) && !(taken >> column & 1)) {
			taken |= 1ULL << column;
			info->aConstraintUsage[i].argvIndex = ++n;
			sqlite3_str_appendf(s, ",%d", column);
		}
	}
	info->idxStr = sqlite3_str_finish(s);
	if (!info->idxStr)
		return SQLITE_NOMEM;
	info->needToFreeIdxStr = 1;
	info->estimatedCost = taken ? 100 : 10000;
	info->estimatedRows = taken ? 10 : 1000;
	return SQLITE_OK;
}

static int on_open(sqlite3_vtab *v, sqlite3_vtab_cursor **out)
{
	struct cursor *c = sqlite3_malloc(sizeof(*c));

	if (!c)
		return SQLITE_NOMEM;
	*c = (struct cursor){};
	*out = &c->base;
	return SQLITE_OK;
}

static int on_close(sqlite3_vtab_cursor *vc)
{
	struct cursor *c = (struct cursor *)vc;

	scan_put(c->scan);
	sqlite3_free(c);
	return SQLITE_OK;
}

enum fit { FIT_NONE, FIT_ANY, FIT_VALUE, FIT_NOMEM };

/*
 * What the column is to equal, by the rules of its affinity (SQLite: datatype3.html): '1' equals
 * the integer 1. FIT_NONE: no row can; FIT_ANY: SQLite must compare by itself.
 */
static enum fit want_value(const struct vmi_column *c, sqlite3_value *v, struct vmi_value *out)
{
	const char *text;

	if (sqlite3_value_type(v) == SQLITE_NULL)
		return FIT_NONE;
	if (c->type == VMI_INTEGER) {
		if (sqlite3_value_numeric_type(v) != SQLITE_INTEGER)
			return FIT_ANY;
		*out = (struct vmi_value){ .kind = VMI_V_INT, .i = sqlite3_value_int64(v) };
		return FIT_VALUE;
	}
	if (c->type != VMI_TEXT || sqlite3_value_type(v) == SQLITE_BLOB)
		return FIT_ANY;
	text = (const char *)sqlite3_value_text(v);
	if (!text)
		return FIT_NOMEM;
	out->kind = VMI_V_TEXT;
	out->n = (size_t)sqlite3_value_bytes(v);
	/* Where it ends for a table, which takes a C string, it must end for SQLite too. */
	if (strlen(text) != out->n)
		return FIT_NONE;
	out->s = strdup(text);
	return out->s ? FIT_VALUE : FIT_NOMEM;
}

/* LIMIT and OFFSET add up; a negative LIMIT is none, a negative OFFSET is 0. */
static void add_limit(struct scan *s, char kind, sqlite3_value *v)
{
	int64_t n = sqlite3_value_int64(v);

	if (n > VMI_ROWS_MAX || (kind == 'L' && n < 0))
		n = VMI_ROWS_MAX;
	if (n > 0)
		s->max_rows += (uint64_t)n;
	if (s->max_rows > VMI_ROWS_MAX)
		s->max_rows = VMI_ROWS_MAX;
}

/* What on_best_index() planned, with values. */
static enum fit scan_plan(struct scan *s, const char *plan, int argc, sqlite3_value **argv)
{
	enum fit worst = FIT_VALUE, fit;
	char *p;

	s->columns = strtoull(plan, &p, 16);
	for (int i = 0; i < argc && *p == ','; i++) {
		p++;
		if (*p == 'L' || *p == 'O') {
			add_limit(s, *p++, argv[i]);
			continue;
		}
		s->wants[s->n_wants].column = strtoul(p, &p, 10);
		fit = want_value(&s->table->columns[s->wants[s->n_wants].column], argv[i],
				 &s->wants[s->n_wants].value);
		if (fit == FIT_VALUE)
			s->n_wants++;
		else if (fit == FIT_NOMEM)
			return fit;
		else if (fit == FIT_NONE)
			worst = FIT_NONE;
	}
	return worst;
}

static int on_filter(sqlite3_vtab_cursor *vc, int number, const char *plan, int argc,
		     sqlite3_value **argv)
{
	struct cursor *c = (struct cursor *)vc;
	struct module *m = ((struct table *)vc->pVtab)->module;
	struct scan *s = calloc(1, sizeof(*s));
	struct vmi_error err = {};
	enum fit fit;

	scan_put(c->scan);
	c->scan = NULL;
	c->row = 0;
	if (!s)
		return SQLITE_NOMEM;
	s->table = m->table;
	fit = scan_plan(s, plan, argc, argv);
	if (fit != FIT_VALUE) {
		scan_free(s);
		return fit == FIT_NONE ? SQLITE_OK : SQLITE_NOMEM;
	}
	switch (scan_get(m->engine, s, &c->scan, &err)) {
	case 0:
		return SQLITE_OK;
	case -ENOMEM:
		return SQLITE_NOMEM;
	case -ETIME:
		return SQLITE_INTERRUPT;
	}
	sqlite3_free(vc->pVtab->zErrMsg);
	vc->pVtab->zErrMsg = sqlite3_mprintf("%s", err.text);
	return SQLITE_ERROR;
}

static int on_next(sqlite3_vtab_cursor *vc)
{
	((struct cursor *)vc)->row++;
	return SQLITE_OK;
}

static int on_eof(sqlite3_vtab_cursor *vc)
{
	struct cursor *c = (struct cursor *)vc;

	return !c->scan || c->row >= vmi_rows_count(c->scan->rows);
}

static int on_column(sqlite3_vtab_cursor *vc, sqlite3_context *ctx, int i)
{
	struct cursor *c = (struct cursor *)vc;
	struct vmi_value v;

	vmi_rows_value(c->scan->rows, c->row, (unsigned int)i, &v);
	switch (v.kind) {
	case VMI_V_NULL:
		sqlite3_result_null(ctx);
		break;
	case VMI_V_INT:
		sqlite3_result_int64(ctx, v.i);
		break;
	case VMI_V_DOUBLE:
		sqlite3_result_double(ctx, v.d);
		break;
	case VMI_V_TEXT:
		sqlite3_result_text64(ctx, v.s, v.n, SQLITE_TRANSIENT, SQLITE_UTF8);
		break;
	}
	return SQLITE_OK;
}

static int on_rowid(sqlite3_vtab_cursor *vc, sqlite3_int64 *id)
{
	*id = (sqlite3_int64)((struct cursor *)vc)->row;
	return SQLITE_OK;
}

static const sqlite3_module methods = {
	.iVersion = 1,
	.xConnect = on_connect,
	.xDisconnect = on_disconnect,
	.xBestIndex = on_best_index,
	.xOpen = on_open,
	.xClose = on_close,
	.xFilter = on_filter,
	.xNext = on_next,
	.xEof = on_eof,
	.xColumn = on_column,
	.xRowid = on_rowid,
};

/*
 * A virtual table declares its columns by a CREATE TABLE, which a statement may not do: so each is
 * connected now, before the authorizer is there, and stays so.
 */
static int module_connect(sqlite3 *db, const char *name)
{
	char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\"", name);
	sqlite3_stmt *stmt = NULL;
	int r = sql ? sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) : SQLITE_NOMEM;

	sqlite3_finalize(stmt);
	sqlite3_free(sql);
	return r;
}

int modules_register(struct vmi_engine *e)
{
	/* of SQLite's own, these may be used */
	static const char *const own[] = { "json_each", "json_tree", "pragma_table_info",
					   "pragma_table_xinfo" };
	const struct vmi_table *const *tables = e->o.tables ? e->o.tables : vmi_tables;
	int r = SQLITE_OK;
	size_t n = 0;

	while (tables[n])
		n++;
	e->modules = calloc(n + 1, sizeof(*e->modules));
	if (!e->modules)
		return SQLITE_NOMEM;
	for (size_t i = 0; i < n && !r; i++) {
		e->modules[i] = (struct module){ e, tables[i] };
		r = sqlite3_create_module(e->db, tables[i]->name, &methods, &e->modules[i]);
		if (!r)
			r = module_connect(e->db, tables[i]->name);
	}
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]) && !r; i++)
		r = module_connect(e->db, own[i]);
	return r;
}
