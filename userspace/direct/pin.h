/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A CPU for each vCPU, and CPU 0 for all else: the VMM's other threads, the kernel's that work for
 * the VM, device interrupts and unbound workqueues. What was before is in UNDO_DIR.
 */
#ifndef IHO_DIRECT_PIN_H
#define IHO_DIRECT_PIN_H

#include <jansson.h>

#include "direct.h"

/*
 * All, or nothing is changed. `cpus`: a list such as "2,4-6", of which the first vCPU gets the
 * first; NULL: as of cpus_choose(). Tells it to stdout. Returns the exit status.
 */
int pin_print(const struct direct_vm *vm, const char *cpus, bool json);

/* Puts back what still exists; `which` is a process or a name, also of a VM that has ended. */
int unpin_print(const char *which, bool json);

/* Of a VM in the undo file: a new array of {"vcpu", "tid", "cpu"}. */
json_t *pin_vcpus_json(const json_t *vm);

#endif /* IHO_DIRECT_PIN_H */
