/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: what a network device counted, as dev_get_stats() of net/core/dev.c sums
 * it up.
 */
#ifndef VMI_NET_STATS_H
#define VMI_NET_STATS_H

#include "net.h"

enum vmi_net_count {
	VMI_RX_PACKETS,
	VMI_TX_PACKETS,
	VMI_RX_BYTES,
	VMI_TX_BYTES,
	VMI_RX_ERRORS,
	VMI_TX_ERRORS,
	VMI_RX_DROPPED,
	VMI_TX_DROPPED,
	VMI_COLLISIONS,
	VMI_NET_COUNTS,
};

/* -ENOENT: its driver keeps them where only the driver knows. */
int vmi_net_stats(struct vmi_walk *w, uint64_t device, uint64_t count[VMI_NET_COUNTS]);

#endif /* VMI_NET_STATS_H */
