// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two threads of a VM that ended become one record, so that the VM's sums never go back although
 * slots are given to others. Nobody writes to either any more.
 */
#include <string.h>

#include "keeper.h"

static void merge_exits(struct iho_slot *into, const struct iho_slot *from)
{
	for (unsigned int i = 0; i < from->n_exits && i < IHO_EXITS; i++) {
		const struct iho_exit *e = &from->exits[i];
		struct iho_exit *d = NULL;

		for (unsigned int k = 0; k < into->n_exits && !d; k++)
			if (into->exits[k].code == e->code && into->exits[k].isa == e->isa)
				d = &into->exits[k];
		if (!d && into->n_exits < IHO_EXITS) {
			d = &into->exits[into->n_exits++];
			memset(d, 0, sizeof(*d));
			d->code = e->code;
			d->isa = e->isa;
		} else if (!d) {
			d = &into->exits[IHO_EXITS - 1];
			d->code = IHO_CODE_OVERFLOW;
			into->exit_overflow += e->count;
		}
		d->count += e->count;
		d->time_ns += e->time_ns;
		d->kvm_ns += e->kvm_ns;
		if (e->max_ns > d->max_ns)
			d->max_ns = e->max_ns;
		for (unsigned int b = 0; b < IHO_HIST_BUCKETS; b++)
			d->hist[b] += e->hist[b];
	}
}

static void merge_user_exits(struct iho_slot *into, const struct iho_slot *from)
{
	for (unsigned int i = 0; i < from->n_user_exits && i < IHO_USER_EXITS; i++) {
		const struct iho_user_exit *u = &from->user_exits[i];
		struct iho_user_exit *d = NULL;

		for (unsigned int k = 0; k < into->n_user_exits && !d; k++)
			if (into->user_exits[k].code == u->code)
				d = &into->user_exits[k];
		if (!d && into->n_user_exits < IHO_USER_EXITS) {
			d = &into->user_exits[into->n_user_exits++];
			memset(d, 0, sizeof(*d));
			d->code = u->code;
		} else if (!d) {
			d = &into->user_exits[IHO_USER_EXITS - 1];
			d->code = IHO_CODE_OVERFLOW;
			into->user_overflow += u->count;
		}
		d->count += u->count;
		d->time_ns += u->time_ns;
		if (u->max_ns > d->max_ns)
			d->max_ns = u->max_ns;
	}
}

static void merge_drills(struct iho_slot *into, const struct iho_slot *from)
{
	for (unsigned int i = 0; i < IHO_DRILLS; i++) {
		const struct iho_drill *e = &from->drill[i];
		struct iho_drill *d = NULL, *free = NULL;
		uint32_t kind = IHO_DRILL_KIND(e->key);

		if (!e->key || kind >= IHO_DRILL_MAX)
			continue;
		for (unsigned int k = 0; k < IHO_DRILLS && !d; k++) {
			if (into->drill[k].key == e->key)
				d = &into->drill[k];
			else if (!into->drill[k].key && !free)
				free = &into->drill[k];
		}
		if (!d && !free) {
			into->drill_overflow[kind] += e->count;
			continue;
		}
		if (!d) {
			d = free;
			d->key = e->key;
		}
		d->count += e->count;
	}
}

static void merge_irqs(struct iho_irq *into, const struct iho_irq *from, unsigned int n,
		       __u64 *overflow)
{
	for (unsigned int i = 0; i < n; i++) {
		unsigned int k = 0;

		if (!from[i].used)
			continue;
		while (k < n && into[k].used && into[k].nr != from[i].nr)
			k++;
		if (k == n) {
			*overflow += from[i].count;
			continue;
		}
		into[k].nr = from[i].nr;
		into[k].used = 1;
		into[k].ns += from[i].ns;
		into[k].count += from[i].count;
	}
}

static void merge_tasks(struct iho_slot *into, const struct iho_slot *from)
{
	for (unsigned int i = 0; i < IHO_TASKS; i++) {
		const struct iho_task *t = &from->interlopers[i];
		struct iho_task *d = into->interlopers;
		unsigned int k = 0;

		if (!t->used)
			continue;
		while (k < IHO_TASKS && d[k].used && d[k].tid != t->tid)
			k++;
		if (k == IHO_TASKS) {
			into->task_evicted++;
			into->task_evicted_ns += t->ns;
			into->task_evicted_times += t->count;
			continue;
		}
		if (!d[k].used)
			memcpy(d[k].comm, t->comm, sizeof(d[k].comm));
		d[k].tid = t->tid;
		d[k].used = t->used;
		d[k].ns += t->ns;
		d[k].count += t->count;
	}
}

void iho_slot_merge(struct iho_slot *into, const struct iho_slot *from)
{
	/* A thread that ended has its bill between first_ns and since_ns. */
	into->core.since_ns += from->core.since_ns - from->core.first_ns;
	into->core.pend_ns += from->core.pend_ns;
	for (int i = 0; i < IHO_ST_MAX; i++)
		into->core.time_ns[i] += from->core.time_ns[i];
	if (from->gone_ns > into->gone_ns)
		into->gone_ns = from->gone_ns;
	into->entry_seen |= from->entry_seen;
	into->migrations += from->migrations;
	into->preemptions += from->preemptions;
	into->switches += from->switches;
	into->halts += from->halts;
	into->halts_polled += from->halts_polled;
	into->unpaired_exits += from->unpaired_exits;
	into->unpaired_entries += from->unpaired_entries;
	into->clock_back += from->clock_back;
	into->exit_overflow += from->exit_overflow;
	into->user_overflow += from->user_overflow;
	into->task_evicted += from->task_evicted;
	into->task_evicted_ns += from->task_evicted_ns;
	into->task_evicted_times += from->task_evicted_times;
	into->irq_overflow += from->irq_overflow;
	into->missed_switches += from->missed_switches;
	for (int i = 0; i < IHO_DIRECT_MAX; i++)
		into->direct.total[i] += from->direct.total[i];
	into->direct.without_exit += from->direct.without_exit;
	into->direct.with_exit += from->direct.with_exit;
	into->direct.ipis_without_exit += from->direct.ipis_without_exit;
	into->direct.refused += from->direct.refused;
	if (!into->direct.first_ns)
		into->direct.first_ns = from->direct.first_ns;
	for (int i = 0; i < IHO_DRILL_MAX; i++)
		into->drill_overflow[i] += from->drill_overflow[i];
	for (int i = 0; i < IHO_EV_MAX; i++)
		into->events[i] += from->events[i];
	merge_exits(into, from);
	merge_user_exits(into, from);
	merge_drills(into, from);
	merge_irqs(into->hardirq, from->hardirq, IHO_HARDIRQS, &into->irq_overflow);
	merge_irqs(into->softirq, from->softirq, IHO_SOFTIRQS, &into->irq_overflow);
	merge_tasks(into, from);
}
