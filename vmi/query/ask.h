/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One statement, from its text to its result on standard output. */
#ifndef QUERY_ASK_H
#define QUERY_ASK_H

#include "options.h"

/*
 * Prints the result, and what is not whole in it as warnings. 0, or the exit status after the error
 * was said. `cost`: also what it took.
 */
int ask(struct session *s, struct format *f, enum query_format kind, const char *sql, bool cost);

#endif /* QUERY_ASK_H */
