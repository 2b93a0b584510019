// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a VM's memory lies, and its registers: read from KVM's own structs, so that neither the VMM
 * nor the vCPUs are asked and no vCPU leaves its guest for it.
 *
 * Iterators over the descriptors of one process. They run when userspace reads them, and end:
 * nothing stays behind. Of `on_slots_*` only the one is loaded that knows this kernel's memory
 * slots: a sorted array until 5.16, trees and a hash from 5.17 on (virt/kvm/kvm_main.c).
 */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "kvm_types.h"
#include "memslots.h"

char LICENSE[] SEC("license") = "GPL";

#define ANON_INODE_FS_MAGIC 0x09041934 /* linux/magic.h */
#define VMS		    8 /* in one process */
#define PRIVATE_SLOTS	    (0x7fff - 3) /* linux/kvm_host.h: KVM_USER_MEM_SLOTS, from 5.11 on */
#define ARRAY_MAX	    512 /* KVM_MEM_SLOTS_NUM of most kernels that have the array */

/* Only what is needed here; the rest of these types is in kvm_types.h. */
struct hlist_node {
	struct hlist_node *next;
} __core;

struct hlist_head {
	struct hlist_node *first;
} __core;

struct kvm_memory_slot {
	struct hlist_node id_node[2];
	__u64 base_gfn;
	unsigned long npages;
	unsigned long userspace_addr;
	__u32 flags;
	short id;
} __core;

struct kvm_memslots {
	__u64 generation;
	struct hlist_head id_hash[128];
	int node_idx;
} __core;

/* Until 5.16. */
struct kvm_memslots___array {
	__u64 generation;
	int used_slots;
	struct kvm_memory_slot memslots[1];
} __core;

struct kvm___slots {
	struct kvm_memslots *memslots[1];
} __core;

struct kvm_vcpu_arch {
	unsigned long regs[17];
	__u32 regs_avail; /* u32 or unsigned long: the low half tells all */
	unsigned long cr0, cr2, cr3, cr4;
	__u64 efer;
	_Bool guest_state_protected;
} __core;

struct kvm_vcpu___arch {
	struct kvm *kvm;
	int vcpu_id;
	struct kvm_vcpu_arch arch;
} __core;

/* arch/x86/include/asm/kvm_host.h; the numbers changed. */
enum kvm_reg {
	VCPU_REGS_RIP,
	VCPU_EXREG_CR0,
	VCPU_EXREG_CR3,
	VCPU_EXREG_CR4,
	VCPU_EXREG_RFLAGS,
};

/* arch/x86/include/asm/svm.h */
struct vmcb_seg {
	__u16 selector;
	__u32 limit;
	__u64 base;
} __core;

struct vmcb_save_area {
	struct vmcb_seg cs, fs, gs, gdtr, idtr;
	__u64 efer, cr0, cr2, cr3, cr4, rip, rsp, rax, rflags, kernel_gs_base, lstar;
} __core;

struct vmcb___save {
	struct vmcb_save_area save;
} __core;

/* The state of a nested guest has a VMCB of its own since 5.11. */
struct kvm_vmcb_info {
	struct vmcb___save *ptr;
} __core;

struct vcpu_svm___01 {
	struct kvm_vmcb_info vmcb01;
} __core;

struct vcpu_svm___save {
	struct vmcb___save *vmcb;
} __core;

/* Set by userspace before the load. */
const volatile __u32 wanted_tgid = 0;
const volatile __u32 hw_svm = 0; /* kvm_amd is loaded */

struct iho_memslot slots[IHO_MEMSLOTS];
struct iho_memslot_cpu cpus[IHO_MEMSLOT_CPUS];
__u64 kvms[VMS];
__u32 n_kvms = 0;
__u32 n_slots = 0;
__u32 n_cpus = 0;
__u32 torn = 0; /* slots changed while they were read, */
__u32 left_out = 0; /* or were too many */

/* The private data of a descriptor that is one of KVM's, by its name; NULL. */
static __always_inline void *kvm_file(struct bpf_iter__task_file *ctx, const char *want, int len)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	char name[16] = {};

	if (!task || !file || (__u32)task->tgid != wanted_tgid)
		return NULL;
	if (BPF_CORE_READ(file, f_inode, i_sb, s_magic) != ANON_INODE_FS_MAGIC)
		return NULL;
	bpf_probe_read_kernel_str(name, sizeof(name),
				  BPF_CORE_READ(file, f_path.dentry, d_name.name));
	for (int i = 0; i < len; i++)
		if (name[i] != want[i])
			return NULL;
	return BPF_CORE_READ(file, private_data);
}

/* The VM's number, -1: too many. */
static __always_inline int number_of(void *kvm, int *is_new)
{
	*is_new = 0;
	for (__u32 i = 0; i < VMS; i++) {
		if (i < n_kvms && kvms[i] == (__u64)kvm)
			return i;
	}
	for (__u32 i = 0; i < VMS; i++) {
		if (i == n_kvms) {
			kvms[i] = (__u64)kvm;
			n_kvms = i + 1;
			*is_new = 1;
			return i;
		}
	}
	left_out++;
	return -1;
}

static __always_inline void add_slot(struct kvm_memory_slot *s, __u32 vm)
{
	__u32 n = n_slots;
	struct iho_memslot *to;

	/* Pages of KVM's own, such as the one that virtual APICs are accessed by. */
	if (BPF_CORE_READ(s, id) >= PRIVATE_SLOTS)
		return;
	if (n >= IHO_MEMSLOTS) {
		left_out++;
		return;
	}
	to = &slots[n];
	to->gfn = BPF_CORE_READ(s, base_gfn);
	to->pages = BPF_CORE_READ(s, npages);
	to->hva = BPF_CORE_READ(s, userspace_addr);
	to->flags = BPF_CORE_READ(s, flags);
	to->vm = vm;
	n_slots = n + 1;
}

/*
 * In a map and not on the stack: until 6.7 the verifier looks at a loop's body once only, with what
 * is on the stack at the beginning, and cuts away what that does not reach.
 */
static struct hash_walk {
	struct kvm_memslots *all;
	struct hlist_node *node;
	__u32 bucket, index, vm;
} walk;

/* One step: on to the next bucket, or one slot of a bucket's list. */
static int hash_step(__u32 i, void *data)
{
	struct hash_walk *w = &walk;
	struct hlist_node *node = w->node;
	struct kvm_memory_slot *s;

	if (!node) {
		if (w->bucket >= 128)
			return 1;
		bpf_probe_read_kernel(&w->node, sizeof(w->node),
				      (char *)w->all +
					      bpf_core_field_offset(struct kvm_memslots, id_hash) +
					      w->bucket * sizeof(w->node));
		w->bucket++;
		return 0;
	}
	s = (void *)((char *)node - bpf_core_field_offset(struct kvm_memory_slot, id_node) -
		     w->index * bpf_core_type_size(struct hlist_node));
	add_slot(s, w->vm);
	w->node = BPF_CORE_READ(node, next);
	return 0;
}

/* The slots of address space 0: the other one is that of system management mode. */
SEC("iter/task_file")
int on_slots_hash(struct bpf_iter__task_file *ctx)
{
	struct kvm___slots *kvm = kvm_file(ctx, "kvm-vm", sizeof("kvm-vm"));
	struct kvm_memslots *all;
	__u64 generation;
	int vm, is_new;

	if (!kvm)
		return 0;
	vm = number_of(kvm, &is_new);
	if (vm < 0 || !is_new)
		return 0;
	all = BPF_CORE_READ(kvm, memslots[0]);
	generation = BPF_CORE_READ(all, generation);
	walk.vm = vm;
	walk.all = all;
	walk.index = BPF_CORE_READ(all, node_idx) & 1;
	walk.node = NULL;
	walk.bucket = 0;
	bpf_loop(IHO_MEMSLOTS + 129, hash_step, NULL, 0);
	if (walk.node || all != BPF_CORE_READ(kvm, memslots[0]) ||
	    generation != BPF_CORE_READ(all, generation))
		torn++;
	return 0;
}

SEC("iter/task_file")
int on_slots_array(struct bpf_iter__task_file *ctx)
{
	struct kvm___slots *kvm = kvm_file(ctx, "kvm-vm", sizeof("kvm-vm"));
	struct kvm_memslots___array *all;
	__u64 generation;
	int vm, is_new, n;

	if (!kvm)
		return 0;
	vm = number_of(kvm, &is_new);
	if (vm < 0 || !is_new)
		return 0;
	all = (void *)BPF_CORE_READ(kvm, memslots[0]);
	generation = BPF_CORE_READ(all, generation);
	n = BPF_CORE_READ(all, used_slots);
	if (n > ARRAY_MAX)
		left_out++;
	for (int i = 0; i < ARRAY_MAX; i++) {
		if (i >= n)
			break;
		add_slot((void *)((char *)all +
				  bpf_core_field_offset(struct kvm_memslots___array, memslots) +
				  i * bpf_core_type_size(struct kvm_memory_slot)),
			 vm);
	}
	if ((void *)all != BPF_CORE_READ(kvm, memslots[0]) ||
	    generation != BPF_CORE_READ(all, generation))
		torn++;
	return 0;
}

/* What KVM has cached since the last exit; elsewhere it lies in the VMCS, which is out of reach. */
static __always_inline void from_cache(struct iho_memslot_cpu *to, struct kvm_vcpu___arch *v)
{
	__u32 avail = BPF_CORE_READ(v, arch.regs_avail);

	bpf_probe_read_kernel(to->gpr, sizeof(to->gpr),
			      __builtin_preserve_access_index(&v->arch.regs));
	to->known |= IHO_MEMSLOT_KNOWS_GPR;
	if (avail & 1u << 4) /* the register's number in the encoding, which does not change */
		to->known |= IHO_MEMSLOT_KNOWS_RSP;
	to->rip = BPF_CORE_READ(v, arch.regs[16]);
	if (avail & 1u << bpf_core_enum_value(enum kvm_reg, VCPU_REGS_RIP))
		to->known |= IHO_MEMSLOT_KNOWS_RIP;
	to->cr2 = BPF_CORE_READ(v, arch.cr2);
	to->cr0 = BPF_CORE_READ(v, arch.cr0);
	if (!bpf_core_enum_value_exists(enum kvm_reg, VCPU_EXREG_CR0) ||
	    (avail & 1u << bpf_core_enum_value(enum kvm_reg, VCPU_EXREG_CR0)))
		to->known |= IHO_MEMSLOT_KNOWS_CR0;
	to->cr3 = BPF_CORE_READ(v, arch.cr3);
	if (avail & 1u << bpf_core_enum_value(enum kvm_reg, VCPU_EXREG_CR3))
		to->known |= IHO_MEMSLOT_KNOWS_CR3;
	to->cr4 = BPF_CORE_READ(v, arch.cr4);
	if (!bpf_core_enum_value_exists(enum kvm_reg, VCPU_EXREG_CR4) ||
	    (avail & 1u << bpf_core_enum_value(enum kvm_reg, VCPU_EXREG_CR4)))
		to->known |= IHO_MEMSLOT_KNOWS_CR4;
	to->efer = BPF_CORE_READ(v, arch.efer);
	to->known |= IHO_MEMSLOT_KNOWS_EFER;
}

/* AMD: the processor writes the guest's state into memory at each exit. */
static __always_inline void from_vmcb(struct iho_memslot_cpu *to, void *vcpu)
{
	struct vcpu_svm___01 *svm01 = vcpu;
	struct vcpu_svm___save *svm = vcpu;
	struct vmcb___save *b;

	if (bpf_core_field_exists(svm01->vmcb01))
		b = BPF_CORE_READ(svm01, vmcb01.ptr);
	else if (bpf_core_field_exists(svm->vmcb))
		b = BPF_CORE_READ(svm, vmcb);
	else
		return;
	if (!b)
		return;
	to->gpr[0] = BPF_CORE_READ(b, save.rax);
	to->gpr[4] = BPF_CORE_READ(b, save.rsp);
	to->rip = BPF_CORE_READ(b, save.rip);
	to->rflags = BPF_CORE_READ(b, save.rflags);
	to->cr0 = BPF_CORE_READ(b, save.cr0);
	to->cr2 = BPF_CORE_READ(b, save.cr2);
	to->cr3 = BPF_CORE_READ(b, save.cr3);
	to->cr4 = BPF_CORE_READ(b, save.cr4);
	to->idt_base = BPF_CORE_READ(b, save.idtr.base);
	to->idt_limit = BPF_CORE_READ(b, save.idtr.limit);
	to->gdt_base = BPF_CORE_READ(b, save.gdtr.base);
	to->gdt_limit = BPF_CORE_READ(b, save.gdtr.limit);
	to->cs = BPF_CORE_READ(b, save.cs.selector);
	to->fs_base = BPF_CORE_READ(b, save.fs.base);
	to->gs_base = BPF_CORE_READ(b, save.gs.base);
	to->kernel_gs_base = BPF_CORE_READ(b, save.kernel_gs_base);
	to->lstar = BPF_CORE_READ(b, save.lstar);
	to->known |= IHO_MEMSLOT_KNOWS_RIP | IHO_MEMSLOT_KNOWS_RSP | IHO_MEMSLOT_KNOWS_RFLAGS |
		     IHO_MEMSLOT_KNOWS_CR0 | IHO_MEMSLOT_KNOWS_CR3 | IHO_MEMSLOT_KNOWS_CR4 |
		     IHO_MEMSLOT_KNOWS_SAVE;
}

SEC("iter/task_file")
int on_cpus(struct bpf_iter__task_file *ctx)
{
	struct kvm_vcpu___arch *v = kvm_file(ctx, "kvm-vcpu", sizeof("kvm-vcpu") - 1);
	struct iho_memslot_cpu *to;
	__u32 n = n_cpus;
	int vm, is_new;

	if (!v)
		return 0;
	if (n >= IHO_MEMSLOT_CPUS) {
		left_out++;
		return 0;
	}
	vm = number_of(BPF_CORE_READ(v, kvm), &is_new);
	if (vm < 0)
		return 0;
	to = &cpus[n];
	__builtin_memset(to, 0, sizeof(*to));
	to->id = BPF_CORE_READ(v, vcpu_id);
	to->vm = vm;
	n_cpus = n + 1;
	/* SEV-ES, TDX: what KVM has of these is not what runs. */
	if (bpf_core_field_exists(v->arch.guest_state_protected) &&
	    BPF_CORE_READ(v, arch.guest_state_protected))
		return 0;
	from_cache(to, v);
	if (hw_svm)
		from_vmcb(to, v);
	return 0;
}
