/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/tables: tasks as different parts of the kernel know them. */
#ifndef VMI_HIDDEN_PROCESSES_H
#define VMI_HIDDEN_PROCESSES_H

#include "task.h"

enum vmi_task_view {
	VMI_TASK_IN_LIST = 1 << 0, /* the list of processes, and their threads */
	VMI_TASK_IN_PID = 1 << 1, /* found by its number: the first pid namespace */
	VMI_TASK_IN_TREE = 1 << 2, /* child of its parent; only of processes */
	VMI_TASK_IN_CGROUP = 1 << 3, /* member of a set of cgroups */
	VMI_TASK_IN_QUEUE = 1 << 4, /* waits for a CPU */
	VMI_TASK_ON_CPU = 1 << 5, /* is what a CPU runs */
};

#define VMI_TASK_VIEWS 6

struct vmi_hidden_task {
	struct vmi_task task;
	unsigned int views, missing; /* enum vmi_task_view */
};

/*
 * Calls `fn` for each task that a part of the kernel knows while another, which knows all, does
 * not; it returns true when it has enough. What only one of two looks saw is not told: tasks come
 * and go. 0 or a negative errno value with a sentence. `*views`: which views this kernel has.
 */
int vmi_hidden_tasks(struct vmi_rows *r, unsigned int *views,
		     bool (*fn)(void *arg, const struct vmi_hidden_task *h), void *arg);

void vmi_task_views(unsigned int views, char *buf, size_t size);

#endif /* VMI_HIDDEN_PROCESSES_H */
