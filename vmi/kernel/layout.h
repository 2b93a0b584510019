/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Layouts: fields that a table needs, looked up in the guest's types once for a guest and kept with
 * it, and structs that are copied whole and taken apart here. A list of 500 tasks would else spend
 * more time on names and on single reads than on the guest's memory.
 */
#ifndef VMI_LAYOUT_H
#define VMI_LAYOUT_H

#include "walk.h"

/*
 * paths[i] (as for vmi_types_field; NULL entries are skipped) becomes field i of the result, which
 * lives as long as the guest. `paths` is the key: a static table. NULL: no memory.
 */
const struct vmi_field *vmi_layout(struct vmi_guest *g, const char *const *paths, size_t n);
void vmi_layouts_free(struct vmi_guest *g);

/* A part of a struct, copied with one read. */
#define VMI_COPY_MAX 1024

struct vmi_copy {
	uint64_t base; /* gva of the struct */
	uint32_t from, bytes; /* which part of it */
	uint8_t raw[VMI_COPY_MAX];
};

/*
 * Copies what holds all of fields[0..n) that are present, with one read where they lie within
 * VMI_COPY_MAX bytes; those beyond are then not in it. 0 or as vmi_read.
 */
int vmi_copy(struct vmi_walk *w, uint64_t base, const struct vmi_field *fields, size_t n,
	     struct vmi_copy *out);
/* A field of it: 0 where this kernel has none; read singly where it is not within. */
uint64_t vmi_copied(struct vmi_walk *w, const struct vmi_copy *c, const struct vmi_field *f);
/* The bytes at `gva`, if the copy has all of them; NULL. */
const void *vmi_copy_at(const struct vmi_copy *c, uint64_t gva, size_t len);

#endif /* VMI_LAYOUT_H */
