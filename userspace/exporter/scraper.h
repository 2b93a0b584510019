/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The thread that scrapes, and the bodies that it made. A body is shared by all who send it; one
 * that is young enough is given out again, so that a flood of requests costs one rendering for each
 * --min-interval. A slow reader keeps its body alive, so the number of bodies of a kind that live
 * at once is bounded too; at the bound the newest one there is goes out.
 */
#ifndef IHO_EXPORTER_SCRAPER_H
#define IHO_EXPORTER_SCRAPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collect.h"

#define IHO_BODY_KINDS	6 /* three formats, plain and gzip */
#define IHO_BODIES_LIVE 3 /* of a kind */

struct iho_scraper;

struct iho_body {
	char *data;
	size_t len;
	uint64_t taken_ns; /* when the report was taken, on iho_now_ns()'s clock */
	unsigned int kind, refs;
	struct iho_scraper *owner;
};

static inline unsigned int iho_body_kind(enum iho_metrics_format format, bool gzip)
{
	return 2 * format + gzip;
}

/*
 * Starts the thread, which takes `collect` over, also on error. `fd`, an eventfd, is written to
 * whenever bodies were made.
 */
int iho_scraper_start(struct iho_scraper **out, struct iho_collect *collect, double min_interval_s,
		      int fd, struct iho_error *err);

/* Waits some seconds for the thread. Bodies that are still held live until they are put. */
void iho_scraper_stop(struct iho_scraper *s);

/*
 * A body for a request that came at `asked_ns`, held for the caller; NULL: it is being made, ask
 * again when `fd` says so.
 */
struct iho_body *iho_scraper_get(struct iho_scraper *s, unsigned int kind, uint64_t asked_ns);
void iho_body_put(void *body);

/* As many bodies of this kind are held as may be. */
bool iho_scraper_full(struct iho_scraper *s, unsigned int kind);

/* Does the collector answer? If not, `why` says so in one sentence. */
bool iho_scraper_ready(struct iho_scraper *s, char *why, size_t len);

/* gzip, as of RFC 1952; the caller frees it */
int iho_gzip(const char *data, size_t len, char **out, size_t *out_len);

#endif /* IHO_EXPORTER_SCRAPER_H */
