/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IPv4's tables are level-compressed tries (net/ipv4/fib_trie.c): inner nodes have 2^bits children
 * and look at the bits of the key from `pos` on; leaves hold the routes of a prefix. Without policy
 * rules the local table and the main one are one trie, and each route says whose it is.
 */
#include <string.h>

#include "routes.h"

enum {
	NET_HASH,
	NET_RULES,
	T_NODE,
	T_ID,
	T_DATA,
	TRIE_ROOT,
	K_KEY,
	K_POS,
	K_BITS,
	K_LEAF,
	K_CHILDREN,
	A_NODE,
	A_INFO,
	A_TYPE,
	A_SLEN,
	A_TABLE,
	I_SOURCE,
	I_PRIORITY,
	I_METRICS,
	I_HOPS,
	I_NEXTHOP,
	I_HOP,
	FH_COMMON,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[NET_HASH] = "net.ipv4.fib_table_hash",
	[NET_RULES] = "net.ipv4.rules_ops",
	[T_NODE] = "fib_table.tb_hlist",
	[T_ID] = "fib_table.tb_id",
	[T_DATA] = "fib_table.tb_data",
	[TRIE_ROOT] = "trie.kv",
	[K_KEY] = "key_vector.key",
	[K_POS] = "key_vector.pos",
	[K_BITS] = "key_vector.bits",
	[K_LEAF] = "key_vector.leaf",
	[K_CHILDREN] = "key_vector.tnode",
	[A_NODE] = "fib_alias.fa_list",
	[A_INFO] = "fib_alias.fa_info",
	[A_TYPE] = "fib_alias.fa_type",
	[A_SLEN] = "fib_alias.fa_slen",
	[A_TABLE] = "fib_alias.tb_id",
	[I_SOURCE] = "fib_info.fib_prefsrc",
	[I_PRIORITY] = "fib_info.fib_priority",
	[I_METRICS] = "fib_info.fib_metrics",
	[I_HOPS] = "fib_info.fib_nhs",
	[I_NEXTHOP] = "fib_info.nh",
	[I_HOP] = "fib_info.fib_nh",
	[FH_COMMON] = "fib_nh.nh_common",
};

#define KEY_BITS 32
#define HOPS_MAX 65536
#define WHERE	 "key_vector"

struct level {
	uint64_t node, next, children;
	uint64_t pos;
};

static void alias(struct vmi_routes *r, const struct vmi_field *f, uint64_t fa, uint32_t key)
{
	struct vmi_route route = { .family = AF_INET, .gva = fa };
	uint64_t info = vmi_val(r->w, fa, &f[A_INFO]), slen = vmi_val(r->w, fa, &f[A_SLEN]);
	uint64_t hops, nexthop;
	uint32_t size = vmi_types_size(r->w->guest->types, "fib_nh"), source;

	if (!info || slen > KEY_BITS)
		return;
	key = htonl(key);
	memcpy(route.to, &key, 4);
	route.bits = KEY_BITS - (unsigned int)slen;
	route.table = (uint32_t)vmi_val(r->w, fa, &f[A_TABLE]);
	route.type = (uint8_t)vmi_val(r->w, fa, &f[A_TYPE]);
	route.metric = (uint32_t)vmi_val(r->w, info, &f[I_PRIORITY]);
	source = (uint32_t)vmi_val(r->w, info, &f[I_SOURCE]);
	memcpy(route.source, &source, 4);
	route.has_source = source != 0;
	vmi_route_metrics(r, vmi_val(r->w, info, &f[I_METRICS]), &route);
	nexthop = vmi_val(r->w, info, &f[I_NEXTHOP]);
	if (nexthop) {
		vmi_route_nexthop(r, nexthop, &route);
		return;
	}
	hops = vmi_val(r->w, info, &f[I_HOPS]);
	if (hops > HOPS_MAX) {
		vmi_walk_stop(r->w, VMI_STOP_LENGTH, "fib_info.fib_nhs");
		hops = HOPS_MAX;
	}
	for (uint64_t i = 0; i < hops && !r->enough; i++)
		vmi_route_hop(r, info + f[I_HOP].offset + i * size + f[FH_COMMON].offset, &route);
}

static void leaf(struct vmi_routes *r, const struct vmi_field *f, uint64_t node, uint32_t table)
{
	uint32_t key = (uint32_t)vmi_val(r->w, node, &f[K_KEY]);
	struct vmi_list l;
	uint64_t fa;

	vmi_hlist_start(&l, r->w, node + f[K_LEAF].offset, "fib_alias.fa_list");
	while (!r->enough && (fa = vmi_hlist_next(&l)) != 0) {
		fa -= f[A_NODE].offset;
		if (vmi_val(r->w, fa, &f[A_TABLE]) == table)
			alias(r, f, fa, key);
	}
}

/* Enters an inner node. Positions fall from each to the next, so that a cycle cannot be gone round.
 */
static bool enter(struct vmi_routes *r, const struct vmi_field *f, struct level *l, uint64_t node,
		  uint64_t below)
{
	uint64_t bits = vmi_val(r->w, node, &f[K_BITS]);

	l->node = node;
	l->next = 0;
	l->pos = vmi_val(r->w, node, &f[K_POS]);
	l->children = 1ull << (bits & 31);
	if (bits && bits <= KEY_BITS - 1 && l->pos + bits <= below)
		return true;
	vmi_walk_stop(r->w, VMI_STOP_CYCLE, WHERE);
	return false;
}

static void trie(struct vmi_routes *r, const struct vmi_field *f, uint64_t at, uint32_t table)
{
	struct level stack[KEY_BITS + 1];
	unsigned int depth = 0;
	uint64_t node;

	/* The root is an inner node with a single child, which lies beyond the key. */
	stack[0] =
		(struct level){ .node = at + f[TRIE_ROOT].offset, .children = 1, .pos = KEY_BITS };
	while (!r->enough) {
		struct level *l = &stack[depth];

		if (l->next == l->children) {
			if (!depth--)
				return;
			continue;
		}
		if (vmi_ptr(r->w, l->node + f[K_CHILDREN].offset + 8 * l->next++, &node)) {
			vmi_walk_stop(r->w, VMI_STOP_FAULT, WHERE);
			return;
		}
		if (!node)
			continue;
		if (!vmi_val(r->w, node, &f[K_BITS])) {
			leaf(r, f, node, table);
			continue;
		}
		if (depth == KEY_BITS || !enter(r, f, &stack[depth + 1], node, l->pos))
			return;
		depth++;
	}
}

void vmi_routes_ipv4(struct vmi_routes *r, uint64_t net)
{
	const struct vmi_field *f = vmi_layout(r->w->guest, paths, FIELDS);
	uint64_t hash = f ? vmi_val(r->w, net, &f[NET_HASH]) : 0, table, data;
	struct vmi_list l;

	if (!hash || !f[T_DATA].present || !f[K_CHILDREN].present || !f[K_LEAF].present)
		return;
	for (unsigned int i = 0; i < (f[NET_RULES].present ? VMI_FIB_BUCKETS : 2); i++) {
		vmi_hlist_start(&l, r->w, hash + 8 * i, "fib_table.tb_hlist");
		while (!r->enough && (table = vmi_hlist_next(&l)) != 0) {
			table -= f[T_NODE].offset;
			data = vmi_val(r->w, table, &f[T_DATA]);
			if (data)
				trie(r, f, data, (uint32_t)vmi_val(r->w, table, &f[T_ID]));
		}
	}
}
