// SPDX-License-Identifier: GPL-2.0-or-later
/* vCPUs: each one's bill and core; and below each who had its core while it waited. */
#include "screen.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void get_vm(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_text(c, "%s", it->vm->name);
}

static void get_id(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (it->vcpu->id >= 0)
		cell_count(c, (uint64_t)it->vcpu->id);
}

static void get_tid(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_count(c, (uint64_t)it->vcpu->tid);
}

static void get_cpu(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	if (it->vcpu->cpu >= 0)
		cell_count(c, (uint64_t)it->vcpu->cpu);
}

static void get_affinity(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_text(c, "%s%s", it->vcpu->pinned ? "pinned " : "",
		  it->vcpu->affinity[0] ? it->vcpu->affinity : "?");
}

static void get_state(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_text(c, "%s", it->vcpu->gone ? "ended" : iho_bill_label(it->vcpu->state));
}

static void get_bill_share(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_percent(c, (double)it->vcpu->bill.delta[arg], (double)it->vcpu->bill.wall_delta);
}

static void get_busy(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	const struct iho_cpu_times *t = &it->vcpu->cpu_times;
	enum iho_busy_signal best = iho_busy_best(t);

	if (best < IHO_BUSY_MAX)
		cell_percent(c, iho_busy_share(&t->busy[best]), 1);
}

static void get_signal(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	const struct iho_cpu_times *t = &it->vcpu->cpu_times;
	enum iho_busy_signal best = iho_busy_best(t);

	cell_text(c, "%s%s", best < IHO_BUSY_MAX ? iho_busy_key(best) : "none",
		  t->disagree ? " !" : "");
}

static void get_mode_share(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	const struct iho_cpu_times *t = &it->vcpu->cpu_times;

	if (t->known >> arg & 1)
		cell_percent(c, (double)t->delta_ns[arg], (double)t->window_ns);
}

static void get_preemptions(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_rate(c, ui_rate(ui, it->vcpu->preemptions_delta));
}

static void get_migrations(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_count(c, it->vcpu->migrations);
}

static void get_halts(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_count(c, it->vcpu->halts);
}

static bool one_vm_only(const struct ui *ui)
{
	return ui->scope.id.type != ROW_NONE;
}

static bool with_exits(const struct ui *ui)
{
	return ui->r->splits_guest;
}

#define SHARE(key_, title_, help_, rank_, hot_, state_, hide_)                                     \
	{                                                                                          \
		.key = key_, .title = title_, .help = help_, .min = 6, .max = 6, .rank = rank_,    \
		.hotkey = hot_, .arg = state_, .get = get_bill_share, .hidden = hide_              \
	}

#define MODE(key_, title_, help_, mode_)                                                           \
	{                                                                                          \
		.key = key_, .title = title_, .help = help_, .min = 6, .max = 6, .rank = 11,       \
		.arg = mode_, .get = get_mode_share                                                \
	}

static const struct column columns[] = {
	{ .key = "vm",
	  .title = "VM",
	  .help = "the VM's name, or its process",
	  .min = 10,
	  .max = 24,
	  .left = true,
	  .get = get_vm,
	  .hidden = one_vm_only },
	{ .key = "id",
	  .title = "vCPU",
	  .help = "the vCPU's number in its VM",
	  .min = 5,
	  .max = 5,
	  .get = get_id,
	  .up = true },
	{ .key = "tid",
	  .title = "TID",
	  .help = "its thread",
	  .min = 8,
	  .max = 8,
	  .rank = 4,
	  .get = get_tid,
	  .up = true },
	{ .key = "core",
	  .title = "CPU",
	  .help = "the core where it ran last",
	  .min = 4,
	  .max = 4,
	  .get = get_cpu,
	  .up = true },
	{ .key = "affinity",
	  .title = "AFFINITY",
	  .help = "the cores that it may use",
	  .min = 9,
	  .max = 20,
	  .rank = 4,
	  .left = true,
	  .get = get_affinity },
	{ .key = "state",
	  .title = "STATE",
	  .help = "what it is doing now",
	  .min = 9,
	  .max = 12,
	  .rank = 1,
	  .left = true,
	  .get = get_state },
	{ .key = "bill",
	  .title = "BILL",
	  .help = "where its wall time went in the interval",
	  .min = 14,
	  .max = 40,
	  .rank = 1,
	  .draw = draw_item_bill },
	{ .key = "busy",
	  .title = "BUSY%",
	  .help = "work, not idling in guest mode; - = no signal that can tell",
	  .min = 6,
	  .max = 6,
	  .rank = 3,
	  .get = get_busy },
	SHARE("guest", "GUEST%", "guest code", 1, 'P', IHO_BILL_GUEST, without_exits),
	SHARE("kvm", "KVM%", "KVM, on the CPU", 1, 0, IHO_BILL_KVM, without_exits),
	SHARE("guest_or_kvm", "G+KVM%", "guest or KVM: this host cannot tell", 1, 'P',
	      IHO_BILL_GUEST_OR_KVM, with_exits),
	SHARE("qemu", "QEMU%", "the VMM's own code, awake or not", 2, 0, IHO_BILL_QEMU, NULL),
	SHARE("poll", "POLL%", "KVM's halt polling", 8, 0, IHO_BILL_HALT_POLL, NULL),
	SHARE("halted", "HALT%", "the guest has nothing to do", 3, 0, IHO_BILL_HALTED, NULL),
	SHARE("blocked", "BLCK%", "asleep in KVM: a page, a lock", 9, 0, IHO_BILL_BLOCKED, NULL),
	SHARE("runnable", "WAIT%", "woken, waits for a core", 3, 'T', IHO_BILL_RUNNABLE, NULL),
	SHARE("preempted", "PREE%", "lost its core, had work", 3, 0, IHO_BILL_PREEMPTED, NULL),
	SHARE("stopped", "STOP%", "SIGSTOP or a debugger", 10, 0, IHO_BILL_STOPPED, NULL),
	SHARE("unaccounted", "UNAC%", "not known", 10, 0, IHO_BILL_UNACCOUNTED, NULL),
	{ .key = "signal",
	  .title = "SIGNAL",
	  .help = "what BUSY% comes from; ! = another one contradicts it",
	  .min = 6,
	  .max = 12,
	  .rank = 11,
	  .left = true,
	  .get = get_signal },
	MODE("host_user", "HUSR%", "on the CPU: the VMM's own code", IHO_CPU_HOST_USER),
	MODE("host_system", "HSYS%", "on the CPU: KVM, polling, system calls", IHO_CPU_HOST_SYSTEM),
	MODE("guest_user", "GUSR%", "on the CPU: the guest's user mode", IHO_CPU_GUEST_USER),
	MODE("guest_system", "GSYS%", "on the CPU: the guest's kernel", IHO_CPU_GUEST_SYSTEM),
	{ .key = "exits",
	  .title = "EXITS/s",
	  .help = "VM exits a second",
	  .min = 8,
	  .max = 8,
	  .rank = 7,
	  .hotkey = 'M',
	  .get = get_exits_rate,
	  .hidden = without_exits },
	{ .key = "user",
	  .title = "USER/s",
	  .help = "exits to the VMM a second",
	  .min = 7,
	  .max = 8,
	  .rank = 8,
	  .hotkey = 'M',
	  .get = get_user_rate },
	{ .key = "preemptions",
	  .title = "PREE/s",
	  .help = "times a second that it lost its core with work left",
	  .min = 7,
	  .max = 7,
	  .rank = 4,
	  .get = get_preemptions },
	{ .key = "migrations",
	  .title = "MIGR",
	  .help = "moves between cores since attach",
	  .min = 6,
	  .max = 9,
	  .rank = 5,
	  .get = get_migrations },
	{ .key = "halts",
	  .title = "HALTS",
	  .help = "HLTs since attach",
	  .min = 7,
	  .max = 11,
	  .rank = 5,
	  .get = get_halts },
};

static void add_vm(struct list *l, const struct iho_vm_report *vm)
{
	size_t i;

	for (i = 0; i < vm->n_vcpus; i++) {
		struct item *it;

		if (vm->vcpus[i].archived)
			continue;
		it = list_add(l, ITEM_ROW);
		it->vm = vm;
		it->vcpu = &vm->vcpus[i];
		it->id = ident_vcpu(vm, it->vcpu);
	}
}

static void build(struct ui *ui, struct list *l)
{
	size_t i;

	if (ui->vm) {
		add_vm(l, ui->vm);
	} else if (ui->scope.id.type == ROW_NONE) {
		for (i = 0; i < ui->r->n_vms; i++)
			add_vm(l, &ui->r->vms[i]);
	} else {
		list_text(l, ITEM_LINE, ST_DIM, GONE_TEXT);
		return;
	}
	list_settle(ui, l, 0);
}

static bool on_key(struct ui *ui, int key)
{
	const struct item *it = table_selected(ui);

	if (key != '\n')
		return false;
	if (it && it->vcpu) {
		ui->outer_scope = ui->scope;
		scope_set(ui, &it->id, it->vm->name);
		ui_go(ui, SCREEN_INTERLOPERS);
	}
	return true;
}

const struct screen screen_vcpus = {
	.title = "vCPUs",
	.key = 'v',
	.parent = SCREEN_OVERVIEW,
	.bill_legend = true,
	.scoped = true,
	.sorted = IHO_SORTED_VCPUS,
	.default_sort = "vm", /* and within it the report's order, by number */
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.build = build,
	.on_key = on_key,
};

/* -------------------------------------------------------------------------------- interlopers */

static const struct iho_interloper_row *by_of(const struct item *it)
{
	return it->row;
}

static void get_kind(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	static const char *const names[] = { "task", "irq", "softirq" };

	cell_text(c, "%s", by_of(it)->kind < ARRAY_SIZE(names) ? names[by_of(it)->kind] : "?");
}

static void get_by_name(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_text(c, "%s", by_of(it)->name);
}

static void get_by_id(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_count(c, by_of(it)->id);
}

static void get_by_ms(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_rate(c, ui_rate(ui, by_of(it)->delta_ns) / 1e6);
}

static void get_by_share(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_percent(c, (double)by_of(it)->delta_ns, it->whole);
}

static void get_by_time(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_ns(c, by_of(it)->total_ns);
}

static void get_by_rate(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_rate(c, ui_rate(ui, by_of(it)->delta));
}

static void get_by_total(const struct ui *ui, const struct item *it, int arg, struct cell *c)
{
	cell_count(c, by_of(it)->total);
}

static const struct column by_columns[] = {
	{ .key = "kind",
	  .title = "KIND",
	  .help = "task, irq or softirq",
	  .min = 8,
	  .max = 8,
	  .left = true,
	  .get = get_kind },
	{ .key = "name",
	  .title = "NAME",
	  .help = "the task's, the device's or the softirq's",
	  .min = 12,
	  .max = 32,
	  .left = true,
	  .get = get_by_name },
	{ .key = "id",
	  .title = "ID",
	  .help = "thread, IRQ number, softirq number",
	  .min = 8,
	  .max = 8,
	  .get = get_by_id },
	{ .key = "ms",
	  .title = "MS/s",
	  .help = "milliseconds a second taken from this vCPU",
	  .min = 7,
	  .max = 8,
	  .hotkey = 'P',
	  .get = get_by_ms },
	{ .key = "share",
	  .title = "SHARE%",
	  .help = "of the vCPU's wall time in the interval",
	  .min = 7,
	  .max = 7,
	  .get = get_by_share },
	{ .key = "time",
	  .title = "TIME",
	  .help = "since attach",
	  .min = 7,
	  .max = 9,
	  .hotkey = 'T',
	  .get = get_by_time },
	{ .key = "rate",
	  .title = "TIMES/s",
	  .help = "how often a second",
	  .min = 8,
	  .max = 8,
	  .rank = 1,
	  .hotkey = 'M',
	  .get = get_by_rate },
	{ .key = "total",
	  .title = "COUNT",
	  .help = "how often since attach",
	  .min = 8,
	  .max = 12,
	  .rank = 1,
	  .get = get_by_total },
};

/* The whole bill in words: the bar above it cannot be read to the digit. */
static void add_bill(struct ui *ui, struct list *l, const struct iho_bill_ns *b)
{
	struct item *it;
	char total[24];
	int i;

	list_text(l, ITEM_SECTION, ST_SECTION, "The bill: of the interval, and since attach");
	for (i = 0; i < IHO_BILL_MAX; i++) {
		double whole = b->wall_delta ? (double)b->wall_delta : 1;

		if (!b->total[i])
			continue;
		format_ns(b->total[i], !ui_ascii(ui), total, sizeof(total));
		list_text(l, ITEM_ROW, ST_TEXT, "  %-16s %5.1f %%   %s", iho_bill_label(i),
			  100.0 * (double)b->delta[i] / whole, total);
		it = &l->v[l->n - 1];
		it->id = ident_row(ui, ROW_BILL, (uint32_t)i, 0);
	}
}

static void add_line(struct ui *ui, struct list *l, unsigned int nr, const char *what, bool known,
		     double share, const char *why)
{
	if (known)
		list_text(l, ITEM_ROW, ST_TEXT, "  %-21s %5.1f %%   %s", what, 100 * share, why);
	else
		list_text(l, ITEM_ROW, ST_DIM, "  %-21s unknown   %s", what, why);
	l->v[l->n - 1].id = ident_row(ui, ROW_UTILISATION, nr, 0);
}

/* What each signal says, or why it says nothing; and whose code had the CPU. */
static void add_utilisation(struct ui *ui, struct list *l, const struct iho_cpu_times *t)
{
	static const char *const about[IHO_BUSY_MAX] = {
		[IHO_BUSY_REF_CYCLES] = "unhalted cycles of the guest",
		[IHO_BUSY_MPERF] = "unhalted cycles of its core",
		[IHO_BUSY_GUEST] = "by the guest's own account of its idle time",
	};
	char total[24];
	double share;
	int i;

	list_text(l, ITEM_SECTION, ST_SECTION, "Busy, by each signal%s",
		  t->disagree ? ": they contradict each other" : "");
	for (i = 0; i < IHO_BUSY_MAX; i++) {
		share = iho_busy_share(&t->busy[i]);
		add_line(ui, l, (unsigned int)i, iho_busy_key(i), share >= 0, share,
			 i == IHO_BUSY_BILL ? iho_idle_text(t->idle_seen)
			 : t->busy[i].known ? about[i]
			 : i == IHO_BUSY_GUEST
				 ? "it keeps no account that KVM traces (direct mode)"
				 : "no such counter here, or none for this vCPU");
	}
	list_text(l, ITEM_SECTION, ST_SECTION, "Whose code had the CPU: lately, and since attach");
	for (i = 0; i < IHO_CPU_MAX; i++) {
		/* what stands for others where these are not known */
		if (i >= IHO_CPU_GUEST && !(t->known >> i & 1))
			continue;
		format_ns(t->ns[i], !ui_ascii(ui), total, sizeof(total));
		add_line(ui, l, IHO_BUSY_MAX + (unsigned int)i, iho_cpu_label(i),
			 (t->known >> i & 1) && t->window_ns,
			 t->window_ns ? (double)t->delta_ns[i] / (double)t->window_ns : 0,
			 t->known >> i & 1 ? total : "");
	}
}

static void by_build(struct ui *ui, struct list *l)
{
	const struct iho_vcpu *vcpu = ui->vcpu;
	char others[24];
	size_t i, from;

	if (!vcpu) {
		list_text(l, ITEM_LINE, ST_DIM, " This vCPU is gone. Esc goes back.");
		return;
	}
	format_ns(vcpu->interlopers_evicted_ns, !ui_ascii(ui), others, sizeof(others));
	if (vcpu->interlopers_evicted)
		list_text(l, ITEM_SECTION, ST_SECTION,
			  "Who had its core while it wanted to run (table full: %s of others)",
			  others);
	else
		list_text(l, ITEM_SECTION, ST_SECTION, "Who had its core while it wanted to run");
	from = l->n;
	for (i = 0; i < vcpu->interloper_rows.n; i++) {
		struct item *it = list_add(l, ITEM_ROW);

		it->row = &vcpu->interloper_rows.v[i];
		it->id = ident_row(ui, ROW_INTERLOPER, by_of(it)->kind, by_of(it)->id);
		it->whole = (double)vcpu->bill.wall_delta;
	}
	list_settle(ui, l, from);
	if (!vcpu->interloper_rows.n)
		list_text(l, ITEM_LINE, ST_DIM, "  nobody so far");
	add_bill(ui, l, &vcpu->bill);
	add_utilisation(ui, l, &vcpu->cpu_times);
}

const struct screen screen_interlopers = {
	.title = "Interlopers",
	.parent = SCREEN_VCPUS,
	.bill_legend = false,
	.scoped = true,
	.sorted = IHO_SORTED_INTERLOPERS,
	.default_sort = "ms",
	.columns = by_columns,
	.n_columns = ARRAY_SIZE(by_columns),
	.build = by_build,
};
