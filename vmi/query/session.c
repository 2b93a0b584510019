// SPDX-License-Identifier: GPL-2.0-or-later
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "host.h"
#include "stream.h"
#include "through.h"
#include "worker.h"

#define SECOND	     1000000000ULL
#define OPEN_NS	     (60 * SECOND) /* a worker that has not understood its guest by then is ended */
#define GRACE_NS     (5 * SECOND) /* for a statement beyond its own limit */
#define CANCEL_NS    (2 * SECOND) /* for one that is to end */
#define OPEN_TRIES   5
#define ABOUT_MAX    64
#define LAST_WORD_NS (SECOND / 2)

struct session {
	struct session_options o;
	struct vmi_target *target;
	struct host *host;
	struct channel channel;
	pid_t worker; /* 0: there is none */
	struct through *through; /* ihod answers; NULL: our own worker */
	int reference; /* a file; -1: none */
	int cancel; /* an eventfd */
	json_t *about;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* ---- the worker's process ---- */

/* Between fork and exec: only what is async-signal-safe, for programs with threads. */
static void become_worker(const char *program, int fd)
{
	static char *const argv[] = { "iho-query", WORKER_ARGUMENT, NULL };
#ifdef __SANITIZE_ADDRESS__
	/* Looking for leaks takes a thread of its own, which the sandbox does not give. */
	static char *const envp[] = { "ASAN_OPTIONS=detect_leaks=0:abort_on_error=0", NULL };
#else
	static char *const envp[] = { NULL };
#endif
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
		_exit(127);
#ifndef __SANITIZE_ADDRESS__
	if (dup2(null, 2) < 0)
		_exit(127);
#endif
	/* dup2() onto itself would keep FD_CLOEXEC */
	if (fd == WORKER_FD ? fcntl(fd, F_SETFD, 0) : dup2(fd, WORKER_FD) < 0)
		_exit(127);
	if (syscall(SYS_close_range, WORKER_FD + 1, ~0U, 0))
		_exit(127);
	execve(program, argv, envp);
	_exit(127);
}

static void listen_for_cancel(struct session *s)
{
	s->channel.also = s->cancel;
	s->channel.also2 = s->o.watch_fd ? s->o.cancel_fd : -1;
}

static int spawn(struct session *s, struct vmi_error *err)
{
	const char *program = s->o.program ? s->o.program : "/proc/self/exe";
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		snprintf(err->text, sizeof(err->text), "cannot start a worker: %s",
			 strerror(errno));
		return -errno;
	}
	s->worker = fork();
	if (!s->worker) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		become_worker(program, pair[1]);
	}
	close(pair[1]);
	if (s->worker < 0) {
		s->worker = 0;
		close(pair[0]);
		snprintf(err->text, sizeof(err->text), "cannot start a worker: %s",
			 strerror(errno));
		return -errno;
	}
	channel_init(&s->channel, pair[0], WORKER_LINE_BYTES, 0);
	listen_for_cancel(s);
	return 0;
}

static void nap(void)
{
	const struct timespec t = { .tv_nsec = 5000000 };

	nanosleep(&t, NULL);
}

/* Ends it, whatever it does. `status` is as of waitpid(), or 0 where we ended it. */
static void end_worker(struct session *s, bool at_once, int *status)
{
	uint64_t until = now_ns() + LAST_WORD_NS;
	int st = 0;
	pid_t r = 0;

	if (!s->worker)
		return;
	channel_close(&s->channel);
	while (!at_once && !(r = waitpid(s->worker, &st, WNOHANG)) && now_ns() < until)
		nap();
	if (r != s->worker) {
		st = 0;
		kill(s->worker, SIGKILL);
		while (waitpid(s->worker, NULL, 0) < 0 && errno == EINTR)
			;
	}
	s->worker = 0;
	if (status)
		*status = st;
}

/* The worker is of no more use. Returns `code`, with a sentence. */
static int give_up(struct session *s, int code, const char *why, struct vmi_error *err)
{
	bool died = code == -EPIPE;
	int status = 0;

	end_worker(s, !died, &status);
	if (died && WIFSIGNALED(status))
		snprintf(err->text, sizeof(err->text), "%s: the worker was ended by signal %d (%s)",
			 why, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (died)
		snprintf(err->text, sizeof(err->text), "%s: the worker ended (status %d)", why,
			 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	else if (code == -EPROTO)
		snprintf(err->text, sizeof(err->text),
			 "%s: the worker did not keep to the protocol, and was ended", why);
	else if (code == -ETIMEDOUT)
		snprintf(err->text, sizeof(err->text),
			 "%s: the worker did not answer in time, and was ended", why);
	else
		snprintf(err->text, sizeof(err->text), "%s: %s", why, strerror(-code));
	return code == -EPROTO || code == -ETIMEDOUT ? -EPIPE : code;
}

/* ---- the target ---- */

/* Flat, short and presentable: it is shown to people. */
static json_t *take_about(const json_t *in)
{
	json_t *out = json_object(), *v;
	const char *key;
	void *it;

	for (it = json_object_iter((json_t *)in); it && json_object_size(out) < ABOUT_MAX;
	     it = json_object_iter_next((json_t *)in, it)) {
		char clean[600], name[41];

		key = json_object_iter_key(it);
		v = json_object_iter_value(it);
		vmi_presentable(name, key, strnlen(key, sizeof(name) - 1));
		if (json_is_string(v)) {
			vmi_presentable(clean, json_string_value(v),
					strnlen(json_string_value(v), sizeof(clean) - 1));
			json_object_set_new(out, name, json_string(clean));
		} else if (json_is_number(v) || json_is_boolean(v) || json_is_null(v)) {
			json_object_set(out, name, v);
		}
	}
	return out;
}

static int open_once(struct session *s, struct vmi_error *err)
{
	const char *why = "the guest cannot be looked into";
	uint64_t deadline = now_ns() + OPEN_NS;
	json_t *answer = NULL, *about;
	int fds[CHANNEL_FDS_MAX], r = spawn(s, err);
	size_t n = s->target->n_fds;

	if (r)
		return r;
	if (n + 1 > CHANNEL_FDS_MAX)
		return give_up(s, -E2BIG, why, err);
	memcpy(fds, s->target->fds, n * sizeof(*fds));
	if (s->reference >= 0)
		fds[n++] = s->reference;
	r = channel_send(&s->channel,
			 json_pack("{s:o, s:o, s:b}", "open", vmi_target_to_json(s->target),
				   "limits", worker_limits_to_json(&s->o.limits), "reference",
				   s->reference >= 0),
			 fds, n, deadline);
	if (!r)
		r = channel_receive(&s->channel, &answer, deadline);
	if (r == -EINTR) {
		end_worker(s, true, NULL);
		snprintf(err->text, sizeof(err->text), "cancelled");
		return -ECANCELED;
	}
	if (r)
		return give_up(s, r, why, err);
	about = json_object_get(answer, "opened");
	if (json_is_object(about)) {
		json_decref(s->about);
		s->about = take_about(about);
	} else {
		r = stream_failure(answer, err);
		if (r == -EPROTO)
			give_up(s, r, why, err);
		else
			end_worker(s, false, NULL);
	}
	json_decref(answer);
	return r;
}

/*
 * Registers were read a moment before memory is: where processes come and go, all page tables that
 * vCPUs used may be gone by then. That is told from a kernel that does not run by asking again.
 */
static int open_worker(struct session *s, struct vmi_error *err)
{
	struct vmi_error unchanged = { 0 };
	int r = open_once(s, err);

	for (unsigned int i = 1; i < OPEN_TRIES && !r; i++) {
		if (!json_is_true(json_object_get(s->about, "no_vcpu")) ||
		    vmi_target_refresh(s->target, &unchanged))
			break;
		end_worker(s, false, NULL);
		r = open_once(s, err);
	}
	return r;
}

static void add_about(struct session *s, const char *how)
{
	json_object_set_new(s->about, "asked_through", json_string(how));
}

/* 1: not through ihod; `why`: the reason. */
static int open_through(struct session *s, struct vmi_error *why, struct vmi_error *err)
{
	const struct session_options *o = &s->o;
	json_t *about = NULL;
	int r;

	if (o->mode == SESSION_SELF || o->find.dump || o->find.qmp)
		return 1;
	r = through_open(&s->through, o->socket, o->find.vm, s->cancel, why);
	if (r) {
		*err = *why;
		return o->mode == SESSION_DAEMON ? r : 1;
	}
	r = through_about(s->through, &about, err);
	if (r)
		return r;
	s->about = take_about(about);
	json_decref(about);
	add_about(s, "ihod");
	return 0;
}

/* With a process and a worker of our own. `why` not: what ihod said before. */
static int open_own(struct session *s, const struct vmi_error *why, struct vmi_error *err)
{
	size_t n;
	int r = vmi_target_find(&s->target, &s->o.find, err);

	if (!r)
		r = host_open(&s->host, s->target, s->o.socket, err);
	if (!r)
		r = open_worker(s, err);
	if (!r)
		add_about(s, "a worker of its own");
	n = strlen(err->text);
	if (r == -EACCES && why->text[0])
		snprintf(err->text + n, sizeof(err->text) - n, " (%.250s)", why->text);
	return r;
}

int session_open(struct session **out, const struct session_options *o, struct vmi_error *err)
{
	struct session *s = calloc(1, sizeof(*s));
	struct vmi_error why = {};
	int r;

	*out = NULL;
	if (!s) {
		snprintf(err->text, sizeof(err->text), "out of memory");
		return -ENOMEM;
	}
	s->o = *o;
	channel_init(&s->channel, -1, 0, 0);
	s->reference = -1;
	s->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->cancel < 0) {
		r = -errno;
		snprintf(err->text, sizeof(err->text), "eventfd: %s", strerror(errno));
		goto cleanup;
	}
	if (o->reference) {
		s->reference = open(o->reference, O_RDONLY | O_CLOEXEC);
		if (s->reference < 0) {
			r = -errno;
			snprintf(err->text, sizeof(err->text), "the reference %.200s: %s",
				 o->reference, strerror(errno));
			goto cleanup;
		}
	}
	r = open_through(s, &why, err);
	if (r > 0) {
		err->text[0] = 0;
		r = open_own(s, &why, err);
	}
	if (r)
		goto cleanup;
	*out = s;
	return 0;

cleanup:
	session_close(s);
	return r;
}

void session_close(struct session *s)
{
	if (!s)
		return;
	through_close(s->through);
	end_worker(s, false, NULL);
	host_close(s->host);
	vmi_target_free(s->target);
	json_decref(s->about);
	if (s->reference >= 0)
		close(s->reference);
	if (s->cancel >= 0)
		close(s->cancel);
	free(s);
}

int session_pidfd(const struct session *s)
{
	return s->target ? s->target->pidfd : -1;
}

const json_t *session_about(const struct session *s)
{
	return s->about;
}

/* ---- statements ---- */

void session_cancel(struct session *s)
{
	const uint64_t one = 1;

	/* It can only fail where enough were written already. */
	if (write(s->cancel, &one, sizeof(one)) < 0)
		return;
}

static void drain_cancel(struct session *s)
{
	uint64_t n;

	while (read(s->cancel, &n, sizeof(n)) > 0)
		;
}

static int answer_host(struct session *s, const char *topic, uint64_t deadline)
{
	struct vmi_error why = {};
	json_t *answer = topic ? host_answer(s->host, topic, &why) : NULL;

	return channel_send(&s->channel,
			    answer ? json_pack("{s:o}", "host", answer)
				   : json_pack("{s:n, s:s}", "host", "text", why.text),
			    NULL, 0, deadline);
}

/* Once: the worker is told to stop, and has not much time for it. */
static int tell_cancel(struct session *s, bool *told, uint64_t *deadline)
{
	if (*told)
		return 0;
	*told = true;
	s->channel.also = s->channel.also2 = -1;
	*deadline = now_ns() + CANCEL_NS;
	return channel_send(&s->channel, json_pack("{s:b}", "cancel", 1), NULL, 0, *deadline);
}

static int listen_to(struct session *s, struct stream *st, struct vmi_outcome *out,
		     struct vmi_error *err)
{
	uint64_t deadline = now_ns() + s->o.limits.ns + GRACE_NS;
	bool told = false;
	int r = 1;

	while (r > 0) {
		json_t *message, *topic;

		r = channel_receive(&s->channel, &message, deadline);
		if (r == -EINTR)
			r = tell_cancel(s, &told, &deadline);
		if (r)
			return give_up(s, r, "the statement failed", err);
		if (!message) {
			r = 1;
			continue;
		}
		topic = json_object_get(message, "host");
		if (topic) {
			r = answer_host(s, json_string_value(topic), deadline);
			r = r ? give_up(s, r, "the statement failed", err) : 1;
		} else {
			r = stream_message(st, message, out, err);
			if (r == -EPROTO)
				r = give_up(s, r, "the statement failed", err);
			else if (r > 0 && st->enough && tell_cancel(s, &told, &deadline))
				r = give_up(s, -EPIPE, "the statement failed", err);
		}
		json_decref(message);
	}
	return r;
}

static int query_once(struct session *s, const char *sql, const struct vmi_sink *sink,
		      struct vmi_outcome *out, struct vmi_error *err)
{
	uint64_t deadline = now_ns() + GRACE_NS;
	struct stream st;
	int r = 0;

	*out = (struct vmi_outcome){};
	err->text[0] = 0;
	drain_cancel(s);
	if (strlen(sql) > SQL_BYTES_MAX) {
		snprintf(err->text, sizeof(err->text), "a statement has %u bytes at most",
			 SQL_BYTES_MAX);
		return -EINVAL;
	}
	if (s->through)
		return through_query(s->through, sql, &s->o.limits, sink, out, err);
	if (!s->worker)
		r = open_worker(s, err);
	if (r)
		return r;
	r = channel_send(&s->channel, json_pack("{s:s}", "query", sql), NULL, 0, deadline);
	if (r == -ENOMEM) {
		snprintf(err->text, sizeof(err->text), "the statement is not valid UTF-8");
		return -EINVAL;
	}
	if (r && r != -EPIPE)
		return give_up(s, r, "the statement failed", err);
	if (r) {
		/* It died while nobody asked: that is not this statement's fault. */
		end_worker(s, false, NULL);
		r = open_worker(s, err);
		if (!r)
			r = channel_send(&s->channel, json_pack("{s:s}", "query", sql), NULL, 0,
					 deadline);
		if (r)
			return err->text[0] ? r : give_up(s, r, "the statement failed", err);
	}
	stream_begin(&st, sink, &s->o.limits);
	listen_for_cancel(s);
	r = listen_to(s, &st, out, err);
	/* Who has enough did not fail, although the statement was cut short. */
	if (r == -ECANCELED && st.enough)
		r = 0;
	stream_end(&st);
	return r;
}

int session_query(struct session *s, const char *sql, const struct vmi_sink *sink,
		  struct vmi_outcome *out, struct vmi_error *err)
{
	struct vmi_error unchanged = { 0 };
	int r = query_once(s, sql, sink, out, err);

	if (r != -ESTALE || s->through)
		return r;
	/* The guest booted anew: its kernel is another one, elsewhere. Nothing was answered yet. */
	end_worker(s, false, NULL);
	vmi_target_refresh(s->target, &unchanged);
	return query_once(s, sql, sink, out, err);
}
