// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Migrations of QEMUs that libvirt does not manage, by query-migrate on their monitors (QMP, QEMU's
 * docs/interop/qmp-spec).
 *
 * Each question is a connection of its own that lasts for some milliseconds, and only monitors that
 * the operator named are asked at all.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "migration_internal.h"
#include "qemu.h"
#include "qmp.h"
#include "vmname.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MONITORS      64
#define ASK_MS	      1000 /* a whole conversation */
#define IDLE_MS	      1000 /* between two looks at a VM that does not migrate */
#define ACTIVE_MS     500
#define SCAN_MS	      3000
#define BACKOFF_MS    10000
#define CMDLINE_MAX   (128 * 1024)

/* ------------------------------------------------------------------------------- conversation */

/* An integer that is there and not negative, else -1. */
static int64_t get_count(const json_t *o, const char *key)
{
	const json_t *j = json_object_get(o, key);

	return json_is_integer(j) && json_integer_value(j) >= 0 ? json_integer_value(j) : -1;
}

static double get_scaled(const json_t *o, const char *key, double scale)
{
	const json_t *j = json_object_get(o, key);
	double v = json_number_value(j);

	return json_is_number(j) && v >= 0 && v < 1e15 ? v * scale : -1;
}

static const struct {
	const char *status;
	enum iho_migration_phase phase;
} statuses[] = {
	{ "setup", IHO_MIGRATION_SETUP },
	{ "wait-unplug", IHO_MIGRATION_SETUP },
	{ "active", IHO_MIGRATION_PRECOPY },
	{ "colo", IHO_MIGRATION_PRECOPY },
	{ "cancelling", IHO_MIGRATION_PRECOPY },
	{ "postcopy-active", IHO_MIGRATION_POSTCOPY },
	{ "postcopy-paused", IHO_MIGRATION_POSTCOPY },
	{ "postcopy-recover-setup", IHO_MIGRATION_POSTCOPY },
	{ "postcopy-recover", IHO_MIGRATION_POSTCOPY },
	{ "pre-switchover", IHO_MIGRATION_SWITCHOVER },
	{ "device", IHO_MIGRATION_SWITCHOVER },
	{ "completed", IHO_MIGRATION_COMPLETED },
	{ "failed", IHO_MIGRATION_FAILED },
	{ "cancelled", IHO_MIGRATION_CANCELLED },
};

static int take_phase(const char *status, struct iho_qmp_answer *a)
{
	if (!status || !strcmp(status, "none")) {
		a->none = true;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		if (strcmp(status, statuses[i].status))
			continue;
		a->seen.phase = statuses[i].phase;
		if (!strcmp(status, "postcopy-paused"))
			snprintf(a->seen.error, sizeof(a->seen.error), "post-copy is paused");
		return 0;
	}
	return -EPROTO;
}

static int take_migration(const json_t *o, struct iho_qmp_answer *a)
{
	const json_t *ram = json_object_get(o, "ram");
	const json_t *error = json_object_get(o, "error-desc");
	struct iho_migration_numbers *n = &a->seen.n;
	int64_t rate;

	if (take_phase(json_string_value(json_object_get(o, "status")), a))
		return -EPROTO;
	n->elapsed_s = get_scaled(o, "total-time", 1e-3);
	n->downtime_expected_s = get_scaled(o, "expected-downtime", 1e-3);
	n->downtime_actual_s = get_scaled(o, "downtime", 1e-3);
	n->throttle_ratio = get_scaled(o, "cpu-throttle-percentage", 1e-2);
	n->total_bytes = get_count(ram, "total");
	n->transferred_bytes = get_count(ram, "transferred");
	n->remaining_bytes = get_count(ram, "remaining");
	n->normal_pages = get_count(ram, "normal");
	n->zero_pages = get_count(ram, "duplicate");
	n->page_bytes = get_count(ram, "page-size");
	n->iterations = get_count(ram, "dirty-sync-count");
	n->postcopy_requests = get_count(ram, "postcopy-requests");
	n->bandwidth_bytes_per_s = get_scaled(ram, "mbps", 1e6 / 8);
	rate = get_count(ram, "dirty-pages-rate");
	if (rate >= 0 && n->page_bytes >= 0)
		n->dirty_bytes_per_s = (double)rate * n->page_bytes;
	if (n->throttle_ratio > 1)
		n->throttle_ratio = 1;
	if (json_is_string(error))
		iho_clean_text(a->seen.error, sizeof(a->seen.error), json_string_value(error));
	return 0;
}

static int converse(struct iho_qmp *q, struct iho_qmp_answer *a)
{
	const char *status;
	json_t *o;
	int e = iho_qmp_execute(q, "query-status", NULL, &o);

	if (e)
		return e;
	status = json_string_value(json_object_get(o, "status"));
	a->incoming = status && !strcmp(status, "inmigrate");
	e = status ? 0 : -EPROTO;
	json_decref(o);
	if (!e)
		e = iho_qmp_execute(q, "query-migrate", NULL, &o);
	if (e)
		return e;
	e = json_is_object(o) ? take_migration(o, a) : -EPROTO;
	json_decref(o);
	if (!e)
		e = iho_qmp_execute(q, "query-migrate-parameters", NULL, &o);
	if (e)
		return e == -EREMOTEIO ? 0 : e; /* old QEMUs do not know it */
	a->seen.n.downtime_limit_s = get_scaled(o, "downtime-limit", 1e-3);
	json_decref(o);
	return 0;
}

static int ask_open(struct iho_qmp *q, struct iho_qmp_answer *a)
{
	int e;

	memset(a, 0, sizeof(*a));
	iho_migration_seen_init(&a->seen);
	e = converse(q, a);
	return e == -EREMOTEIO ? -EPROTO : e;
}

int iho_qmp_ask(int fd, int timeout_ms, struct iho_qmp_answer *a)
{
	struct iho_qmp *q;
	int e = iho_qmp_open(&q, fd, timeout_ms);

	if (e)
		return e;
	e = ask_open(q, a);
	iho_qmp_close(q);
	return e;
}

/* ------------------------------------------------------------------------------------ sockets */

struct monitor {
	char path[PATH_MAX]; /* as the operator wrote it, or QEMU's command line */
	pid_t found_pid; /* whose command line; 0: named by the operator */
	bool listed; /* in this scan */
	int64_t due_ms, backoff_ms;
	bool asked; /* it answered before */
	bool active; /* a migration of it goes on */
	struct iho_migration_seen last;
};

static int ask(const struct iho_migrations *m, const struct monitor *mon, struct iho_qmp_answer *a,
	       pid_t *pid)
{
	struct iho_qmp *q;
	int r = iho_qmp_connect(&q, m->proc, mon->found_pid, mon->path, ASK_MS);

	if (r)
		return r;
	*pid = iho_qmp_peer(q);
	r = ask_open(q, a);
	iho_qmp_close(q);
	return r;
}

/* ------------------------------------------------------------------------------------ watching */

/* Source or destination: nobody says so outright. */
static enum iho_migration_role role_of(const struct monitor *mon, const struct iho_qmp_answer *a)
{
	if (a->incoming)
		return IHO_MIGRATION_DESTINATION;
	if (mon->active)
		return mon->last.role;
	/* only the source knows how much memory there is */
	if (a->seen.n.total_bytes < 0 &&
	    (a->seen.phase == IHO_MIGRATION_PRECOPY || a->seen.phase == IHO_MIGRATION_POSTCOPY ||
	     a->seen.phase == IHO_MIGRATION_COMPLETED))
		return IHO_MIGRATION_DESTINATION;
	return IHO_MIGRATION_SOURCE;
}

/* QEMU tells of its last migration for ever: is this one that we did not know? */
static bool is_news(const struct monitor *mon, const struct iho_migration_seen *s)
{
	if (mon->active || s->phase < IHO_MIGRATION_COMPLETED)
		return true;
	return mon->asked && (mon->last.phase != s->phase ||
			      mon->last.n.elapsed_s != s->n.elapsed_s ||
			      mon->last.n.transferred_bytes != s->n.transferred_bytes);
}

static void take(struct iho_migrations *m, struct monitor *mon, struct iho_qmp_answer *a, pid_t pid)
{
	struct iho_migration_seen *s = &a->seen;
	struct iho_vm_id id;

	if (a->none) {
		mon->asked = true;
		memset(&mon->last, 0, sizeof(mon->last));
		return;
	}
	s->via = IHO_MIGRATION_QMP;
	s->time_s = iho_wall_clock_s();
	s->role = role_of(mon, a);
	s->pid = pid;
	iho_vm_identify(m->proc, m->libvirt_run, pid, &id);
	snprintf(s->vm, sizeof(s->vm), "%s", id.name);
	if (is_news(mon, s))
		iho_migrations_see(m, s);
	mon->active = s->phase < IHO_MIGRATION_COMPLETED;
	mon->asked = true;
	mon->last = *s;
}

static bool is_dead(int error)
{
	return error == -ECONNREFUSED || error == -ENOENT || error == -EPIPE ||
	       error == -ECONNRESET;
}

static void look(struct iho_migrations *m, struct monitor *mon)
{
	struct iho_qmp_answer a;
	pid_t pid = 0;
	int r = ask(m, mon, &a, &pid);

	if (!r) {
		take(m, mon, &a, pid);
		mon->backoff_ms = mon->active ? ACTIVE_MS : IDLE_MS;
	} else if (is_dead(r) && mon->active) {
		mon->last.phase = IHO_MIGRATION_FAILED;
		mon->last.time_s = iho_wall_clock_s();
		snprintf(mon->last.error, sizeof(mon->last.error),
			 "the VMM was gone before it said how the migration ended");
		iho_migrations_see(m, &mon->last);
		mon->active = mon->asked = false;
	} else if (!mon->active && mon->backoff_ms < BACKOFF_MS) {
		mon->backoff_ms = mon->backoff_ms ? 2 * mon->backoff_ms : IDLE_MS;
	}
	if (!r)
		iho_migrations_say(m, &m->qmp, true, "%.100s answers", mon->path);
	else if (r == -EBUSY || r == -EAGAIN)
		iho_migrations_say(m, &m->qmp, false, "%.100s serves another client", mon->path);
	else
		iho_migrations_say(m, &m->qmp, false, "%.100s: %s", mon->path, strerror(-r));
	mon->due_ms = iho_monotonic_ms() + mon->backoff_ms;
}

/* ----------------------------------------------------------------------------------- discovery */

struct monitors {
	struct monitor v[MONITORS];
	size_t n;
	int64_t scan_due_ms;
};

static struct monitor *add_monitor(struct monitors *all, const char *path, pid_t pid)
{
	struct monitor *mon;

	for (size_t i = 0; i < all->n; i++) {
		mon = &all->v[i];
		if (mon->found_pid == pid && !strcmp(mon->path, path)) {
			mon->listed = true;
			return mon;
		}
	}
	if (all->n == MONITORS || strlen(path) >= sizeof(mon->path))
		return NULL;
	mon = &all->v[all->n++];
	memset(mon, 0, sizeof(*mon));
	snprintf(mon->path, sizeof(mon->path), "%s", path);
	mon->found_pid = pid;
	mon->listed = true;
	return mon;
}

static bool is_qemu(const char *arg0)
{
	const char *slash = strrchr(arg0, '/');

	arg0 = slash ? slash + 1 : arg0;
	return !strncmp(arg0, "qemu", 4) || !strcmp(arg0, "kvm");
}

static void scan_process(struct iho_migrations *m, struct monitors *all, pid_t pid, char *buf)
{
	char file[PATH_MAX], path[PATH_MAX];
	struct iho_cmdline c = { .v = buf };
	struct iho_vm_id id;
	ssize_t n;
	int fd;

	snprintf(file, sizeof(file), "%s/%d/cmdline", m->proc, (int)pid);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, buf, CMDLINE_MAX - 1);
	close(fd);
	if (n <= 0)
		return;
	buf[n] = '\0';
	c.end = buf + n;
	if (!is_qemu(buf) || !iho_qemu_monitor_path(&c, path, sizeof(path)))
		return;
	iho_vm_identify(m->proc, m->libvirt_run, pid, &id);
	if (strcmp(id.vmm, "libvirt"))
		add_monitor(all, path, pid);
}

/* Monitors of processes that ended go when what they had to tell was told. */
static void drop_gone(struct monitors *all)
{
	for (size_t i = 0; i < all->n;) {
		if (all->v[i].found_pid && !all->v[i].listed && !all->v[i].active)
			all->v[i] = all->v[--all->n];
		else
			i++;
	}
}

static void scan(struct iho_migrations *m, struct monitors *all)
{
	DIR *d = opendir(m->proc);
	char *buf = malloc(CMDLINE_MAX);
	struct dirent *e;

	for (size_t i = 0; i < all->n; i++)
		all->v[i].listed = false;
	while (d && buf && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			scan_process(m, all, atoi(e->d_name), buf);
	if (d)
		closedir(d);
	free(buf);
	drop_gone(all);
	if (!all->n)
		iho_migrations_say(m, &m->qmp, false, "no QEMU with a monitor is found");
	all->scan_due_ms = iho_monotonic_ms() + SCAN_MS;
}

static int until_next(const struct iho_migrations *m, const struct monitors *all)
{
	int64_t next = iho_monotonic_ms() + SCAN_MS;

	if (m->qmp_auto && all->scan_due_ms < next)
		next = all->scan_due_ms;
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].due_ms < next)
			next = all->v[i].due_ms;
	next -= iho_monotonic_ms();
	return next > 0 ? next : 0;
}

void iho_qmp_watch(struct iho_migrations *m)
{
	struct monitors *all = calloc(1, sizeof(*all));

	if (!all) {
		iho_migrations_say(m, &m->qmp, false, "out of memory");
		return;
	}
	for (size_t i = 0; i < m->n_qmp; i++)
		add_monitor(all, m->qmp_paths[i], 0);
	do {
		if (m->qmp_auto && all->scan_due_ms <= iho_monotonic_ms())
			scan(m, all);
		for (size_t i = 0; i < all->n && !iho_migrations_stopping(m); i++)
			if (all->v[i].due_ms <= iho_monotonic_ms())
				look(m, &all->v[i]);
	} while (!iho_migrations_wait(m, until_next(m, all)));
	free(all);
}
