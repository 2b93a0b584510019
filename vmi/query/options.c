/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define WATCH_MIN_S 0.05
#define WATCH_MAX_S 86400.0

enum {
	OPT_VM = 256,
	OPT_DUMP,
	OPT_MAP,
	OPT_QMP,
	OPT_SOCKET,
	OPT_STANDALONE,
	OPT_FORMAT,
	OPT_ABOUT,
	OPT_TABLES,
	OPT_WATCH,
	OPT_COUNT,
	OPT_PACK,
	OPT_ONCE,
	OPT_REFERENCE,
};

static const struct option long_options[] = {
	{ "vm", required_argument, NULL, OPT_VM },
	{ "dump", required_argument, NULL, OPT_DUMP },
	{ "map", required_argument, NULL, OPT_MAP },
	{ "qmp", required_argument, NULL, OPT_QMP },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "standalone", no_argument, NULL, OPT_STANDALONE },
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "about", no_argument, NULL, OPT_ABOUT },
	{ "tables", no_argument, NULL, OPT_TABLES },
	{ "watch", required_argument, NULL, OPT_WATCH },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "pack", required_argument, NULL, OPT_PACK },
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "reference", required_argument, NULL, OPT_REFERENCE },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static void say(enum query_format f, FILE *to, const char *key, const char *text)
{
	json_t *j = f == FORMAT_JSON ? json_pack("{s:s}", key, text) : NULL;

	if (j) {
		json_dumpf(j, to, JSON_ENSURE_ASCII);
		fputc('\n', to);
		json_decref(j);
	} else if (f == FORMAT_JSON) {
		fprintf(to, "{\"%s\":\"the reason is no valid text\"}\n", key);
	} else {
		fprintf(to, "iho-query: %s\n", text);
	}
	fflush(to);
}

void say_error(enum query_format f, bool first, const char *text)
{
	say(f, f == FORMAT_JSON && first ? stdout : stderr, "error", text);
}

void say_warning(enum query_format f, const char *text)
{
	say(f, stderr, "warning", text);
}

static int usage(const struct query_options *o, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say_error(o->format, true, text);
	return 2;
}

/* ---- short forms ---- */

/* One end of a socket, "local" or "remote". */
#define NET_END(end)                                                                               \
	"CASE s.family WHEN 10 THEN '[' || s." end "_address || ']' ELSE s." end "_address END "   \
	"|| ':' || CASE s." end "_port WHEN 0 THEN '*' ELSE s." end "_port END"

/* clang-format off */
static const char net_sql[] =
	"SELECT CASE s.protocol WHEN 6 THEN 'tcp' WHEN 17 THEN 'udp' WHEN 136 THEN 'udplite' "
	"WHEN 1 THEN 'icmp' WHEN 58 THEN 'icmp' WHEN 132 THEN 'sctp' WHEN 262 THEN 'mptcp' "
	"ELSE 'ip' || s.protocol END || CASE s.family WHEN 10 THEN '6' ELSE '' END AS protocol, "
	"CASE WHEN s.state <> '' THEN s.state WHEN s.remote_port <> 0 THEN 'ESTABLISHED' "
	"ELSE 'UNCONN' END AS state, "
	NET_END("local") " AS local, " NET_END("remote") " AS peer, "
	"nullif(s.pid, -1) AS pid, nullif(s.fd, -1) AS fd, p.name AS process, s.net_namespace "
	"FROM process_open_sockets AS s LEFT JOIN processes AS p ON p.pid = s.pid "
	"WHERE s.family IN (2, 10) AND s.local_port <> 0 "
	"ORDER BY s.protocol, s.state <> 'LISTEN', s.local_port, s.family, s.pid, s.fd";
/* clang-format on */

static const struct short_form {
	const char *word, *sql, *help;
	bool pid;
} shorts[] = {
	{
		.word = "ps",
		.sql = "SELECT pid, parent, uid, state, resident_size, name, cmdline FROM "
		       "processes "
		       "ORDER BY pid",
		.help = "the guest's processes",
	},
	{
		.word = "modules",
		.sql = "SELECT name, size, used_by, status, address FROM kernel_modules",
		.help = "its kernel modules",
	},
	{
		.word = "files",
		.sql = "SELECT fd, path FROM process_open_files WHERE pid = %ld ORDER BY fd",
		.help = "a process' open files",
		.pid = true,
	},
	{
		.word = "strings",
		.sql = "SELECT address, encoding, value FROM process_strings WHERE pid = %ld",
		.help = "texts in a process' memory",
		.pid = true,
	},
	{
		/* Beside ss -tunap; who has no process waits for its end, or is the kernel's. */
		.word = "net",
		.sql = net_sql,
		.help = "its IP sockets, and who has them open",
	},
	{
		.word = "dmesg",
		.sql = "SELECT time, level, text FROM kernel_log",
		.help = "its kernel's log",
	},
	{
		.word = "check",
		.sql = "SELECT verdict, check_name, subject, evidence FROM integrity "
		       "ORDER BY verdict = 'ok', verdict",
		.help = "verdicts on its kernel's integrity",
	},
};

static const struct short_form *short_form(const char *word)
{
	for (size_t i = 0; i < sizeof(shorts) / sizeof(shorts[0]); i++)
		if (!strcmp(shorts[i].word, word))
			return &shorts[i];
	return NULL;
}

static int take_sql(struct query_options *o, int argc, char **argv)
{
	const struct short_form *s = argc ? short_form(argv[0]) : NULL;
	char *end;
	long pid = 0;

	if (!argc)
		return 0;
	if (argc > (s && s->pid ? 2 : 1))
		return usage(o, "\"%s\" is one argument too many: quote the statement",
			     argv[s && s->pid ? 2 : 1]);
	if (!s) {
		o->sql = strdup(argv[0]);
		return o->sql ? 0 : usage(o, "out of memory");
	}
	if (s->pid) {
		errno = 0;
		pid = argc > 1 ? strtol(argv[1], &end, 10) : -1;
		if (argc < 2 || errno || *end || end == argv[1] || pid < 0 || pid > INT32_MAX)
			return usage(o, "%s takes the pid of a process in the guest", s->word);
		if (asprintf(&o->sql, s->sql, pid) < 0)
			o->sql = NULL;
	} else {
		o->sql = strdup(s->sql);
	}
	return o->sql ? 0 : usage(o, "out of memory");
}

/* ---- options ---- */

static bool number(const char *text, double min, double max, double *out)
{
	char *end;

	errno = 0;
	*out = strtod(text, &end);
	return !errno && end != text && !*end && isfinite(*out) && *out >= min && *out <= max;
}

static int take_option(struct query_options *o, int c, char **argv)
{
	double v;

	switch (c) {
	case OPT_VM:
		o->find.vm = optarg;
		return 0;
	case OPT_DUMP:
		o->find.dump = optarg;
		return 0;
	case OPT_MAP:
		o->find.map = optarg;
		return 0;
	case OPT_QMP:
		o->find.qmp = optarg;
		return 0;
	case OPT_SOCKET:
		o->socket = optarg;
		o->mode = SESSION_DAEMON;
		return 0;
	case OPT_STANDALONE:
		o->standalone = true;
		return 0;
	case OPT_FORMAT:
		if (format_parse(optarg, &o->format))
			return usage(o, "--format is table, csv, json or lines, not \"%.64s\"",
				     optarg);
		o->format_given = true;
		return 0;
	case OPT_ABOUT:
		o->action = ACT_ABOUT;
		return 0;
	case OPT_TABLES:
		o->action = ACT_TABLES;
		return 0;
	case OPT_WATCH:
		if (!number(optarg, WATCH_MIN_S, WATCH_MAX_S, &o->watch_s))
			return usage(o, "--watch takes seconds, %g to %g, not \"%.64s\"",
				     WATCH_MIN_S, WATCH_MAX_S, optarg);
		return 0;
	case OPT_COUNT:
		if (!number(optarg, 1, 1e9, &v) || v != floor(v))
			return usage(o, "--count takes a number from 1 on, not \"%.64s\"", optarg);
		o->count = (unsigned long)v;
		return 0;
	case OPT_PACK:
		o->pack = optarg;
		return 0;
	case OPT_REFERENCE:
		o->reference = optarg;
		return 0;
	case OPT_ONCE:
		o->once = true;
		return 0;
	case 'h':
		o->action = ACT_HELP;
		return 0;
	case 'V':
		o->action = ACT_VERSION;
		return 0;
	case ':':
		return usage(o, "%.64s needs a value", argv[optind - 1]);
	default:
		return usage(o, "there is no option %.64s; iho-query --help lists them",
			     argv[optind - 1]);
	}
}

/* The format decides how errors are told, also of the options before it. */
static void look_for_json(struct query_options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--format=json") ||
		    (!strcmp(argv[i], "--format") && i + 1 < argc && !strcmp(argv[i + 1], "json")))
			o->format = FORMAT_JSON;
}

int options_parse(struct query_options *o, int argc, char **argv)
{
	int c, r;

	memset(o, 0, sizeof(*o));
	o->format = FORMAT_TABLE;
	look_for_json(o, argc, argv);
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":hV", long_options, NULL)) != -1) {
		r = take_option(o, c, argv);
		if (r)
			return r;
	}
	if (o->find.vm && o->find.dump)
		return usage(o, "--vm and --dump exclude each other");
	if (o->standalone && o->socket)
		return usage(o, "--socket and --standalone exclude each other");
	if (o->socket && (o->find.dump || o->find.qmp))
		return usage(o, "ihod looks at VMs, as it finds them: no --dump, no --qmp");
	if (o->standalone)
		o->mode = SESSION_SELF;
	if (o->find.map && !o->find.dump)
		return usage(o, "--map says where a raw --dump has what: it needs one");
	if (o->find.qmp && o->find.dump)
		return usage(o, "--qmp is for a VM that runs, not for a dump");
	r = take_sql(o, argc - optind, argv + optind);
	if (r)
		return r;
	if (o->pack && (o->sql || o->watch_s))
		return usage(o, "--pack has statements and intervals of its own");
	if (o->reference && o->mode == SESSION_DAEMON)
		return usage(o, "--reference is a file of yours: ihod does not read it");
	if (o->once && !o->pack)
		return usage(o, "--once goes with --pack");
	if (o->watch_s && !o->sql && o->action == ACT_QUERY)
		return usage(o, "--watch needs a statement");
	if (o->count && !o->watch_s)
		return usage(o, "--count goes with --watch");
	return 0;
}

void options_free(struct query_options *o)
{
	free(o->sql);
	o->sql = NULL;
}

void options_help(FILE *out)
{
	fputs("usage: iho-query [--vm NAME|PID | --dump FILE] [options] [SQL | short form]\n"
	      "\n"
	      "SQL over the memory of a guest, from outside. Without SQL: a shell, or statements "
	      "from\n"
	      "standard input.\n"
	      "\n"
	      "  --vm NAME|PID     the VM, or the process that runs it; not needed where there is "
	      "one\n"
	      "  --dump FILE       a dump: ELF core, kdump-compressed, or raw\n"
	      "  --map MAP         of a raw dump: GPA:BYTES@OFFSET,... with K, M, G\n"
	      "  --qmp SOCKET      the VM's QMP socket, where its command line does not name it\n"
	      "  --socket PATH     only through the ihod that listens there\n"
	      "  --standalone      without ihod, also where it would answer\n"
	      "  --format FORMAT   table, csv, json, lines\n"
	      "  --watch SECONDS   repeats the statement\n"
	      "  --count N         so often, with --watch\n"
	      "  --reference FILE  vmlinuz of the guest's kernel, to compare its text with\n"
	      "  --pack FILE       runs an osquery pack, and tells what changed, as JSON lines\n"
	      "  --once            its queries once only\n"
	      "  --about           what was found in the guest, and how\n"
	      "  --tables          the tables and their columns\n"
	      "  --help, -h   --version, -V\n"
	      "\n"
	      "Short forms:\n",
	      out);
	for (size_t i = 0; i < sizeof(shorts) / sizeof(shorts[0]); i++)
		fprintf(out, "  %s%-*s %s\n", shorts[i].word, (int)(17 - strlen(shorts[i].word)),
			shorts[i].pid ? " PID" : "", shorts[i].help);
}
