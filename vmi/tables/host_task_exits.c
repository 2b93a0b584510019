/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of the guest's tasks causes which exits, by samples: the exit counters of each vCPU, and
 * the task that the guest's kernel says it runs there, again and again for a second.
 *
 * KVM's events do not name the guest's task, and what could (CR3) is the process' at the best. So
 * the exits between two samples are billed to the task that both of them saw on that vCPU; where
 * they saw two, one half to each. Where the guest's own count of context switches did not move in
 * between either (rq.nr_switches, kernel/sched/core.c: __schedule() increments it before it sets
 * rq.curr), no other task can have run there: such exits are certain.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "task_info.h"
#include "vcpus.h"

#define SAMPLES	  40
#define SPARE_NS  1000000000 /* of the walk's time, left for making rows */
#define MAX_VCPUS 4096
#define MAX_KINDS 128 /* reasons of a vCPU */

enum {
	COL_VCPU,
	COL_CPU,
	COL_PID,
	COL_TID,
	COL_NAME,
	COL_IDLE,
	COL_SAMPLES,
	COL_SHARE,
	COL_HANDLED,
	COL_ISA,
	COL_REASON,
	COL_EXITS,
	COL_CERTAIN,
	COL_PER_S,
	COL_WINDOW_MS,
	COL_MISSING,
};

static const struct vmi_column columns[] = {
	[COL_VCPU] = { "vcpu", VMI_INTEGER, "its number, as in vcpus" },
	[COL_CPU] = { "cpu", VMI_INTEGER, "number of the CPU as the guest counts" },
	[COL_PID] = { "pid", VMI_INTEGER, "process of the task, 0 = idle; NULL: not readable" },
	[COL_TID] = { "tid", VMI_INTEGER, "the task: its thread, 0 = idle" },
	[COL_NAME] = { "name", VMI_TEXT, "its name" },
	[COL_IDLE] = { "idle", VMI_INTEGER, "1: the idle task" },
	[COL_SAMPLES] = { "samples", VMI_INTEGER, "how many of this vCPU saw the task run there" },
	[COL_SHARE] = { "share", VMI_DOUBLE, "samples' part of all of this vCPU, 0 to 1" },
	[COL_HANDLED] = { "handled", VMI_TEXT, "kvm or vmm, as in vcpu_exits" },
	[COL_ISA] = { "isa", VMI_TEXT, "vmx or svm: whose reason it is" },
	[COL_REASON] = { "reason", VMI_TEXT, "the kernel's name; NULL: the task had no exit" },
	[COL_EXITS] = { "exits", VMI_INTEGER, "billed to the task; NULL: not to be had" },
	[COL_CERTAIN] = { "certain", VMI_INTEGER,
			  "those of them in whose time the guest switched no task there" },
	[COL_PER_S] = { "per_s", VMI_DOUBLE, "exits a second" },
	[COL_WINDOW_MS] = { "window_ms", VMI_INTEGER, "from the first sample to the last" },
	[COL_MISSING] = { "missing", VMI_TEXT, "why exits are not to be had", .hidden = true },
};

enum { RQ_SWITCHES, FIELDS };

static const char *const paths[FIELDS] = {
	[RQ_SWITCHES] = "rq.nr_switches",
};

/* A reason to exit, and its counter of the last sample. */
struct kind {
	char handled[4], isa[4], reason[40];
	uint64_t total, delta;
};

struct billed {
	uint64_t exits, certain;
};

struct seen {
	uint64_t task; /* gva; 0 = could not be read */
	int32_t pid, tid;
	char name[VMI_TASK_NAME];
	unsigned int samples;
	struct billed *by_kind; /* MAX_KINDS, NULL as long as there are none */
	size_t n;
};

struct vcpu {
	int id, cpu; /* cpu -1: not known yet */
	struct kind *kinds;
	size_t n_kinds;
	struct seen seen[SAMPLES];
	size_t n_seen;
	int last; /* index into seen; -1: no sample yet */
	uint64_t before, last_before; /* context switches, read before the counters */
	bool counts_switches;
};

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	struct vmi_tasks tasks;
	uint64_t current, rq;
	struct vmi_field switches;
	struct vcpu *v;
	size_t n;
	unsigned int samples;
	uint64_t first_ns, last_ns;
	char missing[512];
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- vCPUs ---- */

/*
 * The register that tells which CPU a vCPU is may be out of reach at times, but it does not change.
 * Where it never was to be had, they are counted alike.
 */
static int find_cpus(struct scan *s)
{
	json_t *j = vmi_rows_host(s->r, "registers"), *o;
	size_t i;

	if (!j)
		return -EINVAL;
	if (!s->v) {
		s->n = json_array_size(j);
		if (!s->n || s->n > MAX_VCPUS)
			s->n = s->w->guest->cpus;
		s->v = calloc(s->n ? s->n : 1, sizeof(*s->v));
		for (i = 0; s->v && i < s->n; i++)
			s->v[i] = (struct vcpu){ .id = (int)i, .cpu = -1, .last = -1 };
	}
	json_array_foreach(j, i, o)
	{
		struct vmi_vcpu regs;

		if (!s->v || i >= s->n || vmi_vcpu_from_json(&regs, o))
			continue;
		s->v[i].id = regs.id;
		if (s->v[i].cpu < 0)
			s->v[i].cpu = vmi_cpu_of_vcpu(s->w, &regs);
	}
	json_decref(j);
	return s->v ? 0 : -ENOMEM;
}

static void count_alike(struct scan *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].cpu < 0 && s->v[i].id >= 0 &&
		    (unsigned int)s->v[i].id < s->w->guest->cpus)
			s->v[i].cpu = s->v[i].id;
}

static bool switches(struct scan *s, const struct vcpu *v, uint64_t *n)
{
	uint64_t rq = s->rq && v->cpu >= 0 ? vmi_per_cpu(s->w, s->rq, (unsigned int)v->cpu) : 0;

	return rq && !vmi_get(s->w, rq, &s->switches, n);
}

/* ---- counters ---- */

static struct kind *kind_of(struct vcpu *v, const char *handled, const char *isa,
			    const char *reason)
{
	struct kind *k;

	for (size_t i = 0; i < v->n_kinds; i++) {
		k = &v->kinds[i];
		if (!strcmp(k->reason, reason) && !strcmp(k->handled, handled) &&
		    !strcmp(k->isa, isa))
			return k;
	}
	if (v->n_kinds == MAX_KINDS)
		return NULL;
	if (!v->kinds)
		v->kinds = calloc(MAX_KINDS, sizeof(*v->kinds));
	if (!v->kinds)
		return NULL;
	k = &v->kinds[v->n_kinds++];
	snprintf(k->handled, sizeof(k->handled), "%s", handled);
	snprintf(k->isa, sizeof(k->isa), "%s", isa);
	snprintf(k->reason, sizeof(k->reason), "%s", reason);
	return k;
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void take_count(struct scan *s, const json_t *o)
{
	int64_t id = json_integer_value(json_object_get(o, "vcpu"));
	int64_t total = json_integer_value(json_object_get(o, "total"));
	struct kind *k;

	if (!json_is_integer(json_object_get(o, "vcpu")) || total < 0)
		return;
	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].id != id)
			continue;
		k = kind_of(&s->v[i], text(o, "handled"), text(o, "isa"), text(o, "reason"));
		if (!k)
			return;
		/* A reason that comes up later begins at 0. */
		k->delta = s->samples && (uint64_t)total > k->total ? (uint64_t)total - k->total
								    : 0;
		k->total = (uint64_t)total;
	}
}

static int take_counts(struct scan *s)
{
	json_t *j = vmi_rows_host(s->r, "exit_counts"), *o;
	size_t i;

	if (!j)
		return -EINVAL;
	s->last_ns = now_ns();
	for (i = 0; i < s->n; i++)
		for (size_t k = 0; k < s->v[i].n_kinds; k++)
			s->v[i].kinds[k].delta = 0;
	json_array_foreach(j, i, o)
	{
		if (i)
			take_count(s, o);
		else
			snprintf(s->missing, sizeof(s->missing), "%s", text(o, "missing"));
	}
	json_decref(j);
	return 0;
}

/* ---- tasks ---- */

static int see(struct scan *s, struct vcpu *v)
{
	uint64_t at = v->cpu >= 0 ? vmi_per_cpu(s->w, s->current, (unsigned int)v->cpu) : 0;
	uint64_t task = 0;
	struct vmi_task t;
	struct seen *n;

	if (!at || vmi_ptr(s->w, at, &task) || vmi_task_load(&s->tasks, task, &t))
		task = 0;
	for (size_t i = 0; i < v->n_seen; i++)
		if (v->seen[i].task == task && (!task || v->seen[i].tid == t.pid))
			return (int)i;
	n = &v->seen[v->n_seen++]; /* one a sample at most */
	n->task = task;
	if (task) {
		n->pid = t.tgid;
		n->tid = t.pid;
		vmi_task_name(s->w, &t, n->name);
	}
	return (int)v->n_seen - 1;
}

static void bill(struct vcpu *v, int who, size_t kind, uint64_t exits, bool certain)
{
	struct seen *n = &v->seen[who];

	if (!exits)
		return;
	if (!n->by_kind)
		n->by_kind = calloc(MAX_KINDS, sizeof(*n->by_kind));
	if (!n->by_kind)
		return;
	n->n = v->n_kinds;
	n->by_kind[kind].exits += exits;
	n->by_kind[kind].certain += certain ? exits : 0;
}

static void bill_vcpu(struct scan *s, struct vcpu *v)
{
	int was = v->last, is = see(s, v);
	uint64_t after = 0;
	bool counted = switches(s, v, &after);
	bool certain = counted && was == is && v->seen[is].task && after == v->last_before;

	v->seen[is].samples++;
	for (size_t k = 0; was >= 0 && k < v->n_kinds; k++) {
		uint64_t half = was == is ? 0 : v->kinds[k].delta / 2;

		bill(v, was, k, half, false);
		bill(v, is, k, v->kinds[k].delta - half, certain);
	}
	v->last = is;
	v->last_before = v->before;
	v->counts_switches = v->counts_switches || counted;
}

/* ---- rows ---- */

static void row(struct scan *s, const struct vcpu *v, const struct seen *n)
{
	vmi_row(s->r);
	vmi_int(s->r, COL_VCPU, v->id);
	if (v->cpu >= 0)
		vmi_int(s->r, COL_CPU, v->cpu);
	if (n->task) {
		vmi_int(s->r, COL_PID, n->pid);
		vmi_int(s->r, COL_TID, n->tid);
		vmi_str(s->r, COL_NAME, n->name);
		vmi_int(s->r, COL_IDLE, n->tid == 0);
	}
	vmi_int(s->r, COL_SAMPLES, n->samples);
	vmi_double(s->r, COL_SHARE, (double)n->samples / s->samples);
	vmi_int(s->r, COL_WINDOW_MS, (int64_t)((s->last_ns - s->first_ns) / 1000000));
	if (s->missing[0])
		vmi_str(s->r, COL_MISSING, s->missing);
}

static bool exit_row(struct scan *s, const struct vcpu *v, const struct seen *n, size_t k)
{
	double seconds = (double)(s->last_ns - s->first_ns) / 1e9;

	row(s, v, n);
	vmi_str(s->r, COL_HANDLED, v->kinds[k].handled);
	if (v->kinds[k].isa[0])
		vmi_str(s->r, COL_ISA, v->kinds[k].isa);
	vmi_str(s->r, COL_REASON, v->kinds[k].reason);
	vmi_int(s->r, COL_EXITS, (int64_t)n->by_kind[k].exits);
	if (v->counts_switches)
		vmi_int(s->r, COL_CERTAIN, (int64_t)n->by_kind[k].certain);
	if (seconds > 0)
		vmi_double(s->r, COL_PER_S, (double)n->by_kind[k].exits / seconds);
	return vmi_row_end(s->r);
}

static bool rows_of(struct scan *s, const struct vcpu *v, const struct seen *n)
{
	bool any = false;

	for (size_t k = 0; k < n->n; k++) {
		if (!n->by_kind[k].exits)
			continue;
		any = true;
		if (exit_row(s, v, n, k))
			return true;
	}
	if (any)
		return false;
	row(s, v, n);
	if (!s->missing[0]) {
		vmi_int(s->r, COL_EXITS, 0);
		vmi_double(s->r, COL_PER_S, 0);
	}
	return vmi_row_end(s->r);
}

static void all_rows(struct scan *s)
{
	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; k < s->v[i].n_seen; k++)
			if (rows_of(s, &s->v[i], &s->v[i].seen[k]))
				return;
}

static int sample(struct scan *s)
{
	int err;

	for (size_t i = 0; i < s->n; i++)
		switches(s, &s->v[i], &s->v[i].before);
	err = take_counts(s);
	if (err)
		return err;
	if (!s->samples)
		s->first_ns = s->last_ns;
	for (size_t i = 0; i < s->n; i++)
		bill_vcpu(s, &s->v[i]);
	s->samples++;
	return 0;
}

static int window(struct scan *s)
{
	int err = find_cpus(s);

	/* A vCPU in user mode has the kernel's base out of reach of some hosts: look again. */
	for (int i = 0; !err && i < 3; i++) {
		bool all = true;

		for (size_t k = 0; k < s->n; k++)
			all = all && s->v[k].cpu >= 0;
		if (all)
			break;
		err = find_cpus(s);
	}
	if (!err)
		count_alike(s);
	/* Starting to count may take long, on a slow host: better fewer samples than no rows. */
	while (!err && s->samples < SAMPLES && now_ns() + SPARE_NS < s->w->deadline_ns &&
	       s->w->stop == VMI_STOP_NONE && !vmi_step(s->w)) {
		json_t *pause;

		err = sample(s);
		pause = !err ? vmi_rows_host(s->r, "moment") : NULL;
		json_decref(pause);
	}
	return err;
}

static int rows(struct vmi_rows *r)
{
	struct vmi_guest *g = vmi_rows_guest(r);
	struct scan s = { .r = r, .w = vmi_rows_walk(r), .rq = vmi_sym(g, "runqueues") };
	const struct vmi_field *f = vmi_layout(g, paths, FIELDS);
	int err = vmi_tasks_start(&s.tasks, r, true, -1);

	if (err)
		return err;
	s.current = vmi_current_task_at(g);
	if (!s.current || !f)
		return vmi_rows_error(r, "task_exits: the task that runs on a CPU is not found");
	s.switches = f[RQ_SWITCHES];
	err = window(&s);
	if (!err && !s.samples)
		err = vmi_rows_error(r, "task_exits: no time was left for samples");
	if (!err)
		all_rows(&s);
	for (size_t i = 0; s.v && i < s.n; i++) {
		for (size_t k = 0; k < s.v[i].n_seen; k++)
			free(s.v[i].seen[k].by_kind);
		free(s.v[i].kinds);
	}
	free(s.v);
	return err;
}

const struct vmi_table vmi_table_task_exits = {
	.name = "task_exits",
	.doc = "Which guest task causes which exits: samples of one second.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
