// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What vmi/kernel finds in a guest, for kernel.t to compare with what the guest says of itself:
 *
 *	kernel_probe vm|dump NAME SYMBOLS [--no-registers]
 *
 * prints a line "key value" for each fact and writes the symbols, as /proc/kallsyms has them, into
 *the file SYMBOLS.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../vmi/kernel/guest.h"

#define START_KERNEL_MAP ((uint64_t)-1 << 31)

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void print_guest(const struct vmi_guest *g)
{
	static const char *const fields[] = { "task_struct.pid", "task_struct.comm",
					      "mm_struct.pgd" };
	uint64_t gpa = g->text - START_KERNEL_MAP + g->phys_base;
	struct vmi_field f;

	printf("level %d\nmissing %s\nevidence %s\n", g->level, g->missing, g->evidence);
	printf("banner %s\nrelease %s\nbuild_id %s\n", g->banner, g->release, g->build_id);
	printf("la57 %d\ncpus %u\n", g->la57, g->cpus);
	printf("text %016" PRIx64 "\n", g->text);
	printf("text_gpa %08" PRIx64 "\n", gpa);
	printf("kaslr_offset %" PRIx64 "\n", g->kaslr_offset);
	printf("page_offset %016" PRIx64 "\n", g->page_offset);
	printf("vmalloc_start %016" PRIx64 "\n", g->vmalloc_start);
	printf("vmemmap_start %016" PRIx64 "\n", g->vmemmap_start);
	if (!g->types)
		return;
	printf("types %u\nsize task_struct %u\n", vmi_types_count(g->types),
	       vmi_types_size(g->types, "task_struct"));
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (!vmi_field(g, fields[i], &f))
			printf("field %s %u\n", fields[i], f.offset);
}

static int write_symbols(const struct vmi_symbols *s, const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return -1;
	for (size_t i = 0; s && i < vmi_symbols_count(s); i++) {
		const struct vmi_symbol *sym = vmi_symbol_nth(s, i);

		fprintf(f, "%016" PRIx64 " %c %s\n", sym->addr, sym->type, sym->name);
	}
	return fclose(f);
}

static int look(struct vmi_target *t, const char *symbols, bool registers, struct vmi_error *e)
{
	struct vmi_mem *mem;
	struct vmi_guest *g;
	double cold, warm;
	int err = vmi_target_open(t, &mem, e);

	if (err)
		return err;
	if (!registers)
		t->n_vcpus = 0;
	cold = now_ms();
	err = vmi_guest_open(&g, t, mem, e);
	cold = now_ms() - cold;
	if (!err) {
		vmi_guest_close(g);
		warm = now_ms();
		err = vmi_guest_open(&g, t, mem, e);
		warm = now_ms() - warm;
	}
	if (!err) {
		print_guest(g);
		printf("opened in %.1f ms, then %.1f ms\n", cold, warm);
		err = write_symbols(g->symbols, symbols);
		vmi_guest_close(g);
	}
	vmi_mem_close(mem);
	return err;
}

int main(int argc, char **argv)
{
	struct vmi_find_options o = { 0 };
	struct vmi_error e = { "" };
	struct vmi_target *t;
	int err;

	if (argc < 4 || (strcmp(argv[1], "vm") != 0 && strcmp(argv[1], "dump") != 0)) {
		fprintf(stderr, "usage: kernel_probe vm|dump NAME SYMBOLS [--no-registers]\n");
		return 2;
	}
	if (strcmp(argv[1], "vm") == 0)
		o.vm = argv[2];
	else
		o.dump = argv[2];
	err = vmi_target_find(&t, &o, &e);
	if (!err) {
		err = look(t, argv[3], argc == 4 || strcmp(argv[4], "--no-registers") != 0, &e);
		vmi_target_free(t);
	}
	if (err)
		fprintf(stderr, "kernel_probe: %s\n", e.text);
	return err != 0;
}
