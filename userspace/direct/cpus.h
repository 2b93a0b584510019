/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sets of CPUs, and which of them vCPUs are pinned to.
 */
#ifndef IHO_DIRECT_CPUS_H
#define IHO_DIRECT_CPUS_H

#include <sched.h>
#include <stdbool.h>

#include "direct.h"

#define MAX_CPUS 8192 /* as Linux has at most, x86's CONFIG_NR_CPUS */

struct cpus {
	cpu_set_t sets[MAX_CPUS / CPU_SETSIZE];
};

void cpus_add(struct cpus *c, unsigned int cpu);
bool cpus_have(const struct cpus *c, unsigned int cpu);
bool cpus_overlap(const struct cpus *a, const struct cpus *b);

/* Of a list such as "0-3,8"; -EINVAL: it is none, or names more than there can be. */
int cpus_parse(const char *list, struct cpus *c);

/* The same in the list's order, at most `max` of them. Returns how many; -EINVAL also for one
 * twice. */
int cpus_parse_order(const char *list, unsigned int *order, unsigned int max);

/*
 * `n` CPUs that are online, and neither CPU 0 nor `taken`: first those that have a core for
 * themselves, each time in ascending order, then their siblings, and last those whose core is
 * shared with CPU 0 or with one that is taken. `root`: where the host's /sys is, "" for this one's.
 * -ENOSPC: there are fewer.
 */
int cpus_choose(const char *root, const struct cpus *taken, unsigned int n, unsigned int *chosen,
		struct direct_error *err);

/* 0 if these are online, and neither CPU 0, nor `taken`; else -EINVAL or -EBUSY. */
int cpus_check(const char *root, const struct cpus *taken, unsigned int n, const unsigned int *cpus,
	       struct direct_error *err);

#endif /* IHO_DIRECT_CPUS_H */
