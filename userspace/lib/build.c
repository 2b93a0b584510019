// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"

#define NSEC 1000000000ULL

/* ---- histograms ---- */

static uint64_t bucket_low(unsigned int b)
{
	unsigned int shift = b / IHO_HIST_SUB + IHO_HIST_MIN_SHIFT;

	return ((uint64_t)(IHO_HIST_SUB + b % IHO_HIST_SUB) << shift) / IHO_HIST_SUB;
}

uint64_t iho_hist_quantile(const uint64_t *hist, uint64_t max_ns, unsigned int per_mille)
{
	uint64_t n = 0, seen = 0, rank, mid;

	for (unsigned int i = 0; i < IHO_HIST_BUCKETS; i++)
		n += hist[i];
	if (!n)
		return 0;
	rank = (n * per_mille + 999) / 1000;
	for (unsigned int i = 0; i < IHO_HIST_BUCKETS; i++) {
		seen += hist[i];
		if (seen < rank || !hist[i])
			continue;
		/* the last bucket has no upper end, but nothing in it exceeds the maximum */
		if (i == IHO_HIST_BUCKETS - 1)
			return max_ns;
		mid = (bucket_low(i) + bucket_low(i + 1)) / 2;
		return mid < max_ns ? mid : max_ns;
	}
	return max_ns;
}

/* ---- rows ---- */

static int by_total_exit(const void *a, const void *b)
{
	const struct iho_exit_row *x = a, *y = b;

	if (x->total != y->total)
		return x->total < y->total ? 1 : -1;
	return x->code < y->code ? -1 : x->code > y->code;
}

static int by_total_user(const void *a, const void *b)
{
	const struct iho_user_row *x = a, *y = b;

	if (x->total != y->total)
		return x->total < y->total ? 1 : -1;
	return x->code < y->code ? -1 : x->code > y->code;
}

static int by_kind_total_drill(const void *a, const void *b)
{
	const struct iho_drill_row *x = a, *y = b;

	if (x->kind != y->kind)
		return (int)x->kind - (int)y->kind;
	if (x->total != y->total)
		return x->total < y->total ? 1 : -1;
	return x->value < y->value ? -1 : x->value > y->value;
}

static int by_time_interloper(const void *a, const void *b)
{
	const struct iho_interloper_row *x = a, *y = b;

	return x->total_ns < y->total_ns ? 1 : x->total_ns > y->total_ns ? -1 : 0;
}

static int by_kind_total_accept(const void *a, const void *b)
{
	const struct iho_accept_row *x = a, *y = b;

	if (x->kind != y->kind)
		return (int)x->kind - (int)y->kind;
	return x->total < y->total ? 1 : x->total > y->total ? -1 : 0;
}

static int by_id_vcpu(const void *a, const void *b)
{
	const struct iho_vcpu *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

static int by_name_vm(const void *a, const void *b)
{
	const struct iho_vm_report *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	if (c)
		return c;
	return x->pid != y->pid	 ? (x->pid < y->pid ? -1 : 1)
	       : x->key < y->key ? -1
				 : x->key > y->key;
}

/* Counters grow; where the copy of one was taken between two stores, it may seem not to. */
static uint64_t grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static void fill_exit_names(struct iho_exit_row *row, const struct iho_names *names)
{
	iho_exit_name(names, row->isa, row->code, row->reason, sizeof(row->reason));
}

static void fill_exit_times(struct iho_exit_row *row, const uint64_t *hist)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < IHO_HIST_BUCKETS; i++)
		n += hist[i];
	row->mean_ns = n ? row->time_ns / n : 0;
	row->p50_ns = iho_hist_quantile(hist, row->max_ns, 500);
	row->p99_ns = iho_hist_quantile(hist, row->max_ns, 990);
}

static const struct iho_exit *find_exit(const struct iho_slot *s, const struct iho_exit *like,
					unsigned int hint)
{
	if (!s)
		return NULL;
	if (hint < s->n_exits && s->exits[hint].code == like->code &&
	    s->exits[hint].isa == like->isa)
		return &s->exits[hint];
	return NULL;
}

static int add_exits(struct iho_vcpu *v, struct iho_arena *a, const struct iho_slot *s,
		     const struct iho_slot *p, const struct iho_names *names)
{
	v->exit_rows.v = iho_arena_get(a, s->n_exits, sizeof(*v->exit_rows.v));
	if (!v->exit_rows.v)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->n_exits; i++) {
		const struct iho_exit *e = &s->exits[i], *old = find_exit(p, e, i);
		struct iho_exit_row *row = &v->exit_rows.v[v->exit_rows.n++];

		row->code = e->code;
		row->isa = e->isa;
		row->total = e->count;
		row->delta = grown(e->count, old ? old->count : 0);
		row->time_ns = e->time_ns;
		row->time_delta_ns = grown(e->time_ns, old ? old->time_ns : 0);
		row->kvm_ns = e->kvm_ns;
		row->max_ns = e->max_ns;
		fill_exit_names(row, names);
		fill_exit_times(row, (const uint64_t *)e->hist);
		v->exits += row->total;
		v->exits_delta += row->delta;
	}
	qsort(v->exit_rows.v, v->exit_rows.n, sizeof(*v->exit_rows.v), by_total_exit);
	return 0;
}

static int add_user_exits(struct iho_vcpu *v, struct iho_arena *a, const struct iho_slot *s,
			  const struct iho_slot *p, const struct iho_names *names)
{
	v->user_rows.v = iho_arena_get(a, s->n_user_exits, sizeof(*v->user_rows.v));
	if (!v->user_rows.v)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->n_user_exits; i++) {
		const struct iho_user_exit *u = &s->user_exits[i];
		const struct iho_user_exit *old = p && i < p->n_user_exits &&
								  p->user_exits[i].code == u->code
							  ? &p->user_exits[i]
							  : NULL;
		struct iho_user_row *row = &v->user_rows.v[v->user_rows.n++];

		row->code = u->code;
		row->total = u->count;
		row->delta = grown(u->count, old ? old->count : 0);
		row->time_ns = u->time_ns;
		row->time_delta_ns = grown(u->time_ns, old ? old->time_ns : 0);
		row->max_ns = u->max_ns;
		iho_user_exit_name(names, u->code, row->reason, sizeof(row->reason));
		v->user_exits += row->total;
		v->user_exits_delta += row->delta;
	}
	qsort(v->user_rows.v, v->user_rows.n, sizeof(*v->user_rows.v), by_total_user);
	return 0;
}

static int add_drills(struct iho_vcpu *v, struct iho_arena *a, const struct iho_slot *s,
		      const struct iho_slot *p)
{
	size_t n = 0;

	for (unsigned int i = 0; i < IHO_DRILLS; i++)
		n += s->drill[i].key != 0;
	v->drill_rows.v = iho_arena_get(a, n, sizeof(*v->drill_rows.v));
	if (!v->drill_rows.v)
		return -ENOMEM;
	for (unsigned int i = 0; i < IHO_DRILLS; i++) {
		const struct iho_drill *d = &s->drill[i];
		struct iho_drill_row *row;

		if (!d->key)
			continue;
		row = &v->drill_rows.v[v->drill_rows.n++];
		row->kind = IHO_DRILL_KIND(d->key);
		row->value = IHO_DRILL_VALUE(d->key);
		row->total = d->count;
		row->delta =
			grown(d->count, p && p->drill[i].key == d->key ? p->drill[i].count : 0);
	}
	qsort(v->drill_rows.v, v->drill_rows.n, sizeof(*v->drill_rows.v), by_kind_total_drill);
	return 0;
}

static void add_irq(struct iho_vcpu *v, enum iho_interloper_kind kind, const struct iho_irq *q,
		    const struct iho_irq *old, const struct iho_directory *d)
{
	struct iho_interloper_row *row;

	if (!q->used)
		return;
	row = &v->interloper_rows.v[v->interloper_rows.n++];
	row->kind = kind;
	row->id = q->nr;
	row->total_ns = q->ns;
	row->total = q->count;
	row->delta_ns = grown(q->ns, old && old->nr == q->nr ? old->ns : 0);
	row->delta = grown(q->count, old && old->nr == q->nr ? old->count : 0);
	if (kind == IHO_BY_SOFTIRQ)
		iho_softirq_name(d->names, q->nr, row->name, sizeof(row->name));
	else
		d->irq_name(d->irq_arg, q->nr, row->name, sizeof(row->name));
}

static int add_interlopers(struct iho_vcpu *v, struct iho_arena *a, const struct iho_slot *s,
			   const struct iho_slot *p, const struct iho_directory *d)
{
	const size_t most = IHO_TASKS + IHO_HARDIRQS + IHO_SOFTIRQS;

	v->interloper_rows.v = iho_arena_get(a, most, sizeof(*v->interloper_rows.v));
	if (!v->interloper_rows.v)
		return -ENOMEM;
	for (unsigned int i = 0; i < IHO_TASKS; i++) {
		const struct iho_task *t = &s->interlopers[i];
		const struct iho_task *old = p && p->interlopers[i].used &&
							     p->interlopers[i].tid == t->tid
						     ? &p->interlopers[i]
						     : NULL;
		struct iho_interloper_row *row;

		if (!t->used)
			continue;
		row = &v->interloper_rows.v[v->interloper_rows.n++];
		row->kind = IHO_BY_TASK;
		row->id = t->tid;
		snprintf(row->name, sizeof(row->name), "%.15s", t->comm);
		row->total_ns = t->ns;
		row->total = t->count;
		row->delta_ns = grown(t->ns, old ? old->ns : 0);
		row->delta = grown(t->count, old ? old->count : 0);
	}
	for (unsigned int i = 0; i < IHO_HARDIRQS; i++)
		add_irq(v, IHO_BY_IRQ, &s->hardirq[i], p ? &p->hardirq[i] : NULL, d);
	for (unsigned int i = 0; i < IHO_SOFTIRQS; i++)
		add_irq(v, IHO_BY_SOFTIRQ, &s->softirq[i], p ? &p->softirq[i] : NULL, d);
	qsort(v->interloper_rows.v, v->interloper_rows.n, sizeof(*v->interloper_rows.v),
	      by_time_interloper);
	return 0;
}

/* ---- bill ---- */

static const enum iho_bill bill_of[IHO_ST_MAX] = {
	[IHO_ST_UNKNOWN] = IHO_BILL_UNACCOUNTED,
	[IHO_ST_GUEST] = IHO_BILL_GUEST,
	[IHO_ST_KVM] = IHO_BILL_KVM,
	[IHO_ST_GUEST_OR_KVM] = IHO_BILL_GUEST_OR_KVM,
	[IHO_ST_QEMU] = IHO_BILL_QEMU,
	[IHO_ST_QEMU_ASLEEP] = IHO_BILL_QEMU,
	[IHO_ST_HALT_POLL] = IHO_BILL_HALT_POLL,
	[IHO_ST_HALTED] = IHO_BILL_HALTED,
	[IHO_ST_BLOCKED] = IHO_BILL_BLOCKED,
	[IHO_ST_RUNNABLE] = IHO_BILL_RUNNABLE,
	[IHO_ST_PREEMPTED] = IHO_BILL_PREEMPTED,
	[IHO_ST_STOPPED] = IHO_BILL_STOPPED,
};

static void sum_bill(uint64_t bill[IHO_BILL_MAX], uint64_t *wall, const struct iho_snap_vcpu *v)
{
	uint64_t sum = 0;

	memset(bill, 0, IHO_BILL_MAX * sizeof(bill[0]));
	*wall = grown(v->now_ns, v->slot->core.first_ns);
	for (int i = 0; i < IHO_ST_MAX; i++) {
		bill[bill_of[i]] += v->time_ns[i];
		sum += v->time_ns[i];
	}
	bill[IHO_BILL_UNACCOUNTED] += grown(*wall, sum);
}

static void fill_bill(struct iho_bill_ns *b, const struct iho_snap_vcpu *now,
		      const struct iho_snap_vcpu *prev)
{
	uint64_t before[IHO_BILL_MAX] = {}, wall_before = 0;

	sum_bill(b->total, &b->wall_total, now);
	b->qemu_asleep_total = now->time_ns[IHO_ST_QEMU_ASLEEP];
	if (prev)
		sum_bill(before, &wall_before, prev);
	for (int i = 0; i < IHO_BILL_MAX; i++)
		b->delta[i] = grown(b->total[i], before[i]);
	b->wall_delta = grown(b->wall_total, wall_before);
	b->qemu_asleep_delta =
		grown(b->qemu_asleep_total, prev ? prev->time_ns[IHO_ST_QEMU_ASLEEP] : 0);
}

static void add_bill(struct iho_bill_ns *sum, const struct iho_bill_ns *b)
{
	for (int i = 0; i < IHO_BILL_MAX; i++) {
		sum->total[i] += b->total[i];
		sum->delta[i] += b->delta[i];
	}
	sum->qemu_asleep_total += b->qemu_asleep_total;
	sum->qemu_asleep_delta += b->qemu_asleep_delta;
	sum->wall_total += b->wall_total;
	sum->wall_delta += b->wall_delta;
}

/* ---- whose code ran, and was the guest busy ---- */

static void busy_by_bill(struct iho_busy *b, const struct iho_bill_ns *bill)
{
	static const enum iho_bill parts[] = { IHO_BILL_GUEST, IHO_BILL_KVM, IHO_BILL_GUEST_OR_KVM,
					       IHO_BILL_QEMU };

	b->known = true;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		b->busy_ns += bill->total[parts[i]];
		b->busy_delta_ns += bill->delta[parts[i]];
	}
	b->busy_ns = grown(b->busy_ns, bill->qemu_asleep_total);
	b->busy_delta_ns = grown(b->busy_delta_ns, bill->qemu_asleep_delta);
	b->of_ns = bill->wall_total;
	b->of_delta_ns = bill->wall_delta;
}

static void fill_cpu_times(struct iho_cpu_times *t, const struct iho_bill_ns *bill,
			   const struct iho_slot *s, const struct iho_utilisation_window *w)
{
	t->idle_seen = iho_idle_seen(s);
	if (t->idle_seen >= IHO_IDLE_SEEN_YES)
		busy_by_bill(&t->busy[IHO_BUSY_BILL], bill);
	if (!w || w->now.start_ns != s->start_ns)
		return;
	t->known = w->now.cpu_known;
	t->window_ns = grown(w->now.wall_ns, w->before.wall_ns);
	t->disagree = w->now.disagree;
	for (int i = 0; i < IHO_CPU_MAX; i++) {
		t->ns[i] = w->now.cpu_ns[i];
		t->delta_ns[i] = grown(w->now.cpu_ns[i], w->before.cpu_ns[i]);
	}
	for (int i = 0; i < IHO_BUSY_MAX; i++) {
		if (!(w->now.signals >> i & 1))
			continue;
		t->busy[i].known = true;
		t->busy[i].busy_ns = w->now.busy_ns[i];
		t->busy[i].of_ns = w->now.of_ns[i];
		t->busy[i].busy_delta_ns = grown(w->now.busy_ns[i], w->before.busy_ns[i]);
		t->busy[i].of_delta_ns = grown(w->now.of_ns[i], w->before.of_ns[i]);
	}
}

static void add_busy(struct iho_busy *sum, const struct iho_busy *b)
{
	sum->busy_ns += b->busy_ns;
	sum->of_ns += b->of_ns;
	sum->busy_delta_ns += b->busy_delta_ns;
	sum->of_delta_ns += b->of_delta_ns;
}

/* A VM's busy share is known where that of each of its vCPUs is; those that ended use nothing. */
static void sum_cpu_times(struct iho_vm_report *vm)
{
	struct iho_cpu_times *sum = &vm->cpu_times;
	size_t live = 0, known[IHO_BUSY_MAX] = {};

	sum->idle_seen = IHO_IDLE_SEEN_HALT;
	for (size_t i = 0; i < vm->n_vcpus; i++) {
		const struct iho_cpu_times *t = &vm->vcpus[i].cpu_times;

		sum->known |= t->known;
		for (int k = 0; k < IHO_CPU_MAX; k++) {
			sum->ns[k] += t->ns[k];
			sum->delta_ns[k] += vm->vcpus[i].gone ? 0 : t->delta_ns[k];
		}
		if (vm->vcpus[i].gone)
			continue;
		live++;
		sum->window_ns += t->window_ns;
		sum->disagree |= t->disagree;
		if (t->idle_seen == IHO_IDLE_SEEN_NO ||
		    (t->idle_seen < sum->idle_seen && sum->idle_seen != IHO_IDLE_SEEN_NO))
			sum->idle_seen = t->idle_seen;
		for (int k = 0; k < IHO_BUSY_MAX; k++) {
			known[k] += t->busy[k].known;
			add_busy(&sum->busy[k], &t->busy[k]);
		}
	}
	if (!live)
		sum->idle_seen = IHO_IDLE_SEEN_UNKNOWN;
	for (int k = 0; k < IHO_BUSY_MAX; k++) {
		sum->busy[k].known = live && known[k] == live;
		if (!sum->busy[k].known)
			memset(&sum->busy[k], 0, sizeof(sum->busy[k]));
	}
}

/* ---- direct mode ---- */

static void direct_totals(uint64_t v[IHO_DIRECT_ALL], const struct iho_direct *d)
{
	for (int i = 0; i < IHO_DIRECT_MAX; i++)
		v[i] = d->total[i];
	v[IHO_DIRECT_WITHOUT_EXIT] = d->without_exit;
	v[IHO_DIRECT_WITH_EXIT] = d->with_exit;
	v[IHO_DIRECT_IPIS_WITHOUT_EXIT] = d->ipis_without_exit;
	v[IHO_DIRECT_SAVED] =
		d->total[IHO_DIRECT_DEADLINES] + d->without_exit + d->ipis_without_exit;
}

static void fill_direct(struct iho_direct_report *r, const struct iho_snap_vcpu *now,
			const struct iho_snap_vcpu *prev)
{
	const struct iho_direct *d = &now->slot->direct;
	uint64_t before[IHO_DIRECT_ALL] = {};
	bool live = now->slot->life == IHO_LIVE;

	direct_totals(r->total, d);
	if (prev)
		direct_totals(before, &prev->slot->direct);
	for (int i = 0; i < IHO_DIRECT_ALL; i++)
		r->delta[i] = grown(r->total[i], before[i]);
	r->refused = d->refused;
	r->traced = d->first_ns;
	r->known = live && d->first_ns;
	r->on = r->known && (d->modes & IHO_DIRECT_TIMER);
	r->ipi_on = r->known && (d->modes & IHO_DIRECT_IPI);
	r->missing = r->known ? d->missing : 0;
	r->age_s = r->known ? grown(now->now_ns, d->at_ns) / 1e9 : -1;
}

static void add_direct(struct iho_direct_report *sum, const struct iho_direct_report *r)
{
	for (int i = 0; i < IHO_DIRECT_ALL; i++) {
		sum->total[i] += r->total[i];
		sum->delta[i] += r->delta[i];
	}
	sum->refused += r->refused;
	sum->traced |= r->traced;
	sum->known += r->known;
	sum->on += r->on;
	sum->ipi_on += r->ipi_on;
	sum->missing |= r->missing;
	if (r->age_s > sum->age_s)
		sum->age_s = r->age_s;
}

/* ---- vCPUs ---- */

static int build_vcpu(struct iho_vcpu *v, struct iho_arena *a, const struct iho_snap_vcpu *now,
		      const struct iho_snap_vcpu *prev, const struct iho_vcpu_entry *entry,
		      const struct iho_utilisation_window *window, const struct iho_directory *d)
{
	const struct iho_slot *s = now->slot, *p = prev ? prev->slot : NULL;
	int r;

	v->id = s->vcpu_id;
	v->tid = s->tid;
	v->cpu = s->cpu;
	v->gone = s->life == IHO_GONE;
	v->state = bill_of[now->state];
	if (entry->start_ns == s->start_ns) {
		snprintf(v->affinity, sizeof(v->affinity), "%s", entry->affinity);
		v->pinned = entry->n_cpus == 1;
	}
	fill_bill(&v->bill, now, prev);
	fill_cpu_times(&v->cpu_times, &v->bill, s, window);
	fill_direct(&v->direct, now, prev);
	for (int i = 0; i < IHO_EV_MAX; i++) {
		v->events[i] = s->events[i];
		v->events_delta[i] = grown(s->events[i], p ? p->events[i] : 0);
	}
	v->halts = s->halts;
	v->halts_polled = s->halts_polled;
	v->preemptions = s->preemptions;
	v->migrations = s->migrations;
	v->switches = s->switches;
	v->halts_delta = grown(s->halts, p ? p->halts : 0);
	v->preemptions_delta = grown(s->preemptions, p ? p->preemptions : 0);
	v->migrations_delta = grown(s->migrations, p ? p->migrations : 0);
	v->halt_poll_limit_ns = s->poll_next_ns;
	v->ple_window = s->ple_window;
	v->unpaired = s->unpaired_entries + s->unpaired_exits;
	v->clock_back = s->clock_back;
	v->torn = now->torn;
	v->missed_switches = s->missed_switches;
	v->exit_overflow = s->exit_overflow;
	v->user_overflow = s->user_overflow;
	v->irq_overflow = s->irq_overflow;
	v->interlopers_evicted = s->task_evicted;
	v->interlopers_evicted_ns = s->task_evicted_ns;
	v->interlopers_evicted_times = s->task_evicted_times;
	for (int i = 0; i < IHO_DRILL_MAX; i++)
		v->drill_overflow[i] = s->drill_overflow[i];

	r = add_exits(v, a, s, p, d->names);
	if (!r)
		r = add_user_exits(v, a, s, p, d->names);
	if (!r)
		r = add_drills(v, a, s, p);
	if (!r)
		r = add_interlopers(v, a, s, p, d);
	return r;
}

/* ---- VMs ---- */

/* Sums of exits over a VM's vCPUs need the histograms, which the vCPUs' rows do not carry. */
struct vm_exit {
	struct iho_exit_row row;
	uint64_t hist[IHO_HIST_BUCKETS];
};

#define VM_EXITS 64

struct vm_build {
	struct iho_vm_report *vm;
	struct iho_vm_entry *entry;
	struct vm_exit *exits;
	size_t n_exits;
	bool any_live;
	uint64_t last_gone_ns;
};

static struct vm_exit *vm_exit_of(struct vm_build *b, uint32_t isa, uint32_t code)
{
	for (size_t i = 0; i < b->n_exits; i++)
		if (b->exits[i].row.code == code && b->exits[i].row.isa == isa)
			return &b->exits[i];
	if (b->n_exits == VM_EXITS) {
		/* more reasons than a VM can have in practice: what is over joins the last one */
		b->exits[VM_EXITS - 1].row.code = IHO_CODE_OVERFLOW;
		return &b->exits[VM_EXITS - 1];
	}
	b->exits[b->n_exits].row.code = code;
	b->exits[b->n_exits].row.isa = isa;
	return &b->exits[b->n_exits++];
}

static void vm_add_exits(struct vm_build *b, const struct iho_vcpu *v, const struct iho_slot *s)
{
	for (size_t i = 0; i < v->exit_rows.n; i++) {
		const struct iho_exit_row *row = &v->exit_rows.v[i];
		struct vm_exit *e = vm_exit_of(b, row->isa, row->code);

		e->row.total += row->total;
		e->row.delta += row->delta;
		e->row.time_ns += row->time_ns;
		e->row.time_delta_ns += row->time_delta_ns;
		e->row.kvm_ns += row->kvm_ns;
		if (row->max_ns > e->row.max_ns)
			e->row.max_ns = row->max_ns;
	}
	for (unsigned int i = 0; i < s->n_exits; i++) {
		struct vm_exit *e = vm_exit_of(b, s->exits[i].isa, s->exits[i].code);

		for (unsigned int k = 0; k < IHO_HIST_BUCKETS; k++)
			e->hist[k] += s->exits[i].hist[k];
	}
}

static int vm_finish_exits(struct vm_build *b, struct iho_arena *a, const struct iho_names *names)
{
	struct iho_vm_report *vm = b->vm;

	vm->exit_rows.v = iho_arena_get(a, b->n_exits, sizeof(*vm->exit_rows.v));
	if (!vm->exit_rows.v)
		return -ENOMEM;
	for (size_t i = 0; i < b->n_exits; i++) {
		struct iho_exit_row *row = &vm->exit_rows.v[vm->exit_rows.n++];

		*row = b->exits[i].row;
		fill_exit_names(row, names);
		fill_exit_times(row, b->exits[i].hist);
		row->hist = b->exits[i].hist;
	}
	qsort(vm->exit_rows.v, vm->exit_rows.n, sizeof(*vm->exit_rows.v), by_total_exit);
	return 0;
}

static int vm_sum_users(struct iho_vm_report *vm, struct iho_arena *a)
{
	size_t most = 0;

	for (size_t i = 0; i < vm->n_vcpus; i++)
		most += vm->vcpus[i].user_rows.n;
	vm->user_rows.v = iho_arena_get(a, most, sizeof(*vm->user_rows.v));
	if (!vm->user_rows.v)
		return -ENOMEM;
	for (size_t i = 0; i < vm->n_vcpus; i++) {
		for (size_t k = 0; k < vm->vcpus[i].user_rows.n; k++) {
			const struct iho_user_row *row = &vm->vcpus[i].user_rows.v[k];
			struct iho_user_row *sum = vm->user_rows.v;
			size_t n = 0;

			while (n < vm->user_rows.n && sum[n].code != row->code)
				n++;
			if (n == vm->user_rows.n) {
				sum[vm->user_rows.n++] = *row;
				continue;
			}
			sum[n].total += row->total;
			sum[n].delta += row->delta;
			sum[n].time_ns += row->time_ns;
			sum[n].time_delta_ns += row->time_delta_ns;
			if (row->max_ns > sum[n].max_ns)
				sum[n].max_ns = row->max_ns;
		}
	}
	qsort(vm->user_rows.v, vm->user_rows.n, sizeof(*vm->user_rows.v), by_total_user);
	return 0;
}

static int by_kind_value_drill(const void *a, const void *b)
{
	const struct iho_drill_row *x = a, *y = b;

	if (x->kind != y->kind)
		return (int)x->kind - (int)y->kind;
	return x->value < y->value ? -1 : x->value > y->value;
}

/* Thousands of rows with many vCPUs: sort, then merge neighbours. */
static int vm_sum_drills(struct iho_vm_report *vm, struct iho_arena *a)
{
	size_t n = 0, out = 0;

	for (size_t i = 0; i < vm->n_vcpus; i++)
		n += vm->vcpus[i].drill_rows.n;
	vm->drill_rows.v = iho_arena_get(a, n, sizeof(*vm->drill_rows.v));
	if (!vm->drill_rows.v)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < vm->n_vcpus; i++)
		for (size_t k = 0; k < vm->vcpus[i].drill_rows.n; k++)
			vm->drill_rows.v[n++] = vm->vcpus[i].drill_rows.v[k];
	qsort(vm->drill_rows.v, n, sizeof(*vm->drill_rows.v), by_kind_value_drill);
	for (size_t i = 0; i < n; i++) {
		struct iho_drill_row *last = out ? &vm->drill_rows.v[out - 1] : NULL;
		const struct iho_drill_row *row = &vm->drill_rows.v[i];

		if (last && last->kind == row->kind && last->value == row->value) {
			last->total += row->total;
			last->delta += row->delta;
		} else {
			vm->drill_rows.v[out++] = *row;
		}
	}
	vm->drill_rows.n = out;
	qsort(vm->drill_rows.v, out, sizeof(*vm->drill_rows.v), by_kind_total_drill);
	return 0;
}

static int vm_accepts(struct iho_vm_report *vm, uint64_t process, struct iho_arena *a,
		      const struct iho_snapshot *prev, const struct iho_snapshot *now)
{
	size_t n = 0;

	for (unsigned int i = 0; i < IHO_SHARED; i++)
		n += now->shared[i].key &&
		     IHO_SHARED_PROCESS(now->shared[i].key) == (uint32_t)process;
	vm->accept_rows.v = iho_arena_get(a, n, sizeof(*vm->accept_rows.v));
	if (!vm->accept_rows.v)
		return -ENOMEM;
	for (unsigned int i = 0; i < IHO_SHARED; i++) {
		const struct iho_drill *d = &now->shared[i];
		struct iho_accept_row *row;

		if (!d->key || IHO_SHARED_PROCESS(d->key) != (uint32_t)process)
			continue;
		row = &vm->accept_rows.v[vm->accept_rows.n++];
		row->kind = IHO_DRILL_KIND(d->key);
		row->apicid = IHO_SHARED_APICID(d->key);
		row->vector = IHO_SHARED_VECTOR(d->key);
		row->total = d->count;
		row->delta = grown(d->count, prev && prev->shared[i].key == d->key
						     ? prev->shared[i].count
						     : 0);
	}
	qsort(vm->accept_rows.v, vm->accept_rows.n, sizeof(*vm->accept_rows.v),
	      by_kind_total_accept);
	return 0;
}

static void name_inhibits(struct iho_apicv_state *st, const struct iho_names *names)
{
	size_t used = 0;

	for (unsigned int bit = 0; bit < 64; bit++) {
		char name[48];
		int n;

		if (!(st->inhibits >> bit & 1))
			continue;
		iho_apicv_reason_name(names, bit, name, sizeof(name));
		n = snprintf(st->reasons + used, sizeof(st->reasons) - used, "%s%s",
			     used ? ", " : "", name);
		if (n < 0 || (size_t)n >= sizeof(st->reasons) - used) {
			st->reasons[used] = '\0'; /* no half names */
			return;
		}
		used += n;
	}
}

static void doctor(struct iho_vm_report *vm, uint64_t process, const struct iho_snapshot *now,
		   const struct iho_directory *d)
{
	struct iho_apicv_state *st = &vm->apicv;
	const char *what = d->vendor_module && !strcmp(d->vendor_module, "kvm_amd") ? "AVIC"
										    : "APICv";
	const struct iho_vm *entry = NULL;

	for (unsigned int i = 0; i < IHO_VMS; i++)
		if (now->vms[i].process == process && now->vms[i].since_ns)
			entry = &now->vms[i];
	st->since_s = -1;
	if (!d->hw) {
		st->state = IHO_APICV_OFF;
		snprintf(st->text, sizeof(st->text), "off: %s is a KVM without APICv or AVIC",
			 d->vendor_module && d->vendor_module[0] ? d->vendor_module : "this");
		return;
	}
	if (d->apicv_param == 0) {
		st->state = IHO_APICV_OFF;
		snprintf(st->text, sizeof(st->text), "off: module parameter %s",
			 !strcmp(what, "AVIC") ? "kvm_amd.avic=0 (or the CPU has none)"
					       : "kvm_intel.enable_apicv=N (or the CPU has none)");
		return;
	}
	if (!entry || d->apicv_param < 0) {
		st->state = IHO_APICV_UNKNOWN;
		snprintf(st->text, sizeof(st->text),
			 "unknown: this kernel does not tell the inhibit "
			 "reasons of this VM");
		return;
	}
	st->inhibits = entry->inhibits;
	st->changes = entry->changes;
	if (entry->changes)
		st->since_s = grown(now->now_ns, entry->since_ns) / 1e9;
	name_inhibits(st, d->names);
	if (st->inhibits) {
		st->state = IHO_APICV_INHIBITED;
		snprintf(st->text, sizeof(st->text), "%s inhibited by %.120s", what, st->reasons);
	} else {
		st->state = IHO_APICV_ON;
		snprintf(st->text, sizeof(st->text), "%s on, nothing inhibits it", what);
	}
}

static int finish_vm(struct vm_build *b, struct iho_arena *a, const struct iho_snapshot *prev,
		     const struct iho_snapshot *now, const struct iho_directory *d)
{
	uint64_t process = IHO_PROCESS(b->entry->pid, b->entry->start_ns);
	struct iho_vm_report *vm = b->vm;
	int r;

	qsort(vm->vcpus, vm->n_vcpus, sizeof(*vm->vcpus), by_id_vcpu);
	vm->direct.age_s = -1;
	for (size_t i = 0; i < vm->n_vcpus; i++) {
		const struct iho_vcpu *v = &vm->vcpus[i];

		add_bill(&vm->bill, &v->bill);
		add_direct(&vm->direct, &v->direct);
		vm->exits += v->exits;
		vm->exits_delta += v->exits_delta;
		vm->user_exits += v->user_exits;
		vm->user_exits_delta += v->user_exits_delta;
	}
	sum_cpu_times(vm);
	vm->gone = !b->any_live;
	vm->gone_s = vm->gone ? grown(now->now_ns, b->last_gone_ns) / 1e9 : 0;
	doctor(vm, process, now, d);
	r = vm_finish_exits(b, a, d->names);
	if (!r)
		r = vm_sum_users(vm, a);
	if (!r)
		r = vm_sum_drills(vm, a);
	if (!r)
		r = vm_accepts(vm, process, a, prev, now);
	return r;
}

struct iho_vm_entry *iho_directory_find(const struct iho_directory *d, const struct iho_slot *s)
{
	uint64_t key = s->vcpu_id >= 0 ? s->vm_key : 0;
	struct iho_vm_entry *first = NULL;

	for (size_t i = 0; i < d->n_vms; i++) {
		struct iho_vm_entry *e = &d->vm[i];

		if (e->pid != (pid_t)s->tgid || e->start_ns != s->process_start_ns)
			continue;
		if (e->key == key)
			return e;
		if (!first)
			first = e;
	}
	/* A vCPU that is not identified yet belongs to its process' first VM. */
	return key ? NULL : first;
}

static void shown_name(const struct iho_vm_entry *e, char *buf, size_t len)
{
	char pid[16] = "", nth[16] = "";

	if (e->namesake)
		snprintf(pid, sizeof(pid), "@%d", e->pid);
	if (e->nth)
		snprintf(nth, sizeof(nth), " #%u", e->nth + 1);
	snprintf(buf, len, "%.*s%s%s", (int)(len - 1 - strlen(pid) - strlen(nth)), e->id.name, pid,
		 nth);
}

/* By the name that its owner gave it, which several may have, or by the one that we show. */
static bool wanted(const struct iho_directory *d, const struct iho_vm_entry *e)
{
	char name[sizeof(((struct iho_vm_report *)0)->name)];

	if (d->only_pid && e->pid != d->only_pid)
		return false;
	if (!d->only_name || !strcmp(d->only_name, e->id.name))
		return true;
	shown_name(e, name, sizeof(name));
	return !strcmp(d->only_name, name);
}

static struct vm_build *build_of(struct vm_build *b, size_t n, const struct iho_vm_entry *e)
{
	for (size_t i = 0; i < n; i++)
		if (b[i].entry == e)
			return &b[i];
	return NULL;
}

static int start_vm(struct vm_build *b, struct iho_vm_entry *e, struct iho_vm_report *vm,
		    struct iho_arena *a)
{
	b->entry = e;
	b->vm = vm;
	b->exits = iho_arena_get(a, VM_EXITS, sizeof(*b->exits));
	vm->pid = e->pid;
	vm->key = e->key;
	vm->vmm = e->id.vmm;
	shown_name(e, vm->name, sizeof(vm->name));
	return b->exits ? 0 : -ENOMEM;
}

void iho_self_add(struct iho_self *self, const struct iho_snap_vcpu *v)
{
	const struct iho_slot *s = v->slot;

	for (int k = 0; k < IHO_EV_MAX; k++)
		self->events += s->events[k];
	self->unpaired += s->unpaired_entries + s->unpaired_exits;
	self->clock_back += s->clock_back;
	self->missed_switches += s->missed_switches;
	self->torn += v->torn;
	self->exit_overflow += s->exit_overflow + s->user_overflow;
	self->irq_overflow += s->irq_overflow;
	self->interlopers_evicted += s->task_evicted;
	for (int k = 0; k < IHO_DRILL_MAX; k++)
		self->drill_overflow += s->drill_overflow[k];
}

static void fill_losses(struct iho_report *r, const struct iho_snapshot *prev,
			const struct iho_snapshot *now, const struct iho_directory *d)
{
	const struct iho_ledger *l = &now->ledger;
	struct iho_self *self = &r->self;
	uint64_t before = prev ? prev->ledger.events : 0;

	self->events = l->events;
	self->unpaired = l->unpaired;
	self->clock_back = l->clock_back;
	self->missed_switches = l->missed_switches;
	self->exit_overflow = l->exit_overflow;
	self->irq_overflow = l->irq_overflow;
	self->drill_overflow = l->drill_overflow;
	self->interlopers_evicted = l->interlopers_evicted;
	self->torn = now->torn_gone;
	self->slots = now->n_slots;
	self->slots_used = now->n_used;
	for (int k = 0; k < IHO_EV_MAX; k++) {
		self->events += now->events[k];
		before += prev ? prev->events[k] : 0;
	}
	for (unsigned int i = 0; i < now->n_entries; i++) {
		const struct iho_slot *s = now->vcpu[i].slot;
		const struct iho_snap_vcpu *p;

		if (!now->vcpu[i].used)
			continue;
		p = i < now->n_slots ? iho_snapshot_same(prev, i, s) : &now->vcpu[i];
		for (int k = 0; p && k < IHO_EV_MAX; k++)
			before += p->slot->events[k];
		self->vcpus_without_id += s->life == IHO_LIVE && s->vcpu_id < 0;
		iho_self_add(self, &now->vcpu[i]);
	}
	self->events_delta = grown(self->events, before);
	self->lost_no_slot = now->loss[IHO_LOSS_NO_SLOT];
	self->lost_storage = now->loss[IHO_LOSS_NO_STORAGE];
	self->lost_shared = now->loss[IHO_LOSS_SHARED];
	self->lost_waiters = now->loss[IHO_LOSS_WAITERS];
	self->lost_nested = now->loss[IHO_LOSS_NESTED];
	self->lost_read = now->loss[IHO_LOSS_READ];
	self->lost = self->lost_no_slot + self->lost_storage + self->lost_shared +
		     self->lost_waiters + self->lost_nested + self->lost_read +
		     self->drill_overflow + self->exit_overflow + self->irq_overflow +
		     self->clock_back;
}

/* Guest and KVM can be told apart: seen to be so, or not yet seen on hardware that does. */
static void fill_missing(struct iho_report *r, const struct iho_snapshot *now,
			 const struct iho_directory *d)
{
	bool seen = false, userspace = false;

	for (unsigned int i = 0; i < now->n_entries; i++) {
		if (!now->vcpu[i].used)
			continue;
		seen |= now->vcpu[i].slot->entry_seen;
		userspace |= now->vcpu[i].slot->events[IHO_EV_kvm_userspace_exit] > 0;
	}
	r->splits_guest = seen || (d->hw && !userspace);
	if (!r->splits_guest)
		snprintf(r->missing, sizeof(r->missing),
			 "this KVM%s%s%s emits no kvm_entry/kvm_exit: no exit reasons, no exit "
			 "latencies, guest and KVM time undivided",
			 d->vendor_module && d->vendor_module[0] ? " (" : "",
			 d->vendor_module ? d->vendor_module : "",
			 d->vendor_module && d->vendor_module[0] ? ")" : "");
}

int iho_report_build(struct iho_report *r, struct iho_arena *a, const struct iho_snapshot *prev,
		     const struct iho_snapshot *now, const struct iho_directory *d)
{
	struct vm_build *builds = iho_arena_get(a, d->n_vms, sizeof(*builds));
	const struct iho_vcpu_entry unknown = {};
	int ret = 0;

	memset(r, 0, sizeof(*r));
	r->vms = iho_arena_get(a, d->n_vms, sizeof(*r->vms));
	if (!builds || !r->vms)
		return -ENOMEM;
	fill_losses(r, prev, now, d);
	fill_missing(r, now, d);

	/* First count each VM's vCPUs, so that its array can be made. */
	for (unsigned int i = 0; i < now->n_entries; i++) {
		const struct iho_slot *s = now->vcpu[i].slot;
		struct iho_vm_entry *e;
		struct vm_build *b;

		if (!now->vcpu[i].used)
			continue;
		e = iho_directory_find(d, s);
		if (!e || !wanted(d, e))
			continue;
		b = build_of(builds, r->n_vms, e);
		if (!b) {
			b = &builds[r->n_vms];
			ret = start_vm(b, e, &r->vms[r->n_vms++], a);
			if (ret)
				return ret;
		}
		b->vm->n_vcpus++;
		if (s->life == IHO_LIVE)
			b->any_live = true;
		else if (s->gone_ns > b->last_gone_ns)
			b->last_gone_ns = s->gone_ns;
	}
	for (size_t i = 0; i < r->n_vms; i++) {
		struct iho_vm_report *vm = &r->vms[i];

		vm->vcpus = iho_arena_get(a, vm->n_vcpus, sizeof(*vm->vcpus));
		if (!vm->vcpus)
			return -ENOMEM;
		vm->n_vcpus = 0;
	}
	for (unsigned int i = 0; i < now->n_entries; i++) {
		const struct iho_slot *s = now->vcpu[i].slot;
		struct iho_vm_entry *e;
		struct vm_build *b;
		struct iho_vcpu *v;

		if (!now->vcpu[i].used)
			continue;
		e = iho_directory_find(d, s);
		b = e ? build_of(builds, r->n_vms, e) : NULL;
		if (!b)
			continue;
		v = &b->vm->vcpus[b->vm->n_vcpus++];
		v->archived = i >= now->n_slots;
		/* nobody adds to what is archived, but it may have come from a slot just now */
		ret = build_vcpu(v, a, &now->vcpu[i],
				 v->archived ? &now->vcpu[i] : iho_snapshot_same(prev, i, s),
				 v->archived ? &unknown : &d->vcpu[i],
				 v->archived || !d->window ? NULL : &d->window[i], d);
		if (ret)
			return ret;
		vm_add_exits(b, v, s);
	}
	for (size_t i = 0; i < r->n_vms; i++) {
		ret = finish_vm(&builds[i], a, prev, now, d);
		if (ret)
			return ret;
	}
	qsort(r->vms, r->n_vms, sizeof(*r->vms), by_name_vm);
	return 0;
}
