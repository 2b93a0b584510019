/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest of 64 MiB with a kernel's image in it, made by the test: page tables, kallsyms in any
 * layout, BTF, a first task. Only what vmi/kernel looks at is there.
 *
 *	gva				gpa (+ move)	what
 *	text = 0xffffffff81000000 + kaslr 0x1000000	text, 2 MiB, executable
 *	text + 2 MiB			0x1200000	rodata, 2 MiB: kallsyms, banner, notes, BTF
 *	text + 4 MiB			0x1400000	data, 2 MiB: page tables, first task,
 *variables 0xffff888000000000		0		direct map (la57: 0xff11000000000000)
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/btf.h>
#include <cmocka.h>

#include "../../vmi/kernel/internal.h"

#define FAKE_RAM      (64u << 20)
#define FAKE_PMD      0x200000ull
#define FAKE_PAGE     4096u
#define FAKE_TEXT     0xffffffff81000000ull
#define FAKE_BANNER   "Linux version 6.12.1-fake (builder@host) (gcc) #1 SMP\n"
#define FAKE_SYMBOLS  1500
#define FAKE_CPUS     3
#define FAKE_NX	      (1ull << 63)
#define FAKE_NONE     UINT64_MAX /* not present */
#define FAKE_BUILD_ID "000102030405060708090a0b0c0d0e0f10111213"

enum fake_layout {
	FAKE_5_10, /* offsets before the names, per-CPU absolute */
	FAKE_6_1, /* and lengths of two bytes */
	FAKE_6_2, /* and seqs_of_names, of 4 bytes, before the tokens */
	FAKE_6_3, /* of 3 bytes */
	FAKE_6_4, /* offsets behind the tokens */
	FAKE_6_4_UP, /* without SMP: all relative */
	FAKE_6_15,
	FAKE_7_0, /* place-relative, aligned to 4 */
	FAKE_ADDRESSES_OLD, /* without CONFIG_KALLSYMS_BASE_RELATIVE */
	FAKE_ADDRESSES,
	FAKE_LAYOUTS,
};

struct fake_symbol {
	uint64_t addr;
	char name[384]; /* its type first */
};

struct fake {
	unsigned char *ram;
	int fd;
	struct vmi_mem *mem;
	struct vmi_target target;
	struct vmi_vcpu vcpu;
	bool la57;
	uint64_t kaslr, move; /* of the image: virtual, physical */
	uint64_t text, free_page; /* gva of the image; gpa of the next unused page */
	uint64_t pgd;
	struct fake_symbol symbols[FAKE_SYMBOLS];
	unsigned int n;
	struct vmi_kallsyms at; /* where kallsyms' tables are */
	uint64_t markers, tables_end; /* gva */
	char info[1024]; /* VMCOREINFO */
};

static inline void *fake_phys(struct fake *f, uint64_t gpa)
{
	assert_true(gpa < FAKE_RAM);
	return f->ram + gpa;
}

static inline uint64_t fake_gpa(const struct fake *f, uint64_t gva)
{
	return gva - f->text + 0x1000000 + f->move;
}

/* What is at a gva of the image. */
static inline void *fake_at(struct fake *f, uint64_t gva)
{
	return fake_phys(f, fake_gpa(f, gva));
}

static inline void fake_put(struct fake *f, uint64_t gva, uint64_t v)
{
	memcpy(fake_at(f, gva), &v, 8);
}

static inline uint64_t fake_new_page(struct fake *f)
{
	uint64_t gpa = f->free_page;

	f->free_page += FAKE_PAGE;
	memset(fake_phys(f, gpa), 0, FAKE_PAGE);
	return gpa;
}

/* Maps a page of `bits` (12, 21, 30) in a page table. */
static inline void fake_map(struct fake *f, uint64_t pgd, uint64_t gva, uint64_t gpa,
			    unsigned int bits, uint64_t flags)
{
	uint64_t table = pgd;

	for (unsigned int shift = f->la57 ? 48 : 39;; shift -= 9) {
		uint64_t *e = (uint64_t *)fake_phys(f, table) + (gva >> shift & 511);

		if (shift == bits) {
			*e = flags == FAKE_NONE ? 0 : gpa | flags | 1 | (bits > 12 ? 0x80 : 0);
			return;
		}
		if (!(*e & 1))
			*e = fake_new_page(f) | 0x67;
		table = *e & 0x000ffffffffff000ull;
	}
}

/* ------------------------------------------------------------------------------------- kallsyms */

static inline struct fake_symbol *fake_symbol(struct fake *f, uint64_t addr, const char *fmt, ...)
{
	struct fake_symbol *s = &f->symbols[f->n++];
	va_list ap;

	assert_true(f->n <= FAKE_SYMBOLS);
	s->addr = addr;
	va_start(ap, fmt);
	vsnprintf(s->name, sizeof(s->name), fmt, ap);
	va_end(ap);
	return s;
}

static inline int fake_by_addr(const void *a, const void *b)
{
	const struct fake_symbol *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr ? 1 : strcmp(x->name, y->name);
}

/* Characters stand for themselves; some others for texts of one to forty characters. */
static inline const char *fake_token(unsigned int i)
{
	static char texts[256][48];
	static const char *const words[] = {
		"function", "variable_",  "__",
		"_of_",	    "Tfunction_", "the_longest_token_of_all_of_them",
		"xy",	    "per_cpu",	  "_0",
		"abc",	    "str",	  "D",
		"ing",	    "sta",
	};

	if (i >= 0x80 && i - 0x80 < sizeof(words) / sizeof(*words))
		return words[i - 0x80];
	if (i >= ' ' && i < 0x7f && i != '"')
		snprintf(texts[i], sizeof(texts[i]), "%c", i);
	else
		snprintf(texts[i], sizeof(texts[i]), "unused_%u", i);
	return texts[i];
}

/* Into tokens, the longest that fits first. */
static inline size_t fake_compress(const char *name, unsigned char *out)
{
	size_t n = 0;

	while (*name) {
		unsigned int best = (unsigned char)*name;

		for (unsigned int i = 0x80; i < 0x90; i++) {
			size_t len = strlen(fake_token(i));

			if (!strncmp(name, fake_token(i), len) && len > strlen(fake_token(best)))
				best = i;
		}
		out[n++] = (unsigned char)best;
		name += strlen(fake_token(best));
	}
	return n;
}

struct fake_writer {
	struct fake *f;
	uint64_t at;
	unsigned int align;
};

static inline void fake_write(struct fake_writer *w, const void *p, size_t n)
{
	memcpy(fake_at(w->f, w->at), p, n);
	w->at += n;
}

static inline void fake_write_u32(struct fake_writer *w, uint32_t v)
{
	fake_write(w, &v, 4);
}

static inline uint64_t fake_label(struct fake_writer *w)
{
	w->at = (w->at + w->align - 1) & ~(uint64_t)(w->align - 1);
	return w->at;
}

static inline bool fake_percpu_absolute(enum fake_layout l)
{
	return l <= FAKE_6_4;
}

static inline void fake_write_addresses(struct fake_writer *w, enum fake_layout l)
{
	struct fake *f = w->f;

	f->at.offsets = fake_label(w);
	for (unsigned int i = 0; i < f->n; i++) {
		uint64_t addr = f->symbols[i].addr;

		if (l == FAKE_ADDRESSES || l == FAKE_ADDRESSES_OLD)
			fake_write(w, &addr, 8);
		else if (l == FAKE_7_0)
			fake_write_u32(w, (uint32_t)(addr - w->at));
		else if (!fake_percpu_absolute(l))
			fake_write_u32(w, (uint32_t)(addr - f->text));
		else if (addr < f->text)
			fake_write_u32(w, (uint32_t)addr);
		else
			fake_write_u32(w, (uint32_t)(f->text - addr - 1));
	}
	if (l == FAKE_7_0 || l == FAKE_ADDRESSES || l == FAKE_ADDRESSES_OLD)
		return;
	f->at.relative_base = fake_label(w);
	fake_write(w, &f->text, 8);
}

static inline void fake_write_names(struct fake_writer *w, bool big)
{
	static uint32_t markers[FAKE_SYMBOLS / 256 + 1];
	struct fake *f = w->f;

	f->at.num_syms = fake_label(w);
	fake_write_u32(w, f->n);
	f->at.names = fake_label(w);
	for (unsigned int i = 0; i < f->n; i++) {
		unsigned char tokens[512], length[2];
		size_t len = fake_compress(f->symbols[i].name, tokens);

		if (i % 256 == 0)
			markers[i / 256] = (uint32_t)(w->at - f->at.names);
		length[0] = len & 0x7f;
		length[1] = len >> 7;
		if (!big)
			length[0] = (unsigned char)len;
		else if (len > 127)
			length[0] |= 0x80;
		fake_write(w, length, big && len > 127 ? 2 : 1);
		fake_write(w, tokens, len);
	}
	f->markers = fake_label(w);
	for (unsigned int i = 0; i < (f->n + 255) / 256; i++)
		fake_write_u32(w, markers[i]);
}

static inline void fake_write_seqs(struct fake_writer *w, unsigned int bytes)
{
	fake_label(w);
	for (unsigned int i = 0; i < w->f->n; i++) {
		uint32_t seq = (i * 7919u) % w->f->n;
		unsigned char big_endian[3] = { seq >> 16 & 255, seq >> 8 & 255, seq & 255 };

		if (bytes == 4)
			fake_write_u32(w, seq);
		else
			fake_write(w, big_endian, 3);
	}
}

static inline void fake_write_tokens(struct fake_writer *w)
{
	uint16_t index[256];
	struct fake *f = w->f;

	f->at.token_table = fake_label(w);
	for (unsigned int i = 0; i < 256; i++) {
		index[i] = (uint16_t)(w->at - f->at.token_table);
		fake_write(w, fake_token(i), strlen(fake_token(i)) + 1);
	}
	f->at.token_index = fake_label(w);
	fake_write(w, index, sizeof(index));
}

/* As scripts/kallsyms.c of the respective version writes them, in rodata. */
static inline void fake_kallsyms(struct fake *f, enum fake_layout l)
{
	struct fake_writer w = { f, f->text + FAKE_PMD + 0x10000, l == FAKE_7_0 ? 4 : 8 };
	bool old = l <= FAKE_6_3 || l == FAKE_ADDRESSES_OLD;

	memset(&f->at, 0, sizeof(f->at));
	qsort(f->symbols, f->n, sizeof(*f->symbols), fake_by_addr);
	if (old)
		fake_write_addresses(&w, l);
	fake_write_names(&w, l != FAKE_5_10);
	if (l == FAKE_6_2 || l == FAKE_6_3)
		fake_write_seqs(&w, l == FAKE_6_2 ? 4 : 3);
	fake_write_tokens(&w);
	if (!old) {
		fake_write_addresses(&w, l);
		fake_write_seqs(&w, 3);
	}
	f->tables_end = w.at;
}

/* ---------------------------------------------------------------------------------------- image */

enum {
	/* Offsets from text. */
	FAKE_AT_BANNER = 0x200100,
	FAKE_AT_NOTES = 0x201000,
	FAKE_AT_BTF = 0x300000,
	FAKE_AT_PGD = 0x400000, /* and what is below it, to 0x480000 */
	FAKE_AT_TASK = 0x500000,
	FAKE_AT_VARIABLES = 0x510000,
	FAKE_AT_END = 0x600000,
};

enum { FAKE_TASK_PID = 64, FAKE_TASK_PARENT = 72, FAKE_TASK_TASKS = 80, FAKE_TASK_COMM = 96 };

static inline void fake_symbols(struct fake *f)
{
	uint64_t t = f->text;

	f->n = 0;
	fake_symbol(f, t, "T_text");
	fake_symbol(f, t, "T_stext");
	fake_symbol(f, t + FAKE_AT_BANNER, "Rlinux_banner");
	fake_symbol(f, t + FAKE_AT_NOTES, "R__start_notes");
	fake_symbol(f, t + FAKE_AT_PGD, "Dinit_top_pgt");
	fake_symbol(f, t + FAKE_AT_TASK, "Dinit_task");
	fake_symbol(f, t + FAKE_AT_VARIABLES, "Dpage_offset_base");
	fake_symbol(f, t + FAKE_AT_VARIABLES + 8, "Dvmalloc_base");
	fake_symbol(f, t + FAKE_AT_VARIABLES + 16, "Dvmemmap_base");
	fake_symbol(f, t + FAKE_AT_VARIABLES + 24, "Dnr_cpu_ids");
	fake_symbol(f, t + FAKE_AT_VARIABLES + 32, "Dvmcoreinfo_data");
	fake_symbol(f, t + FAKE_AT_END, "B_end");
	for (unsigned int i = 0; i < 40; i++)
		fake_symbol(f, t + 0x100 + i, "tsame_name");
	for (unsigned int i = 0; f->n < FAKE_SYMBOLS - 40; i++)
		fake_symbol(f, t + 0x1000 + 64 * i, "tfunction_%u_of_abcxyzQ%x.constprop.0", i,
			    i * i);
}

static inline void fake_symbols_percpu(struct fake *f)
{
	for (unsigned int i = 0; i < 20; i++)
		fake_symbol(f, 0x1000 * i, "Aper_cpu_%u", i);
}

/* As Rust has them: over 127 tokens. */
static inline void fake_symbols_long(struct fake *f)
{
	static const char odd[] = "qQwWeErRtTzZuUiIoOpPaAsSdDfFgGhHjJkKlLyYxXcCvVbBnNmM";

	for (unsigned int i = 0; i < 4; i++)
		fake_symbol(f, f->text + 0x80000 + i, "t_R%u%s%s%s%s%s%s", i, odd, odd, odd, odd,
			    odd, odd);
}

static inline struct btf *fake_btf(void)
{
	struct btf *b = btf__new_empty();
	int i32, chr, comm, list, ptr;

	assert_non_null(b);
	i32 = btf__add_int(b, "int", 4, BTF_INT_SIGNED);
	chr = btf__add_int(b, "char", 1, BTF_INT_SIGNED);
	comm = btf__add_array(b, i32, chr, 16);
	ptr = btf__add_ptr(b, 0);
	list = btf__add_struct(b, "list_head", 16);
	btf__add_field(b, "next", ptr, 0, 0);
	btf__add_field(b, "prev", ptr, 64, 0);
	btf__add_struct(b, "task_struct", 4096);
	btf__add_field(b, "pid", i32, FAKE_TASK_PID * 8, 0);
	btf__add_field(b, "real_parent", ptr, FAKE_TASK_PARENT * 8, 0);
	btf__add_field(b, "tasks", list, FAKE_TASK_TASKS * 8, 0);
	btf__add_field(b, "comm", comm, FAKE_TASK_COMM * 8, 0);
	btf__add_struct(b, "page", 64);
	btf__add_field(b, "flags", ptr, 0, 0);
	return b;
}

static inline void fake_types(struct fake *f)
{
	struct btf *b = fake_btf();
	const void *blob;
	__u32 n;

	blob = btf__raw_data(b, &n);
	memcpy(fake_at(f, f->text + FAKE_AT_BTF), blob, n);
	fake_symbol(f, f->text + FAKE_AT_BTF, "R__start_BTF");
	fake_symbol(f, f->text + FAKE_AT_BTF + n, "R__stop_BTF");
	btf__free(b);
}

/* init_task, and the first process at gpa 0x3000000, in one list. */
static inline void fake_tasks(struct fake *f, uint64_t direct)
{
	uint64_t task = f->text + FAKE_AT_TASK, other = direct + 0x3000000;
	unsigned char *p = fake_at(f, task), *q = fake_phys(f, 0x3000000);
	uint64_t ours = task + FAKE_TASK_TASKS, theirs = other + FAKE_TASK_TASKS;

	memcpy(p + FAKE_TASK_PARENT, &task, 8);
	strcpy((char *)p + FAKE_TASK_COMM, "swapper/0");
	memcpy(p + FAKE_TASK_TASKS, &theirs, 8);
	memcpy(p + FAKE_TASK_TASKS + 8, &theirs, 8);
	memcpy(q + FAKE_TASK_TASKS, &ours, 8);
	memcpy(q + FAKE_TASK_TASKS + 8, &ours, 8);
}

static inline void fake_notes(struct fake *f)
{
	uint32_t notes[] = { 6, 4, 0x100, 0x756e694c, 0x78, 0, 4, 20, 3, 0x554e47 };
	unsigned char *p = fake_at(f, f->text + FAKE_AT_NOTES);

	memcpy(p, notes, sizeof(notes));
	for (unsigned int i = 0; i < 20; i++)
		p[sizeof(notes) + i] = (unsigned char)i;
	fake_symbol(f, f->text + FAKE_AT_NOTES + sizeof(notes) + 20, "R__stop_notes");
}

static inline void fake_image(struct fake *f, uint64_t pgd)
{
	fake_map(f, pgd, f->text, fake_gpa(f, f->text), 21, 0);
	fake_map(f, pgd, f->text + FAKE_PMD, fake_gpa(f, f->text) + FAKE_PMD, 21, FAKE_NX);
	fake_map(f, pgd, f->text + 2 * FAKE_PMD, fake_gpa(f, f->text) + 2 * FAKE_PMD, 21,
		 FAKE_NX | 2);
}

static inline void fake_open_memory(struct fake *f)
{
	struct vmi_region r = { .bytes = FAKE_RAM, .backing = VMI_BACKING_MAP };

	f->fd = memfd_create("fake", MFD_CLOEXEC);
	assert_true(f->fd >= 0);
	assert_int_equal(ftruncate(f->fd, FAKE_RAM), 0);
	f->ram = mmap(NULL, FAKE_RAM, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	assert_true(f->ram != MAP_FAILED);
	r.fd = f->fd;
	assert_int_equal(vmi_mem_open(&f->mem, &r, 1, NULL, NULL), 0);
}

/* VMCOREINFO's page, at gpa 0x3100000. */
static inline void fake_info(struct fake *f, uint64_t direct)
{
	snprintf(f->info, sizeof(f->info),
		 "OSRELEASE=6.12.1-fake\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=%llx\n"
		 "NUMBER(phys_base)=%lld\nNUMBER(pgtable_l5_enabled)=%d\nKERNELOFFSET=%llx\n",
		 (unsigned long long)f->text + FAKE_AT_PGD,
		 (long long)(fake_gpa(f, f->text) - (f->text - VMI_START_KERNEL_MAP)), f->la57,
		 (unsigned long long)f->kaslr);
	strcpy(fake_phys(f, 0x3100000), f->info);
	fake_put(f, f->text + FAKE_AT_VARIABLES + 32, direct + 0x3100000);
}

static inline uint64_t fake_direct(const struct fake *f)
{
	return f->la57 ? 0xff11000000000000ull : 0xffff888000000000ull;
}

/*
 * All of it, with one vCPU on a process' page table, which has the kernel's half of init_mm's. The
 * symbols are not written yet: fake_kallsyms() does, after others were added.
 */
static inline struct fake *fake_new(bool la57, uint64_t kaslr, uint64_t move)
{
	struct fake *f = calloc(1, sizeof(*f));
	uint64_t direct, process;

	assert_non_null(f);
	fake_open_memory(f);
	f->la57 = la57;
	f->kaslr = kaslr;
	f->move = move;
	f->text = FAKE_TEXT + kaslr;
	direct = fake_direct(f);
	f->pgd = fake_gpa(f, f->text + FAKE_AT_PGD);
	f->free_page = f->pgd + FAKE_PAGE;
	fake_image(f, f->pgd);
	fake_map(f, f->pgd, direct, 0, 30, FAKE_NX | 2);
	fake_symbols(f);
	fake_types(f);
	fake_notes(f);
	strcpy(fake_at(f, f->text + FAKE_AT_BANNER), FAKE_BANNER);
	fake_put(f, f->text + FAKE_AT_VARIABLES, direct);
	fake_put(f, f->text + FAKE_AT_VARIABLES + 8, 0xffffc90000000000ull);
	fake_put(f, f->text + FAKE_AT_VARIABLES + 16, 0xffffea0000000000ull);
	fake_put(f, f->text + FAKE_AT_VARIABLES + 24, FAKE_CPUS);
	fake_info(f, direct);
	fake_tasks(f, direct);
	process = 0x3200000;
	memcpy((char *)fake_phys(f, process) + 2048, (char *)fake_phys(f, f->pgd) + 2048, 2048);
	f->vcpu = (struct vmi_vcpu){
		.known = VMI_REG_CR | VMI_REG_EFER,
		.cr0 = 1u << 31 | 1,
		.cr3 = process,
		.cr4 = 1u << 5 | (la57 ? 1u << 12 : 0),
		.efer = 0xd01,
	};
	f->target.vcpus = &f->vcpu;
	f->target.n_vcpus = 1;
	return f;
}

static inline void fake_close(struct fake *f)
{
	vmi_mem_close(f->mem);
	munmap(f->ram, FAKE_RAM);
	close(f->fd);
	free(f);
}

#endif /* FAKE_KERNEL_H */
