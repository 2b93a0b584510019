/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: what this host has, found by looking: BTF, tracefs, /sys/module.
 * Nothing is inferred from a kernel version.
 */
#ifndef IHO_PROBE_H
#define IHO_PROBE_H

#include <stdbool.h>

#include "collector.h"

struct btf;

enum iho_event_group { IHO_GROUP_sched, IHO_GROUP_kvm, IHO_GROUP_irq };

struct iho_event_info {
	const char *name;
	enum iho_event_group group;
	const char *system; /* the folder in tracefs */
	const char *loss;
};

extern const struct iho_event_info iho_event_info[IHO_EV_MAX];

struct iho_probe {
	char tracefs[64]; /* "" = not mounted or not readable */
	struct btf *vmlinux; /* NULL: this kernel has no BTF */
	struct btf *kvm; /* the kvm module's own BTF; NULL: built in, or none */
	bool event[IHO_EV_MAX]; /* the tracepoint exists */
	bool event_btf[IHO_EV_MAX]; /* ... and BTF knows its arguments */
	bool kvm_loaded;
	bool hw_vmx, hw_svm; /* kvm_intel, kvm_amd */
	char vendor_module[32]; /* "kvm_intel", "kvm_amd", "kvm_pvm"..., "" = none found */
	int apicv_param; /* 1 on, 0 off, -1 this KVM has no such parameter */
	bool exit_args_known; /* kvm_exit's first argument is the vCPU */
	unsigned int page_fault_code_arg;
	bool dev_kvm, dev_kvm_access;
};

int iho_probe_host(struct iho_probe *p, struct iho_error *err);
void iho_probe_free(struct iho_probe *p);

#endif /* IHO_PROBE_H */
