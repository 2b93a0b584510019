// SPDX-License-Identifier: GPL-2.0-or-later
/* What is remembered about VMs and vCPUs from one report to the next. */
#include "screen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int ident_cmp(const struct ident *a, const struct ident *b)
{
	int c = compare((uint64_t)a->pid, (uint64_t)b->pid);

	if (!c)
		c = compare((uint64_t)a->tid, (uint64_t)b->tid);
	if (!c)
		c = compare(a->vm_key, b->vm_key);
	if (!c)
		c = compare(a->type, b->type);
	if (!c)
		c = compare(a->a, b->a);
	return c ? c : compare(a->b, b->b);
}

bool ident_same(const struct ident *a, const struct ident *b)
{
	return !ident_cmp(a, b);
}

struct ident ident_vm(const struct iho_vm_report *vm)
{
	return (struct ident){ .pid = vm->pid, .vm_key = vm->key, .type = ROW_VM };
}

struct ident ident_vcpu(const struct iho_vm_report *vm, const struct iho_vcpu *vcpu)
{
	return (struct ident){
		.pid = vm->pid, .tid = vcpu->tid, .vm_key = vm->key, .type = ROW_VCPU
	};
}

/* A row of the scope: the same reason in another VM is another row. */
struct ident ident_row(const struct ui *ui, enum row_type type, uint32_t a, uint64_t b)
{
	struct ident id = ui->scope.id;

	id.type = type;
	id.a = a;
	id.b = b;
	return id;
}

/* --------------------------------------------------------------------------------------- tags */

static size_t tag_find(const struct ui *ui, const struct ident *id)
{
	size_t i = 0;

	while (i < ui->n_tags && !ident_same(&ui->tags[i], id))
		i++;
	return i;
}

bool tag_has(const struct ui *ui, const struct ident *id)
{
	return tag_find(ui, id) < ui->n_tags;
}

void tag_toggle(struct ui *ui, const struct ident *id)
{
	size_t i = tag_find(ui, id);
	struct ident *grown;

	if (i < ui->n_tags) {
		ui->tags[i] = ui->tags[--ui->n_tags];
		return;
	}
	grown = realloc(ui->tags, (ui->n_tags + 1) * sizeof(*grown));
	if (!grown) {
		ui_say(ui, true, "not tagged: out of memory");
		return;
	}
	ui->tags = grown;
	ui->tags[ui->n_tags++] = *id;
}

/* ---------------------------------------------------------------------------------- histories */

static int history_cmp(const void *a, const void *b)
{
	return ident_cmp(&((const struct history *)a)->id, &((const struct history *)b)->id);
}

static struct history *find(struct history *v, size_t n, const struct ident *id)
{
	struct history key = { .id = *id };

	return n ? bsearch(&key, v, n, sizeof(*v), history_cmp) : NULL;
}

const struct history *history_find(const struct ui *ui, const struct ident *id)
{
	return find(ui->history, ui->n_history, id);
}

/* The first `n_old` are sorted; what is new is appended behind `*n`. The caller made room. */
static void sample(struct history *v, size_t n_old, size_t *n, struct ident id, double rate)
{
	struct history *h = find(v, n_old, &id);

	if (!h) {
		h = &v[(*n)++];
		memset(h, 0, sizeof(*h));
		h->id = id;
	}
	if (h->n == HISTORY)
		memmove(h->v, h->v + 1, sizeof(h->v) - sizeof(h->v[0]));
	else
		h->n++;
	h->v[h->n - 1] = (float)rate;
	h->fresh = true;
}

void history_update(struct ui *ui)
{
	const struct iho_report *r = ui->r;
	size_t i, j, n = ui->n_history, kept = 0, room = n;
	struct history *v;

	if (isnan(ui_rate(ui, 1)))
		return;
	for (i = 0; i < r->n_vms; i++)
		room += 1 + r->vms[i].n_vcpus;
	v = room ? realloc(ui->history, room * sizeof(*v)) : NULL;
	if (!v)
		return; /* no VM; or the sparklines stand still until there is memory again */
	ui->history = v;
	for (i = 0; i < n; i++)
		v[i].fresh = false;
	for (i = 0; i < r->n_vms; i++) {
		const struct iho_vm_report *vm = &r->vms[i];

		sample(v, ui->n_history, &n, ident_vm(vm),
		       ui_rate(ui, r->splits_guest ? vm->exits_delta : vm->user_exits_delta));
		for (j = 0; j < vm->n_vcpus; j++) {
			const struct iho_vcpu *vcpu = &vm->vcpus[j];

			sample(v, ui->n_history, &n, ident_vcpu(vm, vcpu),
			       ui_rate(ui, r->splits_guest ? vcpu->exits_delta
							   : vcpu->user_exits_delta));
		}
	}
	for (i = 0; i < n; i++) {
		if (v[i].fresh)
			v[kept++] = v[i];
	}
	ui->n_history = kept;
	qsort(v, kept, sizeof(*v), history_cmp);
}
