/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the time of the target's vCPUs went, as iho-top bills it. */
#include "host.h"

static const struct vmi_column columns[] = {
	[0] = { "vcpu", VMI_INTEGER, "its number, as in vcpus" },
	[1] = { "thread", VMI_INTEGER, "the vCPU's thread on the host" },
	[2] = { "cpu", VMI_INTEGER, "host CPU that it ran on last" },
	[3] = { "state", VMI_TEXT, "guest, kvm, qemu, halted, preempted, ..." },
	[4] = { "now", VMI_INTEGER, "1: it is in this state" },
	[5] = { "total_ns", VMI_INTEGER, "since the collector saw the vCPU first" },
	[6] = { "share", VMI_DOUBLE, "of the last interval, 0 to 1" },
};

static int rows(struct vmi_rows *r)
{
	return vmi_host_rows(r, "vcpu_bill", columns, sizeof(columns) / sizeof(columns[0]));
}

const struct vmi_table vmi_table_vcpu_bill = {
	.name = "vcpu_bill",
	.doc = "The time of the target's vCPUs by state; the shares of a vCPU sum to 1.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_MEMORY,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
