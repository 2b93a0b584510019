// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit.h"

#define FILE_BYTES (8 << 20)
#define KEPT	   4

struct audit {
	char *path;
	int fd; /* -1: to be opened */
};

struct audit *audit_open(const char *path)
{
	struct audit *a = calloc(1, sizeof(*a));

	if (a)
		a->path = strdup(path);
	if (!a || !a->path) {
		free(a);
		return NULL;
	}
	a->fd = -1;
	return a;
}

void audit_close(struct audit *a)
{
	if (!a)
		return;
	if (a->fd >= 0)
		close(a->fd);
	free(a->path);
	free(a);
}

static int rotate(const struct audit *a)
{
	char *from = NULL, *to = NULL;
	int r = 0;

	for (int i = KEPT; i > 0 && !r; i--) {
		if (asprintf(&to, "%s.%d", a->path, i) < 0)
			return -ENOMEM;
		if ((i > 1 ? asprintf(&from, "%s.%d", a->path, i - 1)
			   : asprintf(&from, "%s", a->path)) < 0) {
			free(to);
			return -ENOMEM;
		}
		if (rename(from, to) && errno != ENOENT)
			r = -errno;
		free(from);
		free(to);
	}
	return r;
}

/* The file may be moved or removed by others, or full: each line looks anew. */
static int ready(struct audit *a)
{
	struct stat now, at;

	if (a->fd >= 0 && (fstat(a->fd, &now) || lstat(a->path, &at) || now.st_ino != at.st_ino ||
			   now.st_dev != at.st_dev || now.st_size >= FILE_BYTES)) {
		close(a->fd);
		a->fd = -1;
	}
	if (a->fd >= 0)
		return 0;
	if (!lstat(a->path, &at) && S_ISREG(at.st_mode) && at.st_size >= FILE_BYTES) {
		int r = rotate(a);

		if (r)
			return r;
	}
	a->fd = open(a->path,
		     O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
		     0600);
	if (a->fd < 0)
		return -errno;
	if (fstat(a->fd, &now) || !S_ISREG(now.st_mode)) {
		close(a->fd);
		a->fd = -1;
		return -EINVAL;
	}
	return 0;
}

int audit_write(struct audit *a, json_t *entry, struct iho_error *err)
{
	char *text = entry ? json_dumps(entry, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	size_t n = text ? strlen(text) + 1 : 0;
	int r = text ? ready(a) : -ENOMEM;
	ssize_t done;

	json_decref(entry);
	if (!r) {
		text[n - 1] = '\n'; /* in the place of the end */
		done = write(a->fd, text, n);
		if (done != (ssize_t)n)
			r = done < 0 ? -errno : -ENOSPC;
	}
	free(text);
	if (r)
		snprintf(err->text, sizeof(err->text), "the audit log %.200s cannot be written: %s",
			 a->path, strerror(-r));
	return r;
}
