/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cgroup.h"

#include <errno.h>
#include <string.h>

enum {
	CGROUPS,
	DFL_CGRP,
	CGRP_KN,
	CSS_FLAGS,
	KN_PARENT,
	KN_NAME,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[CGROUPS] = "task_struct.cgroups",
	[DFL_CGRP] = "css_set.dfl_cgrp",
	[CGRP_KN] = "cgroup.kn",
	[CSS_FLAGS] = "cgroup.self.flags",
	[KN_PARENT] = "kernfs_node.__parent|kernfs_node.parent", /* 6.15 renamed it */
	[KN_NAME] = "kernfs_node.name",
};

#define CSS_ONLINE  2u /* include/linux/cgroup-defs.h */
#define DEPTH_MAX   512
#define NAME_MAX_KN 256
#define DELETED	    " (deleted)"

uint64_t vmi_task_css_set(struct vmi_walk *w, const struct vmi_task *t)
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);

	return f ? vmi_val(w, t->gva, &f[CGROUPS]) : 0;
}

/* From the node up to the root of kernfs, into the end of buf. Returns where it begins, or < 0. */
static long up(struct vmi_walk *w, const struct vmi_field *f, uint64_t kn, char *buf, long at)
{
	for (unsigned int depth = 0; depth < DEPTH_MAX; depth++) {
		char name[NAME_MAX_KN];
		uint64_t parent, text;
		int n;

		if (vmi_get(w, kn, &f[KN_PARENT], &parent))
			return -EFAULT;
		if (!parent)
			return at;
		if (vmi_get(w, kn, &f[KN_NAME], &text))
			return -EFAULT;
		n = vmi_text(w, text, name, sizeof(name));
		if (n <= 0)
			return -EFAULT;
		if (n + 1 > at)
			return -ENAMETOOLONG;
		at -= n;
		memcpy(buf + at, name, (size_t)n);
		buf[--at] = '/';
		kn = parent;
	}
	return -ENAMETOOLONG;
}

int vmi_css_set_path(struct vmi_walk *w, uint64_t css_set, char *buf, size_t size)
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);
	long at = (long)size - (long)sizeof(DELETED);
	uint64_t cgroup, kn;
	bool online;
	size_t n;

	if (!f)
		return -ENOMEM;
	if (at < 2)
		return -ENAMETOOLONG;
	buf[0] = 0;
	for (int i = 0; i < FIELDS; i++)
		if (!f[i].present)
			return -ENOENT;
	cgroup = vmi_val(w, css_set, &f[DFL_CGRP]);
	if (vmi_get(w, cgroup, &f[CGRP_KN], &kn))
		return -EFAULT;
	online = vmi_val(w, cgroup, &f[CSS_FLAGS]) & CSS_ONLINE;
	strcpy(buf + at, online ? "" : DELETED);
	n = strlen(buf + at);
	at = up(w, f, kn, buf, at);
	if (at < 0) {
		buf[0] = 0;
		return (int)at;
	}
	if (buf[at] != '/')
		buf[--at] = '/';
	n += size - sizeof(DELETED) - (size_t)at;
	memmove(buf, buf + at, n + 1);
	return (int)n;
}
