/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The door of the terminal UI: everything between a collector and a person at a terminal. */
#ifndef IHO_TOP_TUI_H
#define IHO_TOP_TUI_H

#include "collector.h"
#include "settings.h"

struct iho_tui_options {
	double delay_s; /* between two reports; <= 0: the settings' own */
	unsigned long iterations; /* reports to show, each for one delay; 0 = endless */
	struct iho_settings *settings; /* changed by the user, then saved; NULL: not saved */
	bool ascii; /* no characters beyond ASCII in this run, whatever the settings say */
	const char *tenant; /* VM whose Tenant screen is opened first; NULL = none */
	const char *notice; /* stays on the strip: "demo tenant started: pid 123"; NULL = none */
	const char *warning; /* shown until the first key: broken settings; NULL = none */
};

/*
 * Shows the collector's reports on stdin/stdout, which must be a terminal, until the user quits.
 * Returns 0 when the user quit (q, F10, Ctrl-C) or the iterations are over; the signal's number
 * when SIGTERM or SIGHUP ended it, so that the caller can clean up and raise it again; else a
 * negative errno value and one sentence in `err`. The terminal is as it was before in every case,
 * also when the process dies of a fatal signal meanwhile.
 */
int iho_tui_run(struct iho_collector *c, const struct iho_tui_options *o, struct iho_error *err);

#endif /* IHO_TOP_TUI_H */
