/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's kernel, and how it was started. */
#include <string.h>

#include "table.h"

enum { COL_VERSION, COL_ARGUMENTS, COL_PATH, COL_DEVICE, COL_BANNER, COL_BUILD_ID, COL_TEXT };

static const struct vmi_column columns[] = {
	[COL_VERSION] = { "version", VMI_TEXT, "release" },
	[COL_ARGUMENTS] = { "arguments", VMI_TEXT,
			    "the kernel's command line without BOOT_IMAGE and root" },
	[COL_PATH] = { "path", VMI_TEXT, "of the kernel's file, as the boot loader says" },
	[COL_DEVICE] = { "device", VMI_TEXT, "of the root file system" },
	[COL_BANNER] = { "banner", VMI_TEXT, "as in /proc/version", .hidden = true },
	[COL_BUILD_ID] = { "build_id", VMI_TEXT, "of the kernel, hexadecimal", .hidden = true },
	[COL_TEXT] = { "text", VMI_TEXT, "where its code begins", .hidden = true },
};

#define COMMAND_LINE_MAX 8192

/* Splits the command line as osquery does; it is changed. */
static void arguments(struct vmi_rows *r, char *line)
{
	char all[COMMAND_LINE_MAX], *rest = NULL;
	size_t n = 0;

	for (char *a = strtok_r(line, " \n", &rest); a; a = strtok_r(NULL, " \n", &rest)) {
		size_t len = strlen(a);

		if (!strncmp(a, "BOOT_IMAGE=", 11)) {
			vmi_str(r, COL_PATH, a + 11);
		} else if (!strncmp(a, "root=", 5)) {
			vmi_str(r, COL_DEVICE, a + 5);
		} else if (n + 1 + len < sizeof(all)) {
			if (n)
				all[n++] = ' ';
			memcpy(all + n, a, len);
			n += len;
		}
	}
	vmi_strn(r, COL_ARGUMENTS, all, n);
}

static int rows(struct vmi_rows *r)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	struct vmi_guest *g = vmi_rows_guest(r);
	uint64_t at = vmi_sym(g, "saved_command_line"), text;
	char line[COMMAND_LINE_MAX];

	vmi_row(r);
	vmi_str(r, COL_VERSION, g->release);
	if (at && !vmi_ptr(w, at, &text) && vmi_text(w, text, line, sizeof(line)) >= 0)
		arguments(r, line);
	vmi_str(r, COL_BANNER, g->banner);
	vmi_str(r, COL_BUILD_ID, g->build_id[0] ? g->build_id : NULL);
	if (g->text)
		vmi_hex(r, COL_TEXT, g->text);
	vmi_row_end(r);
	return 0;
}

const struct vmi_table vmi_table_kernel_info = {
	.name = "kernel_info",
	.doc = "The guest's kernel and its command line.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_BANNER,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
