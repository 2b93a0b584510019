// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * snapshot N [SOCKET]: opens the collector, that of the ihod at SOCKET where one is named, takes N
 * snapshots and prints {"vcpus":N,"median_us":T,...}. Under strace, the system calls of the
 * snapshots are those between the two failing writes of "begin" and "end".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector.h"

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Seen by strace, and by nobody else: there is no such descriptor. */
static void mark(const char *what)
{
	if (write(-1, what, strlen(what)) >= 0)
		abort();
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
	struct iho_collector_options o = {};
	struct iho_collector *c;
	struct iho_error err = {};
	double *us;
	int r;

	if (n < 1 || n > 1000000) {
		fprintf(stderr, "usage: snapshot N [SOCKET] (N: 1 to 1000000)\n");
		return 2;
	}
	if (argc > 2) {
		o.mode = IHO_HOST_DAEMON;
		o.socket = argv[2];
	}
	us = calloc(n, sizeof(*us));
	if (!us || iho_collector_open(&c, &o, &err)) {
		fprintf(stderr, "snapshot: %s\n", us ? err.text : "out of memory");
		free(us);
		return 1;
	}
	r = iho_collector_snapshot(c); /* the first one gets its memory */
	mark("begin");
	for (long i = 0; i < n && r >= 0; i++) {
		struct timespec a, b;

		clock_gettime(CLOCK_MONOTONIC, &a);
		r = iho_collector_snapshot(c);
		clock_gettime(CLOCK_MONOTONIC, &b);
		us[i] = (b.tv_sec - a.tv_sec) * 1e6 + (b.tv_nsec - a.tv_nsec) / 1e3;
	}
	mark("end");
	qsort(us, n, sizeof(*us), by_value);
	printf("{\"vcpus\":%d,\"snapshots\":%ld,\"median_us\":%.1f,\"p99_us\":%.1f}\n", r, n,
	       us[n / 2], us[n * 99 / 100]);
	iho_collector_close(c);
	free(us);
	return r < 0;
}
