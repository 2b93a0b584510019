/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: modules as different parts of the kernel know them, and code that belongs
 * to nothing known.
 */
#ifndef VMI_HIDDEN_MODULES_H
#define VMI_HIDDEN_MODULES_H

#include "code.h"

enum vmi_module_view {
	VMI_MODULE_IN_LIST = 1 << 0, /* `modules`: /proc/modules, lsmod */
	VMI_MODULE_IN_TREE = 1 << 1, /* mod_tree: who an address belongs to */
	VMI_MODULE_IN_SYSFS = 1 << 2, /* module_kset: /sys/module */
	VMI_MODULE_IN_BTF = 1 << 3, /* btf_modules; only of those that bring types */
	VMI_MODULE_IN_MEMORY = 1 << 4, /* a struct module in mapped memory for modules */
};

struct vmi_hidden {
	struct vmi_module mod; /* of code without a module, only areas */
	unsigned int views; /* enum vmi_module_view */
	unsigned int missing; /* of the views that a loaded module is in */
	bool module; /* false: executable pages that belong to nothing */
	uint64_t caller; /* who asked for that memory; 0 = not known */
};

/*
 * Calls `fn` for each hidden module and each range of code without an owner; it returns true when
 * it has enough. 0 or a negative errno value. `*views`: which views this kernel has (NULL: no
 * matter).
 */
int vmi_hidden_modules(struct vmi_walk *w, struct vmi_code *c, unsigned int *views,
		       bool (*fn)(void *arg, const struct vmi_hidden *h), void *arg);

/* "list,sysfs" */
void vmi_module_views(unsigned int views, char *buf, size_t size);

#endif /* VMI_HIDDEN_MODULES_H */
