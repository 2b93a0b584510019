/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What ihod may do, and where it runs.
 */
#ifndef IHO_DAEMON_PRIVILEGES_H
#define IHO_DAEMON_PRIVILEGES_H

#include "collector.h"

/*
 * Gives up what is needed only at start. What stays, for as long as the process lives:
 * CAP_BPF and CAP_PERFMON (iterators that find vCPUs), CAP_SYS_PTRACE (names and threads of VMs
 * whose /proc is closed to others). Neither this process nor one that it executes can get more.
 */
int privileges_drop(struct iho_error *err);

/* The hypervisor's core: all of ihod runs there, so that the tenants' cores see none of it. */
int privileges_stay_on(unsigned int cpu, struct iho_error *err);

#endif /* IHO_DAEMON_PRIVILEGES_H */
