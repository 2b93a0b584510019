/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM, its vCPUs and their threads, by the KVM API (Documentation/virt/kvm/api.rst).
 *
 * All functions are for one controlling thread. The vCPU threads run on their own and tell that
 * thread through vmm_event_fd() that something has changed.
 */
#ifndef IHO_DEMO_VMM_H
#define IHO_DEMO_VMM_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest.h"
#include "script.h"

/* Sent to a vCPU's thread to get it out of KVM_RUN: not for the program's other uses. */
#define VMM_KICK_SIGNAL SIGUSR2

#define VMM_NR_EXIT_REASONS 64 /* the last one counts all that lie beyond */
#define VMM_MAX_ADDRS	    256

enum vmm_access { VMM_OUT, VMM_IN, VMM_MMIO_WRITE, VMM_MMIO_READ };

/* Userspace exits at one port or guest-physical address. */
struct vmm_addr {
	enum vmm_access access;
	uint64_t addr;
	uint64_t count;
};

struct vmm;

/**
 * struct vmm_vcpu - one vCPU; others only read it, and the counts only when it has ended
 * @index: also its APIC id
 * @area: NULL in a Linux tenant
 * @tid: valid once vmm_wait_ready() has returned
 * @done: its script has ended
 * @cpu_ns, @elapsed_ns: of its thread, from vmm_start() to the script's end or the stop
 * @exits: returns from KVM_RUN by KVM_EXIT reason; those with EINTR count as KVM_EXIT_INTR
 * @addrs, @nr_addrs: port and MMIO exits by address; those that found no room are in @addrs_lost
 * @wakes: wake-up interrupts sent
 */
struct vmm_vcpu {
	struct vmm *vmm;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	struct guest_area *area;
	pthread_t thread;
	bool thread_created;
	pid_t tid;

	bool script_ended; /* the thread's own note, published as done */
	bool done;
	bool at_gate;
	unsigned int gates_passed;
	uint64_t cpu_ns;
	uint64_t elapsed_ns;

	uint64_t exits[VMM_NR_EXIT_REASONS];
	struct vmm_addr addrs[VMM_MAX_ADDRS];
	struct vmm_addr *last_addr;
	unsigned int nr_addrs;
	uint64_t addrs_lost;

	uint64_t tsc_offset; /* guest TSC minus host TSC */
	uint64_t wakes;
};

/**
 * struct vmm_linux - an ordinary Linux as tenant, on a PC without buses
 * @kernel: file with a bzImage
 * @initrd: file, NULL: none
 * @append: the kernel's command line
 * @console: file for the output of its serial port, NULL: stdout
 * @memory_bytes: whole MiB, at least VMM_LINUX_MIN_MIB
 */
struct vmm_linux {
	const char *kernel;
	const char *initrd;
	const char *append;
	const char *console;
	uint64_t memory_bytes;
};

#define VMM_LINUX_MIN_MIB   16
#define VMM_LINUX_MAX_MIB   (1 << 20)
#define VMM_LINUX_MAX_VCPUS 255

/**
 * struct vmm_config - what vmm_create() makes
 * @max_vcpus: how many vmm_add_vcpu() will be called for
 * @max_ops: the longest script's length
 * @irqchip: HLT in the kernel, woken by interrupts; else each HLT exits to us
 * @idle_in_guest: HLT does not exit at all (KVM_CAP_X86_DISABLE_EXITS); fails where KVM cannot
 * @no_pv_unhalt: CPUID has no KVM_FEATURE_PV_UNHALT, as QEMU's kvm-pv-unhalt=off
 * @hlt_us: wake-up delay of hlt ops that have none
 * @pin, @nr_pin: vCPU i runs on CPU pin[i % nr_pin]; @nr_pin 0: anywhere
 * @linger: threads stay until vmm_stop() when their script has ended
 * @boot: the tenant is this Linux, and has an irqchip; NULL: vCPUs run scripts
 */
struct vmm_config {
	unsigned int max_vcpus;
	size_t max_ops;
	bool irqchip;
	bool idle_in_guest;
	bool no_pv_unhalt;
	uint64_t hlt_us;
	const unsigned int *pin;
	unsigned int nr_pin;
	bool linger;
	const struct vmm_linux *boot;
};

/* How a Linux tenant has ended by itself. */
enum vmm_ending { VMM_NOT_ENDED, VMM_POWER_OFF, VMM_RESET };

/* The state of all vCPUs together. */
struct vmm_state {
	unsigned int nr_done;
	unsigned int gate; /* n: all that still run wait for the n-th opening; 0: some run */
	bool failed;	   /* a vCPU could not go on; its message is out already */
	enum vmm_ending ending;
};

/*
 * Functions that return int return 0, or a negative errno after one message on stderr.
 * @config->pin and @config->boot must live as long as the VMM.
 */
int vmm_create(struct vmm **vmm, const struct vmm_config *config);

/* Create the next vCPU and its thread, which waits for vmm_start(). @script: NULL for Linux. */
int vmm_add_vcpu(struct vmm *vmm, const struct script *script);

/* Wait until the threads of all vCPUs exist and have their names. */
void vmm_wait_ready(struct vmm *vmm);

/* Let all vCPUs run, also those added later. */
int vmm_start(struct vmm *vmm);

/* Open the gate once: a vCPU's n-th gate op passes when there were n openings. */
void vmm_open_gate(struct vmm *vmm);

/* Readable when vmm_get_state() may have changed. Read it (an eventfd) to reset it. */
int vmm_event_fd(const struct vmm *vmm);
void vmm_get_state(struct vmm *vmm, struct vmm_state *state);

/*
 * End all threads, wherever they are, and wait for them. The counts stay readable. Returns 0, or
 * -EIO after one message on stderr: the last of a Linux tenant's output could not be written.
 */
int vmm_stop(struct vmm *vmm);
void vmm_destroy(struct vmm *vmm);

unsigned int vmm_nr_vcpus(const struct vmm *vmm);
const struct vmm_vcpu *vmm_vcpu(const struct vmm *vmm, unsigned int index);

/* Whether HLT stays in the kernel: false if it was not wanted or KVM cannot. */
bool vmm_has_irqchip(const struct vmm *vmm);

#endif
