/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is open is what open_fds[] says: a bit a descriptor. A set bit without a file is one that an
 * open(2) has reserved and not installed yet; /proc does not show it either.
 */
#include "fds.h"

enum { FILES, FDT, MAX_FDS, FD, OPEN_FDS, FIELDS };

static const char *const paths[FIELDS] = {
	[FILES] = "task_struct.files",	 [FDT] = "files_struct.fdt",
	[MAX_FDS] = "fdtable.max_fds",	 [FD] = "fdtable.fd",
	[OPEN_FDS] = "fdtable.open_fds",
};

#define WHERE	 "fdtable"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

bool vmi_fds_start(struct vmi_fds *f, struct vmi_walk *w, const struct vmi_task *t)
{
	const struct vmi_field *l = vmi_layout(w->guest, paths, FIELDS);
	uint64_t files, fdt, max;

	*f = (struct vmi_fds){ .w = w };
	if (!l)
		return false;
	files = vmi_val(w, t->gva, &l[FILES]);
	if (!files)
		return false;
	fdt = vmi_val(w, files, &l[FDT]);
	if (!fdt || vmi_get(w, fdt, &l[MAX_FDS], &max) || vmi_get(w, fdt, &l[FD], &f->table) ||
	    vmi_get(w, fdt, &l[OPEN_FDS], &f->bitmap)) {
		vmi_walk_stop(w, VMI_STOP_FAULT, WHERE);
		return false;
	}
	if (max > VMI_FDS_MAX) {
		vmi_walk_stop(w, VMI_STOP_LENGTH, "fdtable.max_fds");
		max = VMI_FDS_MAX;
	}
	f->max = (uint32_t)max;
	return true;
}

/* The next word of the bitmap, of which COUNT(words) are read at a time. */
static bool next_word(struct vmi_fds *f, uint64_t *out)
{
	uint32_t words = (f->max + 63) / 64, at = f->word - f->words_from;

	if (f->word >= words)
		return false;
	if (at >= f->words_n) {
		f->words_from = f->word;
		f->words_n = words - f->word;
		if (f->words_n > COUNT(f->words))
			f->words_n = COUNT(f->words);
		at = 0;
		if (vmi_read(f->w, f->bitmap + 8ull * f->word, f->words, 8ull * f->words_n)) {
			vmi_walk_stop(f->w, VMI_STOP_FAULT, "fdtable.open_fds");
			return false;
		}
	}
	*out = f->words[at];
	return true;
}

/* The pointers of the descriptors that the word says are open, up to the last of them. */
static bool read_files(struct vmi_fds *f)
{
	unsigned int last = 63 - (unsigned int)__builtin_clzll(f->open);

	if (!vmi_read(f->w, f->table + 512ull * f->word, f->files, 8ull * (last + 1)))
		return true;
	vmi_walk_stop(f->w, VMI_STOP_FAULT, "fdtable.fd");
	return false;
}

bool vmi_fds_next(struct vmi_fds *f, struct vmi_fd *out)
{
	for (;;) {
		while (f->open) {
			unsigned int bit = (unsigned int)__builtin_ctzll(f->open);

			f->open &= f->open - 1;
			out->fd = 64 * (f->word - 1) + bit;
			out->file = f->files[bit];
			out->slot = f->table + 8ull * out->fd;
			if (out->file)
				return true;
		}
		if (!next_word(f, &f->open))
			return false;
		if (f->open && !read_files(f))
			return false;
		f->word++;
	}
}
