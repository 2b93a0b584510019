/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: memory that is given back all at once. A report is made of many small
 * arrays with one lifetime; this keeps them together and reuses the memory for the next report.
 */
#ifndef IHO_ARENA_H
#define IHO_ARENA_H

#include <stdlib.h>
#include <string.h>

struct iho_arena_chunk {
	struct iho_arena_chunk *next;
	size_t size, used;
	char data[] __attribute__((aligned(16)));
};

struct iho_arena {
	struct iho_arena_chunk *first, *cur;
};

/* Zeroed memory until the next reset; NULL when there is none. */
static inline void *iho_arena_get(struct iho_arena *a, size_t n, size_t size)
{
	size_t want = (n * size + 15) & ~(size_t)15;
	struct iho_arena_chunk *c = a->cur;
	void *p;

	if (size && n > ((size_t)1 << 40) / size)
		return NULL;
	while (c && c->used + want > c->size && c->next) {
		c = c->next;
		c->used = 0;
	}
	if (!c || c->used + want > c->size) {
		size_t bytes = want > 65536 ? want : 65536;
		struct iho_arena_chunk *fresh = malloc(sizeof(*fresh) + bytes);

		if (!fresh)
			return NULL;
		fresh->next = NULL;
		fresh->size = bytes;
		fresh->used = 0;
		if (c)
			c->next = fresh;
		else
			a->first = fresh;
		c = fresh;
	}
	a->cur = c;
	p = c->data + c->used;
	c->used += want;
	return memset(p, 0, want);
}

static inline void iho_arena_reset(struct iho_arena *a)
{
	a->cur = a->first;
	if (a->cur)
		a->cur->used = 0;
}

static inline void iho_arena_free(struct iho_arena *a)
{
	while (a->first) {
		struct iho_arena_chunk *next = a->first->next;

		free(a->first);
		a->first = next;
	}
	a->cur = NULL;
}

#endif /* IHO_ARENA_H */
