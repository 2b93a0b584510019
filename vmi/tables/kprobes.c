/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kprobes, as /sys/kernel/debug/kprobes/list has them (Linux: kernel/kprobes.c): a hash table by
 * address. Where several probes share one, an aggregate stands in the table and they hang on its
 * list.
 */
#include <errno.h>
#include <string.h>

#include "kprobes.h"

enum {
	COL_ADDRESS,
	COL_TYPE,
	COL_SYMBOL,
	COL_MODULE,
	COL_FLAGS,
	COL_PRE_HANDLER,
	COL_PRE_SYMBOL,
	COL_POST_HANDLER,
	COL_POST_SYMBOL,
	COL_RETURN_HANDLER,
	COL_RETURN_SYMBOL,
	COL_ASKED_FOR,
	COL_MISSED,
};

static const struct vmi_column columns[] = {
	[COL_ADDRESS] = { "address", VMI_TEXT, "where the probe is" },
	[COL_TYPE] = { "type", VMI_TEXT, "k = at an instruction, r = at a function's return" },
	[COL_SYMBOL] = { "symbol", VMI_TEXT, "function and offset of the address" },
	[COL_MODULE] = { "module", VMI_TEXT, "the module that it is in; NULL = the kernel" },
	[COL_FLAGS] = { "flags", VMI_TEXT,
			"of GONE, DISABLED, OPTIMIZED (a jump, no breakpoint), FTRACE; by space" },
	[COL_PRE_HANDLER] = { "pre_handler", VMI_TEXT, "called before the instruction" },
	[COL_PRE_SYMBOL] = { "pre_symbol", VMI_TEXT, "its name; NULL = no known code" },
	[COL_POST_HANDLER] = { "post_handler", VMI_TEXT, "called behind the instruction" },
	[COL_POST_SYMBOL] = { "post_symbol", VMI_TEXT, "its name; NULL = no known code" },
	[COL_RETURN_HANDLER] = { "return_handler", VMI_TEXT, "called at the function's return" },
	[COL_RETURN_SYMBOL] = { "return_symbol", VMI_TEXT, "its name; NULL = no known code" },
	[COL_ASKED_FOR] = { "asked_for", VMI_TEXT, "symbol and offset that the probe was set for" },
	[COL_MISSED] = { "missed", VMI_INTEGER, "hits while another probe was at work" },
};

#define TABLE_SIZE 64 /* KPROBE_TABLE_SIZE, since 2.6 */
#define PROBES_MAX 65536

struct types {
	struct vmi_field hlist, list, missed, addr, name, offset, pre, post, opcode, flags, handler;
	uint64_t aggregate, returns; /* what pre_handler is of the two special kinds; 0 = unknown */
};

static int find_types(struct types *t, struct vmi_guest *g)
{
	if (vmi_field(g, "kprobe.hlist", &t->hlist) || vmi_field(g, "kprobe.list", &t->list) ||
	    vmi_field(g, "kprobe.addr", &t->addr) || vmi_field(g, "kprobe.flags", &t->flags) ||
	    vmi_field(g, "kprobe.pre_handler", &t->pre) ||
	    vmi_field(g, "kprobe.post_handler", &t->post))
		return -ENOENT;
	vmi_field(g, "kprobe.nmissed", &t->missed);
	vmi_field(g, "kprobe.symbol_name", &t->name);
	vmi_field(g, "kprobe.offset", &t->offset);
	vmi_field(g, "kprobe.opcode", &t->opcode);
	vmi_field(g, "kretprobe.handler", &t->handler);
	t->aggregate = vmi_sym(g, "aggr_pre_handler");
	t->returns = vmi_sym(g, "pre_handler_kretprobe");
	return 0;
}

static void load(struct vmi_walk *w, const struct types *t, uint64_t gva, uint32_t armed,
		 struct vmi_kprobe *out)
{
	uint64_t name = vmi_val(w, gva, &t->name);

	*out = (struct vmi_kprobe){ .gva = gva };
	out->addr = vmi_val(w, gva, &t->addr);
	out->pre = vmi_val(w, gva, &t->pre);
	out->post = vmi_val(w, gva, &t->post);
	out->own = (uint32_t)vmi_val(w, gva, &t->flags);
	out->flags = armed ? armed : out->own;
	out->missed = vmi_val(w, gva, &t->missed);
	out->opcode = (uint8_t)vmi_val(w, gva, &t->opcode);
	out->offset = (uint32_t)vmi_val(w, gva, &t->offset);
	if (!name || vmi_text(w, name, out->symbol, sizeof(out->symbol)) < 0)
		*out->symbol = 0;
	out->aggregate = t->aggregate && out->pre == t->aggregate;
	out->returns = t->returns && out->pre == t->returns;
	/* struct kretprobe starts with its kprobe */
	out->ret = out->returns ? vmi_val(w, gva, &t->handler) : 0;
}

/* Those that share the address: they hang on the aggregate's list. */
static bool members(struct vmi_walk *w, const struct types *t, const struct vmi_kprobe *aggregate,
		    bool (*fn)(void *arg, const struct vmi_kprobe *k), void *arg)
{
	struct vmi_kprobe k;
	struct vmi_list l;
	uint64_t node;

	vmi_list_start(&l, w, aggregate->gva + t->list.offset, "kprobe.list");
	while ((node = vmi_list_next(&l)) && l.n <= PROBES_MAX) {
		load(w, t, node - t->list.offset, aggregate->own, &k);
		vmi_witness(w, node - t->list.offset + t->addr.offset, 8, k.addr);
		if (fn(arg, &k))
			return true;
	}
	return false;
}

int vmi_kprobes(struct vmi_walk *w, bool (*fn)(void *arg, const struct vmi_kprobe *k), void *arg)
{
	uint64_t table = vmi_sym(w->guest, "kprobe_table"), node;
	struct vmi_kprobe k;
	struct types t = { 0 };
	struct vmi_list l;

	if (!table || find_types(&t, w->guest))
		return -ENOENT;
	for (unsigned int i = 0; i < TABLE_SIZE; i++) {
		vmi_hlist_start(&l, w, table + i * 8ull, "kprobe_table");
		while ((node = vmi_hlist_next(&l)) && l.n <= PROBES_MAX) {
			load(w, &t, node - t.hlist.offset, 0, &k);
			vmi_witness(w, node - t.hlist.offset + t.addr.offset, 8, k.addr);
			if (fn(arg, &k) || (k.aggregate && members(w, &t, &k, fn, arg)))
				return 0;
		}
	}
	return 0;
}

struct scan {
	struct vmi_rows *r;
	struct vmi_code *c;
};

static void named(const struct scan *s, unsigned int column, uint64_t addr)
{
	char text[256];

	if (!addr)
		return;
	vmi_hex(s->r, column, addr);
	vmi_code_name(s->c, addr, true, text, sizeof(text));
	vmi_str(s->r, column + 1, *text ? text : NULL);
}

static bool row(void *arg, const struct vmi_kprobe *k)
{
	const struct scan *s = arg;
	const char *symbol, *module;
	uint64_t offset;

	if (k->aggregate) {
		vmi_witness_reset(vmi_rows_walk(s->r));
		return false;
	}
	vmi_row(s->r);
	vmi_hex(s->r, COL_ADDRESS, k->addr);
	vmi_str(s->r, COL_TYPE, k->returns ? "r" : "k");
	if (!vmi_code_symbol(s->c, k->addr, &symbol, &offset, &module)) {
		vmi_strf(s->r, COL_SYMBOL, "%s+0x%llx", symbol, (unsigned long long)offset);
		if (*module)
			vmi_str(s->r, COL_MODULE, module);
	}
	vmi_strf(s->r, COL_FLAGS, "%s%s%s%s", k->own & VMI_KPROBE_GONE ? "GONE " : "",
		 k->own & VMI_KPROBE_DISABLED && !(k->own & VMI_KPROBE_GONE) ? "DISABLED " : "",
		 k->flags & VMI_KPROBE_OPTIMIZED ? "OPTIMIZED " : "",
		 k->flags & VMI_KPROBE_FTRACE ? "FTRACE" : "");
	named(s, COL_PRE_HANDLER, k->pre);
	named(s, COL_POST_HANDLER, k->post);
	named(s, COL_RETURN_HANDLER, k->ret);
	if (*k->symbol)
		vmi_strf(s->r, COL_ASKED_FOR, "%s+0x%x", k->symbol, k->offset);
	vmi_int(s->r, COL_MISSED, (int64_t)k->missed);
	return vmi_row_end(s->r);
}

static int rows(struct vmi_rows *r)
{
	struct scan s = { .r = r };
	int err;

	if (vmi_code_open(&s.c, vmi_rows_walk(r)))
		return vmi_rows_error(r, "the map of the kernel's code cannot be made");
	err = vmi_kprobes(vmi_rows_walk(r), row, &s);
	vmi_code_close(s.c);
	return err ? vmi_rows_error(r, "this kernel has no kprobes") : 0;
}

const struct vmi_table vmi_table_kprobes = {
	.name = "kprobes",
	.doc = "Probes in the guest kernel's code, and what they call.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
