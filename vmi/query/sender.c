// SPDX-License-Identifier: GPL-2.0-or-later
#include "sender.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "worker.h"

static int send(struct sender *s, json_t *j)
{
	int r = channel_send(s->channel, j, NULL, 0, 0);

	if (r && !s->sent)
		s->sent = r;
	return r;
}

int sender_failure(struct channel *c, int code, const char *text, const struct vmi_outcome *out)
{
	json_t *j = json_pack("{s:{s:i, s:s}}", "failed", "code", code, "text", text);

	/* A sentence of SQLite's quotes the statement, and may cut it within a character. */
	if (!j) {
		char clean[sizeof(((struct vmi_error *)0)->text)];

		vmi_presentable(clean, text, strnlen(text, sizeof(clean) - 1));
		j = json_pack("{s:{s:i, s:s}}", "failed", "code", code, "text", clean);
	}
	if (j && out)
		json_object_set_new(j, "outcome", worker_outcome_to_json(out));
	return channel_send(c, j, NULL, 0, 0);
}

static int flush(struct sender *s)
{
	json_t *rows = s->batch;

	if (!rows)
		return 0;
	s->batch = NULL;
	s->batch_bytes = 0;
	return send(s, json_pack("{s:o}", "rows", rows));
}

static json_t *value_json(const struct vmi_value *v)
{
	switch (v->kind) {
	case VMI_V_INT:
		return json_integer(v->i);
	case VMI_V_DOUBLE:
		/* JSON has no infinity; SQLite itself makes NULL of what is no number. */
		return isfinite(v->d) ? json_real(v->d) : json_null();
	case VMI_V_TEXT:
		return json_stringn(v->s, v->n);
	case VMI_V_NULL:
		break;
	}
	return json_null();
}

/* As JSON, at the most: a newline, a quote and a backslash take two. */
static size_t row_bytes(const struct vmi_value *v, size_t n)
{
	size_t bytes = 64;

	for (size_t i = 0; i < n; i++)
		bytes += v[i].kind == VMI_V_TEXT ? 2 * v[i].n + 4 : 32;
	return bytes;
}

json_t *sender_columns(const char *const *names, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++) {
		size_t len = strnlen(names[i], 1000);
		char clean[1001];

		vmi_presentable(clean, names[i], len);
		json_array_append_new(a, json_string(clean));
	}
	return a;
}

json_t *sender_row(const struct vmi_value *v, size_t n)
{
	json_t *row = json_array();

	for (size_t i = 0; i < n; i++) {
		if (json_array_append_new(row, value_json(&v[i]))) {
			json_decref(row);
			return NULL;
		}
	}
	return row;
}

static int on_columns(void *arg, const char *const *names, size_t n)
{
	return send(arg, json_pack("{s:o}", "columns", sender_columns(names, n)));
}

static int on_row(void *arg, const struct vmi_value *v, size_t n)
{
	struct sender *s = arg;
	size_t bytes = row_bytes(v, n);
	json_t *row;

	if (bytes > s->max - WORKER_BATCH_BYTES - 1024) {
		s->too_large = true;
		return -E2BIG;
	}
	row = sender_row(v, n);
	if (!row)
		return -ENOMEM;
	if (!s->batch)
		s->batch = json_array();
	if (!s->batch || json_array_append_new(s->batch, row))
		return -ENOMEM;
	s->batch_bytes += bytes;
	return s->batch_bytes >= WORKER_BATCH_BYTES ? flush(s) : 0;
}

void sender_begin(struct sender *s, struct channel *c, size_t max)
{
	*s = (struct sender){ .sink = { .columns = on_columns, .row = on_row, .arg = s },
			      .channel = c,
			      .max = max };
}

int sender_end(struct sender *s, struct vmi_outcome *out)
{
	flush(s);
	if (s->too_large) {
		out->cut = true;
		snprintf(out->why, sizeof(out->why), "the result was cut: a row is too large");
	}
	return s->sent;
}
