/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is mapped into the guest's processes: /proc/PID/maps (fs/proc/task_mmu.c: show_map_vma()).
 * The areas are in a maple tree since 6.1, and in a list before.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "path.h"
#include "task.h"

enum {
	COL_PID,
	COL_START,
	COL_END,
	COL_PERMISSIONS,
	COL_OFFSET,
	COL_DEVICE,
	COL_INODE,
	COL_PATH,
	COL_PSEUDO,
};

static const struct vmi_column columns[] = {
	[COL_PID] = { "pid", VMI_INTEGER, "process id", true },
	[COL_START] = { "start", VMI_TEXT, "first address, hexadecimal" },
	[COL_END] = { "end", VMI_TEXT, "address behind the last, hexadecimal" },
	[COL_PERMISSIONS] = { "permissions", VMI_TEXT,
			      "r read, w write, x execute, p private or s shared" },
	[COL_OFFSET] = { "offset", VMI_INTEGER, "offset in the mapped file, in bytes" },
	[COL_DEVICE] = { "device", VMI_TEXT, "major:minor of the file's device, hexadecimal" },
	[COL_INODE] = { "inode", VMI_INTEGER, "inode number of the mapped file, 0 = none" },
	[COL_PATH] = { "path", VMI_TEXT, "the mapped file, or what the area is for" },
	[COL_PSEUDO] = { "pseudo", VMI_INTEGER, "1: the path names no file" },
};

enum {
	START,
	END,
	MM,
	FLAGS,
	OPS,
	PGOFF,
	FILE_,
	PRIVATE,
	ANON_NAME,
	VMA, /* above: of vm_area_struct */
	NEXT = VMA,
	SHARED,
	MMAP,
	MAPLE,
	START_BRK,
	BRK,
	STACK,
	CONTEXT,
	OPS_NAME,
	MAPPING_NAME,
	ANON_NAME_TEXT,
	F_INODE,
	I_INO,
	I_SB,
	S_DEV,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[START] = "vm_area_struct.vm_start",
	[END] = "vm_area_struct.vm_end",
	[MM] = "vm_area_struct.vm_mm",
	[FLAGS] = "vm_area_struct.vm_flags",
	[OPS] = "vm_area_struct.vm_ops",
	[PGOFF] = "vm_area_struct.vm_pgoff",
	[FILE_] = "vm_area_struct.vm_file",
	[PRIVATE] = "vm_area_struct.vm_private_data",
	[ANON_NAME] = "vm_area_struct.anon_name",
	[NEXT] = "vm_area_struct.vm_next",
	[SHARED] = "vm_area_struct.shared",
	[MMAP] = "mm_struct.mmap",
	[MAPLE] = "mm_struct.mm_mt",
	[START_BRK] = "mm_struct.start_brk",
	[BRK] = "mm_struct.brk",
	[STACK] = "mm_struct.start_stack",
	[CONTEXT] = "mm_struct.context.flags",
	[OPS_NAME] = "vm_operations_struct.name",
	[MAPPING_NAME] = "vm_special_mapping.name",
	[ANON_NAME_TEXT] = "anon_vma_name.name",
	[F_INODE] = "file.f_inode",
	[I_INO] = "inode.i_ino",
	[I_SB] = "inode.i_sb",
	[S_DEV] = "super_block.s_dev",
};

/* include/linux/mm.h */
#define VM_READ	    0x1u
#define VM_WRITE    0x2u
#define VM_EXEC	    0x4u
#define VM_MAYSHARE 0x80u

#define MINOR_BITS 20
#define GUEST_PAGE 4096u
/* vm.max_map_count is an int; the default is 65530 */
#define AREAS_MAX (1u << 22)

/* arch/x86/include/asm/mmu.h: MM_CONTEXT_HAS_VSYSCALL; arch/x86/entry/vsyscall: vsyscall_mode */
#define HAS_VSYSCALL  2u
#define VSYSCALL_NONE 2u

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	struct vmi_tasks tasks;
	const struct vmi_field *f;
	const struct vmi_task *t;
	uint64_t start_brk, brk, stack;
	uint64_t special_name, gate;
	/* of the file that `file` is: neighbouring areas often map the same */
	uint64_t file, ino;
	uint32_t dev;
	int path_len;
	char path[VMI_PATH_MAX];
};

/* ---------------------------------------------------------------------------------------- names */

static bool special_name(struct scan *s, const struct vmi_copy *vma, char *name, size_t size)
{
	const struct vmi_field *f = s->f;
	uint64_t ops = vmi_copied(s->w, vma, &f[OPS]), mapping, text;

	if (!ops || !s->special_name || vmi_val(s->w, ops, &f[OPS_NAME]) != s->special_name)
		return false;
	mapping = vmi_copied(s->w, vma, &f[PRIVATE]);
	text = vmi_val(s->w, mapping, &f[MAPPING_NAME]);
	return text && vmi_text(s->w, text, name, size) > 0;
}

/* The name that a process gave an area (PR_SET_VMA_ANON_NAME). */
static bool given_name(struct scan *s, const struct vmi_copy *vma, char *name, size_t size)
{
	const struct vmi_field *f = s->f;
	uint64_t given = vmi_copied(s->w, vma, &f[ANON_NAME]);

	return given && f[ANON_NAME_TEXT].present &&
	       vmi_text(s->w, given + f[ANON_NAME_TEXT].offset, name, size) >= 0;
}

/* An area without a file: get_vma_name(). "" = none. */
static void pseudo_name(struct scan *s, const struct vmi_copy *vma, char *name, size_t size)
{
	const struct vmi_field *f = s->f;
	uint64_t start = vmi_copied(s->w, vma, &f[START]), end = vmi_copied(s->w, vma, &f[END]);
	char text[128];

	name[0] = 0;
	if (special_name(s, vma, name, size))
		return;
	if (!vmi_copied(s->w, vma, &f[MM]))
		snprintf(name, size, "[vdso]");
	else if (start < s->brk && end > s->start_brk)
		snprintf(name, size, "[heap]");
	else if (start <= s->stack && end >= s->stack)
		snprintf(name, size, "[stack]");
	else if (given_name(s, vma, text, sizeof(text)))
		snprintf(name, size, "[anon:%s]", text);
}

static void load_file(struct scan *s, uint64_t file)
{
	const struct vmi_field *f = s->f;
	uint64_t inode = vmi_val(s->w, file, &f[F_INODE]);

	if (file == s->file)
		return;
	s->file = file;
	s->ino = vmi_val(s->w, inode, &f[I_INO]);
	s->dev = (uint32_t)vmi_val(s->w, vmi_val(s->w, inode, &f[I_SB]), &f[S_DEV]);
	s->path_len = vmi_wants(s->r, COL_PATH) || vmi_wants(s->r, COL_PSEUDO)
			      ? vmi_file_path(s->w, file, 0, s->path, sizeof(s->path))
			      : 0;
}

/* ----------------------------------------------------------------------------------------- rows */

static void file_columns(struct scan *s, const struct vmi_copy *vma, uint64_t file)
{
	const struct vmi_field *f = s->f;
	char text[128];

	load_file(s, file);
	vmi_int(s->r, COL_OFFSET, (int64_t)(vmi_copied(s->w, vma, &f[PGOFF]) * GUEST_PAGE));
	vmi_strf(s->r, COL_DEVICE, "%02x:%02x", s->dev >> MINOR_BITS,
		 s->dev & ((1u << MINOR_BITS) - 1));
	vmi_int(s->r, COL_INODE, (int64_t)s->ino);
	vmi_int(s->r, COL_PSEUDO, !s->ino && s->path_len > 0);
	/* until 6.1 the name shares its place with what areas of files need */
	if (f[ANON_NAME].offset != f[SHARED].offset && given_name(s, vma, text, sizeof(text)))
		vmi_strf(s->r, COL_PATH, "[anon_shmem:%s]", text);
	else if (s->path_len >= 0)
		vmi_strn(s->r, COL_PATH, s->path, (size_t)s->path_len);
}

static bool row(struct scan *s, const struct vmi_copy *vma)
{
	const struct vmi_field *f = s->f;
	uint64_t flags = vmi_copied(s->w, vma, &f[FLAGS]), file = vmi_copied(s->w, vma, &f[FILE_]);
	char name[160], perms[5];

	vmi_row(s->r);
	vmi_int(s->r, COL_PID, s->t->pid);
	vmi_strf(s->r, COL_START, "0x%08" PRIx64, vmi_copied(s->w, vma, &f[START]));
	vmi_strf(s->r, COL_END, "0x%08" PRIx64, vmi_copied(s->w, vma, &f[END]));
	snprintf(perms, sizeof(perms), "%c%c%c%c", flags & VM_READ ? 'r' : '-',
		 flags & VM_WRITE ? 'w' : '-', flags & VM_EXEC ? 'x' : '-',
		 flags & VM_MAYSHARE ? 's' : 'p');
	vmi_str(s->r, COL_PERMISSIONS, perms);
	if (file) {
		file_columns(s, vma, file);
	} else {
		pseudo_name(s, vma, name, sizeof(name));
		vmi_int(s->r, COL_OFFSET, 0);
		vmi_str(s->r, COL_DEVICE, "00:00");
		vmi_int(s->r, COL_INODE, 0);
		vmi_int(s->r, COL_PSEUDO, name[0] != 0);
		vmi_str(s->r, COL_PATH, name);
	}
	vmi_task_witness(&s->tasks, s->t);
	vmi_witness(s->w, vma->base + f[START].offset, 8, vmi_copied(s->w, vma, &f[START]));
	vmi_witness(s->w, vma->base + f[END].offset, 8, vmi_copied(s->w, vma, &f[END]));
	return vmi_row_end(s->r);
}

static int load_area(struct scan *s, uint64_t vma, struct vmi_copy *c)
{
	return vmi_copy(s->w, vma, s->f, VMA, c);
}

static bool areas_in_tree(struct scan *s)
{
	struct vmi_maple m;
	struct vmi_copy c;
	uint64_t first, last, vma;

	vmi_maple_start(&m, s->w, s->t->mm + s->f[MAPLE].offset, "mm_struct.mm_mt");
	while (vmi_maple_next(&m, &first, &last, &vma)) {
		if (load_area(s, vma, &c)) {
			vmi_walk_stop(s->w, VMI_STOP_FAULT, "vm_area_struct");
			continue;
		}
		/* the tree and the area must agree, or one of them changed */
		if (vmi_copied(s->w, &c, &s->f[START]) != first ||
		    vmi_copied(s->w, &c, &s->f[END]) != last + 1)
			s->w->torn = true;
		if (row(s, &c))
			return true;
	}
	return false;
}

/* Sorted by address: one that does not go on behind its predecessor is where the list is broken. */
static bool areas_in_list(struct scan *s)
{
	uint64_t vma = vmi_val(s->w, s->t->mm, &s->f[MMAP]), end = 0;
	struct vmi_copy c;

	for (unsigned int n = 0; vma; n++) {
		if (n == AREAS_MAX) {
			vmi_walk_stop(s->w, VMI_STOP_LENGTH, "vm_area_struct.vm_next");
			return false;
		}
		if (load_area(s, vma, &c)) {
			vmi_walk_stop(s->w, VMI_STOP_FAULT, "vm_area_struct.vm_next");
			return false;
		}
		if (vmi_copied(s->w, &c, &s->f[START]) < end ||
		    vmi_copied(s->w, &c, &s->f[END]) <= vmi_copied(s->w, &c, &s->f[START])) {
			vmi_walk_stop(s->w, VMI_STOP_CYCLE, "vm_area_struct.vm_next");
			return false;
		}
		end = vmi_copied(s->w, &c, &s->f[END]);
		if (row(s, &c))
			return true;
		vma = vmi_val(s->w, vma, &s->f[NEXT]);
	}
	return false;
}

/* The page of old system calls is mapped into all processes, and belongs to none. */
static bool gate(struct scan *s)
{
	struct vmi_copy c;
	uint64_t mode;

	if (!s->gate || vmi_uint(s->w, vmi_sym(s->w->guest, "vsyscall_mode"), 4, &mode) ||
	    mode == VSYSCALL_NONE || !(vmi_val(s->w, s->t->mm, &s->f[CONTEXT]) & HAS_VSYSCALL) ||
	    load_area(s, s->gate, &c))
		return false;
	vmi_row(s->r);
	vmi_int(s->r, COL_PID, s->t->pid);
	vmi_strf(s->r, COL_START, "0x%08" PRIx64, vmi_copied(s->w, &c, &s->f[START]));
	vmi_strf(s->r, COL_END, "0x%08" PRIx64, vmi_copied(s->w, &c, &s->f[END]));
	vmi_str(s->r, COL_PERMISSIONS,
		vmi_copied(s->w, &c, &s->f[FLAGS]) & VM_READ ? "r-xp" : "--xp");
	vmi_int(s->r, COL_OFFSET, 0);
	vmi_str(s->r, COL_DEVICE, "00:00");
	vmi_int(s->r, COL_INODE, 0);
	vmi_str(s->r, COL_PATH, "[vsyscall]");
	vmi_int(s->r, COL_PSEUDO, 1);
	vmi_task_witness(&s->tasks, s->t);
	return vmi_row_end(s->r);
}

static bool process(struct scan *s, const struct vmi_task *t)
{
	s->t = t;
	s->start_brk = vmi_val(s->w, t->mm, &s->f[START_BRK]);
	s->brk = vmi_val(s->w, t->mm, &s->f[BRK]);
	s->stack = vmi_val(s->w, t->mm, &s->f[STACK]);
	vmi_witness_reset(s->w);
	if (s->f[MAPLE].present ? areas_in_tree(s) : areas_in_list(s))
		return true;
	return gate(s);
}

static int scan(struct scan *s)
{
	struct vmi_task t;
	int err = vmi_tasks_start_wanted(&s->tasks, s->r, false, COL_PID);

	if (err)
		return err;
	s->f = vmi_layout(s->w->guest, paths, FIELDS);
	if (!s->f)
		return -ENOMEM;
	if (!s->f[START].present || !(s->f[MAPLE].present || s->f[MMAP].present))
		return vmi_rows_error(s->r, "the guest's types have no areas of processes");
	s->special_name = vmi_sym(s->w->guest, "special_mapping_name");
	s->gate = vmi_sym(s->w->guest, "gate_vma");
	while (vmi_tasks_next(&s->tasks, &t))
		if (t.mm && process(s, &t))
			break;
	return 0;
}

static int rows(struct vmi_rows *r)
{
	struct scan *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->r = r;
	s->w = vmi_rows_walk(r);
	err = scan(s);
	free(s);
	return err;
}

const struct vmi_table vmi_table_process_memory_map = {
	.name = "process_memory_map",
	.doc = "Files and other areas that are mapped into the guest's processes.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
