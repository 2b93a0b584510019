/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files that processes have open, by the names that /proc/PID/fd gives them. osquery leaves out
 * what is no file of a file system (sockets, pipes, epoll instances); they are here too.
 */
#include <errno.h>

#include "fds.h"
#include "path.h"

enum { COL_PID, COL_FD, COL_PATH, COL_FLAGS, COL_OFFSET, COL_INODE, COL_FILE };

static const struct vmi_column columns[] = {
	[COL_PID] = { "pid", VMI_INTEGER, "process id", true },
	[COL_FD] = { "fd", VMI_INTEGER, "file descriptor of the process" },
	[COL_PATH] = { "path", VMI_TEXT, "path, or what it is, as in /proc/PID/fd" },
	[COL_FLAGS] = { "open_flags", VMI_INTEGER, "O_*, as open(2) and fcntl(2) have them",
			.hidden = true },
	[COL_OFFSET] = { "offset", VMI_INTEGER, "position in bytes", .hidden = true },
	[COL_INODE] = { "inode", VMI_INTEGER, "inode number", .hidden = true },
	[COL_FILE] = { "file", VMI_TEXT, "address of its struct file", .hidden = true },
};

enum { F_FLAGS, F_POS, F_INODE, I_INO, FIELDS };

static const char *const paths[FIELDS] = {
	[F_FLAGS] = "file.f_flags",
	[F_POS] = "file.f_pos",
	[F_INODE] = "file.f_inode",
	[I_INO] = "inode.i_ino",
};

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	const struct vmi_field *f;
	struct vmi_tasks tasks;
	char path[VMI_PATH_MAX];
};

static void put(struct scan *s, unsigned int column, uint64_t base, const struct vmi_field *f)
{
	uint64_t v;

	if (vmi_wants(s->r, column) && !vmi_get(s->w, base, f, &v))
		vmi_int(s->r, column, (int64_t)v);
}

static bool row(struct scan *s, const struct vmi_task *t, const struct vmi_fd *fd)
{
	uint64_t inode;

	vmi_row(s->r);
	vmi_task_witness(&s->tasks, t);
	vmi_witness(s->w, fd->slot, 8, fd->file);
	vmi_int(s->r, COL_PID, t->pid);
	vmi_int(s->r, COL_FD, fd->fd);
	vmi_hex(s->r, COL_FILE, fd->file);
	if (vmi_wants(s->r, COL_PATH)) {
		int n = vmi_file_path(s->w, fd->file, 0, s->path, sizeof(s->path));

		if (n >= 0)
			vmi_strn(s->r, COL_PATH, s->path, (size_t)n);
	}
	put(s, COL_FLAGS, fd->file, &s->f[F_FLAGS]);
	put(s, COL_OFFSET, fd->file, &s->f[F_POS]);
	if (vmi_wants(s->r, COL_INODE) && !vmi_get(s->w, fd->file, &s->f[F_INODE], &inode) && inode)
		put(s, COL_INODE, inode, &s->f[I_INO]);
	return vmi_row_end(s->r);
}

static int rows(struct vmi_rows *r)
{
	struct scan s = { .r = r, .w = vmi_rows_walk(r) };
	struct vmi_task t;
	struct vmi_fds fds;
	struct vmi_fd fd;
	int err = vmi_tasks_start_wanted(&s.tasks, r, false, COL_PID);

	if (err)
		return err;
	s.f = vmi_layout(vmi_rows_guest(r), paths, FIELDS);
	if (!s.f)
		return -ENOMEM;
	while (vmi_tasks_next(&s.tasks, &t)) {
		if (vmi_fds_start(&fds, s.w, &t))
			while (vmi_fds_next(&fds, &fd))
				if (row(&s, &t, &fd))
					return 0;
		vmi_witness_reset(s.w);
	}
	return 0;
}

const struct vmi_table vmi_table_process_open_files = {
	.name = "process_open_files",
	.doc = "File descriptors of each process.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
