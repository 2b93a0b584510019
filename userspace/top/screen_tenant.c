// SPDX-License-Identifier: GPL-2.0-or-later
/* Tenant: the guest's own tasks, and the exits that each of them causes. */
#include "screen.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct tenant_row *row_of(const struct item *it)
{
	return it->row;
}

enum { GET_PID, GET_TID, GET_UID };

static void get_id(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	const struct tenant_row *r = row_of(it);
	int64_t v = arg == GET_PID ? r->pid : arg == GET_TID ? r->tid : r->uid;

	if (v >= 0)
		cell_count(c, (uint64_t)v);
}

static void get_name(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_text(c, "%s", row_of(it)->name);
}

static void get_share(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_percent(c, row_of(it)->share, 1);
}

static void get_cpu(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (row_of(it)->cpu >= 0)
		cell_percent(c, row_of(it)->cpu, 1);
}

static void get_exits(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (row_of(it)->exits_per_s >= 0)
		cell_rate(c, row_of(it)->exits_per_s);
}

static void get_reason(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_text(c, "%s", row_of(it)->reason[0] ? row_of(it)->reason : "-");
}

static void get_reason_rate(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (row_of(it)->reason_per_s >= 0)
		cell_rate(c, row_of(it)->reason_per_s);
}

static void get_certain(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (row_of(it)->certain >= 0)
		cell_percent(c, row_of(it)->certain, 1);
}

static const struct column columns[] = {
	{ .key = "pid",
	  .title = "PID",
	  .help = "process, as the guest counts",
	  .min = 7,
	  .rank = 2,
	  .get = get_id,
	  .arg = GET_PID,
	  .up = true },
	{ .key = "tid",
	  .title = "TID",
	  .help = "thread, as the guest counts; 0: idle",
	  .min = 7,
	  .get = get_id,
	  .arg = GET_TID,
	  .up = true },
	{ .key = "name",
	  .title = "TASK",
	  .help = "its name",
	  .min = 12,
	  .want = 16,
	  .max = 32,
	  .left = true,
	  .get = get_name },
	{ .key = "uid",
	  .title = "UID",
	  .help = "user id, as the guest counts",
	  .min = 6,
	  .rank = 3,
	  .get = get_id,
	  .arg = GET_UID,
	  .up = true },
	{ .key = "vcpu",
	  .title = "VCPU%",
	  .help = "samples that saw it on a vCPU; 200 is two vCPUs all the time",
	  .min = 6,
	  .max = 7,
	  .hotkey = 'P',
	  .get = get_share },
	{ .key = "cpu",
	  .title = "GCPU%",
	  .help = "its CPU time by the guest's own books",
	  .min = 6,
	  .max = 7,
	  .rank = 4,
	  .hotkey = 'T',
	  .get = get_cpu },
	{ .key = "exits",
	  .title = "EXITS/s",
	  .help = "billed to it, estimated from the samples",
	  .min = 8,
	  .max = 9,
	  .hotkey = 'M',
	  .get = get_exits },
	{ .key = "reason",
	  .title = "TOP REASON",
	  .help = "its most frequent",
	  .min = 12,
	  .want = 20,
	  .max = 36,
	  .rank = 1,
	  .left = true,
	  .get = get_reason },
	{ .key = "reason_rate",
	  .title = "OF IT/s",
	  .help = "exits of the top reason",
	  .min = 8,
	  .max = 9,
	  .rank = 5,
	  .get = get_reason_rate },
	{ .key = "certain",
	  .title = "SURE%",
	  .help = "its exits during which the guest switched no task on the vCPU",
	  .min = 6,
	  .max = 6,
	  .rank = 3,
	  .get = get_certain },
};

/* Whose guest: the VM of the scope, else what was asked for, else the only one. */
static void choose(struct ui *ui, char *vm, size_t size)
{
	*vm = '\0';
	if (ui->vm)
		snprintf(vm, size, "%d", ui->vm->pid);
	else if (ui->tenant_vm)
		snprintf(vm, size, "%s", ui->tenant_vm);
	else if (ui->r->n_vms == 1 && !ui->r->vms[0].gone)
		snprintf(vm, size, "%d", ui->r->vms[0].pid);
}

static void ask_anew(struct ui *ui)
{
	char vm[sizeof(ui->tenant_is)];

	choose(ui, vm, sizeof(vm));
	if (ui->tenant && strcmp(vm, ui->tenant_is)) {
		tenant_close(ui->tenant);
		ui->tenant = NULL;
	}
	if (!ui->tenant) {
		tenant_view_free(&ui->tenant_view);
		ui->tenant = tenant_open(vm);
		memcpy(ui->tenant_is, vm, sizeof(vm));
	}
	if (ui->tenant && (!ui->paused || !ui->tenant_view.round))
		tenant_take(ui->tenant, &ui->tenant_view);
}

static void add_how(const struct ui *ui, struct list *l)
{
	const struct tenant_view *v = &ui->tenant_view;
	char text[700];

	if (v->missing[0])
		snprintf(text, sizeof(text),
			 "Tasks from %" PRId64 " samples in %" PRId64 " ms. No exits: %s.",
			 v->samples, v->window_ms, v->missing);
	else
		snprintf(text, sizeof(text),
			 "Exits are estimated from %" PRId64 " samples in %" PRId64 " ms: those "
			 "between two samples are billed to the task that both saw on the vCPU, "
			 "else in halves. SURE%%: no task was switched meanwhile.",
			 v->samples, v->window_ms);
	list_wrapped(ui, l, ST_DIM, " ", text);
}

static void build(struct ui *ui, struct list *l)
{
	const struct tenant_view *v = &ui->tenant_view;
	size_t from;

	if (scope_gone(ui)) {
		list_text(l, ITEM_LINE, ST_DIM, GONE_TEXT);
		return;
	}
	ask_anew(ui);
	if (!ui->tenant || v->text[0]) {
		list_wrapped(ui, l, v->round ? ST_WARN : ST_DIM, " ",
			     ui->tenant ? v->text : "out of memory");
		if (v->round && ui->r->n_vms > 1 && !ui->vm)
			list_text(l, ITEM_LINE, ST_DIM, " Left and Right choose a VM.");
		return;
	}
	from = l->n;
	for (size_t i = 0; i < v->n; i++) {
		struct item *it = list_add(l, ITEM_ROW);

		it->row = &v->rows[i];
		it->id = ident_row(ui, ROW_TASK, 0, (uint64_t)v->rows[i].tid);
	}
	list_settle(ui, l, from);
	add_how(ui, l);
}

const struct screen screen_tenant = {
	.title = "Tenant",
	.key = 'g',
	.parent = SCREEN_OVERVIEW,
	.scoped = true,
	.sorted = IHO_SORTED_TENANT,
	.default_sort = "exits",
	.fallback_sort = "vcpu",
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.build = build,
};
