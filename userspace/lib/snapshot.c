// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "snapshot.h"

/*
 * A writer holds `seq` odd for some ten nanoseconds and cannot be preempted, but its CPU can: by
 * an interrupt, or, where this host is itself a guest, by its hypervisor, for milliseconds. So many
 * sleeps, of all slots of a snapshot together, outlast that.
 */
#define CORE_TRIES    1000
#define CORE_SLEEPS   100
#define CORE_SLEEP_NS 200000
/* Slots change hands within microseconds each, a number of them at most once a second. */
#define LEDGER_SPINS	10000
#define LEDGER_SLEEPS	500
#define LEDGER_SLEEP_NS 200000
#define LEDGER_TRIES	100

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

struct iho_snapshot *iho_snapshot_new(unsigned int n_slots)
{
	struct iho_snapshot *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->n_slots = n_slots;
	s->n_entries = 2 * n_slots;
	s->vcpu = calloc(s->n_entries, sizeof(*s->vcpu));
	if (!s->vcpu) {
		free(s);
		return NULL;
	}
	return s;
}

void iho_snapshot_free(struct iho_snapshot *s)
{
	if (!s)
		return;
	for (unsigned int i = 0; i < s->n_entries; i++)
		free(s->vcpu[i].slot);
	free(s->vcpu);
	free(s);
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* The part under the sequence count, as a whole: the same even count before and after. */
static bool copy_core(struct iho_slot *dst, const struct iho_slot *src, unsigned int *sleeps)
{
	const struct timespec t = { .tv_nsec = CORE_SLEEP_NS };

	for (int i = 0;; i++) {
		uint64_t seq = load((const uint64_t *)&src->seq);

		dst->core = src->core;
		dst->direct = src->direct;
		dst->wake_ns = src->wake_ns;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(seq & 1) && load((const uint64_t *)&src->seq) == seq)
			return true;
		if (i < CORE_TRIES) {
			__builtin_ia32_pause();
			continue;
		}
		if (!*sleeps)
			return false;
		--*sleeps;
		nanosleep(&t, NULL);
	}
}

enum iho_state iho_bill_at(const struct iho_core *c, uint64_t wake_ns, bool splits, uint64_t now,
			   uint64_t time_ns[IHO_ST_MAX])
{
	enum iho_state st = c->state < IHO_ST_MAX ? c->state : IHO_ST_UNKNOWN;
	uint64_t open = now > c->since_ns ? now - c->since_ns : 0;
	bool asleep = st == IHO_ST_HALTED || st == IHO_ST_BLOCKED || st == IHO_ST_STOPPED ||
		      st == IHO_ST_QEMU_ASLEEP;

	memcpy(time_ns, c->time_ns, sizeof(c->time_ns));
	time_ns[splits ? IHO_ST_KVM : IHO_ST_GUEST_OR_KVM] += c->pend_ns;
	if (asleep && wake_ns > c->since_ns && wake_ns < now) {
		time_ns[st] += wake_ns - c->since_ns;
		open = now - wake_ns;
		st = IHO_ST_RUNNABLE;
	}
	time_ns[st] += open;
	return st;
}

static int copy_slot(struct iho_snap_vcpu *v, const struct iho_slot *src, unsigned int *sleeps)
{
	const size_t head = offsetof(struct iho_slot, exits);
	size_t n;

	if (!v->slot) {
		v->slot = calloc(1, sizeof(*v->slot));
		if (!v->slot)
			return -ENOMEM;
	}
	memcpy(v->slot, src, head);
	n = v->slot->n_exits < IHO_EXITS ? v->slot->n_exits : IHO_EXITS;
	memcpy(v->slot->exits, src->exits, n * sizeof(src->exits[0]));
	v->slot->n_exits = n;
	if (v->slot->n_user_exits > IHO_USER_EXITS)
		v->slot->n_user_exits = IHO_USER_EXITS;
	v->torn = !copy_core(v->slot, src, sleeps);
	/* A thread that ended has no state any more: its bill ends with it. */
	v->now_ns = v->slot->life == IHO_GONE ? v->slot->core.since_ns : now_ns();
	v->state = iho_bill_at(&v->slot->core, v->slot->wake_ns, v->slot->entry_seen, v->now_ns,
			       v->time_ns);
	v->used = true;
	return 0;
}

/*
 * An even generation. A keeper that lost its core in the middle may need ours to go on; the same
 * odd one for ever is of one that died: what it left is all there is.
 */
static uint64_t settled(const struct iho_ledger *l)
{
	const struct timespec t = { .tv_nsec = LEDGER_SLEEP_NS };
	uint64_t g = load(&l->generation), last = g;

	for (int i = 0; (g & 1) && i < LEDGER_SPINS; i++) {
		__builtin_ia32_pause();
		g = load(&l->generation);
	}
	for (int i = 0; (g & 1) && i < LEDGER_SLEEPS; i++) {
		nanosleep(&t, NULL);
		g = load(&l->generation);
		/* another change already: it lives */
		if (g != last)
			i = 0;
		last = g;
	}
	return g;
}

static int copy_all(struct iho_snapshot *s, const struct iho_maps *m, unsigned int *sleeps)
{
	unsigned int end;
	int r;

	s->now_ns = now_ns();
	s->n_used = 0;
	s->ledger = *m->ledger;
	end = s->n_slots + (s->ledger.archived < s->n_slots ? s->ledger.archived : s->n_slots);
	for (unsigned int i = 0; i < s->n_entries; i++) {
		const struct iho_slot *slot;

		s->vcpu[i].used = false;
		if (i >= end)
			continue;
		slot = iho_maps_slot(m, i);
		if (__atomic_load_n(&slot->life, __ATOMIC_ACQUIRE) == IHO_FREE)
			continue;
		r = copy_slot(&s->vcpu[i], slot, sleeps);
		if (r)
			return r;
		s->n_used += i < s->n_slots;
	}
	memset(s->loss, 0, sizeof(s->loss));
	memset(s->events, 0, sizeof(s->events));
	for (unsigned int i = 0; i < m->n_cpus; i++) {
		const struct iho_cpu *c = iho_maps_cpu(m, i);

		for (int k = 0; k < IHO_LOSS_MAX; k++)
			s->loss[k] += c->loss[k];
		for (int k = 0; k < IHO_EV_MAX; k++)
			s->events[k] += c->events[k];
	}
	memcpy(s->shared, m->shared, sizeof(s->shared));
	memcpy(s->vms, m->vms, sizeof(s->vms));
	return 0;
}

int iho_snapshot_take(struct iho_snapshot *s, const struct iho_maps *m)
{
	unsigned int sleeps = CORE_SLEEPS;
	uint64_t generation;
	int r;

	for (int i = 0; i < LEDGER_TRIES; i++) {
		generation = settled(m->ledger);
		r = copy_all(s, m, &sleeps);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (r || generation == load(&m->ledger->generation))
			return r;
	}
	return 0;
}

const struct iho_snap_vcpu *iho_snapshot_same(const struct iho_snapshot *prev, unsigned int idx,
					      const struct iho_slot *slot)
{
	const struct iho_snap_vcpu *p;

	if (!prev || idx >= prev->n_entries)
		return NULL;
	p = &prev->vcpu[idx];
	if (!p->used || p->slot->tid != slot->tid ||
	    p->slot->core.first_ns != slot->core.first_ns)
		return NULL;
	return p;
}

void iho_snapshot_carry(struct iho_snapshot *now, const struct iho_snapshot *prev)
{
	static const enum iho_state tentative[] = { IHO_ST_KVM, IHO_ST_GUEST_OR_KVM };

	now->torn_gone = prev ? prev->torn_gone : 0;
	for (unsigned int i = 0; i < now->n_entries; i++) {
		struct iho_snap_vcpu *v = &now->vcpu[i];
		const struct iho_snap_vcpu *p;

		p = v->used ? iho_snapshot_same(prev, i, v->slot) : NULL;
		if (!p) {
			if (prev && i < prev->n_entries && prev->vcpu[i].used)
				now->torn_gone += prev->vcpu[i].torn;
			continue;
		}
		v->torn += p->torn;
		/* the first sign of entries moves all undivided time, for good */
		if (v->slot->entry_seen != p->slot->entry_seen)
			continue;
		for (unsigned int k = 0; k < sizeof(tentative) / sizeof(tentative[0]); k++)
			if (v->time_ns[tentative[k]] < p->time_ns[tentative[k]])
				v->time_ns[tentative[k]] = p->time_ns[tentative[k]];
	}
}
