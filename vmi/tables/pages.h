/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/tables: what is mapped, range by range, straight from the page tables. */
#ifndef VMI_PAGES_H
#define VMI_PAGES_H

#include "table.h"

struct vmi_mapped {
	uint64_t start, last; /* addresses; last is the last byte */
	uint64_t flags; /* VMI_PAGE_* */
};

/*
 * Calls `fn` for each range of [from, last] that is mapped with the same flags throughout, in
 * order; it returns true when it has enough. `mask`: the flags that matter. 0 or a negative errno
 * value.
 */
int vmi_mapped_each(struct vmi_walk *w, uint64_t pgd, uint64_t from, uint64_t last, uint64_t mask,
		    bool (*fn)(void *arg, const struct vmi_mapped *m), void *arg);

#endif /* VMI_PAGES_H */
