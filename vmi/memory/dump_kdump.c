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
#include <sys/stat.h>
#include <unistd.h>

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
 * The header, and the sub-header behind it (makedumpfile: diskdump_mod.h; QEMU:
 * include/sysemu/dump.h), as far as they are read here: to see that they make sense before
 * libkdumpfile believes them, and for what it keeps to itself. That are QEMU's notes, and the
 * machine, which it takes from the header only if the operating system's name stands there too.
 */
struct header {
	char signature[8];
	uint32_t version;
	char utsname[6][65]; /* the fifth is the machine */
	char pad[6];
	uint64_t seconds;
	uint32_t microseconds[2];
	uint32_t status, block_size, sub_blocks, bitmap_blocks, max_mapnr;
};

struct sub_header {
	uint64_t phys_base;
	uint32_t dump_level, split;
	uint64_t start_pfn, end_pfn;
	uint64_t vmcoreinfo, vmcoreinfo_size; /* version 3 */
	uint64_t note, note_size; /* version 4 */
	uint64_t erase_info, erase_info_size; /* version 5 */
	uint64_t start_pfn_64, end_pfn_64, max_mapnr_64; /* version 6 */
};

#define BLOCK	       4096u /* a page of the machine */
#define SUB_BLOCKS_MAX 16
#define NOTES_MAX      (16u << 20)

static bool read_headers(const struct vmi_target *t, struct header *h, struct sub_header *sub)
{
	uint64_t pages, bitmap;
	struct stat st;

	if (fstat(t->fds[0], &st) || vmi_read_at(t->fds[0], 0, h, sizeof(*h)) ||
	    vmi_read_at(t->fds[0], BLOCK, sub, sizeof(*sub)) || h->block_size != BLOCK ||
	    !h->sub_blocks || h->sub_blocks > SUB_BLOCKS_MAX)
		return false;
	/*
	 * A 32-bit machine's header has its block size here, and is what libkdumpfile looks for
	 * first, in both byte orders: no file may be one thing here and another there.
	 */
	if (__builtin_popcount(h->microseconds[0]) == 1)
		return false;
	/* two bitmaps: of RAM, and of what was dumped */
	bitmap = (uint64_t)h->bitmap_blocks * BLOCK;
	pages = h->version >= 6 ? sub->max_mapnr_64 : h->max_mapnr;
	return bitmap < (uint64_t)st.st_size && pages <= bitmap / 2 * 8;
}

/* A page's descriptor. The table of them is behind the bitmaps, one for each page dumped. */
struct descriptor {
	uint64_t offset;
	uint32_t size, flags;
	uint64_t page_flags;
};

static int read_upto(const struct vmi_target *t, uint64_t offset, void *buf, size_t *bytes)
{
	ssize_t n = pread(t->fds[0], buf, *bytes, (off_t)offset);

	*bytes = n > 0 ? (size_t)n : 0;
	return n < 0 ? -errno : 0;
}

static uint64_t count_dumped(const struct vmi_target *t, const struct header *h)
{
	uint64_t half = (uint64_t)h->bitmap_blocks / 2 * BLOCK, words[BLOCK / 8], n = 0;
	uint64_t at = (1 + (uint64_t)h->sub_blocks) * BLOCK + half, end = at + half;

	for (size_t got = sizeof(words); at < end && got == sizeof(words); at += got) {
		if (read_upto(t, at, words, &got))
			break;
		for (size_t i = 0; i < got / 8; i++)
			n += (unsigned int)__builtin_popcountll(words[i]);
	}
	return n;
}

/*
 * libkdumpfile 0.5.1 reads as much of a compressed page as its descriptor says, into a page.
 * Descriptors behind the end of a file that was cut off are none: it takes them for zeros.
 */
static bool descriptors_are_sane(const struct vmi_target *t, const struct header *h)
{
	uint64_t at = (1 + (uint64_t)h->sub_blocks + h->bitmap_blocks) * BLOCK;
	uint64_t left = count_dumped(t, h);
	struct descriptor d[512];
	bool sane = true;

	while (sane && left) {
		size_t want = left < sizeof(d) / sizeof(*d) ? (size_t)left : sizeof(d) / sizeof(*d);
		size_t bytes = want * sizeof(*d);

		sane = !read_upto(t, at, d, &bytes);
		/* the last may be there in part: the rest of it counts as zeros */
		memset((char *)d + bytes, 0, want * sizeof(*d) - bytes);
		for (size_t i = 0; i < want; i++)
			sane &= d[i].size <= BLOCK;
		if (bytes < want * sizeof(*d))
			break;
		at += bytes;
		left -= want;
	}
	return sane;
}

static bool is_x86_64(const struct header *h, struct vmi_kdump *k)
{
	const char *arch;

	if (kdump_get_string_attr(k->ctx, KDUMP_ATTR_ARCH_NAME, &arch) == KDUMP_OK)
		return !strcmp(arch, KDUMP_ARCH_X86_64);
	return !memcmp(h->utsname[4], "x86_64", 7);
}

static void read_notes(struct vmi_target *t, const struct header *h, const struct sub_header *sub)
{
	char *buf;

	if (h->version < 4 || !sub->note_size || sub->note_size > NOTES_MAX)
		return;
	buf = malloc(sub->note_size);
	if (buf && !vmi_read_at(t->fds[0], sub->note, buf, sub->note_size))
		vmi_notes_parse(t, buf, sub->note_size);
	free(buf);
}

static int parse(struct vmi_target *t, struct vmi_kdump *k, struct vmi_error *err)
{
	kdump_attr_t ram = { .type = KDUMP_BITMAP };
	struct sub_header sub;
	struct header h;
	kdump_num_t page;
	char *text;
	int error;

	if (!read_headers(t, &h, &sub))
		return vmi_fail(err, -EINVAL, "%s is no whole kdump-compressed dump", t->name);
	if (h.version && sub.split)
		return vmi_fail(err, -ENOTSUP,
				"%s is a piece of a split dump: makedumpfile --reassemble",
				t->name);
	if (!descriptors_are_sane(t, &h))
		return vmi_fail(err, -EINVAL, "%s: its table of pages is damaged or unreadable",
				t->name);
	/* Not mapped: a file that is shorter than it says would be a signal. */
	kdump_set_number_attr(k->ctx, KDUMP_ATTR_FILE_MMAP_POLICY, KDUMP_MMAP_NEVER);
	if (kdump_open_fd(k->ctx, t->fds[0]) != KDUMP_OK) {
		vmi_fail(err, -EINVAL, "%s: %s", t->name, kdump_get_err(k->ctx));
		/* What could not be opened cannot be freed: 0.5.1 crashes in kdump_free(). */
		k->ctx = NULL;
		return -EINVAL;
	}
	if (!is_x86_64(&h, k))
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
	read_notes(t, &h, &sub);
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
