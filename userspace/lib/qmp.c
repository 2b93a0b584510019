// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MOST_LINES 256 /* events and answers of one conversation */
#define FIRST_SIZE 4096

struct iho_qmp {
	int fd;
	bool owned; /* the descriptor */
	int64_t deadline_ms;
	int lines; /* so far */
	int id; /* of the last command */
	size_t limit; /* of a line */
	size_t start, end; /* what is in buf and not looked at yet */
	size_t size;
	char *buf;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* -------------------------------------------------------------------------------------- lines */

static int wait_for(int fd, short events, int64_t deadline_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r;

	do {
		int64_t left = deadline_ms - now_ms();

		if (left <= 0)
			return -ETIMEDOUT;
		r = poll(&p, 1, left);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r ? 0 : -ETIMEDOUT;
}

static int grow(struct iho_qmp *q)
{
	size_t size = q->size ? 2 * q->size : FIRST_SIZE;
	char *p;

	if (q->size >= q->limit)
		return -EMSGSIZE;
	if (size > q->limit)
		size = q->limit;
	p = realloc(q->buf, size);
	if (!p)
		return -ENOMEM;
	q->buf = p;
	q->size = size;
	return 0;
}

/* The next line, without its end; it lives until the next call. */
static int read_line(struct iho_qmp *q, const char **line, size_t *len)
{
	size_t looked = 0;

	for (;;) {
		size_t n_new = q->end - q->start - looked;
		char *nl = n_new ? memchr(q->buf + q->start + looked, '\n', n_new) : NULL;
		ssize_t n;
		int e;

		if (nl) {
			*line = q->buf + q->start;
			*len = nl - *line;
			q->start += *len + 1;
			return 0;
		}
		if (q->start) {
			memmove(q->buf, q->buf + q->start, q->end - q->start);
			q->end -= q->start;
			q->start = 0;
		}
		looked = q->end;
		e = q->end < q->size ? 0 : grow(q);
		if (!e)
			e = wait_for(q->fd, POLLIN, q->deadline_ms);
		if (e)
			return e;
		n = recv(q->fd, q->buf + q->end, q->size - q->end, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		q->end += n;
	}
}

static int read_object(struct iho_qmp *q, json_t **out)
{
	const char *line = NULL;
	size_t len = 0;
	int e = read_line(q, &line, &len);

	if (e)
		return e;
	*out = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(*out))
		return 0;
	json_decref(*out);
	return -EPROTO;
}

static int send_all(int fd, const char *text, int64_t deadline_ms)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n;
		int e = wait_for(fd, POLLOUT, deadline_ms);

		if (e)
			return e;
		n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			len -= n;
		}
	}
	return 0;
}

/* ------------------------------------------------------------------------------------- sockets */

/*
 * Has the monitor a client already? The socket that QEMU took the client's connection with bears
 * the monitor's path (net/unix/af_unix.c: unix_seq_show; 03 is SS_CONNECTED).
 */
static bool has_client(const char *proc, pid_t pid, const char *path)
{
	char name[PATH_MAX], *line = NULL;
	size_t cap = 0;
	bool busy = false;
	FILE *f;

	if (pid)
		snprintf(name, sizeof(name), "%s/%d/net/unix", proc, (int)pid);
	else
		snprintf(name, sizeof(name), "%s/self/net/unix", proc);
	f = fopen(name, "re");
	if (!f)
		return false;
	while (!busy && getline(&line, &cap, f) > 0) {
		unsigned int state;
		int at = 0;

		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%*s %*s %*s %*s %*s %x %*s %n", &state, &at) == 1 && at)
			busy = state == 3 && !strcmp(line + at, path);
	}
	free(line);
	fclose(f);
	return busy;
}

/* A process' paths are its own: they are followed from its root or its working directory. */
static int open_folder(const char *proc, pid_t pid, const char *path, const char **base)
{
	const char *slash = strrchr(path, '/');
	char folder[2 * PATH_MAX], from[PATH_MAX] = "";
	int n, fd;

	*base = slash ? slash + 1 : path;
	if (pid)
		snprintf(from, sizeof(from), "%s/%d/%s/", proc, (int)pid,
			 path[0] == '/' ? "root" : "cwd");
	n = snprintf(folder, sizeof(folder), "%s%.*s", from, slash ? (int)(slash - path) + 1 : 1,
		     slash ? path : ".");
	if (n < 0 || (size_t)n >= sizeof(folder))
		return -ENAMETOOLONG;
	fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Through the folder's descriptor, so that no path is too long for a socket's address. */
static int connect_to(const char *proc, pid_t pid, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *base;
	int n, r = 0, fd, folder = open_folder(proc, pid, path, &base);

	if (folder < 0)
		return folder;
	n = snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", folder, base);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (n < 0 || (size_t)n >= sizeof(a.sun_path))
		r = -ENAMETOOLONG;
	else if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		r = -errno; /* EAGAIN: others wait to be served already */
	close(folder);
	if (r && fd >= 0)
		close(fd);
	return r ? r : fd;
}

/* ------------------------------------------------------------------------------- conversation */

/* The answer with our id; what else comes is an event, or wrong. */
static int read_answer(struct iho_qmp *q, json_t **ret)
{
	for (;;) {
		json_t *o, *id, *value;
		int e = q->lines++ == MOST_LINES ? -EPROTO : read_object(q, &o);

		if (e)
			return e;
		id = json_object_get(o, "id");
		if (!id && json_object_get(o, "event")) {
			json_decref(o);
			continue;
		}
		value = json_object_get(o, "return");
		if (!json_is_integer(id) || json_integer_value(id) != q->id)
			e = -EPROTO;
		else if (!value)
			e = json_object_get(o, "error") ? -EREMOTEIO : -EPROTO;
		else
			*ret = json_incref(value);
		json_decref(o);
		return e;
	}
}

static int send_command(struct iho_qmp *q, json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);
	int e = text ? send_all(q->fd, text, q->deadline_ms) : -ENOMEM;

	free(text);
	return e ? e : send_all(q->fd, "\n", q->deadline_ms);
}

int iho_qmp_execute(struct iho_qmp *q, const char *command, json_t *arguments, json_t **ret)
{
	json_t *o = json_pack("{s:s, s:i, s:o*}", "execute", command, "id", ++q->id, "arguments",
			      arguments);
	int e = o ? send_command(q, o) : -ENOMEM;

	json_decref(o);
	*ret = NULL;
	return e ? e : read_answer(q, ret);
}

static int greet(struct iho_qmp *q)
{
	json_t *o;
	int e = read_object(q, &o);

	if (e)
		return e;
	e = json_is_object(json_object_get(o, "QMP")) ? 0 : -EPROTO;
	json_decref(o);
	if (!e)
		e = iho_qmp_execute(q, "qmp_capabilities", NULL, &o);
	if (e)
		return e == -EREMOTEIO ? -EPROTO : e;
	json_decref(o);
	return 0;
}

int iho_qmp_open(struct iho_qmp **out, int fd, int timeout_ms)
{
	struct iho_qmp *q = calloc(1, sizeof(*q));
	int e;

	*out = NULL;
	if (!q)
		return -ENOMEM;
	q->fd = fd;
	q->deadline_ms = now_ms() + timeout_ms;
	q->limit = IHO_QMP_LINE_MAX;
	q->id = -1;
	e = greet(q);
	if (e)
		iho_qmp_close(q);
	else
		*out = q;
	return e;
}

void iho_qmp_close(struct iho_qmp *q)
{
	if (!q)
		return;
	if (q->owned)
		close(q->fd);
	free(q->buf);
	free(q);
}

void iho_qmp_limit(struct iho_qmp *q, size_t line_bytes)
{
	q->limit = line_bytes;
}

static pid_t peer_of(int fd)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) ? 0 : c.pid;
}

pid_t iho_qmp_peer(const struct iho_qmp *q)
{
	return peer_of(q->fd);
}

int iho_qmp_connect(struct iho_qmp **out, const char *proc, pid_t pid, const char *path,
		    int timeout_ms)
{
	int fd, e;

	*out = NULL;
	if (has_client(proc, pid, path))
		return -EBUSY;
	fd = connect_to(proc, pid, path);
	if (fd < 0)
		return fd;
	/* What a command line leads to must be the process' own. */
	e = pid && peer_of(fd) != pid ? -EPERM : iho_qmp_open(out, fd, timeout_ms);
	if (e)
		close(fd);
	else
		(*out)->owned = true;
	return e;
}
