/* SPDX-License-Identifier: GPL-2.0-only */
/* What memslots.bpf.c finds in one process, and userspace reads: the VMs' memory and registers. */
#ifndef IHO_MEMSLOTS_H
#define IHO_MEMSLOTS_H

#include <linux/types.h>

#define IHO_MEMSLOTS	 4096
#define IHO_MEMSLOT_CPUS 1024

/* A memory slot, as KVM_SET_USER_MEMORY_REGION made it. */
struct iho_memslot {
	__u64 gfn, pages;
	__u64 hva; /* in the VMM */
	__u32 flags; /* KVM_MEM_READONLY ... */
	__u32 vm; /* the VM's number in the process, from 0 */
};

enum {
	IHO_MEMSLOT_KNOWS_GPR = 1 << 0, /* but rsp */
	IHO_MEMSLOT_KNOWS_RIP = 1 << 1,
	IHO_MEMSLOT_KNOWS_RSP = 1 << 2,
	IHO_MEMSLOT_KNOWS_RFLAGS = 1 << 3,
	IHO_MEMSLOT_KNOWS_CR0 = 1 << 4, /* and cr2 */
	IHO_MEMSLOT_KNOWS_CR3 = 1 << 5,
	IHO_MEMSLOT_KNOWS_CR4 = 1 << 6,
	IHO_MEMSLOT_KNOWS_EFER = 1 << 7,
	IHO_MEMSLOT_KNOWS_SAVE = 1 << 8, /* all of the VMCB's save area: what stands behind cr4 */
};

/* A vCPU's registers, as KVM had them after its last exit. */
struct iho_memslot_cpu {
	__u64 gpr[16];
	__u64 rip, rflags;
	__u64 cr0, cr2, cr3, cr4, efer;
	__u64 idt_base, gdt_base, fs_base, gs_base, kernel_gs_base, lstar;
	__u32 idt_limit, gdt_limit, cs;
	__u32 known; /* IHO_MEMSLOT_KNOWS_... */
	__s32 id;
	__u32 vm;
};

#endif /* IHO_MEMSLOTS_H */
