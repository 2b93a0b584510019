/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: names of files, as d_path() of the guest would say them.
 */
#ifndef VMI_PATH_H
#define VMI_PATH_H

#include "table.h"

#define VMI_PATH_MAX 4096

/*
 * The path of a struct path {mnt, dentry} at gva `path`, up to the root of the mount namespace (or
 * to `root`, the gva of a task's fs_struct.root, 0 = none). Unlinked files end in " (deleted)", as
 * in /proc; pipes, sockets, anonymous inodes and memfds are named as there ("pipe:[123]",
 * "socket:[123]", "anon_inode:[eventfd]", "/memfd:name (deleted)"). Returns the length or a
 * negative errno value; a cut or broken path is -ENAMETOOLONG or -EFAULT.
 */
int vmi_path(struct vmi_walk *w, uint64_t path, uint64_t root, char *buf, size_t size);
/* The same for a struct file. */
int vmi_file_path(struct vmi_walk *w, uint64_t file, uint64_t root, char *buf, size_t size);
/* Whether the file's name was taken from it: what " (deleted)" says, which may also be a name. */
bool vmi_file_deleted(struct vmi_walk *w, uint64_t file);
/*
 * The path that a struct mount is mounted at, from `root` (the gva of a task's fs_struct.root);
 * -EXDEV: who has that root cannot get there.
 */
int vmi_mount_path(struct vmi_walk *w, uint64_t mount, uint64_t root, char *buf, size_t size);
/* From a dentry to the root of its file system. */
int vmi_dentry_path(struct vmi_walk *w, uint64_t dentry, char *buf, size_t size);

#endif /* VMI_PATH_H */
