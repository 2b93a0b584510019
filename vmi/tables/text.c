/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ftrace_hooks.h"
#include "kprobes.h"
#include "text.h"

#define ENTRIES_MAX (1u << 20)
#define CHUNK	    (64u << 10)
#define JUMP_SIZE   5

static int add(struct vmi_sites *s, uint64_t addr, uint8_t len, enum vmi_site_kind kind)
{
	if (s->n == s->room) {
		size_t room = s->room ? s->room * 2 : 16384;
		struct vmi_site *v =
			s->n < (ENTRIES_MAX << 2) ? reallocarray(s->v, room, sizeof(*v)) : NULL;

		if (!v)
			return -ENOMEM;
		s->v = v;
		s->room = room;
	}
	s->v[s->n++] = (struct vmi_site){ .addr = addr, .len = len, .kind = (uint8_t)kind };
	return 0;
}

/*
 * A table of entries whose first member is the distance of a site from itself: struct jump_entry
 * and struct static_call_site (include/linux/jump_label.h, static_call_types.h).
 */
static int add_table(struct vmi_sites *s, struct vmi_walk *w, uint64_t at, uint64_t end,
		     uint32_t size, uint8_t len, enum vmi_site_kind kind)
{
	uint64_t n = size && end > at ? (end - at) / size : 0;
	uint8_t *buf;
	int err = 0;

	if (!n || n > ENTRIES_MAX)
		return 0;
	buf = malloc(CHUNK);
	if (!buf)
		return -ENOMEM;
	for (uint64_t i = 0; i < n && !err;) {
		uint64_t many = n - i < CHUNK / size ? n - i : CHUNK / size;

		if (vmi_read(w, at + i * size, buf, many * size))
			break;
		for (uint64_t k = 0; k < many && !err; k++) {
			int32_t distance;

			memcpy(&distance, buf + k * size, sizeof(distance));
			err = add(s, at + (i + k) * size + (uint64_t)(int64_t)distance, len, kind);
		}
		i += many;
	}
	free(buf);
	return err;
}

static int add_static(struct vmi_sites *s, struct vmi_walk *w)
{
	struct vmi_guest *g = w->guest;
	uint32_t jump = vmi_types_size(g->types, "jump_entry");
	uint32_t call = vmi_types_size(g->types, "static_call_site");
	int err = add_table(s, w, vmi_sym(g, "__start___jump_table"),
			    vmi_sym(g, "__stop___jump_table"), jump, JUMP_SIZE,
			    VMI_SITE_JUMP_LABEL);

	if (!err)
		err = add_table(s, w, vmi_sym(g, "__start_static_call_sites"),
				vmi_sym(g, "__stop_static_call_sites"), call, JUMP_SIZE,
				VMI_SITE_STATIC_CALL);
	return err;
}

static int add_modules(struct vmi_sites *s, struct vmi_walk *w, struct vmi_code *c)
{
	struct vmi_field jumps, n_jumps, calls, n_calls;
	struct vmi_guest *g = w->guest;
	uint32_t jump = vmi_types_size(g->types, "jump_entry");
	uint32_t call = vmi_types_size(g->types, "static_call_site");
	const struct vmi_module *m;
	size_t n;
	int err = 0;

	vmi_field(g, "module.jump_entries", &jumps);
	vmi_field(g, "module.num_jump_entries", &n_jumps);
	vmi_field(g, "module.static_call_sites", &calls);
	vmi_field(g, "module.num_static_call_sites", &n_calls);
	m = vmi_code_modules(c, &n);
	for (size_t i = 0; i < n && !err; i++) {
		uint64_t at = vmi_val(w, m[i].gva, &jumps);
		uint64_t many = vmi_val(w, m[i].gva, &n_jumps) & 0xffffffff;

		err = add_table(s, w, at, at + many * jump, jump, JUMP_SIZE, VMI_SITE_JUMP_LABEL);
		at = vmi_val(w, m[i].gva, &calls);
		many = vmi_val(w, m[i].gva, &n_calls) & 0xffffffff;
		if (!err)
			err = add_table(s, w, at, at + many * call, call, JUMP_SIZE,
					VMI_SITE_STATIC_CALL);
	}
	return err;
}

/* Trampolines have names, __SCT__something; those of modules lie in their text. */
static int add_trampolines(struct vmi_sites *s, struct vmi_walk *w)
{
	const struct vmi_symbols *all = w->guest->symbols;
	size_t n = vmi_symbols_count(all);
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		const struct vmi_symbol *y = vmi_symbol_nth(all, i);

		if (!strncmp(y->name, "__SCT__", 7))
			err = add(s, y->addr, JUMP_SIZE, VMI_SITE_TRAMPOLINE);
	}
	return err;
}

static int add_module_trampolines(struct vmi_sites *s, struct vmi_walk *w, struct vmi_code *c)
{
	struct vmi_module_types t;
	struct vmi_module_symbols y;
	const struct vmi_module *m;
	size_t n;
	int err = 0;

	m = vmi_code_modules(c, &n);
	if (vmi_module_types(&t, w->guest))
		return 0;
	for (size_t i = 0; i < n && !err; i++) {
		bool has = !vmi_module_symbols(w, &t, &m[i], &y);

		for (uint32_t k = 0; has && k < y.n && !err; k++) {
			if (!strncmp(vmi_module_symbol_name(&y, k), "__SCT__", 7) &&
			    y.sym[k].st_shndx)
				err = add(s, y.sym[k].st_value, JUMP_SIZE, VMI_SITE_TRAMPOLINE);
		}
		vmi_module_symbols_free(&y);
	}
	return err;
}

struct adding {
	struct vmi_sites *s;
	int err;
};

static bool ftrace_site(void *arg, const struct vmi_ftrace_site *site)
{
	struct adding *a = arg;

	a->err = add(a->s, site->ip, VMI_FTRACE_SITE_BYTES, VMI_SITE_FTRACE);
	return a->err;
}

static int add_ftrace(struct vmi_sites *s, struct vmi_walk *w)
{
	/* In ftrace's own code: where it calls the one function that is registered, or the list. */
	static const char *const calls[] = { "ftrace_call", "ftrace_regs_call",
					     "ftrace_graph_call" };
	struct adding a = { .s = s };
	struct vmi_ftrace f;
	int err;

	if (vmi_ftrace_open(&f, w))
		return 0;
	err = vmi_ftrace_each_site(&f, ftrace_site, &a);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && !err && !a.err; i++) {
		uint64_t addr = vmi_sym(w->guest, calls[i]);

		if (addr)
			err = add(s, addr, VMI_FTRACE_SITE_BYTES, VMI_SITE_FTRACE);
	}
	return err ? err : a.err;
}

static bool kprobe_site(void *arg, const struct vmi_kprobe *k)
{
	struct adding *a = arg;

	if (k->flags & VMI_KPROBE_FTRACE)
		return false; /* the site is ftrace's */
	a->err = add(a->s, k->addr, k->flags & VMI_KPROBE_OPTIMIZED ? JUMP_SIZE : 1,
		     VMI_SITE_KPROBE);
	return a->err;
}

static int by_addr(const void *a, const void *b)
{
	const struct vmi_site *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return x->kind - y->kind;
}

/*
 * Static branches take 2 bytes where their target is near (5.14 and later): a nop of two bytes or a
 * short jump. A static call may be a conditional jump, with its 0f in front (6.2 and later).
 */
static void measure(struct vmi_sites *s, struct vmi_walk *w)
{
	for (size_t i = 0; i < s->n; i++) {
		struct vmi_site *v = &s->v[i];
		uint8_t b[2];

		if (v->kind != VMI_SITE_JUMP_LABEL && v->kind != VMI_SITE_STATIC_CALL)
			continue;
		if (vmi_read(w, v->addr, b, sizeof(b)))
			continue;
		if (v->kind == VMI_SITE_JUMP_LABEL &&
		    (b[0] == 0xeb || (b[0] == 0x66 && b[1] == 0x90)))
			v->len = 2;
		else if (v->kind == VMI_SITE_STATIC_CALL && b[0] == 0x0f && b[1] >= 0x80 &&
			 b[1] <= 0x8f)
			v->len = 6;
	}
}

int vmi_sites_load(struct vmi_sites *s, struct vmi_walk *w, struct vmi_code *c)
{
	struct adding a = { .s = s };
	int err;

	*s = (struct vmi_sites){ 0 };
	err = add_static(s, w);
	err = err ? err : add_modules(s, w, c);
	err = err ? err : add_trampolines(s, w);
	err = err ? err : add_module_trampolines(s, w, c);
	err = err ? err : add_ftrace(s, w);
	if (!err) {
		vmi_kprobes(w, kprobe_site, &a);
		err = a.err;
	}
	if (err)
		return err;
	measure(s, w);
	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), by_addr);
	vmi_witness_reset(w);
	return 0;
}

void vmi_sites_free(struct vmi_sites *s)
{
	free(s->v);
	*s = (struct vmi_sites){ 0 };
}

#define LONGEST 6

size_t vmi_sites_from(const struct vmi_sites *s, uint64_t addr)
{
	size_t lo = 0, hi = s->n;

	/* No site is longer than 6 bytes: one that ends behind `addr` begins behind addr - 6. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->v[mid].addr + LONGEST <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo < s->n && s->v[lo].addr + s->v[lo].len <= addr)
		lo++;
	return lo;
}

const struct vmi_site *vmi_site_at(const struct vmi_sites *s, uint64_t addr, unsigned int kinds)
{
	for (size_t i = vmi_sites_from(s, addr); i < s->n && s->v[i].addr <= addr; i++) {
		if (s->v[i].addr == addr && kinds >> s->v[i].kind & 1)
			return &s->v[i];
	}
	return NULL;
}
