/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a worker may still do: read what it was given, talk to its parent, use memory within limits.
 */
#ifndef QUERY_SANDBOX_H
#define QUERY_SANDBOX_H

#include "../memory/target.h"

/*
 * `fd` is the socket to the parent. Gives up user, groups, capabilities and all system calls that
 * are of no use here, for ever. Where a part fails, there is no sandbox: the process must end.
 */
int sandbox_enter(int fd, struct vmi_error *err);

#endif /* QUERY_SANDBOX_H */
