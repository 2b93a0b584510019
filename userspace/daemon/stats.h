/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one thing that needs CAP_SYS_ADMIN all the time: switching the kernel's BPF run-time
 * statistics on for a second now and then. A child does it, that keeps this capability and can do
 * nothing else: seccomp leaves it one bpf() command and a socket to its parent.
 */
#ifndef IHO_DAEMON_STATS_H
#define IHO_DAEMON_STATS_H

#include "collector.h"

/* Must be called while the process has one thread, and before it gives its capabilities up. */
int stats_start(int *socket, struct iho_error *err);

/* A descriptor of BPF_ENABLE_STATS, or a negative errno value. `arg`: the socket (int *). */
int stats_fd(void *arg);

#endif /* IHO_DAEMON_STATS_H */
