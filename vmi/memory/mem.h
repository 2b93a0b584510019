/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's physical memory: the only code that touches it.
 *
 * Guest memory is hostile input that changes while it is read. What is asked for is copied once,
 * into the caller's buffer; no pointer into guest memory leaves this file. Every address is checked
 * against the RAM regions, every copy can fail, and a failed copy (no RAM there, a file that became
 * shorter, an ended VMM) is an error value, never a signal.
 *
 * A `struct vmi_mem` belongs to one thread. Addresses are guest physical (gpa), in bytes.
 */
#ifndef VMI_MEM_H
#define VMI_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where the bytes of a region come from. */
enum vmi_backing {
	VMI_BACKING_MAP, /* fd, mapped read-only here: no system call a read (memfd, hugetlbfs,
			    file) */
	VMI_BACKING_PREAD, /* fd, read with pread(2): /proc/PID/mem, where the VMM's memory is
			      private */
	VMI_BACKING_CALL, /* a library that decodes the file: kdump-compressed dumps */
};

struct vmi_region {
	uint64_t gpa, bytes;
	enum vmi_backing backing;
	int fd; /* of MAP and PREAD; stays the caller's */
	uint64_t offset; /* in fd */
};

struct vmi_mem;

/*
 * Copies guest memory for VMI_BACKING_CALL: 0 or a negative errno value. `gpa` and `len` lie within
 * one region.
 */
typedef int (*vmi_read_fn)(void *arg, uint64_t gpa, void *buf, size_t len);

/*
 * Takes the regions (they are copied, sorted; overlaps are -EINVAL; at most 4096) and maps those of
 * VMI_BACKING_MAP. It does not own descriptors, but needs them until vmi_mem_close(). `read` may be
 * NULL where no region is VMI_BACKING_CALL.
 */
int vmi_mem_open(struct vmi_mem **out, const struct vmi_region *regions, size_t n, vmi_read_fn read,
		 void *arg);
void vmi_mem_close(struct vmi_mem *m);

/* Copies all of [gpa, gpa + len), which may span adjacent regions; 0, or:
 * -EFAULT  not all of it is RAM; the buffer is zeroed
 * -EIO     it is, but cannot be read (the backing shrank, the VMM ended); the buffer is zeroed
 */
int vmi_mem_read(struct vmi_mem *m, uint64_t gpa, void *buf, size_t len);

/* How much RAM there is, and the regions, by gpa. They belong to `m`. */
uint64_t vmi_mem_bytes(const struct vmi_mem *m);
const struct vmi_region *vmi_mem_regions(const struct vmi_mem *m, size_t *n);

#endif /* VMI_MEM_H */
