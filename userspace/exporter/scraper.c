// SPDX-License-Identifier: GPL-2.0-or-later
#include "scraper.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <zlib.h>

#include "error.h"

#define NSEC 1000000000ULL
/* Without requests too, so that a collector of our own keeps house, and /-/ready is true. */
#define IDLE_NS	  (5 * NSEC)
#define GZIP_BITS (15 + 16) /* zlib's way to say: window of 32 KiB, and a gzip header */
#define STACK	  262144
#define STOP_S	  5

struct iho_scraper {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	bool stop;
	int fd;
	uint64_t min_ns;
	struct iho_collect *collect;
	unsigned int wanted; /* kinds, as bits */
	struct iho_body *newest[IHO_BODY_KINDS];
	unsigned int live[IHO_BODY_KINDS];
	unsigned int refs; /* the thread's owner, and each body */
	bool ready;
	struct iho_error why;
	uint64_t taken_ns; /* the last report; the thread's own */
};

int iho_gzip(const char *data, size_t len, char **out, size_t *out_len)
{
	z_stream z = { .next_in = (Bytef *)data, .avail_in = len };
	size_t bound;
	char *fit;

	if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	bound = deflateBound(&z, len);
	*out = malloc(bound);
	if (!*out) {
		deflateEnd(&z);
		return -ENOMEM;
	}
	z.next_out = (Bytef *)*out;
	z.avail_out = bound;
	deflate(&z, Z_FINISH);
	*out_len = bound - z.avail_out;
	deflateEnd(&z);
	fit = realloc(*out, *out_len);
	if (fit)
		*out = fit;
	return 0;
}

static void unref(struct iho_scraper *s)
{
	bool last;

	pthread_mutex_lock(&s->lock);
	last = !--s->refs;
	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	pthread_cond_destroy(&s->work);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void iho_body_put(void *arg)
{
	struct iho_body *b = arg;
	struct iho_scraper *s = b->owner;
	bool last;

	pthread_mutex_lock(&s->lock);
	last = !--b->refs;
	if (last)
		s->live[b->kind]--;
	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	free(b->data);
	free(b);
	unref(s);
}

/* A body of the last report; NULL without memory. */
static struct iho_body *make(struct iho_scraper *s, unsigned int kind)
{
	struct iho_metrics_text text;
	struct iho_body *b = calloc(1, sizeof(*b));
	int r;

	if (!b || iho_collect_render(s->collect, kind / 2, &text)) {
		free(b);
		return NULL;
	}
	b->kind = kind;
	b->refs = 1;
	b->owner = s;
	b->taken_ns = s->taken_ns;
	if (kind & 1) {
		r = iho_gzip(text.data, text.len, &b->data, &b->len);
		iho_metrics_text_free(&text);
		if (r) {
			free(b);
			return NULL;
		}
	} else {
		b->data = text.data;
		b->len = text.len;
	}
	return b;
}

static void publish(struct iho_scraper *s, struct iho_body *b)
{
	struct iho_body *old;

	pthread_mutex_lock(&s->lock);
	old = s->newest[b->kind];
	s->newest[b->kind] = b;
	s->live[b->kind]++;
	s->refs++;
	pthread_mutex_unlock(&s->lock);
	if (old)
		iho_body_put(old);
}

static void report(struct iho_scraper *s)
{
	uint64_t now = iho_now_ns();
	struct iho_error why = {};
	int r;

	if (s->taken_ns && now - s->taken_ns < s->min_ns)
		return;
	r = iho_collect_report(s->collect, &why);
	s->taken_ns = now;
	pthread_mutex_lock(&s->lock);
	s->ready = !r;
	s->why = why;
	pthread_mutex_unlock(&s->lock);
}

static void drop_newest(struct iho_scraper *s)
{
	struct iho_body *old;

	for (unsigned int k = 0; k < IHO_BODY_KINDS; k++) {
		pthread_mutex_lock(&s->lock);
		old = s->newest[k];
		s->newest[k] = NULL;
		pthread_mutex_unlock(&s->lock);
		if (old)
			iho_body_put(old);
	}
}

/* Waits for somebody who wants bodies; returns their kinds, 0 when nobody came for a while. */
static unsigned int wait_for_work(struct iho_scraper *s)
{
	struct timespec until;
	unsigned int wanted;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_NS / NSEC;
	pthread_mutex_lock(&s->lock);
	while (!s->stop && !s->wanted && !r)
		r = pthread_cond_timedwait(&s->work, &s->lock, &until);
	wanted = s->wanted;
	s->wanted = 0;
	pthread_mutex_unlock(&s->lock);
	return wanted;
}

static bool stopped(struct iho_scraper *s)
{
	bool stop;

	pthread_mutex_lock(&s->lock);
	stop = s->stop;
	pthread_mutex_unlock(&s->lock);
	return stop;
}

static void *scrape(void *arg)
{
	struct iho_scraper *s = arg;
	unsigned int wanted;

	while (!stopped(s)) {
		report(s);
		wanted = wait_for_work(s);
		if (!wanted)
			continue;
		report(s);
		for (unsigned int k = 0; k < IHO_BODY_KINDS; k++) {
			struct iho_body *b = wanted & 1u << k ? make(s, k) : NULL;

			if (b)
				publish(s, b);
		}
		eventfd_write(s->fd, 1);
	}
	return NULL;
}

int iho_scraper_start(struct iho_scraper **out, struct iho_collect *collect, double min_interval_s,
		      int fd, struct iho_error *err)
{
	struct iho_scraper *s = calloc(1, sizeof(*s));
	pthread_condattr_t clock;
	pthread_attr_t attr;
	int r;

	if (!s) {
		iho_collect_free(collect);
		return iho_fail(err, -ENOMEM, "out of memory");
	}
	s->collect = collect;
	s->fd = fd;
	s->min_ns = min_interval_s * NSEC;
	s->refs = 1;
	iho_fail(&s->why, 0, "the collector is being opened");
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&s->work, &clock);
	pthread_condattr_destroy(&clock);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	r = -pthread_create(&s->thread, &attr, scrape, s);
	pthread_attr_destroy(&attr);
	if (r) {
		iho_collect_free(s->collect);
		free(s);
		return iho_fail(err, r, "cannot start a thread: %s", strerror(-r));
	}
	*out = s;
	return 0;
}

void iho_scraper_stop(struct iho_scraper *s)
{
	struct timespec until;

	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STOP_S;
	if (pthread_clockjoin_np(s->thread, NULL, CLOCK_MONOTONIC, &until))
		return; /* the collector hangs: what is left goes with the process */
	drop_newest(s);
	iho_collect_free(s->collect);
	unref(s);
}

struct iho_body *iho_scraper_get(struct iho_scraper *s, unsigned int kind, uint64_t asked_ns)
{
	struct iho_body *b;

	pthread_mutex_lock(&s->lock);
	b = s->newest[kind];
	if (b && b->taken_ns + s->min_ns < asked_ns && s->live[kind] < IHO_BODIES_LIVE)
		b = NULL;
	if (b) {
		b->refs++;
	} else {
		s->wanted |= 1u << kind;
		pthread_cond_signal(&s->work);
	}
	pthread_mutex_unlock(&s->lock);
	return b;
}

bool iho_scraper_full(struct iho_scraper *s, unsigned int kind)
{
	bool full;

	pthread_mutex_lock(&s->lock);
	full = s->live[kind] >= IHO_BODIES_LIVE;
	pthread_mutex_unlock(&s->lock);
	return full;
}

bool iho_scraper_ready(struct iho_scraper *s, char *why, size_t len)
{
	bool ready;

	pthread_mutex_lock(&s->lock);
	ready = s->ready;
	snprintf(why, len, "%s", s->why.text);
	pthread_mutex_unlock(&s->lock);
	return ready;
}
