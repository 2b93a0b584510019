/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exits of the target's vCPUs by reason, as iho-top counts them. */
#include "host.h"

static const struct vmi_column columns[] = {
	[0] = { "vcpu", VMI_INTEGER, "its number, as in vcpus" },
	[1] = { "thread", VMI_INTEGER, "the vCPU's thread on the host" },
	[2] = { "handled", VMI_TEXT,
		"kvm: the exit's own reason; vmm: what KVM asked of the VMM for it" },
	[3] = { "reason", VMI_TEXT, "the kernel's name" },
	[4] = { "total", VMI_INTEGER, "since the collector saw the vCPU first" },
	[5] = { "per_s", VMI_DOUBLE, "in the last interval" },
	[6] = { "time_ns", VMI_INTEGER, "work for the guest, no halt and no wait" },
	[7] = { "share", VMI_DOUBLE, "time_ns' part of the last interval, 0 to 1" },
	[8] = { "mean_ns", VMI_INTEGER, "of an exit; NULL where handled is vmm" },
	[9] = { "p99_ns", VMI_INTEGER,
		"of an exit, at most 12.5 % off; NULL where handled is vmm" },
	[10] = { "max_ns", VMI_INTEGER, "of an exit" },
};

static int rows(struct vmi_rows *r)
{
	return vmi_host_rows(r, "vcpu_exits", columns, sizeof(columns) / sizeof(columns[0]));
}

const struct vmi_table vmi_table_vcpu_exits = {
	.name = "vcpu_exits",
	.doc = "What makes the target's vCPUs exit; joined with vcpus by vcpu: which guest task "
	       "does.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_MEMORY,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
