/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: a source fills the maps of bpf/iho.h, whatever it gets its events from,
 * and the rest of the library reads them there.
 */
#ifndef IHO_SOURCE_H
#define IHO_SOURCE_H

#include "collector.h"

/*
 * What whoever keeps the slots (keeper.h) writes beside BPF, so that readers in other processes can
 * read it with the slots: sums of the slots that were given back. `generation` is odd while slots
 * change hands; a copy is whole if it is even, and the same, before and after.
 */
struct iho_ledger {
	uint64_t generation;
	uint64_t start_realtime_ns; /* when the counters began, since the epoch */
	uint64_t events;
	uint64_t unpaired, clock_back, missed_switches;
	uint64_t exit_overflow, irq_overflow, drill_overflow, interlopers_evicted;
	uint64_t archived; /* entries of the archive that were ever used */
};

/*
 * After the ledger, in the same file, at the next page, comes the archive: slots of threads that
 * ended while their VM lives on. As many as there are slots; only their first `archived` are read.
 */
size_t iho_ledger_bytes(unsigned int n_slots);
const struct iho_slot *iho_ledger_archive(const struct iho_ledger *l);

/* The mapped records. `slots` has slot_stride bytes from one slot to the next. */
struct iho_maps {
	const char *slots;
	size_t slot_stride;
	unsigned int n_slots;
	const char *cpus;
	size_t cpu_stride;
	unsigned int n_cpus;
	const struct iho_drill *shared; /* IHO_SHARED of them */
	const struct iho_vm *vms; /* IHO_VMS of them */
	const struct iho_ledger *ledger;
	const struct iho_slot *archive; /* n_slots of them */
	size_t bytes; /* of kernel memory */
};

/* The maps' names in bpf/iho.bpf.c, and in the order of struct iho_maps. */
enum iho_map { IHO_MAP_SLOTS, IHO_MAP_CPUS, IHO_MAP_SHARED, IHO_MAP_VMS, IHO_MAP_MAX };

/* How large a mapping of a BPF array is: the kernel rounds each value up to 8 bytes. */
size_t iho_map_stride(size_t value_bytes);
size_t iho_map_bytes(size_t value_bytes, unsigned int n);

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
	/* Frees an entry of IHO_MAP_SHARED or IHO_MAP_VMS, if its key or process is still this. */
	int (*forget)(struct iho_source *s, enum iho_map map, unsigned int idx, uint64_t key);
	/*
	 * Switches the measuring of the programs' own cost on or off, and reads it. `fd` is of
	 * BPF_ENABLE_STATS and now the source's, or -1: get one.
	 */
	int (*cost_start)(struct iho_source *s, int fd);
	int (*cost_stop)(struct iho_source *s, uint64_t *ns, uint64_t *runs);
	bool (*uses)(const struct iho_source *s, const char *event, const char **how);
	/* The descriptor of a map, which is frozen: others may read it. The source's. */
	int (*share)(const struct iho_source *s, enum iho_map map);
	void (*close)(struct iho_source *s);
	void *priv;
};

extern const struct iho_source iho_source_bpf;

/* From n_slots on: the archive. */
static inline const struct iho_slot *iho_maps_slot(const struct iho_maps *m, unsigned int idx)
{
	if (idx >= m->n_slots)
		return &m->archive[idx - m->n_slots];
	return (const struct iho_slot *)(m->slots + (size_t)idx * m->slot_stride);
}

static inline const struct iho_cpu *iho_maps_cpu(const struct iho_maps *m, unsigned int cpu)
{
	return (const struct iho_cpu *)(m->cpus + (size_t)cpu * m->cpu_stride);
}

int iho_error_set(struct iho_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* IHO_SOURCE_H */
