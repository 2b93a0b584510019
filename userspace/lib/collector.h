/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The door of userspace/lib: open a source of events, take reports, close it.
 *
 * Where ihod runs, its slots are read, which needs no privileges but ihod's leave; else, as root,
 * the BPF programs are hosted in this process. Reports look the same.
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

enum iho_host_mode {
	IHO_HOST_AUTO, /* ihod where it runs, else this process */
	IHO_HOST_DAEMON, /* only ihod */
	IHO_HOST_SELF, /* only this process */
};

struct iho_collector_options {
	enum iho_host_mode mode;
	const char *socket; /* of ihod; NULL = where it is by default, protocol.h */
	unsigned int max_vcpus; /* slots; 0 = from the host's size and the vCPUs that run already */
	pid_t vm_pid; /* show only this process' VMs; 0 = all */
	const char *vm_name; /* show only VMs of this name (exact); NULL = all */
	/*
	 * BPF run-time statistics cost about 30 ns an event while they are on: they are on for one
	 * second of this many, and its figure is shown until the next. 0: never measure. Where ihod
	 * runs it decides; so it does about max_vcpus.
	 */
	unsigned int stats_every;
	/*
	 * NULL: the reports tell no migrations. Where ihod runs it watches for all, and is asked;
	 * with a socket or a monitor named here, this process watches itself.
	 */
	const struct iho_migration_options *migration;
};

struct iho_collector;

int iho_collector_open(struct iho_collector **out, const struct iho_collector_options *opts,
		       struct iho_error *err);
void iho_collector_close(struct iho_collector *c);

/*
 * Takes a snapshot and builds the report of the time since the last one. The snapshot itself makes
 * no system call; finding VMs, names and pinning does, and is done at most once a second; asking
 * ihod for its directory is one request a report.
 * The report is valid until the next call or the close.
 *
 * -ENOTCONN: ihod does not answer (any more). The collector stays usable, and each further call
 * tries to reach it again; a new ihod's counters begin at 0, which start_time_s tells.
 */
int iho_collector_report(struct iho_collector *c, const struct iho_report **out,
			 struct iho_error *err);

/* Only the snapshot, for measuring it: no system call. Returns the number of vCPUs. */
int iho_collector_snapshot(struct iho_collector *c);

/* ------------------------------------------------------------------------------------- features */

struct iho_feature {
	char name[40]; /* the tracepoint's name, or "kvm", "btf", "tracefs", ... */
	bool present;
	bool used; /* loaded and attached; only after iho_collector_open() */
	char how[16]; /* "tp_btf", "raw_tp", "tp", "" */
	char cost[160]; /* what the user loses without it; "" where present */
	char detail[160]; /* e.g. "module kvm_intel", a path */
};

struct iho_features {
	struct iho_feature *v;
	size_t n;
};

/*
 * Looks at this host without loading anything. `c` may be NULL; with one, `used` is filled in.
 * Where `c` reads from ihod, it is ihod that looks: it may see more.
 */
int iho_features_probe(struct iho_features *f, const struct iho_collector *c,
		       struct iho_error *err);
void iho_features_free(struct iho_features *f);

#endif /* IHO_COLLECTOR_H */
