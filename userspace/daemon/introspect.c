// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "audit.h"
#include "introspect.h"
#include "launcher.h"
#include "protocol.h"

#define VM_BYTES      200
#define BACKLOG_BYTES (1u << 20) /* of a client: its broker waits until that has left */
#define GRACE_S	      3 /* for a broker to end a statement; then it is ended */
#define REFUSED_PER_S 10 /* lines in the log: who may not ask must not fill it */
#define NO_ERRNO      0

/* Which statement, and for whom; it lives from its line in the log to its last answer. */
struct statement {
	TAILQ_ENTRY(statement) link; /* of the introspection */
	TAILQ_ENTRY(statement) waits; /* in its broker's queue */
	struct introspect *in;
	struct client *client; /* NULL: gone */
	struct broker *broker;
	struct ucred who;
	json_t *id;
	char *prefix; /* {"id":ID, */
	char vm[VM_BYTES + 1];
	char *sql; /* NULL: only what was found in the guest */
	uint64_t n; /* in the log */
	json_int_t rows, bytes, ms; /* limits */
	uint64_t sent_rows, begun_ns;
	struct event *timer; /* its time is over, or the next look of a subscription is due */
	double interval_s; /* 0: once */
	bool results; /* of a subscription: each whole, not what changed */
	uint64_t looks;
	enum { QUEUED, RUNNING, PAUSED } state;
	const char *ended; /* the code of who ended it, before the broker said so */
};

TAILQ_HEAD(statements, statement);

/* A VM's session. */
struct broker {
	TAILQ_ENTRY(broker) link;
	struct introspect *in;
	struct bufferevent *bev;
	struct event *timer; /* idle for too long, or did not end a statement */
	char vm[VM_BYTES + 1];
	json_t *about; /* NULL: it opens the guest */
	struct statement *running;
	struct statements queue;
	double used_s;
	bool cancelled; /* the statement that runs was told to end */
};

struct introspect {
	struct introspect_options o;
	struct event_base *base;
	struct audit *audit;
	struct statements statements;
	TAILQ_HEAD(brokers, broker) brokers;
	unsigned int n_statements, n_brokers;
	uint64_t asked, refused, n;
	double refused_s;
	unsigned int refused_logged; /* in that second */
	uint64_t unlogged;
};

static void next(struct broker *b);

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static double clock_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void set_timer(struct event *timer, double s)
{
	const struct timeval t = { .tv_sec = (time_t)s,
				   .tv_usec = (suseconds_t)((s - floor(s)) * 1e6) };

	event_add(timer, &t);
}

/* ---- what clients are told ---- */

static bool send_line(struct client *c, json_t *j)
{
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	bool ok = text && client_send(c, text, strlen(text)) && client_send(c, "\n", 1);

	free(text);
	json_decref(j);
	return ok;
}

static bool tell_error(struct client *c, const json_t *id, const char *code, const char *text,
		       int number)
{
	json_t *j =
		json_pack("{s:O?, s:{s:s, s:s}}", "id", id, "error", "code", code, "message", text);

	if (j && number)
		json_object_set_new(json_object_get(j, "error"), "errno", json_integer(number));
	return send_line(c, j);
}

/* ---- the log ---- */

static int log_line(struct introspect *in, const char *event, const struct ucred *who,
		    const char *vm, const char *sql, json_t *more, struct iho_error *err)
{
	/* the statement is whole: a request has IHO_REQUEST_BYTES at the most */
	json_t *j = json_pack("{s:f, s:s, s:I, s:I, s:I, s:s, s:s?}", "time", clock_s(), "event",
			      event, "uid", (json_int_t)who->uid, "gid", (json_int_t)who->gid,
			      "pid", (json_int_t)who->pid, "vm", vm, "sql", sql);

	json_object_update(j, more);
	json_decref(more);
	return audit_write(in->audit, j, err);
}

static void log_refusal(struct introspect *in, struct client *c, const char *vm, const char *sql,
			const char *code)
{
	double now = floor(clock_s());
	struct iho_error err;
	json_t *more;

	in->refused++;
	if (now != in->refused_s)
		in->refused_logged = 0;
	in->refused_s = now;
	if (in->refused_logged >= REFUSED_PER_S) {
		in->unlogged++;
		return;
	}
	in->refused_logged++;
	more = json_pack("{s:s}", "outcome", code);
	if (in->unlogged)
		json_object_set_new(more, "unlogged", json_integer((json_int_t)in->unlogged));
	if (!log_line(in, "refused", client_credentials(c), vm, sql, more, &err))
		in->unlogged = 0;
}

static void log_end(const struct statement *s, const char *outcome)
{
	uint64_t ns = s->begun_ns ? now_ns() - s->begun_ns : 0;
	struct iho_error err;
	json_t *more = json_pack("{s:I, s:s, s:I, s:f, s:b, s:I}", "n", (json_int_t)s->n, "outcome",
				 outcome, "rows", (json_int_t)s->sent_rows, "ms", (double)ns / 1e6,
				 "subscription", s->interval_s > 0, "looks", (json_int_t)s->looks);

	/* Where this cannot be written, the next statement cannot either, and is refused. */
	log_line(s->in, "end", &s->who, s->vm, s->sql, more, &err);
}

/* ---- statements ---- */

static void statement_free(struct statement *s)
{
	struct broker *b = s->broker;

	if (b && s->state == QUEUED)
		TAILQ_REMOVE(&b->queue, s, waits);
	if (b && b->running == s)
		b->running = NULL;
	TAILQ_REMOVE(&s->in->statements, s, link);
	s->in->n_statements--;
	event_free(s->timer);
	json_decref(s->id);
	free(s->prefix);
	free(s->sql);
	free(s);
}

/* The last answer. `message`: with an error code. */
static void finish(struct statement *s, const char *code, const char *message, int number,
		   json_t *result)
{
	log_end(s, code ? code : "ok");
	if (s->client && code)
		tell_error(s->client, s->id, code, message, number);
	else if (s->client)
		send_line(s->client, json_pack("{s:O, s:O}", "id", s->id, "result", result));
	json_decref(result);
	statement_free(s);
}

static const char *sentence(const char *code)
{
	if (!strcmp(code, IHO_ERR_TIME))
		return "the statement took too long";
	return "cancelled";
}

static void send_broker(struct broker *b, json_t *j)
{
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	if (text) {
		bufferevent_write(b->bev, text, strlen(text));
		bufferevent_write(b->bev, "\n", 1);
	}
	free(text);
	json_decref(j);
}

/* What ends it from this side; the broker has a while to say that it did. */
static void end(struct statement *s, const char *code)
{
	struct broker *b = s->broker;

	if (s->state != RUNNING) {
		finish(s, code, sentence(code), -ECANCELED, NULL);
		return;
	}
	if (s->ended)
		return;
	s->ended = code;
	bufferevent_enable(b->bev, EV_READ);
	send_broker(b, json_pack("{s:b}", "cancel", 1));
	b->cancelled = true;
	set_timer(b->timer, GRACE_S);
}

/* ---- brokers ---- */

static void broker_free(struct broker *b)
{
	TAILQ_REMOVE(&b->in->brokers, b, link);
	b->in->n_brokers--;
	event_free(b->timer);
	bufferevent_free(b->bev);
	json_decref(b->about);
	free(b);
}

/* All of its statements end with it. */
static void broker_end(struct broker *b, const char *code, const char *message, int number)
{
	struct statement *s, *following;

	for (s = TAILQ_FIRST(&b->in->statements); s; s = following) {
		following = TAILQ_NEXT(s, link);
		if (s->broker != b)
			continue;
		if (s->ended)
			finish(s, s->ended, sentence(s->ended), -ECANCELED, NULL);
		else
			finish(s, code, message, number, NULL);
	}
	broker_free(b);
}

static const char *code_of(int number)
{
	switch (number) {
	case -EINVAL:
	case -EPERM:
		return IHO_ERR_SQL;
	case -ETIME:
		return IHO_ERR_TIME;
	case -ECANCELED:
		return IHO_ERR_CANCELLED;
	case -ENOMEM:
		return IHO_ERR_MEMORY;
	case -E2BIG:
		return IHO_ERR_LIMIT;
	case -EPIPE:
		return IHO_ERR_WORKER;
	default:
		return IHO_ERR_GUEST;
	}
}

static json_t *watches(const struct broker *b)
{
	json_t *a = json_array();
	struct statement *s;

	TAILQ_FOREACH (s, &b->in->statements, link)
		if (s->broker == b && s->interval_s > 0 && !s->results)
			json_array_append_new(a, json_integer((json_int_t)s->n));
	return a;
}

static void run(struct broker *b, struct statement *s)
{
	json_t *j;

	s->state = RUNNING;
	if (!s->begun_ns)
		s->begun_ns = now_ns();
	b->running = s;
	if (!s->sql) {
		finish(s, NULL, NULL, NO_ERRNO, json_pack("{s:O}", "about", b->about));
		return;
	}
	j = json_pack("{s:s, s:I, s:I, s:o}", "query", s->sql, "rows", s->rows, "bytes", s->bytes,
		      "alive", watches(b));
	if (s->interval_s > 0 && !s->results)
		json_object_set_new(j, "watch", json_integer((json_int_t)s->n));
	s->looks++;
	set_timer(s->timer, (double)s->ms / 1e3);
	send_broker(b, j);
}

/* The next statement of its queue, if it can take one. */
static void next(struct broker *b)
{
	struct statement *s;

	event_del(b->timer);
	b->cancelled = false;
	while (b->about && !b->running && (s = TAILQ_FIRST(&b->queue))) {
		TAILQ_REMOVE(&b->queue, s, waits);
		run(b, s);
	}
	b->used_s = (double)now_ns() / 1e9;
	if (!b->running)
		set_timer(b->timer, IHO_GUEST_IDLE_S);
}

static bool is_idle(const struct broker *b)
{
	const struct statement *s;

	TAILQ_FOREACH (s, &b->in->statements, link)
		if (s->broker == b)
			return false;
	return true;
}

static void on_broker_timer(evutil_socket_t fd, short what, void *arg)
{
	struct broker *b = arg;

	if (b->cancelled)
		broker_end(b, IHO_ERR_WORKER, "a statement of this guest's did not end", -EPIPE);
	else if (!b->about)
		broker_end(b, IHO_ERR_GUEST, "the guest was not understood in time", -ETIMEDOUT);
	else if (is_idle(b))
		broker_free(b);
	else
		set_timer(b->timer, IHO_GUEST_IDLE_S);
}

/* ---- what brokers say ---- */

/* Passed on as it is: only who it is for goes before it. */
static void pass_on(struct broker *b, const char *line, size_t len)
{
	struct statement *s = b->running;
	char more[80] = "";

	if (!s || s->ended || !s->client)
		return;
	if (s->interval_s > 0)
		snprintf(more, sizeof(more), "\"seq\":%llu,\"time\":%.3f,",
			 (unsigned long long)s->looks - 1, clock_s());
	client_send(s->client, s->prefix, strlen(s->prefix));
	client_send(s->client, more, strlen(more));
	client_send(s->client, line + 1, len - 1);
	client_send(s->client, "\n", 1);
	if (client_backlog(s->client) > BACKLOG_BYTES)
		bufferevent_disable(b->bev, EV_READ);
}

static void look_is_over(struct broker *b, struct statement *s, json_t *outcome)
{
	s->state = PAUSED;
	b->running = NULL;
	if (s->results && s->client)
		send_line(s->client,
			  json_pack("{s:O, s:I, s:f, s:O}", "id", s->id, "seq",
				    (json_int_t)s->looks - 1, "time", clock_s(), "event", outcome));
	set_timer(s->timer, s->interval_s);
}

static void on_done(struct broker *b, json_t *outcome)
{
	struct statement *s = b->running;

	if (!s)
		return;
	s->sent_rows += (uint64_t)json_integer_value(json_object_get(outcome, "rows"));
	if (s->ended)
		finish(s, s->ended, sentence(s->ended), -ECANCELED, NULL);
	else if (s->interval_s > 0)
		look_is_over(b, s, outcome);
	else
		finish(s, NULL, NULL, NO_ERRNO, json_incref(outcome));
	next(b);
}

static void on_failed(struct broker *b, const json_t *failed)
{
	const char *text = json_string_value(json_object_get(failed, "text"));
	int number = (int)json_integer_value(json_object_get(failed, "code"));
	struct statement *s = b->running;

	if (!b->about) {
		/* -EINVAL, too, is about the VM here */
		broker_end(b, number == -ESRCH || number == -EEXIST ? IHO_ERR_VM : IHO_ERR_GUEST,
			   text ? text : "the guest cannot be looked into", number);
		return;
	}
	if (!s)
		return;
	if (s->ended)
		finish(s, s->ended, sentence(s->ended), -ECANCELED, NULL);
	else
		finish(s, code_of(number), text ? text : "the statement failed", number, NULL);
	next(b);
}

/* False: the broker is no more. */
static bool on_line(struct broker *b, const char *line, size_t len)
{
	static const char *const parts[] = { "{\"columns\":", "{\"rows\":", "{\"added\":",
					     "{\"removed\":", "{\"event\":" };
	json_t *j, *member;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strncmp(line, parts[i], strlen(parts[i])))
			continue;
		pass_on(b, line, len);
		return true;
	}
	j = json_loadb(line, len, 0, NULL);
	if ((member = json_object_get(j, "opened"))) {
		json_decref(b->about);
		b->about = json_incref(member);
		next(b);
	} else if ((member = json_object_get(j, "done"))) {
		on_done(b, member);
	} else {
		bool opening = !b->about;

		on_failed(b, json_object_get(j, "failed"));
		json_decref(j);
		return !opening;
	}
	json_decref(j);
	return true;
}

static void on_broker_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct broker *b = arg;
	size_t len;
	char *line;

	/* A client that does not keep up stops the reading: the rest stays here until it does. */
	while (bufferevent_get_enabled(bev) & EV_READ &&
	       (line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF))) {
		bool go_on = on_line(b, line, len);

		free(line);
		if (!go_on)
			return;
	}
	/* no whole line is left */
	if (bufferevent_get_enabled(bev) & EV_READ &&
	    evbuffer_get_length(in) > IHO_STATEMENT_LINE_BYTES)
		broker_end(b, IHO_ERR_WORKER, "the worker did not keep to the protocol", -EPIPE);
}

static void on_broker_event(struct bufferevent *bev, short what, void *arg)
{
	struct broker *b = arg;

	broker_end(b, IHO_ERR_GUEST,
		   b->about ? "the VM is gone" : "the guest's worker could not be started", -EIO);
}

static struct broker *broker_new(struct introspect *in, const char *vm)
{
	struct broker *b = calloc(1, sizeof(*b));
	int fd = b ? launcher_broker(in->o.launcher) : -1;

	if (fd < 0) {
		free(b);
		return NULL;
	}
	b->in = in;
	TAILQ_INIT(&b->queue);
	snprintf(b->vm, sizeof(b->vm), "%s", vm);
	b->timer = evtimer_new(in->base, on_broker_timer, b);
	b->bev = bufferevent_socket_new(in->base, fd,
					BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!b->timer || !b->bev) {
		if (b->timer)
			event_free(b->timer);
		if (b->bev)
			bufferevent_free(b->bev);
		else
			close(fd);
		free(b);
		return NULL;
	}
	bufferevent_setcb(b->bev, on_broker_read, NULL, on_broker_event, b);
	bufferevent_setwatermark(b->bev, EV_READ, 0, IHO_STATEMENT_LINE_BYTES + 4096);
	bufferevent_enable(b->bev, EV_READ | EV_WRITE);
	TAILQ_INSERT_TAIL(&in->brokers, b, link);
	in->n_brokers++;
	send_broker(b, json_pack("{s:s, s:s}", "open", vm, "socket", in->o.socket));
	set_timer(b->timer, IHO_GUEST_IDLE_S);
	return b;
}

/* Room for another: the one that was not used for longest, if none is at work. */
static bool make_room(struct introspect *in)
{
	struct broker *b, *oldest = NULL;

	if (in->n_brokers < IHO_GUESTS)
		return true;
	TAILQ_FOREACH (b, &in->brokers, link)
		if (is_idle(b) && (!oldest || b->used_s < oldest->used_s))
			oldest = b;
	if (oldest)
		broker_free(oldest);
	return oldest;
}

static struct broker *broker_for(struct introspect *in, const char *vm, const char **code,
				 const char **why)
{
	struct broker *b;

	TAILQ_FOREACH (b, &in->brokers, link)
		if (!strcmp(b->vm, vm))
			return b;
	*code = IHO_ERR_LIMIT;
	*why = "too many guests are looked into at once";
	if (!make_room(in))
		return NULL;
	*code = IHO_ERR_WORKER;
	*why = "the guest's worker could not be started";
	return broker_new(in, vm);
}

/* ---- requests ---- */

static bool may_ask(const struct introspect *in, const struct client *c)
{
	return !client_credentials(c)->uid || client_in_group(c, in->o.group);
}

/* NULL: yes; else the sentence. */
static const char *no_more(const struct introspect *in, const struct client *c)
{
	unsigned int of_client = 0, of_user = 0;
	const struct statement *s;

	TAILQ_FOREACH (s, &in->statements, link) {
		of_client += s->client == c;
		of_user += s->who.uid == client_credentials(c)->uid;
	}
	if (in->n_statements >= IHO_STATEMENTS)
		return "too many statements at once";
	if (of_client >= IHO_STATEMENTS_CLIENT)
		return "too many statements of one client at once";
	if (client_credentials(c)->uid && of_user >= IHO_STATEMENTS_USER)
		return "too many statements of one user at once";
	return NULL;
}

static struct statement *find(const struct introspect *in, const struct client *c, const json_t *id)
{
	struct statement *s;

	TAILQ_FOREACH (s, &in->statements, link)
		if (s->client == c && json_equal(s->id, id))
			return s;
	return NULL;
}

/* A member that lowers a limit; false: it is no number from 1 on. */
static bool lower(const json_t *limits, const char *key, json_int_t *v)
{
	const json_t *j = json_object_get(limits, key);

	if (!j)
		return true;
	if (!json_is_integer(j) || json_integer_value(j) < 1)
		return false;
	if (json_integer_value(j) < *v)
		*v = json_integer_value(j);
	return true;
}

/* NULL, or what is wrong with the request. */
static const char *read_request(struct statement *s, const json_t *request, bool about, bool watch)
{
	const json_t *vm = json_object_get(request, "vm"), *sql = json_object_get(request, "sql");
	const json_t *limits = json_object_get(request, "limits");
	const json_t *interval = json_object_get(request, "interval");
	const json_t *each = json_object_get(request, "results");

	s->rows = IHO_STATEMENT_ROWS;
	s->bytes = IHO_STATEMENT_BYTES;
	s->ms = IHO_STATEMENT_MS;
	if ((vm && !json_is_string(vm)) || json_string_length(vm) > VM_BYTES)
		return "\"vm\" is the name or pid of a VM, in a string";
	snprintf(s->vm, sizeof(s->vm), "%s", vm ? json_string_value(vm) : "");
	if (!about && !json_is_string(sql))
		return "\"sql\" is a statement, in a string";
	s->sql = about ? NULL : strdup(json_string_value(sql));
	if (!about && !s->sql)
		return "out of memory";
	if ((limits && !json_is_object(limits)) || !lower(limits, "rows", &s->rows) ||
	    !lower(limits, "bytes", &s->bytes) || !lower(limits, "ms", &s->ms))
		return "\"limits\" are \"rows\", \"bytes\" and \"ms\", numbers from 1 on";
	if (!watch)
		return NULL;
	s->interval_s = json_number_value(interval);
	s->results = json_is_true(each);
	if (!json_is_number(interval) || !(s->interval_s >= IHO_INTERVAL_MIN_S) ||
	    s->interval_s > IHO_INTERVAL_MAX_S)
		return "\"interval\" is a number of seconds, 0.1 to 3600";
	if (each && !json_is_boolean(each))
		return "\"results\" is true or false";
	return NULL;
}

static void on_statement_timer(evutil_socket_t fd, short what, void *arg)
{
	struct statement *s = arg;
	struct broker *b = s->broker;

	if (s->state == RUNNING) {
		end(s, IHO_ERR_TIME);
		return;
	}
	/* A subscriber that has not read the last news yet is left out of this round. */
	if (s->client && client_backlog(s->client)) {
		set_timer(s->timer, s->interval_s);
		return;
	}
	s->state = QUEUED;
	TAILQ_INSERT_TAIL(&b->queue, s, waits);
	if (!b->running)
		next(b);
}

static struct statement *statement_new(struct introspect *in, struct client *c, const json_t *id)
{
	struct statement *s = calloc(1, sizeof(*s));
	char *text = id ? json_dumps(id, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	if (!s || !text || asprintf(&s->prefix, "{\"id\":%s,", text) < 0) {
		free(text);
		free(s);
		return NULL;
	}
	free(text);
	s->in = in;
	s->client = c;
	s->who = *client_credentials(c);
	s->id = json_incref((json_t *)id);
	s->n = ++in->n;
	s->timer = evtimer_new(in->base, on_statement_timer, s);
	s->state = PAUSED;
	TAILQ_INSERT_TAIL(&in->statements, s, link);
	in->n_statements++;
	return s;
}

static bool refuse(struct introspect *in, struct client *c, const json_t *id, const json_t *request,
		   const char *code, const char *why)
{
	const char *vm = json_string_value(json_object_get(request, "vm"));
	const char *sql = json_string_value(json_object_get(request, "sql"));

	log_refusal(in, c, vm && strlen(vm) <= VM_BYTES ? vm : "", sql, code);
	return tell_error(c, id, code, why, !strcmp(code, IHO_ERR_ALLOWED) ? -EACCES : NO_ERRNO);
}

/* It is in the log before anything is done about it. */
static bool begin(struct introspect *in, struct client *c, struct statement *s,
		  const json_t *request)
{
	const char *code, *why;
	struct iho_error err;
	bool ok;

	if (log_line(in, "asked", &s->who, s->vm, s->sql,
		     json_pack("{s:I, s:b}", "n", (json_int_t)s->n, "subscription",
			       s->interval_s > 0),
		     &err)) {
		ok = tell_error(c, s->id, IHO_ERR_AUDIT, err.text, NO_ERRNO);
		in->refused++;
		statement_free(s);
		return ok;
	}
	in->asked++;
	s->broker = broker_for(in, s->vm, &code, &why);
	if (!s->broker) {
		finish(s, code, why, NO_ERRNO, NULL);
		return true;
	}
	s->state = QUEUED;
	TAILQ_INSERT_TAIL(&s->broker->queue, s, waits);
	if (s->broker->about && !s->broker->running)
		next(s->broker);
	return true;
}

static bool ask(struct introspect *in, struct client *c, const json_t *id, const json_t *request,
		bool about, bool watch)
{
	const char *why;
	struct statement *s;

	if (!in->o.on)
		return refuse(in, c, id, request, IHO_ERR_OFF,
			      "introspection is off: ihod was started without --introspection");
	if (!may_ask(in, c))
		return refuse(in, c, id, request, IHO_ERR_ALLOWED,
			      "you may not ask about guests: see --introspection of ihod(8)");
	why = no_more(in, c);
	if (why)
		return refuse(in, c, id, request, IHO_ERR_LIMIT, why);
	if (!id || find(in, c, id))
		return refuse(in, c, id, request, IHO_ERR_REQUEST,
			      "a statement has an \"id\" that no other of this client has now");
	s = statement_new(in, c, id);
	if (!s)
		return false;
	why = read_request(s, request, about, watch);
	if (!why)
		return begin(in, c, s, request);
	statement_free(s);
	return refuse(in, c, id, request, IHO_ERR_REQUEST, why);
}

static bool ask_query(void *arg, struct client *c, const json_t *id, const json_t *request)
{
	return ask(arg, c, id, request, false, false);
}

static bool ask_about(void *arg, struct client *c, const json_t *id, const json_t *request)
{
	return ask(arg, c, id, request, true, false);
}

static bool ask_subscribe(void *arg, struct client *c, const json_t *id, const json_t *request)
{
	return ask(arg, c, id, request, false, true);
}

static bool ask_cancel(void *arg, struct client *c, const json_t *id, const json_t *request)
{
	struct introspect *in = arg;
	const json_t *of = json_object_get(request, "of");
	struct statement *s = of ? find(in, c, of) : NULL;

	if (s)
		end(s, IHO_ERR_CANCELLED);
	return send_line(c, json_pack("{s:O?, s:{s:b}}", "id", id, "result", "found", s != NULL));
}

static bool ask_rights(void *arg, struct client *c, const json_t *id, const json_t *request)
{
	const struct introspect *in = arg;

	return send_line(c, json_pack("{s:O?, s:{s:b, s:b}}", "id", id, "result", "on", in->o.on,
				      "allowed", in->o.on && may_ask(in, c)));
}

const struct server_ask introspect_asks[] = {
	{ "query", ask_query },	  { "subscribe", ask_subscribe }, { "query_about", ask_about },
	{ "cancel", ask_cancel }, { "query_rights", ask_rights }, { NULL, NULL },
};

/* ---- life ---- */

void introspect_gone(void *arg, struct client *c)
{
	struct introspect *in = arg;
	struct statement *s, *following;

	for (s = TAILQ_FIRST(&in->statements); s; s = following) {
		following = TAILQ_NEXT(s, link);
		if (s->client != c)
			continue;
		s->client = NULL;
		end(s, IHO_ERR_CANCELLED);
	}
}

void introspect_drained(void *arg, struct client *c)
{
	struct introspect *in = arg;
	struct broker *b;

	TAILQ_FOREACH (b, &in->brokers, link) {
		if (!b->running || b->running->client != c)
			continue;
		bufferevent_enable(b->bev, EV_READ);
		/* what has been read already comes with no further event */
		bufferevent_trigger(b->bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS);
	}
}

int introspect_open(struct introspect **out, struct event_base *base,
		    const struct introspect_options *o, struct iho_error *err)
{
	struct introspect *in = calloc(1, sizeof(*in));

	*out = in;
	snprintf(err->text, sizeof(err->text), "out of memory");
	if (!in)
		return -ENOMEM;
	in->o = *o;
	in->base = base;
	TAILQ_INIT(&in->statements);
	TAILQ_INIT(&in->brokers);
	in->audit = audit_open(o->audit);
	if (!in->audit)
		return -ENOMEM;
	err->text[0] = 0;
	return 0;
}

void introspect_close(struct introspect *in)
{
	struct broker *b;

	if (!in)
		return;
	while ((b = TAILQ_FIRST(&in->brokers)))
		broker_end(b, IHO_ERR_CANCELLED, "ihod ends", -ECANCELED);
	audit_close(in->audit);
	free(in);
}

json_t *introspect_status(const struct introspect *in)
{
	return json_pack("{s:b, s:I, s:I, s:I, s:I}", "on", in->o.on, "guests",
			 (json_int_t)in->n_brokers, "statements", (json_int_t)in->n_statements,
			 "asked", (json_int_t)in->asked, "refused", (json_int_t)in->refused);
}
