/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a kernel's text is to be: the kernel as its distributor built it, to compare a guest's with.
 *
 * The file is the ELF image inside of a bzImage (what Linux' scripts/extract-vmlinux gives), with
 * its list of relocations behind it (arch/x86/tools/relocs.c). Beside the text it has the tables of
 * all places that the kernel changes while it boots, which a running kernel has thrown away.
 *
 * The file comes from the provider, not from the guest, but is not trusted either.
 */
#ifndef VMI_REFERENCE_H
#define VMI_REFERENCE_H

#include "../kernel/guest.h"

struct vmi_reference;

/*
 * `file` is not copied: it must stay as long as the reference. -EINVAL with a sentence: it is no
 * such file; -ENOMEM.
 */
int vmi_reference_open(struct vmi_reference **out, const void *file, size_t bytes,
		       struct vmi_error *err);
void vmi_reference_close(struct vmi_reference *r);

/* In hex; "" = it has none. */
const char *vmi_reference_build_id(const struct vmi_reference *r);

/* The section that is called `name`: false = none. Addresses are those that it is linked for. */
bool vmi_reference_section(const struct vmi_reference *r, const char *name, uint64_t *addr,
			   const uint8_t **data, uint64_t *bytes);
/* The bytes at an address; NULL = not all of them are in the file. */
const uint8_t *vmi_reference_at(const struct vmi_reference *r, uint64_t addr, size_t n);

/*
 * Which of the `n` bytes from `addr` on may differ in a running kernel: a bit map of (n + 7) / 8
 * bytes. Places are those that the reference's own tables name; the shapes of the tables are the
 * guest's types. -ENOENT: the guest has none.
 */
int vmi_reference_mask(const struct vmi_reference *r, const struct vmi_guest *g, uint64_t addr,
		       uint8_t *mask, size_t n);

/* Takes what KASLR added out of the `n` bytes that are linked for `addr`. */
void vmi_reference_unrelocate(const struct vmi_reference *r, uint64_t offset, uint64_t addr,
			      uint8_t *data, size_t n);

#endif /* VMI_REFERENCE_H */
