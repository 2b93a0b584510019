/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The namespaces of the guest's processes: /proc/PID/ns. */
#include <errno.h>

#include "task_info.h"

enum {
	COL_PID,
	COL_CGROUP,
	COL_IPC,
	COL_MNT,
	COL_NET,
	COL_PID_NS,
	COL_USER,
	COL_UTS,
	COL_TIME,
	COL_PID_CHILDREN,
	COL_TIME_CHILDREN,
};

static const struct vmi_column columns[] = {
	[COL_PID] = { "pid", VMI_INTEGER, "process id", true },
	[COL_CGROUP] = { "cgroup_namespace", VMI_TEXT, "inode of the cgroup namespace" },
	[COL_IPC] = { "ipc_namespace", VMI_TEXT, "inode of the ipc namespace" },
	[COL_MNT] = { "mnt_namespace", VMI_TEXT, "inode of the mount namespace" },
	[COL_NET] = { "net_namespace", VMI_TEXT, "inode of the network namespace" },
	[COL_PID_NS] = { "pid_namespace", VMI_TEXT, "inode of the pid namespace" },
	[COL_USER] = { "user_namespace", VMI_TEXT, "inode of the user namespace" },
	[COL_UTS] = { "uts_namespace", VMI_TEXT, "inode of the uts namespace" },
	[COL_TIME] = { "time_namespace", VMI_TEXT, "inode of the time namespace", .hidden = true },
	[COL_PID_CHILDREN] = { "pid_for_children_namespace", VMI_TEXT,
			       "inode of its children's pid namespace", .hidden = true },
	[COL_TIME_CHILDREN] = { "time_for_children_namespace", VMI_TEXT,
				"inode of its children's time namespace", .hidden = true },
};

enum {
	NSPROXY,
	THREAD_PID,
	LEVEL,
	NUMBERS,
	NUMBER_NS,
	USER_INUM,
	PID_INUM,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[NSPROXY] = "task_struct.nsproxy",
	[THREAD_PID] = "task_struct.thread_pid",
	[LEVEL] = "pid.level",
	[NUMBERS] = "pid.numbers",
	[NUMBER_NS] = "upid.ns",
	[USER_INUM] = "user_namespace.ns.inum",
	[PID_INUM] = "pid_namespace.ns.inum",
};

/* Those that nsproxy has: a member of it, and where the namespace has its inode number. */
enum { OF_CGROUP, OF_IPC, OF_MNT, OF_NET, OF_UTS, OF_TIME, OF_PID_CHILDREN, OF_TIME_CHILDREN, OF };

static const unsigned int of_column[OF] = {
	[OF_CGROUP] = COL_CGROUP,
	[OF_IPC] = COL_IPC,
	[OF_MNT] = COL_MNT,
	[OF_NET] = COL_NET,
	[OF_UTS] = COL_UTS,
	[OF_TIME] = COL_TIME,
	[OF_PID_CHILDREN] = COL_PID_CHILDREN,
	[OF_TIME_CHILDREN] = COL_TIME_CHILDREN,
};

static const char *const of_member[OF] = {
	[OF_CGROUP] = "nsproxy.cgroup_ns",
	[OF_IPC] = "nsproxy.ipc_ns",
	[OF_MNT] = "nsproxy.mnt_ns",
	[OF_NET] = "nsproxy.net_ns",
	[OF_UTS] = "nsproxy.uts_ns",
	[OF_TIME] = "nsproxy.time_ns",
	[OF_PID_CHILDREN] = "nsproxy.pid_ns_for_children",
	[OF_TIME_CHILDREN] = "nsproxy.time_ns_for_children",
};

static const char *const of_inum[OF] = {
	[OF_CGROUP] = "cgroup_namespace.ns.inum",    [OF_IPC] = "ipc_namespace.ns.inum",
	[OF_MNT] = "mnt_namespace.ns.inum",	     [OF_NET] = "net.ns.inum",
	[OF_UTS] = "uts_namespace.ns.inum",	     [OF_TIME] = "time_namespace.ns.inum",
	[OF_PID_CHILDREN] = "pid_namespace.ns.inum", [OF_TIME_CHILDREN] = "time_namespace.ns.inum",
};

/* MAX_PID_NS_LEVEL (include/linux/pid_namespace.h) */
#define LEVEL_MAX 32

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	const struct vmi_field *f, *member, *inum;
};

static void inode(struct scan *s, unsigned int column, uint64_t ns, const struct vmi_field *inum)
{
	uint64_t v;

	if (ns && !vmi_get(s->w, ns, inum, &v))
		vmi_strf(s->r, column, "%u", (unsigned int)v);
}

/* task_active_pid_ns(): that in which its innermost number counts. */
static uint64_t pid_ns(struct scan *s, const struct vmi_task *t)
{
	const struct vmi_field *f = s->f;
	uint64_t pid = vmi_val(s->w, t->gva, &f[THREAD_PID]);
	uint64_t level = vmi_val(s->w, pid, &f[LEVEL]);

	if (!pid || level > LEVEL_MAX || !f[NUMBERS].present)
		return 0;
	return vmi_val(s->w, pid + f[NUMBERS].offset + level * f[NUMBERS].elem_size, &f[NUMBER_NS]);
}

static bool row(struct scan *s, const struct vmi_task *t)
{
	uint64_t proxy = vmi_val(s->w, t->gva, &s->f[NSPROXY]);
	struct vmi_cred cred;

	vmi_row(s->r);
	vmi_int(s->r, COL_PID, t->pid);
	/* One that ended has none any more, but still a pid and credentials. */
	for (unsigned int i = 0; proxy && i < OF; i++)
		if (vmi_wants(s->r, of_column[i]))
			inode(s, of_column[i], vmi_val(s->w, proxy, &s->member[i]), &s->inum[i]);
	if (vmi_wants(s->r, COL_PID_NS))
		inode(s, COL_PID_NS, pid_ns(s, t), &s->f[PID_INUM]);
	if (vmi_wants(s->r, COL_USER) && !vmi_task_cred(s->w, t, &cred))
		inode(s, COL_USER, cred.user_ns, &s->f[USER_INUM]);
	return vmi_row_end(s->r);
}

static int rows(struct vmi_rows *r)
{
	struct scan s = { .r = r, .w = vmi_rows_walk(r) };
	struct vmi_tasks tasks;
	struct vmi_task t;
	int err = vmi_tasks_start_wanted(&tasks, r, false, COL_PID);

	if (err)
		return err;
	s.f = vmi_layout(s.w->guest, paths, FIELDS);
	s.member = vmi_layout(s.w->guest, of_member, OF);
	s.inum = vmi_layout(s.w->guest, of_inum, OF);
	if (!s.f || !s.member || !s.inum)
		return -ENOMEM;
	while (vmi_tasks_next(&tasks, &t))
		if (row(&s, &t))
			break;
	return 0;
}

const struct vmi_table vmi_table_process_namespaces = {
	.name = "process_namespaces",
	.doc = "Namespaces of the guest's processes.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
