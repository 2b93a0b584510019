/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The terminal: set up, waited for, and put back as it was on every kind of death.
 * Private to userspace/top.
 */
#ifndef IHO_TOP_TERMINAL_H
#define IHO_TOP_TERMINAL_H

#include <ncurses.h>
#include <signal.h>
#include <stdbool.h>

#include "collector.h"
#include "settings.h"

/* What a piece of the screen is; a theme says how that looks. The bill's states follow in order. */
enum style {
	ST_TEXT,
	ST_DIM,
	ST_TITLE,
	ST_TAB,
	ST_TAB_ON,
	ST_HEADER,
	ST_HEADER_SORT,
	ST_SECTION,
	ST_SELECTED,
	ST_TAGGED,
	ST_WARN,
	ST_BAD,
	ST_KEY,
	ST_KEY_TEXT,
	ST_SPARK,
	ST_BILL,
	ST_MAX = ST_BILL + IHO_BILL_MAX,
};

struct terminal {
	bool utf8; /* the locale can show more than ASCII */
	bool ascii; /* ... but is not to, or cannot */
	bool has_colours; /* the terminal has them and NO_COLOR does not forbid them */
	bool colours; /* ... and the theme uses them */
	attr_t attr[ST_MAX];
	SCREEN *screen;
	sigset_t wait_mask; /* the signals that are let in while we wait */
	sigset_t old_mask;
};

enum term_event {
	TERM_TIMEOUT = 0,
	TERM_INPUT = 1,
	TERM_RESIZE = 2,
	TERM_SIGNAL = 4, /* asked to end; term_signal() says by which one */
	TERM_GONE = 8, /* nobody at the other end any more */
	TERM_WOKEN = 16, /* another signal, e.g. back from Ctrl-Z: the screen may be stale */
};

int term_open(struct terminal *t, struct iho_error *err);
void term_close(struct terminal *t);

/* Waits for a signal, input, or the end of `seconds` (< 0: for ever). A set of term_event. */
int term_wait(struct terminal *t, double seconds);

int term_signal(void);

/* Takes over the terminal's present size. */
void term_fit(void);

void term_theme(struct terminal *t, enum iho_theme theme);
void term_mouse(bool on);

static inline void style_set(const struct terminal *t, int style)
{
	(void)attrset((int)t->attr[style]);
}

#endif /* IHO_TOP_TERMINAL_H */
