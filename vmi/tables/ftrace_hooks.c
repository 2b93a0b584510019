/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who hooks functions of the kernel by ftrace, and which functions are hooked, as
 * /sys/kernel/tracing/enabled_functions has them (Linux: kernel/trace/ftrace.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ftrace_hooks.h"
#include "insn.h"

enum {
	COL_KIND,
	COL_ADDRESS,
	COL_SYMBOL,
	COL_MODULE,
	COL_COUNT,
	COL_FLAGS,
	COL_HANDLER,
	COL_HANDLER_SYMBOL,
	COL_TRAMPOLINE,
	COL_FUNCTIONS,
};

static const struct vmi_column columns[] = {
	[COL_KIND] = { "kind", VMI_TEXT, "ops: one who hooks; function: one that is hooked",
		       .index = true },
	[COL_ADDRESS] = { "address", VMI_TEXT,
			  "of the struct ftrace_ops; of the call in the function" },
	[COL_SYMBOL] = { "symbol", VMI_TEXT, "name of the ops, where it has one; of the function" },
	[COL_MODULE] = { "module", VMI_TEXT, "the module that it is in; NULL = the kernel" },
	[COL_COUNT] = { "count", VMI_INTEGER,
			"ops: how many functions it is set on, NULL = all; function: how many hook "
			"it" },
	[COL_FLAGS] = { "flags", VMI_TEXT, "names of the flags that are set, by space" },
	[COL_HANDLER] = { "handler", VMI_TEXT,
			  "ops: what is called; function: where its call goes to" },
	[COL_HANDLER_SYMBOL] = { "handler_symbol", VMI_TEXT, "its name; NULL = no known code" },
	[COL_TRAMPOLINE] = { "trampoline", VMI_TEXT, "ops: code made for it alone; NULL = none" },
	[COL_FUNCTIONS] = { "functions", VMI_TEXT,
			    "ops: names of (the first) functions, by comma" },
};

#define OPS_MAX	    4096
#define PAGES_MAX   65536
#define RECORDS_MAX (1u << 16) /* of a struct ftrace_page */
#define HASH_BITS   20
#define ENTRIES_MAX (1u << 20)
#define NAMES_MAX   64
#define CALL_BYTES  VMI_FTRACE_SITE_BYTES
#define FLAGS_TEXT  256
#define COUNT_BITS  19 /* of a site's flags: below FTRACE_FL_MODIFIED, which came last */

static const char *const ops_flags[] = {
	"ENABLED",   "DYNAMIC",	 "SAVE_REGS",	"SAVE_REGS_IF_SUPPORTED",
	"RECURSION", "STUB",	 "INITIALIZED", "DELETED",
	"ADDING",    "REMOVING", "MODIFYING",	"ALLOC_TRAMP",
	"IPMODIFY",  "PID",	 "RCU",		"TRACE_ARRAY",
	"PERMANENT", "DIRECT",	 "SUBOP",	"GRAPH",
};

static const char *const site_flags[] = {
	"ENABLED", "REGS",	"REGS_EN",  "TRAMP",	   "TRAMP_EN", "IPMODIFY", "DISABLED",
	"DIRECT",  "DIRECT_EN", "CALL_OPS", "CALL_OPS_EN", "TOUCHED",  "MODIFIED",
};

/* Bits are where this kernel's enumerators say. */
static void flag_names(const struct vmi_guest *g, uint64_t flags, const char *prefix,
		       const char *const *names, size_t n, char *buf, size_t size)
{
	char full[64];
	size_t len = 0;
	int64_t bit;

	*buf = 0;
	for (size_t i = 0; i < n && len < size; i++) {
		snprintf(full, sizeof(full), "%s%s", prefix, names[i]);
		if (!vmi_types_enum(g->types, NULL, full, &bit) && flags & (uint64_t)bit)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? " " : "",
						names[i]);
	}
}

void vmi_ftrace_ops_flags(const struct vmi_guest *g, uint64_t flags, char *buf, size_t size)
{
	flag_names(g, flags, "FTRACE_OPS_FL_", ops_flags, sizeof(ops_flags) / sizeof(ops_flags[0]),
		   buf, size);
}

void vmi_ftrace_site_flags(const struct vmi_guest *g, uint64_t flags, char *buf, size_t size)
{
	flag_names(g, flags, "FTRACE_FL_", site_flags, sizeof(site_flags) / sizeof(site_flags[0]),
		   buf, size);
}

int vmi_ftrace_open(struct vmi_ftrace *f, struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest;
	const struct {
		const char *path;
		struct vmi_field *field;
	} all[] = {
		{ "ftrace_ops.func", &f->func },
		{ "ftrace_ops.next", &f->next },
		{ "ftrace_ops.flags", &f->flags },
		{ "ftrace_ops.trampoline", &f->trampoline },
		{ "ftrace_ops.func_hash", &f->func_hash },
		{ "ftrace_ops_hash.filter_hash", &f->filter_hash },
		{ "ftrace_hash.count", &f->hash_count },
		{ "ftrace_hash.size_bits", &f->hash_bits },
		{ "ftrace_hash.buckets", &f->hash_buckets },
		{ "ftrace_func_entry.hlist", &f->entry_node },
		{ "ftrace_func_entry.ip", &f->entry_ip },
		{ "ftrace_page.next", &f->page_next },
		{ "ftrace_page.records", &f->page_records },
		{ "ftrace_page.index", &f->page_index },
		{ "dyn_ftrace.ip", &f->rec_ip },
		{ "dyn_ftrace.flags", &f->rec_flags },
	};
	int64_t bit = 0, lowest = 0;

	*f = (struct vmi_ftrace){ .w = w };
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (vmi_field(g, all[i].path, all[i].field))
			return -ENOENT;
	}
	vmi_field(g, "ftrace_func_entry.direct", &f->entry_direct);
	f->rec_size = vmi_types_size(g->types, "dyn_ftrace");
	if (f->rec_size < 16 || f->rec_size > 64)
		return -ENOENT;
	/* The count of hooks takes the bits below the lowest flag. */
	for (size_t i = 0; i < sizeof(site_flags) / sizeof(site_flags[0]); i++) {
		char full[64];

		snprintf(full, sizeof(full), "FTRACE_FL_%s", site_flags[i]);
		if (!vmi_types_enum(g->types, NULL, full, &bit) && bit > 0 &&
		    (!lowest || bit < lowest))
			lowest = bit;
	}
	f->enabled = 1ull << 31;
	if (!vmi_types_enum(g->types, NULL, "FTRACE_FL_ENABLED", &bit))
		f->enabled = (uint64_t)bit;
	f->count_mask = lowest ? (uint64_t)lowest - 1 : (1ull << COUNT_BITS) - 1;
	return 0;
}

void vmi_ftrace_each_ops(struct vmi_ftrace *f,
			 bool (*fn)(void *arg, const struct vmi_ftrace_ops *o), void *arg)
{
	uint64_t head = vmi_sym(f->w->guest, "ftrace_ops_list");
	uint64_t end = vmi_sym(f->w->guest, "ftrace_list_end"), at;
	unsigned int n = 0;

	if (!head || vmi_ptr(f->w, head, &at))
		return;
	while (at && at != end) {
		struct vmi_ftrace_ops o = { .gva = at };
		uint64_t hash = vmi_val(f->w, at, &f->func_hash);

		if (n++ == OPS_MAX) {
			vmi_walk_stop(f->w, VMI_STOP_CYCLE, "ftrace_ops_list");
			return;
		}
		o.func = vmi_val(f->w, at, &f->func);
		o.flags = vmi_val(f->w, at, &f->flags);
		o.trampoline = vmi_val(f->w, at, &f->trampoline);
		o.filter = hash ? vmi_val(f->w, hash, &f->filter_hash) : 0;
		o.functions = o.filter ? vmi_val(f->w, o.filter, &f->hash_count) : 0;
		vmi_witness(f->w, at + f->func.offset, 8, o.func);
		if (fn(arg, &o))
			return;
		if (vmi_get(f->w, at, &f->next, &at)) {
			vmi_walk_stop(f->w, VMI_STOP_FAULT, "ftrace_ops_list");
			return;
		}
	}
}

/* A page of records, in one read. */
static int page_sites(struct vmi_ftrace *f, uint64_t page, uint8_t *buf,
		      bool (*fn)(void *arg, const struct vmi_ftrace_site *s), void *arg,
		      bool *enough)
{
	uint64_t at = vmi_val(f->w, page, &f->page_records);
	uint64_t n = vmi_val(f->w, page, &f->page_index);

	if (!at || n > RECORDS_MAX)
		return n ? vmi_walk_stop(f->w, VMI_STOP_LENGTH, "ftrace_page") : 0;
	if (vmi_read(f->w, at, buf, n * f->rec_size))
		return vmi_walk_stop(f->w, VMI_STOP_FAULT, "ftrace_page.records");
	for (uint64_t i = 0; i < n && !*enough; i++) {
		struct vmi_ftrace_site s;

		memcpy(&s.ip, buf + i * f->rec_size + f->rec_ip.offset, 8);
		memcpy(&s.flags, buf + i * f->rec_size + f->rec_flags.offset, 8);
		if (s.ip)
			*enough = fn(arg, &s);
	}
	return 0;
}

int vmi_ftrace_each_site(struct vmi_ftrace *f,
			 bool (*fn)(void *arg, const struct vmi_ftrace_site *s), void *arg)
{
	uint64_t start = vmi_sym(f->w->guest, "ftrace_pages_start"), page;
	bool enough = false;
	uint8_t *buf;

	if (!start || vmi_ptr(f->w, start, &page))
		return 0;
	if (f->rec_ip.offset > f->rec_size - 8 || f->rec_flags.offset > f->rec_size - 8)
		return 0;
	buf = malloc((size_t)RECORDS_MAX * f->rec_size);
	if (!buf)
		return -ENOMEM;
	for (unsigned int n = 0; page && !enough; n++) {
		if (n == PAGES_MAX) {
			vmi_walk_stop(f->w, VMI_STOP_CYCLE, "ftrace_pages_start");
			break;
		}
		if (page_sites(f, page, buf, fn, arg, &enough) ||
		    vmi_get(f->w, page, &f->page_next, &page))
			break;
	}
	free(buf);
	return 0;
}

void vmi_ftrace_each_entry(struct vmi_ftrace *f, uint64_t hash,
			   bool (*fn)(void *arg, uint64_t ip, uint64_t direct), void *arg)
{
	uint64_t bits = vmi_val(f->w, hash, &f->hash_bits);
	uint64_t buckets = vmi_val(f->w, hash, &f->hash_buckets), node;
	unsigned int total = 0;
	struct vmi_list l;

	if (!buckets || bits > HASH_BITS)
		return;
	for (uint64_t i = 0; i < 1ull << bits; i++) {
		vmi_hlist_start(&l, f->w, buckets + i * 8, "ftrace_hash.buckets");
		while ((node = vmi_hlist_next(&l)) && total++ < ENTRIES_MAX) {
			uint64_t e = node - f->entry_node.offset;

			if (fn(arg, vmi_val(f->w, e, &f->entry_ip),
			       vmi_val(f->w, e, &f->entry_direct)))
				return;
		}
		if (f->w->stop)
			return;
	}
}

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	struct vmi_code *c;
	struct vmi_ftrace f;
	bool enough;
	char names[8192];
	size_t names_len;
	unsigned int n_names;
};

static bool add_name(void *arg, uint64_t ip, uint64_t direct)
{
	struct scan *s = arg;
	const char *symbol, *module;
	uint64_t offset;

	(void)direct;
	if (vmi_code_symbol(s->c, ip, &symbol, &offset, &module))
		symbol = "?";
	if (s->n_names == NAMES_MAX || s->names_len + strlen(symbol) + 2 > sizeof(s->names))
		return true;
	s->names_len += (size_t)snprintf(s->names + s->names_len, sizeof(s->names) - s->names_len,
					 "%s%s", s->n_names++ ? "," : "", symbol);
	return false;
}

static void named(struct scan *s, uint64_t addr)
{
	const char *symbol, *module;
	uint64_t offset;

	if (vmi_code_symbol(s->c, addr, &symbol, &offset, &module))
		return;
	vmi_str(s->r, COL_SYMBOL, symbol);
	if (*module)
		vmi_str(s->r, COL_MODULE, module);
}

static void handler(struct scan *s, uint64_t addr)
{
	char text[256];

	vmi_hex(s->r, COL_HANDLER, addr);
	vmi_code_name(s->c, addr, true, text, sizeof(text));
	vmi_str(s->r, COL_HANDLER_SYMBOL, *text ? text : NULL);
}

static bool ops_row(void *arg, const struct vmi_ftrace_ops *o)
{
	struct scan *s = arg;
	char flags[FLAGS_TEXT];

	vmi_row(s->r);
	vmi_str(s->r, COL_KIND, "ops");
	vmi_hex(s->r, COL_ADDRESS, o->gva);
	named(s, o->gva);
	if (o->functions)
		vmi_int(s->r, COL_COUNT, (int64_t)o->functions);
	vmi_ftrace_ops_flags(vmi_rows_guest(s->r), o->flags, flags, sizeof(flags));
	vmi_str(s->r, COL_FLAGS, flags);
	handler(s, o->func);
	if (o->trampoline)
		vmi_hex(s->r, COL_TRAMPOLINE, o->trampoline);
	if (o->functions && vmi_wants(s->r, COL_FUNCTIONS)) {
		s->names_len = s->n_names = 0;
		vmi_ftrace_each_entry(&s->f, o->filter, add_name, s);
		vmi_str(s->r, COL_FUNCTIONS, s->names_len ? s->names : NULL);
	}
	return s->enough = vmi_row_end(s->r);
}

/* Functions that nobody hooks are not shown: they are some 50000. */
static bool site_row(void *arg, const struct vmi_ftrace_site *site)
{
	struct scan *s = arg;
	uint8_t code[CALL_BYTES];
	struct vmi_insn insn;
	char flags[FLAGS_TEXT];

	if (!(site->flags & (s->f.count_mask | s->f.enabled)))
		return false;
	vmi_row(s->r);
	vmi_str(s->r, COL_KIND, "function");
	vmi_hex(s->r, COL_ADDRESS, site->ip);
	named(s, site->ip);
	vmi_int(s->r, COL_COUNT, (int64_t)(site->flags & s->f.count_mask));
	vmi_ftrace_site_flags(vmi_rows_guest(s->r), site->flags, flags, sizeof(flags));
	vmi_str(s->r, COL_FLAGS, flags);
	if (!vmi_read(s->w, site->ip, code, sizeof(code)) &&
	    vmi_insn_decode(&insn, code, sizeof(code)) &&
	    (vmi_insn_is_call(&insn) || vmi_insn_is_jmp(&insn)))
		handler(s, vmi_insn_target(&insn, site->ip));
	return vmi_row_end(s->r);
}

static int rows(struct vmi_rows *r)
{
	struct scan *s = calloc(1, sizeof(*s));
	const char *kind = NULL;
	int err;

	if (!s)
		return vmi_rows_error(r, "out of memory");
	s->r = r;
	s->w = vmi_rows_walk(r);
	err = vmi_ftrace_open(&s->f, s->w);
	if (!err)
		err = vmi_code_open(&s->c, s->w);
	if (!err) {
		vmi_want_str(r, COL_KIND, &kind);
		if (!kind || !strcmp(kind, "ops"))
			vmi_ftrace_each_ops(&s->f, ops_row, s);
		if (!s->enough && (!kind || !strcmp(kind, "function")))
			err = vmi_ftrace_each_site(&s->f, site_row, s);
	}
	vmi_code_close(s->c);
	free(s);
	if (err == -ENOENT)
		return vmi_rows_error(r, "this kernel has no dynamic ftrace");
	return err ? vmi_rows_error(r, "%s", strerror(-err)) : 0;
}

const struct vmi_table vmi_table_ftrace_hooks = {
	.name = "ftrace_hooks",
	.doc = "Who hooks functions of the kernel by ftrace, and which functions are hooked.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
