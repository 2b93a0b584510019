/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starts iho-query's brokers, which find VMs and open their memory: a child that keeps what ihod
 * gives up, and does nothing else. It, and all that it started, ends with ihod.
 */
#ifndef IHO_DAEMON_LAUNCHER_H
#define IHO_DAEMON_LAUNCHER_H

#include "collector.h"

/* Must be called while the process has one thread, and before it gives its capabilities up. */
int launcher_start(int *socket, struct iho_error *err);

/* The socket of a new broker (vmi/query/broker.h), non-blocking, or a negative errno value. */
int launcher_broker(int *socket);

#endif /* IHO_DAEMON_LAUNCHER_H */
