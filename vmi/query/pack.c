// SPDX-License-Identifier: GPL-2.0-or-later
#include "pack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pack_file.h"

#define HELD_BYTES   (128u << 20) /* of all results that are kept to compare with */
#define HELD_ROWS    100000u /* of one */
#define ROW_BYTES    96 /* what a row costs beside its text */
#define REDISCOVER_S 3600 /* as osquery's pack_refresh_interval */

/* A result: rows as JSON objects of texts, keys in order, so that equal rows are equal texts. */
struct result {
	char **row;
	size_t n, room, bytes;
};

struct query {
	const struct pack_query *q;
	uint64_t due_s;
	uint64_t counter;
	struct result last;
};

struct run {
	struct session *session;
	struct pack *pack;
	struct query *query;
	enum query_format kind;
	const char *host;
	size_t held;
	bool active; /* as the discovery queries said */
	uint64_t discover_s;
};

/* ---- results ---- */

static void drop(struct result *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->row[i]);
	free(r->row);
	*r = (struct result){};
}

struct collect {
	const struct run *run;
	struct result rows;
	char **names;
	size_t n_names;
	int err;
};

static int on_columns(void *arg, const char *const *names, size_t n)
{
	struct collect *c = arg;

	c->names = calloc(n, sizeof(*c->names));
	c->n_names = c->names ? n : 0;
	c->err = c->names ? format_unique(names, n, c->names) : -ENOMEM;
	return c->err;
}

/* As osquery has them: texts all, NULL is an empty one. */
static json_t *cell(const struct vmi_value *v)
{
	char text[40];

	switch (v->kind) {
	case VMI_V_INT:
		snprintf(text, sizeof(text), "%" PRId64, v->i);
		break;
	case VMI_V_DOUBLE:
		snprintf(text, sizeof(text), "%.15g", v->d);
		break;
	case VMI_V_TEXT:
		return json_stringn(v->s, v->n);
	default:
		text[0] = 0;
	}
	return json_string(text);
}

static int on_row(void *arg, const struct vmi_value *v, size_t n)
{
	struct collect *c = arg;
	struct result *r = &c->rows;
	json_t *row = json_object();
	char *text;

	for (size_t i = 0; i < n && i < c->n_names; i++)
		json_object_set_new(row, c->names[i], cell(&v[i]));
	text = json_dumps(row, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(row);
	if (r->n == r->room) {
		size_t room = r->room ? 2 * r->room : 64;
		char **more = reallocarray(r->row, room, sizeof(*more));

		if (more) {
			r->row = more;
			r->room = room;
		}
	}
	if (!text || r->n == r->room) {
		free(text);
		return c->err = -ENOMEM;
	}
	r->row[r->n++] = text;
	r->bytes += strlen(text) + ROW_BYTES;
	if (r->n > HELD_ROWS || c->run->held + r->bytes > HELD_BYTES)
		return c->err = -E2BIG;
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* ---- lines ---- */

/* What all lines have, up to the rows. */
static void begin_line(const struct run *run, const struct query *q)
{
	time_t now = time(NULL);
	char name[1200], date[64];
	struct tm tm;
	json_t *head;

	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a %b %e %H:%M:%S %Y UTC", &tm);
	snprintf(name, sizeof(name), "pack/%.500s/%.500s", run->pack->name, q->q->name);
	head = json_pack("{s:o?, s:o?, s:s, s:I, s:i, s:I, s:b, s:{}}", "name", json_string(name),
			 "hostIdentifier", json_string(run->host), "calendarTime", date, "unixTime",
			 (json_int_t)now, "epoch", 0, "counter", (json_int_t)q->counter, "numerics",
			 0, "decorations");
	if (head) {
		char *text = json_dumps(head, JSON_COMPACT);

		if (text) {
			text[strlen(text) - 1] = 0;
			fputs(text, stdout);
		}
		free(text);
	}
	json_decref(head);
}

static void print_row(const struct run *run, const struct query *q, const char *row, bool added)
{
	begin_line(run, q);
	printf(",\"columns\":%s,\"action\":\"%s\"}\n", row, added ? "added" : "removed");
}

static void print_snapshot(const struct run *run, const struct query *q, const struct result *r)
{
	begin_line(run, q);
	fputs(",\"snapshot\":[", stdout);
	for (size_t i = 0; i < r->n; i++)
		printf("%s%s", i ? "," : "", r->row[i]);
	fputs("],\"action\":\"snapshot\"}\n", stdout);
}

/* Both are sorted; a row that is there twice counts twice. */
static void print_changes(const struct run *run, const struct query *q, const struct result *now)
{
	const struct result *was = &q->last;
	size_t a = 0, b = 0;

	while (a < was->n || b < now->n) {
		int order = a == was->n ? 1 : b == now->n ? -1 : strcmp(was->row[a], now->row[b]);

		if (order < 0 && q->q->removed)
			print_row(run, q, was->row[a], false);
		else if (order > 0)
			print_row(run, q, now->row[b], true);
		a += order <= 0;
		b += order >= 0;
	}
}

static void status(const struct run *run, const char *name, const char *why)
{
	char text[900];

	snprintf(text, sizeof(text), "pack/%.200s/%.100s: %.500s", run->pack->name, name, why);
	say_error(run->kind, false, text);
}

static void partial(const struct run *run, const char *name, const struct vmi_outcome *out)
{
	char text[900];

	for (size_t i = 0; i < out->n_notes; i++) {
		const struct vmi_note *n = &out->notes[i];

		if (n->stop == VMI_STOP_NONE)
			continue;
		snprintf(text, sizeof(text), "pack/%.200s/%.100s: %s is not whole: %s",
			 run->pack->name, name, n->table, vmi_stop_text(n->stop));
		say_warning(run->kind, text);
	}
	if (out->cut)
		status(run, name, out->why);
}

/* ---- queries ---- */

/* The guest, or ihod: no other query would be answered either. */
static bool is_gone(int r)
{
	return r == -EIO || r == -ENOTCONN;
}

/* 0; is_gone(); other failures are told, and are the query's own. */
static int collect(const struct run *run, const char *name, const char *sql, struct collect *c)
{
	const struct vmi_sink sink = { .columns = on_columns, .row = on_row, .arg = c };
	struct vmi_outcome out;
	struct vmi_error err = {};
	int r;

	*c = (struct collect){ .run = run };
	r = session_query(run->session, sql, &sink, &out, &err);
	for (size_t i = 0; i < c->n_names; i++)
		free(c->names[i]);
	free(c->names);
	if (!r && c->err) {
		r = c->err;
		snprintf(err.text, sizeof(err.text), "%s",
			 r == -E2BIG ? "its result is too large to be kept" : "out of memory");
	}
	if (!r)
		partial(run, name, &out);
	/* A result that was cut would tell the rest as removed. */
	if (!r && out.cut)
		r = -E2BIG;
	else if (r)
		status(run, name, err.text);
	if (r)
		drop(&c->rows);
	else if (c->rows.n)
		qsort(c->rows.row, c->rows.n, sizeof(*c->rows.row), by_text);
	return r;
}

static int run_query(struct run *run, struct query *q)
{
	struct collect c;
	int r = collect(run, q->q->name, q->q->sql, &c);

	if (r)
		return is_gone(r) ? r : 0;
	if (q->q->snapshot) {
		print_snapshot(run, q, &c.rows);
		drop(&c.rows);
	} else {
		print_changes(run, q, &c.rows);
		run->held += c.rows.bytes - q->last.bytes;
		drop(&q->last);
		q->last = c.rows;
	}
	q->counter++;
	return 0;
}

/* All of them must have rows. */
static int discover(struct run *run, uint64_t now)
{
	run->active = true;
	run->discover_s = now + REDISCOVER_S;
	for (size_t i = 0; i < run->pack->n_discovery && run->active; i++) {
		struct collect c;
		int r = collect(run, "discovery", run->pack->discovery[i], &c);

		run->active = !r && c.rows.n;
		drop(&c.rows);
		if (is_gone(r))
			return r;
	}
	return 0;
}

static uint64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec;
}

/* Runs what is due, and returns when the next is; 0: the guest is gone. */
static uint64_t run_due(struct run *run, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	if (run->pack->n_discovery && now >= run->discover_s && discover(run, now))
		return 0;
	for (size_t i = 0; i < run->pack->n; i++) {
		struct query *q = &run->query[i];

		if (now >= q->due_s) {
			if (run->active && run_query(run, q))
				return 0;
			q->due_s = now + q->q->interval_s;
		}
		next = q->due_s < next ? q->due_s : next;
	}
	return next;
}

static int schedule(struct run *run, bool once)
{
	for (;;) {
		uint64_t next = run_due(run, now_s());
		struct timespec t = { .tv_sec = (time_t)next };

		if (fflush(stdout) || ferror(stdout)) {
			say_error(run->kind, false, "cannot write to standard output");
			return 1;
		}
		if (once || !next)
			return next ? 0 : 1;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	}
}

/* What of the file does not run is said. */
static void tell_left(const struct run *run)
{
	const struct pack *p = run->pack;
	char text[400];

	if (p->elsewhere) {
		snprintf(text, sizeof(text),
			 "pack/%.200s is for another platform, or not for this shard: nothing runs",
			 p->name);
		say_warning(run->kind, text);
	} else if (p->left_out) {
		snprintf(text, sizeof(text),
			 "pack/%.200s: %zu queries are for another platform or shard", p->name,
			 p->left_out);
		say_warning(run->kind, text);
	}
	if (!p->wrong)
		return;
	snprintf(text, sizeof(text), "pack/%.200s: %zu queries have no text, or no valid interval",
		 p->name, p->wrong);
	say_warning(run->kind, text);
}

int pack_run(struct session *s, const char *file, enum query_format kind, bool once)
{
	struct run run = { .session = s, .kind = kind, .active = true };
	struct vmi_error err = {};
	int r;

	run.host = json_string_value(json_object_get(session_about(s), "name"));
	if (!run.host)
		run.host = "";
	if (pack_load(&run.pack, file, run.host, &err)) {
		say_error(kind, true, err.text);
		return 1;
	}
	tell_left(&run);
	run.query = calloc(run.pack->n + 1, sizeof(*run.query));
	if (!run.query) {
		say_error(kind, true, "out of memory");
		r = 1;
	} else if (run.pack->elsewhere || !run.pack->n) {
		r = 0;
	} else {
		for (size_t i = 0; i < run.pack->n; i++)
			run.query[i].q = &run.pack->query[i];
		r = schedule(&run, once);
	}
	for (size_t i = 0; run.query && i < run.pack->n; i++)
		drop(&run.query[i].last);
	free(run.query);
	pack_free(run.pack);
	return r;
}
