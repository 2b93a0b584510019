// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * iho-top: where every moment of a host's vCPUs goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "batch.h"
#include "demo.h"
#include "protocol.h"
#include "settings.h"
#include "tui.h"

#define MAX_QMP 16 /* --qmp may be given so often */

#ifndef IHO_VERSION
#define IHO_VERSION "unknown"
#endif

enum demo_mode { DEMO_NO, DEMO_AUTO, DEMO_ALWAYS };
enum action { ACT_RUN, ACT_FEATURES, ACT_SCHEMA, ACT_HELP, ACT_VERSION };

struct options {
	enum action action;
	enum iho_format format;
	enum demo_mode demo;
	bool batch;
	bool ascii;
	bool standalone;
	double delay_s; /* 0: the settings' */
	unsigned long iterations; /* 0: endless */
	const char *vm; /* name or pid */
	const char *tenant; /* the same, to be looked into */
	struct iho_collector_options collector;
	struct iho_migration_options migration;
	const char *qmp[MAX_QMP];
};

enum {
	OPT_FORMAT = 256,
	OPT_SCHEMA,
	OPT_FEATURES,
	OPT_MAX_VCPUS,
	OPT_DEMO,
	OPT_ASCII,
	OPT_NO_COST,
	OPT_SOCKET,
	OPT_STANDALONE,
	OPT_LIBVIRT,
	OPT_QMP,
	OPT_TENANT
};

static const struct option long_options[] = {
	{ "delay", required_argument, NULL, 'd' },
	{ "iterations", required_argument, NULL, 'n' },
	{ "batch", no_argument, NULL, 'b' },
	{ "vm", required_argument, NULL, 'p' },
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "json-schema", no_argument, NULL, OPT_SCHEMA },
	{ "features", no_argument, NULL, OPT_FEATURES },
	{ "max-vcpus", required_argument, NULL, OPT_MAX_VCPUS },
	{ "no-cost", no_argument, NULL, OPT_NO_COST },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "standalone", no_argument, NULL, OPT_STANDALONE },
	{ "libvirt", required_argument, NULL, OPT_LIBVIRT },
	{ "qmp", required_argument, NULL, OPT_QMP },
	{ "tenant", required_argument, NULL, OPT_TENANT },
	{ "demo", optional_argument, NULL, OPT_DEMO },
	{ "ascii", no_argument, NULL, OPT_ASCII },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
	"Usage: iho-top [OPTION]...\n"
	"Show where every moment of this host's vCPUs goes: guest, KVM, VMM, halted, waiting.\n"
	"\n"
	"  -d, --delay SECONDS     time between two reports, decimals allowed (0.1 to 3600; "
	"default 1)\n"
	"  -n, --iterations N      end after N reports\n"
	"  -b, --batch             print reports instead of opening the screen; the default when\n"
	"                          standard output is no terminal\n"
	"      --format FORMAT     of the batch: table, csv or json (one object a line); implies "
	"-b\n"
	"  -p, --vm NAME|PID       only this VM\n"
	"      --socket PATH       read from the ihod at PATH, and from nothing else (default:\n"
	"                          " IHO_SOCKET_PATH " where ihod runs, else standalone)\n"
	"      --standalone        host the BPF programs here, as root, although ihod may run\n"
	"      --max-vcpus N       standalone: room for N vCPUs (1 to 16384; default: by the\n"
	"                          host's size)\n"
	"      --no-cost           standalone: do not measure the BPF programs' own cost (see "
	"OVERHEAD in\n"
	"                          the manual)\n"
	"      --libvirt SOCKET    libvirt's read-only socket, for migrations; off: do not ask it\n"
	"      --qmp PATH|auto     a QEMU monitor (QMP) that may be asked about migrations, or\n"
	"                          all that no libvirt manages; may be repeated\n"
	"      --tenant NAME|PID   look into this VM: its tasks and the exits they cause, on the\n"
	"                          Tenant screen or in the JSON; through ihod, or as root\n"
	"      --demo[=auto]       start the bundled demo tenant; auto: only where no VM runs\n"
	"      --ascii             no characters beyond ASCII on the screen\n"
	"      --features          say what this host gives and what the lack of it costs; also as "
	"JSON\n"
	"      --json-schema       print the JSON Schema of the reports\n"
	"  -h, --help\n"
	"  -V, --version\n"
	"\n"
	"Exit status: 0, 1 on failure, 2 on wrong usage. Manual: man iho-top\n";

static int wrong(enum iho_format format, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int wrong(enum iho_format format, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	iho_error_print(format, text);
	return 2;
}

static int parse_number(const char *s, unsigned long min, unsigned long max, unsigned long *v)
{
	char *end;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	errno = 0;
	*v = strtoul(s, &end, 10);
	return errno || *end || *v < min || *v > max ? -EINVAL : 0;
}

static int parse_delay(const char *s, double *v)
{
	char *end;

	if ((*s < '0' || *s > '9') && *s != '.')
		return -EINVAL;
	errno = 0;
	*v = strtod(s, &end);
	return errno || *end || !isfinite(*v) || *v < IHO_DELAY_MIN_S || *v > IHO_DELAY_MAX_S
		       ? -EINVAL
		       : 0;
}

/* An error about the options must already speak the format that the options ask for. */
static enum iho_format format_ahead(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--format=json"))
			return IHO_FORMAT_JSON;
		if (!strcmp(argv[i], "--format") && i + 1 < argc && !strcmp(argv[i + 1], "json"))
			return IHO_FORMAT_JSON;
	}
	return IHO_FORMAT_TABLE;
}

static int set_action(struct options *o, enum action a, enum iho_format f)
{
	if (o->action != ACT_RUN && o->action != a)
		return wrong(f,
			     "--features, --json-schema, --help and --version exclude each other");
	o->action = a;
	return 0;
}

static int parse_option(struct options *o, int c, enum iho_format f)
{
	unsigned long n;

	switch (c) {
	case 'd':
		if (parse_delay(optarg, &o->delay_s))
			return wrong(f, "delay \"%s\" is not a number of seconds from 0.1 to 3600",
				     optarg);
		return 0;
	case 'n':
		if (parse_number(optarg, 1, ULONG_MAX, &o->iterations))
			return wrong(f, "\"%s\" is not a number of reports (1 or more)", optarg);
		return 0;
	case 'b':
		o->batch = true;
		return 0;
	case 'p':
		if (!*optarg)
			return wrong(f, "--vm wants a name or a pid");
		o->vm = optarg;
		return 0;
	case OPT_FORMAT:
		if (iho_format_parse(optarg, &o->format))
			return wrong(f, "unknown format \"%s\": table, csv or json", optarg);
		return 0;
	case OPT_MAX_VCPUS:
		if (parse_number(optarg, 1, 16384, &n))
			return wrong(f, "\"%s\" is not a number of vCPUs from 1 to 16384", optarg);
		o->collector.max_vcpus = n;
		o->standalone = true;
		return 0;
	case OPT_LIBVIRT:
		o->migration.libvirt_socket = optarg;
		return 0;
	case OPT_QMP:
		if (o->migration.n_qmp == MAX_QMP)
			return wrong(f, "--qmp at most %d times", MAX_QMP);
		o->qmp[o->migration.n_qmp++] = optarg;
		return 0;
	case OPT_TENANT:
		if (!*optarg)
			return wrong(f, "--tenant wants a name or a pid");
		o->tenant = optarg;
		return 0;
	case OPT_NO_COST:
		o->collector.stats_every = 0;
		o->standalone = true;
		return 0;
	case OPT_SOCKET:
		if (!*optarg)
			return wrong(f, "--socket wants a path");
		o->collector.socket = optarg;
		o->collector.mode = IHO_HOST_DAEMON;
		return 0;
	case OPT_STANDALONE:
		o->standalone = true;
		return 0;
	case OPT_DEMO:
		if (optarg && strcmp(optarg, "auto"))
			return wrong(f, "unknown demo mode \"%s\": only \"auto\"", optarg);
		o->demo = optarg ? DEMO_AUTO : DEMO_ALWAYS;
		return 0;
	case OPT_ASCII:
		o->ascii = true;
		return 0;
	case OPT_FEATURES:
		return set_action(o, ACT_FEATURES, f);
	case OPT_SCHEMA:
		return set_action(o, ACT_SCHEMA, f);
	case 'h':
		return set_action(o, ACT_HELP, f);
	case 'V':
		return set_action(o, ACT_VERSION, f);
	default:
		return -1;
	}
}

static int parse_options(struct options *o, int argc, char **argv)
{
	enum iho_format f = format_ahead(argc, argv);
	int c, r;

	memset(o, 0, sizeof(*o));
	o->collector.stats_every = 10;
	o->migration.qmp = o->qmp;
	o->collector.migration = &o->migration;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":d:n:bp:hV", long_options, NULL)) != -1) {
		if (c == ':')
			return wrong(f, "option \"%s\" wants a value", argv[optind - 1]);
		r = parse_option(o, c, f);
		if (r < 0)
			return wrong(f, "unknown option \"%s\"; iho-top --help lists them",
				     argv[optind - 1]);
		if (r)
			return r;
	}
	if (optind < argc)
		return wrong(f, "unexpected argument \"%s\"; iho-top --help lists the options",
			     argv[optind]);
	if (o->action != ACT_RUN &&
	    (o->batch || o->iterations || o->delay_s || o->vm || o->demo || o->tenant))
		return wrong(f,
			     "--features, --json-schema, --help and --version take no options but "
			     "--format");
	if (o->standalone && o->collector.socket)
		return wrong(f, "--standalone, --max-vcpus and --no-cost are not for an ihod: "
				"leave out --socket");
	if (o->standalone)
		o->collector.mode = IHO_HOST_SELF;
	if (o->demo == DEMO_ALWAYS && o->vm)
		return wrong(f, "--demo and --vm exclude each other");
	if (o->format != IHO_FORMAT_AUTO)
		o->batch = true;
	if (o->ascii && o->batch)
		return wrong(f, "--ascii is for the screen, not for the batch");
	if (!isatty(STDOUT_FILENO))
		o->batch = true;
	if (o->format == IHO_FORMAT_AUTO)
		o->format = IHO_FORMAT_TABLE;
	if (o->tenant && o->batch && o->format != IHO_FORMAT_JSON)
		return wrong(f, "--tenant is for the screen and for --format json");
	return 0;
}

/* A number is a pid if such a process exists, else a name: VMs may well be called "42". */
static void choose_vm(struct options *o)
{
	unsigned long pid;
	char path[32];

	if (!o->vm)
		return;
	if (!parse_number(o->vm, 1, 1UL << 22, &pid)) {
		snprintf(path, sizeof(path), "/proc/%lu", pid);
		if (!access(path, F_OK)) {
			o->collector.vm_pid = pid;
			return;
		}
	}
	o->collector.vm_name = o->vm;
}

/* Waits for the delay or a signal. Returns the signal, or 0. */
static int wait_delay(int sigfd, double delay_s, struct timespec *due)
{
	struct pollfd p = { .fd = sigfd, .events = POLLIN };
	struct signalfd_siginfo info;
	struct timespec now;
	long ms;

	due->tv_sec += (time_t)delay_s;
	due->tv_nsec += (long)((delay_s - (time_t)delay_s) * 1e9);
	if (due->tv_nsec >= 1000000000) {
		due->tv_nsec -= 1000000000;
		due->tv_sec++;
	}
	do {
		clock_gettime(CLOCK_MONOTONIC, &now);
		ms = (due->tv_sec - now.tv_sec) * 1000 +
		     (due->tv_nsec - now.tv_nsec + 999999) / 1000000;
		if (ms <= 0)
			break;
		if (poll(&p, 1, ms > 3600000 ? 3600000 : ms) > 0)
			return read(sigfd, &info, sizeof(info)) == sizeof(info)
				       ? (int)info.ssi_signo
				       : -1;
	} while (1);
	/* Too late by more than a whole delay (stopped, suspended): do not run after lost time. */
	if (ms < -1000 * delay_s)
		*due = now;
	return 0;
}

static bool all_gone(const struct iho_report *r)
{
	for (size_t i = 0; i < r->n_vms; i++)
		if (!r->vms[i].gone)
			return false;
	return true;
}

/*
 * ihod may be restarted under a batch that runs for days: it is waited for, ten times the delay but
 * ten seconds at least.
 */
static int next_report(struct iho_collector *c, const struct iho_report **r, int sigfd,
		       double delay, int *sig, struct iho_error *err)
{
	double left = 10 * (delay > 1 ? delay : 1);
	struct timespec due;
	int ret;

	*sig = 0;
	clock_gettime(CLOCK_MONOTONIC, &due);
	while ((ret = iho_collector_report(c, r, err)) == -ENOTCONN && left > 0 && !*sig) {
		if (left == 10 * (delay > 1 ? delay : 1))
			fprintf(stderr, "iho-top: %s; waiting for it\n", err->text);
		*sig = wait_delay(sigfd, 1, &due);
		left -= 1;
	}
	return *sig ? 0 : ret;
}

static int run_batch(struct iho_collector *c, const struct options *o, struct tenant *tenant,
		     struct iho_error *err)
{
	double delay = o->delay_s > 0 ? o->delay_s : 1;
	const struct iho_report *r;
	struct timespec due;
	sigset_t set;
	int sigfd, ret, sig;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfd = signalfd(-1, &set, SFD_CLOEXEC);
	clock_gettime(CLOCK_MONOTONIC, &due);
	ret = iho_collector_report(c, &r, err);
	if (!ret && o->vm && !r->n_vms) {
		snprintf(err->text, sizeof(err->text), "no VM \"%.100s\" runs on this host", o->vm);
		ret = -ENOENT;
	}
	for (unsigned long i = 0; !ret && (!o->iterations || i < o->iterations); i++) {
		sig = wait_delay(sigfd, delay, &due);
		if (!sig)
			ret = next_report(c, &r, sigfd, delay, &sig, err);
		if (sig || ret)
			break;
		ret = iho_batch_print(stdout, o->format, r, i == 0, tenant);
		if (ret) {
			snprintf(err->text, sizeof(err->text), "cannot write the report: %s",
				 strerror(errno));
		} else if (o->vm && all_gone(r)) {
			snprintf(err->text, sizeof(err->text), "VM \"%.100s\" has ended", o->vm);
			ret = -ESRCH;
		}
	}
	close(sigfd);
	return ret;
}

static int run_screen(struct iho_collector *c, const struct options *o, const char *notice,
		      struct iho_error *err)
{
	struct iho_settings settings;
	struct iho_error broken = {};
	struct iho_tui_options t = { .notice = notice, .settings = &settings };
	int ret;

	if (iho_settings_load(&settings, &broken))
		t.warning = broken.text;
	t.delay_s = o->delay_s;
	t.iterations = o->iterations;
	t.ascii = o->ascii;
	t.tenant = o->tenant;
	ret = iho_tui_run(c, &t, err);
	iho_settings_free(&settings);
	return ret;
}

/*
 * The first look at a VM that was named: is it there at all? Waits a moment for one just
 * started.
 */
static int check_vm(struct iho_collector *c, const struct options *o, struct iho_error *err)
{
	const struct iho_report *r;
	int ret;

	if (!o->vm)
		return 0;
	ret = iho_collector_report(c, &r, err);
	if (!ret && !r->n_vms) {
		snprintf(err->text, sizeof(err->text), "no VM \"%.100s\" runs on this host", o->vm);
		ret = -ENOENT;
	}
	return ret;
}

static int run(struct options *o)
{
	struct iho_collector *c = NULL;
	struct iho_error err = {};
	struct tenant *tenant = NULL;
	char notice[200] = "";
	pid_t demo = 0;
	int ret = 0;

	choose_vm(o);
	if (o->demo == DEMO_ALWAYS || (o->demo == DEMO_AUTO && !o->vm && iho_demo_needed())) {
		ret = iho_demo_start(&demo, &err);
		if (ret)
			goto report;
		snprintf(notice, sizeof(notice),
			 "%s; started the demo tenant: pid %d, 2 vCPUs (it ends with iho-top)",
			 o->demo == DEMO_AUTO ? "no VM runs here" : "as asked", demo);
		if (o->batch)
			fprintf(stderr, "iho-top: %s\n", notice);
	}
	ret = iho_collector_open(&c, &o->collector, &err);
	if (!ret && !o->batch)
		ret = check_vm(c, o, &err);
	if (!ret && o->batch && o->tenant) {
		tenant = tenant_open(o->tenant);
		if (tenant)
			tenant_wait(tenant, 30);
	}
	if (!ret)
		ret = o->batch ? run_batch(c, o, tenant, &err)
			       : run_screen(c, o, notice[0] ? notice : NULL, &err);
	tenant_close(tenant);
	iho_collector_close(c);
	iho_demo_stop(demo);
report:
	if (ret > 0) { /* the screen was ended by this signal; die of it, as the shell expects */
		signal(ret, SIG_DFL);
		raise(ret);
	}
	if (ret < 0)
		iho_error_print(o->format, err.text);
	return ret ? 1 : 0;
}

static int features(const struct options *o)
{
	struct iho_collector_options opts = { .max_vcpus = 1,
					      .mode = o->collector.mode,
					      .socket = o->collector.socket };
	enum iho_format format = o->format;
	struct iho_collector *c = NULL;
	struct iho_features f;
	struct iho_error err = {}, why = {};
	int r;

	/* Loading tells what is really used; without the right to, say what is there at least. */
	if (iho_collector_open(&c, &opts, &why))
		c = NULL;
	r = iho_features_probe(&f, c, &err);
	if (!r) {
		r = iho_features_print(stdout, format, &f);
		if (!c && format == IHO_FORMAT_TABLE)
			fprintf(stderr, "iho-top: not loaded: %s\n", why.text);
		iho_features_free(&f);
	} else {
		iho_error_print(format, err.text);
	}
	iho_collector_close(c);
	return r ? 1 : 0;
}

/* A full disk or a closed pipe must not look like success. */
static int finish_stdout(void)
{
	return fflush(stdout) || ferror(stdout) ? 1 : 0;
}

/*
 * Without this, a closed standard output would be the number of the next file that is opened, a
 * BPF map maybe, and the report would go there. The direction is wrong on purpose: using them
 * fails.
 */
static void hold_standard_files(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) < 0)
			return;
}

int main(int argc, char **argv)
{
	struct options o;
	int r;

	hold_standard_files();
	setlocale(LC_ALL, "");
	setlocale(LC_NUMERIC, "C"); /* numbers are for programs as well: always a decimal point */
	r = parse_options(&o, argc, argv);
	if (r)
		return r;
	switch (o.action) {
	case ACT_HELP:
		fputs(usage, stdout);
		return finish_stdout();
	case ACT_VERSION:
		printf("iho-top %s\n", IHO_VERSION);
		return finish_stdout();
	case ACT_SCHEMA:
		fputs(iho_json_schema(), stdout);
		return finish_stdout();
	case ACT_FEATURES:
		return features(&o);
	default:
		return run(&o);
	}
}
