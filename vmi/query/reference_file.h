/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file of --reference: a vmlinuz (bzImage), or the ELF image inside of one. */
#ifndef QUERY_REFERENCE_FILE_H
#define QUERY_REFERENCE_FILE_H

#include "../tables/reference.h"

/*
 * In the worker. `image` is what the reference points into, to be freed behind it. It must be of
 * the guest's build. 0, or a negative errno value with a sentence.
 */
int reference_load(struct vmi_reference **out, void **image, int fd, const struct vmi_guest *g,
		   struct vmi_error *err);

#endif /* QUERY_REFERENCE_FILE_H */
