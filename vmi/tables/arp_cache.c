/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Neighbours: of IPv4 as /proc/net/arp has them, proxies included, and of IPv6 by the same rules
 * (what osquery's description of the table promises, and its code leaves out on Linux).
 */
#include <errno.h>

#include "net.h"

enum { COL_ADDRESS, COL_MAC, COL_INTERFACE, COL_PERMANENT, COL_NET_NAMESPACE, COL_STATE };

static const struct vmi_column columns[] = {
	[COL_ADDRESS] = { "address", VMI_TEXT, "IP address" },
	[COL_MAC] = { "mac", VMI_TEXT, "hardware address; zeros: not known, or a proxy's" },
	[COL_INTERFACE] = { "interface", VMI_TEXT, "network interface" },
	[COL_PERMANENT] = { "permanent", VMI_TEXT, "1: an entry that does not expire, else 0" },
	[COL_NET_NAMESPACE] = { "net_namespace", VMI_TEXT,
				"inode of the network namespace; the first, if not asked for", true,
				true },
	[COL_STATE] = { "state", VMI_INTEGER, "NUD_*; NULL: a proxy", .hidden = true },
};

enum {
	T_NHT,
	T_PROXIES,
	H_BUCKETS,
	H_SHIFT,
	N_LINK,
	N_DEV,
	N_STATE,
	N_HA,
	N_KEY,
	P_NEXT,
	P_DEV,
	P_NET,
	P_KEY,
	DEV_NET,
	DEV_ADDR_LEN,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[T_NHT] = "neigh_table.nht",
	[T_PROXIES] = "neigh_table.phash_buckets",
	/* chained by hand until 6.13, then an hlist */
	[H_BUCKETS] = "neigh_hash_table.hash_heads|neigh_hash_table.hash_buckets",
	[H_SHIFT] = "neigh_hash_table.hash_shift",
	[N_LINK] = "neighbour.hash|neighbour.next",
	[N_DEV] = "neighbour.dev",
	[N_STATE] = "neighbour.nud_state",
	[N_HA] = "neighbour.ha",
	[N_KEY] = "neighbour.primary_key",
	[P_NEXT] = "pneigh_entry.next",
	[P_DEV] = "pneigh_entry.dev",
	[P_NET] = "pneigh_entry.net.net",
	[P_KEY] = "pneigh_entry.key",
	[DEV_NET] = "net_device.nd_net.net",
	[DEV_ADDR_LEN] = "net_device.addr_len",
};

#define SHIFT_MAX     24
#define PROXY_BUCKETS 16 /* PNEIGH_HASHMASK of net/core/neighbour.c, plus 1 */
/* include/uapi/linux/neighbour.h */
#define NUD_NOARP     0x40
#define NUD_PERMANENT 0x80

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	const struct vmi_field *f;
	uint64_t net;
	int family;
};

static bool row(struct scan *s, uint64_t key, uint64_t dev, const uint8_t *mac, size_t n, int state)
{
	uint8_t address[16];
	char name[IFNAMSIZ + 1];
	int len = dev ? vmi_device_name(s->w, dev, name) : -ENOENT;

	if (vmi_read(s->w, key, address, s->family == AF_INET ? 4 : 16)) {
		vmi_walk_stop(s->w, VMI_STOP_FAULT, "neighbour.primary_key");
		return false;
	}
	vmi_row(s->r);
	vmi_address_column(s->r, COL_ADDRESS, s->family, address);
	vmi_hardware_column(s->r, COL_MAC, mac, n);
	if (len >= 0)
		vmi_strn(s->r, COL_INTERFACE, name, (size_t)len);
	vmi_str(s->r, COL_PERMANENT, state >= 0 && (state & NUD_PERMANENT) ? "1" : "0");
	vmi_net_column(s->r, COL_NET_NAMESPACE, s->net);
	if (state >= 0)
		vmi_int(s->r, COL_STATE, state);
	return vmi_row_end(s->r);
}

static size_t address_length(struct scan *s, uint64_t dev)
{
	uint64_t n = vmi_val(s->w, dev, &s->f[DEV_ADDR_LEN]);

	return n > VMI_HARDWARE_MAX ? VMI_HARDWARE_MAX : (size_t)n;
}

static bool neighbour(struct scan *s, uint64_t n)
{
	uint64_t dev = vmi_val(s->w, n, &s->f[N_DEV]), state = vmi_val(s->w, n, &s->f[N_STATE]);
	uint8_t mac[VMI_HARDWARE_MAX] = { 0 };
	size_t len;

	if (!dev || vmi_val(s->w, dev, &s->f[DEV_NET]) != s->net || (state & NUD_NOARP))
		return false;
	len = address_length(s, dev);
	if (s->f[N_HA].size < len || vmi_read(s->w, n + s->f[N_HA].offset, mac, len))
		len = 0;
	vmi_witness(s->w, n + s->f[N_DEV].offset, 8, dev);
	vmi_witness(s->w, n + s->f[N_STATE].offset, 1, state);
	return row(s, n + s->f[N_KEY].offset, dev, mac, len, (int)state);
}

static bool neighbours(struct scan *s, uint64_t table)
{
	uint64_t nht = vmi_val(s->w, table, &s->f[T_NHT]), shift, heads, node;
	struct vmi_list l;

	if (!nht || vmi_get(s->w, nht, &s->f[H_SHIFT], &shift) ||
	    vmi_get(s->w, nht, &s->f[H_BUCKETS], &heads) || !heads)
		return false;
	if (shift > SHIFT_MAX) {
		vmi_walk_stop(s->w, VMI_STOP_LENGTH, "neigh_hash_table.hash_shift");
		return false;
	}
	for (uint64_t i = 0; i < 1ull << shift; i++) {
		vmi_hlist_start(&l, s->w, heads + 8 * i, "neighbour");
		while ((node = vmi_hlist_next(&l)) != 0)
			if (neighbour(s, node - s->f[N_LINK].offset))
				return true;
		if (s->w->stop != VMI_STOP_NONE)
			return false;
	}
	return false;
}

/* Addresses that the guest answers for. */
static bool proxies(struct scan *s, uint64_t table)
{
	static const uint8_t none[VMI_HARDWARE_MAX];
	const struct vmi_field *f = s->f;
	uint64_t heads = vmi_val(s->w, table, &f[T_PROXIES]), node;
	struct vmi_list l;

	if (!heads || !f[P_KEY].present || !f[P_NEXT].present)
		return false;
	for (unsigned int i = 0; i < PROXY_BUCKETS; i++) {
		vmi_hlist_start(&l, s->w, heads + 8 * i, "pneigh_entry");
		while ((node = vmi_hlist_next(&l)) != 0) {
			uint64_t p = node - f[P_NEXT].offset, dev = vmi_val(s->w, p, &f[P_DEV]);

			if (vmi_val(s->w, p, &f[P_NET]) != s->net)
				continue;
			vmi_witness(s->w, p + f[P_DEV].offset, 8, dev);
			if (row(s, p + f[P_KEY].offset, dev, none, dev ? address_length(s, dev) : 6,
				-1))
				return true;
		}
	}
	return false;
}

static int rows(struct vmi_rows *r)
{
	static const struct {
		int family;
		const char *symbol;
	} tables[] = { { AF_INET, "arp_tbl" }, { AF_INET6, "nd_tbl" } };
	struct scan s = { .r = r, .w = vmi_rows_walk(r) };
	struct vmi_nets nets;
	bool enough = false;
	int err;

	s.f = vmi_layout(vmi_rows_guest(r), paths, FIELDS);
	if (!s.f)
		return -ENOMEM;
	for (int i = T_NHT; i <= N_KEY; i++)
		if (!s.f[i].present && i != T_PROXIES)
			return vmi_rows_error(r, "the guest's types have no %s", paths[i]);
	err = vmi_nets_wanted(&nets, r, COL_NET_NAMESPACE);
	for (size_t i = 0; !err && !enough && i < nets.n; i++) {
		s.net = nets.net[i];
		for (size_t t = 0; !enough && t < sizeof(tables) / sizeof(tables[0]); t++) {
			uint64_t table = vmi_sym(vmi_rows_guest(r), tables[t].symbol);

			s.family = tables[t].family;
			enough = table && (neighbours(&s, table) || proxies(&s, table));
		}
	}
	if (!err)
		vmi_nets_free(&nets);
	return err;
}

const struct vmi_table vmi_table_arp_cache = {
	.name = "arp_cache",
	.doc = "Hardware addresses of neighbours, from ARP and NDP.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
