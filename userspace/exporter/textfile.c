// SPDX-License-Identifier: GPL-2.0-or-later
#include "textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

static int write_all(int fd, const char *data, size_t len)
{
	ssize_t n;

	for (; len; data += n, len -= n) {
		n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return n ? -errno : -EIO;
	}
	return 0;
}

/* The new name must survive a crash as well. A file system that cannot is no failure. */
static void sync_folder(char *path)
{
	int fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

int iho_textfile_write(const char *path, const char *data, size_t len, struct iho_error *err)
{
	char *temporary = NULL;
	int fd, r = 0;

	/* node_exporter reads only names that end in .prom, so never this one */
	if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
		return iho_fail(err, -ENOMEM, "out of memory");
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		goto cleanup;
	}
	r = write_all(fd, data, len);
	if (!r && (fchmod(fd, 0644) || fsync(fd)))
		r = -errno;
	if (close(fd) && !r)
		r = -errno;
	if (!r && rename(temporary, path))
		r = -errno;
	if (r)
		unlink(temporary);
	else
		sync_folder(temporary);
cleanup:
	if (r)
		iho_fail(err, r, "cannot write %.300s: %s", path, strerror(-r));
	free(temporary);
	return r;
}
