/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line. */
#ifndef IHO_EXPORTER_OPTIONS_H
#define IHO_EXPORTER_OPTIONS_H

#include "server.h"

#define IHO_GLOBS 64

enum iho_action { IHO_ACT_RUN, IHO_ACT_LIST, IHO_ACT_HELP, IHO_ACT_VERSION };

struct iho_options {
	enum iho_action action;
	enum iho_metrics_format format;
	bool has_format, once;
	const char *textfile;
	double interval_s; /* of the text file; 0: not said */
	const char *vm[IHO_GLOBS], *exclude[IHO_GLOBS];
	struct iho_server_options server;
};

/* `o` keeps pointers into argv. Returns 0, or -EINVAL and the reason. */
int iho_options_parse(struct iho_options *o, int argc, char **argv, struct iho_error *err);

extern const char iho_usage[];

/* For --listen, --interval and the like: any text may come. */
int iho_parse_seconds(const char *s, double min, double max, double *out);
int iho_parse_count(const char *s, unsigned long min, unsigned long max, unsigned long *out);

#endif /* IHO_EXPORTER_OPTIONS_H */
