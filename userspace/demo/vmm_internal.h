/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vmm.c, vcpu.c, vcpu_run.c, cpuid.c and waker.c share, and nobody else includes. */
#ifndef IHO_DEMO_VMM_INTERNAL_H
#define IHO_DEMO_VMM_INTERNAL_H

#include <time.h>

#include "pc.h"
#include "vmm.h"

#define NS_PER_S  1000000000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_US 1000ULL

#define VMM_MAX_CPUID_ENTRIES 1024

/* What the waker must know about the hlt ops of all scripts. */
struct hlt_limits {
	uint64_t tsc_khz;     /* of the guest */
	uint64_t shortest_ns; /* UINT64_MAX: no script halts */
	uint64_t longest_us;
};

struct vmm {
	struct vmm_config config;
	int kvm_fd;
	int vm_fd;
	int event_fd;
	uint8_t *ram;
	size_t ram_bytes;
	size_t area_bytes;
	size_t run_bytes;
	bool irqchip;
	struct kvm_cpuid2 *cpuid; /* has room for VMM_MAX_CPUID_ENTRIES */
	struct pc *pc;		  /* NULL: no Linux tenant */
	bool page_apart;	  /* the page of OP_DONATE is in a slot of its own, or in none */

	struct vmm_vcpu *vcpus; /* config.max_vcpus of them, so that they never move */
	unsigned int nr_vcpus;	/* written by the controlling thread, read by the waker too */

	pthread_mutex_t lock; /* of all below, and of the vCPUs' done, at_gate, gates_passed, tid */
	pthread_cond_t cond;
	bool started;
	bool stopping; /* also read without the lock */
	bool failed;
	enum vmm_ending ending;
	unsigned int gate_openings;
	unsigned int nr_ready;
	struct hlt_limits hlt;

	pthread_t waker;
	bool waker_created;
};

/* vmm.c */
uint64_t vmm_clock_ns(clockid_t clock);
struct timespec vmm_to_timespec(uint64_t ns);
bool vmm_is_stopping(const struct vmm *vmm);

/* Make vmm_event_fd() readable. */
void vmm_notify(struct vmm *vmm);

/* A thread that cannot go on calls this after its message. */
void vmm_fail(struct vmm *vmm);

/* The guest has ended itself. */
void vmm_set_ending(struct vmm *vmm, enum vmm_ending ending);

/* What KVM_CHECK_EXTENSION says, 0 if it fails. */
int vmm_check_extension(const struct vmm *vmm, int extension);

/*
 * PAGE_* of guest.h, by the vCPU's thread. Returns 0, or a negative errno after one message on
 * stderr.
 */
int vmm_disturb_page(struct vmm *vmm, unsigned int what);

/* cpuid.c: turn @vmm->cpuid, as KVM supports it, into that of a PC with all the vCPUs. */
void cpuid_make_pc(struct vmm *vmm);

/* Take KVM's paravirtual spinlocks out of it. */
void cpuid_drop_pv_unhalt(struct vmm *vmm);

/* Write the id of one vCPU into the leaves of @vmm->cpuid that tell it. */
void cpuid_set_id(struct vmm *vmm, unsigned int apic_id);

/*
 * vcpu.c: create the vCPU of @vcpu->index in its start state, with @script loaded; NULL for a
 * Linux tenant.
 */
int vcpu_create(struct vmm_vcpu *vcpu, const struct script *script);
void vcpu_destroy(struct vmm_vcpu *vcpu);

/* vcpu_run.c: @arg is a struct vmm_vcpu. */
void *vcpu_thread(void *arg);

/* waker.c: ends each in-kernel HLT with one interrupt. @arg is a struct vmm. */
void *waker_thread(void *arg);

#endif
