/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Results as a person or a program wants them: a sink (sql/engine.h) for each format.
 *
 *	table	aligned columns; widths are of the first rows, longer values push their line out
 *	csv	RFC 4180, with a header; NULL is nothing, an empty text is ""
 *	json	an array of objects; of columns with one name the later ones are called "name:2"
 *	lines	"name = value", a line each, an empty line between rows
 */
#ifndef QUERY_FORMAT_H
#define QUERY_FORMAT_H

#include <stdio.h>

#include "../sql/engine.h"

enum query_format { FORMAT_TABLE, FORMAT_CSV, FORMAT_JSON, FORMAT_LINES };

int format_parse(const char *name, enum query_format *f);
const char *format_name(enum query_format f);

struct format;

/* `compact`: a JSON array is one line. NULL: no memory. */
struct format *format_new(FILE *out, enum query_format f, bool compact);
/* For one result; ended by format_end(). */
const struct vmi_sink *format_sink(struct format *f);
/*
 * The rest of a result, also of one that broke off: what was begun is ended. Returns 0, or -EIO
 * where it could not be written. After it, the sink may take another result.
 */
int format_end(struct format *f);
/* Has anything of a result gone out since it began? */
bool format_begun(const struct format *f);
void format_free(struct format *f);

/*
 * The names of JSON members: new ones where two columns have the same. `out` has room for n, and
 * its texts are to be freed; -ENOMEM.
 */
int format_unique(const char *const *names, size_t n, char **out);

/* Cells that a text takes on a terminal; what it has no width for, one each. */
size_t format_width(const char *s);

#endif /* QUERY_FORMAT_H */
