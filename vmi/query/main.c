// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * iho-query: SQL over a guest's memory, from outside.
 */
#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "session.h"
#include "worker.h"

static int fail(const char *text)
{
	fprintf(stderr, "iho-query: %s\n", text);
	return 1;
}

static int run(struct session *s, const char *sql, enum query_format kind)
{
	struct format *f = format_new(stdout, kind, false);
	struct vmi_outcome out = {};
	struct vmi_error err = {};
	int r = session_query(s, sql, format_sink(f), &out, &err);

	if (format_end(f) && !r)
		return fail("cannot write");
	for (size_t i = 0; i < out.n_notes; i++)
		fprintf(stderr, "iho-query: %s: %s at %s, %llu torn\n", out.notes[i].table,
			vmi_stop_text(out.notes[i].stop), out.notes[i].where,
			(unsigned long long)out.notes[i].torn);
	format_free(f);
	return r ? fail(err.text) : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dump", required_argument, NULL, 'd' },   { "vm", required_argument, NULL, 'v' },
		{ "map", required_argument, NULL, 'm' },    { "qmp", required_argument, NULL, 'q' },
		{ "format", required_argument, NULL, 'f' }, { NULL, 0, NULL, 0 },
	};
	struct session_options so = { .limits = vmi_limits_default };
	enum query_format kind = FORMAT_TABLE;
	struct session *s = NULL;
	struct vmi_error err = {};
	int c, r;

	if (argc == 2 && !strcmp(argv[1], WORKER_ARGUMENT))
		return worker_main();
	setlocale(LC_ALL, "");
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			so.find.dump = optarg;
			break;
		case 'v':
			so.find.vm = optarg;
			break;
		case 'm':
			so.find.map = optarg;
			break;
		case 'q':
			so.find.qmp = optarg;
			break;
		case 'f':
			if (format_parse(optarg, &kind))
				return 2;
			break;
		default:
			return 2;
		}
	}
	r = session_open(&s, &so, &err);
	if (r)
		return fail(err.text);
	if (optind < argc)
		r = run(s, argv[optind], kind);
	else
		json_dumpf(session_about(s), stdout, JSON_INDENT(2));
	session_close(s);
	return r;
}
