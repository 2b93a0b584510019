/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: where the guest's kernel has code, and what an address in it is called.
 *
 * The map is read once for a scan: the kernel's image, modules, programs that BPF's JIT made, what
 * ftrace and kprobes generate. Code elsewhere in the kernel's half is not of the kernel's making.
 */
#ifndef VMI_CODE_H
#define VMI_CODE_H

#include "modules.h"

enum vmi_code_kind {
	VMI_CODE_UNKNOWN, /* no code is known there */
	VMI_CODE_KERNEL, /* the image's text */
	VMI_CODE_INIT, /* the image's init text: only while it boots */
	VMI_CODE_MODULE,
	VMI_CODE_BPF, /* a program, trampoline or dispatcher that the JIT made */
	VMI_CODE_FTRACE, /* a trampoline of ftrace */
	VMI_CODE_KPROBE, /* copies of instructions that a kprobe replaced */
};

struct vmi_code_range {
	uint64_t start, end; /* [start, end) */
	enum vmi_code_kind kind;
	char name[128]; /* of a module, or of the program: raw bytes */
	uint32_t module; /* VMI_CODE_MODULE: which of vmi_code_modules() */
	bool named; /* by the kernel, in /proc/kallsyms */
};

struct vmi_code;

/* 0 or a negative errno value. What this kernel has not, is not there. */
int vmi_code_open(struct vmi_code **out, struct vmi_walk *w);
void vmi_code_close(struct vmi_code *c);

/* The range that holds `addr`; NULL = unknown. */
const struct vmi_code_range *vmi_code_at(const struct vmi_code *c, uint64_t addr);
enum vmi_code_kind vmi_code_kind(const struct vmi_code *c, uint64_t addr);
/* "kernel", "module", "bpf", ... */
const char *vmi_code_kind_key(enum vmi_code_kind kind);

/* The modules of the list, and all ranges by address. */
const struct vmi_module *vmi_code_modules(const struct vmi_code *c, size_t *n);
const struct vmi_code_range *vmi_code_ranges(const struct vmi_code *c, size_t *n);

/*
 * As the kernel's %pS says it, without the size: "vfs_read+0x10", "nft_do_chain+0x0 [nf_tables]";
 * with `exact` the "+0x0" is left out. A data address in a module is named too. "" = unknown.
 */
void vmi_code_name(struct vmi_code *c, uint64_t addr, bool exact, char *buf, size_t size);

/*
 * The symbol alone and how far behind it the address is; the module's name ("" = kernel). Both live
 * as long as `c`. -ENOENT.
 */
int vmi_code_symbol(struct vmi_code *c, uint64_t addr, const char **symbol, uint64_t *offset,
		    const char **module);

#endif /* VMI_CODE_H */
