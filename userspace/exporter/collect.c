// SPDX-License-Identifier: GPL-2.0-or-later
#include "collect.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "error.h"

#define NSEC	     1000000000ULL
#define RETRY_MIN_NS (1 * NSEC)
#define RETRY_MAX_NS (30 * NSEC)

struct iho_collect {
	const struct iho_collector_options *open;
	const struct iho_metrics_options *options;
	const struct iho_collect_counts *counts;
	struct iho_collector *collector;
	const struct iho_report *report; /* NULL: the collector does not answer */
	struct iho_error why;
	uint64_t retry_ns, retry_wait_ns;
	double last_s; /* how long the last rendering took */
};

uint64_t iho_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NSEC + t.tv_nsec;
}

void iho_count_request(struct iho_collect_counts *c, unsigned int code)
{
	for (size_t i = 0; i < IHO_CODES; i++) {
		if (c->requests[i].code && c->requests[i].code != code)
			continue;
		__atomic_add_fetch(&c->requests[i].total, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&c->requests[i].code, code, __ATOMIC_RELEASE);
		return;
	}
}

int iho_collect_new(struct iho_collect **out, const struct iho_collector_options *collector,
		    const struct iho_metrics_options *metrics,
		    const struct iho_collect_counts *counts, struct iho_error *err)
{
	struct iho_collect *c = calloc(1, sizeof(*c));

	if (!c)
		return iho_fail(err, -ENOMEM, "out of memory");
	c->open = collector;
	c->options = metrics;
	c->counts = counts;
	c->retry_wait_ns = RETRY_MIN_NS;
	c->last_s = -1;
	*out = c;
	return 0;
}

void iho_collect_free(struct iho_collect *c)
{
	if (!c)
		return;
	iho_collector_close(c->collector);
	free(c);
}

static void down(struct iho_collect *c)
{
	iho_collector_close(c->collector);
	c->collector = NULL;
	c->report = NULL;
	c->retry_ns = iho_now_ns() + c->retry_wait_ns;
	c->retry_wait_ns *= 2;
	if (c->retry_wait_ns > RETRY_MAX_NS)
		c->retry_wait_ns = RETRY_MAX_NS;
}

int iho_collect_report(struct iho_collect *c, struct iho_error *err)
{
	int r = 0;

	if (!c->collector) {
		if (c->retry_ns > iho_now_ns()) {
			*err = c->why;
			return -EAGAIN;
		}
		r = iho_collector_open(&c->collector, c->open, &c->why);
		if (r)
			c->collector = NULL;
		malloc_trim(0); /* loading took megabytes for a moment */
	}
	if (!r)
		r = iho_collector_report(c->collector, &c->report, &c->why);
	if (r == -ENOTCONN && c->collector) { /* it looks for ihod itself, at each call */
		c->report = NULL;
		*err = c->why;
		return r;
	}
	if (r) {
		down(c);
		*err = c->why;
		return r;
	}
	c->retry_wait_ns = RETRY_MIN_NS;
	return 0;
}

static uint64_t rss_bytes(void)
{
	unsigned long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	fclose(f);
	return (uint64_t)resident * sysconf(_SC_PAGESIZE);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * NSEC + t.tv_nsec;
}

static int render(const struct iho_report *report, const struct iho_metrics_options *o,
		  const struct iho_collect_counts *counts, double last_s,
		  enum iho_metrics_format format, struct iho_metrics_text *out)
{
	struct iho_metrics_requests requests[IHO_CODES];
	struct iho_metrics_exporter self = {
		.cpu_ns = cpu_ns(),
		.rss_bytes = rss_bytes(),
		.scrape_s = last_s,
		.requests = requests,
		.connections = __atomic_load_n(&counts->connections, __ATOMIC_RELAXED),
		.connections_evicted = __atomic_load_n(&counts->evicted, __ATOMIC_RELAXED),
	};

	for (size_t i = 0; i < IHO_CODES; i++) {
		requests[i].code = __atomic_load_n(&counts->requests[i].code, __ATOMIC_ACQUIRE);
		if (!requests[i].code)
			break;
		requests[i].total = __atomic_load_n(&counts->requests[i].total, __ATOMIC_RELAXED);
		self.n_requests++;
	}
	return iho_metrics_render(out, report, &self, format, o);
}

int iho_collect_render(struct iho_collect *c, enum iho_metrics_format format,
		       struct iho_metrics_text *out)
{
	uint64_t begin = iho_now_ns();
	int r = render(c->report, c->options, c->counts, c->last_s, format, out);

	c->last_s = (iho_now_ns() - begin) / 1e9;
	return r;
}

int iho_collect_render_down(const struct iho_metrics_options *o,
			    const struct iho_collect_counts *counts, enum iho_metrics_format format,
			    struct iho_metrics_text *out)
{
	return render(NULL, o, counts, -1, format, out);
}
