// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What backs guest memory in the VMM: /proc/PID/maps.
 *
 * Memory that the VMM shares (memfd, hugetlbfs, a file) is opened read-only, to be mapped here too:
 * by its mapping in /proc/PID/map_files, which needs a capability, or by the VMM's own descriptor
 * of it. What is private to the VMM is read through /proc/PID/mem, which asks for permission when
 * it is opened and not when it is read.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "live.h"
#include "vmname.h"

#define VMAS_MAX (1u << 20)

/* ---------------------------------------------------------------------------------- /proc/PID/maps
 */

/* One line, as fs/proc/task_mmu.c writes it. */
static bool parse_line(const char *line, struct vmi_vma *v)
{
	unsigned int major, minor;
	char perms[5] = "";
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &v->start,
		   &v->end, perms, &v->offset, &major, &minor, &v->inode, &at) != 7 ||
	    v->start >= v->end)
		return false;
	v->dev = makedev(major, minor);
	v->readable = perms[0] == 'r';
	v->writable = perms[1] == 'w';
	v->shared = perms[3] == 's';
	iho_clean_text(v->path, sizeof(v->path), at ? line + at : "");
	return true;
}

static int add_vma(struct vmi_vmas *m, const struct vmi_vma *v)
{
	struct vmi_vma *p;

	if (m->n == VMAS_MAX)
		return -E2BIG;
	if (!(m->n & (m->n - 1))) {
		p = reallocarray(m->v, m->n ? 2 * m->n : 1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		m->v = p;
	}
	m->v[m->n++] = *v;
	return 0;
}

int vmi_vmas_read(const struct vmi_live *l, struct vmi_vmas *out)
{
	int fd = openat(l->proc, "maps", O_RDONLY | O_CLOEXEC), err = 0;
	char *line = NULL;
	size_t size = 0;
	FILE *f;

	*out = (struct vmi_vmas){ 0 };
	if (fd < 0)
		return -errno;
	f = fdopen(fd, "r");
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	while (!err && getline(&line, &size, f) > 0) {
		struct vmi_vma v;

		line[strcspn(line, "\n")] = '\0';
		if (parse_line(line, &v))
			err = add_vma(out, &v);
	}
	free(line);
	fclose(f);
	if (err)
		vmi_vmas_free(out);
	return err;
}

void vmi_vmas_free(struct vmi_vmas *m)
{
	free(m->v);
	*m = (struct vmi_vmas){ 0 };
}

const struct vmi_vma *vmi_vma_at(const struct vmi_vmas *m, uint64_t hva)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (hva < m->v[mid].start)
			hi = mid;
		else if (hva >= m->v[mid].end)
			lo = mid + 1;
		else
			return &m->v[mid];
	}
	return NULL;
}

/* ------------------------------------------------------------------------------------- descriptors
 */

static bool is_file(int fd, const struct vmi_vma *v)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_dev == v->dev &&
	       st.st_ino == v->inode;
}

/* Opened anew, so read-only whatever the VMM's own descriptor is. */
static int open_file(int dir, const char *name, const struct vmi_vma *v)
{
	struct stat st;
	int fd;

	/* Looked at before: opening a device may do anything. */
	if (fstatat(dir, name, &st, 0) || !S_ISREG(st.st_mode) || st.st_dev != v->dev ||
	    st.st_ino != v->inode)
		return -1;
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && !is_file(fd, v)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int open_among_fds(const struct vmi_live *l, const struct vmi_vma *v)
{
	int dir = openat(l->proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct dirent *e;
	DIR *d;

	if (dir < 0)
		return -1;
	d = fdopendir(dir);
	if (!d) {
		close(dir);
		return -1;
	}
	while (fd < 0 && (e = readdir(d))) {
		if (isdigit((unsigned char)e->d_name[0]))
			fd = open_file(dir, e->d_name, v);
	}
	closedir(d);
	return fd;
}

static int open_mapped(const struct vmi_live *l, const struct vmi_vma *v)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "map_files/%" PRIx64 "-%" PRIx64, v->start, v->end);
	fd = open_file(l->proc, name, v);
	return fd >= 0 ? fd : open_among_fds(l, v);
}

/* ----------------------------------------------------------------------------------------- backing
 */

struct backer {
	struct vmi_target *t;
	const struct vmi_live *l;
	int mem; /* /proc/PID/mem; -1 = not open yet */
	struct {
		uint64_t dev, inode;
		int fd; /* -1 = it cannot be opened */
	} files[VMI_FDS_MAX];
	size_t n_files;
	uint64_t mapped, read; /* bytes */
	char kind[64]; /* what is mapped, for a person */
};

static void say_kind(struct backer *b, int fd, const struct vmi_vma *v)
{
	struct statfs fs;
	char path[40];

	if (b->kind[0])
		return;
	iho_clean_text(path, sizeof(path), v->path);
	if (!fstatfs(fd, &fs) && fs.f_type == HUGETLBFS_MAGIC)
		snprintf(b->kind, sizeof(b->kind), "huge pages of the VMM");
	else if (!strncmp(v->path, "/memfd:", 7))
		snprintf(b->kind, sizeof(b->kind), "memfd of the VMM");
	else
		snprintf(b->kind, sizeof(b->kind), "file of the VMM (%s)", path);
}

/* The descriptor of the file behind a shared mapping, -1 = it is to be read otherwise. */
static int file_of(struct backer *b, const struct vmi_vma *v)
{
	size_t i;
	int fd;

	for (i = 0; i < b->n_files; i++) {
		if (b->files[i].dev == v->dev && b->files[i].inode == v->inode)
			return b->files[i].fd;
	}
	if (b->n_files == VMI_FDS_MAX)
		return -1;
	fd = open_mapped(b->l, v);
	if (fd >= 0) {
		say_kind(b, fd, v);
		if (vmi_target_add_fd(b->t, fd))
			fd = -1;
	}
	b->files[i].dev = v->dev;
	b->files[i].inode = v->inode;
	b->files[i].fd = fd;
	b->n_files++;
	return fd;
}

static int open_mem(struct backer *b)
{
	int fd, err;

	if (b->mem >= 0)
		return 0;
	fd = openat(b->l->proc, "mem", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = vmi_target_add_fd(b->t, fd);
	if (!err)
		b->mem = fd;
	return err;
}

/* The part of a slot that lies in one mapping. */
static int back_part(struct backer *b, const struct vmi_vma *v, uint64_t gpa, uint64_t hva,
		     uint64_t bytes)
{
	int fd = v->shared && v->inode ? file_of(b, v) : -1, err = 0;
	struct vmi_region r = { .gpa = gpa, .bytes = bytes };

	if (fd >= 0) {
		r.backing = VMI_BACKING_MAP;
		r.fd = fd;
		r.offset = v->offset + (hva - v->start);
		b->mapped += bytes;
	} else {
		err = open_mem(b);
		r.backing = VMI_BACKING_PREAD;
		r.fd = b->mem;
		r.offset = hva;
		b->read += bytes;
	}
	if (!err && b->t->n_regions == VMI_REGIONS_MAX)
		vmi_target_merge_regions(b->t);
	return err ? err : vmi_target_add_region(b->t, &r);
}

/* What of a slot is not mapped now (a hole that the VMM made) is no memory. */
static int back_slot(struct backer *b, const struct vmi_vmas *m, const struct vmi_slot *s)
{
	uint64_t end = s->hva + s->bytes, at = s->hva;

	while (at < end) {
		const struct vmi_vma *v = vmi_vma_at(m, at);
		uint64_t stop;
		int err;

		if (!v) {
			/* on to the next mapping: they are sorted */
			size_t i = 0, n = m->n;

			while (i < n) {
				size_t mid = i + (n - i) / 2;

				if (m->v[mid].start <= at)
					i = mid + 1;
				else
					n = mid;
			}
			if (i == m->n)
				return 0;
			at = m->v[i].start;
			continue;
		}
		stop = v->end < end ? v->end : end;
		err = back_part(b, v, s->gpa + (at - s->hva), at, stop - at);
		if (err)
			return err;
		at = stop;
	}
	return 0;
}

int vmi_maps_back(struct vmi_target *t, const struct vmi_live *l, const struct vmi_vmas *m,
		  const struct vmi_slots *slots, struct vmi_error *err)
{
	struct backer b = { .t = t, .l = l, .mem = -1 };
	int error = 0;

	for (size_t i = 0; i < slots->n && !error; i++)
		error = back_slot(&b, m, &slots->v[i]);
	if (error == -E2BIG)
		return vmi_fail(err, error, "the VM's memory is in too many pieces");
	if (error)
		return vmi_fail(err, error, "not allowed to read the memory of process %d: %s",
				(int)l->pid, strerror(-error));
	vmi_target_merge_regions(t);
	if (!t->n_regions)
		return vmi_fail(err, -EIO, "nothing is mapped where the VM's memory should be");
	snprintf(t->how_ram, sizeof(t->how_ram), "%s%s%s%s", b.kind, b.mapped ? ", mapped" : "",
		 b.mapped && b.read ? "; " : "",
		 b.read ? "private memory of the VMM, read through /proc/PID/mem" : "");
	return 0;
}
