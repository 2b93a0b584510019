/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: a source fills the maps of bpf/iho.h, whatever it gets its events from,
 * and the rest of the library reads them there.
 */
#ifndef IHO_SOURCE_H
#define IHO_SOURCE_H

#include "collector.h"

/* The mapped records. `slots` has slot_stride bytes from one slot to the next. */
struct iho_maps {
	char *slots;
	size_t slot_stride;
	unsigned int n_slots;
	char *cpus;
	size_t cpu_stride;
	unsigned int n_cpus;
	struct iho_drill *shared; /* IHO_SHARED of them */
	struct iho_vm *vms; /* IHO_VMS of them */
	size_t bytes; /* of kernel memory */
};

struct iho_source {
	const char *name;
	struct iho_maps maps;
	/* Loads and attaches what this host has; afterwards all counters start at once. */
	int (*open)(struct iho_source *s, const struct iho_collector_options *o,
		    struct iho_error *err);
	/* Finds vCPUs that emitted no event yet, and says who the nameless ones are. */
	int (*find)(struct iho_source *s);
	/* Gives a slot back for a new vCPU. It must be IHO_GONE. */
	int (*recycle)(struct iho_source *s, unsigned int idx);
	/* Switches the measuring of the programs' own cost on or off, and reads it. */
	int (*cost_start)(struct iho_source *s);
	int (*cost_stop)(struct iho_source *s, uint64_t *ns, uint64_t *runs);
	bool (*uses)(const struct iho_source *s, const char *event, const char **how);
	void (*close)(struct iho_source *s);
	void *priv;
};

extern const struct iho_source iho_source_bpf;

static inline struct iho_slot *iho_maps_slot(const struct iho_maps *m, unsigned int idx)
{
	return (struct iho_slot *)(m->slots + (size_t)idx * m->slot_stride);
}

static inline struct iho_cpu *iho_maps_cpu(const struct iho_maps *m, unsigned int cpu)
{
	return (struct iho_cpu *)(m->cpus + (size_t)cpu * m->cpu_stride);
}

int iho_error_set(struct iho_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* IHO_SOURCE_H */
