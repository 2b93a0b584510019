/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VMs of the host, from the side of the hypervisor. */
#include "host.h"

static const struct vmi_column columns[] = {
	[0] = { "name", VMI_TEXT, "the VM's" },
	[1] = { "pid", VMI_INTEGER, "process that runs it" },
	[2] = { "vmm", VMI_TEXT, "qemu, firecracker, cloud-hypervisor, ..." },
	[3] = { "vcpus", VMI_INTEGER, "how many that KVM runs" },
	[4] = { "exits", VMI_INTEGER, "since the collector saw it first" },
	[5] = { "exits_per_s", VMI_DOUBLE, "in the last interval" },
	[6] = { "userspace_exits", VMI_INTEGER, "exits that the VMM handled" },
	[7] = { "is_target", VMI_INTEGER, "1: the guest of this session" },
};

static int rows(struct vmi_rows *r)
{
	return vmi_host_rows(r, "vms", columns, sizeof(columns) / sizeof(columns[0]));
}

const struct vmi_table vmi_table_vms = {
	.name = "vms",
	.doc = "The VMs of this host that KVM runs, and how often they exit.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_MEMORY,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
