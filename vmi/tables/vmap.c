/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>

#include "vmap.h"

#define AREAS_MAX (1u << 20)
#define NODES_MAX 1024 /* the kernel makes at most 128 */

struct types {
	struct vmi_field list, start, end, vm, caller;
	bool (*fn)(void *arg, const struct vmi_vmap *v);
	void *arg;
};

static bool areas(struct vmi_walk *w, const struct types *t, uint64_t head)
{
	struct vmi_list l;
	uint64_t node;

	vmi_list_start(&l, w, head, "vmap_area.list");
	while ((node = vmi_list_next(&l)) && l.n <= AREAS_MAX) {
		uint64_t va = node - t->list.offset, vm = vmi_val(w, va, &t->vm);
		struct vmi_vmap v = { .start = vmi_val(w, va, &t->start),
				      .end = vmi_val(w, va, &t->end) };

		if (vm)
			v.caller = vmi_val(w, vm, &t->caller);
		if (v.end > v.start && t->fn(t->arg, &v))
			return true;
	}
	return false;
}

int vmi_vmaps(struct vmi_walk *w, bool (*fn)(void *arg, const struct vmi_vmap *v), void *arg)
{
	struct vmi_guest *g = w->guest;
	uint64_t one = vmi_sym(g, "vmap_area_list"), nodes = vmi_sym(g, "vmap_nodes");
	uint64_t count = vmi_sym(g, "nr_vmap_nodes"), n = 0;
	uint32_t size = vmi_types_size(g->types, "vmap_node");
	struct types t = { .fn = fn, .arg = arg };
	struct vmi_field head;

	if (vmi_field(g, "vmap_area.list", &t.list) ||
	    vmi_field(g, "vmap_area.va_start", &t.start) ||
	    vmi_field(g, "vmap_area.va_end", &t.end) || vmi_field(g, "vmap_area.vm", &t.vm) ||
	    vmi_field(g, "vm_struct.caller", &t.caller))
		return -ENOENT;
	if (one) {
		areas(w, &t, one);
		return 0;
	}
	if (!nodes || !count || !size || vmi_field(g, "vmap_node.busy.head", &head) ||
	    vmi_ptr(w, nodes, &nodes) || vmi_uint(w, count, 4, &n) || !n || n > NODES_MAX)
		return -ENOENT;
	for (uint64_t i = 0; i < n; i++) {
		if (areas(w, &t, nodes + i * size + head.offset))
			break;
	}
	return 0;
}
