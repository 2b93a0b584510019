// SPDX-License-Identifier: GPL-2.0-or-later
#include "channel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536

void channel_init(struct channel *c, int fd, size_t max, size_t fds_max)
{
	*c = (struct channel){ .fd = fd, .also = -1, .also2 = -1, .max = max, .fds_max = fds_max };
}

void channel_close(struct channel *c)
{
	for (size_t i = 0; i < c->n_fds; i++)
		close(c->fds[i]);
	if (c->fd >= 0)
		close(c->fd);
	free(c->buf);
	*c = (struct channel){ .fd = -1, .also = -1, .also2 = -1 };
}

/* Until the socket is ready for `events`. */
static int wait_for(struct channel *c, short events, uint64_t deadline_ns)
{
	struct pollfd p[3] = { { .fd = c->fd, .events = events },
			       { .fd = c->also, .events = POLLIN },
			       { .fd = c->also2, .events = POLLIN } };
	struct timespec now;
	int64_t left = -1;

	for (;;) {
		int r;

		if (deadline_ns) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			left = (int64_t)deadline_ns - (now.tv_sec * 1000000000LL + now.tv_nsec);
			left = left > 0 ? left / 1000000 + 1 : 0;
		}
		r = poll(p, 3, left > 60000 ? 60000 : (int)left);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0 && p[0].revents)
			return 0;
		if (r > 0)
			return -EINTR;
		if (!left)
			return -ETIMEDOUT;
	}
}

static int send_some(struct channel *c, const char *p, size_t n, const int *fds, size_t n_fds,
		     size_t *sent)
{
	char control[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))] = {};
	struct iovec iov = { .iov_base = (void *)p, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t r;

	if (n_fds) {
		struct cmsghdr *h = (struct cmsghdr *)control;

		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(h), fds, n_fds * sizeof(int));
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	r = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (r >= 0) {
		*sent = (size_t)r;
		return 0;
	}
	*sent = 0;
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	return errno == ECONNRESET ? -EPIPE : -errno;
}

/* All of it; the descriptors go with its first byte. */
static int send_all(struct channel *c, const char *p, size_t n, const int *fds, size_t n_fds,
		    uint64_t deadline_ns)
{
	size_t done = 0;
	int r = 0;

	while (!r && done < n) {
		size_t sent;

		r = send_some(c, p + done, n - done, fds, done ? 0 : n_fds, &sent);
		done += sent;
		if (r == -EAGAIN)
			r = wait_for(c, POLLOUT, deadline_ns);
	}
	return r;
}

int channel_send(struct channel *c, json_t *j, const int *fds, size_t n_fds, uint64_t deadline_ns)
{
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	int r = text ? 0 : -ENOMEM;

	json_decref(j);
	if (n_fds > CHANNEL_FDS_MAX)
		r = -E2BIG;
	if (!r) {
		size_t n = strlen(text);

		text[n] = '\n'; /* in the place of the end */
		r = send_all(c, text, n + 1, fds, n_fds, deadline_ns);
	}
	free(text);
	return r;
}

int channel_send_line(struct channel *c, const char *line, size_t n, uint64_t deadline_ns)
{
	return send_all(c, line, n, NULL, 0, deadline_ns);
}

static int take_control(struct channel *c, struct msghdr *msg)
{
	int r = msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			if (c->n_fds < c->fds_max) {
				c->fds[c->n_fds++] = fd;
			} else {
				close(fd);
				r = -EPROTO;
			}
		}
	}
	return r;
}

static int receive_some(struct channel *c)
{
	char control[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t r;

	if (c->room - c->len < CHUNK) {
		char *p = realloc(c->buf, c->room + 2 * CHUNK + c->len);

		if (!p)
			return -ENOMEM;
		c->buf = p;
		c->room += 2 * CHUNK + c->len;
	}
	iov = (struct iovec){ .iov_base = c->buf + c->len, .iov_len = c->room - c->len };
	r = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (r < 0)
		return errno == EAGAIN || errno == EINTR ? 0
		       : errno == ECONNRESET		 ? -EPIPE
							 : -errno;
	if (!r)
		return -EPIPE;
	c->len += (size_t)r;
	return take_control(c, &msg);
}

static int parse_line(struct channel *c, size_t n, json_t **out)
{
	json_t *j = json_loadb(c->buf, n, JSON_REJECT_DUPLICATES, NULL);

	c->len -= n + 1;
	c->looked = 0;
	memmove(c->buf, c->buf + n + 1, c->len);
	if (c->room > 16 * CHUNK && c->len < CHUNK) {
		char *p = realloc(c->buf, 2 * CHUNK);

		if (p) {
			c->buf = p;
			c->room = 2 * CHUNK;
		}
	}
	if (!json_is_object(j)) {
		json_decref(j);
		return -EPROTO;
	}
	*out = j;
	return 0;
}

int channel_receive(struct channel *c, json_t **out, uint64_t deadline_ns)
{
	*out = NULL;
	for (;;) {
		const char *end = c->len > c->looked
					  ? memchr(c->buf + c->looked, '\n', c->len - c->looked)
					  : NULL;
		int r;

		if (end)
			return (size_t)(end - c->buf) > c->max
				       ? -EPROTO
				       : parse_line(c, (size_t)(end - c->buf), out);
		c->looked = c->len;
		if (c->len > c->max)
			return -EPROTO;
		r = wait_for(c, POLLIN, deadline_ns);
		if (!r)
			r = receive_some(c);
		if (r)
			return r;
	}
}

size_t channel_buffered(const struct channel *c)
{
	return c->len;
}

size_t channel_take_fds(struct channel *c, int *fds, size_t max)
{
	size_t n = c->n_fds < max ? c->n_fds : max;

	memcpy(fds, c->fds, n * sizeof(int));
	memmove(c->fds, c->fds + n, (c->n_fds - n) * sizeof(int));
	c->n_fds -= n;
	return n;
}

bool channel_pending(const struct channel *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}
