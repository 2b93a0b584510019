// SPDX-License-Identifier: GPL-2.0-or-later
/* The main loop: reports come in, keys come in, one screen goes out. */
#include "tui.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "screen.h"

#define MAX_KEYS 256 /* taken between two redraws, so that a paste cannot stop the screen */
#define KEY_ESC	 27
#define MAX_MENU 32
#define LOW_ROWS 20 /* below, lines are for the table */

const struct screen *const screens[SCREEN_MAX] = {
	[SCREEN_OVERVIEW] = &screen_overview,	[SCREEN_EXITS] = &screen_exits,
	[SCREEN_VCPUS] = &screen_vcpus,		[SCREEN_INTERRUPTS] = &screen_interrupts,
	[SCREEN_MIGRATION] = &screen_migration, [SCREEN_TENANT] = &screen_tenant,
	[SCREEN_HELP] = &screen_help,		[SCREEN_SETUP] = &screen_setup,
	[SCREEN_DRILL] = &screen_drill,		[SCREEN_INTERLOPERS] = &screen_interlopers,
};

/* ------------------------------------------------------------------------------ small helpers */

void ui_say(struct ui *ui, bool bad, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ui->message, sizeof(ui->message), fmt, ap);
	va_end(ap);
	ui->message_bad = bad;
}

void ui_hit(struct ui *ui, enum hit_kind kind, int y, int x, int w, int arg)
{
	if (ui->n_hits < ARRAY_SIZE(ui->hits))
		ui->hits[ui->n_hits++] = (struct hit){ kind, y, x, w, arg };
}

bool ui_ascii(const struct ui *ui)
{
	return ui->ascii || ui->set->ascii || !ui->term.utf8;
}

bool without_exits(const struct ui *ui)
{
	return !ui->r->splits_guest;
}

double ui_rate(const struct ui *ui, uint64_t delta)
{
	return ui->r->interval_s < 0.02 ? NAN : (double)delta / ui->r->interval_s;
}

void ui_set_delay(struct ui *ui, double delay_s)
{
	if (delay_s < IHO_DELAY_MIN_S)
		delay_s = IHO_DELAY_MIN_S;
	if (delay_s > IHO_DELAY_MAX_S)
		delay_s = IHO_DELAY_MAX_S;
	ui->delay_s = ui->set->delay_s = delay_s;
	ui->dirty = true;
}

void ui_save(struct ui *ui)
{
	struct iho_error err;

	if (!ui->save)
		return;
	ui->dirty = false;
	if (iho_settings_save(ui->set, &err))
		ui_say(ui, true, "%s", err.text);
}

/* The vCPUs' screen lists a VM's vCPUs; one that was chosen before gets the cursor. */
static void scope_to_vm(struct ui *ui)
{
	if (ui->scope.id.type != ROW_VCPU)
		return;
	ui->views[SCREEN_VCPUS].cursor = ui->scope.id;
	ui->views[SCREEN_VCPUS].touched = true;
	ui->scope.id.type = ROW_VM;
	ui->scope.id.tid = 0;
	scope_resolve(ui);
}

void ui_go(struct ui *ui, enum screen_id id)
{
	const struct item *it = table_selected(ui);

	if (id == ui->screen)
		return;
	if (it)
		ui->views[ui->screen].touched = true; /* what was opened stays chosen */
	if (ui->screen == SCREEN_OVERVIEW && screens[id]->scoped && it && it->vm)
		scope_set(ui, &it->id, it->vm->name);
	if (ui->screen == SCREEN_INTERLOPERS && id == SCREEN_VCPUS) {
		ui->scope = ui->outer_scope;
		scope_resolve(ui);
	}
	if (id == SCREEN_VCPUS)
		scope_to_vm(ui);
	if ((id == SCREEN_HELP || id == SCREEN_SETUP) && ui->screen != SCREEN_HELP &&
	    ui->screen != SCREEN_SETUP)
		ui->back = ui->screen;
	ui->screen = id;
	if (ui->tenant && id != SCREEN_TENANT) {
		tenant_close(ui->tenant);
		ui->tenant = NULL;
	}
	ui->mode = MODE_NORMAL;
	table_build(ui);
}

/* ---------------------------------------------------------------------------------- the strip */

static void piece_add(struct piece *v, size_t *n, int style, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void piece_add(struct piece *v, size_t *n, int style, const char *fmt, ...)
{
	struct piece *p = &v[(*n)++];
	va_list ap;

	memset(p, 0, sizeof(*p));
	p->style = style;
	va_start(ap, fmt);
	vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
}

#define STRIP_PIECES 12

static size_t strip_pieces(const struct ui *ui, struct piece *v)
{
	const struct iho_self *s = &ui->r->self;
	uint64_t overflow = s->drill_overflow + s->exit_overflow + s->irq_overflow;
	size_t n = 0;

	piece_add(v, &n, ST_TEXT, "self %.1f%% CPU", (s->cpu_share + s->reader_cpu_share) * 100);
	if (s->bpf_ns_per_event < 0)
		piece_add(v, &n, ST_DIM, "BPF not measured yet");
	else
		piece_add(v, &n, ST_TEXT, "BPF %.0fns/event %.2f%% core", s->bpf_ns_per_event,
			  s->bpf_share * 100);
	piece_add(v, &n, ST_TEXT, "events %" PRIu64, s->events);
	piece_add(v, &n, s->lost ? ST_BAD : ST_TEXT, "lost %" PRIu64, s->lost);
	piece_add(v, &n, s->unpaired ? ST_BAD : ST_TEXT, "unpaired %" PRIu64, s->unpaired);
	piece_add(v, &n, overflow ? ST_BAD : ST_TEXT, "overflow %" PRIu64, overflow);
	piece_add(v, &n, s->lost_no_slot ? ST_BAD : ST_TEXT, "no slot %" PRIu64, s->lost_no_slot);
	piece_add(v, &n, ST_TEXT, "source %.40s%s", ui->r->source ? ui->r->source : "?",
		  !strcmp(ui->r->host, "ihod") ? " of ihod" : "");
	if (s->missed_switches && ui->rows >= LOW_ROWS)
		piece_add(v, &n, ST_WARN, "missed switches %" PRIu64, s->missed_switches);
	return n;
}

static int strip_height(const struct ui *ui)
{
	struct piece v[STRIP_PIECES];
	size_t n = strip_pieces(ui, v);

	return draw_flow(&ui->term, -1, ui->cols, 3, v, n) + !!ui->r->missing[0] +
	       (ui->message[0] || ui->notice);
}

static void draw_strip(const struct ui *ui, int y)
{
	const struct terminal *t = &ui->term;
	struct piece v[STRIP_PIECES];
	size_t n = strip_pieces(ui, v);
	char text[640];

	y += draw_flow(t, y, ui->cols, 3, v, n);
	if (ui->r->missing[0]) {
		snprintf(text, sizeof(text), "missing: %s", ui->r->missing);
		style_set(t, ST_WARN);
		draw_text(t, y++, 0, ui->cols, text);
	}
	if (ui->message[0]) {
		style_set(t, ui->message_bad ? ST_BAD : ST_WARN);
		draw_text(t, y, 0, ui->cols, ui->message);
	} else if (ui->notice) {
		style_set(t, ST_DIM);
		draw_text(t, y, 0, ui->cols, ui->notice);
	}
}

/* --------------------------------------------------------------------------- the lines around */

static void draw_tabs(struct ui *ui)
{
	bool wide = ui->cols >= 80, roomy = ui->cols >= 92;
	int x = 0, i;

	if (wide) {
		style_set(&ui->term, ST_TITLE);
		x = draw_text(&ui->term, 0, 1, 8, "iho-top") + 3;
	}
	for (i = 0; i < SCREEN_TABS; i++) {
		char text[32];
		int w;
		bool on = ui->screen == (enum screen_id)i ||
			  (ui->screen >= SCREEN_TABS && (int)screens[ui->screen]->parent == i &&
			   screens[ui->screen]->scoped);

		snprintf(text, sizeof(text), roomy ? " %d %s " : wide ? " %d %s" : "%d%s", i + 1,
			 screens[i]->title);
		w = (int)strlen(text);
		style_set(&ui->term, on ? ST_TAB_ON : ST_TAB);
		draw_text(&ui->term, 0, x, w, text);
		ui_hit(ui, HIT_TAB, 0, x, w, i);
		x += w + !wide;
	}
}

static void draw_clock(const struct ui *ui)
{
	time_t now = (time_t)ui->r->time_s;
	char text[64], clock[16] = "";
	struct tm tm;
	int w;

	if (ui->cols >= 92 && localtime_r(&now, &tm))
		strftime(clock, sizeof(clock), " %H:%M:%S", &tm);
	if (ui->paused && ui->cols < 100)
		snprintf(text, sizeof(text), "PAUSED");
	else
		snprintf(text, sizeof(text), "%s%.1fs%s", ui->paused ? "PAUSED " : "", ui->delay_s,
			 clock);
	w = (int)strlen(text);
	style_set(&ui->term, ui->paused ? ST_WARN : ST_DIM);
	draw_text_right(&ui->term, 0, ui->cols - w, w, text);
}

static void overview_text(const struct ui *ui, char *buf, size_t len)
{
	uint64_t exits = 0, user = 0;
	char exits_text[24], user_text[24];
	size_t i, vcpus = 0;

	for (i = 0; i < ui->r->n_vms; i++) {
		vcpus += ui->r->vms[i].n_vcpus;
		exits += ui->r->vms[i].exits_delta;
		user += ui->r->vms[i].user_exits_delta;
	}
	format_rate(ui->r->splits_guest ? ui_rate(ui, exits) : NAN, 7, exits_text,
		    sizeof(exits_text));
	format_rate(ui_rate(ui, user), 7, user_text, sizeof(user_text));
	snprintf(buf, len, "%zu VM%s  %zu vCPU%s  %s exits/s  %s to the VMM/s  over %.2f s",
		 ui->r->n_vms, ui->r->n_vms == 1 ? "" : "s", vcpus, vcpus == 1 ? "" : "s",
		 exits_text, user_text, ui->r->interval_s);
}

static void draw_subtitle(const struct ui *ui)
{
	const char *filter = ui->views[ui->screen].filter;
	char text[256] = "", scope[200], shown[96];
	int x;

	if (ui->screen == SCREEN_OVERVIEW)
		overview_text(ui, text, sizeof(text));
	else if (screens[ui->screen]->scoped)
		scope_text(ui, scope, sizeof(scope));
	if (ui->screen == SCREEN_DRILL)
		snprintf(text, sizeof(text), "%s of %s", ui->reason, scope);
	else if (screens[ui->screen]->scoped)
		snprintf(text, sizeof(text), "%s", scope);
	else if (ui->screen >= SCREEN_TABS)
		snprintf(text, sizeof(text), "%s", screens[ui->screen]->title);
	style_set(&ui->term, ST_TITLE);
	x = 1 + draw_text(&ui->term, 1, 1, ui->cols - 1, text);
	if (!filter[0])
		return;
	snprintf(shown, sizeof(shown), "filter: %s", filter);
	style_set(&ui->term, ST_WARN);
	draw_text(&ui->term, 1, x + 2, ui->cols - x - 2, shown);
}

/* On a low screen only the states that occur are explained, on one line. */
static int draw_legend(const struct ui *ui, int y)
{
	struct piece v[IHO_BILL_MAX];
	bool low = ui->rows < LOW_ROWS;
	size_t n = 0, j;
	int i;

	for (i = 0; i < IHO_BILL_MAX; i++) {
		bool used = false;

		if (ui->r->splits_guest ? i == IHO_BILL_GUEST_OR_KVM
					: i == IHO_BILL_GUEST || i == IHO_BILL_KVM)
			continue;
		for (j = 0; j < ui->r->n_vms && low && !used; j++)
			used = ui->r->vms[j].bill.delta[i];
		if (low && !used)
			continue;
		piece_add(v, &n, ST_TEXT, "%s", iho_bill_label(i));
		v[n - 1].sign = bill_sign(&ui->term, ui_ascii(ui), i);
		v[n - 1].sign_style = ST_BILL + i;
	}
	return draw_flow(&ui->term, y, ui->cols, low ? 1 : 3, v, n);
}

static const struct {
	const char *name, *text;
	int key;
	int min_cols; /* shown from this width on */
} bar_keys[] = {
	{ "F1", "Help", KEY_F(1), 0 },	 { "F2", "Setup", KEY_F(2), 0 },
	{ "F3", "Search", KEY_F(3), 0 }, { "F4", "Filter", KEY_F(4), 0 },
	{ "F5", "Tree", KEY_F(5), 0 },	 { "F6", "Sort", KEY_F(6), 0 },
	{ "Z", "Pause", 'Z', 100 },	 { "Enter", "Open", '\n', 100 },
	{ "Esc", "Back", KEY_ESC, 100 }, { "F10", "Quit", KEY_F(10), 0 },
};

static void draw_bar(struct ui *ui, int y)
{
	const struct terminal *t = &ui->term;
	size_t i;
	int x = 0;

	style_set(t, ST_KEY_TEXT);
	draw_text(t, y, 0, ui->cols, "");
	for (i = 0; i < ARRAY_SIZE(bar_keys); i++) {
		int w = (int)strlen(bar_keys[i].name);

		if (ui->cols < bar_keys[i].min_cols)
			continue;
		style_set(t, ST_KEY);
		draw_text(t, y, x, w, bar_keys[i].name);
		style_set(t, ST_KEY_TEXT);
		draw_text(t, y, x + w, 6, bar_keys[i].text);
		ui_hit(ui, HIT_KEY, y, x, w + 6, bar_keys[i].key);
		x += w + 6;
	}
}

static void draw_prompt(const struct ui *ui, int y)
{
	bool search = ui->mode == MODE_SEARCH;
	char text[160];

	snprintf(text, sizeof(text), "%s: %s_   %s", search ? "Search" : "Filter",
		 search ? ui->search : ui->views[ui->screen].filter,
		 search ? "F3 next  Enter done  Esc done" : "Enter keep  Esc no filter");
	style_set(&ui->term, ST_KEY_TEXT);
	draw_text(&ui->term, y, 0, ui->cols, text);
}

/* ------------------------------------------------------------------------------ the sort menu */

static int menu_columns(const struct ui *ui, size_t *out)
{
	const struct screen *s = screens[ui->screen];
	int n = 0;
	size_t i;

	for (i = 0; i < s->n_columns && n < MAX_MENU; i++) {
		if (s->columns[i].get && !column_hidden(ui, &s->columns[i]))
			out[n++] = i;
	}
	return n;
}

static void draw_menu(struct ui *ui)
{
	const struct screen *s = screens[ui->screen];
	int w = ui->cols - 8 > 84 ? 84 : ui->cols - 8, i, top;
	size_t columns[MAX_MENU];
	int n = menu_columns(ui, columns), h = n < ui->rows - 6 ? n : ui->rows - 6;

	top = ui->menu >= h ? ui->menu - h + 1 : 0;
	style_set(&ui->term, ST_HEADER);
	draw_text(&ui->term, 2, 4, w, " Sort by   Enter chooses, Esc keeps the order");
	for (i = 0; i < h; i++) {
		const struct column *c = &s->columns[columns[top + i]];
		char text[160];

		snprintf(text, sizeof(text), " %c %-10s %s",
			 columns[top + i] == table_sort_column(ui) ? '*' : ' ', c->title, c->help);
		style_set(&ui->term, top + i == ui->menu ? ST_SELECTED : ST_TEXT);
		draw_text(&ui->term, 3 + i, 4, w, text);
		ui_hit(ui, HIT_MENU, 3 + i, 4, w, top + i);
	}
	style_set(&ui->term, ST_HEADER);
	draw_text(&ui->term, 3 + h, 4, w, "");
}

static void menu_open(struct ui *ui, int arg)
{
	size_t columns[MAX_MENU];
	int n = menu_columns(ui, columns), i;

	if (!n)
		return;
	ui->mode = MODE_SORT;
	ui->menu = 0;
	for (i = 0; i < n; i++) {
		if (columns[i] == table_sort_column(ui))
			ui->menu = i;
	}
}

static void menu_choose(struct ui *ui)
{
	size_t columns[MAX_MENU];

	ui->mode = MODE_NORMAL;
	if (ui->menu < menu_columns(ui, columns) && columns[ui->menu] != table_sort_column(ui))
		table_sort_by(ui, columns[ui->menu]);
}

static void menu_key(struct ui *ui, int key)
{
	size_t columns[MAX_MENU];
	int n = menu_columns(ui, columns);

	if (key == KEY_UP && ui->menu > 0)
		ui->menu--;
	else if (key == KEY_DOWN && ui->menu < n - 1)
		ui->menu++;
	else if (key == KEY_HOME)
		ui->menu = 0;
	else if (key == KEY_END)
		ui->menu = n - 1;
	else if (key == '\n')
		menu_choose(ui);
	else if (key != KEY_UP && key != KEY_DOWN)
		ui->mode = MODE_NORMAL;
}

/* --------------------------------------------------------------------------------- the screen */

static void draw_too_small(const struct ui *ui)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "Too small: %dx%d, needs %dx%d", ui->cols, ui->rows,
			 MIN_COLS, MIN_ROWS);
	int x = n < ui->cols ? (ui->cols - n) / 2 : 0;

	style_set(&ui->term, ST_WARN);
	draw_text(&ui->term, ui->rows / 2, x, ui->cols - x, text);
}

static void draw_all(struct ui *ui)
{
	int y = 2, strip = strip_height(ui), bottom = ui->rows - 1;

	draw_tabs(ui);
	draw_clock(ui);
	draw_subtitle(ui);
	if (screens[ui->screen]->bill_legend)
		y += draw_legend(ui, y);
	table_draw(ui, y, bottom - strip - y);
	draw_strip(ui, bottom - strip);
	if (ui->mode == MODE_SEARCH || ui->mode == MODE_FILTER)
		draw_prompt(ui, bottom);
	else
		draw_bar(ui, bottom);
	if (ui->mode == MODE_SORT)
		draw_menu(ui);
}

static void draw(struct ui *ui)
{
	getmaxyx(stdscr, ui->rows, ui->cols);
	ui->term.ascii = ui_ascii(ui);
	ui->n_hits = 0;
	bkgdset(' ' | ui->term.attr[ST_TEXT]);
	erase();
	if (ui->rows < MIN_ROWS || ui->cols < MIN_COLS)
		draw_too_small(ui);
	else
		draw_all(ui);
	refresh();
}

/* --------------------------------------------------------------------------------------- keys */

static void act_go(struct ui *ui, int screen)
{
	ui_go(ui, (enum screen_id)screen);
}

static void act_tab(struct ui *ui, int step)
{
	int at = (int)(ui->screen < SCREEN_TABS ? ui->screen : screens[ui->screen]->parent);

	ui_go(ui, (enum screen_id)((at + SCREEN_TABS + step) % SCREEN_TABS));
}

static void act_back(struct ui *ui, int arg)
{
	if (ui->screen == SCREEN_HELP || ui->screen == SCREEN_SETUP)
		ui_go(ui, ui->back);
	else
		ui_go(ui, screens[ui->screen]->parent);
}

static void act_quit(struct ui *ui, int arg)
{
	ui->quit = true;
}

static void act_move(struct ui *ui, int step)
{
	table_move(ui, step);
}

static void act_page(struct ui *ui, int pages)
{
	table_move(ui, (long)pages * ui->page);
}

static void act_ends(struct ui *ui, int direction)
{
	table_move(ui, direction * (long)ui->list.n);
}

static void act_scope(struct ui *ui, int step)
{
	if (screens[ui->screen]->scoped)
		scope_step(ui, step);
}

static void act_all(struct ui *ui, int arg)
{
	if (screens[ui->screen]->scoped && ui->screen != SCREEN_INTERLOPERS)
		scope_set(ui, NULL, "");
}

static void act_search(struct ui *ui, int arg)
{
	ui->mode = MODE_SEARCH;
	ui->search[0] = '\0';
}

static void act_filter(struct ui *ui, int arg)
{
	ui->mode = MODE_FILTER;
}

static void act_tree(struct ui *ui, int arg)
{
	ui->set->tree = !ui->set->tree;
	ui->dirty = true;
}

static void act_sort_step(struct ui *ui, int step)
{
	table_sort_step(ui, step);
}

static void act_invert(struct ui *ui, int arg)
{
	table_sort_by(ui, table_sort_column(ui));
}

/* P, M and T mean the column that has this letter, on screens with one. */
static void act_sort_hot(struct ui *ui, int letter)
{
	const struct screen *s = screens[ui->screen];
	size_t i;

	for (i = 0; i < s->n_columns; i++) {
		const struct column *c = &s->columns[i];

		if (c->hotkey == letter && !column_hidden(ui, c)) {
			if (i != table_sort_column(ui))
				table_sort_by(ui, i);
			return;
		}
	}
}

static void act_tag(struct ui *ui, int arg)
{
	const struct item *it = table_selected(ui);

	if (!it || it->text)
		return;
	tag_toggle(ui, &it->id);
	table_move(ui, 1);
}

static void act_untag(struct ui *ui, int arg)
{
	ui->n_tags = 0;
}

static void act_pause(struct ui *ui, int arg)
{
	ui->paused = !ui->paused;
}

static void act_redraw(struct ui *ui, int arg)
{
	ui->report_now = !ui->paused;
	clearok(curscr, TRUE);
}

static void act_delay(struct ui *ui, int direction)
{
	static const double steps[] = { 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 30, 60 };
	double next = ui->delay_s;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		if (direction < 0 && steps[i] < ui->delay_s - 0.001)
			next = steps[i];
		if (direction > 0 && steps[i] > ui->delay_s + 0.001) {
			next = steps[i];
			break;
		}
	}
	ui_set_delay(ui, next);
	ui_say(ui, false, "delay %.1f s", ui->delay_s);
}

static const struct {
	int key;
	void (*act)(struct ui *ui, int arg);
	int arg;
} bindings[] = {
	{ '1', act_go, SCREEN_OVERVIEW },
	{ 'o', act_go, SCREEN_OVERVIEW },
	{ '2', act_go, SCREEN_EXITS },
	{ 'e', act_go, SCREEN_EXITS },
	{ '3', act_go, SCREEN_VCPUS },
	{ 'v', act_go, SCREEN_VCPUS },
	{ '4', act_go, SCREEN_INTERRUPTS },
	{ 'i', act_go, SCREEN_INTERRUPTS },
	{ '5', act_go, SCREEN_MIGRATION },
	{ 'm', act_go, SCREEN_MIGRATION },
	{ '6', act_go, SCREEN_TENANT },
	{ 'g', act_go, SCREEN_TENANT },
	{ 'h', act_go, SCREEN_HELP },
	{ '?', act_go, SCREEN_HELP },
	{ KEY_F(1), act_go, SCREEN_HELP },
	{ 'S', act_go, SCREEN_SETUP },
	{ KEY_F(2), act_go, SCREEN_SETUP },
	{ '\t', act_tab, 1 },
	{ KEY_BTAB, act_tab, -1 },
	{ KEY_ESC, act_back, 0 },
	{ KEY_BACKSPACE, act_back, 0 },
	{ 'q', act_quit, 0 },
	{ KEY_F(10), act_quit, 0 },
	{ KEY_UP, act_move, -1 },
	{ KEY_DOWN, act_move, 1 },
	{ KEY_PPAGE, act_page, -1 },
	{ KEY_NPAGE, act_page, 1 },
	{ KEY_HOME, act_ends, -1 },
	{ KEY_END, act_ends, 1 },
	{ KEY_LEFT, act_scope, -1 },
	{ KEY_RIGHT, act_scope, 1 },
	{ 'a', act_all, 0 },
	{ KEY_F(3), act_search, 0 },
	{ '/', act_search, 0 },
	{ KEY_F(4), act_filter, 0 },
	{ '\\', act_filter, 0 },
	{ KEY_F(5), act_tree, 0 },
	{ 't', act_tree, 0 },
	{ KEY_F(6), menu_open, 0 },
	{ '<', act_sort_step, -1 },
	{ '>', act_sort_step, 1 },
	{ 'I', act_invert, 0 },
	{ 'P', act_sort_hot, 'P' },
	{ 'M', act_sort_hot, 'M' },
	{ 'T', act_sort_hot, 'T' },
	{ ' ', act_tag, 0 },
	{ 'U', act_untag, 0 },
	{ 'Z', act_pause, 0 },
	{ 'r', act_redraw, 0 },
	{ '+', act_delay, 1 },
	{ '-', act_delay, -1 },
};

static void normal_key(struct ui *ui, int key)
{
	const struct screen *s = screens[ui->screen];
	size_t i;

	if (s->on_key && s->on_key(ui, key))
		return;
	for (i = 0; i < ARRAY_SIZE(bindings); i++) {
		if (bindings[i].key == key) {
			bindings[i].act(ui, bindings[i].arg);
			return;
		}
	}
}

/* Appends a character to a line of input, or takes its last one away. False: another key. */
static bool edit(char *text, size_t size, int key, bool function_key)
{
	size_t len = strlen(text), n;
	mbstate_t state = { 0 };
	char bytes[MB_LEN_MAX];

	if (key == KEY_BACKSPACE) {
		while (len && ((unsigned char)text[--len] & 0xc0) == 0x80)
			;
		text[len] = '\0';
		return true;
	}
	if (function_key || key < ' ')
		return false;
	n = wcrtomb(bytes, (wchar_t)key, &state);
	if (n != (size_t)-1 && len + n < size) {
		memcpy(text + len, bytes, n);
		text[len + n] = '\0';
	}
	return true;
}

static void search_key(struct ui *ui, int key, bool function_key)
{
	if (edit(ui->search, sizeof(ui->search), key, function_key))
		table_search(ui, false);
	else if (key == KEY_F(3))
		table_search(ui, true);
	else
		ui->mode = MODE_NORMAL;
}

static void filter_key(struct ui *ui, int key, bool function_key)
{
	char *filter = ui->views[ui->screen].filter;

	if (edit(filter, sizeof(ui->views[0].filter), key, function_key))
		return;
	if (key == KEY_ESC)
		filter[0] = '\0';
	ui->mode = MODE_NORMAL;
}

static void take_key(struct ui *ui, int key, bool function_key)
{
	ui->message[0] = '\0';
	if (ui->mode == MODE_SEARCH)
		search_key(ui, key, function_key);
	else if (ui->mode == MODE_FILTER)
		filter_key(ui, key, function_key);
	else if (ui->mode == MODE_SORT)
		menu_key(ui, key);
	else if (function_key || key < 0x80) /* other characters could be taken for function keys */
		normal_key(ui, key);
}

/* -------------------------------------------------------------------------------------- mouse */

static void click(struct ui *ui, const struct hit *h)
{
	bool menu = ui->mode == MODE_SORT;

	ui->mode = MODE_NORMAL;
	if (h->kind == HIT_MENU) {
		ui->menu = h->arg;
		menu_choose(ui);
	} else if (menu) {
		return; /* beside the menu: only closes it */
	} else if (h->kind == HIT_TAB) {
		ui_go(ui, (enum screen_id)h->arg);
	} else if (h->kind == HIT_COLUMN) {
		table_sort_by(ui, (size_t)h->arg);
	} else if (h->kind == HIT_ROW) {
		table_select(ui, (size_t)h->arg);
	} else {
		normal_key(ui, h->arg);
	}
}

static void mouse_event(struct ui *ui, const MEVENT *e)
{
	size_t i;

	if (e->bstate & BUTTON4_PRESSED)
		table_move(ui, -3);
	else if (e->bstate & BUTTON5_PRESSED)
		table_move(ui, 3);
	if (!(e->bstate & BUTTON1_PRESSED))
		return;
	for (i = ui->n_hits; i-- > 0;) { /* what was drawn last lies on top */
		const struct hit *h = &ui->hits[i];

		if (e->y == h->y && e->x >= h->x && e->x < h->x + h->w) {
			click(ui, h);
			return;
		}
	}
}

/* Events that came together are announced as one, and the newest is handed out first. */
static void take_mouse(struct ui *ui)
{
	MEVENT e[8]; /* as many as ncurses keeps */
	size_t n = 0;

	while (n < ARRAY_SIZE(e) && getmouse(&e[n]) == OK)
		n++;
	while (n-- > 0)
		mouse_event(ui, &e[n]);
}

static void take_input(struct ui *ui)
{
	int i, rc;
	wint_t wc;

	for (i = 0; i < MAX_KEYS && !ui->quit; i++) {
		rc = get_wch(&wc);
		if (rc == ERR)
			break;
		if (rc == KEY_CODE_YES && wc == KEY_RESIZE)
			continue;
		if (rc == KEY_CODE_YES && wc == KEY_MOUSE)
			take_mouse(ui);
		else if (wc == '\r' || (rc == KEY_CODE_YES && wc == KEY_ENTER))
			take_key(ui, '\n', false);
		else if (rc == OK && (wc == 127 || wc == 8))
			take_key(ui, KEY_BACKSPACE, true);
		else
			take_key(ui, (int)wc, rc == KEY_CODE_YES);
		table_build(ui);
	}
}

/* --------------------------------------------------------------------------------------- loop */

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int take_report(struct ui *ui, struct iho_error *err)
{
	const struct iho_report *r;
	int rc = iho_collector_report(ui->collector, &r, err);

	/* ihod is restarting, maybe: the last report stays on the screen, and we ask again */
	if (rc == -ENOTCONN && ui->r) {
		ui_say(ui, true, "%s", err->text);
		ui->away = true;
		return 0;
	}
	if (rc)
		return rc;
	if (ui->away)
		ui_say(ui, false, "ihod answers again");
	ui->away = false;
	ui->r = r;
	scope_resolve(ui);
	history_update(ui);
	table_build(ui);
	return 0;
}

/* Takes in what term_wait() saw. Not 0: what iho_tui_run() is to return. */
static int take_events(struct ui *ui, int events, struct iho_error *err)
{
	if (events & TERM_SIGNAL) {
		ui->quit = true;
		return term_signal() == SIGINT ? 0 : term_signal();
	}
	if (events & TERM_GONE) {
		snprintf(err->text, sizeof(err->text), "the terminal is gone");
		return -EIO;
	}
	if (events & (TERM_RESIZE | TERM_WOKEN))
		term_fit();
	if (events & TERM_INPUT)
		take_input(ui);
	return 0;
}

/* A slow report or a pause is not made up for by a burst of reports. */
static double next_due(double due, double delay_s)
{
	double now = now_s();

	return due <= now && due + delay_s > now ? due + delay_s : now + delay_s;
}

static int loop(struct ui *ui, unsigned long iterations, struct iho_error *err)
{
	unsigned long reports = 1;
	double due;
	int rc = take_report(ui, err);

	due = now_s() + ui->delay_s;
	while (!rc) {
		double wait, delay = ui->delay_s;

		draw(ui);
		wait = due - now_s();
		rc = take_events(ui,
				 term_wait(&ui->term, ui->paused ? -1
						      : wait > 0 ? wait
								 : 0),
				 err);
		if (rc || ui->quit)
			return rc;
		if (ui->delay_s != delay)
			due += ui->delay_s - delay;
		if (ui->paused || (!ui->report_now && now_s() < due))
			continue;
		if (!ui->report_now && iterations && reports++ >= iterations)
			return 0;
		ui->report_now = false;
		rc = take_report(ui, err);
		due = next_due(due, ui->delay_s);
	}
	return rc;
}

static void ui_free(struct ui *ui)
{
	list_reset(&ui->list);
	free(ui->list.v);
	tenant_close(ui->tenant);
	tenant_view_free(&ui->tenant_view);
	free(ui->tags);
	free(ui->history);
	free(ui->exits.v);
	free(ui->users.v);
	free(ui->drills.v);
	free(ui->accepts.v);
	free(ui);
}

static struct ui *ui_new(struct iho_collector *c, const struct iho_tui_options *o,
			 struct iho_settings *own)
{
	struct ui *ui = calloc(1, sizeof(*ui));

	if (!ui)
		return NULL;
	ui->list.cap = 256;
	ui->list.v = calloc(ui->list.cap, sizeof(*ui->list.v));
	if (!ui->list.v) {
		free(ui);
		return NULL;
	}
	iho_settings_init(own);
	ui->collector = c;
	ui->save = o->settings;
	ui->set = o->settings ? o->settings : own;
	ui->delay_s = o->delay_s > 0 ? o->delay_s : ui->set->delay_s;
	ui->notice = o->notice;
	ui->tenant_vm = o->tenant;
	if (o->tenant)
		ui->screen = SCREEN_TENANT;
	ui->ascii = o->ascii;
	ui->page = 1;
	if (o->warning)
		ui_say(ui, true, "%s", o->warning);
	return ui;
}

int iho_tui_run(struct iho_collector *c, const struct iho_tui_options *o, struct iho_error *err)
{
	struct iho_error not_saved = { "" };
	struct iho_settings own;
	struct ui *ui = ui_new(c, o, &own);
	int rc;

	if (!ui) {
		snprintf(err->text, sizeof(err->text), "out of memory");
		return -ENOMEM;
	}
	rc = term_open(&ui->term, err);
	if (!rc) {
		term_theme(&ui->term, ui->set->theme);
		term_mouse(ui->set->mouse);
		rc = loop(ui, o->iterations, err);
		term_close(&ui->term);
	}
	if (ui->save && ui->dirty && iho_settings_save(ui->set, &not_saved))
		fprintf(stderr, "iho-top: %s\n", not_saved.text);
	ui_free(ui);
	return rc;
}
