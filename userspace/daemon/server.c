// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "protocol.h"
#include "server.h"

#define BACKLOG	   64
#define GROUPS_MAX 65536 /* NGROUPS_MAX of linux/limits.h */

struct client {
	TAILQ_ENTRY(client) link;
	struct server *server;
	struct bufferevent *bev;
	struct event *line; /* the rest of a line is due */
	struct ucred cred;
	double tokens; /* requests that it may still make now */
	double refilled_s;
	bool fds_sent;
};

struct server {
	struct server_options o;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct event_base *base;
	int lock_fd, fd;
	struct event *accept;
	TAILQ_HEAD(client_list, client) clients;
	unsigned int n_clients;
	uint64_t accepted, refused, requests, errors;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* ---- clients ---- */

static void client_free(struct client *c)
{
	struct server *s = c->server;

	if (s->o.gone)
		s->o.gone(s->o.ask_arg, c);
	TAILQ_REMOVE(&s->clients, c, link);
	s->n_clients--;
	event_free(c->line);
	bufferevent_free(c->bev);
	free(c);
}

bool client_send(struct client *c, const char *text, size_t n)
{
	return !bufferevent_write(c->bev, text, n);
}

size_t client_backlog(const struct client *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->bev));
}

/* A text that cannot be made is a lack of memory: the connection ends, which says it too. */
static bool send_json(struct client *c, json_t *j)
{
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	bool ok = text && !bufferevent_write(c->bev, text, strlen(text)) &&
		  !bufferevent_write(c->bev, "\n", 1);

	free(text);
	json_decref(j);
	return ok;
}

static json_t *error_json(const json_t *id, const char *code, const char *message)
{
	return json_pack("{s:O?, s:{s:s, s:s}}", "id", id, "error", "code", code, "message",
			 message);
}

static bool send_error(struct client *c, const json_t *id, const char *code, const char *message)
{
	c->server->errors++;
	return send_json(c, error_json(id, code, message));
}

/* With descriptors the answer must leave in one piece: nothing waits before it, we made sure. */
static bool send_with_fds(struct client *c, json_t *j, const int *fds)
{
	char control[CMSG_SPACE(IHO_FD_MAX * sizeof(int))] = {};
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;
	bool ok = false;

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(IHO_FD_MAX * sizeof(int));
	memcpy(CMSG_DATA(h), fds, IHO_FD_MAX * sizeof(int));
	if (text) {
		text[len] = '\n'; /* in the place of the end */
		iov.iov_base = text;
		iov.iov_len = len + 1;
		ok = sendmsg(bufferevent_getfd(c->bev), &msg, MSG_NOSIGNAL | MSG_DONTWAIT) ==
		     (ssize_t)(len + 1);
	}
	free(text);
	json_decref(j);
	return ok;
}

/*
 * Descriptors that nobody has taken out of a socket yet are counted against all of ihod's: a client
 * that asks for more and more of them, and reads none, would leave none for the others.
 */
static bool fds_unread(struct client *c)
{
	int unread = 0;

	if (!c->fds_sent)
		return false;
	c->fds_sent = !ioctl(bufferevent_getfd(c->bev), SIOCOUTQ, &unread) && unread;
	return c->fds_sent;
}

static bool take_token(struct client *c)
{
	double now = now_s();

	c->tokens += (now - c->refilled_s) * IHO_REQUESTS_PER_S;
	c->refilled_s = now;
	if (c->tokens > IHO_REQUESTS_PER_S)
		c->tokens = IHO_REQUESTS_PER_S;
	if (c->tokens < 1)
		return false;
	c->tokens--;
	return true;
}

static bool answer(struct client *c, const json_t *id, const struct server_method *m)
{
	const int *fds = NULL;
	json_t *result = m->answer(c->server->o.arg, &fds);

	if (!result)
		return send_error(c, id, IHO_ERR_INTERNAL, "ihod could not answer; see its log");
	if (fds && fds_unread(c)) {
		json_decref(result);
		return send_error(c, id, IHO_ERR_BUSY, "an earlier answer is not read yet");
	}
	result = json_pack("{s:O?, s:o}", "id", id, "result", result);
	if (!fds)
		return send_json(c, result);
	c->fds_sent = true;
	return send_with_fds(c, result, fds);
}

static const struct server_ask *find_ask(const struct server *s, const char *method)
{
	const struct server_ask *a = s->o.asks;

	while (a && a->name && strcmp(a->name, method))
		a++;
	return a && a->name ? a : NULL;
}

/* One request; false: the connection is of no more use. */
static bool handle_line(struct client *c, const char *line, size_t len)
{
	const struct server_method *m = c->server->o.methods;
	const struct server_ask *a;
	const char *method;
	const json_t *id;
	json_t *j;
	bool ok;

	c->server->requests++;
	if (!take_token(c))
		return send_error(c, NULL, IHO_ERR_RATE,
				  "too many requests; there is a limit a second");
	j = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	method = json_string_value(json_object_get(j, "method"));
	id = json_object_get(j, "id");
	if (!json_is_object(j) || (id && !json_is_integer(id) && !json_is_string(id))) {
		ok = send_error(c, NULL, IHO_ERR_SYNTAX,
				"a request is one JSON object in one line, with \"method\" and a "
				"number or string \"id\"");
	} else if (!method) {
		ok = send_error(c, id, IHO_ERR_SYNTAX, "the request has no \"method\"");
	} else if ((a = find_ask(c->server, method))) {
		ok = a->ask(c->server->o.ask_arg, c, id, j);
	} else {
		while (m->name && strcmp(m->name, method))
			m++;
		ok = m->name ? answer(c, id, m)
			     : send_error(c, id, IHO_ERR_METHOD, "there is no such method");
	}
	json_decref(j);
	return ok;
}

/* Says why, as far as the socket takes it, and closes when that is read. */
static void close_with(struct client *c, const char *code, const char *message)
{
	json_t *j = error_json(NULL, code, message);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	int fd = bufferevent_getfd(c->bev);
	char scratch[4096];

	c->server->errors++;
	if (text && !evbuffer_get_length(bufferevent_get_output(c->bev)) &&
	    send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		send(fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	free(text);
	json_decref(j);
	/* Closing with unread input would tell the peer of a reset instead. */
	for (int i = 0; i < 16 && recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT) > 0; i++)
		;
	client_free(c);
}

/*
 * The lines that are there, as long as their answers leave at once: what is asked while an answer
 * is still to be read waits, and so does whoever asks.
 */
static void serve(struct client *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct evbuffer *out = bufferevent_get_output(c->bev);
	const struct timeval due = { .tv_sec = IHO_LINE_SECONDS };
	size_t len;
	char *line;

	while (!evbuffer_get_length(out)) {
		bool ok;

		line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF);
		if (!line)
			break;
		ok = len < IHO_REQUEST_BYTES && handle_line(c, line, len);
		free(line);
		event_del(c->line);
		if (len >= IHO_REQUEST_BYTES) {
			close_with(c, IHO_ERR_TOO_LONG, "a request has 4096 bytes at most");
			return;
		}
		if (!ok) {
			client_free(c);
			return;
		}
	}
	if (evbuffer_get_length(out)) {
		bufferevent_disable(c->bev, EV_READ);
		return;
	}
	bufferevent_enable(c->bev, EV_READ);
	len = evbuffer_get_length(in);
	if (len >= IHO_REQUEST_BYTES)
		close_with(c, IHO_ERR_TOO_LONG, "a request has 4096 bytes at most");
	else if (len && !event_pending(c->line, EV_TIMEOUT, NULL))
		event_add(c->line, &due);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	serve(arg);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;

	if (c->server->o.drained && !client_backlog(c))
		c->server->o.drained(c->server->o.ask_arg, c);
	serve(c);
}

/* The end of the connection, an error, or nothing for too long. */
static void on_event(struct bufferevent *bev, short what, void *arg)
{
	client_free(arg);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	client_free(arg);
}

/* ---- who may ask ---- */

static bool in_group(int fd, const struct ucred *cred, gid_t group)
{
	socklen_t len = GROUPS_MAX * sizeof(gid_t);
	gid_t *list;
	bool found = cred->gid == group;

	if (found || group == (gid_t)-1)
		return found;
	list = malloc(len);
	if (list && !getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, list, &len))
		for (size_t i = 0; i < len / sizeof(gid_t) && !found; i++)
			found = list[i] == group;
	free(list);
	return found;
}

bool client_in_group(const struct client *c, gid_t group)
{
	return in_group(bufferevent_getfd(c->bev), &c->cred, group);
}

const struct ucred *client_credentials(const struct client *c)
{
	return &c->cred;
}

/* NULL: yes; else the reason. The file's mode says the same, if nobody changed it. */
static const char *refusal(const struct server *s, int fd, const struct ucred *cred,
			   const char **code)
{
	unsigned int same = 0;
	struct client *c;

	*code = IHO_ERR_FORBIDDEN;
	if (cred->uid && !in_group(fd, cred, s->o.group))
		return "only root and members of ihod's group may ask";
	*code = IHO_ERR_CLIENTS;
	if (s->n_clients >= IHO_CLIENTS)
		return "too many clients";
	if (!cred->uid)
		return NULL;
	if (s->n_clients >= IHO_CLIENTS - IHO_CLIENTS_ROOT)
		return "too many clients";
	TAILQ_FOREACH (c, &s->clients, link)
		same += c->cred.uid == cred->uid;
	return same >= IHO_CLIENTS_PER_USER ? "too many clients of one user" : NULL;
}

static void refuse(struct server *s, int fd, const char *code, const char *why)
{
	json_t *j = error_json(NULL, code, why);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	s->refused++;
	if (text && send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		send(fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	free(text);
	json_decref(j);
	close(fd);
}

static int client_new(struct server *s, int fd, const struct ucred *cred)
{
	const struct timeval idle = { .tv_sec = IHO_IDLE_SECONDS };
	const struct timeval stuck = { .tv_sec = IHO_LINE_SECONDS };
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->server = s;
	c->cred = *cred;
	c->tokens = IHO_REQUESTS_PER_S;
	c->refilled_s = now_s();
	c->line = evtimer_new(s->base, on_late, c);
	c->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c->line || !c->bev) {
		if (c->line)
			event_free(c->line);
		if (c->bev)
			bufferevent_free(c->bev);
		else
			close(fd);
		free(c);
		return -ENOMEM;
	}
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, 2 * IHO_REQUEST_BYTES);
	bufferevent_set_timeouts(c->bev, &idle, &stuck);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	TAILQ_INSERT_TAIL(&s->clients, c, link);
	s->n_clients++;
	s->accepted++;
	return 0;
}

static void on_accept(evutil_socket_t listener, short what, void *arg)
{
	struct server *s = arg;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	const char *code, *why;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return; /* gone again, or too many files: the next one may do better */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len)) {
		close(fd);
		return;
	}
	why = refusal(s, fd, &cred, &code);
	if (why)
		refuse(s, fd, code, why);
	else
		client_new(s, fd, &cred);
}

/* ---- the socket ---- */

static int fail(struct iho_error *err, int r, const char *what, const char *path)
{
	snprintf(err->text, sizeof(err->text), "%s %.200s: %s", what, path, strerror(-r));
	return r;
}

/* Held as long as we live: what is left of a socket without it may be removed. */
static int take_lock(struct server *s, struct iho_error *err)
{
	char path[sizeof(s->path) + 8];

	snprintf(path, sizeof(path), "%s.lock", s->path);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0)
		return fail(err, -errno, "cannot make", path);
	if (!flock(s->lock_fd, LOCK_EX | LOCK_NB))
		return 0;
	if (errno != EWOULDBLOCK)
		return fail(err, -errno, "cannot lock", path);
	snprintf(err->text, sizeof(err->text), "another ihod has the socket %s", s->path);
	return -EADDRINUSE;
}

/* What a kill -9 left; never a file that somebody named by mistake. */
static int remove_stale(const struct server *s, struct iho_error *err)
{
	struct stat st;

	if (lstat(s->path, &st))
		return errno == ENOENT ? 0 : fail(err, -errno, "cannot look at", s->path);
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(err->text, sizeof(err->text), "%s is there, and is no socket", s->path);
		return -EEXIST;
	}
	return unlink(s->path) ? fail(err, -errno, "cannot remove", s->path) : 0;
}

static int bind_socket(struct server *s, struct iho_error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const bool grouped = s->o.group != (gid_t)-1;
	mode_t mask;
	int r = remove_stale(s, err);

	if (r)
		return r;
	memcpy(addr.sun_path, s->path, sizeof(addr.sun_path));
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return fail(err, -errno, "cannot make the socket", s->path);
	mask = umask(0177);
	r = bind(s->fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	umask(mask);
	if (r)
		return fail(err, r, "cannot bind the socket", s->path);
	/* Nobody is let in before it listens, and then it has its group. */
	if (grouped && (chown(s->path, -1, s->o.group) || chmod(s->path, 0660)))
		return fail(err, -errno, "cannot give to its group the socket", s->path);
	if (listen(s->fd, BACKLOG))
		return fail(err, -errno, "cannot listen at", s->path);
	return 0;
}

int server_open(struct server **out, struct event_base *base, const struct server_options *o,
		struct iho_error *err)
{
	struct server *s = calloc(1, sizeof(*s));
	int r;

	*out = NULL;
	if (!s) {
		snprintf(err->text, sizeof(err->text), "out of memory");
		return -ENOMEM;
	}
	s->o = *o;
	s->base = base;
	s->lock_fd = s->fd = -1;
	TAILQ_INIT(&s->clients);
	if (strlen(o->path) >= sizeof(s->path)) {
		r = fail(err, -ENAMETOOLONG, "cannot use", o->path);
		goto cleanup;
	}
	strcpy(s->path, o->path);
	r = take_lock(s, err);
	if (!r)
		r = bind_socket(s, err);
	if (r)
		goto cleanup;
	s->accept = event_new(base, s->fd, EV_READ | EV_PERSIST, on_accept, s);
	if (!s->accept || event_add(s->accept, NULL)) {
		snprintf(err->text, sizeof(err->text), "out of memory");
		r = -ENOMEM;
		goto cleanup;
	}
	*out = s;
	return 0;

cleanup:
	server_close(s);
	return r;
}

void server_close(struct server *s)
{
	struct client *c;

	if (!s)
		return;
	while ((c = TAILQ_FIRST(&s->clients)))
		client_free(c);
	if (s->accept)
		event_free(s->accept);
	if (s->fd >= 0) {
		close(s->fd);
		unlink(s->path);
	}
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s);
}

json_t *server_status(const struct server *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "clients", (json_int_t)s->n_clients,
			 "accepted", (json_int_t)s->accepted, "refused", (json_int_t)s->refused,
			 "requests", (json_int_t)s->requests, "errors", (json_int_t)s->errors);
}
