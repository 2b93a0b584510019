/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host knows, for tables that join it with the guest (vmi_rows_host): answered here, in
 *the process with privileges.
 *
 *	registers	the target's vCPUs as they are now, as in vmi_target_to_json()
 *	vms		the VMs that KVM runs here, as the table vms has them
 *	vcpu_exits, vcpu_bill	of the target's vCPUs, as the tables of these names
 *	exit_counts	{"missing": WHY}, "" where exits are known, then the counters as they are
 *			just now: {"vcpu", "handled", "isa", "reason", "total"}
 *	moment		nothing, 25 ms later: between two looks at the counters
 */
#ifndef QUERY_HOST_H
#define QUERY_HOST_H

#include <jansson.h>

#include "../memory/target.h"

struct host;

/*
 * The target stays the caller's, and is refreshed here. `socket`: of ihod, NULL: the usual one; it
 * must last as long.
 */
int host_open(struct host **out, struct vmi_target *target, const char *socket,
	      struct vmi_error *err);
void host_close(struct host *h);

/* A JSON array, a new reference; NULL: a sentence in `err`. */
json_t *host_answer(struct host *h, const char *topic, struct vmi_error *err);

#endif /* QUERY_HOST_H */
