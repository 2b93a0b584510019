/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tasks, their memory and credentials. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#define PF_KTHREAD 0x00200000u
#define CLOCK_TICK 4000000ull
#define ARGS(text) text, sizeof(text)

/* Threads, a leader before its others; pid 0 is the idle task of the first CPU. */
static const struct {
	int pid, tgid, parent;
	u32 uid;
	const char *comm, *args; /* NULL: a thread, or of the kernel */
	size_t args_bytes;
} specs[] = {
	{ 0, 0, 0, 0, "swapper/0", NULL, 0 },
	{ 1, 1, 0, 0, "init", ARGS("/sbin/init\0splash") },
	{ 2, 2, 0, 0, "kthreadd", NULL, 0 },
	{ 77, 77, 2, 0, "rcu_preempt", NULL, 0 },
	{ 100, 100, 1, 33, "server",
	  ARGS("/usr/bin/server\0-p\0"
	       "80") },
	{ 101, 100, 1, 33, "server-io", NULL, 0 },
	{ 102, 100, 1, 33, "server-log", NULL, 0 },
	{ 4242, 4242, 100, 1000, "sh", ARGS("-sh") },
};

#define TASKS (sizeof(specs) / sizeof(specs[0]))

static const char environment[] = "HOME=/\0LANG=C.UTF-8";

struct builder {
	struct fake *f;
	uint64_t task[TASKS], pid[TASKS];
	uint64_t user_ns, nsproxy, cgroups, cred[TASKS], xa_low[64];
	size_t n_mm;
};

/* --------------------------------------------------------------------------------------- memory */

/* mt_mk_node(), mte_mk_root() */
static uint64_t maple_entry(uint64_t node, unsigned int type, bool root)
{
	return node | type << 3 | 4 | (root ? 2 : 0);
}

static uint64_t make_vma(struct fake *f, uint64_t mm, uint64_t start, uint64_t end, uint64_t flags)
{
	uint64_t gva = fake_alloc(f, sizeof(struct vm_area_struct), 8);
	struct vm_area_struct *v = fake_at(f, gva);

	v->vm_start = start;
	v->vm_end = end;
	v->vm_flags = flags;
	v->vm_mm = PTR(mm);
	return gva;
}

static uint64_t make_leaf(struct fake *f, uint64_t mm, uint64_t from, unsigned int n,
			  uint64_t *last)
{
	uint64_t gva = fake_alloc(f, 256, 256);
	struct maple_range_64 *leaf = fake_at(f, gva);

	/* A hole before each, and behind the last. */
	for (unsigned int i = 0; i < n; i++) {
		uint64_t start = from + i * 0x10000ull;

		leaf->pivot[2 * i] = start - 1;
		leaf->pivot[2 * i + 1] = start + 0x3fff;
		leaf->slot[2 * i + 1] = PTR(make_vma(f, mm, start, start + 0x4000, 0x75));
	}
	if (n < 7)
		leaf->pivot[2 * n] = *last;
	return gva;
}

/* Three areas in one node, or eight in two below a third. */
static void make_areas(struct fake *f, uint64_t mm, bool many)
{
	struct mm_struct *m = fake_at(f, mm);
	uint64_t last = many ? 0x7fffffff : UINT64_MAX, all = UINT64_MAX, root;
	uint64_t low = make_leaf(f, mm, 0x400000, many ? 5 : 2, &last);

	m->map_count = many ? 8 : 3;
	if (!many) {
		struct maple_range_64 *leaf = fake_at(f, low);

		leaf->pivot[4] = FAKE_USER_STACK - 1;
		leaf->pivot[5] = FAKE_USER_STACK + PAGE - 1;
		leaf->slot[5] =
			PTR(make_vma(f, mm, FAKE_USER_STACK, FAKE_USER_STACK + PAGE, 0x100173));
		leaf->pivot[6] = UINT64_MAX;
		leaf->parent = PTR((mm + offsetof(struct mm_struct, mm_mt)) | 1);
		m->mm_mt.ma_root = PTR(maple_entry(low, 1, true));
		return;
	}
	root = fake_alloc(f, 256, 256);
	AT(f, root, struct maple_arange_64)->parent =
		PTR((mm + offsetof(struct mm_struct, mm_mt)) | 1);
	AT(f, root, struct maple_arange_64)->pivot[0] = last;
	AT(f, root, struct maple_arange_64)->pivot[1] = all;
	AT(f, root, struct maple_arange_64)->slot[0] = PTR(maple_entry(low, 1, false));
	AT(f, root, struct maple_arange_64)->slot[1] =
		PTR(maple_entry(make_leaf(f, mm, 0x7f0000000000, 3, &all), 1, false));
	AT(f, low, struct maple_range_64)->parent = PTR(root | 6);
	m->mm_mt.ma_root = PTR(maple_entry(root, 3, true));
}

/* The user's half maps one page, with arguments and environment. */
static void make_address_space(struct fake *f, struct mm_struct *m, const char *args, size_t n)
{
	uint64_t pgd = fake_alloc(f, PAGE, PAGE), stack = fake_alloc(f, PAGE, PAGE);

	memcpy((char *)fake_at(f, pgd) + PAGE / 2, (char *)fake_phys(f, f->pgd) + PAGE / 2,
	       PAGE / 2);
	fake_map(f, pgd - FAKE_PAGE_OFFSET, FAKE_USER_STACK, stack - FAKE_PAGE_OFFSET, PAGE,
		 PTE_U | PTE_W | PTE_NX);
	memcpy(fake_at(f, stack), args, n);
	memcpy((char *)fake_at(f, stack) + n, environment, sizeof(environment));
	m->pgd = PTR(pgd);
	m->arg_start = FAKE_USER_STACK;
	m->arg_end = m->env_start = m->arg_start + n;
	m->env_end = m->env_start + sizeof(environment);
	m->start_stack = FAKE_USER_STACK + 2048;
}

static uint64_t make_mm(struct builder *b, size_t i)
{
	struct fake *f = b->f;
	uint64_t gva = fake_alloc(f, sizeof(struct mm_struct), 64);
	struct mm_struct *m = fake_at(f, gva);

	make_address_space(f, m, specs[i].args, specs[i].args_bytes);
	make_areas(f, gva, b->n_mm == 1);
	m->total_vm = 200;
	m->start_code = 0x400000;
	m->end_code = 0x403000;
	m->start_brk = m->brk = 0x500000;
	m->rss_stat[0].count = 20;
	m->rss_stat[1].count = 30;
	f->world.mm[b->n_mm++] = gva;
	return gva;
}

/* ---------------------------------------------------------------------------------------- tasks */

static uint64_t make_cred(struct builder *b, u32 uid)
{
	struct fake *f = b->f;
	uint64_t gva = fake_alloc(f, sizeof(struct cred), 8);
	uint64_t groups = fake_alloc(f, sizeof(struct group_info) + 2 * sizeof(kgid_t), 8);
	struct group_info *g = fake_at(f, groups);
	struct cred *c = fake_at(f, gva);

	c->uid.val = c->euid.val = c->suid.val = c->fsuid.val = uid;
	c->gid.val = c->egid.val = c->sgid.val = c->fsgid.val = uid;
	c->cap_bset.val = 0x1ffffffffffull;
	if (!uid)
		c->cap_permitted = c->cap_effective = c->cap_bset;
	c->user_ns = PTR(b->user_ns);
	c->group_info = PTR(groups);
	g->ngroups = 2;
	g->gid[0].val = uid;
	g->gid[1].val = 27;
	return gva;
}

/* idr_alloc() */
static void enter_idr(struct builder *b, int nr, uint64_t pid)
{
	struct fake *f = b->f;
	struct pid_namespace *ns = fake_at(f, f->world.init_pid_ns);
	uint64_t *low = &b->xa_low[nr >> 6 & 63], top;

	if (!f->world.idr_node) {
		f->world.idr_node = fake_alloc(f, sizeof(struct xa_node), 64);
		ns->idr.idr_rt.xa_head = PTR(f->world.idr_node | 2);
		AT(f, f->world.idr_node, struct xa_node)->shift = 12;
		top = fake_alloc(f, sizeof(struct xa_node), 64);
		AT(f, top, struct xa_node)->shift = 6;
		AT(f, top, struct xa_node)->parent = PTR(f->world.idr_node);
		AT(f, f->world.idr_node, struct xa_node)->slots[0] = PTR(top | 2);
	}
	if (nr >> 12) { /* the one beyond, in nodes of its own */
		top = fake_alloc(f, sizeof(struct xa_node), 64);
		AT(f, top, struct xa_node)->shift = 6;
		AT(f, f->world.idr_node, struct xa_node)->slots[nr >> 12] = PTR(top | 2);
		low = &b->xa_low[63];
	} else {
		top = (uintptr_t)AT(f, f->world.idr_node, struct xa_node)->slots[0] - 2;
	}
	if (!*low) {
		*low = fake_alloc(f, sizeof(struct xa_node), 64);
		AT(f, top, struct xa_node)->slots[nr >> 6 & 63] = PTR(*low | 2);
		AT(f, *low, struct xa_node)->parent = PTR(top);
	}
	AT(f, *low, struct xa_node)->slots[nr & 63] = PTR(pid);
	AT(f, *low, struct xa_node)->count++;
	ns->pid_allocated++;
}

static void make_pid(struct builder *b, size_t i)
{
	struct fake *f = b->f;
	uint64_t gva = fake_alloc(f, sizeof(struct pid), 64);
	struct pid *p = fake_at(f, gva);
	struct task_struct *t = fake_at(f, b->task[i]);

	p->count.refs.counter = 1;
	p->numbers[0].nr = specs[i].pid;
	p->numbers[0].ns = PTR(f->world.init_pid_ns);
	t->thread_pid = PTR(gva);
	b->pid[i] = gva;
	fake_hlist_add(f, MEMBER(b->task[i], struct task_struct, pid_links[0]),
		       MEMBER(gva, struct pid, tasks[0]));
	enter_idr(b, specs[i].pid, gva);
}

static size_t index_of(int pid)
{
	size_t i = 0;

	while (specs[i].pid != pid)
		i++;
	return i;
}

static uint64_t make_signal(struct builder *b, size_t i)
{
	struct fake *f = b->f;
	uint64_t gva = fake_alloc(f, sizeof(struct signal_struct), 64);
	struct signal_struct *s = fake_at(f, gva);

	fake_list_init(f, MEMBER(gva, struct signal_struct, thread_head));
	for (size_t k = 0; k < TASKS; k++)
		s->nr_threads += specs[k].tgid == specs[i].tgid;
	s->utime = 3 * CLOCK_TICK;
	s->sum_sched_runtime = 5 * CLOCK_TICK;
	return gva;
}

static void fill_task(struct builder *b, size_t i)
{
	struct fake *f = b->f;
	struct task_struct *t = fake_at(f, b->task[i]), *leader;
	size_t l = index_of(specs[i].tgid);

	leader = fake_at(f, b->task[l]);
	t->pid = specs[i].pid;
	t->tgid = specs[i].tgid;
	strcpy(t->comm, specs[i].comm);
	t->__state = i == 1 ? 0 : 1;
	t->prio = t->static_prio = t->normal_prio = 120;
	t->flags = specs[i].args || i != l ? 0x400000 : PF_KTHREAD;
	t->utime = (i + 1) * CLOCK_TICK;
	t->stime = 2 * CLOCK_TICK;
	t->start_time = t->start_boottime = i * 1000000000ull;
	t->stack = PTR(fake_alloc(f, 64, 64));
	t->real_parent = t->parent = PTR(b->task[index_of(specs[i].parent)]);
	t->group_leader = PTR(b->task[l]);
	t->cred = t->real_cred = PTR(make_cred(b, specs[i].uid));
	t->cgroups = PTR(b->cgroups);
	t->nsproxy = PTR(b->nsproxy);
	if (i == l) {
		t->signal = PTR(make_signal(b, i));
		t->mm = t->active_mm = PTR(specs[i].args ? make_mm(b, i) : 0);
	} else {
		t->signal = leader->signal;
		t->mm = t->active_mm = leader->mm;
	}
	fake_list_add(f, MEMBER(b->task[i], struct task_struct, thread_node),
		      MEMBER((uintptr_t)t->signal, struct signal_struct, thread_head));
	fake_list_init(f, MEMBER(b->task[i], struct task_struct, children));
	if (!i)
		fake_list_init(f, MEMBER(b->task[i], struct task_struct, tasks));
	else if (i == l)
		fake_list_add(f, MEMBER(b->task[i], struct task_struct, tasks),
			      MEMBER(b->task[0], struct task_struct, tasks));
	if (i)
		make_pid(b, i);
}

/* ------------------------------------------------------------------------------------- the rest */

static uint64_t make_ns(struct builder *b, const char *symbol, size_t bytes, size_t ns, u32 inum)
{
	uint64_t gva = fake_object(b->f, symbol, 'D', bytes, 16);

	AT(b->f, gva + ns, struct ns_common)->inum = inum;
	return gva;
}

static void make_namespaces(struct builder *b)
{
	struct fake *f = b->f;
	struct uts_namespace *uts;
	struct user_namespace *user;
	struct nsproxy *p;
	uint64_t gva;

	b->nsproxy = fake_object(f, "init_nsproxy", 'D', sizeof(struct nsproxy), 16);
	p = fake_at(f, b->nsproxy);
	b->user_ns = make_ns(b, "init_user_ns", sizeof(*user), offsetof(struct user_namespace, ns),
			     0xeffffffd);
	user = fake_at(f, b->user_ns);
	user->uid_map = user->gid_map =
		(struct uid_gid_map){ .nr_extents = 1, .extent = { { 0, 0, UINT32_MAX } } };
	f->world.init_pid_ns = make_ns(b, "init_pid_ns", sizeof(struct pid_namespace),
				       offsetof(struct pid_namespace, ns), 0xeffffffc);
	p->pid_ns_for_children = PTR(f->world.init_pid_ns);
	gva = make_ns(b, "init_uts_ns", sizeof(*uts), offsetof(struct uts_namespace, ns),
		      0xeffffffe);
	p->uts_ns = PTR(gva);
	uts = fake_at(f, gva);
	strcpy(uts->name.sysname, "Linux");
	strcpy(uts->name.nodename, "fake-guest");
	strcpy(uts->name.release, "6.12.0-fake");
	strcpy(uts->name.version, "#1 SMP PREEMPT_DYNAMIC");
	strcpy(uts->name.machine, "x86_64");
	p->ipc_ns = PTR(make_ns(b, "init_ipc_ns", sizeof(struct ipc_namespace), 0, 0xefffffff));
	p->cgroup_ns =
		PTR(make_ns(b, "init_cgroup_ns", sizeof(struct cgroup_namespace), 0, 0xeffffffb));
	p->time_ns = PTR(make_ns(b, "init_time_ns", sizeof(struct time_namespace), 0, 0xeffffffa));
}

static void make_cgroups(struct builder *b)
{
	struct fake *f = b->f;
	uint64_t cgroup = fake_alloc(f, sizeof(struct cgroup), 16);
	uint64_t top = fake_alloc(f, sizeof(struct kernfs_node), 16);
	uint64_t node = fake_alloc(f, sizeof(struct kernfs_node), 16);

	b->cgroups = fake_object(f, "init_css_set", 'D', sizeof(struct css_set), 16);
	AT(f, b->cgroups, struct css_set)->dfl_cgrp = PTR(cgroup);
	AT(f, cgroup, struct cgroup)->self.flags = 2; /* CSS_ONLINE */
	AT(f, cgroup, struct cgroup)->kn = PTR(node);
	AT(f, top, struct kernfs_node)->name = PTR(fake_text(f, ""));
	AT(f, node, struct kernfs_node)->name = PTR(fake_text(f, "system.slice"));
	AT(f, node, struct kernfs_node)->__parent = PTR(top);
}

/*
 * Per-CPU variables: until 6.14 symbols are offsets into each CPU's area; from then on they lie in
 * the image, and __per_cpu_offset is the distance to it.
 */
static void make_per_cpu(struct builder *b)
{
	struct fake *f = b->f;
	bool image = f->options.kallsyms == FAKE_KALLSYMS_7_0;
	uint64_t rq = image ? fake_object(f, "runqueues", 'D', sizeof(struct rq), 64) : 0x2340;
	uint64_t current = image ? fake_object(f, "current_task", 'D', 8, 8) : 0x2000;
	uint64_t offsets = fake_object(f, "__per_cpu_offset", 'D', 16, 8);

	if (!image) {
		fake_name(f, "runqueues", 'A', rq);
		fake_name(f, "current_task", 'A', current);
	}
	for (unsigned int cpu = 0; cpu < 2; cpu++) {
		uint64_t area = fake_alloc(f, 2 * PAGE, PAGE);
		uint64_t offset = image ? area - (current & ~(PAGE - 1)) : area - 0x2000;
		struct rq *r = fake_at(f, rq + offset);

		AT(f, offsets, uint64_t)[cpu] = offset;
		r->cpu = (int)cpu;
		r->idle = PTR(b->task[0]);
		r->curr = PTR(b->task[cpu ? 1 : 0]);
		AT(f, current + offset, uint64_t)[0] = (uintptr_t)r->curr;
	}
}

void fake_world_tasks(struct fake *f)
{
	struct builder b = { .f = f };

	make_namespaces(&b);
	make_cgroups(&b);
	for (size_t i = 0; i < TASKS; i++)
		b.task[i] = i ? fake_alloc(f, sizeof(struct task_struct), 64)
			      : fake_object(f, "init_task", 'D', sizeof(struct task_struct), 64);
	for (size_t i = 0; i < TASKS; i++) {
		fill_task(&b, i);
		f->world.task[i] = b.task[i];
	}
	f->world.init_task = b.task[0];
	AT(f, f->world.init_pid_ns, struct pid_namespace)->child_reaper = PTR(b.task[1]);
	make_per_cpu(&b);
}
