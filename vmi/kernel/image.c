// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where a kernel's image may be. Linux maps it at or above __START_KERNEL_map, from a multiple of
 * 2 MiB on (CONFIG_PHYSICAL_ALIGN), to physical memory in one piece; KASLR moves both, each by an
 * amount of its own (arch/x86/boot/compressed/kaslr.c). So a page table of the kernel, any
 * process's, tells where it is, and costs a look at 512 entries however much RAM there is.
 *
 * Where such a page table is known from, most trustworthy first:
 *   - The CR3 of a vCPU: the guest's kernel wrote it.
 *   - VMCOREINFO, where the guest's kernel gave it to the VMM (QEMU's device "vmcoreinfo").
 *   - Without registers: the page table that secondary CPUs start with (arch/x86/realmode/init.c).
 * Its last entry is init_mm's, and it lies below 1 MiB, which Linux gives to no process (reserved
 *     whole since 5.13 and 5.10.43).
 *   - Any page that begins as VMCOREINFO does. A process can write one, so this is the last resort.
 * None is believed for itself: guest.c asks for two witnesses.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE	    4096
#define PMD	    (2ull << 20)
#define IMAGE_LIMIT 0xffffffffc0000000ull /* modules begin here, or before (without KASLR) */
#define IMAGE_MAX   (256ull << 20)
#define IMAGE_MIN   (4ull << 20) /* text and data, in pages of 2 MiB of their own */
#define LOW_MEMORY  (1ull << 20)
#define PTE_ADDR    0x000ffffffffff000ull
#define CR0_PG	    (1ull << 31)
#define CR4_LA57    (1ull << 12)
#define EFER_LMA    (1ull << 10)
#define TRIED_MAX   16

struct finder {
	struct vmi_walk *w;
	bool (*try)(void *arg, const struct vmi_image *im);
	void *arg;
	struct vmi_image tried[TRIED_MAX];
	unsigned int n_tried;
};

bool vmi_vcpu_pages(const struct vmi_vcpu *c)
{
	if (!(c->known & VMI_REG_CR) || !(c->cr0 & CR0_PG) || !(c->cr3 & PTE_ADDR))
		return false;
	return !(c->known & VMI_REG_EFER) || c->efer & EFER_LMA;
}

/* What a walk remembers of page tables is only true for one of them, in one paging mode. */
static void translate_by(struct vmi_walk *w, const struct vmi_image *im)
{
	struct vmi_guest *g = w->guest;

	if (g->la57 == im->la57 && g->pgd == im->pgd && g->pgd_last == im->last)
		return;
	g->la57 = im->la57;
	g->pgd = im->pgd;
	g->pgd_last = im->last;
	memset(w->tlb, 0, sizeof(w->tlb));
	memset(w->tlb_large, 0, sizeof(w->tlb_large));
}

/* The first part of the upper 2 GiB that is mapped in one piece; holes of up to IMAGE_MAX in it. */
static bool mapped_image(struct vmi_walk *w, struct vmi_image *im)
{
	uint64_t gpa, left;

	translate_by(w, im);
	im->start = im->end = 0;
	for (uint64_t at = VMI_START_KERNEL_MAP; at < IMAGE_LIMIT; at += PMD) {
		if (im->start && at - im->start >= IMAGE_MAX)
			break;
		if (vmi_translate(w, im->pgd, at, &gpa, &left, NULL))
			continue;
		if (!im->start) {
			im->start = at;
			im->phys_base = gpa - (at - VMI_START_KERNEL_MAP);
		}
		if (gpa - (at - VMI_START_KERNEL_MAP) == im->phys_base)
			im->end = at + PMD;
	}
	return im->end - im->start >= IMAGE_MIN;
}

/* Of the tables that map it the first is as good as the others: the image is all below `last`. */
static bool was_tried(const struct finder *f, const struct vmi_image *im)
{
	for (unsigned int i = 0; i < f->n_tried; i++) {
		const struct vmi_image *t = &f->tried[i];

		if (t->start == im->start && t->phys_base == im->phys_base && t->end >= im->end &&
		    t->la57 == im->la57 && !((t->last ^ im->last) & PTE_ADDR))
			return true;
	}
	return false;
}

static bool try_table(struct finder *f, enum vmi_image_from from, uint64_t pgd, bool la57)
{
	struct vmi_image im = { .from = from, .pgd = pgd, .la57 = la57 };

	/* The last entry of the top table maps the upper 2 GiB in both modes. */
	if (vmi_read_phys(f->w, pgd + 511 * 8, &im.last, 8) || !(im.last & 1))
		return false;
	if (f->n_tried == TRIED_MAX || !mapped_image(f->w, &im) || was_tried(f, &im))
		return false;
	f->tried[f->n_tried++] = im;
	return f->try(f->arg, &im);
}

/*
 * With page table isolation a vCPU in user mode has the upper page of a pair as its page table,
 * which maps little or nothing of the image; the kernel's is the lower page (arch/x86/mm/pti.c).
 * Without it, the lower page is somebody else's: so it comes second.
 */
static bool try_vcpus(struct finder *f)
{
	const struct vmi_target *t = f->w->guest->target;

	for (size_t i = 0; i < t->n_vcpus; i++) {
		const struct vmi_vcpu *c = &t->vcpus[i];
		uint64_t pgd = c->cr3 & PTE_ADDR;
		bool la57 = c->cr4 & CR4_LA57;

		if (!vmi_vcpu_pages(c))
			continue;
		if (try_table(f, VMI_IMAGE_VCPU, pgd, la57) ||
		    (pgd & PAGE && try_table(f, VMI_IMAGE_VCPU, pgd - PAGE, la57)))
			return true;
	}
	return false;
}

bool vmi_image_shared(struct vmi_walk *w, const struct vmi_vcpu *c, uint64_t pgd)
{
	uint64_t ours, theirs, table = c->cr3 & PTE_ADDR;

	if (vmi_read_phys(w, pgd + 511 * 8, &ours, 8))
		return false;
	for (unsigned int half = 0; half < 2; half++, table &= ~(uint64_t)PAGE)
		/* Accessed and other bits may differ. */
		if (!vmi_read_phys(w, table + 511 * 8, &theirs, 8) && theirs & 1 &&
		    !((ours ^ theirs) & PTE_ADDR))
			return true;
	return false;
}

bool vmi_info_number(const char *info, const char *key, int base, uint64_t *out)
{
	size_t n = strlen(key);

	while (info && *info) {
		if (!strncmp(info, key, n)) {
			*out = strtoull(info + n, NULL, base);
			return true;
		}
		info = strchr(info, '\n');
		if (info)
			info++;
	}
	return false;
}

static bool try_info(struct finder *f, enum vmi_image_from from, const char *info)
{
	uint64_t swapper, base = 0, la57 = 0;

	if (!vmi_info_number(info, "SYMBOL(swapper_pg_dir)=", 16, &swapper) ||
	    swapper < VMI_START_KERNEL_MAP)
		return false;
	vmi_info_number(info, "NUMBER(phys_base)=", 10, &base);
	vmi_info_number(info, "NUMBER(pgtable_l5_enabled)=", 10, &la57);
	return try_table(f, from, (swapper - VMI_START_KERNEL_MAP + base) & PTE_ADDR, la57);
}

static bool try_trampoline(struct finder *f)
{
	for (uint64_t page = 0; page < LOW_MEMORY; page += PAGE)
		for (unsigned int la57 = 0; la57 < 2; la57++)
			if (try_table(f, VMI_IMAGE_TRAMPOLINE, page, la57))
				return true;
	return false;
}

static bool try_scan(struct finder *f)
{
	static const char magic[] = "OSRELEASE=";
	size_t n;
	const struct vmi_region *v = vmi_mem_regions(f->w->guest->mem, &n);

	for (size_t i = 0; i < n; i++) {
		uint64_t at = v[i].gpa + (-v[i].gpa & (PAGE - 1));

		for (; at - v[i].gpa + PAGE <= v[i].bytes; at += PAGE) {
			char head[sizeof(magic) - 1], info[PAGE + 1];
			int err = vmi_read_phys(f->w, at, head, sizeof(head));

			if (err == -ETIME)
				return false;
			if (err || memcmp(head, magic, sizeof(head)) ||
			    vmi_read_phys(f->w, at, info, PAGE))
				continue;
			info[PAGE] = 0;
			if (try_info(f, VMI_IMAGE_SCAN, info))
				return true;
		}
	}
	return false;
}

void vmi_image_find(struct vmi_walk *w, bool (*try)(void *arg, const struct vmi_image *im),
		    void *arg)
{
	struct finder f = { .w = w, .try = try, .arg = arg };

	if (try_vcpus(&f) || try_info(&f, VMI_IMAGE_NOTE, w->guest->target->vmcoreinfo) ||
	    try_trampoline(&f))
		return;
	try_scan(&f);
}
