/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/kernel: the parts that vmi_guest_open() (guest.c) puts together: where an image of
 * a kernel is (image.c), its symbols (symbols.c), its types (types.c).
 */
#ifndef VMI_KERNEL_INTERNAL_H
#define VMI_KERNEL_INTERNAL_H

#include "walk.h"

/* -------------------------------------------------------------------------------------- image.c */

#define VMI_START_KERNEL_MAP 0xffffffff80000000ull /* Documentation/arch/x86/x86_64/mm.rst */

enum vmi_image_from {
	VMI_IMAGE_VCPU, /* a vCPU's page table */
	VMI_IMAGE_NOTE, /* VMCOREINFO, as the target hands it out */
	VMI_IMAGE_TRAMPOLINE, /* the page table that CPUs are started with, below 1 MiB */
	VMI_IMAGE_SCAN, /* a page that looks like VMCOREINFO, anywhere: any process can write one */
};

/* What may be a kernel's image: a part of the upper 2 GiB that a page table maps in one piece. */
struct vmi_image {
	enum vmi_image_from from;
	uint64_t pgd; /* gpa of the page table, which may be a process': */
	uint64_t last; /* its last entry, which maps the image, and is the same in all of them */
	bool la57;
	uint64_t start, end; /* gva */
	uint64_t phys_base; /* gpa = gva - VMI_START_KERNEL_MAP + phys_base */
};

/*
 * Calls `try` for what may be the running kernel's image, most trustworthy first, until it returns
 * true. The same image is tried once. While it runs, and after it, w->guest translates as the
 * image that was tried last has it.
 */
void vmi_image_find(struct vmi_walk *w, bool (*try)(void *arg, const struct vmi_image *im),
		    void *arg);

/* A number of VMCOREINFO (kernel/vmcore_info.c): the line that begins with `key`. */
bool vmi_info_number(const char *info, const char *key, int base, uint64_t *out);

/*
 * Bytes in a page table's last entry, which maps the image, that must be equal in all processes:
 * does this vCPU's table have the same as the one at gpa `pgd`?
 */
bool vmi_image_shared(struct vmi_walk *w, const struct vmi_vcpu *c, uint64_t pgd);

/* The vCPU runs in long mode with a page table, as far as its registers are known. */
bool vmi_vcpu_pages(const struct vmi_vcpu *c);

/* ------------------------------------------------------------------------------------ symbols.c */

/*
 * Where kallsyms' tables are (gva), as VMCOREINFO of 6.0 on names them; 0 = not known. Kernels
 * before 6.11 may use absolute addresses instead of offsets, in `offsets`' place.
 */
struct vmi_kallsyms {
	uint64_t names, num_syms, token_table, token_index, offsets, relative_base;
};

/*
 * Decodes the symbols. Where `at` (may be NULL) does not name the tables they are searched for in
 * [text, end), of which not all need be mapped. Accepted only if `_text` or `_stext` is the image's
 * start and linux_banner is where a banner is. Returns 0, -ENOENT (no tables, or not whole),
 * -ENOMEM, or the walk's error; `why` gets a clause for a person.
 */
int vmi_symbols_open(struct vmi_symbols **out, struct vmi_walk *w, const struct vmi_kallsyms *at,
		     uint64_t text, uint64_t end, char *why, size_t size);

/* -------------------------------------------------------------------------------------- types.c */

#define VMI_BTF_MAX (64u << 20)

/* As vmi_types_open(), with a blob from malloc() that becomes the index's, also on failure. */
int vmi_types_adopt(struct vmi_types **out, void *blob, size_t bytes, const struct vmi_types *base);

#endif /* VMI_KERNEL_INTERNAL_H */
