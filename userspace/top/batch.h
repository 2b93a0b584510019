/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Output for programs: a report as JSON, CSV or a plain table on a stream.
 */
#ifndef IHO_BATCH_H
#define IHO_BATCH_H

#include <stdio.h>

#include "collector.h"
#include "tenant.h"

enum iho_format { IHO_FORMAT_AUTO, IHO_FORMAT_TABLE, IHO_FORMAT_CSV, IHO_FORMAT_JSON };

/* -EINVAL for an unknown name. */
int iho_format_parse(const char *name, enum iho_format *f);

/* One report. `tenant` goes into JSON; NULL = none. `first` asks for headers where the format has
 * them. Returns 0 or -errno. */
int iho_batch_print(FILE *f, enum iho_format format, const struct iho_report *r, bool first,
		    struct tenant *tenant);

int iho_features_print(FILE *f, enum iho_format format, const struct iho_features *features);

/* An error: one sentence, or one JSON object. */
void iho_error_print(enum iho_format format, const char *text);

/* The JSON Schema of the reports, as text. */
const char *iho_json_schema(void);

#endif /* IHO_BATCH_H */
