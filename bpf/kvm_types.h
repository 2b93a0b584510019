/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The few kernel types that the programs read, each with only the fields that are used. libbpf
 * finds their real offsets in the running kernel's BTF (CO-RE), kvm built in or as a module.
 *
 * A name with three underscores is a variant: the field moved between kernels, and the program asks
 * for the one that exists.
 */
#ifndef IHO_KVM_TYPES_H
#define IHO_KVM_TYPES_H

#include <linux/types.h>

#define __core __attribute__((preserve_access_index))

typedef struct {
	__s64 counter;
} __core atomic64_t;

struct mutex {
	atomic64_t owner; /* atomic_long_t */
} __core;

struct rcuwait {
	struct task_struct *task;
} __core;

struct pid;

struct thread_info {
	__u32 cpu;
} __core;

struct task_struct {
	struct thread_info thread_info;
	unsigned int __state;
	int on_cpu;
	int pid;
	int tgid;
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	char comm[16];
} __core;

struct upid {
	int nr;
} __core;

struct pid {
	struct upid numbers[1];
} __core;

struct super_block {
	unsigned long s_magic;
} __core;

struct inode {
	struct super_block *i_sb;
} __core;

struct qstr {
	const unsigned char *name;
} __core;

struct dentry {
	struct qstr d_name;
} __core;

struct path {
	struct dentry *dentry;
} __core;

struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
} __core;

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} __core;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __core;

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
} __core;

struct kvm_arch {
	unsigned long apicv_inhibit_reasons;
	_Bool mwait_in_guest;
	_Bool hlt_in_guest;
} __core;

/* From 6.17 on: the bits of KVM_CAP_X86_DISABLE_EXITS. */
struct kvm_arch___bits {
	__u64 disabled_exits;
} __core;

struct kvm___bits {
	struct kvm_arch___bits arch;
} __core;

struct kvm {
	struct kvm_arch arch;
} __core;

struct kvm_vcpu {
	struct kvm *kvm;
	int vcpu_id;
	int mode;
	struct mutex mutex;
	struct rcuwait wait;
	struct pid *pid;
	unsigned int halt_poll_ns;
} __core;

/* arch/x86/kvm/vmx: the exit reason lies in vcpu_vmx itself until 6.15, in struct vcpu_vt after. */
union vmx_exit_reason {
	__u32 full;
} __core;

struct vcpu_vmx {
	union vmx_exit_reason exit_reason;
} __core;

struct vcpu_vt {
	union vmx_exit_reason exit_reason;
} __core;

struct vcpu_vmx___vt {
	struct vcpu_vt vt;
} __core;

/* arch/x86/kvm/svm: the exit code has 32 bits, or 64 in newer kernels; the low half tells all. */
struct vmcb_control_area {
	__u32 exit_code;
} __core;

struct vmcb {
	struct vmcb_control_area control;
} __core;

struct vcpu_svm {
	struct vmcb *vmcb;
} __core;

#endif /* IHO_KVM_TYPES_H */
