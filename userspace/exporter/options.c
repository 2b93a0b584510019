// SPDX-License-Identifier: GPL-2.0-or-later
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

#define DEFAULT_LISTEN	     "127.0.0.1:9978"
#define DEFAULT_CONNECTIONS  512
#define DEFAULT_MIN_INTERVAL 0.25
#define DEFAULT_INTERVAL     15
#define DEFAULT_SERIES	     50000
#define STATS_EVERY	     10 /* the collector's own cost: see collector.h */

enum {
	OPT_LISTEN = 256,
	OPT_WEB_CONFIG,
	OPT_CONNECTIONS,
	OPT_MIN_INTERVAL,
	OPT_USER,
	OPT_SOCKET,
	OPT_ONCE,
	OPT_FORMAT,
	OPT_TEXTFILE,
	OPT_INTERVAL,
	OPT_LIST,
	OPT_VM,
	OPT_EXCLUDE,
	OPT_SERIES,
};

static const struct option long_options[] = {
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "web-config", required_argument, NULL, OPT_WEB_CONFIG },
	{ "max-connections", required_argument, NULL, OPT_CONNECTIONS },
	{ "min-interval", required_argument, NULL, OPT_MIN_INTERVAL },
	{ "user", required_argument, NULL, OPT_USER },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "textfile", required_argument, NULL, OPT_TEXTFILE },
	{ "interval", required_argument, NULL, OPT_INTERVAL },
	{ "list-metrics", no_argument, NULL, OPT_LIST },
	{ "vm", required_argument, NULL, OPT_VM },
	{ "exclude", required_argument, NULL, OPT_EXCLUDE },
	{ "max-series", required_argument, NULL, OPT_SERIES },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

const char iho_usage[] =
	"Usage: iho-exporter [OPTION]...\n"
	"Serve what IHO counts about this host's VMs to Prometheus, and a live page to browsers.\n"
	"\n"
	"      --listen ADDR:PORT    where; in numbers, IPv6 in []; up to 8 times\n"
	"                            (default 127.0.0.1:9978)\n"
	"      --web-config FILE     TLS and passwords, in the format of Prometheus's\n"
	"                            exporter-toolkit; SIGHUP reads it again\n"
	"      --max-connections N   at once (8 to 16384; default 512)\n"
	"      --min-interval SEC    scrapes closer together get the same answer (0 to 60;\n"
	"                            default 0.25)\n"
	"      --user NAME           be this user once the sockets are open (from root)\n"
	"      --socket PATH         read from the ihod at PATH, and from nothing else (default:\n"
	"                            from ihod where it runs, else count by itself, as root)\n"
	"      --once                print one scrape and end\n"
	"      --format FORMAT       of --once: prometheus, openmetrics or json;\n"
	"                            of --list-metrics: json\n"
	"      --textfile PATH       do not listen: write PATH, which ends in .prom, for\n"
	"                            node_exporter; with --once one time\n"
	"      --interval SEC        time between two writings of it (0.1 to 3600; default 15)\n"
	"      --vm GLOB             only VMs whose name matches; up to 64 times\n"
	"      --exclude GLOB        but none that matches this; up to 64 times\n"
	"      --max-series N        leave out what would be more (0: no limit; default 50000)\n"
	"      --list-metrics        print all metrics: name, labels, type, meaning\n"
	"  -h, --help\n"
	"  -V, --version\n"
	"\n"
	"Exit status: 0, 1 on failure, 2 on wrong usage. Manual: man iho-exporter\n";

int iho_parse_seconds(const char *s, double min, double max, double *out)
{
	char *end;

	if ((*s < '0' || *s > '9') && *s != '.')
		return -EINVAL;
	errno = 0;
	*out = strtod(s, &end);
	return errno || *end || !isfinite(*out) || *out < min || *out > max ? -EINVAL : 0;
}

int iho_parse_count(const char *s, unsigned long min, unsigned long max, unsigned long *out)
{
	char *end;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoul(s, &end, 10);
	return errno || *end || *out < min || *out > max ? -EINVAL : 0;
}

static int parse_format(struct iho_options *o, const char *s, struct iho_error *err)
{
	static const char *const names[] = {
		[IHO_METRICS_PROMETHEUS] = "prometheus",
		[IHO_METRICS_OPENMETRICS] = "openmetrics",
		[IHO_METRICS_JSON] = "json",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(s, names[i])) {
			o->format = i;
			o->has_format = true;
			return 0;
		}
	}
	return iho_fail(err, -EINVAL, "unknown format \"%.80s\": prometheus, openmetrics or json",
			s);
}

static int add_listen(struct iho_options *o, const char *s, struct iho_error *err)
{
	struct iho_server_options *so = &o->server;
	int r;

	if (so->n_listen == IHO_LISTEN_MAX)
		return iho_fail(err, -EINVAL, "--listen may be given %d times at most",
				IHO_LISTEN_MAX);
	r = iho_address_parse(s, &so->listen[so->n_listen], err);
	so->n_listen += !r;
	return r;
}

static int add_glob(const char **globs, size_t *n, const char *s, struct iho_error *err)
{
	if (*n == IHO_GLOBS)
		return iho_fail(err, -EINVAL, "--vm and --exclude may be given %d times at most",
				IHO_GLOBS);
	if (!*s)
		return iho_fail(err, -EINVAL, "--vm and --exclude want a name or a pattern");
	globs[(*n)++] = s;
	return 0;
}

static int set_action(struct iho_options *o, enum iho_action a, struct iho_error *err)
{
	if (o->action != IHO_ACT_RUN && o->action != a)
		return iho_fail(err, -EINVAL,
				"--list-metrics, --help and --version exclude each other");
	o->action = a;
	return 0;
}

static int set_textfile(struct iho_options *o, const char *s, struct iho_error *err)
{
	size_t n = strlen(s);

	if (n < 6 || strcmp(s + n - 5, ".prom") || s[n - 6] == '/')
		return iho_fail(err, -EINVAL,
				"--textfile \"%.200s\" does not end in .prom: node_exporter would "
				"not read it",
				s);
	o->textfile = s;
	return 0;
}

static int set_count(const char *what, const char *s, unsigned long min, unsigned long max,
		     unsigned long *out, struct iho_error *err)
{
	if (iho_parse_count(s, min, max, out))
		return iho_fail(err, -EINVAL, "--%s \"%.80s\" is not a number from %lu to %lu",
				what, s, min, max);
	return 0;
}

static int set_seconds(const char *what, const char *s, double min, double max, double *out,
		       struct iho_error *err)
{
	if (iho_parse_seconds(s, min, max, out))
		return iho_fail(err, -EINVAL,
				"--%s \"%.80s\" is not a number of seconds from %g to %g", what, s,
				min, max);
	return 0;
}

static int parse_option(struct iho_options *o, int c, struct iho_error *err)
{
	struct iho_metrics_options *m = &o->server.metrics;
	unsigned long n;
	int r;

	switch (c) {
	case OPT_LISTEN:
		return add_listen(o, optarg, err);
	case OPT_WEB_CONFIG:
		o->server.web_config = optarg;
		return 0;
	case OPT_CONNECTIONS:
		r = set_count("max-connections", optarg, 8, IHO_CONNECTIONS_MAX, &n, err);
		o->server.max_connections = n;
		return r;
	case OPT_MIN_INTERVAL:
		return set_seconds("min-interval", optarg, 0, 60, &o->server.min_interval_s, err);
	case OPT_USER:
		o->server.user = optarg;
		return 0;
	case OPT_SOCKET:
		if (!*optarg)
			return iho_fail(err, -EINVAL, "--socket wants a path");
		o->server.collector.socket = optarg;
		o->server.collector.mode = IHO_HOST_DAEMON;
		return 0;
	case OPT_ONCE:
		o->once = true;
		return 0;
	case OPT_FORMAT:
		return parse_format(o, optarg, err);
	case OPT_TEXTFILE:
		return set_textfile(o, optarg, err);
	case OPT_INTERVAL:
		return set_seconds("interval", optarg, 0.1, 3600, &o->interval_s, err);
	case OPT_LIST:
		return set_action(o, IHO_ACT_LIST, err);
	case OPT_VM:
		return add_glob(o->vm, &m->n_vm, optarg, err);
	case OPT_EXCLUDE:
		return add_glob(o->exclude, &m->n_exclude, optarg, err);
	case OPT_SERIES:
		r = set_count("max-series", optarg, 0, 100000000, &n, err);
		m->max_series = n;
		return r;
	case 'h':
		return set_action(o, IHO_ACT_HELP, err);
	default:
		return set_action(o, IHO_ACT_VERSION, err);
	}
}

/* Options that would do nothing are a mistake of whoever gave them. */
static int check(const struct iho_options *o, struct iho_error *err)
{
	bool server = !o->once && !o->textfile && o->action == IHO_ACT_RUN;

	if (!server && (o->server.n_listen || o->server.web_config))
		return iho_fail(err, -EINVAL,
				"--listen and --web-config are for the server, which --once, "
				"--textfile and --list-metrics do not start");
	if (o->textfile && o->has_format)
		return iho_fail(err, -EINVAL,
				"--format is not for --textfile: node_exporter reads "
				"one format only");
	if (o->has_format && !o->once && o->action != IHO_ACT_LIST)
		return iho_fail(err, -EINVAL, "--format is for --once and --list-metrics");
	if (o->action == IHO_ACT_LIST && o->has_format && o->format != IHO_METRICS_JSON)
		return iho_fail(err, -EINVAL, "--list-metrics knows the format json only");
	if (o->interval_s > 0 && (!o->textfile || o->once))
		return iho_fail(err, -EINVAL, "--interval is for --textfile without --once");
	return 0;
}

/* Of ihod, or where there is none, of libvirt at its usual place. */
static const struct iho_migration_options migration;

int iho_options_parse(struct iho_options *o, int argc, char **argv, struct iho_error *err)
{
	int c, r;

	memset(o, 0, sizeof(*o));
	o->server.max_connections = DEFAULT_CONNECTIONS;
	o->server.min_interval_s = DEFAULT_MIN_INTERVAL;
	o->server.metrics.max_series = DEFAULT_SERIES;
	o->server.collector.stats_every = STATS_EVERY;
	o->server.collector.migration = &migration;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":hV", long_options, NULL)) != -1) {
		if (c == ':')
			return iho_fail(err, -EINVAL, "option \"%.80s\" wants a value",
					argv[optind - 1]);
		if (c == '?')
			return iho_fail(err, -EINVAL,
					"unknown option \"%.80s\"; iho-exporter --help lists them",
					argv[optind - 1]);
		r = parse_option(o, c, err);
		if (r)
			return r;
	}
	if (optind < argc)
		return iho_fail(err, -EINVAL,
				"unexpected argument \"%.80s\"; iho-exporter --help lists the "
				"options",
				argv[optind]);
	r = check(o, err);
	if (r)
		return r;
	if (!o->server.n_listen)
		r = add_listen(o, DEFAULT_LISTEN, err);
	if (o->interval_s <= 0)
		o->interval_s = DEFAULT_INTERVAL;
	o->server.metrics.vm = o->vm;
	o->server.metrics.exclude = o->exclude;
	return r;
}
