/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statements one after the other: typed by a person, or from standard input. */
#ifndef QUERY_SHELL_H
#define QUERY_SHELL_H

#include "options.h"

/*
 * On a terminal with a prompt, history and completion; else statements ended by ';' are read until
 * the input ends, and the first that fails ends it. Returns the exit status.
 */
int shell(struct session *s, enum query_format kind);

/* The tables that fit a pattern of LIKE's kind, with their columns or by name only. */
void shell_tables(FILE *out);
int shell_schema(FILE *out, const char *table);

/* What was found in the guest and how, from session_about(). */
void shell_about(FILE *out, const struct session *s, enum query_format kind);

/* ^C ends the statement that runs, from now on. */
void shell_catch_interrupt(struct session *s);

#endif /* QUERY_SHELL_H */
