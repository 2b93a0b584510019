// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Migrations of QEMUs that libvirt does not manage, by query-migrate on their monitors (QMP, QEMU's
 * docs/interop/qmp-spec).
 *
 * A monitor serves one client at a time, and belongs to whoever manages the VM. So each question is
 * a connection of its own that lasts for some milliseconds, a monitor that has a client is left
 * alone, and only monitors that the operator named are asked at all. Nothing is sent before the
 * other side has greeted, and only queries are. What it says may be anything: lines, their number
 * and the time are limited.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "migration_internal.h"
#include "vmname.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MONITORS      64
#define ASK_MS	      1000 /* a whole conversation */
#define IDLE_MS	      1000 /* between two looks at a VM that does not migrate */
#define ACTIVE_MS     500
#define SCAN_MS	      3000
#define BACKOFF_MS    10000
#define MOST_LINES    256 /* events and answers of one conversation */
#define CMDLINE_MAX   (128 * 1024)

/* ------------------------------------------------------------------------------- conversation */

struct reader {
	int fd;
	int64_t deadline_ms;
	size_t start, end; /* what is in buf and not looked at yet */
	char buf[IHO_QMP_LINE_MAX];
};

static int wait_for(int fd, short events, int64_t deadline_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r;

	do {
		int64_t left = deadline_ms - iho_monotonic_ms();

		if (left <= 0)
			return -ETIMEDOUT;
		r = poll(&p, 1, left);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r ? 0 : -ETIMEDOUT;
}

/* The next line, without its end; it lives until the next call. */
static int read_line(struct reader *r, const char **line, size_t *len)
{
	size_t looked = 0;

	for (;;) {
		char *nl = memchr(r->buf + r->start + looked, '\n', r->end - r->start - looked);
		ssize_t n;
		int e;

		if (nl) {
			*line = r->buf + r->start;
			*len = nl - *line;
			r->start += *len + 1;
			return 0;
		}
		memmove(r->buf, r->buf + r->start, r->end - r->start);
		r->end -= r->start;
		r->start = 0;
		looked = r->end;
		if (r->end == sizeof(r->buf))
			return -EMSGSIZE;
		e = wait_for(r->fd, POLLIN, r->deadline_ms);
		if (e)
			return e;
		n = recv(r->fd, r->buf + r->end, sizeof(r->buf) - r->end, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		r->end += n;
	}
}

static int read_object(struct reader *r, json_t **out)
{
	const char *line = NULL;
	size_t len = 0;
	int e = read_line(r, &line, &len);

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

enum { ID_CAPABILITIES, ID_STATUS, ID_MIGRATE, ID_PARAMETERS, ID_COUNT };

static const char queries[] = "{\"execute\":\"qmp_capabilities\",\"id\":0}\n"
			      "{\"execute\":\"query-status\",\"id\":1}\n"
			      "{\"execute\":\"query-migrate\",\"id\":2}\n"
			      "{\"execute\":\"query-migrate-parameters\",\"id\":3}\n";

static int take_answer(const json_t *o, struct iho_qmp_answer *a, unsigned int *got)
{
	const json_t *id = json_object_get(o, "id"), *value = json_object_get(o, "return");
	const char *status;

	if (!json_is_integer(id) || json_integer_value(id) < 0 ||
	    json_integer_value(id) >= ID_COUNT)
		return json_object_get(o, "event") ? 0 : -EPROTO;
	*got |= 1u << json_integer_value(id);
	switch (json_integer_value(id)) {
	case ID_STATUS:
		status = json_string_value(json_object_get(value, "status"));
		a->incoming = status && !strcmp(status, "inmigrate");
		return status ? 0 : -EPROTO;
	case ID_MIGRATE:
		return json_is_object(value) ? take_migration(value, a) : -EPROTO;
	case ID_PARAMETERS: /* old QEMUs do not know it */
		a->seen.n.downtime_limit_s = get_scaled(value, "downtime-limit", 1e-3);
		return 0;
	default:
		return value ? 0 : -EPROTO;
	}
}

static int converse(struct reader *r, struct iho_qmp_answer *a)
{
	unsigned int got = 0;
	json_t *o;
	int e = read_object(r, &o);

	if (e)
		return e;
	e = json_is_object(json_object_get(o, "QMP")) ? 0 : -EPROTO;
	json_decref(o);
	if (!e)
		e = send_all(r->fd, queries, r->deadline_ms);
	for (int lines = 0; !e && got != (1u << ID_COUNT) - 1; lines++) {
		e = lines == MOST_LINES ? -EPROTO : read_object(r, &o);
		if (e)
			return e;
		e = take_answer(o, a, &got);
		json_decref(o);
	}
	return e;
}

int iho_qmp_ask(int fd, int timeout_ms, struct iho_qmp_answer *a)
{
	struct reader *r = malloc(sizeof(*r));
	int e;

	memset(a, 0, sizeof(*a));
	iho_migration_seen_init(&a->seen);
	if (!r)
		return -ENOMEM;
	r->fd = fd;
	r->deadline_ms = iho_monotonic_ms() + timeout_ms;
	r->start = r->end = 0;
	e = converse(r, a);
	free(r);
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
static int open_folder(const char *proc, const struct monitor *mon, const char **base)
{
	const char *slash = strrchr(mon->path, '/');
	char folder[2 * PATH_MAX], from[PATH_MAX] = "";
	int n, fd;

	*base = slash ? slash + 1 : mon->path;
	if (mon->found_pid)
		snprintf(from, sizeof(from), "%s/%d/%s/", proc, (int)mon->found_pid,
			 mon->path[0] == '/' ? "root" : "cwd");
	n = snprintf(folder, sizeof(folder), "%s%.*s", from,
		     slash ? (int)(slash - mon->path) + 1 : 1, slash ? mon->path : ".");
	if (n < 0 || (size_t)n >= sizeof(folder))
		return -ENAMETOOLONG;
	fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Through the folder's descriptor, so that no path is too long for a socket's address. */
static int connect_to(const char *proc, const struct monitor *mon)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *base;
	int n, r = 0, fd, folder = open_folder(proc, mon, &base);

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

static pid_t peer_of(int fd)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) ? 0 : c.pid;
}

static int ask(const struct iho_migrations *m, const struct monitor *mon, struct iho_qmp_answer *a,
	       pid_t *pid)
{
	int fd, r;

	if (has_client(m->proc, mon->found_pid, mon->path))
		return -EBUSY;
	fd = connect_to(m->proc, mon);
	if (fd < 0)
		return fd;
	*pid = peer_of(fd);
	/* What a command line leads to must be the process' own. */
	r = mon->found_pid && *pid != mon->found_pid ? -EPERM : iho_qmp_ask(fd, ASK_MS, a);
	close(fd);
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

/*
 * The value of `key` in QEMU's "a=b,c=d" (",," is a comma). `first`: the word before the first
 * comma is the value, if no key is before it.
 */
static bool option(const char *s, const char *key, bool first, char *buf, size_t len)
{
	size_t keylen = strlen(key);

	for (bool at_first = true; *s; at_first = false) {
		bool match = !strncmp(s, key, keylen) && s[keylen] == '=';
		size_t n = 0;

		if (match)
			s += keylen + 1;
		else if (at_first && first)
			match = true;
		for (; *s; s++) {
			if (*s == ',' && *++s != ',')
				break;
			if (match && n + 1 < len)
				buf[n++] = *s;
		}
		if (match) {
			buf[n] = '\0';
			return n;
		}
	}
	return false;
}

struct cmdline {
	const char *v, *end;
};

static const char *next_arg(const struct cmdline *c, const char *arg)
{
	arg = arg ? arg + strlen(arg) + 1 : c->v;
	return arg < c->end ? arg : NULL;
}

/* QEMU takes its options with one dash or two. */
static bool is_option(const char *arg, const char *name)
{
	return arg[0] == '-' && !strcmp(arg + 1 + (arg[1] == '-'), name);
}

static bool chardev_path(const struct cmdline *c, const char *id, char *path, size_t len)
{
	for (const char *a = next_arg(c, NULL); a; a = next_arg(c, a)) {
		const char *v = is_option(a, "chardev") ? next_arg(c, a) : NULL;
		char text[128];

		if (v && !strncmp(v, "socket,", 7) && option(v, "id", false, text, sizeof(text)) &&
		    !strcmp(text, id))
			return option(v, "path", false, path, len);
	}
	return false;
}

/* The path of the first monitor that speaks QMP over a Unix socket. */
static bool monitor_path(const struct cmdline *c, char *path, size_t len)
{
	for (const char *a = next_arg(c, NULL); a; a = next_arg(c, a)) {
		const char *v = next_arg(c, a);
		char text[128];

		if (!v)
			return false;
		if ((is_option(a, "qmp") || is_option(a, "qmp-pretty")) &&
		    !strncmp(v, "unix:", 5) && option(v + 5, "path", true, path, len))
			return true;
		if (is_option(a, "mon") && option(v, "mode", false, text, sizeof(text)) &&
		    !strcmp(text, "control") && option(v, "chardev", true, text, sizeof(text)) &&
		    chardev_path(c, text, path, len))
			return true;
	}
	return false;
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
	struct cmdline c = { .v = buf };
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
	if (!is_qemu(buf) || !monitor_path(&c, path, sizeof(path)))
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
