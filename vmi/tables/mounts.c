/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mounts, as /proc/1/mounts has them: of the mount namespace of the first process, or of the one
 * that the query names, those that its root leads to. A namespace's mounts are in a list until 6.7,
 * in a red-black tree since then.
 *
 * Flags are those that Linux itself keeps; what only the file system knows (show_options) would
 * need its own code for each. Sizes are known of file systems in memory alone, whose statfs() is
 * simple.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "path.h"
#include "task.h"

enum {
	COL_DEVICE,
	COL_DEVICE_ALIAS,
	COL_PATH,
	COL_TYPE,
	COL_BLOCKS_SIZE,
	COL_BLOCKS,
	COL_BLOCKS_FREE,
	COL_BLOCKS_AVAILABLE,
	COL_INODES,
	COL_INODES_FREE,
	COL_FLAGS,
	COL_MNT_NAMESPACE,
	COL_MOUNT_ID,
	COL_MOUNT,
};

static const struct vmi_column columns[] = {
	[COL_DEVICE] = { "device", VMI_TEXT, "what is mounted" },
	[COL_DEVICE_ALIAS] = { "device_alias", VMI_TEXT,
			       "the same by the kernel's name of the device" },
	[COL_PATH] = { "path", VMI_TEXT, "where it is mounted" },
	[COL_TYPE] = { "type", VMI_TEXT, "file system" },
	[COL_BLOCKS_SIZE] = { "blocks_size", VMI_INTEGER, "bytes of a block" },
	[COL_BLOCKS] = { "blocks", VMI_INTEGER, "blocks" },
	[COL_BLOCKS_FREE] = { "blocks_free", VMI_INTEGER, "free blocks" },
	[COL_BLOCKS_AVAILABLE] = { "blocks_available", VMI_INTEGER,
				   "free blocks for users who are not root" },
	[COL_INODES] = { "inodes", VMI_INTEGER, "inodes" },
	[COL_INODES_FREE] = { "inodes_free", VMI_INTEGER, "free inodes" },
	[COL_FLAGS] = { "flags", VMI_TEXT,
			"\"rw,nosuid,relatime\": without options of the file system's own" },
	[COL_MNT_NAMESPACE] = { "mnt_namespace", VMI_TEXT,
				"inode of the mount namespace; the first process', if not asked "
				"for",
				true, true },
	[COL_MOUNT_ID] = { "mount_id", VMI_INTEGER, "number, as in /proc/PID/mountinfo",
			   .hidden = true },
	[COL_MOUNT] = { "mount", VMI_TEXT, "address of its struct mount", .hidden = true },
};

enum {
	T_NSPROXY,
	T_FS,
	FS_ROOT,
	NP_MNT,
	NS_INUM,
	NS_LIST,
	NS_TREE,
	M_LIST,
	M_NODE,
	M_DEVNAME,
	M_ID,
	M_SB,
	M_FLAGS,
	M_IDMAP,
	SB_FLAGS,
	SB_TYPE,
	SB_SUBTYPE,
	SB_BDEV,
	SB_OP,
	SB_INFO,
	TYPE_NAME,
	OP_STATFS,
	SH_MAX_BLOCKS,
	SH_USED,
	SH_MAX_INODES,
	SH_FREE_INODES,
	SH_FREE_ISPACE,
	PC_COUNT,
	PC_COUNTERS,
	BD_DISK,
	BD_PARTNO,
	BD_FLAGS,
	DISK_NAME,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[T_NSPROXY] = "task_struct.nsproxy",
	[T_FS] = "task_struct.fs",
	[FS_ROOT] = "fs_struct.root",
	[NP_MNT] = "nsproxy.mnt_ns",
	[NS_INUM] = "mnt_namespace.ns.inum",
	[NS_LIST] = "mnt_namespace.list",
	[NS_TREE] = "mnt_namespace.mounts",
	[M_LIST] = "mount.mnt_list",
	[M_NODE] = "mount.mnt_node",
	[M_DEVNAME] = "mount.mnt_devname",
	[M_ID] = "mount.mnt_id",
	[M_SB] = "mount.mnt.mnt_sb",
	[M_FLAGS] = "mount.mnt.mnt_flags",
	[M_IDMAP] = "mount.mnt.mnt_idmap",
	[SB_FLAGS] = "super_block.s_flags",
	[SB_TYPE] = "super_block.s_type",
	[SB_SUBTYPE] = "super_block.s_subtype",
	[SB_BDEV] = "super_block.s_bdev",
	[SB_OP] = "super_block.s_op",
	[SB_INFO] = "super_block.s_fs_info",
	[TYPE_NAME] = "file_system_type.name",
	[OP_STATFS] = "super_operations.statfs",
	[SH_MAX_BLOCKS] = "shmem_sb_info.max_blocks",
	[SH_USED] = "shmem_sb_info.used_blocks",
	[SH_MAX_INODES] = "shmem_sb_info.max_inodes",
	[SH_FREE_INODES] = "shmem_sb_info.free_inodes",
	[SH_FREE_ISPACE] = "shmem_sb_info.free_ispace",
	[PC_COUNT] = "percpu_counter.count",
	[PC_COUNTERS] = "percpu_counter.counters",
	[BD_DISK] = "block_device.bd_disk",
	[BD_PARTNO] = "block_device.bd_partno",
	[BD_FLAGS] = "block_device.__bd_flags.counter",
	[DISK_NAME] = "gendisk.disk_name",
};

#define PAGE	       4096
#define INODE_SPACE    1024 /* BOGO_INODE_SIZE of mm/shmem.c */
#define MNT_CURSOR     0x10000000u /* mount.h, until 6.7: a reader's place in the list */
#define BD_PARTNO_MASK 0xff /* include/linux/blk_types.h, since 6.10 */

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	const struct vmi_field *f;
	uint64_t ns, root; /* gva of the mnt_namespace, of a root (struct path) in it */
	uint32_t inum;
	char path[VMI_PATH_MAX];
};

/* A process of the namespace that is wanted, the first one's where none is. */
static int find_namespace(struct scan *s)
{
	struct vmi_tasks tasks;
	struct vmi_task t;
	const char *want = NULL;
	char number[16];
	bool wanted = vmi_want_str(s->r, COL_MNT_NAMESPACE, &want);
	int err = vmi_tasks_start(&tasks, s->r, false, wanted ? -1 : 1);

	while (!err && !s->ns && vmi_tasks_next(&tasks, &t)) {
		uint64_t proxy = vmi_val(s->w, t.gva, &s->f[T_NSPROXY]);
		uint64_t fs = vmi_val(s->w, t.gva, &s->f[T_FS]);
		uint64_t ns = proxy && fs ? vmi_val(s->w, proxy, &s->f[NP_MNT]) : 0;

		vmi_witness_reset(s->w);
		/* A kernel thread's root may be another than the one that processes have. */
		if (!ns || (t.flags & VMI_PF_KTHREAD))
			continue;
		s->inum = (uint32_t)vmi_val(s->w, ns, &s->f[NS_INUM]);
		snprintf(number, sizeof(number), "%u", s->inum);
		if (wanted && strcmp(number, want) != 0)
			continue;
		s->ns = ns;
		s->root = fs + s->f[FS_ROOT].offset;
	}
	return err;
}

static bool symbol_is(struct scan *s, uint64_t fn, const char *name)
{
	return fn && fn == vmi_sym(s->w->guest, name);
}

/* percpu_counter_sum() of lib/percpu_counter.c */
static uint64_t counter(struct scan *s, uint64_t at)
{
	uint64_t counters = vmi_val(s->w, at, &s->f[PC_COUNTERS]), v;
	int64_t sum = (int64_t)vmi_val(s->w, at, &s->f[PC_COUNT]);

	for (unsigned int cpu = 0; counters && cpu < s->w->guest->cpus; cpu++) {
		uint64_t one = vmi_per_cpu(s->w, counters, cpu);

		if (one && !vmi_uint(s->w, one, 4, &v))
			sum += (int32_t)v;
	}
	return sum < 0 ? 0 : (uint64_t)sum;
}

static void sizes(struct scan *s, uint64_t blocks, uint64_t blocks_free, uint64_t inodes,
		  uint64_t inodes_free)
{
	vmi_int(s->r, COL_BLOCKS_SIZE, PAGE);
	vmi_int(s->r, COL_BLOCKS, (int64_t)blocks);
	vmi_int(s->r, COL_BLOCKS_FREE, (int64_t)blocks_free);
	vmi_int(s->r, COL_BLOCKS_AVAILABLE, (int64_t)blocks_free);
	vmi_int(s->r, COL_INODES, (int64_t)inodes);
	vmi_int(s->r, COL_INODES_FREE, (int64_t)inodes_free);
}

/* shmem_statfs() of mm/shmem.c */
static void shmem_sizes(struct scan *s, uint64_t info)
{
	const struct vmi_field *f = s->f;
	uint64_t blocks = vmi_val(s->w, info, &f[SH_MAX_BLOCKS]), used = 0;
	uint64_t inodes = vmi_val(s->w, info, &f[SH_MAX_INODES]), inodes_free = 0;

	if (blocks)
		used = counter(s, info + f[SH_USED].offset);
	if (inodes)
		inodes_free = f[SH_FREE_ISPACE].present
				      ? vmi_val(s->w, info, &f[SH_FREE_ISPACE]) / INODE_SPACE
				      : vmi_val(s->w, info, &f[SH_FREE_INODES]);
	sizes(s, blocks, blocks > used ? blocks - used : 0, inodes, inodes_free);
}

static void statfs_columns(struct scan *s, uint64_t sb)
{
	const struct vmi_field *f = s->f;
	uint64_t op = vmi_val(s->w, sb, &f[SB_OP]), info = vmi_val(s->w, sb, &f[SB_INFO]), fn;

	fn = op ? vmi_val(s->w, op, &f[OP_STATFS]) : 0;
	if (symbol_is(s, fn, "simple_statfs") || symbol_is(s, fn, "kernfs_statfs"))
		sizes(s, 0, 0, 0, 0);
	else if (symbol_is(s, fn, "shmem_statfs") && info && f[SH_MAX_BLOCKS].present &&
		 f[SH_USED].present)
		shmem_sizes(s, info);
}

/* show_sb_opts() and show_mnt_opts() of fs/proc_namespace.c; include/linux/fs.h, mount.h */
static void flags_column(struct scan *s, uint64_t mount, uint64_t sb)
{
	static const struct {
		bool of_sb;
		uint32_t bit;
		const char *name;
	} names[] = {
		{ true, 1 << 4, ",sync" },	   { true, 1 << 7, ",dirsync" },
		{ true, 1 << 6, ",mand" },	   { true, 1 << 25, ",lazytime" },
		{ false, 1 << 0, ",nosuid" },	   { false, 1 << 1, ",nodev" },
		{ false, 1 << 2, ",noexec" },	   { false, 1 << 3, ",noatime" },
		{ false, 1 << 4, ",nodiratime" },  { false, 1 << 5, ",relatime" },
		{ false, 1 << 7, ",nosymfollow" },
	};
	uint64_t sf = vmi_val(s->w, sb, &s->f[SB_FLAGS]), mf = vmi_val(s->w, mount, &s->f[M_FLAGS]);
	uint64_t idmap = vmi_val(s->w, mount, &s->f[M_IDMAP]);
	char text[160];
	size_t n;

	n = (size_t)snprintf(text, sizeof(text), "%s", (sf & 1) || (mf & 1 << 6) ? "ro" : "rw");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if ((names[i].of_sb ? sf : mf) & names[i].bit)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", names[i].name);
	if (idmap && idmap != vmi_sym(s->w->guest, "nop_mnt_idmap"))
		snprintf(text + n, sizeof(text) - n, ",idmapped");
	vmi_str(s->r, COL_FLAGS, text);
}

/* "/dev/vda1"; false: not on a block device, or one that cannot be named. */
static bool device_name(struct scan *s, uint64_t sb, char *out, size_t size)
{
	const struct vmi_field *f = s->f;
	uint64_t bdev = vmi_val(s->w, sb, &f[SB_BDEV]), disk, part;
	char name[33];
	int n;

	disk = bdev ? vmi_val(s->w, bdev, &f[BD_DISK]) : 0;
	if (!disk || !f[DISK_NAME].present)
		return false;
	n = vmi_text_field(s->w, disk, &f[DISK_NAME], name, sizeof(name));
	if (n <= 0 ||
	    (vmi_get(s->w, bdev, &f[BD_PARTNO], &part) && vmi_get(s->w, bdev, &f[BD_FLAGS], &part)))
		return false;
	part &= BD_PARTNO_MASK;
	for (char *p = name; (p = strchr(p, '!')) != NULL;)
		*p = '/';
	if (!part)
		snprintf(out, size, "/dev/%s", name);
	else
		snprintf(out, size, "/dev/%s%s%u", name,
			 name[n - 1] >= '0' && name[n - 1] <= '9' ? "p" : "", (unsigned int)part);
	return true;
}

static void device_columns(struct scan *s, uint64_t mount, uint64_t sb)
{
	uint64_t name = vmi_val(s->w, mount, &s->f[M_DEVNAME]);
	char alias[64];
	int n = name ? vmi_text(s->w, name, s->path, sizeof(s->path)) : 0;

	if (!name)
		n = snprintf(s->path, sizeof(s->path), "none");
	if (n < 0)
		return;
	vmi_strn(s->r, COL_DEVICE, s->path, (size_t)n);
	if (device_name(s, sb, alias, sizeof(alias)))
		vmi_str(s->r, COL_DEVICE_ALIAS, alias);
	else
		vmi_strn(s->r, COL_DEVICE_ALIAS, s->path, (size_t)n);
}

/* show_type(): "fuse.sshfs" */
static void type_column(struct scan *s, uint64_t sb)
{
	uint64_t type = vmi_val(s->w, sb, &s->f[SB_TYPE]),
		 sub = vmi_val(s->w, sb, &s->f[SB_SUBTYPE]);
	char name[64], subtype[64];

	if (!type || vmi_text(s->w, vmi_val(s->w, type, &s->f[TYPE_NAME]), name, sizeof(name)) <= 0)
		return;
	if (sub && vmi_text(s->w, sub, subtype, sizeof(subtype)) > 0)
		vmi_strf(s->r, COL_TYPE, "%s.%s", name, subtype);
	else
		vmi_str(s->r, COL_TYPE, name);
}

static bool row(struct scan *s, uint64_t mount)
{
	uint64_t sb, flags = vmi_val(s->w, mount, &s->f[M_FLAGS]), id;
	int n;

	if (!s->f[M_NODE].present && (flags & MNT_CURSOR))
		return false;
	if (vmi_get(s->w, mount, &s->f[M_SB], &sb) || !sb) {
		vmi_walk_stop(s->w, VMI_STOP_FAULT, "mount.mnt_sb");
		return false;
	}
	n = vmi_mount_path(s->w, mount, s->root, s->path, sizeof(s->path));
	if (n == -EXDEV)
		return false;
	vmi_row(s->r);
	vmi_witness(s->w, mount + s->f[M_SB].offset, 8, sb);
	if (n >= 0)
		vmi_strn(s->r, COL_PATH, s->path, (size_t)n);
	device_columns(s, mount, sb);
	type_column(s, sb);
	flags_column(s, mount, sb);
	statfs_columns(s, sb);
	vmi_strf(s->r, COL_MNT_NAMESPACE, "%u", s->inum);
	if (!vmi_get(s->w, mount, &s->f[M_ID], &id))
		vmi_int(s->r, COL_MOUNT_ID, (int32_t)id);
	vmi_hex(s->r, COL_MOUNT, mount);
	return vmi_row_end(s->r);
}

static void walk_list(struct scan *s)
{
	struct vmi_list l;
	uint64_t node;

	vmi_list_start(&l, s->w, s->ns + s->f[NS_LIST].offset, "mnt_namespace.list");
	while ((node = vmi_list_next(&l)) != 0)
		if (row(s, node - s->f[M_LIST].offset))
			break;
}

static void walk_tree(struct scan *s)
{
	struct vmi_rb rb;
	uint64_t node;

	vmi_rb_start(&rb, s->w, s->ns + s->f[NS_TREE].offset, "mnt_namespace.mounts");
	while ((node = vmi_rb_next(&rb)) != 0)
		if (row(s, node - s->f[M_NODE].offset))
			break;
}

static int rows(struct vmi_rows *r)
{
	struct scan *s = calloc(1, sizeof(*s));
	int err = -ENOMEM;

	if (!s)
		return err;
	s->r = r;
	s->w = vmi_rows_walk(r);
	s->f = vmi_layout(vmi_rows_guest(r), paths, FIELDS);
	if (s->f)
		err = find_namespace(s);
	if (!err && s->ns) {
		if (s->f[M_NODE].present && s->f[NS_TREE].present)
			walk_tree(s);
		else if (s->f[M_LIST].present && s->f[NS_LIST].present)
			walk_list(s);
		else
			err = vmi_rows_error(r, "the mounts of this kernel's namespaces are not "
						"understood");
	}
	free(s);
	return err;
}

const struct vmi_table vmi_table_mounts = {
	.name = "mounts",
	.doc = "Mounted file systems.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
