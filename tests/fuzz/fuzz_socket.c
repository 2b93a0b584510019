// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What anybody who may connect can send to ihod: the bytes of an input go through a socket to the
 * real server, with methods that answer little, much, descriptors, or nothing. A byte 0xfe in the
 * input is not sent: there the client pauses, and reads if the next byte is odd.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Its door is a path and a process' rights; what is looked at here is behind it. */
#include "../../userspace/daemon/server.c"

#define PAUSE	   0xfe
#define SEND_BYTES 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int shared[IHO_FD_MAX];

static json_t *little(void *arg, const int **fds)
{
	return json_pack("{s:i}", "answer", 42);
}

/* More than a socket takes at once. */
static json_t *much(void *arg, const int **fds)
{
	static char text[30000];

	if (!text[0])
		memset(text, 'x', sizeof(text) - 1);
	return json_string(text);
}

static json_t *maps(void *arg, const int **fds)
{
	*fds = shared;
	return json_object();
}

static json_t *nothing(void *arg, const int **fds)
{
	return NULL;
}

static const struct server_method methods[] = {
	{ "hello", little },	  { "names", much }, { "maps", maps },
	{ "directory", nothing }, { NULL, NULL },
};

struct peer {
	int fd;
	char *buf;
	size_t len, cap;
	size_t lines; /* that were sent */
	size_t answers;
};

/* An answer is an object with an id, and with either a result or an error that says something. */
static void check_line(const char *line, size_t len)
{
	json_t *j = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *error = json_object_get(j, "error");

	assert(j && json_object_get(j, "id"));
	assert(!!error != !!json_object_get(j, "result"));
	if (error) {
		assert(json_string_length(json_object_get(error, "code")));
		assert(json_string_length(json_object_get(error, "message")));
	}
	json_decref(j);
}

static void check_lines(struct peer *p)
{
	char *end;

	while ((end = memchr(p->buf, '\n', p->len))) {
		check_line(p->buf, end - p->buf);
		p->answers++;
		p->len -= end + 1 - p->buf;
		memmove(p->buf, end + 1, p->len);
	}
}

static void close_fds(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fd[IHO_FD_MAX];

		assert(n == IHO_FD_MAX);
		memcpy(fd, CMSG_DATA(c), sizeof(fd));
		for (size_t i = 0; i < n; i++)
			close(fd[i]);
	}
}

/* What is there; false: no more for now. */
static bool read_some(struct peer *p)
{
	char control[CMSG_SPACE(IHO_FD_MAX * sizeof(int))];
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;

	if (p->cap - p->len < SEND_BYTES) {
		p->cap = 2 * p->cap + SEND_BYTES;
		p->buf = realloc(p->buf, p->cap);
		assert(p->buf);
	}
	iov.iov_base = p->buf + p->len;
	iov.iov_len = p->cap - p->len;
	n = recvmsg(p->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return false;
	assert(!(msg.msg_flags & MSG_CTRUNC));
	close_fds(&msg);
	p->len += n;
	check_lines(p);
	return true;
}

static void let_it_work(struct server *s)
{
	event_base_loop(s->base, EVLOOP_NONBLOCK);
}

static void read_all(struct server *s, struct peer *p)
{
	do {
		let_it_work(s);
	} while (read_some(p));
}

/* false: the server has closed. */
static bool send_part(struct server *s, struct peer *p, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = send(p->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return false;
		if (n < 0) {
			read_all(s, p);
			continue;
		}
		for (ssize_t i = 0; i < n; i++)
			p->lines += data[i] == '\n';
		data += n;
		size -= n;
	}
	let_it_work(s);
	return true;
}

static void setup(struct server *s)
{
	struct event_config *c = event_config_new();

	/* a loop that is entered anew for each input needs no thread safety, and no signals */
	assert(c);
	s->base = event_base_new_with_config(c);
	event_config_free(c);
	assert(s->base);
	s->o.methods = methods;
	TAILQ_INIT(&s->clients);
	for (int i = 0; i < IHO_FD_MAX; i++)
		shared[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const int send_bytes = SEND_BYTES;
	static struct server s;
	struct peer p = {};
	bool open = true;
	int pair[2];

	if (!s.base)
		setup(&s);
	assert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	p.fd = pair[0];
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes));
	assert(!client_new(&s, pair[1], &(struct ucred){}));
	while (size && open) {
		const uint8_t *pause = memchr(data, PAUSE, size);
		size_t n = pause ? (size_t)(pause - data) : size;

		open = send_part(&s, &p, data, n);
		if (pause && n + 1 < size && (pause[1] & 1))
			read_all(&s, &p);
		data += n + !!pause;
		size -= n + !!pause;
	}
	read_all(&s, &p);
	/* one answer for each line, and one more if it was the last word */
	assert(!p.len);
	if (s.n_clients)
		assert(p.answers == p.lines);
	else
		assert(p.answers <= p.lines + 1);
	close(p.fd);
	let_it_work(&s);
	assert(!s.n_clients && TAILQ_EMPTY(&s.clients));
	free(p.buf);
	return 0;
}
