// SPDX-License-Identifier: GPL-2.0-or-later
#include "cpus.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "vmname.h"

#define LIST_LEN 32768 /* every other CPU of MAX_CPUS */

void cpus_add(struct cpus *c, unsigned int cpu)
{
	if (cpu < MAX_CPUS)
		CPU_SET_S(cpu, sizeof(*c), c->sets);
}

bool cpus_have(const struct cpus *c, unsigned int cpu)
{
	return cpu < MAX_CPUS && CPU_ISSET_S(cpu, sizeof(*c), c->sets);
}

bool cpus_overlap(const struct cpus *a, const struct cpus *b)
{
	struct cpus both;

	CPU_AND_S(sizeof(both), both.sets, a->sets, b->sets);
	return CPU_COUNT_S(sizeof(both), both.sets) > 0;
}

static void add_range(unsigned int first, unsigned int last, void *arg)
{
	for (unsigned int cpu = first; cpu <= last && cpu < MAX_CPUS; cpu++)
		cpus_add(arg, cpu);
}

int cpus_parse(const char *list, struct cpus *c)
{
	int n;

	memset(c, 0, sizeof(*c));
	n = iho_cpu_ranges(list, add_range, c);
	return n > 0 && n == CPU_COUNT_S(sizeof(*c), c->sets) ? 0 : -EINVAL;
}

struct order {
	unsigned int *cpus, n, max;
};

static void append_range(unsigned int first, unsigned int last, void *arg)
{
	struct order *o = arg;

	for (unsigned int cpu = first; cpu <= last && o->n < o->max; cpu++)
		o->cpus[o->n++] = cpu;
}

int cpus_parse_order(const char *list, unsigned int *order, unsigned int max)
{
	struct order o = { .cpus = order, .max = max };
	struct cpus c;

	if (cpus_parse(list, &c))
		return -EINVAL;
	iho_cpu_ranges(list, append_range, &o);
	return (int)o.n;
}

/* ---- which of them ---- */

static int read_cpus(const char *root, const char *path, struct cpus *c)
{
	static char list[LIST_LEN];
	char full[PATH_MAX];
	FILE *f;

	snprintf(full, sizeof(full), "%s/sys/devices/system/cpu/%s", root, path);
	f = fopen(full, "re");
	if (!f)
		return -errno;
	list[0] = 0;
	if (!fgets(list, sizeof(list), f))
		list[0] = 0;
	fclose(f);
	list[strcspn(list, "\n")] = 0;
	return cpus_parse(list, c);
}

static int read_online(const char *root, struct cpus *c, struct direct_error *err)
{
	int r = read_cpus(root, "online", c);

	return r ? direct_fail(err, r, "cannot tell which CPUs are online: %s", strerror(-r)) : 0;
}

enum share { ALONE, SIBLING, SHARED, NR_SHARES };

/* A CPU whose siblings are not told has none. */
static enum share share_of(const char *root, const struct cpus *online, const struct cpus *taken,
			   unsigned int cpu)
{
	struct cpus core;
	char path[64];

	snprintf(path, sizeof(path), "cpu%u/topology/thread_siblings_list", cpu);
	if (read_cpus(root, path, &core))
		return ALONE;
	if (cpus_have(&core, 0) || cpus_overlap(&core, taken))
		return SHARED;
	for (unsigned int lower = 0; lower < cpu; lower++)
		if (cpus_have(&core, lower) && cpus_have(online, lower))
			return SIBLING;
	return ALONE;
}

int cpus_choose(const char *root, const struct cpus *taken, unsigned int n, unsigned int *chosen,
		struct direct_error *err)
{
	unsigned int at = 0;
	struct cpus online;
	int r = read_online(root, &online, err);

	if (r)
		return r;
	for (int share = ALONE; share < NR_SHARES; share++) {
		for (unsigned int cpu = 1; cpu < MAX_CPUS && at < n; cpu++) {
			if (cpus_have(&online, cpu) && !cpus_have(taken, cpu) &&
			    (int)share_of(root, &online, taken, cpu) == share)
				chosen[at++] = cpu;
		}
	}
	if (at < n)
		return direct_fail(err, -ENOSPC,
				   "%u vCPUs need as many CPUs beside CPU 0 and those of other "
				   "pinned VMs, and there are %u",
				   n, at);
	return 0;
}

int cpus_check(const char *root, const struct cpus *taken, unsigned int n, const unsigned int *cpus,
	       struct direct_error *err)
{
	struct cpus online;
	int r = read_online(root, &online, err);

	if (r)
		return r;
	for (unsigned int i = 0; i < n; i++) {
		if (!cpus[i])
			return direct_fail(err, -EINVAL, "CPU 0 is the host's own");
		if (!cpus_have(&online, cpus[i]))
			return direct_fail(err, -EINVAL, "CPU %u is not online", cpus[i]);
		if (cpus_have(taken, cpus[i]))
			return direct_fail(err, -EBUSY, "CPU %u is another pinned VM's", cpus[i]);
	}
	return 0;
}
