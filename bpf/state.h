/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state machine of one vCPU: from kernel events to the bill, the exits and the drill-down.
 *
 * It is written once and compiled twice: into the BPF programs (iho.bpf.c) and as plain C into the
 * unit tests, which drive it with orders of events that no test machine produces on demand. It
 *calls nothing and reads no clock: whoever includes it passes the time and defines
 *
 *	iho_slot_at(index)	the slot of that index, or NULL
 *
 * Every function that changes `core` brackets the change with iho_write_begin()/iho_write_end().
 */
#ifndef IHO_STATE_H
#define IHO_STATE_H

#include "iho.h"

#ifndef IHO_INLINE
#define IHO_INLINE static inline __attribute__((always_inline))
#endif
/* BPF: a function that the verifier checks once instead of at every caller. */
#ifndef IHO_NOINLINE
#define IHO_NOINLINE static __attribute__((noinline))
#endif
#ifndef NULL
#define NULL ((void *)0)
#endif

/* task_struct.__state, as sched_switch gives it (linux/sched.h; the same since 4.14). */
#define IHO_TASK_INTERRUPTIBLE	   0x1
#define IHO_TASK_STOPPED_OR_TRACED 0xc
#define IHO_TASK_DEAD		   0x80

/* KVM_EXIT_INTR of linux/kvm.h: also what a KVM_RUN that fails with EINTR is counted as. */
#define IHO_KVM_EXIT_INTR 10
#define IHO_EINTR	  4

#define IHO_BARRIER() __asm__ volatile("" ::: "memory")

/* x86 keeps the order of stores, so the compiler is the only one to be held back. */
IHO_INLINE void iho_write_begin(struct iho_slot *s)
{
	*(volatile __u64 *)&s->seq = s->seq + 1;
	IHO_BARRIER();
}

IHO_INLINE void iho_write_end(struct iho_slot *s)
{
	IHO_BARRIER();
	*(volatile __u64 *)&s->seq = s->seq + 1;
}

IHO_INLINE __u32 iho_log2(__u64 v)
{
	__u32 r = 0;

	if (v >> 32) {
		v >>= 32;
		r += 32;
	}
	if (v >> 16) {
		v >>= 16;
		r += 16;
	}
	if (v >> 8) {
		v >>= 8;
		r += 8;
	}
	if (v >> 4) {
		v >>= 4;
		r += 4;
	}
	if (v >> 2) {
		v >>= 2;
		r += 2;
	}
	return r + (__u32)(v >> 1);
}

IHO_INLINE __u32 iho_hist_bucket(__u64 ns)
{
	__u32 log, bucket;

	if (ns < (1ULL << IHO_HIST_MIN_SHIFT))
		return 0;
	log = iho_log2(ns);
	/* the two bits below the leading one choose among the four buckets of this power of two */
	bucket = (log - IHO_HIST_MIN_SHIFT) * IHO_HIST_SUB +
		 ((ns >> (log - 2)) & (IHO_HIST_SUB - 1));
	return bucket < IHO_HIST_BUCKETS ? bucket : IHO_HIST_BUCKETS - 1;
}

/* Bills the time since the last event to the state that ends, up to `now`. */
IHO_INLINE void iho_account(struct iho_slot *s, __u64 now)
{
	struct iho_core *c = &s->core;
	__u64 ns = now - c->since_ns;
	__u32 st = c->state;

	if ((__s64)ns < 0) { /* bill nothing, and wait until the clock has caught up */
		s->clock_back++;
		return;
	}
	c->since_ns = now;
	if (st >= IHO_ST_MAX)
		return;
	c->time_ns[st] += ns;
	if (st == IHO_ST_KVM) {
		s->cur_kvm_ns += ns;
		s->cur_work_ns += ns;
	} else if (st == IHO_ST_QEMU || st == IHO_ST_QEMU_ASLEEP) {
		s->cur_work_ns += ns;
		s->cur_user_ns += ns;
	}
}

/* Time held back at a block turned out to be ordinary KVM time. */
IHO_INLINE void iho_flush_pending(struct iho_slot *s)
{
	__u64 ns = s->core.pend_ns;

	s->block_ns = 0;
	if (!ns)
		return;
	s->core.pend_ns = 0;
	if (s->entry_seen) {
		s->core.time_ns[IHO_ST_KVM] += ns;
		s->cur_kvm_ns += ns;
		s->cur_work_ns += ns;
	} else {
		s->core.time_ns[IHO_ST_GUEST_OR_KVM] += ns;
	}
}

/* ---- exit reasons ---- */

/*
 * Where a code is looked up first. VMX basic reasons are small numbers; SVM has intercepts below
 * 0xc0 and NPF/AVIC/VMGEXIT from 0x400 on. Anything else is searched for.
 */
IHO_INLINE __u32 iho_exit_bucket(__u32 isa, __u32 code)
{
	if (code < 0xc0)
		return code;
	if (isa == IHO_ISA_SVM && (code & ~0x3fu) == 0x400)
		return 0xc0 + (code & 0x3f);
	return 256;
}

/* The first time a code is seen, or one without a bucket. Returns index + 1. */
IHO_NOINLINE __u32 iho_exit_add(struct iho_slot *s, __u32 isa, __u32 code)
{
	__u32 bucket = iho_exit_bucket(isa, code);
	__u32 i, n = s->n_exits;

	for (i = 0; i < IHO_EXITS - 1; i++) {
		if (i >= n)
			break;
		if (s->exits[i].code == code && s->exits[i].isa == isa)
			return i + 1;
	}
	if (i == IHO_EXITS - 1) {
		s->exit_overflow++;
		s->exits[i].code = IHO_CODE_OVERFLOW;
		s->exits[i].isa = isa;
		s->n_exits = IHO_EXITS;
		return IHO_EXITS;
	}
	s->exits[i].code = code;
	s->exits[i].isa = isa;
	IHO_BARRIER();
	s->n_exits = i + 1;
	if (bucket < 256)
		s->exit_idx[bucket] = i + 1;
	return i + 1;
}

IHO_INLINE struct iho_exit *iho_cur_exit(struct iho_slot *s)
{
	__u32 i = s->cur_exit;

	/* a mask, because the verifier follows it through any code that the compiler makes of it */
	return i ? &s->exits[(i - 1) & (IHO_EXITS - 1)] : NULL;
}

IHO_NOINLINE __u32 iho_user_exit_find(struct iho_slot *s, __u32 code)
{
	__u32 i, n = s->n_user_exits;

	for (i = 0; i < IHO_USER_EXITS - 1; i++) {
		if (i >= n)
			break;
		if (s->user_exits[i].code == code)
			return i + 1;
	}
	if (i == IHO_USER_EXITS - 1) {
		s->user_overflow++;
		s->user_exits[i].code = IHO_CODE_OVERFLOW;
		s->n_user_exits = IHO_USER_EXITS;
		return IHO_USER_EXITS;
	}
	s->user_exits[i].code = code;
	IHO_BARRIER();
	s->n_user_exits = i + 1;
	return i + 1;
}

/* ---- kvm events ---- */

/* KVM_RUN was called: the VMM's turn is over. */
IHO_INLINE void iho_user_exit_end(struct iho_slot *s)
{
	__u32 i = s->cur_user;

	if (i) {
		struct iho_user_exit *u = &s->user_exits[(i - 1) & (IHO_USER_EXITS - 1)];

		u->time_ns += s->cur_user_ns;
		if (s->cur_user_ns > u->max_ns)
			u->max_ns = s->cur_user_ns;
	}
	s->cur_user = 0;
	s->cur_user_ns = 0;
}

IHO_INLINE void iho_on_run(struct iho_slot *s, __u64 now)
{
	iho_write_begin(s);
	iho_account(s, now);
	iho_user_exit_end(s);
	s->core.state = s->entry_seen ? IHO_ST_KVM : IHO_ST_GUEST_OR_KVM;
	iho_write_end(s);
}

/*
 * The first sign that this host tells guest from KVM. What was undivided so far ends here: with an
 * entry it was KVM on its way in, with an exit it was the guest.
 */
IHO_INLINE void iho_entry_seen(struct iho_slot *s, enum iho_state was)
{
	if (s->entry_seen)
		return;
	s->entry_seen = 1;
	s->core.time_ns[was] += s->core.time_ns[IHO_ST_GUEST_OR_KVM];
	s->core.time_ns[IHO_ST_GUEST_OR_KVM] = 0;
}

IHO_INLINE void iho_on_entry(struct iho_slot *s, __u64 now)
{
	struct iho_exit *e;

	iho_write_begin(s);
	iho_account(s, now);
	iho_entry_seen(s, IHO_ST_KVM);
	iho_flush_pending(s);
	if (s->core.state == IHO_ST_GUEST && !s->guessed)
		s->unpaired_entries++;
	s->guessed = 0;
	if (s->cur_user)
		iho_user_exit_end(s);
	e = iho_cur_exit(s);
	if (e) {
		__u64 work = s->cur_work_ns;
		__u32 b = iho_hist_bucket(work);

		e->time_ns += work;
		e->kvm_ns += s->cur_kvm_ns;
		if (work > e->max_ns)
			e->max_ns = work;
		if (b < IHO_HIST_BUCKETS)
			e->hist[b]++;
		s->cur_exit = 0;
	}
	s->cur_kvm_ns = 0;
	s->cur_work_ns = 0;
	s->core.state = IHO_ST_GUEST;
	iho_write_end(s);
}

IHO_INLINE void iho_on_exit(struct iho_slot *s, __u64 now, __u32 isa, __u32 code)
{
	__u32 bucket = iho_exit_bucket(isa, code), i = 0;
	struct iho_exit *e;

	iho_write_begin(s);
	iho_account(s, now);
	iho_entry_seen(s, IHO_ST_GUEST);
	iho_flush_pending(s);
	/* An entry was lost; the exit before stays counted, its duration is unknown. */
	if (s->cur_exit || (s->core.state == IHO_ST_KVM && !s->guessed))
		s->unpaired_exits++;
	s->guessed = 0;
	if (bucket < 256)
		i = s->exit_idx[bucket];
	if (!i)
		i = iho_exit_add(s, isa, code);
	s->cur_exit = i;
	s->cur_kvm_ns = 0;
	s->cur_work_ns = 0;
	e = iho_cur_exit(s);
	if (e)
		e->count++;
	s->core.state = IHO_ST_KVM;
	iho_write_end(s);
}

IHO_INLINE void iho_on_userspace_exit(struct iho_slot *s, __u64 now, __u32 reason, __s32 err)
{
	__u32 code = reason;
	__u32 i;

	if (err == -IHO_EINTR)
		code = IHO_KVM_EXIT_INTR;
	else if (err < 0)
		code = IHO_USER_ERROR | (__u32)-err;

	iho_write_begin(s);
	iho_account(s, now);
	iho_flush_pending(s);
	iho_user_exit_end(s);
	i = iho_user_exit_find(s, code);
	s->user_exits[(i - 1) & (IHO_USER_EXITS - 1)].count++;
	s->cur_user = i;
	s->core.state = IHO_ST_QEMU;
	iho_write_end(s);
}

/* KVM changes how long it polls; this comes inside a halt that still went by the old limit. */
IHO_INLINE void iho_on_halt_poll_ns(struct iho_slot *s, __u32 new_ns, __u32 old_ns)
{
	s->poll_limit_ns = old_ns;
	s->poll_next_ns = new_ns;
}

/*
 * A halt is over. `halt_ns` is how long it took, polling and blocking; `waited` says whether it
 * blocked at all (kvm_vcpu_halt() of virt/kvm/kvm_main.c). Polling is what lies before the block.
 */
IHO_INLINE void iho_on_vcpu_wakeup(struct iho_slot *s, __u64 now, __u64 halt_ns, __u32 waited)
{
	__u32 busy = s->entry_seen ? IHO_ST_KVM : IHO_ST_GUEST_OR_KVM;
	__u64 start = now - halt_ns, poll_ns = 0, here = 0;

	iho_write_begin(s);
	s->halts++;
	if (!waited) {
		s->halts_polled++;
		poll_ns = halt_ns;
	} else if (s->poll_limit_ns && s->block_ns > start) {
		poll_ns = s->block_ns - start;
	}
	s->poll_limit_ns = s->poll_next_ns;

	/* First out of what was held back at the block, then out of the interval that runs. */
	if (s->core.pend_ns) {
		__u64 held = s->core.pend_ns < poll_ns ? s->core.pend_ns : poll_ns;

		s->core.time_ns[IHO_ST_HALT_POLL] += held;
		s->core.pend_ns -= held;
		poll_ns -= held;
	}
	if (poll_ns && !waited && s->core.state == busy && now > s->core.since_ns) {
		here = now - s->core.since_ns;
		if (here > poll_ns)
			here = poll_ns;
		iho_account(s, now - here);
		s->core.time_ns[IHO_ST_HALT_POLL] += here;
		s->core.since_ns = now;
	} else {
		iho_account(s, now);
	}
	iho_flush_pending(s);
	iho_write_end(s);
}

/* ---- scheduler events ---- */

/* Adds a waiting vCPU to the list of a CPU whose run-queue lock is held. Returns 0, or -1: full. */
IHO_INLINE int iho_wait_begin(struct iho_cpu *c, __u32 cpu, struct iho_slot *s, __u32 idx,
			      __u64 now)
{
	s->wait_since_ns = now;
	for (__u32 i = 0; i < IHO_WAITERS; i++) {
		if (c->waiter[i])
			continue;
		c->waiter[i] = idx + 1;
		c->n_waiters++;
		s->wait_cpu = cpu + 1;
		return 0;
	}
	c->loss[IHO_LOSS_WAITERS]++;
	return -1;
}

IHO_INLINE void iho_wait_end(struct iho_cpu *c, struct iho_slot *s, __u32 idx)
{
	for (__u32 i = 0; i < IHO_WAITERS; i++) {
		if (c->waiter[i] != idx + 1)
			continue;
		c->waiter[i] = 0;
		c->n_waiters--;
	}
	s->wait_cpu = 0;
}

/* `tid` ran for `ns` while the vCPU waited. A full table gives up its smallest entry, counted. */
IHO_NOINLINE int iho_charge_task(struct iho_slot *s, __u32 tid, const char *comm, __u64 ns)
{
	struct iho_task *min = NULL;
	__u64 min_ns = ~0ULL;

	if (!s || !comm)
		return 0;
	for (__u32 i = 0; i < IHO_TASKS; i++) {
		struct iho_task *t = &s->interlopers[i];

		if (!t->used) {
			min = t;
			break;
		}
		if (t->tid == tid) {
			t->ns += ns;
			t->count++;
			return 0;
		}
		if (t->ns < min_ns) {
			min_ns = t->ns;
			min = t;
		}
	}
	if (!min)
		return 0;
	if (min->used) {
		s->task_evicted++;
		s->task_evicted_ns += min->ns;
		s->task_evicted_times += min->count;
	}
	min->tid = tid;
	for (int i = 0; i < IHO_COMM; i++)
		min->comm[i] = comm[i];
	min->ns = ns;
	min->count = 1;
	min->used = 1;
	return 0;
}

/* `tid` leaves the CPU: every vCPU that waits there is told who had it since the last switch. */
IHO_INLINE void iho_charge_waiters(struct iho_cpu *c, __u32 tid, const char *comm, __u64 now)
{
	for (__u32 i = 0; i < IHO_WAITERS; i++) {
		__u32 w = c->waiter[i];
		struct iho_slot *s;
		__u64 from;

		if (!w)
			continue;
		s = iho_slot_at(w - 1);
		if (!s)
			continue;
		from = s->wait_since_ns > c->switch_ns ? s->wait_since_ns : c->switch_ns;
		if (now > from)
			iho_charge_task(s, tid, comm, now - from);
	}
	c->switch_ns = now;
}

/* The vCPU's thread leaves its core. Returns 1 if it still wants it (it was preempted). */
IHO_INLINE int iho_on_sched_out(struct iho_slot *s, __u64 now, int preempted, __u32 prev_state)
{
	struct iho_core *c = &s->core;
	int wants = 0;

	iho_write_begin(s);
	/*
	 * KVM time right before a block may turn out to be halt polling. Hold it back until the
	 * wake-up tells; billing it twice or taking it back would make a counter run backwards.
	 */
	if (!preempted && prev_state == IHO_TASK_INTERRUPTIBLE && !s->block_ns &&
	    (c->state == IHO_ST_KVM || c->state == IHO_ST_GUEST_OR_KVM) && now > c->since_ns) {
		c->pend_ns += now - c->since_ns;
		c->since_ns = now;
		s->block_ns = now;
	} else {
		iho_account(s, now);
	}
	if (c->state < IHO_ST_HALT_POLL && c->state != IHO_ST_QEMU_ASLEEP)
		c->resume = c->state;
	if (preempted || prev_state == 0) {
		c->state = IHO_ST_PREEMPTED;
		s->preemptions++;
		wants = 1;
	} else if (prev_state & IHO_TASK_DEAD) {
		s->gone_ns = now;
		c->state = IHO_ST_UNKNOWN;
		IHO_BARRIER();
		s->life = IHO_GONE;
	} else if (prev_state & IHO_TASK_STOPPED_OR_TRACED) {
		c->state = IHO_ST_STOPPED;
	} else if (c->resume == IHO_ST_QEMU) {
		c->state = IHO_ST_QEMU_ASLEEP;
	} else if (c->resume == IHO_ST_UNKNOWN) {
		c->state = IHO_ST_UNKNOWN;
	} else if (prev_state & IHO_TASK_INTERRUPTIBLE) {
		/* kvm_vcpu_block() sleeps interruptibly; pages and locks do not */
		c->state = IHO_ST_HALTED;
	} else {
		c->state = IHO_ST_BLOCKED;
	}
	iho_write_end(s);
	return wants;
}

/*
 * A waker made the thread runnable on the CPU of `c`. It may be any CPU, so nothing of `core`
 * changes here: the time of the wake-up is kept, and iho_on_sched_in() splits the sleep there.
 */
IHO_INLINE void iho_on_wakeup(struct iho_slot *s, __u64 now, struct iho_cpu *c, __u32 cpu,
			      __u32 idx)
{
	__u32 st = s->core.state;

	*(volatile __u64 *)&s->wake_ns = now;
	/* Woken before it slept: it still runs, or is listed already. */
	if (s->wait_cpu || !(st == IHO_ST_HALTED || st == IHO_ST_BLOCKED || st == IHO_ST_STOPPED ||
			     st == IHO_ST_QEMU_ASLEEP))
		return;
	iho_wait_begin(c, cpu, s, idx, now);
}

IHO_INLINE void iho_on_sched_in(struct iho_slot *s, __u64 now, __u32 cpu)
{
	struct iho_core *c = &s->core;
	__u64 wake = *(volatile __u64 *)&s->wake_ns;

	iho_write_begin(s);
	s->switches++;
	s->cpu = cpu;
	if (c->state == IHO_ST_PREEMPTED) {
		iho_account(s, now);
	} else {
		if (wake > c->since_ns && wake <= now) {
			iho_account(s, wake);
			c->state = IHO_ST_RUNNABLE;
		}
		iho_account(s, now);
	}
	c->state = c->resume;
	iho_write_end(s);
}

/*
 * An event of the vCPU's own thread while it is billed as not running: the switch was not reported
 * (some kernels emit none when the idle task hands over). It counts as switched in now. If it is
 * so billed since its slot was taken, no switch is missing: it came in while it was looked at.
 */
IHO_INLINE void iho_found_running(struct iho_slot *s, __u64 now, __u32 cpu)
{
	__u32 st = s->core.state;

	if (st <= IHO_ST_QEMU || st == IHO_ST_HALT_POLL)
		return;
	if (!s->guessed || s->core.since_ns != s->core.first_ns)
		s->missed_switches++;
	iho_on_sched_in(s, now, cpu);
}

/* ---- interrupt events ---- */

/* An interrupt or softirq took `ns` of the core while the vCPU's thread owned it. */
IHO_INLINE void iho_charge_hardirq(struct iho_slot *s, __u32 nr, __u64 ns)
{
	for (__u32 i = 0; i < IHO_HARDIRQS; i++) {
		struct iho_irq *q = &s->hardirq[i];

		if (q->used && q->nr != nr)
			continue;
		q->nr = nr;
		q->used = 1;
		q->ns += ns;
		q->count++;
		return;
	}
	s->irq_overflow++;
}

IHO_INLINE void iho_charge_softirq(struct iho_slot *s, __u32 nr, __u64 ns)
{
	struct iho_irq *q;

	if (nr >= IHO_SOFTIRQS) {
		s->irq_overflow++;
		return;
	}
	q = &s->softirq[nr];
	q->nr = nr;
	q->used = 1;
	q->ns += ns;
	q->count++;
}

/* ---- drill-down ---- */

/* The kind is in the highest byte: it is folded down, or the product's bits 40-47 miss it. */
IHO_INLINE __u32 iho_hash(__u64 key)
{
	key ^= key >> 32;
	return (__u32)((key * 0x9e3779b97f4a7c15ULL) >> 40);
}

/* No place is free: a rare neighbour gives up his, or the event stays without a row. */
IHO_NOINLINE int iho_drill_replace(struct iho_slot *s, __u64 key)
{
	__u32 h = iho_hash(key), kind = IHO_DRILL_KIND(key);
	struct iho_drill *min = NULL;
	__u64 min_count = IHO_DRILL_RARE + 1;

	for (__u32 i = 0; i < IHO_DRILL_PROBES; i++) {
		struct iho_drill *d = &s->drill[(h + i) & (IHO_DRILLS - 1)];

		if (d->count >= min_count)
			continue;
		min = d;
		min_count = d->count;
	}
	if (min) {
		kind = IHO_DRILL_KIND(min->key);
		*(volatile __u64 *)&min->key = 0;
		IHO_BARRIER();
		min->count = 1;
		IHO_BARRIER();
		min->key = key;
	} else {
		min_count = 1;
	}
	if (kind < IHO_DRILL_MAX)
		s->drill_overflow[kind] += min_count;
	return 0;
}

IHO_INLINE void iho_drill_add(struct iho_slot *s, __u32 kind, __u64 value)
{
	__u64 key = IHO_DRILL_KEY(kind, value);
	__u32 h = iho_hash(key);

	for (__u32 i = 0; i < IHO_DRILL_PROBES; i++) {
		struct iho_drill *d = &s->drill[(h + i) & (IHO_DRILLS - 1)];

		if (d->key == key) {
			d->count++;
			return;
		}
		if (!d->key) {
			d->count = 1;
			IHO_BARRIER();
			d->key = key;
			return;
		}
	}
	iho_drill_replace(s, key);
}

/*
 * Linux looks for hypervisors at CPUID 0x40000000 and every 0x100 after it, up to 0x4000ff00: 256
 * leaves, several times in each boot. Where none is in practice, they count as one: the first.
 */
IHO_INLINE __u32 iho_cpuid_leaf(__u32 leaf)
{
	return leaf >= IHO_CPUID_SCAN && leaf <= 0x4000ff00 && !(leaf & 0xff) ? IHO_CPUID_SCAN
									      : leaf;
}

/* ---- direct mode ---- */

IHO_INLINE void iho_on_direct_vcpu(struct iho_slot *s, __u32 modes, __u32 missing)
{
	iho_write_begin(s);
	s->direct.modes = modes;
	s->direct.missing = missing;
	iho_write_end(s);
}

/*
 * Which of the timer's interrupts came without an exit. A vCPU has one deadline at a time, so each
 * that was written without an exit makes one interrupt at most. Those that KVM took over (given,
 * and not taken back) come from its own timer, with an exit; those that it found fired outside the
 * guest (recovered) need none of their own; of the rest, no more than such deadlines came without.
 * What was counted beyond all these is of deadlines that were written with an exit. Between two
 * traces one may be pending with each side, and no more: those that the guest replaced are not
 * carried on.
 */
IHO_INLINE void iho_direct_deliver(struct iho_direct *d, const __u64 grown[IHO_DIRECT_MAX])
{
	__u64 armed = d->armed + grown[IHO_DIRECT_DEADLINES] + grown[IHO_DIRECT_TAKEN];
	__u64 others = grown[IHO_DIRECT_GIVEN] + grown[IHO_DIRECT_RECOVERED];
	__u64 left = d->left + grown[IHO_DIRECT_GIVEN], taken = grown[IHO_DIRECT_TAKEN];
	__u64 posted = d->posted + grown[IHO_DIRECT_RECOVERED];
	__u64 fired = grown[IHO_DIRECT_FIRED], n;

	left = left > taken ? left - taken : 0;
	n = fired < left ? fired : left;
	d->with_exit += n;
	d->left = left > n;
	fired -= n;

	armed = armed > others ? armed - others : 0;
	n = fired < armed ? fired : armed;
	d->without_exit += n;
	d->armed = armed > n;
	fired -= n;

	n = fired < posted ? fired : posted;
	d->posted = posted > n;
	d->with_exit += fired - n;
}

/*
 * IPIs that were posted and made no exit. KVM counts the exit of one that did after it was traced,
 * so that it may be of one that was counted before.
 */
IHO_INLINE void iho_direct_send(struct iho_direct *d, const __u64 grown[IHO_DIRECT_MAX])
{
	__u64 posted = grown[IHO_DIRECT_IPIS_POSTED];
	__u64 kicked = d->ipis_kicked + grown[IHO_DIRECT_IPIS_KICKED];
	__u64 n = kicked < posted ? kicked : posted;

	d->ipis_kicked = kicked - n;
	d->ipis_without_exit += posted - n;
}

/*
 * A vCPU's counters, as KVM and the guest have them. The first are where counting starts. One that
 * went back started again (the guest's module was loaded anew), or is nonsense: it counts from
 * there. One that grew faster than it can is nonsense. Times are no more than have passed.
 */
IHO_INLINE void iho_on_direct_stat(struct iho_slot *s, __u64 now, __u32 modes, __u32 missing,
				   const __u64 counter[IHO_DIRECT_MAX], __u64 updated_ns)
{
	struct iho_direct *d = &s->direct;
	__u64 grown[IHO_DIRECT_MAX], most, ns;
	__u32 refused = 0, st = s->core.state;

	if (d->first_ns && now < d->at_ns) {
		s->clock_back++;
		return;
	}
	iho_write_begin(s);
	d->modes = modes;
	d->missing = missing;
	for (__u32 i = 0; i < IHO_DIRECT_MAX; i++) {
		grown[i] = 0;
		if (d->first_ns && counter[i] < d->last[i])
			refused = 1;
		else if (d->first_ns)
			grown[i] = counter[i] - d->last[i];
		d->last[i] = counter[i];
		most = (now - d->at_ns) / IHO_DIRECT_LEAST_NS;
		if (i >= IHO_DIRECT_IDLE_NS) {
			most = now - d->first_ns - d->total[i];
			grown[i] = grown[i] < most ? grown[i] : most;
		} else if (grown[i] > most) {
			grown[i] = 0;
			refused = 1;
		}
		d->total[i] += grown[i];
	}
	iho_direct_deliver(d, grown);
	iho_direct_send(d, grown);
	d->refused += refused;
	d->updated_ns = updated_ns;
	d->at_ns = now;
	if (!d->first_ns)
		d->first_ns = now;
	for (__u32 i = 0; i < IHO_ST_MAX; i++)
		d->time_ns[i] = s->core.time_ns[i];
	ns = now - s->core.since_ns;
	if (st < IHO_ST_MAX && (__s64)ns > 0)
		d->time_ns[st] += ns;
	iho_write_end(s);
}

#endif /* IHO_STATE_H */
