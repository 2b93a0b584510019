/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which kernel is this? Found without knowing anything about it:
 *
 *   1. A page table: of a vCPU (CR3), or, without registers, the one that VMCOREINFO names. It maps
 * the kernel's image at or above __START_KERNEL_map (Linux: Documentation/arch/x86/x86_64/mm.rst).
 *   2. In the image: kallsyms, and through it everything else.
 *   3. Two witnesses: init_mm's own page table maps the image to the same place, and init_task is
 *      what the first task of a Linux is. Where vCPUs' registers are known, their page tables must
 *      share the kernel's half.
 */
#include "guest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "layout.h"

#define START_KERNEL_MAP 0xffffffff80000000ull
#define IMAGE_LIMIT	 0xffffffffc0000000ull /* modules begin here */
#define TEXT_LINKED	 0xffffffff81000000ull /* CONFIG_PHYSICAL_START is 16 MiB wherever distributed */
#define PMD		 (2ull << 20)
#define IMAGE_MAX	 (256ull << 20)
#define BTF_MAX		 (64u << 20)
#define CPUS_MAX	 8192
#define CR4_LA57	 (1ull << 12)
#define PTE_ADDR	 0x000ffffffffff000ull
#define PAGE		 4096

static const struct vmi_budget find_budget = {
	.steps = 64u << 20,
	.bytes = 4ull << 30,
	.ns = 10ull * 1000 * 1000 * 1000,
};

uint64_t vmi_sym(const struct vmi_guest *g, const char *name)
{
	return g->symbols ? vmi_symbol_addr(g->symbols, name) : 0;
}

int vmi_field(const struct vmi_guest *g, const char *path, struct vmi_field *out)
{
	if (g->types)
		return vmi_types_field(g->types, path, out);
	memset(out, 0, sizeof(*out));
	return -ENOENT;
}

uint64_t vmi_phys_to_virt(const struct vmi_guest *g, uint64_t gpa)
{
	return g->page_offset ? g->page_offset + gpa : 0;
}

uint64_t vmi_page_to_phys(const struct vmi_guest *g, uint64_t page_gva)
{
	uint32_t size = g->types ? vmi_types_size(g->types, "page") : 0;

	if (!size || !g->vmemmap_start || page_gva < g->vmemmap_start)
		return 0;
	return (page_gva - g->vmemmap_start) / size * PAGE;
}

/* ----------------------------------------------------------------------------------------- the
 * image */

struct image {
	uint64_t pgd, start, end;
};

/* The mapped part between __START_KERNEL_map and the modules, as this page table has it. */
static bool find_image(struct vmi_walk *w, uint64_t pgd, struct image *im)
{
	uint64_t gpa, left;

	memset(im, 0, sizeof(*im));
	for (uint64_t at = START_KERNEL_MAP; at < IMAGE_LIMIT; at += PMD) {
		if (vmi_translate(w, pgd, at, &gpa, &left, NULL))
			continue;
		if (!im->start)
			im->start = at;
		if (at - im->start >= IMAGE_MAX)
			break;
		im->end = at + PMD;
	}
	im->pgd = pgd;
	return im->start && !vmi_translate(w, pgd, im->start, &gpa, &left, NULL);
}

/* The text after `key` in VMCOREINFO, as a number; hexadecimal where the kernel writes it so. */
static bool info_number(const char *info, const char *key, int base, uint64_t *out)
{
	size_t n = strlen(key);

	for (const char *p = info; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (!strncmp(p, key, n)) {
			*out = strtoull(p + n, NULL, base);
			return true;
		}
		if (!*p)
			break;
	}
	return false;
}

static void info_kallsyms(const char *info, struct vmi_kallsyms *at)
{
	const struct {
		const char *key;
		uint64_t *to;
	} keys[] = {
		{ "SYMBOL(kallsyms_names)=", &at->names },
		{ "SYMBOL(kallsyms_num_syms)=", &at->num_syms },
		{ "SYMBOL(kallsyms_token_table)=", &at->token_table },
		{ "SYMBOL(kallsyms_token_index)=", &at->token_index },
		{ "SYMBOL(kallsyms_offsets)=", &at->offsets },
		{ "SYMBOL(kallsyms_relative_base)=", &at->relative_base },
	};

	memset(at, 0, sizeof(*at));
	for (size_t i = 0; info && i < sizeof(keys) / sizeof(keys[0]); i++)
		info_number(info, keys[i].key, 16, keys[i].to);
}

/* The page table that VMCOREINFO names. */
static bool image_of_info(struct vmi_walk *w, const char *info, struct image *im)
{
	uint64_t swapper, base = 0, la57 = 0;

	if (!info || !info_number(info, "SYMBOL(swapper_pg_dir)=", 16, &swapper) ||
	    swapper < START_KERNEL_MAP)
		return false;
	info_number(info, "NUMBER(phys_base)=", 10, &base);
	info_number(info, "NUMBER(pgtable_l5_enabled)=", 10, &la57);
	w->guest->la57 = la57 != 0;
	return find_image(w, swapper - START_KERNEL_MAP + base, im);
}

static bool image_of_vcpus(struct vmi_walk *w, struct image *im)
{
	const struct vmi_target *t = w->guest->target;

	for (size_t i = 0; i < t->n_vcpus; i++) {
		const struct vmi_vcpu *c = &t->vcpus[i];

		if (!(c->known & VMI_REG_CR) || !(c->cr3 & PTE_ADDR))
			continue;
		w->guest->la57 = c->cr4 & CR4_LA57;
		/* With page table isolation the user's half of the pair is the upper page. */
		if (find_image(w, c->cr3 & PTE_ADDR & ~(uint64_t)PAGE, im) ||
		    find_image(w, c->cr3 & PTE_ADDR, im))
			return true;
	}
	return false;
}

/*
 * Without registers and a note: the page that kernel/vmcore_info.c (crash_core.c) fills. It begins
 * with "OSRELEASE=". Each page of RAM is looked at, so this takes the longer the larger the guest
 * is.
 */
static bool image_of_scan(struct vmi_walk *w, struct image *im)
{
	static const char magic[] = "OSRELEASE=";
	size_t n;
	const struct vmi_region *v = vmi_mem_regions(w->guest->mem, &n);

	for (size_t i = 0; i < n; i++) {
		for (uint64_t at = 0; at + PAGE <= v[i].bytes; at += PAGE) {
			char head[sizeof(magic) - 1], info[PAGE + 1];
			int err = vmi_read_phys(w, v[i].gpa + at, head, sizeof(head));

			if (err == -ETIME)
				return false;
			if (err || memcmp(head, magic, sizeof(head)) ||
			    vmi_read_phys(w, v[i].gpa + at, info, PAGE))
				continue;
			info[PAGE] = 0;
			if (image_of_info(w, info, im))
				return true;
		}
	}
	return false;
}

/* --------------------------------------------------------------------------------- what is in the
 * image */

static void take_banner(struct vmi_guest *g, const char *text)
{
	static const char magic[] = "Linux version ";
	size_t n = sizeof(magic) - 1, len;

	if (strncmp(text, magic, n))
		return;
	len = strcspn(text, "\n");
	if (len >= sizeof(g->banner))
		len = sizeof(g->banner) - 1;
	memcpy(g->banner, text, len);
	g->banner[len] = 0;
	len = strcspn(g->banner + n, " ");
	if (len >= sizeof(g->release))
		len = sizeof(g->release) - 1;
	memcpy(g->release, g->banner + n, len);
	g->release[len] = 0;
	sscanf(g->release, "%u.%u", &g->version[0], &g->version[1]);
}

/* Without symbols: the first text in the image that looks like one. */
static void search_banner(struct vmi_walk *w, const struct image *im)
{
	static const char magic[] = "Linux version ";
	enum { STEP = 65536, OVER = 512 };
	char *buf = malloc(STEP + OVER + 1);

	for (uint64_t at = im->start; buf && at < im->end; at += STEP) {
		char *hit;

		memset(buf, 0, STEP + OVER + 1);
		for (unsigned int p = 0; p < STEP + OVER; p += PAGE / 8)
			vmi_read(w, at + p, buf + p, PAGE / 8);
		hit = memmem(buf, STEP + sizeof(magic), magic, sizeof(magic) - 1);
		/* A release follows, not a format. */
		if (hit && hit[sizeof(magic) - 1] >= '0' && hit[sizeof(magic) - 1] <= '9') {
			take_banner(w->guest, hit);
			break;
		}
	}
	free(buf);
}

static uint64_t read_symbol(struct vmi_walk *w, const char *name, unsigned int size)
{
	uint64_t at = vmi_sym(w->guest, name), v;

	return !at || vmi_uint(w, at, size, &v) ? 0 : v;
}

static void find_layout(struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest;
	uint64_t info = read_symbol(w, "vmcoreinfo_data", 8), cpus;
	char text[PAGE + 1];

	g->page_offset = read_symbol(w, "page_offset_base", 8);
	g->vmalloc_start = read_symbol(w, "vmalloc_base", 8);
	g->vmemmap_start = read_symbol(w, "vmemmap_base", 8);
	/* Without CONFIG_RANDOMIZE_MEMORY: where mm.rst says. */
	if (!g->page_offset)
		g->page_offset = g->la57 ? 0xff11000000000000ull : 0xffff888000000000ull;
	if (!g->vmalloc_start)
		g->vmalloc_start = g->la57 ? 0xffa0000000000000ull : 0xffffc90000000000ull;
	if (!g->vmemmap_start)
		g->vmemmap_start = g->la57 ? 0xffd4000000000000ull : 0xffffea0000000000ull;
	cpus = read_symbol(w, "nr_cpu_ids", 4);
	g->cpus = !cpus || cpus > CPUS_MAX
			  ? (g->target->n_vcpus ? (unsigned int)g->target->n_vcpus : 1)
			  : (unsigned int)cpus;
	g->kaslr_offset = g->text - TEXT_LINKED;
	if (info && vmi_text(w, info, text, sizeof(text)) > 0)
		info_number(text, "KERNELOFFSET=", 16, &g->kaslr_offset);
}

/* The ELF notes of the image: NT_GNU_BUILD_ID of "GNU". */
static void find_build_id(struct vmi_walk *w)
{
	uint64_t at = vmi_sym(w->guest, "__start_notes"), end = vmi_sym(w->guest, "__stop_notes");
	uint32_t head[3];

	while (at && at < end && end - at >= sizeof(head) && end - at < 65536 &&
	       !vmi_read(w, at, head, sizeof(head))) {
		uint64_t name = at + sizeof(head), desc = name + ((head[0] + 3ull) & ~3ull);
		uint8_t id[20];
		char owner[4];

		if (head[0] == 4 && head[1] == sizeof(id) && head[2] == 3 &&
		    !vmi_read(w, name, owner, 4) && !memcmp(owner, "GNU", 4) &&
		    !vmi_read(w, desc, id, sizeof(id))) {
			for (unsigned int i = 0; i < sizeof(id); i++)
				sprintf(w->guest->build_id + 2 * i, "%02x", id[i]);
			return;
		}
		at = desc + ((head[1] + 3ull) & ~3ull);
	}
}

/* ----------------------------------------------------------------------------------------
 * witnesses */

/* How many vCPUs' page tables share the kernel's half with init_mm's; `of`: how many are known. */
static unsigned int agreeing_vcpus(struct vmi_walk *w, unsigned int *of)
{
	const struct vmi_target *t = w->guest->target;
	unsigned int agree = 0;
	uint64_t ours;

	*of = 0;
	/* The last entry maps the image; the accessed bit may differ. */
	if (vmi_read_phys(w, w->guest->pgd + 511 * 8, &ours, 8))
		return 0;
	for (size_t i = 0; i < t->n_vcpus; i++) {
		uint64_t theirs;

		if (!(t->vcpus[i].known & VMI_REG_CR) || !(t->vcpus[i].cr3 & PTE_ADDR))
			continue;
		++*of;
		if (!vmi_read_phys(w, (t->vcpus[i].cr3 & PTE_ADDR & ~(uint64_t)PAGE) + 511 * 8,
				   &theirs, 8) &&
		    !((ours ^ theirs) & PTE_ADDR))
			agree++;
	}
	return agree;
}

/* init_mm's page table maps the image to where it was found, and the direct map is one. */
static bool page_table_agrees(struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest;
	uint64_t gpa, left;

	return !vmi_translate(w, g->pgd, g->text, &gpa, &left, NULL) &&
	       gpa == g->text - START_KERNEL_MAP + g->phys_base &&
	       !vmi_translate(w, g->pgd, vmi_phys_to_virt(g, g->pgd), &gpa, &left, NULL) &&
	       gpa == g->pgd;
}

/* The first task: "swapper" or "swapper/0", pid 0, its own parent. */
static bool init_task_agrees(struct vmi_walk *w)
{
	struct vmi_field comm, pid, parent;
	uint64_t task = vmi_sym(w->guest, "init_task"), v;
	char name[16];

	return task && !vmi_field(w->guest, "task_struct.comm", &comm) &&
	       !vmi_field(w->guest, "task_struct.pid", &pid) &&
	       !vmi_field(w->guest, "task_struct.real_parent", &parent) &&
	       vmi_text_field(w, task, &comm, name, sizeof(name)) > 0 &&
	       (!strcmp(name, "swapper") || !strcmp(name, "swapper/0")) &&
	       !vmi_get(w, task, &pid, &v) && !v && !vmi_get(w, task, &parent, &v) && v == task;
}

/* -------------------------------------------------------------------------------------------
 * opening */

static int load_types(struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest;
	uint64_t start = vmi_sym(g, "__start_BTF"), end = vmi_sym(g, "__stop_BTF");
	void *blob;
	int err;

	if (!start || end <= start || end - start > BTF_MAX)
		return -ENOENT;
	blob = malloc(end - start);
	if (!blob)
		return -ENOMEM;
	err = vmi_read(w, start, blob, end - start);
	if (!err)
		err = vmi_types_open(&g->types, blob, end - start, NULL);
	free(blob);
	return err;
}

static void missing(struct vmi_guest *g, enum vmi_level level, const char *what)
{
	g->level = level;
	if (level == VMI_LEVEL_MEMORY)
		snprintf(g->missing, sizeof(g->missing), "%s; only memory_map and vcpus are of use",
			 what);
	else
		snprintf(g->missing, sizeof(g->missing), "found %.100s, but %s",
			 g->release[0] ? g->release : "a Linux", what);
}

/* Symbols, layout, types, witnesses: as far as it goes. -ENOMEM or 0. */
static int understand(struct vmi_walk *w, const struct image *im, const char *info)
{
	struct vmi_guest *g = w->guest;
	struct vmi_kallsyms at;
	unsigned int agree, of;
	char why[160] = "", text[512];
	uint64_t gpa, left;
	int err;

	g->pgd = im->pgd;
	g->text = im->start;
	g->image_end = im->end;
	vmi_translate(w, g->pgd, g->text, &gpa, &left, NULL);
	g->phys_base = gpa - (g->text - START_KERNEL_MAP);
	info_kallsyms(info, &at);
	err = vmi_symbols_open(&g->symbols, w, &at, im->start, im->end, why, sizeof(why));
	if (err == -ENOMEM)
		return err;
	if (err) {
		search_banner(w, im);
		missing(g, g->banner[0] ? VMI_LEVEL_BANNER : VMI_LEVEL_MEMORY,
			g->banner[0] ? "its symbols (kallsyms) were not"
				     : "a kernel's image is mapped, but it is no Linux that is "
				       "known here");
		return 0;
	}
	if (vmi_text(w, vmi_sym(g, "linux_banner"), text, sizeof(text)) > 0)
		take_banner(g, text);
	if (vmi_sym(g, "_text"))
		g->text = vmi_sym(g, "_text");
	if (vmi_sym(g, "_end"))
		g->image_end = vmi_sym(g, "_end");
	if (vmi_sym(g, "init_top_pgt"))
		g->pgd = vmi_sym(g, "init_top_pgt") - START_KERNEL_MAP + g->phys_base;
	find_layout(w);
	find_build_id(w);
	if (!page_table_agrees(w)) {
		missing(g, VMI_LEVEL_BANNER,
			"its own page table does not map it where it was found");
		return 0;
	}
	agree = agreeing_vcpus(w, &of);
	if (of && !agree) {
		missing(g, VMI_LEVEL_BANNER, "no vCPU uses its page tables: it may be a decoy");
		return 0;
	}
	err = load_types(w);
	if (err == -ENOMEM)
		return err;
	if (err) {
		missing(g, VMI_LEVEL_SYMBOLS,
			err == -ENOENT ? "its kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"
				       : "its BTF is damaged");
		return 0;
	}
	if (!init_task_agrees(w)) {
		vmi_types_close(g->types);
		g->types = NULL;
		missing(g, VMI_LEVEL_SYMBOLS,
			"its first task is none by its types: these are a decoy");
		return 0;
	}
	g->level = VMI_LEVEL_TYPES;
	snprintf(g->evidence, sizeof(g->evidence),
		 "init_mm's page table maps the image to where it was found; init_task is the idle "
		 "task "
		 "by its types; page tables of %u of %u vCPUs share the kernel's half; kallsyms: "
		 "%.150s",
		 agree, of, vmi_symbols_layout(g->symbols));
	return 0;
}

int vmi_guest_open(struct vmi_guest **out, struct vmi_target *t, struct vmi_mem *mem,
		   struct vmi_error *err)
{
	struct vmi_guest *g = calloc(1, sizeof(*g));
	struct vmi_walk *w = malloc(sizeof(*w));
	struct image im;
	int ret = 0;

	*out = NULL;
	err->text[0] = 0;
	if (!g || !w) {
		free(g);
		free(w);
		snprintf(err->text, sizeof(err->text), "no memory");
		return -ENOMEM;
	}
	g->target = t;
	g->mem = mem;
	g->cpus = 1;
	vmi_walk_start(w, g, &find_budget);
	if (image_of_vcpus(w, &im) || image_of_info(w, t->vmcoreinfo, &im) || image_of_scan(w, &im))
		ret = understand(w, &im, t->vmcoreinfo);
	else
		missing(g, VMI_LEVEL_MEMORY,
			"no Linux kernel was found in this guest's memory (other systems, Windows "
			"among them, are not supported)");
	free(w);
	if (ret) {
		snprintf(err->text, sizeof(err->text),
			 "no memory for the guest's symbols and types");
		vmi_guest_close(g);
		return ret;
	}
	*out = g;
	return 0;
}

void vmi_guest_close(struct vmi_guest *g)
{
	if (!g)
		return;
	vmi_layouts_free(g);
	vmi_symbols_close(g->symbols);
	vmi_types_close(g->types);
	free(g);
}
