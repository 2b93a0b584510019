/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All threads of the guest, and how they are scheduled. */
#include <errno.h>

#include "clock.h"
#include "task_info.h"

enum {
	COL_TID,
	COL_PID,
	COL_NAME,
	COL_STATE,
	COL_CPU,
	COL_ON_CPU,
	COL_POLICY,
	COL_PRIORITY,
	COL_NICE,
	COL_USER_TIME,
	COL_SYSTEM_TIME,
	COL_SWITCHES,
	COL_FORCED_SWITCHES,
	COL_START_TIME,
	COL_KERNEL,
	COL_FLAGS,
	COL_TASK,
	COL_STACK,
	COL_START_NS,
};

static const struct vmi_column columns[] = {
	[COL_TID] = { "tid", VMI_INTEGER, "thread id, in the guest's first pid namespace" },
	[COL_PID] = { "pid", VMI_INTEGER, "id of its process", true },
	[COL_NAME] = { "name", VMI_TEXT, "its name, as in /proc/PID/task/TID/comm" },
	[COL_STATE] = { "state", VMI_TEXT, "R, S, D, T, t, X, Z, P or I" },
	[COL_CPU] = { "cpu", VMI_INTEGER, "where it runs, or ran last" },
	[COL_ON_CPU] = { "on_cpu", VMI_INTEGER, "1: it runs now" },
	[COL_POLICY] = { "policy", VMI_TEXT, "normal, fifo, rr, batch, idle, deadline, ext" },
	[COL_PRIORITY] = { "priority", VMI_INTEGER,
			   "as in /proc/PID/stat: 0 to 39, realtime below" },
	[COL_NICE] = { "nice", VMI_INTEGER, "nice level, -20 to 19" },
	[COL_USER_TIME] = { "user_time", VMI_INTEGER, "CPU time in user mode, ms" },
	[COL_SYSTEM_TIME] = { "system_time", VMI_INTEGER, "CPU time in the kernel, ms" },
	[COL_SWITCHES] = { "voluntary_switches", VMI_INTEGER, "how often it gave the CPU away" },
	[COL_FORCED_SWITCHES] = { "involuntary_switches", VMI_INTEGER,
				  "how often the CPU was taken from it" },
	[COL_START_TIME] = { "start_time", VMI_INTEGER, "seconds since the epoch" },
	[COL_KERNEL] = { "kernel", VMI_INTEGER, "1: a kernel thread" },
	[COL_FLAGS] = { "flags", VMI_TEXT, "PF_* of include/linux/sched.h, hexadecimal" },
	[COL_TASK] = { "task", VMI_TEXT, "address of its task_struct" },
	[COL_STACK] = { "stack", VMI_TEXT, "address of its kernel stack" },
	[COL_START_NS] = { "start_time_ns", VMI_INTEGER, "ns since boot", .hidden = true },
};

enum { STACK, FIELDS };

static const char *const paths[FIELDS] = { [STACK] = "task_struct.stack" };

/* include/uapi/linux/sched.h */
static const char *policy(int p)
{
	static const char *const names[] = { "normal", "fifo", "rr",	   "batch",
					     NULL,     "idle", "deadline", "ext" };

	return p >= 0 && p < (int)(sizeof(names) / sizeof(names[0])) ? names[p] : NULL;
}

static void schedule(struct vmi_rows *r, const struct vmi_task *t, const struct vmi_clock *clock)
{
	struct vmi_task_sched s;

	vmi_task_sched(vmi_rows_walk(r), t, &s);
	if (s.cpu >= 0)
		vmi_int(r, COL_CPU, s.cpu);
	vmi_int(r, COL_ON_CPU, s.on_cpu);
	vmi_str(r, COL_POLICY, policy(s.policy));
	vmi_int(r, COL_PRIORITY, s.priority);
	vmi_int(r, COL_NICE, s.nice);
	vmi_int(r, COL_SWITCHES, (int64_t)s.switches);
	vmi_int(r, COL_FORCED_SWITCHES, (int64_t)s.forced_switches);
	vmi_int(r, COL_START_NS, (int64_t)s.start_ns);
	if (clock)
		vmi_int(r, COL_START_TIME,
			clock->boot_ns / 1000000000 + (int64_t)(s.start_ns / 1000000000));
}

static bool row(struct vmi_rows *r, const struct vmi_field *f, const struct vmi_task *t,
		const struct vmi_clock *clock)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	char name[VMI_TASK_NAME], state[2] = { 0 };
	uint64_t stack;

	vmi_row(r);
	vmi_int(r, COL_TID, t->pid);
	vmi_int(r, COL_PID, t->tgid);
	if (vmi_wants(r, COL_NAME)) {
		vmi_task_name(w, t, name);
		vmi_str(r, COL_NAME, name);
	}
	state[0] = vmi_task_state(w, t);
	vmi_str(r, COL_STATE, state[0] ? state : NULL);
	schedule(r, t, clock);
	if (vmi_wants(r, COL_USER_TIME) || vmi_wants(r, COL_SYSTEM_TIME)) {
		struct vmi_task_times times;

		vmi_task_times(w, t, &times);
		vmi_int(r, COL_USER_TIME, (int64_t)(times.user_ns / 1000000));
		vmi_int(r, COL_SYSTEM_TIME, (int64_t)(times.system_ns / 1000000));
	}
	vmi_int(r, COL_KERNEL, !!(t->flags & VMI_PF_KTHREAD));
	vmi_strf(r, COL_FLAGS, "0x%08x", t->flags);
	vmi_hex(r, COL_TASK, t->gva);
	if (!vmi_get(w, t->gva, &f[STACK], &stack))
		vmi_hex(r, COL_STACK, stack);
	return vmi_row_end(r);
}

static int rows(struct vmi_rows *r)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);
	struct vmi_clock clock;
	struct vmi_tasks tasks;
	struct vmi_task t;
	bool has_clock;
	int err = vmi_tasks_start_wanted(&tasks, r, true, COL_PID);

	if (err)
		return err;
	if (!f)
		return -ENOMEM;
	has_clock = !vmi_clock(w, &clock);
	vmi_witness_reset(w);
	while (vmi_tasks_next(&tasks, &t))
		if (row(r, f, &t, has_clock ? &clock : NULL))
			break;
	return 0;
}

const struct vmi_table vmi_table_threads = {
	.name = "threads",
	.doc = "All threads of the guest, kernel threads among them.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
