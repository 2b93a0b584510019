// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The catalogue as JSON, "iho-metrics/1". Written straight into the buffer and not through jansson:
 * that would make a tree of thousands of objects for every scrape, to walk it once.
 */
#include "metrics_emit.h"

static void key(struct iho_metrics_buf *b, const char *sep, const char *name)
{
	iho_buf_str(b, sep);
	iho_buf_quoted(b, name);
	iho_buf_add(b, ":", 1);
}

static void json_begin(struct iho_metrics_emit *e)
{
	key(&e->out, "{", "schema");
	iho_buf_quoted(&e->out, "iho-metrics/1");
	key(&e->out, ",", "time");
	if (e->report)
		iho_buf_real(&e->out, e->report->time_s);
	else
		iho_buf_str(&e->out, "null");
	key(&e->out, ",", "families");
	iho_buf_add(&e->out, "[", 1);
}

static void json_family(struct iho_metrics_emit *e)
{
	struct iho_metrics_buf *b = &e->out;

	key(b, e->families ? ",\n{" : "\n{", "name");
	iho_buf_quoted(b, e->metric->name);
	key(b, ",", "type");
	iho_buf_quoted(b, iho_metric_type_name(e->metric->type));
	key(b, ",", "unit");
	iho_buf_quoted(b, e->metric->unit);
	key(b, ",", "help");
	iho_buf_quoted(b, e->metric->help);
	key(b, ",", "samples");
	iho_buf_add(b, "[", 1);
}

static void begin_sample(struct iho_metrics_emit *e, const char *const *labels)
{
	struct iho_metrics_buf *b = &e->out;

	iho_buf_str(b, e->samples ? ",\n" : "\n");
	key(b, "{", "labels");
	iho_buf_add(b, "{", 1);
	for (int i = 0; i < IHO_METRIC_LABELS && e->metric->labels[i]; i++) {
		key(b, i ? "," : "", e->metric->labels[i]);
		iho_buf_quoted(b, labels[i]);
	}
	iho_buf_add(b, "}", 1);
}

static void json_sample(struct iho_metrics_emit *e, const char *const *labels,
			const struct iho_metric_value *v)
{
	begin_sample(e, labels);
	key(&e->out, ",", "value");
	iho_buf_value(&e->out, v);
	iho_buf_add(&e->out, "}", 1);
}

static void json_histogram(struct iho_metrics_emit *e, const char *const *labels,
			   const struct iho_metric_hist *h)
{
	struct iho_metrics_buf *b = &e->out;

	begin_sample(e, labels);
	key(b, ",", "count");
	iho_buf_u64(b, h->count);
	key(b, ",", "sum");
	iho_buf_ns(b, h->sum_ns);
	key(b, ",", "buckets");
	for (unsigned int i = 0; i < IHO_LE_BOUNDS; i++) {
		key(b, i ? ",{" : "[{", "le");
		iho_buf_str(b, e->le[i]);
		key(b, ",", "count");
		iho_buf_u64(b, h->below[i]);
		iho_buf_add(b, "}", 1);
	}
	key(b, ",{", "le");
	iho_buf_quoted(b, "+Inf");
	key(b, ",", "count");
	iho_buf_u64(b, h->count);
	iho_buf_str(b, "}]}");
}

static void json_family_end(struct iho_metrics_emit *e)
{
	iho_buf_str(&e->out, "]}");
}

static void json_end(struct iho_metrics_emit *e)
{
	iho_buf_str(&e->out, "]}\n");
}

const struct iho_metrics_sink iho_metrics_json = {
	.begin = json_begin,
	.family = json_family,
	.sample = json_sample,
	.histogram = json_histogram,
	.family_end = json_family_end,
	.end = json_end,
};
