/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IHO_DIRECT_DOCTOR_H
#define IHO_DIRECT_DOCTOR_H

#include "direct.h"

/*
 * What this host, and the VM if there is one, has of what direct mode needs, and what to do about
 * the rest, to stdout. `root`: where the host's /proc, /sys and /dev are, "" for this one's.
 * Returns the exit status: 1 if something is missing without which there is no direct mode.
 */
int doctor_print(const char *root, const struct direct_vm *vm, bool json);

#endif /* IHO_DIRECT_DOCTOR_H */
