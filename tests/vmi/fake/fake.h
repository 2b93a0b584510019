/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that was never run: RAM in which page tables, a kernel's image with symbols and types,
 * and the structures of a small world lie as Linux would leave them, for tests that need to know
 *each byte, and to change any while it is read.
 *
 *	0x00001000	page tables
 *	0x00400000	the image: 2 MiB of text, 1 MiB of rodata, 1 MiB of data
 *	0x00800000	objects, as from kmalloc() and the page allocator
 *	up to 16 MiB; between 640 KiB and 1 MiB there is no RAM
 *
 * Types are those of types.h, found by readers through the BTF in the image.
 */
#ifndef FAKE_H
#define FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../../vmi/kernel/guest.h"
#include "types.h"

#define FAKE_RAM	 (16u << 20)
/* The gva of _text: 0x1dc00000 above where it was linked. */
#define FAKE_TEXT	 0xffffffff9ec00000ull
#define FAKE_PAGE_OFFSET 0xffff9b4fc0000000ull /* the direct map: randomised, as is the image */
#define FAKE_VMALLOC	 0xffffb2d340000000ull
#define FAKE_VMEMMAP	 0xfffff0e780000000ull
#define FAKE_USER_STACK	 0x00007ffc5f1d8000ull /* in each process: its arguments and environment */
#define FAKE_BANNER                                                                                \
	"Linux version 6.12.0-fake (maker@fake) (gcc 14.2.0, GNU ld 2.44) #1 SMP PREEMPT_DYNAMIC"

/* How the kernel writes its symbols down: see vmi/kernel/symbols.c. */
enum fake_kallsyms { FAKE_KALLSYMS_5_10, FAKE_KALLSYMS_6_2, FAKE_KALLSYMS_6_4, FAKE_KALLSYMS_7_0 };

struct fake_options {
	bool la57;
	bool no_registers; /* no vCPUs are known, as of a raw dump */
	enum fake_kallsyms kallsyms;
};

/* The objects that tests want to get at, by their gva. */
struct fake_world {
	uint64_t init_task, init_pid_ns, init_net;
	uint64_t task[16]; /* each thread: see world.c; ended by 0 */
	uint64_t mm[4], files[4], vma[4]; /* of the processes that have their own */
	uint64_t idr_node, modules[4], prb;
	uint64_t kallsyms_names, kallsyms_markers, kallsyms_tokens, kallsyms_addresses;
};

#define FAKE_WRITES 65536 /* that can be undone */

struct fake {
	uint8_t *ram;
	struct fake_options options;
	struct vmi_target target;
	struct vmi_region regions[2];
	struct vmi_vcpu vcpus[2];
	struct vmi_mem *mem;
	struct fake_world world;
	uint64_t pgd; /* gpa of init_mm's page table */
	uint64_t text_brk, rodata_brk, data_brk, vmalloc_brk; /* gvas of what is free */
	uint64_t table_brk, heap_brk; /* gpas */
	/*
	 * Called at each read, before it: may write. What it returns other than 0 fails the read.
	 */
	int (*on_read)(struct fake *f, uint64_t gpa, size_t len);
	void *arg; /* for on_read */
	uint64_t reads;
	/* private: symbols until they are encoded; what fake_write() wrote over */
	struct fake_symbol *symbols;
	size_t n_symbols;
	struct fake_write *writes;
	size_t n_writes;
};

/* Never fails: without memory the test program ends. `o` may be NULL. */
struct fake *fake_new(const struct fake_options *o);
void fake_free(struct fake *f);

/* Opens what was built. 0, or vmi_guest_open()'s error. */
int fake_open(struct fake *f, struct vmi_guest **g);

/* Where gpa, or a gva of the kernel that is mapped, lies in `ram`; ends the program if nowhere. */
void *fake_phys(struct fake *f, uint64_t gpa);
void *fake_at(struct fake *f, uint64_t gva);
/* The same, or NULL. */
void *fake_find(struct fake *f, uint64_t gva);

/* The gva of a symbol; ends the program if there is none. */
uint64_t fake_symbol(const struct fake *f, const char *name);

/* Zeroed memory in the direct map; its gva. */
uint64_t fake_alloc(struct fake *f, size_t bytes, size_t align);

/* Writes that fake_undo() takes back, the last one first. False: too many, or no RAM there. */
bool fake_write_phys(struct fake *f, uint64_t gpa, const void *bytes, size_t len);
bool fake_write(struct fake *f, uint64_t gva, const void *bytes, size_t len);
bool fake_poke(struct fake *f, uint64_t gva, uint64_t value);
void fake_undo(struct fake *f);

#endif /* FAKE_H */
