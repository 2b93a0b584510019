/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest kernel's types, from its own BTF (Linux: Documentation/bpf/btf.rst).
 *
 * libbpf parses BTF too, but trusts it: a type that refers to nonsense makes it read out of bounds
 * (its sanity checks came with 1.4) and its resolvers recurse. The blob here comes from a guest
 * that may lie, so it is indexed once, with every record checked to be whole, each offset and type
 * id is checked when it is followed, and all lookups are loops with limits. The blob is copied: it
 * does not change afterwards. What was looked up is remembered: an index belongs to one thread.
 */
#ifndef VMI_TYPES_H
#define VMI_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmi_types;

/* Where a member lies within the outermost struct. */
struct vmi_field {
	bool present;
	uint32_t offset; /* bytes; of a bit field, of the storage unit that is to be read */
	uint32_t size; /* bytes to read; of an array, of all of it; of a flexible one, 0 */
	uint8_t bit, bits; /* of a bit field: the lowest bit within that unit, how many; else 0 */
	bool is_signed, is_array, is_pointer;
	uint32_t count, elem_size; /* of an array */
	uint32_t type; /* BTF id of the member's type, modifiers and typedefs stripped */
};

/*
 * `base` is the vmlinux BTF for a module's split BTF, else NULL; it must outlive `out`.
 * -EINVAL: no (whole) BTF; -E2BIG: over 64 MiB; -ENOMEM.
 */
int vmi_types_open(struct vmi_types **out, const void *blob, size_t bytes,
		   const struct vmi_types *base);
void vmi_types_close(struct vmi_types *t);

/* All below take NULL for a kernel without BTF: it has no types. */

/* Bytes of a struct, union or typedef "name"; 0: there is none (or it is only declared). */
uint32_t vmi_types_size(const struct vmi_types *t, const char *name);

/*
 * "struct.member", "struct.member.inner", through anonymous members, typedefs and arrays of structs
 * (element 0). Alternatives for other kernels are separated by '|': the first that is there counts
 * ("task_struct.__state|task_struct.state"). A type named by typedef only works too. -ENOENT, and
 * out->present is false.
 */
int vmi_types_field(const struct vmi_types *t, const char *path, struct vmi_field *out);

/*
 * All of a table: `out[i]` for `paths[i]`, NULL entries are skipped. Returns how many are missing.
 */
int vmi_types_fields(const struct vmi_types *t, const char *const *paths, struct vmi_field *out,
		     size_t n);

/* The value of an enumerator, of any enum (`in` NULL) or of enum `in`. -ENOENT. */
int vmi_types_enum(const struct vmi_types *t, const char *in, const char *enumerator,
		   int64_t *value);
/* The name of a value of enum `in`; NULL. It lives as long as `t`. */
const char *vmi_types_enum_name(const struct vmi_types *t, const char *in, int64_t value);

/* BTF id of struct/union/typedef/enum `name`, 0 = none; and the name of a BTF id, "" = none. */
uint32_t vmi_types_id(const struct vmi_types *t, const char *name);
const char *vmi_types_name(const struct vmi_types *t, uint32_t id);

/* Number of types, for a person. */
uint32_t vmi_types_count(const struct vmi_types *t);

#endif /* VMI_TYPES_H */
