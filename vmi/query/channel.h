/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between a worker and its parent: JSON objects, one a line, over a Unix stream socket. Neither
 * side believes the other: lines, descriptors and waiting have limits.
 */
#ifndef QUERY_CHANNEL_H
#define QUERY_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#define CHANNEL_FDS_MAX 64

struct channel {
	int fd; /* owned */
	int also, also2; /* others that end waiting when they can be read; -1: none */
	size_t max; /* bytes of a line to be received */
	char *buf;
	size_t len, room, looked; /* bytes in buf; without a line's end up to `looked` */
	int fds[CHANNEL_FDS_MAX]; /* received, not yet taken; owned */
	size_t n_fds, fds_max;
};

/* `max`: longest line to receive; `fds_max`: how many descriptors may come along. */
void channel_init(struct channel *c, int fd, size_t max, size_t fds_max);
void channel_close(struct channel *c);

/*
 * Takes over `j`; NULL is -ENOMEM. Waits until all is written, or `deadline_ns` (CLOCK_MONOTONIC;
 * 0 = none) is past: -ETIMEDOUT. -EPIPE: nobody reads any more.
 */
int channel_send(struct channel *c, json_t *j, const int *fds, size_t n_fds, uint64_t deadline_ns);
/* The same of an object that is text already: one line, its newline included. */
int channel_send_line(struct channel *c, const char *line, size_t n, uint64_t deadline_ns);

/*
 * One object, a new reference. -ETIMEDOUT, -EPIPE (the other end closed), -EPROTO (no line of JSON
 * with an object; too long; unexpected descriptors), -ENOMEM; -EINTR: `also` or `also2` became
 * readable.
 */
int channel_receive(struct channel *c, json_t **out, uint64_t deadline_ns);

/* Bytes that were received, and make no whole line yet or a further one. */
size_t channel_buffered(const struct channel *c);

/* The descriptors that came so far, to be owned by the caller. Returns how many. */
size_t channel_take_fds(struct channel *c, int *fds, size_t max);

/* Is there something to read, or did the other end close? Async-signal-safe, waits for nothing. */
bool channel_pending(const struct channel *c);

#endif /* QUERY_CHANNEL_H */
