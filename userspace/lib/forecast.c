// SPDX-License-Identifier: GPL-2.0-or-later
#include "forecast.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECENT	       16 /* samples that count as "of late" */
#define MAX_PASSES     20000
#define DEFAULT_DOWNTIME_S 0.3 /* QEMU's own, where nobody told the limit */
#define SLACK_S	       0.05 /* QEMU sends for this long before it looks again how much is left */

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

/*
 * The dirty rates that were counted of late, each with its own throttle taken out and the one of now
 * put in. QEMU counts once a pass, but not more than once a second.
 */
static struct range dirty_of(const struct iho_migration_sample *v, size_t n)
{
	double rate[RECENT], now = v[n - 1].throttle_ratio > 0 ? v[n - 1].throttle_ratio : 0;
	int got = 0;

	for (size_t i = n; i-- > 0 && got < RECENT;) {
		double was = v[i].throttle_ratio > 0 ? v[i].throttle_ratio : 0;

		if (v[i].dirty_bytes_per_s <= 0)
			continue;
		if (i && v[i].dirty_bytes_per_s == v[i - 1].dirty_bytes_per_s)
			continue; /* the same count, seen again */
		/* What is counted after a step of the throttle was written before it. */
		if (i && v[i - 1].throttle_ratio > 0)
			was = v[i - 1].throttle_ratio;
		else if (i)
			was = 0;
		rate[got++] = v[i].dirty_bytes_per_s * (1 - now) / (1 - fmin(was, MOST_THROTTLED));
	}
	return range_of(rate, got);
}

/* What was left just after a pass began: the pages that the guest wrote during the one before. */
static double working_set_of(const struct iho_migration_sample *v, size_t n, double threshold)
{
	double most = 0;
	int passes = 0;

	for (size_t i = n; i-- > 1 && passes < RECENT;) {
		if (v[i].iterations <= 1)
			break;
		if (v[i].remaining_bytes > most)
			most = v[i].remaining_bytes;
		passes += v[i].iterations != v[i - 1].iterations;
	}
	return most > threshold ? most : threshold;
}

/* The throttle after a pass of `t` seconds that dirtied `dirty` bytes and sent `sent`. */
static double next_throttle(double throttle, double t, double dirty, double sent, int *high)
{
	if (throttle < 0 || t < PERIOD_S)
		return throttle;
	if (dirty <= TRIGGER * sent) {
		*high = 0;
		return throttle;
	}
	if (++*high < TRIGGER_TIMES)
		return throttle;
	*high = 0;
	return throttle > 0 ? fmin(throttle + NEXT_STEP, MOST_THROTTLED) : FIRST_STEP;
}

/* Seconds until it is over; negative: it never is. */
static double simulate(const struct model *m, double left)
{
	double time = 0, throttle = m->throttle, floor = m->bandwidth * SLACK_S;
	int high = 0;

	for (int pass = 0; pass < MAX_PASSES && time < IHO_FORECAST_HORIZON_S; pass++) {
		double send = left - m->threshold, scale = 1, t, dirty;

		if (send <= floor)
			return time + fmax(left, 0) / m->bandwidth;
		t = send / m->bandwidth;
		if (throttle > 0)
			scale = (1 - throttle) / (1 - fmin(fmax(m->throttle, 0), MOST_THROTTLED));
		dirty = fmin(m->dirty * scale * t, m->working_set);
		time += t;
		throttle = next_throttle(throttle, t, dirty, send, &high);
		/* what was not sent may be written again: together never more than the working set */
		left = fmin(m->threshold + dirty, fmax(m->working_set, m->threshold));
		/* A working set that fits the downtime is sent in it. */
		if (m->working_set <= m->threshold)
			left = m->threshold;
		/* pass by pass the same, and no throttle that could change it */
		if (pass > 8 && throttle == m->throttle && dirty >= send * 0.999)
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

static void judge(struct iho_forecast *f, double best, double mid, double worst)
{
	if (mid >= 0) {
		set(f, IHO_FORECAST_CONVERGES, worst < 0 ? "but not if the guest writes faster" : "");
		f->low_s = best >= 0 ? fmin(best, mid) : mid;
		f->expected_s = mid;
		f->high_s = worst >= 0 ? fmax(worst, mid) : -1;
	} else if (best >= 0) {
		set(f, IHO_FORECAST_UNKNOWN, "the guest writes about as fast as memory is sent");
		f->low_s = best;
	} else {
		set(f, IHO_FORECAST_DIVERGES, "the guest writes faster than memory is sent");
	}
}

void iho_forecast(struct iho_forecast *f, enum iho_migration_phase phase,
		  const struct iho_migration_numbers *now, const struct iho_migration_sample *v,
		  size_t n)
{
	struct model m = { .throttle = now->throttle_ratio > 0 ? now->throttle_ratio : -1 };
	struct range b, d;
	double best, mid, worst;

	set(f, IHO_FORECAST_UNKNOWN, "not enough seen yet");
	if (n < 3 || now->remaining_bytes < 0)
		return;
	b = bandwidth_of(v, n);
	if (b.n < 2)
		return;
	if (phase == IHO_MIGRATION_POSTCOPY) {
		postcopy(f, now, &b);
		return;
	}
	if (phase != IHO_MIGRATION_PRECOPY)
		return;
	d = dirty_of(v, n);
	if (!d.n) {
		set(f, IHO_FORECAST_UNKNOWN,
		    "what the guest writes is not known before the first pass has ended");
		return;
	}
	m.bandwidth = b.mid;
	m.dirty = d.mid;
	m.threshold = b.mid * limit_of(now);
	m.working_set = working_set_of(v, n, 0);
	mid = simulate(&m, now->remaining_bytes);
	m.bandwidth = b.high;
	m.dirty = fmin(d.low, 0.9 * d.mid);
	m.threshold = b.high * limit_of(now);
	best = simulate(&m, now->remaining_bytes);
	m.bandwidth = b.low;
	m.dirty = fmax(d.high, 1.1 * d.mid);
	m.threshold = b.low * limit_of(now);
	m.working_set *= 1.1;
	worst = simulate(&m, now->remaining_bytes);
	judge(f, best, mid, worst);
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
