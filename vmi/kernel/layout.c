/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "layout.h"

#include <stdlib.h>
#include <string.h>

struct vmi_layout {
	struct vmi_layout *next;
	const char *const *paths;
	size_t n;
	struct vmi_field fields[];
};

const struct vmi_field *vmi_layout(struct vmi_guest *g, const char *const *paths, size_t n)
{
	struct vmi_layout *l;

	for (l = g->layouts; l; l = l->next)
		if (l->paths == paths && l->n == n)
			return l->fields;
	l = calloc(1, sizeof(*l) + n * sizeof(l->fields[0]));
	if (!l)
		return NULL;
	l->paths = paths;
	l->n = n;
	if (g->types)
		vmi_types_fields(g->types, paths, l->fields, n);
	l->next = g->layouts;
	g->layouts = l;
	return l->fields;
}

void vmi_layouts_free(struct vmi_guest *g)
{
	while (g->layouts) {
		struct vmi_layout *next = g->layouts->next;

		free(g->layouts);
		g->layouts = next;
	}
}

static uint32_t unit(const struct vmi_field *f)
{
	return f->is_array ? f->elem_size : f->size;
}

/* Whether all of the field's first element lies within the copy. */
static bool holds(const struct vmi_copy *c, const struct vmi_field *f)
{
	return f->offset >= c->from && unit(f) <= c->bytes &&
	       f->offset - c->from <= c->bytes - unit(f);
}

int vmi_copy(struct vmi_walk *w, uint64_t base, const struct vmi_field *fields, size_t n,
	     struct vmi_copy *out)
{
	uint64_t from = UINT64_MAX, end = 0;
	int err;

	out->base = base;
	out->from = out->bytes = 0;
	for (size_t i = 0; i < n; i++) {
		uint64_t last = (uint64_t)fields[i].offset + fields[i].size;

		if (!fields[i].present)
			continue;
		if (fields[i].offset < from)
			from = fields[i].offset;
		if (last > end)
			end = last;
	}
	if (from >= end)
		return 0;
	out->from = (uint32_t)from;
	out->bytes = end - from > VMI_COPY_MAX ? VMI_COPY_MAX : (uint32_t)(end - from);
	err = vmi_read(w, base + from, out->raw, out->bytes);
	if (err)
		out->bytes = 0;
	return err;
}

uint64_t vmi_copied(struct vmi_walk *w, const struct vmi_copy *c, const struct vmi_field *f)
{
	uint32_t size = unit(f);
	uint64_t v = 0;

	if (!f->present)
		return 0;
	if (!holds(c, f))
		return vmi_val(w, c->base, f);
	if (size != 1 && size != 2 && size != 4 && size != 8)
		return 0;
	memcpy(&v, c->raw + (f->offset - c->from), size);
	if (f->bits && f->bits < 64)
		v = v >> (f->bit & 63) & ((1ull << f->bits) - 1);
	return v;
}

const void *vmi_copy_at(const struct vmi_copy *c, uint64_t gva, size_t len)
{
	uint64_t at = gva - c->base - c->from;

	return at < c->bytes && len <= c->bytes - at ? c->raw + at : NULL;
}
