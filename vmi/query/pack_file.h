/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file of queries as osquery's packs are (osquery: docs/wiki/deployment/configuration.md,
 * osquery/config/packs.cpp): JSON with lines of comments, and lines that go on behind a backslash.
 */
#ifndef QUERY_PACK_FILE_H
#define QUERY_PACK_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "../memory/target.h"

#define PACK_INTERVAL_MAX 604800 /* a week, as in osquery */

struct pack_query {
	char *name, *sql; /* owned */
	unsigned int interval_s;
	bool snapshot; /* the whole result each time, not what changed */
	bool removed; /* rows that are gone are told, too */
};

struct pack {
	char *name; /* of the file, without folder and ending; owned */
	struct pack_query *query; /* those that are for Linux and for this host */
	size_t n;
	char **discovery; /* all must have rows, or the pack is not for this guest */
	size_t n_discovery;
	size_t left_out; /* queries for other systems or hosts */
	size_t wrong; /* entries that are no query: without a text, with no interval that can be */
	bool elsewhere; /* the whole pack is for another system or host */
};

/* `host`: whose share of a "shard" counts. 0, or a negative errno value with a sentence. */
int pack_load(struct pack **out, const char *file, const char *host, struct vmi_error *err);
void pack_free(struct pack *p);

#endif /* QUERY_PACK_FILE_H */
