/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Routes of all tables, as `ip route show table all` has them; a route with several next hops is as
 * many rows. The mask of a host route is its length, where osquery says 0.
 */
#include "routes.h"

#include <errno.h>

enum {
	COL_DESTINATION,
	COL_NETMASK,
	COL_GATEWAY,
	COL_SOURCE,
	COL_FLAGS,
	COL_INTERFACE,
	COL_MTU,
	COL_METRIC,
	COL_TYPE,
	COL_HOPCOUNT,
	COL_NET_NAMESPACE,
	COL_TABLE,
	COL_KIND,
};

static const struct vmi_column columns[] = {
	[COL_DESTINATION] = { "destination", VMI_TEXT, "IP address of the network" },
	[COL_NETMASK] = { "netmask", VMI_INTEGER, "length of its prefix, bits" },
	[COL_GATEWAY] = { "gateway", VMI_TEXT, "IP address of the next hop; \"\": none" },
	[COL_SOURCE] = { "source", VMI_TEXT, "preferred source address; \"\": none" },
	[COL_FLAGS] = { "flags", VMI_INTEGER, "RTNH_F_*: dead 1, onlink 4, link down 16..." },
	[COL_INTERFACE] = { "interface", VMI_TEXT, "network interface; \"\": none" },
	[COL_MTU] = { "mtu", VMI_INTEGER, "largest packet, bytes; 0: not set" },
	[COL_METRIC] = { "metric", VMI_INTEGER, "the lowest is preferred" },
	[COL_TYPE] = { "type", VMI_TEXT, "gateway, local, broadcast, anycast or other" },
	[COL_HOPCOUNT] = { "hopcount", VMI_INTEGER, "hop limit; 0: not set" },
	[COL_NET_NAMESPACE] = { "net_namespace", VMI_TEXT,
				"inode of the network namespace; the first, if not asked for", true,
				true },
	[COL_TABLE] = { "table_id", VMI_INTEGER, "routing table: main 254, local 255...",
			.hidden = true },
	[COL_KIND] = { "kind", VMI_TEXT, "unicast, local, multicast, blackhole, unreachable...",
		       .hidden = true },
};

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	uint64_t net;
};

/* RTN_* of include/uapi/linux/rtnetlink.h */
static const char *kind(unsigned int type)
{
	static const char *const names[] = {
		"unspecified", "unicast",     "local",	  "broadcast", "anycast", "multicast",
		"blackhole",   "unreachable", "prohibit", "throw",     "nat",	  "xresolve",
	};

	return type < sizeof(names) / sizeof(names[0]) ? names[type] : NULL;
}

static const char *osquery_type(unsigned int type)
{
	static const char *const names[] = { "other", "gateway", "local", "broadcast", "anycast" };

	return type < sizeof(names) / sizeof(names[0]) ? names[type] : "other";
}

static bool row(void *arg, const struct vmi_route *t)
{
	const struct scan *s = arg;
	struct vmi_rows *r = s->r;
	char name[IFNAMSIZ + 1];
	uint64_t first;

	vmi_row(r);
	if (!vmi_ptr(s->w, t->gva, &first))
		vmi_witness(s->w, t->gva, 8, first);
	vmi_address_column(r, COL_DESTINATION, t->family, t->to);
	vmi_int(r, COL_NETMASK, t->bits);
	vmi_str(r, COL_GATEWAY, "");
	if (t->gateway_family)
		vmi_address_column(r, COL_GATEWAY, t->gateway_family, t->gateway);
	vmi_str(r, COL_SOURCE, "");
	if (t->has_source)
		vmi_address_column(r, COL_SOURCE, t->family, t->source);
	vmi_int(r, COL_FLAGS, t->flags);
	if (!t->device)
		vmi_str(r, COL_INTERFACE, "");
	else if (vmi_device_name(s->w, t->device, name) >= 0)
		vmi_str(r, COL_INTERFACE, name);
	vmi_int(r, COL_MTU, t->mtu);
	vmi_int(r, COL_METRIC, t->metric);
	vmi_str(r, COL_TYPE, osquery_type(t->type));
	vmi_int(r, COL_HOPCOUNT, t->hops);
	vmi_net_column(r, COL_NET_NAMESPACE, s->net);
	vmi_int(r, COL_TABLE, t->table);
	vmi_str(r, COL_KIND, kind(t->type));
	return vmi_row_end(r);
}

static int rows(struct vmi_rows *r)
{
	struct scan s = { .r = r, .w = vmi_rows_walk(r) };
	struct vmi_routes routes = { .w = s.w, .fn = row, .arg = &s };
	struct vmi_nets nets;
	int err = vmi_nets_wanted(&nets, r, COL_NET_NAMESPACE);

	if (err)
		return err;
	for (size_t i = 0; !routes.enough && i < nets.n; i++) {
		s.net = nets.net[i];
		vmi_routes_ipv4(&routes, s.net);
		if (!routes.enough)
			vmi_routes_ipv6(&routes, s.net);
	}
	vmi_nets_free(&nets);
	return 0;
}

const struct vmi_table vmi_table_routes = {
	.name = "routes",
	.doc = "Routes of IPv4 and IPv6.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
