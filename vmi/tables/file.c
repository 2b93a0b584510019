/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "path.h"
#include "task.h"

enum {
	FS,
	FS_ROOT,
	P_DENTRY,
	D_FLAGS,
	D_PARENT,
	D_NAME,
	D_LEN,
	D_INODE,
	D_CHILDREN, /* hlist, since 6.8 ... */
	D_SIB,
	D_SUBDIRS, /* ... and list before */
	D_CHILD,
	I_MODE,
	I_SIZE,
	I_LINK,
	I_MAPPING,
	M_PAGES,
	PAGE_FLAGS,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[FS] = "task_struct.fs",
	[FS_ROOT] = "fs_struct.root",
	[P_DENTRY] = "path.dentry",
	[D_FLAGS] = "dentry.d_flags",
	[D_PARENT] = "dentry.d_parent",
	[D_NAME] = "dentry.d_name.name",
	[D_LEN] = "dentry.d_name.len",
	[D_INODE] = "dentry.d_inode",
	[D_CHILDREN] = "dentry.d_children",
	[D_SIB] = "dentry.d_sib",
	[D_SUBDIRS] = "dentry.d_subdirs",
	[D_CHILD] = "dentry.d_child",
	[I_MODE] = "inode.i_mode",
	[I_SIZE] = "inode.i_size",
	[I_LINK] = "inode.i_link",
	[I_MAPPING] = "inode.i_mapping",
	[M_PAGES] = "address_space.i_pages",
	[PAGE_FLAGS] = "page.flags",
};

#define GUEST_PAGE	 4096u
#define LINKS_MAX	 8
#define DCACHE_MOUNTED_6 0x00010000 /* until 6.15 a macro */

struct lookup {
	struct vmi_walk *w;
	const struct vmi_field *f;
	uint64_t root, dentry;
	char rest[2 * VMI_PATH_MAX]; /* of the path, yet to be looked up */
};

/* The first page of a file, from the page cache; it is there and up to date, or -ENOENT. */
static int first_page(struct lookup *l, uint64_t inode, char *buf, size_t size)
{
	const struct vmi_field *f = l->f;
	uint64_t mapping, bytes, page, gpa, flags;
	int64_t uptodate;
	int err = vmi_get(l->w, inode, &f[I_SIZE], &bytes);

	if (!err)
		err = vmi_get(l->w, inode, &f[I_MAPPING], &mapping);
	if (err)
		return err;
	if (vmi_types_enum(l->w->guest->types, "pageflags", "PG_uptodate", &uptodate))
		return -ENOENT;
	/* At index 0 a large folio has its first page. */
	page = vmi_xa_load(l->w, mapping + f[M_PAGES].offset, 0);
	gpa = page ? vmi_page_to_phys(l->w->guest, page) : 0;
	if (!gpa || vmi_uint(l->w, page + f[PAGE_FLAGS].offset, 8, &flags) ||
	    !(flags >> (uptodate & 63) & 1))
		return -ENOENT;
	if (bytes > GUEST_PAGE)
		bytes = GUEST_PAGE;
	if (bytes > size)
		bytes = size;
	err = vmi_read_phys(l->w, gpa, buf, (size_t)bytes);
	return err ? err : (int)bytes;
}

static bool named(struct lookup *l, uint64_t dentry, const char *name, size_t n)
{
	char text[256];
	uint64_t at;

	return n <= sizeof(text) && vmi_val(l->w, dentry, &l->f[D_LEN]) == n &&
	       (at = vmi_val(l->w, dentry, &l->f[D_NAME])) && !vmi_read(l->w, at, text, n) &&
	       !memcmp(text, name, n) && vmi_val(l->w, dentry, &l->f[D_INODE]);
}

/* Among the names of a folder that the guest has in memory. 0 = not there. */
static uint64_t child(struct lookup *l, const char *name, size_t n)
{
	const struct vmi_field *f = l->f;
	bool hlist = f[D_CHILDREN].present;
	const struct vmi_field *head = &f[hlist ? D_CHILDREN : D_SUBDIRS];
	const struct vmi_field *link = &f[hlist ? D_SIB : D_CHILD];
	struct vmi_list list;
	uint64_t node;

	if (!head->present || !link->present)
		return 0;
	vmi_list_start(&list, l->w, l->dentry + head->offset, "dentry.d_children");
	while ((node = hlist ? vmi_hlist_next(&list) : vmi_list_next(&list)))
		if (named(l, node - link->offset, name, n))
			return node - link->offset;
	return 0;
}

/* A link's target in front of what is left of the path. */
static int follow(struct lookup *l, uint64_t inode)
{
	uint64_t link = vmi_val(l->w, inode, &l->f[I_LINK]);
	char target[VMI_PATH_MAX];
	size_t rest = strlen(l->rest);
	int n;

	if (link)
		n = vmi_text(l->w, link, target, sizeof(target));
	else
		n = first_page(l, inode, target, sizeof(target) - 1);
	if (n <= 0)
		return n ? n : -ENOENT;
	target[n] = 0;
	n = (int)strlen(target);
	if ((size_t)n + 1 + rest + 1 > sizeof(l->rest))
		return -ENAMETOOLONG;
	memmove(l->rest + n + 1, l->rest, rest + 1);
	memcpy(l->rest, target, (size_t)n);
	l->rest[n] = '/';
	if (target[0] == '/')
		l->dentry = l->root;
	return 0;
}

static bool mounted(struct lookup *l, uint64_t dentry)
{
	int64_t bit;

	if (vmi_types_enum(l->w->guest->types, "dentry_flags", "DCACHE_MOUNTED", &bit))
		bit = DCACHE_MOUNTED_6;
	return vmi_val(l->w, dentry, &l->f[D_FLAGS]) & (uint64_t)bit;
}

/* One component of the path. */
static int step(struct lookup *l, unsigned int *links)
{
	size_t skip = strspn(l->rest, "/"), n = strcspn(l->rest + skip, "/");
	char name[256];
	uint64_t dentry, inode, mode;

	if (n >= sizeof(name))
		return -ENAMETOOLONG;
	memcpy(name, l->rest + skip, n);
	name[n] = 0;
	memmove(l->rest, l->rest + skip + n, strlen(l->rest + skip + n) + 1);
	if (!n || !strcmp(name, "."))
		return 0;
	if (!strcmp(name, "..")) {
		if (l->dentry != l->root)
			l->dentry = vmi_val(l->w, l->dentry, &l->f[D_PARENT]);
		return 0;
	}
	dentry = child(l, name, n);
	if (!dentry || mounted(l, dentry))
		return -ENOENT;
	inode = vmi_val(l->w, dentry, &l->f[D_INODE]);
	if (vmi_get(l->w, inode, &l->f[I_MODE], &mode))
		return -EFAULT;
	if (!S_ISLNK(mode)) {
		l->dentry = dentry;
		return 0;
	}
	return ++*links > LINKS_MAX ? -ELOOP : follow(l, inode);
}

/* The root of pid 1. */
static uint64_t root_dentry(struct vmi_walk *w, const struct vmi_field *f)
{
	uint64_t task = vmi_first_task(w), fs = task ? vmi_val(w, task, &f[FS]) : 0;

	return fs ? vmi_val(w, fs + f[FS_ROOT].offset, &f[P_DENTRY]) : 0;
}

int vmi_file_read(struct vmi_walk *w, const char *path, char *buf, size_t size)
{
	struct lookup l = { .w = w, .f = vmi_layout(w->guest, paths, FIELDS) };
	unsigned int links = 0;
	uint64_t inode, mode;
	int err = 0;

	if (!l.f)
		return -ENOMEM;
	for (int i = 0; i < FIELDS; i++)
		if (!l.f[i].present && (i < D_CHILDREN || i > D_CHILD))
			return -ENOENT;
	if (strlen(path) >= sizeof(l.rest))
		return -ENAMETOOLONG;
	strcpy(l.rest, path);
	l.root = l.dentry = root_dentry(w, l.f);
	if (!l.root)
		return -ENOENT;
	while (!err && l.rest[strspn(l.rest, "/")])
		err = step(&l, &links);
	if (err)
		return err;
	inode = vmi_val(w, l.dentry, &l.f[D_INODE]);
	err = vmi_get(w, inode, &l.f[I_MODE], &mode);
	if (err)
		return err;
	return S_ISREG(mode) ? first_page(&l, inode, buf, size) : -ENOENT;
}
