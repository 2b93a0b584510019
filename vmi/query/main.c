/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iho-query: SQL over a guest's memory, from outside.
 */
#include <locale.h>
#include <string.h>
#include <time.h>

#include "ask.h"
#include "broker.h"
#include "pack.h"
#include "shell.h"
#include "worker.h"

static int open_session(const struct query_options *o, struct session **s)
{
	/* A file of this user's is no business of ihod's. */
	const struct session_options so = { .mode = o->reference ? SESSION_SELF : o->mode,
					    .find = o->find,
					    .limits = vmi_limits_default,
					    .reference = o->reference,
					    .socket = o->socket };
	struct vmi_error err = {};

	if (!session_open(s, &so, &err))
		return 0;
	say_error(o->format, true, err.text);
	return 1;
}

/* What the guest's kernel lacks is said before a table says it again, once. */
static void tell_missing(const struct query_options *o, const struct session *s)
{
	const char *missing = json_string_value(json_object_get(session_about(s), "missing"));

	if (missing && *missing)
		say_warning(o->format, missing);
}

/* At fixed times: what a statement takes does not add up. */
static void wait_until(struct timespec *due, double seconds)
{
	due->tv_sec += (time_t)seconds;
	due->tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
	if (due->tv_nsec >= 1000000000) {
		due->tv_nsec -= 1000000000;
		due->tv_sec++;
	}
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, due, NULL);
}

static int query(const struct query_options *o, struct session *s)
{
	struct format *f = format_new(stdout, o->format, o->watch_s > 0);
	struct timespec due;
	int r = 0;

	if (!f) {
		say_error(o->format, true, "out of memory");
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &due);
	for (unsigned long n = 1; !r; n++) {
		r = ask(s, f, o->format, o->sql, false);
		if (!o->watch_s || n == o->count || r)
			break;
		if (o->format == FORMAT_TABLE)
			putchar('\n');
		wait_until(&due, o->watch_s);
	}
	format_free(f);
	return r;
}

static int run(const struct query_options *o)
{
	struct session *s;
	int r;

	switch (o->action) {
	case ACT_HELP:
		options_help(stdout);
		return 0;
	case ACT_VERSION:
		puts("iho-query " IHO_VERSION);
		return 0;
	case ACT_TABLES:
		shell_schema(stdout, NULL);
		return 0;
	default:
		break;
	}
	r = open_session(o, &s);
	if (r)
		return r;
	if (o->action == ACT_ABOUT) {
		shell_about(stdout, s, o->format);
	} else {
		tell_missing(o, s);
		/* ^C ends the program while it repeats a statement. */
		if (!o->watch_s && !o->pack)
			shell_catch_interrupt(s);
		if (o->pack)
			r = pack_run(s, o->pack, o->format, o->once);
		else
			r = o->sql ? query(o, s) : shell(s, o->format);
	}
	session_close(s);
	return r;
}

int main(int argc, char **argv)
{
	struct query_options o;
	int r;

	if (argc == 2 && !strcmp(argv[1], WORKER_ARGUMENT))
		return worker_main();
	if (argc == 2 && !strcmp(argv[1], BROKER_ARGUMENT))
		return broker_main();
	setlocale(LC_ALL, "");
	setlocale(LC_NUMERIC, "C");
	r = options_parse(&o, argc, argv);
	if (!r)
		r = run(&o);
	options_free(&o);
	if (fflush(stdout) || ferror(stdout)) {
		say_error(o.format, false, "cannot write to standard output");
		r = r ? r : 1;
	}
	return r;
}
