// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Interrupts: is APICv on, and if not why; what direct mode does without exits; what was injected,
 * sent and accepted.
 */
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

/* ---- direct mode ---- */

static void direct_row(struct list *l, struct ident id, uint32_t line, int style, const char *text)
{
	struct item *it;

	list_text(l, ITEM_ROW, style, "%s", text);
	it = &l->v[l->n - 1];
	it->id = id;
	it->id.type = ROW_DIRECT;
	it->id.a = line;
}

static void busy_text(const struct iho_cpu_times *t, char *buf, size_t len)
{
	enum iho_busy_signal best = iho_busy_best(t);

	if (best < IHO_BUSY_MAX)
		snprintf(buf, len, "busy %.1f %% (%s)", 100 * iho_busy_share(&t->busy[best]),
			 iho_busy_key(best));
	else
		snprintf(buf, len, "busy: not known");
}

static void add_missing(struct list *l, struct ident id, uint32_t missing)
{
	char text[160];

	for (unsigned int i = 0; iho_direct_missing_text(i); i++) {
		if (!(missing >> i & 1))
			continue;
		snprintf(text, sizeof(text), "    missing: %s", iho_direct_missing_text(i));
		direct_row(l, id, 3 + i, ST_WARN, text);
	}
}

/* `mode`: which of them are in it. Below it the counts of the interval, as rates. */
static void add_direct(const struct ui *ui, struct list *l, struct ident id, const char *mode,
		       const struct iho_direct_report *d, const struct iho_cpu_times *t)
{
	const uint64_t *n = d->delta;
	char busy[64], text[240];

	busy_text(t, busy, sizeof(busy));
	snprintf(text, sizeof(text), "  %s; %s", mode, busy);
	direct_row(l, id, 0, ST_TEXT, text);
	snprintf(text, sizeof(text),
		 "    timer/s: %.1f without exit, %.1f with, %.1f recovered, %.1f early; "
		 "saved %.1f",
		 ui_rate(ui, n[IHO_DIRECT_WITHOUT_EXIT]), ui_rate(ui, n[IHO_DIRECT_WITH_EXIT]),
		 ui_rate(ui, n[IHO_DIRECT_RECOVERED]), ui_rate(ui, n[IHO_DIRECT_SPURIOUS]),
		 ui_rate(ui, n[IHO_DIRECT_SAVED]));
	direct_row(l, id, 1, ST_TEXT, text);
	if (d->ipi_on || d->total[IHO_DIRECT_IPIS_POSTED]) {
		snprintf(text, sizeof(text),
			 "    IPI/s: %.1f without exit, %.1f kicked, %.1f asked; of them notified "
			 "%.1f",
			 ui_rate(ui, n[IHO_DIRECT_IPIS_WITHOUT_EXIT]),
			 ui_rate(ui, n[IHO_DIRECT_IPIS_KICKED]),
			 ui_rate(ui, n[IHO_DIRECT_IPIS_ASKED]),
			 ui_rate(ui, n[IHO_DIRECT_IPIS_NOTIFIED]));
		direct_row(l, id, 2, ST_TEXT, text);
	}
	add_missing(l, id, d->missing);
	if (!d->refused)
		return;
	snprintf(text, sizeof(text), "    %" PRIu64 " times its counters were not believed",
		 d->refused);
	direct_row(l, id, 40, ST_WARN, text);
}

static void add_direct_vcpu(const struct ui *ui, struct list *l, const struct iho_vm_report *vm,
			    const struct iho_vcpu *v)
{
	char mode[64];

	if (!v->direct.known || v->archived)
		return;
	snprintf(mode, sizeof(mode), "vCPU %d: deadlines %s exits%s", v->id,
		 v->direct.on ? "without" : "with", v->direct.ipi_on ? ", IPIs without" : "");
	add_direct(ui, l, ident_vcpu(vm, v), mode, &v->direct, &v->cpu_times);
}

static void add_direct_vm(const struct ui *ui, struct list *l, const struct iho_vm_report *vm)
{
	char mode[160];

	if (!vm->direct.traced)
		return;
	snprintf(mode, sizeof(mode), "%s: deadlines without exits on %u of %u vCPUs, IPIs on %u",
		 vm->name, vm->direct.on, vm->direct.known, vm->direct.ipi_on);
	if (!ui->vcpu)
		add_direct(ui, l, ident_vm(vm), mode, &vm->direct, &vm->cpu_times);
	for (size_t i = 0; ui->vm && i < vm->n_vcpus; i++)
		if (!ui->vcpu || ui->vcpu == &vm->vcpus[i])
			add_direct_vcpu(ui, l, vm, &vm->vcpus[i]);
}

/* Only where there is any: a KVM without our patches has none. */
static void direct_section(const struct ui *ui, struct list *l)
{
	bool any = false;

	for (size_t i = 0; i < ui->r->n_vms; i++) {
		const struct iho_vm_report *vm = &ui->r->vms[i];

		if ((ui->vm && ui->vm != vm) || !vm->direct.traced)
			continue;
		if (!any)
			list_text(l, ITEM_SECTION, ST_SECTION,
				  "Direct mode: by KVM's counters and, unchecked, the guest's");
		any = true;
		add_direct_vm(ui, l, vm);
	}
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
	direct_section(ui, l);
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
