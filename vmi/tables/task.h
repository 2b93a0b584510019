/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: tasks of the guest (include/linux/sched.h), as several tables need them.
 */
#ifndef VMI_TASK_H
#define VMI_TASK_H

#include "../kernel/layout.h"
#include "table.h"

/* PF_KTHREAD (include/linux/sched.h): the same in all kernels. */
#define VMI_PF_KTHREAD 0x00200000u

/* A task as it was found; strings are raw bytes. */
struct vmi_task {
	uint64_t gva; /* of its task_struct */
	int32_t pid, tgid; /* thread and process, as in the guest's first pid namespace */
	uint32_t flags; /* PF_* */
	char comm[17];
	uint64_t mm; /* gva of its mm_struct, 0 = kernel thread, or exited */
	uint64_t pgd; /* gpa of its page table; 0 = none */
	uint64_t signal; /* gva of its signal_struct: what the threads of a process share */
};

/* Iterates processes (thread group leaders), or all threads; idle tasks are not among them. */
struct vmi_tasks {
	struct vmi_rows *r;
	struct vmi_walk *w;
	bool threads;
	/* private */
	const struct vmi_field *f;
	struct vmi_list outer, inner;
	struct vmi_task leader;
	bool in_group, single;
};

/*
 * `pid`: only this process (found through the pid IDR where it is there), -1 = all. -ENOENT with a
 * sentence where this kernel's structs are not understood.
 */
int vmi_tasks_start(struct vmi_tasks *t, struct vmi_rows *r, bool threads, int64_t pid);
/* The same, with the pid that the query wants of column `column`, if it wants one. */
int vmi_tasks_start_wanted(struct vmi_tasks *t, struct vmi_rows *r, bool threads,
			   unsigned int column);
/* Fills in `out` and names the witnesses of the row that the caller makes of it. false: end. */
bool vmi_tasks_next(struct vmi_tasks *t, struct vmi_task *out);

/* Names them again: for each further row made of the same task. */
void vmi_task_witness(struct vmi_tasks *t, const struct vmi_task *task);

/* Loads a task from its task_struct's address. 0 or a negative errno value. */
int vmi_task_load(struct vmi_tasks *t, uint64_t gva, struct vmi_task *out);

/* gva of the task_struct of pid 1; 0 = not found. */
uint64_t vmi_first_task(struct vmi_walk *w);

/* The task's page table for vmi_read_as(); 0 = none. PTI: the kernel's half is complete in it. */
uint64_t vmi_mm_pgd(struct vmi_walk *w, uint64_t mm);

#endif /* VMI_TASK_H */
