/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The symbols of the kernel, of its modules, and of code made at run time, as /proc/kallsyms has
 * them (Linux: kernel/kallsyms.c, kernel/module/kallsyms.c).
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "code.h"

enum { COL_NAME, COL_ADDRESS, COL_TYPE, COL_MODULE };

static const struct vmi_column columns[] = {
	[COL_NAME] = { "name", VMI_TEXT, "symbol", .index = true },
	[COL_ADDRESS] = { "address", VMI_TEXT, "kernel address", .index = true },
	[COL_TYPE] = { "type", VMI_TEXT, "letter as in nm(1); of modules, a capital is exported" },
	[COL_MODULE] = { "module", VMI_TEXT, "module; NULL = the kernel's image", .index = true },
};

#define EXPORTS_MAX (1u << 16)

struct scan {
	struct vmi_rows *r;
	const char *name, *address, *module; /* what the query asks for; NULL = all */
};

/* Returns true when no more rows are wanted. */
static bool emit(const struct scan *s, const char *name, uint64_t addr, char type,
		 const char *module)
{
	char text[2] = { type, 0 }, hex[24];

	if (s->name && strcmp(s->name, name))
		return false;
	snprintf(hex, sizeof(hex), "0x%016llx", (unsigned long long)addr);
	if (s->address && strcmp(s->address, hex))
		return false;
	vmi_row(s->r);
	vmi_str(s->r, COL_NAME, name);
	vmi_hex(s->r, COL_ADDRESS, addr);
	vmi_str(s->r, COL_TYPE, text);
	vmi_str(s->r, COL_MODULE, module);
	return vmi_row_end(s->r);
}

static bool kernel(const struct scan *s)
{
	const struct vmi_symbols *all = vmi_rows_guest(s->r)->symbols;
	size_t n = vmi_symbols_count(all);

	if (s->module)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct vmi_symbol *y = vmi_symbol_nth(all, i);

		if (emit(s, y->name, y->addr, y->type, NULL))
			return true;
	}
	return false;
}

/* What a module exports by EXPORT_SYMBOL: addresses of values and names (struct kernel_symbol). */
struct exported {
	uint64_t value, name;
};

struct exports {
	struct exported *v;
	size_t n;
};

static int by_value(const void *a, const void *b)
{
	const struct exported *x = a, *y = b;

	return x->value < y->value ? -1 : x->value > y->value;
}

static void load_exports(struct vmi_walk *w, const struct vmi_module_types *t,
			 const struct vmi_module *m, struct exports *out)
{
	struct vmi_field value, name;
	uint64_t at = vmi_val(w, m->gva, &t->syms), n = vmi_val(w, m->gva, &t->num_syms);
	uint32_t size = vmi_types_size(w->guest->types, "kernel_symbol");

	*out = (struct exports){ 0 };
	if (!at || !n || n > EXPORTS_MAX || !size ||
	    vmi_field(w->guest, "kernel_symbol.value_offset", &value) ||
	    vmi_field(w->guest, "kernel_symbol.name_offset", &name))
		return;
	out->v = calloc(n, sizeof(*out->v));
	if (!out->v)
		return;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t k = at + i * size;
		int64_t v = (int32_t)vmi_val(w, k, &value), s = (int32_t)vmi_val(w, k, &name);

		out->v[i].value = k + value.offset + (uint64_t)v;
		out->v[i].name = k + name.offset + (uint64_t)s;
	}
	out->n = n;
	qsort(out->v, out->n, sizeof(*out->v), by_value);
}

static bool is_exported(struct vmi_walk *w, const struct exports *e, const char *name,
			uint64_t value)
{
	const struct exported key = { .value = value };
	const struct exported *x = e->n ? bsearch(&key, e->v, e->n, sizeof(key), by_value) : NULL;
	char text[512];

	if (!x)
		return false;
	while (x > e->v && x[-1].value == value)
		x--;
	for (; x < e->v + e->n && x->value == value; x++) {
		if (vmi_text(w, x->name, text, sizeof(text)) >= 0 && !strcmp(text, name))
			return true;
	}
	return false;
}

static bool module_symbols(const struct scan *s, struct vmi_modules *list,
			   const struct vmi_module *m)
{
	struct vmi_module_symbols y;
	struct exports e = { 0 };
	bool enough = false;
	int err = vmi_module_symbols(list->w, &list->t, m, &y);

	if (!err)
		load_exports(list->w, &list->t, m, &e);
	for (uint32_t i = 0; !err && !enough && i < y.n; i++) {
		const char *name = vmi_module_symbol_name(&y, i);
		int type = y.type ? y.type[i] : '?';

		if (!*name || (s->name && strcmp(s->name, name)))
			continue;
		if (is_exported(list->w, &e, name, y.sym[i].st_value))
			type = toupper(type);
		else
			type = tolower(type);
		enough = emit(s, name, y.sym[i].st_value, (char)type, m->name);
	}
	free(e.v);
	vmi_module_symbols_free(&y);
	return enough;
}

static bool modules(const struct scan *s)
{
	struct vmi_modules list;
	struct vmi_module m;

	if (vmi_modules_start(&list, vmi_rows_walk(s->r)))
		return false;
	while (vmi_modules_next(&list, &m)) {
		if (s->module && strcmp(s->module, m.name))
			continue;
		if (module_symbols(s, &list, &m))
			return true;
	}
	return false;
}

/* The order of /proc/kallsyms: ftrace, BPF, kprobes. */
static bool generated(const struct scan *s, const struct vmi_code *c, enum vmi_code_kind kind,
		      const char *module)
{
	size_t n;
	const struct vmi_code_range *v = vmi_code_ranges(c, &n);

	if (s->module && strcmp(s->module, module))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (v[i].kind == kind && v[i].named && emit(s, v[i].name, v[i].start, 't', module))
			return true;
	}
	return false;
}

static int rows(struct vmi_rows *r)
{
	struct scan s = { .r = r };
	struct vmi_code *c;
	int err;

	vmi_want_str(r, COL_NAME, &s.name);
	vmi_want_str(r, COL_ADDRESS, &s.address);
	vmi_want_str(r, COL_MODULE, &s.module);
	if (kernel(&s) || modules(&s))
		return 0;
	err = vmi_code_open(&c, vmi_rows_walk(r));
	if (err)
		return vmi_rows_error(r, "the map of the kernel's code: %s", strerror(-err));
	if (!generated(&s, c, VMI_CODE_FTRACE, "__builtin__ftrace") &&
	    !generated(&s, c, VMI_CODE_BPF, "bpf"))
		generated(&s, c, VMI_CODE_KPROBE, "__builtin__kprobes");
	vmi_code_close(c);
	return 0;
}

const struct vmi_table vmi_table_kernel_symbols = {
	.name = "kernel_symbols",
	.doc = "Symbols of the kernel, its modules, and code that it made while running.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_SYMBOLS,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
