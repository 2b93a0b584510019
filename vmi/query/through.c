// SPDX-License-Identifier: GPL-2.0-or-later
#include "through.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../../userspace/lib/protocol.h"
#include "stream.h"

#define SECOND	  1000000000ULL
#define ANSWER_NS (5 * SECOND) /* of ihod itself */
#define GUEST_NS  (75 * SECOND) /* one that is not open yet, behind others */

struct through {
	struct channel channel;
	char *vm;
	json_int_t id;
	int cancel; /* the session's */
};

static uint64_t in_ns(uint64_t ns)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec + ns;
}

__attribute__((format(printf, 3, 4))) static int fail(struct vmi_error *err, int r, const char *fmt,
						      ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return r;
}

static int connect_to(const char *path, struct vmi_error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return fail(err, -ENOENT, "the socket's path is too long: %.200s", path);
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		r = errno;
		if (fd >= 0)
			close(fd);
		return fail(err, r == EACCES || r == EPERM ? -EACCES : -ENOENT,
			    "cannot reach ihod at %.200s: %s", path, strerror(r));
	}
	return fd;
}

static int gone(int r, struct vmi_error *err)
{
	if (r == -ETIMEDOUT)
		return fail(err, -ENOTCONN, "ihod does not answer");
	if (r == -EPROTO)
		return fail(err, r, "ihod's answer is not what it should be");
	if (r == -ENOMEM)
		return fail(err, r, "out of memory");
	return fail(err, -ENOTCONN, "ihod is gone");
}

/* An answer {"error": ...}: its number where it tells one. */
static int failure(const json_t *answer, struct vmi_error *err)
{
	const json_t *error = json_object_get(answer, "error");
	const char *code = json_string_value(json_object_get(error, "code"));
	json_t *as_failed;
	int r;

	as_failed = json_pack("{s:{s:O?, s:O?}}", "failed", "code", json_object_get(error, "errno"),
			      "text", json_object_get(error, "message"));
	r = stream_failure(as_failed, err);
	json_decref(as_failed);
	if (r == -EPROTO || !code)
		return gone(-EPROTO, err);
	if (!strcmp(code, IHO_ERR_OFF) || !strcmp(code, IHO_ERR_ALLOWED) ||
	    !strcmp(code, IHO_ERR_FORBIDDEN))
		return -EACCES;
	return !strcmp(code, IHO_ERR_TIME) ? -ETIME : r;
}

/* A request that is answered in one line: its result, a new reference. */
static int request(struct through *t, json_t *j, uint64_t ns, json_t **result,
		   struct vmi_error *err)
{
	uint64_t deadline = in_ns(ns);
	json_t *answer = NULL;
	int r = channel_send(&t->channel, j, NULL, 0, deadline);

	/* Who is refused finds the reason there, although the other end is closed. */
	if (!r || r == -EPIPE)
		r = channel_receive(&t->channel, &answer, deadline);
	if (r)
		return gone(r, err);
	*result = json_incref(json_object_get(answer, "result"));
	r = *result ? 0 : failure(answer, err);
	json_decref(answer);
	return r;
}

int through_open(struct through **out, const char *path, const char *vm, int cancel_fd,
		 struct vmi_error *err)
{
	struct through *t;
	json_t *rights = NULL;
	int r, fd = connect_to(path ? path : IHO_SOCKET_PATH, err);

	*out = NULL;
	if (fd < 0)
		return fd;
	t = calloc(1, sizeof(*t));
	if (!t) {
		close(fd);
		return fail(err, -ENOMEM, "out of memory");
	}
	channel_init(&t->channel, fd, IHO_STATEMENT_LINE_BYTES, 0);
	t->cancel = cancel_fd;
	t->vm = strdup(vm ? vm : "");
	r = t->vm ? request(t, json_pack("{s:I, s:s}", "id", ++t->id, "method", "query_rights"),
			    ANSWER_NS, &rights, err)
		  : fail(err, -ENOMEM, "out of memory");
	if (!r && !json_is_true(json_object_get(rights, "allowed")))
		r = fail(err, -EACCES, "%s",
			 json_is_true(json_object_get(rights, "on"))
				 ? "ihod does not let this user ask about guests"
				 : "ihod runs without --introspection");
	else if (r == -EINVAL || r == -EIO)
		r = -EPROTO; /* an older one, without this method */
	json_decref(rights);
	if (r)
		through_close(t);
	else
		*out = t;
	return r;
}

void through_close(struct through *t)
{
	if (!t)
		return;
	channel_close(&t->channel);
	free(t->vm);
	free(t);
}

int through_about(struct through *t, json_t **about, struct vmi_error *err)
{
	json_t *result = NULL;
	int r = request(t,
			json_pack("{s:I, s:s, s:s}", "id", ++t->id, "method", "query_about", "vm",
				  t->vm),
			GUEST_NS, &result, err);

	*about = json_incref(json_object_get(result, "about"));
	json_decref(result);
	return r || *about ? r : gone(-EPROTO, err);
}

/* Its result and its errors, in the words of a worker. */
static int take(struct stream *st, const json_t *answer, struct vmi_outcome *out,
		struct vmi_error *err)
{
	json_t *result = json_object_get(answer, "result"), *done;
	int r;

	if (json_object_get(answer, "error"))
		return failure(answer, err);
	if (!result)
		return stream_message(st, answer, out, err);
	done = json_pack("{s:O}", "done", result);
	r = stream_message(st, done, out, err);
	json_decref(done);
	return r;
}

static int cancel(struct through *t, bool *told, uint64_t *deadline)
{
	if (*told)
		return 0;
	*told = true;
	t->channel.also = -1;
	*deadline = in_ns(ANSWER_NS);
	return channel_send(&t->channel,
			    json_pack("{s:n, s:s, s:I}", "id", "method", "cancel", "of", t->id),
			    NULL, 0, *deadline);
}

static int listen_to(struct through *t, struct stream *st, uint64_t deadline,
		     struct vmi_outcome *out, struct vmi_error *err)
{
	bool told = false;
	int r = 1;

	while (r > 0) {
		json_t *answer;

		r = channel_receive(&t->channel, &answer, deadline);
		if (r == -EINTR) {
			r = cancel(t, &told, &deadline);
			if (!r) {
				r = 1;
				continue;
			}
		}
		if (r)
			return gone(r, err);
		/* of the "cancel", or of a statement that was cancelled too late */
		if (json_integer_value(json_object_get(answer, "id")) == t->id)
			r = take(st, answer, out, err);
		else
			r = 1;
		json_decref(answer);
		if (r > 0 && st->enough && cancel(t, &told, &deadline))
			return gone(-EPIPE, err);
	}
	return r == -EPROTO ? gone(r, err) : r;
}

int through_query(struct through *t, const char *sql, const struct vmi_limits *limits,
		  const struct vmi_sink *sink, struct vmi_outcome *out, struct vmi_error *err)
{
	uint64_t deadline = in_ns(GUEST_NS + limits->ns);
	json_t *j = json_pack("{s:I, s:s, s:s, s:s}", "id", t->id + 1, "method", "query", "vm",
			      t->vm, "sql", sql);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;
	struct stream st;
	int r;

	free(text);
	if (!j)
		return fail(err, -EINVAL, "the statement is not valid UTF-8");
	if (n >= IHO_REQUEST_BYTES) {
		json_decref(j);
		return fail(err, -EINVAL,
			    "the statement is too long for ihod, which takes %d bytes; without "
			    "ihod: --standalone",
			    IHO_REQUEST_BYTES);
	}
	t->id++;
	r = channel_send(&t->channel, j, NULL, 0, deadline);
	if (r)
		return gone(r, err);
	stream_begin(&st, sink, limits);
	t->channel.also = t->cancel;
	r = listen_to(t, &st, deadline, out, err);
	t->channel.also = -1;
	/* Who has enough did not fail, although the statement was cut short. */
	if (r == -ECANCELED && st.enough)
		r = 0;
	stream_end(&st);
	return r;
}
