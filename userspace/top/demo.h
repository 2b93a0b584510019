/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts and ends the bundled demo tenant (userspace/demo), the program beside our own. */
#ifndef IHO_TOP_DEMO_H
#define IHO_TOP_DEMO_H

#include "collector.h"

/* Where a VM runs already, without our help. */
bool iho_demo_needed(void);

/* Starts it and waits until its vCPUs exist. It dies with this process, whatever way that ends. */
int iho_demo_start(pid_t *pid, struct iho_error *err);
void iho_demo_stop(pid_t pid);

#endif /* IHO_TOP_DEMO_H */
