// SPDX-License-Identifier: GPL-2.0-or-later
#include "forecast.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECENT		   16 /* samples, and passes, that count as "of late" */
/*
 * A pass that dirtied nearly as much as any did dirtied all there is. How much faster than it was
 * counted the guest writes then, nobody can see: taken as twice, and as eight times at worst.
 */
#define SATURATED	   0.9
#define GUESS		   2
#define WORST_GUESS	   8
/* So many passes, that last so long, and the later ones leave as much as the earlier ones. */
#define STALE_PASSES	   8
#define STALE_S		   4.0
#define STALE		   0.9
#define MAX_PASSES	   20000
#define DEFAULT_DOWNTIME_S 0.3 /* QEMU's own, where nobody told the limit */
#define SLACK_S		   0.05 /* QEMU sends so long before it looks again how much is left */

/* QEMU's defaults: throttle-trigger-threshold, -initial, -increment, max-cpu-throttle. */
#define TRIGGER	       0.5
#define FIRST_STEP     0.20
#define NEXT_STEP      0.10
#define MOST_THROTTLED 0.99
#define TRIGGER_TIMES  2
#define PERIOD_S       1.0

struct model {
	double bandwidth; /* bytes/s */
	double dirty; /* bytes/s, at the throttle of now */
	double working_set; /* bytes */
	double threshold; /* bytes that may be left */
	double throttle; /* < 0: there is none */
	double pass_s; /* since the pass of now began */
};

struct range {
	double low, mid, high;
	int n;
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static struct range range_of(double *v, int n)
{
	struct range r = { .n = n };

	if (!n)
		return r;
	qsort(v, n, sizeof(*v), compare);
	r.low = v[n / 4];
	r.mid = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
	r.high = v[n - 1 - n / 4];
	return r;
}

/* What went over the wire between two samples: QEMU's own figure is only of the last 100 ms. */
static struct range bandwidth_of(const struct iho_migration_sample *v, size_t n)
{
	double rate[RECENT];
	int got = 0;

	for (size_t i = n > RECENT ? n - RECENT : 1; i < n; i++) {
		double t = v[i].elapsed_s - v[i - 1].elapsed_s;
		double sent = (double)v[i].transferred_bytes - (double)v[i - 1].transferred_bytes;

		if (t > 0 && sent > 0)
			rate[got++] = sent / t;
	}
	return range_of(rate, got);
}

/* What the passes of late say about the guest. */
struct guest {
	struct range dirty; /* bytes/s at the throttle of now */
	double working_set; /* bytes: the most that one pass dirtied */
	bool saturated; /* the last pass dirtied all of it: `dirty` is only the least it may be */
	double pass_s; /* how long the pass of now goes on already */
};

static double throttle_at(const struct iho_migration_sample *s)
{
	return s->throttle_ratio > 0 ? fmin(s->throttle_ratio, MOST_THROTTLED) : 0;
}

/* Did a pass begin with sample `i`, and QEMU count what was written during the one before? */
static bool is_count(const struct iho_migration_sample *v, size_t i)
{
	return v[i].iterations > 1 && v[i].iterations != v[i - 1].iterations &&
	       v[i].dirty_bytes_per_s > 0;
}

/*
 * A pass that dirties the whole working set does so however long it lasts, so the rate that is
 * counted says less than the truth. What was counted in a pass was written under the throttle of
 * that pass.
 */
static struct guest guest_of(const struct iho_migration_sample *v, size_t n)
{
	double rate[RECENT], left[RECENT], now = throttle_at(&v[n - 1]);
	struct guest g = { .pass_s = -1 };
	int got = 0;

	for (size_t i = n; i-- > 1 && got < RECENT;) {
		if (v[i].iterations != v[i - 1].iterations && g.pass_s < 0)
			g.pass_s = v[n - 1].elapsed_s - v[i].elapsed_s;
		if (!is_count(v, i))
			continue;
		left[got] = v[i].remaining_bytes;
		rate[got++] = v[i].dirty_bytes_per_s * (1 - now) / (1 - throttle_at(&v[i - 1]));
	}
	for (int i = 0; i < got; i++)
		g.working_set = fmax(g.working_set, left[i]);
	g.saturated = got && left[0] >= SATURATED * g.working_set;
	/* Once there are counts of passes that did not dirty all, the others are of no use. */
	for (int i = 1; i < got && !g.saturated; i++)
		if (left[i] >= SATURATED * g.working_set && rate[i] < rate[0])
			rate[i] = rate[0];
	g.dirty = range_of(rate, got);
	if (g.saturated) {
		double least = rate[got - 1]; /* sorted: the highest of the lower bounds */

		g.dirty = (struct range){ least, GUESS * least, WORST_GUESS * least, got };
	} else if (got) {
		g.dirty.low = fmin(g.dirty.low, 0.9 * g.dirty.mid);
		g.dirty.high = fmax(g.dirty.high, 1.1 * g.dirty.mid);
	}
	return g;
}

/*
 * The model is no better than its numbers: where the guest writes about as fast as memory is sent,
 * a little decides between soon and never. Then it counts whether what the passes left has become
 * less. While there is a throttle, QEMU goes on to raise it; if none came in this time, none will.
 */
static bool is_stale(const struct iho_migration_sample *v, size_t n)
{
	double early = 0, late = 0, throttle = throttle_at(&v[n - 1]);
	int counts = 0, seen = 0;
	size_t from = n - 1;

	if (throttle > 0 && throttle < MOST_THROTTLED)
		return false;
	for (; counts < STALE_PASSES || v[n - 1].elapsed_s - v[from].elapsed_s < STALE_S; from--) {
		if (from < 2 || throttle_at(&v[from]) != throttle)
			return false;
		counts += is_count(v, from);
	}
	/* those of the loop are from + 1 and later */
	for (size_t i = from + 1; i < n; i++) {
		double *most = seen < counts / 2 ? &early : &late;

		if (!is_count(v, i))
			continue;
		*most = fmax(*most, (double)v[i].remaining_bytes);
		seen++;
	}
	return late >= STALE * early;
}

/* QEMU's rule for the throttle, over periods of a second or more that end with a pass. */
struct throttle {
	double ratio; /* < 0: there is none */
	double t, dirty, sent; /* of the period that goes on */
	int high; /* periods that dirtied too much */
};

static void count_pass(struct throttle *th, double t, double dirty, double sent)
{
	th->t += t;
	th->dirty += dirty;
	th->sent += sent;
	if (th->ratio < 0 || th->t < PERIOD_S)
		return;
	if (th->dirty <= TRIGGER * th->sent) {
		th->high = 0;
	} else if (++th->high >= TRIGGER_TIMES) {
		th->high = 0;
		th->ratio = th->ratio > 0 ? fmin(th->ratio + NEXT_STEP, MOST_THROTTLED)
					  : FIRST_STEP;
	}
	th->t = th->dirty = th->sent = 0;
}

/* Seconds until it is over; negative: it never is. */
static double simulate(const struct model *m, double left)
{
	double time = 0, floor = m->bandwidth * SLACK_S;
	struct throttle th = { .ratio = m->throttle };

	for (int pass = 0; pass < MAX_PASSES && time < IHO_FORECAST_HORIZON_S; pass++) {
		/* of the pass that goes on, only the rest is to be sent */
		double since = pass ? 0 : m->pass_s, sent = left - m->threshold, scale = 1, t,
		       dirty;

		if (sent <= floor && (pass || sent <= 0))
			return time + left / m->bandwidth;
		t = sent / m->bandwidth;
		if (th.ratio > 0)
			scale = (1 - th.ratio) / (1 - m->throttle);
		dirty = fmin(m->dirty * scale * (since + t), m->working_set);
		time += t;
		count_pass(&th, since + t, dirty, (since + t) * m->bandwidth);
		/* what was not sent may be written anew: together no more than the working set */
		left = fmin(m->threshold + dirty, fmax(m->working_set, m->threshold));
		/* for ever the same, if no throttle changes it */
		if (pass > 8 && (th.ratio < 0 || th.ratio >= MOST_THROTTLED) &&
		    dirty >= 0.999 * sent)
			return -1;
	}
	return -1;
}

static double limit_of(const struct iho_migration_numbers *now)
{
	return now->downtime_limit_s >= 0 ? now->downtime_limit_s : DEFAULT_DOWNTIME_S;
}

static void set(struct iho_forecast *f, enum iho_forecast_verdict v, const char *why)
{
	f->verdict = v;
	f->low_s = f->expected_s = f->high_s = -1;
	snprintf(f->why, sizeof(f->why), "%s", why);
}

/* Nothing is written to what was sent: only the wire counts. */
static void postcopy(struct iho_forecast *f, const struct iho_migration_numbers *now,
		     const struct range *b)
{
	set(f, IHO_FORECAST_CONVERGES, "post-copy: every page is sent once more at most");
	f->low_s = now->remaining_bytes / b->high;
	f->expected_s = now->remaining_bytes / b->mid;
	f->high_s = now->remaining_bytes / b->low;
}

static void judge(struct iho_forecast *f, double best, double mid, double worst, int counts)
{
	if (mid >= 0 && (counts > 1 || worst >= 0)) {
		set(f, IHO_FORECAST_CONVERGES,
		    worst < 0 ? "but not if the guest writes faster" : "");
		f->low_s = best >= 0 ? fmin(best, mid) : mid;
		f->expected_s = mid;
		f->high_s = worst >= 0 ? fmax(worst, mid) : -1;
	} else if (best >= 0) {
		set(f, IHO_FORECAST_UNKNOWN,
		    counts > 1 ? "the guest writes about as fast as memory is sent"
			       : "one pass is not enough to tell how fast the guest writes");
		f->low_s = best;
	} else {
		set(f, IHO_FORECAST_DIVERGES, "the guest writes faster than memory is sent");
	}
}

void iho_forecast(struct iho_forecast *f, enum iho_migration_phase phase,
		  const struct iho_migration_numbers *now, const struct iho_migration_sample *v,
		  size_t n)
{
	struct model m = { .throttle = now->throttle_ratio > 0
					       ? fmin(now->throttle_ratio, MOST_THROTTLED)
					       : -1 };
	double left = now->remaining_bytes, time[3];
	struct range b;
	struct guest g;

	set(f, IHO_FORECAST_UNKNOWN, "not enough seen yet");
	if (n < 3 || left < 0)
		return;
	b = bandwidth_of(v, n);
	if (b.n < 2)
		return;
	if (phase == IHO_MIGRATION_POSTCOPY)
		postcopy(f, now, &b);
	if (phase != IHO_MIGRATION_PRECOPY)
		return;
	g = guest_of(v, n);
	if (!g.dirty.n) {
		set(f, IHO_FORECAST_UNKNOWN,
		    "what the guest writes is not known in the first pass");
		return;
	}
	m.pass_s = fmax(g.pass_s, 0);
	for (int i = 0; i < 3; i++) { /* the best case, the likely one, the worst one */
		m.bandwidth = i == 0 ? b.high : i == 1 ? b.mid : b.low;
		m.dirty = i == 0 ? g.dirty.low : i == 1 ? g.dirty.mid : g.dirty.high;
		m.working_set = g.working_set * (i == 2 ? 1.1 : 1);
		m.threshold = m.bandwidth * limit_of(now);
		time[i] = simulate(&m, left);
	}
	if (is_stale(v, n))
		set(f, IHO_FORECAST_DIVERGES, "passes leave as much as those before them");
	else
		judge(f, time[0], time[1], time[2], g.dirty.n);
}

void iho_forecast_errors(double error[IHO_FORECAST_MARKS], const struct iho_migration_sample *v,
			 size_t n, double total_s)
{
	for (int k = 0; k < IHO_FORECAST_MARKS; k++) {
		double at = total_s * (k + 1) / (IHO_FORECAST_MARKS + 1);
		const struct iho_migration_sample *s = NULL;

		error[k] = NAN;
		for (size_t i = 0; i < n && v[i].elapsed_s <= at; i++)
			s = &v[i];
		if (s && s->forecast_s >= 0 && total_s > 0)
			error[k] = (s->elapsed_s + s->forecast_s - total_s) / total_s;
	}
}
