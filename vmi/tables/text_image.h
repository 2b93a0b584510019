/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: the text of the kernel or a module as it was built, as far as it can be
 * told from how it runs. What the kernel itself changes is taken out, so that the same text gives
 * the same bytes on every boot.
 *
 * With a reference (reference.h): what the reference's tables name is taken from it, and what KASLR
 * added is subtracted. Then the bytes are those of the reference, or the text was changed.
 *
 * Without: places that the running kernel has tables of become zero, and so do operands that are,
 * or could be, addresses that differ between boots. What it did at boot and forgot (alternatives
 * for the CPU, lock prefixes on one CPU) remains: the bytes are the same for boots on the same kind
 * of CPU.
 */
#ifndef VMI_TEXT_IMAGE_H
#define VMI_TEXT_IMAGE_H

#include "text.h"

struct vmi_text_image {
	char section[VMI_MODULE_NAME + 16]; /* "kernel .text", "module ext4" */
	uint64_t start; /* where it runs */
	size_t n;
	uint8_t *bytes;
	const uint8_t *want; /* of the reference; NULL = there is none */
	bool torn; /* not all of it could be read: what could not is zero */
};

/* 0; -ENOENT: not understood; -E2BIG, -ENOMEM. To be freed all the same. */
int vmi_text_kernel(struct vmi_text_image *t, struct vmi_walk *w, struct vmi_code *c,
		    const struct vmi_sites *s);
/* The same of the kernel's constants, up to those that are set while it boots: with a reference
 * only. */
int vmi_text_constants(struct vmi_text_image *t, struct vmi_walk *w);
int vmi_text_module(struct vmi_text_image *t, struct vmi_walk *w, struct vmi_code *c,
		    const struct vmi_sites *s, const struct vmi_module *m);
void vmi_text_free(struct vmi_text_image *t);

/* Of the page that begins at offset `at`: does it differ from the reference? Where first? */
bool vmi_text_differs(const struct vmi_text_image *t, size_t at, size_t n, size_t *first);

#endif /* VMI_TEXT_IMAGE_H */
