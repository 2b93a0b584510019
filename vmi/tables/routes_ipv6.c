/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IPv6's tables are binary tries (net/ipv6/ip6_fib.c), with a second one below a node for routes
 * that look at the source.
 */
#include <string.h>

#include "routes.h"

enum {
	NET_HASH,
	NET_RULES,
	NET_NULL,
	T_NODE,
	T_ID,
	T_ROOT,
	N_LEFT,
	N_RIGHT,
	N_SUBTREE,
	N_LEAF,
	N_FLAGS,
	I_NEXT,
	I_TO,
	I_SOURCE,
	I_METRIC,
	I_TYPE,
	I_METRICS,
	I_NEXTHOP,
	I_HOP,
	FH_COMMON,
	K_ADDR,
	K_BITS,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[NET_HASH] = "net.ipv6.fib_table_hash",
	[NET_RULES] = "net.ipv6.fib6_rules_ops",
	[NET_NULL] = "net.ipv6.fib6_null_entry",
	[T_NODE] = "fib6_table.tb6_hlist",
	[T_ID] = "fib6_table.tb6_id",
	[T_ROOT] = "fib6_table.tb6_root",
	[N_LEFT] = "fib6_node.left",
	[N_RIGHT] = "fib6_node.right",
	[N_SUBTREE] = "fib6_node.subtree",
	[N_LEAF] = "fib6_node.leaf",
	[N_FLAGS] = "fib6_node.fn_flags",
	[I_NEXT] = "fib6_info.fib6_next",
	[I_TO] = "fib6_info.fib6_dst",
	[I_SOURCE] = "fib6_info.fib6_prefsrc",
	[I_METRIC] = "fib6_info.fib6_metric",
	[I_TYPE] = "fib6_info.fib6_type",
	[I_METRICS] = "fib6_info.fib6_metrics",
	[I_NEXTHOP] = "fib6_info.nh",
	[I_HOP] = "fib6_info.fib6_nh",
	[FH_COMMON] = "fib6_nh.nh_common",
	[K_ADDR] = "rt6key.addr",
	[K_BITS] = "rt6key.plen",
};

#define RTN_RTINFO 0x0004 /* include/net/ip6_fib.h: the node has routes of its own */
/* 128 bits of destination and 128 of source, and what waits at each level: two more nodes */
#define STACK_MAX  (3 * 260)
#define ROUTES_MAX (1u << 20) /* of a node, and nodes of a table */

static bool key(struct vmi_routes *r, const struct vmi_field *f, uint64_t at, uint8_t addr[16],
		unsigned int *bits)
{
	uint64_t n = vmi_val(r->w, at, &f[K_BITS]);

	if (n > 128 || vmi_read(r->w, at + f[K_ADDR].offset, addr, 16))
		return false;
	*bits = (unsigned int)n;
	return true;
}

static void info(struct vmi_routes *r, const struct vmi_field *f, uint64_t at, uint32_t table)
{
	struct vmi_route route = { .family = AF_INET6, .gva = at, .table = table };
	unsigned int source_bits;
	uint64_t nexthop;

	if (!key(r, f, at + f[I_TO].offset, route.to, &route.bits)) {
		vmi_walk_stop(r->w, VMI_STOP_FAULT, "fib6_info.fib6_dst");
		return;
	}
	route.has_source = key(r, f, at + f[I_SOURCE].offset, route.source, &source_bits) &&
			   source_bits;
	route.metric = (uint32_t)vmi_val(r->w, at, &f[I_METRIC]);
	route.type = (uint8_t)vmi_val(r->w, at, &f[I_TYPE]);
	vmi_route_metrics(r, vmi_val(r->w, at, &f[I_METRICS]), &route);
	nexthop = vmi_val(r->w, at, &f[I_NEXTHOP]);
	if (nexthop)
		vmi_route_nexthop(r, nexthop, &route);
	else
		vmi_route_hop(r, at + f[I_HOP].offset + f[FH_COMMON].offset, &route);
}

static void node_routes(struct vmi_routes *r, const struct vmi_field *f, uint64_t node,
			uint64_t null, uint32_t table)
{
	uint64_t at;
	unsigned int n = 0;

	if (!(vmi_val(r->w, node, &f[N_FLAGS]) & RTN_RTINFO))
		return;
	for (at = vmi_val(r->w, node, &f[N_LEAF]); at && !r->enough;
	     at = vmi_val(r->w, at, &f[I_NEXT])) {
		if (++n > ROUTES_MAX || vmi_step(r->w)) {
			vmi_walk_stop(r->w, VMI_STOP_LENGTH, "fib6_info.fib6_next");
			return;
		}
		if (at != null)
			info(r, f, at, table);
	}
}

static void tree(struct vmi_routes *r, const struct vmi_field *f, uint64_t root, uint64_t null,
		 uint32_t table)
{
	static const int below[] = { N_RIGHT, N_LEFT, N_SUBTREE };
	uint64_t stack[STACK_MAX] = { root };
	unsigned int depth = 1, n = 0;

	while (depth && !r->enough) {
		uint64_t node = stack[--depth];

		if (++n > ROUTES_MAX || vmi_step(r->w)) {
			vmi_walk_stop(r->w, VMI_STOP_LENGTH, "fib6_node");
			return;
		}
		node_routes(r, f, node, null, table);
		for (int i = 0; i < 3; i++) {
			uint64_t child = vmi_val(r->w, node, &f[below[i]]);

			if (!child)
				continue;
			if (depth == STACK_MAX) {
				vmi_walk_stop(r->w, VMI_STOP_CYCLE, "fib6_node");
				return;
			}
			stack[depth++] = child;
		}
	}
}

void vmi_routes_ipv6(struct vmi_routes *r, uint64_t net)
{
	const struct vmi_field *f = vmi_layout(r->w->guest, paths, FIELDS);
	uint64_t hash = f ? vmi_val(r->w, net, &f[NET_HASH]) : 0, null, table;
	struct vmi_list l;

	if (!hash || !f[T_ROOT].present || !f[I_TO].present)
		return;
	null = vmi_val(r->w, net, &f[NET_NULL]);
	for (unsigned int i = 0; i < (f[NET_RULES].present ? VMI_FIB_BUCKETS : 1); i++) {
		vmi_hlist_start(&l, r->w, hash + 8 * i, "fib6_table.tb6_hlist");
		while (!r->enough && (table = vmi_hlist_next(&l)) != 0) {
			table -= f[T_NODE].offset;
			tree(r, f, table + f[T_ROOT].offset, null,
			     (uint32_t)vmi_val(r->w, table, &f[T_ID]));
		}
	}
}
