/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session of /dev/iho, which ends with its descriptor.
 */
#ifndef IHO_DIRECT_SESSION_H
#define IHO_DIRECT_SESSION_H

#include <stdint.h>

#include "direct.h"
#include <linux/iho.h>

/* What this host's KVM can: -ENOENT without /dev/iho, -EPERM, with the reason. */
int session_info(struct iho_info *info, struct direct_error *err);
/* Does the processor send a guest's IPIs by itself, here? */
bool session_has_ipiv(void);

/*
 * Opens a session for the VM of a process; `pidfd` gets a descriptor of the process. Returns the
 * session's. -EBUSY: the VM has another one.
 */
int session_open(pid_t pid, int *pidfd, struct direct_error *err);

/* -EOPNOTSUPP: refused, for the reasons in `*refused` (IHO_REFUSED_*), nothing was changed. */
int session_set(int session, uint32_t modes, uint32_t *refused, struct direct_error *err);

#endif /* IHO_DIRECT_SESSION_H */
