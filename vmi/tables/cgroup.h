/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/tables: the control group of a task. */
#ifndef VMI_CGROUP_H
#define VMI_CGROUP_H

#include "task.h"

/* gva of the task's css_set, which many tasks share; 0 = none. */
uint64_t vmi_task_css_set(struct vmi_walk *w, const struct vmi_task *t);

/*
 * The path in the default hierarchy, as "0::" of /proc/PID/cgroup. Returns its length or a negative
 * errno value.
 */
int vmi_css_set_path(struct vmi_walk *w, uint64_t css_set, char *buf, size_t size);

#endif /* VMI_CGROUP_H */
