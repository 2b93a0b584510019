/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: the routes of a network namespace.
 */
#ifndef VMI_ROUTES_H
#define VMI_ROUTES_H

#include "net.h"

/* A route, or one of its next hops. */
struct vmi_route {
	int family;
	uint8_t to[16], source[16], gateway[16]; /* network order */
	unsigned int bits; /* of the prefix */
	bool has_source;
	int gateway_family; /* 0: none */
	uint64_t device; /* gva of a struct net_device, 0 = none */
	uint32_t table, metric, mtu, hops, flags; /* RT_TABLE_*; of flags RTNH_F_* */
	uint8_t type; /* RTN_* */
	uint64_t gva; /* of its fib_alias or fib6_info */
};

/* Calls `fn` for each until it returns true. */
typedef bool (*vmi_route_fn)(void *arg, const struct vmi_route *route);

struct vmi_routes {
	struct vmi_walk *w;
	vmi_route_fn fn;
	void *arg;
	bool enough;
};

/* include/net/ip_fib.h and ip6_fib.h: of kernels with and without policy routing */
#define VMI_FIB_BUCKETS 256

/* Of the tables of namespace `net`; tables that this kernel does not have are empty. */
void vmi_routes_ipv4(struct vmi_routes *r, uint64_t net);
void vmi_routes_ipv6(struct vmi_routes *r, uint64_t net);

/* What both have: metrics (a dst_metrics), next hops (a fib_nh_common or a nexthop object). */
void vmi_route_metrics(struct vmi_routes *r, uint64_t metrics, struct vmi_route *route);
void vmi_route_hop(struct vmi_routes *r, uint64_t common, struct vmi_route *route);
void vmi_route_nexthop(struct vmi_routes *r, uint64_t nexthop, struct vmi_route *route);

#endif /* VMI_ROUTES_H */
