/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a pack (pack_file.h) and tells what changed, as osquery's log of results does. */
#ifndef QUERY_PACK_H
#define QUERY_PACK_H

#include "options.h"

/*
 * All queries at once, then each at its interval, until the guest ends; `once`: no further time.
 * Returns the exit status.
 */
int pack_run(struct session *s, const char *file, enum query_format kind, bool once);

#endif /* QUERY_PACK_H */
