/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loaded modules, as /proc/modules has them (Linux: kernel/module/procfs.c). */
#include <string.h>

#include "modules.h"

enum {
	COL_NAME,
	COL_SIZE,
	COL_USED_BY,
	COL_STATUS,
	COL_ADDRESS,
	COL_REFCOUNT,
	COL_TAINTS,
	COL_STRUCT,
};

static const struct vmi_column columns[] = {
	[COL_NAME] = { "name", VMI_TEXT, "module" },
	[COL_SIZE] = { "size", VMI_INTEGER, "bytes of code and data" },
	[COL_USED_BY] = { "used_by", VMI_TEXT, "modules that use it, by comma; - = none" },
	[COL_STATUS] = { "status", VMI_TEXT, "Live, Loading or Unloading" },
	[COL_ADDRESS] = { "address", VMI_TEXT, "kernel address of its code" },
	[COL_REFCOUNT] = { "refcount", VMI_INTEGER, "how many use it, programs included" },
	[COL_TAINTS] = { "taints", VMI_TEXT, "letters of what it taints the kernel with" },
	[COL_STRUCT] = { "struct_address", VMI_TEXT, "kernel address of its struct module" },
};

#define USERS_MAX     4096
#define PERMANENT     "[permanent]"
#define TAINT_LETTERS "PFSRMBUDAWCIOELKXTNJ" /* kernel/panic.c: taint_flags */

/*
 * "a,b,[permanent]" as /proc/modules has it but for the comma at the end, which osquery cuts off.
 */
static void used_by(struct vmi_rows *r, struct vmi_modules *m, const struct vmi_module *mod)
{
	struct vmi_walk *w = m->w;
	char text[8192] = "", name[VMI_MODULE_NAME];
	size_t len = 0;
	uint64_t node;
	struct vmi_list l;

	if (!m->t.source_list.present || !m->t.use_source.present)
		return;
	vmi_list_start(&l, w, mod->gva + m->t.source_list.offset, "module.source_list");
	while ((node = vmi_list_next(&l)) && l.n <= USERS_MAX) {
		uint64_t use = node - m->t.use_source_list.offset;
		uint64_t source = vmi_val(w, use, &m->t.use_source);

		if (vmi_text_field(w, source, &m->t.name, name, sizeof(name)) < 0)
			break;
		if (len + strlen(name) + sizeof(PERMANENT) + 2 > sizeof(text))
			break;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len ? "," : "",
					name);
	}
	if (vmi_val(w, mod->gva, &m->t.init) && m->t.exit.present &&
	    !vmi_val(w, mod->gva, &m->t.exit))
		snprintf(text + len, sizeof(text) - len, "%s%s", len ? "," : "", PERMANENT);
	vmi_str(r, COL_USED_BY, *text ? text : "-");
}

static void taints(struct vmi_rows *r, struct vmi_modules *m, const struct vmi_module *mod)
{
	char text[sizeof(TAINT_LETTERS)], *p = text;
	uint64_t bits;

	if (vmi_get(m->w, mod->gva, &m->t.taints, &bits))
		return;
	for (size_t i = 0; i < sizeof(TAINT_LETTERS) - 1; i++) {
		if (bits >> i & 1)
			*p++ = TAINT_LETTERS[i];
	}
	*p = 0;
	vmi_str(r, COL_TAINTS, text);
}

static const char *status(unsigned int state)
{
	switch (state) {
	case VMI_MODULE_LIVE:
		return "Live";
	case VMI_MODULE_COMING:
		return "Loading";
	case VMI_MODULE_GOING:
		return "Unloading";
	default:
		return NULL;
	}
}

static int rows(struct vmi_rows *r)
{
	struct vmi_module mod;
	struct vmi_modules m;
	uint64_t refcnt;

	if (vmi_modules_start(&m, vmi_rows_walk(r)))
		return vmi_rows_error(
			r, "this kernel has no modules, or its struct module is unknown");
	while (vmi_modules_next(&m, &mod)) {
		vmi_row(r);
		vmi_str(r, COL_NAME, mod.name);
		vmi_int(r, COL_SIZE, (int64_t)mod.size);
		if (vmi_wants(r, COL_USED_BY))
			used_by(r, &m, &mod);
		vmi_str(r, COL_STATUS, status(mod.state));
		vmi_hex(r, COL_ADDRESS, mod.text);
		/* MODULE_REF_BASE: what the kernel itself holds while the module is not going. */
		if (!vmi_get(m.w, mod.gva, &m.t.refcnt, &refcnt))
			vmi_int(r, COL_REFCOUNT, (int32_t)refcnt - 1);
		taints(r, &m, &mod);
		vmi_hex(r, COL_STRUCT, mod.gva);
		if (vmi_row_end(r))
			break;
	}
	return 0;
}

const struct vmi_table vmi_table_kernel_modules = {
	.name = "kernel_modules",
	.doc = "Modules in the guest's list of modules.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
