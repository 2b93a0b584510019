// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A dump that somebody made up. The first byte chooses: 'f', the rest is a file of a kind that is
 * told by its first bytes (ELF, kdump-compressed, flattened); 'k', the rest are the pieces of a
 * flattened one, so that an input need not hold the holes of a kdump file; 'm', the rest is the map
 * of a raw file; 'n', the rest is a dump's notes. The memory that was found is read, at its edges.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../vmi/memory/internal.h"

#define READS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);

/* It asks for what a header claims, and, as in the worker, does not get more than the limit. */
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1:max_allocation_size_mb=512";
}

/* libkdumpfile 0.5.1 does not give back all of what it took. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libkdumpfile";
}

static int file_of(const uint8_t *data, size_t size)
{
	int fd = memfd_create("dump", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	return fd;
}

static void check_target(const struct vmi_target *t)
{
	assert(t->n_vcpus <= VMI_VCPUS_MAX && t->n_regions <= VMI_REGIONS_MAX);
	assert(!t->vmcoreinfo || strlen(t->vmcoreinfo) <= VMI_VMCOREINFO_MAX);
}

static void read_all(struct vmi_mem *m)
{
	static char buf[8192];
	const struct vmi_region *r;
	size_t n;

	r = vmi_mem_regions(m, &n);
	for (size_t i = 0; i < n; i++) {
		size_t len = r[i].bytes < sizeof(buf) ? (size_t)r[i].bytes : sizeof(buf);

		assert(r[i].bytes && r[i].gpa + r[i].bytes > r[i].gpa);
		assert(!i || r[i - 1].gpa + r[i - 1].bytes <= r[i].gpa);
		if (i >= READS)
			continue;
		vmi_mem_read(m, r[i].gpa, buf, len);
		vmi_mem_read(m, r[i].gpa + r[i].bytes - len, buf, len);
		vmi_mem_read(m, r[i].gpa + r[i].bytes - 1, buf, 2);
	}
}

static void open_file(const uint8_t *data, size_t size, const char *map)
{
	char path[64];
	struct vmi_find_options o = { .dump = path, .map = map };
	struct vmi_error err = {};
	struct vmi_target *t;
	struct vmi_mem *m;
	int fd = file_of(data, size), r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = vmi_target_find(&t, &o, &err);
	close(fd);
	assert(!r == !err.text[0]);
	if (r)
		return;
	r = vmi_target_open(t, &m, &err);
	assert(!r == !err.text[0]);
	check_target(t);
	if (!r)
		read_all(m);
	vmi_mem_close(m);
	vmi_target_free(t);
}

static void notes(const uint8_t *data, size_t size)
{
	struct vmi_target *t = calloc(1, sizeof(*t));
	void *copy = malloc(size ? size : 1);

	memcpy(copy, data, size);
	vmi_notes_parse(t, copy, size);
	free(copy);
	check_target(t);
	vmi_target_free(t);
}

static void map(const uint8_t *data, size_t size)
{
	static const uint8_t page[4096];
	char *text = strndup((const char *)data, size);

	open_file(page, sizeof(page), text);
	free(text);
}

static void pieces(const uint8_t *data, size_t size)
{
	uint8_t *file = calloc(1, 4096 + size);

	strcpy((char *)file, "makedumpfile");
	file[23] = file[31] = 1; /* type and version */
	memcpy(file + 4096, data, size);
	open_file(file, 4096 + size, NULL);
	free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	setenv("TMPDIR", "/dev/shm", 1); /* where flattened dumps are put in order */
	if (size && data[0] == 'f')
		open_file(data + 1, size - 1, NULL);
	if (size && data[0] == 'k')
		pieces(data + 1, size - 1);
	if (size && data[0] == 'm')
		map(data + 1, size - 1);
	if (size && data[0] == 'n')
		notes(data + 1, size - 1);
	return 0;
}
