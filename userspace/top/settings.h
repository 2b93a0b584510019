/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a user may set and iho-top remembers: $XDG_CONFIG_HOME/iho/iho-top.json, else
 * ~/.config/iho/iho-top.json.
 *
 *	{"delay": 1.0, "theme": "default", "ascii": false, "tree": false, "mouse": true,
 *	 "sort": {"overview": {"column": "exits", "invert": false}, ...}}
 *
 * Every key is optional; keys that this version does not know are kept when the file is written.
 */
#ifndef IHO_TOP_SETTINGS_H
#define IHO_TOP_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "collector.h"

#define IHO_DELAY_MIN_S 0.1
#define IHO_DELAY_MAX_S 3600.0

enum iho_theme {
	IHO_THEME_DEFAULT,
	IHO_THEME_LIGHT, /* dark text, for a light background */
	IHO_THEME_MONO,
	IHO_THEME_HIGH_CONTRAST,
	IHO_THEME_MAX,
};

/* The tables that are sorted on their own. */
enum iho_sorted {
	IHO_SORTED_OVERVIEW,
	IHO_SORTED_EXITS,
	IHO_SORTED_DRILL,
	IHO_SORTED_VCPUS,
	IHO_SORTED_INTERLOPERS,
	IHO_SORTED_INTERRUPTS,
	IHO_SORTED_TENANT,
	IHO_SORTED_MAX,
};

struct iho_sort {
	char column[24]; /* the column's key; "" or unknown: the screen's own choice */
	bool invert;
};

struct iho_settings {
	double delay_s;
	enum iho_theme theme;
	bool ascii; /* bars of plain letters even where the locale is UTF-8 */
	bool tree; /* the overview shows each VM's vCPUs */
	bool mouse;
	struct iho_sort sort[IHO_SORTED_MAX];
	bool broken; /* the file could not be read as settings: it is never overwritten */
	struct json_t *file; /* what was read, with the unknown keys; owned */
};

const char *iho_theme_name(enum iho_theme theme);

/* The defaults, without a look at the file. */
void iho_settings_init(struct iho_settings *s);

/*
 * Reads the file over the defaults (`s` needs no iho_settings_init()). Returns 0, also where there
 * is no file; on a negative errno value `err` says what is wrong and `s` holds usable settings.
 */
int iho_settings_load(struct iho_settings *s, struct iho_error *err);

/* Writes the file, whole or not at all, and makes its folders. */
int iho_settings_save(struct iho_settings *s, struct iho_error *err);

void iho_settings_free(struct iho_settings *s);

#endif /* IHO_TOP_SETTINGS_H */
