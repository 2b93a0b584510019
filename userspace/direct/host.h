/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of the host's is kept off the vCPUs' CPUs: device interrupts and unbound workqueues. `undo`
 * is as in undo.h.
 */
#ifndef IHO_DIRECT_HOST_H
#define IHO_DIRECT_HOST_H

#include <jansson.h>

#include "cpus.h"

struct host_moved {
	unsigned int interrupts, fixed; /* on CPU 0 now; cannot be moved */
	bool workqueues; /* on CPU 0 alone; false: this kernel has no such file */
};

/* Adds to `undo` what is so before, of what host_move() is to move off these CPUs. */
int host_note(json_t *undo, const struct cpus *c, struct direct_error *err);

/* Moves it to CPU 0, and takes from `undo` what it cannot. */
int host_move(json_t *undo, const struct cpus *c, struct host_moved *moved,
	      struct direct_error *err);

/* Puts back what is in `undo`, of what still exists, but for what is in `keep` too, if not NULL. */
int host_restore(const json_t *undo, const json_t *keep, struct direct_error *err);

#endif /* IHO_DIRECT_HOST_H */
