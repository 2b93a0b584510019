/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: a copy of the mapped records at one moment. No system call is made (the
 * clock is read through the vDSO) unless a slot is used for the first time and needs memory.
 */
#ifndef IHO_SNAPSHOT_H
#define IHO_SNAPSHOT_H

#include "source.h"

struct iho_snap_vcpu {
	struct iho_slot *slot; /* the copy; only the exits in use are valid */
	uint64_t time_ns[IHO_ST_MAX]; /* the bill up to now, with the state that goes on */
	uint64_t now_ns;
	enum iho_state state;
	uint32_t torn; /* copies of `core` that could not be taken as a whole */
	bool used;
};

struct iho_snapshot {
	uint64_t now_ns; /* CLOCK_MONOTONIC */
	struct iho_snap_vcpu *vcpu; /* by slot number */
	unsigned int n_slots;
	unsigned int n_used;
	uint64_t loss[IHO_LOSS_MAX]; /* sums over the CPUs */
	uint64_t events[IHO_EV_MAX]; /* outside any vCPU */
	struct iho_drill shared[IHO_SHARED];
	struct iho_vm vms[IHO_VMS];
};

struct iho_snapshot *iho_snapshot_new(unsigned int n_slots);
void iho_snapshot_free(struct iho_snapshot *s);
int iho_snapshot_take(struct iho_snapshot *s, const struct iho_maps *m);

/* The bill of a slot at `now`: what is billed so far, plus the state that goes on. */
enum iho_state iho_bill_at(const struct iho_core *c, uint64_t wake_ns, bool splits, uint64_t now,
			   uint64_t time_ns[IHO_ST_MAX]);

#endif /* IHO_SNAPSHOT_H */
