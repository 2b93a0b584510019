// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * BTF as a guest may write it. An input is a blob, then, after "\n--\n", what is looked up in it:
 * one path, type or enumerator a line. All that the blob itself names is looked up too.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../vmi/kernel/types.h"

#define LOOKUPS 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_field(const struct vmi_types *t, const char *path)
{
	struct vmi_field f;

	if (vmi_types_field(t, path, &f)) {
		assert(!f.present);
		return;
	}
	assert(f.present && vmi_types_name(t, f.type));
	if (f.bits)
		assert(f.size <= 8 && f.bit + f.bits <= 8 * f.size);
	if (f.is_array && f.size)
		assert((uint64_t)f.count * f.elem_size == f.size);
}

static void look_up(const struct vmi_types *t, const char *name)
{
	int64_t value;

	check_field(t, name);
	vmi_types_size(t, name);
	vmi_types_enum_name(t, name, 1);
	if (!vmi_types_enum(t, NULL, name, &value))
		vmi_types_enum_name(t, "e", value);
	assert(vmi_types_id(t, name) <= vmi_types_count(t));
}

static void look_up_all(const struct vmi_types *t, char *lines)
{
	uint32_t n = vmi_types_count(t) < LOOKUPS ? vmi_types_count(t) : LOOKUPS;
	char *save = NULL;
	unsigned int left = LOOKUPS;

	for (char *s = strtok_r(lines, "\n", &save); s && left--; s = strtok_r(NULL, "\n", &save))
		look_up(t, s);
	/* one beyond the last as well */
	for (uint32_t id = 0; id <= n + 1; id++) {
		const char *name = vmi_types_name(t, id);

		assert(name);
		if (name[0])
			look_up(t, name);
	}
}

static size_t find_end(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memmem(data, size, "\n--\n", 4) : NULL;

	return end ? (size_t)(end - data) : size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = find_end(data, size), rest = n < size ? size - n - 4 : 0;
	char *blob = malloc(n ? n : 1), *lines = calloc(1, rest + 1);
	struct vmi_types *t, *split;

	/* exactly as long as it is, and gone when it was read: it is to be copied */
	memcpy(blob, data, n);
	memcpy(lines, data + size - rest, rest);
	if (!vmi_types_open(&t, blob, n, NULL)) {
		/* a module's, which says the same of types behind these */
		int err = vmi_types_open(&split, blob, n, t);

		free(blob);
		blob = NULL;
		if (!err) {
			look_up(split, "s.m");
			vmi_types_close(split);
		}
		look_up_all(t, lines);
		vmi_types_close(t);
	}
	free(blob);
	free(lines);
	return 0;
}
