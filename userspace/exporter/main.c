// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * iho-exporter: what IHO counts, for Prometheus.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "catalogue.h"
#include "collect.h"
#include "options.h"
#include "textfile.h"
#include "user.h"

#ifndef IHO_VERSION
#define IHO_VERSION "unknown"
#endif

static void complain(const struct iho_error *err)
{
	fprintf(stderr, "iho-exporter: %s\n", err->text);
}

/* A full disk or a closed pipe must not look like success. */
static int finish_stdout(void)
{
	return fflush(stdout) || ferror(stdout) ? 1 : 0;
}

/* One scrape to where it belongs. One without a collector is written too: it says iho_up 0. */
static int scrape(struct iho_collect *c, const struct iho_options *o, struct iho_error *err)
{
	struct iho_error unwritten = {};
	struct iho_metrics_text text;
	int r = iho_collect_report(c, err), w;

	w = iho_collect_render(c, o->format, &text);
	if (w) {
		snprintf(unwritten.text, sizeof(unwritten.text), "out of memory");
	} else if (o->textfile) {
		w = iho_textfile_write(o->textfile, text.data, text.len, &unwritten);
	} else if (fwrite(text.data, 1, text.len, stdout) != text.len || finish_stdout()) {
		w = -errno;
		snprintf(unwritten.text, sizeof(unwritten.text), "cannot write the scrape: %s",
			 strerror(errno));
	}
	iho_metrics_text_free(&text);
	if (w)
		*err = unwritten;
	return w ? w : r;
}

/* Waits for the next round; true: a signal came. */
static bool wait_interval(const sigset_t *set, double interval_s)
{
	struct timespec t = { .tv_sec = (time_t)interval_s };

	t.tv_nsec = (long)((interval_s - (double)t.tv_sec) * 1e9);
	return sigtimedwait(set, NULL, &t) > 0;
}

/* A failure is told once, not at each round, until it is another one. */
static void write_textfile(struct iho_collect *c, const struct iho_options *o)
{
	struct iho_error err = {}, told = {};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	do {
		if (!scrape(c, o, &err))
			err.text[0] = '\0';
		if (err.text[0] && strcmp(err.text, told.text))
			complain(&err);
		told = err;
	} while (!wait_interval(&set, o->interval_s));
}

static int run(const struct iho_options *o)
{
	struct iho_collect_counts none = {};
	struct iho_collect *c = NULL;
	struct iho_error err = {};
	int r;

	if (!o->once && !o->textfile) {
		r = iho_server_run(&o->server, &err);
		if (r)
			complain(&err);
		return r ? 1 : 0;
	}
	r = o->server.user ? iho_become(o->server.user, &err) : 0;
	if (!r)
		r = iho_collect_new(&c, &o->server.collector, &o->server.metrics, &none, &err);
	if (!r && o->once)
		r = scrape(c, o, &err);
	else if (!r)
		write_textfile(c, o);
	if (r)
		complain(&err);
	iho_collect_free(c);
	return r ? 1 : 0;
}

/*
 * Without this, a closed standard output would be the number of the next file that is opened, a
 * client maybe, and the scrape would go there.
 */
static void hold_standard_files(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) < 0)
			return;
}

int main(int argc, char **argv)
{
	struct iho_error err = {};
	struct iho_options o;

	hold_standard_files();
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	mallopt(M_ARENA_MAX, 1); /* three threads that seldom allocate at once */
	if (iho_options_parse(&o, argc, argv, &err)) {
		complain(&err);
		return 2;
	}
	switch (o.action) {
	case IHO_ACT_HELP:
		fputs(iho_usage, stdout);
		return finish_stdout();
	case IHO_ACT_VERSION:
		printf("iho-exporter %s\n", IHO_VERSION);
		return finish_stdout();
	case IHO_ACT_LIST:
		if (iho_catalogue_print(stdout, o.has_format))
			return 1;
		return finish_stdout();
	default:
		return run(&o);
	}
}
