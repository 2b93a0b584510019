/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rows.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 65536u

/* Texts of the rows, given back all at once. */
struct chunk {
	struct chunk *next;
	size_t used, size;
	char text[];
};

struct vmi_rows {
	struct vmi_guest *guest;
	const struct vmi_table *table;
	const struct vmi_run *run;
	struct vmi_error *err;
	struct vmi_walk walk;
	struct vmi_value *values; /* rows of n_columns + 1 */
	size_t n, room; /* rows */
	uint64_t max;
	struct chunk *chunks;
	size_t bytes; /* values and chunks */
	uint64_t torn;
	bool open; /* within a row */
	bool full;
};

int vmi_rows_open(struct vmi_rows **out, struct vmi_guest *g, const struct vmi_table *t)
{
	struct vmi_rows *r;

	*out = NULL;
	if (t->n_columns > VMI_COLUMNS_MAX)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->guest = g;
	r->table = t;
	*out = r;
	return 0;
}

static void forget(struct vmi_rows *r)
{
	while (r->chunks) {
		struct chunk *next = r->chunks->next;

		free(r->chunks);
		r->chunks = next;
	}
	free(r->values);
	r->values = NULL;
	r->n = r->room = r->bytes = 0;
	r->torn = 0;
	r->open = r->full = false;
}

void vmi_rows_close(struct vmi_rows *r)
{
	if (!r)
		return;
	forget(r);
	free(r);
}

static const char *level_name(enum vmi_level l)
{
	switch (l) {
	case VMI_LEVEL_TYPES:
		return "the guest kernel's types";
	case VMI_LEVEL_SYMBOLS:
		return "the guest kernel's symbols";
	case VMI_LEVEL_BANNER:
		return "a Linux kernel in the guest";
	case VMI_LEVEL_MEMORY:
		break;
	}
	return "memory";
}

int vmi_rows_run(struct vmi_rows *r, const struct vmi_run *run, struct vmi_error *err)
{
	int ret;

	forget(r);
	err->text[0] = 0;
	r->run = run;
	r->err = err;
	r->max = run->max_rows && run->max_rows < VMI_ROWS_MAX ? run->max_rows : VMI_ROWS_MAX;
	vmi_walk_start(&r->walk, r->guest, run->budget);
	r->walk.cancel = run->cancel;
	if (r->guest->level < r->table->needs) {
		snprintf(err->text, sizeof(err->text), "%s needs %s: %.400s", r->table->name,
			 level_name(r->table->needs), r->guest->missing);
		return -EINVAL;
	}
	ret = r->table->rows(r);
	/* A table may do without what failed. */
	if (!ret)
		err->text[0] = 0;
	vmi_row_drop(r);
	r->run = NULL;
	r->err = NULL;
	return ret;
}

size_t vmi_rows_count(const struct vmi_rows *r)
{
	return r->n;
}

void vmi_rows_value(const struct vmi_rows *r, size_t row, unsigned int column,
		    struct vmi_value *out)
{
	*out = (struct vmi_value){ .kind = VMI_V_NULL };
	if (row < r->n && column <= r->table->n_columns)
		*out = r->values[row * (r->table->n_columns + 1) + column];
}

const struct vmi_walk *vmi_rows_walked(const struct vmi_rows *r)
{
	return &r->walk;
}

uint64_t vmi_rows_torn(const struct vmi_rows *r)
{
	return r->torn;
}

/* --------------------------------------------------------------------------- the side of the table
 */

struct vmi_walk *vmi_rows_walk(struct vmi_rows *r)
{
	return &r->walk;
}

struct vmi_guest *vmi_rows_guest(struct vmi_rows *r)
{
	return r->guest;
}

static const struct vmi_value *want(const struct vmi_rows *r, unsigned int column)
{
	for (size_t i = 0; r->run && i < r->run->n_wants; i++)
		if (r->run->wants[i].column == column)
			return &r->run->wants[i].value;
	return NULL;
}

bool vmi_want_int(const struct vmi_rows *r, unsigned int column, int64_t *value)
{
	const struct vmi_value *v = want(r, column);

	if (!v || v->kind != VMI_V_INT)
		return false;
	*value = v->i;
	return true;
}

bool vmi_want_str(const struct vmi_rows *r, unsigned int column, const char **value)
{
	const struct vmi_value *v = want(r, column);

	if (!v || v->kind != VMI_V_TEXT)
		return false;
	*value = v->s;
	return true;
}

bool vmi_wants(const struct vmi_rows *r, unsigned int column)
{
	return !r->run || r->run->columns >> column & 1;
}

/* Room of ours ran out: what there is stays, and the walk says so. */
static void *no_room(struct vmi_rows *r)
{
	r->full = true;
	vmi_walk_stop(&r->walk, VMI_STOP_MEMORY, r->table->name);
	return NULL;
}

static struct vmi_value *row_values(struct vmi_rows *r)
{
	return r->values + r->n * (r->table->n_columns + 1);
}

void vmi_row(struct vmi_rows *r)
{
	size_t width = (r->table->n_columns + 1) * sizeof(struct vmi_value);

	r->open = false;
	if (r->full)
		return;
	if (r->n == r->room) {
		size_t room = r->room ? 2 * r->room : 64;
		void *v;

		if (r->bytes + (room - r->room) * width > VMI_ROWS_BYTES_MAX) {
			no_room(r);
			return;
		}
		v = realloc(r->values, room * width);
		if (!v) {
			no_room(r);
			return;
		}
		r->bytes += (room - r->room) * width;
		r->values = v;
		r->room = room;
	}
	memset(row_values(r), 0, width);
	r->open = true;
}

static struct vmi_value *value(struct vmi_rows *r, unsigned int column)
{
	return r->open && column < r->table->n_columns ? row_values(r) + column : NULL;
}

void vmi_int(struct vmi_rows *r, unsigned int column, int64_t v)
{
	struct vmi_value *to = value(r, column);

	if (to)
		*to = (struct vmi_value){ .kind = VMI_V_INT, .i = v };
}

void vmi_double(struct vmi_rows *r, unsigned int column, double v)
{
	struct vmi_value *to = value(r, column);

	if (to)
		*to = (struct vmi_value){ .kind = VMI_V_DOUBLE, .d = v };
}

static char *text_room(struct vmi_rows *r, size_t n)
{
	struct chunk *c = r->chunks;
	char *p;

	if (n > VMI_ROWS_BYTES_MAX)
		return no_room(r);
	if (!c || c->size - c->used < n) {
		size_t size = n > CHUNK ? n : CHUNK;

		if (r->bytes + size > VMI_ROWS_BYTES_MAX)
			return no_room(r);
		c = malloc(sizeof(*c) + size);
		if (!c)
			return no_room(r);
		c->size = size;
		c->used = 0;
		c->next = r->chunks;
		r->chunks = c;
		r->bytes += size;
	}
	p = c->text + c->used;
	c->used += n;
	return p;
}

/* Bytes of the valid UTF-8 character at s (RFC 3629), 0: it is none. */
static size_t character(const unsigned char *s, size_t n)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = s[0] < 0x80       ? 1
		     : s[0] >> 5 == 6  ? 2
		     : s[0] >> 4 == 14 ? 3
		     : s[0] >> 3 == 30 ? 4
				       : 0;
	uint32_t c;

	if (len < 2)
		return len;
	if (len > n)
		return 0;
	c = s[0] & (0x7f >> len);
	for (size_t i = 1; i < len; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		c = c << 6 | (s[i] & 63);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ||
	    (c >= 0x80 && c < 0xa0))
		return 0;
	return len;
}

/* Whether 8 bytes are all printable ASCII: none is 0x80 or more, less than a space, or DEL. */
static bool plain(const char *s)
{
	const uint64_t each = 0x0101010101010101ull;
	uint64_t v;

	memcpy(&v, s, sizeof(v));
	/* A borrow or a carry comes only out of a byte that is none itself. */
	return !((v | (v - each * ' ') | (v + each)) & each * 0x80);
}

void vmi_presentable(char *to, const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)s[i];
		size_t len;

		if (n - i >= 8 && plain(s + i)) {
			memcpy(to + i, s + i, 8);
			i += 8;
			continue;
		}
		if (c >= ' ' && c < 0x7f) {
			to[i++] = (char)c;
			continue;
		}
		len = character((const unsigned char *)s + i, n - i);
		if (!len || (c < ' ' && c != '\t' && c != '\n') || c == 0x7f) {
			to[i++] = '?';
			continue;
		}
		memcpy(to + i, s + i, len);
		i += len;
	}
	to[n] = 0;
}

char *vmi_decimal(char *to, int64_t v)
{
	uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
	char digits[VMI_DECIMAL_MAX];
	size_t n = 0;

	if (v < 0)
		*to++ = '-';
	do {
		digits[n++] = (char)('0' + u % 10);
	} while (u /= 10);
	while (n)
		*to++ = digits[--n];
	return to;
}

void vmi_strn(struct vmi_rows *r, unsigned int column, const char *s, size_t n)
{
	struct vmi_value *to = vmi_wants(r, column) ? value(r, column) : NULL;
	char *p = to && s ? text_room(r, n + 1) : NULL;

	if (!p)
		return;
	vmi_presentable(p, s, n);
	*to = (struct vmi_value){ .kind = VMI_V_TEXT, .s = p, .n = n };
}

void vmi_str(struct vmi_rows *r, unsigned int column, const char *s)
{
	if (s)
		vmi_strn(r, column, s, strlen(s));
}

void vmi_strf(struct vmi_rows *r, unsigned int column, const char *fmt, ...)
{
	char buf[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	vmi_str(r, column, buf);
}

void vmi_hex(struct vmi_rows *r, unsigned int column, uint64_t v)
{
	char text[2 + 16] = "0x";

	if (!vmi_wants(r, column))
		return;
	for (size_t i = 0; i < 16; i++)
		text[2 + i] = "0123456789abcdef"[v >> (60 - 4 * i) & 15];
	vmi_strn(r, column, text, sizeof(text));
}

void vmi_row_torn(struct vmi_rows *r)
{
	r->walk.torn = true;
}

void vmi_row_drop(struct vmi_rows *r)
{
	r->open = false;
	vmi_witness_reset(&r->walk);
}

/* What was noted since the last row's end, such as a link on the way to this one, is this row's. */
bool vmi_row_end(struct vmi_rows *r)
{
	bool torn = vmi_witness_torn(&r->walk);

	if (r->open) {
		row_values(r)[r->table->n_columns] =
			(struct vmi_value){ .kind = VMI_V_INT, .i = torn };
		r->torn += torn;
		r->n++;
	}
	vmi_row_drop(r);
	if (r->n >= VMI_ROWS_MAX)
		vmi_walk_stop(&r->walk, VMI_STOP_ROWS, r->table->name);
	if (!r->walk.left.steps)
		vmi_walk_stop(&r->walk, VMI_STOP_STEPS, r->table->name);
	return r->full || r->n >= r->max || !r->walk.left.steps;
}

int vmi_rows_error(struct vmi_rows *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->err->text, sizeof(r->err->text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

json_t *vmi_rows_host(struct vmi_rows *r, const char *topic)
{
	if (!r->run->host) {
		vmi_rows_error(r, "%s: what the host knows is not to be had here", r->table->name);
		return NULL;
	}
	return r->run->host(r->run->host_arg, topic, r->err);
}
