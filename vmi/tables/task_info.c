/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "task_info.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	/* of task_struct, near each other */
	EXIT_STATE,
	UTIME,
	STIME,
	PREV_UTIME,
	PREV_STIME,
	NVCSW,
	NIVCSW,
	START,
	NEAR,
	/* of task_struct, elsewhere */
	STATE = NEAR,
	ON_CPU,
	CPU,
	POLICY,
	PRIO,
	STATIC_PRIO,
	SUM_EXEC,
	READ_BYTES,
	WRITE_BYTES,
	CANCELLED,
	REAL_PARENT,
	REAL_CRED,
	PRIVATE,
	/* others */
	THREAD_NODE,
	THREAD_HEAD,
	S_UTIME,
	S_STIME,
	S_PREV_UTIME,
	S_PREV_STIME,
	S_SUM,
	S_READ_BYTES,
	S_WRITE_BYTES,
	S_CANCELLED,
	S_PIDS,
	PID_NR,
	TGID,
	KTHREAD_NAME,
	KTHREAD_DATA,
	WORKER_DESC,
	WORKER_CURRENT,
	WORKER_POOL,
	WORKER_ID,
	WORKER_RESCUE,
	POOL_CPU,
	POOL_ID,
	POOL_ATTRS,
	ATTRS_NICE,
	WQ_NAME,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[EXIT_STATE] = "task_struct.exit_state",
	[UTIME] = "task_struct.utime",
	[STIME] = "task_struct.stime",
	[PREV_UTIME] = "task_struct.prev_cputime.utime",
	[PREV_STIME] = "task_struct.prev_cputime.stime",
	[NVCSW] = "task_struct.nvcsw",
	[NIVCSW] = "task_struct.nivcsw",
	[START] = "task_struct.start_boottime|task_struct.real_start_time",
	[STATE] = "task_struct.__state|task_struct.state",
	[ON_CPU] = "task_struct.on_cpu",
	/* thread_info has had it since 5.16 */
	[CPU] = "task_struct.thread_info.cpu|task_struct.cpu",
	[POLICY] = "task_struct.policy",
	[PRIO] = "task_struct.prio",
	[STATIC_PRIO] = "task_struct.static_prio",
	[SUM_EXEC] = "task_struct.se.sum_exec_runtime",
	[READ_BYTES] = "task_struct.ioac.read_bytes",
	[WRITE_BYTES] = "task_struct.ioac.write_bytes",
	[CANCELLED] = "task_struct.ioac.cancelled_write_bytes",
	[REAL_PARENT] = "task_struct.real_parent",
	[REAL_CRED] = "task_struct.real_cred",
	/* struct kthread of a kernel thread; before 5.17 in a place that only processes need */
	[PRIVATE] = "task_struct.worker_private|task_struct.set_child_tid",
	[THREAD_NODE] = "task_struct.thread_node",
	[THREAD_HEAD] = "signal_struct.thread_head",
	[S_UTIME] = "signal_struct.utime",
	[S_STIME] = "signal_struct.stime",
	[S_PREV_UTIME] = "signal_struct.prev_cputime.utime",
	[S_PREV_STIME] = "signal_struct.prev_cputime.stime",
	[S_SUM] = "signal_struct.sum_sched_runtime",
	[S_READ_BYTES] = "signal_struct.ioac.read_bytes",
	[S_WRITE_BYTES] = "signal_struct.ioac.write_bytes",
	[S_CANCELLED] = "signal_struct.ioac.cancelled_write_bytes",
	[S_PIDS] = "signal_struct.pids",
	[PID_NR] = "pid.numbers.nr",
	[TGID] = "task_struct.tgid",
	[KTHREAD_NAME] = "kthread.full_name",
	[KTHREAD_DATA] = "kthread.data",
	[WORKER_DESC] = "worker.desc",
	[WORKER_CURRENT] = "worker.current_work",
	[WORKER_POOL] = "worker.pool",
	[WORKER_ID] = "worker.id",
	[WORKER_RESCUE] = "worker.rescue_wq",
	[POOL_CPU] = "worker_pool.cpu",
	[POOL_ID] = "worker_pool.id",
	[POOL_ATTRS] = "worker_pool.attrs",
	[ATTRS_NICE] = "workqueue_attrs.nice",
	[WQ_NAME] = "workqueue_struct.name",
};

/* include/linux/sched.h: the same in all kernels */
#define PF_WQ_WORKER	     0x00000020u
#define TASK_UNINTERRUPTIBLE 0x0002u
#define TASK_NOLOAD	     0x0400u
#define TASK_RTLOCK_WAIT     0x1000u
#define TASK_FROZEN	     0x8000u
#define TASK_REPORT	     0x007fu
#define TASK_REPORT_IDLE     0x0080u

/* enum pid_type (include/linux/pid_types.h) */
#define PIDTYPE_PGID 2
#define PIDTYPE_SID  3

#define MAX_RT_PRIO  100
#define DEFAULT_PRIO 120
#define GUEST_PAGE   4096u

static const struct vmi_field *fields(struct vmi_walk *w)
{
	static const struct vmi_field none[FIELDS];
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);

	return f ? f : none;
}

/* ----------------------------------------------------------------------------------------- name */

/* kernel/workqueue.c: format_worker_id(), there since 6.11; before, comm says the same, shorter. */
static int worker_id(struct vmi_walk *w, uint64_t worker, uint64_t pool, char *name, size_t size)
{
	const struct vmi_field *f = fields(w);
	uint64_t wq = vmi_val(w, worker, &f[WORKER_RESCUE]);
	unsigned int id = (unsigned int)vmi_val(w, worker, &f[WORKER_ID]);
	int cpu;

	if (wq) {
		char wq_name[33]; /* WQ_NAME_LEN */

		vmi_text_field(w, wq, &f[WQ_NAME], wq_name, sizeof(wq_name));
		return snprintf(name, size, "kworker/R-%s", wq_name);
	}
	if (!pool)
		return snprintf(name, size, "kworker/dying");
	cpu = (int)vmi_sval(w, pool, &f[POOL_CPU]);
	if (cpu >= 0) {
		uint64_t attrs = vmi_val(w, pool, &f[POOL_ATTRS]);

		return snprintf(name, size, "kworker/%d:%u%s", cpu, id,
				vmi_sval(w, attrs, &f[ATTRS_NICE]) < 0 ? "H" : "");
	}
	return snprintf(name, size, "kworker/u%d:%u", (int)vmi_sval(w, pool, &f[POOL_ID]), id);
}

/* kernel/workqueue.c: wq_worker_comm() */
static void worker_name(struct vmi_walk *w, const struct vmi_task *t, char name[VMI_TASK_NAME])
{
	const struct vmi_field *f = fields(w);
	uint64_t kthread = vmi_val(w, t->gva, &f[PRIVATE]);
	uint64_t worker = vmi_val(w, kthread, &f[KTHREAD_DATA]);
	uint64_t pool = vmi_val(w, worker, &f[WORKER_POOL]);
	char desc[64];
	size_t n;

	if (!worker)
		return;
	if (vmi_sym(w->guest, "format_worker_id"))
		worker_id(w, worker, pool, name, VMI_TASK_NAME - 1);
	if (!pool || vmi_text_field(w, worker, &f[WORKER_DESC], desc, sizeof(desc)) <= 0)
		return;
	n = strlen(name);
	/* the kernel's buffer has 64 bytes */
	snprintf(name + n, VMI_TASK_NAME - 1 - n, "%c%s",
		 vmi_val(w, worker, &f[WORKER_CURRENT]) ? '+' : '-', desc);
}

void vmi_task_name(struct vmi_walk *w, const struct vmi_task *t, char name[VMI_TASK_NAME])
{
	const struct vmi_field *f = fields(w);

	snprintf(name, VMI_TASK_NAME, "%s", t->comm);
	if (t->flags & PF_WQ_WORKER) {
		worker_name(w, t, name);
	} else if ((t->flags & VMI_PF_KTHREAD) && f[KTHREAD_NAME].present) {
		uint64_t kthread = vmi_val(w, t->gva, &f[PRIVATE]);
		uint64_t full = vmi_val(w, kthread, &f[KTHREAD_NAME]);
		char text[VMI_TASK_NAME - 1];

		if (full && vmi_text(w, full, text, sizeof(text)) > 0)
			snprintf(name, VMI_TASK_NAME, "%s", text);
	}
}

/* ---------------------------------------------------------------------------- state, scheduling */

/* include/linux/sched.h: __task_state_index() */
char vmi_task_state(struct vmi_walk *w, const struct vmi_task *t)
{
	static const char letters[] = "RSDTtXZPI";
	const struct vmi_field *f = fields(w);
	unsigned int state, report, i = 0;
	uint64_t v, exit_state;

	if (vmi_get(w, t->gva, &f[STATE], &v) || vmi_get(w, t->gva, &f[EXIT_STATE], &exit_state))
		return 0;
	state = (unsigned int)v;
	report = (state | (unsigned int)exit_state) & TASK_REPORT;
	if ((state & (TASK_UNINTERRUPTIBLE | TASK_NOLOAD)) == (TASK_UNINTERRUPTIBLE | TASK_NOLOAD))
		report = TASK_REPORT_IDLE;
	if (state & (TASK_RTLOCK_WAIT | TASK_FROZEN))
		report = TASK_UNINTERRUPTIBLE;
	while (report >> i)
		i++;
	return letters[i];
}

void vmi_task_sched(struct vmi_walk *w, const struct vmi_task *t, struct vmi_task_sched *out)
{
	const struct vmi_field *f = fields(w);
	struct vmi_copy c;
	int err;

	memset(out, 0, sizeof(*out));
	vmi_copy(w, t->gva, f, NEAR, &c);
	out->switches = vmi_copied(w, &c, &f[NVCSW]);
	out->forced_switches = vmi_copied(w, &c, &f[NIVCSW]);
	out->start_ns = vmi_copied(w, &c, &f[START]);
	out->cpu = -1;
	err = vmi_copy(w, t->gva, &f[ON_CPU], STATIC_PRIO + 1 - ON_CPU, &c);
	if (!f[CPU].present) /* a kernel for one CPU */
		out->cpu = w->guest->cpus == 1 ? 0 : -1;
	else if (!err)
		out->cpu = (int)vmi_copied(w, &c, &f[CPU]);
	out->policy = (int)vmi_copied(w, &c, &f[POLICY]);
	out->nice = (int)vmi_copied(w, &c, &f[STATIC_PRIO]) - DEFAULT_PRIO;
	out->priority = (int)vmi_copied(w, &c, &f[PRIO]) - MAX_RT_PRIO;
	out->on_cpu = vmi_copied(w, &c, &f[ON_CPU]) != 0;
}

/* ---------------------------------------------------------------------------------------- times */

struct times {
	uint64_t user, system, run, prev_user, prev_system;
};

/*
 * kernel/sched/cputime.c: cputime_adjust(), as it would go now; what it would remember for the next
 * time is not written.
 */
static void adjust(const struct times *t, struct vmi_task_times *out)
{
	uint64_t system = t->system, user;

	out->user_ns = t->prev_user;
	out->system_ns = t->prev_system;
	if (t->prev_system + t->prev_user >= t->run)
		return;
	if (!t->system)
		system = 0;
	else if (!t->user)
		system = t->run;
	else
		system = (uint64_t)((unsigned __int128)t->system * t->run /
				    ((unsigned __int128)t->system + t->user));
	if (system < t->prev_system)
		system = t->prev_system;
	user = t->run - system;
	if (user < t->prev_user) {
		user = t->prev_user;
		system = t->run - user;
	}
	out->user_ns = user;
	out->system_ns = system;
}

static void add_times(struct vmi_walk *w, uint64_t task, struct times *sum, struct vmi_copy *c)
{
	const struct vmi_field *f = fields(w);

	vmi_copy(w, task, f, NEAR, c);
	sum->user += vmi_copied(w, c, &f[UTIME]);
	sum->system += vmi_copied(w, c, &f[STIME]);
	sum->run += vmi_val(w, task, &f[SUM_EXEC]);
}

void vmi_task_times(struct vmi_walk *w, const struct vmi_task *t, struct vmi_task_times *out)
{
	const struct vmi_field *f = fields(w);
	struct times sum = { 0 };
	struct vmi_copy c;

	add_times(w, t->gva, &sum, &c);
	sum.prev_user = vmi_copied(w, &c, &f[PREV_UTIME]);
	sum.prev_system = vmi_copied(w, &c, &f[PREV_STIME]);
	adjust(&sum, out);
}

static void threads_start(struct vmi_list *l, struct vmi_walk *w, const struct vmi_task *leader)
{
	vmi_list_start(l, w, leader->signal + fields(w)[THREAD_HEAD].offset,
		       "signal_struct.thread_head");
}

void vmi_process_times(struct vmi_tasks *ts, const struct vmi_task *leader,
		       struct vmi_task_times *out)
{
	struct vmi_walk *w = ts->w;
	const struct vmi_field *f = fields(w);
	struct vmi_copy c, s;
	struct times sum = { 0 };
	struct vmi_list l;
	uint64_t node;

	memset(out, 0, sizeof(*out));
	if (vmi_copy(w, leader->signal, &f[S_UTIME], S_SUM + 1 - S_UTIME, &s))
		return;
	sum.user = vmi_copied(w, &s, &f[S_UTIME]);
	sum.system = vmi_copied(w, &s, &f[S_STIME]);
	sum.run = vmi_copied(w, &s, &f[S_SUM]);
	sum.prev_user = vmi_copied(w, &s, &f[S_PREV_UTIME]);
	sum.prev_system = vmi_copied(w, &s, &f[S_PREV_STIME]);
	threads_start(&l, w, leader);
	while ((node = vmi_list_next(&l)))
		add_times(w, node - f[THREAD_NODE].offset, &sum, &c);
	adjust(&sum, out);
}

int vmi_process_io(struct vmi_tasks *ts, const struct vmi_task *leader, struct vmi_task_io *out)
{
	struct vmi_walk *w = ts->w;
	const struct vmi_field *f = fields(w);
	struct vmi_copy c;
	struct vmi_list l;
	uint64_t node;
	int err;

	memset(out, 0, sizeof(*out));
	if (!f[READ_BYTES].present || !f[S_READ_BYTES].present)
		return -ENOENT;
	err = vmi_copy(w, leader->signal, &f[S_READ_BYTES], S_CANCELLED + 1 - S_READ_BYTES, &c);
	if (err)
		return err;
	out->read_bytes = vmi_copied(w, &c, &f[S_READ_BYTES]);
	out->write_bytes = vmi_copied(w, &c, &f[S_WRITE_BYTES]);
	out->cancelled_write_bytes = vmi_copied(w, &c, &f[S_CANCELLED]);
	threads_start(&l, w, leader);
	while ((node = vmi_list_next(&l))) {
		uint64_t task = node - f[THREAD_NODE].offset;

		err = vmi_copy(w, task, &f[READ_BYTES], CANCELLED + 1 - READ_BYTES, &c);
		if (err)
			return err;
		out->read_bytes += vmi_copied(w, &c, &f[READ_BYTES]);
		out->write_bytes += vmi_copied(w, &c, &f[WRITE_BYTES]);
		out->cancelled_write_bytes += vmi_copied(w, &c, &f[CANCELLED]);
	}
	return 0;
}

/* ----------------------------------------------------------------------------- ids, credentials */

enum {
	C_UID,
	C_GID,
	C_SUID,
	C_SGID,
	C_EUID,
	C_EGID,
	C_FSUID,
	C_FSGID,
	C_SECUREBITS,
	C_INHERITABLE,
	C_PERMITTED,
	C_EFFECTIVE,
	C_BOUNDING,
	C_AMBIENT,
	C_USER_NS,
	C_GROUPS,
	CRED_FIELDS,
};

static const char *const cred_paths[CRED_FIELDS] = {
	[C_UID] = "cred.uid",
	[C_GID] = "cred.gid",
	[C_SUID] = "cred.suid",
	[C_SGID] = "cred.sgid",
	[C_EUID] = "cred.euid",
	[C_EGID] = "cred.egid",
	[C_FSUID] = "cred.fsuid",
	[C_FSGID] = "cred.fsgid",
	[C_SECUREBITS] = "cred.securebits",
	[C_INHERITABLE] = "cred.cap_inheritable",
	[C_PERMITTED] = "cred.cap_permitted",
	[C_EFFECTIVE] = "cred.cap_effective",
	[C_BOUNDING] = "cred.cap_bset",
	[C_AMBIENT] = "cred.cap_ambient",
	[C_USER_NS] = "cred.user_ns",
	[C_GROUPS] = "cred.group_info",
};

int vmi_task_cred(struct vmi_walk *w, const struct vmi_task *t, struct vmi_cred *out)
{
	const struct vmi_field *f = vmi_layout(w->guest, cred_paths, CRED_FIELDS);
	struct vmi_copy c;
	int err;

	memset(out, 0, sizeof(*out));
	if (!f)
		return -ENOMEM;
	if (!f[C_UID].present)
		return -ENOENT;
	err = vmi_get(w, t->gva, &fields(w)[REAL_CRED], &out->gva);
	if (!err)
		err = vmi_copy(w, out->gva, f, CRED_FIELDS, &c);
	if (err)
		return err;
	out->uid = (uint32_t)vmi_copied(w, &c, &f[C_UID]);
	out->gid = (uint32_t)vmi_copied(w, &c, &f[C_GID]);
	out->suid = (uint32_t)vmi_copied(w, &c, &f[C_SUID]);
	out->sgid = (uint32_t)vmi_copied(w, &c, &f[C_SGID]);
	out->euid = (uint32_t)vmi_copied(w, &c, &f[C_EUID]);
	out->egid = (uint32_t)vmi_copied(w, &c, &f[C_EGID]);
	out->fsuid = (uint32_t)vmi_copied(w, &c, &f[C_FSUID]);
	out->fsgid = (uint32_t)vmi_copied(w, &c, &f[C_FSGID]);
	out->securebits = (uint32_t)vmi_copied(w, &c, &f[C_SECUREBITS]);
	/* kernel_cap_t: two words, the lower first, before 6.3, and one of the same size since */
	out->inheritable = vmi_copied(w, &c, &f[C_INHERITABLE]);
	out->permitted = vmi_copied(w, &c, &f[C_PERMITTED]);
	out->effective = vmi_copied(w, &c, &f[C_EFFECTIVE]);
	out->bounding = vmi_copied(w, &c, &f[C_BOUNDING]);
	out->ambient = vmi_copied(w, &c, &f[C_AMBIENT]);
	out->user_ns = vmi_copied(w, &c, &f[C_USER_NS]);
	out->groups = vmi_copied(w, &c, &f[C_GROUPS]);
	return 0;
}

int32_t vmi_task_parent(struct vmi_walk *w, const struct vmi_task *t)
{
	const struct vmi_field *f = fields(w);

	return (int32_t)vmi_val(w, vmi_val(w, t->gva, &f[REAL_PARENT]), &f[TGID]);
}

/* signal_struct.pids[type]: as the first pid namespace numbers it. */
static int32_t signal_pid(struct vmi_walk *w, const struct vmi_task *t, unsigned int type)
{
	const struct vmi_field *f = fields(w);
	uint64_t pid;

	if (!f[S_PIDS].present || type >= f[S_PIDS].count || !t->signal ||
	    vmi_ptr(w, t->signal + f[S_PIDS].offset + 8ull * type, &pid))
		return 0;
	return (int32_t)vmi_val(w, pid, &f[PID_NR]);
}

int32_t vmi_task_group(struct vmi_walk *w, const struct vmi_task *t)
{
	return signal_pid(w, t, PIDTYPE_PGID);
}

int32_t vmi_task_session(struct vmi_walk *w, const struct vmi_task *t)
{
	return signal_pid(w, t, PIDTYPE_SID);
}

size_t vmi_user_read(struct vmi_walk *w, uint64_t pgd, uint64_t start, void *buf, size_t len)
{
	size_t done = 0;

	if (!pgd || start + len < start)
		return 0;
	while (done < len) {
		size_t n = GUEST_PAGE - (start + done) % GUEST_PAGE;

		if (n > len - done)
			n = len - done;
		if (vmi_read_as(w, pgd, start + done, (char *)buf + done, n))
			break;
		done += n;
	}
	return done;
}
