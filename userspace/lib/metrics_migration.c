// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The metric families of live migrations. A VM has one migration here, the one that goes on or else
 * the last that ended; but source and destination may be told apart by `role`, for a VM that came
 * back.
 */
#include <stddef.h>
#include <string.h>

#include "metrics_emit.h"

/* A migration and its label `vm`; it begins with one that is all zero. */
struct cursor {
	const struct iho_migration *m;
	const char *vm;
	size_t next;
};

/* Rows are sorted: what goes on first, then the newest; so the first of a name is the one. */
static bool is_first(const struct iho_metrics_emit *e, size_t i, const char *vm, bool by_role)
{
	const struct iho_migration *rows = e->report->migration->rows;

	for (size_t k = 0; k < i; k++) {
		const char *other = iho_emit_label(e, rows[k].pid, rows[k].vm);

		if (other && !strcmp(other, vm) && (!by_role || rows[k].role == rows[i].role))
			return false;
	}
	return true;
}

static bool next_of(const struct iho_metrics_emit *e, struct cursor *c, bool by_role)
{
	const struct iho_migration_view *v = e->report->migration;

	while (v && c->next < v->n_rows) {
		size_t i = c->next++;

		c->m = &v->rows[i];
		c->vm = iho_emit_label(e, c->m->pid, c->m->vm);
		if (c->vm && is_first(e, i, c->vm, by_role))
			return true;
	}
	return false;
}

static bool next_vm(const struct iho_metrics_emit *e, struct cursor *c)
{
	return next_of(e, c, false);
}

static void emit_known(struct iho_metrics_emit *e, const char *const *labels, double v)
{
	if (v >= 0)
		iho_emit_real(e, labels, v);
}

static void emit_count(struct iho_metrics_emit *e, const char *const *labels, int64_t v)
{
	if (v >= 0)
		iho_emit_int(e, labels, (uint64_t)v);
}

void iho_emit_migration_active(struct iho_metrics_emit *e)
{
	for (struct cursor c = {}; next_of(e, &c, true);)
		iho_emit_int(e, IHO_LABELS(c.vm, iho_migration_role_key(c.m->role)),
			     !iho_migration_ended(c.m));
}

void iho_emit_migration_phase(struct iho_metrics_emit *e)
{
	for (struct cursor c = {}; next_vm(e, &c);)
		for (int p = 0; p < IHO_MIGRATION_PHASES; p++)
			iho_emit_int(e, IHO_LABELS(c.vm, iho_migration_phase_key(p)),
				     (int)c.m->phase == p);
}

void iho_emit_migration_bytes(struct iho_metrics_emit *e)
{
	for (struct cursor c = {}; next_vm(e, &c);) {
		emit_count(e, IHO_LABELS(c.vm, "total"), c.m->n.total_bytes);
		emit_count(e, IHO_LABELS(c.vm, "transferred"), c.m->n.transferred_bytes);
		emit_count(e, IHO_LABELS(c.vm, "remaining"), c.m->n.remaining_bytes);
	}
}

void iho_emit_migration_iterations(struct iho_metrics_emit *e)
{
	for (struct cursor c = {}; next_vm(e, &c);)
		emit_count(e, IHO_LABELS(c.vm), c.m->n.iterations);
}

void iho_emit_migration_number(struct iho_metrics_emit *e)
{
	double v;

	for (struct cursor c = {}; next_vm(e, &c);) {
		memcpy(&v, (const char *)&c.m->n + e->metric->of, sizeof(v));
		emit_known(e, IHO_LABELS(c.vm), v);
	}
}

void iho_emit_migration_downtime(struct iho_metrics_emit *e)
{
	for (struct cursor c = {}; next_vm(e, &c);) {
		emit_known(e, IHO_LABELS(c.vm, "expected"), c.m->n.downtime_expected_s);
		emit_known(e, IHO_LABELS(c.vm, "actual"), c.m->n.downtime_actual_s);
		emit_known(e, IHO_LABELS(c.vm, "limit"), c.m->n.downtime_limit_s);
	}
}

void iho_emit_migration_forecast(struct iho_metrics_emit *e)
{
	for (struct cursor c = {}; next_vm(e, &c);) {
		if (c.m->forecast.verdict == IHO_FORECAST_DIVERGES)
			continue;
		emit_known(e, IHO_LABELS(c.vm, "low"), c.m->forecast.low_s);
		emit_known(e, IHO_LABELS(c.vm, "expected"), c.m->forecast.expected_s);
		emit_known(e, IHO_LABELS(c.vm, "high"), c.m->forecast.high_s);
	}
}

void iho_emit_migration_converges(struct iho_metrics_emit *e)
{
	for (struct cursor c = {}; next_vm(e, &c);)
		if (c.m->forecast.verdict != IHO_FORECAST_UNKNOWN)
			iho_emit_int(e, IHO_LABELS(c.vm),
				     c.m->forecast.verdict == IHO_FORECAST_CONVERGES);
}

void iho_emit_migrations(struct iho_metrics_emit *e)
{
	const struct iho_migration_view *v = e->report->migration;

	for (size_t i = 0; v && i < v->n_totals; i++) {
		const struct iho_migration_total *t = &v->totals[i];
		const char *vm = iho_emit_label(e, 0, t->vm);

		if (!vm)
			continue;
		iho_emit_int(e, IHO_LABELS(vm, "completed"), t->completed);
		iho_emit_int(e, IHO_LABELS(vm, "failed"), t->failed);
		iho_emit_int(e, IHO_LABELS(vm, "cancelled"), t->cancelled);
	}
}
