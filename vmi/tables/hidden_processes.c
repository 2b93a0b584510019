/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tasks that one part of the kernel knows and another does not. A living task is in the list of
 * processes (or is a thread of one that is), has a number by which it is found, and a process is a
 * child of its parent. Who runs or waits for a CPU is in the scheduler's books, whatever became of
 * the others.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hidden_processes.h"

enum {
	COL_PID,
	COL_TGID,
	COL_NAME,
	COL_TASK,
	COL_IN_LIST,
	COL_IN_PID,
	COL_IN_TREE,
	COL_IN_CGROUP,
	COL_IN_QUEUE,
	COL_ON_CPU,
	COL_MISSING,
};

static const struct vmi_column columns[] = {
	[COL_PID] = { "pid", VMI_INTEGER, "thread, as it says itself" },
	[COL_TGID] = { "tgid", VMI_INTEGER, "process, as it says itself" },
	[COL_NAME] = { "name", VMI_TEXT, "its name" },
	[COL_TASK] = { "task_address", VMI_TEXT, "its task_struct" },
	[COL_IN_LIST] = { "in_list", VMI_INTEGER, "1: in the list of processes and their threads" },
	[COL_IN_PID] = { "in_pid", VMI_INTEGER, "1: found by its number" },
	[COL_IN_TREE] = { "in_tree", VMI_INTEGER, "1: a child of its parent; NULL for threads" },
	[COL_IN_CGROUP] = { "in_cgroup", VMI_INTEGER, "1: in a cgroup" },
	[COL_IN_QUEUE] = { "in_queue", VMI_INTEGER, "1: waits for a CPU" },
	[COL_ON_CPU] = { "on_cpu", VMI_INTEGER, "1: a CPU runs it" },
	[COL_MISSING] = { "missing", VMI_TEXT, "views that it should be in and is not, by comma" },
};

#define TASKS_MAX    (1u << 20)
#define CSS_BUCKETS  128 /* CSS_SET_HASH_BITS is 7 */
#define CSS_SETS_MAX (1u << 16)
#define RT_QUEUES    100 /* MAX_RT_PRIO */
#define TASK_DEAD    0x80 /* include/linux/sched.h, since 2.6 */
#define EXIT_DEAD    0x10

struct seen {
	uint64_t gva; /* 0 = free */
	unsigned int views;
};

/* A hash table by address: the power of two `room` is at least twice `n`. */
struct set {
	struct seen *v;
	size_t n, room;
};

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	struct vmi_guest *g;
	struct vmi_tasks tasks;
	struct set set;
	unsigned int views;
	int err;
	struct vmi_field state, exit_state, children, sibling, pid_links, cg_list, se_node, rt_list,
		rt_my_q;
	struct vmi_field rq_curr, rq_idle, rq_cfs, rq_rt;
	uint64_t *idle; /* the tasks of CPUs that have nothing to do */
	size_t n_idle;
};

static size_t slot_of(const struct set *s, uint64_t gva)
{
	size_t i = (size_t)(gva * 0x9e3779b97f4a7c15ull >> 20) & (s->room - 1);

	while (s->v[i].gva && s->v[i].gva != gva)
		i = (i + 1) & (s->room - 1);
	return i;
}

static int grow(struct set *s)
{
	struct set more = { .room = s->room ? s->room * 2 : 4096, .n = s->n };

	more.v = calloc(more.room, sizeof(*more.v));
	if (!more.v)
		return -ENOMEM;
	for (size_t i = 0; i < s->room; i++) {
		if (s->v[i].gva)
			more.v[slot_of(&more, s->v[i].gva)] = s->v[i];
	}
	free(s->v);
	*s = more;
	return 0;
}

/* Returns true where the task is new in that view. */
static bool see(struct scan *s, uint64_t gva, enum vmi_task_view view)
{
	struct seen *e;

	if (!gva || s->err)
		return false;
	if (s->set.n * 2 >= s->set.room) {
		s->err = s->set.n >= TASKS_MAX ? -E2BIG : grow(&s->set);
		if (s->err)
			return false;
	}
	e = &s->set.v[slot_of(&s->set, gva)];
	if (!e->gva) {
		e->gva = gva;
		s->set.n++;
	} else if (e->views & view) {
		return false;
	}
	e->views |= view;
	return true;
}

static unsigned int views_of(const struct set *s, uint64_t gva)
{
	return s->room ? s->v[slot_of(s, gva)].views : 0;
}

static void see_list(struct scan *s)
{
	struct vmi_task t;

	s->views |= VMI_TASK_IN_LIST;
	while (!s->err && vmi_tasks_next(&s->tasks, &t)) {
		see(s, t.gva, VMI_TASK_IN_LIST);
		vmi_witness_reset(s->w);
	}
}

static void see_pids(struct scan *s)
{
	struct vmi_field idr, tasks;
	uint64_t ns = vmi_sym(s->g, "init_pid_ns"), index, pid, first;
	struct vmi_xa x;

	if (!ns || !s->pid_links.present || vmi_field(s->g, "pid_namespace.idr", &idr) ||
	    vmi_field(s->g, "pid.tasks", &tasks))
		return;
	s->views |= VMI_TASK_IN_PID;
	vmi_xa_start(&x, s->w, ns + idr.offset, "pid_namespace.idr");
	while (!s->err && vmi_xa_next(&x, &index, &pid)) {
		/* PIDTYPE_PID is the first list: at most one task */
		if (!vmi_ptr(s->w, pid + tasks.offset, &first) && first)
			see(s, first - s->pid_links.offset, VMI_TASK_IN_PID);
	}
}

/* Breadth first, from the first idle task, whose children are init and kthreadd. */
static void see_tree(struct scan *s)
{
	uint64_t root = vmi_sym(s->g, "init_task"), node;
	uint64_t *queue = NULL;
	size_t n = 0, room = 0, at = 0;
	struct vmi_list l;

	if (!root || !s->children.present || !s->sibling.present)
		return;
	s->views |= VMI_TASK_IN_TREE;
	do {
		uint64_t parent = at ? queue[at - 1] : root;

		vmi_list_start(&l, s->w, parent + s->children.offset, "task_struct.children");
		while (!s->err && (node = vmi_list_next(&l))) {
			uint64_t child = node - s->sibling.offset;

			if (!see(s, child, VMI_TASK_IN_TREE))
				continue; /* it was moved to here, or guest memory lies */
			if (n == room) {
				size_t more = room ? room * 2 : 1024;
				uint64_t *q = reallocarray(queue, more, sizeof(*q));

				if (!q) {
					s->err = -ENOMEM;
					break;
				}
				queue = q;
				room = more;
			}
			queue[n++] = child;
		}
	} while (!s->err && at++ < n && !s->w->stop);
	free(queue);
}

static void see_cset_list(struct scan *s, uint64_t head)
{
	struct vmi_list l;
	uint64_t node;

	vmi_list_start(&l, s->w, head, "css_set.tasks");
	while (!s->err && (node = vmi_list_next(&l)))
		see(s, node - s->cg_list.offset, VMI_TASK_IN_CGROUP);
}

static void see_cgroups(struct scan *s)
{
	struct vmi_field hlist, tasks, moving;
	uint64_t table = vmi_sym(s->g, "css_set_table"), node;
	struct vmi_list l;

	if (!table || !s->cg_list.present || vmi_field(s->g, "css_set.hlist", &hlist) ||
	    vmi_field(s->g, "css_set.tasks", &tasks) ||
	    vmi_field(s->g, "css_set.mg_tasks", &moving))
		return;
	s->views |= VMI_TASK_IN_CGROUP;
	for (unsigned int i = 0; i < CSS_BUCKETS && !s->err && !s->w->stop; i++) {
		vmi_hlist_start(&l, s->w, table + i * 8ull, "css_set_table");
		while ((node = vmi_hlist_next(&l)) && l.n < CSS_SETS_MAX) {
			see_cset_list(s, node - hlist.offset + tasks.offset);
			see_cset_list(s, node - hlist.offset + moving.offset);
		}
	}
}

static void see_rt(struct scan *s, uint64_t rq)
{
	uint64_t queues = rq + s->rq_rt.offset, node;
	struct vmi_list l;
	uint64_t next[2 * RT_QUEUES];

	if (!s->rq_rt.present || !s->rt_list.present || vmi_read(s->w, queues, next, sizeof(next)))
		return;
	for (unsigned int i = 0; i < RT_QUEUES; i++) {
		if (!next[2 * i] || next[2 * i] == queues + i * 16ull)
			continue;
		vmi_list_start(&l, s->w, queues + i * 16ull, "rt_rq.active.queue");
		while (!s->err && (node = vmi_list_next(&l))) {
			uint64_t task = node - s->rt_list.offset;

			/* a group's, which has a queue of its own, is no task */
			if (!vmi_val(s->w, task, &s->rt_my_q))
				see(s, task, VMI_TASK_IN_QUEUE);
		}
	}
}

static void see_queues(struct scan *s)
{
	uint64_t queues = vmi_sym(s->g, "runqueues"), node;
	struct vmi_list l;

	if (!queues || !s->rq_curr.present)
		return;
	s->views |= VMI_TASK_ON_CPU;
	if (s->rq_cfs.present && s->se_node.present)
		s->views |= VMI_TASK_IN_QUEUE;
	s->n_idle = 0;
	free(s->idle);
	s->idle = calloc(s->g->cpus + 1, sizeof(*s->idle));
	if (!s->idle) {
		s->err = -ENOMEM;
		return;
	}
	for (unsigned int cpu = 0; cpu < s->g->cpus && !s->err && !s->w->stop; cpu++) {
		uint64_t rq = vmi_per_cpu(s->w, queues, cpu), curr, idle;

		/* A CPU that was never there has none. */
		if (!rq || vmi_get(s->w, rq, &s->rq_curr, &curr) || !curr)
			continue;
		idle = vmi_val(s->w, rq, &s->rq_idle);
		s->idle[s->n_idle++] = idle;
		if (curr != idle)
			see(s, curr, VMI_TASK_ON_CPU);
		see_rt(s, rq);
		if (!(s->views & VMI_TASK_IN_QUEUE))
			continue;
		vmi_list_start(&l, s->w, rq + s->rq_cfs.offset, "rq.cfs_tasks");
		while (!s->err && (node = vmi_list_next(&l)))
			see(s, node - s->se_node.offset, VMI_TASK_IN_QUEUE);
	}
}

static void find_types(struct scan *s)
{
	const struct {
		const char *path;
		struct vmi_field *field;
	} all[] = {
		{ "task_struct.__state|task_struct.state", &s->state },
		{ "task_struct.exit_state", &s->exit_state },
		{ "task_struct.children", &s->children },
		{ "task_struct.sibling", &s->sibling },
		{ "task_struct.pid_links", &s->pid_links },
		{ "task_struct.cg_list", &s->cg_list },
		{ "task_struct.se.group_node", &s->se_node },
		{ "task_struct.rt.run_list", &s->rt_list },
		{ "task_struct.rt.my_q", &s->rt_my_q },
		{ "rq.curr", &s->rq_curr },
		{ "rq.idle", &s->rq_idle },
		{ "rq.cfs_tasks", &s->rq_cfs },
		{ "rq.rt.active.queue", &s->rq_rt },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		vmi_field(s->g, all[i].path, all[i].field);
}

static int look(struct scan *s)
{
	int err = vmi_tasks_start(&s->tasks, s->r, true, -1);

	if (err)
		return err;
	see_list(s);
	see_pids(s);
	see_tree(s);
	see_cgroups(s);
	see_queues(s);
	vmi_witness_reset(s->w);
	return s->err;
}

static bool is_idle(const struct scan *s, uint64_t gva)
{
	for (size_t i = 0; i < s->n_idle; i++) {
		if (s->idle[i] == gva)
			return true;
	}
	return gva == vmi_sym(s->g, "init_task");
}

/* One that has ended leaves the views one by one. */
static bool is_dead(struct scan *s, uint64_t gva)
{
	return vmi_val(s->w, gva, &s->state) & TASK_DEAD ||
	       vmi_val(s->w, gva, &s->exit_state) & EXIT_DEAD;
}

static unsigned int missing(const struct scan *s, const struct vmi_task *t, unsigned int seen)
{
	unsigned int must = VMI_TASK_IN_LIST | VMI_TASK_IN_PID;

	if (t->pid == t->tgid)
		must |= VMI_TASK_IN_TREE;
	return must & s->views & ~seen;
}

/* Those of the second look that were as odd in the first. */
static void report(struct scan *s, const struct set *first,
		   bool (*fn)(void *arg, const struct vmi_hidden_task *h), void *arg)
{
	for (size_t i = 0; i < s->set.room; i++) {
		struct vmi_hidden_task h = { .views = s->set.v[i].views };
		uint64_t gva = s->set.v[i].gva;

		if (!gva || is_idle(s, gva) || vmi_task_load(&s->tasks, gva, &h.task))
			continue;
		h.missing = missing(s, &h.task, h.views);
		if (first->room && h.missing)
			h.missing = missing(s, &h.task, views_of(first, gva)) & h.missing;
		if (!h.missing || is_dead(s, gva))
			continue;
		vmi_witness_reset(s->w);
		if (fn(arg, &h))
			return;
	}
}

int vmi_hidden_tasks(struct vmi_rows *r, unsigned int *views,
		     bool (*fn)(void *arg, const struct vmi_hidden_task *h), void *arg)
{
	struct scan s = { .r = r, .w = vmi_rows_walk(r), .g = vmi_rows_guest(r) };
	struct set first = { 0 };
	int err;

	find_types(&s);
	err = look(&s);
	/* A dump does not change. */
	if (!err && s.g->target->kind == VMI_TARGET_LIVE && !s.w->stop) {
		first = s.set;
		s.set = (struct set){ 0 };
		err = look(&s);
	}
	if (views)
		*views = s.views;
	/* A look that was cut short misses what it did not come to. */
	if (!err && !s.w->stop)
		report(&s, &first, fn, arg);
	free(first.v);
	free(s.set.v);
	free(s.idle);
	return err;
}

void vmi_task_views(unsigned int views, char *buf, size_t size)
{
	static const char *const names[VMI_TASK_VIEWS] = { "list",   "pid",   "tree",
							   "cgroup", "queue", "cpu" };
	size_t len = 0;

	*buf = 0;
	for (unsigned int i = 0; i < VMI_TASK_VIEWS && len < size; i++) {
		if (views >> i & 1)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? "," : "",
						names[i]);
	}
}

struct out {
	struct vmi_rows *r;
	unsigned int views;
};

static bool row(void *arg, const struct vmi_hidden_task *h)
{
	struct out *o = arg;
	char text[64];

	vmi_row(o->r);
	vmi_int(o->r, COL_PID, h->task.pid);
	vmi_int(o->r, COL_TGID, h->task.tgid);
	vmi_str(o->r, COL_NAME, h->task.comm);
	vmi_hex(o->r, COL_TASK, h->task.gva);
	for (unsigned int i = 0; i < VMI_TASK_VIEWS; i++) {
		if (!(o->views >> i & 1) ||
		    (1u << i == VMI_TASK_IN_TREE && h->task.pid != h->task.tgid))
			continue;
		vmi_int(o->r, COL_IN_LIST + i, h->views >> i & 1);
	}
	vmi_task_views(h->missing, text, sizeof(text));
	vmi_str(o->r, COL_MISSING, text);
	return vmi_row_end(o->r);
}

static int rows(struct vmi_rows *r)
{
	struct out o = { .r = r };
	int err = vmi_hidden_tasks(r, &o.views, row, &o);

	if (err == -ENOMEM || err == -E2BIG)
		return vmi_rows_error(r, "more tasks than a guest can have, or out of memory");
	return err; /* the sentence is there */
}

const struct vmi_table vmi_table_hidden_processes = {
	.name = "hidden_processes",
	.doc = "Tasks that one part of the guest's kernel knows and another does not.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
