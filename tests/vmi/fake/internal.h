/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to the made-up guest: its parts while it is built. */
#ifndef FAKE_INTERNAL_H
#define FAKE_INTERNAL_H

#include "fake.h"

#define PAGE	  4096ull
#define IMAGE_GPA 0x400000ull
#define TEXT_SIZE 0x200000ull
#define RODATA	  (FAKE_TEXT + TEXT_SIZE)
#define DATA	  (RODATA + 0x100000)
#define IMAGE_END (DATA + 0x100000)
#define HEAP_GPA  0x800000ull

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_PS = 128 };
#define PTE_NX	 (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

struct fake_symbol {
	uint64_t gva;
	char type;
	char name[47];
};

struct fake_write {
	uint64_t gpa;
	uint32_t len;
	uint8_t old[64];
};

_Noreturn void fake_die(const char *what);

/* Maps a page of `size` (4 KiB, 2 MiB, 1 GiB) in the table at gpa `pgd`. */
void fake_map(struct fake *f, uint64_t pgd, uint64_t gva, uint64_t gpa, uint64_t size,
	      uint64_t flags);
uint64_t fake_new_table(struct fake *f);

/* In the image: room with a symbol. `type` as in /proc/kallsyms; T, R and D tell the section. */
uint64_t fake_object(struct fake *f, const char *name, char type, size_t bytes, size_t align);
void fake_name(struct fake *f, const char *name, char type, uint64_t gva);
/* A text in rodata. */
uint64_t fake_text(struct fake *f, const char *text);
/* Mapped pages of the vmalloc area; `flags`: PTE_W, PTE_NX. */
uint64_t fake_vmalloc(struct fake *f, size_t bytes, uint64_t flags);

/* list_add_tail(), hlist_add_head(), by gvas. */
void fake_list_init(struct fake *f, uint64_t head);
void fake_list_add(struct fake *f, uint64_t node, uint64_t head);
void fake_hlist_add(struct fake *f, uint64_t node, uint64_t head);

/* kallsyms.c: writes the tables of all symbols. */
void fake_kallsyms(struct fake *f);

/* The parts of the world, in this order. */
void fake_world_tasks(struct fake *f);

/* The object at gva, as its type; and a member's gva. */
#define AT(f, gva, type)	  ((type *)fake_at(f, gva))
#define MEMBER(gva, type, member) ((gva) + offsetof(type, member))
#define PTR(gva)		  ((void *)(uintptr_t)(gva))

#endif /* FAKE_INTERNAL_H */
