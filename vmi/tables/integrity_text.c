/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * integrity: branches in the kernel's text that lead out of it, and breakpoints that nobody set.
 *
 * All text of the image and of modules is stepped through, function by function. What the kernel's
 * compiler made leads to the image, and what modules have leads to modules too; the kernel itself
 * changes its text at sites that it has tables of (text.h), and these may lead elsewhere, each kind
 * to its own. Anything else was written by somebody else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "insn.h"
#include "integrity.h"
#include "reference.h"
#include "text_image.h"

#define WINDOW (1u << 20)
#define NAME   256
#define INT3   0xcc
#define STATIC (1u << VMI_SITE_STATIC_CALL | 1u << VMI_SITE_TRAMPOLINE)

struct sweep {
	struct vmi_integrity *v;
	bool module; /* a module's text, else the image's */
	uint64_t from; /* of what buf holds */
	size_t n;
	uint8_t *buf;
	uint64_t functions, insns, undecoded;
};

/* Live text changes under the read: what is odd is to be so at a second look. */
static bool still_there(struct sweep *s, uint64_t at, uint8_t len)
{
	uint8_t again[VMI_INSN_MAX];

	return s->v->g->target->kind != VMI_TARGET_LIVE ||
	       (!vmi_read(s->v->w, at, again, len) && !memcmp(again, s->buf + (at - s->from), len));
}

static bool odd(struct sweep *s, uint64_t at, const struct vmi_insn *i, uint64_t to,
		const char *how)
{
	char subject[NAME], name[NAME];

	if (!still_there(s, at, i->len))
		return false;
	return vmi_bad(s->v, vmi_integrity_name(s->v, at, subject, sizeof(subject)), "%s %s", how,
		       vmi_integrity_name(s->v, to, name, sizeof(name)));
}

static bool in_image(const struct vmi_guest *g, uint64_t addr)
{
	return addr >= g->text && addr < g->image_end;
}

/*
 * Is it the jump that a dispatcher's function begins with while programs are attached? Before it
 * was a static call, bpf_dispatcher_NAME_func was led to the image of bpf_dispatcher_NAME
 * (kernel/bpf/dispatcher.c).
 */
static bool is_dispatch(const struct sweep *s, uint64_t at, uint64_t to)
{
	const struct vmi_guest *g = s->v->g;
	const struct vmi_symbol *f = vmi_symbol_at(g->symbols, at);
	struct vmi_field func, image;
	char name[NAME];
	uint64_t d, page;
	int n;

	if (!f || f->addr != at || strncmp(f->name, "bpf_dispatcher_", 15))
		return false;
	n = snprintf(name, sizeof(name), "%s", f->name);
	if (n >= NAME || strcmp(name + n - 5, "_func"))
		return false;
	name[n - 5] = 0;
	d = vmi_sym(g, name);
	if (!d || vmi_field(g, "bpf_dispatcher.func", &func) ||
	    vmi_field(g, "bpf_dispatcher.image", &image) || vmi_val(s->v->w, d, &func) != at)
		return false;
	page = vmi_val(s->v->w, d, &image);
	return page && to - page < 4096;
}

/*
 * May the text at `at` lead to `to`, outside of the image? What ftrace writes to its sites is a
 * call of a trampoline, its own or BPF's: anything else there, which without IBT is where functions
 * begin, is not its work.
 */
static bool may_lead(const struct sweep *s, uint64_t at, const struct vmi_insn *i, uint64_t to)
{
	const struct vmi_sites *sites = &s->v->sites;
	bool ftrace = vmi_insn_is_call(i) && vmi_site_at(sites, at, 1u << VMI_SITE_FTRACE);

	switch (vmi_code_kind(s->v->c, to)) {
	case VMI_CODE_MODULE:
		return s->module || vmi_site_at(sites, at, STATIC);
	case VMI_CODE_BPF:
		return ftrace || vmi_site_at(sites, at, STATIC) ||
		       (vmi_insn_is_jmp(i) && is_dispatch(s, at, to));
	case VMI_CODE_FTRACE:
		return ftrace;
	case VMI_CODE_KPROBE:
		return vmi_site_at(sites, at, 1u << VMI_SITE_KPROBE);
	default:
		return false;
	}
}

static bool is_code(struct sweep *s, uint64_t addr)
{
	uint64_t gpa, left, flags;

	return !vmi_translate(s->v->w, s->v->g->pgd, addr, &gpa, &left, &flags) &&
	       !(flags & VMI_PAGE_NX);
}

/*
 * Ways to go far without a direct branch: an address that is loaded or pushed (mov $imm64, %reg;
 * mov $imm32, %reg sign-extended; push $imm32), or a jump through a word in the text itself.
 */
static bool loads_address(struct sweep *s, uint64_t at, const struct vmi_insn *i)
{
	const struct vmi_guest *g = s->v->g;
	bool wide = i->rex & 8;
	uint64_t to = (uint64_t)i->imm;

	if (i->map || i->vex)
		return false;
	if (i->opcode == 0xff && i->modrm == 0x25) { /* jmp *distance(%rip) */
		uint64_t word = at + i->len + (uint64_t)i->disp;

		if (!is_code(s, word) || vmi_ptr(s->v->w, word, &to))
			return false;
	} else if (!(i->opcode == 0x68 || (i->opcode == 0xc7 && wide) ||
		     (i->opcode >= 0xb8 && i->opcode <= 0xbf && wide))) {
		return false;
	}
	if (in_image(g, to) || to < g->text || may_lead(s, at, i, to) || !is_code(s, to))
		return false;
	return odd(s, at, i, to, "goes to");
}

/* What ends a path: only padding follows. */
static bool ends(const struct vmi_insn *i)
{
	if (vmi_insn_is_ret(i) || vmi_insn_is_jmp(i) || vmi_insn_is_call(i))
		return true;
	if (i->map == 1 && !i->vex &&
	    (i->opcode == 0x0b || i->opcode == 0xb9 || i->opcode == 0x07 || i->opcode == 0x35 ||
	     (i->opcode == 0x01 && i->modrm == 0xca)))
		return true; /* ud2, ud1, sysret, sysexit, eretu and erets */
	return !i->map && !i->vex &&
	       ((i->opcode == 0xff && ((i->modrm >> 3 & 7) == 4 || (i->modrm >> 3 & 7) == 2)) ||
		i->opcode == 0xcf || i->opcode == INT3 || i->opcode == 0xf4);
}

static bool is_nop(const struct vmi_insn *i)
{
	return !i->vex && ((!i->map && i->opcode == 0x90) || (i->map == 1 && i->opcode == 0x1f));
}

/* Is all up to the function's end breakpoints and nops, which is how it is padded? */
static bool is_padding(const struct sweep *s, uint64_t at, uint64_t end)
{
	struct vmi_insn i;

	for (; at < end; at += i.len) {
		if (!vmi_insn_decode(&i, s->buf + (at - s->from), end - at))
			return false;
		if (!is_nop(&i) && (i.map || i.vex || i.opcode != INT3))
			return false;
	}
	return true;
}

/* Breakpoints that the compiler makes lie behind what ends a path, or fill up. */
static bool is_breakpoint(const struct sweep *s, uint64_t at, uint64_t start, uint64_t end,
			  const struct vmi_insn *last)
{
	if (at != start && (ends(last) || is_nop(last)))
		return false;
	return !vmi_site_at(&s->v->sites, at, 1u << VMI_SITE_KPROBE) && !is_padding(s, at, end);
}

static bool function(struct sweep *s, uint64_t start, uint64_t end)
{
	struct vmi_insn i, last = { 0 };
	uint64_t at = start, to;

	s->functions++;
	for (; at < end; at += i.len) {
		size_t off = at - s->from;

		if (!vmi_insn_decode(&i, s->buf + off, end - at)) {
			s->undecoded++;
			return false;
		}
		s->insns++;
		if (i.branch && i.imm_size == 4) {
			to = vmi_insn_target(&i, at);
			if (!in_image(s->v->g, to) && !may_lead(s, at, &i, to) &&
			    odd(s, at, &i, to, vmi_insn_is_call(&i) ? "calls" : "jumps to"))
				return true;
		} else if (!i.map && !i.vex && i.opcode == INT3) {
			if (is_breakpoint(s, at, start, end, &last) &&
			    odd(s, at, &i, at, "a breakpoint that no kprobe set, at"))
				return true;
		} else if (i.imm_size >= 4 || i.opcode == 0xff) {
			if (loads_address(s, at, &i))
				return true;
		}
		last = i;
	}
	return false;
}

/* Has [start, end) in the buffer. */
static bool have(struct sweep *s, uint64_t start, uint64_t end, uint64_t limit)
{
	uint64_t want = limit - start < WINDOW ? limit - start : WINDOW;

	if (start >= s->from && end <= s->from + s->n)
		return true;
	s->from = start;
	s->n = 0;
	if (end - start > WINDOW || vmi_read(s->v->w, start, s->buf, want))
		return false;
	s->n = want;
	return true;
}

static bool kernel_text(struct sweep *s)
{
	const struct vmi_symbols *all = s->v->g->symbols;
	uint64_t from = vmi_sym(s->v->g, "_stext"), to = vmi_sym(s->v->g, "_etext");
	size_t n = vmi_symbols_count(all);

	for (size_t i = 0; i + 1 < n && !s->v->w->stop; i++) {
		uint64_t start = vmi_symbol_nth(all, i)->addr,
			 end = vmi_symbol_nth(all, i + 1)->addr;

		if (start < from || start >= to || end <= start)
			continue;
		end = end < to ? end : to;
		if (have(s, start, end, to) && function(s, start, end))
			return true;
	}
	return false;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* A module's functions begin at its symbols within its code. */
static bool module_text(struct sweep *s, const struct vmi_module_types *t,
			const struct vmi_module *m)
{
	const struct vmi_code_range *r = vmi_code_at(s->v->c, m->text);
	struct vmi_module_symbols y;
	uint64_t *start = NULL;
	bool enough = false;
	size_t n = 0;

	if (!r || vmi_module_symbols(s->v->w, t, m, &y)) {
		vmi_module_symbols_free(&y);
		return false;
	}
	start = calloc(y.n + 1, sizeof(*start));
	for (uint32_t i = 0; start && i < y.n; i++) {
		uint64_t value = y.sym[i].st_value;

		if (y.sym[i].st_shndx && value >= r->start && value < r->end)
			start[n++] = value;
	}
	if (start) {
		qsort(start, n, sizeof(*start), by_value);
		start[n] = r->end;
	}
	for (size_t i = 0; start && i < n && !enough && !s->v->w->stop; i++) {
		if (start[i + 1] > start[i] && have(s, start[i], start[i + 1], r->end))
			enough = function(s, start[i], start[i + 1]);
	}
	free(start);
	vmi_module_symbols_free(&y);
	return enough;
}

int vmi_check_branches(struct vmi_integrity *v)
{
	struct sweep s = { .v = v };
	struct vmi_module_types t;
	const struct vmi_module *m;
	size_t n;
	int err = vmi_integrity_sites(v);

	if (err)
		return err;
	s.buf = malloc(WINDOW);
	if (!s.buf)
		return -ENOMEM;
	if (!kernel_text(&s) && !vmi_module_types(&t, v->g)) {
		s.module = true;
		m = vmi_code_modules(v->c, &n);
		for (size_t i = 0; i < n && !v->w->stop; i++) {
			if (module_text(&s, &t, &m[i]))
				break;
		}
	}
	free(s.buf);
	if (!v->bad && !v->w->stop)
		vmi_fine(v, "",
			 "%llu functions with %llu instructions lead to known code; %llu sites",
			 (unsigned long long)s.functions, (unsigned long long)s.insns,
			 (unsigned long long)v->sites.n);
	return 0;
}

#define NEAR  16 /* bytes that differ this close to each other are one change */
#define SHOWN 16

static void hex(const uint8_t *p, size_t n, char text[2 * SHOWN + 1])
{
	*text = 0;
	for (size_t i = 0; i < n && i < SHOWN; i++)
		sprintf(text + 2 * i, "%02x", p[i]);
}

/*
 * Live text is read a second time: what a static branch or a probe changed just now is no finding.
 */
static bool changed_for_good(struct vmi_integrity *v, const struct vmi_text_image *t, size_t at,
			     size_t end)
{
	uint8_t now[SHOWN];
	size_t n = end - at < SHOWN ? end - at : SHOWN;

	if (v->g->target->kind != VMI_TARGET_LIVE)
		return true;
	if (vmi_read(v->w, t->start + at, now, n))
		return true;
	vmi_reference_unrelocate(v->g->reference, v->g->kaslr_offset,
				 t->start + at - v->g->kaslr_offset, now, n);
	return !memcmp(now, t->bytes + at, n);
}

static bool differences(struct vmi_integrity *v, const struct vmi_text_image *t)
{
	char subject[NAME], running[2 * SHOWN + 1], want[2 * SHOWN + 1];
	size_t at = 0, end, i;

	while (at < t->n && vmi_text_differs(t, at, t->n - at, &at)) {
		for (end = i = at + 1; i < t->n && i < end + NEAR; i++)
			end = t->bytes[i] != t->want[i] ? i + 1 : end;
		hex(t->bytes + at, end - at, running);
		hex(t->want + at, end - at, want);
		vmi_code_name(v->c, t->start + at, true, subject, sizeof(subject));
		if (changed_for_good(v, t, at, end) &&
		    vmi_bad(v, subject, "%s: %zu bytes are %s, and were built as %s", t->section,
			    end - at, running, want))
			return true;
		at = end;
	}
	return false;
}

typedef int (*load_fn)(struct vmi_text_image *t, struct vmi_integrity *v);

static int against_reference(struct vmi_integrity *v, load_fn load)
{
	struct vmi_text_image t;
	int err = load(&t, v);

	if (!err && !differences(v, &t) && !v->bad)
		vmi_fine(v, t.section, "%zu bytes are as they were built", t.n);
	vmi_text_free(&t);
	return err;
}

static int load_text(struct vmi_text_image *t, struct vmi_integrity *v)
{
	return vmi_text_kernel(t, v->w, v->c, &v->sites);
}

static int load_constants(struct vmi_text_image *t, struct vmi_integrity *v)
{
	return vmi_text_constants(t, v->w);
}

int vmi_check_text(struct vmi_integrity *v)
{
	int err;

	if (!v->g->reference) {
		vmi_unknown(v, "",
			    "no reference of this kernel was given, to compare its text with");
		return 0;
	}
	err = against_reference(v, load_text);
	return err ? err : against_reference(v, load_constants);
}
