/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page tables of x86-64, read a table at a time: SDM vol. 3, 4.5. */
#include <errno.h>
#include <stdlib.h>

#include "pages.h"

#define LEVELS 5
#define P      (1ull << 0)
#define PS     (1ull << 7)
#define ADDR   0x000ffffffffff000ull

struct level {
	uint64_t gpa; /* of the table that is held; 0 = none */
	uint64_t flags; /* of the entries that led there */
	uint64_t pte[512];
};

struct iter {
	struct vmi_walk *w;
	uint64_t mask;
	bool (*fn)(void *arg, const struct vmi_mapped *m);
	void *arg;
	struct vmi_mapped run; /* what grows; last < start: none */
	bool any;
	struct level level[LEVELS];
};

static bool flush(struct iter *it)
{
	bool enough = it->any && it->fn(it->arg, &it->run);

	it->any = false;
	return enough;
}

static bool mapped(struct iter *it, uint64_t at, uint64_t last, uint64_t flags)
{
	flags &= it->mask;
	if (it->any && it->run.last + 1 == at && it->run.flags == flags) {
		it->run.last = last;
		return false;
	}
	if (flush(it))
		return true;
	it->run = (struct vmi_mapped){ .start = at, .last = last, .flags = flags };
	it->any = true;
	return false;
}

static int load(struct iter *it, unsigned int level, uint64_t gpa, uint64_t flags)
{
	struct level *l = &it->level[level];
	int err;

	l->flags = flags;
	/* A table is one step, read or not: it may be in all entries of the one above it. */
	if (l->gpa == gpa)
		return vmi_step(it->w);
	err = vmi_read_phys(it->w, gpa, l->pte, sizeof(l->pte));
	l->gpa = err ? 0 : gpa;
	return err;
}

static uint64_t combine(uint64_t flags, uint64_t pte)
{
	return (flags & pte & (VMI_PAGE_WRITE | VMI_PAGE_USER)) | ((flags | pte) & VMI_PAGE_NX);
}

int vmi_mapped_each(struct vmi_walk *w, uint64_t pgd, uint64_t from, uint64_t last, uint64_t mask,
		    bool (*fn)(void *arg, const struct vmi_mapped *m), void *arg)
{
	unsigned int top = w->guest->la57 ? 4 : 3, level = top;
	uint64_t at = from & ~0xfffull;
	struct iter *it = calloc(1, sizeof(*it));
	int err;

	if (!it)
		return -ENOMEM;
	it->w = w;
	it->mask = mask;
	it->fn = fn;
	it->arg = arg;
	err = load(it, top, pgd & ADDR, VMI_PAGE_WRITE | VMI_PAGE_USER);
	while (!err && at <= last) {
		const struct level *l = &it->level[level];
		unsigned int shift = 12 + 9 * level;
		uint64_t pte = l->pte[at >> shift & 511], size = 1ull << shift;
		uint64_t end = (at & ~(size - 1)) + (size - 1);

		if (pte & P && level && !(pte & PS)) {
			/* A table that cannot be read maps nothing. */
			if (!load(it, level - 1, pte & ADDR, combine(l->flags, pte))) {
				level--;
				continue;
			}
			if (w->stop) {
				err = -ETIME;
				break;
			}
		} else if (pte & P &&
			   mapped(it, at, end < last ? end : last, combine(l->flags, pte))) {
			free(it);
			return 0;
		}
		if (end >= last)
			break;
		at = end + 1;
		/* Up, as far as the next address begins a new entry there. */
		while (level < top && !(at >> (12 + 9 * level) & 511))
			level++;
	}
	if (!err)
		flush(it);
	free(it);
	return err;
}
