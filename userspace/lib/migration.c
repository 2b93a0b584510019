// SPDX-License-Identifier: GPL-2.0-or-later
#include "migration.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "forecast.h"
#include "migration_internal.h"
#include "source.h"
#include "vmname.h"

#define JOIN_S	  2
#define SILENT_MS 3000 /* a libvirt that does not answer for so long hangs */

static const char *const phase_keys[IHO_MIGRATION_PHASES] = {
	[IHO_MIGRATION_SETUP] = "setup",	     [IHO_MIGRATION_PRECOPY] = "precopy",
	[IHO_MIGRATION_POSTCOPY] = "postcopy",	     [IHO_MIGRATION_SWITCHOVER] = "switchover",
	[IHO_MIGRATION_COMPLETED] = "completed",     [IHO_MIGRATION_FAILED] = "failed",
	[IHO_MIGRATION_CANCELLED] = "cancelled",
};
static const char *const role_keys[IHO_MIGRATION_ROLES] = { "source", "destination" };
static const char *const via_keys[IHO_MIGRATION_VIAS] = { "libvirt", "qmp" };
static const char *const verdict_keys[IHO_FORECAST_VERDICTS] = { "unknown", "converges",
								 "diverges" };

const char *iho_migration_phase_key(enum iho_migration_phase p)
{
	return phase_keys[p];
}

const char *iho_migration_role_key(enum iho_migration_role r)
{
	return role_keys[r];
}

const char *iho_migration_via_key(enum iho_migration_via v)
{
	return via_keys[v];
}

const char *iho_forecast_verdict_key(enum iho_forecast_verdict v)
{
	return verdict_keys[v];
}

double iho_wall_clock_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int64_t iho_monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------------------------ tracker */

static const struct iho_migration_numbers unknown = {
	.elapsed_s = -1,
	.total_bytes = -1,
	.transferred_bytes = -1,
	.remaining_bytes = -1,
	.normal_pages = -1,
	.zero_pages = -1,
	.page_bytes = -1,
	.iterations = -1,
	.dirty_bytes_per_s = -1,
	.bandwidth_bytes_per_s = -1,
	.downtime_expected_s = -1,
	.downtime_limit_s = -1,
	.downtime_actual_s = -1,
	.throttle_ratio = -1,
	.postcopy_requests = -1,
};

void iho_migration_seen_init(struct iho_migration_seen *s)
{
	memset(s, 0, sizeof(*s));
	s->n = unknown;
}

/* What is not told any more is as it was. */
#define TAKE(field)                                                                                \
	do {                                                                                       \
		if (new->field >= 0)                                                               \
			n->field = new->field;                                                     \
	} while (0)

static void take_numbers(struct iho_migration_numbers *n, const struct iho_migration_numbers *new)
{
	TAKE(elapsed_s);
	TAKE(total_bytes);
	TAKE(transferred_bytes);
	TAKE(remaining_bytes);
	TAKE(normal_pages);
	TAKE(zero_pages);
	TAKE(page_bytes);
	TAKE(iterations);
	TAKE(dirty_bytes_per_s);
	TAKE(bandwidth_bytes_per_s);
	TAKE(downtime_expected_s);
	TAKE(downtime_limit_s);
	TAKE(downtime_actual_s);
	TAKE(throttle_ratio);
	TAKE(postcopy_requests);
}

static bool same_vm(const struct iho_migration *m, const struct iho_migration_seen *s)
{
	return m->via == s->via && m->role == s->role && m->pid == s->pid && !strcmp(m->vm, s->vm);
}

static struct iho_migration *active_row(const struct iho_tracker *t,
					const struct iho_migration_seen *s)
{
	for (size_t i = 0; i < t->n_rows; i++)
		if (!iho_migration_ended(t->rows[i]) && same_vm(t->rows[i], s))
			return t->rows[i];
	return NULL;
}

bool iho_tracker_active(const struct iho_tracker *t, const struct iho_migration_seen *s)
{
	return active_row(t, s);
}

static void drop_row(struct iho_tracker *t, size_t i)
{
	free(t->rows[i]->samples);
	free(t->rows[i]);
	t->n_rows--;
	memmove(&t->rows[i], &t->rows[i + 1], (t->n_rows - i) * sizeof(t->rows[0]));
}

void iho_tracker_forget_old(struct iho_tracker *t, double now_s)
{
	for (size_t i = 0; i < t->n_rows;) {
		const struct iho_migration *m = t->rows[i];

		if (iho_migration_ended(m) && m->end_time_s + IHO_MIGRATION_KEEP_S < now_s)
			drop_row(t, i);
		else
			i++;
	}
}

static int make_room(struct iho_tracker *t)
{
	if (t->n_rows < IHO_MIGRATION_ROWS)
		return 0;
	for (size_t i = 0; i < t->n_rows; i++) {
		if (iho_migration_ended(t->rows[i])) {
			drop_row(t, i);
			return 0;
		}
	}
	return -ENOSPC;
}

static struct iho_migration *add_row(struct iho_tracker *t, const struct iho_migration_seen *s,
				     int *error)
{
	struct iho_migration *m;

	*error = make_room(t);
	if (*error)
		return NULL;
	m = calloc(1, sizeof(*m));
	if (m)
		m->samples = calloc(IHO_MIGRATION_SAMPLES, sizeof(*m->samples));
	if (!m || !m->samples) {
		free(m);
		*error = -ENOMEM;
		return NULL;
	}
	snprintf(m->vm, sizeof(m->vm), "%s", s->vm);
	m->pid = s->pid;
	m->role = s->role;
	m->via = s->via;
	m->phase = s->phase;
	m->n = unknown;
	m->start_time_s = s->time_s - (s->n.elapsed_s > 0 ? s->n.elapsed_s : 0);
	m->page_faults_per_s = m->dirty_pages_per_s = m->page_fault_mean_s = -1;
	m->forecast.low_s = m->forecast.expected_s = m->forecast.high_s = -1;
	for (int i = 0; i < IHO_FORECAST_MARKS; i++)
		m->forecast_error[i] = NAN;
	t->rows[t->n_rows++] = m;
	return m;
}

/* Drops every second sample. */
static void thin(struct iho_migration *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->n_samples; i += 2)
		m->samples[kept++] = m->samples[i];
	m->n_samples = kept;
}

/* Samples grow rarer with time, so that an hour has as many as a minute. */
static void add_sample(struct iho_migration *m)
{
	const struct iho_migration_numbers *n = &m->n;
	const struct iho_migration_sample *last = m->n_samples ? &m->samples[m->n_samples - 1]
							       : NULL;
	struct iho_migration_sample *s;

	if (n->elapsed_s < 0 || n->remaining_bytes < 0 || n->transferred_bytes < 0)
		return;
	if (last && n->elapsed_s - last->elapsed_s < n->elapsed_s / IHO_MIGRATION_SAMPLES &&
	    n->iterations == last->iterations)
		return;
	if (last && n->elapsed_s <= last->elapsed_s)
		return;
	if (m->n_samples == IHO_MIGRATION_SAMPLES)
		thin(m);
	s = &m->samples[m->n_samples++];
	s->elapsed_s = n->elapsed_s;
	s->dirty_bytes_per_s = n->dirty_bytes_per_s;
	s->bandwidth_bytes_per_s = n->bandwidth_bytes_per_s;
	s->throttle_ratio = n->throttle_ratio;
	s->transferred_bytes = n->transferred_bytes;
	s->remaining_bytes = n->remaining_bytes;
	s->iterations = n->iterations > INT32_MAX ? INT32_MAX : n->iterations;
	iho_forecast(&m->forecast, m->phase, n, m->samples, m->n_samples);
	s->forecast_s = m->forecast.expected_s;
}

static struct iho_migration_total *total_of(struct iho_tracker *t, const char *vm)
{
	size_t i = 0;

	while (i < t->n_totals && strcmp(t->totals[i].vm, vm) < 0)
		i++;
	if (i < t->n_totals && !strcmp(t->totals[i].vm, vm))
		return &t->totals[i];
	if (t->n_totals == IHO_MIGRATION_TOTALS)
		return NULL;
	memmove(&t->totals[i + 1], &t->totals[i], (t->n_totals - i) * sizeof(t->totals[0]));
	t->n_totals++;
	memset(&t->totals[i], 0, sizeof(t->totals[i]));
	snprintf(t->totals[i].vm, sizeof(t->totals[i].vm), "%s", vm);
	return &t->totals[i];
}

static void end_row(struct iho_tracker *t, struct iho_migration *m, double time_s)
{
	struct iho_migration_total *total = total_of(t, m->vm);

	m->end_time_s = time_s;
	m->forecast.verdict = IHO_FORECAST_UNKNOWN;
	m->forecast.low_s = m->forecast.expected_s = m->forecast.high_s = -1;
	m->forecast.why[0] = '\0';
	/* the forecast is of pre-copy: what then ended otherwise tells nothing about it */
	if (m->phase == IHO_MIGRATION_COMPLETED &&
	    !(m->phases_seen & 1u << IHO_MIGRATION_POSTCOPY))
		iho_forecast_errors(m->forecast_error, m->samples, m->n_samples, m->n.elapsed_s);
	if (total && m->phase == IHO_MIGRATION_COMPLETED)
		total->completed++;
	else if (total && m->phase == IHO_MIGRATION_CANCELLED)
		total->cancelled++;
	else if (total)
		total->failed++;
	if (t->n_history == IHO_MIGRATION_HISTORY)
		memmove(&t->history[0], &t->history[1], --t->n_history * sizeof(t->history[0]));
	t->history[t->n_history] = *m;
	t->history[t->n_history].samples = NULL;
	t->history[t->n_history++].n_samples = 0;
}

int iho_tracker_see(struct iho_tracker *t, const struct iho_migration_seen *s)
{
	struct iho_migration *m = active_row(t, s);
	int r = 0;

	if (!m)
		m = add_row(t, s, &r);
	if (!m)
		return r;
	/* Once memory moves there is no way back to the beginning. */
	if (s->phase != IHO_MIGRATION_SETUP || m->phases_seen == 0)
		m->phase = s->phase;
	m->phases_seen |= 1u << m->phase;
	take_numbers(&m->n, &s->n);
	if (m->n.elapsed_s < 0 || (s->n.elapsed_s < 0 && !iho_migration_ended(m)))
		m->n.elapsed_s = fmax(s->time_s - m->start_time_s, 0);
	if (s->error[0])
		snprintf(m->error, sizeof(m->error), "%s", s->error);
	if (iho_migration_ended(m))
		end_row(t, m, s->time_s);
	else
		add_sample(m);
	return 0;
}

static int copy_row(struct iho_migration *to, const struct iho_migration *from)
{
	*to = *from;
	to->samples = NULL;
	if (!from->n_samples)
		return 0;
	to->samples = malloc(from->n_samples * sizeof(*to->samples));
	if (!to->samples)
		return -ENOMEM;
	memcpy(to->samples, from->samples, from->n_samples * sizeof(*to->samples));
	return 0;
}

/* Those that go on first, each kind from the newest to the oldest. */
static int copy_rows(const struct iho_tracker *t, struct iho_migration_view *v)
{
	for (int ended = 0; ended < 2; ended++) {
		for (size_t i = t->n_rows; i-- > 0;) {
			if (iho_migration_ended(t->rows[i]) != ended)
				continue;
			if (copy_row(&v->rows[v->n_rows++], t->rows[i]))
				return -ENOMEM;
		}
	}
	return 0;
}

int iho_tracker_view(const struct iho_tracker *t, struct iho_migration_view **out)
{
	struct iho_migration_view *v = calloc(1, sizeof(*v));

	*out = NULL;
	if (!v)
		return -ENOMEM;
	v->rows = calloc(t->n_rows + 1, sizeof(*v->rows));
	v->history = calloc(t->n_history + 1, sizeof(*v->history));
	v->totals = calloc(t->n_totals + 1, sizeof(*v->totals));
	if (!v->rows || !v->history || !v->totals || copy_rows(t, v)) {
		iho_migration_view_free(v);
		return -ENOMEM;
	}
	for (size_t i = t->n_history; i-- > 0;)
		v->history[v->n_history++] = t->history[i];
	memcpy(v->totals, t->totals, t->n_totals * sizeof(*v->totals));
	v->n_totals = t->n_totals;
	*out = v;
	return 0;
}

void iho_tracker_clear(struct iho_tracker *t)
{
	while (t->n_rows)
		drop_row(t, t->n_rows - 1);
	t->n_history = t->n_totals = 0;
}

void iho_migration_view_free(struct iho_migration_view *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n_rows; i++)
		free(v->rows[i].samples);
	free(v->rows);
	free(v->history);
	free(v->totals);
	free(v);
}

/* ------------------------------------------------------------------------- beside KVM's events */

static const struct iho_vm_report *find_vm(const struct iho_report *r,
					   const struct iho_migration *m)
{
	for (size_t i = 0; i < r->n_vms; i++) {
		if (m->pid ? r->vms[i].pid == m->pid : !strcmp(r->vms[i].name, m->vm))
			return &r->vms[i];
	}
	return NULL;
}

/* A fault on guest memory, as Intel and AMD name the exit. */
static double fault_mean_s(const struct iho_vm_report *vm)
{
	for (size_t i = 0; i < vm->exit_rows.n; i++) {
		const struct iho_exit_row *e = &vm->exit_rows.v[i];

		if (!strcmp(e->reason, "EPT_VIOLATION") || !strcasecmp(e->reason, "npf"))
			return e->mean_ns / 1e9;
	}
	return -1;
}

static void join(struct iho_migration *m, const struct iho_vm_report *vm, double interval_s)
{
	uint64_t faults = 0, faults_ever = 0, dirty = 0, dirty_ever = 0;

	for (size_t i = 0; i < vm->n_vcpus; i++) {
		faults += vm->vcpus[i].events_delta[IHO_EV_kvm_page_fault];
		faults_ever += vm->vcpus[i].events[IHO_EV_kvm_page_fault];
		dirty += vm->vcpus[i].events_delta[IHO_EV_kvm_dirty_ring_push];
		dirty_ever += vm->vcpus[i].events[IHO_EV_kvm_dirty_ring_push];
	}
	/* No event ever: this KVM may not emit it, or the VM use no dirty ring. */
	if (faults_ever)
		m->page_faults_per_s = faults / interval_s;
	if (dirty_ever)
		m->dirty_pages_per_s = dirty / interval_s;
	m->page_fault_mean_s = fault_mean_s(vm);
}

void iho_migration_view_join(struct iho_migration_view *v, const struct iho_report *r)
{
	for (size_t i = 0; i < v->n_rows; i++) {
		const struct iho_vm_report *vm = find_vm(r, &v->rows[i]);

		if (vm && r->interval_s > 0 && !iho_migration_ended(&v->rows[i]))
			join(&v->rows[i], vm, r->interval_s);
	}
}

static bool wanted(const struct iho_migration *m, pid_t pid, const char *vm)
{
	return (!pid || !m->pid || m->pid == pid) && (!vm || !strcmp(m->vm, vm));
}

void iho_migration_view_only(struct iho_migration_view *v, pid_t pid, const char *vm)
{
	size_t kept = 0;

	for (size_t i = 0; i < v->n_rows; i++) {
		if (wanted(&v->rows[i], pid, vm))
			v->rows[kept++] = v->rows[i];
		else
			free(v->rows[i].samples);
	}
	v->n_rows = kept;
	kept = 0;
	for (size_t i = 0; i < v->n_history; i++)
		if (wanted(&v->history[i], pid, vm))
			v->history[kept++] = v->history[i];
	v->n_history = kept;
}

/* ------------------------------------------------------------------------------------ threads */

bool iho_migrations_wait(const struct iho_migrations *m, int ms)
{
	struct pollfd p = { .fd = m->stop_fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0;
}

bool iho_migrations_stopping(const struct iho_migrations *m)
{
	return iho_migrations_wait(m, 0);
}

void iho_migrations_see(struct iho_migrations *m, const struct iho_migration_seen *s)
{
	pthread_mutex_lock(&m->lock);
	/* Without room or memory this one is not shown; the next look tries again. */
	iho_tracker_see(&m->tracker, s);
	pthread_mutex_unlock(&m->lock);
}

bool iho_migrations_active(struct iho_migrations *m, const struct iho_migration_seen *s)
{
	bool active;

	pthread_mutex_lock(&m->lock);
	active = iho_tracker_active(&m->tracker, s);
	pthread_mutex_unlock(&m->lock);
	return active;
}

void iho_migrations_say(struct iho_migrations *m, struct iho_migration_source *s, bool ok,
			const char *fmt, ...)
{
	char text[sizeof(s->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&m->lock);
	s->ok = ok;
	iho_clean_text(s->text, sizeof(s->text), text);
	pthread_mutex_unlock(&m->lock);
}

void iho_migrations_heard(struct iho_migrations *m)
{
	pthread_mutex_lock(&m->lock);
	m->heard_ms = iho_monotonic_ms();
	pthread_mutex_unlock(&m->lock);
}

static void put_migrations(struct iho_migrations *m)
{
	bool last;

	pthread_mutex_lock(&m->lock);
	last = !--m->refs;
	pthread_mutex_unlock(&m->lock);
	if (!last)
		return;
	iho_tracker_clear(&m->tracker);
	for (size_t i = 0; i < m->n_qmp; i++)
		free(m->qmp_paths[i]);
	free(m->qmp_paths);
	free(m->libvirt_socket);
	free(m->libvirt_run);
	free(m->proc);
	if (m->stop_fd >= 0)
		close(m->stop_fd);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static void *libvirt_thread(void *arg)
{
	iho_libvirt_watch(arg);
	put_migrations(arg);
	return NULL;
}

static void *qmp_thread(void *arg)
{
	iho_qmp_watch(arg);
	put_migrations(arg);
	return NULL;
}

static int copy_options(struct iho_migrations *m, const struct iho_migration_options *o)
{
	m->proc = strdup(o->proc ? o->proc : "/proc");
	m->libvirt_run = strdup(o->libvirt_run ? o->libvirt_run : "/run/libvirt/qemu");
	m->libvirt_socket = o->libvirt_socket ? strdup(o->libvirt_socket) : NULL;
	m->qmp_paths = calloc(o->n_qmp + 1, sizeof(*m->qmp_paths));
	if (!m->proc || !m->libvirt_run || !m->qmp_paths ||
	    (o->libvirt_socket && !m->libvirt_socket))
		return -ENOMEM;
	for (size_t i = 0; i < o->n_qmp; i++) {
		if (!strcmp(o->qmp[i], "auto")) {
			m->qmp_auto = true;
			continue;
		}
		m->qmp_paths[m->n_qmp] = strdup(o->qmp[i]);
		if (!m->qmp_paths[m->n_qmp])
			return -ENOMEM;
		m->n_qmp++;
	}
	m->libvirt.on = !m->libvirt_socket || strcmp(m->libvirt_socket, "off");
	m->qmp.on = m->n_qmp || m->qmp_auto;
	snprintf(m->libvirt.text, sizeof(m->libvirt.text), "%s",
		 m->libvirt.on ? "not asked yet" : "libvirt is not looked at");
	snprintf(m->qmp.text, sizeof(m->qmp.text), "%s",
		 m->qmp.on ? "not asked yet" : "no QEMU monitor may be asked (--qmp)");
	return 0;
}

/* The signals of the program are for its own threads. */
static int start_thread(struct iho_migrations *m, int i, void *(*fn)(void *))
{
	sigset_t all, old;
	int r;

	m->refs++;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&m->thread[i], NULL, fn, m);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	m->running[i] = !r;
	if (r)
		m->refs--;
	return r;
}

int iho_migrations_start(struct iho_migrations **out, const struct iho_migration_options *opts,
			 struct iho_error *err)
{
	static const struct iho_migration_options defaults;
	struct iho_migrations *m = calloc(1, sizeof(*m));
	int r;

	*out = NULL;
	if (!m)
		return iho_error_set(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&m->lock, NULL);
	m->refs = 1;
	m->stop_fd = eventfd(0, EFD_CLOEXEC);
	r = m->stop_fd < 0 ? -errno : copy_options(m, opts ? opts : &defaults);
	/* a thread that ends at once must find refs as it is meant */
	pthread_mutex_lock(&m->lock);
	if (!r && m->libvirt.on)
		r = start_thread(m, 0, libvirt_thread);
	if (!r && m->qmp.on)
		r = start_thread(m, 1, qmp_thread);
	pthread_mutex_unlock(&m->lock);
	if (r) {
		iho_migrations_stop(m);
		return iho_error_set(err, r, "cannot watch migrations: %s", strerror(-r));
	}
	*out = m;
	return 0;
}

void iho_migrations_stop(struct iho_migrations *m)
{
	uint64_t one = 1;
	struct timespec until;

	if (!m)
		return;
	if (m->stop_fd >= 0 && write(m->stop_fd, &one, sizeof(one)) != sizeof(one))
		return; /* cannot be: the counter is not full */
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += JOIN_S;
	for (int i = 0; i < 2; i++) {
		/* One that libvirt does not let go keeps its reference, and what it uses. */
		if (m->running[i] && pthread_timedjoin_np(m->thread[i], NULL, &until))
			pthread_detach(m->thread[i]);
	}
	put_migrations(m);
}

/* The thread that asks stands still with a daemon that does; it cannot say so itself. */
static void tell_silence(const struct iho_migrations *m, struct iho_migration_source *s)
{
	int64_t silent_ms = iho_monotonic_ms() - m->heard_ms;

	if (!s->ok || silent_ms < SILENT_MS)
		return;
	s->ok = false;
	snprintf(s->text, sizeof(s->text), "libvirt does not answer: it was asked %lld s ago",
		 (long long)silent_ms / 1000);
}

int iho_migrations_get(struct iho_migrations *m, struct iho_migration_view **out)
{
	int r;

	pthread_mutex_lock(&m->lock);
	iho_tracker_forget_old(&m->tracker, iho_wall_clock_s());
	r = iho_tracker_view(&m->tracker, out);
	if (!r) {
		(*out)->libvirt = m->libvirt;
		tell_silence(m, &(*out)->libvirt);
		(*out)->qmp = m->qmp;
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}
