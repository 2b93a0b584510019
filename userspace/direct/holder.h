/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who holds a VM's session: a process of its own, that ends with the VM, by "off", or by a signal;
 * however it ends, KVM undoes what it switched. It is asked through a socket in HOLDER_DIR, which
 * is root's alone.
 */
#ifndef IHO_DIRECT_HOLDER_H
#define IHO_DIRECT_HOLDER_H

#include <stdint.h>

#include "direct.h"
#include <linux/iho.h>

#define HOLDER_DIR	 "/run/iho/direct"
#define HOLDER_MAX_VCPUS 512

struct holder_state {
	int32_t pid; /* the holder */
	uint32_t modes; /* IHO_MODE_* */
	uint32_t refused; /* IHO_REFUSED_*, of a request that failed */
	uint32_t nr_vcpus; /* as many as there is room for here, at most */
	int64_t since_s; /* realtime, of the last change */
	struct iho_vcpu vcpus[HOLDER_MAX_VCPUS]; /* the first nr_vcpus, without a gap */
};

/*
 * Has the VM's modes be just these, by its holder or, without one, by a new one. It returns when
 * they are, or were not changed, with the reason; `*refused` as of session_set().
 */
int holder_on(const struct direct_vm *vm, uint32_t modes, uint32_t *refused,
	      struct direct_error *err);

/* The same in this process, which returns when the VM has ended, or by SIGTERM or SIGINT. */
int holder_run(const struct direct_vm *vm, uint32_t modes, uint32_t *refused,
	       struct direct_error *err);

/* -ENOENT: nobody of ours holds it. */
int holder_ask(pid_t vm, struct holder_state *state, struct direct_error *err);

/* Returns when the holder has ended. -ENOENT as above. */
int holder_off(pid_t vm, struct direct_error *err);

#endif /* IHO_DIRECT_HOLDER_H */
