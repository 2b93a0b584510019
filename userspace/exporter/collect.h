/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One scrape: ask the collector, render its report. A collector that does not answer is asked again
 * after 1 s, then ever later up to 30 s, but an ihod that was there once at each scrape; meanwhile
 * a scrape says iho_up 0. Belongs to one thread.
 */
#ifndef IHO_EXPORTER_COLLECT_H
#define IHO_EXPORTER_COLLECT_H

#include "collector.h"
#include "metrics.h"

#define IHO_CODES 12

/* What only the server knows. One thread writes, any may read. */
struct iho_collect_counts {
	uint64_t connections, evicted;
	struct iho_metrics_requests requests[IHO_CODES]; /* code 0: the end */
};

/* Counts one answer; for one thread. */
void iho_count_request(struct iho_collect_counts *c, unsigned int code);

struct iho_collect;

/* The three must outlive it. */
int iho_collect_new(struct iho_collect **out, const struct iho_collector_options *collector,
		    const struct iho_metrics_options *metrics,
		    const struct iho_collect_counts *counts, struct iho_error *err);
void iho_collect_free(struct iho_collect *c);

/*
 * Takes a report, and opens the collector before where it is time to. 0, or a negative errno value
 * and the reason; also while it is not yet time to try again.
 */
int iho_collect_report(struct iho_collect *c, struct iho_error *err);

/* Renders the last report, or iho_up 0 where the last one failed. */
int iho_collect_render(struct iho_collect *c, enum iho_metrics_format format,
		       struct iho_metrics_text *out);

/* What a scrape says while no collector answers. May be called by any thread. */
int iho_collect_render_down(const struct iho_metrics_options *o,
			    const struct iho_collect_counts *counts, enum iho_metrics_format format,
			    struct iho_metrics_text *out);

uint64_t iho_now_ns(void); /* monotonic */

#endif /* IHO_EXPORTER_COLLECT_H */
