/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kallsyms as scripts/kallsyms.c of several kernels lays it out: vmi/kernel/symbols.c has the
 * table. Names are put together of tokens: a character stands for itself, and codes that no name
 * uses for what is often found.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static const char *const often[] = { "fake_", "function_", "init_", "kernel_", "_start", "_end" };

#define OFTEN_FIRST 128
#define OFTEN	    (sizeof(often) / sizeof(often[0]))

static int by_address(const void *a, const void *b)
{
	const struct fake_symbol *x = a, *y = b;

	return x->gva < y->gva ? -1 : x->gva > y->gva;
}

static uint64_t room(struct fake *f, size_t bytes, size_t align)
{
	return fake_object(f, NULL, 'r', bytes, align);
}

static void put_word(struct fake *f, uint64_t value, size_t bytes, size_t align)
{
	memcpy(fake_at(f, room(f, bytes, align)), &value, bytes);
}

static size_t encode(const struct fake_symbol *s, uint8_t *to)
{
	const char *p = s->name;
	size_t n = 0;

	to[n++] = (uint8_t)s->type;
	while (*p) {
		size_t i = 0;

		while (i < OFTEN && strncmp(p, often[i], strlen(often[i])))
			i++;
		to[n++] = i < OFTEN ? (uint8_t)(OFTEN_FIRST + i) : (uint8_t)*p;
		p += i < OFTEN ? strlen(often[i]) : 1;
	}
	return n;
}

static void put_names(struct fake *f)
{
	for (size_t i = 0; i < f->n_symbols; i++) {
		uint8_t name[64], n = (uint8_t)encode(&f->symbols[i], name);
		uint64_t at = room(f, n + 1u, 1);

		*AT(f, at, uint8_t) = n;
		memcpy(fake_at(f, at + 1), name, n);
	}
}

static void put_markers(struct fake *f, uint64_t names)
{
	size_t align = f->options.kallsyms == FAKE_KALLSYMS_7_0 ? 4 : 8;

	room(f, 0, align);
	for (size_t i = 0; i < f->n_symbols; i++) {
		if (i % 256 == 0) {
			put_word(f, 0, 4, 4);
			AT(f, f->rodata_brk - 4, u32)[0] = (u32)(names - f->world.kallsyms_names);
		}
		names += 1u + *AT(f, names, uint8_t);
	}
}

static void put_tokens(struct fake *f)
{
	size_t align = f->options.kallsyms == FAKE_KALLSYMS_7_0 ? 4 : 8;
	uint16_t index[256];
	uint64_t start = room(f, 0, align);

	for (unsigned int i = 0; i < 256; i++) {
		char text[2] = { (char)i, 0 };
		const char *token = i >= OFTEN_FIRST && i - OFTEN_FIRST < OFTEN
					    ? often[i - OFTEN_FIRST]
				    : i > ' ' && i < 127 ? text
							 : "unused";

		index[i] = (uint16_t)(fake_text(f, token) - start);
	}
	memcpy(fake_at(f, room(f, sizeof(index), align)), index, sizeof(index));
}

static void put_addresses(struct fake *f)
{
	for (size_t i = 0; i < f->n_symbols; i++) {
		uint64_t gva = f->symbols[i].gva, offset;

		if (f->options.kallsyms == FAKE_KALLSYMS_7_0)
			offset = gva - f->rodata_brk;
		else if (gva < FAKE_TEXT) /* per-CPU */
			offset = gva;
		else
			offset = FAKE_TEXT - 1 - gva;
		put_word(f, (u32)offset, 4, 4);
	}
}

static void put_relative_base(struct fake *f)
{
	if (f->options.kallsyms != FAKE_KALLSYMS_7_0)
		put_word(f, FAKE_TEXT, 8, 8);
}

/* For each symbol its place by name, in three bytes: nothing reads it here. */
static void put_seqs(struct fake *f)
{
	room(f, 3 * f->n_symbols, 8);
}

void fake_kallsyms(struct fake *f)
{
	bool first = f->options.kallsyms <= FAKE_KALLSYMS_6_2;
	uint64_t names;

	qsort(f->symbols, f->n_symbols, sizeof(*f->symbols), by_address);
	room(f, 0, 64);
	if (first) {
		put_addresses(f);
		put_relative_base(f);
	}
	put_word(f, f->n_symbols, 4, 8);
	names = f->world.kallsyms_names =
		room(f, 0, f->options.kallsyms == FAKE_KALLSYMS_7_0 ? 4 : 8);
	put_names(f);
	f->world.kallsyms_markers = f->rodata_brk;
	put_markers(f, names);
	if (f->options.kallsyms == FAKE_KALLSYMS_6_2)
		put_seqs(f);
	f->world.kallsyms_tokens = f->rodata_brk;
	put_tokens(f);
	if (!first) {
		room(f, 0, f->options.kallsyms == FAKE_KALLSYMS_7_0 ? 4 : 8);
		f->world.kallsyms_addresses = f->rodata_brk;
		put_addresses(f);
		put_relative_base(f);
		put_seqs(f);
	}
}
