/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux' containers, walked from outside. The layouts of list_head, hlist_node and rb_node
 * (include/linux/types.h, rbtree_types.h) have not changed in decades and cannot be shuffled; those
 * of xa_node and the maple nodes are taken from the guest's types.
 */
#include <errno.h>
#include <string.h>

#include "layout.h"

#define NEXT	 0
#define PREV	 8
#define RB_RIGHT 8
#define RB_LEFT	 16

/* ------------------------------------------------------------------------------------------- lists
 */

void vmi_list_start(struct vmi_list *l, struct vmi_walk *w, uint64_t head, const char *where)
{
	*l = (struct vmi_list){
		.w = w, .where = where, .head = head, .node = head, .turtle = head, .power = 1
	};
}

/* Brent: the turtle jumps to the node after 1, 2, 4, 8... steps; a cycle runs into it. */
static bool goes_round(struct vmi_list *l, uint64_t node)
{
	if (node == l->turtle || ++l->n > VMI_LIST_MAX) {
		vmi_walk_stop(l->w, l->n > VMI_LIST_MAX ? VMI_STOP_LENGTH : VMI_STOP_CYCLE,
			      l->where);
		return true;
	}
	if (l->n == l->power) {
		l->turtle = node;
		l->power *= 2;
	}
	return false;
}

static uint64_t list_ends(struct vmi_list *l)
{
	l->node = 0;
	return 0;
}

uint64_t vmi_list_next(struct vmi_list *l)
{
	uint64_t next, back;

	if (!l->node)
		return 0;
	if (vmi_ptr(l->w, l->node + NEXT, &next) || !next) {
		vmi_walk_stop(l->w, VMI_STOP_FAULT, l->where);
		return list_ends(l);
	}
	if (next == l->head || goes_round(l, next))
		return list_ends(l);
	if (vmi_ptr(l->w, next + PREV, &back) || back != l->node)
		l->w->torn = true;
	l->node = next;
	return next;
}

void vmi_hlist_start(struct vmi_list *l, struct vmi_walk *w, uint64_t head, const char *where)
{
	vmi_list_start(l, w, head, where);
}

uint64_t vmi_hlist_next(struct vmi_list *l)
{
	uint64_t next;

	if (!l->node)
		return 0;
	if (vmi_ptr(l->w, l->node + NEXT, &next)) {
		vmi_walk_stop(l->w, VMI_STOP_FAULT, l->where);
		return list_ends(l);
	}
	/* The end of an hlist is NULL, of an hlist_nulls a value whose lowest bit is set. */
	if (!next || (next & 1) || goes_round(l, next))
		return list_ends(l);
	l->node = next;
	return next;
}

/* ----------------------------------------------------------------------------------- red-black
 * trees */

/* Pushes `node` and all left of it. */
static void push_left(struct vmi_rb *r, uint64_t node)
{
	while (node) {
		if (r->depth == VMI_RB_DEPTH || ++r->n > VMI_LIST_MAX) {
			/* A real tree of 2^64 nodes is not as deep. */
			vmi_walk_stop(r->w, VMI_STOP_CYCLE, r->where);
			r->depth = 0;
			return;
		}
		r->stack[r->depth++] = node;
		if (vmi_ptr(r->w, node + RB_LEFT, &node)) {
			vmi_walk_stop(r->w, VMI_STOP_FAULT, r->where);
			return;
		}
	}
}

void vmi_rb_start(struct vmi_rb *r, struct vmi_walk *w, uint64_t root, const char *where)
{
	uint64_t node;

	r->w = w;
	r->where = where;
	r->depth = r->n = r->done = 0;
	r->power = 1;
	r->turtle = 0;
	if (vmi_ptr(w, root, &node))
		vmi_walk_stop(w, VMI_STOP_FAULT, where);
	else
		push_left(r, node);
}

uint64_t vmi_rb_next(struct vmi_rb *r)
{
	uint64_t node, right;

	if (!r->depth)
		return 0;
	node = r->stack[--r->depth];
	if (node == r->turtle) {
		vmi_walk_stop(r->w, VMI_STOP_CYCLE, r->where);
		r->depth = 0;
		return 0;
	}
	if (++r->done == r->power) {
		r->turtle = node;
		r->power *= 2;
	}
	if (vmi_ptr(r->w, node + RB_RIGHT, &right))
		vmi_walk_stop(r->w, VMI_STOP_FAULT, r->where);
	else
		push_left(r, right);
	return node;
}

/* ---- xarrays ---- */

/* Entries (include/linux/xarray.h): 01 and 11 are values, 10 is internal, 00 is a pointer. */
#define XA_TAG(e)      ((e)&3)
#define XA_INTERNAL    2
#define XA_IS_VALUE(e) ((e)&1)
#define XA_MAX_SHIFT   60

/* Internal entries above 4096 are nodes, below siblings, retries, zero. */
static bool xa_is_node(uint64_t e)
{
	return XA_TAG(e) == XA_INTERNAL && e > 4096;
}

static void xa_push(struct vmi_xa *x, uint64_t entry, uint64_t base, unsigned int below)
{
	uint64_t node = entry - XA_INTERNAL, shift;

	if (vmi_get(x->w, node, &x->shift, &shift)) {
		vmi_walk_stop(x->w, VMI_STOP_FAULT, x->where);
		return;
	}
	/* Each level lies below the one above it: this ends any cycle. */
	if (shift >= below || x->depth == sizeof(x->stack) / sizeof(x->stack[0])) {
		vmi_walk_stop(x->w, VMI_STOP_CYCLE, x->where);
		return;
	}
	x->stack[x->depth].node = node;
	x->stack[x->depth].base = base;
	x->stack[x->depth].shift = (unsigned int)shift;
	x->stack[x->depth++].slot = 0;
}

void vmi_xa_start(struct vmi_xa *x, struct vmi_walk *w, uint64_t xa, const char *where)
{
	struct vmi_field head;
	uint64_t entry;

	x->w = w;
	x->where = where;
	x->depth = 0;
	x->single = 0;
	if (vmi_field(w->guest, "xarray.xa_head", &head) ||
	    vmi_field(w->guest, "xa_node.shift", &x->shift) ||
	    vmi_field(w->guest, "xa_node.slots", &x->slot) || vmi_get(w, xa, &head, &entry)) {
		vmi_walk_stop(w, VMI_STOP_FAULT, where);
		return;
	}
	x->slots = x->slot.count;
	if (xa_is_node(entry))
		xa_push(x, entry, 0, XA_MAX_SHIFT + 1);
	else if (XA_TAG(entry) != XA_INTERNAL)
		x->single = entry;
}

bool vmi_xa_next(struct vmi_xa *x, uint64_t *index, uint64_t *entry)
{
	if (x->single) {
		*index = 0;
		*entry = x->single;
		x->single = 0;
		return true;
	}
	while (x->depth) {
		unsigned int top = x->depth - 1, slot = x->stack[top].slot++;
		uint64_t e, at;

		if (slot >= x->slots) {
			x->depth--;
			continue;
		}
		if (vmi_ptr(x->w, x->stack[top].node + x->slot.offset + 8ull * slot, &e)) {
			vmi_walk_stop(x->w, VMI_STOP_FAULT, x->where);
			x->depth--;
			continue;
		}
		at = x->stack[top].base + ((uint64_t)slot << x->stack[top].shift);
		if (!e)
			continue;
		if (xa_is_node(e)) {
			xa_push(x, e, at, x->stack[top].shift);
		} else if (XA_TAG(e) != XA_INTERNAL) {
			*index = at;
			*entry = e;
			return true;
		}
	}
	return false;
}

enum { XA_HEAD, XA_SHIFT, XA_SLOTS, XA_FIELDS };

static const char *const xa_paths[XA_FIELDS] = {
	[XA_HEAD] = "xarray.xa_head",
	[XA_SHIFT] = "xa_node.shift",
	[XA_SLOTS] = "xa_node.slots",
};

uint64_t vmi_xa_load(struct vmi_walk *w, uint64_t xa, uint64_t index)
{
	const struct vmi_field *f = vmi_layout(w->guest, xa_paths, XA_FIELDS);
	uint64_t e = f ? vmi_val(w, xa, &f[XA_HEAD]) : 0, shift, below = XA_MAX_SHIFT + 1;
	unsigned int bits;

	if (!xa_is_node(e))
		return index || XA_TAG(e) ? 0 : e;
	bits = f[XA_SLOTS].count == 16 ? 4 : 6; /* XA_CHUNK_SHIFT */
	for (; xa_is_node(e); below = shift) {
		uint64_t node = e - XA_INTERNAL;

		/* Each level lies below the one above it, and the top holds the index or nothing
		 * does. */
		if (vmi_get(w, node, &f[XA_SHIFT], &shift) || shift >= below ||
		    (below > XA_MAX_SHIFT && index >> shift >> bits) ||
		    vmi_ptr(w,
			    node + f[XA_SLOTS].offset + 8 * (index >> shift & ((1u << bits) - 1)),
			    &e))
			return 0;
		if (!shift && xa_is_node(e))
			return 0;
	}
	return XA_TAG(e) ? 0 : e;
}

/* ---------------------------------------------------------------------------------------- maple
 * trees */

/* Encoded nodes (include/linux/maple_tree.h): 256-byte aligned, type and flags below. */
#define MA_NODE_MASK   255ull
#define MA_TYPE(e)     ((e) >> 3 & 15)
#define MA_DENSE       0
#define MA_LEAF_64     1
#define MA_RANGE_64    2
#define MA_ARANGE_64   3
#define MA_RESERVED(e) ((e) < 4096 && XA_TAG(e) == XA_INTERNAL)

static void maple_push(struct vmi_maple *m, uint64_t enode, uint64_t min, uint64_t max)
{
	unsigned int type = MA_TYPE(enode);
	uint64_t node = enode & ~MA_NODE_MASK, parent;

	if (m->depth == sizeof(m->stack) / sizeof(m->stack[0])) {
		vmi_walk_stop(m->w, VMI_STOP_CYCLE, m->where);
		return;
	}
	if (type == MA_DENSE || type > MA_ARANGE_64 || vmi_ptr(m->w, node, &parent)) {
		vmi_walk_stop(m->w, VMI_STOP_FAULT, m->where);
		return;
	}
	/* A node that was taken out of the tree is its own parent: ma_dead_node(). */
	if ((parent & ~MA_NODE_MASK) == node)
		m->w->torn = true;
	m->stack[m->depth].node = node;
	m->stack[m->depth].type = type;
	m->stack[m->depth].min = min;
	m->stack[m->depth].max = max;
	m->stack[m->depth++].slot = 0;
}

void vmi_maple_start(struct vmi_maple *m, struct vmi_walk *w, uint64_t mt, const char *where)
{
	static const char *const paths[] = {
		[MA_RANGE_64] = "maple_range_64.",
		[MA_ARANGE_64] = "maple_arange_64.",
	};
	struct vmi_field root;
	uint64_t entry;
	int err = vmi_field(w->guest, "maple_tree.ma_root", &root);

	m->w = w;
	m->where = where;
	m->depth = 0;
	m->single = 0;
	for (unsigned int t = MA_RANGE_64; t <= MA_ARANGE_64 && !err; t++) {
		char path[32];

		strcpy(path, paths[t]);
		err = vmi_field(w->guest, strcat(path, "pivot"), &m->pivot[t]);
		strcpy(path, paths[t]);
		if (!err)
			err = vmi_field(w->guest, strcat(path, "slot"), &m->slot[t]);
	}
	m->pivot[MA_LEAF_64] = m->pivot[MA_RANGE_64];
	m->slot[MA_LEAF_64] = m->slot[MA_RANGE_64];
	if (err || vmi_get(w, mt, &root, &entry)) {
		vmi_walk_stop(w, VMI_STOP_FAULT, where);
		return;
	}
	if (xa_is_node(entry))
		maple_push(m, entry, 0, UINT64_MAX);
	else if (!MA_RESERVED(entry))
		m->single = entry;
}

/* The range of a slot of the node on top; false: the node has no such slot. */
static bool maple_range(struct vmi_maple *m, unsigned int slot, uint64_t *first, uint64_t *last)
{
	unsigned int top = m->depth - 1, type = m->stack[top].type;
	uint64_t pivots = m->stack[top].node + m->pivot[type].offset, p;

	if (slot >= m->slot[type].count)
		return false;
	*first = m->stack[top].min;
	*last = m->stack[top].max;
	if (slot) {
		if (slot > m->pivot[type].count || vmi_ptr(m->w, pivots + 8ull * (slot - 1), &p) ||
		    (!p && slot > 1) || p >= m->stack[top].max || p < m->stack[top].min)
			return false;
		*first = p + 1;
	}
	if (slot < m->pivot[type].count) {
		if (vmi_ptr(m->w, pivots + 8ull * slot, &p))
			return false;
		/* A pivot of 0 behind the first slot is the end: mas_safe_pivot(). */
		if (p || !slot)
			*last = p;
	}
	return *first <= *last && *last <= m->stack[top].max;
}

bool vmi_maple_next(struct vmi_maple *m, uint64_t *first, uint64_t *last, uint64_t *entry)
{
	if (m->single) {
		*first = *last = 0;
		*entry = m->single;
		m->single = 0;
		return true;
	}
	while (m->depth) {
		unsigned int top = m->depth - 1, type = m->stack[top].type;
		unsigned int slot = m->stack[top].slot++;
		uint64_t e, from, to;

		if (vmi_step(m->w))
			return false;
		if (!maple_range(m, slot, &from, &to) ||
		    vmi_ptr(m->w, m->stack[top].node + m->slot[type].offset + 8ull * slot, &e)) {
			m->depth--;
			continue;
		}
		if (type != MA_LEAF_64) {
			/* mt_mk_node(); unlike the root it is not marked as internal */
			if (!(e & ~MA_NODE_MASK))
				vmi_walk_stop(m->w, VMI_STOP_FAULT, m->where);
			else
				maple_push(m, e, from, to);
		} else if (e && !MA_RESERVED(e)) {
			*first = from;
			*last = to;
			*entry = e;
			return true;
		}
	}
	return false;
}
