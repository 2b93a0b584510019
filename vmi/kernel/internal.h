/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/kernel: the parts that vmi_guest_open() puts together. */
#ifndef VMI_KERNEL_INTERNAL_H
#define VMI_KERNEL_INTERNAL_H

#include "walk.h"

#define VMI_BTF_MAX (64u << 20)

/* As vmi_types_open(), with a blob from malloc() that becomes the index's, also on failure. */
int vmi_types_adopt(struct vmi_types **out, void *blob, size_t bytes, const struct vmi_types *base);

/*
 * Where kallsyms' tables are (gva), as VMCOREINFO of 6.0 on names them; 0 = not known. Kernels
 * before 6.11 may use absolute addresses instead of offsets, in `offsets`' place.
 */
struct vmi_kallsyms {
	uint64_t names, num_syms, token_table, token_index, offsets, relative_base;
};

/*
 * Decodes the symbols. Where `at` does not name the tables they are searched for in [text, end), of
 * which not all need be mapped. Accepted only if `_text` or `_stext` lies in the image and
 * linux_banner is where a banner is. Returns 0, -ENOENT (no tables, or not whole), -ENOMEM, or the
 * walk's error; `why` gets a clause for a person.
 */
int vmi_symbols_open(struct vmi_symbols **out, struct vmi_walk *w, const struct vmi_kallsyms *at,
		     uint64_t text, uint64_t end, char *why, size_t size);

#endif /* VMI_KERNEL_INTERNAL_H */
