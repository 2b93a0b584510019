/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: between the families (metrics_families.c), which know the report, and
 * the formats (metrics_text.c, metrics_json.c), which know how a sample is written.
 *
 * To add a family: one row in the table of metrics_families.c, and an emit function that calls one
 * of the iho_emit_...() below for each sample, with the label values in the order of the row's
 * labels. A value that is not known is no sample. One call for one combination of labels. Emit
 * functions of another subject go to a file of their own, and are declared here.
 */
#ifndef IHO_METRICS_EMIT_H
#define IHO_METRICS_EMIT_H

#include <stdbool.h>

#include "metrics.h"

/* Text that grows; after an error nothing is added any more. */
struct iho_metrics_buf {
	char *data;
	size_t len, cap;
	int error;
};

void iho_buf_add(struct iho_metrics_buf *b, const char *s, size_t len);
void iho_buf_str(struct iho_metrics_buf *b, const char *s);
void iho_buf_u64(struct iho_metrics_buf *b, uint64_t n);
/* Seconds, exactly, from nanoseconds. */
void iho_buf_ns(struct iho_metrics_buf *b, uint64_t ns);
void iho_buf_real(struct iho_metrics_buf *b, double d);
/* In quotes, escaped as both text formats and JSON want it, and made valid UTF-8. */
void iho_buf_quoted(struct iho_metrics_buf *b, const char *s);

struct iho_metric_value {
	enum { IHO_VALUE_INT, IHO_VALUE_NS, IHO_VALUE_REAL } type;
	uint64_t n;
	double d;
};

void iho_buf_value(struct iho_metrics_buf *b, const struct iho_metric_value *v);

/*
 * The upper bounds that are exported: each power of two from 2^9 to 2^20 ns, then every second one
 * up to 2^30.
 *
 * All are bounds of our own buckets, so folding loses nothing. What differs is the end of an
 * interval: ours are [low, high), those of `le` (low, high]. A duration of exactly `le` nanoseconds
 * is therefore counted one bucket higher than `le` says. It is the difference of two clock
 * readings, each cut to whole nanoseconds, so the true duration lies less than 1 ns to either side
 * of it, and it is as right on one side of the bound as on the other.
 */
#define IHO_LE_BOUNDS 17

struct iho_metric_hist {
	uint64_t below[IHO_LE_BOUNDS]; /* cumulative */
	uint64_t count;
	uint64_t sum_ns;
};

/* The bound number `i`, ns. */
uint64_t iho_metric_le_ns(unsigned int i);

/* Adds IHO_HIST_BUCKETS buckets and the time of what is in them. */
void iho_metric_hist_add(struct iho_metric_hist *h, const uint64_t *hist, uint64_t time_ns);

struct iho_metrics_sink {
	void (*begin)(struct iho_metrics_emit *e);
	void (*family)(struct iho_metrics_emit *e); /* before the first sample of e->metric */
	void (*sample)(struct iho_metrics_emit *e, const char *const *labels,
		       const struct iho_metric_value *v);
	void (*histogram)(struct iho_metrics_emit *e, const char *const *labels,
			  const struct iho_metric_hist *h);
	void (*family_end)(struct iho_metrics_emit *e);
	void (*end)(struct iho_metrics_emit *e);
};

extern const struct iho_metrics_sink iho_metrics_prometheus, iho_metrics_openmetrics,
	iho_metrics_json;

/* Rows of several vCPUs with one reason become one. */
struct iho_metrics_row {
	const char *reason;
	uint64_t total;
	struct iho_metric_hist hist;
};

/* What an emit function finds, and where its samples go. */
struct iho_metrics_emit {
	const struct iho_report *report; /* NULL only for IHO_METRIC_ALWAYS and ..._EXPORTER */
	const struct iho_metrics_exporter *self;
	const struct iho_metric *metric;
	const struct iho_vm_report *vm; /* IHO_METRIC_VM */
	const char *vm_label; /* its label */

	/* private to metrics.c and the formats */
	const struct iho_metrics_options *options;
	const struct iho_vm_label *labels; /* of the report's VMs */
	const struct iho_metrics_sink *sink;
	struct iho_metrics_buf out;
	size_t series, dropped;
	size_t families, samples; /* written; the samples of this family */
	struct iho_metrics_row *rows;
	size_t n_rows, rows_cap;
	char le[IHO_LE_BOUNDS][24]; /* seconds */
};

#define IHO_LABELS(...) ((const char *const[]){ __VA_ARGS__, NULL })

void iho_emit_int(struct iho_metrics_emit *e, const char *const *labels, uint64_t n);
void iho_emit_ns(struct iho_metrics_emit *e, const char *const *labels, uint64_t ns);
/* NaN and infinity are no sample. */
void iho_emit_real(struct iho_metrics_emit *e, const char *const *labels, double d);
void iho_emit_hist(struct iho_metrics_emit *e, const char *const *labels,
		   const struct iho_metric_hist *h);

/* The row of this reason in e->rows; n_rows = 0 empties it. NULL: no memory (e->out.error). */
struct iho_metrics_row *iho_emit_row(struct iho_metrics_emit *e, const char *reason);

/* The threads that had one vCPU number: that of today and those that ended; for -1, all of them. */
struct iho_metrics_vcpu {
	const struct iho_vcpu *v;
	size_t n;
	char label[16]; /* `vcpu` */
};

/* The next vCPU of the VM, until false; begins with one that is all zero. */
bool iho_emit_next_vcpu(const struct iho_metrics_emit *e, struct iho_metrics_vcpu *c);

/* The one thread that is this vCPU now; NULL where there is none, or several without a number. */
const struct iho_vcpu *iho_emit_living(const struct iho_metrics_vcpu *c);

/*
 * For IHO_METRIC_NAMED: the `vm` label of what is known by a name and a process, the same as that
 * of the process' VM where the report has one; NULL: the options leave it out.
 */
const char *iho_emit_label(const struct iho_metrics_emit *e, pid_t pid, const char *name);

/* metrics_utilisation.c */
void iho_emit_cpu_seconds(struct iho_metrics_emit *e);
void iho_emit_busy(struct iho_metrics_emit *e);
void iho_emit_disagreement(struct iho_metrics_emit *e);

/* metrics_direct.c */
void iho_emit_direct(struct iho_metrics_emit *e);
void iho_emit_direct_ipi(struct iho_metrics_emit *e);
void iho_emit_direct_missing(struct iho_metrics_emit *e);
void iho_emit_direct_interrupts(struct iho_metrics_emit *e);
void iho_emit_direct_ipis(struct iho_metrics_emit *e);
void iho_emit_direct_counter(struct iho_metrics_emit *e);
void iho_emit_direct_refused(struct iho_metrics_emit *e);

/* metrics_migration.c; of ..._number(), `of` is a double of struct iho_migration_numbers. */
void iho_emit_migration_active(struct iho_metrics_emit *e);
void iho_emit_migration_phase(struct iho_metrics_emit *e);
void iho_emit_migration_bytes(struct iho_metrics_emit *e);
void iho_emit_migration_iterations(struct iho_metrics_emit *e);
void iho_emit_migration_number(struct iho_metrics_emit *e);
void iho_emit_migration_downtime(struct iho_metrics_emit *e);
void iho_emit_migration_forecast(struct iho_metrics_emit *e);
void iho_emit_migration_converges(struct iho_metrics_emit *e);
void iho_emit_migrations(struct iho_metrics_emit *e);

#endif /* IHO_METRICS_EMIT_H */
