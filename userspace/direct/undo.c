// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpus.h"
#include "threads.h"
#include "undo.h"

#define FILE_NAME "undo.json"
#define NEW_NAME  FILE_NAME ".new"
#define MAX_BYTES (64 << 20)
#define MAX_ITEMS 65536 /* VMs, threads of one, interrupts */

/* ---- is it what we wrote? ---- */

static bool valid_list(const char *list)
{
	struct cpus c;

	return !cpus_parse(list, &c);
}

static bool valid_thread(json_t *t)
{
	json_int_t tid, start, vcpu, cpu;
	const char *name, *was;

	return !json_unpack(t, "{s:I, s:I, s:s, s:I, s:I, s:s !}", "tid", &tid, "start", &start,
			    "name", &name, "vcpu", &vcpu, "cpu", &cpu, "was", &was) &&
	       tid > 0 && tid <= INT_MAX && start >= 0 && vcpu >= -1 && vcpu <= INT_MAX &&
	       cpu >= 0 && cpu < MAX_CPUS && valid_list(was);
}

static bool valid_vm(json_t *vm)
{
	json_int_t pid, start;
	const char *name;
	json_t *threads;

	if (json_unpack(vm, "{s:I, s:I, s:s, s:o !}", "pid", &pid, "start", &start, "name", &name,
			"threads", &threads) ||
	    pid <= 0 || pid > INT_MAX || start < 0 || !json_is_array(threads) ||
	    json_array_size(threads) > MAX_ITEMS)
		return false;
	for (size_t i = 0; i < json_array_size(threads); i++)
		if (!valid_thread(json_array_get(threads, i)))
			return false;
	return true;
}

static bool valid_interrupt(json_t *irq)
{
	json_int_t number;
	const char *was;

	return !json_unpack(irq, "{s:I, s:s !}", "irq", &number, "was", &was) && number >= 0 &&
	       number <= INT_MAX && valid_list(was);
}

static bool valid_mask(const json_t *mask)
{
	const char *text = json_string_value(mask);

	return json_is_null(mask) ||
	       (text && *text && strspn(text, "0123456789abcdef,") == strlen(text));
}

static bool valid(json_t *undo)
{
	json_t *vms, *interrupts, *workqueues;
	int version;

	if (json_unpack(undo, "{s:i, s:o, s:o, s:o !}", "version", &version, "vms", &vms,
			"interrupts", &interrupts, "workqueues", &workqueues) ||
	    version != 1 || !json_is_array(vms) || json_array_size(vms) > MAX_ITEMS ||
	    !json_is_array(interrupts) || json_array_size(interrupts) > MAX_ITEMS ||
	    !valid_mask(workqueues))
		return false;
	for (size_t i = 0; i < json_array_size(vms); i++)
		if (!valid_vm(json_array_get(vms, i)))
			return false;
	for (size_t i = 0; i < json_array_size(interrupts); i++)
		if (!valid_interrupt(json_array_get(interrupts, i)))
			return false;
	return true;
}

/* ---- the file ---- */

static int load(int fd, json_t **undo)
{
	struct stat st;
	char *text;
	ssize_t n;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) ||
	    st.st_size > MAX_BYTES)
		return -EPROTO;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	n = read(fd, text, (size_t)st.st_size);
	*undo = n == st.st_size ? json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	free(text);
	if (*undo && valid(*undo))
		return 0;
	json_decref(*undo);
	*undo = NULL;
	return -EPROTO;
}

static int open_dir(bool make, struct direct_error *err)
{
	struct stat st;
	int dir, r;

	r = make ? direct_make_dir(UNDO_DIR, err) : 0;
	if (r)
		return r;
	dir = open(UNDO_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return direct_fail(err, -errno, "cannot open " UNDO_DIR ": %s", strerror(errno));
	if (fstat(dir, &st) || st.st_uid != geteuid() || (st.st_mode & 022)) {
		close(dir);
		return direct_fail(err, -EPERM, UNDO_DIR " can be written by others");
	}
	if (flock(dir, LOCK_EX)) {
		r = -errno;
		close(dir);
		return direct_fail(err, r, "cannot lock " UNDO_DIR ": %s", strerror(-r));
	}
	return dir;
}

int undo_open(bool make, int *dir, json_t **undo, struct direct_error *err)
{
	int fd, r = 0;

	*undo = NULL;
	*dir = open_dir(make, err);
	if (*dir < 0)
		return *dir;
	fd = openat(*dir, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0) {
		r = load(fd, undo);
		close(fd);
	} else if (errno == ENOENT) {
		*undo = json_pack("{s:i, s:[], s:[], s:n}", "version", 1, "vms", "interrupts",
				  "workqueues");
		r = *undo ? 0 : -ENOMEM;
	} else {
		r = -errno;
	}
	if (!r)
		return 0;
	close(*dir);
	return direct_fail(err, r, "cannot use " UNDO_DIR "/" FILE_NAME ": %s",
			   r == -EPROTO ? "it is not as iho-direct wrote it" : strerror(-r));
}

void undo_close(int dir, json_t *undo)
{
	json_decref(undo);
	close(dir);
}

int undo_save(int dir, const json_t *undo, struct direct_error *err)
{
	int fd, r = 0;

	if (!json_array_size(json_object_get(undo, "vms"))) {
		if (unlinkat(dir, FILE_NAME, 0) && errno != ENOENT)
			return direct_fail(err, -errno,
					   "cannot remove " UNDO_DIR "/" FILE_NAME ": %s",
					   strerror(errno));
		return 0;
	}
	unlinkat(dir, NEW_NAME, 0);
	fd = openat(dir, NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		r = -errno;
	else if (json_dumpfd(undo, fd, JSON_ENSURE_ASCII) || fsync(fd))
		r = errno ? -errno : -EIO;
	if (fd >= 0 && close(fd) && !r)
		r = -errno;
	if (!r && renameat(dir, NEW_NAME, dir, FILE_NAME))
		r = -errno;
	if (!r)
		return 0;
	unlinkat(dir, NEW_NAME, 0);
	return direct_fail(err, r, "cannot write " UNDO_DIR "/" FILE_NAME ": %s", strerror(-r));
}

/* ---- VMs in it ---- */

json_t *undo_find_vm(const json_t *undo, pid_t pid, uint64_t start)
{
	json_t *vm;
	size_t i;

	json_array_foreach (json_object_get(undo, "vms"), i, vm) {
		if (json_integer_value(json_object_get(vm, "pid")) == pid &&
		    (!start || (uint64_t)json_integer_value(json_object_get(vm, "start")) == start))
			return vm;
	}
	return NULL;
}

bool undo_vm_lives(const json_t *vm)
{
	pid_t pid = (pid_t)json_integer_value(json_object_get(vm, "pid"));
	uint64_t start;

	return !thread_start(pid, pid, &start) &&
	       (json_int_t)start == json_integer_value(json_object_get(vm, "start"));
}
