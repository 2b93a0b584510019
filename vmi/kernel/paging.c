/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page tables of x86-64, 4 and 5 levels: SDM vol. 3, 4.5. */
#include <errno.h>

#include "walk.h"

#define P	 (1ull << 0)
#define PS	 (1ull << 7)
#define PROTNONE (1ull << 8) /* with P clear: arch/x86/include/asm/pgtable_types.h */
#define ADDR	 0x000ffffffffff000ull
#define VALID	 (1ull << 63)

static struct vmi_tlb_entry *slot_of(struct vmi_tlb_entry *tlb, uint64_t pgd, uint64_t number)
{
	uint64_t h = (number ^ pgd >> 12) * 0x9e3779b97f4a7c15ull;

	return &tlb[h >> 32 & (VMI_TLB - 1)];
}

static bool cached(struct vmi_tlb_entry *tlb, unsigned int shift, uint64_t pgd, uint64_t gva,
		   uint64_t *gpa, uint64_t *left, uint64_t *flags)
{
	const struct vmi_tlb_entry *e = slot_of(tlb, pgd, gva >> shift);
	uint64_t in = gva & ((1ull << shift) - 1);

	if (e->page != (gva >> shift | VALID) || e->pgd != pgd)
		return false;
	*gpa = e->gpa + in;
	*left = (1ull << shift) - in;
	if (flags)
		*flags = e->flags;
	return true;
}

/*
 * Of an entry whose P bit is clear: Linux keeps the page of a PROT_NONE mapping there, with the
 * address inverted so that no speculation reaches it (pgtable-invert.h).
 */
static bool leaf_of_none(uint64_t *pte, unsigned int level)
{
	if (!(*pte & PROTNONE) || level > 1 || (level == 1 && !(*pte & PS)))
		return false;
	*pte ^= ADDR;
	return true;
}

static int read_entry(struct vmi_walk *w, uint64_t table, unsigned int i, uint64_t *pte)
{
	const struct vmi_guest *g = w->guest;

	if (i == 511 && g->pgd_last && table == g->pgd) {
		*pte = g->pgd_last;
		return vmi_step(w);
	}
	return vmi_read_phys(w, table + i * 8, pte, 8);
}

int vmi_translate(struct vmi_walk *w, uint64_t pgd, uint64_t gva, uint64_t *gpa, uint64_t *left,
		  uint64_t *flags)
{
	unsigned int levels = w->guest->la57 ? 5 : 4, bits = 12 + 9 * levels;
	int64_t upper = (int64_t)gva >> (bits - 1);
	uint64_t all = VMI_PAGE_WRITE | VMI_PAGE_USER, table = pgd & ADDR;

	if (upper != 0 && upper != -1)
		return -EFAULT;
	if (cached(w->tlb_large, 21, pgd, gva, gpa, left, flags) ||
	    cached(w->tlb, 12, pgd, gva, gpa, left, flags))
		return 0;
	for (unsigned int level = levels; level--;) {
		unsigned int shift = 12 + 9 * level;
		uint64_t pte, size = 1ull << shift;
		struct vmi_tlb_entry *e;
		bool large;
		int err = read_entry(w, table, gva >> shift & 511, &pte);

		if (err)
			return err;
		if (!(pte & P) && !leaf_of_none(&pte, level))
			return -EFAULT;
		all = (all & pte & (VMI_PAGE_WRITE | VMI_PAGE_USER)) | ((all | pte) & VMI_PAGE_NX);
		table = pte & ADDR;
		if (level && !(pte & PS))
			continue;
		if (level > 2)
			return -EFAULT; /* PS is reserved there */
		/* Of a large page the low address bits are others' (PAT) or reserved. */
		table &= ~(size - 1);
		*gpa = table + (gva & (size - 1));
		*left = size - (gva & (size - 1));
		if (flags)
			*flags = all;
		large = level > 0;
		shift = large ? 21 : 12;
		e = slot_of(large ? w->tlb_large : w->tlb, pgd, gva >> shift);
		e->pgd = pgd;
		e->page = gva >> shift | VALID;
		e->gpa = *gpa & ~((1ull << shift) - 1);
		e->flags = all;
		return 0;
	}
	return -EFAULT;
}
