// SPDX-License-Identifier: GPL-2.0-or-later
/* Setup: what a user may change; each change is shown at once and saved. */
#include "screen.h"

#include <stdio.h>
#include <string.h>

enum { SET_THEME, SET_BARS, SET_DELAY, SET_TREE, SET_MOUSE, SET_SORT };

/* Each sorted table, by the screen that shows it. */
static const enum screen_id sorted_screens[] = {
	SCREEN_OVERVIEW, SCREEN_EXITS,	     SCREEN_DRILL,
	SCREEN_VCPUS,	 SCREEN_INTERLOPERS, SCREEN_INTERRUPTS,
};

static void add(struct list *l, uint32_t which, const char *name, const char *value)
{
	struct item *it;

	list_text(l, ITEM_ROW, ST_TEXT, "  %-22s %s", name, value);
	it = &l->v[l->n - 1];
	it->id.type = ROW_SETTING;
	it->id.a = which;
}

static const struct column *sort_column(const struct ui *ui, const struct screen *s)
{
	const char *key = ui->set->sort[s->sorted].column;
	const struct column *found = NULL;
	size_t i;

	for (i = 0; i < s->n_columns; i++) {
		const struct column *c = &s->columns[i];

		if (c->get && !strcmp(c->key, key))
			return c;
		if (!strcmp(c->key, s->default_sort))
			found = c;
	}
	return found;
}

static void build(struct ui *ui, struct list *l)
{
	const struct iho_settings *set = ui->set;
	char text[64], name[64];
	size_t i;

	list_text(l, ITEM_SECTION, ST_SECTION,
		  "Left and Right change a value, which is saved; Esc goes back");
	snprintf(text, sizeof(text), "%s%s", iho_theme_name(set->theme),
		 ui->term.has_colours ? "" : " (this terminal shows no colours)");
	add(l, SET_THEME, "Theme", text);
	add(l, SET_BARS, "Bars",
	    set->ascii	    ? "ASCII"
	    : ui->term.utf8 ? "UTF-8"
			    : "UTF-8 (but this locale has only ASCII)");
	snprintf(text, sizeof(text), "%.1f s", ui->delay_s);
	add(l, SET_DELAY, "Delay", text);
	add(l, SET_TREE, "Tree (VM, vCPUs)", set->tree ? "yes" : "no");
	add(l, SET_MOUSE, "Mouse", set->mouse ? "yes" : "no");
	list_text(l, ITEM_SECTION, ST_SECTION, "Sort by (I on a screen inverts)");
	for (i = 0; i < ARRAY_SIZE(sorted_screens); i++) {
		const struct screen *s = screens[sorted_screens[i]];
		const struct column *c = sort_column(ui, s);

		snprintf(name, sizeof(name), "%s", s->title);
		snprintf(text, sizeof(text), "%s%s", c ? c->title : "",
			 set->sort[s->sorted].invert ? " (inverted)" : "");
		add(l, SET_SORT + (uint32_t)i, name, text);
	}
	if (!ui->save)
		list_text(l, ITEM_LINE, ST_DIM, "  These settings are not saved.");
}

static void step_sort(struct ui *ui, const struct screen *s, int step)
{
	const struct column *c = sort_column(ui, s);
	size_t i = c ? (size_t)(c - s->columns) : 0;

	do {
		i = (i + s->n_columns + (size_t)step) % s->n_columns;
	} while (!s->columns[i].get);
	snprintf(ui->set->sort[s->sorted].column, sizeof(ui->set->sort[s->sorted].column), "%s",
		 s->columns[i].key);
	ui->set->sort[s->sorted].invert = false;
}

static void change(struct ui *ui, uint32_t which, int step)
{
	struct iho_settings *set = ui->set;

	switch (which) {
	case SET_THEME:
		set->theme =
			(enum iho_theme)(((int)set->theme + IHO_THEME_MAX + step) % IHO_THEME_MAX);
		term_theme(&ui->term, set->theme);
		break;
	case SET_BARS:
		set->ascii = !set->ascii;
		break;
	case SET_DELAY:
		ui_set_delay(ui, ui->delay_s + 0.1 * step);
		break;
	case SET_TREE:
		set->tree = !set->tree;
		break;
	case SET_MOUSE:
		set->mouse = !set->mouse;
		term_mouse(set->mouse);
		break;
	default:
		step_sort(ui, screens[sorted_screens[which - SET_SORT]], step);
	}
	ui->dirty = true;
	ui_save(ui);
}

static bool on_key(struct ui *ui, int key)
{
	const struct item *it = table_selected(ui);

	if (key != KEY_LEFT && key != KEY_RIGHT && key != '\n' && key != ' ')
		return false;
	if (it)
		change(ui, it->id.a, key == KEY_LEFT ? -1 : 1);
	return true;
}

const struct screen screen_setup = {
	.title = "Setup",
	.parent = SCREEN_OVERVIEW,
	.build = build,
	.on_key = on_key,
};
