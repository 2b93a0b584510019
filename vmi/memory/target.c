// SPDX-License-Identifier: GPL-2.0-or-later
/* Targets: what is the same for all kinds. See target.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "vmname.h"

int vmi_fail(struct vmi_error *err, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return error;
}

int vmi_read_at(int fd, uint64_t offset, void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		ssize_t n;

		if (offset > INT64_MAX)
			return -EIO;
		n = pread(fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO;
		p += n;
		offset += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---------------------------------------------------------------------------------------- parts */

/* Room for one more: the sizes are powers of two, so that they need not be kept. */
static int grow(void **v, size_t n, size_t size, size_t max)
{
	void *p;

	if (n >= max)
		return -E2BIG;
	if (n & (n - 1))
		return 0;
	p = reallocarray(*v, n ? 2 * n : 1, size);
	if (!p)
		return -ENOMEM;
	*v = p;
	return 0;
}

int vmi_target_add_fd(struct vmi_target *t, int fd)
{
	int err = grow((void **)&t->fds, t->n_fds, sizeof(*t->fds), VMI_FDS_MAX);

	if (err)
		close(fd);
	else
		t->fds[t->n_fds++] = fd;
	return err;
}

int vmi_target_add_region(struct vmi_target *t, const struct vmi_region *r)
{
	int err = grow((void **)&t->regions, t->n_regions, sizeof(*t->regions), VMI_REGIONS_MAX);

	if (!err)
		t->regions[t->n_regions++] = *r;
	return err;
}

struct vmi_vcpu *vmi_target_add_vcpu(struct vmi_target *t)
{
	struct vmi_vcpu *v;

	if (grow((void **)&t->vcpus, t->n_vcpus, sizeof(*t->vcpus), VMI_VCPUS_MAX))
		return NULL;
	v = &t->vcpus[t->n_vcpus];
	*v = (struct vmi_vcpu){ .id = (int)t->n_vcpus };
	t->n_vcpus++;
	return v;
}

int vmi_target_set_vmcoreinfo(struct vmi_target *t, const char *text, size_t len)
{
	if (t->vmcoreinfo || !len)
		return 0;
	if (len > VMI_VMCOREINFO_MAX)
		return -E2BIG;
	t->vmcoreinfo = strndup(text, len);
	return t->vmcoreinfo ? 0 : -ENOMEM;
}

static int by_gpa(const void *a, const void *b)
{
	const struct vmi_region *x = a, *y = b;

	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

void vmi_target_merge_regions(struct vmi_target *t)
{
	struct vmi_region *v = t->regions;
	size_t n = 0;

	if (t->n_regions)
		qsort(v, t->n_regions, sizeof(*v), by_gpa);
	for (size_t i = 0; i < t->n_regions; i++) {
		struct vmi_region r = v[i], *last = n ? &v[n - 1] : NULL;
		uint64_t end = last ? last->gpa + last->bytes : 0, cut;

		if (r.gpa < end) {
			cut = end - r.gpa;
			if (cut >= r.bytes)
				continue;
			r.gpa += cut;
			r.offset += cut;
			r.bytes -= cut;
		}
		if (last && r.gpa == end && r.fd == last->fd && r.backing == last->backing &&
		    r.offset - last->offset == last->bytes)
			last->bytes += r.bytes;
		else if (r.bytes)
			v[n++] = r;
	}
	t->n_regions = n;
}

/* ----------------------------------------------------------------------------------------- find */

static void dump_name(struct vmi_target *t, const char *path)
{
	const char *slash = strrchr(path, '/');

	iho_clean_text(t->name, sizeof(t->name), slash ? slash + 1 : path);
}

static int open_dump(const char *path, struct vmi_error *err)
{
	struct stat st;
	/* O_NONBLOCK: opening a FIFO must not wait. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return vmi_fail(err, -errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))) {
		close(fd);
		return vmi_fail(err, -EINVAL, "%s is not a file", path);
	}
	return fd;
}

/* Which kind of dump it is, by its first bytes. */
static int dump_kind(struct vmi_target *t, const char *path, struct vmi_error *err)
{
	static const char flattened[16] = "makedumpfile";
	char magic[16] = "";

	if (vmi_read_at(t->fds[0], 0, magic, sizeof(magic)))
		return vmi_fail(err, -EINVAL, "%s is too short for a dump", path);
	if (!memcmp(magic, "\177ELF", 4))
		t->kind = VMI_TARGET_ELF;
	else if (!memcmp(magic, "KDUMP   ", 8) || !memcmp(magic, flattened, sizeof(flattened)))
		t->kind = VMI_TARGET_KDUMP;
	else
		return vmi_fail(
			err, -EINVAL,
			"%s is neither an ELF core nor a kdump-compressed file; a raw image "
			"of memory needs --map GPA:BYTES@OFFSET,...",
			path);
	return memcmp(magic, flattened, sizeof(flattened)) ? 0 : vmi_flat_rearrange(t, err);
}

static int find_dump(struct vmi_target *t, const struct vmi_find_options *o, struct vmi_error *err)
{
	int fd = open_dump(o->dump, err);
	int error;

	if (fd < 0)
		return fd;
	error = vmi_target_add_fd(t, fd);
	if (error)
		return vmi_fail(err, error, "out of memory");
	dump_name(t, o->dump);
	if (!o->map)
		return dump_kind(t, o->dump, err);
	t->kind = VMI_TARGET_RAW;
	return vmi_raw_parse(t, o->map, err);
}

int vmi_target_find(struct vmi_target **out, const struct vmi_find_options *o,
		    struct vmi_error *err)
{
	struct vmi_target *t;
	int error;

	*out = NULL;
	if (o->vm && o->dump)
		return vmi_fail(err, -EINVAL, "name a VM or a dump, not both");
	if (o->map && !o->dump)
		return vmi_fail(err, -EINVAL, "a map is for a raw dump");
	t = calloc(1, sizeof(*t));
	if (!t)
		return vmi_fail(err, -ENOMEM, "out of memory");
	t->pidfd = -1;
	error = o->dump ? find_dump(t, o, err) : vmi_live_find(t, o, err);
	if (error) {
		vmi_target_free(t);
		return error;
	}
	*out = t;
	return 0;
}

void vmi_target_free(struct vmi_target *t)
{
	if (!t)
		return;
	vmi_kdump_close(t->kdump);
	vmi_live_free(t->live);
	for (size_t i = 0; i < t->n_fds; i++)
		close(t->fds[i]);
	free(t->fds);
	free(t->regions);
	free(t->vcpus);
	free(t->vmcoreinfo);
	free(t);
}

/* ----------------------------------------------------------------------------------------- open */

/* Forgets what an earlier vmi_target_open() found in the file. */
static void forget_parsed(struct vmi_target *t)
{
	vmi_kdump_close(t->kdump);
	t->kdump = NULL;
	free(t->regions);
	t->regions = NULL;
	t->n_regions = 0;
	free(t->vcpus);
	t->vcpus = NULL;
	t->n_vcpus = 0;
	free(t->vmcoreinfo);
	t->vmcoreinfo = NULL;
}

int vmi_target_open(struct vmi_target *t, struct vmi_mem **mem, struct vmi_error *err)
{
	int error = 0;

	*mem = NULL;
	if (t->kind == VMI_TARGET_ELF || t->kind == VMI_TARGET_KDUMP)
		forget_parsed(t);
	if (t->kind == VMI_TARGET_ELF)
		error = vmi_elf_parse(t, err);
	else if (t->kind == VMI_TARGET_KDUMP)
		error = vmi_kdump_parse(t, err);
	if (error)
		return error;
	error = vmi_mem_open(mem, t->regions, t->n_regions, vmi_kdump_read, t->kdump);
	if (error == -EINVAL)
		return vmi_fail(err, error, "%s: its memory regions contradict each other",
				t->name);
	if (error)
		return vmi_fail(err, error, "%s: its memory cannot be mapped: %s", t->name,
				strerror(-error));
	return 0;
}

int vmi_target_alive(const struct vmi_target *t, struct vmi_error *err)
{
	struct pollfd p = { .fd = t->pid ? t->pidfd : -1, .events = POLLIN };

	/* A pidfd is readable when its process has ended; poll() leaves -1 out. */
	if (poll(&p, 1, 0) > 0)
		return vmi_fail(err, -EIO, "the VM \"%s\" has ended", t->name);
	return 0;
}

int vmi_target_refresh(struct vmi_target *t, struct vmi_error *err)
{
	if (t->kind != VMI_TARGET_LIVE)
		return vmi_fail(err, -ENOTSUP, "a dump does not change");
	return vmi_live_refresh(t, err);
}
