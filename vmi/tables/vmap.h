/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/tables: areas that the kernel mapped for itself (Linux: mm/vmalloc.c). */
#ifndef VMI_VMAP_H
#define VMI_VMAP_H

#include "table.h"

struct vmi_vmap {
	uint64_t start, end; /* [start, end) */
	uint64_t caller; /* the code that asked for it; 0 = not known */
};

/*
 * Calls `fn` for each area in use; it returns true when it has enough. Areas come by address until
 * 6.8; since then they are spread over nodes. 0; -ENOENT: not understood.
 */
int vmi_vmaps(struct vmi_walk *w, bool (*fn)(void *arg, const struct vmi_vmap *v), void *arg);

#endif /* VMI_VMAP_H */
