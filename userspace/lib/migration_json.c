// SPDX-License-Identifier: GPL-2.0-or-later
/* Migrations as JSON, out and in. What comes in may come from anybody. */
#include "migration.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "text.h"
#include "vmname.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define TIME_MAX_S    1e11 /* seconds; what is longer is no time of ours */

/* One table for both ways, so that they cannot disagree. */
enum kind { COUNT, REAL };

struct field {
	const char *key;
	enum kind kind;
	size_t at;
};

#define FIELD(type, key, kind)                                                                     \
	{                                                                                          \
#key, kind, offsetof(type, key)                                                            \
	}

static const struct field numbers[] = {
	FIELD(struct iho_migration_numbers, elapsed_s, REAL),
	FIELD(struct iho_migration_numbers, total_bytes, COUNT),
	FIELD(struct iho_migration_numbers, transferred_bytes, COUNT),
	FIELD(struct iho_migration_numbers, remaining_bytes, COUNT),
	FIELD(struct iho_migration_numbers, normal_pages, COUNT),
	FIELD(struct iho_migration_numbers, zero_pages, COUNT),
	FIELD(struct iho_migration_numbers, page_bytes, COUNT),
	FIELD(struct iho_migration_numbers, iterations, COUNT),
	FIELD(struct iho_migration_numbers, dirty_bytes_per_s, REAL),
	FIELD(struct iho_migration_numbers, bandwidth_bytes_per_s, REAL),
	FIELD(struct iho_migration_numbers, downtime_expected_s, REAL),
	FIELD(struct iho_migration_numbers, downtime_limit_s, REAL),
	FIELD(struct iho_migration_numbers, downtime_actual_s, REAL),
	FIELD(struct iho_migration_numbers, throttle_ratio, REAL),
	FIELD(struct iho_migration_numbers, postcopy_requests, COUNT),
};

static const struct field forecast_bounds[] = {
	FIELD(struct iho_forecast, low_s, REAL),
	FIELD(struct iho_forecast, expected_s, REAL),
	FIELD(struct iho_forecast, high_s, REAL),
};

static const struct field kvm_numbers[] = {
	FIELD(struct iho_migration, page_faults_per_s, REAL),
	FIELD(struct iho_migration, dirty_pages_per_s, REAL),
	FIELD(struct iho_migration, page_fault_mean_s, REAL),
};

/* ---------------------------------------------------------------------------------------- out */

static void put_real(json_t *o, const char *key, double v)
{
	if (v >= 0 && isfinite(v))
		json_object_set_new(o, key, json_real(v));
}

static void put_fields(json_t *o, const void *base, const struct field *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *at = (const char *)base + f[i].at;
		int64_t count;
		double real;

		memcpy(&count, at, sizeof(count));
		memcpy(&real, at, sizeof(real));
		if (f[i].kind == REAL)
			put_real(o, f[i].key, real);
		else if (count >= 0)
			json_object_set_new(o, f[i].key, json_integer(count));
	}
}

static json_t *phases_json(uint32_t seen)
{
	json_t *a = json_array();

	for (int p = 0; p < IHO_MIGRATION_PHASES; p++)
		if (seen & 1u << p)
			json_array_append_new(a, json_string(iho_migration_phase_key(p)));
	return a;
}

static json_t *errors_json(const struct iho_migration *m)
{
	json_t *a = json_array();

	for (int i = 0; i < IHO_FORECAST_MARKS; i++)
		json_array_append_new(a, isnan(m->forecast_error[i])
						 ? json_null()
						 : json_real(m->forecast_error[i]));
	return a;
}

static json_t *forecast_json(const struct iho_forecast *f)
{
	json_t *o = json_object();

	json_object_set_new(o, "verdict", json_string(iho_forecast_verdict_key(f->verdict)));
	put_fields(o, f, forecast_bounds, ARRAY_SIZE(forecast_bounds));
	json_object_set_new(o, "why", iho_text_json(f->why));
	return o;
}

/* elapsed, transferred, remaining, dirty, bandwidth, throttle, iterations, forecast; or null */
#define SAMPLE_FIELDS 8

static json_t *sample_json(const struct iho_migration_sample *s)
{
	const double v[SAMPLE_FIELDS] = {
		s->elapsed_s,	  s->transferred_bytes, s->remaining_bytes,
		s->dirty_bytes_per_s, s->bandwidth_bytes_per_s, s->throttle_ratio,
		s->iterations,	  s->forecast_s,
	};
	json_t *a = json_array();

	for (int i = 0; i < SAMPLE_FIELDS; i++)
		json_array_append_new(a, v[i] >= 0 ? json_real(v[i]) : json_null());
	return a;
}

static json_t *samples_json(const struct iho_migration *m, size_t most)
{
	size_t n = m->n_samples < most ? m->n_samples : most;
	json_t *a = json_array();

	/* the last one is always among them */
	for (size_t i = 0; i < n; i++)
		json_array_append_new(a,
				      sample_json(&m->samples[(i + 1) * m->n_samples / n - 1]));
	return a;
}

json_t *iho_migration_to_json(const struct iho_migration *m, size_t most)
{
	json_t *o = json_object();

	json_object_set_new(o, "vm", iho_text_json(m->vm));
	json_object_set_new(o, "pid", json_integer(m->pid));
	json_object_set_new(o, "role", json_string(iho_migration_role_key(m->role)));
	json_object_set_new(o, "via", json_string(iho_migration_via_key(m->via)));
	json_object_set_new(o, "phase", json_string(iho_migration_phase_key(m->phase)));
	json_object_set_new(o, "phases_seen", phases_json(m->phases_seen));
	json_object_set_new(o, "start_time_s", json_real(m->start_time_s));
	if (m->end_time_s > 0)
		json_object_set_new(o, "end_time_s", json_real(m->end_time_s));
	put_fields(o, &m->n, numbers, ARRAY_SIZE(numbers));
	json_object_set_new(o, "forecast", forecast_json(&m->forecast));
	json_object_set_new(o, "forecast_error", errors_json(m));
	json_object_set_new(o, "error", iho_text_json(m->error));
	put_fields(o, m, kvm_numbers, ARRAY_SIZE(kvm_numbers));
	json_object_set_new(o, "samples", samples_json(m, most));
	return o;
}

static json_t *source_json(const struct iho_migration_source *s)
{
	json_t *o = json_object();

	json_object_set_new(o, "on", json_boolean(s->on));
	json_object_set_new(o, "ok", json_boolean(s->ok));
	json_object_set_new(o, "text", iho_text_json(s->text));
	return o;
}

static json_t *rows_json(const struct iho_migration *v, size_t n, size_t most)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, iho_migration_to_json(&v[i], most));
	return a;
}

static json_t *totals_json(const struct iho_migration_view *v)
{
	json_t *a = json_array();

	for (size_t i = 0; i < v->n_totals; i++) {
		const struct iho_migration_total *t = &v->totals[i];
		json_t *o = json_object();

		json_object_set_new(o, "vm", iho_text_json(t->vm));
		json_object_set_new(o, "completed", json_integer((json_int_t)t->completed));
		json_object_set_new(o, "failed", json_integer((json_int_t)t->failed));
		json_object_set_new(o, "cancelled", json_integer((json_int_t)t->cancelled));
		json_array_append_new(a, o);
	}
	return a;
}

json_t *iho_migration_view_to_json(const struct iho_migration_view *v, size_t most)
{
	json_t *o = json_object();

	json_object_set_new(o, "libvirt", source_json(&v->libvirt));
	json_object_set_new(o, "qmp", source_json(&v->qmp));
	json_object_set_new(o, "migrations", rows_json(v->rows, v->n_rows, most));
	json_object_set_new(o, "history", rows_json(v->history, v->n_history, 0));
	json_object_set_new(o, "totals", totals_json(v));
	return o;
}

/* ----------------------------------------------------------------------------------------- in */

/* A text without control characters that fits. */
static int get_text(const json_t *o, const char *key, char *buf, size_t len)
{
	const json_t *j = json_object_get(o, key);
	const char *s = json_string_value(j);

	if (!s || json_string_length(j) >= len || strlen(s) != json_string_length(j))
		return -EINVAL;
	iho_clean_text(buf, len, s);
	return strcmp(buf, s) ? -EINVAL : 0;
}

static int get_key(const char *s, const char *(*name)(int), int n, int *v)
{
	for (*v = 0; s && *v < n; (*v)++)
		if (!strcmp(s, name(*v)))
			return 0;
	return -EINVAL;
}

static const char *phase_name(int i)
{
	return iho_migration_phase_key(i);
}

static const char *role_name(int i)
{
	return iho_migration_role_key(i);
}

static const char *via_name(int i)
{
	return iho_migration_via_key(i);
}

static const char *verdict_name(int i)
{
	return iho_forecast_verdict_key(i);
}

static int get_choice(const json_t *o, const char *key, const char *(*name)(int), int n, int *v)
{
	return get_key(json_string_value(json_object_get(o, key)), name, n, v);
}

static int get_bool(const json_t *o, const char *key, bool *v)
{
	const json_t *j = json_object_get(o, key);

	*v = json_is_true(j);
	return json_is_boolean(j) ? 0 : -EINVAL;
}

static int get_integer(const json_t *o, const char *key, json_int_t max, json_int_t *v)
{
	const json_t *j = json_object_get(o, key);

	*v = json_integer_value(j);
	return json_is_integer(j) && *v >= 0 && *v <= max ? 0 : -EINVAL;
}

/* Absent is unknown, as it was when it was written. */
static int get_real(const json_t *o, const char *key, double max, double *v)
{
	const json_t *j = json_object_get(o, key);

	*v = -1;
	if (!j)
		return 0;
	*v = json_number_value(j);
	return json_is_number(j) && *v >= 0 && *v <= max ? 0 : -EINVAL;
}

static int get_fields(const json_t *o, void *base, const struct field *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *at = (char *)base + f[i].at;
		json_int_t v = -1;
		int64_t count;
		double real;

		if (f[i].kind == REAL) {
			if (get_real(o, f[i].key, 1e18, &real))
				return -EINVAL;
			memcpy(at, &real, sizeof(real));
			continue;
		}
		if (json_object_get(o, f[i].key) && get_integer(o, f[i].key, INT64_MAX, &v))
			return -EINVAL;
		count = v;
		memcpy(at, &count, sizeof(count));
	}
	return 0;
}

static int get_phases(const json_t *o, uint32_t *seen)
{
	const json_t *a = json_object_get(o, "phases_seen"), *j;
	size_t i;
	int p;

	*seen = 0;
	if (!json_is_array(a) || json_array_size(a) > IHO_MIGRATION_PHASES)
		return -EINVAL;
	json_array_foreach(a, i, j) {
		if (get_key(json_string_value(j), phase_name, IHO_MIGRATION_PHASES, &p))
			return -EINVAL;
		*seen |= 1u << p;
	}
	return 0;
}

static int get_errors(const json_t *o, struct iho_migration *m)
{
	const json_t *a = json_object_get(o, "forecast_error"), *j;
	size_t i;

	if (!json_is_array(a) || json_array_size(a) != IHO_FORECAST_MARKS)
		return -EINVAL;
	json_array_foreach(a, i, j) {
		m->forecast_error[i] = json_is_null(j) ? NAN : json_number_value(j);
		if (!json_is_null(j) && !json_is_number(j))
			return -EINVAL;
	}
	return 0;
}

static int get_forecast(const json_t *o, struct iho_forecast *f)
{
	int v;

	if (!json_is_object(o) ||
	    get_choice(o, "verdict", verdict_name, IHO_FORECAST_VERDICTS, &v) ||
	    get_fields(o, f, forecast_bounds, ARRAY_SIZE(forecast_bounds)) ||
	    get_text(o, "why", f->why, sizeof(f->why)))
		return -EINVAL;
	f->verdict = v;
	return 0;
}

static int get_sample(const json_t *a, struct iho_migration_sample *s)
{
	double v[SAMPLE_FIELDS];

	if (!json_is_array(a) || json_array_size(a) != SAMPLE_FIELDS)
		return -EINVAL;
	for (int i = 0; i < SAMPLE_FIELDS; i++) {
		const json_t *j = json_array_get(a, i);

		v[i] = json_is_null(j) ? -1 : json_number_value(j);
		if (!json_is_null(j) && (!json_is_number(j) || !(v[i] >= 0 && v[i] <= 1e18)))
			return -EINVAL;
	}
	s->elapsed_s = v[0];
	s->transferred_bytes = v[1];
	s->remaining_bytes = v[2];
	s->dirty_bytes_per_s = v[3];
	s->bandwidth_bytes_per_s = v[4];
	s->throttle_ratio = v[5];
	s->iterations = fmin(v[6], INT32_MAX);
	s->forecast_s = v[7];
	return 0;
}

static int get_samples(const json_t *o, struct iho_migration *m)
{
	const json_t *a = json_object_get(o, "samples"), *j;
	size_t i;

	if (!json_is_array(a) || json_array_size(a) > IHO_MIGRATION_SAMPLES)
		return -EINVAL;
	if (!json_array_size(a))
		return 0;
	m->samples = calloc(json_array_size(a), sizeof(*m->samples));
	if (!m->samples)
		return -ENOMEM;
	json_array_foreach(a, i, j) {
		if (get_sample(j, &m->samples[i]))
			return -EINVAL;
	}
	m->n_samples = json_array_size(a);
	return 0;
}

static int get_who(const json_t *o, struct iho_migration *m)
{
	int role, via, phase;
	json_int_t pid;

	if (!json_is_object(o) || get_text(o, "vm", m->vm, sizeof(m->vm)) ||
	    get_integer(o, "pid", INT_MAX, &pid) ||
	    get_choice(o, "role", role_name, IHO_MIGRATION_ROLES, &role) ||
	    get_choice(o, "via", via_name, IHO_MIGRATION_VIAS, &via) ||
	    get_choice(o, "phase", phase_name, IHO_MIGRATION_PHASES, &phase) ||
	    get_phases(o, &m->phases_seen))
		return -EINVAL;
	m->pid = (pid_t)pid;
	m->role = role;
	m->via = via;
	m->phase = phase;
	return 0;
}

int iho_migration_from_json(const json_t *o, struct iho_migration *m)
{
	int r;

	memset(m, 0, sizeof(*m));
	if (get_who(o, m) || get_real(o, "start_time_s", TIME_MAX_S, &m->start_time_s) ||
	    get_real(o, "end_time_s", TIME_MAX_S, &m->end_time_s) ||
	    get_fields(o, &m->n, numbers, ARRAY_SIZE(numbers)) ||
	    get_forecast(json_object_get(o, "forecast"), &m->forecast) || get_errors(o, m) ||
	    get_text(o, "error", m->error, sizeof(m->error)) ||
	    get_fields(o, m, kvm_numbers, ARRAY_SIZE(kvm_numbers)))
		return -EINVAL;
	m->end_time_s = fmax(m->end_time_s, 0);
	if (m->start_time_s < 0)
		return -EINVAL;
	r = get_samples(o, m);
	if (r) {
		free(m->samples);
		m->samples = NULL;
	}
	return r;
}

static int get_source(const json_t *o, struct iho_migration_source *s)
{
	return get_bool(o, "on", &s->on) || get_bool(o, "ok", &s->ok) ||
			       get_text(o, "text", s->text, sizeof(s->text))
		       ? -EINVAL
		       : 0;
}

static int get_rows(const json_t *a, size_t most, struct iho_migration **rows, size_t *n)
{
	const json_t *j;
	size_t i;
	int r;

	if (!json_is_array(a) || json_array_size(a) > most)
		return -EINVAL;
	*rows = calloc(json_array_size(a) + 1, sizeof(**rows));
	if (!*rows)
		return -ENOMEM;
	json_array_foreach(a, i, j) {
		r = iho_migration_from_json(j, &(*rows)[i]);
		if (r)
			return r;
		(*n)++;
	}
	return 0;
}

static int get_totals(const json_t *a, struct iho_migration_view *v)
{
	const json_t *j;
	size_t i;

	if (!json_is_array(a) || json_array_size(a) > IHO_MIGRATION_TOTALS)
		return -EINVAL;
	v->totals = calloc(json_array_size(a) + 1, sizeof(*v->totals));
	if (!v->totals)
		return -ENOMEM;
	json_array_foreach(a, i, j) {
		struct iho_migration_total *t = &v->totals[i];
		json_int_t completed, failed, cancelled;

		if (get_text(j, "vm", t->vm, sizeof(t->vm)) ||
		    get_integer(j, "completed", INT64_MAX, &completed) ||
		    get_integer(j, "failed", INT64_MAX, &failed) ||
		    get_integer(j, "cancelled", INT64_MAX, &cancelled))
			return -EINVAL;
		t->completed = completed;
		t->failed = failed;
		t->cancelled = cancelled;
		v->n_totals++;
	}
	return 0;
}

int iho_migration_view_from_json(const json_t *j, struct iho_migration_view **out)
{
	struct iho_migration_view *v = calloc(1, sizeof(*v));
	int r = -EINVAL;

	*out = NULL;
	if (!v)
		return -ENOMEM;
	if (!json_is_object(j) || get_source(json_object_get(j, "libvirt"), &v->libvirt) ||
	    get_source(json_object_get(j, "qmp"), &v->qmp))
		goto cleanup;
	r = get_rows(json_object_get(j, "migrations"), IHO_MIGRATION_ROWS, &v->rows, &v->n_rows);
	if (!r)
		r = get_rows(json_object_get(j, "history"), IHO_MIGRATION_HISTORY, &v->history,
			     &v->n_history);
	if (!r)
		r = get_totals(json_object_get(j, "totals"), v);
	if (!r) {
		/* a history row has no samples, whoever sends them */
		for (size_t i = 0; i < v->n_history; i++) {
			free(v->history[i].samples);
			v->history[i].samples = NULL;
			v->history[i].n_samples = 0;
		}
		*out = v;
		return 0;
	}
cleanup:
	for (size_t i = 0; i < v->n_history; i++)
		free(v->history[i].samples);
	iho_migration_view_free(v);
	return r;
}
