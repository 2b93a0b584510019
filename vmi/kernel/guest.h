/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The door of vmi/kernel: a guest that was understood, as far as it could be.
 *
 *	mem (memory/mem.h) -> paging -> banner, VMCOREINFO, symbols, types -> struct vmi_guest
 *
 * Everything that reads the guest's virtual memory does so in a walk (walk.h), with a budget.
 */
#ifndef VMI_GUEST_H
#define VMI_GUEST_H

#include "../memory/target.h"
#include "symbols.h"
#include "types.h"

/* How much was understood; each level includes those before it. */
enum vmi_level {
	VMI_LEVEL_MEMORY, /* RAM and registers only: no Linux was found */
	VMI_LEVEL_BANNER, /* a Linux, by its banner; its page tables or symbols were not found */
	VMI_LEVEL_SYMBOLS, /* page tables and symbols, but no BTF */
	VMI_LEVEL_TYPES, /* all */
};

struct vmi_reference; /* tables/reference.h */

struct vmi_guest {
	struct vmi_target *target; /* not owned */
	struct vmi_mem *mem; /* not owned */
	enum vmi_level level;
	char missing[512]; /* what was found, what is missing, and what that costs; "" at TYPES */
	char evidence[512]; /* the two witnesses, for a person */
	bool no_vcpu; /* no known vCPU's page table is of this kernel: later registers may be */

	char banner[512]; /* "Linux version ..." without the newline; "" = not found */
	char release[65]; /* of the banner: "6.12.95+deb12-amd64" */
	char build_id[41]; /* hex; "" = not known */
	unsigned int version[2]; /* 6, 12: for messages only; features are probed */

	/* Virtual memory of the kernel. */
	bool la57;
	uint64_t pgd; /* gpa of init_mm's page table (swapper_pg_dir) */
	/*
	 * While `pgd` is not init_mm's but one the kernel is looked for by: its last entry as it
	 * was at first, since a process may end and its page be another's. 0 = as it is.
	 */
	uint64_t pgd_last;
	uint64_t text; /* gva of _text; KASLR included */
	uint64_t image_end; /* gva of _end */
	uint64_t phys_base; /* gpa = gva - __START_KERNEL_map + phys_base, in the image */
	uint64_t kaslr_offset;
	uint64_t page_offset; /* gva of the direct map of gpa 0 (page_offset_base) */
	uint64_t vmalloc_start, vmemmap_start; /* 0 = not known */
	uint32_t page_struct; /* bytes of a struct page; 0 = not known */
	unsigned int cpus; /* nr_cpu_ids as the guest has it, at most 8192 */

	struct vmi_symbols *symbols; /* from level SYMBOLS on */
	struct vmi_types *types; /* at level TYPES */

	/*
	 * Set by who opened the guest, and not owned: the kernel's text as it was built; NULL =
	 * none.
	 */
	const struct vmi_reference *reference;
	struct vmi_layout *layouts; /* private: layout.c; vmi_layouts_free() at the close */
};

/*
 * Tries to understand the guest. 0 unless memory ran out or reading broke: that little was found
 * is no error but a level and a sentence.
 */
int vmi_guest_open(struct vmi_guest **out, struct vmi_target *t, struct vmi_mem *mem,
		   struct vmi_error *err);
void vmi_guest_close(struct vmi_guest *g);

/*
 * Is the kernel that was understood still where it was? A guest that booted anew has another there,
 * or none. 0, or -ESTALE with a sentence; also 0 where too little was understood to tell.
 */
int vmi_guest_current(struct vmi_guest *g, struct vmi_error *err);

/* Shorthands; the guest must be at SYMBOLS / TYPES, else 0 / -ENOENT. */
uint64_t vmi_sym(const struct vmi_guest *g, const char *name);
int vmi_field(const struct vmi_guest *g, const char *path, struct vmi_field *out);

/* gva in the direct map for a gpa, and for a struct page its gpa (0 = cannot be told). */
uint64_t vmi_phys_to_virt(const struct vmi_guest *g, uint64_t gpa);
uint64_t vmi_page_to_phys(const struct vmi_guest *g, uint64_t page_gva);

#endif /* VMI_GUEST_H */
