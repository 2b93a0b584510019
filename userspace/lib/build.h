/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: two snapshots become a report. Pure: everything that must be asked of
 * the system (names, pinning, interrupt names) comes through struct iho_directory, which
 * collector.c fills.
 */
#ifndef IHO_BUILD_H
#define IHO_BUILD_H

#include "arena.h"
#include "names.h"
#include "snapshot.h"
#include "utilisation.h"
#include "vmname.h"

/* What is known about a VM's process. */
struct iho_vm_entry {
	pid_t pid;
	uint64_t start_ns; /* of the process: a reused pid is another VM */
	uint64_t key; /* 0: not known yet, stands for the process' first VM */
	unsigned int nth; /* second, third... VM of the same process: 1, 2... */
	bool namesake; /* another VM had its name when it came: it is shown as name@pid */
	struct iho_vm_id id;
	uint64_t seen_ns, refreshed_ns;
	uint64_t live_ns; /* when a vCPU of it was last seen to live */
	uint64_t gone_ns; /* when the last one of those that ended did */
};

/* What is known about a vCPU's thread, by slot number. */
struct iho_vcpu_entry {
	char affinity[64];
	int n_cpus; /* in the affinity; 0 = unknown */
	uint64_t start_ns; /* whose it is: a slot that was taken anew is somebody else */
	uint64_t refreshed_ns;
	struct iho_utilisation utilisation; /* with a start_ns of its own */
};

struct iho_directory {
	struct iho_vm_entry *vm;
	size_t n_vms;
	const struct iho_vcpu_entry *vcpu;
	unsigned int n_vcpus; /* as many as there are slots */
	const struct iho_names *names;
	void (*irq_name)(void *arg, unsigned int nr, char *buf, size_t len);
	void *irq_arg;
	int apicv_param; /* struct iho_probe */
	const char *vendor_module;
	bool hw; /* kvm_intel or kvm_amd is loaded */
	/* the process that hosts the BPF programs, and what these cost; < 0: not measured yet */
	uint64_t cpu_ns, rss_bytes;
	double ns_per_event, bpf_share;
	/* the reader's own: what it saw of `utilisation`, by slot number, or NULL; and its wish */
	const struct iho_utilisation_window *window;
	pid_t only_pid;
	const char *only_name;
};

/* The VM that a vCPU's slot belongs to; NULL: not in the directory yet. */
struct iho_vm_entry *iho_directory_find(const struct iho_directory *d, const struct iho_slot *s);

/* Adds what one vCPU's slot counted. */
void iho_self_add(struct iho_self *self, const struct iho_snap_vcpu *v);

int iho_report_build(struct iho_report *r, struct iho_arena *a, const struct iho_snapshot *prev,
		     const struct iho_snapshot *now, const struct iho_directory *d);

/* The value below which `per_mille` thousandths of the values lie, from a histogram. */
uint64_t iho_hist_quantile(const uint64_t *hist, uint64_t max_ns, unsigned int per_mille);

#endif /* IHO_BUILD_H */
