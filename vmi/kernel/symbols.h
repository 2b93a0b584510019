/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest kernel's symbols, decoded from its own kallsyms tables (Linux: kernel/kallsyms.c,
 * scripts/kallsyms.c), whichever layout they have. Modules' symbols are not here: they are in the
 * modules (tables/). The whole is decoded once, into an index of ours; nothing points into guest
 * memory.
 */
#ifndef VMI_SYMBOLS_H
#define VMI_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

struct vmi_symbols;

struct vmi_symbol {
	uint64_t addr;
	char type; /* as in /proc/kallsyms: T t D d B b R r V v W w A ... */
	const char *name; /* lives as long as the index */
};

void vmi_symbols_close(struct vmi_symbols *s);

/* The address of `name` (the first of several), 0 = none. */
uint64_t vmi_symbol_addr(const struct vmi_symbols *s, const char *name);

/* The symbol at or before `addr`; NULL = none, or `addr` is behind the kernel's image. */
const struct vmi_symbol *vmi_symbol_at(const struct vmi_symbols *s, uint64_t addr);

/* By index, in the order of addresses. */
size_t vmi_symbols_count(const struct vmi_symbols *s);
const struct vmi_symbol *vmi_symbol_nth(const struct vmi_symbols *s, size_t i);

/* Which layout was decoded, for a person: "6.4: offsets, relative base, big symbols". */
const char *vmi_symbols_layout(const struct vmi_symbols *s);

#endif /* VMI_SYMBOLS_H */
