// SPDX-License-Identifier: GPL-2.0-or-later
#include "catalogue.h"

#include <errno.h>
#include <jansson.h>

#include "metrics.h"

static void print_text(FILE *f, const struct iho_metric *m)
{
	fprintf(f, "%s", m->name);
	for (size_t i = 0; i < IHO_METRIC_LABELS && m->labels[i]; i++)
		fprintf(f, "%s%s", i ? "," : "{", m->labels[i]);
	fprintf(f, "%s  %s  %s\n", m->labels[0] ? "}" : "", iho_metric_type_name(m->type), m->help);
}

static json_t *to_json(const struct iho_metric *m)
{
	json_t *labels = json_array();

	for (size_t i = 0; i < IHO_METRIC_LABELS && m->labels[i]; i++)
		json_array_append_new(labels, json_string(m->labels[i]));
	return json_pack("{s:s,s:s,s:s,s:s,s:o}", "name", m->name, "type",
			 iho_metric_type_name(m->type), "unit", m->unit, "help", m->help, "labels",
			 labels);
}

int iho_catalogue_print(FILE *f, bool json)
{
	const struct iho_metric *m;
	json_t *families, *root;
	size_t n;
	int r;

	m = iho_metrics_catalogue(&n);
	if (!json) {
		for (size_t i = 0; i < n; i++)
			print_text(f, &m[i]);
		return 0;
	}
	families = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(families, to_json(&m[i]));
	root = json_pack("{s:s,s:o}", "schema", "iho-metrics-catalogue/1", "families", families);
	if (!root)
		return -ENOMEM;
	r = json_dumpf(root, f, JSON_COMPACT) ? -ENOMEM : 0;
	fputc('\n', f);
	json_decref(root);
	return r;
}
