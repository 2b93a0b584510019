// SPDX-License-Identifier: GPL-2.0-or-later
/* The one table of all screens: sorted, filtered, scrolled, drawn. Only visible rows are drawn. */
#include "screen.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TABLE_COLUMNS 32

/* --------------------------------------------------------------------------------------- list */

void list_reset(struct list *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		free(l->v[i].text);
	l->n = 0;
	l->short_of_memory = false;
}

/* Never NULL: without memory the last item is used again, and the screen says so. */
struct item *list_add(struct list *l, enum item_kind kind)
{
	struct item *it;

	if (l->n == l->cap) {
		size_t cap = l->cap * 2;
		struct item *grown = realloc(l->v, cap * sizeof(*grown));

		if (grown) {
			l->v = grown;
			l->cap = cap;
		} else {
			l->short_of_memory = true;
			free(l->v[--l->n].text);
		}
	}
	it = &l->v[l->n];
	memset(it, 0, sizeof(*it));
	it->kind = kind;
	it->order = l->n++;
	return it;
}

void list_text(struct list *l, enum item_kind kind, int style, const char *fmt, ...)
{
	struct item *it = list_add(l, kind);
	va_list ap;

	it->style = style;
	va_start(ap, fmt);
	if (vasprintf(&it->text, fmt, ap) < 0) {
		it->text = NULL;
		l->short_of_memory = true;
	}
	va_end(ap);
}

/* Where the line that starts at `s` is to be cut: at most `w` bytes, at a space if there is one. */
static size_t line_length(const char *s, size_t w)
{
	size_t n = strlen(s), i;

	if (n <= w)
		return n;
	for (i = w; i > w / 2; i--) {
		if (s[i] == ' ')
			return i;
	}
	return w;
}

void list_wrapped(const struct ui *ui, struct list *l, int style, const char *indent,
		  const char *text)
{
	size_t room = (size_t)ui->cols - strlen(indent) - 1;

	while (*text) {
		size_t n = line_length(text, room);

		list_text(l, ITEM_LINE, style, "%s%.*s", indent, (int)n, text);
		text += n;
		text += strspn(text, " ");
	}
}

/* ---------------------------------------------------------------------------- sort and filter */

static const struct screen *screen_of(const struct ui *ui)
{
	return screens[ui->screen];
}

bool column_hidden(const struct ui *ui, const struct column *c)
{
	return c->hidden && c->hidden(ui);
}

static size_t column_find(const struct screen *s, const char *key)
{
	size_t i;

	for (i = 0; i < s->n_columns; i++) {
		if (s->columns[i].get && !strcmp(s->columns[i].key, key))
			break;
	}
	return i;
}

/* n_columns where the screen is not sorted. */
size_t table_sort_column(const struct ui *ui)
{
	const struct screen *s = screen_of(ui);
	size_t i;

	if (!s->n_columns)
		return 0;
	i = column_find(s, ui->set->sort[s->sorted].column);
	if (i == s->n_columns)
		i = column_find(s, s->default_sort);
	if (s->fallback_sort && column_hidden(ui, &s->columns[i]))
		i = column_find(s, s->fallback_sort);
	return i;
}

void table_sort_by(struct ui *ui, size_t column)
{
	const struct screen *s = screen_of(ui);
	struct iho_sort *sort = &ui->set->sort[s->sorted];

	if (column >= s->n_columns || !s->columns[column].get)
		return;
	sort->invert = column == table_sort_column(ui) ? !sort->invert : false;
	snprintf(sort->column, sizeof(sort->column), "%s", s->columns[column].key);
	ui->dirty = true;
}

void table_sort_step(struct ui *ui, int step)
{
	const struct screen *s = screen_of(ui);
	size_t i = table_sort_column(ui), tries;

	for (tries = 0; tries < s->n_columns; tries++) {
		i = (i + s->n_columns + (size_t)step) % s->n_columns;
		if (s->columns[i].get && !column_hidden(ui, &s->columns[i]))
			break;
	}
	if (s->n_columns && i != table_sort_column(ui))
		table_sort_by(ui, i);
}

struct sorting {
	const struct ui *ui;
	const struct column *column;
	int sign;
};

static int by_text(const struct sorting *s, const struct item *a, const struct item *b)
{
	struct cell ca = { 0 }, cb = { 0 };

	s->column->get(s->ui, a, s->column->arg, &ca);
	s->column->get(s->ui, b, s->column->arg, &cb);
	return strcmp(ca.text, cb.text);
}

static bool sorts_up(const struct ui *ui, const struct screen *s, const struct column *c)
{
	return (c->left || c->up) != ui->set->sort[s->sorted].invert;
}

/* Numbers: the largest first; texts: A first. Equal rows keep the report's order. */
static int item_cmp(const void *pa, const void *pb, void *arg)
{
	const struct sorting *s = arg;
	const struct item *a = pa, *b = pb;
	int c = 0;

	if (a->tagged != b->tagged)
		return a->tagged ? -1 : 1;
	if (a->sort_key != b->sort_key)
		c = a->sort_key < b->sort_key ? -1 : 1;
	else if (s->column->left)
		c = by_text(s, a, b);
	if (c)
		return c * s->sign;
	return a->order < b->order ? -1 : 1;
}

static double sort_key(const struct ui *ui, const struct column *column, const struct item *it)
{
	struct cell c = { 0 };

	if (column->left)
		return 0;
	column->get(ui, it, column->arg, &c);
	switch (c.kind) {
	case CELL_COUNT:
	case CELL_NS:
		return (double)c.n;
	case CELL_RATE:
	case CELL_PERCENT:
		return c.d;
	default:
		return -INFINITY; /* "-" comes last */
	}
}

/* What search and filter look at: the row's text, or its first column of text. */
static void item_name(const struct ui *ui, const struct item *it, struct cell *c)
{
	const struct screen *s = screen_of(ui);
	size_t i;

	c->text[0] = '\0';
	if (it->text) {
		cell_text(c, "%s", it->text);
		return;
	}
	for (i = 0; i < s->n_columns; i++) {
		if (s->columns[i].left && s->columns[i].get && !column_hidden(ui, &s->columns[i])) {
			s->columns[i].get(ui, it, s->columns[i].arg, c);
			return;
		}
	}
}

static bool passes(const struct ui *ui, const struct item *it)
{
	const char *filter = ui->views[ui->screen].filter;
	struct cell c = { 0 };

	if (it->tagged || !filter[0])
		return true;
	item_name(ui, it, &c);
	return strcasestr(c.text, filter);
}

void list_filter(struct ui *ui, struct list *l, size_t from)
{
	size_t i, kept = from;

	for (i = from; i < l->n; i++) {
		struct item *it = &l->v[i];

		it->tagged = ui->n_tags && tag_has(ui, &it->id);
		if (passes(ui, it))
			l->v[kept++] = *it;
		else
			free(it->text);
	}
	l->n = kept;
}

void list_sort(struct ui *ui, struct list *l, size_t from)
{
	const struct screen *s = screen_of(ui);
	size_t i, column = table_sort_column(ui);
	struct sorting sorting = { .ui = ui };

	if (column >= s->n_columns)
		return;
	sorting.column = &s->columns[column];
	sorting.sign = sorts_up(ui, s, sorting.column) ? 1 : -1;
	for (i = from; i < l->n; i++)
		l->v[i].sort_key = sort_key(ui, sorting.column, &l->v[i]);
	if (l->n - from > 1)
		qsort_r(&l->v[from], l->n - from, sizeof(l->v[0]), item_cmp, &sorting);
}

void list_settle(struct ui *ui, struct list *l, size_t from)
{
	list_filter(ui, l, from);
	list_sort(ui, l, from);
}

/* ------------------------------------------------------------------------------------- cursor */

static bool selectable(const struct list *l, size_t i)
{
	return i < l->n && l->v[i].kind == ITEM_ROW;
}

/* The selectable row that is nearest to `i`; l->n where there is none. */
static size_t nearest(const struct list *l, size_t i)
{
	size_t d;

	for (d = 0; d < l->n; d++) {
		if (selectable(l, i + d))
			return i + d;
		if (d <= i && selectable(l, i - d))
			return i - d;
	}
	return l->n;
}

static void set_cursor(struct ui *ui, size_t index)
{
	struct view *v = &ui->views[ui->screen];
	size_t row = nearest(&ui->list, index);

	if (row == ui->list.n)
		return;
	v->row = row;
	v->cursor = ui->list.v[row].id;
}

void table_select(struct ui *ui, size_t index)
{
	ui->views[ui->screen].touched = true;
	set_cursor(ui, index);
}

/* The cursor follows its row; where that is gone, it stays at its height. */
static void find_cursor(struct ui *ui)
{
	struct view *v = &ui->views[ui->screen];
	const struct list *l = &ui->list;
	size_t i;

	if (!v->touched) {
		set_cursor(ui, 0);
		return;
	}
	if (selectable(l, v->row) && ident_same(&l->v[v->row].id, &v->cursor))
		return;
	for (i = 0; i < l->n; i++) {
		if (selectable(l, i) && ident_same(&l->v[i].id, &v->cursor)) {
			v->row = i;
			return;
		}
	}
	set_cursor(ui, v->row < l->n ? v->row : l->n ? l->n - 1 : 0);
}

void table_build(struct ui *ui)
{
	list_reset(&ui->list);
	scope_forget(ui);
	screen_of(ui)->build(ui, &ui->list);
	if (ui->list.short_of_memory)
		ui_say(ui, true, "out of memory: not all rows are shown");
	find_cursor(ui);
}

const struct item *table_selected(const struct ui *ui)
{
	size_t row = ui->views[ui->screen].row;

	return selectable(&ui->list, row) ? &ui->list.v[row] : NULL;
}

static size_t clamp_add(size_t i, long step, size_t max)
{
	if (step < 0)
		return i > (size_t)-step ? i - (size_t)-step : 0;
	return max - i > (size_t)step ? i + (size_t)step : max;
}

/* A step over headings goes on in its direction. */
void table_move(struct ui *ui, long step)
{
	struct view *v = &ui->views[ui->screen];
	const struct list *l = &ui->list;
	size_t i;

	if (!l->n)
		return;
	if (!table_selected(ui)) { /* nothing to select, only to read */
		v->top = clamp_add(v->top, step, l->n - 1);
		return;
	}
	i = clamp_add(v->row, step, l->n - 1);
	while (!selectable(l, i) && i > 0 && i < l->n - 1)
		i += step < 0 ? -1 : 1;
	table_select(ui, i);
}

void table_search(struct ui *ui, bool next)
{
	const struct list *l = &ui->list;
	size_t from = ui->views[ui->screen].row, i;

	for (i = next ? 1 : 0; ui->search[0] && i < l->n + (next ? 1 : 0); i++) {
		size_t at = (from + i) % l->n;
		struct cell c = { 0 };

		item_name(ui, &l->v[at], &c);
		if (!strcasestr(c.text, ui->search))
			continue;
		if (selectable(l, at)) {
			table_select(ui, at);
			return;
		}
		if (!table_selected(ui)) {
			ui->views[ui->screen].top = at;
			return;
		}
	}
}

/* Scrolls no further than needed; the first row brings the headings above it along. */
static void scroll_to_cursor(struct ui *ui, size_t page)
{
	struct view *v = &ui->views[ui->screen];
	const struct list *l = &ui->list;

	if (table_selected(ui)) {
		if (v->row < v->top || v->row == nearest(l, 0))
			v->top = v->row == nearest(l, 0) && v->row < page ? 0 : v->row;
		if (v->row >= v->top + page)
			v->top = v->row - page + 1;
	}
	if (v->top + page > l->n)
		v->top = l->n > page ? l->n - page : 0;
}

/* ------------------------------------------------------------------------------------ drawing */

struct layout {
	int w[MAX_TABLE_COLUMNS]; /* 0: no room */
};

static int layout_sum(const struct layout *lay, size_t n)
{
	int sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += lay->w[i] ? lay->w[i] + 1 : 0;
	return sum - 1;
}

/* The column with the highest rank that is still there; n where only rank 0 is left. */
static size_t least_important(const struct screen *s, const struct layout *lay)
{
	size_t i, worst = s->n_columns;
	int rank = 0;

	for (i = 0; i < s->n_columns; i++) {
		if (lay->w[i] && s->columns[i].rank >= rank && s->columns[i].rank) {
			rank = s->columns[i].rank;
			worst = i;
		}
	}
	return worst;
}

static int wanted(const struct column *c)
{
	return c->want > c->min ? c->want : c->min;
}

/* Drops the least important columns until the rest fits, but none below `rank`. */
static void drop_columns(const struct ui *ui, const struct screen *s, struct layout *lay, int rank)
{
	while (layout_sum(lay, s->n_columns) > ui->cols) {
		size_t i = least_important(s, lay);

		if (i == s->n_columns || s->columns[i].rank < rank)
			break;
		lay->w[i] = 0;
	}
}

/* Shares the room that is left, one by one, up to what each column wants or at most takes. */
static void grow_columns(const struct ui *ui, const struct screen *s, struct layout *lay, bool most)
{
	int room = ui->cols - layout_sum(lay, s->n_columns);
	bool grew = true;
	size_t i;

	while (grew && room > 0) {
		grew = false;
		for (i = 0; i < s->n_columns && room > 0; i++) {
			int limit = most ? s->columns[i].max : wanted(&s->columns[i]);

			if (!lay->w[i] || lay->w[i] >= limit)
				continue;
			lay->w[i]++;
			room--;
			grew = true;
		}
	}
}

static void lay_out(const struct ui *ui, const struct screen *s, struct layout *lay)
{
	size_t i;

	memset(lay, 0, sizeof(*lay));
	for (i = 0; i < s->n_columns; i++) {
		if (!column_hidden(ui, &s->columns[i]))
			lay->w[i] = wanted(&s->columns[i]);
	}
	drop_columns(ui, s, lay, RANK_EXTRA);
	for (i = 0; i < s->n_columns; i++)
		lay->w[i] = lay->w[i] ? s->columns[i].min : 0;
	drop_columns(ui, s, lay, 1);
	grow_columns(ui, s, lay, false);
	grow_columns(ui, s, lay, true);
}

static void draw_header(struct ui *ui, const struct screen *s, const struct layout *lay, int y)
{
	size_t i, sorted = table_sort_column(ui);
	int x = 0;

	style_set(&ui->term, ST_HEADER);
	draw_text(&ui->term, y, 0, ui->cols, "");
	for (i = 0; i < s->n_columns; i++) {
		const struct column *c = &s->columns[i];
		bool up = sorts_up(ui, s, c);
		char title[32];

		if (!lay->w[i])
			continue;
		snprintf(title, sizeof(title), "%s%s", c->title,
			 i != sorted	? ""
			 : ui_ascii(ui) ? (up ? "^" : "v")
					: (up ? "▲" : "▼"));
		style_set(&ui->term, i == sorted ? ST_HEADER_SORT : ST_HEADER);
		if (c->left || c->draw)
			draw_text(&ui->term, y, x, lay->w[i], title);
		else
			draw_text_right(&ui->term, y, x, lay->w[i], title);
		if (c->get)
			ui_hit(ui, HIT_COLUMN, y, x, lay->w[i], (int)i);
		x += lay->w[i] + 1;
	}
}

static int row_style(const struct ui *ui, const struct item *it, size_t index)
{
	const struct view *v = &ui->views[ui->screen];
	bool gone = it->vcpu ? it->vcpu->gone : it->vm && it->vm->gone;

	if (it->kind == ITEM_SECTION)
		return ST_SECTION;
	if (it->kind == ITEM_ROW && index == v->row)
		return ST_SELECTED;
	if (it->tagged)
		return ST_TAGGED;
	return it->text ? it->style : gone ? ST_DIM : ST_TEXT;
}

static void draw_cells(const struct ui *ui, const struct screen *s, const struct layout *lay,
		       const struct item *it, int y, int style)
{
	char text[160];
	int x = 0;
	size_t i;

	for (i = 0; i < s->n_columns; i++) {
		const struct column *c = &s->columns[i];
		struct cell cell = { 0 };
		int w = lay->w[i];

		if (!w)
			continue;
		style_set(&ui->term, style);
		if (c->draw) {
			c->draw(ui, it, y, x, w);
		} else {
			c->get(ui, it, c->arg, &cell);
			cell_format(&cell, w, !ui_ascii(ui), text, sizeof(text));
			if (c->left)
				draw_text(&ui->term, y, x, w, text);
			else
				draw_text_right(&ui->term, y, x, w, text);
		}
		x += w + 1;
	}
}

static void draw_item(struct ui *ui, const struct screen *s, const struct layout *lay, size_t index,
		      int y)
{
	const struct item *it = &ui->list.v[index];
	int style = row_style(ui, it, index);

	style_set(&ui->term, style);
	draw_text(&ui->term, y, 0, ui->cols, it->text ? it->text : "");
	if (!it->text && it->kind == ITEM_ROW)
		draw_cells(ui, s, lay, it, y, style);
	if (it->kind == ITEM_ROW)
		ui_hit(ui, HIT_ROW, y, 0, ui->cols, (int)index);
}

/* At the right edge of a list that does not fit: which of its rows are on the screen. */
static void draw_position(const struct ui *ui, int y, size_t top, size_t page)
{
	char text[64];
	size_t n = ui->list.n;

	if (n <= page || y < 0)
		return;
	snprintf(text, sizeof(text), " %zu-%zu of %zu ", top + 1, top + page, n);
	style_set(&ui->term, ST_DIM);
	draw_text(&ui->term, y, ui->cols - (int)strlen(text), (int)strlen(text), text);
}

void table_draw(struct ui *ui, int y, int h)
{
	const struct screen *s = screen_of(ui);
	size_t i, page, top;
	struct layout lay;

	lay_out(ui, s, &lay);
	if (s->n_columns && h > 0) {
		draw_header(ui, s, &lay, y++);
		h--;
	}
	page = h > 0 ? (size_t)h : 0;
	ui->page = h > 0 ? h : 1;
	scroll_to_cursor(ui, (size_t)ui->page);
	top = ui->views[ui->screen].top;
	for (i = 0; i < page && top + i < ui->list.n; i++)
		draw_item(ui, s, &lay, top + i, y + (int)i);
	if (!ui->list.n && page) {
		style_set(&ui->term, ST_DIM);
		draw_text(&ui->term, y, 1, ui->cols - 1,
			  ui->views[ui->screen].filter[0] ? "nothing passes the filter"
							  : "nothing to show yet");
	}
	draw_position(ui, 1, top, page);
}
