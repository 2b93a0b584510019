// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker.h"

void stream_begin(struct stream *s, const struct vmi_sink *sink, const struct vmi_limits *limits)
{
	*s = (struct stream){ .sink = sink, .limits = *limits };
}

void stream_end(struct stream *s)
{
	free(s->values);
	free(s->scratch);
	*s = (struct stream){};
}

static int take_columns(struct stream *s, const json_t *names)
{
	const char *list[SQL_COLUMNS_MAX];
	size_t n = json_array_size(names);
	int r = 0;

	if (!json_is_array(names) || s->n || !n || n > SQL_COLUMNS_MAX)
		return -EPROTO;
	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(names, i));
		size_t len = json_string_length(json_array_get(names, i));
		char *clean = name && len <= 1000 ? malloc(len + 1) : NULL;

		list[i] = clean;
		if (clean)
			vmi_presentable(clean, name, len);
		else
			r = name && len <= 1000 ? -ENOMEM : -EPROTO;
	}
	s->values = calloc(n, sizeof(*s->values));
	s->n = n;
	if (!r && !s->values)
		r = -ENOMEM;
	if (!r && s->sink->columns(s->sink->arg, list, n))
		s->enough = true;
	for (size_t i = 0; i < n; i++)
		free((char *)list[i]);
	return r;
}

static size_t texts_bytes(const json_t *row)
{
	size_t bytes = 0;

	for (size_t i = 0; i < json_array_size(row); i++)
		bytes += json_string_length(json_array_get(row, i)) + 1;
	return bytes;
}

static int scratch_for(struct stream *s, size_t bytes)
{
	char *p;

	if (bytes <= s->scratch_room)
		return 0;
	p = realloc(s->scratch, 2 * bytes);
	if (!p)
		return -ENOMEM;
	s->scratch = p;
	s->scratch_room = 2 * bytes;
	return 0;
}

static int take_value(const json_t *j, struct vmi_value *v, char **text)
{
	*v = (struct vmi_value){ .kind = VMI_V_NULL };
	switch (j ? json_typeof(j) : JSON_OBJECT) {
	case JSON_NULL:
		return 0;
	case JSON_INTEGER:
		v->kind = VMI_V_INT;
		v->i = json_integer_value(j);
		return 0;
	case JSON_REAL:
		v->kind = VMI_V_DOUBLE;
		v->d = json_real_value(j);
		return 0;
	case JSON_STRING:
		v->kind = VMI_V_TEXT;
		v->n = json_string_length(j);
		v->s = *text;
		vmi_presentable(*text, json_string_value(j), v->n);
		*text += v->n + 1;
		return 0;
	default:
		return -EPROTO;
	}
}

static int take_row(struct stream *s, const json_t *row)
{
	size_t bytes = texts_bytes(row);
	char *text;
	int r = 0;

	if (json_array_size(row) != s->n)
		return -EPROTO;
	s->bytes += bytes;
	/* The sender counts by the same limits; numbers and ends of texts are counted otherwise. */
	if (++s->rows > s->limits.rows || s->bytes > 2 * s->limits.bytes + s->rows * 8 * s->n)
		return -EPROTO;
	if (s->enough)
		return 0;
	if (scratch_for(s, bytes))
		return -ENOMEM;
	text = s->scratch;
	for (size_t i = 0; i < s->n && !r; i++)
		r = take_value(json_array_get(row, i), &s->values[i], &text);
	if (!r && s->sink->row(s->sink->arg, s->values, s->n))
		s->enough = true;
	return r;
}

static int take_rows(struct stream *s, const json_t *rows)
{
	int r = json_is_array(rows) && s->n ? 0 : -EPROTO;

	for (size_t i = 0; i < json_array_size(rows) && !r; i++)
		r = take_row(s, json_array_get(rows, i));
	return r;
}

int stream_failure(const json_t *message, struct vmi_error *err)
{
	static const int known[] = { -EINVAL, -EPERM,  -ETIME,	 -ECANCELED, -ENOMEM, -EIO,
				     -ENOENT, -ESRCH,  -EACCES,	 -ENOTSUP,   -EFAULT, -EOVERFLOW,
				     -E2BIG,  -EEXIST, -EBADMSG, -ESTALE };
	const json_t *failed = json_object_get(message, "failed");
	const char *text = json_string_value(json_object_get(failed, "text"));
	int code = (int)json_integer_value(json_object_get(failed, "code"));

	if (!text)
		return -EPROTO;
	vmi_presentable(err->text, text, strnlen(text, sizeof(err->text) - 1));
	for (char *p = err->text; *p; p++)
		if (*p == '\n' || *p == '\t')
			*p = ' ';
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (code == known[i])
			return code;
	return -EIO;
}

static int take_failure(const json_t *message, struct vmi_outcome *out, struct vmi_error *err)
{
	const json_t *outcome = json_object_get(message, "outcome");
	int code = stream_failure(message, err);

	if (outcome && worker_outcome_from_json(out, outcome))
		return -EPROTO;
	return code;
}

int stream_message(struct stream *s, const json_t *message, struct vmi_outcome *out,
		   struct vmi_error *err)
{
	const json_t *j;
	int r;

	if ((j = json_object_get(message, "rows")))
		r = take_rows(s, j);
	else if ((j = json_object_get(message, "columns")))
		r = take_columns(s, j);
	else if ((j = json_object_get(message, "done")))
		return s->n ? worker_outcome_from_json(out, j) : -EPROTO;
	else
		return take_failure(message, out, err);
	if (r == -ENOMEM)
		snprintf(err->text, sizeof(err->text), "out of memory");
	return r ? r : 1;
}
