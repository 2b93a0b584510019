/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Modules of the guest. Until 6.3 a module's memory was two layouts (core, and init while it
 * starts); since then it is an array by kind (enum mod_mem_type). What is behind each is the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modules.h"

#define STR_MAX (64u << 20)

int vmi_module_types(struct vmi_module_types *t, struct vmi_guest *g)
{
	const struct {
		const char *path;
		struct vmi_field *field;
		bool needed;
	} all[] = {
		{ "module.list", &t->list, true },
		{ "module.name", &t->name, true },
		{ "module.state", &t->state, true },
		{ "module.mem", &t->mem, false },
		{ "module.core_layout", &t->core, false },
		{ "module.init_layout", &t->init_layout, false },
		{ "module.data_layout", &t->data_layout, false },
		{ "module_memory.base|module_layout.base", &t->base, true },
		{ "module_memory.size|module_layout.size", &t->size, true },
		{ "module_layout.text_size", &t->text_size, false },
		{ "module.refcnt.counter", &t->refcnt, false },
		{ "module.taints", &t->taints, false },
		{ "module.init", &t->init, false },
		{ "module.exit", &t->exit, false },
		{ "module.source_list", &t->source_list, false },
		{ "module.kallsyms", &t->kallsyms, false },
		{ "module.mkobj.mod", &t->mkobj_mod, false },
		{ "module.syms", &t->syms, false },
		{ "module.num_syms", &t->num_syms, false },
		{ "mod_kallsyms.symtab", &t->symtab, false },
		{ "mod_kallsyms.num_symtab", &t->num_symtab, false },
		{ "mod_kallsyms.strtab", &t->strtab, false },
		{ "mod_kallsyms.typetab", &t->typetab, false },
		{ "module_use.source_list", &t->use_source_list, false },
		{ "module_use.source", &t->use_source, false },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (vmi_field(g, all[i].path, all[i].field) && all[i].needed)
			return -ENOENT;
	}
	return t->mem.present || t->core.present ? 0 : -ENOENT;
}

static void add_area(struct vmi_walk *w, const struct vmi_module_types *t, uint64_t at, bool code,
		     struct vmi_module *out)
{
	uint64_t base = vmi_val(w, at, &t->base);
	uint32_t size = (uint32_t)vmi_val(w, at, &t->size);

	if (!base || !size || base + size < base || out->areas == VMI_MODULE_AREAS)
		return;
	out->area[out->areas].base = base;
	out->area[out->areas].size = size;
	out->area[out->areas++].code = code;
	out->size += size;
}

/* enum mod_mem_type: the kernel's own numbers, by name. */
static bool kind_has_code(const struct vmi_guest *g, uint32_t kind)
{
	int64_t text = 0, init_text = -1;

	vmi_types_enum(g->types, "mod_mem_type", "MOD_TEXT", &text);
	vmi_types_enum(g->types, "mod_mem_type", "MOD_INIT_TEXT", &init_text);
	return kind == text || kind == init_text;
}

static void load_areas(struct vmi_walk *w, const struct vmi_module_types *t, struct vmi_module *out)
{
	if (t->mem.present) {
		uint32_t n = t->mem.count;

		for (uint32_t i = 0; i < n && i < VMI_MODULE_AREAS; i++) {
			uint64_t at = out->gva + t->mem.offset + (uint64_t)i * t->mem.elem_size;
			bool code = kind_has_code(w->guest, i);

			add_area(w, t, at, code, out);
			if (code && !out->text)
				out->text = vmi_val(w, at, &t->base);
		}
		return;
	}
	out->text = vmi_val(w, out->gva + t->core.offset, &t->base);
	add_area(w, t, out->gva + t->core.offset, true, out);
	if (t->init_layout.present)
		add_area(w, t, out->gva + t->init_layout.offset, true, out);
	if (t->data_layout.present)
		add_area(w, t, out->gva + t->data_layout.offset, false, out);
}

int vmi_module_load(struct vmi_walk *w, const struct vmi_module_types *t, uint64_t gva,
		    struct vmi_module *out)
{
	uint64_t state;
	int err;

	*out = (struct vmi_module){ .gva = gva };
	err = vmi_get(w, gva, &t->state, &state);
	if (err)
		return err;
	out->state = (unsigned int)state;
	err = vmi_text_field(w, gva, &t->name, out->name, sizeof(out->name));
	if (err < 0)
		return err;
	load_areas(w, t, out);
	return 0;
}

bool vmi_module_has(const struct vmi_module *m, uint64_t addr)
{
	for (unsigned int i = 0; i < m->areas; i++) {
		if (addr >= m->area[i].base && addr - m->area[i].base < m->area[i].size)
			return true;
	}
	return false;
}

int vmi_modules_start(struct vmi_modules *m, struct vmi_walk *w)
{
	uint64_t head = vmi_sym(w->guest, "modules");
	int err;

	*m = (struct vmi_modules){ .w = w };
	if (!head)
		return -ENOENT;
	err = vmi_module_types(&m->t, w->guest);
	if (err)
		return err;
	vmi_list_start(&m->list, w, head, "modules");
	return 0;
}

bool vmi_modules_next(struct vmi_modules *m, struct vmi_module *out)
{
	uint64_t node, next;

	while ((node = vmi_list_next(&m->list))) {
		uint64_t gva = node - m->t.list.offset;

		if (m->list.n > VMI_MODULES_MAX) {
			vmi_walk_stop(m->w, VMI_STOP_LENGTH, "modules");
			return false;
		}
		if (vmi_module_load(m->w, &m->t, gva, out)) {
			vmi_walk_stop(m->w, VMI_STOP_FAULT, "module");
			return false;
		}
		if (out->state == VMI_MODULE_UNFORMED)
			continue;
		vmi_witness(m->w, gva + m->t.state.offset, 4, out->state);
		if (!vmi_ptr(m->w, node, &next))
			vmi_witness(m->w, node, 8, next);
		return true;
	}
	return false;
}

/* The string table has no length of its own: it ends where the last name that is used ends. */
static int read_strings(struct vmi_walk *w, uint64_t strtab, struct vmi_module_symbols *out)
{
	uint32_t last = 0;
	char name[512];
	int len;

	for (uint32_t i = 0; i < out->n; i++) {
		if (out->sym[i].st_name > last)
			last = out->sym[i].st_name;
	}
	if (last > STR_MAX)
		return -E2BIG;
	len = vmi_text(w, strtab + last, name, sizeof(name));
	if (len < 0)
		return len;
	out->str_bytes = last + (uint32_t)len + 1;
	out->str = malloc(out->str_bytes);
	if (!out->str)
		return -ENOMEM;
	len = vmi_read(w, strtab, out->str, out->str_bytes);
	out->str[out->str_bytes - 1] = 0;
	return len;
}

int vmi_module_symbols(struct vmi_walk *w, const struct vmi_module_types *t,
		       const struct vmi_module *m, struct vmi_module_symbols *out)
{
	uint64_t kallsyms, symtab, strtab, typetab, n;
	int err;

	*out = (struct vmi_module_symbols){ 0 };
	kallsyms = vmi_val(w, m->gva, &t->kallsyms);
	symtab = kallsyms ? vmi_val(w, kallsyms, &t->symtab) : 0;
	strtab = kallsyms ? vmi_val(w, kallsyms, &t->strtab) : 0;
	n = kallsyms ? vmi_val(w, kallsyms, &t->num_symtab) : 0;
	if (!symtab || !strtab || !n || n > VMI_MODULE_SYMBOLS)
		return -ENOENT;
	out->n = (uint32_t)n;
	out->sym = calloc(out->n, sizeof(*out->sym));
	if (!out->sym)
		return -ENOMEM;
	err = vmi_read(w, symtab, out->sym, n * sizeof(*out->sym));
	if (!err)
		err = read_strings(w, strtab, out);
	typetab = vmi_val(w, kallsyms, &t->typetab);
	if (!err && typetab) {
		out->type = calloc(1, out->n);
		err = out->type ? vmi_read(w, typetab, out->type, out->n) : -ENOMEM;
	}
	return err;
}

void vmi_module_symbols_free(struct vmi_module_symbols *s)
{
	free(s->sym);
	free(s->type);
	free(s->str);
	*s = (struct vmi_module_symbols){ 0 };
}

const char *vmi_module_symbol_name(const struct vmi_module_symbols *s, uint32_t i)
{
	return s->sym[i].st_name < s->str_bytes ? s->str + s->sym[i].st_name : "";
}

#define BTF_MAX (16u << 20)

static int open_btf(struct vmi_walk *w, uint64_t data, uint64_t bytes, struct vmi_types **out)
{
	void *blob;
	int err;

	if (!data || !bytes)
		return -ENOENT;
	if (bytes > BTF_MAX)
		return -E2BIG;
	blob = malloc(bytes);
	if (!blob)
		return -ENOMEM;
	err = vmi_read(w, data, blob, bytes);
	if (!err)
		err = vmi_types_open(out, blob, bytes, w->guest->types);
	free(blob);
	return err;
}

/* struct btf_module is private to kernel/bpf/btf.c, but its types are in BTF like any other. */
int vmi_module_btf(struct vmi_walk *w, const char *name, struct vmi_types **out)
{
	struct vmi_field list, module, btf, data, size, mod_name;
	struct vmi_guest *g = w->guest;
	uint64_t head = vmi_sym(g, "btf_modules"), node;
	char at[VMI_MODULE_NAME];
	struct vmi_list l;

	*out = NULL;
	if (!head || vmi_field(g, "btf_module.list", &list) ||
	    vmi_field(g, "btf_module.module", &module) || vmi_field(g, "btf_module.btf", &btf) ||
	    vmi_field(g, "btf.data", &data) || vmi_field(g, "btf.data_size", &size) ||
	    vmi_field(g, "module.name", &mod_name))
		return -ENOENT;
	vmi_list_start(&l, w, head, "btf_modules");
	while ((node = vmi_list_next(&l)) && l.n <= VMI_MODULES_MAX) {
		uint64_t mod = vmi_val(w, node - list.offset, &module), b;

		if (!mod || vmi_text_field(w, mod, &mod_name, at, sizeof(at)) < 0 ||
		    strcmp(at, name))
			continue;
		b = vmi_val(w, node - list.offset, &btf);
		return b ? open_btf(w, vmi_val(w, b, &data), vmi_val(w, b, &size), out) : -ENOENT;
	}
	return -ENOENT;
}
