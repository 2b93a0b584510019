// SPDX-License-Identifier: GPL-2.0-or-later
#include "draw.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MAX_COLUMNS   512 /* the widest text that is drawn in one go */

/* ------------------------------------------------------------------------------------ numbers */

/* n / unit with three digits, rounded down, so that no number reads as more than it is. */
static void three_digits(uint64_t n, uint64_t unit, const char *suffix, char *buf, size_t len)
{
	uint64_t whole = n / unit, thousandths = n % unit / (unit / 1000);

	if (whole >= 100)
		snprintf(buf, len, "%" PRIu64 "%s", whole, suffix);
	else if (whole >= 10)
		snprintf(buf, len, "%" PRIu64 ".%01" PRIu64 "%s", whole, thousandths / 100, suffix);
	else
		snprintf(buf, len, "%" PRIu64 ".%02" PRIu64 "%s", whole, thousandths / 10, suffix);
}

void format_count(uint64_t n, int width, char *buf, size_t len)
{
	static const char *const suffix[] = { "k", "M", "G", "T", "P", "E" };
	uint64_t unit = 1000;
	size_t i;

	if (snprintf(buf, len, "%" PRIu64, n) <= width)
		return;
	for (i = 0; i + 1 < ARRAY_SIZE(suffix) && n / unit >= 1000; i++)
		unit *= 1000;
	three_digits(n, unit, suffix[i], buf, len);
	if ((int)strlen(buf) > width)
		snprintf(buf, len, "%" PRIu64 "%s", n / unit, suffix[i]);
}

void format_rate(double per_s, int width, char *buf, size_t len)
{
	if (!(per_s >= 0 && per_s < 1e18))
		snprintf(buf, len, "-");
	else if (per_s < 99.95)
		snprintf(buf, len, "%.1f", per_s);
	else
		format_count((uint64_t)(per_s + 0.5), width, buf, len);
}

void format_ns(uint64_t ns, bool utf8, char *buf, size_t len)
{
	if (!ns)
		snprintf(buf, len, "0");
	else if (ns < 1000)
		snprintf(buf, len, "%" PRIu64 "ns", ns);
	else if (ns < 1000000)
		three_digits(ns, 1000, utf8 ? "µs" : "us", buf, len);
	else if (ns < 1000000000)
		three_digits(ns, 1000000, "ms", buf, len);
	else if (ns < 10000000000000)
		three_digits(ns, 1000000000, "s", buf, len);
	else
		three_digits(ns, 3600000000000, "h", buf, len);
}

void cell_text(struct cell *c, const char *fmt, ...)
{
	va_list ap;

	c->kind = CELL_TEXT;
	va_start(ap, fmt);
	vsnprintf(c->text, sizeof(c->text), fmt, ap);
	va_end(ap);
}

void cell_count(struct cell *c, uint64_t n)
{
	c->kind = CELL_COUNT;
	c->n = n;
}

void cell_ns(struct cell *c, uint64_t ns)
{
	c->kind = CELL_NS;
	c->n = ns;
}

void cell_rate(struct cell *c, double per_s)
{
	c->kind = isnan(per_s) ? CELL_ABSENT : CELL_RATE;
	c->d = per_s;
}

void cell_percent(struct cell *c, double part, double whole)
{
	c->kind = whole > 0 ? CELL_PERCENT : CELL_ABSENT;
	c->d = whole > 0 ? 100.0 * part / whole : NAN;
}

void cell_format(const struct cell *c, int width, bool utf8, char *buf, size_t len)
{
	switch (c->kind) {
	case CELL_TEXT:
		snprintf(buf, len, "%s", c->text);
		break;
	case CELL_COUNT:
		format_count(c->n, width, buf, len);
		break;
	case CELL_RATE:
		format_rate(c->d, width, buf, len);
		break;
	case CELL_NS:
		format_ns(c->n, utf8, buf, len);
		break;
	case CELL_PERCENT:
		snprintf(buf, len, c->d < 99.95 ? "%.1f" : "%.0f", c->d);
		break;
	default:
		snprintf(buf, len, "-");
	}
}

/* --------------------------------------------------------------------------------------- text */

/* One character of `s` and its columns; "?" for everything that could disturb the terminal. */
static const char *next_char(const struct terminal *t, const char *s, mbstate_t *state, wchar_t *wc,
			     int *columns)
{
	size_t n = t->utf8 ? mbrtowc(wc, s, MB_LEN_MAX, state) : 1;

	if (!t->utf8)
		*wc = *s >= 0x20 && *s < 0x7f ? (wchar_t)*s : L'?';
	if (n == (size_t)-1 || n == (size_t)-2) {
		memset(state, 0, sizeof(*state));
		n = 1;
		*wc = L'?';
	}
	*columns = iswprint((wint_t)*wc) ? wcwidth(*wc) : 0;
	if (*columns < 1 || (t->ascii && *wc > 0x7e)) {
		*wc = L'?';
		*columns = 1;
	}
	return s + n;
}

/* Converts as much as fits `w` columns; *columns is what it takes. Returns true where all fit. */
static bool to_wide(const struct terminal *t, const char *s, int w, wchar_t *out, int *columns)
{
	mbstate_t state = { 0 };
	int used = 0, n = 0;

	while (*s) {
		wchar_t wc;
		int c;
		const char *next = next_char(t, s, &state, &wc, &c);

		if (used + c > w || n + 1 >= MAX_COLUMNS)
			break;
		out[n++] = wc;
		used += c;
		s = next;
	}
	out[n] = L'\0';
	*columns = used;
	return !*s;
}

int text_columns(const struct terminal *t, const char *text)
{
	wchar_t wide[MAX_COLUMNS];
	int columns;

	to_wide(t, text, MAX_COLUMNS - 1, wide, &columns);
	return columns;
}

/* The text in at most `w` columns, with a mark where it was cut. Returns its columns. */
static int fit(const struct terminal *t, const char *text, int w, wchar_t *wide)
{
	const wchar_t *mark = t->ascii ? L".." : L"…";
	int mark_columns = (int)wcslen(mark), columns;

	if (to_wide(t, text, w, wide, &columns))
		return columns;
	if (w < mark_columns)
		return columns;
	to_wide(t, text, w - mark_columns, wide, &columns);
	wcscat(wide, mark);
	return columns + mark_columns;
}

static void spaces(int n)
{
	if (n > 0)
		printw("%*s", n, "");
}

int draw_text(const struct terminal *t, int y, int x, int w, const char *text)
{
	wchar_t wide[MAX_COLUMNS + 2];
	int columns;

	if (w > MAX_COLUMNS - 1)
		w = MAX_COLUMNS - 1;
	if (w <= 0 || move(y, x) == ERR)
		return 0;
	columns = fit(t, text, w, wide);
	addwstr(wide);
	spaces(w - columns);
	return columns;
}

int draw_text_right(const struct terminal *t, int y, int x, int w, const char *text)
{
	wchar_t wide[MAX_COLUMNS + 2];
	int columns;

	if (w > MAX_COLUMNS - 1)
		w = MAX_COLUMNS - 1;
	if (w <= 0 || move(y, x) == ERR)
		return 0;
	columns = fit(t, text, w, wide);
	spaces(w - columns);
	addwstr(wide);
	return columns;
}

int draw_flow(const struct terminal *t, int y, int w, int max_lines, const struct piece *v,
	      size_t n)
{
	int line = 0, x = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		int sign = v[i].sign ? 2 : 0;
		int columns = sign + text_columns(t, v[i].text);
		int gap = x ? 2 : 0;

		if (x && x + gap + columns > w) {
			if (++line >= max_lines)
				return line;
			x = gap = 0;
		}
		x += gap;
		if (y >= 0 && sign) {
			style_set(t, v[i].sign_style);
			draw_text(t, y + line, x, 1, v[i].sign);
		}
		if (y >= 0) {
			int room = columns - sign < w - x - sign ? columns - sign : w - x - sign;

			style_set(t, v[i].style);
			draw_text(t, y + line, x + sign, room, v[i].text);
		}
		x += columns;
	}
	return n ? line + 1 : 0;
}

/* --------------------------------------------------------------------------------------- bars */

/*
 * A letter for each state where colours cannot tell them apart, else a block; the shaded blocks are
 * the states in which the vCPU uses no core for its guest's sake.
 */
static const struct {
	const char *letter, *block;
} signs[IHO_BILL_MAX] = {
	[IHO_BILL_GUEST] = { "G", "█" },	[IHO_BILL_KVM] = { "K", "█" },
	[IHO_BILL_GUEST_OR_KVM] = { "M", "█" }, [IHO_BILL_QEMU] = { "Q", "█" },
	[IHO_BILL_HALT_POLL] = { "P", "▓" },	[IHO_BILL_HALTED] = { "h", "░" },
	[IHO_BILL_BLOCKED] = { "b", "▒" },	[IHO_BILL_RUNNABLE] = { "R", "█" },
	[IHO_BILL_PREEMPTED] = { "X", "█" },	[IHO_BILL_STOPPED] = { "s", "▒" },
	[IHO_BILL_UNACCOUNTED] = { ".", "·" },
};

const char *bill_sign(const struct terminal *t, bool ascii, enum iho_bill b)
{
	return ascii || !t->utf8 || !t->colours ? signs[b].letter : signs[b].block;
}

/*
 * The states' running sum is rounded, not each state: the bar's length is then exact and no state
 * is off by more than a cell.
 */
void draw_bill(const struct terminal *t, bool ascii, int y, int x, int w,
	       const struct iho_bill_ns *b)
{
	double whole = 0, sum = 0;
	int i, at = 0;

	for (i = 0; i < IHO_BILL_MAX; i++)
		whole += (double)b->delta[i];
	if (whole < (double)b->wall_delta)
		whole = (double)b->wall_delta;
	if (whole <= 0 || move(y, x) == ERR)
		return;
	for (i = 0; i < IHO_BILL_MAX; i++) {
		int end;

		sum += (double)b->delta[i];
		end = (int)(sum / whole * w + 0.5);
		style_set(t, ST_BILL + i);
		for (; at < end && at < w; at++)
			addstr(bill_sign(t, ascii, i));
	}
}

void draw_spark(const struct terminal *t, bool ascii, int y, int x, int w, const float *v, int n)
{
	static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const letters[] = { "_", ".", "-", ":", "=", "+", "*", "#" };
	const char *const *level = ascii || !t->utf8 ? letters : blocks;
	float max = 0;
	int i;

	if (n > w) {
		v += n - w;
		n = w;
	}
	for (i = 0; i < n; i++)
		max = v[i] > max ? v[i] : max;
	style_set(t, ST_SPARK);
	if (move(y, x + w - n) == ERR)
		return;
	for (i = 0; i < n; i++)
		addstr(level[max > 0 ? (int)(v[i] / max * 7.0f + 0.5f) : 0]);
}
