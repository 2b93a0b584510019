/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "shell.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <editline/readline.h>
#include <sqlite3.h>

#include "ask.h"

#define HISTORY_LINES 1000
#define STATEMENT_MAX (SQL_BYTES_MAX + 1)

static struct session *running;

static void on_interrupt(int sig)
{
	(void)sig;
	session_cancel(running);
}

void shell_catch_interrupt(struct session *s)
{
	const struct sigaction a = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };

	running = s;
	sigaction(SIGINT, &a, NULL);
}

/* --------------------------------------------------------------------------------- tables and
 * guest */

static const char *type_name(enum vmi_type t)
{
	return t == VMI_TEXT ? "TEXT" : t == VMI_INTEGER ? "INTEGER" : "DOUBLE";
}

void shell_tables(FILE *out)
{
	for (const struct vmi_table *const *t = vmi_tables; *t; t++)
		fprintf(out, "%-24s %s\n", (*t)->name, (*t)->doc);
}

int shell_schema(FILE *out, const char *table)
{
	int n = 0;

	for (const struct vmi_table *const *t = vmi_tables; *t; t++) {
		if (table && strcasecmp(table, (*t)->name))
			continue;
		n++;
		fprintf(out, "-- %s\nCREATE TABLE %s (\n", (*t)->doc, (*t)->name);
		for (size_t i = 0; i < (*t)->n_columns; i++) {
			const struct vmi_column *c = &(*t)->columns[i];

			fprintf(out, "\t%s %s%s, -- %s\n", c->name, type_name(c->type),
				c->hidden ? " HIDDEN" : "", c->doc ? c->doc : "");
		}
		fprintf(out, "\ttorn INTEGER HIDDEN -- 1: the row changed while it was read\n);\n");
	}
	return n ? 0 : -ENOENT;
}

void shell_about(FILE *out, const struct session *s, enum query_format kind)
{
	json_t *about = (json_t *)session_about(s), *v;
	const char *key;

	if (kind == FORMAT_JSON) {
		json_dumpf(about, out, JSON_INDENT(2));
		fputc('\n', out);
		return;
	}
	json_object_foreach(about, key, v)
	{
		char *text = json_is_string(v) ? strdup(json_string_value(v))
					       : json_dumps(v, JSON_ENCODE_ANY);

		if (text && *text && !json_is_null(v))
			fprintf(out, "%-18s %s\n", key, text);
		free(text);
	}
}

/* ------------------------------------------------------------------------------------- dot
 * commands */

struct shell {
	struct session *session;
	struct format *format;
	enum query_format kind;
	bool cost, quit, terminal;
};

static void dot_help(void)
{
	puts(".about             what was found in the guest, and how\n"
	     ".help              this\n"
	     ".mode FORMAT       table, csv, json, lines\n"
	     ".quit              so does the end of input\n"
	     ".schema [TABLE]    columns, with what they mean\n"
	     ".tables            the tables\n"
	     ".timer on|off      what each statement took\n"
	     "Statements end with a semicolon; ^C ends one that runs.");
}

static int dot_mode(struct shell *sh, const char *arg)
{
	enum query_format f;
	struct format *fresh;

	if (!arg || format_parse(arg, &f)) {
		say_error(sh->kind, false, ".mode takes table, csv, json or lines");
		return 1;
	}
	fresh = format_new(stdout, f, false);
	if (!fresh) {
		say_error(sh->kind, false, "out of memory");
		return 1;
	}
	format_free(sh->format);
	sh->format = fresh;
	sh->kind = f;
	return 0;
}

static int dot(struct shell *sh, char *line)
{
	char *rest, *word = strtok_r(line, " \t\n", &rest), *arg = strtok_r(NULL, " \t\n", &rest);
	char text[160];

	if (!strcmp(word, ".quit") || !strcmp(word, ".exit")) {
		sh->quit = true;
	} else if (!strcmp(word, ".help")) {
		dot_help();
	} else if (!strcmp(word, ".tables")) {
		shell_tables(stdout);
	} else if (!strcmp(word, ".about")) {
		shell_about(stdout, sh->session, sh->kind);
	} else if (!strcmp(word, ".mode")) {
		return dot_mode(sh, arg);
	} else if (!strcmp(word, ".timer") && arg && (!strcmp(arg, "on") || !strcmp(arg, "off"))) {
		sh->cost = !strcmp(arg, "on");
	} else if (!strcmp(word, ".schema")) {
		if (!shell_schema(stdout, arg))
			return 0;
		snprintf(text, sizeof(text), "there is no table %.64s; .tables lists them", arg);
		say_error(sh->kind, false, text);
		return 1;
	} else {
		snprintf(text, sizeof(text), "there is no command %.64s; .help lists them", word);
		say_error(sh->kind, false, text);
		return 1;
	}
	return 0;
}

/* ---- completion ---- */

static const char *const words[] = {
	"SELECT",    "FROM",	"WHERE",   "ORDER BY", "GROUP BY", "LIMIT", "JOIN",
	"LEFT JOIN", "USING",	"AND",	   "OR",       "NOT",	   "LIKE",  "BETWEEN",
	"DISTINCT",  "count(",	"WITH",	   "HAVING",   ".about",   ".help", ".mode",
	".quit",     ".schema", ".tables", ".timer",
};

/* All words there are, by a running number: of SQL, tables, columns. NULL: no more. */
static const char *nth_word(size_t n)
{
	if (n < sizeof(words) / sizeof(words[0]))
		return words[n];
	n -= sizeof(words) / sizeof(words[0]);
	for (const struct vmi_table *const *t = vmi_tables; *t; t++) {
		if (!n--)
			return (*t)->name;
		if (n < (*t)->n_columns)
			return (*t)->columns[n].name;
		n -= (*t)->n_columns;
	}
	return NULL;
}

/* libedit asks for one candidate after the other. */
static char *complete(const char *text, int state)
{
	static size_t next;
	const char *w;

	if (!state)
		next = 0;
	while ((w = nth_word(next++))) {
		size_t before = next - 1;
		bool seen = false;

		if (strncasecmp(w, text, strlen(text)))
			continue;
		for (size_t i = 0; i < before && !seen; i++)
			seen = !strcmp(nth_word(i), w);
		if (!seen)
			return strdup(w);
	}
	return NULL;
}

static char **completion(const char *text, int start, int end)
{
	(void)start;
	(void)end;
	rl_attempted_completion_over = 1;
	return rl_completion_matches(text, complete);
}

/* ---- history ---- */

/* $XDG_STATE_HOME/iho-query.history; NULL: there is no place for it. */
static char *history_file(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *dir = NULL, *file = NULL;

	if (state && *state == '/')
		dir = strdup(state);
	else if (!home || *home != '/' || asprintf(&dir, "%s/.local/state", home) < 0)
		dir = NULL;
	if (!dir || asprintf(&file, "%s/iho-query.history", dir) < 0)
		file = NULL;
	free(dir);
	return file;
}

static void history_begin(const char *file)
{
	rl_readline_name = "iho-query";
	rl_attempted_completion_function = completion;
	using_history();
	stifle_history(HISTORY_LINES);
	if (file)
		read_history(file);
}

/* What was asked of a tenant is nobody else's business. */
static void history_end(const char *file)
{
	mode_t was = umask(077);

	if (file)
		write_history(file);
	umask(was);
}

/* ---- lines ---- */

static bool blank(const char *s)
{
	return !s[strspn(s, " \t\r\n;")];
}

/* A line, owned by the caller; NULL at the end. */
static char *next_line(const struct shell *sh, bool more)
{
	char *line = NULL;
	size_t room = 0;

	if (sh->terminal)
		return readline(more ? "  ...> " : "iho> ");
	if (getline(&line, &room, stdin) < 0) {
		free(line);
		return NULL;
	}
	return line;
}

/* Appends a line to the statement; -E2BIG. */
static int append(char **statement, const char *line)
{
	size_t have = *statement ? strlen(*statement) : 0, more = strlen(line);
	char *p;

	if (have + more > STATEMENT_MAX)
		return -E2BIG;
	p = realloc(*statement, have + more + 2);
	if (!p)
		return -ENOMEM;
	memcpy(p + have, line, more);
	p[have + more] = '\n';
	p[have + more + 1] = 0;
	*statement = p;
	return 0;
}

static int run_statement(struct shell *sh, const char *statement)
{
	if (blank(statement))
		return 0;
	return ask(sh->session, sh->format, sh->kind, statement, sh->cost);
}

/* Where a semicolon ends the first statement of the text: behind it; NULL: nowhere. */
static char *statement_end(char *text)
{
	for (char *p = strchr(text, ';'); p; p = strchr(p + 1, ';')) {
		char after = p[1];
		int whole;

		p[1] = 0;
		whole = sqlite3_complete(text);
		p[1] = after;
		if (whole)
			return p + 1;
	}
	return NULL;
}

/* Runs the statements that are whole, and keeps the rest. */
static int run_whole(struct shell *sh, char **statement)
{
	char *text = *statement, *end, *rest;
	int r = 0;

	while ((!r || sh->terminal) && (end = statement_end(text))) {
		char after = *end;

		*end = 0;
		r = run_statement(sh, text);
		*end = after;
		text = end;
	}
	rest = blank(text) ? NULL : strdup(text);
	free(*statement);
	*statement = rest;
	return r;
}

/* Takes one line; the statement may be whole with it. */
static int take_line(struct shell *sh, char **statement, char *line)
{
	char *text = line + strspn(line, " \t");
	int r;

	if (!*statement && *text == '.')
		return dot(sh, text);
	if (!*statement && blank(line))
		return 0;
	r = append(statement, line);
	if (r) {
		free(*statement);
		*statement = NULL;
		say_error(sh->kind, false,
			  r == -E2BIG ? "the statement is too long" : "out of memory");
		return 1;
	}
	return run_whole(sh, statement);
}

int shell(struct session *s, enum query_format kind)
{
	struct shell sh = { .session = s, .kind = kind, .terminal = isatty(0) && isatty(1) };
	char *statement = NULL, *line, *file = sh.terminal ? history_file() : NULL;
	int r = 0;

	sh.format = format_new(stdout, kind, false);
	if (!sh.format) {
		say_error(kind, true, "out of memory");
		return 1;
	}
	if (sh.terminal) {
		history_begin(file);
		puts("SQL over the guest's memory; .help tells more.");
	}
	while (!sh.quit && (sh.terminal || !r) && (line = next_line(&sh, statement))) {
		if (sh.terminal && !blank(line))
			add_history(line);
		r = take_line(&sh, &statement, line);
		free(line);
	}
	/* The last statement of a file need not be ended. */
	if (!r && statement && !sh.terminal)
		r = run_statement(&sh, statement);
	if (sh.terminal) {
		history_end(file);
		if (!sh.quit)
			putchar('\n');
		r = 0;
	}
	free(file);
	free(statement);
	format_free(sh.format);
	return r;
}
