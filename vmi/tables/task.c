/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "task.h"

#include <errno.h>
#include <string.h>

enum {
	PID,
	TGID,
	COMM,
	MM,
	SIGNAL,
	NEAR, /* above: members of task_struct that lie near each other */
	FLAGS = NEAR,
	TASKS,
	THREAD_NODE,
	PID_LINKS,
	THREAD_HEAD,
	PGD,
	NS_IDR,
	IDR_ROOT,
	IDR_BASE,
	PID_TASKS,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[TASKS] = "task_struct.tasks",
	[PID] = "task_struct.pid",
	[TGID] = "task_struct.tgid",
	[FLAGS] = "task_struct.flags",
	[COMM] = "task_struct.comm",
	[MM] = "task_struct.mm",
	[SIGNAL] = "task_struct.signal",
	[THREAD_NODE] = "task_struct.thread_node",
	[PID_LINKS] = "task_struct.pid_links",
	[THREAD_HEAD] = "signal_struct.thread_head",
	[PGD] = "mm_struct.pgd",
	[NS_IDR] = "pid_namespace.idr",
	[IDR_ROOT] = "idr.idr_rt",
	[IDR_BASE] = "idr.idr_base",
	[PID_TASKS] = "pid.tasks",
};

/* pid.tasks[] and task_struct.pid_links[]: PIDTYPE_PID is the first (include/linux/pid_types.h). */
#define LIST_NEXT 0
#define LIST_PREV 8

/* As find_task_by_pid_ns(pid, &init_pid_ns); 0 = none. */
static uint64_t find_task(struct vmi_walk *w, const struct vmi_field *f, int64_t pid)
{
	uint64_t ns = vmi_sym(w->guest, "init_pid_ns"), idr, base, struct_pid, node;

	for (int i = NS_IDR; i < FIELDS; i++)
		if (!f[i].present)
			return 0;
	if (!ns || !f[PID_LINKS].present)
		return 0;
	idr = ns + f[NS_IDR].offset;
	base = vmi_val(w, idr, &f[IDR_BASE]);
	if (pid < 0 || (uint64_t)pid < base)
		return 0;
	struct_pid = vmi_xa_load(w, idr + f[IDR_ROOT].offset, (uint64_t)pid - base);
	if (!struct_pid || vmi_ptr(w, struct_pid + f[PID_TASKS].offset, &node) || !node)
		return 0;
	return node - f[PID_LINKS].offset;
}

/*
 * Whether the task is on the list of all tasks: what the IDR alone knows is none of its rows. Its
 * neighbour then points back to it.
 */
static bool listed(struct vmi_tasks *t, uint64_t task)
{
	uint64_t node = task + t->f[TASKS].offset, next, back;

	return !vmi_ptr(t->w, node + LIST_NEXT, &next) && next != node &&
	       !vmi_ptr(t->w, next + LIST_PREV, &back) && back == node;
}

int vmi_tasks_start(struct vmi_tasks *t, struct vmi_rows *r, bool threads, int64_t pid)
{
	struct vmi_guest *g = vmi_rows_guest(r);
	uint64_t init = vmi_sym(g, "init_task"), one;

	memset(t, 0, sizeof(*t));
	t->r = r;
	t->w = vmi_rows_walk(r);
	t->threads = threads;
	t->f = vmi_layout(g, paths, FIELDS);
	if (!t->f)
		return -ENOMEM;
	if (!init) {
		vmi_rows_error(r, "the guest's symbols have no init_task");
		return -ENOENT;
	}
	for (int i = 0; i <= PGD; i++) {
		if (t->f[i].present || i == PID_LINKS)
			continue;
		vmi_rows_error(r, "the guest's types have no %s", paths[i]);
		return -ENOENT;
	}
	vmi_list_start(&t->outer, t->w, init + t->f[TASKS].offset, "task_struct.tasks");
	one = pid >= 0 ? find_task(t->w, t->f, pid) : 0;
	if (one && listed(t, one) && !vmi_task_load(t, one, &t->leader) && t->leader.pid == pid &&
	    t->leader.tgid == pid)
		t->single = true;
	return 0;
}

int vmi_tasks_start_wanted(struct vmi_tasks *t, struct vmi_rows *r, bool threads,
			   unsigned int column)
{
	int64_t pid;

	if (!vmi_want_int(r, column, &pid) || pid < 0)
		pid = -1;
	return vmi_tasks_start(t, r, threads, pid);
}

uint64_t vmi_first_task(struct vmi_walk *w)
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);

	return f ? find_task(w, f, 1) : 0;
}

uint64_t vmi_mm_pgd(struct vmi_walk *w, uint64_t mm)
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);
	uint64_t pgd, gpa, left;

	if (!f || !mm || vmi_get(w, mm, &f[PGD], &pgd) || !pgd ||
	    vmi_translate(w, w->guest->pgd, pgd, &gpa, &left, NULL))
		return 0;
	return gpa;
}

int vmi_task_load(struct vmi_tasks *t, uint64_t gva, struct vmi_task *out)
{
	const struct vmi_field *f = t->f;
	struct vmi_copy c;
	const char *comm;
	uint64_t v;
	int err;

	memset(out, 0, sizeof(*out));
	err = vmi_copy(t->w, gva, f, NEAR, &c);
	if (!err)
		err = vmi_get(t->w, gva, &f[FLAGS], &v);
	if (err)
		return err;
	out->gva = gva;
	out->flags = (uint32_t)v;
	out->pid = (int32_t)vmi_copied(t->w, &c, &f[PID]);
	out->tgid = (int32_t)vmi_copied(t->w, &c, &f[TGID]);
	out->signal = vmi_copied(t->w, &c, &f[SIGNAL]);
	comm = vmi_copy_at(&c, gva + f[COMM].offset, 16);
	if (comm)
		memcpy(out->comm, comm, 16);
	else
		vmi_text_field(t->w, gva, &f[COMM], out->comm, sizeof(out->comm));
	/* A kernel thread may borrow a process' memory (kthread_use_mm()): that is not its own. */
	if (!(out->flags & VMI_PF_KTHREAD))
		out->mm = vmi_copied(t->w, &c, &f[MM]);
	out->pgd = vmi_mm_pgd(t->w, out->mm);
	return 0;
}

void vmi_task_witness(struct vmi_tasks *t, const struct vmi_task *task)
{
	const struct vmi_field *f = t->f;

	/* Freed task_structs are used again at once: the pid tells. */
	vmi_witness(t->w, task->gva + f[PID].offset, 4, (uint32_t)task->pid);
	vmi_witness(t->w, task->gva + f[TGID].offset, 4, (uint32_t)task->tgid);
	if (task->mm)
		vmi_witness(t->w, task->gva + f[MM].offset, 8, task->mm);
	for (unsigned int i = 0; i < 16; i += 8) {
		uint64_t v;

		memcpy(&v, task->comm + i, 8);
		vmi_witness(t->w, task->gva + f[COMM].offset + i, 8, v);
	}
}

static bool next_leader(struct vmi_tasks *t)
{
	uint64_t node = vmi_list_next(&t->outer);

	if (!node)
		return false;
	if (!vmi_task_load(t, node - t->f[TASKS].offset, &t->leader))
		return true;
	vmi_walk_stop(t->w, VMI_STOP_FAULT, "task_struct.tasks");
	return false;
}

/* The next thread of the leader's group. A node of another process: the list moved under us. */
static bool next_thread(struct vmi_tasks *t, struct vmi_task *out)
{
	uint64_t node = vmi_list_next(&t->inner);

	if (!node)
		return false;
	if (vmi_task_load(t, node - t->f[THREAD_NODE].offset, out)) {
		vmi_walk_stop(t->w, VMI_STOP_FAULT, "signal_struct.thread_head");
		return false;
	}
	if (out->tgid != t->leader.tgid)
		t->w->torn = true;
	return true;
}

bool vmi_tasks_next(struct vmi_tasks *t, struct vmi_task *out)
{
	for (;;) {
		if (t->in_group) {
			if (next_thread(t, out))
				break;
			t->in_group = false;
		}
		if (t->single) {
			if (!t->leader.gva)
				return false;
		} else if (!next_leader(t)) {
			return false;
		}
		if (!t->threads) {
			*out = t->leader;
			t->leader.gva = t->single ? 0 : t->leader.gva;
			break;
		}
		if (!t->leader.signal)
			continue;
		vmi_list_start(&t->inner, t->w, t->leader.signal + t->f[THREAD_HEAD].offset,
			       "signal_struct.thread_head");
		t->in_group = true;
		t->leader.gva = t->single ? 0 : t->leader.gva;
	}
	vmi_task_witness(t, out);
	return true;
}
