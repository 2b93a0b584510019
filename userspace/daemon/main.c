// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ihod: hosts the BPF programs once for all readers of a host.
 */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <systemd/sd-daemon.h>

#include "audit.h"
#include "introspect.h"
#include "keeper.h"
#include "launcher.h"
#include "privileges.h"
#include "protocol.h"
#include "server.h"
#include "stats.h"
#include "wire.h"

#ifndef IHO_VERSION
#define IHO_VERSION "unknown"
#endif

#define MAX_CPUS     8192
#define STATS_EVERY  10
#define FRESH_ENOUGH 5000000 /* ns: readers that ask at once share one look */
#define MAX_QMP	     16 /* --qmp may be given so often */

struct options {
	const char *socket;
	const char *group;
	const char *introspection; /* NULL: off */
	const char *audit;
	int cpu; /* -1: any */
	unsigned int max_vcpus;
	bool cost;
	struct iho_migration_options migration;
	const char *qmp[MAX_QMP];
};

struct daemon {
	struct options o;
	struct event_base *base;
	struct event *tick, *term, *intr;
	struct server *server;
	struct introspect *introspect;
	int launcher_socket;
	struct iho_keeper *keeper;
	struct iho_snapshot *snap;
	struct iho_migrations *migrations;
	int stats_socket;
	int fds[IHO_FD_MAX];
	struct iho_features features;
	json_t *names;
	uint64_t started_ns;
	bool failed;
};

enum {
	OPT_SOCKET = 256,
	OPT_GROUP,
	OPT_INTROSPECTION,
	OPT_AUDIT,
	OPT_CPU,
	OPT_MAX_VCPUS,
	OPT_NO_COST,
	OPT_LIBVIRT,
	OPT_QMP,
};

static const struct option long_options[] = {
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "group", required_argument, NULL, OPT_GROUP },
	{ "introspection", required_argument, NULL, OPT_INTROSPECTION },
	{ "audit", required_argument, NULL, OPT_AUDIT },
	{ "cpu", required_argument, NULL, OPT_CPU },
	{ "max-vcpus", required_argument, NULL, OPT_MAX_VCPUS },
	{ "no-cost", no_argument, NULL, OPT_NO_COST },
	{ "libvirt", required_argument, NULL, OPT_LIBVIRT },
	{ "qmp", required_argument, NULL, OPT_QMP },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
	"Usage: ihod [OPTION]...\n"
	"Collect where every moment of this host's vCPUs goes, once for all readers: iho-top,\n"
	"iho-exporter. Stays in the foreground.\n"
	"\n"
	"      --socket PATH    where readers ask (default " IHO_SOCKET_PATH ")\n"
	"      --group NAME     whose members may ask, beside root (default iho)\n"
	"      --introspection GROUP|root\n"
	"                       who may ask about the insides of guests (default: nobody)\n"
	"      --audit PATH     the log of that (default " AUDIT_PATH ")\n"
	"      --cpu N|any      the core to run on (default 0)\n"
	"      --max-vcpus N    room for N vCPUs (1 to 16384; default: by the host's size)\n"
	"      --no-cost        do not measure the BPF programs' own cost\n"
	"      --libvirt SOCKET libvirt's read-only socket, for migrations; off: do not ask it\n"
	"      --qmp PATH|auto  a QEMU monitor (QMP) that may be asked about migrations, or\n"
	"                       those of all QEMUs without libvirt; may be repeated\n"
	"  -h, --help\n"
	"  -V, --version\n"
	"\n"
	"Exit status: 0, 1 on failure, 2 on wrong usage. Manual: man ihod\n";

/* With the prefix that the journal takes for a priority. */
__attribute__((format(printf, 2, 3)))
static void say(const char *priority, const char *fmt, ...)
{
	bool journal = getenv("JOURNAL_STREAM");
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%sihod: ", journal ? priority : "");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

__attribute__((format(printf, 1, 2)))
static int wrong(const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say(SD_ERR, "%s", text);
	return 2;
}

static int parse_number(const char *s, long min, long max, long *v)
{
	char *end;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	errno = 0;
	*v = strtol(s, &end, 10);
	return errno || *end || *v < min || *v > max ? -EINVAL : 0;
}

/* -1: go on; else the exit status. */
static int parse_option(struct options *o, int c, char **argv)
{
	long n;

	switch (c) {
	case OPT_SOCKET:
		o->socket = optarg;
		return *optarg == '/' ? -1 : wrong("--socket wants an absolute path");
	case OPT_GROUP:
		o->group = optarg;
		return -1;
	case OPT_INTROSPECTION:
		o->introspection = optarg;
		return -1;
	case OPT_AUDIT:
		o->audit = optarg;
		return *optarg == '/' ? -1 : wrong("--audit wants an absolute path");
	case OPT_CPU:
		if (!strcmp(optarg, "any")) {
			o->cpu = -1;
			return -1;
		}
		if (parse_number(optarg, 0, MAX_CPUS - 1, &n))
			return wrong("\"%s\" is not the number of a CPU", optarg);
		o->cpu = n;
		return -1;
	case OPT_MAX_VCPUS:
		if (parse_number(optarg, 1, 16384, &n))
			return wrong("\"%s\" is not a number of vCPUs from 1 to 16384", optarg);
		o->max_vcpus = n;
		return -1;
	case OPT_NO_COST:
		o->cost = false;
		return -1;
	case OPT_LIBVIRT:
		o->migration.libvirt_socket = optarg;
		return -1;
	case OPT_QMP:
		if (o->migration.n_qmp == MAX_QMP)
			return wrong("--qmp at most %d times", MAX_QMP);
		o->qmp[o->migration.n_qmp++] = optarg;
		return -1;
	case 'h':
		fputs(usage, stdout);
		return fflush(stdout) ? 1 : 0;
	case 'V':
		printf("ihod %s\n", IHO_VERSION);
		return fflush(stdout) ? 1 : 0;
	case ':':
		return wrong("option \"%s\" wants a value", argv[optind - 1]);
	default:
		return wrong("unknown option \"%s\"; ihod --help lists them", argv[optind - 1]);
	}
}

static int parse_options(struct options *o, int argc, char **argv)
{
	int c, r;

	*o = (struct options){
		.socket = IHO_SOCKET_PATH, .audit = AUDIT_PATH, .cpu = 0, .cost = true
	};
	o->migration.qmp = o->qmp;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":hV", long_options, NULL)) != -1) {
		r = parse_option(o, c, argv);
		if (r >= 0)
			return r;
	}
	if (optind < argc)
		return wrong("unexpected argument \"%s\"; ihod --help lists the options",
			     argv[optind]);
	return -1;
}

/* ---- what readers ask ---- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static int look(struct daemon *d)
{
	int r = iho_snapshot_take(d->snap, iho_keeper_maps(d->keeper));

	return r ? r : iho_keeper_tend(d->keeper, d->snap);
}

static json_t *answer_hello(void *arg, const int **fds)
{
	struct daemon *d = arg;

	return json_pack("{s:i, s:s, s:i, s:o, s:{s:i, s:i, s:i, s:i, s:i}}", "protocol",
			 IHO_PROTOCOL_VERSION, "version", IHO_VERSION, "pid", getpid(), "host",
			 iho_wire_host(iho_keeper_directory(d->keeper)), "limits", "request_bytes",
			 IHO_REQUEST_BYTES, "clients", IHO_CLIENTS, "clients_per_user",
			 IHO_CLIENTS_PER_USER, "requests_per_second", IHO_REQUESTS_PER_S,
			 "idle_seconds", IHO_IDLE_SECONDS);
}

static json_t *answer_names(void *arg, const int **fds)
{
	struct daemon *d = arg;

	return json_incref(d->names);
}

static json_t *answer_maps(void *arg, const int **fds)
{
	struct daemon *d = arg;

	*fds = d->fds;
	return iho_wire_maps(iho_keeper_maps(d->keeper));
}

static json_t *answer_directory(void *arg, const int **fds)
{
	struct daemon *d = arg;

	if (d->snap->now_ns + FRESH_ENOUGH < now_ns() && look(d))
		return NULL;
	return iho_wire_directory(iho_keeper_directory(d->keeper), d->snap);
}

static json_t *answer_features(void *arg, const int **fds)
{
	struct daemon *d = arg;

	return iho_wire_features(&d->features);
}

static json_t *answer_migrations(void *arg, const int **fds)
{
	struct daemon *d = arg;
	struct iho_migration_view *v;
	json_t *j;

	if (iho_migrations_get(d->migrations, &v))
		return NULL;
	j = iho_migration_view_to_json(v, IHO_WIRE_SAMPLES);
	iho_migration_view_free(v);
	return j;
}

static json_t *answer_status(void *arg, const int **fds)
{
	struct daemon *d = arg;
	json_t *j = server_status(d->server);

	json_object_set_new(j, "version", json_string(IHO_VERSION));
	json_object_set_new(j, "uptime_seconds",
			    json_real((now_ns() - d->started_ns) / 1000000000.0));
	json_object_set_new(j, "slots", json_integer(d->snap->n_slots));
	json_object_set_new(j, "slots_used", json_integer(d->snap->n_used));
	json_object_set_new(j, "introspection", introspect_status(d->introspect));
	return j;
}

static const struct server_method methods[] = {
	{ "hello", answer_hello },	   { "names", answer_names },
	{ "maps", answer_maps },	   { "directory", answer_directory },
	{ "features", answer_features },   { "migrations", answer_migrations },
	{ "status", answer_status },	   { NULL, NULL },
};

/* ---- life ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	int r = look(d);

	if (r) {
		say(SD_ERR, "cannot keep the slots: %s", strerror(-r));
		d->failed = true;
		event_base_loopbreak(d->base);
	}
	sd_notify(0, "WATCHDOG=1");
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	event_base_loopbreak(d->base);
}

/* The default folder is ours to make, where systemd has not; any other must be there. */
static void make_folder(const char *socket)
{
	if (!strcmp(socket, IHO_SOCKET_PATH))
		mkdir("/run/iho", 0755);
}

/* The default group may be missing on a host without our package; then only root may ask. */
static int find_group(const struct options *o, gid_t *gid, struct iho_error *err)
{
	const struct group *g = getgrnam(o->group ? o->group : "iho");

	*gid = g ? g->gr_gid : (gid_t)-1;
	if (!g && o->group) {
		snprintf(err->text, sizeof(err->text), "there is no group \"%.100s\"", o->group);
		return -ENOENT;
	}
	if (!g)
		say(SD_WARNING, "there is no group iho: only root may ask");
	return 0;
}

/* The log's default folder is ours to make, as the socket's is. */
static int prepare_introspection(struct daemon *d, struct server_options *so,
				 struct iho_error *err)
{
	struct introspect_options io = { .on = d->o.introspection,
					 .group = (gid_t)-1,
					 .audit = d->o.audit,
					 .socket = d->o.socket,
					 .launcher = &d->launcher_socket };
	const struct group *g;
	int r;

	if (io.on && strcmp(d->o.introspection, "root")) {
		g = getgrnam(d->o.introspection);
		if (!g) {
			snprintf(err->text, sizeof(err->text), "there is no group \"%.100s\"",
				 d->o.introspection);
			return -ENOENT;
		}
		io.group = g->gr_gid;
	}
	if (io.on && !strcmp(d->o.audit, AUDIT_PATH))
		mkdir("/var/log/iho", 0700);
	r = introspect_open(&d->introspect, d->base, &io, err);
	so->asks = introspect_asks;
	so->gone = introspect_gone;
	so->drained = introspect_drained;
	so->ask_arg = d->introspect;
	return r;
}

static void share(struct daemon *d)
{
	static const enum iho_map maps[] = {
		[IHO_FD_SLOTS] = IHO_MAP_SLOTS,
		[IHO_FD_CPUS] = IHO_MAP_CPUS,
		[IHO_FD_SHARED] = IHO_MAP_SHARED,
		[IHO_FD_VMS] = IHO_MAP_VMS,
	};

	for (int i = 0; i < IHO_FD_LEDGER; i++)
		d->fds[i] = iho_keeper_share(d->keeper, maps[i]);
	d->fds[IHO_FD_LEDGER] = iho_keeper_ledger_fd(d->keeper);
}

static int collect(struct daemon *d, struct iho_error *err)
{
	struct iho_keeper_options ko = {
		.max_vcpus = d->o.max_vcpus,
		.stats_every = d->o.cost ? STATS_EVERY : 0,
		.stats_fd = stats_fd,
		.arg = &d->stats_socket,
	};
	int r = iho_keeper_open(&d->keeper, &ko, err);

	if (!r)
		r = iho_keeper_features(d->keeper, &d->features, err);
	if (r)
		return r;
	share(d);
	d->names = iho_names_wire(iho_keeper_directory(d->keeper)->names);
	d->snap = iho_snapshot_new(iho_keeper_maps(d->keeper)->n_slots);
	r = d->names && d->snap ? look(d) : -ENOMEM;
	if (r)
		snprintf(err->text, sizeof(err->text), "cannot keep the slots: %s", strerror(-r));
	return r;
}

static int loop(struct daemon *d, struct iho_error *err)
{
	const struct timeval second = { .tv_sec = 1 };

	d->tick = event_new(d->base, -1, EV_PERSIST, on_tick, d);
	d->term = evsignal_new(d->base, SIGTERM, on_signal, d);
	d->intr = evsignal_new(d->base, SIGINT, on_signal, d);
	if (!d->tick || !d->term || !d->intr || event_add(d->tick, &second) ||
	    event_add(d->term, NULL) || event_add(d->intr, NULL)) {
		snprintf(err->text, sizeof(err->text), "out of memory");
		return -ENOMEM;
	}
	sd_notify(0, "READY=1");
	event_base_dispatch(d->base);
	sd_notify(0, "STOPPING=1");
	return d->failed ? -EIO : 0;
}

static void daemon_close(struct daemon *d)
{
	server_close(d->server);
	introspect_close(d->introspect);
	iho_migrations_stop(d->migrations);
	iho_keeper_close(d->keeper);
	iho_snapshot_free(d->snap);
	iho_features_free(&d->features);
	json_decref(d->names);
	if (d->tick)
		event_free(d->tick);
	if (d->term)
		event_free(d->term);
	if (d->intr)
		event_free(d->intr);
	if (d->base)
		event_base_free(d->base);
	if (d->stats_socket >= 0)
		close(d->stats_socket);
	if (d->launcher_socket >= 0)
		close(d->launcher_socket);
	libevent_global_shutdown();
}

/* In this order: the lock before the BPF programs, so that a second ihod costs nobody anything. */
static int run(struct daemon *d)
{
	struct server_options so = { .path = d->o.socket, .methods = methods, .arg = d };
	struct iho_error err = {};
	int r;

	d->started_ns = now_ns();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (d->o.cpu >= 0 && privileges_stay_on(d->o.cpu, &err))
		say(SD_WARNING, "%s", err.text);
	r = find_group(&d->o, &so.group, &err);
	if (!r && d->o.cost)
		r = stats_start(&d->stats_socket, &err);
	if (!r && d->o.introspection)
		r = launcher_start(&d->launcher_socket, &err);
	if (r)
		goto cleanup;
	d->base = event_base_new();
	if (!d->base) {
		snprintf(err.text, sizeof(err.text), "cannot make an event loop");
		r = -ENOMEM;
		goto cleanup;
	}
	make_folder(d->o.socket);
	r = prepare_introspection(d, &so, &err);
	if (!r)
		r = server_open(&d->server, d->base, &so, &err);
	if (!r)
		r = collect(d, &err);
	if (!r)
		r = privileges_drop(&err);
	/* its threads have no more privileges than we have left */
	if (!r)
		r = iho_migrations_start(&d->migrations, &d->o.migration, &err);
	if (!r)
		r = loop(d, &err);

cleanup:
	if (r && err.text[0])
		say(SD_ERR, "%s", err.text);
	daemon_close(d);
	return r ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct daemon d = { .stats_socket = -1, .launcher_socket = -1 };
	int r = parse_options(&d.o, argc, argv);

	return r >= 0 ? r : run(&d);
}
