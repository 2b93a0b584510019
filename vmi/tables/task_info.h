/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: what /proc would say of a task, from its task_struct.
 */
#ifndef VMI_TASK_INFO_H
#define VMI_TASK_INFO_H

#include "task.h"

/*
 * As /proc/PID/comm: of a kernel thread its whole name, of a worker also what it works or last
 * worked for. 64 bytes, as in fs/proc/array.c.
 */
#define VMI_TASK_NAME 65
void vmi_task_name(struct vmi_walk *w, const struct vmi_task *t, char name[VMI_TASK_NAME]);

/* The letter of /proc/PID/stat: R S D T t X Z P I; 0 = not known. */
char vmi_task_state(struct vmi_walk *w, const struct vmi_task *t);

/* Scheduling: what differs from kernel to kernel is -1 or 0 where it is not known. */
struct vmi_task_sched {
	int cpu; /* where it runs or ran last, -1 = not known */
	int policy; /* SCHED_* */
	int nice; /* -20 to 19 */
	int priority; /* as in /proc/PID/stat: 0 to 39, or negative for realtime */
	bool on_cpu; /* runs just now */
	uint64_t switches, forced_switches; /* voluntary and not */
	uint64_t start_ns; /* CLOCK_BOOTTIME */
};
void vmi_task_sched(struct vmi_walk *w, const struct vmi_task *t, struct vmi_task_sched *out);

/*
 * CPU time as /proc gives it: scheduled time, split as the ticks fell (kernel/sched/cputime.c:
 * cputime_adjust()). What has passed since the last tick of a running task is not in it.
 */
struct vmi_task_times {
	uint64_t user_ns, system_ns;
};
void vmi_task_times(struct vmi_walk *w, const struct vmi_task *t, struct vmi_task_times *out);
/* Of all threads, those that ended included. */
void vmi_process_times(struct vmi_tasks *ts, const struct vmi_task *leader,
		       struct vmi_task_times *out);

/* Storage I/O of all threads, those that ended included (/proc/PID/io). -ENOENT: not counted. */
struct vmi_task_io {
	uint64_t read_bytes, write_bytes, cancelled_write_bytes;
};
int vmi_process_io(struct vmi_tasks *ts, const struct vmi_task *leader, struct vmi_task_io *out);

struct vmi_cred {
	uint64_t gva; /* of the struct cred */
	uint32_t uid, gid, suid, sgid, euid, egid, fsuid, fsgid;
	uint32_t securebits;
	uint64_t inheritable, permitted, effective, bounding, ambient;
	uint64_t user_ns, groups; /* gva of user_namespace, group_info */
};
/* The credentials that others see of it (real_cred). 0 or a negative errno value. */
int vmi_task_cred(struct vmi_walk *w, const struct vmi_task *t, struct vmi_cred *out);

/* pid of the process that is its parent, 0 = none; ids of its process group and session. */
int32_t vmi_task_parent(struct vmi_walk *w, const struct vmi_task *t);
int32_t vmi_task_group(struct vmi_walk *w, const struct vmi_task *t);
int32_t vmi_task_session(struct vmi_walk *w, const struct vmi_task *t);

/*
 * Memory of a process, byte for byte from `start` on, up to the first page that is not there
 * (swapped out, never touched). Returns how many of `len` bytes there are.
 */
size_t vmi_user_read(struct vmi_walk *w, uint64_t pgd, uint64_t start, void *buf, size_t len);

#endif /* VMI_TASK_INFO_H */
