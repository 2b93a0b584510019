// SPDX-License-Identifier: GPL-2.0-or-later
#include "broker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "../../userspace/lib/protocol.h"
#include "sender.h"
#include "session.h"
#include "worker.h"

/* Of a line to ihod, which puts who it is for before it. */
#define LINE_BYTES    (IHO_STATEMENT_LINE_BYTES / 2)
#define REQUEST_BYTES (128u << 10)
#define WATCHES	      16
#define WATCH_BYTES   (8u << 20)

/* Rows as compact JSON; sorted, they compare as a whole result does. */
struct rows {
	char **row;
	size_t n, room, bytes;
};

struct watch {
	int key; /* 0: free */
	bool begun;
	struct rows rows;
};

struct broker {
	struct channel channel;
	struct session *session;
	struct watch watches[WATCHES];
};

/* Between the session and who sends or keeps its rows: counts them. */
struct counter {
	struct vmi_sink to;
	uint64_t rows, bytes, max_rows, max_bytes;
	bool full;
};

static int count_columns(void *arg, const char *const *names, size_t n)
{
	struct counter *c = arg;

	return c->to.columns(c->to.arg, names, n);
}

static int count_row(void *arg, const struct vmi_value *v, size_t n)
{
	struct counter *c = arg;
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += v[i].kind == VMI_V_TEXT ? v[i].n : sizeof(v[i].i);
	if (c->rows + 1 > c->max_rows || c->bytes + bytes > c->max_bytes) {
		c->full = true;
		return -E2BIG;
	}
	c->rows++;
	c->bytes += bytes;
	return c->to.row(c->to.arg, v, n);
}

static int ask(struct broker *b, const char *sql, struct counter *c, struct vmi_outcome *out,
	       struct vmi_error *err)
{
	const struct vmi_sink sink = { .columns = count_columns, .row = count_row, .arg = c };
	int r = session_query(b->session, sql, &sink, out, err);

	if (!c->full)
		return r;
	out->cut = true;
	out->rows = c->rows;
	snprintf(out->why, sizeof(out->why),
		 "the result was cut: it has more rows or bytes than "
		 "were allowed");
	return r;
}

/* ---- what changed ---- */

static void rows_free(struct rows *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->row[i]);
	free(r->row);
	*r = (struct rows){};
}

static int rows_add(struct rows *r, char *text)
{
	if (!text)
		return -ENOMEM;
	if (r->n == r->room) {
		size_t room = r->room ? 2 * r->room : 64;
		char **p = realloc(r->row, room * sizeof(*p));

		if (!p) {
			free(text);
			return -ENOMEM;
		}
		r->row = p;
		r->room = room;
	}
	r->row[r->n++] = text;
	return 0;
}

struct collected {
	json_t *columns;
	struct rows rows;
	int failed;
};

static int keep_columns(void *arg, const char *const *names, size_t n)
{
	struct collected *c = arg;

	c->columns = sender_columns(names, n);
	return c->columns ? 0 : -ENOMEM;
}

static int keep_row(void *arg, const struct vmi_value *v, size_t n)
{
	struct collected *c = arg;
	char *text = sender_row(v, n);

	if (text && strlen(text) > LINE_BYTES - 2 * WORKER_BATCH_BYTES) {
		free(text);
		c->failed = -E2BIG;
	} else {
		c->failed = rows_add(&c->rows, text);
	}
	return c->failed;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Rows that go in lines of about WORKER_BATCH_BYTES, {"KEY":[ROW,...]}. */
struct batch {
	struct channel *channel;
	const char *key;
	FILE *line; /* NULL: none is begun */
	char *text; /* the line's */
	size_t bytes, n;
};

static int batch_flush(struct batch *b)
{
	FILE *line = b->line;
	int r;

	if (!line)
		return 0;
	b->line = NULL;
	fputs("]}\n", line);
	r = ferror(line) || fclose(line) ? -ENOMEM
					 : channel_send_line(b->channel, b->text, b->bytes, 0);
	free(b->text);
	b->text = NULL;
	return r;
}

static int batch_add(struct batch *b, const char *row)
{
	bool first = !b->line;

	if (first)
		b->line = open_memstream(&b->text, &b->bytes);
	if (!b->line)
		return -ENOMEM;
	if (first)
		fprintf(b->line, "{\"%s\":[%s", b->key, row);
	else
		fprintf(b->line, ",%s", row);
	b->n++;
	return ftell(b->line) >= (long)WORKER_BATCH_BYTES ? batch_flush(b) : 0;
}

/* All of `a` that is not in `b`; both are sorted, and may hold a row more than once. */
static int without(const struct rows *a, const struct rows *b, struct batch *out)
{
	size_t k = 0;
	int r = 0;

	for (size_t i = 0; i < a->n && !r; i++) {
		while (k < b->n && strcmp(b->row[k], a->row[i]) < 0)
			k++;
		if (k < b->n && !strcmp(b->row[k], a->row[i]))
			k++;
		else
			r = batch_add(out, a->row[i]);
	}
	return r ? r : batch_flush(out); /* what failed ends the broker */
}

static bool is_whole(const struct vmi_outcome *out)
{
	bool whole = !out->cut && !out->more_notes;

	for (size_t i = 0; i < out->n_notes; i++)
		whole = whole && out->notes[i].stop == VMI_STOP_NONE && !out->notes[i].torn;
	return whole;
}

static int tell_changes(struct broker *b, struct watch *w, struct collected *c,
			const struct vmi_outcome *out)
{
	struct batch added = { .channel = &b->channel, .key = "added" };
	struct batch removed = { .channel = &b->channel, .key = "removed" };
	int r = 0;

	if (!w->begun)
		r = channel_send(&b->channel, json_pack("{s:O}", "columns", c->columns), NULL, 0,
				 0);
	if (!r)
		r = without(&c->rows, &w->rows, &added);
	if (!r)
		r = without(&w->rows, &c->rows, &removed);
	if (!r && (!w->begun || added.n || removed.n))
		r = channel_send(&b->channel,
				 json_pack("{s:{s:I, s:I, s:I, s:b}}", "event", "added",
					   (json_int_t)added.n, "removed", (json_int_t)removed.n,
					   "rows", (json_int_t)c->rows.n, "whole", is_whole(out)),
				 NULL, 0, 0);
	if (r)
		return r;
	w->begun = true;
	rows_free(&w->rows);
	w->rows = c->rows;
	c->rows = (struct rows){};
	return 0;
}

static struct watch *find_watch(struct broker *b, int key)
{
	struct watch *unused = NULL;

	for (size_t i = 0; i < WATCHES; i++) {
		if (b->watches[i].key == key)
			return &b->watches[i];
		if (!b->watches[i].key)
			unused = &b->watches[i];
	}
	if (unused)
		unused->key = key;
	return unused;
}

static void forget_watches(struct broker *b, const json_t *alive)
{
	for (size_t i = 0; i < WATCHES; i++) {
		struct watch *w = &b->watches[i];
		bool wanted = false;

		for (size_t k = 0; k < json_array_size(alive); k++)
			wanted = wanted || json_integer_value(json_array_get(alive, k)) == w->key;
		if (wanted)
			continue;
		rows_free(&w->rows);
		*w = (struct watch){};
	}
}

/* ---- requests ---- */

static int done(struct broker *b, int r, const struct vmi_outcome *out, const struct vmi_error *err)
{
	return r ? sender_failure(&b->channel, r, err->text, out)
		 : channel_send(&b->channel,
				json_pack("{s:o}", "done", worker_outcome_to_json(out)), NULL, 0,
				0);
}

static int on_watch(struct broker *b, int key, const char *sql, struct counter *c)
{
	struct watch *w = find_watch(b, key);
	struct collected got = {};
	struct vmi_outcome out = {};
	struct vmi_error err = { "too many subscriptions of one VM" };
	int r = w ? 0 : -E2BIG, sent = 0;

	c->to = (struct vmi_sink){ .columns = keep_columns, .row = keep_row, .arg = &got };
	if (c->max_rows > IHO_WATCH_ROWS)
		c->max_rows = IHO_WATCH_ROWS;
	if (c->max_bytes > WATCH_BYTES)
		c->max_bytes = WATCH_BYTES;
	if (!r)
		r = ask(b, sql, c, &out, &err);
	if (!r && (c->full || got.failed)) {
		r = got.failed ? got.failed : -E2BIG;
		snprintf(err.text, sizeof(err.text), "%s",
			 r == -E2BIG ? "the result is too large to be watched" : "out of memory");
	}
	if (!r) {
		qsort(got.rows.row, got.rows.n, sizeof(*got.rows.row), by_text);
		sent = tell_changes(b, w, &got, &out);
	}
	json_decref(got.columns);
	rows_free(&got.rows);
	return sent ? sent : done(b, r, &out, &err);
}

static int on_query(struct broker *b, const char *sql, struct counter *c)
{
	struct vmi_outcome out = {};
	struct vmi_error err = {};
	struct sender s;
	int r;

	sender_begin(&s, &b->channel, LINE_BYTES);
	c->to = s.sink;
	r = ask(b, sql, c, &out, &err);
	return sender_end(&s, &out) ? s.sent : done(b, r, &out, &err);
}

static int on_request(struct broker *b, const json_t *request)
{
	const char *sql = json_string_value(json_object_get(request, "query"));
	const json_t *watch = json_object_get(request, "watch");
	struct counter c = {};

	if (json_object_get(request, "cancel"))
		return 0; /* it came too late */
	if (!sql)
		return -EPROTO;
	forget_watches(b, json_object_get(request, "alive"));
	c.max_rows = (uint64_t)json_integer_value(json_object_get(request, "rows"));
	c.max_bytes = (uint64_t)json_integer_value(json_object_get(request, "bytes"));
	if (channel_buffered(&b->channel))
		return sender_failure(&b->channel, -ECANCELED, "cancelled", NULL);
	return watch ? on_watch(b, (int)json_integer_value(watch), sql, &c) : on_query(b, sql, &c);
}

static int open_vm(struct broker *b, const json_t *request)
{
	const char *vm = json_string_value(json_object_get(request, "open"));
	struct session_options o = {
		.mode = SESSION_SELF,
		.limits = vmi_limits_default,
		.socket = json_string_value(json_object_get(request, "socket")),
		.watch_fd = true,
		.cancel_fd = WORKER_FD,
	};
	struct vmi_error err = {};
	int r;

	if (!vm)
		return -EPROTO;
	o.find.vm = *vm ? vm : NULL;
	r = session_open(&b->session, &o, &err);
	if (r) {
		sender_failure(&b->channel, r, err.text, NULL);
		return r;
	}
	return channel_send(&b->channel,
			    json_pack("{s:O}", "opened", (json_t *)session_about(b->session)), NULL,
			    0, 0);
}

int broker_main(void)
{
	struct broker b = {};
	json_t *open = NULL, *request;
	int r;

	prctl(PR_SET_NAME, "ihod-query");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	channel_init(&b.channel, WORKER_FD, REQUEST_BYTES, 0);
	r = channel_receive(&b.channel, &open, 0);
	if (!r)
		r = open_vm(&b, open);
	if (!r)
		b.channel.also = session_pidfd(b.session);
	while (!r) {
		r = channel_receive(&b.channel, &request, 0);
		if (!r) {
			r = on_request(&b, request);
			json_decref(request);
		}
	}
	session_close(b.session);
	forget_watches(&b, NULL);
	channel_close(&b.channel);
	json_decref(open);
	return r == -EPIPE || r == -EINTR ? 0 : 1;
}
