// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which kernel is this? Found without knowing anything about it:
 *
 *   1. An image of a kernel that a page table maps (image.c).
 *   2. In it kallsyms (symbols.c), and through them everything else: banner, build id, init_mm's
 *page table, where the direct map, vmalloc and vmemmap are, BTF (types.c).
 *   3. Witnesses, as a copy of a kernel (a vmlinux in the page cache, memory made up by a process)
 *	has symbols and types too. init_mm's own page table must map the image to where it was
 *found, and all of RAM besides, which no file does. init_task must be what the first task of a
 *Linux is. And where registers are known, vCPUs must run on page tables that share the kernel's
 *part.
 */
#include "internal.h"
#include "layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE		4096
#define TEXT_LINKED	0xffffffff81000000ull /* CONFIG_PHYSICAL_START: 16 MiB by default */
#define CPUS_MAX	8192
#define NOTES_MAX	65536
#define TASK_MAX	(64u << 10)
#define PAGE_STRUCT_MAX 512

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
	uint64_t in = page_gva - g->vmemmap_start;

	if (!g->page_struct || !g->vmemmap_start || page_gva < g->vmemmap_start ||
	    in % g->page_struct)
		return 0;
	return in / g->page_struct * PAGE;
}

static uint64_t gpa_of_image(const struct vmi_guest *g)
{
	return g->text - VMI_START_KERNEL_MAP + g->phys_base;
}

/* -------------------------------------------------------------------------- what the image says */

static const char banner_start[] = "Linux version ";

static void take_banner(struct vmi_guest *g, const char *text)
{
	size_t n = sizeof(banner_start) - 1, len;

	if (strncmp(text, banner_start, n))
		return;
	len = strcspn(text, "\n");
	if (len >= sizeof(g->banner))
		len = sizeof(g->banner) - 1;
	for (size_t i = 0; i < len; i++)
		g->banner[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	g->banner[len] = 0;
	len = strcspn(g->banner + n, " ");
	if (len >= sizeof(g->release))
		len = sizeof(g->release) - 1;
	memcpy(g->release, g->banner + n, len);
	g->release[len] = 0;
	sscanf(g->release, "%u.%u", &g->version[0], &g->version[1]);
}

/* Without symbols: the first text in the image that looks like one, with a release in it. */
static void search_banner(struct vmi_walk *w, const struct vmi_image *im)
{
	size_t n = sizeof(banner_start) - 1;
	char buf[2 * PAGE + 1] = "";

	/* Two pages at a time: the one before may begin it. */
	for (uint64_t at = im->start; at < im->end && !w->guest->banner[0]; at += PAGE) {
		memmove(buf, buf + PAGE, PAGE);
		if (vmi_read(w, at, buf + PAGE, PAGE) == -ETIME)
			return;
		for (char *p = buf; (p = memmem(p, (size_t)(buf + 2 * PAGE - p), banner_start, n));
		     p += n) {
			if (p[n] >= '0' && p[n] <= '9' && p < buf + PAGE) {
				take_banner(w->guest, p);
				return;
			}
		}
	}
}

static uint64_t read_symbol(struct vmi_walk *w, const char *name, unsigned int size)
{
	uint64_t at = vmi_sym(w->guest, name), v;

	return !at || vmi_uint(w, at, size, &v) ? 0 : v;
}

/*
 * nr_cpu_ids, which is a constant where CONFIG_FORCE_NR_CPUS is set, and without SMP: there the
 * possible CPUs are counted. (A kernel without SMP has no __per_cpu_offset.)
 */
static unsigned int count_cpus(struct vmi_walk *w)
{
	uint64_t cpus = read_symbol(w, "nr_cpu_ids", 4);
	uint64_t mask = vmi_sym(w->guest, "__cpu_possible_mask"), word;

	if (cpus && cpus <= CPUS_MAX)
		return (unsigned int)cpus;
	if (!vmi_sym(w->guest, "__per_cpu_offset") || !mask)
		return 1;
	for (cpus = 0; cpus < CPUS_MAX; cpus += 64) {
		if (vmi_uint(w, mask + cpus / 8, 8, &word) || !word)
			break;
		if (word != UINT64_MAX)
			return (unsigned int)cpus + 64 - (unsigned int)__builtin_clzll(word);
	}
	return cpus ? (unsigned int)cpus : 1;
}

/* Without CONFIG_DYNAMIC_MEMORY_LAYOUT: where mm.rst says. */
static void find_layout(struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest;

	g->page_offset = read_symbol(w, "page_offset_base", 8);
	g->vmalloc_start = read_symbol(w, "vmalloc_base", 8);
	g->vmemmap_start = read_symbol(w, "vmemmap_base", 8);
	if (!g->page_offset)
		g->page_offset = g->la57 ? 0xff11000000000000ull : 0xffff888000000000ull;
	if (!g->vmalloc_start)
		g->vmalloc_start = g->la57 ? 0xffa0000000000000ull : 0xffffc90000000000ull;
	if (!g->vmemmap_start)
		g->vmemmap_start = g->la57 ? 0xffd4000000000000ull : 0xffffea0000000000ull;
	g->cpus = count_cpus(w);
}

/* The image was linked to somewhere that only VMCOREINFO tells. */
static void find_kaslr_offset(struct vmi_walk *w)
{
	uint64_t info = read_symbol(w, "vmcoreinfo_data", 8);
	char text[PAGE + 1];

	w->guest->kaslr_offset = w->guest->text - TEXT_LINKED;
	if (info && vmi_text(w, info, text, sizeof(text)) > 0)
		vmi_info_number(text, "KERNELOFFSET=", 16, &w->guest->kaslr_offset);
}

/* The ELF notes of the image: NT_GNU_BUILD_ID of "GNU", of 16 (--build-id=md5) or 20 bytes. */
static void find_build_id(struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest;
	uint64_t at = vmi_sym(g, "__start_notes"), end = vmi_sym(g, "__stop_notes");
	uint32_t head[3];

	if (!at || end <= at || end - at > NOTES_MAX)
		return;
	while (end - at >= sizeof(head) && !vmi_read(w, at, head, sizeof(head))) {
		uint64_t desc = at + sizeof(head) + ((head[0] + 3ull) & ~3ull);
		uint64_t next = desc + ((head[1] + 3ull) & ~3ull);
		unsigned char id[(sizeof(g->build_id) - 1) / 2];
		char owner[4];

		if (next > end)
			return;
		if (head[0] == sizeof(owner) && head[2] == 3 && head[1] <= sizeof(id) &&
		    !vmi_read(w, at + sizeof(head), owner, sizeof(owner)) &&
		    !memcmp(owner, "GNU", 4) && !vmi_read(w, desc, id, head[1])) {
			for (unsigned int i = 0; i < head[1]; i++)
				sprintf(g->build_id + 2 * i, "%02x", id[i]);
			return;
		}
		at = next;
	}
}

static int load_types(struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest;
	uint64_t start = vmi_sym(g, "__start_BTF"), end = vmi_sym(g, "__stop_BTF");
	void *blob;
	int err;

	if (!start || end <= start)
		return -ENOENT;
	if (end - start > VMI_BTF_MAX)
		return -E2BIG;
	blob = malloc(end - start);
	if (!blob)
		return -ENOMEM;
	err = vmi_read(w, start, blob, end - start);
	if (err)
		free(blob);
	else
		err = vmi_types_adopt(&g->types, blob, end - start, NULL);
	if (err)
		return err;
	g->page_struct = vmi_types_size(g->types, "page");
	if (g->page_struct > PAGE_STRUCT_MAX)
		g->page_struct = 0;
	return 0;
}

/* ------------------------------------------------------------------------------------ witnesses */

/* Of how many vCPUs are page tables known, and how many of them use one in long mode? */
static void count_vcpus(const struct vmi_target *t, unsigned int *known, unsigned int *paging)
{
	*known = *paging = 0;
	for (size_t i = 0; i < t->n_vcpus; i++) {
		*known += (t->vcpus[i].known & VMI_REG_CR) != 0;
		*paging += vmi_vcpu_pages(&t->vcpus[i]);
	}
}

/* How many vCPUs share the kernel's part of init_mm's page table? */
static unsigned int agreeing_vcpus(struct vmi_walk *w)
{
	const struct vmi_target *t = w->guest->target;
	unsigned int agree = 0;

	for (size_t i = 0; i < t->n_vcpus; i++)
		if (vmi_vcpu_pages(&t->vcpus[i]) &&
		    vmi_image_shared(w, &t->vcpus[i], w->guest->pgd))
			agree++;
	return agree;
}

/* init_mm's page table maps the image to where it was found, and itself in the direct map. */
static bool page_table_agrees(struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest;
	uint64_t gpa, left;

	return !vmi_translate(w, g->pgd, g->text, &gpa, &left, NULL) && gpa == gpa_of_image(g) &&
	       !vmi_translate(w, g->pgd, vmi_phys_to_virt(g, g->pgd), &gpa, &left, NULL) &&
	       gpa == g->pgd;
}

static bool is_swapper(const char *comm)
{
	return !strcmp(comm, "swapper") || !strcmp(comm, "swapper/0");
}

/* The first task, without types: its name is somewhere in it. */
static bool init_task_named(struct vmi_walk *w, uint64_t task)
{
	char *buf = calloc(1, TASK_MAX);
	bool found = false;

	/* How large it is, is not known: as much as can be read. */
	for (size_t n = 0; buf && n < TASK_MAX; n += PAGE / 4)
		if (vmi_read(w, task + n, buf + n, PAGE / 4))
			break;
	for (char *p = buf; buf && (p = memmem(p, (size_t)(buf + TASK_MAX - 16 - p), "swapper", 7));
	     p++)
		if (is_swapper(p))
			found = true;
	free(buf);
	return found;
}

/*
 * The first task by its types: pid 0, its own parent, and at the head of the list of all tasks,
 * which leads to init and back.
 */
static bool init_task_agrees(struct vmi_walk *w)
{
	static const char *const paths[] = { "task_struct.comm", "task_struct.pid",
					     "task_struct.real_parent", "task_struct.tasks.next",
					     "task_struct.tasks.prev" };
	enum { COMM, PID, PARENT, NEXT, PREV, FIELDS };
	uint64_t task = vmi_sym(w->guest, "init_task"), head, next, v;
	struct vmi_field f[FIELDS];
	char name[16];

	if (!task || !w->guest->types || vmi_types_fields(w->guest->types, paths, f, FIELDS))
		return false;
	if (vmi_text_field(w, task, &f[COMM], name, sizeof(name)) <= 0 || !is_swapper(name))
		return false;
	if (vmi_get(w, task, &f[PID], &v) || v || vmi_get(w, task, &f[PARENT], &v) || v != task)
		return false;
	head = task + f[NEXT].offset;
	return !vmi_get(w, task, &f[NEXT], &next) &&
	       !vmi_get(w, next - f[NEXT].offset, &f[PREV], &v) && v == head;
}

/* -------------------------------------------------------------------------------------- opening */

static const char *const froms[] = {
	[VMI_IMAGE_VCPU] = "a vCPU's page table",
	[VMI_IMAGE_NOTE] = "VMCOREINFO",
	[VMI_IMAGE_TRAMPOLINE] = "the page table that CPUs are started with",
	[VMI_IMAGE_SCAN] = "a page that looks like VMCOREINFO",
};

struct opening {
	struct vmi_target *target;
	struct vmi_mem *mem;
	struct vmi_walk *w;
	struct vmi_guest *best; /* the most that was understood */
	int err;
};

static int __attribute__((format(printf, 3, 4)))
falls_short(struct vmi_guest *g, enum vmi_level level, const char *fmt, ...)
{
	va_list ap;
	int n = 0;

	g->level = level;
	if (level > VMI_LEVEL_MEMORY)
		n = snprintf(g->missing, sizeof(g->missing), "found Linux %s, but ", g->release);
	va_start(ap, fmt);
	vsnprintf(g->missing + n, sizeof(g->missing) - (size_t)n, fmt, ap);
	va_end(ap);
	return 0;
}

static int no_symbols(struct vmi_walk *w, const struct vmi_image *im, const char *why)
{
	struct vmi_guest *g = w->guest;

	search_banner(w, im);
	if (g->banner[0])
		return falls_short(
			g, VMI_LEVEL_BANNER,
			"not its symbols: %s; only kernel_info, memory_map and vcpus work", why);
	return falls_short(
		g, VMI_LEVEL_MEMORY,
		"a kernel is mapped at 0x%" PRIx64
		", but it is no Linux that is known here (%s, no banner); only memory_map and "
		"vcpus work",
		im->start, why);
}

static int open_symbols(struct vmi_walk *w, const struct vmi_image *im, char *why, size_t size)
{
	const char *info = w->guest->target->vmcoreinfo;
	struct vmi_kallsyms at = { 0 };
	const struct {
		const char *key;
		uint64_t *to;
	} keys[] = {
		{ "SYMBOL(kallsyms_names)=", &at.names },
		{ "SYMBOL(kallsyms_num_syms)=", &at.num_syms },
		{ "SYMBOL(kallsyms_token_table)=", &at.token_table },
		{ "SYMBOL(kallsyms_token_index)=", &at.token_index },
		{ "SYMBOL(kallsyms_offsets)=", &at.offsets },
		{ "SYMBOL(kallsyms_relative_base)=", &at.relative_base },
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		vmi_info_number(info, keys[i].key, 16, keys[i].to);
	return vmi_symbols_open(&w->guest->symbols, w, &at, im->start, im->end, why, size);
}

static void read_image(struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest;
	uint64_t text = vmi_sym(g, "_text"), end = vmi_sym(g, "_end");
	/* Named swapper_pg_dir in the sources (arch/x86/include/asm/pgtable_64.h). */
	uint64_t pgd = vmi_sym(g, "init_top_pgt");
	char banner[sizeof(g->banner)];

	if (vmi_text(w, vmi_sym(g, "linux_banner"), banner, sizeof(banner)) > 0)
		take_banner(g, banner);
	if (text)
		g->text = text;
	if (end > text)
		g->image_end = end;
	if (pgd) {
		g->pgd = pgd - VMI_START_KERNEL_MAP + g->phys_base;
		g->pgd_last = 0;
	}
	find_layout(w);
	find_kaslr_offset(w);
	find_build_id(w);
}

/* The witnesses that need no types: does this kernel run, or is it a copy of one? Says why not. */
static bool runs(struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest;
	unsigned int known, paging;

	if (!page_table_agrees(w)) {
		falls_short(g, VMI_LEVEL_BANNER,
			    "its own page table does not map it to gpa 0x%" PRIx64 ", where it was "
			    "found: a copy of a kernel, not one that runs",
			    gpa_of_image(g));
		return false;
	}
	count_vcpus(g->target, &known, &paging);
	if (known && !agreeing_vcpus(w)) {
		g->no_vcpu = true;
		falls_short(g, VMI_LEVEL_BANNER,
			    "none of %u vCPUs uses its page tables (%u have paging on): a copy of "
			    "a kernel, one from before a reset, or one that runs a guest itself",
			    known, paging);
		return false;
	}
	return true;
}

static void say_evidence(struct vmi_walk *w, const struct vmi_image *im)
{
	struct vmi_guest *g = w->guest;
	unsigned int known, paging;
	char shared[64] = "no registers are known";

	count_vcpus(g->target, &known, &paging);
	if (known)
		snprintf(shared, sizeof(shared), "%u of %u vCPUs share its page tables",
			 agreeing_vcpus(w), known);
	snprintf(g->evidence, sizeof(g->evidence),
		 "found by %s; init_mm's page table maps the image to where it was found, and the "
		 "direct map; init_task is the first task by its types; %s; kallsyms: %s",
		 froms[im->from], shared, vmi_symbols_layout(g->symbols));
}

static const char *without_types(int err)
{
	switch (err) {
	case -ENOENT:
		return "it has no BTF (CONFIG_DEBUG_INFO_BTF is off)";
	case -E2BIG:
		return "its BTF is larger than 64 MiB";
	default:
		return "its BTF is damaged or cannot be read";
	}
}

/* As far as it goes; 0 or -ENOMEM. */
static int understand(struct vmi_walk *w, const struct vmi_image *im)
{
	struct vmi_guest *g = w->guest;
	char why[160] = "";
	int err;

	g->la57 = im->la57;
	g->pgd = im->pgd;
	g->pgd_last = im->last;
	g->text = im->start;
	g->image_end = im->end;
	g->phys_base = im->phys_base;
	err = open_symbols(w, im, why, sizeof(why));
	if (err == -ENOMEM)
		return err;
	if (err)
		return no_symbols(w, im, *why ? why : "its tables could not be read");
	read_image(w);
	if (!runs(w))
		return 0;
	if (!vmi_sym(g, "init_task"))
		return falls_short(g, VMI_LEVEL_SYMBOLS,
				   "its kallsyms name functions only (CONFIG_KALLSYMS_ALL is off): "
				   "tables that start from the kernel's data stay closed");
	err = load_types(w);
	if (err == -ENOMEM)
		return err;
	if (!init_task_agrees(w) && (g->types || !init_task_named(w, vmi_sym(g, "init_task"))))
		return falls_short(g, VMI_LEVEL_BANNER,
				   "its init_task is no first task of a Linux: a copy of a kernel, "
				   "or types that are not its own");
	if (err)
		return falls_short(g, VMI_LEVEL_SYMBOLS,
				   "%s: tables that need to know its structs stay closed",
				   without_types(err));
	g->level = VMI_LEVEL_TYPES;
	say_evidence(w, im);
	return 0;
}

/* What was loaded on the way to a level that was not reached. */
static void drop_above(struct vmi_guest *g, enum vmi_level level)
{
	if (level < VMI_LEVEL_TYPES) {
		vmi_types_close(g->types);
		g->types = NULL;
	}
	if (level < VMI_LEVEL_SYMBOLS) {
		vmi_symbols_close(g->symbols);
		g->symbols = NULL;
	}
}

/*
 * What a scan found, a process may have made up, page tables and all. If two pass, which one runs
 * cannot be told.
 */
static bool ambiguous(struct opening *o, const struct vmi_guest *g, const struct vmi_image *im)
{
	if (im->from != VMI_IMAGE_SCAN || !o->best || o->best->level < VMI_LEVEL_SYMBOLS ||
	    g->level < VMI_LEVEL_SYMBOLS)
		return false;
	falls_short(o->best, VMI_LEVEL_BANNER,
		    "at gpa 0x%" PRIx64
		    " is Linux %s too; without registers it cannot be told which of them runs",
		    gpa_of_image(g), g->release);
	o->best->evidence[0] = 0;
	drop_above(o->best, VMI_LEVEL_BANNER);
	return true;
}

static bool try_image(void *arg, const struct vmi_image *im)
{
	struct opening *o = arg;
	struct vmi_guest *g = calloc(1, sizeof(*g)), *finder = o->w->guest;
	bool done = true;

	if (!g) {
		o->err = -ENOMEM;
		return true;
	}
	g->target = o->target;
	g->mem = o->mem;
	g->cpus = 1;
	o->w->guest = g;
	o->err = understand(o->w, im);
	o->w->guest = finder;
	drop_above(g, g->level);
	if (!o->err && !ambiguous(o, g, im)) {
		if (!o->best || g->level > o->best->level) {
			struct vmi_guest *worse = o->best;

			o->best = g;
			g = worse;
		}
		/* A page anywhere is not believed before all others were seen. */
		done = o->best->level >= VMI_LEVEL_SYMBOLS && im->from != VMI_IMAGE_SCAN;
	}
	vmi_guest_close(g);
	return done;
}

/* A vCPU that enters its kernel where Windows keeps it, and Linux never. */
static const struct vmi_vcpu *vcpu_of_windows(const struct vmi_target *t)
{
	for (size_t i = 0; i < t->n_vcpus; i++)
		if (t->vcpus[i].known & VMI_REG_LSTAR && t->vcpus[i].lstar >> 40 == 0xfffff8)
			return &t->vcpus[i];
	return NULL;
}

/* No image of a Linux was found: what can be said instead? */
static void say_nothing_found(struct vmi_guest *g)
{
	static const char rest[] = "only memory_map and vcpus work";
	const struct vmi_vcpu *windows = vcpu_of_windows(g->target);
	unsigned int known, paging;

	count_vcpus(g->target, &known, &paging);
	if (windows) {
		falls_short(g, VMI_LEVEL_MEMORY,
			    "vCPU %d enters its kernel at 0x%" PRIx64
			    " (LSTAR), where Windows keeps it: Windows guests are out of scope; %s",
			    windows->id, windows->lstar, rest);
		return;
	}
	if (known && !paging)
		falls_short(
			g, VMI_LEVEL_MEMORY,
			"no vCPU is in long mode with paging on: the guest is in its firmware or "
			"boot loader, or runs a 32-bit system; %s",
			rest);
	else if (paging)
		falls_short(
			g, VMI_LEVEL_MEMORY,
			"no page table of a vCPU maps a kernel where Linux has it: a boot "
			"loader, or another system; %s",
			rest);
	else
		falls_short(
			g, VMI_LEVEL_MEMORY,
			"no registers are known, and memory holds neither the page table that "
			"Linux starts CPUs with nor a VMCOREINFO; %s",
			rest);
}

int vmi_guest_open(struct vmi_guest **out, struct vmi_target *t, struct vmi_mem *mem,
		   struct vmi_error *err)
{
	struct vmi_guest *empty = calloc(1, sizeof(*empty));
	struct vmi_walk *w = malloc(sizeof(*w));
	struct opening o = { .target = t, .mem = mem, .w = w, .err = -ENOMEM };

	*out = NULL;
	err->text[0] = 0;
	if (empty && w) {
		empty->target = t;
		empty->mem = mem;
		empty->cpus = 1;
		vmi_walk_start(w, empty, &find_budget);
		o.err = 0;
		vmi_image_find(w, try_image, &o);
	}
	if (o.err) {
		snprintf(err->text, sizeof(err->text),
			 "not enough memory for the symbols and types of the guest's kernel");
		vmi_guest_close(o.best);
	} else if (o.best && (o.best->level > VMI_LEVEL_MEMORY || !vcpu_of_windows(t))) {
		*out = o.best;
	} else {
		vmi_guest_close(o.best);
		empty->la57 = false;
		empty->pgd = empty->pgd_last = 0;
		say_nothing_found(empty);
		*out = empty;
		empty = NULL;
	}
	free(empty);
	free(w);
	return o.err;
}

static bool banner_agrees(struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest, *now = calloc(1, sizeof(*now));
	char banner[sizeof(g->banner)];
	bool same = false;

	if (now && vmi_text(w, vmi_sym(g, "linux_banner"), banner, sizeof(banner)) > 0) {
		take_banner(now, banner);
		same = !strcmp(now->banner, g->banner);
	}
	free(now);
	return same;
}

int vmi_guest_current(struct vmi_guest *g, struct vmi_error *err)
{
	struct vmi_walk *w;
	bool same;

	if (g->level < VMI_LEVEL_SYMBOLS)
		return 0;
	w = malloc(sizeof(*w));
	if (!w) {
		snprintf(err->text, sizeof(err->text), "out of memory");
		return -ENOMEM;
	}
	vmi_walk_start(w, g, &find_budget);
	same = page_table_agrees(w) && banner_agrees(w) &&
	       (g->level < VMI_LEVEL_TYPES || init_task_agrees(w));
	free(w);
	if (same)
		return 0;
	snprintf(err->text, sizeof(err->text),
		 "the guest's kernel is not where it was: started anew, or overwritten");
	return -ESTALE;
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
