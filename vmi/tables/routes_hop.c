/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where routes lead: include/net/ip_fib.h, include/net/nexthop.h. */
#include "routes.h"

enum {
	METRICS,
	H_DEV,
	H_GW_FAMILY,
	H_FLAGS,
	H_GW,
	N_IS_GROUP,
	N_INFO,
	N_GROUP,
	NI_COMMON,
	G_NUM,
	G_ENTRIES,
	GE_HOP,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[METRICS] = "dst_metrics.metrics",
	[H_DEV] = "fib_nh_common.nhc_dev",
	[H_GW_FAMILY] = "fib_nh_common.nhc_gw_family",
	[H_FLAGS] = "fib_nh_common.nhc_flags",
	[H_GW] = "fib_nh_common.nhc_gw",
	[N_IS_GROUP] = "nexthop.is_group",
	[N_INFO] = "nexthop.nh_info",
	[N_GROUP] = "nexthop.nh_grp",
	[NI_COMMON] = "nh_info.fib_nhc",
	[G_NUM] = "nh_group.num_nh",
	[G_ENTRIES] = "nh_group.nh_entries",
	[GE_HOP] = "nh_grp_entry.nh",
};

/* include/uapi/linux/rtnetlink.h; metrics are numbered from 1 on */
#define RTAX_MTU      2
#define RTAX_HOPLIMIT 10
/* dead, onlink, offload, linkdown, trap: what fib_nexthop_info() says of a next hop */
#define RTNH_SAID (1u | 4u | 8u | 16u | 64u)

void vmi_route_metrics(struct vmi_routes *r, uint64_t metrics, struct vmi_route *route)
{
	const struct vmi_field *f = vmi_layout(r->w->guest, paths, FIELDS);
	uint32_t value[RTAX_HOPLIMIT];

	if (!f || !metrics || f[METRICS].size < sizeof(value) ||
	    vmi_read(r->w, metrics + f[METRICS].offset, value, sizeof(value)))
		return;
	route->mtu = value[RTAX_MTU - 1];
	route->hops = value[RTAX_HOPLIMIT - 1];
}

void vmi_route_hop(struct vmi_routes *r, uint64_t common, struct vmi_route *route)
{
	const struct vmi_field *f = vmi_layout(r->w->guest, paths, FIELDS);
	uint64_t family;

	if (r->enough)
		return;
	route->device = 0;
	route->gateway_family = 0;
	if (f && common) {
		route->device = vmi_val(r->w, common, &f[H_DEV]);
		route->flags = (uint32_t)vmi_val(r->w, common, &f[H_FLAGS]) & RTNH_SAID;
		family = vmi_val(r->w, common, &f[H_GW_FAMILY]);
		if ((family == AF_INET || family == AF_INET6) &&
		    !vmi_read(r->w, common + f[H_GW].offset, route->gateway,
			      family == AF_INET ? 4 : 16))
			route->gateway_family = (int)family;
	}
	r->enough = r->fn(r->arg, route);
}

/* Of a next hop object that is no group. */
static void single(struct vmi_routes *r, const struct vmi_field *f, uint64_t nexthop,
		   struct vmi_route *route)
{
	uint64_t info = nexthop ? vmi_val(r->w, nexthop, &f[N_INFO]) : 0;

	vmi_route_hop(r, info && f[NI_COMMON].present ? info + f[NI_COMMON].offset : 0, route);
}

/* A group's members are no groups. */
void vmi_route_nexthop(struct vmi_routes *r, uint64_t nexthop, struct vmi_route *route)
{
	const struct vmi_field *f = vmi_layout(r->w->guest, paths, FIELDS);
	uint32_t size = vmi_types_size(r->w->guest->types, "nh_grp_entry");
	uint64_t group, n;

	if (!f)
		return;
	if (!vmi_val(r->w, nexthop, &f[N_IS_GROUP])) {
		single(r, f, nexthop, route);
		return;
	}
	group = vmi_val(r->w, nexthop, &f[N_GROUP]);
	if (!group || !f[G_ENTRIES].present || vmi_get(r->w, group, &f[G_NUM], &n))
		return;
	for (uint64_t i = 0; i < (n & 0xffff) && !r->enough; i++)
		single(r, f, vmi_val(r->w, group + f[G_ENTRIES].offset + i * size, &f[GE_HOP]),
		       route);
}
