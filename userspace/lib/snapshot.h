/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: a copy of the mapped records at one moment. No system call is made (the
 * clock is read through the vDSO) unless a slot is used for the first time and needs memory, or the
 * keeper, or a CPU that is in the middle of a record, lost its core: then it sleeps a little.
 */
#ifndef IHO_SNAPSHOT_H
#define IHO_SNAPSHOT_H

#include "source.h"

struct iho_snap_vcpu {
	struct iho_slot *slot; /* the copy; only the exits in use are valid */
	uint64_t time_ns[IHO_ST_MAX]; /* the bill up to now, with the state that goes on */
	uint64_t now_ns;
	enum iho_state state;
	uint32_t torn; /* copies of `core` that could not be taken as a whole, carried on */
	bool used;
};

struct iho_snapshot {
	uint64_t now_ns; /* CLOCK_MONOTONIC */
	struct iho_snap_vcpu *vcpu; /* by slot number; from n_slots on, the archive */
	unsigned int n_slots;
	unsigned int n_entries; /* with the archive */
	unsigned int n_used; /* slots */
	uint64_t loss[IHO_LOSS_MAX]; /* sums over the CPUs */
	uint64_t events[IHO_EV_MAX]; /* outside any vCPU */
	struct iho_ledger ledger;
	uint64_t torn_gone; /* of vCPUs whose slots were given back since */
	struct iho_drill shared[IHO_SHARED];
	struct iho_vm vms[IHO_VMS];
};

struct iho_snapshot *iho_snapshot_new(unsigned int n_slots);
void iho_snapshot_free(struct iho_snapshot *s);
int iho_snapshot_take(struct iho_snapshot *s, const struct iho_maps *m);

/* The same vCPU in an earlier snapshot; NULL if it was not there, or somebody else had its slot. */
const struct iho_snap_vcpu *iho_snapshot_same(const struct iho_snapshot *prev, unsigned int idx,
					      const struct iho_slot *slot);

/*
 * Takes over from the snapshot before what must not go back: the count of torn copies, and the
 * time in KVM: a halt that polls looks like KVM's work until it is over, and then is none.
 */
void iho_snapshot_carry(struct iho_snapshot *now, const struct iho_snapshot *prev);

/* The bill of a slot at `now`: what is billed so far, plus the state that goes on. */
enum iho_state iho_bill_at(const struct iho_core *c, uint64_t wake_ns, bool splits, uint64_t now,
			   uint64_t time_ns[IHO_ST_MAX]);

#endif /* IHO_SNAPSHOT_H */
