// SPDX-License-Identifier: GPL-2.0-or-later
/* The header of a bzImage: Documentation/arch/x86/boot.rst of Linux. */
#include "reference_file.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#define FILE_MAX       (128u << 20)
#define IMAGE_MAX      (192u << 20)
#define XZ_MEMORY      (160u << 20)
#define SETUP_SECTS    0x1f1
#define HEADER_MAGIC   0x202
#define PAYLOAD_OFFSET 0x248
#define PAYLOAD_LENGTH 0x24c
#define HEADER_END     0x250

static int fail(struct vmi_error *err, int code, const char *why)
{
	snprintf(err->text, sizeof(err->text), "the reference: %s", why);
	return code;
}

static int load_file(int fd, uint8_t **out, size_t *n, struct vmi_error *err)
{
	struct stat st;
	size_t done = 0;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0)
		return fail(err, -EINVAL, "it is no file, or empty");
	if (st.st_size > FILE_MAX)
		return fail(err, -E2BIG, "it is larger than 128 MiB");
	*n = (size_t)st.st_size;
	*out = malloc(*n);
	if (!*out)
		return fail(err, -ENOMEM, "out of memory");
	while (done < *n) {
		ssize_t r = pread(fd, *out + done, *n - done, (off_t)done);

		if (r <= 0)
			return fail(err, -EIO, "it cannot be read");
		done += (size_t)r;
	}
	return 0;
}

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

/* Each fills `to` to its end, or fails: the size of what is packed is known before. */

static bool unpack_gzip(const uint8_t *from, size_t n, uint8_t *to, size_t size)
{
	z_stream z = { .next_in = (uint8_t *)from,
		       .avail_in = (unsigned int)n,
		       .next_out = to,
		       .avail_out = (unsigned int)size };
	bool whole = inflateInit2(&z, 16 + MAX_WBITS) == Z_OK &&
		     inflate(&z, Z_FINISH) == Z_STREAM_END && !z.avail_out;

	inflateEnd(&z);
	return whole;
}

static bool unpack_xz(const uint8_t *from, size_t n, uint8_t *to, size_t size)
{
	uint64_t memory = XZ_MEMORY;
	size_t in = 0, out = 0;

	return lzma_stream_buffer_decode(&memory, 0, NULL, from, &in, n, to, &out, size) ==
		       LZMA_OK &&
	       out == size;
}

static bool unpack_zstd(const uint8_t *from, size_t n, uint8_t *to, size_t size)
{
	size_t frame = ZSTD_findFrameCompressedSize(from, n);

	return !ZSTD_isError(frame) && ZSTD_decompress(to, size, from, frame) == size;
}

static const struct {
	const char *magic;
	size_t n;
	bool (*unpack)(const uint8_t *from, size_t n, uint8_t *to, size_t size);
} packers[] = {
	{ "\x1f\x8b", 2, unpack_gzip },
	{ "\xfd"
	  "7zXZ",
	  5, unpack_xz },
	{ "\x28\xb5\x2f\xfd", 4, unpack_zstd },
};

static bool is_bzimage(const uint8_t *p, size_t n)
{
	return n >= HEADER_END && !memcmp(p + HEADER_MAGIC, "HdrS", 4);
}

/* The kernel's build puts the size of what was packed behind it; gzip does so itself. */
static int unpack(const uint8_t *p, size_t n, uint8_t **out, size_t *size, struct vmi_error *err)
{
	uint64_t at = ((uint64_t)(p[SETUP_SECTS] ? p[SETUP_SECTS] : 4) + 1) * 512;
	uint64_t length = le32(p + PAYLOAD_LENGTH);

	at += le32(p + PAYLOAD_OFFSET);
	if (length < 16 || at > n || length > n - at)
		return fail(err, -EINVAL, "its header points out of the file");
	p += at;
	*size = le32(p + length - 4);
	if (!*size || *size > IMAGE_MAX)
		return fail(err, -E2BIG, "what is packed in it is larger than 192 MiB, or nothing");
	for (size_t i = 0; i < sizeof(packers) / sizeof(packers[0]); i++) {
		if (memcmp(p, packers[i].magic, packers[i].n))
			continue;
		*out = malloc(*size);
		if (!*out)
			return fail(err, -ENOMEM, "out of memory");
		return packers[i].unpack(p, length, *out, *size)
			       ? 0
			       : fail(err, -EINVAL, "what is packed in it is damaged");
	}
	return fail(err, -ENOTSUP,
		    "it is packed by none of gzip, xz, zstd: Linux' scripts/extract-vmlinux can "
		    "unpack it before");
}

static int of_this_build(const struct vmi_reference *r, const struct vmi_guest *g,
			 struct vmi_error *err)
{
	const char *id = vmi_reference_build_id(r);

	if (!*id || !g->build_id[0])
		return fail(err, -EINVAL,
			    *id ? "the guest's build id is not known" : "it has no build id");
	if (!strcmp(id, g->build_id))
		return 0;
	snprintf(err->text, sizeof(err->text),
		 "the reference is another kernel: its build id is %s, the guest's %s", id,
		 g->build_id);
	return -EINVAL;
}

int reference_load(struct vmi_reference **out, void **image, int fd, const struct vmi_guest *g,
		   struct vmi_error *err)
{
	uint8_t *file = NULL, *unpacked = NULL;
	size_t n = 0, size = 0;
	int r = load_file(fd, &file, &n, err);

	*out = NULL;
	if (!r && is_bzimage(file, n)) {
		r = unpack(file, n, &unpacked, &size, err);
		free(file);
		file = unpacked;
		n = size;
	}
	if (!r) {
		r = vmi_reference_open(out, file, n, err);
		if (r == -ENOMEM)
			fail(err, r, "out of memory");
	}
	if (!r)
		r = of_this_build(*out, g, err);
	if (!r) {
		*image = file;
		return 0;
	}
	vmi_reference_close(*out);
	*out = NULL;
	free(file);
	return r;
}
