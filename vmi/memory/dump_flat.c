// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kdump-compressed files in makedumpfile's flattened form, which QEMU writes unless it is told
 * "raw" (QEMU: dump/dump.c, makedumpfile: IMPLEMENTATION): a stream of pieces, each with its place
 * in the real file, for writers that cannot seek. libkdumpfile needs the real file: it is made
 * here, without a name, so that it is gone with the last descriptor.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

#define HEADER	   4096 /* signature, type, version, and zeros */
#define OFFSET_MAX (1ULL << 46)
#define BUFFER	   (256u << 10)

/* A nameless file: on disk, else in memory. */
static int scratch(void)
{
	const char *dir = getenv("TMPDIR");
	int fd = open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		fd = memfd_create("iho-dump", MFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int write_at(int fd, uint64_t offset, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = pwrite(fd, buf, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENOSPC;
		buf += n;
		offset += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int copy_piece(FILE *from, int to, uint64_t offset, uint64_t bytes, char *buf)
{
	while (bytes) {
		size_t n = bytes < BUFFER ? (size_t)bytes : BUFFER;
		int err;

		if (fread(buf, 1, n, from) != n)
			return -EINVAL;
		err = write_at(to, offset, buf, n);
		if (err)
			return err;
		offset += n;
		bytes -= n;
	}
	return 0;
}

/* All numbers are big-endian; an offset of -1 is the end. */
static int copy_pieces(FILE *from, int to, char *buf)
{
	for (;;) {
		uint64_t head[2], offset, bytes;
		int err;

		if (fread(head, sizeof(head), 1, from) != 1)
			return -EINVAL;
		offset = be64toh(head[0]);
		bytes = be64toh(head[1]);
		if (offset == UINT64_MAX)
			return 0;
		if (offset > OFFSET_MAX || bytes > OFFSET_MAX)
			return -EINVAL;
		err = copy_piece(from, to, offset, bytes, buf);
		if (err)
			return err;
	}
}

static int copy_all(int from_fd, int to)
{
	char *buf = malloc(BUFFER);
	int fd = fcntl(from_fd, F_DUPFD_CLOEXEC, 0), err = -ENOMEM;
	FILE *from = fd < 0 ? NULL : fdopen(fd, "r");

	if (!from && fd >= 0)
		close(fd);
	if (buf && from)
		err = fseeko(from, HEADER, SEEK_SET) ? -errno : copy_pieces(from, to, buf);
	if (from)
		fclose(from);
	free(buf);
	return err;
}

int vmi_flat_rearrange(struct vmi_target *t, struct vmi_error *err)
{
	int fd = scratch(), error;

	if (fd < 0)
		return vmi_fail(err, fd, "no temporary file can be made: %s", strerror(-fd));
	error = copy_all(t->fds[0], fd);
	if (error)
		close(fd);
	if (error == -EINVAL)
		return vmi_fail(err, error, "%s is not a whole flattened dump", t->name);
	if (error)
		return vmi_fail(err, error, "%s cannot be copied into its real form: %s", t->name,
				strerror(-error));
	/* From now on it is this one. */
	close(t->fds[0]);
	t->fds[0] = fd;
	return 0;
}
