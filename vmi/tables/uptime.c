/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long the guest has been running. */
#include <errno.h>

#include "clock.h"

enum { COL_DAYS, COL_HOURS, COL_MINUTES, COL_SECONDS, COL_TOTAL, COL_NS, COL_BOOT };

static const struct vmi_column columns[] = {
	[COL_DAYS] = { "days", VMI_INTEGER, "days of uptime" },
	[COL_HOURS] = { "hours", VMI_INTEGER, "hours of uptime" },
	[COL_MINUTES] = { "minutes", VMI_INTEGER, "minutes of uptime" },
	[COL_SECONDS] = { "seconds", VMI_INTEGER, "seconds of uptime" },
	[COL_TOTAL] = { "total_seconds", VMI_INTEGER, "total uptime, seconds" },
	[COL_NS] = { "total_ns", VMI_INTEGER, "the same in ns", .hidden = true },
	[COL_BOOT] = { "boot_time", VMI_INTEGER, "when it booted, seconds since the epoch",
		       .hidden = true },
};

#define NS 1000000000

static int rows(struct vmi_rows *r)
{
	struct vmi_clock c;
	int64_t s;
	int err;

	vmi_row(r);
	err = vmi_clock(vmi_rows_walk(r), &c);
	if (err == -ENOENT)
		return vmi_rows_error(r, "the guest's clock was not found");
	if (err)
		return vmi_rows_error(r, "the guest's clock cannot be read");
	s = c.up_ns / NS;
	vmi_int(r, COL_DAYS, s / 86400);
	vmi_int(r, COL_HOURS, s / 3600 % 24);
	vmi_int(r, COL_MINUTES, s / 60 % 60);
	vmi_int(r, COL_SECONDS, s % 60);
	vmi_int(r, COL_TOTAL, s);
	vmi_int(r, COL_NS, c.up_ns);
	vmi_int(r, COL_BOOT, c.boot_ns / NS);
	vmi_row_end(r);
	return 0;
}

const struct vmi_table vmi_table_uptime = {
	.name = "uptime",
	.doc = "How long the guest has been running, by its clock of the last timer interrupt.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
