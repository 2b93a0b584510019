// SPDX-License-Identifier: GPL-2.0-or-later
/* From two hand-made snapshots to a report. The names are the built-in ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../bpf/iho.h"
#include "../../userspace/lib/build.h"

#define N_SLOTS 8

static inline struct iho_slot *iho_slot_at(__u32 index)
{
	(void)index;
	return NULL;
}

/* Only for its buckets: what the writer and the reader of a histogram must agree upon. */
#include "../../bpf/state.h"

#define FIRST 1000000ULL
#define START 777 /* of the process */
#define PID   4242

static struct iho_names *names;
static struct iho_snapshot *prev, *now;
static struct iho_vm_entry vm_entries[4];
static struct iho_vcpu_entry vcpu_entries[N_SLOTS];
static struct iho_directory dir;
static struct iho_arena arena;
static struct iho_report report;

static void irq_name(void *arg, unsigned int nr, char *buf, size_t len)
{
	assert_ptr_equal(arg, &dir);
	snprintf(buf, len, "line %u", nr);
}

static void add_vm_entry(pid_t pid, uint64_t key, unsigned int nth, const char *name)
{
	struct iho_vm_entry *e = &vm_entries[dir.n_vms++];

	e->pid = pid;
	e->start_ns = START;
	e->key = key;
	e->nth = nth;
	e->id.vmm = "qemu";
	snprintf(e->id.name, sizeof(e->id.name), "%s", name);
}

static int setup(void **state)
{
	(void)state;
	prev = iho_snapshot_new(N_SLOTS);
	now = iho_snapshot_new(N_SLOTS);
	if (!prev || !now || iho_names_open(&names, NULL))
		return -1;
	prev->now_ns = FIRST + 1000000;
	now->now_ns = FIRST + 2000000;
	memset(vm_entries, 0, sizeof(vm_entries));
	memset(vcpu_entries, 0, sizeof(vcpu_entries));
	memset(&dir, 0, sizeof(dir));
	memset(&report, 0xff, sizeof(report)); /* a report is built over an old one */
	dir.vm = vm_entries;
	dir.vcpu = vcpu_entries;
	dir.names = names;
	dir.irq_name = irq_name;
	dir.irq_arg = &dir;
	dir.vendor_module = "kvm_intel";
	dir.apicv_param = 1;
	dir.hw = true;
	add_vm_entry(PID, 1, 0, "vm");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	iho_snapshot_free(prev);
	iho_snapshot_free(now);
	iho_names_close(names);
	iho_arena_free(&arena);
	return 0;
}

/* vCPU `id` of VM 1 in slot `i`, running its guest since FIRST. */
static struct iho_slot *add_vcpu(struct iho_snapshot *snap, unsigned int i, int id)
{
	struct iho_snap_vcpu *v = &snap->vcpu[i];
	struct iho_slot *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	assert_false(v->used);
	v->slot = s;
	v->used = true;
	v->now_ns = snap->now_ns;
	v->state = IHO_ST_GUEST;
	snap->n_used++;
	s->life = IHO_LIVE;
	s->tgid = PID;
	s->process_start_ns = START;
	s->vm_key = 1;
	s->vcpu_id = id;
	s->tid = 5000 + i;
	s->start_ns = 900 + i;
	s->entry_seen = 1;
	s->core.first_ns = FIRST;
	return s;
}

static void add_exit(struct iho_slot *s, uint32_t isa, uint32_t code, uint64_t count)
{
	struct iho_exit *e = &s->exits[s->n_exits++];

	e->code = code;
	e->isa = isa;
	e->count = count;
}

static void finish_exit(struct iho_exit *e, uint64_t ns)
{
	e->time_ns += ns;
	if (ns > e->max_ns)
		e->max_ns = ns;
	e->hist[iho_hist_bucket(ns)]++;
}

static void add_user_exit(struct iho_slot *s, uint32_t code, uint64_t count, uint64_t time_ns,
			  uint64_t max_ns)
{
	s->user_exits[s->n_user_exits++] = (struct iho_user_exit){
		.code = code, .count = count, .time_ns = time_ns, .max_ns = max_ns
	};
}

static void build(const struct iho_snapshot *before)
{
	iho_arena_reset(&arena);
	assert_int_equal(iho_report_build(&report, &arena, before, now, &dir), 0);
}

static const struct iho_vcpu *only_vcpu(void)
{
	assert_int_equal(report.n_vms, 1);
	assert_int_equal(report.vms[0].n_vcpus, 1);
	return &report.vms[0].vcpus[0];
}

/* ---- quantiles ---- */

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The true quantile: the smallest value that so many thousandths of the values do not exceed. */
static uint64_t true_quantile(const uint64_t *sorted, size_t n, unsigned int per_mille)
{
	size_t rank = (n * per_mille + 999) / 1000;

	return sorted[rank ? rank - 1 : 0];
}

static void check_quantiles(uint64_t *values, size_t n)
{
	static const unsigned int wanted[] = { 0, 1, 10, 100, 250, 500, 750, 900, 990, 999, 1000 };
	uint64_t hist[IHO_HIST_BUCKETS] = {}, max = 0;

	qsort(values, n, sizeof(values[0]), by_value);
	for (size_t i = 0; i < n; i++) {
		hist[iho_hist_bucket(values[i])]++;
		max = values[i] > max ? values[i] : max;
	}
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		uint64_t truth = true_quantile(values, n, wanted[i]);
		uint64_t got = iho_hist_quantile(hist, max, wanted[i]);
		uint64_t off = got > truth ? got - truth : truth - got;

		if (8 * off > truth)
			fail_msg("p%u/1000: %llu, not %llu", wanted[i], (unsigned long long)got,
				 (unsigned long long)truth);
		assert_true(got <= max);
	}
}

static void test_quantiles_uniform(void **state)
{
	static const uint64_t upto[] = { 10, 100, 1000, 100000, 10000000 };
	static uint64_t values[20000];
	uint64_t seed = 1;

	(void)state;
	for (size_t k = 0; k < sizeof(upto) / sizeof(upto[0]); k++) {
		for (size_t i = 0; i < 20000; i++) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			values[i] = 32 + (seed >> 20) % upto[k];
		}
		check_quantiles(values, 20000);
	}
	for (size_t i = 0; i < 20000; i++)
		values[i] = 1000 + i;
	check_quantiles(values, 20000);
}

static void test_quantiles_two_points(void **state)
{
	static const unsigned int slow[] = { 1, 10, 11, 100, 499, 500, 501, 990 }; /* of 1000 */
	uint64_t values[1000];

	(void)state;
	for (size_t k = 0; k < sizeof(slow) / sizeof(slow[0]); k++) {
		for (size_t i = 0; i < 1000; i++)
			values[i] = i < slow[k] ? 1000000 : 1300;
		check_quantiles(values, 1000);
	}
}

static void test_quantiles_powers(void **state)
{
	uint64_t values[28 * 8];
	size_t n = 0;

	(void)state;
	for (unsigned int bit = 5; bit < 33; bit++)
		values[n++] = 1ULL << bit;
	check_quantiles(values, n);
	/* each side of each power */
	n = 0;
	for (unsigned int bit = 6; bit < 33; bit++) {
		values[n++] = (1ULL << bit) - 1;
		values[n++] = 1ULL << bit;
		values[n++] = (1ULL << bit) + 1;
		values[n++] = 3ULL << (bit - 1);
	}
	check_quantiles(values, n);
	/* one value alone, wherever it lies; it is its own maximum */
	for (uint64_t ns = 32; ns < 1ULL << 36; ns += 1 + ns / 7) {
		values[0] = ns;
		check_quantiles(values, 1);
	}
}

static void test_quantile_edges(void **state)
{
	uint64_t hist[IHO_HIST_BUCKETS] = {};

	(void)state;
	assert_int_equal(iho_hist_quantile(hist, 0, 500), 0);
	assert_int_equal(iho_hist_quantile(hist, 12345, 990), 0);
	/* below 32 ns nothing is told apart, but the maximum still holds */
	hist[0] = 10;
	assert_int_equal(iho_hist_quantile(hist, 7, 500), 7);
	assert_int_equal(iho_hist_quantile(hist, 0, 500), 0);
	assert_in_range(iho_hist_quantile(hist, 39, 500), 32, 39);
	/* the last bucket has no end: its values are the maximum */
	memset(hist, 0, sizeof(hist));
	hist[IHO_HIST_BUCKETS - 1] = 3;
	assert_int_equal(iho_hist_quantile(hist, 99ULL << 33, 500), 99ULL << 33);
	hist[20] = 97; /* 1024..1279 */
	assert_in_range(iho_hist_quantile(hist, 99ULL << 33, 970), 1024, 1279);
	assert_int_equal(iho_hist_quantile(hist, 99ULL << 33, 971), 99ULL << 33);
	assert_in_range(iho_hist_quantile(hist, 99ULL << 33, 0), 1024, 1279);
	/* a bucket's middle is beyond the largest value in it */
	memset(hist, 0, sizeof(hist));
	hist[20] = 1;
	assert_int_equal(iho_hist_quantile(hist, 1030, 990), 1030);
	/* numbers of a year at 100000 exits a second */
	hist[20] = hist[40] = 1ULL << 42;
	assert_in_range(iho_hist_quantile(hist, 1ULL << 20, 500), 1024, 1279);
	assert_in_range(iho_hist_quantile(hist, 1ULL << 20, 501), 32768, 40959);
}

/* ---- rows ---- */

static void test_exit_rows(void **state)
{
	static uint64_t values[3000];
	struct iho_slot *s = add_vcpu(now, 0, 0), *p = add_vcpu(prev, 0, 0);
	const struct iho_exit_row *row;
	const struct iho_vcpu *v;
	uint64_t sum = 0;

	(void)state;
	add_exit(p, IHO_ISA_VMX, 12, 5);
	p->exits[0].time_ns = 700;
	add_exit(s, IHO_ISA_VMX, 12, 7);
	s->exits[0].time_ns = 1000;
	s->exits[0].kvm_ns = 900;
	s->exits[0].max_ns = 600;
	s->exits[0].hist[iho_hist_bucket(400)] = 1;
	s->exits[0].hist[iho_hist_bucket(600)] = 1;
	/* a reason that is new, with a known distribution; one exit is not finished */
	add_exit(s, IHO_ISA_VMX, 30, 3001);
	for (size_t i = 0; i < 3000; i++) {
		values[i] = 500 + i * i;
		finish_exit(&s->exits[1], values[i]);
		sum += values[i];
	}
	add_exit(s, IHO_ISA_VMX, IHO_CODE_OVERFLOW, 2);
	build(prev);

	v = only_vcpu();
	assert_int_equal(v->exit_rows.n, 3);
	assert_int_equal(v->exits, 3010);
	assert_int_equal(v->exits_delta, 3005);
	row = &v->exit_rows.v[0];
	assert_int_equal(row->code, 30);
	assert_int_equal(row->isa, IHO_ISA_VMX);
	assert_string_equal(row->reason, "IO_INSTRUCTION");
	assert_int_equal(row->total, 3001);
	assert_int_equal(row->delta, 3001);
	assert_int_equal(row->time_ns, sum);
	assert_int_equal(row->time_delta_ns, sum);
	assert_int_equal(row->mean_ns, sum / 3000);
	assert_int_equal(row->max_ns, values[2999]);
	assert_in_range(row->p50_ns, values[1499] * 7 / 8, values[1499] * 9 / 8);
	assert_in_range(row->p99_ns, values[2969] * 7 / 8, values[2969] * 9 / 8);
	row = &v->exit_rows.v[1];
	assert_string_equal(row->reason, "HLT");
	assert_int_equal(row->total, 7);
	assert_int_equal(row->delta, 2);
	assert_int_equal(row->time_ns, 1000);
	assert_int_equal(row->time_delta_ns, 300);
	assert_int_equal(row->kvm_ns, 900);
	assert_int_equal(row->mean_ns, 500); /* two are finished */
	assert_int_equal(row->max_ns, 600);
	row = &v->exit_rows.v[2];
	assert_string_equal(row->reason, "(other reasons)");
	assert_int_equal(row->total, 2);
	assert_int_equal(row->mean_ns, 0);
	assert_int_equal(row->p50_ns, 0);
}

/* By total, then by code. Codes use all their bits. */
static void test_exit_rows_sorted(void **state)
{
	static const struct {
		uint32_t code;
		uint64_t total;
	} in[] = {
		{ 0x80000021, 5 },  { 48, 5 },	       { 1, 5 },
		{ 0xffffffff, 5 },  { 10, 9 },	       { 0x7fffffff, 5 },
		{ 12, 1ULL << 40 }, { 0x80000001, 5 }, { 0, 4 },
	};
	static const uint32_t out[] = {
		12, 10, 1, 48, 0x7fffffff, 0x80000001, 0x80000021, 0xffffffff, 0,
	};
	struct iho_slot *s = add_vcpu(now, 0, 0);

	(void)state;
	for (size_t i = 0; i < 9; i++)
		add_exit(s, IHO_ISA_VMX, in[i].code, in[i].total);
	build(NULL);
	assert_int_equal(only_vcpu()->exit_rows.n, 9);
	assert_int_equal(report.vms[0].exit_rows.n, 9);
	for (size_t i = 0; i < 9; i++) {
		assert_int_equal(only_vcpu()->exit_rows.v[i].code, out[i]);
		assert_int_equal(report.vms[0].exit_rows.v[i].code, out[i]);
	}
}

static void test_user_rows_sorted(void **state)
{
	static const uint32_t out[] = {
		KVM_EXIT_MMIO,		 KVM_EXIT_IO, KVM_EXIT_HLT,
		IHO_USER_ERROR | EFAULT, 0x80000000,  IHO_CODE_OVERFLOW,
	};
	struct iho_slot *s = add_vcpu(now, 0, 0);

	(void)state;
	add_user_exit(s, IHO_CODE_OVERFLOW, 3, 0, 0);
	add_user_exit(s, 0x80000000, 3, 0, 0);
	add_user_exit(s, KVM_EXIT_HLT, 3, 0, 0);
	add_user_exit(s, IHO_USER_ERROR | EFAULT, 3, 0, 0);
	add_user_exit(s, KVM_EXIT_MMIO, 5, 0, 0);
	add_user_exit(s, KVM_EXIT_IO, 4, 0, 0);
	build(NULL);
	assert_int_equal(only_vcpu()->user_rows.n, 6);
	assert_int_equal(report.vms[0].user_rows.n, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(only_vcpu()->user_rows.v[i].code, out[i]);
		assert_int_equal(report.vms[0].user_rows.v[i].code, out[i]);
	}
}

static void test_user_rows(void **state)
{
	struct iho_slot *s = add_vcpu(now, 0, 0), *p = add_vcpu(prev, 0, 0);
	const struct iho_user_row *row;

	(void)state;
	add_user_exit(p, KVM_EXIT_IO, 10, 1000, 400);
	add_user_exit(s, KVM_EXIT_IO, 17, 5000, 900);
	add_user_exit(s, IHO_USER_ERROR | EFAULT, 2, 30, 20);
	build(prev);

	assert_int_equal(only_vcpu()->user_rows.n, 2);
	assert_int_equal(only_vcpu()->user_exits, 19);
	assert_int_equal(only_vcpu()->user_exits_delta, 9);
	row = &only_vcpu()->user_rows.v[0];
	assert_string_equal(row->reason, "KVM_EXIT_IO");
	assert_int_equal(row->total, 17);
	assert_int_equal(row->delta, 7);
	assert_int_equal(row->time_ns, 5000);
	assert_int_equal(row->time_delta_ns, 4000);
	assert_int_equal(row->max_ns, 900);
	row = &only_vcpu()->user_rows.v[1];
	assert_string_equal(row->reason, "error EFAULT");
	assert_int_equal(row->delta, 2);
	assert_int_equal(row->time_delta_ns, 30);
}

static void test_drill_rows(void **state)
{
	struct iho_slot *s = add_vcpu(now, 0, 0), *p = add_vcpu(prev, 0, 0);
	static const struct {
		unsigned int place;
		enum iho_drill_kind kind;
		uint64_t value, before, total;
	} in[] = {
		{ 0, IHO_DRILL_MSR, 7, 0, 50 },
		{ 3, IHO_DRILL_PIO, 9, 2, 5 },
		{ 7, IHO_DRILL_PIO, 8, 5, 5 },
		{ 100, IHO_DRILL_PI_IRTE, 1, 0, 1 },
		{ 200, IHO_DRILL_PIO, 0x7f1, 1000, 1007 },
		{ 255, IHO_DRILL_MSR, (1ULL << 56) - 1, 0, 60 },
	};
	static const int out[] = { 4, 2, 1, 5, 0, 3 }; /* by kind, then total, then value */

	(void)state;
	for (int i = 0; i < 6; i++) {
		uint64_t key = IHO_DRILL_KEY(in[i].kind, in[i].value);

		s->drill[in[i].place] = (struct iho_drill){ key, in[i].total };
		if (in[i].before)
			p->drill[in[i].place] = (struct iho_drill){ key, in[i].before };
	}
	build(prev);
	assert_int_equal(only_vcpu()->drill_rows.n, 6);
	for (int i = 0; i < 6; i++) {
		const struct iho_drill_row *row = &only_vcpu()->drill_rows.v[i];

		assert_int_equal(row->kind, in[out[i]].kind);
		assert_int_equal(row->value, in[out[i]].value);
		assert_int_equal(row->total, in[out[i]].total);
		assert_int_equal(row->delta, in[out[i]].total - in[out[i]].before);
	}
}

static void test_interloper_rows(void **state)
{
	struct iho_slot *s = add_vcpu(now, 0, 0), *p = add_vcpu(prev, 0, 0);
	const struct iho_interloper_row *row;

	(void)state;
	s->interlopers[0] = (struct iho_task){ 0, 1, "swapper/0", 500, 5 };
	p->interlopers[0] = (struct iho_task){ 0, 1, "swapper/0", 400, 3 };
	/* its place was another task's: what it has, it has since then */
	s->interlopers[1] = (struct iho_task){ 77, 1, "stress", 900, 9 };
	p->interlopers[1] = (struct iho_task){ 78, 1, "gone", 800, 8 };
	/* not NUL-terminated, as the kernel never has it */
	s->interlopers[2] = (struct iho_task){ 79, 1, "0123456789abcdef", 100, 1 };
	s->hardirq[0] = (struct iho_irq){ 27, 1, 700, 7 };
	p->hardirq[0] = (struct iho_irq){ 27, 1, 100, 1 };
	s->hardirq[1] = (struct iho_irq){ 0, 1, 1000, 2 }; /* the timer */
	s->softirq[3] = (struct iho_irq){ 3, 1, 600, 6 };
	p->softirq[3] = (struct iho_irq){ 3, 1, 600, 6 };
	build(prev);

	assert_int_equal(only_vcpu()->interloper_rows.n, 6);
	row = only_vcpu()->interloper_rows.v;
	assert_int_equal(row[0].kind, IHO_BY_IRQ);
	assert_int_equal(row[0].id, 0);
	assert_string_equal(row[0].name, "line 0");
	assert_int_equal(row[0].delta_ns, 1000);
	assert_int_equal(row[1].kind, IHO_BY_TASK);
	assert_int_equal(row[1].id, 77);
	assert_string_equal(row[1].name, "stress");
	assert_int_equal(row[1].total_ns, 900);
	assert_int_equal(row[1].delta_ns, 900);
	assert_int_equal(row[1].total, 9);
	assert_int_equal(row[1].delta, 9);
	assert_string_equal(row[2].name, "line 27");
	assert_int_equal(row[2].delta_ns, 600);
	assert_int_equal(row[2].delta, 6);
	assert_int_equal(row[3].kind, IHO_BY_SOFTIRQ);
	assert_int_equal(row[3].id, 3);
	assert_int_equal(row[3].delta_ns, 0);
	assert_int_equal(row[4].id, 0);
	assert_string_equal(row[4].name, "swapper/0");
	assert_int_equal(row[4].delta_ns, 100);
	assert_int_equal(row[4].delta, 2);
	assert_int_equal(row[5].id, 79);
	assert_string_equal(row[5].name, "0123456789abcde");
}

/* ---- bill ---- */

static void bill_in(struct iho_snapshot *snap, unsigned int i, uint64_t step)
{
	for (int st = 0; st < IHO_ST_MAX; st++)
		snap->vcpu[i].time_ns[st] = step << st;
}

static void test_bill(void **state)
{
	static const struct {
		enum iho_bill bill;
		enum iho_state st;
	} same[] = {
		{ IHO_BILL_GUEST, IHO_ST_GUEST },
		{ IHO_BILL_KVM, IHO_ST_KVM },
		{ IHO_BILL_GUEST_OR_KVM, IHO_ST_GUEST_OR_KVM },
		{ IHO_BILL_HALT_POLL, IHO_ST_HALT_POLL },
		{ IHO_BILL_HALTED, IHO_ST_HALTED },
		{ IHO_BILL_BLOCKED, IHO_ST_BLOCKED },
		{ IHO_BILL_RUNNABLE, IHO_ST_RUNNABLE },
		{ IHO_BILL_PREEMPTED, IHO_ST_PREEMPTED },
		{ IHO_BILL_STOPPED, IHO_ST_STOPPED },
	};
	const uint64_t qemu = (1 << IHO_ST_QEMU) + (1 << IHO_ST_QEMU_ASLEEP);
	const uint64_t all = (1 << IHO_ST_MAX) - 1;
	const struct iho_bill_ns *b;
	uint64_t sum = 0, deltas = 0;

	(void)state;
	add_vcpu(prev, 0, 0);
	add_vcpu(now, 0, 0);
	bill_in(prev, 0, 10);
	bill_in(now, 0, 17);
	build(prev);

	b = &only_vcpu()->bill;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		assert_int_equal(b->total[same[i].bill], 17 << same[i].st);
		assert_int_equal(b->delta[same[i].bill], 7 << same[i].st);
	}
	assert_int_equal(b->total[IHO_BILL_QEMU], 17 * qemu);
	assert_int_equal(b->delta[IHO_BILL_QEMU], 7 * qemu);
	assert_int_equal(b->qemu_asleep_total, 17 << IHO_ST_QEMU_ASLEEP);
	assert_int_equal(b->qemu_asleep_delta, 7 << IHO_ST_QEMU_ASLEEP);
	/* the unknown state, and what no state has of the wall time: 2 ms and 1 ms of it */
	assert_int_equal(b->wall_total, 2000000);
	assert_int_equal(b->wall_delta, 1000000);
	assert_int_equal(b->total[IHO_BILL_UNACCOUNTED], 17 + 2000000 - 17 * all);
	assert_int_equal(b->delta[IHO_BILL_UNACCOUNTED], 7 + 1000000 - 7 * all);
	for (int i = 0; i < IHO_BILL_MAX; i++) {
		sum += b->total[i];
		deltas += b->delta[i];
	}
	assert_int_equal(sum, b->wall_total);
	assert_int_equal(deltas, b->wall_delta);
	/* of a VM with one vCPU */
	assert_memory_equal(&report.vms[0].bill, b, sizeof(*b));
}

/* A bill that is more than the wall time (a torn copy) has nothing unaccounted, and no huge number.
 */
static void test_bill_too_large(void **state)
{
	(void)state;
	add_vcpu(now, 0, 0);
	now->vcpu[0].time_ns[IHO_ST_GUEST] = 5000000;
	build(NULL);
	assert_int_equal(only_vcpu()->bill.total[IHO_BILL_GUEST], 5000000);
	assert_int_equal(only_vcpu()->bill.total[IHO_BILL_UNACCOUNTED], 0);
	assert_int_equal(only_vcpu()->bill.delta[IHO_BILL_UNACCOUNTED], 0);
}

static void test_states(void **state)
{
	static const enum iho_bill want[IHO_ST_MAX] = {
		IHO_BILL_UNACCOUNTED, IHO_BILL_GUEST,	 IHO_BILL_KVM,	     IHO_BILL_GUEST_OR_KVM,
		IHO_BILL_QEMU,	      IHO_BILL_QEMU,	 IHO_BILL_HALT_POLL, IHO_BILL_HALTED,
		IHO_BILL_BLOCKED,     IHO_BILL_RUNNABLE, IHO_BILL_PREEMPTED, IHO_BILL_STOPPED,
	};

	(void)state;
	add_vcpu(now, 0, 0);
	for (int st = 0; st < IHO_ST_MAX; st++) {
		now->vcpu[0].state = st;
		build(NULL);
		assert_int_equal(only_vcpu()->state, want[st]);
	}
}

/* ---- vCPUs ---- */

static void fill_counters(struct iho_slot *s, uint64_t n)
{
	s->halts = 1 * n;
	s->halts_polled = 2 * n;
	s->preemptions = 3 * n;
	s->migrations = 4 * n;
	s->switches = 5 * n;
	s->unpaired_exits = 6 * n;
	s->unpaired_entries = 7 * n;
	s->clock_back = 8 * n;
	s->exit_overflow = 9 * n;
	s->user_overflow = 10 * n;
	s->irq_overflow = 11 * n;
	s->task_evicted = 12 * n;
	s->task_evicted_ns = 14 * n;
	s->task_evicted_times = 15 * n;
	s->missed_switches = 13 * n;
	for (int i = 0; i < IHO_DRILL_MAX; i++)
		s->drill_overflow[i] = (100 + i) * n;
	for (int i = 0; i < IHO_EV_MAX; i++)
		s->events[i] = (1000 + i) * n;
	add_exit(s, IHO_ISA_VMX, 12, 20 * n);
	add_user_exit(s, KVM_EXIT_IO, 30 * n, 40 * n, 9);
	s->drill[5] = (struct iho_drill){ IHO_DRILL_KEY(IHO_DRILL_PIO, 1), 50 * n };
	s->interlopers[0] = (struct iho_task){ 77, 1, "stress", 60 * n, 70 * n };
	s->hardirq[0] = (struct iho_irq){ 27, 1, 80 * n, 90 * n };
}

static void check_counters(uint64_t total, uint64_t delta)
{
	const struct iho_vcpu *v = only_vcpu();

	assert_int_equal(v->halts, 1 * total);
	assert_int_equal(v->halts_delta, 1 * delta);
	assert_int_equal(v->halts_polled, 2 * total);
	assert_int_equal(v->preemptions, 3 * total);
	assert_int_equal(v->preemptions_delta, 3 * delta);
	assert_int_equal(v->migrations, 4 * total);
	assert_int_equal(v->migrations_delta, 4 * delta);
	assert_int_equal(v->switches, 5 * total);
	assert_int_equal(v->unpaired, 13 * total);
	assert_int_equal(v->clock_back, 8 * total);
	assert_int_equal(v->exit_overflow, 9 * total);
	assert_int_equal(v->user_overflow, 10 * total);
	assert_int_equal(v->irq_overflow, 11 * total);
	assert_int_equal(v->interlopers_evicted, 12 * total);
	assert_int_equal(v->interlopers_evicted_ns, 14 * total);
	assert_int_equal(v->interlopers_evicted_times, 15 * total);
	assert_int_equal(v->missed_switches, 13 * total);
	for (int i = 0; i < IHO_DRILL_MAX; i++)
		assert_int_equal(v->drill_overflow[i], (100 + i) * total);
	for (int i = 0; i < IHO_EV_MAX; i++) {
		assert_int_equal(v->events[i], (1000 + i) * total);
		assert_int_equal(v->events_delta[i], (1000 + i) * delta);
	}
	assert_int_equal(v->exits, 20 * total);
	assert_int_equal(v->exits_delta, 20 * delta);
	assert_int_equal(v->exit_rows.v[0].delta, 20 * delta);
	assert_int_equal(v->user_exits, 30 * total);
	assert_int_equal(v->user_exits_delta, 30 * delta);
	assert_int_equal(v->user_rows.v[0].time_delta_ns, 40 * delta);
	assert_int_equal(v->drill_rows.v[0].delta, 50 * delta);
	assert_int_equal(v->interloper_rows.v[0].delta_ns, 80 * delta);
	assert_int_equal(v->interloper_rows.v[1].delta_ns, 60 * delta);
	assert_int_equal(v->interloper_rows.v[1].delta, 70 * delta);
}

static void test_counters(void **state)
{
	struct iho_slot *s = add_vcpu(now, 0, 0), *p = add_vcpu(prev, 0, 0);

	(void)state;
	fill_counters(p, 100);
	fill_counters(s, 107);
	s->poll_next_ns = 10000;
	s->ple_window = 4096;
	s->cpu = 3;
	now->vcpu[0].torn = 2;
	build(prev);
	check_counters(107, 7);
	assert_int_equal(only_vcpu()->halt_poll_limit_ns, 10000);
	assert_int_equal(only_vcpu()->ple_window, 4096);
	assert_int_equal(only_vcpu()->cpu, 3);
	assert_int_equal(only_vcpu()->tid, 5000);
	assert_int_equal(only_vcpu()->torn, 2);
	assert_false(only_vcpu()->gone);

	/* the first report, and one that looks at the same moment again */
	build(NULL);
	check_counters(107, 107);
	build(now);
	check_counters(107, 0);
}

/* A copy between two stores may lag behind the one before: that is no change of 2^64. */
static void test_counters_do_not_go_back(void **state)
{
	struct iho_slot *s = add_vcpu(now, 0, 0), *p = add_vcpu(prev, 0, 0);

	(void)state;
	fill_counters(p, 108);
	fill_counters(s, 107);
	bill_in(prev, 0, 11);
	bill_in(now, 0, 10);
	build(prev);
	check_counters(107, 0);
	for (int i = 0; i < IHO_BILL_MAX; i++)
		if (i != IHO_BILL_UNACCOUNTED)
			assert_int_equal(only_vcpu()->bill.delta[i], 0);
}

/* The slot's former vCPU is not the one to compare with. */
static void test_reused_slot(void **state)
{
	struct iho_slot *s = add_vcpu(now, 0, 0), *p = add_vcpu(prev, 0, 0);

	(void)state;
	fill_counters(p, 100);
	fill_counters(s, 107);
	bill_in(prev, 0, 10);
	bill_in(now, 0, 17);

	p->tid = 4711; /* another thread */
	build(prev);
	check_counters(107, 107);
	assert_int_equal(only_vcpu()->bill.delta[IHO_BILL_GUEST], 17 << IHO_ST_GUEST);
	assert_int_equal(only_vcpu()->bill.wall_delta, 2000000);
	assert_int_equal(report.self.events_delta, report.self.events);

	p->tid = s->tid; /* the same number again, but later */
	s->core.first_ns += 500000;
	build(prev);
	check_counters(107, 107);
	assert_int_equal(only_vcpu()->bill.wall_total, 1500000);
	assert_int_equal(only_vcpu()->bill.wall_delta, 1500000);

	p->core.first_ns = s->core.first_ns;
	build(prev);
	check_counters(107, 7);

	prev->vcpu[0].used = false; /* nobody was there */
	build(prev);
	check_counters(107, 107);
}

static void test_affinity(void **state)
{
	(void)state;
	add_vcpu(now, 0, 0);
	add_vcpu(now, 1, 1);
	add_vcpu(now, 2, 2);
	for (int i = 0; i < 3; i++) {
		vcpu_entries[i].start_ns = 900 + i;
		vcpu_entries[i].n_cpus = i + 1;
		strcpy(vcpu_entries[i].affinity, i ? "0-1" : "5");
	}
	vcpu_entries[2].start_ns = 1; /* of the vCPU that had the slot before */
	build(NULL);
	assert_string_equal(report.vms[0].vcpus[0].affinity, "5");
	assert_true(report.vms[0].vcpus[0].pinned);
	assert_string_equal(report.vms[0].vcpus[1].affinity, "0-1");
	assert_false(report.vms[0].vcpus[1].pinned);
	assert_string_equal(report.vms[0].vcpus[2].affinity, "");
	assert_false(report.vms[0].vcpus[2].pinned);
}

/* ---- VMs ---- */

static void test_vm_sums(void **state)
{
	const struct iho_vm_report *vm;
	struct iho_exit both = {};
	struct iho_slot *s[3], *p;

	(void)state;
	for (int i = 0; i < 3; i++)
		s[i] = add_vcpu(now, i, i);
	p = add_vcpu(prev, 1, 1);
	/* HLT on two of them, in different places; IO on the third */
	add_exit(s[0], IHO_ISA_VMX, 12, 100);
	add_exit(s[1], IHO_ISA_VMX, 30, 7);
	add_exit(s[1], IHO_ISA_VMX, 12, 50);
	add_exit(p, IHO_ISA_VMX, 30, 3);
	add_exit(p, IHO_ISA_VMX, 12, 20);
	p->exits[1].time_ns = 5000;
	for (int i = 0; i < 100; i++) {
		finish_exit(&s[0]->exits[0], 1000 + i);
		finish_exit(&both, 1000 + i);
	}
	for (int i = 0; i < 50; i++) {
		finish_exit(&s[1]->exits[1], 90000 + i);
		finish_exit(&both, 90000 + i);
	}
	s[0]->exits[0].kvm_ns = 11;
	s[1]->exits[1].kvm_ns = 22;
	add_exit(s[2], IHO_ISA_VMX, 12, 0); /* its first is being counted at this moment */
	add_user_exit(s[0], KVM_EXIT_IO, 5, 100, 70);
	add_user_exit(s[1], KVM_EXIT_MMIO, 4, 10, 7);
	add_user_exit(s[2], KVM_EXIT_IO, 6, 300, 60);
	s[0]->drill[1] = (struct iho_drill){ IHO_DRILL_KEY(IHO_DRILL_PIO, 8), 3 };
	s[1]->drill[9] = (struct iho_drill){ IHO_DRILL_KEY(IHO_DRILL_PIO, 8), 4 };
	s[2]->drill[1] = (struct iho_drill){ IHO_DRILL_KEY(IHO_DRILL_MSR, 8), 5 };
	s[2]->drill[2] = (struct iho_drill){ IHO_DRILL_KEY(IHO_DRILL_PIO, 6), 9 };
	p->drill[9] = (struct iho_drill){ IHO_DRILL_KEY(IHO_DRILL_PIO, 8), 1 };
	bill_in(now, 0, 1);
	bill_in(now, 1, 2);
	bill_in(now, 2, 3);
	bill_in(prev, 1, 1);
	build(prev);

	assert_int_equal(report.n_vms, 1);
	vm = &report.vms[0];
	assert_int_equal(vm->n_vcpus, 3);
	assert_int_equal(vm->exits, 157);
	assert_int_equal(vm->exits_delta, 134);
	assert_int_equal(vm->exit_rows.n, 2);
	assert_string_equal(vm->exit_rows.v[0].reason, "HLT");
	assert_int_equal(vm->exit_rows.v[0].total, 150);
	assert_int_equal(vm->exit_rows.v[0].delta, 130);
	assert_int_equal(vm->exit_rows.v[0].time_ns, both.time_ns);
	assert_int_equal(vm->exit_rows.v[0].time_delta_ns, both.time_ns - 5000);
	assert_int_equal(vm->exit_rows.v[0].kvm_ns, 33);
	assert_int_equal(vm->exit_rows.v[0].max_ns, 90049);
	assert_int_equal(vm->exit_rows.v[0].mean_ns, both.time_ns / 150);
	assert_memory_equal(vm->exit_rows.v[0].hist, both.hist, sizeof(both.hist));
	assert_null(vm->vcpus[0].exit_rows.v[0].hist);
	assert_in_range(vm->exit_rows.v[0].p50_ns, 1074 * 7 / 8, 1074 * 9 / 8);
	assert_in_range(vm->exit_rows.v[0].p99_ns, 90048 * 7 / 8, 90048 * 9 / 8);
	assert_int_equal(vm->exit_rows.v[1].total, 7);
	assert_int_equal(vm->exit_rows.v[1].delta, 4);

	assert_int_equal(vm->user_exits, 15);
	assert_int_equal(vm->user_rows.n, 2);
	assert_string_equal(vm->user_rows.v[0].reason, "KVM_EXIT_IO");
	assert_int_equal(vm->user_rows.v[0].total, 11);
	assert_int_equal(vm->user_rows.v[0].delta, 11);
	assert_int_equal(vm->user_rows.v[0].time_ns, 400);
	assert_int_equal(vm->user_rows.v[0].time_delta_ns, 400);
	assert_int_equal(vm->user_rows.v[0].max_ns, 70);
	assert_int_equal(vm->user_rows.v[1].total, 4);

	assert_int_equal(vm->drill_rows.n, 3);
	assert_int_equal(vm->drill_rows.v[0].kind, IHO_DRILL_PIO);
	assert_int_equal(vm->drill_rows.v[0].value, 6);
	assert_int_equal(vm->drill_rows.v[0].total, 9);
	assert_int_equal(vm->drill_rows.v[1].value, 8);
	assert_int_equal(vm->drill_rows.v[1].total, 7);
	assert_int_equal(vm->drill_rows.v[1].delta, 6);
	assert_int_equal(vm->drill_rows.v[2].kind, IHO_DRILL_MSR);

	assert_int_equal(vm->bill.total[IHO_BILL_KVM], 6 << IHO_ST_KVM);
	assert_int_equal(vm->bill.delta[IHO_BILL_KVM], 5 << IHO_ST_KVM);
	assert_int_equal(vm->bill.qemu_asleep_total, 6 << IHO_ST_QEMU_ASLEEP);
	assert_int_equal(vm->bill.qemu_asleep_delta, 5 << IHO_ST_QEMU_ASLEEP);
	assert_int_equal(vm->bill.wall_total, 6000000);
	assert_int_equal(vm->bill.wall_delta, 5000000);
}

/* More reasons than a VM has rows for: the last row takes the rest, and the sum is right. */
static void test_vm_with_too_many_reasons(void **state)
{
	uint64_t total = 0, rows = 0, time_ns = 0;

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct iho_slot *s = add_vcpu(now, i, i);

		for (int k = 0; k < IHO_EXITS; k++) {
			add_exit(s, IHO_ISA_VMX, 100 * i + k, 1 + k);
			finish_exit(&s->exits[k], 1000);
			total += 1 + k;
		}
	}
	build(NULL);
	for (size_t i = 0; i < report.vms[0].exit_rows.n; i++) {
		rows += report.vms[0].exit_rows.v[i].total;
		time_ns += report.vms[0].exit_rows.v[i].time_ns;
	}
	assert_int_equal(rows, total);
	assert_int_equal(report.vms[0].exits, total);
	assert_int_equal(time_ns, 4 * IHO_EXITS * 1000);
	assert_string_equal(report.vms[0].exit_rows.v[0].reason, "(other reasons)");
}

static void test_vcpus_sorted(void **state)
{
	static const int ids[N_SLOTS] = { 5, 300, 0, -1, 2, -1, 1, 4 };
	static const int tids[N_SLOTS] = { 5003, 5005, 5002, 5006, 5004, 5007, 5000, 5001 };

	(void)state;
	for (int i = 0; i < N_SLOTS; i++)
		add_vcpu(now, i, ids[i]);
	build(NULL);
	assert_int_equal(report.n_vms, 1);
	assert_int_equal(report.vms[0].n_vcpus, N_SLOTS);
	for (int i = 0; i < N_SLOTS; i++)
		assert_int_equal(report.vms[0].vcpus[i].tid, tids[i]);
	assert_int_equal(report.self.vcpus_without_id, 2);
}

static void test_two_vms_in_one_process(void **state)
{
	struct iho_slot *s;

	(void)state;
	add_vm_entry(PID, 2, 1, "vm");
	add_exit(add_vcpu(now, 0, 0), IHO_ISA_VMX, 12, 10);
	s = add_vcpu(now, 1, 0);
	s->vm_key = 2;
	add_exit(s, IHO_ISA_VMX, 12, 5);
	s = add_vcpu(now, 2, 1);
	s->vm_key = 2;
	add_exit(s, IHO_ISA_VMX, 30, 6);
	/* not identified yet: with the first VM of its process, whatever the key says */
	s = add_vcpu(now, 3, -1);
	s->vm_key = 0;
	build(NULL);

	assert_int_equal(report.n_vms, 2);
	assert_string_equal(report.vms[0].name, "vm");
	assert_int_equal(report.vms[0].key, 1);
	assert_int_equal(report.vms[0].pid, PID);
	assert_string_equal(report.vms[0].vmm, "qemu");
	assert_int_equal(report.vms[0].n_vcpus, 2);
	assert_int_equal(report.vms[0].vcpus[0].id, -1);
	assert_int_equal(report.vms[0].exits, 10);
	assert_string_equal(report.vms[1].name, "vm #2");
	assert_int_equal(report.vms[1].key, 2);
	assert_int_equal(report.vms[1].n_vcpus, 2);
	assert_int_equal(report.vms[1].exits, 11);
	assert_int_equal(report.vms[1].exit_rows.n, 2);
}

/* The same pid, but another process: nothing of the VM that had it before. */
static void test_reused_pid(void **state)
{
	struct iho_slot *s;

	(void)state;
	add_vm_entry(PID, 1, 0, "later");
	vm_entries[1].start_ns = START + 1;
	add_exit(add_vcpu(now, 0, 0), IHO_ISA_VMX, 12, 10);
	s = add_vcpu(now, 1, 0);
	s->process_start_ns = START + 1;
	add_exit(s, IHO_ISA_VMX, 12, 5);
	build(NULL);
	assert_int_equal(report.n_vms, 2);
	assert_string_equal(report.vms[0].name, "later");
	assert_int_equal(report.vms[0].exits, 5);
	assert_string_equal(report.vms[1].name, "vm");
	assert_int_equal(report.vms[1].exits, 10);
}

/* A vCPU whose VM is not in the directory is not shown with another one. */
static void test_unknown_vm(void **state)
{
	struct iho_slot *s;

	(void)state;
	add_vcpu(now, 0, 0);
	add_vcpu(now, 1, 0)->vm_key = 99;
	s = add_vcpu(now, 2, 0);
	s->tgid = PID + 1;
	build(NULL);
	assert_int_equal(report.n_vms, 1);
	assert_int_equal(report.vms[0].n_vcpus, 1);
	assert_int_equal(report.self.slots_used, 3);
}

static void test_names_and_filters(void **state)
{
	static char longest[64];

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	add_vm_entry(PID + 1, 1, 0, "b");
	add_vm_entry(PID + 2, 1, 0, "a");
	add_vm_entry(PID, 5, 11, longest);
	add_vcpu(now, 0, 0);
	add_vcpu(now, 1, 0)->tgid = PID + 1;
	add_vcpu(now, 2, 0)->tgid = PID + 2;
	add_vcpu(now, 3, 0)->vm_key = 5;
	build(NULL);
	assert_int_equal(report.n_vms, 4);
	assert_string_equal(report.vms[0].name, "a");
	assert_string_equal(report.vms[1].name, "b");
	assert_string_equal(report.vms[2].name, "vm");
	/* the number is not what is cut off */
	assert_memory_equal(report.vms[3].name, longest, 59);
	assert_string_equal(report.vms[3].name + 59, " #12");

	dir.only_pid = PID + 1;
	build(NULL);
	assert_int_equal(report.n_vms, 1);
	assert_string_equal(report.vms[0].name, "b");
	dir.only_name = "a";
	build(NULL);
	assert_int_equal(report.n_vms, 0);
	dir.only_pid = 0;
	build(NULL);
	assert_int_equal(report.n_vms, 1);
	assert_int_equal(report.vms[0].pid, PID + 2);
	dir.only_name = "aa";
	build(NULL);
	assert_int_equal(report.n_vms, 0);
}

/* VMs of one name are told apart by their processes. */
static void test_vms_of_one_name(void **state)
{
	(void)state;
	add_vm_entry(PID + 7, 1, 0, "vm");
	add_vm_entry(PID - 7, 1, 0, "vm");
	add_vcpu(now, 0, 0);
	add_vcpu(now, 1, 0)->tgid = PID + 7;
	add_vcpu(now, 2, 0)->tgid = PID - 7;
	build(NULL);
	assert_int_equal(report.n_vms, 3);
	assert_int_equal(report.vms[0].pid, PID - 7);
	assert_int_equal(report.vms[1].pid, PID);
	assert_int_equal(report.vms[2].pid, PID + 7);
}

static void test_no_vm(void **state)
{
	(void)state;
	build(prev);
	assert_int_equal(report.n_vms, 0);
	dir.n_vms = 0;
	build(NULL);
	assert_int_equal(report.n_vms, 0);
	assert_int_equal(report.self.slots, N_SLOTS);
	assert_int_equal(report.self.slots_used, 0);
	assert_int_equal(report.self.lost, 0);
}

/* A vCPU that ended keeps its numbers and adds nothing; its VM is gone when all have ended. */
static void test_gone(void **state)
{
	struct iho_slot *s[2], *p[2];

	(void)state;
	now->now_ns = FIRST + 3000000000ULL;
	for (int i = 0; i < 2; i++) {
		p[i] = add_vcpu(prev, i, i);
		s[i] = add_vcpu(now, i, i);
		fill_counters(p[i], 10);
		fill_counters(s[i], 10);
		bill_in(prev, i, 10);
		bill_in(now, i, 10);
		prev->vcpu[i].now_ns = now->vcpu[i].now_ns = FIRST + 1000000;
	}
	s[0]->life = p[0]->life = IHO_GONE;
	s[0]->gone_ns = FIRST + 1000000;
	build(prev);
	assert_int_equal(report.n_vms, 1);
	assert_false(report.vms[0].gone);
	assert_true(report.vms[0].vcpus[0].gone);
	assert_false(report.vms[0].vcpus[1].gone);
	assert_int_equal(report.vms[0].vcpus[0].exits, 200);
	assert_int_equal(report.vms[0].vcpus[0].exits_delta, 0);
	assert_int_equal(report.vms[0].vcpus[0].bill.wall_total, 1000000);
	assert_int_equal(report.vms[0].vcpus[0].bill.wall_delta, 0);
	for (int i = 0; i < IHO_BILL_MAX; i++)
		assert_int_equal(report.vms[0].vcpus[0].bill.delta[i], 0);

	/* the second ends half a second later: the VM is gone since then */
	s[1]->life = IHO_GONE;
	s[1]->gone_ns = FIRST + 500000000ULL;
	build(prev);
	assert_true(report.vms[0].gone);
	assert_true(report.vms[0].gone_s > 2.499 && report.vms[0].gone_s < 2.501);

	/* what is gone has no number to wait for */
	s[1]->vcpu_id = -1;
	build(prev);
	assert_int_equal(report.self.vcpus_without_id, 0);
}

/* ---- interrupts, APICv, losses ---- */

static void test_accept_rows(void **state)
{
	const struct iho_accept_row *row;

	(void)state;
	add_vcpu(now, 0, 0);
	now->shared[0].key = IHO_SHARED_KEY(IHO_DRILL_MSI, 3, 0xec, IHO_PROCESS(PID, START));
	now->shared[0].count = 50;
	prev->shared[0] = now->shared[0];
	prev->shared[0].count = 20;
	now->shared[9].key =
		IHO_SHARED_KEY(IHO_DRILL_APIC_ACCEPT, 0xffff, 0xff, IHO_PROCESS(PID, START));
	now->shared[9].count = 4;
	prev->shared[9].key =
		IHO_SHARED_KEY(IHO_DRILL_APIC_ACCEPT, 1, 2, IHO_PROCESS(PID + 1, START));
	prev->shared[9].count = 2; /* another one's, that is gone */
	now->shared[10].key =
		IHO_SHARED_KEY(IHO_DRILL_APIC_ACCEPT, 1, 0x20, IHO_PROCESS(PID, START));
	now->shared[10].count = 6;
	now->shared[11].key =
		IHO_SHARED_KEY(IHO_DRILL_APIC_ACCEPT, 1, 0x20, IHO_PROCESS(PID + 1, START));
	now->shared[11].count = 1000;
	build(prev);

	assert_int_equal(report.vms[0].accept_rows.n, 3);
	row = report.vms[0].accept_rows.v;
	assert_int_equal(row[0].kind, IHO_DRILL_APIC_ACCEPT);
	assert_int_equal(row[0].vector, 0x20);
	assert_int_equal(row[0].total, 6);
	assert_int_equal(row[1].apicid, 0xffff);
	assert_int_equal(row[1].vector, 0xff);
	assert_int_equal(row[1].total, 4);
	assert_int_equal(row[1].delta, 4);
	assert_int_equal(row[2].kind, IHO_DRILL_MSI);
	assert_int_equal(row[2].apicid, 3);
	assert_int_equal(row[2].vector, 0xec);
	assert_int_equal(row[2].delta, 30);
}

static void test_apicv(void **state)
{
	const struct iho_apicv_state *a;

	(void)state;
	add_vcpu(now, 0, 0);
	build(NULL);
	a = &report.vms[0].apicv;
	assert_int_equal(a->state, IHO_APICV_UNKNOWN);
	assert_true(a->since_s < 0);

	now->vms[3] = (struct iho_vm){ .process = IHO_PROCESS(PID + 1, START),
				       .inhibits = 4,
				       .since_ns = FIRST };
	build(NULL);
	assert_int_equal(report.vms[0].apicv.state, IHO_APICV_UNKNOWN);

	now->vms[5] =
		(struct iho_vm){ .process = IHO_PROCESS(PID, START), .since_ns = FIRST + 500000 };
	build(NULL);
	a = &report.vms[0].apicv;
	assert_int_equal(a->state, IHO_APICV_ON);
	assert_true(a->since_s < 0); /* it was so when we came */
	assert_non_null(strstr(a->text, "APICv on"));

	now->vms[5].inhibits = 1ULL << 63 | 1ULL << 62;
	now->vms[5].changes = 3;
	build(NULL);
	a = &report.vms[0].apicv;
	assert_int_equal(a->state, IHO_APICV_INHIBITED);
	assert_int_equal(a->changes, 3);
	assert_true(a->since_s > 0.00149 && a->since_s < 0.00151);
	assert_string_equal(a->reasons, "bit 62, bit 63");
	assert_non_null(strstr(a->text, "bit 62, bit 63"));
	/* there is room for all of them */
	now->vms[5].inhibits = ~0ULL;
	build(NULL);
	assert_non_null(strstr(report.vms[0].apicv.reasons, ", bit 62, bit 63"));

	dir.apicv_param = 0;
	build(NULL);
	assert_int_equal(report.vms[0].apicv.state, IHO_APICV_OFF);
	assert_non_null(strstr(report.vms[0].apicv.text, "enable_apicv"));
	dir.vendor_module = "kvm_amd";
	build(NULL);
	assert_non_null(strstr(report.vms[0].apicv.text, "avic"));
	dir.hw = false;
	dir.vendor_module = "kvm_pvm";
	build(NULL);
	assert_int_equal(report.vms[0].apicv.state, IHO_APICV_OFF);
	assert_non_null(strstr(report.vms[0].apicv.text, "kvm_pvm"));
}

static void test_losses(void **state)
{
	uint64_t drills = 0, events = 0;

	(void)state;
	fill_counters(add_vcpu(now, 0, 0), 3);
	fill_counters(add_vcpu(now, 1, 1), 4);
	fill_counters(add_vcpu(prev, 1, 1), 1);
	now->vcpu[0].torn = 5;
	now->vcpu[1].torn = 6;
	for (int i = 0; i < IHO_DRILL_MAX; i++)
		drills += 100 + i;
	for (int i = 0; i < IHO_EV_MAX; i++) {
		now->events[i] = 50;
		prev->events[i] = 20;
		events += 1000 + i;
	}
	now->loss[IHO_LOSS_NO_SLOT] = 1;
	now->loss[IHO_LOSS_NO_STORAGE] = 20;
	now->loss[IHO_LOSS_WAITERS] = 300;
	now->loss[IHO_LOSS_SHARED] = 4000;
	now->loss[IHO_LOSS_NESTED] = 50000;
	now->loss[IHO_LOSS_READ] = 600000;
	build(prev);

	assert_int_equal(report.self.lost_no_slot, 1);
	assert_int_equal(report.self.lost_storage, 20);
	assert_int_equal(report.self.lost_waiters, 300);
	assert_int_equal(report.self.lost_shared, 4000);
	assert_int_equal(report.self.lost_nested, 50000);
	assert_int_equal(report.self.lost_read, 600000);
	assert_int_equal(report.self.drill_overflow, 7 * drills);
	assert_int_equal(report.self.exit_overflow, 7 * (9 + 10));
	assert_int_equal(report.self.irq_overflow, 7 * 11);
	assert_int_equal(report.self.interlopers_evicted, 7 * 12);
	assert_int_equal(report.self.unpaired, 7 * 13);
	assert_int_equal(report.self.clock_back, 7 * 8);
	assert_int_equal(report.self.torn, 11);
	/* an interloper that lost its place, or an odd order of events, is no lost event */
	assert_int_equal(report.self.lost, 654321 + 7 * (drills + 9 + 10 + 11 + 8));
	assert_int_equal(report.self.missed_switches, 7 * 13);
	assert_int_equal(report.self.events, 7 * events + 50 * IHO_EV_MAX);
	assert_int_equal(report.self.events_delta, 6 * events + 30 * IHO_EV_MAX);
	assert_int_equal(report.self.slots, N_SLOTS);
	assert_int_equal(report.self.slots_used, 2);
}

static void test_what_is_missing(void **state)
{
	struct iho_slot *s = add_vcpu(now, 0, 0);

	(void)state;
	build(NULL);
	assert_true(report.splits_guest);
	assert_string_equal(report.missing, "");
	/* hardware that will tell, but has not yet */
	s->entry_seen = 0;
	build(NULL);
	assert_true(report.splits_guest);
	/* it has left to its VMM, and still no entry or exit */
	s->events[IHO_EV_kvm_userspace_exit] = 1;
	build(NULL);
	assert_false(report.splits_guest);
	assert_non_null(strstr(report.missing, "(kvm_intel)"));
	dir.hw = false;
	dir.vendor_module = NULL;
	s->events[IHO_EV_kvm_userspace_exit] = 0;
	build(NULL);
	assert_false(report.splits_guest);
	assert_non_null(strstr(report.missing, "no exit reasons"));
	/* one vCPU that tells is enough */
	add_vcpu(now, 1, 1);
	build(NULL);
	assert_true(report.splits_guest);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- utilisation ---- */

static struct iho_utilisation_window windows[N_SLOTS];

/* vCPU `i` as it is looked at twice, a second apart: half of it guest, then three quarters. */
static void add_window(unsigned int i, uint32_t signals)
{
	struct iho_utilisation_window *w = &windows[i];

	memset(w, 0, sizeof(*w));
	w->before.wall_ns = 1000;
	w->before.cpu_ns[IHO_CPU_GUEST] = 500;
	w->before.of_ns[IHO_BUSY_MPERF] = 1000;
	w->before.busy_ns[IHO_BUSY_MPERF] = 400;
	w->now = w->before;
	w->now.start_ns = 900 + i;
	w->now.wall_ns = 2000;
	w->now.cpu_ns[IHO_CPU_GUEST] = 1250;
	w->now.cpu_known = 1u << IHO_CPU_GUEST | 1u << IHO_CPU_HOST_USER;
	w->now.of_ns[IHO_BUSY_MPERF] = 2000;
	w->now.busy_ns[IHO_BUSY_MPERF] = 600;
	w->now.signals = signals;
}

static void add_busy_vcpu(unsigned int i, enum iho_idle idle)
{
	struct iho_slot *s = add_vcpu(now, i, (int)i);

	add_vcpu(prev, i, (int)i);
	s->idle = idle;
	now->vcpu[i].time_ns[IHO_ST_GUEST] = 600000;
	now->vcpu[i].time_ns[IHO_ST_KVM] = 200000;
	now->vcpu[i].time_ns[IHO_ST_QEMU] = 100000;
	now->vcpu[i].time_ns[IHO_ST_QEMU_ASLEEP] = 300000;
	now->vcpu[i].time_ns[IHO_ST_HALT_POLL] = 400000;
	now->vcpu[i].time_ns[IHO_ST_HALTED] = 100000;
	now->vcpu[i].time_ns[IHO_ST_PREEMPTED] = 300000;
	prev->vcpu[i].time_ns[IHO_ST_GUEST] = 500000;
	prev->vcpu[i].time_ns[IHO_ST_QEMU_ASLEEP] = 300000;
}

static void test_cpu_times(void **state)
{
	const struct iho_cpu_times *t;

	(void)state;
	add_busy_vcpu(0, IHO_IDLE_EXITS);
	build(prev); /* nobody has looked: the bill is there all the same */
	t = &only_vcpu()->cpu_times;
	assert_int_equal(t->known, 0);
	assert_int_equal(t->idle_seen, IHO_IDLE_SEEN_YES);
	assert_true(t->busy[IHO_BUSY_BILL].known);
	assert_int_equal(t->busy[IHO_BUSY_BILL].busy_ns, 900000);
	assert_int_equal(t->busy[IHO_BUSY_BILL].of_ns, 2000000);
	assert_int_equal(t->busy[IHO_BUSY_BILL].busy_delta_ns, 400000);
	assert_int_equal(t->busy[IHO_BUSY_BILL].of_delta_ns, 1000000);
	assert_false(t->busy[IHO_BUSY_MPERF].known);

	add_window(0, 1u << IHO_BUSY_MPERF);
	dir.window = windows;
	build(prev);
	t = &only_vcpu()->cpu_times;
	assert_int_equal(t->known, 1u << IHO_CPU_GUEST | 1u << IHO_CPU_HOST_USER);
	assert_int_equal(t->ns[IHO_CPU_GUEST], 1250);
	assert_int_equal(t->delta_ns[IHO_CPU_GUEST], 750);
	assert_int_equal(t->window_ns, 1000);
	assert_true(t->busy[IHO_BUSY_MPERF].known);
	assert_true(iho_busy_share(&t->busy[IHO_BUSY_MPERF]) == 0.2);
	assert_false(t->busy[IHO_BUSY_REF_CYCLES].known);

	/* figures of the slot's owner before */
	windows[0].now.start_ns = 1;
	build(prev);
	t = &only_vcpu()->cpu_times;
	assert_int_equal(t->known, 0);
	assert_int_equal(t->window_ns, 0);
	assert_false(t->busy[IHO_BUSY_MPERF].known);
}

static void test_cpu_times_of_vm(void **state)
{
	const struct iho_cpu_times *t;

	(void)state;
	dir.window = windows;
	add_busy_vcpu(0, IHO_IDLE_EXITS);
	add_busy_vcpu(1, IHO_IDLE_EXITS);
	add_busy_vcpu(2, IHO_IDLE_IN_GUEST);
	add_window(0, 1u << IHO_BUSY_MPERF);
	add_window(1, 1u << IHO_BUSY_MPERF);
	add_window(2, 1u << IHO_BUSY_MPERF);
	windows[2].now.disagree = true;
	build(prev);
	t = &report.vms[0].cpu_times;
	assert_int_equal(t->ns[IHO_CPU_GUEST], 3750);
	assert_int_equal(t->delta_ns[IHO_CPU_GUEST], 2250);
	assert_int_equal(t->window_ns, 3000);
	assert_true(t->disagree);
	assert_int_equal(t->idle_seen, IHO_IDLE_SEEN_NO);
	assert_false(t->busy[IHO_BUSY_BILL].known); /* one of the three cannot tell */
	assert_int_equal(t->busy[IHO_BUSY_BILL].busy_ns, 0);
	assert_true(t->busy[IHO_BUSY_MPERF].known);
	assert_int_equal(t->busy[IHO_BUSY_MPERF].busy_delta_ns, 600);
	assert_int_equal(t->busy[IHO_BUSY_MPERF].of_delta_ns, 3000);

	/* it ends: what it used stays, what it could not tell does not matter any more */
	now->vcpu[2].slot->life = IHO_GONE;
	build(prev);
	t = &report.vms[0].cpu_times;
	assert_int_equal(t->ns[IHO_CPU_GUEST], 3750);
	assert_int_equal(t->delta_ns[IHO_CPU_GUEST], 1500);
	assert_int_equal(t->idle_seen, IHO_IDLE_SEEN_YES);
	assert_true(t->busy[IHO_BUSY_BILL].known);
	assert_int_equal(t->busy[IHO_BUSY_BILL].busy_delta_ns, 800000);
	assert_false(t->disagree);

	/* all ended: nothing is known to be busy */
	now->vcpu[0].slot->life = now->vcpu[1].slot->life = IHO_GONE;
	build(prev);
	t = &report.vms[0].cpu_times;
	assert_int_equal(iho_busy_best(t), IHO_BUSY_MAX);
	assert_int_equal(t->ns[IHO_CPU_GUEST], 3750);
}

static void set_direct(struct iho_slot *s, uint64_t n)
{
	for (int i = 0; i < IHO_DIRECT_MAX; i++)
		s->direct.total[i] = n * (i + 1);
	s->direct.without_exit = n;
	s->direct.with_exit = 2 * n;
	s->direct.ipis_without_exit = 3 * n;
	s->direct.first_ns = FIRST;
	s->direct.at_ns = now->now_ns - 500000;
	s->direct.modes = IHO_DIRECT_TIMER | IHO_DIRECT_IPI;
}

static void test_direct(void **state)
{
	const struct iho_direct_report *d;

	(void)state;
	set_direct(add_vcpu(prev, 0, 0), 10);
	set_direct(add_vcpu(now, 0, 0), 15);
	set_direct(add_vcpu(now, 1, 1), 100);
	now->vcpu[1].slot->direct.modes = 0;
	now->vcpu[1].slot->direct.missing = IHO_DIRECT_MISSING_PINNED;
	add_vcpu(now, 2, 2);
	build(prev);
	d = &report.vms[0].vcpus[0].direct;
	assert_true(d->traced);
	assert_int_equal(d->known, 1);
	assert_int_equal(d->on, 1);
	assert_int_equal(d->ipi_on, 1);
	assert_int_equal(d->total[IHO_DIRECT_DEADLINES], 15 * (IHO_DIRECT_DEADLINES + 1));
	assert_int_equal(d->delta[IHO_DIRECT_DEADLINES], 5 * (IHO_DIRECT_DEADLINES + 1));
	assert_int_equal(d->delta[IHO_DIRECT_WITHOUT_EXIT], 5);
	assert_int_equal(d->delta[IHO_DIRECT_WITH_EXIT], 10);
	assert_int_equal(d->delta[IHO_DIRECT_IPIS_WITHOUT_EXIT], 15);
	assert_int_equal(d->total[IHO_DIRECT_SAVED], 4 * 15 + 15 * (IHO_DIRECT_DEADLINES + 1));
	assert_int_equal(d->delta[IHO_DIRECT_SAVED], 4 * 5 + 5 * (IHO_DIRECT_DEADLINES + 1));
	assert_true(d->age_s == 0.0005);
	d = &report.vms[0].vcpus[2].direct;
	assert_false(d->traced);
	assert_int_equal(d->known, 0);
	assert_true(d->age_s < 0);
	d = &report.vms[0].direct;
	assert_int_equal(d->known, 2);
	assert_int_equal(d->on, 1);
	assert_int_equal(d->ipi_on, 1);
	assert_int_equal(d->missing, IHO_DIRECT_MISSING_PINNED);
	assert_int_equal(d->total[IHO_DIRECT_WITHOUT_EXIT], 115);
	assert_true(d->age_s == 0.0005);
}

/* A vCPU that ended is in no mode, but its counts stay in its VM's. */
static void test_direct_gone(void **state)
{
	const struct iho_direct_report *d;

	(void)state;
	set_direct(add_vcpu(now, 0, 0), 10);
	now->vcpu[0].slot->life = IHO_GONE;
	add_vcpu(now, 1, 1);
	build(NULL);
	d = &report.vms[0].direct;
	assert_true(d->traced);
	assert_int_equal(d->known, 0);
	assert_int_equal(d->on, 0);
	assert_int_equal(d->total[IHO_DIRECT_WITH_EXIT], 20);
	assert_true(d->age_s < 0);
}

static void test_direct_names(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < IHO_DIRECT_ALL; i++)
		assert_non_null(iho_direct_key(i));
	assert_string_equal(iho_direct_key(IHO_DIRECT_SAVED), "saved");
	assert_string_equal(iho_direct_key(IHO_DIRECT_ALL), "?");
	assert_string_equal(iho_direct_missing_key(4), "pinned");
	assert_non_null(iho_direct_missing_text(0));
	assert_string_equal(iho_direct_missing_key(6), "drained");
	assert_null(iho_direct_missing_key(7));
	assert_null(iho_direct_missing_text(7));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_quantiles_uniform),
		TEST(test_quantiles_two_points),
		TEST(test_quantiles_powers),
		TEST(test_quantile_edges),
		TEST(test_exit_rows),
		TEST(test_exit_rows_sorted),
		TEST(test_user_rows_sorted),
		TEST(test_user_rows),
		TEST(test_drill_rows),
		TEST(test_interloper_rows),
		TEST(test_bill),
		TEST(test_bill_too_large),
		TEST(test_states),
		TEST(test_counters),
		TEST(test_counters_do_not_go_back),
		TEST(test_reused_slot),
		TEST(test_affinity),
		TEST(test_vm_sums),
		TEST(test_vm_with_too_many_reasons),
		TEST(test_vcpus_sorted),
		TEST(test_two_vms_in_one_process),
		TEST(test_reused_pid),
		TEST(test_unknown_vm),
		TEST(test_names_and_filters),
		TEST(test_vms_of_one_name),
		TEST(test_no_vm),
		TEST(test_gone),
		TEST(test_accept_rows),
		TEST(test_apicv),
		TEST(test_losses),
		TEST(test_what_is_missing),
		TEST(test_cpu_times),
		TEST(test_direct),
		TEST(test_direct_gone),
		TEST(test_direct_names),
		TEST(test_cpu_times_of_vm),
	};

	return cmocka_run_group_tests_name("build", tests, NULL, NULL);
}
