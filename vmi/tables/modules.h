/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: the modules of the guest (include/linux/module.h), their memory, symbols
 * and types, as several tables need them.
 */
#ifndef VMI_MODULES_H
#define VMI_MODULES_H

#include <elf.h>

#include "table.h"

#define VMI_MODULES_MAX	   4096 /* modules that one guest may have */
#define VMI_MODULE_NAME	   64 /* MODULE_NAME_LEN is 64 - sizeof(long) */
#define VMI_MODULE_AREAS   8
#define VMI_MODULE_SYMBOLS (1u << 20) /* of one module */

/* enum module_state */
enum { VMI_MODULE_LIVE, VMI_MODULE_COMING, VMI_MODULE_GOING, VMI_MODULE_UNFORMED };

struct vmi_module {
	uint64_t gva; /* of its struct module */
	char name[VMI_MODULE_NAME]; /* raw bytes */
	unsigned int state;
	uint64_t text; /* gva of its code; 0 = none */
	/* What it occupies: code and data, and those of its init part while that is there. */
	struct {
		uint64_t base;
		uint32_t size;
		bool code; /* holds code (before 6.4, beside the data of the same layout) */
	} area[VMI_MODULE_AREAS];
	unsigned int areas;
	uint64_t size; /* of all areas */
};

/* The members of struct module that are needed here; one guest, one set. */
struct vmi_module_types {
	struct vmi_field list, name, state, refcnt, taints, init, exit, source_list, kallsyms;
	struct vmi_field mem, core, init_layout, data_layout; /* mem: from 6.4 on; others before */
	struct vmi_field base, size, text_size; /* within an area */
	struct vmi_field mkobj_mod, syms, num_syms;
	struct vmi_field symtab, num_symtab, strtab, typetab;
	struct vmi_field use_source_list, use_source;
};

/* -ENOENT where this kernel's struct module is not understood. */
int vmi_module_types(struct vmi_module_types *t, struct vmi_guest *g);

/* Loads the module at `gva`. 0 or a negative errno value; names are not looked at. */
int vmi_module_load(struct vmi_walk *w, const struct vmi_module_types *t, uint64_t gva,
		    struct vmi_module *out);

/* Does `addr` lie in the module's memory? */
bool vmi_module_has(const struct vmi_module *m, uint64_t addr);

/* Iterates the list that /proc/modules shows, newest first. */
struct vmi_modules {
	struct vmi_walk *w;
	struct vmi_module_types t;
	struct vmi_list list;
};

/* 0; -ENOENT: no modules, or not understood. */
int vmi_modules_start(struct vmi_modules *m, struct vmi_walk *w);
/* false: end. The witnesses of a row made of it are named. */
bool vmi_modules_next(struct vmi_modules *m, struct vmi_module *out);

/* A module's symbols, copied out of its own kallsyms (struct mod_kallsyms). */
struct vmi_module_symbols {
	Elf64_Sym *sym;
	char *type; /* one for each; NULL before 5.2 */
	char *str; /* ends with NUL */
	uint32_t n, str_bytes;
};

/* 0; -ENOENT: it has none. To be freed all the same. */
int vmi_module_symbols(struct vmi_walk *w, const struct vmi_module_types *t,
		       const struct vmi_module *m, struct vmi_module_symbols *out);
void vmi_module_symbols_free(struct vmi_module_symbols *s);
/* The name of the i'th, "" = none; it lives as long as `s`. */
const char *vmi_module_symbol_name(const struct vmi_module_symbols *s, uint32_t i);

/*
 * The types of module `name` (its split BTF on top of the kernel's), to be closed by the caller. Of
 * a driver that is built in, the kernel's own types serve: -ENOENT is then no error. -ENOENT: no
 * such module, or it brings no BTF; others as vmi_types_open().
 */
int vmi_module_btf(struct vmi_walk *w, const char *name, struct vmi_types **out);

#endif /* VMI_MODULES_H */
