// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kdump-compressed files (QEMU's dump-guest-memory -z, makedumpfile), decoded by libkdumpfile.
 *
 * It is given a descriptor, opens nothing itself, and runs in the sandbox, as all parsing does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libkdumpfile/kdumpfile.h>

#include "internal.h"

struct vmi_kdump {
	kdump_ctx_t *ctx;
};

void vmi_kdump_close(struct vmi_kdump *k)
{
	if (!k)
		return;
	if (k->ctx)
		kdump_free(k->ctx);
	free(k);
}

int vmi_kdump_read(void *kdump, uint64_t gpa, void *buf, size_t len)
{
	struct vmi_kdump *k = kdump;
	size_t got = len;

	if (kdump_read(k->ctx, KDUMP_MACHPHYSADDR, gpa, buf, &got) != KDUMP_OK || got != len)
		return -EIO;
	return 0;
}

/* The regions are the runs of set bits in the map of the machine's RAM, in pages. */
static int add_regions(struct vmi_target *t, kdump_bmp_t *ram, uint64_t page)
{
	kdump_addr_t first = 0, end;
	int error = 0;

	while (!error && kdump_bmp_find_set(ram, &first) == KDUMP_OK) {
		struct vmi_region r = { .backing = VMI_BACKING_CALL, .fd = -1 };

		end = first;
		if (kdump_bmp_find_clear(ram, &end) != KDUMP_OK || end <= first ||
		    end > (1ULL << 52) / page)
			break;
		r.gpa = first * page;
		r.bytes = (end - first) * page;
		error = vmi_target_add_region(t, &r);
		first = end;
	}
	return error;
}

/*
 * What libkdumpfile keeps to itself is read here (makedumpfile: diskdump_mod.h; QEMU:
 * include/sysemu/dump.h): QEMU's notes, and the machine, which it takes from QEMU's header only if
 * the operating system's name stands there too. The header takes the first block.
 */
#define OFFSET_VERSION	  8
#define OFFSET_MACHINE	  (12 + 4 * 65) /* in struct new_utsname */
#define OFFSET_BLOCK_SIZE 428 /* behind that and a timeval */
#define OFFSET_NOTE	  48 /* in the sub-header; then its size */
#define NOTES_MAX	  (16u << 20)

static bool is_x86_64(const struct vmi_target *t, struct vmi_kdump *k)
{
	const char *arch;
	char machine[7];

	if (kdump_get_string_attr(k->ctx, KDUMP_ATTR_ARCH_NAME, &arch) == KDUMP_OK)
		return !strcmp(arch, KDUMP_ARCH_X86_64);
	return !vmi_read_at(t->fds[0], OFFSET_MACHINE, machine, sizeof(machine)) &&
	       !memcmp(machine, "x86_64", sizeof(machine));
}

static void read_notes(struct vmi_target *t)
{
	uint32_t version, block;
	uint64_t where[2];
	char *buf;

	if (vmi_read_at(t->fds[0], OFFSET_VERSION, &version, sizeof(version)) || version < 4 ||
	    vmi_read_at(t->fds[0], OFFSET_BLOCK_SIZE, &block, sizeof(block)) ||
	    vmi_read_at(t->fds[0], (uint64_t)block + OFFSET_NOTE, where, sizeof(where)) ||
	    !where[1] || where[1] > NOTES_MAX)
		return;
	buf = malloc(where[1]);
	if (buf && !vmi_read_at(t->fds[0], where[0], buf, where[1]))
		vmi_notes_parse(t, buf, where[1]);
	free(buf);
}

static int parse(struct vmi_target *t, struct vmi_kdump *k, struct vmi_error *err)
{
	kdump_attr_t ram = { .type = KDUMP_BITMAP };
	kdump_num_t page;
	char *text;
	int error;

	if (kdump_open_fd(k->ctx, t->fds[0]) != KDUMP_OK)
		return vmi_fail(err, -EINVAL, "%s: %s", t->name, kdump_get_err(k->ctx));
	if (!is_x86_64(t, k))
		return vmi_fail(err, -ENOTSUP, "%s is a dump of another machine than x86-64",
				t->name);
	if (kdump_get_number_attr(k->ctx, KDUMP_ATTR_PAGE_SIZE, &page) != KDUMP_OK ||
	    page != 4096 ||
	    kdump_get_typed_attr(k->ctx, KDUMP_ATTR_MEMORY_PAGEMAP, &ram) != KDUMP_OK)
		return vmi_fail(err, -EINVAL, "%s does not tell where RAM is", t->name);
	error = add_regions(t, ram.val.bitmap, page);
	if (error)
		return vmi_fail(err, error, "%s has memory in more than %d pieces", t->name,
				VMI_REGIONS_MAX);
	if (!t->n_regions)
		return vmi_fail(err, -EINVAL, "%s holds no memory", t->name);
	if (kdump_vmcoreinfo_raw(k->ctx, &text) == KDUMP_OK) {
		vmi_target_set_vmcoreinfo(t, text, strlen(text));
		free(text);
	}
	read_notes(t);
	return 0;
}

int vmi_kdump_parse(struct vmi_target *t, struct vmi_error *err)
{
	struct vmi_kdump *k = calloc(1, sizeof(*k));
	int error;

	t->kdump = k;
	if (k)
		k->ctx = kdump_new();
	if (!k || !k->ctx)
		return vmi_fail(err, -ENOMEM, "out of memory");
	error = parse(t, k, err);
	if (error)
		return error;
	snprintf(t->how_ram, sizeof(t->how_ram), "kdump-compressed file, decoded by libkdumpfile");
	snprintf(t->how_layout, sizeof(t->how_layout), "page map of the dump");
	snprintf(t->how_vcpus, sizeof(t->how_vcpus), "%s",
		 t->n_vcpus ? "notes of the dump" : "none: the dump has no register notes");
	return 0;
}
