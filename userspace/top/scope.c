// SPDX-License-Identifier: GPL-2.0-or-later
/* The part of the host that Exits, vCPUs and Interrupts show: all VMs, one VM, or one vCPU. */
#include "screen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void scope_set(struct ui *ui, const struct ident *id, const char *name)
{
	memset(&ui->scope, 0, sizeof(ui->scope));
	if (id) {
		ui->scope.id = *id;
		snprintf(ui->scope.name, sizeof(ui->scope.name), "%s", name);
	}
	scope_resolve(ui);
}

void scope_resolve(struct ui *ui)
{
	const struct ident *id = &ui->scope.id;
	size_t i;

	ui->vm = NULL;
	ui->vcpu = NULL;
	if (id->type == ROW_NONE)
		return;
	for (i = 0; i < ui->r->n_vms && !ui->vm; i++) {
		if (ui->r->vms[i].pid == id->pid && ui->r->vms[i].key == id->vm_key)
			ui->vm = &ui->r->vms[i];
	}
	for (i = 0; ui->vm && id->type == ROW_VCPU && i < ui->vm->n_vcpus && !ui->vcpu; i++) {
		if (ui->vm->vcpus[i].tid == id->tid)
			ui->vcpu = &ui->vm->vcpus[i];
	}
}

bool scope_gone(const struct ui *ui)
{
	return (ui->scope.id.type != ROW_NONE && !ui->vm) ||
	       (ui->scope.id.type == ROW_VCPU && !ui->vcpu);
}

bool scope_is_sum(const struct ui *ui)
{
	return ui->scope.id.type == ROW_NONE && ui->r->n_vms > 1;
}

void scope_text(const struct ui *ui, char *buf, size_t len)
{
	const struct scope *s = &ui->scope;

	if (s->id.type == ROW_NONE)
		snprintf(buf, len, ui->r->n_vms == 1 ? "all (%zu VM)" : "all %zu VMs",
			 ui->r->n_vms);
	else if (!ui->vm)
		snprintf(buf, len, "VM %s (pid %d) is gone", s->name, s->id.pid);
	else if (s->id.type == ROW_VCPU && !ui->vcpu)
		snprintf(buf, len, "VM %s (pid %d), vCPU thread %d is gone", s->name, s->id.pid,
			 s->id.tid);
	else if (ui->vcpu)
		snprintf(buf, len, "VM %s (pid %d), vCPU %d (thread %d)%s", ui->vm->name,
			 ui->vm->pid, ui->vcpu->id, ui->vcpu->tid, ui->vcpu->gone ? ", ended" : "");
	else
		snprintf(buf, len, "VM %s (pid %d), all %zu vCPUs%s", ui->vm->name, ui->vm->pid,
			 ui->vm->n_vcpus, ui->vm->gone ? ", ended" : "");
}

/* ------------------------------------------------------------------------------ next and back */

/*
 * The scopes in their order: all; each VM, followed by its vCPUs where the screen can show one. On
 * the interlopers' screen only the vCPUs of this VM.
 */
struct walk {
	struct ui *ui;
	struct ident before, found;
	const char *before_name, *found_name;
	bool seen, have_before, have_found;
};

static void walk_one(struct walk *w, struct ident id, const char *name)
{
	if (w->seen && !w->have_found) {
		w->found = id;
		w->found_name = name;
		w->have_found = true;
	}
	if (ident_same(&id, &w->ui->scope.id))
		w->seen = true;
	if (!w->seen) {
		w->before = id;
		w->before_name = name;
		w->have_before = true;
	}
}

void scope_step(struct ui *ui, int step)
{
	bool only_vcpus = ui->screen == SCREEN_INTERLOPERS;
	struct walk w = { .ui = ui };
	size_t i, j;

	if (!only_vcpus)
		walk_one(&w, (struct ident){ 0 }, "");
	for (i = 0; i < ui->r->n_vms; i++) {
		const struct iho_vm_report *vm = &ui->r->vms[i];

		if (only_vcpus && vm != ui->vm)
			continue;
		if (!only_vcpus)
			walk_one(&w, ident_vm(vm), vm->name);
		for (j = 0; j < vm->n_vcpus && ui->screen != SCREEN_VCPUS; j++)
			walk_one(&w, ident_vcpu(vm, &vm->vcpus[j]), vm->name);
	}
	if (!w.seen && !only_vcpus)
		scope_set(ui, NULL, "");
	else if (step < 0 && w.have_before)
		scope_set(ui, &w.before, w.before_name);
	else if (step > 0 && w.have_found)
		scope_set(ui, &w.found, w.found_name);
}

/* --------------------------------------------------------------------------------------- sums */

#define NOT_PER_VCPU SIZE_MAX

/* One kind of rows: where it is, and how two rows of the same reason add up. */
struct merge {
	size_t size; /* of a row */
	size_t in_vm, in_vcpu; /* offset of the IHO_ROWS() */
	int (*cmp)(const void *a, const void *b); /* 0: the same reason */
	void (*add)(void *into, const void *from);
};

/* The common beginning of every IHO_ROWS(). */
struct rows {
	const void *v;
	size_t n;
};

static struct rows rows_at(const void *owner, size_t offset)
{
	struct rows rows;

	memcpy(&rows, (const char *)owner + offset, sizeof(rows));
	return rows;
}

static bool scratch_room(struct ui *ui, struct scratch *s, size_t bytes)
{
	char *grown;

	if (bytes <= s->cap)
		return true;
	grown = realloc(s->v, bytes);
	if (!grown) {
		ui_say(ui, true, "out of memory: the sums over all VMs are not complete");
		return false;
	}
	s->v = grown;
	s->cap = bytes;
	return true;
}

static void gather(struct ui *ui, struct scratch *s, const struct merge *m, struct rows rows)
{
	if (!rows.n || !scratch_room(ui, s, (s->n + rows.n) * m->size))
		return;
	memcpy(s->v + s->n * m->size, rows.v, rows.n * m->size);
	s->n += rows.n;
}

/* Sorts equal reasons beside each other and adds them up. */
static void add_up(struct scratch *s, const struct merge *m)
{
	size_t i, kept = 0;

	if (s->n)
		qsort(s->v, s->n, m->size, m->cmp);
	for (i = 0; i < s->n; i++) {
		char *row = s->v + i * m->size, *last = s->v + (kept ? kept - 1 : 0) * m->size;

		if (kept && !m->cmp(last, row))
			m->add(last, row);
		else if (kept++ != i)
			memcpy(s->v + (kept - 1) * m->size, row, m->size);
	}
	s->n = kept;
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int exit_cmp(const void *pa, const void *pb)
{
	const struct iho_exit_row *a = pa, *b = pb;
	int c = compare(a->isa, b->isa);

	return c ? c : compare(a->code, b->code);
}

static void exit_add(void *into, const void *from)
{
	struct iho_exit_row *a = into;
	const struct iho_exit_row *b = from;
	double whole = (double)a->total + (double)b->total;

	if (whole > 0)
		a->mean_ns = (uint64_t)(((double)a->mean_ns * (double)a->total +
					 (double)b->mean_ns * (double)b->total) /
					whole);
	a->total += b->total;
	a->delta += b->delta;
	a->time_ns += b->time_ns;
	a->time_delta_ns += b->time_delta_ns;
	a->kvm_ns += b->kvm_ns;
	if (b->max_ns > a->max_ns)
		a->max_ns = b->max_ns;
}

static int user_cmp(const void *pa, const void *pb)
{
	const struct iho_user_row *a = pa, *b = pb;

	return compare(a->code, b->code);
}

static void user_add(void *into, const void *from)
{
	struct iho_user_row *a = into;
	const struct iho_user_row *b = from;

	a->total += b->total;
	a->delta += b->delta;
	a->time_ns += b->time_ns;
	a->time_delta_ns += b->time_delta_ns;
	if (b->max_ns > a->max_ns)
		a->max_ns = b->max_ns;
}

static int drill_cmp(const void *pa, const void *pb)
{
	const struct iho_drill_row *a = pa, *b = pb;
	int c = compare(a->kind, b->kind);

	return c ? c : compare(a->value, b->value);
}

static void drill_add(void *into, const void *from)
{
	struct iho_drill_row *a = into;
	const struct iho_drill_row *b = from;

	a->total += b->total;
	a->delta += b->delta;
}

static int accept_cmp(const void *pa, const void *pb)
{
	const struct iho_accept_row *a = pa, *b = pb;
	int c = compare(a->kind, b->kind);

	if (!c)
		c = compare(a->apicid, b->apicid);
	return c ? c : compare(a->vector, b->vector);
}

static void accept_add(void *into, const void *from)
{
	struct iho_accept_row *a = into;
	const struct iho_accept_row *b = from;

	a->total += b->total;
	a->delta += b->delta;
}

#define MERGE(rows, type, cmp, add)                                                                \
	{                                                                                          \
		sizeof(struct type), offsetof(struct iho_vm_report, rows),                         \
			offsetof(struct iho_vcpu, rows), cmp, add                                  \
	}

static const struct merge exit_merge = MERGE(exit_rows, iho_exit_row, exit_cmp, exit_add);
static const struct merge user_merge = MERGE(user_rows, iho_user_row, user_cmp, user_add);
static const struct merge drill_merge = MERGE(drill_rows, iho_drill_row, drill_cmp, drill_add);
/* Whoever sends an interrupt accepts it: these are the VM's also where a vCPU is shown. */
static const struct merge accept_merge = { sizeof(struct iho_accept_row),
					   offsetof(struct iho_vm_report, accept_rows),
					   NOT_PER_VCPU, accept_cmp, accept_add };

/* The only VM's own rows are better than a sum: they have percentiles. */
static const struct iho_vm_report *one_vm(const struct ui *ui)
{
	if (ui->scope.id.type == ROW_NONE)
		return ui->r->n_vms == 1 ? &ui->r->vms[0] : NULL;
	return ui->vm;
}

static struct rows scope_rows(struct ui *ui, struct scratch *s, const struct merge *m)
{
	const struct iho_vm_report *vm = one_vm(ui);
	size_t i;

	if (scope_gone(ui))
		return (struct rows){ NULL, 0 };
	if (ui->vcpu && m->in_vcpu != NOT_PER_VCPU)
		return rows_at(ui->vcpu, m->in_vcpu);
	if (vm)
		return rows_at(vm, m->in_vm);
	if (!s->ready) {
		s->n = 0;
		for (i = 0; i < ui->r->n_vms; i++)
			gather(ui, s, m, rows_at(&ui->r->vms[i], m->in_vm));
		add_up(s, m);
		s->ready = true;
	}
	return (struct rows){ s->v, s->n };
}

void scope_forget(struct ui *ui)
{
	ui->exits.ready = ui->users.ready = ui->drills.ready = ui->accepts.ready = false;
}

const struct iho_exit_row *scope_exits(struct ui *ui, size_t *n)
{
	struct rows rows = scope_rows(ui, &ui->exits, &exit_merge);

	*n = rows.n;
	return rows.v;
}

const struct iho_user_row *scope_users(struct ui *ui, size_t *n)
{
	struct rows rows = scope_rows(ui, &ui->users, &user_merge);

	*n = rows.n;
	return rows.v;
}

const struct iho_drill_row *scope_drills(struct ui *ui, size_t *n)
{
	struct rows rows = scope_rows(ui, &ui->drills, &drill_merge);

	*n = rows.n;
	return rows.v;
}

const struct iho_accept_row *scope_accepts(struct ui *ui, size_t *n)
{
	struct rows rows = scope_rows(ui, &ui->accepts, &accept_merge);

	*n = rows.n;
	return rows.v;
}

double scope_wall_delta(const struct ui *ui)
{
	double sum = 0;
	size_t i;

	if (ui->vcpu)
		return (double)ui->vcpu->bill.wall_delta;
	if (ui->scope.id.type != ROW_NONE)
		return ui->vm ? (double)ui->vm->bill.wall_delta : 0;
	for (i = 0; i < ui->r->n_vms; i++)
		sum += (double)ui->r->vms[i].bill.wall_delta;
	return sum;
}

static uint64_t vm_overflow(const struct iho_vm_report *vm, enum iho_drill_kind kind)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < vm->n_vcpus; i++)
		sum += vm->vcpus[i].drill_overflow[kind];
	return sum;
}

uint64_t scope_drill_overflow(const struct ui *ui, enum iho_drill_kind kind)
{
	uint64_t sum = 0;
	size_t i;

	if (ui->vcpu)
		return ui->vcpu->drill_overflow[kind];
	if (ui->scope.id.type != ROW_NONE)
		return ui->vm ? vm_overflow(ui->vm, kind) : 0;
	for (i = 0; i < ui->r->n_vms; i++)
		sum += vm_overflow(&ui->r->vms[i], kind);
	return sum;
}
