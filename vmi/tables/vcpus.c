/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's CPUs from both sides: registers as the VMM or a dump has them, and the task that the
 * guest's kernel says it runs there. The registers of a running VM are those of the moment in which
 * they were asked for, which is a little earlier than the reading of its memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "task_info.h"
#include "vcpus.h"

enum {
	COL_VCPU,
	COL_CPU,
	COL_MODE,
	COL_IDLE,
	COL_PID,
	COL_TID,
	COL_NAME,
	COL_TASK,
	COL_SYMBOL,
	COL_RIP,
	COL_RFLAGS,
	COL_CS,
	COL_CR0,
	COL_CR2,
	COL_CR3,
	COL_CR4,
	COL_EFER,
	COL_LSTAR,
	COL_IDT_BASE,
	COL_IDT_LIMIT,
	COL_GDT_BASE,
	COL_GDT_LIMIT,
	COL_FS_BASE,
	COL_GS_BASE,
	COL_KERNEL_GS_BASE,
	COL_RAX, /* the others behind it, in the order of the encoding */
	COL_R15 = COL_RAX + 15,
};

static const struct vmi_column columns[] = {
	[COL_VCPU] = { "vcpu", VMI_INTEGER, "number of the vCPU as the VMM counts; NULL: unknown" },
	[COL_CPU] = { "cpu", VMI_INTEGER, "number of the CPU as the guest counts; NULL: unknown" },
	[COL_MODE] = { "mode", VMI_TEXT, "user or kernel, by the registers" },
	[COL_IDLE] = { "idle", VMI_INTEGER, "1: the guest runs its idle task there" },
	[COL_PID] = { "pid", VMI_INTEGER, "process of the task that runs there, 0 = idle" },
	[COL_TID] = { "tid", VMI_INTEGER, "thread that runs there, 0 = idle" },
	[COL_NAME] = { "name", VMI_TEXT, "its name" },
	[COL_TASK] = { "task", VMI_TEXT, "address of its task_struct" },
	[COL_SYMBOL] = { "symbol", VMI_TEXT, "what rip is in, if in the kernel's image" },
	[COL_RIP] = { "rip", VMI_TEXT, "instruction pointer" },
	[COL_RFLAGS] = { "rflags", VMI_TEXT, "flags" },
	[COL_CS] = { "cs", VMI_TEXT, "code segment selector" },
	[COL_CR0] = { "cr0", VMI_TEXT, "control register" },
	[COL_CR2] = { "cr2", VMI_TEXT, "control register: address of the last page fault" },
	[COL_CR3] = { "cr3", VMI_TEXT, "control register: page table" },
	[COL_CR4] = { "cr4", VMI_TEXT, "control register" },
	[COL_EFER] = { "efer", VMI_TEXT, "extended features" },
	[COL_LSTAR] = { "lstar", VMI_TEXT, "entry of system calls" },
	[COL_IDT_BASE] = { "idt_base", VMI_TEXT, "address of the interrupt descriptor table" },
	[COL_IDT_LIMIT] = { "idt_limit", VMI_INTEGER, "its bytes, less one" },
	[COL_GDT_BASE] = { "gdt_base", VMI_TEXT, "address of the global descriptor table" },
	[COL_GDT_LIMIT] = { "gdt_limit", VMI_INTEGER, "its bytes, less one" },
	[COL_FS_BASE] = { "fs_base", VMI_TEXT, "base of fs" },
	[COL_GS_BASE] = { "gs_base", VMI_TEXT, "base of gs" },
	[COL_KERNEL_GS_BASE] = { "kernel_gs_base", VMI_TEXT, "base of gs after swapgs" },
	[COL_RAX] = { "rax", VMI_TEXT, "register" },
	[COL_RAX + 1] = { "rcx", VMI_TEXT, "register" },
	[COL_RAX + 2] = { "rdx", VMI_TEXT, "register" },
	[COL_RAX + 3] = { "rbx", VMI_TEXT, "register" },
	[COL_RAX + 4] = { "rsp", VMI_TEXT, "register: stack pointer" },
	[COL_RAX + 5] = { "rbp", VMI_TEXT, "register" },
	[COL_RAX + 6] = { "rsi", VMI_TEXT, "register" },
	[COL_RAX + 7] = { "rdi", VMI_TEXT, "register" },
	[COL_RAX + 8] = { "r8", VMI_TEXT, "register" },
	[COL_RAX + 9] = { "r9", VMI_TEXT, "register" },
	[COL_RAX + 10] = { "r10", VMI_TEXT, "register" },
	[COL_RAX + 11] = { "r11", VMI_TEXT, "register" },
	[COL_RAX + 12] = { "r12", VMI_TEXT, "register" },
	[COL_RAX + 13] = { "r13", VMI_TEXT, "register" },
	[COL_RAX + 14] = { "r14", VMI_TEXT, "register" },
	[COL_R15] = { "r15", VMI_TEXT, "register" },
};

enum { HOT_TASK, RQ_CURR, RQ_ONLINE, FIELDS };

static const char *const paths[FIELDS] = {
	[HOT_TASK] = "pcpu_hot.current_task", /* 6.2 to 6.14 */
	[RQ_CURR] = "rq.curr",
	[RQ_ONLINE] = "rq.online",
};

/* A register that is as it stands in a column, and what must be known for it. */
static const struct {
	unsigned int column, known;
	size_t offset;
} registers[] = {
	{ COL_RIP, VMI_REG_GPR, offsetof(struct vmi_vcpu, rip) },
	{ COL_RFLAGS, VMI_REG_GPR, offsetof(struct vmi_vcpu, rflags) },
	{ COL_CR0, VMI_REG_CR, offsetof(struct vmi_vcpu, cr0) },
	{ COL_CR2, VMI_REG_CR, offsetof(struct vmi_vcpu, cr2) },
	{ COL_CR3, VMI_REG_CR, offsetof(struct vmi_vcpu, cr3) },
	{ COL_CR4, VMI_REG_CR, offsetof(struct vmi_vcpu, cr4) },
	{ COL_EFER, VMI_REG_EFER, offsetof(struct vmi_vcpu, efer) },
	{ COL_LSTAR, VMI_REG_LSTAR, offsetof(struct vmi_vcpu, lstar) },
	{ COL_IDT_BASE, VMI_REG_DTR, offsetof(struct vmi_vcpu, idt_base) },
	{ COL_GDT_BASE, VMI_REG_DTR, offsetof(struct vmi_vcpu, gdt_base) },
	{ COL_FS_BASE, VMI_REG_SEG, offsetof(struct vmi_vcpu, fs_base) },
	{ COL_GS_BASE, VMI_REG_SEG, offsetof(struct vmi_vcpu, gs_base) },
	{ COL_KERNEL_GS_BASE, VMI_REG_KERNEL_GS, offsetof(struct vmi_vcpu, kernel_gs_base) },
};

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	struct vmi_tasks tasks;
	bool has_tasks; /* the guest is understood so far */
	uint64_t current; /* per-CPU address of a pointer to the task that runs */
	struct vmi_vcpu *vcpus;
	size_t n;
};

/* ----------------------------------------------------------------------------- the guest's side */

uint64_t vmi_current_task_at(struct vmi_guest *g)
{
	const struct vmi_field *f = vmi_layout(g, paths, FIELDS);
	uint64_t at = vmi_sym(g, "current_task");

	if (at || !f)
		return at;
	at = vmi_sym(g, "pcpu_hot");
	if (at && f[HOT_TASK].present)
		return at + f[HOT_TASK].offset;
	at = vmi_sym(g, "runqueues");
	return at && f[RQ_CURR].present ? at + f[RQ_CURR].offset : 0;
}

/* A CPU that is not there, or was taken away, has no run queue that is online. */
static bool online(struct scan *s, unsigned int cpu)
{
	const struct vmi_field *f = vmi_layout(s->w->guest, paths, FIELDS);
	uint64_t rq = vmi_per_cpu(s->w, vmi_sym(s->w->guest, "runqueues"), cpu);

	if (!f || !rq || !f[RQ_ONLINE].present) /* a kernel for one CPU has it not */
		return cpu == 0;
	return vmi_val(s->w, rq, &f[RQ_ONLINE]) != 0;
}

static void task_columns(struct scan *s, unsigned int cpu)
{
	uint64_t at = vmi_per_cpu(s->w, s->current, cpu), task;
	char name[VMI_TASK_NAME];
	struct vmi_task t;

	if (!at || vmi_ptr(s->w, at, &task) || vmi_task_load(&s->tasks, task, &t))
		return;
	vmi_witness(s->w, at, 8, task);
	vmi_int(s->r, COL_IDLE, t.pid == 0);
	vmi_int(s->r, COL_PID, t.tgid);
	vmi_int(s->r, COL_TID, t.pid);
	vmi_task_name(s->w, &t, name);
	vmi_str(s->r, COL_NAME, name);
	vmi_hex(s->r, COL_TASK, task);
}

/* ------------------------------------------------------------------------------- the VMM's side */

/* Asks anew about a VM that runs; what is known from the start serves where that fails. */
static int load_vcpus(struct scan *s)
{
	const struct vmi_target *t = s->w->guest->target;
	json_t *j = t->kind == VMI_TARGET_LIVE ? vmi_rows_host(s->r, "registers") : NULL, *v;
	size_t n = json_is_array(j) ? json_array_size(j) : t->n_vcpus, i;
	int err = 0;

	s->vcpus = calloc(n ? n : 1, sizeof(*s->vcpus));
	if (!s->vcpus)
		err = -ENOMEM;
	if (!err && json_is_array(j)) {
		json_array_foreach(j, i, v)
		{
			if (!vmi_vcpu_from_json(&s->vcpus[s->n], v))
				s->n++;
		}
	} else if (!err && n) {
		memcpy(s->vcpus, t->vcpus, n * sizeof(*s->vcpus));
		s->n = n;
	}
	json_decref(j);
	return err;
}

static void register_columns(struct scan *s, const struct vmi_vcpu *v)
{
	const struct vmi_guest *g = s->w->guest;

	vmi_int(s->r, COL_VCPU, v->id);
	for (size_t i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
		uint64_t value;

		if (!(v->known & registers[i].known))
			continue;
		memcpy(&value, (const char *)v + registers[i].offset, sizeof(value));
		vmi_hex(s->r, registers[i].column, value);
	}
	if (v->known & VMI_REG_SEG) {
		vmi_strf(s->r, COL_CS, "0x%x", v->cs);
		vmi_str(s->r, COL_MODE, v->cs & 3 ? "user" : "kernel"); /* CPL */
	}
	if (v->known & VMI_REG_DTR) {
		vmi_int(s->r, COL_IDT_LIMIT, v->idt_limit);
		vmi_int(s->r, COL_GDT_LIMIT, v->gdt_limit);
	}
	if (!(v->known & VMI_REG_GPR))
		return;
	for (unsigned int i = 0; i < 16; i++)
		vmi_hex(s->r, COL_RAX + i, v->gpr[i]);
	if (g->symbols) {
		const struct vmi_symbol *sym = vmi_symbol_at(g->symbols, v->rip);

		if (sym)
			vmi_strf(s->r, COL_SYMBOL, "%s+0x%llx", sym->name,
				 (unsigned long long)(v->rip - sym->addr));
	}
}

int vmi_cpu_of_vcpu(struct vmi_walk *w, const struct vmi_vcpu *v)
{
	for (unsigned int cpu = 0; cpu < w->guest->cpus; cpu++) {
		uint64_t base = vmi_per_cpu(w, 1, cpu) - 1;

		if (((v->known & VMI_REG_SEG) && v->gs_base == base) ||
		    ((v->known & VMI_REG_KERNEL_GS) && v->kernel_gs_base == base))
			return (int)cpu;
	}
	return -1;
}

/* ----------------------------------------------------------------------------------------- rows */

static bool row(struct scan *s, const struct vmi_vcpu *v, int cpu)
{
	vmi_row(s->r);
	if (v)
		register_columns(s, v);
	if (cpu >= 0)
		vmi_int(s->r, COL_CPU, cpu);
	if (cpu >= 0 && s->has_tasks)
		task_columns(s, (unsigned int)cpu);
	return vmi_row_end(s->r);
}

/* All vCPUs, and those of the guest's CPUs of which no vCPU is known. */
static int both_sides(struct scan *s)
{
	unsigned int cpus = s->has_tasks ? s->w->guest->cpus : 0;
	bool *seen = calloc(cpus ? cpus : 1, sizeof(*seen)), enough = false;

	if (!seen)
		return -ENOMEM;
	for (size_t i = 0; i < s->n && !enough; i++) {
		int cpu = vmi_cpu_of_vcpu(s->w, &s->vcpus[i]);

		if (cpu >= 0 && (unsigned int)cpu < cpus)
			seen[cpu] = true;
		enough = row(s, &s->vcpus[i], cpu);
	}
	for (unsigned int cpu = 0; cpu < cpus && !enough; cpu++)
		if (!seen[cpu] && online(s, cpu))
			enough = row(s, NULL, (int)cpu);
	free(seen);
	return 0;
}

static int rows(struct vmi_rows *r)
{
	struct scan s = { .r = r, .w = vmi_rows_walk(r) };
	struct vmi_guest *g = vmi_rows_guest(r);
	int err;

	if (g->level >= VMI_LEVEL_TYPES && !vmi_tasks_start(&s.tasks, r, true, -1)) {
		s.current = vmi_current_task_at(g);
		s.has_tasks = s.current != 0;
	}
	err = load_vcpus(&s);
	if (!err)
		err = both_sides(&s);
	free(s.vcpus);
	return err;
}

const struct vmi_table vmi_table_vcpus = {
	.name = "vcpus",
	.doc = "The guest's CPUs: registers, and the task that runs there.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_MEMORY,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
