// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The catalogue of metric families, and how each is read from a report.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "metrics_emit.h"

#define SELF(field) offsetof(struct iho_self, field)
#define VCPU(field) offsetof(struct iho_vcpu, field)

static uint64_t field_u64(const void *record, size_t of)
{
	uint64_t n;

	memcpy(&n, (const char *)record + of, sizeof(n));
	return n;
}

/* ---- the host ---- */

static void emit_build_info(struct iho_metrics_emit *e)
{
	iho_emit_int(e, IHO_LABELS(IHO_VERSION), 1);
}

static void emit_up(struct iho_metrics_emit *e)
{
	iho_emit_int(e, NULL, e->report ? 1 : 0);
}

static void emit_collector_info(struct iho_metrics_emit *e)
{
	iho_emit_int(e, IHO_LABELS(e->report->source, e->report->splits_guest ? "true" : "false"),
		     1);
}

static void emit_start_time(struct iho_metrics_emit *e)
{
	if (e->report->self.start_time_s > 0)
		iho_emit_real(e, NULL, e->report->self.start_time_s);
}

/* One 64-bit number of struct iho_self. */
static void emit_self(struct iho_metrics_emit *e)
{
	iho_emit_int(e, NULL, field_u64(&e->report->self, e->metric->of));
}

static void emit_bpf_event(struct iho_metrics_emit *e)
{
	if (e->report->self.bpf_ns_per_event >= 0)
		iho_emit_real(e, NULL, e->report->self.bpf_ns_per_event / 1e9);
}

static void emit_bpf_cpu(struct iho_metrics_emit *e)
{
	if (e->report->self.bpf_share >= 0)
		iho_emit_real(e, NULL, e->report->self.bpf_share);
}

static void emit_collector_cpu(struct iho_metrics_emit *e)
{
	iho_emit_ns(e, NULL, e->report->self.cpu_ns);
}

static void emit_snapshot(struct iho_metrics_emit *e)
{
	iho_emit_real(e, NULL, e->report->self.snapshot_us / 1e6);
}

static void emit_lost(struct iho_metrics_emit *e)
{
	static const struct {
		const char *cause;
		size_t of;
	} causes[] = {
		{ "no_slot", SELF(lost_no_slot) },
		{ "storage", SELF(lost_storage) },
		{ "shared", SELF(lost_shared) },
		{ "waiters", SELF(lost_waiters) },
		{ "nested", SELF(lost_nested) },
		{ "read", SELF(lost_read) },
		{ "drill_overflow", SELF(drill_overflow) },
		{ "exit_overflow", SELF(exit_overflow) },
		{ "irq_overflow", SELF(irq_overflow) },
		{ "clock_back", SELF(clock_back) },
	};

	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++)
		iho_emit_int(e, IHO_LABELS(causes[i].cause),
			     field_u64(&e->report->self, causes[i].of));
}

static void emit_slots(struct iho_metrics_emit *e)
{
	iho_emit_int(e, NULL, e->report->self.slots);
}

static void emit_slots_used(struct iho_metrics_emit *e)
{
	iho_emit_int(e, NULL, e->report->self.slots_used);
}

/* ---- the exporter ---- */

static void emit_exporter_cpu(struct iho_metrics_emit *e)
{
	iho_emit_ns(e, NULL, e->self->cpu_ns);
}

/* One 64-bit number of struct iho_metrics_exporter. */
static void emit_exporter(struct iho_metrics_emit *e)
{
	iho_emit_int(e, NULL, field_u64(e->self, e->metric->of));
}

static void emit_exporter_scrape(struct iho_metrics_emit *e)
{
	if (e->self->scrape_s >= 0)
		iho_emit_real(e, NULL, e->self->scrape_s);
}

static void emit_exporter_requests(struct iho_metrics_emit *e)
{
	char code[16];

	for (size_t i = 0; i < e->self->n_requests; i++) {
		snprintf(code, sizeof(code), "%u", e->self->requests[i].code);
		iho_emit_int(e, IHO_LABELS(code), e->self->requests[i].total);
	}
}

/* With the two samples that tell it. */
static void emit_series(struct iho_metrics_emit *e)
{
	iho_emit_int(e, NULL, e->series + 2);
}

static void emit_series_dropped(struct iho_metrics_emit *e)
{
	iho_emit_int(e, NULL, e->dropped);
}

/* ---- VMs ---- */

static void emit_vm_info(struct iho_metrics_emit *e)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", e->vm->pid);
	iho_emit_int(e, IHO_LABELS(e->vm_label, pid, e->vm->vmm), 1);
}

static void emit_vm_vcpus(struct iho_metrics_emit *e)
{
	uint64_t n = 0;

	for (size_t i = 0; i < e->vm->n_vcpus; i++)
		n += !e->vm->vcpus[i].gone;
	iho_emit_int(e, IHO_LABELS(e->vm_label), n);
}

static void emit_apicv_state(struct iho_metrics_emit *e)
{
	static const struct {
		const char *name;
		enum iho_apicv state;
	} states[] = {
		{ "on", IHO_APICV_ON },
		{ "off", IHO_APICV_OFF },
		{ "inhibited", IHO_APICV_INHIBITED },
		{ "unknown", IHO_APICV_UNKNOWN },
	};

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		iho_emit_int(e, IHO_LABELS(e->vm_label, states[i].name),
			     e->vm->apicv.state == states[i].state);
}

static void emit_apicv_inhibited(struct iho_metrics_emit *e)
{
	char reasons[sizeof(e->vm->apicv.reasons)], *rest = reasons, *name;

	snprintf(reasons, sizeof(reasons), "%s", e->vm->apicv.reasons);
	while ((name = strsep(&rest, ","))) {
		name += strspn(name, " ");
		if (*name)
			iho_emit_int(e, IHO_LABELS(e->vm_label, name), 1);
	}
}

static void emit_apicv_changes(struct iho_metrics_emit *e)
{
	iho_emit_int(e, IHO_LABELS(e->vm_label), e->vm->apicv.changes);
}

static uint64_t vm_event(const struct iho_vm_report *vm, size_t event)
{
	uint64_t n = 0;

	for (size_t i = 0; i < vm->n_vcpus; i++)
		n += vm->vcpus[i].events[event];
	return n;
}

/* How often one tracepoint was seen. */
static void emit_vm_event(struct iho_metrics_emit *e)
{
	iho_emit_int(e, IHO_LABELS(e->vm_label), vm_event(e->vm, e->metric->of));
}

static void emit_vm_events(struct iho_metrics_emit *e)
{
	static const char *const names[IHO_EV_MAX] = {
#define EVENT_NAME(name, group, loss) [IHO_EV_##name] = #name,
		IHO_EVENTS(EVENT_NAME)
#undef EVENT_NAME
	};

	for (size_t i = 0; i < IHO_EV_MAX; i++) {
		uint64_t n = vm_event(e->vm, i);

		if (n)
			iho_emit_int(e, IHO_LABELS(e->vm_label, names[i]), n);
	}
}

static void emit_vm_interrupts(struct iho_metrics_emit *e)
{
	/* seen by the vCPU itself, and accepted for it by whoever sent them */
	static const struct {
		enum iho_drill_kind kind;
		enum iho_event event;
	} own[] = {
		{ IHO_DRILL_INJ_VIRQ, IHO_EV_kvm_inj_virq },
		{ IHO_DRILL_INJ_EXCEPTION, IHO_EV_kvm_inj_exception },
		{ IHO_DRILL_IPI, IHO_EV_kvm_apic_ipi },
		{ IHO_DRILL_EOI, IHO_EV_kvm_eoi },
		{ IHO_DRILL_PV_EOI, IHO_EV_kvm_pv_eoi },
	};
	static const enum iho_drill_kind accepted[] = { IHO_DRILL_APIC_ACCEPT,
							IHO_DRILL_APICV_ACCEPT, IHO_DRILL_MSI,
							IHO_DRILL_PI_IRTE };
	uint64_t n[IHO_DRILL_MAX] = {};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		iho_emit_int(e, IHO_LABELS(e->vm_label, iho_drill_key(own[i].kind)),
			     vm_event(e->vm, own[i].event));
	for (size_t i = 0; i < e->vm->accept_rows.n; i++)
		if (e->vm->accept_rows.v[i].kind < IHO_DRILL_MAX)
			n[e->vm->accept_rows.v[i].kind] += e->vm->accept_rows.v[i].total;
	for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++)
		iho_emit_int(e, IHO_LABELS(e->vm_label, iho_drill_key(accepted[i])),
			     n[accepted[i]]);
}

static const char *const interlopers[] = {
	[IHO_BY_TASK] = "task",
	[IHO_BY_IRQ] = "irq",
	[IHO_BY_SOFTIRQ] = "softirq",
};

#define INTERLOPERS (sizeof(interlopers) / sizeof(interlopers[0]))

/* Tasks that lost their row keep their share: it is counted beside the rows. */
static void sum_interlopers(const struct iho_vm_report *vm, uint64_t ns[INTERLOPERS],
			    uint64_t times[INTERLOPERS])
{
	for (size_t i = 0; i < vm->n_vcpus; i++) {
		const struct iho_vcpu *v = &vm->vcpus[i];

		for (size_t k = 0; k < v->interloper_rows.n; k++) {
			const struct iho_interloper_row *row = &v->interloper_rows.v[k];

			ns[row->kind] += row->total_ns;
			times[row->kind] += row->total;
		}
		ns[IHO_BY_TASK] += v->interlopers_evicted_ns;
		times[IHO_BY_TASK] += v->interlopers_evicted_times;
	}
}

static void emit_interloper_seconds(struct iho_metrics_emit *e)
{
	uint64_t ns[INTERLOPERS] = {}, times[INTERLOPERS] = {};

	sum_interlopers(e->vm, ns, times);
	for (size_t i = 0; i < INTERLOPERS; i++)
		iho_emit_ns(e, IHO_LABELS(e->vm_label, interlopers[i]), ns[i]);
}

static void emit_interlopers(struct iho_metrics_emit *e)
{
	uint64_t ns[INTERLOPERS] = {}, times[INTERLOPERS] = {};

	sum_interlopers(e->vm, ns, times);
	for (size_t i = 0; i < INTERLOPERS; i++)
		iho_emit_int(e, IHO_LABELS(e->vm_label, interlopers[i]), times[i]);
}

static void emit_exit_duration(struct iho_metrics_emit *e)
{
	e->n_rows = 0;
	for (size_t i = 0; i < e->vm->exit_rows.n; i++) {
		const struct iho_exit_row *from = &e->vm->exit_rows.v[i];
		struct iho_metrics_row *row = from->hist ? iho_emit_row(e, from->reason) : NULL;

		if (row)
			iho_metric_hist_add(&row->hist, from->hist, from->time_ns);
	}
	for (size_t i = 0; i < e->n_rows; i++)
		iho_emit_hist(e, IHO_LABELS(e->vm_label, e->rows[i].reason), &e->rows[i].hist);
}

/* ---- vCPUs ---- */

bool iho_emit_next_vcpu(const struct iho_metrics_emit *e, struct iho_metrics_vcpu *c)
{
	const struct iho_vcpu *end = e->vm->vcpus + e->vm->n_vcpus;

	c->v = c->v ? c->v + c->n : e->vm->vcpus;
	if (c->v == end)
		return false;
	for (c->n = 1; c->v + c->n < end && c->v[c->n].id == c->v->id; c->n++)
		;
	if (c->v->id < 0)
		snprintf(c->label, sizeof(c->label), "unknown");
	else
		snprintf(c->label, sizeof(c->label), "%d", c->v->id);
	return true;
}

const struct iho_vcpu *iho_emit_living(const struct iho_metrics_vcpu *c)
{
	const struct iho_vcpu *found = NULL;

	for (size_t i = 0; i < c->n; i++) {
		if (c->v[i].gone)
			continue;
		if (found)
			return NULL;
		found = &c->v[i];
	}
	return found;
}

static void emit_states(struct iho_metrics_emit *e)
{
	bool splits = e->report->splits_guest;

	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		for (enum iho_bill b = 0; b < IHO_BILL_MAX; b++) {
			bool told = b == IHO_BILL_GUEST || b == IHO_BILL_KVM ? splits
				    : b == IHO_BILL_GUEST_OR_KVM	     ? !splits
									     : true;
			uint64_t ns = 0;

			for (size_t i = 0; i < c.n; i++)
				ns += c.v[i].bill.total[b];
			if (told || ns)
				iho_emit_ns(e, IHO_LABELS(e->vm_label, c.label, iho_bill_key(b)),
					    ns);
		}
	}
}

/* One 64-bit counter of struct iho_vcpu. */
static void emit_vcpu(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		uint64_t n = 0;

		for (size_t i = 0; i < c.n; i++)
			n += field_u64(&c.v[i], e->metric->of);
		iho_emit_int(e, IHO_LABELS(e->vm_label, c.label), n);
	}
}

static void emit_pinned(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		const struct iho_vcpu *v = iho_emit_living(&c);

		if (v && v->affinity[0])
			iho_emit_int(e, IHO_LABELS(e->vm_label, c.label), v->pinned);
	}
}

static void emit_core(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		const struct iho_vcpu *v = iho_emit_living(&c);

		if (v && v->cpu >= 0)
			iho_emit_int(e, IHO_LABELS(e->vm_label, c.label), v->cpu);
	}
}

static void add_reason(struct iho_metrics_emit *e, const char *reason, uint64_t total)
{
	struct iho_metrics_row *row = iho_emit_row(e, reason);

	if (row)
		row->total += total;
}

static void emit_reasons(struct iho_metrics_emit *e, const char *vcpu)
{
	for (size_t i = 0; i < e->n_rows; i++)
		iho_emit_int(e, IHO_LABELS(e->vm_label, vcpu, e->rows[i].reason), e->rows[i].total);
}

static void emit_exits(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		e->n_rows = 0;
		for (size_t i = 0; i < c.n; i++)
			for (size_t k = 0; k < c.v[i].exit_rows.n; k++)
				add_reason(e, c.v[i].exit_rows.v[k].reason,
					   c.v[i].exit_rows.v[k].total);
		emit_reasons(e, c.label);
	}
}

static void emit_user_exits(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		e->n_rows = 0;
		for (size_t i = 0; i < c.n; i++)
			for (size_t k = 0; k < c.v[i].user_rows.n; k++)
				add_reason(e, c.v[i].user_rows.v[k].reason,
					   c.v[i].user_rows.v[k].total);
		emit_reasons(e, c.label);
	}
}

/* ---- the table ---- */

#define FAMILY(scope_, type_, name_, unit_, emit_, of_, help_, ...)                                \
	{                                                                                          \
		.name = "iho_" name_, .type = IHO_METRIC_##type_, .unit = unit_, .help = help_,    \
		.labels = { __VA_ARGS__ }, .scope = IHO_METRIC_##scope_, .emit = emit_, .of = of_  \
	}

#define MIGRATION(field)      offsetof(struct iho_migration_numbers, field)
#define EXPORTER_FIELD(field) offsetof(struct iho_metrics_exporter, field)

static const struct iho_metric families[] = {
	FAMILY(ALWAYS, INFO, "build_info", "", emit_build_info, 0, "The version of IHO.",
	       "version"),
	FAMILY(ALWAYS, GAUGE, "up", "", emit_up, 0,
	       "Whether the collector answers (1) or not (0)."),
	FAMILY(HOST, INFO, "collector_info", "", emit_collector_info, 0,
	       "Where events come from, and whether this host tells guest from KVM time.", "source",
	       "splits_guest"),
	FAMILY(HOST, GAUGE, "collector_start_time_seconds", "seconds", emit_start_time, 0,
	       "When the collector was opened and its counters began, as Unix time."),
	FAMILY(HOST, COUNTER, "collector_events_total", "", emit_self, SELF(events),
	       "Kernel events that the collector counted."),
	FAMILY(HOST, GAUGE, "collector_bpf_event_seconds", "seconds", emit_bpf_event, 0,
	       "Mean time in the BPF program for one event, sampled."),
	FAMILY(HOST, GAUGE, "collector_bpf_cpu_ratio", "ratio", emit_bpf_cpu, 0,
	       "Share of one core that the BPF programs took, sampled."),
	FAMILY(HOST, COUNTER, "collector_cpu_seconds_total", "seconds", emit_collector_cpu, 0,
	       "CPU time of the collecting process."),
	FAMILY(HOST, GAUGE, "collector_resident_memory_bytes", "bytes", emit_self, SELF(rss_bytes),
	       "Resident memory of the collecting process."),
	FAMILY(HOST, GAUGE, "collector_map_bytes", "bytes", emit_self, SELF(map_bytes),
	       "Kernel memory of the BPF maps."),
	FAMILY(HOST, GAUGE, "collector_snapshot_seconds", "seconds", emit_snapshot, 0,
	       "How long the last snapshot of the counters took."),
	FAMILY(HOST, COUNTER, "collector_lost_events_total", "", emit_lost, 0,
	       "Events that were lost or could not be attributed, by cause.", "cause"),
	FAMILY(HOST, COUNTER, "collector_unpaired_events_total", "", emit_self, SELF(unpaired),
	       "Exits without an entry before them, and entries without an exit."),
	FAMILY(HOST, COUNTER, "collector_torn_reads_total", "", emit_self, SELF(torn),
	       "Bills of a vCPU that were read while they changed."),
	FAMILY(HOST, COUNTER, "collector_missed_switches_total", "", emit_self,
	       SELF(missed_switches), "Threads found running that no switch was reported for."),
	FAMILY(HOST, COUNTER, "collector_interlopers_evicted_total", "", emit_self,
	       SELF(interlopers_evicted),
	       "Interlopers that lost their row, and with it their name, to another."),
	FAMILY(HOST, GAUGE, "collector_slots", "", emit_slots, 0,
	       "vCPUs that the collector has room for."),
	FAMILY(HOST, GAUGE, "collector_slots_used", "", emit_slots_used, 0,
	       "vCPUs that it keeps, with those that ended a moment ago."),

	FAMILY(EXPORTER, COUNTER, "exporter_cpu_seconds_total", "seconds", emit_exporter_cpu, 0,
	       "CPU time of the exporter."),
	FAMILY(EXPORTER, GAUGE, "exporter_resident_memory_bytes", "bytes", emit_exporter,
	       EXPORTER_FIELD(rss_bytes), "Resident memory of the exporter."),
	FAMILY(EXPORTER, GAUGE, "exporter_scrape_duration_seconds", "seconds", emit_exporter_scrape,
	       0, "How long the scrape before this one took to render."),
	FAMILY(EXPORTER, COUNTER, "exporter_requests_total", "", emit_exporter_requests, 0,
	       "HTTP requests that were answered, by status code.", "code"),
	FAMILY(EXPORTER, GAUGE, "exporter_connections", "", emit_exporter,
	       EXPORTER_FIELD(connections), "Connections that are open."),
	FAMILY(EXPORTER, COUNTER, "exporter_connections_evicted_total", "", emit_exporter,
	       EXPORTER_FIELD(connections_evicted),
	       "Connections that were closed for being slow, or too many."),

	FAMILY(VM, INFO, "vm_info", "", emit_vm_info, 0,
	       "A virtual machine, its process and its monitor.", "vm", "pid", "vmm"),
	FAMILY(VM, GAUGE, "vm_vcpus", "", emit_vm_vcpus, 0, "vCPUs whose threads live.", "vm"),
	FAMILY(VM, GAUGE, "vm_apicv_state", "", emit_apicv_state, 0,
	       "Whether APICv or AVIC is in the state (1) or not (0).", "vm", "state"),
	FAMILY(VM, GAUGE, "vm_apicv_inhibited", "", emit_apicv_inhibited, 0,
	       "1 for each reason that inhibits APICv or AVIC.", "vm", "reason"),
	FAMILY(VM, COUNTER, "vm_apicv_changes_total", "", emit_apicv_changes, 0,
	       "Changes of the inhibit reasons.", "vm"),
	FAMILY(VM, COUNTER, "vm_interrupts_total", "", emit_vm_interrupts, 0,
	       "Interrupts and exceptions by what was done with them.", "vm", "kind"),
	FAMILY(VM, COUNTER, "vm_interloper_seconds_total", "seconds", emit_interloper_seconds, 0,
	       "Time that others had the core of a vCPU that wanted it.", "vm", "kind"),
	FAMILY(VM, COUNTER, "vm_interlopers_total", "", emit_interlopers, 0,
	       "Times that others had the core of a vCPU that wanted it.", "vm", "kind"),
	FAMILY(VM, COUNTER, "vm_page_faults_total", "", emit_vm_event, IHO_EV_kvm_page_fault,
	       "Page faults of the guest that KVM handled.", "vm"),
	FAMILY(VM, COUNTER, "vm_dirty_pages_total", "", emit_vm_event, IHO_EV_kvm_dirty_ring_push,
	       "Entries that were pushed to the dirty rings.", "vm"),

	FAMILY(NAMED, GAUGE, "migration_active", "", iho_emit_migration_active, 0,
	       "Whether a migration goes on (1) or ended within the hour (0).", "vm", "role"),
	FAMILY(NAMED, GAUGE, "migration_phase", "", iho_emit_migration_phase, 0,
	       "Whether the migration is in the phase (1) or not (0).", "vm", "phase"),
	FAMILY(NAMED, GAUGE, "migration_bytes", "bytes", iho_emit_migration_bytes, 0,
	       "Memory to be migrated: all, sent so far, and what is left.", "vm", "kind"),
	FAMILY(NAMED, GAUGE, "migration_iterations", "", iho_emit_migration_iterations, 0,
	       "Passes over the memory; the first is 1.", "vm"),
	FAMILY(NAMED, GAUGE, "migration_dirty_bytes_per_second", "bytes_per_second",
	       iho_emit_migration_number, MIGRATION(dirty_bytes_per_s),
	       "How fast the guest writes to its memory, counted at the end of a pass.", "vm"),
	FAMILY(NAMED, GAUGE, "migration_bandwidth_bytes_per_second", "bytes_per_second",
	       iho_emit_migration_number, MIGRATION(bandwidth_bytes_per_s),
	       "How fast memory is sent.", "vm"),
	FAMILY(NAMED, GAUGE, "migration_downtime_seconds", "seconds", iho_emit_migration_downtime,
	       0, "How long the guest stands still: expected, allowed, and in the end.", "vm",
	       "kind"),
	FAMILY(NAMED, GAUGE, "migration_throttle_ratio", "ratio", iho_emit_migration_number,
	       MIGRATION(throttle_ratio),
	       "Share of time that auto-converge keeps the vCPUs from running.", "vm"),
	FAMILY(NAMED, GAUGE, "migration_elapsed_seconds", "seconds", iho_emit_migration_number,
	       MIGRATION(elapsed_s), "Since the migration began, or how long it took.", "vm"),
	FAMILY(NAMED, GAUGE, "migration_forecast_seconds", "seconds", iho_emit_migration_forecast,
	       0, "What is left of the migration, as forecast; none if it will not converge.", "vm",
	       "bound"),
	FAMILY(NAMED, GAUGE, "migration_converges", "", iho_emit_migration_converges, 0,
	       "Whether it will end without help (1) or not (0); none while that is not known.",
	       "vm"),
	FAMILY(NAMED, COUNTER, "migrations_total", "", iho_emit_migrations, 0,
	       "Migrations from or to this host that ended, by result.", "vm", "result"),

	FAMILY(VM, COUNTER, "vcpu_state_seconds_total", "seconds", emit_states, 0,
	       "Time in each state; together the wall time since the vCPU was first seen.", "vm",
	       "vcpu", "state"),
	FAMILY(VM, COUNTER, "vcpu_halts_total", "", emit_vcpu, VCPU(halts),
	       "Times the vCPU halted.", "vm", "vcpu"),
	FAMILY(VM, COUNTER, "vcpu_halts_polled_total", "", emit_vcpu, VCPU(halts_polled),
	       "Halts that ended while KVM was polling.", "vm", "vcpu"),
	FAMILY(VM, COUNTER, "vcpu_preemptions_total", "", emit_vcpu, VCPU(preemptions),
	       "Times the vCPU lost its core while it had work.", "vm", "vcpu"),
	FAMILY(VM, COUNTER, "vcpu_core_moves_total", "", emit_vcpu, VCPU(migrations),
	       "Times the vCPU was moved to another core.", "vm", "vcpu"),
	FAMILY(VM, COUNTER, "vcpu_switches_total", "", emit_vcpu, VCPU(switches),
	       "Times the vCPU got a core.", "vm", "vcpu"),
	FAMILY(VM, GAUGE, "vcpu_pinned", "", emit_pinned, 0,
	       "Whether the vCPU may use exactly one core (1) or more (0).", "vm", "vcpu"),
	FAMILY(VM, GAUGE, "vcpu_core", "", emit_core, 0, "The core that the vCPU ran on last.",
	       "vm", "vcpu"),
	FAMILY(VM, COUNTER, "vcpu_cpu_seconds_total", "seconds", iho_emit_cpu_seconds, 0,
	       "Time on a CPU by whose code ran, as far as this host can tell.", "vm", "vcpu",
	       "mode"),
	FAMILY(VM, GAUGE, "vcpu_busy_ratio", "ratio", iho_emit_busy, 0,
	       "Share of the wall time that was work, by each signal that can tell.", "vm", "vcpu",
	       "signal"),
	FAMILY(VM, GAUGE, "vcpu_busy_disagreement", "", iho_emit_disagreement, 0,
	       "Whether two signals of the busy ratio contradict each other (1) or not (0).", "vm",
	       "vcpu"),
	FAMILY(VM, GAUGE, "vcpu_direct", "", iho_emit_direct, 0,
	       "Whether the vCPU writes the deadlines of its timer without exits (1) or not (0).",
	       "vm", "vcpu"),
	FAMILY(VM, GAUGE, "vcpu_direct_ipi", "", iho_emit_direct_ipi, 0,
	       "Whether the vCPU sends its IPIs without exits (1) or not (0).", "vm", "vcpu"),
	FAMILY(VM, GAUGE, "vcpu_direct_missing", "", iho_emit_direct_missing, 0,
	       "1 for each thing that the vCPU lacks for direct mode.", "vm", "vcpu", "reason"),
	FAMILY(VM, COUNTER, "vcpu_direct_interrupts_total", "", iho_emit_direct_interrupts, 0,
	       "Interrupts of the timer, without an exit, with one, or recovered by KVM; in part "
	       "as the guest says.",
	       "vm", "vcpu", "delivery"),
	FAMILY(VM, COUNTER, "vcpu_direct_spurious_interrupts_total", "", iho_emit_direct_counter,
	       IHO_DIRECT_SPURIOUS,
	       "Interrupts of the timer that came before their deadline; as the guest says.", "vm",
	       "vcpu"),
	FAMILY(VM, COUNTER, "vcpu_direct_deadlines_total", "", iho_emit_direct_counter,
	       IHO_DIRECT_DEADLINES,
	       "Deadlines of the timer that were written without an exit; as the guest says.", "vm",
	       "vcpu"),
	FAMILY(VM, COUNTER, "vcpu_direct_ipis_total", "", iho_emit_direct_ipis, 0,
	       "IPIs that the guest posted itself, without an exit or kicked by KVM, or asked KVM "
	       "for; in part as the guest says.",
	       "vm", "vcpu", "path"),
	FAMILY(VM, COUNTER, "vcpu_direct_drains_total", "", iho_emit_direct_counter,
	       IHO_DIRECT_DRAINED,
	       "Times that the VMM read the vCPU's APIC, as for a migration, in direct mode.", "vm",
	       "vcpu"),
	FAMILY(VM, COUNTER, "vcpu_direct_saved_exits_total", "", iho_emit_direct_counter,
	       IHO_DIRECT_SAVED,
	       "Exits of timer and IPIs that direct mode spared, HLT not counted; an estimate from "
	       "what the guest says.",
	       "vm", "vcpu"),
	FAMILY(VM, COUNTER, "vcpu_direct_refused_counters_total", "", iho_emit_direct_refused, 0,
	       "Times that a counter of the guest's went back, or grew faster than it can.", "vm",
	       "vcpu"),
	FAMILY(VM, HISTOGRAM, "vm_exit_duration_seconds", "seconds", emit_exit_duration, 0,
	       "Work of KVM and the VMM for one exit, without halts and waits.", "vm", "reason"),
	FAMILY(VM, COUNTER, "vcpu_exits_total", "", emit_exits, 0,
	       "Exits to KVM, by the hardware's reason.", "vm", "vcpu", "reason"),
	FAMILY(VM, COUNTER, "vcpu_user_exits_total", "", emit_user_exits, 0,
	       "Returns of KVM_RUN to the VMM, by reason.", "vm", "vcpu", "reason"),
	FAMILY(VM, COUNTER, "vm_events_total", "", emit_vm_events, 0,
	       "Kernel events of the vCPUs, by tracepoint, those that were seen.", "vm", "event"),

	/* the last ones: they tell what the limit did to those before */
	FAMILY(ALWAYS, GAUGE, "exporter_series", "", emit_series, 0, "Series in this scrape."),
	FAMILY(ALWAYS, GAUGE, "exporter_series_dropped", "", emit_series_dropped, 0,
	       "Series that the limit kept out of this scrape."),
};

const struct iho_metric *iho_metrics_catalogue(size_t *n)
{
	*n = sizeof(families) / sizeof(families[0]);
	return families;
}

const char *iho_metric_type_name(enum iho_metric_type type)
{
	static const char *const names[] = {
		[IHO_METRIC_COUNTER] = "counter",
		[IHO_METRIC_GAUGE] = "gauge",
		[IHO_METRIC_HISTOGRAM] = "histogram",
		[IHO_METRIC_INFO] = "info",
	};

	return names[type];
}
