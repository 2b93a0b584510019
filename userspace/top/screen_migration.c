// SPDX-License-Identifier: GPL-2.0-or-later
/* Migration: how far it is, whether it will end and when; or why there is nothing to see. */
#include "screen.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PLOT_ROWS 6
#define PLOT_MAX  160 /* columns */
#define BAR_MAX	  60

static void bytes_text(double n, char *buf, size_t len)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	size_t i = 0;

	if (n < 0) {
		snprintf(buf, len, "-");
		return;
	}
	for (; n >= 1024 && i + 1 < ARRAY_SIZE(unit); i++)
		n /= 1024;
	snprintf(buf, len, i ? "%.1f %s" : "%.0f %s", n, unit[i]);
}

static void seconds_text(double s, char *buf, size_t len)
{
	if (s < 0)
		snprintf(buf, len, "-");
	else if (s < 1)
		snprintf(buf, len, "%.0f ms", s * 1000);
	else
		snprintf(buf, len, "%.1f s", s);
}

static void add_bar(const struct ui *ui, struct list *l, const struct iho_migration_numbers *n)
{
	char bar[BAR_MAX * 4 + 1] = "", sent[24], left[24], total[24];
	int w = ui->cols - 72 < BAR_MAX ? ui->cols - 72 : BAR_MAX, full;
	double share;

	if (n->total_bytes <= 0 || n->remaining_bytes < 0)
		return;
	if (w < 10)
		w = 10;
	share = fmin(fmax(1 - (double)n->remaining_bytes / (double)n->total_bytes, 0), 1);
	full = (int)(share * w);
	for (int i = 0; i < w; i++)
		strcat(bar, ui_ascii(ui) ? (i < full ? "#" : ".") : i < full ? "█" : "░");
	bytes_text((double)n->transferred_bytes, sent, sizeof(sent));
	bytes_text((double)n->remaining_bytes, left, sizeof(left));
	bytes_text((double)n->total_bytes, total, sizeof(total));
	list_text(l, ITEM_LINE, ST_TEXT, "  %s %3.0f%%  remaining %s of %s, transferred %s", bar,
		  share * 100, left, total, sent);
}

static void add_numbers(struct list *l, const struct iho_migration *m)
{
	const struct iho_migration_numbers *n = &m->n;
	char expected[24], limit[24], actual[24], dirty[24], wire[24];

	seconds_text(n->downtime_expected_s, expected, sizeof(expected));
	seconds_text(n->downtime_limit_s, limit, sizeof(limit));
	seconds_text(n->downtime_actual_s, actual, sizeof(actual));
	bytes_text(n->dirty_bytes_per_s, dirty, sizeof(dirty));
	bytes_text(n->bandwidth_bytes_per_s, wire, sizeof(wire));
	list_text(l, ITEM_LINE, ST_TEXT,
		  "  iterations %" PRId64 "  dirty %s/s  bandwidth %s/s  throttle %.0f%%",
		  n->iterations > 0 ? n->iterations : 0, dirty, wire,
		  n->throttle_ratio > 0 ? n->throttle_ratio * 100 : 0);
	list_text(l, ITEM_LINE, ST_TEXT, "  downtime: expected %s, limit %s, actual %s", expected,
		  limit, actual);
	if (n->postcopy_requests > 0)
		list_text(l, ITEM_LINE, ST_TEXT, "  post-copy requests %" PRId64,
			  n->postcopy_requests);
	if (m->page_faults_per_s >= 0)
		list_text(l, ITEM_LINE, ST_DIM, "  KVM: %.0f page faults/s", m->page_faults_per_s);
	if (m->dirty_pages_per_s >= 0)
		list_text(l, ITEM_LINE, ST_DIM, "  KVM: %.0f dirty-ring pages/s",
			  m->dirty_pages_per_s);
}

static void add_forecast(struct list *l, const struct iho_forecast *f)
{
	char low[24], high[24], expected[24];
	const char *gap = f->why[0] ? ": " : "";

	seconds_text(f->low_s, low, sizeof(low));
	seconds_text(f->expected_s, expected, sizeof(expected));
	if (f->high_s >= 0)
		seconds_text(f->high_s, high, sizeof(high));
	else
		snprintf(high, sizeof(high), "never");
	if (f->verdict == IHO_FORECAST_CONVERGES)
		list_text(l, ITEM_LINE, ST_TEXT, "  will converge in %s (%s to %s)%s%s", expected,
			  low, high, gap, f->why);
	else if (f->verdict == IHO_FORECAST_DIVERGES)
		list_text(l, ITEM_LINE, ST_BAD, "  will not converge%s%s", gap, f->why);
	else
		list_text(l, ITEM_LINE, ST_DIM, "  will it converge: not known%s%s", gap, f->why);
}

/* Where a sample's value is in the plot, from the bottom; -1: not known. */
static int level(double v, double most)
{
	return v < 0 ? -1 : (int)(v / most * (PLOT_ROWS - 1) + 0.5);
}

static void add_plot(const struct ui *ui, struct list *l, const struct iho_migration *m)
{
	const char *dirty = ui_ascii(ui) ? "*" : "●", *wire = ui_ascii(ui) ? "-" : "─";
	size_t room = ui->cols > 24 ? (size_t)ui->cols - 18 : 6, n = m->n_samples;
	double most = 0;
	char scale[24];

	if (room > PLOT_MAX)
		room = PLOT_MAX;
	if (n < 2)
		return;
	if (n > room)
		n = room;
	for (size_t i = 0; i < m->n_samples; i++)
		most = fmax(most, fmax(m->samples[i].dirty_bytes_per_s,
				       m->samples[i].bandwidth_bytes_per_s));
	if (most <= 0)
		return;
	bytes_text(most, scale, sizeof(scale));
	for (int row = PLOT_ROWS - 1; row >= 0; row--) {
		char line[PLOT_MAX * 4 + 1] = "";

		for (size_t i = 0; i < n; i++) {
			const struct iho_migration_sample *s =
				&m->samples[(i + 1) * m->n_samples / n - 1];

			strcat(line, level(s->dirty_bytes_per_s, most) == row	    ? dirty
				     : level(s->bandwidth_bytes_per_s, most) == row ? wire
										    : " ");
		}
		list_text(l, ITEM_LINE, ST_TEXT, "  %12s |%s",
			  row == PLOT_ROWS - 1 ? scale
			  : row		       ? ""
					       : "0",
			  line);
	}
	list_text(l, ITEM_LINE, ST_DIM, "  %s dirty rate  %s bandwidth, bytes/s", dirty, wire);
}

static void add_row(struct list *l, uint64_t nth, int style, const char *text)
{
	struct item *it;

	list_text(l, ITEM_ROW, style, "%s", text);
	it = &l->v[l->n - 1];
	it->id.type = ROW_MIGRATION;
	it->id.b = nth;
}

static void add_migration(const struct ui *ui, struct list *l, const struct iho_migration *m)
{
	char text[400], elapsed[24];

	seconds_text(m->n.elapsed_s, elapsed, sizeof(elapsed));
	snprintf(text, sizeof(text), " %s  %s  %s  %s  (%s)", m->vm,
		 iho_migration_role_key(m->role), iho_migration_phase_key(m->phase), elapsed,
		 iho_migration_via_key(m->via));
	add_row(l, (uint64_t)(m->start_time_s * 1000), ST_TEXT, text);
	if (m->error[0])
		list_text(l, ITEM_LINE, ST_BAD, "  %s", m->error);
	if (m->role == IHO_MIGRATION_DESTINATION && m->n.total_bytes < 0)
		list_text(l, ITEM_LINE, ST_DIM, "  only the source knows how far it is");
	add_bar(ui, l, &m->n);
	if (m->n.total_bytes >= 0)
		add_numbers(l, m);
	if (m->n.total_bytes >= 0)
		add_forecast(l, &m->forecast);
	add_plot(ui, l, m);
}

static void add_past(struct list *l, const struct iho_migration *m)
{
	char text[400], when[16] = "", total[24], down[24], sent[24], error[32];
	time_t t = (time_t)m->start_time_s;
	struct tm tm;
	size_t n = 0;

	if (localtime_r(&t, &tm))
		strftime(when, sizeof(when), "%H:%M:%S", &tm);
	seconds_text(m->n.elapsed_s, total, sizeof(total));
	seconds_text(m->n.downtime_actual_s, down, sizeof(down));
	bytes_text((double)m->n.transferred_bytes, sent, sizeof(sent));
	for (int i = 0; i < IHO_FORECAST_MARKS; i++)
		n += isnan(m->forecast_error[i])
			     ? snprintf(error + n, sizeof(error) - n, " -")
			     : snprintf(error + n, sizeof(error) - n, " %+.0f%%",
					fmin(m->forecast_error[i] * 100, 999));
	snprintf(text, sizeof(text), " %s %-16.40s %-11s %-9s %9s %9s %10s %s", when, m->vm,
		 iho_migration_role_key(m->role), iho_migration_phase_key(m->phase), total, down,
		 sent, error);
	add_row(l, 1ULL << 62 | (uint64_t)(m->start_time_s * 1000), ST_TEXT, text);
}

static void add_why(const struct ui *ui, struct list *l, const struct iho_migration_view *v)
{
	list_text(l, ITEM_SECTION, ST_SECTION, "Looked at");
	list_wrapped(ui, l, ST_DIM, "  ", v->libvirt.text);
	list_wrapped(ui, l, ST_DIM, "  ", v->qmp.text);
}

static void build(struct ui *ui, struct list *l)
{
	const struct iho_migration_view *v = ui->r->migration;
	size_t going = 0;

	if (!v) {
		list_text(l, ITEM_LINE, ST_DIM, " Nobody watches migrations here.");
		return;
	}
	list_text(l, ITEM_SECTION, ST_SECTION, "Migrations");
	for (size_t i = 0; i < v->n_rows; i++) {
		if (iho_migration_ended(&v->rows[i]))
			continue;
		add_migration(ui, l, &v->rows[i]);
		going++;
	}
	if (!going)
		list_text(l, ITEM_LINE, ST_DIM, " No migration goes on.");
	if (v->n_history) {
		list_text(l, ITEM_SECTION, ST_SECTION,
			  "History: begun, VM, role, result, total time, downtime, transferred, "
			  "forecast error at 25/50/75%%");
		for (size_t i = 0; i < v->n_history; i++)
			add_past(l, &v->history[i]);
	}
	add_why(ui, l, v);
}

const struct screen screen_migration = {
	.title = "Migration",
	.key = 'm',
	.parent = SCREEN_OVERVIEW,
	.build = build,
};
