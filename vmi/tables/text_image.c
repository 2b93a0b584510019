/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "insn.h"
#include "kprobes.h"
#include "reference.h"
#include "text_image.h"

#define TEXT_MAX (64u << 20)
#define CHUNK	 4096

static int read_all(struct vmi_text_image *t, struct vmi_walk *w, uint64_t start, uint64_t end)
{
	if (end <= start)
		return -ENOENT;
	if (end - start > TEXT_MAX)
		return -E2BIG;
	t->start = start;
	t->n = end - start;
	t->bytes = malloc(t->n);
	if (!t->bytes)
		return -ENOMEM;
	for (size_t at = 0; at < t->n;) {
		size_t n = CHUNK - ((start + at) & (CHUNK - 1));

		n = n < t->n - at ? n : t->n - at;
		if (vmi_read(w, start + at, t->bytes + at, n))
			t->torn = true;
		at += n;
	}
	return 0;
}

void vmi_text_free(struct vmi_text_image *t)
{
	free(t->bytes);
	t->bytes = NULL;
}

/* ---- with a reference ---- */

struct probes {
	uint64_t start; /* linked for */
	uint64_t offset; /* of KASLR */
	uint8_t *mask;
	size_t n;
};

static bool mask_probe(void *arg, const struct vmi_kprobe *k)
{
	struct probes *p = arg;
	unsigned int len = k->flags & VMI_KPROBE_FTRACE	     ? 0
			   : k->flags & VMI_KPROBE_OPTIMIZED ? 5
							     : 1;

	for (unsigned int i = 0; i < len; i++) {
		uint64_t bit = k->addr - p->offset + i - p->start;

		if (bit < p->n)
			p->mask[bit / 8] |= (uint8_t)(1u << (bit & 7));
	}
	return false;
}

/* The reference's bytes where the kernel may have changed them, KASLR taken out of the others. */
static int by_reference(struct vmi_text_image *t, struct vmi_walk *w)
{
	const struct vmi_reference *r = w->guest->reference;
	struct probes p = { .start = t->start - w->guest->kaslr_offset,
			    .offset = w->guest->kaslr_offset,
			    .n = t->n };
	int err;

	t->want = vmi_reference_at(r, p.start, t->n);
	if (!t->want)
		return -ENOENT;
	p.mask = malloc((t->n + 7) / 8);
	if (!p.mask)
		return -ENOMEM;
	err = vmi_reference_mask(r, w->guest, p.start, p.mask, t->n);
	if (!err) {
		vmi_kprobes(w, mask_probe, &p);
		vmi_witness_reset(w);
		vmi_reference_unrelocate(r, p.offset, p.start, t->bytes, t->n);
		for (size_t i = 0; i < t->n; i++) {
			if (p.mask[i / 8] >> (i & 7) & 1)
				t->bytes[i] = t->want[i];
		}
	}
	free(p.mask);
	return err;
}

bool vmi_text_differs(const struct vmi_text_image *t, size_t at, size_t n, size_t *first)
{
	if (!t->want || !memcmp(t->bytes + at, t->want + at, n))
		return false;
	for (*first = at; t->bytes[*first] == t->want[*first];)
		(*first)++;
	return true;
}

/* ---- without ---- */

/* Could a 32-bit operand be (half of) an address in the last 2 GiB, wherever KASLR put it? */
static bool may_be_address(int64_t v)
{
	uint64_t u = (uint64_t)v;

	return u >= 0xffffffff80000000ull && u < 0xffffffffff000000ull;
}

/*
 * One function. Distances that lead out of what moves as a whole (the image, or a module's text)
 * differ between boots; addresses do, too. Constants that could be addresses become zero with them:
 * which are which is not told by the text.
 */
static void zero_operands(struct vmi_text_image *t, uint64_t low, uint64_t high, size_t from,
			  size_t to)
{
	struct vmi_insn i;

	for (size_t at = from; at < to; at += i.len) {
		uint64_t next;
		bool out;

		if (!vmi_insn_decode(&i, t->bytes + at, to - at))
			return;
		next = t->start + at + i.len;
		if (i.branch && i.imm_size == 4) {
			out = next + (uint64_t)i.imm < low || next + (uint64_t)i.imm >= high;
			if (out)
				memset(t->bytes + at + i.imm_at, 0, 4);
		} else if ((i.imm_size == 4 || i.imm_size == 8) && may_be_address(i.imm)) {
			memset(t->bytes + at + i.imm_at, 0, i.imm_size);
		}
		if (i.disp_size != 4)
			continue;
		out = i.rip_relative
			      ? next + (uint64_t)i.disp < low || next + (uint64_t)i.disp >= high
			      : may_be_address(i.disp);
		if (out)
			memset(t->bytes + at + i.disp_at, 0, 4);
	}
}

static void zero_sites(struct vmi_text_image *t, const struct vmi_sites *s)
{
	for (size_t i = vmi_sites_from(s, t->start); i < s->n; i++) {
		for (unsigned int k = 0; k < s->v[i].len; k++) {
			uint64_t at = s->v[i].addr + k - t->start;

			if (at < t->n)
				t->bytes[at] = 0;
		}
		if (s->v[i].addr >= t->start + t->n)
			return;
	}
}

static void kernel_operands(struct vmi_text_image *t, const struct vmi_guest *g)
{
	size_t n = vmi_symbols_count(g->symbols), from = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t at = vmi_symbol_nth(g->symbols, i)->addr - t->start;

		if (at >= t->n)
			continue;
		zero_operands(t, g->text, g->image_end, from, at);
		from = at;
	}
	zero_operands(t, g->text, g->image_end, from, t->n);
}

int vmi_text_kernel(struct vmi_text_image *t, struct vmi_walk *w, struct vmi_code *c,
		    const struct vmi_sites *s)
{
	int err;

	(void)c;
	*t = (struct vmi_text_image){ .section = "kernel .text" };
	err = read_all(t, w, vmi_sym(w->guest, "_stext"), vmi_sym(w->guest, "_etext"));
	if (err)
		return err;
	if (w->guest->reference)
		return by_reference(t, w);
	kernel_operands(t, w->guest);
	zero_sites(t, s);
	return 0;
}

int vmi_text_constants(struct vmi_text_image *t, struct vmi_walk *w)
{
	int err;

	*t = (struct vmi_text_image){ .section = "kernel .rodata" };
	if (!w->guest->reference)
		return -ENOENT;
	err = read_all(t, w, vmi_sym(w->guest, "__start_rodata"),
		       vmi_sym(w->guest, "__start_ro_after_init"));
	return err ? err : by_reference(t, w);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int module_operands(struct vmi_text_image *t, struct vmi_walk *w, const struct vmi_module *m)
{
	struct vmi_module_types types;
	struct vmi_module_symbols y;
	uint64_t *start;
	size_t n = 0, from = 0;

	if (vmi_module_types(&types, w->guest))
		return -ENOENT;
	if (vmi_module_symbols(w, &types, m, &y)) {
		vmi_module_symbols_free(&y);
		return -ENOENT;
	}
	start = calloc(y.n + 1, sizeof(*start));
	for (uint32_t i = 0; start && i < y.n; i++) {
		if (y.sym[i].st_shndx && y.sym[i].st_value - t->start < t->n)
			start[n++] = y.sym[i].st_value - t->start;
	}
	vmi_module_symbols_free(&y);
	if (!start)
		return -ENOMEM;
	qsort(start, n, sizeof(*start), by_value);
	for (size_t i = 0; i < n; i++) {
		zero_operands(t, t->start, t->start + t->n, from, start[i]);
		from = start[i];
	}
	zero_operands(t, t->start, t->start + t->n, from, t->n);
	free(start);
	return 0;
}

int vmi_text_module(struct vmi_text_image *t, struct vmi_walk *w, struct vmi_code *c,
		    const struct vmi_sites *s, const struct vmi_module *m)
{
	const struct vmi_code_range *r = vmi_code_at(c, m->text);
	int err;

	*t = (struct vmi_text_image){ 0 };
	snprintf(t->section, sizeof(t->section), "module %s", m->name);
	if (!r)
		return -ENOENT;
	err = read_all(t, w, r->start, r->end);
	if (!err)
		err = module_operands(t, w, m);
	if (!err)
		zero_sites(t, s);
	return err;
}
