// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Migrations as libvirt sees them, over a read-only connection: job statistics, once a second and
 * twice while a migration goes on, and the events that tell what lies between two looks.
 *
 * libvirt.so is loaded when libvirt's socket is there, and not linked: it brings some twenty other
 * libraries, which a host without libvirt need not have, and a host whose libvirt nobody started
 * need not load. Its headers type the table of functions, so the compiler checks each call.
 *
 * libvirt's calls wait for its daemon. Keepalive messages end most such waits, but not one for a
 * connection to a daemon that stands still; then this thread stands still with it, and nobody else.
 * libvirt's event loop is one for the process: so this is the only thread that runs it, and a
 * process has one watcher.
 */
#include <dlfcn.h>
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migration_internal.h"
#include "vmname.h"

#define DOMAINS	     1024
#define TICK_MS	     200 /* so often the loop looks at what is due */
#define IDLE_MS	     1000
#define ACTIVE_MS    500
#define LIST_MS	     2000
#define GRACE_MS     1000 /* an end without a reason waits for its reason so long */
#define KEEPALIVE_S  5
#define KEEPALIVES   3
#define FIRST_WAIT_MS 1000
#define MOST_WAIT_MS 30000

#define FUNCTIONS(X)                                                                               \
	X(virInitialize)                                                                           \
	X(virSetErrorFunc)                                                                         \
	X(virGetLastErrorMessage)                                                                  \
	X(virEventRegisterDefaultImpl)                                                             \
	X(virEventRunDefaultImpl)                                                                  \
	X(virEventAddTimeout)                                                                      \
	X(virConnectOpenReadOnly)                                                                  \
	X(virConnectClose)                                                                         \
	X(virConnectIsAlive)                                                                       \
	X(virConnectSetKeepAlive)                                                                  \
	X(virConnectListAllDomains)                                                                \
	X(virConnectDomainEventRegisterAny)                                                        \
	X(virConnectDomainEventDeregisterAny)                                                      \
	X(virDomainRef)                                                                            \
	X(virDomainFree)                                                                           \
	X(virDomainGetName)                                                                        \
	X(virDomainGetState)                                                                       \
	X(virDomainGetJobStats)                                                                    \
	X(virDomainMigrateGetMaxDowntime)                                                          \
	X(virTypedParamsFree)

struct functions {
#define MEMBER(name) __typeof__(&name) name;
	FUNCTIONS(MEMBER)
#undef MEMBER
};

struct domain {
	virDomainPtr dom;
	char name[64];
	bool listed;
	bool active; /* a migration of it goes on */
	int64_t due_ms;
	int64_t end_ms; /* 0, or when it has ended for good */
	struct iho_migration_seen seen; /* the last that was seen of it */
};

struct watch {
	struct iho_migrations *m;
	struct functions vir;
	void *library;
	bool loop; /* the event loop is ours */
	virConnectPtr conn;
	struct domain v[DOMAINS];
	size_t n;
	size_t left_out; /* domains that have no room */
	int64_t list_due_ms;
};

/* ------------------------------------------------------------------------------------ library */

static void no_message(void *arg, virErrorPtr error)
{
}

static void tick(int timer, void *arg)
{
}

/* libvirt's own way back is not supported by it: once loaded it stays. */
static const char *load(struct watch *w)
{
	if (w->loop)
		return NULL;
	if (!w->library)
		w->library = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!w->library)
		return "libvirt runs here, but its library is not installed (libvirt0)";
#define LOAD(name)                                                                                 \
	*(void **)&w->vir.name = dlsym(w->library, #name);                                         \
	if (!w->vir.name)                                                                          \
		return "the library of libvirt is too old: it lacks " #name;
	FUNCTIONS(LOAD)
#undef LOAD
	w->vir.virSetErrorFunc(NULL, no_message);
	if (w->vir.virInitialize() < 0 || w->vir.virEventRegisterDefaultImpl() < 0 ||
	    w->vir.virEventAddTimeout(TICK_MS, tick, NULL, NULL) < 0)
		return "the library of libvirt does not start";
	w->loop = true;
	return NULL;
}

/* ------------------------------------------------------------------------------------ numbers */

/* How libvirt writes it: a count stays one, the others become a double, in seconds and shares. */
enum kind { COUNT, MILLISECONDS, PERCENT, REAL };

static const struct {
	const char *name;
	enum kind kind;
	size_t at;
} params_table[] = {
#define NUMBER(member) offsetof(struct iho_migration_numbers, member)
	{ VIR_DOMAIN_JOB_TIME_ELAPSED, MILLISECONDS, NUMBER(elapsed_s) },
	{ VIR_DOMAIN_JOB_MEMORY_TOTAL, COUNT, NUMBER(total_bytes) },
	{ VIR_DOMAIN_JOB_MEMORY_PROCESSED, COUNT, NUMBER(transferred_bytes) },
	{ VIR_DOMAIN_JOB_MEMORY_REMAINING, COUNT, NUMBER(remaining_bytes) },
	{ VIR_DOMAIN_JOB_MEMORY_NORMAL, COUNT, NUMBER(normal_pages) },
	{ VIR_DOMAIN_JOB_MEMORY_CONSTANT, COUNT, NUMBER(zero_pages) },
	{ VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE, COUNT, NUMBER(page_bytes) },
	{ VIR_DOMAIN_JOB_MEMORY_ITERATION, COUNT, NUMBER(iterations) },
	{ VIR_DOMAIN_JOB_MEMORY_BPS, REAL, NUMBER(bandwidth_bytes_per_s) },
	{ VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE, REAL, NUMBER(dirty_bytes_per_s) },
	{ VIR_DOMAIN_JOB_MEMORY_POSTCOPY_REQS, COUNT, NUMBER(postcopy_requests) },
	{ VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE, PERCENT, NUMBER(throttle_ratio) },
#undef NUMBER
};

static double number_of(const virTypedParameter *p)
{
	switch (p->type) {
	case VIR_TYPED_PARAM_INT:
		return p->value.i;
	case VIR_TYPED_PARAM_UINT:
		return p->value.ui;
	case VIR_TYPED_PARAM_LLONG:
		return p->value.l;
	case VIR_TYPED_PARAM_ULLONG:
		return p->value.ul;
	case VIR_TYPED_PARAM_BOOLEAN:
		return p->value.b;
	case VIR_TYPED_PARAM_DOUBLE:
		return p->value.d;
	default:
		return -1;
	}
}

static const virTypedParameter *find(const virTypedParameter *p, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(p[i].field, name))
			return &p[i];
	return NULL;
}

static double get(const virTypedParameter *p, int n, const char *name)
{
	const virTypedParameter *v = find(p, n, name);

	return v ? number_of(v) : -1;
}

static void put_number(void *at, enum kind kind, double v)
{
	int64_t count = (int64_t)v;

	if (kind == MILLISECONDS)
		v /= 1000;
	else if (kind == PERCENT)
		v /= 100;
	if (kind == COUNT)
		memcpy(at, &count, sizeof(count));
	else
		memcpy(at, &v, sizeof(v));
}

static void take_numbers(struct iho_migration_numbers *to, const virTypedParameter *p, int n,
			 bool ended)
{
	double downtime = get(p, n, VIR_DOMAIN_JOB_DOWNTIME);

	for (size_t i = 0; i < sizeof(params_table) / sizeof(params_table[0]); i++) {
		double v = get(p, n, params_table[i].name);

		if (v >= 0 && v <= 1e18)
			put_number((char *)to + params_table[i].at, params_table[i].kind, v);
	}
	if (to->dirty_bytes_per_s >= 0) /* it was pages */
		to->dirty_bytes_per_s = to->page_bytes >= 0
						? to->dirty_bytes_per_s * to->page_bytes
						: -1;
	if (downtime >= 0 && ended)
		to->downtime_actual_s = downtime / 1000;
	else if (downtime >= 0)
		to->downtime_expected_s = downtime / 1000;
	/* Before QEMU was asked, libvirt's figures are all 0. */
	if (to->total_bytes == 0)
		to->total_bytes = to->transferred_bytes = to->remaining_bytes = to->iterations =
			-1;
}

static void take_error(struct iho_migration_seen *s, const virTypedParameter *p, int n)
{
	const virTypedParameter *v = find(p, n, VIR_DOMAIN_JOB_ERRMSG);

	if (v && v->type == VIR_TYPED_PARAM_STRING)
		iho_clean_text(s->error, sizeof(s->error), v->value.s);
}

/* -1: this job is no migration. */
static int role_of(const virTypedParameter *p, int n)
{
	int operation = (int)get(p, n, VIR_DOMAIN_JOB_OPERATION);

	if (operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)
		return IHO_MIGRATION_SOURCE;
	if (operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN)
		return IHO_MIGRATION_DESTINATION;
	return -1;
}

/* ------------------------------------------------------------------------------------ domains */

static struct domain *find_domain(struct watch *w, virDomainPtr dom)
{
	char name[64];

	iho_clean_text(name, sizeof(name), w->vir.virDomainGetName(dom));
	for (size_t i = 0; i < w->n; i++)
		if (!strcmp(w->v[i].name, name))
			return &w->v[i];
	return NULL;
}

/* libvirt writes each VMM's pid beside its sockets. */
static pid_t read_pid(const char *run, const char *name)
{
	char path[512];
	int pid = 0;
	FILE *f;

	if (strchr(name, '/'))
		return 0;
	snprintf(path, sizeof(path), "%s/%s.pid", run, name);
	f = fopen(path, "re");
	if (f && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid > 0 ? pid : 0;
}

/* Keeps a reference of its own to the domain. */
static struct domain *know_domain(struct watch *w, virDomainPtr dom)
{
	struct domain *d = find_domain(w, dom);

	if (!d && w->n == DOMAINS) {
		w->left_out++;
		return NULL;
	}
	if (!d) {
		d = &w->v[w->n++];
		memset(d, 0, sizeof(*d));
		iho_clean_text(d->name, sizeof(d->name), w->vir.virDomainGetName(dom));
		iho_migration_seen_init(&d->seen);
	}
	if (d->dom != dom) {
		w->vir.virDomainRef(dom);
		if (d->dom)
			w->vir.virDomainFree(d->dom);
		d->dom = dom;
	}
	d->listed = true;
	return d;
}

static void see(struct watch *w, struct domain *d)
{
	struct iho_migration_seen *s = &d->seen;

	s->time_s = iho_wall_clock_s();
	s->via = IHO_MIGRATION_LIBVIRT;
	memcpy(s->vm, d->name, sizeof(s->vm));
	iho_migrations_see(w->m, s);
	if (s->phase >= IHO_MIGRATION_COMPLETED) {
		d->active = false;
		d->end_ms = 0;
	}
}

static void begin(struct watch *w, struct domain *d, enum iho_migration_role role)
{
	int64_t due = d->due_ms;
	unsigned long long limit_ms;

	if (d->active && d->seen.role == role)
		return;
	iho_migration_seen_init(&d->seen);
	d->seen.role = role;
	d->seen.pid = read_pid(w->m->libvirt_run, d->name);
	d->seen.phase = IHO_MIGRATION_SETUP;
	d->active = true;
	d->end_ms = 0;
	d->due_ms = due;
	if (role == IHO_MIGRATION_SOURCE &&
	    !w->vir.virDomainMigrateGetMaxDowntime(d->dom, &limit_ms, 0))
		d->seen.n.downtime_limit_s = limit_ms / 1e3;
}

/* What the domain's state says about the phase: while memory is copied, the source runs. */
static enum iho_migration_phase phase_of(struct watch *w, struct domain *d)
{
	enum iho_migration_phase was = d->seen.phase;
	int state, reason;

	if (w->vir.virDomainGetState(d->dom, &state, &reason, 0) < 0)
		return was;
	if ((state == VIR_DOMAIN_PAUSED && (reason == VIR_DOMAIN_PAUSED_POSTCOPY ||
					    reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)) ||
	    (state == VIR_DOMAIN_RUNNING && (reason == VIR_DOMAIN_RUNNING_POSTCOPY ||
					     reason == VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)))
		return IHO_MIGRATION_POSTCOPY;
	if (d->seen.role == IHO_MIGRATION_SOURCE && state == VIR_DOMAIN_PAUSED &&
	    reason == VIR_DOMAIN_PAUSED_MIGRATION)
		return IHO_MIGRATION_SWITCHOVER;
	/* The destination is not told how far its source is. */
	if (d->seen.role == IHO_MIGRATION_DESTINATION || d->seen.n.total_bytes >= 0)
		return IHO_MIGRATION_PRECOPY;
	return IHO_MIGRATION_SETUP;
}

static enum iho_migration_phase end_phase(int type)
{
	if (type == VIR_DOMAIN_JOB_COMPLETED)
		return IHO_MIGRATION_COMPLETED;
	return type == VIR_DOMAIN_JOB_CANCELLED ? IHO_MIGRATION_CANCELLED : IHO_MIGRATION_FAILED;
}

/* The job is over, and no event said how: libvirt keeps the figures of the last one. */
static void finish(struct watch *w, struct domain *d)
{
	virTypedParameterPtr p = NULL;
	int type = VIR_DOMAIN_JOB_NONE, n = 0;
	unsigned int flags = VIR_DOMAIN_JOB_STATS_COMPLETED | VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED;

	if (!w->vir.virDomainGetJobStats(d->dom, &type, &p, &n, flags) &&
	    type != VIR_DOMAIN_JOB_NONE && role_of(p, n) == (int)d->seen.role) {
		d->seen.phase = end_phase(type);
		take_numbers(&d->seen.n, p, n, true);
		take_error(&d->seen, p, n);
	} else if (d->seen.phase < IHO_MIGRATION_COMPLETED) {
		d->seen.phase = IHO_MIGRATION_FAILED;
		if (!d->seen.error[0])
			snprintf(d->seen.error, sizeof(d->seen.error),
				 "it failed or was cancelled: libvirt did not say which");
	}
	w->vir.virTypedParamsFree(p, n);
	see(w, d);
}

/*
 * libvirt has figures of a migration only on its source. A VM that waits for its memory is paused,
 * for this reason; its end is told by events.
 */
static bool is_incoming(struct watch *w, struct domain *d)
{
	int state, reason;

	if (w->vir.virDomainGetState(d->dom, &state, &reason, 0) < 0)
		return false;
	return (state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION) ||
	       (state == VIR_DOMAIN_RUNNING && reason == VIR_DOMAIN_RUNNING_POSTCOPY);
}

static void look(struct watch *w, struct domain *d)
{
	virTypedParameterPtr p = NULL;
	int type = VIR_DOMAIN_JOB_NONE, n = 0, role;

	d->due_ms = iho_monotonic_ms() + (d->active ? ACTIVE_MS : IDLE_MS);
	if (d->end_ms) {
		if (d->end_ms <= iho_monotonic_ms())
			finish(w, d);
		return;
	}
	if (!w->vir.virDomainGetJobStats(d->dom, &type, &p, &n, 0)) {
		role = role_of(p, n);
	} else {
		role = is_incoming(w, d) ? (int)IHO_MIGRATION_DESTINATION : -1;
		type = VIR_DOMAIN_JOB_UNBOUNDED;
	}
	if (role >= 0 && (type == VIR_DOMAIN_JOB_BOUNDED || type == VIR_DOMAIN_JOB_UNBOUNDED)) {
		begin(w, d, role);
		take_numbers(&d->seen.n, p, n, false);
		d->seen.phase = phase_of(w, d);
		see(w, d);
		d->due_ms = iho_monotonic_ms() + ACTIVE_MS;
	} else if (d->active) {
		if (role >= 0 && type != VIR_DOMAIN_JOB_NONE)
			d->seen.phase = end_phase(type);
		d->end_ms = iho_monotonic_ms() + GRACE_MS;
	}
	w->vir.virTypedParamsFree(p, n);
}

/* ------------------------------------------------------------------------------------- events */

/* They come from within the loop: note what is new, and ask later. */
static void on_iteration(virConnectPtr conn, virDomainPtr dom, int iteration, void *arg)
{
	struct domain *d = know_domain(arg, dom);

	if (d)
		d->due_ms = 0;
}

static void on_completed(virConnectPtr conn, virDomainPtr dom, virTypedParameterPtr p, int n,
			 void *arg)
{
	struct watch *w = arg;
	struct domain *d = know_domain(w, dom);
	int role = role_of(p, n), type;
	double success = get(p, n, VIR_DOMAIN_JOB_SUCCESS);

	if (!d || role < 0)
		return;
	if (!d->active || (int)d->seen.role != role) {
		iho_migration_seen_init(&d->seen);
		d->seen.role = role;
		d->seen.pid = read_pid(w->m->libvirt_run, d->name);
	}
	type = success == 0 ? VIR_DOMAIN_JOB_FAILED : VIR_DOMAIN_JOB_COMPLETED;
	d->seen.phase = end_phase(type);
	take_numbers(&d->seen.n, p, n, true);
	take_error(&d->seen, p, n);
	see(w, d);
}

static void phase_event(struct watch *w, struct domain *d, enum iho_migration_phase phase)
{
	enum iho_migration_phase was = d->seen.phase;

	if (!d->active)
		return;
	d->seen.phase = phase;
	see(w, d);
	/* An event may come after a look that found the end already. */
	if (d->end_ms && was >= IHO_MIGRATION_COMPLETED)
		d->seen.phase = was;
	d->due_ms = 0;
}

static void stopped(struct domain *d, int detail)
{
	/* What ended well may end here a moment later, before we told of it. */
	if (!d->active || (d->end_ms && d->seen.phase >= IHO_MIGRATION_COMPLETED))
		return;
	if (detail == VIR_DOMAIN_EVENT_STOPPED_MIGRATED) {
		d->seen.phase = IHO_MIGRATION_COMPLETED;
	} else {
		d->seen.phase = IHO_MIGRATION_FAILED;
		snprintf(d->seen.error, sizeof(d->seen.error), "the VM ended here");
	}
	d->end_ms = iho_monotonic_ms() + GRACE_MS;
}

/* What a destination goes through: it is started, and then it runs. */
static bool destination_event(struct watch *w, struct domain *d, int event, int detail)
{
	if (event == VIR_DOMAIN_EVENT_STARTED && detail == VIR_DOMAIN_EVENT_STARTED_MIGRATED) {
		begin(w, d, IHO_MIGRATION_DESTINATION);
		see(w, d);
		return true;
	}
	if (event == VIR_DOMAIN_EVENT_RESUMED && detail == VIR_DOMAIN_EVENT_RESUMED_MIGRATED &&
	    d->active && d->seen.role == IHO_MIGRATION_DESTINATION) {
		d->seen.phase = IHO_MIGRATION_COMPLETED;
		d->end_ms = iho_monotonic_ms() + GRACE_MS;
		return true;
	}
	return false;
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *arg)
{
	struct watch *w = arg;
	struct domain *d = know_domain(w, dom);

	if (!d)
		return 0;
	d->due_ms = 0;
	if (destination_event(w, d, event, detail))
		return 0;
	if (event == VIR_DOMAIN_EVENT_STOPPED)
		stopped(d, detail);
	else if ((event == VIR_DOMAIN_EVENT_SUSPENDED &&
		  detail == VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY) ||
		 (event == VIR_DOMAIN_EVENT_RESUMED && detail == VIR_DOMAIN_EVENT_RESUMED_POSTCOPY))
		phase_event(w, d, IHO_MIGRATION_POSTCOPY);
	else if (event == VIR_DOMAIN_EVENT_SUSPENDED &&
		 detail == VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED &&
		 d->seen.role == IHO_MIGRATION_SOURCE)
		phase_event(w, d, IHO_MIGRATION_SWITCHOVER);
	return 0;
}

/* ------------------------------------------------------------------------------------ session */

/* It migrated when the connection broke, and is not there any more. */
static void lost(struct watch *w, struct domain *d)
{
	d->seen.phase = IHO_MIGRATION_FAILED;
	snprintf(d->seen.error, sizeof(d->seen.error),
		 "libvirt was away when it ended: the VM is not here any more");
	see(w, d);
	d->listed = false;
}

static void list_domains(struct watch *w)
{
	virDomainPtr *v = NULL;
	int n;

	w->list_due_ms = iho_monotonic_ms() + LIST_MS;
	n = w->vir.virConnectListAllDomains(w->conn, &v, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
	if (n < 0)
		return;
	w->left_out = 0;
	for (size_t i = 0; i < w->n; i++)
		w->v[i].listed = w->v[i].active;
	for (int i = 0; i < n; i++) {
		know_domain(w, v[i]);
		w->vir.virDomainFree(v[i]);
	}
	free(v);
	for (size_t i = 0; i < w->n;) {
		if (w->v[i].active && !w->v[i].dom)
			lost(w, &w->v[i]);
		if (w->v[i].listed) {
			i++;
			continue;
		}
		if (w->v[i].dom)
			w->vir.virDomainFree(w->v[i].dom);
		w->v[i] = w->v[--w->n];
	}
	if (w->left_out)
		iho_migrations_say(w->m, &w->m->libvirt, true,
				   "libvirt answers; %zu domains are too many to be watched",
				   w->left_out);
	else
		iho_migrations_say(w->m, &w->m->libvirt, true, "libvirt answers: %d domains run",
				   n);
}

static void look_at_all(struct watch *w)
{
	if (w->list_due_ms <= iho_monotonic_ms())
		list_domains(w);
	for (size_t i = 0; i < w->n && !iho_migrations_stopping(w->m); i++) {
		if (w->v[i].due_ms > iho_monotonic_ms() || !w->v[i].dom)
			continue;
		look(w, &w->v[i]);
		iho_migrations_heard(w->m);
	}
}

static const struct {
	int id;
	virConnectDomainEventGenericCallback fn;
} events[] = {
	{ VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle) },
	{ VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, VIR_DOMAIN_EVENT_CALLBACK(on_iteration) },
	{ VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, VIR_DOMAIN_EVENT_CALLBACK(on_completed) },
};
#define EVENTS (sizeof(events) / sizeof(events[0]))

/* Returns when the connection is gone, or it is time to end. */
static void session(struct watch *w, const char *uri)
{
	int callback[EVENTS];

	w->conn = w->vir.virConnectOpenReadOnly(uri);
	if (!w->conn) {
		iho_migrations_say(w->m, &w->m->libvirt, false, "libvirt does not answer: %.140s",
				   w->vir.virGetLastErrorMessage());
		return;
	}
	w->vir.virConnectSetKeepAlive(w->conn, KEEPALIVE_S, KEEPALIVES);
	for (size_t i = 0; i < EVENTS; i++)
		callback[i] = w->vir.virConnectDomainEventRegisterAny(w->conn, NULL, events[i].id,
								      events[i].fn, w, NULL);
	w->list_due_ms = 0;
	while (!iho_migrations_stopping(w->m) && w->vir.virConnectIsAlive(w->conn) == 1) {
		iho_migrations_heard(w->m);
		look_at_all(w);
		if (w->vir.virEventRunDefaultImpl() < 0)
			break;
	}
	for (size_t i = 0; i < EVENTS; i++)
		if (callback[i] >= 0)
			w->vir.virConnectDomainEventDeregisterAny(w->conn, callback[i]);
	/* What migrates is remembered: the next connection tells how it went on. */
	for (size_t i = 0; i < w->n; i++) {
		if (w->v[i].dom)
			w->vir.virDomainFree(w->v[i].dom);
		w->v[i].dom = NULL;
	}
	w->vir.virConnectClose(w->conn);
	w->conn = NULL;
	iho_migrations_say(w->m, &w->m->libvirt, false, "the connection to libvirt is lost");
}

/* The monolithic daemon's socket, or the modular one's. */
static const char *socket_path(const struct iho_migrations *m)
{
	static const char *const usual[] = { "/run/libvirt/virtqemud-sock-ro",
					     "/run/libvirt/libvirt-sock-ro" };

	if (m->libvirt_socket)
		return access(m->libvirt_socket, F_OK) ? NULL : m->libvirt_socket;
	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (!access(usual[i], F_OK))
			return usual[i];
	return NULL;
}

static void try_session(struct watch *w)
{
	const char *path = socket_path(w->m), *why;
	char uri[512];

	if (!path) {
		path = w->m->libvirt_socket ? w->m->libvirt_socket : "/run/libvirt/libvirt-sock-ro";
		iho_migrations_say(w->m, &w->m->libvirt, false,
				   "libvirt does not run here: no %.120s", path);
		return;
	}
	why = load(w);
	if (why) {
		iho_migrations_say(w->m, &w->m->libvirt, false, "%s", why);
		return;
	}
	snprintf(uri, sizeof(uri), "qemu+unix:///system?socket=%s", path);
	iho_migrations_say(w->m, &w->m->libvirt, false, "waits for libvirt to answer at %.120s",
			   path);
	session(w, uri);
}

void iho_libvirt_watch(struct iho_migrations *m)
{
	struct watch *w = calloc(1, sizeof(*w));
	int wait_ms = FIRST_WAIT_MS;

	if (!w) {
		iho_migrations_say(m, &m->libvirt, false, "out of memory");
		return;
	}
	w->m = m;
	do {
		int64_t began = iho_monotonic_ms();

		try_session(w);
		/* One that lasted was good: begin anew. */
		if (iho_monotonic_ms() - began > MOST_WAIT_MS || !w->library)
			wait_ms = FIRST_WAIT_MS;
		else if (wait_ms < MOST_WAIT_MS)
			wait_ms *= 2;
	} while (!iho_migrations_wait(m, wait_ms));
	free(w);
}
