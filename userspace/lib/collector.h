/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The door of userspace/lib: open a source of events, take reports, close it.
 *
 * A collector belongs to one thread. Functions return 0 or a negative errno value; with an error,
 * `err` (struct iho_error) holds one sentence for a person.
 */
#ifndef IHO_COLLECTOR_H
#define IHO_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "report.h"

struct iho_error {
	char text[512];
};

struct iho_collector_options {
	unsigned int max_vcpus; /* slots; 0 = from the host's size and the vCPUs that run already */
	pid_t vm_pid; /* show only this process' VMs; 0 = all */
	const char *vm_name; /* show only VMs of this name (exact); NULL = all */
	/*
	 * BPF run-time statistics cost about 30 ns an event while they are on: they are on for one
	 * report in ten, and the figure of that report is shown until the next. 0: never measure.
	 */
	unsigned int stats_every;
};

struct iho_collector;

int iho_collector_open(struct iho_collector **out, const struct iho_collector_options *opts,
		       struct iho_error *err);
void iho_collector_close(struct iho_collector *c);

/*
 * Takes a snapshot and builds the report of the time since the last one. The snapshot itself makes
 * no system call; finding VMs, names and pinning does, and is done at most once a second.
 * The report is valid until the next call or the close.
 */
int iho_collector_report(struct iho_collector *c, const struct iho_report **out,
			 struct iho_error *err);

/* Only the snapshot, for measuring it: no system call. Returns the number of vCPUs. */
int iho_collector_snapshot(struct iho_collector *c);

/* ------------------------------------------------------------------------------------- features */

struct iho_feature {
	const char *name; /* the tracepoint's name, or "kvm", "btf", "tracefs", ... */
	bool present;
	bool used; /* loaded and attached; only after iho_collector_open() */
	const char *how; /* "tp_btf", "raw_tp", "tp", "" */
	char cost[160]; /* what the user loses without it; "" where present */
	char detail[160]; /* e.g. "module kvm_intel", a path */
};

struct iho_features {
	struct iho_feature *v;
	size_t n;
};

/* Looks at this host without loading anything. `c` may be NULL; with one, `used` is filled in. */
int iho_features_probe(struct iho_features *f, const struct iho_collector *c,
		       struct iho_error *err);
void iho_features_free(struct iho_features *f);

#endif /* IHO_COLLECTOR_H */
