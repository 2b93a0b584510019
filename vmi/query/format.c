// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <jansson.h>

#include "format.h"

/* Of a table, so much is held back to find the widths. */
#define HELD_ROWS  2000
#define HELD_BYTES (4 << 20)
#define WIDTH_MAX  200 /* of a column that makes all others wait for it */

struct cell {
	size_t at, bytes; /* in the text */
	size_t width; /* columns on a terminal */
};

struct format {
	FILE *out;
	enum query_format kind;
	bool compact, begun;
	struct vmi_sink sink;
	char **names;
	size_t n;
	uint64_t rows;
	/* table */
	size_t *widths;
	bool *right;
	struct cell *cells; /* of the rows held back, each of n */
	size_t held_rows, held_room;
	char *text; /* of all these cells */
	size_t text_bytes, text_room;
	bool streaming; /* the widths are settled */
};

static const char *const names[] = {
	[FORMAT_TABLE] = "table",
	[FORMAT_CSV] = "csv",
	[FORMAT_JSON] = "json",
	[FORMAT_LINES] = "lines",
};

int format_parse(const char *name, enum query_format *f)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]))
			continue;
		*f = (enum query_format)i;
		return 0;
	}
	return -EINVAL;
}

const char *format_name(enum query_format f)
{
	return names[f];
}

static size_t width_of(const char *s, size_t left)
{
	size_t width = 0;
	mbstate_t st = {};

	while (left) {
		wchar_t c;
		size_t n;
		int w;

		/* Most of what a guest has is ASCII, and needs no table of the locale's. */
		while (left && *s >= ' ' && *s < 0x7f) {
			width++;
			s++;
			left--;
		}
		if (!left)
			break;
		n = mbrtowc(&c, s, left, &st);

		if (n == (size_t)-1 || n == (size_t)-2 || !n) {
			st = (mbstate_t){};
			n = 1;
			c = L'?';
		}
		w = wcwidth(c);
		width += w < 0 ? 1 : (size_t)w;
		s += n;
		left -= n;
	}
	return width;
}

size_t format_width(const char *s)
{
	return width_of(s, strlen(s));
}

int format_unique(const char *const *in, size_t n, char **out)
{
	memset(out, 0, n * sizeof(*out));
	for (size_t i = 0; i < n; i++) {
		const char *name = in[i];
		unsigned int nth = 1;
		char *made = strdup(name);

		for (size_t k = 0; made && k < i; k++) {
			if (strcmp(made, out[k]))
				continue;
			free(made);
			if (asprintf(&made, "%s:%u", name, ++nth) < 0)
				made = NULL;
			k = (size_t)-1; /* the new one may be there too */
		}
		out[i] = made;
		if (!made)
			return -ENOMEM;
	}
	return 0;
}

/* Enough digits that reading gives the same number, and it still looks like a real one. */
static void number(char *buf, size_t size, double d)
{
	if (!isfinite(d)) {
		snprintf(buf, size, "%s", isnan(d) ? "nan" : d < 0 ? "-inf" : "inf");
		return;
	}
	snprintf(buf, size, "%.15g", d);
	if (strtod(buf, NULL) != d)
		snprintf(buf, size, "%.17g", d);
	if (!strpbrk(buf, ".e"))
		strncat(buf, ".0", size - strlen(buf) - 1);
}

static void put_integer(FILE *f, int64_t i)
{
	char buf[VMI_DECIMAL_MAX];
	const char *end = vmi_decimal(buf, i);

	fwrite(buf, 1, (size_t)(end - buf), f);
}

/* ---- csv ---- */

static void csv_text(FILE *f, const char *s)
{
	if (*s && !strpbrk(s, ",\"\r\n")) {
		fputs(s, f);
		return;
	}
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '"')
			fputc('"', f);
		fputc(*s, f);
	}
	fputc('"', f);
}

static void csv_row(struct format *f, const struct vmi_value *v, size_t n)
{
	char buf[40];

	for (size_t i = 0; i < n; i++) {
		if (i)
			fputc(',', f->out);
		switch (v[i].kind) {
		case VMI_V_NULL:
			break;
		case VMI_V_INT:
			put_integer(f->out, v[i].i);
			break;
		case VMI_V_DOUBLE:
			number(buf, sizeof(buf), v[i].d);
			fputs(buf, f->out);
			break;
		case VMI_V_TEXT:
			csv_text(f->out, v[i].s);
			break;
		}
	}
	fputs("\r\n", f->out);
}

/* ---- json ---- */

static void json_text(FILE *f, const char *s, size_t n)
{
	json_t *j = json_stringn(s, n);

	if (!j || json_dumpf(j, f, JSON_ENCODE_ANY))
		fputs("null", f);
	json_decref(j);
}

static void json_row(struct format *f, const struct vmi_value *v, size_t n)
{
	char buf[40];

	fputs(f->rows ? "," : "", f->out);
	fputs(f->compact ? "" : "\n ", f->out);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? ", " : "{", f->out);
		json_text(f->out, f->names[i], strlen(f->names[i]));
		fputs(": ", f->out);
		switch (v[i].kind) {
		case VMI_V_NULL:
			fputs("null", f->out);
			break;
		case VMI_V_INT:
			put_integer(f->out, v[i].i);
			break;
		case VMI_V_DOUBLE:
			number(buf, sizeof(buf), v[i].d);
			fputs(isfinite(v[i].d) ? buf : "null", f->out);
			break;
		case VMI_V_TEXT:
			json_text(f->out, v[i].s, v[i].n);
			break;
		}
	}
	fputc('}', f->out);
}

/* ---- a value in one line ---- */

#define NUMBER_MAX 40

/* The room that shown() needs. */
static size_t shown_max(const struct vmi_value *v)
{
	return v->kind == VMI_V_TEXT ? 2 * v->n + 1 : NUMBER_MAX;
}

/* A newline and a tab are shown as in C. Returns the bytes written; no NUL. */
static size_t shown(char *to, const struct vmi_value *v)
{
	char *p = to;

	switch (v->kind) {
	case VMI_V_NULL:
		return 0;
	case VMI_V_INT:
		return (size_t)(vmi_decimal(to, v->i) - to);
	case VMI_V_DOUBLE:
		number(to, NUMBER_MAX, v->d);
		return strlen(to);
	case VMI_V_TEXT:
		break;
	}
	for (size_t i = 0; i < v->n; i++) {
		if (v->s[i] == '\n' || v->s[i] == '\t') {
			*p++ = '\\';
			*p++ = v->s[i] == '\n' ? 'n' : 't';
		} else {
			*p++ = v->s[i];
		}
	}
	return (size_t)(p - to);
}

/* Room for `n` more bytes of text. */
static int text_for(struct format *f, size_t n)
{
	size_t need = f->text_bytes + n;
	char *p;

	if (need <= f->text_room)
		return 0;
	p = realloc(f->text, 2 * need);
	if (!p)
		return -ENOMEM;
	f->text = p;
	f->text_room = 2 * need;
	return 0;
}

/* ---- table ---- */

static void pad(struct format *f, size_t n, char c)
{
	for (; n; n--)
		putc_unlocked(c, f->out);
}

static void table_cell(struct format *f, size_t i, const char *s, size_t bytes, size_t width)
{
	size_t n = width < f->widths[i] ? f->widths[i] - width : 0;

	if (f->right[i])
		pad(f, n, ' ');
	fwrite_unlocked(s, 1, bytes, f->out);
	if (i + 1 == f->n) {
		putc_unlocked('\n', f->out);
		return;
	}
	pad(f, f->right[i] ? 2 : n + 2, ' ');
}

static void table_line(struct format *f, const struct cell *cells)
{
	for (size_t i = 0; i < f->n; i++)
		table_cell(f, i, f->text + cells[i].at, cells[i].bytes, cells[i].width);
}

static void table_head(struct format *f)
{
	for (size_t i = 0; i < f->n; i++)
		table_cell(f, i, f->names[i], strlen(f->names[i]), format_width(f->names[i]));
	for (size_t i = 0; i < f->n; i++) {
		pad(f, f->widths[i], '-');
		fputs(i + 1 < f->n ? "  " : "\n", f->out);
	}
}

static void held_free(struct format *f)
{
	free(f->cells);
	free(f->text);
	f->cells = NULL;
	f->text = NULL;
	f->held_rows = f->held_room = f->text_bytes = f->text_room = 0;
}

static void table_release(struct format *f)
{
	if (!f->streaming) {
		table_head(f);
		for (size_t i = 0; i < f->held_rows; i++)
			table_line(f, f->cells + i * f->n);
	}
	held_free(f);
	f->streaming = true;
}

/* The cells of one row more. */
static struct cell *cells_for(struct format *f)
{
	if (f->held_rows == f->held_room) {
		size_t room = f->held_room ? 2 * f->held_room : 64;
		struct cell *v = reallocarray(f->cells, room * f->n, sizeof(*v));

		if (!v)
			return NULL;
		f->cells = v;
		f->held_room = room;
	}
	return f->cells + f->held_rows * f->n;
}

static void table_hold(struct format *f, const struct cell *cells)
{
	for (size_t i = 0; i < f->n; i++) {
		size_t w = cells[i].width < WIDTH_MAX ? cells[i].width : WIDTH_MAX;

		if (w > f->widths[i])
			f->widths[i] = w;
	}
	f->held_rows++;
	if (f->held_rows == HELD_ROWS || f->text_bytes > HELD_BYTES)
		table_release(f);
}

static int table_row(struct format *f, const struct vmi_value *v, size_t n)
{
	struct cell *cells = cells_for(f);

	if (!cells)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct cell *c = &cells[i];

		if (text_for(f, shown_max(&v[i])))
			return -ENOMEM;
		c->at = f->text_bytes;
		c->bytes = shown(f->text + c->at, &v[i]);
		c->width = width_of(f->text + c->at, c->bytes);
		f->text_bytes += c->bytes;
		if (v[i].kind == VMI_V_TEXT)
			f->right[i] = false;
		else if (v[i].kind != VMI_V_NULL && !f->rows)
			f->right[i] = true;
	}
	if (!f->streaming) {
		table_hold(f, cells);
		return 0;
	}
	table_line(f, cells);
	f->text_bytes = 0;
	return 0;
}

/* ---- lines ---- */

static int lines_row(struct format *f, const struct vmi_value *v, size_t n)
{
	if (f->rows)
		fputc('\n', f->out);
	for (size_t i = 0; i < n; i++) {
		size_t bytes;

		if (text_for(f, shown_max(&v[i])))
			return -ENOMEM;
		bytes = shown(f->text, &v[i]);
		fprintf(f->out, "%*s = ", (int)f->widths[0], f->names[i]);
		fwrite(f->text, 1, bytes, f->out);
		fputc('\n', f->out);
	}
	return 0;
}

/* ---- the sink ---- */

static void forget(struct format *f)
{
	held_free(f);
	for (size_t i = 0; f->names && i < f->n; i++)
		free(f->names[i]);
	free(f->names);
	free(f->widths);
	free(f->right);
	f->names = NULL;
	f->widths = NULL;
	f->right = NULL;
	f->n = f->rows = 0;
	f->begun = f->streaming = false;
}

static int on_columns(void *arg, const char *const *columns, size_t n)
{
	struct format *f = arg;

	forget(f);
	if (!n || n > SQL_COLUMNS_MAX)
		return -EINVAL;
	f->names = calloc(n, sizeof(*f->names));
	f->widths = calloc(n, sizeof(*f->widths));
	f->right = calloc(n, sizeof(*f->right));
	f->n = n;
	if (!f->names || !f->widths || !f->right)
		return -ENOMEM;
	if (f->kind == FORMAT_JSON && format_unique(columns, n, f->names))
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (!f->names[i])
			f->names[i] = strdup(columns[i]);
		if (!f->names[i])
			return -ENOMEM;
		f->widths[i] = format_width(f->names[i]);
		if (f->kind == FORMAT_LINES && f->widths[i] > f->widths[0])
			f->widths[0] = f->widths[i];
	}
	f->begun = true;
	if (f->kind == FORMAT_JSON)
		fputc('[', f->out);
	for (size_t i = 0; f->kind == FORMAT_CSV && i < n; i++) {
		csv_text(f->out, f->names[i]);
		fputs(i + 1 < n ? "," : "\r\n", f->out);
	}
	return ferror(f->out) ? -EIO : 0;
}

static int on_row(void *arg, const struct vmi_value *v, size_t n)
{
	struct format *f = arg;
	int r = 0;

	if (n != f->n)
		return -EINVAL;
	switch (f->kind) {
	case FORMAT_TABLE:
		r = table_row(f, v, n);
		break;
	case FORMAT_CSV:
		csv_row(f, v, n);
		break;
	case FORMAT_JSON:
		json_row(f, v, n);
		break;
	case FORMAT_LINES:
		r = lines_row(f, v, n);
		break;
	}
	f->rows++;
	return ferror(f->out) ? -EIO : r;
}

struct format *format_new(FILE *out, enum query_format kind, bool compact)
{
	struct format *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->out = out;
	f->kind = kind;
	f->compact = compact;
	f->sink = (struct vmi_sink){ .columns = on_columns, .row = on_row, .arg = f };
	return f;
}

const struct vmi_sink *format_sink(struct format *f)
{
	return &f->sink;
}

bool format_begun(const struct format *f)
{
	/* Of a table, the header comes out with the first rows, or at the end. */
	return f->begun && (f->kind != FORMAT_TABLE || f->held_rows || f->streaming);
}

int format_end(struct format *f)
{
	if (f->begun && f->kind == FORMAT_TABLE)
		table_release(f);
	if (f->begun && f->kind == FORMAT_JSON)
		fputs(f->rows && !f->compact ? "\n]\n" : "]\n", f->out);
	forget(f);
	return fflush(f->out) || ferror(f->out) ? -EIO : 0;
}

void format_free(struct format *f)
{
	if (!f)
		return;
	forget(f);
	free(f);
}
