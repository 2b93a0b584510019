// SPDX-License-Identifier: GPL-2.0-or-later
/* Exits: by reason, then by KVM_EXIT_*; and below each reason what it was about. */
#include "screen.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --------------------------------------------------------------------------------- drill-down */

static void get_what(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	char text[96];

	if (it->id.type == ROW_ACCEPT) {
		const struct iho_accept_row *row = it->row;

		cell_text(c, "vector %u (0x%02x) at APIC ID %u", row->vector, row->vector,
			  row->apicid);
	} else {
		const struct iho_drill_row *row = it->row;

		iho_drill_describe(row->kind, row->value, text, sizeof(text));
		cell_text(c, "%s", text);
	}
}

static uint64_t delta_of(const struct item *it)
{
	return it->id.type == ROW_ACCEPT ? ((const struct iho_accept_row *)it->row)->delta
					 : ((const struct iho_drill_row *)it->row)->delta;
}

static void get_drill_rate(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_rate(c, ui_rate(ui, delta_of(it)));
}

static void get_drill_total(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_count(c, it->id.type == ROW_ACCEPT ? ((const struct iho_accept_row *)it->row)->total
						: ((const struct iho_drill_row *)it->row)->total);
}

static void get_drill_share(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_percent(c, (double)delta_of(it), it->whole);
}

const struct column drill_columns[DRILL_COLUMNS] = {
	{ .key = "what",
	  .title = "WHAT",
	  .help = "port, page, register, leaf or vector",
	  .min = 24,
	  .max = 60,
	  .left = true,
	  .get = get_what },
	{ .key = "rate",
	  .title = "RATE/s",
	  .help = "a second, over the interval",
	  .min = 8,
	  .max = 9,
	  .hotkey = 'M',
	  .get = get_drill_rate },
	{ .key = "total",
	  .title = "TOTAL",
	  .help = "since attach",
	  .min = 11,
	  .max = 14,
	  .hotkey = 'T',
	  .get = get_drill_total },
	{ .key = "share",
	  .title = "SHARE%",
	  .help = "of its section, over the interval",
	  .min = 7,
	  .max = 7,
	  .hotkey = 'P',
	  .get = get_drill_share },
};

/* Nothing where neither a row nor an overflow is of this kind. */
void drill_section(struct ui *ui, struct list *l, enum iho_drill_kind kind)
{
	uint64_t overflow = scope_drill_overflow(ui, kind);
	size_t i, n, from;
	const struct iho_drill_row *rows = scope_drills(ui, &n);
	double whole = 0;
	bool any = false;

	for (i = 0; i < n; i++) {
		if (rows[i].kind == kind) {
			whole += (double)rows[i].delta;
			any = true;
		}
	}
	if (!any && !overflow)
		return;
	if (overflow)
		list_text(l, ITEM_SECTION, ST_SECTION,
			  "%s (table full: %" PRIu64 " more not listed)", iho_drill_title(kind),
			  overflow);
	else
		list_text(l, ITEM_SECTION, ST_SECTION, "%s", iho_drill_title(kind));
	from = l->n;
	for (i = 0; i < n; i++) {
		struct item *it;

		if (rows[i].kind != kind)
			continue;
		it = list_add(l, ITEM_ROW);
		it->row = &rows[i];
		it->id = ident_row(ui, ROW_DRILL, kind, rows[i].value);
		it->whole = whole;
	}
	list_settle(ui, l, from);
}

#define KIND(k) (1u << IHO_DRILL_##k)
#define ALL_KINDS                                                                                  \
	(KIND(PIO) | KIND(MMIO) | KIND(FAST_MMIO) | KIND(MSR) | KIND(CPUID) | KIND(CR) |           \
	 KIND(HYPERCALL) | KIND(PAGE_FAULT))
#define INTERRUPT_KINDS (KIND(INJ_VIRQ) | KIND(IPI) | KIND(EOI) | KIND(PV_EOI))

/*
 * Which drill-down explains a reason: the first match in its kernel name (VMX in capitals, SVM in
 * small letters) wins, so the more special names come first.
 */
static const struct {
	const char *part;
	uint32_t kinds;
} explained_by[] = {
	{ "MSR", KIND(MSR) },
	{ "CPUID", KIND(CPUID) },
	{ "MMIO", KIND(MMIO) | KIND(FAST_MMIO) },
	{ "EPT_", KIND(MMIO) | KIND(FAST_MMIO) | KIND(PAGE_FAULT) },
	{ "npf", KIND(MMIO) | KIND(FAST_MMIO) | KIND(PAGE_FAULT) },
	{ "IO_INSTRUCTION", KIND(PIO) },
	{ "KVM_EXIT_IO", KIND(PIO) },
	{ "VMCALL", KIND(HYPERCALL) },
	{ "HYPERCALL", KIND(HYPERCALL) },
	{ "_cr", KIND(CR) },
	{ "CR_ACCESS", KIND(CR) },
	{ "EXCEPTION", KIND(PAGE_FAULT) | KIND(INJ_EXCEPTION) },
	{ "excp", KIND(PAGE_FAULT) | KIND(INJ_EXCEPTION) },
	{ "APIC", INTERRUPT_KINDS | KIND(MMIO) | KIND(MSR) },
	{ "avic", INTERRUPT_KINDS | KIND(MMIO) | KIND(MSR) },
	{ "EOI", INTERRUPT_KINDS },
	{ "INTERRUPT", INTERRUPT_KINDS },
	{ "HLT", INTERRUPT_KINDS },
	{ "vintr", INTERRUPT_KINDS },
};

/* Like strcasestr(), which is not C's. */
static bool contains(const char *text, const char *part)
{
	for (; *text; text++) {
		if (!strncasecmp(text, part, strlen(part)))
			return true;
	}
	return false;
}

static uint32_t kinds_of(const char *reason)
{
	size_t i;

	if (!strcmp(reason, "io")) /* SVM's name for port I/O, too short to be looked for */
		return KIND(PIO);
	for (i = 0; i < ARRAY_SIZE(explained_by); i++) {
		if (contains(reason, explained_by[i].part))
			return explained_by[i].kinds;
	}
	return ALL_KINDS;
}

static void drill_build(struct ui *ui, struct list *l)
{
	uint32_t kinds = kinds_of(ui->reason);
	int kind;

	for (kind = IHO_DRILL_NONE + 1; kind < IHO_DRILL_MAX; kind++) {
		if (kinds & (1u << kind))
			drill_section(ui, l, kind);
	}
	if (!l->n)
		list_text(l, ITEM_LINE, ST_DIM, " Nothing more is known about %s here.",
			  ui->reason);
}

const struct screen screen_drill = {
	.title = "Drill-down",
	.parent = SCREEN_EXITS,
	.scoped = true,
	.sorted = IHO_SORTED_DRILL,
	.default_sort = "rate",
	.columns = drill_columns,
	.n_columns = DRILL_COLUMNS,
	.build = drill_build,
};

/* -------------------------------------------------------------------------------------- exits */

static const struct iho_exit_row *exit_of(const struct item *it)
{
	return it->id.type == ROW_EXIT ? it->row : NULL;
}

static const struct iho_user_row *user_of(const struct item *it)
{
	return it->id.type == ROW_USER ? it->row : NULL;
}

static void get_reason(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (exit_of(it))
		cell_text(c, "%s", exit_of(it)->reason);
	else if (user_of(it))
		cell_text(c, "%s", user_of(it)->reason);
	else
		get_what(ui, it, arg, c);
}

static void get_isa(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	const struct iho_exit_row *row = exit_of(it);

	cell_text(c, "%s",
		  !row			    ? ""
		  : row->isa == IHO_ISA_VMX ? "vmx"
		  : row->isa == IHO_ISA_SVM ? "svm"
					    : "?");
}

static void get_rate(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_rate(c, ui_rate(ui, exit_of(it)   ? exit_of(it)->delta
				 : user_of(it) ? user_of(it)->delta
					       : delta_of(it)));
}

static void get_total(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (exit_of(it))
		cell_count(c, exit_of(it)->total);
	else if (user_of(it))
		cell_count(c, user_of(it)->total);
	else
		get_drill_total(ui, it, arg, c);
}

static void get_share(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (exit_of(it))
		cell_percent(c, (double)exit_of(it)->time_delta_ns, scope_wall_delta(ui));
	else if (user_of(it))
		cell_percent(c, (double)user_of(it)->time_delta_ns, scope_wall_delta(ui));
}

static void get_time(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (exit_of(it))
		cell_ns(c, exit_of(it)->time_ns);
	else if (user_of(it))
		cell_ns(c, user_of(it)->time_ns);
}

static void get_in_kvm(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (exit_of(it))
		cell_ns(c, exit_of(it)->kvm_ns);
}

static void get_mean(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (exit_of(it))
		cell_ns(c, exit_of(it)->mean_ns);
}

/* Percentiles do not add up: a sum over several VMs has none. */
static void get_percentile(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	const struct iho_exit_row *row = exit_of(it);

	if (row && !scope_is_sum(ui))
		cell_ns(c, arg == 50 ? row->p50_ns : row->p99_ns);
}

static void get_max(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (exit_of(it))
		cell_ns(c, exit_of(it)->max_ns);
	else if (user_of(it))
		cell_ns(c, user_of(it)->max_ns);
}

static const struct column columns[] = {
	{ .key = "reason",
	  .title = "REASON",
	  .help = "the kernel's name of the exit reason",
	  .min = 18,
	  .max = 40,
	  .left = true,
	  .get = get_reason },
	{ .key = "isa",
	  .title = "ISA",
	  .help = "vmx or svm",
	  .min = 4,
	  .max = 4,
	  .rank = 5,
	  .left = true,
	  .get = get_isa,
	  .hidden = without_exits },
	{ .key = "rate",
	  .title = "RATE/s",
	  .help = "exits a second, over the interval",
	  .min = 8,
	  .max = 9,
	  .hotkey = 'M',
	  .get = get_rate },
	{ .key = "total",
	  .title = "TOTAL",
	  .help = "exits since attach",
	  .min = 11,
	  .max = 14,
	  .get = get_total },
	{ .key = "share",
	  .title = "TIME%",
	  .help = "work for these exits, of the vCPUs' wall time in the interval",
	  .min = 6,
	  .max = 7,
	  .hotkey = 'P',
	  .get = get_share },
	{ .key = "time",
	  .title = "TIME",
	  .help = "work for these exits since attach: KVM and VMM, no halt, no wait",
	  .min = 7,
	  .max = 9,
	  .rank = 1,
	  .hotkey = 'T',
	  .get = get_time },
	{ .key = "kvm",
	  .title = "IN KVM",
	  .help = "the part of TIME inside KVM",
	  .min = 7,
	  .max = 9,
	  .rank = 7,
	  .get = get_in_kvm,
	  .hidden = without_exits },
	{ .key = "mean",
	  .title = "MEAN",
	  .help = "TIME per exit",
	  .min = 7,
	  .max = 9,
	  .rank = 3,
	  .get = get_mean,
	  .hidden = without_exits },
	{ .key = "p50",
	  .title = "P50",
	  .help = "median, at most 12.5 % off; - for sums over several VMs",
	  .min = 7,
	  .max = 9,
	  .rank = 4,
	  .arg = 50,
	  .get = get_percentile,
	  .hidden = without_exits },
	{ .key = "p99",
	  .title = "P99",
	  .help = "99th percentile, at most 12.5 % off",
	  .min = 7,
	  .max = 9,
	  .rank = 2,
	  .arg = 99,
	  .get = get_percentile,
	  .hidden = without_exits },
	{ .key = "max",
	  .title = "MAX",
	  .help = "the longest one, exactly",
	  .min = 7,
	  .max = 9,
	  .rank = 3,
	  .get = get_max },
};

static void add_exits(struct ui *ui, struct list *l)
{
	size_t i, n, from;
	const struct iho_exit_row *rows = scope_exits(ui, &n);

	list_text(l, ITEM_SECTION, ST_SECTION, "VM exits");
	from = l->n;
	for (i = 0; i < n; i++) {
		struct item *it = list_add(l, ITEM_ROW);

		it->row = &rows[i];
		it->id = ident_row(ui, ROW_EXIT, rows[i].isa, rows[i].code);
	}
	list_settle(ui, l, from);
	if (!n)
		list_text(l, ITEM_LINE, ST_DIM, "  none yet");
}

static void add_users(struct ui *ui, struct list *l)
{
	size_t i, n, from;
	const struct iho_user_row *rows = scope_users(ui, &n);

	list_text(l, ITEM_SECTION, ST_SECTION, "Userspace exits (time in the VMM)");
	from = l->n;
	for (i = 0; i < n; i++) {
		struct item *it = list_add(l, ITEM_ROW);

		it->row = &rows[i];
		it->id = ident_row(ui, ROW_USER, 0, rows[i].code);
	}
	list_settle(ui, l, from);
	if (!n)
		list_text(l, ITEM_LINE, ST_DIM, "  none yet");
}

static void build(struct ui *ui, struct list *l)
{
	int kind;

	if (scope_gone(ui)) {
		list_text(l, ITEM_LINE, ST_DIM, GONE_TEXT);
		return;
	}
	if (ui->r->splits_guest) {
		add_exits(ui, l);
		add_users(ui, l);
		return;
	}
	list_text(l, ITEM_LINE, ST_WARN,
		  "This host's KVM emits no kvm_exit: no exit reasons and no latencies.");
	add_users(ui, l);
	for (kind = IHO_DRILL_NONE + 1; kind < IHO_DRILL_MAX; kind++) {
		if (ALL_KINDS & (1u << kind))
			drill_section(ui, l, kind);
	}
}

static bool on_key(struct ui *ui, int key)
{
	const struct item *it = table_selected(ui);

	if (key != '\n')
		return false;
	if (it && (exit_of(it) || user_of(it))) {
		snprintf(ui->reason, sizeof(ui->reason), "%s",
			 exit_of(it) ? exit_of(it)->reason : user_of(it)->reason);
		ui_go(ui, SCREEN_DRILL);
	}
	return true;
}

const struct screen screen_exits = {
	.title = "Exits",
	.key = 'e',
	.parent = SCREEN_OVERVIEW,
	.scoped = true,
	.sorted = IHO_SORTED_EXITS,
	.default_sort = "rate",
	.fallback_sort = "rate",
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.build = build,
	.on_key = on_key,
};
