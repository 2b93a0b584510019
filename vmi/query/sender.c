// SPDX-License-Identifier: GPL-2.0-or-later
#include "sender.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

/* As JSON, at the most: a newline, a quote and a backslash take two; a number takes 25. */
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

static int on_columns(void *arg, const char *const *names, size_t n)
{
	return send(arg, json_pack("{s:o}", "columns", sender_columns(names, n)));
}

/*
 * A result is written as text at once: trees of jansson's would take most of a statement's time.
 * row_bytes() is the room that a row needs.
 */
static char *put_text(char *to, const char *s, size_t n)
{
	*to++ = '"';
	for (size_t i = 0; i < n; i++) {
		switch (s[i]) {
		case '"':
		case '\\':
			*to++ = '\\';
			*to++ = s[i];
			break;
		case '\n':
			*to++ = '\\';
			*to++ = 'n';
			break;
		case '\t':
			*to++ = '\\';
			*to++ = 't';
			break;
		default: /* what is in a sink's texts: engine.h */
			*to++ = s[i];
		}
	}
	*to++ = '"';
	return to;
}

/* jansson writes it so that a reader gets the same number, and a real one. */
static char *put_double(char *to, double d)
{
	json_t *j = json_real(d); /* NULL: not finite, which JSON does not have */
	size_t n = j ? json_dumpb(j, to, 32, JSON_ENCODE_ANY) : 0;

	json_decref(j);
	if (n && n < 32)
		return to + n;
	memcpy(to, "null", 4);
	return to + 4;
}

static char *put_value(char *to, const struct vmi_value *v)
{
	switch (v->kind) {
	case VMI_V_INT:
		return vmi_decimal(to, v->i);
	case VMI_V_DOUBLE:
		return put_double(to, v->d);
	case VMI_V_TEXT:
		return put_text(to, v->s, v->n);
	case VMI_V_NULL:
		break;
	}
	memcpy(to, "null", 4);
	return to + 4;
}

static char *put_row(char *to, const struct vmi_value *v, size_t n)
{
	*to++ = '[';
	for (size_t i = 0; i < n; i++) {
		if (i)
			*to++ = ',';
		to = put_value(to, &v[i]);
	}
	*to++ = ']';
	return to;
}

char *sender_row(const struct vmi_value *v, size_t n)
{
	char *text = malloc(row_bytes(v, n) + 1);

	if (text)
		*put_row(text, v, n) = 0;
	return text;
}

static const char begin[] = "{\"rows\":[", end[] = "]}\n";

static int batch_for(struct sender *s, size_t bytes)
{
	size_t need = s->batch_bytes + sizeof(begin) + bytes + sizeof(end);
	char *p;

	if (need <= s->batch_room)
		return 0;
	p = realloc(s->batch, need + WORKER_BATCH_BYTES);
	if (!p)
		return -ENOMEM;
	s->batch = p;
	s->batch_room = need + WORKER_BATCH_BYTES;
	return 0;
}

static int flush(struct sender *s)
{
	size_t n = s->batch_bytes;
	int r;

	if (!n)
		return 0;
	memcpy(s->batch + n, end, sizeof(end) - 1);
	s->batch_bytes = 0;
	r = channel_send_line(s->channel, s->batch, n + sizeof(end) - 1, 0);
	if (r && !s->sent)
		s->sent = r;
	return r;
}

static int on_row(void *arg, const struct vmi_value *v, size_t n)
{
	struct sender *s = arg;
	size_t bytes = row_bytes(v, n);
	char *to;

	if (bytes > s->max - WORKER_BATCH_BYTES - 1024) {
		s->too_large = true;
		return -E2BIG;
	}
	if (batch_for(s, bytes))
		return -ENOMEM;
	to = s->batch + s->batch_bytes;
	if (s->batch_bytes) {
		*to++ = ',';
	} else {
		memcpy(to, begin, sizeof(begin) - 1);
		to += sizeof(begin) - 1;
	}
	to = put_row(to, v, n);
	s->batch_bytes = (size_t)(to - s->batch);
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
	free(s->batch);
	s->batch = NULL;
	s->batch_room = 0;
	if (s->too_large) {
		out->cut = true;
		snprintf(out->why, sizeof(out->why), "the result was cut: a row is too large");
	}
	return s->sent;
}
