// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The two text formats: Prometheus 0.0.4 (prometheus.io, "Exposition formats") and OpenMetrics
 * 1.0.0 (the specification of that name). They differ in the heads of families, and in the end.
 */
#include <stdio.h>
#include <string.h>

#include "metrics_emit.h"

static void add_labels(struct iho_metrics_emit *e, const char *const *labels, const char *le)
{
	struct iho_metrics_buf *b = &e->out;
	const char *sep = "{";

	for (int i = 0; i < IHO_METRIC_LABELS && e->metric->labels[i]; i++) {
		iho_buf_str(b, sep);
		iho_buf_str(b, e->metric->labels[i]);
		iho_buf_add(b, "=", 1);
		iho_buf_quoted(b, labels[i]);
		sep = ",";
	}
	if (le) {
		iho_buf_str(b, sep);
		iho_buf_str(b, "le=");
		iho_buf_quoted(b, le);
		sep = ",";
	}
	iho_buf_str(b, *sep == ',' ? "} " : " ");
}

static void text_sample(struct iho_metrics_emit *e, const char *const *labels,
			const struct iho_metric_value *v)
{
	iho_buf_str(&e->out, e->metric->name);
	add_labels(e, labels, NULL);
	iho_buf_value(&e->out, v);
	iho_buf_add(&e->out, "\n", 1);
}

static void begin_line(struct iho_metrics_emit *e, const char *suffix, const char *const *labels,
		       const char *le)
{
	iho_buf_str(&e->out, e->metric->name);
	iho_buf_str(&e->out, suffix);
	add_labels(e, labels, le);
}

static void text_histogram(struct iho_metrics_emit *e, const char *const *labels,
			   const struct iho_metric_hist *h)
{
	struct iho_metrics_buf *b = &e->out;

	for (unsigned int i = 0; i <= IHO_LE_BOUNDS; i++) {
		begin_line(e, "_bucket", labels, i < IHO_LE_BOUNDS ? e->le[i] : "+Inf");
		iho_buf_u64(b, i < IHO_LE_BOUNDS ? h->below[i] : h->count);
		iho_buf_add(b, "\n", 1);
	}
	begin_line(e, "_sum", labels, NULL);
	iho_buf_ns(b, h->sum_ns);
	iho_buf_add(b, "\n", 1);
	begin_line(e, "_count", labels, NULL);
	iho_buf_u64(b, h->count);
	iho_buf_add(b, "\n", 1);
}

static void add_head(struct iho_metrics_buf *b, const char *what, const char *name, size_t len,
		     const char *text)
{
	iho_buf_str(b, what);
	iho_buf_add(b, name, len);
	iho_buf_add(b, " ", 1);
	iho_buf_str(b, text);
	iho_buf_add(b, "\n", 1);
}

static void prometheus_family(struct iho_metrics_emit *e)
{
	const struct iho_metric *m = e->metric;
	size_t len = strlen(m->name);

	add_head(&e->out, "# HELP ", m->name, len, m->help);
	/* this format knows no info */
	add_head(&e->out, "# TYPE ", m->name, len,
		 iho_metric_type_name(m->type == IHO_METRIC_INFO ? IHO_METRIC_GAUGE : m->type));
}

/* A family's name there is without the suffix that its type demands of the samples. */
static void openmetrics_family(struct iho_metrics_emit *e)
{
	const struct iho_metric *m = e->metric;
	size_t len = strlen(m->name);

	if (m->type == IHO_METRIC_COUNTER)
		len -= strlen("_total");
	else if (m->type == IHO_METRIC_INFO)
		len -= strlen("_info");
	add_head(&e->out, "# TYPE ", m->name, len, iho_metric_type_name(m->type));
	if (m->unit[0])
		add_head(&e->out, "# UNIT ", m->name, len, m->unit);
	add_head(&e->out, "# HELP ", m->name, len, m->help);
}

static void openmetrics_end(struct iho_metrics_emit *e)
{
	iho_buf_str(&e->out, "# EOF\n");
}

static void nothing(struct iho_metrics_emit *e)
{
}

const struct iho_metrics_sink iho_metrics_prometheus = {
	.begin = nothing,
	.family = prometheus_family,
	.sample = text_sample,
	.histogram = text_histogram,
	.family_end = nothing,
	.end = nothing,
};

const struct iho_metrics_sink iho_metrics_openmetrics = {
	.begin = nothing,
	.family = openmetrics_family,
	.sample = text_sample,
	.histogram = text_histogram,
	.family_end = nothing,
	.end = openmetrics_end,
};
