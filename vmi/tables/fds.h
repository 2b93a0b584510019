/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: the open file descriptors of a process (include/linux/fdtable.h).
 */
#ifndef VMI_FDS_H
#define VMI_FDS_H

#include "task.h"

/* More than a process can have by default (NR_OPEN is 2^20); fs.nr_open can raise that. */
#define VMI_FDS_MAX (1u << 24)

struct vmi_fd {
	uint32_t fd;
	uint64_t file; /* gva of its struct file */
	uint64_t slot; /* where that pointer is */
};

struct vmi_fds {
	struct vmi_walk *w;
	/* private */
	uint64_t table, bitmap; /* gva of fdtable.fd[], fdtable.open_fds[] */
	uint32_t max, word; /* descriptors; the next 64 of them */
	uint64_t open; /* those of the current 64 that are still to come */
	uint64_t files[64], words[64];
	uint32_t words_from, words_n;
};

/* false: it has none (a zombie, a thread group whose leader ended), or they cannot be read. */
bool vmi_fds_start(struct vmi_fds *f, struct vmi_walk *w, const struct vmi_task *t);
/* By number. false: end. */
bool vmi_fds_next(struct vmi_fds *f, struct vmi_fd *out);

#endif /* VMI_FDS_H */
