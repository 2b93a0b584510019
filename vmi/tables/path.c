/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As d_path() of the guest (Linux: fs/d_path.c): from the dentry up to the root, over mount points,
 * written from the end of the buffer to its start.
 */
#include "path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../kernel/layout.h"

enum {
	D_PARENT,
	D_NAME,
	D_LEN,
	D_HASHED, /* hlist_bl_node.pprev: NULL = unhashed */
	D_INODE,
	D_INAME,
	D_OP,
	DENTRY_FIELDS, /* above: of struct dentry */
	M_PARENT = DENTRY_FIELDS,
	M_MOUNTPOINT,
	M_MNT,
	M_ROOT,
	MOUNT_FIELDS, /* above: of struct mount */
	P_MNT = MOUNT_FIELDS,
	P_DENTRY,
	F_PATH,
	OP_DNAME,
	I_INO,
	I_PRIVATE,
	NS_OPS,
	NS_OPS_NAME,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[D_PARENT] = "dentry.d_parent",
	[D_NAME] = "dentry.d_name.name",
	[D_LEN] = "dentry.d_name.len",
	[D_HASHED] = "dentry.d_hash.pprev",
	[D_INODE] = "dentry.d_inode",
	[D_INAME] = "dentry.d_iname|dentry.d_shortname",
	[D_OP] = "dentry.d_op",
	[M_PARENT] = "mount.mnt_parent",
	[M_MOUNTPOINT] = "mount.mnt_mountpoint",
	[M_MNT] = "mount.mnt",
	[M_ROOT] = "mount.mnt.mnt_root",
	[P_MNT] = "path.mnt",
	[P_DENTRY] = "path.dentry",
	[F_PATH] = "file.f_path|file.__f_path",
	[OP_DNAME] = "dentry_operations.d_dname",
	[I_INO] = "inode.i_ino",
	[I_PRIVATE] = "inode.i_private",
	[NS_OPS] = "ns_common.ops",
	[NS_OPS_NAME] = "proc_ns_operations.name",
};

/* NAME_MAX is 255 bytes; some file systems count characters of up to 4 (exfat, cifs). */
#define NAME_BYTES_MAX 1024
#define MOUNTS_MAX     1024 /* mounts on top of one another */

#define DELETED " (deleted)"

struct path {
	struct vmi_walk *w;
	const struct vmi_field *f;
	char *buf;
	size_t size, at; /* the path is in buf[at..size - 1), and a NUL */
	bool reached; /* it begins at the root that was asked for */
};

static int start(struct path *p, struct vmi_walk *w, char *buf, size_t size)
{
	if (!size)
		return -EINVAL;
	buf[0] = 0;
	*p = (struct path){ .w = w, .buf = buf, .size = size, .at = size - 1 };
	p->f = vmi_layout(w->guest, paths, FIELDS);
	if (!p->f)
		return -ENOMEM;
	for (int i = 0; i < P_DENTRY; i++)
		if (!p->f[i].present && i != D_INAME)
			return -ENOENT;
	buf[size - 1] = 0;
	return 0;
}

/* Moves what was written to the start of the buffer; its length, or the error. */
static int finish(struct path *p, int err)
{
	size_t n = p->size - 1 - p->at;

	if (err) {
		p->buf[0] = 0;
		return err;
	}
	if (!n) {
		if (p->size < 2)
			return -ENAMETOOLONG;
		p->buf[--p->at] = '/';
		n = 1;
	}
	memmove(p->buf, p->buf + p->at, n + 1);
	return (int)n;
}

static int prepend(struct path *p, const char *s, size_t n)
{
	if (n > p->at)
		return -ENAMETOOLONG;
	p->at -= n;
	memcpy(p->buf + p->at, s, n);
	return 0;
}

static int copy_dentry(struct path *p, uint64_t dentry, struct vmi_copy *c)
{
	if (!dentry)
		return -EFAULT;
	return vmi_copy(p->w, dentry, &p->f[D_PARENT], DENTRY_FIELDS - D_PARENT, c);
}

/* The dentry's name, in front of what there is. Short names lie in the dentry itself. */
static int prepend_name(struct path *p, const struct vmi_copy *d)
{
	uint64_t len = vmi_copied(p->w, d, &p->f[D_LEN]), name = vmi_copied(p->w, d, &p->f[D_NAME]);
	const void *here;
	int err;

	if (len > NAME_BYTES_MAX)
		return -EFAULT;
	here = vmi_copy_at(d, name, (size_t)len);
	if (here)
		return prepend(p, here, (size_t)len);
	if (len > p->at)
		return -ENAMETOOLONG;
	err = vmi_read(p->w, name, p->buf + p->at - len, (size_t)len);
	if (!err)
		p->at -= (size_t)len;
	return err;
}

/*
 * Each step writes a '/' at least, so that the buffer bounds them, and MOUNTS_MAX the others. A
 * cycle is noticed by Brent's turtle, before the path is just too long.
 */
static int prepend_path(struct path *p, uint64_t mnt, uint64_t dentry, uint64_t root_mnt,
			uint64_t root_dentry)
{
	const struct vmi_field *f = p->f;
	uint64_t mount = mnt - f[M_MNT].offset;
	struct vmi_copy m, d;
	uint64_t turtle = 0, n = 0, power = 1;
	unsigned int crossed = 0;
	int err = vmi_copy(p->w, mount, &f[M_PARENT], MOUNT_FIELDS - M_PARENT, &m);

	while (!err) {
		uint64_t parent;

		p->reached = root_mnt == mount + f[M_MNT].offset && root_dentry == dentry;
		if (p->reached)
			break;
		if (dentry == vmi_copied(p->w, &m, &f[M_ROOT])) {
			parent = vmi_copied(p->w, &m, &f[M_PARENT]);
			if (parent == mount) /* the root of all, or unmounted */
				break;
			if (!parent)
				return -EFAULT;
			if (++crossed > MOUNTS_MAX)
				return vmi_walk_stop(p->w, VMI_STOP_CYCLE, "mount.mnt_parent");
			dentry = vmi_copied(p->w, &m, &f[M_MOUNTPOINT]);
			mount = parent;
			/* the same dentries may follow again, where a parent is mounted below */
			turtle = n = 0;
			power = 1;
			err = vmi_copy(p->w, mount, &f[M_PARENT], MOUNT_FIELDS - M_PARENT, &m);
			continue;
		}
		if (dentry == turtle)
			return vmi_walk_stop(p->w, VMI_STOP_CYCLE, "dentry.d_parent");
		if (++n == power) {
			turtle = dentry;
			power *= 2;
		}
		err = copy_dentry(p, dentry, &d);
		if (err)
			break;
		parent = vmi_copied(p->w, &d, &f[D_PARENT]);
		if (parent == dentry) /* moved out of a bind mount */
			break;
		err = prepend_name(p, &d);
		if (!err)
			err = prepend(p, "/", 1);
		dentry = parent;
	}
	return err;
}

static int prepend_fmt(struct path *p, const char *what, const char *name, uint64_t number)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%s%s[%llu]", what, name, (unsigned long long)number);

	return prepend(p, text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

/* A namespace: its kind is known by its operations (fs/nsfs.c: ns_dname()). */
static int prepend_ns(struct path *p, uint64_t inode, uint64_t ino)
{
	const struct vmi_field *f = p->f;
	uint64_t ns = vmi_val(p->w, inode, &f[I_PRIVATE]);
	uint64_t ops = ns ? vmi_val(p->w, ns, &f[NS_OPS]) : 0;
	char name[32];

	if (!ops || vmi_text(p->w, vmi_val(p->w, ops, &f[NS_OPS_NAME]), name, sizeof(name)) <= 0)
		return -EFAULT;
	return prepend_fmt(p, name, ":", ino);
}

/*
 * Files without a place in the tree are named by a function of their dentry: which one, its symbol
 * tells. 1: it was one of these; 0: none.
 */
static int dynamic_name(struct path *p, const struct vmi_copy *d)
{
	const struct vmi_field *f = p->f;
	uint64_t op = vmi_copied(p->w, d, &f[D_OP]), inode = vmi_copied(p->w, d, &f[D_INODE]), ino;
	uint64_t fn = op ? vmi_val(p->w, op, &f[OP_DNAME]) : 0;
	const struct vmi_symbol *s = fn ? vmi_symbol_at(p->w->guest->symbols, fn) : NULL;
	int err;

	if (!fn)
		return 0;
	if (!s || s->addr != fn)
		return -EFAULT;
	ino = vmi_val(p->w, inode, &f[I_INO]);
	if (!strcmp(s->name, "pipefs_dname")) {
		err = prepend_fmt(p, "pipe", ":", ino);
	} else if (!strcmp(s->name, "sockfs_dname")) {
		err = prepend_fmt(p, "socket", ":", ino);
	} else if (!strcmp(s->name, "ns_dname")) {
		err = prepend_ns(p, inode, ino);
	} else if (!strcmp(s->name, "pidfs_dname")) {
		err = prepend(p, "anon_inode:[pidfd]", 18);
	} else if (!strcmp(s->name, "anon_inodefs_dname")) {
		err = prepend_name(p, d);
		if (!err)
			err = prepend(p, "anon_inode:", 11);
	} else if (!strcmp(s->name, "dmabuffs_dname")) {
		err = prepend_name(p, d);
		if (!err)
			err = prepend(p, "/dmabuf:", 8);
	} else { /* simple_dname: memfds, shared memory, huge pages, aio rings */
		err = prepend(p, DELETED, sizeof(DELETED) - 1);
		if (!err)
			err = prepend_name(p, d);
		if (!err)
			err = prepend(p, "/", 1);
	}
	return err ? err : 1;
}

int vmi_path(struct vmi_walk *w, uint64_t path, uint64_t root, char *buf, size_t size)
{
	uint64_t mnt, dentry, root_mnt = 0, root_dentry = 0;
	struct vmi_copy d;
	struct path p;
	int err = start(&p, w, buf, size);

	if (err)
		return err;
	err = vmi_get(w, path, &p.f[P_MNT], &mnt);
	if (!err)
		err = vmi_get(w, path, &p.f[P_DENTRY], &dentry);
	if (!err && !mnt)
		err = -EFAULT;
	if (!err)
		err = copy_dentry(&p, dentry, &d);
	if (err)
		return finish(&p, err);
	if (root) {
		root_mnt = vmi_val(w, root, &p.f[P_MNT]);
		root_dentry = vmi_val(w, root, &p.f[P_DENTRY]);
	}
	/* A namespace that is bound to a place is called by that. */
	if (vmi_copied(w, &d, &p.f[D_PARENT]) != dentry ||
	    vmi_val(w, mnt - p.f[M_MNT].offset, &p.f[M_ROOT]) != dentry) {
		err = dynamic_name(&p, &d);
		if (err)
			return finish(&p, err < 0 ? err : 0);
	}
	if (vmi_copied(w, &d, &p.f[D_PARENT]) != dentry && !vmi_copied(w, &d, &p.f[D_HASHED]))
		err = prepend(&p, DELETED, sizeof(DELETED) - 1);
	if (!err)
		err = prepend_path(&p, mnt, dentry, root_mnt, root_dentry);
	/* "/ (deleted)" has no component */
	if (!err && p.buf[p.at] == ' ')
		err = prepend(&p, "/", 1);
	return finish(&p, err);
}

int vmi_file_path(struct vmi_walk *w, uint64_t file, uint64_t root, char *buf, size_t size)
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);

	if (size)
		buf[0] = 0;
	if (!f)
		return -ENOMEM;
	if (!f[F_PATH].present)
		return -ENOENT;
	if (!file)
		return -EFAULT;
	return vmi_path(w, file + f[F_PATH].offset, root, buf, size);
}

bool vmi_file_deleted(struct vmi_walk *w, uint64_t file)
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);
	struct vmi_copy d;
	uint64_t dentry;

	if (!f || !file || !f[F_PATH].present ||
	    vmi_get(w, file + f[F_PATH].offset, &f[P_DENTRY], &dentry) || !dentry ||
	    vmi_copy(w, dentry, &f[D_PARENT], DENTRY_FIELDS - D_PARENT, &d))
		return false;
	/* memfds and the like are roots of their own, and were never hashed */
	return !vmi_copied(w, &d, &f[D_HASHED]);
}

int vmi_mount_path(struct vmi_walk *w, uint64_t mount, uint64_t root, char *buf, size_t size)
{
	struct path p;
	uint64_t dentry, root_mnt, root_dentry;
	int err = start(&p, w, buf, size);

	if (err)
		return err;
	err = vmi_get(w, root, &p.f[P_MNT], &root_mnt);
	if (!err)
		err = vmi_get(w, root, &p.f[P_DENTRY], &root_dentry);
	if (!err)
		err = vmi_get(w, mount, &p.f[M_ROOT], &dentry);
	if (!err)
		err = prepend_path(&p, mount + p.f[M_MNT].offset, dentry, root_mnt, root_dentry);
	if (!err && !p.reached)
		err = -EXDEV;
	return finish(&p, err);
}

int vmi_dentry_path(struct vmi_walk *w, uint64_t dentry, char *buf, size_t size)
{
	struct vmi_copy d;
	struct path p;
	int err = start(&p, w, buf, size);

	if (err)
		return err;
	for (;;) {
		uint64_t parent;

		err = copy_dentry(&p, dentry, &d);
		if (err)
			break;
		parent = vmi_copied(w, &d, &p.f[D_PARENT]);
		if (parent == dentry)
			break;
		err = prepend_name(&p, &d);
		if (!err)
			err = prepend(&p, "/", 1);
		if (err)
			break;
		dentry = parent;
	}
	return finish(&p, err);
}
