/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Modules that one part of the kernel knows and another does not. A module that is loaded is in the
 * list, in the tree of addresses, and in /sys/module; what hides takes itself out of some of them,
 * but its memory stays mapped, with its struct module, which points to itself, in it. And
 * executable pages that belong to nothing known are shown, whatever became of their module.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hidden_modules.h"
#include "pages.h"
#include "vmap.h"

enum {
	COL_NAME,
	COL_ADDRESS,
	COL_SIZE,
	COL_STRUCT,
	COL_STATE,
	COL_IN_LIST,
	COL_IN_TREE,
	COL_IN_SYSFS,
	COL_IN_BTF,
	COL_IN_MEMORY,
	COL_MISSING,
	COL_CALLER,
};

static const struct vmi_column columns[] = {
	[COL_NAME] = { "name", VMI_TEXT, "module; NULL = code that belongs to nothing known" },
	[COL_ADDRESS] = { "address", VMI_TEXT, "its code" },
	[COL_SIZE] = { "size", VMI_INTEGER, "bytes" },
	[COL_STRUCT] = { "struct_address", VMI_TEXT, "its struct module" },
	[COL_STATE] = { "state", VMI_INTEGER, "0 = live, 1 = coming, 2 = going" },
	[COL_IN_LIST] = { "in_list", VMI_INTEGER, "1: in the list that /proc/modules shows" },
	[COL_IN_TREE] = { "in_tree", VMI_INTEGER, "1: in the tree of modules by address" },
	[COL_IN_SYSFS] = { "in_sysfs", VMI_INTEGER, "1: in /sys/module" },
	[COL_IN_BTF] = { "in_btf", VMI_INTEGER, "1: among modules with types; many have none" },
	[COL_IN_MEMORY] = { "in_memory", VMI_INTEGER, "1: its struct module is in mapped memory" },
	[COL_MISSING] = { "missing", VMI_TEXT, "views that it should be in and is not, by comma" },
	[COL_CALLER] = { "mapped_by", VMI_TEXT,
			 "of code without a module: who asked for the memory" },
};

#define FOUND_MAX    8192 /* modules */
#define ALIGN	     64 /* struct module is ____cacheline_aligned */
#define PAGE	     4096
#define KERNEL_HALF  0xffff800000000000ull /* also with 5 levels: below is what maps user memory */
#define KERNEL_HALF5 0xff00000000000000ull
#define TRAP	     0xcc
#define REAL_MODE    0x100000

struct found {
	uint64_t gva;
	unsigned int views;
};

struct scan {
	struct vmi_walk *w;
	struct vmi_guest *g;
	struct vmi_code *c;
	struct vmi_module_types t;
	struct found *found;
	size_t n, room;
	unsigned int views; /* that this kernel has */
	bool (*fn)(void *arg, const struct vmi_hidden *h);
	void *arg;
	bool enough;
	struct vmi_field btf_mod;
	/* ranges that the cache of executable memory has in reserve (6.13 and later) */
	struct {
		uint64_t first, last;
	} * spare;
	size_t n_spare;
	/* the area that holds the code in question */
	uint64_t addr;
	struct vmi_vmap area;
	int err;
};

/* -E2BIG, -ENOMEM are kept in s->err; the walk goes on with what it has. */
static void see(struct scan *s, uint64_t gva, enum vmi_module_view view)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->found[i].gva == gva) {
			s->found[i].views |= view;
			return;
		}
	}
	if (s->n == s->room) {
		struct found *more = reallocarray(s->found, s->room + 256, sizeof(*more));

		if (!more || s->n >= FOUND_MAX) {
			s->err = more ? -E2BIG : -ENOMEM;
			s->found = more ? more : s->found;
			return;
		}
		s->found = more;
		s->room += 256;
	}
	s->found[s->n++] = (struct found){ .gva = gva, .views = view };
}

static void see_list(struct scan *s)
{
	size_t n;
	const struct vmi_module *m = vmi_code_modules(s->c, &n);

	s->views |= VMI_MODULE_IN_LIST;
	for (size_t i = 0; i < n; i++)
		see(s, m[i].gva, VMI_MODULE_IN_LIST);
}

/* A latch tree has two copies of each node; the first tree is linked by node[0]. */
static void see_tree(struct scan *s)
{
	struct vmi_field tree, node, mod;
	uint64_t root = vmi_sym(s->g, "mod_tree"), at;
	struct vmi_rb rb;

	if (!root || vmi_field(s->g, "mod_tree_root.root.tree", &tree) ||
	    vmi_field(s->g, "mod_tree_node.node", &node) ||
	    vmi_field(s->g, "mod_tree_node.mod", &mod))
		return;
	s->views |= VMI_MODULE_IN_TREE;
	vmi_rb_start(&rb, s->w, root + tree.offset, "mod_tree");
	while ((at = vmi_rb_next(&rb)) && rb.n <= FOUND_MAX) {
		uint64_t m = vmi_val(s->w, at - node.offset, &mod);

		if (m)
			see(s, m, VMI_MODULE_IN_TREE);
	}
}

/* /sys/module has drivers that are built in, too: they have no struct module. */
static void see_sysfs(struct scan *s)
{
	struct vmi_field list, entry, kobj, mod;
	uint64_t kset = 0, node;
	struct vmi_list l;

	if (!vmi_sym(s->g, "module_kset") || vmi_ptr(s->w, vmi_sym(s->g, "module_kset"), &kset) ||
	    !kset || vmi_field(s->g, "kset.list", &list) ||
	    vmi_field(s->g, "kobject.entry", &entry) ||
	    vmi_field(s->g, "module_kobject.kobj", &kobj) ||
	    vmi_field(s->g, "module_kobject.mod", &mod))
		return;
	s->views |= VMI_MODULE_IN_SYSFS;
	vmi_list_start(&l, s->w, kset + list.offset, "module_kset");
	while ((node = vmi_list_next(&l)) && l.n <= FOUND_MAX) {
		uint64_t m = vmi_val(s->w, node - entry.offset - kobj.offset, &mod);

		if (m)
			see(s, m, VMI_MODULE_IN_SYSFS);
	}
}

static void see_btf(struct scan *s)
{
	struct vmi_field list, mod;
	uint64_t head = vmi_sym(s->g, "btf_modules"), node;
	struct vmi_list l;

	if (!head || vmi_field(s->g, "btf_module.list", &list) ||
	    vmi_field(s->g, "btf_module.module", &mod))
		return;
	s->views |= VMI_MODULE_IN_BTF;
	vmi_list_start(&l, s->w, head, "btf_modules");
	while ((node = vmi_list_next(&l)) && l.n <= FOUND_MAX) {
		uint64_t m = vmi_val(s->w, node - list.offset, &mod);

		if (m)
			see(s, m, VMI_MODULE_IN_BTF);
	}
}

/* Does a struct module's own kobject point back to it, and is the rest of it sane? */
static void try_struct(struct scan *s, uint64_t gva)
{
	struct vmi_module m;

	if (vmi_module_load(s->w, &s->t, gva, &m) || m.state > VMI_MODULE_UNFORMED || !m.areas ||
	    !m.text || !*m.name)
		return;
	for (const char *p = m.name; *p; p++) {
		if (*p <= ' ' || *p > '~')
			return;
	}
	see(s, gva, VMI_MODULE_IN_MEMORY);
}

static bool search_range(void *arg, const struct vmi_mapped *m)
{
	uint32_t at = ((struct scan *)arg)->t.mkobj_mod.offset;
	struct scan *s = arg;
	uint8_t page[PAGE];

	if (m->start >= s->g->text && m->start < s->g->image_end)
		return false;
	for (uint64_t p = m->start; p < m->last && !s->w->stop; p += PAGE) {
		if (vmi_read(s->w, p, page, sizeof(page)))
			continue;
		/* The member lies at `at` behind an address aligned to 64. */
		for (uint32_t i = at & (ALIGN - 1) & ~7u; i < PAGE; i += ALIGN) {
			uint64_t v;

			memcpy(&v, page + i, 8);
			if (v == p + i - at)
				try_struct(s, v);
		}
	}
	return s->w->stop != VMI_STOP_NONE;
}

/* Modules lie in the last 2 GiB, behind the image (Documentation/arch/x86/x86_64/mm.rst). */
static void see_memory(struct scan *s)
{
	if (!s->t.mkobj_mod.present)
		return;
	s->views |= VMI_MODULE_IN_MEMORY;
	vmi_mapped_each(s->w, s->g->pgd, s->g->image_end & ~(uint64_t)(PAGE - 1), ~0ull, 0,
			search_range, s);
}

static void report_modules(struct scan *s)
{
	unsigned int must = s->views &
			    (VMI_MODULE_IN_LIST | VMI_MODULE_IN_TREE | VMI_MODULE_IN_SYSFS);

	for (size_t i = 0; i < s->n && !s->enough; i++) {
		struct vmi_hidden h = { .module = true, .views = s->found[i].views };

		h.missing = must & ~h.views;
		if (!h.missing)
			continue;
		if (vmi_module_load(s->w, &s->t, s->found[i].gva, &h.mod))
			continue;
		/* What comes or goes is not in all of them yet, or not any more. */
		if (h.mod.state != VMI_MODULE_LIVE && h.views & VMI_MODULE_IN_LIST)
			continue;
		if (h.mod.state == VMI_MODULE_UNFORMED || h.mod.state == VMI_MODULE_GOING)
			continue;
		s->enough = s->fn(s->arg, &h);
	}
}

static void load_spare(struct scan *s)
{
	struct vmi_field free_areas;
	uint64_t cache = vmi_sym(s->g, "execmem_cache"), first, last, entry;
	struct vmi_maple m;

	if (!cache || vmi_field(s->g, "execmem_cache.free_areas", &free_areas))
		return;
	vmi_maple_start(&m, s->w, cache + free_areas.offset, "execmem_cache.free_areas");
	while (s->n_spare < FOUND_MAX && vmi_maple_next(&m, &first, &last, &entry)) {
		void *more = reallocarray(s->spare, s->n_spare + 1, sizeof(*s->spare));

		if (!more) {
			s->err = -ENOMEM;
			return;
		}
		s->spare = more;
		s->spare[s->n_spare].first = first;
		s->spare[s->n_spare++].last = last;
	}
}

/* Memory in reserve holds nothing but traps: it is filled with them when it is made and given back.
 */
static bool is_spare(struct scan *s, uint64_t page)
{
	uint8_t bytes[PAGE];

	for (size_t i = 0; i < s->n_spare; i++) {
		if (page < s->spare[i].first || page + PAGE - 1 > s->spare[i].last)
			continue;
		if (vmi_read(s->w, page, bytes, sizeof(bytes)))
			return true;
		for (size_t k = 0; k < sizeof(bytes); k++) {
			if (bytes[k] != TRAP)
				return false;
		}
		return true;
	}
	return false;
}

/* The code that CPUs start in is below 1 MiB, and executable where all memory is mapped. */
static bool is_real_mode(struct scan *s, uint64_t page)
{
	uint64_t header = vmi_sym(s->g, "real_mode_header"), at;
	uint64_t blob = vmi_sym(s->g, "real_mode_blob"), end = vmi_sym(s->g, "real_mode_blob_end");

	if (page - s->g->page_offset >= REAL_MODE || !header || vmi_ptr(s->w, header, &at))
		return false;
	return page >= (at & ~(uint64_t)(PAGE - 1)) && page < at + (end - blob);
}

static bool is_known(struct scan *s, uint64_t page)
{
	size_t n;
	const struct vmi_code_range *r = vmi_code_ranges(s->c, &n);
	size_t lo = 0, hi = n;

	/* Any range that begins before the page's end and ends behind its begin. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r[mid].start >= page + PAGE)
			hi = mid;
		else
			lo = mid + 1;
	}
	if (lo && r[lo - 1].end > page)
		return true;
	return is_spare(s, page) || is_real_mode(s, page);
}

static bool find_area(void *arg, const struct vmi_vmap *v)
{
	struct scan *s = arg;

	if (s->addr < v->start || s->addr >= v->end)
		return false;
	s->area = *v;
	return true;
}

static bool in_found_module(struct scan *s, uint64_t page)
{
	struct vmi_module m;

	for (size_t i = 0; i < s->n; i++) {
		if (s->found[i].views & VMI_MODULE_IN_LIST)
			continue;
		if (!vmi_module_load(s->w, &s->t, s->found[i].gva, &m) && vmi_module_has(&m, page))
			return true;
	}
	return false;
}

static bool report_code(struct scan *s, uint64_t start, uint64_t end)
{
	struct vmi_hidden h = { 0 };

	s->addr = start;
	s->area = (struct vmi_vmap){ 0 };
	vmi_vmaps(s->w, find_area, s);
	h.caller = s->area.caller;
	h.mod.text = start;
	h.mod.size = end - start;
	h.mod.area[0].base = start;
	h.mod.area[0].size = (uint32_t)(end - start);
	h.mod.areas = 1;
	return s->enough = s->fn(s->arg, &h);
}

static bool executable(void *arg, const struct vmi_mapped *m)
{
	struct scan *s = arg;
	uint64_t begin = 0;

	if (m->flags & VMI_PAGE_NX)
		return false;
	for (uint64_t p = m->start; p < m->last; p += PAGE) {
		bool odd = !is_known(s, p) && !in_found_module(s, p);

		if (odd && !begin)
			begin = p;
		if (!odd && begin) {
			if (report_code(s, begin, p))
				return true;
			begin = 0;
		}
		if (vmi_step(s->w))
			return true;
	}
	return begin && report_code(s, begin, m->last + 1);
}

int vmi_hidden_modules(struct vmi_walk *w, struct vmi_code *c, unsigned int *views,
		       bool (*fn)(void *arg, const struct vmi_hidden *h), void *arg)
{
	struct scan s = { .w = w, .g = w->guest, .c = c, .fn = fn, .arg = arg };
	int err = vmi_module_types(&s.t, s.g);

	if (err)
		return err;
	see_list(&s);
	see_tree(&s);
	see_sysfs(&s);
	see_btf(&s);
	see_memory(&s);
	if (views)
		*views = s.views;
	load_spare(&s);
	report_modules(&s);
	if (!s.enough && !w->stop)
		err = vmi_mapped_each(w, s.g->pgd, s.g->la57 ? KERNEL_HALF5 : KERNEL_HALF, ~0ull,
				      VMI_PAGE_NX, executable, &s);
	free(s.found);
	free(s.spare);
	return err ? err : s.err;
}

void vmi_module_views(unsigned int views, char *buf, size_t size)
{
	static const char *const names[] = { "list", "tree", "sysfs", "btf", "memory" };
	size_t len = 0;

	*buf = 0;
	for (unsigned int i = 0; i < 5 && len < size; i++) {
		if (views >> i & 1)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? "," : "",
						names[i]);
	}
}

struct out {
	struct vmi_rows *r;
	struct vmi_code *c;
	unsigned int views;
};

static bool row(void *arg, const struct vmi_hidden *h)
{
	static const unsigned int view_of[] = { VMI_MODULE_IN_LIST, VMI_MODULE_IN_TREE,
						VMI_MODULE_IN_SYSFS, VMI_MODULE_IN_BTF,
						VMI_MODULE_IN_MEMORY };
	struct out *o = arg;
	char text[256];

	vmi_row(o->r);
	vmi_hex(o->r, COL_ADDRESS, h->mod.text);
	vmi_int(o->r, COL_SIZE, (int64_t)h->mod.size);
	if (h->module) {
		vmi_str(o->r, COL_NAME, h->mod.name);
		vmi_hex(o->r, COL_STRUCT, h->mod.gva);
		vmi_int(o->r, COL_STATE, h->mod.state);
		for (unsigned int i = 0; i < 5; i++) {
			if (o->views & view_of[i])
				vmi_int(o->r, COL_IN_LIST + i, !!(h->views & view_of[i]));
		}
		vmi_module_views(h->missing, text, sizeof(text));
		vmi_str(o->r, COL_MISSING, text);
	} else if (h->caller) {
		vmi_code_name(o->c, h->caller, false, text, sizeof(text));
		vmi_str(o->r, COL_CALLER, *text ? text : NULL);
	}
	return vmi_row_end(o->r);
}

static int rows(struct vmi_rows *r)
{
	struct out o = { .r = r };
	int err = vmi_code_open(&o.c, vmi_rows_walk(r));

	if (!err)
		err = vmi_hidden_modules(vmi_rows_walk(r), o.c, &o.views, row, &o);
	vmi_code_close(o.c);
	if (err == -ENOENT)
		return vmi_rows_error(
			r, "this kernel has no modules, or its struct module is unknown");
	return err && !vmi_rows_walk(r)->stop ? vmi_rows_error(r, "%s", strerror(-err)) : 0;
}

const struct vmi_table vmi_table_hidden_modules = {
	.name = "hidden_modules",
	.doc = "Modules that one part of the kernel knows and another does not, and code without "
	       "owner.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
