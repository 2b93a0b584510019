/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hash tables of sockets. Which there are, and where, differs:
 *
 *	TCP	tcp_hashinfo, from 6.1 on also one of a namespace; listening sockets in
 *listening_hash until 5.18, since then in lhash2 by the same link UDP	udp_table, from 6.2 on also
 *one of a namespace; udplite_table until 7.0 raw	raw_v4_hashinfo, raw_v6_hashinfo; ICMP echo:
 *ping_table UNIX	unix_socket_table[] until 5.19, then one of each namespace netlink
 *nl_table[], resizable hash tables (include/linux/rhashtable.h) packet	a list of each namespace
 */
#include <errno.h>
#include <string.h>

#include "sock.h"

enum {
	C_NODE,
	NET_HASHINFO,
	NET_DEATH_ROW,
	DR_HASHINFO,
	H_EHASH,
	H_EHASH_MASK,
	H_LHASH2,
	H_LHASH2_MASK,
	H_LISTENING,
	LB_HEAD,
	NET_UDP,
	UDP_HASH,
	UDP_MASK,
	UDP_HEAD,
	RAW_HT,
	PING_HASH,
	NET_UNIX,
	NET_PACKET,
	NL_HASH,
	NL_NODE,
	RHT_TABLE,
	BT_SIZE,
	BT_NEST,
	BT_BUCKETS,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[C_NODE] = "sock_common.skc_node",
	[NET_HASHINFO] = "net.ipv4.tcp_death_row.hashinfo",
	[NET_DEATH_ROW] = "net.ipv4.tcp_death_row",
	[DR_HASHINFO] = "inet_timewait_death_row.hashinfo",
	[H_EHASH] = "inet_hashinfo.ehash",
	[H_EHASH_MASK] = "inet_hashinfo.ehash_mask",
	[H_LHASH2] = "inet_hashinfo.lhash2",
	[H_LHASH2_MASK] = "inet_hashinfo.lhash2_mask",
	[H_LISTENING] = "inet_hashinfo.listening_hash",
	[LB_HEAD] = "inet_listen_hashbucket.nulls_head",
	[NET_UDP] = "net.ipv4.udp_table",
	[UDP_HASH] = "udp_table.hash",
	[UDP_MASK] = "udp_table.mask",
	[UDP_HEAD] = "udp_hslot.head",
	[RAW_HT] = "raw_hashinfo.ht",
	[PING_HASH] = "ping_table.hash",
	[NET_UNIX] = "net.unx.table.buckets",
	[NET_PACKET] = "net.packet.sklist",
	[NL_HASH] = "netlink_table.hash",
	[NL_NODE] = "netlink_sock.node",
	[RHT_TABLE] = "rhashtable.tbl",
	[BT_SIZE] = "bucket_table.size",
	[BT_NEST] = "bucket_table.nest",
	[BT_BUCKETS] = "bucket_table.buckets",
};

#define BUCKETS_MAX  (1u << 24)
#define UNIX_BUCKETS 512 /* UNIX_HASH_SIZE of include/net/af_unix.h; the table before had as many */
#define NETLINKS     32 /* MAX_LINKS of include/uapi/linux/netlink.h */
#define CHUNK	     4096

struct each {
	struct vmi_rows *r;
	struct vmi_walk *w;
	const struct vmi_field *f;
	vmi_sock_fn fn;
	void *arg;
	enum vmi_sock_table table;
	uint32_t node; /* the links' offset in the struct sock */
	struct vmi_set seen; /* tables that were walked */
	bool enough;
	uint8_t chunk[CHUNK];
};

const char *vmi_sock_table_name(enum vmi_sock_table t)
{
	static const char *const names[VMI_SOCKS_TABLES] = {
		[VMI_SOCKS_TCP] = "tcp",	 [VMI_SOCKS_LISTEN] = "tcp_listen",
		[VMI_SOCKS_UDP] = "udp",	 [VMI_SOCKS_UDPLITE] = "udplite",
		[VMI_SOCKS_PING] = "ping",	 [VMI_SOCKS_RAW] = "raw",
		[VMI_SOCKS_RAW6] = "raw6",	 [VMI_SOCKS_UNIX] = "unix",
		[VMI_SOCKS_NETLINK] = "netlink", [VMI_SOCKS_PACKET] = "packet",
	};

	return names[t];
}

/* The chain after the link at `head`. */
static void chain(struct each *e, uint64_t head)
{
	struct vmi_list l;
	uint64_t node;

	vmi_hlist_start(&l, e->w, head, vmi_sock_table_name(e->table));
	while (!e->enough && (node = vmi_hlist_next(&l)) != 0)
		e->enough = e->fn(e->arg, node - e->node, e->table);
}

/* `n` buckets of `stride` bytes, each with a chain's head at `head`. Most are empty. */
static void buckets(struct each *e, uint64_t at, uint64_t n, uint32_t stride, uint32_t head)
{
	if (!at || !stride || stride > CHUNK || head > stride - 8)
		return;
	if (n > BUCKETS_MAX) {
		vmi_walk_stop(e->w, VMI_STOP_LENGTH, vmi_sock_table_name(e->table));
		n = BUCKETS_MAX;
	}
	for (uint64_t i = 0; i < n && !e->enough;) {
		uint64_t some = CHUNK / stride;

		if (some > n - i)
			some = n - i;
		if (vmi_read(e->w, at + i * stride, e->chunk, (size_t)(some * stride))) {
			vmi_walk_stop(e->w, VMI_STOP_FAULT, vmi_sock_table_name(e->table));
			return;
		}
		for (uint64_t j = 0; j < some && !e->enough; j++) {
			uint64_t first;

			memcpy(&first, e->chunk + j * stride + head, 8);
			if (first && !(first & 1))
				chain(e, at + (i + j) * stride + head);
		}
		i += some;
	}
}

static bool again(struct each *e, uint64_t table)
{
	bool full = false;

	return !vmi_set_add(&e->seen, table ^ (uint64_t)e->table << 1, &full);
}

static uint64_t mask_of(struct each *e, uint64_t base, int field)
{
	uint64_t v;

	return vmi_get(e->w, base, &e->f[field], &v) ? 0 : v + 1;
}

static void tcp(struct each *e, uint64_t hashinfo)
{
	const struct vmi_field *f = e->f;

	if (!hashinfo || again(e, hashinfo))
		return;
	if (e->table == VMI_SOCKS_TCP) {
		buckets(e, vmi_val(e->w, hashinfo, &f[H_EHASH]), mask_of(e, hashinfo, H_EHASH_MASK),
			8, 0);
		return;
	}
	if (!f[LB_HEAD].present)
		return;
	if (f[H_LISTENING].present)
		buckets(e, hashinfo + f[H_LISTENING].offset, f[H_LISTENING].count,
			f[H_LISTENING].elem_size, f[LB_HEAD].offset);
	else
		buckets(e, vmi_val(e->w, hashinfo, &f[H_LHASH2]),
			mask_of(e, hashinfo, H_LHASH2_MASK),
			vmi_types_size(e->w->guest->types, "inet_listen_hashbucket"),
			f[LB_HEAD].offset);
}

/* It was a member, a pointer in 6.0, and a member again. */
static uint64_t tcp_of_net(struct each *e, uint64_t net)
{
	const struct vmi_field *f = e->f;
	uint64_t row;

	if (f[NET_HASHINFO].present)
		return vmi_val(e->w, net, &f[NET_HASHINFO]);
	if (!f[NET_DEATH_ROW].is_pointer)
		return 0;
	row = vmi_val(e->w, net, &f[NET_DEATH_ROW]);
	return row ? vmi_val(e->w, row, &f[DR_HASHINFO]) : 0;
}

static void udp(struct each *e, uint64_t table)
{
	if (table && !again(e, table) && e->f[UDP_HEAD].present)
		buckets(e, vmi_val(e->w, table, &e->f[UDP_HASH]), mask_of(e, table, UDP_MASK),
			vmi_types_size(e->w->guest->types, "udp_hslot"), e->f[UDP_HEAD].offset);
}

/* A table that is an array within a struct, whose links are 8 bytes. */
static void array(struct each *e, const char *symbol, int field)
{
	uint64_t at = vmi_sym(e->w->guest, symbol);

	if (at && e->f[field].present)
		buckets(e, at + e->f[field].offset, e->f[field].count, 8, 0);
}

static void rhashtable(struct each *e, uint64_t rht)
{
	const struct vmi_field *f = e->f;
	uint64_t table = vmi_val(e->w, rht, &f[RHT_TABLE]), size, first;

	if (!table || !f[BT_BUCKETS].present || vmi_get(e->w, table, &f[BT_SIZE], &size))
		return;
	/* Only a table that could not be had in one piece is nested; none of these is as large. */
	if (vmi_val(e->w, table, &f[BT_NEST]) || size > BUCKETS_MAX) {
		vmi_walk_stop(e->w, VMI_STOP_LENGTH, "bucket_table.nest");
		return;
	}
	for (uint64_t i = 0; i < size && !e->enough; i++) {
		if (vmi_ptr(e->w, table + f[BT_BUCKETS].offset + 8 * i, &first)) {
			vmi_walk_stop(e->w, VMI_STOP_FAULT, "bucket_table.buckets");
			return;
		}
		first &= ~1ull; /* a lock's bit */
		if (!first)
			continue;
		e->enough = e->fn(e->arg, first - e->node, e->table);
		if (!e->enough)
			chain(e, first);
	}
}

static void netlink(struct each *e)
{
	uint64_t table = vmi_sym(e->w->guest, "nl_table");
	uint32_t size = vmi_types_size(e->w->guest->types, "netlink_table");

	if (!table || !size || !e->f[NL_NODE].present || !e->f[NL_HASH].present ||
	    vmi_ptr(e->w, table, &table) || !table)
		return;
	e->node = e->f[NL_NODE].offset;
	for (unsigned int i = 0; i < NETLINKS && !e->enough; i++)
		rhashtable(e, table + (uint64_t)i * size + e->f[NL_HASH].offset);
	e->node = e->f[C_NODE].offset;
}

static void global(struct each *e)
{
	const struct vmi_guest *g = e->w->guest;

	switch (e->table) {
	case VMI_SOCKS_TCP:
	case VMI_SOCKS_LISTEN:
		tcp(e, vmi_sym(g, "tcp_hashinfo"));
		break;
	case VMI_SOCKS_UDP:
		udp(e, vmi_sym(g, "udp_table"));
		break;
	case VMI_SOCKS_UDPLITE:
		udp(e, vmi_sym(g, "udplite_table"));
		break;
	case VMI_SOCKS_PING:
		array(e, "ping_table", PING_HASH);
		break;
	case VMI_SOCKS_RAW:
		array(e, "raw_v4_hashinfo", RAW_HT);
		break;
	case VMI_SOCKS_RAW6:
		array(e, "raw_v6_hashinfo", RAW_HT);
		break;
	case VMI_SOCKS_UNIX:
		buckets(e, vmi_sym(g, "unix_socket_table"), UNIX_BUCKETS, 8, 0);
		break;
	case VMI_SOCKS_NETLINK:
		netlink(e);
		break;
	default:
		break;
	}
}

static void of_net(struct each *e, uint64_t net)
{
	const struct vmi_field *f = e->f;

	switch (e->table) {
	case VMI_SOCKS_TCP:
	case VMI_SOCKS_LISTEN:
		tcp(e, tcp_of_net(e, net));
		break;
	case VMI_SOCKS_UDP:
		udp(e, vmi_val(e->w, net, &f[NET_UDP]));
		break;
	case VMI_SOCKS_UNIX:
		buckets(e, vmi_val(e->w, net, &f[NET_UNIX]), UNIX_BUCKETS, 8, 0);
		break;
	case VMI_SOCKS_PACKET:
		if (f[NET_PACKET].present)
			chain(e, net + f[NET_PACKET].offset);
		break;
	default:
		break;
	}
}

int vmi_socks_each(struct vmi_rows *r, unsigned int mask, vmi_sock_fn fn, void *arg)
{
	struct each e = { .r = r, .w = vmi_rows_walk(r), .fn = fn, .arg = arg };
	struct vmi_nets nets;
	int err = vmi_nets_all(&nets, r);

	if (err)
		return err;
	e.f = vmi_layout(vmi_rows_guest(r), paths, FIELDS);
	if (!e.f)
		err = -ENOMEM;
	else
		e.node = e.f[C_NODE].offset;
	for (unsigned int t = 0; !err && t < VMI_SOCKS_TABLES && !e.enough; t++) {
		if (!(mask >> t & 1))
			continue;
		e.table = t;
		global(&e);
		for (size_t i = 0; i < nets.n && !e.enough; i++)
			of_net(&e, nets.net[i]);
	}
	vmi_set_free(&e.seen);
	vmi_nets_free(&nets);
	return err;
}
