/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "code.h"
#include "vmap.h"

#define RANGES_MAX (1u << 16)
#define LIST_MAX   (1u << 15) /* programs, trampolines, pages */
#define PAGE	   4096
#define PACK_MAX   (64u << 20)

/* Our names for memory of the JIT that the kernel has no symbol for. */
#define PACK  "bpf_prog_pack"
#define IMAGE "bpf_image"

/* What symbol lookup needs of a module; read when it is first asked. */
struct names {
	bool tried;
	struct vmi_module_symbols s;
	uint32_t *order; /* indices of named, defined symbols by address */
	uint32_t n;
};

struct vmi_code {
	struct vmi_walk *w;
	struct vmi_module_types t;
	bool has_modules;
	struct vmi_module *modules;
	struct names *names;
	size_t n_modules;
	struct vmi_code_range *range;
	size_t n, room;
};

static int add(struct vmi_code *c, uint64_t start, uint64_t end, enum vmi_code_kind kind,
	       const char *name, uint32_t module)
{
	struct vmi_code_range *r;

	if (!start || end <= start)
		return 0;
	if (c->n == c->room) {
		size_t room = c->room ? c->room * 2 : 256;

		if (c->n >= RANGES_MAX)
			return -E2BIG;
		r = reallocarray(c->range, room, sizeof(*r));
		if (!r)
			return -ENOMEM;
		c->range = r;
		c->room = room;
	}
	r = &c->range[c->n++];
	*r = (struct vmi_code_range){ .start = start, .end = end, .kind = kind, .module = module };
	r->named = strcmp(name, PACK) && strcmp(name, IMAGE);
	strncpy(r->name, name, sizeof(r->name) - 1);
	return 0;
}

static int add_image(struct vmi_code *c)
{
	const struct vmi_guest *g = c->w->guest;
	int err = add(c, vmi_sym(g, "_text"), vmi_sym(g, "_etext"), VMI_CODE_KERNEL, "", 0);

	/* Freed once the kernel runs: who points there points to memory of somebody else. */
	if (!err && vmi_sym(g, "system_state")) {
		uint64_t state = 0;
		int64_t running = 3;

		vmi_types_enum(g->types, "system_states", "SYSTEM_RUNNING", &running);
		if (!vmi_uint(c->w, vmi_sym(g, "system_state"), 4, &state) &&
		    state < (uint64_t)running)
			err = add(c, vmi_sym(g, "_sinittext"), vmi_sym(g, "_einittext"),
				  VMI_CODE_INIT, "", 0);
	}
	return err;
}

static int add_module(struct vmi_code *c, const struct vmi_module *m, size_t *room)
{
	int err = 0;

	if (c->n_modules == *room) {
		size_t more = *room ? *room * 2 : 128;
		struct vmi_module *v = reallocarray(c->modules, more, sizeof(*v));

		if (!v)
			return -ENOMEM;
		c->modules = v;
		*room = more;
	}
	c->modules[c->n_modules] = *m;
	for (unsigned int i = 0; i < m->areas && !err; i++) {
		uint64_t base = m->area[i].base, bytes = m->area[i].size;

		if (!m->area[i].code)
			continue;
		/* Before 6.4 an area holds code, then data: only the code counts. */
		if (c->t.core.present && c->t.text_size.present) {
			uint64_t at = m->gva + (base == m->text ? c->t.core.offset
								: c->t.init_layout.offset);
			uint64_t text = vmi_val(c->w, at, &c->t.text_size);

			bytes = text < bytes ? text : bytes;
		}
		err = add(c, base, base + bytes, VMI_CODE_MODULE, m->name, (uint32_t)c->n_modules);
	}
	c->n_modules++;
	return err;
}

static int add_modules(struct vmi_code *c)
{
	struct vmi_modules list;
	struct vmi_module m;
	size_t room = 0;
	int err = 0;

	if (vmi_modules_start(&list, c->w))
		return 0;
	c->t = list.t;
	c->has_modules = true;
	while (!err && vmi_modules_next(&list, &m))
		err = add_module(c, &m, &room);
	c->names = calloc(c->n_modules + 1, sizeof(*c->names));
	return c->names ? err : -ENOMEM;
}

/* kernel/bpf/core.c: bpf_kallsyms has programs, trampolines and dispatchers. */
static int add_bpf(struct vmi_code *c)
{
	struct vmi_field node_f, start, end, name;
	struct vmi_guest *g = c->w->guest;
	uint64_t head = vmi_sym(g, "bpf_kallsyms"), node;
	struct vmi_list l;
	char text[128];
	int err = 0;

	if (!head || vmi_field(g, "bpf_ksym.lnode", &node_f) ||
	    vmi_field(g, "bpf_ksym.start", &start) || vmi_field(g, "bpf_ksym.end", &end) ||
	    vmi_field(g, "bpf_ksym.name", &name))
		return 0;
	vmi_list_start(&l, c->w, head, "bpf_kallsyms");
	while (!err && (node = vmi_list_next(&l)) && l.n <= LIST_MAX) {
		uint64_t k = node - node_f.offset;

		if (vmi_text_field(c->w, k, &name, text, sizeof(text)) < 0)
			*text = 0;
		err = add(c, vmi_val(c->w, k, &start), vmi_val(c->w, k, &end), VMI_CODE_BPF, text,
			  0);
	}
	return err;
}

/*
 * Programs that are not named (classic filters) lie in packs of 2 MiB a NUMA node, or more, in
 * which only the JIT writes (5.18 and later).
 */
static int add_bpf_packs(struct vmi_code *c)
{
	struct vmi_field list, ptr;
	struct vmi_guest *g = c->w->guest;
	uint64_t head = vmi_sym(g, "pack_list"), node, bytes;
	struct vmi_list l;
	int err = 0;

	if (!head || vmi_field(g, "bpf_prog_pack.list", &list) ||
	    vmi_field(g, "bpf_prog_pack.ptr", &ptr))
		return 0;
	vmi_list_start(&l, c->w, head, "pack_list");
	while (!err && (node = vmi_list_next(&l)) && l.n <= LIST_MAX) {
		uint64_t at = vmi_val(c->w, node - list.offset, &ptr);
		uint64_t gpa, left;

		if (!at)
			continue;
		/* As large as what is mapped of it: behind it is a guard page. */
		for (bytes = 0; bytes < PACK_MAX; bytes += PAGE) {
			if (vmi_translate(c->w, g->pgd, at + bytes, &gpa, &left, NULL))
				break;
		}
		err = add(c, at, at + bytes, VMI_CODE_BPF, PACK, 0);
	}
	return err;
}

struct images {
	struct vmi_code *c;
	int err;
};

static bool bpf_image(void *arg, const struct vmi_vmap *v)
{
	struct images *i = arg;
	const struct vmi_symbol *s = vmi_symbol_at(i->c->w->guest->symbols, v->caller);

	if (v->caller && s && !strncmp(s->name, "bpf_", 4))
		i->err = add(i->c, v->start, v->end, VMI_CODE_BPF, IMAGE, 0);
	return i->err;
}

/* Before there were packs, each had memory of its own, which the JIT asked for. */
static int add_bpf_images(struct vmi_code *c)
{
	struct images i = { .c = c };

	if (vmi_sym(c->w->guest, "pack_list") || !vmi_sym(c->w->guest, "bpf_kallsyms"))
		return 0;
	vmi_vmaps(c->w, bpf_image, &i);
	return i.err;
}

static int add_ftrace(struct vmi_code *c)
{
	struct vmi_field list, tramp, size;
	struct vmi_guest *g = c->w->guest;
	uint64_t head = vmi_sym(g, "ftrace_ops_trampoline_list"), node;
	struct vmi_list l;
	int err = 0;

	if (!head || vmi_field(g, "ftrace_ops.list", &list) ||
	    vmi_field(g, "ftrace_ops.trampoline", &tramp) ||
	    vmi_field(g, "ftrace_ops.trampoline_size", &size))
		return 0;
	vmi_list_start(&l, c->w, head, "ftrace_ops_trampoline_list");
	while (!err && (node = vmi_list_next(&l)) && l.n <= LIST_MAX) {
		uint64_t ops = node - list.offset, at = vmi_val(c->w, ops, &tramp);

		err = add(c, at, at + vmi_val(c->w, ops, &size), VMI_CODE_FTRACE,
			  "ftrace_trampoline", 0);
	}
	return err;
}

static int add_kprobe_pages(struct vmi_code *c, const char *cache, const char *name)
{
	struct vmi_field pages, list, insns;
	struct vmi_guest *g = c->w->guest;
	uint64_t at = vmi_sym(g, cache), node;
	struct vmi_list l;
	int err = 0;

	if (!at || vmi_field(g, "kprobe_insn_cache.pages", &pages) ||
	    vmi_field(g, "kprobe_insn_page.list", &list) ||
	    vmi_field(g, "kprobe_insn_page.insns", &insns))
		return 0;
	vmi_list_start(&l, c->w, at + pages.offset, cache);
	while (!err && (node = vmi_list_next(&l)) && l.n <= LIST_MAX) {
		uint64_t page = vmi_val(c->w, node - list.offset, &insns);

		err = add(c, page, page + PAGE, VMI_CODE_KPROBE, name, 0);
	}
	return err;
}

/* The outer one first: a program may begin where its pack does, and fill it. */
static int by_start(const void *a, const void *b)
{
	const struct vmi_code_range *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->end != y->end)
		return x->end > y->end ? -1 : 1;
	return x->named - y->named;
}

/* Ranges within another (a program within its pack) split it, so that a search finds one. */
static int flatten(struct vmi_code *c)
{
	size_t n = c->n;
	struct vmi_code_range *in = c->range;
	uint64_t end = 0;
	size_t outer = 0;
	int err = 0;

	if (n)
		qsort(in, n, sizeof(*in), by_start);
	c->range = NULL;
	c->n = c->room = 0;
	for (size_t i = 0; i < n && !err; i++) {
		struct vmi_code_range *r = &in[i];

		if (i && r->start < end) { /* within `outer`, which is cut in two */
			struct vmi_code_range *o = &c->range[c->n - 1];
			uint64_t rest = in[outer].end;

			if (o->end > r->start)
				o->end = r->start;
			if (o->end == o->start)
				c->n--;
			err = add(c, r->start, r->end, r->kind, r->name, r->module);
			if (!err && r->end < rest)
				err = add(c, r->end, rest, in[outer].kind, in[outer].name,
					  in[outer].module);
			else
				end = r->end, outer = i;
			continue;
		}
		err = add(c, r->start, r->end, r->kind, r->name, r->module);
		end = r->end;
		outer = i;
	}
	free(in);
	return err;
}

int vmi_code_open(struct vmi_code **out, struct vmi_walk *w)
{
	struct vmi_code *c = calloc(1, sizeof(*c));
	int err;

	*out = NULL;
	if (!c)
		return -ENOMEM;
	c->w = w;
	err = add_image(c);
	err = err ? err : add_modules(c);
	err = err ? err : add_bpf(c);
	err = err ? err : add_bpf_packs(c);
	err = err ? err : add_bpf_images(c);
	err = err ? err : add_ftrace(c);
	err = err ? err : add_kprobe_pages(c, "kprobe_insn_slots", "kprobe_insn_page");
	err = err ? err : add_kprobe_pages(c, "kprobe_optinsn_slots", "kprobe_optinsn_page");
	err = err ? err : flatten(c);
	if (err) {
		vmi_code_close(c);
		return err;
	}
	vmi_witness_reset(w);
	*out = c;
	return 0;
}

void vmi_code_close(struct vmi_code *c)
{
	if (!c)
		return;
	for (size_t i = 0; c->names && i < c->n_modules; i++) {
		vmi_module_symbols_free(&c->names[i].s);
		free(c->names[i].order);
	}
	free(c->names);
	free(c->modules);
	free(c->range);
	free(c);
}

const struct vmi_code_range *vmi_code_at(const struct vmi_code *c, uint64_t addr)
{
	size_t lo = 0, hi = c->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (addr < c->range[mid].start)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo && addr < c->range[lo - 1].end ? &c->range[lo - 1] : NULL;
}

enum vmi_code_kind vmi_code_kind(const struct vmi_code *c, uint64_t addr)
{
	const struct vmi_code_range *r = vmi_code_at(c, addr);

	return r ? r->kind : VMI_CODE_UNKNOWN;
}

const char *vmi_code_kind_key(enum vmi_code_kind kind)
{
	static const char *const keys[] = {
		[VMI_CODE_UNKNOWN] = "unknown", [VMI_CODE_KERNEL] = "kernel",
		[VMI_CODE_INIT] = "init",	[VMI_CODE_MODULE] = "module",
		[VMI_CODE_BPF] = "bpf",		[VMI_CODE_FTRACE] = "ftrace",
		[VMI_CODE_KPROBE] = "kprobe",
	};

	return keys[kind];
}

const struct vmi_module *vmi_code_modules(const struct vmi_code *c, size_t *n)
{
	*n = c->n_modules;
	return c->modules;
}

const struct vmi_code_range *vmi_code_ranges(const struct vmi_code *c, size_t *n)
{
	*n = c->n;
	return c->range;
}

static int by_value(const void *a, const void *b, void *arg)
{
	const Elf64_Sym *sym = arg;
	uint64_t x = sym[*(const uint32_t *)a].st_value, y = sym[*(const uint32_t *)b].st_value;

	return x < y ? -1 : x > y;
}

/* As the kernel's lookup: undefined symbols and those without a name do not count. */
static void load_names(struct vmi_code *c, size_t i)
{
	struct names *n = &c->names[i];

	n->tried = true;
	if (vmi_module_symbols(c->w, &c->t, &c->modules[i], &n->s))
		return;
	n->order = calloc(n->s.n + 1, sizeof(*n->order));
	if (!n->order)
		return;
	for (uint32_t k = 0; k < n->s.n; k++) {
		if (n->s.sym[k].st_shndx != SHN_UNDEF && *vmi_module_symbol_name(&n->s, k))
			n->order[n->n++] = k;
	}
	qsort_r(n->order, n->n, sizeof(*n->order), by_value, n->s.sym);
}

static int module_symbol(struct vmi_code *c, size_t i, uint64_t addr, const char **symbol,
			 uint64_t *offset)
{
	struct names *n = &c->names[i];
	uint32_t lo = 0, hi;

	if (!n->tried)
		load_names(c, i);
	hi = n->n;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (addr < n->s.sym[n->order[mid]].st_value)
			hi = mid;
		else
			lo = mid + 1;
	}
	/* The first of several at one address, as the kernel has it. */
	while (lo > 1 && n->s.sym[n->order[lo - 2]].st_value == n->s.sym[n->order[lo - 1]].st_value)
		lo--;
	if (!lo || !vmi_module_has(&c->modules[i], n->s.sym[n->order[lo - 1]].st_value))
		return -ENOENT;
	*symbol = vmi_module_symbol_name(&n->s, n->order[lo - 1]);
	*offset = addr - n->s.sym[n->order[lo - 1]].st_value;
	return 0;
}

int vmi_code_symbol(struct vmi_code *c, uint64_t addr, const char **symbol, uint64_t *offset,
		    const char **module)
{
	const struct vmi_code_range *r = vmi_code_at(c, addr);
	const struct vmi_guest *g = c->w->guest;
	const struct vmi_symbol *s;

	*module = "";
	if (r && r->kind != VMI_CODE_KERNEL && r->kind != VMI_CODE_INIT &&
	    r->kind != VMI_CODE_MODULE) {
		*symbol = r->name;
		*offset = addr - r->start;
		*module = r->kind == VMI_CODE_BPF      ? "bpf"
			  : r->kind == VMI_CODE_FTRACE ? "__builtin__ftrace"
						       : "__builtin__kprobes";
		return 0;
	}
	if (addr >= g->text && addr < g->image_end) {
		s = vmi_symbol_at(g->symbols, addr);
		if (!s)
			return -ENOENT;
		*symbol = s->name;
		*offset = addr - s->addr;
		return 0;
	}
	for (size_t i = 0; i < c->n_modules; i++) {
		if (!vmi_module_has(&c->modules[i], addr))
			continue;
		*module = c->modules[i].name;
		if (module_symbol(c, i, addr, symbol, offset)) {
			*symbol = "";
			*offset = addr - c->modules[i].text;
		}
		return 0;
	}
	return -ENOENT;
}

void vmi_code_name(struct vmi_code *c, uint64_t addr, bool exact, char *buf, size_t size)
{
	const char *symbol, *module;
	uint64_t offset;

	*buf = 0;
	if (vmi_code_symbol(c, addr, &symbol, &offset, &module))
		return;
	if (exact && !offset)
		snprintf(buf, size, "%s%s%s%s", symbol, *module ? " [" : "", module,
			 *module ? "]" : "");
	else
		snprintf(buf, size, "%s+0x%llx%s%s%s", symbol, (unsigned long long)offset,
			 *module ? " [" : "", module, *module ? "]" : "");
}
