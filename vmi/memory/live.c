// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>

#include "internal.h"

int vmi_live_find(struct vmi_target *t, const struct vmi_find_options *o, struct vmi_error *err)
{
	return vmi_fail(err, -ENOTSUP, "running VMs cannot be looked into yet");
}

int vmi_live_refresh(struct vmi_target *t, struct vmi_error *err)
{
	return vmi_fail(err, -ENOTSUP, "running VMs cannot be looked into yet");
}

void vmi_live_free(struct vmi_live *l)
{
}
