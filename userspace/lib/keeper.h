/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib and ihod: whoever hosts the BPF programs. It owns the source of events,
 * gives slots back, and keeps the directory: what must be asked of the system beside the slots.
 * There is one on a host that runs ihod, and all readers share it; without ihod each iho-top has
 * its own, in its own process.
 *
 * A keeper belongs to one thread.
 */
#ifndef IHO_KEEPER_H
#define IHO_KEEPER_H

#include "build.h"
#include "probe.h"

struct iho_keeper_options {
	unsigned int max_vcpus; /* as in struct iho_collector_options */
	unsigned int stats_every; /* as there, but in seconds */
	/*
	 * Gets a descriptor of BPF_ENABLE_STATS where the process itself may not (any more), or a
	 * negative errno value. NULL: ask the kernel.
	 */
	int (*stats_fd)(void *arg);
	void *arg;
};

struct iho_keeper;

int iho_keeper_open(struct iho_keeper **out, const struct iho_keeper_options *o,
		    struct iho_error *err);
void iho_keeper_close(struct iho_keeper *k);

const struct iho_maps *iho_keeper_maps(const struct iho_keeper *k);

/* The directory as of the last iho_keeper_tend(). It belongs to the keeper and is never NULL. */
struct iho_directory *iho_keeper_directory(struct iho_keeper *k);

/*
 * Brings the directory up to the snapshot, and does what is due once a second: pinning, slots of
 * threads that ended, vCPUs that are not identified. -ENOMEM, or 0.
 */
int iho_keeper_tend(struct iho_keeper *k, const struct iho_snapshot *now);

/* Descriptors that others may have to read: a frozen map, and the sealed file of the ledger. */
int iho_keeper_share(const struct iho_keeper *k, enum iho_map map);
int iho_keeper_ledger_fd(const struct iho_keeper *k);

/* As iho_features_probe(), with `used` filled in. */
int iho_keeper_features(const struct iho_keeper *k, struct iho_features *f, struct iho_error *err);

/* Resident memory of this process. */
uint64_t iho_rss_bytes(void);

/* Adds the slot of a thread that ended to that of an earlier thread of the same vCPU. */
void iho_slot_merge(struct iho_slot *into, const struct iho_slot *from);

#endif /* IHO_KEEPER_H */
