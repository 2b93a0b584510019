// SPDX-License-Identifier: GPL-2.0-or-later
/* Interrupts: is APICv on, and if not why; what was injected, sent and accepted. */
#include "screen.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const enum iho_drill_kind kinds[] = {
	IHO_DRILL_INJ_VIRQ, IHO_DRILL_INJ_EXCEPTION, IHO_DRILL_IPI, IHO_DRILL_EOI, IHO_DRILL_PV_EOI,
};

static const enum iho_drill_kind accept_kinds[] = {
	IHO_DRILL_APIC_ACCEPT,
	IHO_DRILL_APICV_ACCEPT,
	IHO_DRILL_MSI,
	IHO_DRILL_PI_IRTE,
};

static void apicv_row(struct list *l, const struct iho_vm_report *vm, uint32_t line, int style,
		      const char *text)
{
	struct item *it;

	list_text(l, ITEM_ROW, style, "%s", text);
	it = &l->v[l->n - 1];
	it->id = ident_vm(vm);
	it->id.type = ROW_APICV;
	it->id.a = line;
}

/* The doctor's sentence, and below it since when and by which reasons. */
static void add_apicv(struct list *l, const struct iho_vm_report *vm)
{
	static const int styles[] = {
		[IHO_APICV_UNKNOWN] = ST_DIM,
		[IHO_APICV_OFF] = ST_WARN,
		[IHO_APICV_INHIBITED] = ST_WARN,
		[IHO_APICV_ON] = ST_TEXT,
	};
	const struct iho_apicv_state *a = &vm->apicv;
	char since[64], text[800];

	snprintf(text, sizeof(text), "  %s: %s", vm->name, a->text[0] ? a->text : "not known");
	apicv_row(l, vm, 0, a->state < ARRAY_SIZE(styles) ? styles[a->state] : ST_TEXT, text);
	if (a->state == IHO_APICV_UNKNOWN || a->state == IHO_APICV_OFF)
		return; /* off for good: there is no since and no change */
	if (a->since_s < 0)
		snprintf(since, sizeof(since), "since before we looked");
	else
		snprintf(since, sizeof(since), "for %.1f s", a->since_s);
	snprintf(text, sizeof(text), "    %s, %" PRIu64 " changes%s%s", since, a->changes,
		 a->reasons[0] ? "; reasons: " : "", a->reasons);
	apicv_row(l, vm, 1, ST_DIM, text);
}

static void accept_section(struct ui *ui, struct list *l, enum iho_drill_kind kind)
{
	size_t i, n, from;
	const struct iho_accept_row *rows = scope_accepts(ui, &n);
	double whole = 0;
	bool any = false;

	for (i = 0; i < n; i++) {
		if (rows[i].kind == kind) {
			whole += (double)rows[i].delta;
			any = true;
		}
	}
	if (!any)
		return;
	list_text(l, ITEM_SECTION, ST_SECTION, "%s%s", iho_drill_title(kind),
		  ui->vcpu ? " (of the whole VM)" : "");
	from = l->n;
	for (i = 0; i < n; i++) {
		struct item *it;

		if (rows[i].kind != kind)
			continue;
		it = list_add(l, ITEM_ROW);
		it->row = &rows[i];
		it->id = ident_row(ui, ROW_ACCEPT, kind, rows[i].apicid << 8 | rows[i].vector);
		it->whole = whole;
	}
	list_settle(ui, l, from);
}

static void build(struct ui *ui, struct list *l)
{
	size_t i, n;

	if (scope_gone(ui)) {
		list_text(l, ITEM_LINE, ST_DIM, GONE_TEXT);
		return;
	}
	list_text(l, ITEM_SECTION, ST_SECTION, "APICv / AVIC");
	for (i = 0; i < ui->r->n_vms; i++) {
		if (!ui->vm || ui->vm == &ui->r->vms[i])
			add_apicv(l, &ui->r->vms[i]);
	}
	n = l->n;
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		drill_section(ui, l, kinds[i]);
	for (i = 0; i < ARRAY_SIZE(accept_kinds); i++)
		accept_section(ui, l, accept_kinds[i]);
	if (l->n == n)
		list_text(l, ITEM_LINE, ST_DIM,
			  " No interrupt was injected, sent or accepted since attach.");
}

const struct screen screen_interrupts = {
	.title = "Interrupts",
	.key = 'i',
	.parent = SCREEN_OVERVIEW,
	.scoped = true,
	.sorted = IHO_SORTED_INTERRUPTS,
	.default_sort = "rate",
	.columns = drill_columns,
	.n_columns = DRILL_COLUMNS,
	.build = build,
};
