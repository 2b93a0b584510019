/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is looked into: a VM that runs, or a dump. In two steps, for the sake of privileges:
 *
 * vmi_target_find(), with privileges: finds the VMM's process or the file, the RAM regions and the
 * registers; parses nothing that the guest wrote (of a dump it looks at the magic number, and at
 * the offsets and lengths of a flattened one, which it puts in order). Its result is plain data and
 * descriptors, which can go to another process (to_json, fds).
 *
 * vmi_target_open(), without privileges, in the sandbox: maps the memory, or parses the dump.
 *
 * Functions return 0 or a negative errno value; with an error, `err` holds one sentence.
 */
#ifndef VMI_TARGET_H
#define VMI_TARGET_H

#include <jansson.h>

#include "mem.h"

struct vmi_error {
	char text[512];
};

/* One vCPU's registers, as far as known (bit mask `known`). */
enum vmi_reg_known {
	VMI_REG_GPR = 1 << 0, /* rip, rflags, gpr[] */
	VMI_REG_CR = 1 << 1, /* cr0, cr2, cr3, cr4 */
	VMI_REG_EFER = 1 << 2,
	VMI_REG_DTR = 1 << 3, /* idt, gdt */
	VMI_REG_SEG = 1 << 4, /* cs selector, fs and gs bases */
	VMI_REG_KERNEL_GS = 1 << 5,
	VMI_REG_LSTAR = 1 << 6,
};

struct vmi_vcpu {
	int id;
	uint32_t known; /* enum vmi_reg_known */
	uint64_t gpr[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8..r15: the order of the encoding */
	uint64_t rip, rflags;
	uint64_t cr0, cr2, cr3, cr4, efer;
	uint64_t idt_base, gdt_base;
	uint32_t idt_limit, gdt_limit;
	uint32_t cs;
	uint64_t fs_base, gs_base, kernel_gs_base;
	uint64_t lstar;
};

enum vmi_target_kind { VMI_TARGET_LIVE, VMI_TARGET_ELF, VMI_TARGET_KDUMP, VMI_TARGET_RAW };

struct vmi_target {
	enum vmi_target_kind kind;
	char name[64]; /* the VM's, or the file's last part */
	pid_t pid; /* of the VMM; 0: a dump */
	/* How it was found, for a person, printed by iho-query --about and the table vmi_target. */
	char how_ram[160]; /* "memfd of the VMM, mapped", "/proc/PID/mem" */
	char how_layout[160]; /* "QMP", "libvirt", "KVM's memory slots", "guessed: q35 ..." */
	char how_vcpus[160]; /* "QMP", "KVM", "notes of the dump", "none: ..." */
	struct vmi_region *regions; /* a dump has none until it is opened */
	size_t n_regions;
	struct vmi_vcpu *vcpus;
	size_t n_vcpus;
	/* VMCOREINFO where the target hands it out (ELF note, kdump); NULL else. NUL-terminated. */
	char *vmcoreinfo;
	int *fds; /* owned; regions name them by value. Of a dump, the first is the file */
	size_t n_fds;
	int pidfd; /* of the VMM, among the fds; -1: a dump */
	struct vmi_live *live; /* private: how to ask again; NULL in another process */
	struct vmi_kdump *kdump; /* private: an open kdump-compressed file */
};

struct vmi_find_options {
	const char *vm; /* name or pid of a VM; with neither, the only one that runs; or ... */
	const char *dump; /* ... a file: ELF core, kdump-compressed, or raw with map */
	const char *map; /* of a raw file: "GPA:BYTES@OFFSET,...", sizes with K, M, G */
	const char *qmp; /* a QMP socket to ask; NULL: those that the VM's command line names */
};

/* -ESRCH: no such VM; -EEXIST: the name fits several; -EACCES, -ENOTSUP (says what and why) */
int vmi_target_find(struct vmi_target **out, const struct vmi_find_options *o,
		    struct vmi_error *err);
void vmi_target_free(struct vmi_target *t);

/*
 * Between processes: a JSON object in which descriptors are indices into `fds`; from_json takes
 * ownership of the descriptors when it succeeds.
 */
json_t *vmi_target_to_json(const struct vmi_target *t);
int vmi_target_from_json(struct vmi_target **out, const json_t *j, const int *fds, size_t n_fds,
			 struct vmi_error *err);

/* One vCPU's registers, as vmi_target_to_json() has them in "vcpus". 0 or -EINVAL. */
int vmi_vcpu_from_json(struct vmi_vcpu *out, const json_t *j);

/* Parses a dump (regions, vcpus and vmcoreinfo are filled in) and opens the memory. */
int vmi_target_open(struct vmi_target *t, struct vmi_mem **mem, struct vmi_error *err);

/*
 * Does the VM still run? A mapping outlives the VMM, and holds its memory: whoever looks again and
 * again asks this before, and closes the target when it is over. 0, also for a dump; -EIO. Works
 * in the sandbox (one poll()).
 */
int vmi_target_alive(const struct vmi_target *t, struct vmi_error *err);

/*
 * With privileges again, for a live target: the registers as they are now. Neither stops the guest
 * nor causes an exit; what cannot be had that way stays unknown. 0, -ENOTSUP for a dump.
 */
int vmi_target_refresh(struct vmi_target *t, struct vmi_error *err);

#endif /* VMI_TARGET_H */
