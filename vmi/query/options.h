/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of iho-query. */
#ifndef QUERY_OPTIONS_H
#define QUERY_OPTIONS_H

#include "format.h"
#include "session.h"

enum query_action { ACT_QUERY, ACT_ABOUT, ACT_HELP, ACT_VERSION, ACT_TABLES };

struct query_options {
	enum query_action action;
	struct vmi_find_options find;
	enum session_mode mode;
	bool standalone;
	const char *socket; /* NULL: the usual one */
	enum query_format format;
	bool format_given;
	double watch_s; /* 0: once */
	unsigned long count; /* of --watch; 0: endless */
	const char *reference; /* a file; NULL: none */
	const char *pack; /* a file; NULL: none */
	bool once; /* its queries */
	char *sql; /* owned; NULL: none was given */
};

/* 0, or the program's exit status, after it was said why. */
int options_parse(struct query_options *o, int argc, char **argv);
void options_free(struct query_options *o);
void options_help(FILE *out);

/* One sentence, as JSON in JSON mode, on stdout there if `first` (nothing else was written). */
void say_error(enum query_format f, bool first, const char *text);
/* The same for what is no failure, always on stderr. */
void say_warning(enum query_format f, const char *text);

#endif /* QUERY_OPTIONS_H */
