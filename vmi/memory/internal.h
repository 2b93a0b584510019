/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/memory: the kinds of targets, one file each. */
#ifndef VMI_MEMORY_INTERNAL_H
#define VMI_MEMORY_INTERNAL_H

#include "target.h"

#define VMI_REGIONS_MAX	   4096
#define VMI_VCPUS_MAX	   4096
#define VMI_VMCOREINFO_MAX (64u << 10)
#define VMI_FDS_MAX	   64

/* Sets the sentence and returns `error`, for `return vmi_fail(err, -EINVAL, "...")`. */
int vmi_fail(struct vmi_error *err, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The target takes the descriptor; when this fails (-ENOMEM, -E2BIG) it is closed. */
int vmi_target_add_fd(struct vmi_target *t, int fd);
/* Appends; -ENOMEM, -E2BIG. */
int vmi_target_add_region(struct vmi_target *t, const struct vmi_region *r);
/* Appends an empty one with its number; NULL: out of memory, or too many. */
struct vmi_vcpu *vmi_target_add_vcpu(struct vmi_target *t);
/* Copies a text of `len` bytes that may hold anything; keeps the first. */
int vmi_target_set_vmcoreinfo(struct vmi_target *t, const char *text, size_t len);

/*
 * Sorts the regions, joins those that go on in the file where the last one ended, and cuts away
 * what an earlier one has already: in a dump made with paging the same memory is named several
 * times.
 */
void vmi_target_merge_regions(struct vmi_target *t);

/* pread() of all of it: 0, -EIO where the file ends before. */
int vmi_read_at(int fd, uint64_t offset, void *buf, size_t len);

/* ELF notes as QEMU and Linux write them into dumps: vcpus and vmcoreinfo of `t`. */
void vmi_notes_parse(struct vmi_target *t, const void *notes, size_t len);

/* Each parses the dump t->fds[0]. */
int vmi_elf_parse(struct vmi_target *t, struct vmi_error *err);
int vmi_kdump_parse(struct vmi_target *t, struct vmi_error *err);
void vmi_kdump_close(struct vmi_kdump *k);
int vmi_kdump_read(void *kdump, uint64_t gpa, void *buf, size_t len);

/* Replaces the flattened dump t->fds[0] by the real one, a nameless temporary file. */
int vmi_flat_rearrange(struct vmi_target *t, struct vmi_error *err);

/* Regions of a raw file, "GPA:BYTES@OFFSET,...". */
int vmi_raw_parse(struct vmi_target *t, const char *map, struct vmi_error *err);

/* A running VM. */
int vmi_live_find(struct vmi_target *t, const struct vmi_find_options *o, struct vmi_error *err);
int vmi_live_refresh(struct vmi_target *t, struct vmi_error *err);
void vmi_live_free(struct vmi_live *l);

#endif /* VMI_MEMORY_INTERNAL_H */
