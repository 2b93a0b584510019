/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What "pin" changed, and what it was before: a file of root's, which outlives the VMs and this
 * program. It is one for all VMs, because interrupts and workqueues are the host's.
 *
 *	{"version": 1,
 *	 "vms": [{"pid", "start", "name", "threads":
 *		[{"tid", "start", "name", "vcpu": -1 for none, "cpu", "was": "0-3"}]}],
 *	 "interrupts": [{"irq", "was"}],
 *	 "workqueues": "ff", or null}
 *
 * "start" is as of thread_start(). The host's part is what was before the first VM was pinned.
 */
#ifndef IHO_DIRECT_UNDO_H
#define IHO_DIRECT_UNDO_H

#include <jansson.h>

#include "direct.h"

#define UNDO_DIR "/run/iho/pin"

/*
 * The file, checked, or an empty one; others wait until undo_close(). With `make` false there is
 * nothing to lock without a file: -ENOENT, and `*undo` is empty. -EPROTO: it is not as above.
 */
int undo_open(bool make, int *dir, json_t **undo, struct direct_error *err);
void undo_close(int dir, json_t *undo);

/* Replaces the file at once; without a VM there is none. */
int undo_save(int dir, const json_t *undo, struct direct_error *err);

/* Borrowed; NULL: none. `start` of a process, or 0 for any. */
json_t *undo_find_vm(const json_t *undo, pid_t pid, uint64_t start);

/* Is its VMM still there, and no other process with its pid? */
bool undo_vm_lives(const json_t *vm);

#endif /* IHO_DIRECT_UNDO_H */
