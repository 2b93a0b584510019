// SPDX-License-Identifier: GPL-2.0-only
/*
 * The collector's programs: each takes one tracepoint, finds the vCPU's slot and hands the event to
 * the state machine (state.h).
 *
 * The kvm and irq programs are raw tracepoints: they work whether or not the module that owns the
 * tracepoint carries BTF, and cost the same, since they read the vCPU only when a slot is new. The
 * scheduler's are tp_btf, because task storage wants a typed task. Where kvm_exit's arguments are
 * not what we know, userspace loads the classic tracepoint instead (exit_record below).
 */
#include <linux/bpf.h>
#include <linux/kvm.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "../kvm-patches/uapi/linux/iho.h"
#include "iho.h"
#include "kvm_types.h"

char LICENSE[] SEC("license") = "GPL";

#define ANON_INODE_FS_MAGIC 0x09041934 /* linux/magic.h */
#define IN_GUEST_MODE	    1 /* linux/kvm_host.h: vcpu->mode */
#define VCPU_NAME	    "kvm-vcpu"

/* Set by userspace before the load. */
const volatile __u64 vm_key_secret = 0;
const volatile __u32 page_fault_code_arg =
	2; /* which argument of kvm_page_fault is the error code */
const volatile __u32 splits_guest =
	0; /* kvm_intel or kvm_amd is loaded: entries and exits are seen */
/* Where the classic kvm_exit record has its fields (tracefs format). */
const volatile __u32 exit_record_reason = 8;
const volatile __u32 exit_record_isa = 24;

/* Set when all programs are attached, so that every counter starts at the same moment. */
__u32 collecting = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set by userspace */
	__type(key, __u32);
	__type(value, struct iho_slot);
} slots SEC(".maps");

/* Numbers of the slots that are free and zeroed. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1); /* set by userspace */
	__type(value, __u32);
} free_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set by userspace: possible CPUs */
	__type(key, __u32);
	__type(value, struct iho_cpu);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, IHO_SHARED);
	__type(key, __u32);
	__type(value, struct iho_drill);
} shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, IHO_VMS);
	__type(key, __u32);
	__type(value, struct iho_vm);
} vms SEC(".maps");

/* Never written: what a slot looks like that nobody has. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct iho_slot);
} blank SEC(".maps");

struct task_ref {
	__u32 idx; /* slot + 1 */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_ref);
} task_refs SEC(".maps");

/* What the first pass over the vCPU files tells the second pass over the threads. */
struct found_vcpu {
	__s32 vcpu_id;
	__u32 state;
	__u32 poll_limit_ns;
	__u32 idle;
	__u64 vm_key;
	__u64 pid; /* the thread's struct pid: a reused tid has another one */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* used for a moment, now and then */
	__uint(max_entries, 16384);
	__type(key, __u32); /* tid */
	__type(value, struct found_vcpu);
} found_vcpus SEC(".maps");

static __always_inline struct iho_slot *iho_slot_at(__u32 idx)
{
	return bpf_map_lookup_elem(&slots, &idx);
}

#include "state.h"

static __always_inline struct iho_cpu *cpu_at(__u32 cpu)
{
	return bpf_map_lookup_elem(&cpus, &cpu);
}

static __always_inline struct iho_cpu *this_cpu(void)
{
	return cpu_at(bpf_get_smp_processor_id());
}

static __always_inline void lose(enum iho_loss what)
{
	struct iho_cpu *c = this_cpu();

	if (c)
		c->loss[what]++;
}

/* Tells VMs apart without giving away a kernel address: a keyed mix that a reader cannot undo. */
static __always_inline __u64 vm_key(const void *kvm)
{
	__u64 k = (__u64)kvm ^ vm_key_secret;

	k = (k ^ (k >> 33)) * 0xff51afd7ed558ccdULL;
	k = (k ^ (k >> 33)) * (vm_key_secret | 1);
	return k ^ (k >> 33);
}

/* ---- slots and threads ---- */

/*
 * Takes a slot for a thread. Returns slot + 1, or 0. The kernel refuses task storage where another
 * program or the end of a task was interrupted in it on this CPU: an event is lost by that; an
 * iterator comes again.
 */
static __noinline __u32 slot_take(struct task_struct *task, __u64 now, __u32 state, __u32 resume,
				  __u32 event)
{
	struct task_ref ref = {}, *have;
	struct iho_slot *s;
	__u32 idx;

	if (!task)
		return 0;
	if (bpf_map_pop_elem(&free_slots, &idx)) {
		lose(IHO_LOSS_NO_SLOT);
		return 0;
	}
	s = iho_slot_at(idx);
	if (!s)
		return 0;
	s->core.first_ns = now;
	s->core.since_ns = now;
	s->core.state = state;
	s->core.resume = resume;
	s->guessed = state != IHO_ST_UNKNOWN;
	s->tgid = BPF_CORE_READ(task, tgid);
	s->tid = BPF_CORE_READ(task, pid);
	s->start_ns = BPF_CORE_READ(task, start_boottime);
	s->process_start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	s->cpu = BPF_CORE_READ(task, thread_info.cpu);
	s->vcpu_id = -1;

	/* From here on the scheduler's programs find the slot; whoever comes second gives his back.
	 */
	ref.idx = idx + 1;
	have = bpf_task_storage_get(&task_refs, task, &ref, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!have || have->idx != idx + 1) {
		if (!have && event)
			lose(IHO_LOSS_NO_STORAGE);
		bpf_map_push_elem(&free_slots, &idx, 0);
		return have ? have->idx : 0;
	}
	IHO_BARRIER();
	*(volatile __u32 *)&s->life = IHO_LIVE;
	return idx + 1;
}

/* The slot of the running thread when the CPU's record does not know it (yet). */
static __noinline __u32 slot_of_current(__u64 now, __u32 create)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct task_ref *ref = bpf_task_storage_get(&task_refs, task, NULL, 0);

	struct iho_slot *s;
	__u32 idx;

	if (ref)
		return ref->idx;
	if (!create)
		return 0;
	idx = slot_take(task, now, IHO_ST_UNKNOWN, IHO_ST_UNKNOWN, 1);
	s = idx ? iho_slot_at(idx - 1) : NULL;
	/* Taking the slot took time of its own: the bill starts when that is over. */
	if (s && s->core.state == IHO_ST_UNKNOWN && s->core.since_ns == now)
		s->core.first_ns = s->core.since_ns = bpf_ktime_get_ns();
	return idx;
}

/*
 * The CPU's record does not name the running thread: it is new, or its switch was not reported.
 * Looks at the thread itself, and sets the record right.
 */
static __noinline struct iho_slot *resync(__u32 create)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct iho_cpu *c = cpu_at(cpu), *waits;
	__u64 now = bpf_ktime_get_ns();
	struct iho_slot *s;
	__u32 idx;

	if (!c)
		return NULL;
	idx = slot_of_current(now, create);
	c->cur = idx;
	s = idx ? iho_slot_at(idx - 1) : NULL;
	if (!s)
		return NULL;
	if (s->wait_cpu) {
		waits = cpu_at(s->wait_cpu - 1);
		if (waits)
			iho_wait_end(waits, s, idx - 1);
	}
	iho_found_running(s, now, cpu);
	return s;
}

/* The slot of the vCPU whose thread runs here. `create`: certainly a vCPU, take a slot for it. */
static __always_inline struct iho_slot *running_slot(struct iho_cpu *c, __u32 create)
{
	struct iho_slot *s = c->cur ? iho_slot_at(c->cur - 1) : NULL;

	if (s && s->tid == (__u32)bpf_get_current_pid_tgid())
		return s;
	return resync(create);
}

/* Inside a vCPU's own KVM_RUN. */
static __always_inline struct iho_slot *vcpu_slot(void)
{
	struct iho_cpu *c = this_cpu();

	return c ? running_slot(c, 1) : NULL;
}

/*
 * Counts an event that may come from anywhere; returns the vCPU's slot if its thread emitted it.
 * Interrupt context borrows whatever thread it hits: then it is nobody's.
 */
static __always_inline struct iho_slot *count_event(enum iho_event ev)
{
	struct iho_cpu *c;
	struct iho_slot *s;

	if (!collecting)
		return NULL;
	c = this_cpu();
	if (!c)
		return NULL;
	s = c->hardirq_ns || c->softirq_ns ? NULL : running_slot(c, 0);
	if (s)
		s->events[ev]++;
	else
		c->events[ev]++;
	return s;
}

/* Without exits for HLT or MWAIT the guest idles in guest mode. */
static __always_inline __u32 idle_of(struct kvm *kvm)
{
	struct kvm___bits *bits = (struct kvm___bits *)kvm;
	__u64 in_guest;

	if (bpf_core_field_exists(bits->arch.disabled_exits))
		in_guest = BPF_CORE_READ(bits, arch.disabled_exits) &
			   (KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_MWAIT);
	else if (bpf_core_field_exists(kvm->arch.hlt_in_guest) &&
		 bpf_core_field_exists(kvm->arch.mwait_in_guest))
		in_guest = BPF_CORE_READ(kvm, arch.hlt_in_guest) ||
			   BPF_CORE_READ(kvm, arch.mwait_in_guest);
	else
		return IHO_IDLE_UNKNOWN;
	return in_guest ? IHO_IDLE_IN_GUEST : IHO_IDLE_EXITS;
}

static __always_inline void identify(struct iho_slot *s, struct kvm_vcpu *vcpu)
{
	if (s->vcpu_id >= 0 || !vcpu)
		return;
	s->vm_key = vm_key(BPF_CORE_READ(vcpu, kvm));
	s->idle = idle_of(BPF_CORE_READ(vcpu, kvm));
	if (!s->poll_next_ns && bpf_core_field_exists(vcpu->halt_poll_ns))
		s->poll_limit_ns = s->poll_next_ns = BPF_CORE_READ(vcpu, halt_poll_ns);
	IHO_BARRIER();
	s->vcpu_id = BPF_CORE_READ(vcpu, vcpu_id);
}

/* ---- entry and exit ---- */

SEC("raw_tp/kvm_entry")
int on_kvm_entry(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 now;
	struct iho_slot *s;

	if (!collecting)
		return 0;
	s = vcpu_slot();
	if (!s)
		return 0;
	now = bpf_ktime_get_ns();
	identify(s, (struct kvm_vcpu *)ctx->args[0]);
	s->events[IHO_EV_kvm_entry]++;
	iho_on_entry(s, now);
	return 0;
}

/* The raw arguments carry no reason: it is read where kvm's own tracepoint reads it. */
static __always_inline int exit_code(struct kvm_vcpu *vcpu, __u32 isa, __u32 *code)
{
	if (isa == IHO_ISA_VMX) {
		struct vcpu_vmx *vmx = (void *)vcpu;
		struct vcpu_vmx___vt *vt = (void *)vcpu;

		if (bpf_core_field_exists(vmx->exit_reason))
			return BPF_CORE_READ_INTO(code, vmx, exit_reason.full);
		if (bpf_core_field_exists(vt->vt))
			return BPF_CORE_READ_INTO(code, vt, vt.exit_reason.full);
	} else if (isa == IHO_ISA_SVM) {
		struct vcpu_svm *svm = (void *)vcpu;
		struct vmcb *vmcb;

		if (bpf_core_field_exists(svm->vmcb)) {
			vmcb = BPF_CORE_READ(svm, vmcb);
			return bpf_probe_read_kernel(
				code, sizeof(*code),
				__builtin_preserve_access_index(&vmcb->control.exit_code));
		}
	}
	return -1;
}

SEC("raw_tp/kvm_exit")
int on_kvm_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)ctx->args[0];
	__u32 isa = (__u32)ctx->args[1], code = ~0u;
	struct iho_slot *s;
	__u64 now;

	if (!collecting || !vcpu)
		return 0;
	s = vcpu_slot();
	if (!s)
		return 0;
	now = bpf_ktime_get_ns();
	if (exit_code(vcpu, isa, &code)) {
		lose(IHO_LOSS_READ);
		code = ~0u;
	}
	identify(s, vcpu);
	s->events[IHO_EV_kvm_exit]++;
	iho_on_exit(s, now, isa, code);
	return 0;
}

/* The classic tracepoint: its record has the reason and the ISA, at offsets that tracefs tells. */
SEC("tp/kvm/kvm_exit")
int exit_record(void *ctx)
{
	__u32 code = ~0u, isa = 0;
	struct iho_slot *s;

	if (!collecting)
		return 0;
	s = vcpu_slot();
	if (!s)
		return 0;
	if (bpf_probe_read_kernel(&code, sizeof(code), ctx + exit_record_reason) ||
	    bpf_probe_read_kernel(&isa, sizeof(isa), ctx + exit_record_isa))
		lose(IHO_LOSS_READ);
	s->events[IHO_EV_kvm_exit]++;
	iho_on_exit(s, bpf_ktime_get_ns(), isa, code);
	return 0;
}

SEC("raw_tp/kvm_userspace_exit")
int on_kvm_userspace_exit(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 now;
	struct iho_slot *s;

	if (!collecting)
		return 0;
	s = vcpu_slot();
	if (!s)
		return 0;
	now = bpf_ktime_get_ns();
	s->events[IHO_EV_kvm_userspace_exit]++;
	iho_on_userspace_exit(s, now, (__u32)ctx->args[0], (__s32)ctx->args[1]);
	return 0;
}

/* KVM loads the guest's FPU when KVM_RUN starts, and puts it back when it ends. */
SEC("raw_tp/kvm_fpu")
int on_kvm_fpu(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 now;
	struct iho_slot *s;

	if (!collecting || !(__u32)ctx->args[0])
		return 0;
	s = vcpu_slot();
	if (!s)
		return 0;
	now = bpf_ktime_get_ns();
	s->events[IHO_EV_kvm_fpu]++;
	iho_on_run(s, now);
	return 0;
}

SEC("raw_tp/kvm_halt_poll_ns")
int on_kvm_halt_poll_ns(struct bpf_raw_tracepoint_args *ctx)
{
	struct iho_slot *s = count_event(IHO_EV_kvm_halt_poll_ns);

	if (s)
		iho_on_halt_poll_ns(s, (__u32)ctx->args[2], (__u32)ctx->args[3]);
	return 0;
}

SEC("raw_tp/kvm_vcpu_wakeup")
int on_kvm_vcpu_wakeup(struct bpf_raw_tracepoint_args *ctx)
{
	struct iho_slot *s = count_event(IHO_EV_kvm_vcpu_wakeup);

	if (s)
		iho_on_vcpu_wakeup(s, bpf_ktime_get_ns(), ctx->args[0], (__u8)ctx->args[1]);
	return 0;
}

/* ---- drill-down, in the vCPU's thread ---- */

#define DRILL_PROG(event, kind, value)                                                             \
	SEC("raw_tp/" #event)                                                                      \
	int on_##event(struct bpf_raw_tracepoint_args *ctx)                                        \
	{                                                                                          \
		struct iho_slot *s = count_event(IHO_EV_##event);                                  \
                                                                                                   \
		if (s)                                                                             \
			iho_drill_add(s, kind, value);                                             \
		return 0;                                                                          \
	}

#define COUNT_PROG(event)                                                                          \
	SEC("raw_tp/" #event)                                                                      \
	int on_##event(void *ctx)                                                                  \
	{                                                                                          \
		count_event(IHO_EV_##event);                                                       \
		return 0;                                                                          \
	}

#define ARG(n)		     ((__u32)ctx->args[n])
#define KVM_TRACE_MMIO_READ  1
#define KVM_TRACE_MMIO_WRITE 2

DRILL_PROG(kvm_pio, IHO_DRILL_PIO, (__u64)ARG(1) << 1 | (ARG(0) & 1))
DRILL_PROG(kvm_fast_mmio, IHO_DRILL_FAST_MMIO, ctx->args[0] >> 12)
DRILL_PROG(kvm_msr, IHO_DRILL_MSR, (__u64)ARG(1) << 1 | (ARG(0) & 1))
DRILL_PROG(kvm_cpuid, IHO_DRILL_CPUID, iho_cpuid_leaf(ARG(0)))
DRILL_PROG(kvm_cr, IHO_DRILL_CR, (__u64)ARG(1) << 1 | (ARG(0) & 1))
DRILL_PROG(kvm_hypercall, IHO_DRILL_HYPERCALL, ctx->args[0])
DRILL_PROG(kvm_inj_virq, IHO_DRILL_INJ_VIRQ, ARG(0) & 0xff)
DRILL_PROG(kvm_inj_exception, IHO_DRILL_INJ_EXCEPTION, ARG(0) & 0xff)
DRILL_PROG(kvm_apic_ipi, IHO_DRILL_IPI, ARG(0) & 0x7ff)
DRILL_PROG(kvm_eoi, IHO_DRILL_EOI, ARG(1) & 0xff)
DRILL_PROG(kvm_pv_eoi, IHO_DRILL_PV_EOI, ARG(1) & 0xff)

SEC("raw_tp/kvm_mmio")
int on_kvm_mmio(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 type = ARG(0);
	struct iho_slot *s;

	/* A read is announced (unsatisfied) and then answered: it counts once, when it is answered.
	 */
	if (type != KVM_TRACE_MMIO_READ && type != KVM_TRACE_MMIO_WRITE)
		return 0;
	s = count_event(IHO_EV_kvm_mmio);
	if (s)
		iho_drill_add(s, IHO_DRILL_MMIO,
			      ctx->args[2] >> 12 << 1 | (type == KVM_TRACE_MMIO_WRITE));
	return 0;
}

SEC("raw_tp/kvm_page_fault")
int on_kvm_page_fault(struct bpf_raw_tracepoint_args *ctx)
{
	struct iho_slot *s = count_event(IHO_EV_kvm_page_fault);
	__u64 second = ctx->args[1], third = ctx->args[2];

	/* The verifier refuses a computed offset into the context: load both, then choose. */
	__asm__ volatile("" : "+r"(second), "+r"(third));
	if (s)
		iho_drill_add(s, IHO_DRILL_PAGE_FAULT, page_fault_code_arg == 2 ? third : second);
	return 0;
}

SEC("raw_tp/kvm_emulate_insn")
int on_kvm_emulate_insn(struct bpf_raw_tracepoint_args *ctx)
{
	struct iho_slot *s = count_event(IHO_EV_kvm_emulate_insn);

	/* On a host without kvm_entry/kvm_exit this is the event that tells who the vCPU is. */
	if (s)
		identify(s, (struct kvm_vcpu *)ctx->args[0]);
	return 0;
}

SEC("raw_tp/kvm_ple_window_update")
int on_kvm_ple_window_update(struct bpf_raw_tracepoint_args *ctx)
{
	struct iho_slot *s = count_event(IHO_EV_kvm_ple_window_update);

	if (s)
		s->ple_window = ARG(1);
	return 0;
}

/* ---- direct mode of the patched KVM ---- */

_Static_assert(IHO_DIRECT_TIMER == IHO_MODE_TIMER && IHO_DIRECT_IPI == IHO_MODE_IPI_RAW,
	       "bpf/iho.h has its own copy");
_Static_assert(IHO_DIRECT_MISSING_PAGE == IHO_MISSING_PAGE &&
		       IHO_DIRECT_MISSING_APIC == IHO_MISSING_APIC &&
		       IHO_DIRECT_MISSING_TSC_RATIO == IHO_MISSING_TSC_RATIO &&
		       IHO_DIRECT_MISSING_NESTED == IHO_MISSING_NESTED &&
		       IHO_DIRECT_MISSING_PINNED == IHO_MISSING_PINNED &&
		       IHO_DIRECT_MISSING_X2APIC == IHO_MISSING_X2APIC &&
		       IHO_DIRECT_MISSING_DRAINED == IHO_MISSING_DRAINED,
	       "bpf/iho.h has its own copy");

struct bpf_map;

struct modes_of_vm {
	__u64 vm_key;
	__u32 idle;
};

static long set_idle(struct bpf_map *map, const __u32 *idx, struct iho_slot *s,
		     struct modes_of_vm *vm)
{
	if (s->vm_key == vm->vm_key)
		s->idle = vm->idle;
	return 0;
}

/* In the thread of whoever changes the modes, after the change; seldom, so it may take a walk. */
SEC("raw_tp/kvm_iho_modes")
int on_kvm_iho_modes(struct bpf_raw_tracepoint_args *ctx)
{
	struct kvm *kvm = (struct kvm *)ctx->args[0];
	struct modes_of_vm vm = { .vm_key = vm_key(kvm), .idle = idle_of(kvm) };

	if (!collecting)
		return 0;
	count_event(IHO_EV_kvm_iho_modes);
	bpf_for_each_map_elem(&slots, set_idle, &vm, 0);
	return 0;
}

SEC("raw_tp/kvm_direct_vcpu")
int on_kvm_direct_vcpu(struct bpf_raw_tracepoint_args *ctx)
{
	struct iho_slot *s = count_event(IHO_EV_kvm_direct_vcpu);

	if (s)
		iho_on_direct_vcpu(s, ARG(1), ARG(2));
	return 0;
}

/* What has no room on the stack: programs on raw tracepoints keep their CPU. */
struct direct_scratch {
	struct iho_vcpu v;
	__u64 counter[IHO_DIRECT_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct direct_scratch);
} direct_scratch SEC(".maps");

/* The argument is of /dev/iho's ABI, so its layout is known. */
SEC("raw_tp/kvm_direct_stat")
int on_kvm_direct_stat(struct bpf_raw_tracepoint_args *ctx)
{
	struct iho_slot *s = count_event(IHO_EV_kvm_direct_stat);
	__u32 zero = 0;
	struct direct_scratch *scratch = bpf_map_lookup_elem(&direct_scratch, &zero);
	const struct iho_vcpu *v;
	__u64 *counter;

	if (!s || !scratch)
		return 0;
	v = &scratch->v;
	counter = scratch->counter;
	if (bpf_probe_read_kernel(&scratch->v, sizeof(*v), (const void *)ctx->args[1])) {
		lose(IHO_LOSS_READ);
		return 0;
	}
	counter[IHO_DIRECT_ENGAGED] = v->engaged;
	counter[IHO_DIRECT_GIVEN] = v->given;
	counter[IHO_DIRECT_TAKEN] = v->taken;
	counter[IHO_DIRECT_RECOVERED] = v->recovered;
	counter[IHO_DIRECT_HOST_TIMER] = v->host_timer;
	counter[IHO_DIRECT_IPIS_KICKED] = v->ipi_kicked;
	counter[IHO_DIRECT_DRAINED] = v->drained;
	counter[IHO_DIRECT_DEADLINES] = v->deadlines;
	counter[IHO_DIRECT_FIRED] = v->fired;
	counter[IHO_DIRECT_SPURIOUS] = v->spurious;
	counter[IHO_DIRECT_IPIS_POSTED] = v->ipis_posted;
	counter[IHO_DIRECT_IPIS_NOTIFIED] = v->ipis_notified;
	counter[IHO_DIRECT_IPIS_ASKED] = v->ipis_asked;
	counter[IHO_DIRECT_IDLE_NS] = v->idle_ns;
	counter[IHO_DIRECT_IRQ_NS] = v->irq_ns;
	counter[IHO_DIRECT_SOFTIRQ_NS] = v->softirq_ns;
	iho_on_direct_stat(s, bpf_ktime_get_ns(), v->modes, v->missing, counter, v->updated_ns);
	return 0;
}

COUNT_PROG(kvm_async_pf_not_present)
COUNT_PROG(kvm_async_pf_ready)
COUNT_PROG(kvm_async_pf_completed)
COUNT_PROG(kvm_async_pf_repeated_fault)
COUNT_PROG(kvm_dirty_ring_push)
COUNT_PROG(kvm_dirty_ring_reset)
COUNT_PROG(kvm_dirty_ring_exit)

/* ---- interrupts: counted for their VM ---- */

static __noinline int shared_add(__u64 key)
{
	__u32 h = iho_hash(key);

	for (__u32 i = 0; i < IHO_DRILL_PROBES; i++) {
		__u32 idx = (h + i) & (IHO_SHARED - 1);
		struct iho_drill *d = bpf_map_lookup_elem(&shared, &idx);

		if (!d)
			return 0;
		if (!d->key)
			__sync_val_compare_and_swap(&d->key, 0, key);
		if (d->key == key) {
			__sync_fetch_and_add(&d->count, 1);
			return 0;
		}
	}
	lose(IHO_LOSS_SHARED);
	return 0;
}

static __always_inline __u64 process_of(struct task_struct *task)
{
	return IHO_PROCESS(task->tgid, task->group_leader->start_boottime);
}

static __always_inline __u64 sender_process(void)
{
	struct iho_cpu *c = this_cpu();

	if (!c || c->hardirq_ns || c->softirq_ns)
		return 0;
	return process_of(bpf_get_current_task_btf());
}

#define SHARED_PROG(event, kind, apicid, vector)                                                   \
	SEC("raw_tp/" #event)                                                                      \
	int on_##event(struct bpf_raw_tracepoint_args *ctx)                                        \
	{                                                                                          \
		if (!collecting)                                                                   \
			return 0;                                                                  \
		count_event(IHO_EV_##event);                                                       \
		shared_add(IHO_SHARED_KEY(kind, apicid, vector, sender_process()));                \
		return 0;                                                                          \
	}

SHARED_PROG(kvm_apic_accept_irq, IHO_DRILL_APIC_ACCEPT, ARG(0), ARG(3))
SHARED_PROG(kvm_apicv_accept_irq, IHO_DRILL_APICV_ACCEPT, ARG(0), ARG(3))
/* The address and data of an MSI as the SDM has them: destination in bits 12-19, vector in 0-7. */
SHARED_PROG(kvm_msi_set_irq, IHO_DRILL_MSI, ctx->args[0] >> 12 & 0xff, ARG(1))
SHARED_PROG(kvm_pi_irte_update, IHO_DRILL_PI_IRTE, 0, ARG(3))

static __noinline struct iho_vm *vm_of(__u64 process)
{
	for (__u32 i = 0; i < IHO_DRILL_PROBES; i++) {
		__u32 idx = (iho_hash(process) + i) & (IHO_VMS - 1);
		struct iho_vm *vm = bpf_map_lookup_elem(&vms, &idx);

		if (!vm)
			return NULL;
		if (!vm->process && !__sync_val_compare_and_swap(&vm->process, 0, process))
			vm->last_reason = -1;
		if (vm->process == process)
			return vm;
	}
	lose(IHO_LOSS_SHARED);
	return NULL;
}

SEC("raw_tp/kvm_apicv_inhibit_changed")
int on_kvm_apicv_inhibit_changed(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 process = sender_process();
	struct iho_vm *vm;

	if (!collecting)
		return 0;
	count_event(IHO_EV_kvm_apicv_inhibit_changed);
	vm = process ? vm_of(process) : NULL;
	if (!vm)
		return 0;
	vm->inhibits = ctx->args[2];
	vm->last_reason = (__s32)ctx->args[0];
	vm->since_ns = bpf_ktime_get_ns();
	IHO_BARRIER();
	vm->changes++;
	return 0;
}

/* ---- scheduler ---- */

SEC("tp_btf/sched_switch")
int BPF_PROG(on_sched_switch, _Bool preempt, struct task_struct *prev, struct task_struct *next,
	     unsigned int prev_state)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct iho_cpu *c = cpu_at(cpu);
	struct task_ref *ref;
	struct iho_slot *s;
	__u64 now = 0;
	__u32 idx;

	if (!c || !collecting)
		return 0;
	if (c->n_waiters) {
		char comm[IHO_COMM];

		now = bpf_ktime_get_ns();
		bpf_probe_read_kernel(comm, sizeof(comm), prev->comm);
		iho_charge_waiters(c, prev->pid, comm, now);
	}

	idx = c->cur;
	if (!idx) { /* a vCPU that came in unreported? */
		ref = bpf_task_storage_get(&task_refs, prev, NULL, 0);
		idx = ref ? ref->idx : 0;
	}
	if (idx) {
		s = iho_slot_at(idx - 1);
		if (!now)
			now = bpf_ktime_get_ns();
		if (s && s->tid == (__u32)prev->pid) {
			if (s->wait_cpu)
				iho_wait_end(c, s, idx - 1);
			if (s->seq & 1) {
				c->loss[IHO_LOSS_NESTED]++;
			} else {
				iho_found_running(s, now, cpu);
				if (iho_on_sched_out(s, now, preempt, prev_state)) {
					c->switch_ns = now;
					iho_wait_begin(c, cpu, s, idx - 1, now);
				}
			}
		}
	}

	ref = bpf_task_storage_get(&task_refs, next, NULL, 0);
	if (!ref) {
		c->cur = 0;
		return 0;
	}
	idx = ref->idx;
	c->cur = idx;
	s = idx ? iho_slot_at(idx - 1) : NULL;
	if (!s)
		return 0;
	if (!now)
		now = bpf_ktime_get_ns();
	if (s->wait_cpu)
		iho_wait_end(c, s, idx - 1);
	s->events[IHO_EV_sched_switch]++;
	iho_on_sched_in(s, now, cpu);
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(on_sched_wakeup, struct task_struct *p)
{
	struct task_ref *ref;
	struct iho_slot *s;
	struct iho_cpu *c;
	__u32 cpu;

	if (!collecting)
		return 0;
	ref = bpf_task_storage_get(&task_refs, p, NULL, 0);
	if (!ref || !ref->idx)
		return 0;
	s = iho_slot_at(ref->idx - 1);
	cpu = p->thread_info.cpu;
	c = cpu_at(cpu);
	if (!s || !c)
		return 0;
	s->events[IHO_EV_sched_wakeup]++;
	iho_on_wakeup(s, bpf_ktime_get_ns(), c, cpu, ref->idx - 1);
	return 0;
}

SEC("tp_btf/sched_migrate_task")
int BPF_PROG(on_sched_migrate_task, struct task_struct *p, int dest_cpu)
{
	struct task_ref *ref;
	struct iho_slot *s;
	struct iho_cpu *c;

	if (!collecting)
		return 0;
	ref = bpf_task_storage_get(&task_refs, p, NULL, 0);
	if (!ref || !ref->idx)
		return 0;
	s = iho_slot_at(ref->idx - 1);
	if (!s)
		return 0;
	s->events[IHO_EV_sched_migrate_task]++;
	s->migrations++;
	/* It waits, and moves: the old CPU's run-queue lock is held, so it can leave that list. */
	if (s->wait_cpu) {
		c = cpu_at(s->wait_cpu - 1);
		if (c)
			iho_wait_end(c, s, ref->idx - 1);
	}
	return 0;
}

/* ---- interrupts on a vCPU's own core ---- */

SEC("raw_tp/irq_handler_entry")
int on_irq_handler_entry(void *ctx)
{
	struct iho_cpu *c = this_cpu();

	if (c && c->cur && collecting)
		c->hardirq_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("raw_tp/irq_handler_exit")
int on_irq_handler_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct iho_cpu *c = this_cpu();
	struct iho_slot *s;
	__u64 ns;

	if (!c || !c->hardirq_ns)
		return 0;
	ns = bpf_ktime_get_ns() - c->hardirq_ns;
	c->hardirq_ns = 0;
	if (c->softirq_ns)
		c->softirq_stolen_ns += ns;
	s = running_slot(c, 0);
	if (s) {
		s->events[IHO_EV_irq_handler_exit]++;
		iho_charge_hardirq(s, ARG(0), ns);
	}
	return 0;
}

SEC("raw_tp/softirq_entry")
int on_softirq_entry(void *ctx)
{
	struct iho_cpu *c = this_cpu();

	if (c && c->cur && collecting) {
		c->softirq_stolen_ns = 0;
		c->softirq_ns = bpf_ktime_get_ns();
	}
	return 0;
}

SEC("raw_tp/softirq_exit")
int on_softirq_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct iho_cpu *c = this_cpu();
	struct iho_slot *s;
	__u64 ns;

	if (!c || !c->softirq_ns)
		return 0;
	ns = bpf_ktime_get_ns() - c->softirq_ns - c->softirq_stolen_ns;
	c->softirq_ns = 0;
	s = running_slot(c, 0);
	if (s) {
		s->events[IHO_EV_softirq_exit]++;
		iho_charge_softirq(s, ARG(0), ns);
	}
	return 0;
}

/* -------------------------------------------------- vCPUs that were there before us, or are silent
 */

/* What a vCPU does at this moment, told from its kernel structures instead of from an event. */
static __always_inline __u32 state_now(struct kvm_vcpu *vcpu)
{
	if (BPF_CORE_READ(vcpu, wait.task))
		return IHO_ST_HALTED;
	if (BPF_CORE_READ(vcpu, mode) == IN_GUEST_MODE)
		return IHO_ST_GUEST;
	/* The VMM's thread holds this mutex for as long as an ioctl on the vCPU lasts. */
	if (BPF_CORE_READ(vcpu, mutex.owner.counter))
		return IHO_ST_KVM;
	return IHO_ST_QEMU;
}

/* First pass: every open vCPU file tells the vCPU, the thread that ran it last, and its VM. */
SEC("iter/task_file")
int find_vcpus(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct task_struct *task = ctx->task;
	struct found_vcpu found = {};
	struct kvm_vcpu *vcpu;
	struct iho_vm *vm;
	struct pid *pid;
	struct kvm *kvm;
	char name[sizeof(VCPU_NAME)] = {};
	__u32 tid;

	if (!file || !task)
		return 0;
	if (BPF_CORE_READ(file, f_inode, i_sb, s_magic) != ANON_INODE_FS_MAGIC)
		return 0;
	bpf_probe_read_kernel_str(name, sizeof(name),
				  BPF_CORE_READ(file, f_path.dentry, d_name.name));
	if (bpf_strncmp(name, sizeof(VCPU_NAME) - 1, VCPU_NAME))
		return 0;
	vcpu = BPF_CORE_READ(file, private_data);
	pid = BPF_CORE_READ(vcpu, pid);
	tid = BPF_CORE_READ(pid, numbers[0].nr);
	if (!tid)
		return 0;
	kvm = BPF_CORE_READ(vcpu, kvm);
	found.vcpu_id = BPF_CORE_READ(vcpu, vcpu_id);
	found.state = state_now(vcpu);
	found.vm_key = vm_key(kvm);
	found.idle = idle_of(kvm);
	found.pid = (__u64)pid;
	if (bpf_core_field_exists(vcpu->halt_poll_ns))
		found.poll_limit_ns = BPF_CORE_READ(vcpu, halt_poll_ns);
	bpf_map_update_elem(&found_vcpus, &tid, &found, BPF_ANY);

	if (!bpf_core_field_exists(kvm->arch.apicv_inhibit_reasons))
		return 0;
	vm = vm_of(process_of(task));
	if (vm && !vm->changes) {
		vm->inhibits = BPF_CORE_READ(kvm, arch.apicv_inhibit_reasons);
		if (!vm->since_ns)
			vm->since_ns = bpf_ktime_get_ns();
	}
	return 0;
}

/* Second pass: the threads among them that have no slot get one; the others learn who they are. */
SEC("iter/task")
int adopt_vcpus(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct found_vcpu *found;
	struct task_ref *ref;
	struct iho_slot *s;
	__u32 tid, idx, run, st, task_state;

	if (!task)
		return 0;
	tid = task->pid;
	found = bpf_map_lookup_elem(&found_vcpus, &tid);
	if (!found || found->pid != (__u64)task->thread_pid)
		return 0;
	ref = bpf_task_storage_get(&task_refs, task, NULL, 0);
	if (ref) {
		idx = ref->idx;
	} else {
		run = found->state == IHO_ST_HALTED ? IHO_ST_KVM : found->state;
		if (!splits_guest && run != IHO_ST_QEMU)
			run = IHO_ST_GUEST_OR_KVM;
		task_state = task->__state;
		st = run;
		if (task_state & IHO_TASK_STOPPED_OR_TRACED)
			st = IHO_ST_STOPPED;
		else if (found->state == IHO_ST_HALTED)
			st = IHO_ST_HALTED;
		else if (task_state)
			st = run == IHO_ST_QEMU ? IHO_ST_QEMU_ASLEEP : IHO_ST_BLOCKED;
		else if (!task->on_cpu)
			st = IHO_ST_PREEMPTED;
		idx = slot_take(task, bpf_ktime_get_ns(), st, run, 0);
	}
	s = idx ? iho_slot_at(idx - 1) : NULL;
	if (!s || s->vcpu_id >= 0)
		return 0;
	s->vm_key = found->vm_key;
	s->idle = found->idle;
	if (!s->poll_next_ns)
		s->poll_limit_ns = s->poll_next_ns = found->poll_limit_ns;
	IHO_BARRIER();
	s->vcpu_id = found->vcpu_id;
	return 0;
}

/*
 * The mapped maps are frozen before they are shared: readers, and whoever gets hold of a reader's
 * descriptor, cannot change them. So what the keeper has to change in them it asks for here.
 */

/* Blanks the slot of a thread that ended. */
SEC("syscall")
int clear_slot(struct iho_clear *ctx)
{
	__u32 idx = ctx->idx, zero = 0;
	struct iho_slot *s = iho_slot_at(idx), *none = bpf_map_lookup_elem(&blank, &zero);

	if (!s || !none || s->life != IHO_GONE)
		return 1;
	return bpf_map_update_elem(&slots, &idx, none, BPF_EXIST) ? 1 : 0;
}

/* Frees the entry of a process that ended, if it is still the one that was meant. */
SEC("syscall")
int clear_shared(struct iho_clear *ctx)
{
	__u32 idx = ctx->idx;
	struct iho_drill *d = bpf_map_lookup_elem(&shared, &idx);

	if (!d || d->key != ctx->key)
		return 1;
	d->count = 0;
	IHO_BARRIER();
	d->key = 0;
	return 0;
}

SEC("syscall")
int clear_vm(struct iho_clear *ctx)
{
	__u32 idx = ctx->idx;
	struct iho_vm *vm = bpf_map_lookup_elem(&vms, &idx);

	if (!vm || vm->process != ctx->key)
		return 1;
	__builtin_memset(vm, 0, sizeof(*vm));
	return 0;
}
