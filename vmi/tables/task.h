/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: tasks of the guest (include/linux/sched.h), as several tables need them.
 */
#ifndef VMI_TASK_H
#define VMI_TASK_H

#include "table.h"

/* A task as it was found; strings are raw bytes. */
struct vmi_task {
	uint64_t gva; /* of its task_struct */
	int32_t pid, tgid; /* thread and process, as in the guest's first pid namespace */
	char comm[16];
	uint64_t mm; /* gva of its mm_struct, 0 = kernel thread */
	uint64_t pgd; /* gpa of its page table; 0 = none */
};

/* Iterates processes (thread group leaders), or all threads; idle tasks are not among them. */
struct vmi_tasks {
	struct vmi_rows *r;
	struct vmi_walk *w;
	bool threads;
	struct vmi_list outer, inner;
	bool in_group;
	/* resolved fields: see task.c */
	struct vmi_field f[24];
};

/*
 * `pid`: only this process (found through the pid IDR where it is there), -1 = all. -ENOENT with a
 * sentence where this kernel's structs are not understood.
 */
int vmi_tasks_start(struct vmi_tasks *t, struct vmi_rows *r, bool threads, int64_t pid);
/* Fills in `out` and names the witnesses of the row that the caller makes of it. false: end. */
bool vmi_tasks_next(struct vmi_tasks *t, struct vmi_task *out);

/* Loads a task from its task_struct's address. 0 or a negative errno value. */
int vmi_task_load(struct vmi_tasks *t, uint64_t gva, struct vmi_task *out);

/* The task's page table for vmi_read_as(); 0 = none. PTI: the kernel's half is complete in it. */
uint64_t vmi_mm_pgd(struct vmi_walk *w, uint64_t mm);

#endif /* VMI_TASK_H */
