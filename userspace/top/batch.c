// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <jansson.h>

#include "batch.h"
#include "text.h"

#define SCHEMA_NAME "iho-top/1"

/* The schema is a file of its own, so that editors and validators can read it; it is linked in
 * here. */
__asm__(".section .rodata\n"
	"iho_schema_text: .incbin \"userspace/top/iho-top.schema.json\"\n"
	".byte 0\n"
	".previous\n");
extern const char iho_schema_text[];

const char *iho_json_schema(void)
{
	return iho_schema_text;
}

int iho_format_parse(const char *name, enum iho_format *f)
{
	static const struct {
		const char *name;
		enum iho_format f;
	} formats[] = { { "table", IHO_FORMAT_TABLE },
			{ "csv", IHO_FORMAT_CSV },
			{ "json", IHO_FORMAT_JSON } };

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strcmp(name, formats[i].name))
			continue;
		*f = formats[i].f;
		return 0;
	}
	return -EINVAL;
}

/* ---- JSON ---- */

static void put(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v));
}

static void put_real(json_t *o, const char *key, double v)
{
	json_object_set_new(o, key, json_real(v));
}

static void put_text(json_t *o, const char *key, const char *v)
{
	json_object_set_new(o, key, iho_text_json(v));
}

static json_t *bill_json(const uint64_t ns[IHO_BILL_MAX])
{
	json_t *o = json_object();

	for (int i = 0; i < IHO_BILL_MAX; i++)
		put(o, iho_bill_key(i), ns[i]);
	return o;
}

static void put_bill(json_t *o, const struct iho_bill_ns *b)
{
	json_object_set_new(o, "bill_ns", bill_json(b->total));
	json_object_set_new(o, "bill_delta_ns", bill_json(b->delta));
	put(o, "wall_ns", b->wall_total);
	put(o, "wall_delta_ns", b->wall_delta);
	put(o, "qemu_asleep_ns", b->qemu_asleep_total);
}

static json_t *modes_json(const struct iho_cpu_times *t, const uint64_t ns[IHO_CPU_MAX])
{
	json_t *o = json_object();

	for (int i = 0; i < IHO_CPU_MAX; i++) {
		if (t->known >> i & 1)
			put(o, iho_cpu_key(i), ns[i]);
		else
			json_object_set_new(o, iho_cpu_key(i), json_null());
	}
	return o;
}

static json_t *share_json(double share)
{
	return share < 0 ? json_null() : json_real(share);
}

static json_t *signals_json(const struct iho_cpu_times *t)
{
	json_t *o = json_object();

	for (int i = 0; i < IHO_BUSY_MAX; i++) {
		const struct iho_busy *b = &t->busy[i];
		json_t *s = json_object();

		if (!b->known) {
			json_decref(s);
			json_object_set_new(o, iho_busy_key(i), json_null());
			continue;
		}
		json_object_set_new(s, "share", share_json(iho_busy_share(b)));
		put(s, "busy_ns", b->busy_ns);
		put(s, "of_ns", b->of_ns);
		json_object_set_new(o, iho_busy_key(i), s);
	}
	return o;
}

static json_t *utilisation_json(const struct iho_cpu_times *t)
{
	enum iho_busy_signal best = iho_busy_best(t);
	json_t *o = json_object();

	json_object_set_new(o, "cpu_ns", modes_json(t, t->ns));
	json_object_set_new(o, "cpu_window_ns", modes_json(t, t->delta_ns));
	put(o, "window_ns", t->window_ns);
	json_object_set_new(o, "busy",
			    best < IHO_BUSY_MAX ? share_json(iho_busy_share(&t->busy[best]))
						: json_null());
	json_object_set_new(o, "signal",
			    best < IHO_BUSY_MAX ? iho_text_json(iho_busy_key(best)) : json_null());
	json_object_set_new(o, "signals", signals_json(t));
	json_object_set_new(o, "disagree", json_boolean(t->disagree));
	put_text(o, "idle_exits", iho_idle_key(t->idle_seen));
	return o;
}

static json_t *counts_json(const uint64_t v[IHO_DIRECT_ALL])
{
	json_t *o = json_object();

	for (unsigned int i = 0; i < IHO_DIRECT_ALL; i++)
		put(o, iho_direct_key(i), v[i]);
	return o;
}

/* null: KVM has traced no counters of it. */
static json_t *direct_json(const struct iho_direct_report *d)
{
	json_t *o, *missing;

	if (!d->traced)
		return json_null();
	o = json_object();
	missing = json_array();
	put(o, "vcpus_known", d->known);
	put(o, "vcpus_on", d->on);
	put(o, "vcpus_ipi_on", d->ipi_on);
	for (unsigned int i = 0; iho_direct_missing_key(i); i++)
		if (d->missing >> i & 1)
			json_array_append_new(missing, iho_text_json(iho_direct_missing_key(i)));
	json_object_set_new(o, "missing", missing);
	json_object_set_new(o, "age_s", d->age_s < 0 ? json_null() : json_real(d->age_s));
	json_object_set_new(o, "counts", counts_json(d->total));
	json_object_set_new(o, "counts_delta", counts_json(d->delta));
	put(o, "refused", d->refused);
	return o;
}

static json_t *exits_json(const struct iho_exit_row *v, size_t n)
{
	static const char *const isa[] = { "none", "vmx", "svm" };
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *o = json_object();

		put_text(o, "reason", v[i].reason);
		put(o, "code", v[i].code);
		put_text(o, "isa", v[i].isa <= IHO_ISA_SVM ? isa[v[i].isa] : "none");
		put(o, "total", v[i].total);
		put(o, "delta", v[i].delta);
		put(o, "time_ns", v[i].time_ns);
		put(o, "time_delta_ns", v[i].time_delta_ns);
		put(o, "kvm_ns", v[i].kvm_ns);
		put(o, "mean_ns", v[i].mean_ns);
		put(o, "p50_ns", v[i].p50_ns);
		put(o, "p99_ns", v[i].p99_ns);
		put(o, "max_ns", v[i].max_ns);
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *users_json(const struct iho_user_row *v, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *o = json_object();

		put_text(o, "reason", v[i].reason);
		put(o, "total", v[i].total);
		put(o, "delta", v[i].delta);
		put(o, "time_ns", v[i].time_ns);
		put(o, "time_delta_ns", v[i].time_delta_ns);
		put(o, "max_ns", v[i].max_ns);
		json_array_append_new(a, o);
	}
	return a;
}

/* {"pio":[{"port":1016,"write":true,"total":7,"delta":1}], ...}: only the kinds that occurred. */
static json_t *drill_json(const struct iho_drill_row *v, size_t n)
{
	json_t *o = json_object();

	for (size_t i = 0; i < n; i++) {
		json_t *a = json_object_get(o, iho_drill_key(v[i].kind)), *row = json_object();
		struct iho_drill_fields f;

		if (!a) {
			a = json_array();
			json_object_set_new(o, iho_drill_key(v[i].kind), a);
		}
		iho_drill_decode(v[i].kind, v[i].value, &f);
		put(row, f.number_key, f.number);
		if (f.has_write)
			json_object_set_new(row, "write", json_boolean(f.write));
		if (v[i].kind == IHO_DRILL_IPI)
			put(row, "delivery_mode", f.delivery_mode);
		put(row, "total", v[i].total);
		put(row, "delta", v[i].delta);
		json_array_append_new(a, row);
	}
	return o;
}

static json_t *interlopers_json(const struct iho_vcpu *v)
{
	static const char *const kinds[] = { "task", "irq", "softirq" };
	json_t *a = json_array();

	for (size_t i = 0; i < v->interloper_rows.n; i++) {
		const struct iho_interloper_row *r = &v->interloper_rows.v[i];
		json_t *o = json_object();

		put_text(o, "kind", kinds[r->kind]);
		put(o, "id", r->id);
		put_text(o, "name", r->name);
		put(o, "time_ns", r->total_ns);
		put(o, "time_delta_ns", r->delta_ns);
		put(o, "total", r->total);
		put(o, "delta", r->delta);
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *events_json(const struct iho_vcpu *v)
{
	static const char *const names[IHO_EV_MAX] = {
#define NAME(name, group, loss) [IHO_EV_##name] = #name,
		IHO_EVENTS(NAME)
#undef NAME
	};
	json_t *o = json_object();

	for (int i = 0; i < IHO_EV_MAX; i++)
		if (v->events[i])
			put(o, names[i], v->events[i]);
	return o;
}

static json_t *vcpu_losses_json(const struct iho_vcpu *v)
{
	json_t *o = json_object(), *drill = json_object();

	put(o, "unpaired", v->unpaired);
	put(o, "clock_back", v->clock_back);
	put(o, "torn", v->torn);
	put(o, "missed_switches", v->missed_switches);
	put(o, "exit_overflow", v->exit_overflow);
	put(o, "userspace_exit_overflow", v->user_overflow);
	put(o, "irq_overflow", v->irq_overflow);
	put(o, "interlopers_evicted", v->interlopers_evicted);
	put(o, "interlopers_evicted_ns", v->interlopers_evicted_ns);
	for (int i = 1; i < IHO_DRILL_MAX; i++)
		if (v->drill_overflow[i])
			put(drill, iho_drill_key(i), v->drill_overflow[i]);
	json_object_set_new(o, "drill_overflow", drill);
	return o;
}

static json_t *vcpu_json(const struct iho_vcpu *v)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", v->id >= 0 ? json_integer(v->id) : json_null());
	put(o, "tid", v->tid);
	put(o, "cpu", v->cpu);
	put_text(o, "affinity", v->affinity);
	json_object_set_new(o, "pinned", json_boolean(v->pinned));
	json_object_set_new(o, "gone", json_boolean(v->gone));
	put_text(o, "state", iho_bill_key(v->state));
	put_bill(o, &v->bill);
	json_object_set_new(o, "utilisation", utilisation_json(&v->cpu_times));
	json_object_set_new(o, "direct", direct_json(&v->direct));
	put(o, "exits_total", v->exits);
	put(o, "exits_delta", v->exits_delta);
	json_object_set_new(o, "exits", exits_json(v->exit_rows.v, v->exit_rows.n));
	put(o, "userspace_exits_total", v->user_exits);
	put(o, "userspace_exits_delta", v->user_exits_delta);
	json_object_set_new(o, "userspace_exits", users_json(v->user_rows.v, v->user_rows.n));
	json_object_set_new(o, "drill", drill_json(v->drill_rows.v, v->drill_rows.n));
	json_object_set_new(o, "interlopers", interlopers_json(v));
	json_object_set_new(o, "events", events_json(v));
	put(o, "halts", v->halts);
	put(o, "halts_polled", v->halts_polled);
	put(o, "halt_poll_limit_ns", v->halt_poll_limit_ns);
	put(o, "preemptions", v->preemptions);
	put(o, "migrations", v->migrations);
	put(o, "switches", v->switches);
	put(o, "ple_window", v->ple_window);
	json_object_set_new(o, "losses", vcpu_losses_json(v));
	return o;
}

static json_t *accepts_json(const struct iho_vm_report *vm)
{
	json_t *o = json_object();

	for (size_t i = 0; i < vm->accept_rows.n; i++) {
		const struct iho_accept_row *r = &vm->accept_rows.v[i];
		json_t *a = json_object_get(o, iho_drill_key(r->kind)), *row = json_object();

		if (!a) {
			a = json_array();
			json_object_set_new(o, iho_drill_key(r->kind), a);
		}
		put(row, "apicid", r->apicid);
		put(row, "vector", r->vector);
		put(row, "total", r->total);
		put(row, "delta", r->delta);
		json_array_append_new(a, row);
	}
	return o;
}

static json_t *apicv_json(const struct iho_apicv_state *st)
{
	static const char *const states[] = { "unknown", "off", "inhibited", "on" };
	json_t *o = json_object();

	put_text(o, "state", states[st->state]);
	put_text(o, "text", st->text);
	put_text(o, "reasons", st->reasons);
	put(o, "inhibits", st->inhibits);
	json_object_set_new(o, "since_s", st->since_s < 0 ? json_null() : json_real(st->since_s));
	put(o, "changes", st->changes);
	return o;
}

static json_t *vm_json(const struct iho_vm_report *vm)
{
	json_t *o = json_object(), *vcpus = json_array();

	put(o, "pid", vm->pid);
	put_text(o, "name", vm->name);
	put_text(o, "vmm", vm->vmm);
	json_object_set_new(o, "gone", json_boolean(vm->gone));
	put_bill(o, &vm->bill);
	json_object_set_new(o, "utilisation", utilisation_json(&vm->cpu_times));
	json_object_set_new(o, "direct", direct_json(&vm->direct));
	put(o, "exits_total", vm->exits);
	put(o, "exits_delta", vm->exits_delta);
	put(o, "userspace_exits_total", vm->user_exits);
	put(o, "userspace_exits_delta", vm->user_exits_delta);
	for (size_t i = 0; i < vm->n_vcpus; i++)
		json_array_append_new(vcpus, vcpu_json(&vm->vcpus[i]));
	json_object_set_new(o, "vcpus", vcpus);
	json_object_set_new(o, "exits", exits_json(vm->exit_rows.v, vm->exit_rows.n));
	json_object_set_new(o, "userspace_exits", users_json(vm->user_rows.v, vm->user_rows.n));
	json_object_set_new(o, "drill", drill_json(vm->drill_rows.v, vm->drill_rows.n));
	json_object_set_new(o, "interrupts", accepts_json(vm));
	json_object_set_new(o, "apicv", apicv_json(&vm->apicv));
	return o;
}

static json_t *self_json(const struct iho_self *s)
{
	json_t *o = json_object();
	bool measured = s->bpf_ns_per_event >= 0;

	put_real(o, "start_time_s", s->start_time_s);
	put_real(o, "cpu_share", s->cpu_share);
	put(o, "rss_bytes", s->rss_bytes);
	put_real(o, "reader_cpu_share", s->reader_cpu_share);
	put(o, "reader_rss_bytes", s->reader_rss_bytes);
	put(o, "map_bytes", s->map_bytes);
	json_object_set_new(o, "bpf_ns_per_event",
			    measured ? json_real(s->bpf_ns_per_event) : json_null());
	json_object_set_new(o, "bpf_share", measured ? json_real(s->bpf_share) : json_null());
	put_real(o, "snapshot_us", s->snapshot_us);
	put(o, "events", s->events);
	put(o, "events_delta", s->events_delta);
	put(o, "lost", s->lost);
	put(o, "lost_no_slot", s->lost_no_slot);
	put(o, "lost_storage", s->lost_storage);
	put(o, "lost_shared", s->lost_shared);
	put(o, "lost_waiters", s->lost_waiters);
	put(o, "lost_nested", s->lost_nested);
	put(o, "lost_read", s->lost_read);
	put(o, "drill_overflow", s->drill_overflow);
	put(o, "exit_overflow", s->exit_overflow);
	put(o, "irq_overflow", s->irq_overflow);
	put(o, "interlopers_evicted", s->interlopers_evicted);
	put(o, "unpaired", s->unpaired);
	put(o, "clock_back", s->clock_back);
	put(o, "torn", s->torn);
	put(o, "missed_switches", s->missed_switches);
	put(o, "slots", s->slots);
	put(o, "slots_used", s->slots_used);
	put(o, "vcpus_without_id", s->vcpus_without_id);
	return o;
}

static int print_json_line(FILE *f, json_t *o)
{
	int r;

	if (!o)
		return -ENOMEM;
	r = json_dumpf(o, f, JSON_COMPACT | JSON_REAL_PRECISION(15)) ? -EIO : 0;
	json_decref(o);
	if (fputc('\n', f) == EOF)
		r = -EIO;
	return r;
}

static json_t *tenant_json(struct tenant *t)
{
	struct tenant_view v = {};
	json_t *o;

	tenant_take(t, &v);
	o = tenant_to_json(&v);
	tenant_view_free(&v);
	return o;
}

static int print_json(FILE *f, const struct iho_report *r, struct tenant *t)
{
	json_t *o = json_object(), *vms = json_array();

	put_text(o, "schema", SCHEMA_NAME);
	put_real(o, "time_s", r->time_s);
	put_real(o, "interval_s", r->interval_s);
	put_text(o, "source", r->source);
	put_text(o, "host", r->host);
	json_object_set_new(o, "splits_guest", json_boolean(r->splits_guest));
	put_text(o, "missing", r->missing);
	for (size_t i = 0; i < r->n_vms; i++)
		json_array_append_new(vms, vm_json(&r->vms[i]));
	json_object_set_new(o, "vms", vms);
	if (r->migration)
		json_object_set_new(o, "migration", iho_migration_view_to_json(r->migration, 0));
	if (t)
		json_object_set_new(o, "tenant", tenant_json(t));
	json_object_set_new(o, "self", self_json(&r->self));
	return print_json_line(f, o);
}

/* ---- CSV ---- */

/* RFC 4180: quoted where it must be. Line ends stay plain, as every tool on this system expects. */
static void csv_text(FILE *f, const char *s)
{
	if (!strpbrk(s, ",\"\r\n")) {
		fputs(s, f);
		return;
	}
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '"')
			fputc('"', f);
		fputc(*s, f);
	}
	fputc('"', f);
}

static void csv_header(FILE *f)
{
	fputs("time_s,interval_s,pid,vm,vcpu,tid,cpu,state,exits_total,exits_delta,"
	      "userspace_exits_total,userspace_exits_delta,top_reason,wall_delta_ns",
	      f);
	for (int i = 0; i < IHO_BILL_MAX; i++)
		fprintf(f, ",%s_delta_ns", iho_bill_key(i));
	fputs(",preemptions,migrations,halts,unpaired,lost,busy_signal,busy_share", f);
	for (int i = 0; i < IHO_CPU_MAX; i++)
		fprintf(f, ",%s_ns", iho_cpu_key(i));
	fputc('\n', f);
}

/* The reason that happened most in this interval; of the userspace exits where there are no others.
 */
static const char *top_reason(const struct iho_vcpu *v)
{
	const char *name = "";
	uint64_t most = 0;

	for (size_t i = 0; i < v->exit_rows.n; i++) {
		if (v->exit_rows.v[i].delta > most) {
			most = v->exit_rows.v[i].delta;
			name = v->exit_rows.v[i].reason;
		}
	}
	for (size_t i = 0; !v->exit_rows.n && i < v->user_rows.n; i++) {
		if (v->user_rows.v[i].delta > most) {
			most = v->user_rows.v[i].delta;
			name = v->user_rows.v[i].reason;
		}
	}
	return name;
}

/* What is not known stays empty. */
static void csv_utilisation(FILE *f, const struct iho_cpu_times *t)
{
	enum iho_busy_signal best = iho_busy_best(t);

	if (best < IHO_BUSY_MAX)
		fprintf(f, ",%s,%.6f", iho_busy_key(best), iho_busy_share(&t->busy[best]));
	else
		fputs(",,", f);
	for (int i = 0; i < IHO_CPU_MAX; i++) {
		if (t->known >> i & 1)
			fprintf(f, ",%" PRIu64, t->ns[i]);
		else
			fputc(',', f);
	}
	fputc('\n', f);
}

static int print_csv(FILE *f, const struct iho_report *r, bool first)
{
	if (first)
		csv_header(f);
	for (size_t i = 0; i < r->n_vms; i++) {
		const struct iho_vm_report *vm = &r->vms[i];

		for (size_t k = 0; k < vm->n_vcpus; k++) {
			const struct iho_vcpu *v = &vm->vcpus[k];

			fprintf(f, "%.3f,%.6f,%d,", r->time_s, r->interval_s, vm->pid);
			csv_text(f, vm->name);
			fprintf(f, ",%d,%d,%d,%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",",
				v->id, v->tid, v->cpu, iho_bill_key(v->state), v->exits,
				v->exits_delta, v->user_exits, v->user_exits_delta);
			csv_text(f, top_reason(v));
			fprintf(f, ",%" PRIu64, v->bill.wall_delta);
			for (int b = 0; b < IHO_BILL_MAX; b++)
				fprintf(f, ",%" PRIu64, v->bill.delta[b]);
			fprintf(f, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64,
				v->preemptions, v->migrations, v->halts, v->unpaired, r->self.lost);
			csv_utilisation(f, &v->cpu_times);
		}
	}
	return 0;
}

/* ---- table ---- */

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * part / whole : 0;
}

static bool bill_column(const struct iho_report *r, enum iho_bill b)
{
	if (r->splits_guest)
		return b != IHO_BILL_GUEST_OR_KVM;
	return b != IHO_BILL_GUEST && b != IHO_BILL_KVM;
}

static void print_name(FILE *f, const char *name, int width)
{
	int n = 0;

	for (; *name && n < width; name++, n++)
		fputc((unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name, f);
	fprintf(f, "%*s", width - n, "");
}

static void print_busy(FILE *f, const struct iho_cpu_times *t)
{
	enum iho_busy_signal best = iho_busy_best(t);

	if (best == IHO_BUSY_MAX)
		fprintf(f, " %6s", "?");
	else
		fprintf(f, " %5.1f%c", 100 * iho_busy_share(&t->busy[best]),
			t->disagree ? '!' : ' ');
}

static int print_table(FILE *f, const struct iho_report *r)
{
	double s = r->interval_s > 0 ? r->interval_s : 1;

	fprintf(f, "iho-top  interval %.3f s  source %s%s  %zu VMs\n", r->interval_s, r->source,
		!strcmp(r->host, "ihod") ? " of ihod" : "", r->n_vms);
	fprintf(f, "%-20s %8s %4s %4s %10s %10s", "VM", "PID", "vCPU", "CPU", "EXITS/s",
		"USEREXIT/s");
	for (int b = 0; b < IHO_BILL_MAX; b++)
		if (bill_column(r, b))
			fprintf(f, " %*.9s%%", (int)strnlen(iho_bill_label(b), 9),
				iho_bill_label(b));
	fprintf(f, " %6s  TOP REASON\n", "Busy%");
	for (size_t i = 0; i < r->n_vms; i++) {
		const struct iho_vm_report *vm = &r->vms[i];

		for (size_t k = 0; k < vm->n_vcpus; k++) {
			const struct iho_vcpu *v = &vm->vcpus[k];

			if (v->archived)
				continue;
			print_name(f, vm->name, 20);
			fprintf(f, " %8d %4d %4d %10.0f %10.0f", vm->pid, v->id, v->cpu,
				v->exits_delta / s, v->user_exits_delta / s);
			for (int b = 0; b < IHO_BILL_MAX; b++)
				if (bill_column(r, b))
					fprintf(f, " %*.1f", (int)strnlen(iho_bill_label(b), 9) + 1,
						percent(v->bill.delta[b], v->bill.wall_delta));
			print_busy(f, &v->cpu_times);
			fprintf(f, "  %s%s\n", top_reason(v), v->gone ? " (ended)" : "");
		}
	}
	fprintf(f, "self: cpu %.2f%%", 100 * (r->self.cpu_share + r->self.reader_cpu_share));
	if (r->self.bpf_ns_per_event >= 0)
		fprintf(f, "  bpf %.0f ns/event, %.2f%% of a core", r->self.bpf_ns_per_event,
			100 * r->self.bpf_share);
	fprintf(f,
		"  events %" PRIu64 "  lost %" PRIu64 "  unpaired %" PRIu64
		"  without a slot %" PRIu64 "\n",
		r->self.events, r->self.lost, r->self.unpaired, r->self.lost_no_slot);
	if (r->missing[0])
		fprintf(f, "note: %s\n", r->missing);
	fputc('\n', f);
	return 0;
}

int iho_batch_print(FILE *f, enum iho_format format, const struct iho_report *r, bool first,
		    struct tenant *tenant)
{
	int ret;

	if (format == IHO_FORMAT_JSON)
		ret = print_json(f, r, tenant);
	else if (format == IHO_FORMAT_CSV)
		ret = print_csv(f, r, first);
	else
		ret = print_table(f, r);
	if (fflush(f) || ferror(f))
		return -EIO;
	return ret;
}

/* ---- features ---- */

static int print_features_json(FILE *f, const struct iho_features *features)
{
	json_t *o = json_object(), *a = json_array();

	put_text(o, "schema", "iho-features/1");
	for (size_t i = 0; i < features->n; i++) {
		const struct iho_feature *v = &features->v[i];
		json_t *row = json_object();

		put_text(row, "name", v->name);
		json_object_set_new(row, "present", json_boolean(v->present));
		json_object_set_new(row, "used", json_boolean(v->used));
		put_text(row, "how", v->how);
		put_text(row, "cost", v->cost);
		put_text(row, "detail", v->detail);
		json_array_append_new(a, row);
	}
	json_object_set_new(o, "features", a);
	return print_json_line(f, o);
}

int iho_features_print(FILE *f, enum iho_format format, const struct iho_features *features)
{
	if (format == IHO_FORMAT_JSON)
		return print_features_json(f, features);
	if (format == IHO_FORMAT_CSV)
		fputs("name,present,used,how,cost,detail\n", f);
	for (size_t i = 0; i < features->n; i++) {
		const struct iho_feature *v = &features->v[i];

		if (format == IHO_FORMAT_CSV) {
			fprintf(f, "%s,%d,%d,%s,", v->name, v->present, v->used, v->how);
			csv_text(f, v->cost);
			fputc(',', f);
			csv_text(f, v->detail);
			fputc('\n', f);
		} else {
			fprintf(f, "%-28s %-4s %-7s %s\n", v->name, v->present ? "yes" : "no",
				v->how, v->present ? v->detail : v->cost);
		}
	}
	return fflush(f) ? -EIO : 0;
}

void iho_error_print(enum iho_format format, const char *text)
{
	json_t *o;

	if (format != IHO_FORMAT_JSON) {
		fprintf(stderr, "iho-top: %s\n", text);
		return;
	}
	o = json_object();
	put_text(o, "schema", SCHEMA_NAME);
	put_text(o, "error", text);
	print_json_line(stdout, o);
	fflush(stdout);
}
