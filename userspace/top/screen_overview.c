// SPDX-License-Identifier: GPL-2.0-or-later
/* Overview: one line a VM, with its vCPUs below in tree mode. */
#include "screen.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct iho_bill_ns *bill_of(const struct item *it)
{
	return it->vcpu ? &it->vcpu->bill : &it->vm->bill;
}

static void get_name(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	const char *branch = it->tree_last ? "└─ " : "├─ ";

	if (ui_ascii(ui))
		branch = it->tree_last ? "`- " : "|- ";
	if (!it->vcpu)
		cell_text(c, "%s%s", it->vm->name, it->vm->gone ? " (ended)" : "");
	else if (it->vcpu->id < 0)
		cell_text(c, "%svCPU ?%s", branch, it->vcpu->gone ? " (ended)" : "");
	else
		cell_text(c, "%svCPU %d%s", branch, it->vcpu->id, it->vcpu->gone ? " (ended)" : "");
}

static void get_vmm(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_text(c, "%s", it->vcpu || !it->vm->vmm ? "" : it->vm->vmm);
}

/* A count without being one: it is a name, and never shortened. */
static void get_pid(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_count(c, (uint64_t)(it->vcpu ? it->vcpu->tid : it->vm->pid));
}

static void get_vcpus(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (it->vcpu)
		cell_text(c, "%s", "");
	else
		cell_count(c, it->vm->n_vcpus);
}

static void get_cpu_share(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	const struct iho_bill_ns *b = bill_of(it);

	cell_percent(c,
		     (double)b->delta[IHO_BILL_GUEST] + (double)b->delta[IHO_BILL_KVM] +
			     (double)b->delta[IHO_BILL_GUEST_OR_KVM],
		     (double)b->wall_delta);
}

static void get_cpu_time(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	const struct iho_bill_ns *b = bill_of(it);

	cell_ns(c, b->total[IHO_BILL_GUEST] + b->total[IHO_BILL_KVM] +
			   b->total[IHO_BILL_GUEST_OR_KVM]);
}

/* Without kvm_exit a zero would be a lie. */
void get_exits_rate(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_rate(c, !ui->r->splits_guest
			     ? NAN
			     : ui_rate(ui, it->vcpu ? it->vcpu->exits_delta : it->vm->exits_delta));
}

void get_user_rate(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_rate(c, ui_rate(ui, it->vcpu ? it->vcpu->user_exits_delta : it->vm->user_exits_delta));
}

struct top {
	const char *reason;
	uint64_t most, sum;
};

static void top_take(struct top *top, const char *reason, uint64_t delta)
{
	top->sum += delta;
	if (delta > top->most) {
		top->most = delta;
		top->reason = reason;
	}
}

/* Of this interval, by number, with its share. */
static void get_top_reason(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	struct top top = { "", 0, 0 };
	size_t i;

	if (ui->r->splits_guest) {
		const struct iho_exit_row *v = it->vcpu ? it->vcpu->exit_rows.v
							: it->vm->exit_rows.v;
		size_t n = it->vcpu ? it->vcpu->exit_rows.n : it->vm->exit_rows.n;

		for (i = 0; i < n; i++)
			top_take(&top, v[i].reason, v[i].delta);
	} else {
		const struct iho_user_row *v = it->vcpu ? it->vcpu->user_rows.v
							: it->vm->user_rows.v;
		size_t n = it->vcpu ? it->vcpu->user_rows.n : it->vm->user_rows.n;

		for (i = 0; i < n; i++)
			top_take(&top, v[i].reason, v[i].delta);
	}
	if (top.most)
		cell_text(c, "%.0f%% %s", 100.0 * (double)top.most / (double)top.sum, top.reason);
	else
		cell_text(c, "%s", "");
}

void draw_item_bill(const struct ui *ui, const struct item *it, int y, int x, int w)
{
	draw_bill(&ui->term, ui_ascii(ui), y, x, w, bill_of(it));
}

static void draw_history(const struct ui *ui, const struct item *it, int y, int x, int w)
{
	const struct history *h = history_find(ui, &it->id);

	if (h)
		draw_spark(&ui->term, ui_ascii(ui), y, x, w, h->v, h->n);
}

static const struct column columns[] = {
	{ .key = "name",
	  .title = "VM",
	  .help = "the VM's name, or its process",
	  .min = 12,
	  .want = 18,
	  .max = 30,
	  .left = true,
	  .get = get_name },
	{ .key = "pid",
	  .title = "PID",
	  .help = "process of the VM, thread of the vCPU",
	  .min = 8,
	  .max = 8,
	  .rank = 5,
	  .get = get_pid,
	  .up = true },
	{ .key = "vcpus",
	  .title = "vCPU",
	  .help = "number of vCPUs",
	  .min = 5,
	  .max = 5,
	  .rank = 4,
	  .get = get_vcpus },
	{ .key = "cpu",
	  .title = "CPU%",
	  .help = "guest and KVM, of the vCPUs' wall time",
	  .min = 6,
	  .max = 6,
	  .rank = 3,
	  .hotkey = 'P',
	  .get = get_cpu_share },
	{ .key = "exits",
	  .title = "EXITS/s",
	  .help = "VM exits a second",
	  .min = 8,
	  .max = 8,
	  .rank = 1,
	  .hotkey = 'M',
	  .get = get_exits_rate,
	  .hidden = without_exits },
	{ .key = "user",
	  .title = "USER/s",
	  .help = "exits to the VMM a second (KVM_EXIT_*)",
	  .min = 7,
	  .max = 8,
	  .rank = 1,
	  .hotkey = 'M',
	  .get = get_user_rate },
	{ .key = "bill",
	  .title = "BILL",
	  .help = "where the vCPUs' wall time went in the interval",
	  .min = 14,
	  .want = 22,
	  .max = 60,
	  .rank = 1,
	  .draw = draw_item_bill },
	{ .key = "top",
	  .title = "TOP REASON",
	  .help = "the most frequent exit reason of the interval",
	  .min = 12,
	  .want = 18,
	  .max = 30,
	  .rank = 3,
	  .left = true,
	  .get = get_top_reason },
	{ .key = "history",
	  .title = "HISTORY",
	  .help = "exits/s (USER/s where there is no EXITS/s), each line to its own scale",
	  .min = 10,
	  .max = 60,
	  .rank = 6,
	  .draw = draw_history },
	{ .key = "time",
	  .title = "TIME",
	  .help = "guest and KVM time since it was first seen",
	  .min = 7,
	  .max = 7,
	  .rank = 7,
	  .hotkey = 'T',
	  .get = get_cpu_time },
	{ .key = "vmm",
	  .title = "VMM",
	  .help = "the program that runs the VM",
	  .min = 8,
	  .max = 16,
	  .rank = 8,
	  .left = true,
	  .get = get_vmm },
};

static void add_vcpus(struct ui *ui, struct list *l, const struct iho_vm_report *vm)
{
	size_t from = l->n, i;

	for (i = 0; i < vm->n_vcpus; i++) {
		struct item *it;

		if (vm->vcpus[i].archived)
			continue;
		it = list_add(l, ITEM_ROW);
		it->vm = vm;
		it->vcpu = &vm->vcpus[i];
		it->id = ident_vcpu(vm, it->vcpu);
		it->tagged = ui->n_tags && tag_has(ui, &it->id);
	}
	list_sort(ui, l, from);
	if (l->n > from)
		l->v[l->n - 1].tree_last = true;
}

/* The VMs are settled first, then each is followed by its vCPUs. */
static void add_tree(struct ui *ui, struct list *l)
{
	size_t n = l->n, i;
	struct item *vms = malloc((n ? n : 1) * sizeof(*vms));

	if (!vms) {
		l->short_of_memory = true;
		return;
	}
	memcpy(vms, l->v, n * sizeof(*vms));
	l->n = 0;
	for (i = 0; i < n; i++) {
		*list_add(l, ITEM_ROW) = vms[i];
		add_vcpus(ui, l, vms[i].vm);
	}
	free(vms);
}

static void build(struct ui *ui, struct list *l)
{
	size_t i;

	for (i = 0; i < ui->r->n_vms; i++) {
		struct item *it = list_add(l, ITEM_ROW);

		it->vm = &ui->r->vms[i];
		it->id = ident_vm(it->vm);
	}
	list_settle(ui, l, 0);
	if (ui->set->tree)
		add_tree(ui, l);
	if (!ui->r->n_vms)
		list_wrapped(ui, l, ST_DIM, " ",
			     "No VM runs on this host. One that starts is shown here at once; "
			     "iho-top --demo starts a small one to look at.");
}

static bool on_key(struct ui *ui, int key)
{
	if (key != '\n')
		return false;
	if (table_selected(ui))
		ui_go(ui, SCREEN_EXITS);
	return true;
}

const struct screen screen_overview = {
	.title = "Overview",
	.key = 'o',
	.parent = SCREEN_OVERVIEW,
	.bill_legend = true,
	.sorted = IHO_SORTED_OVERVIEW,
	.default_sort = "exits",
	.fallback_sort = "user",
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.build = build,
	.on_key = on_key,
};
