/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's distribution: its /etc/os-release (os-release(5)), if the guest has that file in
 * memory. It has been read by whoever asked for it since boot, and may have been dropped since.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "../kernel/layout.h"

enum {
	COL_NAME,
	COL_VERSION,
	COL_MAJOR,
	COL_MINOR,
	COL_PATCH,
	COL_BUILD,
	COL_PLATFORM,
	COL_PLATFORM_LIKE,
	COL_CODENAME,
	COL_ARCH,
	COL_EXTRA,
};

static const struct vmi_column columns[] = {
	[COL_NAME] = { "name", VMI_TEXT, "of the distribution" },
	[COL_VERSION] = { "version", VMI_TEXT, "for a person" },
	[COL_MAJOR] = { "major", VMI_INTEGER, "major release" },
	[COL_MINOR] = { "minor", VMI_INTEGER, "minor release" },
	[COL_PATCH] = { "patch", VMI_INTEGER, "patch release" },
	[COL_BUILD] = { "build", VMI_TEXT, "build" },
	[COL_PLATFORM] = { "platform", VMI_TEXT, "its short name" },
	[COL_PLATFORM_LIKE] = { "platform_like", VMI_TEXT, "related distributions" },
	[COL_CODENAME] = { "codename", VMI_TEXT, "code name of the release" },
	[COL_ARCH] = { "arch", VMI_TEXT, "as uname(1) has it" },
	[COL_EXTRA] = { "extra", VMI_TEXT, "not known here" },
};

static const struct {
	const char *key;
	unsigned int column;
} keys[] = {
	{ "NAME", COL_NAME },
	{ "VERSION", COL_VERSION },
	{ "BUILD_ID", COL_BUILD },
	{ "ID", COL_PLATFORM },
	{ "ID_LIKE", COL_PLATFORM_LIKE },
	{ "VERSION_CODENAME", COL_CODENAME },
};

static const char *const paths[] = { "uts_namespace.name.machine" };

/* Takes the quotes of a shell off, in place. */
static char *unquote(char *s)
{
	char *from = s, *to = s, quote = 0;

	for (; *from; from++) {
		if (*from == quote) {
			quote = 0;
		} else if (!quote && (*from == '"' || *from == '\'')) {
			quote = *from;
		} else {
			if (*from == '\\' && quote != '\'' && from[1])
				from++;
			*to++ = *from;
		}
	}
	*to = 0;
	return s;
}

/* "12", "22.04", "9.4.1" */
static void numbers(struct vmi_rows *r, const char *version)
{
	for (unsigned int c = COL_MAJOR; c <= COL_PATCH; c++) {
		char *end;
		long n = strtol(version, &end, 10);

		vmi_int(r, c, end == version ? 0 : n);
		version = *end == '.' ? end + 1 : "";
	}
}

static void line(struct vmi_rows *r, char *text)
{
	char *value = strchr(text, '=');

	if (!value)
		return;
	*value++ = 0;
	unquote(value);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(text, keys[i].key))
			vmi_str(r, keys[i].column, value);
	if (!strcmp(text, "VERSION_ID"))
		numbers(r, value);
}

static int rows(struct vmi_rows *r)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	const struct vmi_field *f = vmi_layout(w->guest, paths, 1);
	uint64_t uts = vmi_sym(w->guest, "init_uts_ns");
	char text[4097], machine[66], *rest = NULL;
	int n;

	vmi_row(r);
	n = vmi_file_read(w, "/etc/os-release", text, sizeof(text) - 1);
	if (n > 0) {
		text[n] = 0;
		for (char *l = strtok_r(text, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest))
			line(r, l);
	}
	if (f && uts && vmi_text_field(w, uts, &f[0], machine, sizeof(machine)) > 0)
		vmi_str(r, COL_ARCH, machine);
	vmi_row_end(r);
	return 0;
}

const struct vmi_table vmi_table_os_version = {
	.name = "os_version",
	.doc = "The guest's distribution, if its os-release is in memory.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
