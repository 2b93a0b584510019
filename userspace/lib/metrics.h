/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A report as metrics: the one catalogue of metric families (name, type, unit, help, labels), and
 * the three formats in which it is written. Pure: the output depends on the arguments alone.
 *
 * Labels. `vm` is the VM's name as the report has it. Bytes that are no UTF-8, and control
 * characters other than a line feed, become the four characters \xNN. Of two living VMs with one
 * name, the one that the report lists first keeps it and the others are called NAME@PID (and
 * NAME@PID#2... within one process). A VM that ended is written as long as the report has it,
 * unless another one has its name: a living one, or one that ended later. So no series (name and
 * labels) is ever written twice. `vcpu` is the vCPU's number, "unknown" for all whose number is not
 * known (yet), together.
 *
 * Counters are sums over the threads that had a vCPU's number, as long as the report has them.
 *
 * Numbers: integers are exact, times are exact decimals of whole nanoseconds, anything else is the
 * shortest text that reads back as the same double. What is not known is left out. The process must
 * keep LC_NUMERIC at "C".
 */
#ifndef IHO_METRICS_H
#define IHO_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "report.h"

#define IHO_METRIC_LABELS 4

enum iho_metric_type {
	IHO_METRIC_COUNTER,
	IHO_METRIC_GAUGE,
	IHO_METRIC_HISTOGRAM,
	IHO_METRIC_INFO, /* always 1; what it tells is in the labels */
};

/* What a family is about, and so when it is written. */
enum iho_metric_scope {
	IHO_METRIC_ALWAYS, /* even when the collector does not answer */
	IHO_METRIC_HOST, /* once for each report */
	IHO_METRIC_EXPORTER, /* once, if the exporter tells about itself */
	IHO_METRIC_VM, /* for each VM of the report; the first label is `vm` */
	IHO_METRIC_NAMED, /* once, about VMs that need not be there any more; first label `vm` */
};

struct iho_metrics_emit;

/* One family. */
struct iho_metric {
	const char *name; /* a counter's ends in _total, that of an info in _info */
	enum iho_metric_type type;
	const char *unit; /* "seconds", "bytes", "ratio"...: the end of the name; "" = a number */
	const char *help;
	const char *labels[IHO_METRIC_LABELS]; /* in the order of the output; NULL ends them */
	enum iho_metric_scope scope;
	/* private: writes the samples of the host, or of one VM; `of` is the function's own */
	void (*emit)(struct iho_metrics_emit *e);
	size_t of;
};

/* All families, in the order of the output: the first are the last to be dropped. */
const struct iho_metric *iho_metrics_catalogue(size_t *n);

/* "counter", "gauge", "histogram", "info" */
const char *iho_metric_type_name(enum iho_metric_type type);

enum iho_metrics_format {
	IHO_METRICS_PROMETHEUS, /* text format 0.0.4 */
	IHO_METRICS_OPENMETRICS, /* 1.0.0 */
	IHO_METRICS_JSON, /* "iho-metrics/1"; "time" is null without a report */
};

struct iho_metrics_options {
	const char *const *vm; /* only VMs whose name matches one of these globs; none = all */
	size_t n_vm;
	const char *const *exclude; /* but none that matches one of these */
	size_t n_exclude;
	/*
	 * The most series (a histogram counts its buckets, sum and count); 0 = no limit. What the
	 * collector and the exporter tell about themselves is always written. A family that does
	 * not fit any more is left out for a VM as a whole (one of IHO_METRIC_NAMED for all), and
	 * its series are counted as dropped.
	 */
	size_t max_series;
};

struct iho_metrics_requests {
	unsigned int code; /* HTTP status */
	uint64_t total;
};

/* The exporter's own numbers. */
struct iho_metrics_exporter {
	uint64_t cpu_ns;
	uint64_t rss_bytes;
	double scrape_s; /* how long the last scrape took to render; < 0: there was none yet */
	const struct iho_metrics_requests *requests; /* by code, each code once */
	size_t n_requests;
	uint64_t connections; /* open now */
	uint64_t connections_evicted; /* closed because there were too many or they were slow */
};

struct iho_metrics_text {
	char *data; /* ends in a 0 that `len` does not count */
	size_t len;
	size_t series, dropped;
};

/*
 * `r` NULL: the collector does not answer; `self` NULL: there is no exporter; `o` NULL: everything.
 * Returns 0 or -ENOMEM, -EINVAL (no such format); `out` need not be initialized, and is empty after
 * an error.
 */
int iho_metrics_render(struct iho_metrics_text *out, const struct iho_report *r,
		       const struct iho_metrics_exporter *self, enum iho_metrics_format f,
		       const struct iho_metrics_options *o);
void iho_metrics_text_free(struct iho_metrics_text *t);

#endif /* IHO_METRICS_H */
