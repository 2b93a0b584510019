/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses of network interfaces, as getifaddrs(3) has them: of IPv4 under the address' label, of
 * IPv6 with the scope of link-local ones.
 */
#include <errno.h>
#include <string.h>

#include "net.h"

enum {
	COL_INTERFACE,
	COL_ADDRESS,
	COL_MASK,
	COL_BROADCAST,
	COL_POINT_TO_POINT,
	COL_TYPE,
	COL_NET_NAMESPACE,
};

static const struct vmi_column columns[] = {
	[COL_INTERFACE] = { "interface", VMI_TEXT,
			    "name of the interface, or of the address on it" },
	[COL_ADDRESS] = { "address", VMI_TEXT, "IP address" },
	[COL_MASK] = { "mask", VMI_TEXT, "mask of its network" },
	[COL_BROADCAST] = { "broadcast", VMI_TEXT, "broadcast address" },
	[COL_POINT_TO_POINT] = { "point_to_point", VMI_TEXT, "address of the other end" },
	[COL_TYPE] = { "type", VMI_TEXT, "\"unknown\": as osquery says it of Linux" },
	[COL_NET_NAMESPACE] = { "net_namespace", VMI_TEXT,
				"inode of the network namespace; the first, if not asked for", true,
				true },
};

enum {
	DEV_FLAGS,
	DEV_IP,
	DEV_IP6,
	IP_LIST,
	A_NEXT,
	A_LOCAL,
	A_ADDRESS,
	A_MASK,
	A_BROADCAST,
	A_LABEL,
	IP6_LIST,
	A6_NODE,
	A6_ADDR,
	A6_PEER,
	A6_BITS,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[DEV_FLAGS] = "net_device.flags",	   [DEV_IP] = "net_device.ip_ptr",
	[DEV_IP6] = "net_device.ip6_ptr",	   [IP_LIST] = "in_device.ifa_list",
	[A_NEXT] = "in_ifaddr.ifa_next",	   [A_LOCAL] = "in_ifaddr.ifa_local",
	[A_ADDRESS] = "in_ifaddr.ifa_address",	   [A_MASK] = "in_ifaddr.ifa_mask",
	[A_BROADCAST] = "in_ifaddr.ifa_broadcast", [A_LABEL] = "in_ifaddr.ifa_label",
	[IP6_LIST] = "inet6_dev.addr_list",	   [A6_NODE] = "inet6_ifaddr.if_list",
	[A6_ADDR] = "inet6_ifaddr.addr",	   [A6_PEER] = "inet6_ifaddr.peer_addr",
	[A6_BITS] = "inet6_ifaddr.prefix_len",
};

#define ADDRESSES_MAX (1u << 20) /* of an interface */

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	const struct vmi_field *f;
	uint64_t net, dev;
};

static bool finish(struct scan *s)
{
	vmi_str(s->r, COL_TYPE, "unknown");
	vmi_net_column(s->r, COL_NET_NAMESPACE, s->net);
	return vmi_row_end(s->r);
}

static bool row(struct scan *s, uint64_t ifa)
{
	const struct vmi_field *f = s->f;
	uint32_t local = (uint32_t)vmi_val(s->w, ifa, &f[A_LOCAL]);
	uint32_t address = (uint32_t)vmi_val(s->w, ifa, &f[A_ADDRESS]);
	uint32_t mask = (uint32_t)vmi_val(s->w, ifa, &f[A_MASK]);
	uint32_t broadcast = (uint32_t)vmi_val(s->w, ifa, &f[A_BROADCAST]);
	char name[IFNAMSIZ + 1];
	int n = vmi_text_field(s->w, ifa, &f[A_LABEL], name, sizeof(name));

	vmi_row(s->r);
	vmi_witness(s->w, ifa + f[A_LOCAL].offset, 4, local);
	if (n >= 0)
		vmi_strn(s->r, COL_INTERFACE, name, (size_t)n);
	vmi_address_column(s->r, COL_ADDRESS, AF_INET, &local);
	vmi_address_column(s->r, COL_MASK, AF_INET, &mask);
	if (!(vmi_val(s->w, s->dev, &f[DEV_FLAGS]) & IFF_BROADCAST))
		vmi_address_column(s->r, COL_POINT_TO_POINT, AF_INET, &address);
	else if (broadcast)
		vmi_address_column(s->r, COL_BROADCAST, AF_INET, &broadcast);
	return finish(s);
}

static bool row6(struct scan *s, uint64_t ifa)
{
	static const uint8_t none[16];
	const struct vmi_field *f = s->f;
	uint8_t address[16], peer[16];
	char text[VMI_ADDRESS_MAX], name[IFNAMSIZ + 1];
	int n = vmi_device_name(s->w, s->dev, name);
	uint64_t first;

	if (n < 0 || vmi_read(s->w, ifa + f[A6_ADDR].offset, address, sizeof(address)) ||
	    vmi_read(s->w, ifa + f[A6_PEER].offset, peer, sizeof(peer))) {
		vmi_walk_stop(s->w, VMI_STOP_FAULT, "inet6_ifaddr");
		return false;
	}
	vmi_row(s->r);
	memcpy(&first, address, sizeof(first));
	vmi_witness(s->w, ifa + f[A6_ADDR].offset, 8, first);
	vmi_strn(s->r, COL_INTERFACE, name, (size_t)n);
	vmi_address(AF_INET6, address, text);
	if (address[0] == 0xfe && (address[1] & 0xc0) == 0x80)
		vmi_strf(s->r, COL_ADDRESS, "%s%%%s", text, name);
	else
		vmi_str(s->r, COL_ADDRESS, text);
	vmi_mask_column(s->r, COL_MASK, AF_INET6, (unsigned int)vmi_val(s->w, ifa, &f[A6_BITS]));
	if (memcmp(peer, none, sizeof(peer)) != 0)
		vmi_address_column(s->r, COL_POINT_TO_POINT, AF_INET6, peer);
	return finish(s);
}

static bool device(struct scan *s)
{
	const struct vmi_field *f = s->f;
	uint64_t ip = vmi_val(s->w, s->dev, &f[DEV_IP]), ip6 = vmi_val(s->w, s->dev, &f[DEV_IP6]);
	uint64_t ifa = ip ? vmi_val(s->w, ip, &f[IP_LIST]) : 0;
	struct vmi_list l;

	for (unsigned int n = 0; ifa; ifa = vmi_val(s->w, ifa, &f[A_NEXT])) {
		if (++n > ADDRESSES_MAX || vmi_step(s->w)) {
			vmi_walk_stop(s->w, VMI_STOP_LENGTH, "in_ifaddr.ifa_next");
			return true;
		}
		if (row(s, ifa))
			return true;
	}
	if (!ip6 || !f[IP6_LIST].present || !f[A6_NODE].present || !f[A6_ADDR].present)
		return false;
	vmi_list_start(&l, s->w, ip6 + f[IP6_LIST].offset, "inet6_dev.addr_list");
	while ((ifa = vmi_list_next(&l)) != 0)
		if (row6(s, ifa - f[A6_NODE].offset))
			return true;
	return false;
}

static int rows(struct vmi_rows *r)
{
	struct scan s = { .r = r, .w = vmi_rows_walk(r) };
	struct vmi_devices d;
	struct vmi_nets nets;
	bool enough = false;
	int err;

	s.f = vmi_layout(vmi_rows_guest(r), paths, FIELDS);
	err = s.f ? vmi_nets_wanted(&nets, r, COL_NET_NAMESPACE) : -ENOMEM;
	if (err)
		return err;
	for (size_t i = 0; !err && !enough && i < nets.n; i++) {
		s.net = nets.net[i];
		err = vmi_devices_start(&d, r, s.net);
		while (!err && !enough && (s.dev = vmi_devices_next(&d)) != 0)
			enough = device(&s);
	}
	vmi_nets_free(&nets);
	return err;
}

const struct vmi_table vmi_table_interface_addresses = {
	.name = "interface_addresses",
	.doc = "IP addresses of network interfaces.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
