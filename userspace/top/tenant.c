// SPDX-License-Identifier: GPL-2.0-or-later
#include "tenant.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../vmi/query/session.h"
#include "text.h"

#define ROWS_MAX  4096 /* tasks that are shown */
#define TASKS_MAX 65536 /* whose times are remembered */
#define RETRY_S	  3 /* after a guest that could not be looked into */

struct times {
	int64_t tid, ms;
};

struct tenant {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int users;
	bool stop;
	char vm[64];
	char program[PATH_MAX];
	struct session *session; /* to be cancelled; the thread's */
	struct tenant_view view;
	/* the thread's alone */
	struct tenant_view next;
	struct times *times, *before;
	size_t n_times, n_before;
	double at_s, before_s;
	int64_t vcpu, tid; /* of the last row of the samples */
	bool vmm; /* this host tells no other exits */
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- rows of statements ---- */

static int64_t integer(const struct vmi_value *v)
{
	return v->kind == VMI_V_INT ? v->i : -1;
}

static double real(const struct vmi_value *v)
{
	return v->kind == VMI_V_DOUBLE ? v->d : v->kind == VMI_V_INT ? (double)v->i : -1;
}

static void copy(char *to, size_t size, const struct vmi_value *v)
{
	snprintf(to, size, "%s", v->kind == VMI_V_TEXT ? v->s : "");
}

static struct tenant_row *find_row(struct tenant *t, int64_t tid)
{
	for (size_t i = 0; i < t->next.n; i++)
		if (t->next.rows[i].tid == tid)
			return &t->next.rows[i];
	return NULL;
}

static struct tenant_row *row_of(struct tenant *t, int64_t tid)
{
	struct tenant_row *r = find_row(t, tid);

	if (r || t->next.n == ROWS_MAX)
		return r;
	r = &t->next.rows[t->next.n++];
	*r = (struct tenant_row){ .tid = tid,
				  .pid = -1,
				  .uid = -1,
				  .cpu = -1,
				  .exits_per_s = -1,
				  .reason_per_s = -1,
				  .certain = -1 };
	return r;
}

/* By tid, so that a row of the same task and vCPU is only another reason. */
#define SAMPLES_SQL                                                                                \
	"SELECT tid, vcpu, pid, name, share, samples, handled, reason, per_s, certain, exits, "    \
	"window_ms, missing FROM task_exits ORDER BY tid, vcpu, handled, exits DESC"

static int take_columns(void *arg, const char *const *names, size_t n)
{
	return 0;
}

static void take_exits(struct tenant *t, struct tenant_row *r, const struct vmi_value *v)
{
	double per_s = real(&v[8]), certain = real(&v[9]), exits = real(&v[10]), all;
	bool none = v[7].kind != VMI_V_TEXT;

	if (exits < 0 || (!none && (v[6].s[0] == 'v') != t->vmm))
		return;
	if (r->exits_per_s < 0)
		r->exits_per_s = 0;
	if (none || per_s <= 0)
		return;
	all = r->exits_per_s + per_s;
	if (certain >= 0 && exits > 0)
		r->certain = ((r->certain > 0 ? r->certain : 0) * r->exits_per_s +
			      certain / exits * per_s) /
			     all;
	r->exits_per_s = all;
	if (per_s > r->reason_per_s) {
		r->reason_per_s = per_s;
		copy(r->reason, sizeof(r->reason), &v[7]);
	}
}

static int take_sample(void *arg, const struct vmi_value *v, size_t n)
{
	struct tenant *t = arg;
	int64_t tid = integer(&v[0]), vcpu = integer(&v[1]);
	struct tenant_row *r = row_of(t, tid);

	if (!r)
		return 1;
	r->pid = integer(&v[2]);
	copy(r->name, sizeof(r->name), &v[3]);
	if (!tid)
		snprintf(r->name, sizeof(r->name), "idle");
	else if (tid < 0)
		snprintf(r->name, sizeof(r->name), "(not readable)");
	copy(t->next.missing, sizeof(t->next.missing), &v[12]);
	t->vmm = t->next.missing[0];
	t->next.window_ms = integer(&v[11]);
	if (tid != t->tid || vcpu != t->vcpu) {
		r->share += real(&v[4]) > 0 ? real(&v[4]) : 0;
		if (real(&v[4]) > 0)
			t->next.samples = (int64_t)((double)integer(&v[5]) / v[4].d + 0.5);
	}
	t->tid = tid;
	t->vcpu = vcpu;
	take_exits(t, r, v);
	return 0;
}

#define TASKS_SQL                                                                                  \
	"SELECT t.tid, t.pid, t.name, t.user_time + t.system_time, p.uid "                         \
	"FROM threads t LEFT JOIN processes p ON p.pid = t.pid ORDER BY t.tid LIMIT 65536"

static int by_tid(const void *a, const void *b)
{
	const struct times *x = a, *y = b;

	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

/* CPU time since the round before; a task that is new may have got all of its time since. */
static double cpu_of(struct tenant *t, int64_t tid, int64_t ms)
{
	const struct times key = { .tid = tid }, *b;
	double s = t->at_s - t->before_s;

	if (!t->n_before || s <= 0 || ms < 0)
		return -1;
	b = bsearch(&key, t->before, t->n_before, sizeof(key), by_tid);
	if (b && ms < b->ms)
		return 0;
	return (double)(ms - (b ? b->ms : 0)) / 1000 / s;
}

static int take_task(void *arg, const struct vmi_value *v, size_t n)
{
	struct tenant *t = arg;
	int64_t tid = integer(&v[0]), ms = integer(&v[3]);
	double cpu = cpu_of(t, tid, ms);
	struct tenant_row *r = cpu > 0 ? row_of(t, tid) : find_row(t, tid);

	if (t->n_times < TASKS_MAX)
		t->times[t->n_times++] = (struct times){ tid, ms };
	if (!r)
		return 0;
	r->pid = integer(&v[1]);
	r->uid = integer(&v[4]);
	copy(r->name, sizeof(r->name), &v[2]);
	r->cpu = cpu;
	return 0;
}

static int by_exits(const void *a, const void *b)
{
	const struct tenant_row *x = a, *y = b;

	if (x->exits_per_s != y->exits_per_s)
		return x->exits_per_s < y->exits_per_s ? 1 : -1;
	if (x->share != y->share)
		return x->share < y->share ? 1 : -1;
	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

/* ---- the thread ---- */

static void publish(struct tenant *t, const char *text)
{
	struct tenant_row *rows = NULL;

	if (!text && t->next.n) {
		rows = malloc(t->next.n * sizeof(*rows));
		if (rows)
			memcpy(rows, t->next.rows, t->next.n * sizeof(*rows));
		else
			text = "out of memory";
	}
	pthread_mutex_lock(&t->lock);
	free(t->view.rows);
	t->next.round = t->view.round + 1;
	t->view = t->next;
	t->view.rows = rows;
	t->view.n = rows ? t->next.n : 0;
	snprintf(t->view.text, sizeof(t->view.text), "%s", text ? text : "");
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

/* Returns whether to stop. */
static bool nap(struct tenant *t, int seconds)
{
	struct timespec until;
	bool stop;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	pthread_mutex_lock(&t->lock);
	while (!t->stop && !pthread_cond_timedwait(&t->changed, &t->lock, &until))
		;
	stop = t->stop;
	pthread_mutex_unlock(&t->lock);
	return stop;
}

static int one_round(struct tenant *t, struct session *s)
{
	const struct vmi_sink samples = { take_columns, take_sample, t };
	const struct vmi_sink tasks = { take_columns, take_task, t };
	struct vmi_outcome out;
	struct vmi_error err = {};
	struct times *swap = t->before;
	int r;

	t->next.n = 0;
	t->next.missing[0] = 0;
	t->next.samples = t->next.window_ms = 0;
	t->tid = t->vcpu = -2;
	t->before = t->times;
	t->n_before = t->n_times;
	t->times = swap;
	t->n_times = 0;
	t->before_s = t->at_s;
	r = session_query(s, SAMPLES_SQL, &samples, &out, &err);
	t->at_s = now_s();
	if (!r)
		r = session_query(s, TASKS_SQL, &tasks, &out, &err);
	qsort(t->next.rows, t->next.n, sizeof(*t->next.rows), by_exits);
	publish(t, r ? err.text : NULL);
	return r;
}

static void set_session(struct tenant *t, struct session *s)
{
	pthread_mutex_lock(&t->lock);
	t->session = s;
	pthread_mutex_unlock(&t->lock);
}

/* As long as it can be asked. */
static void look_into(struct tenant *t)
{
	const struct session_options o = { .find.vm = t->vm[0] ? t->vm : NULL,
					   .limits = vmi_limits_default,
					   .program = t->program };
	struct session *s;
	struct vmi_error err = {};

	if (access(t->program, X_OK)) {
		publish(t,
			"iho-query is not installed beside iho-top: its worker looks into guests");
		return;
	}
	if (session_open(&s, &o, &err)) {
		publish(t, err.text);
		return;
	}
	snprintf(t->next.vm, sizeof(t->next.vm), "%s", t->vm);
	set_session(t, s);
	while (!one_round(t, s) && !nap(t, 0))
		;
	set_session(t, NULL);
	session_close(s);
}

static void leave(struct tenant *t)
{
	bool last;

	pthread_mutex_lock(&t->lock);
	last = !--t->users;
	pthread_mutex_unlock(&t->lock);
	if (!last)
		return;
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
	free(t->view.rows);
	free(t->next.rows);
	free(t->times);
	free(t->before);
	free(t);
}

static void *run(void *arg)
{
	struct tenant *t = arg;

	do
		look_into(t);
	while (!nap(t, RETRY_S));
	leave(t);
	return NULL;
}

/* The program lies beside ours, in the build folder as well as when installed. */
static void find_program(char *buf, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", buf, size - sizeof("/iho-query"));
	char *slash;

	buf[n > 0 ? n : 0] = 0;
	slash = strrchr(buf, '/');
	if (slash)
		memcpy(slash, "/iho-query", sizeof("/iho-query"));
}

static int start(struct tenant *t)
{
	sigset_t all, old;
	pthread_t thread;
	int r;

	/* Signals are the main thread's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, NULL, run, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!r)
		pthread_detach(thread);
	return r;
}

struct tenant *tenant_open(const char *vm)
{
	struct tenant *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
	snprintf(t->vm, sizeof(t->vm), "%s", vm);
	find_program(t->program, sizeof(t->program));
	snprintf(t->view.text, sizeof(t->view.text), "Looking into the guest: a moment.");
	t->next.rows = calloc(ROWS_MAX, sizeof(*t->next.rows));
	t->times = calloc(TASKS_MAX, sizeof(*t->times));
	t->before = calloc(TASKS_MAX, sizeof(*t->before));
	t->users = 2;
	if (t->next.rows && t->times && t->before && !start(t))
		return t;
	t->users = 1;
	leave(t);
	return NULL;
}

void tenant_close(struct tenant *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	if (t->session)
		session_cancel(t->session);
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
	leave(t);
}

void tenant_take(struct tenant *t, struct tenant_view *v)
{
	pthread_mutex_lock(&t->lock);
	if (v->round != t->view.round || !v->round) {
		struct tenant_row *rows = NULL;

		if (t->view.n)
			rows = malloc(t->view.n * sizeof(*rows));
		free(v->rows);
		*v = t->view;
		v->rows = rows;
		v->n = rows ? t->view.n : 0;
		if (rows)
			memcpy(rows, t->view.rows, v->n * sizeof(*rows));
	}
	pthread_mutex_unlock(&t->lock);
}

void tenant_view_free(struct tenant_view *v)
{
	free(v->rows);
	*v = (struct tenant_view){};
}

void tenant_wait(struct tenant *t, double seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)seconds;
	pthread_mutex_lock(&t->lock);
	while (!t->view.round && !pthread_cond_timedwait(&t->changed, &t->lock, &until))
		;
	pthread_mutex_unlock(&t->lock);
}

/* ---- for programs ---- */

static json_t *known(double v)
{
	return v < 0 ? json_null() : json_real(v);
}

static json_t *row_json(const struct tenant_row *r)
{
	json_t *o = json_object();

	json_object_set_new(o, "pid", r->pid < 0 ? json_null() : json_integer(r->pid));
	json_object_set_new(o, "tid", r->tid < 0 ? json_null() : json_integer(r->tid));
	json_object_set_new(o, "uid", r->uid < 0 ? json_null() : json_integer(r->uid));
	json_object_set_new(o, "name", iho_text_json(r->name));
	json_object_set_new(o, "vcpu_share", json_real(r->share));
	json_object_set_new(o, "cpu_share", known(r->cpu));
	json_object_set_new(o, "exits_per_s", known(r->exits_per_s));
	json_object_set_new(o, "reason", r->reason[0] ? iho_text_json(r->reason) : json_null());
	json_object_set_new(o, "reason_per_s", known(r->reason_per_s));
	json_object_set_new(o, "certain_share", known(r->certain));
	return o;
}

json_t *tenant_to_json(const struct tenant_view *v)
{
	json_t *o = json_object(), *a = json_array();

	json_object_set_new(o, "error", v->text[0] ? iho_text_json(v->text) : json_null());
	json_object_set_new(o, "missing", iho_text_json(v->missing));
	json_object_set_new(o, "samples", json_integer(v->samples));
	json_object_set_new(o, "window_ms", json_integer(v->window_ms));
	for (size_t i = 0; i < v->n; i++)
		json_array_append_new(a, row_json(&v->rows[i]));
	json_object_set_new(o, "tasks", a);
	return o;
}
