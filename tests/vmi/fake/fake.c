/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HOLE_START 0xa0000ull
#define HOLE_END   0x100000ull
#define CR4_PAE	   (1ull << 5)
#define CR4_LA57   (1ull << 12)

/* types_btf.S */
extern const char fake_btf[], fake_btf_end[];

void fake_die(const char *what)
{
	fprintf(stderr, "the made-up guest: %s\n", what);
	abort();
}

/* --------------------------------------------------------------------------------------- memory */

static int read_ram(void *arg, uint64_t gpa, void *buf, size_t len)
{
	struct fake *f = arg;

	f->reads++;
	if (f->on_read) {
		int err = f->on_read(f, gpa, len);

		if (err)
			return err;
	}
	memcpy(buf, f->ram + gpa, len);
	return 0;
}

void *fake_phys(struct fake *f, uint64_t gpa)
{
	if (gpa >= FAKE_RAM)
		fake_die("no such physical address");
	return f->ram + gpa;
}

uint64_t fake_new_table(struct fake *f)
{
	uint64_t gpa = f->table_brk;

	f->table_brk += PAGE;
	if (f->table_brk == HOLE_START)
		f->table_brk = HOLE_END;
	if (gpa >= IMAGE_GPA)
		fake_die("too many page tables");
	return gpa;
}

static unsigned int levels(const struct fake *f)
{
	return f->options.la57 ? 5 : 4;
}

void fake_map(struct fake *f, uint64_t pgd, uint64_t gva, uint64_t gpa, uint64_t size,
	      uint64_t flags)
{
	unsigned int last = size == PAGE ? 0 : size == 512 * PAGE ? 1 : 2;
	uint64_t table = pgd;

	for (unsigned int level = levels(f) - 1;; level--) {
		uint64_t *entry = fake_phys(f, table + (gva >> (12 + 9 * level) & 511) * 8);

		if (level == last) {
			*entry = gpa | PTE_P | flags | (last ? PTE_PS : 0);
			return;
		}
		if (!(*entry & PTE_P))
			*entry = fake_new_table(f) | PTE_P | PTE_W | PTE_U;
		table = *entry & PTE_ADDR;
	}
}

void *fake_find(struct fake *f, uint64_t gva)
{
	uint64_t table = f->pgd;

	for (unsigned int level = levels(f); level--;) {
		uint64_t size = 1ull << (12 + 9 * level);
		uint64_t entry = *(uint64_t *)fake_phys(f, table + (gva / size & 511) * 8);

		if (!(entry & PTE_P))
			return NULL;
		table = entry & PTE_ADDR;
		if (!level || (entry & PTE_PS)) {
			table += gva & (size - 1);
			return table < FAKE_RAM ? f->ram + table : NULL;
		}
	}
	return NULL;
}

void *fake_at(struct fake *f, uint64_t gva)
{
	void *p = fake_find(f, gva);

	if (!p)
		fake_die("no such address");
	return p;
}

bool fake_write_phys(struct fake *f, uint64_t gpa, const void *bytes, size_t len)
{
	const char *from = bytes;

	if (gpa >= FAKE_RAM || len > FAKE_RAM - gpa)
		return false;
	while (len) {
		struct fake_write *w = &f->writes[f->n_writes];
		size_t n = len < sizeof(w->old) ? len : sizeof(w->old);

		if (f->n_writes == FAKE_WRITES)
			return false;
		f->n_writes++;
		w->gpa = gpa;
		w->len = (uint32_t)n;
		memcpy(w->old, f->ram + gpa, n);
		memcpy(f->ram + gpa, from, n);
		gpa += n;
		from += n;
		len -= n;
	}
	return true;
}

bool fake_write(struct fake *f, uint64_t gva, const void *bytes, size_t len)
{
	while (len) {
		size_t n = PAGE - gva % PAGE < len ? PAGE - gva % PAGE : len;
		uint8_t *p = fake_find(f, gva);

		if (!p || !fake_write_phys(f, (uint64_t)(p - f->ram), bytes, n))
			return false;
		gva += n;
		bytes = (const char *)bytes + n;
		len -= n;
	}
	return true;
}

bool fake_poke(struct fake *f, uint64_t gva, uint64_t value)
{
	return fake_write(f, gva, &value, sizeof(value));
}

void fake_undo(struct fake *f)
{
	while (f->n_writes) {
		const struct fake_write *w = &f->writes[--f->n_writes];

		memcpy(f->ram + w->gpa, w->old, w->len);
	}
}

uint64_t fake_alloc(struct fake *f, size_t bytes, size_t align)
{
	uint64_t gpa = (f->heap_brk + align - 1) & ~(uint64_t)(align - 1);

	if (gpa + bytes > FAKE_RAM)
		fake_die("RAM is full");
	f->heap_brk = gpa + bytes;
	return FAKE_PAGE_OFFSET + gpa;
}

uint64_t fake_vmalloc(struct fake *f, size_t bytes, uint64_t flags)
{
	uint64_t gva = f->vmalloc_brk;

	for (uint64_t at = 0; at < bytes; at += PAGE)
		fake_map(f, f->pgd, gva + at, fake_alloc(f, PAGE, PAGE) - FAKE_PAGE_OFFSET, PAGE,
			 flags);
	/* A page that is not mapped lies behind each. */
	f->vmalloc_brk += ((bytes + PAGE - 1) & ~(PAGE - 1)) + PAGE;
	return gva;
}

/* ---------------------------------------------------------------------------------------- lists */

void fake_list_init(struct fake *f, uint64_t head)
{
	struct list_head *h = fake_at(f, head);

	h->next = h->prev = PTR(head);
}

void fake_list_add(struct fake *f, uint64_t node, uint64_t head)
{
	struct list_head *n = fake_at(f, node), *h = fake_at(f, head);
	uint64_t last = (uintptr_t)h->prev;

	n->next = PTR(head);
	n->prev = PTR(last);
	h->prev = PTR(node);
	AT(f, last, struct list_head)->next = PTR(node);
}

void fake_hlist_add(struct fake *f, uint64_t node, uint64_t head)
{
	struct hlist_node *n = fake_at(f, node);
	struct hlist_head *h = fake_at(f, head);

	n->next = h->first;
	n->pprev = PTR(head);
	if (h->first)
		AT(f, (uintptr_t)h->first, struct hlist_node)->pprev = PTR(node);
	h->first = PTR(node);
}

/* ---------------------------------------------------------------------------------------- image */

void fake_name(struct fake *f, const char *name, char type, uint64_t gva)
{
	struct fake_symbol *s;

	f->symbols = reallocarray(f->symbols, f->n_symbols + 1, sizeof(*f->symbols));
	if (!f->symbols)
		fake_die("no memory");
	s = &f->symbols[f->n_symbols++];
	s->gva = gva;
	s->type = type;
	if ((size_t)snprintf(s->name, sizeof(s->name), "%s", name) >= sizeof(s->name))
		fake_die("the name of a symbol is too long");
}

uint64_t fake_symbol(const struct fake *f, const char *name)
{
	for (size_t i = 0; i < f->n_symbols; i++) {
		if (!strcmp(f->symbols[i].name, name))
			return f->symbols[i].gva;
	}
	fake_die(name);
}

uint64_t fake_object(struct fake *f, const char *name, char type, size_t bytes, size_t align)
{
	uint64_t *brk = (type | 32) == 't'   ? &f->text_brk
			: (type | 32) == 'r' ? &f->rodata_brk
					     : &f->data_brk;
	uint64_t end = brk == &f->text_brk ? RODATA : brk == &f->rodata_brk ? DATA : IMAGE_END;
	uint64_t gva = (*brk + align - 1) & ~(uint64_t)(align - 1);

	if (gva + bytes > end)
		fake_die("a section is full");
	*brk = gva + bytes;
	if (name)
		fake_name(f, name, type, gva);
	return gva;
}

uint64_t fake_text(struct fake *f, const char *text)
{
	uint64_t gva = fake_object(f, NULL, 'r', strlen(text) + 1, 1);

	strcpy(fake_at(f, gva), text);
	return gva;
}

static void map_kernel(struct fake *f)
{
	f->pgd = DATA - FAKE_TEXT + IMAGE_GPA;
	fake_map(f, f->pgd, FAKE_TEXT, IMAGE_GPA, 512 * PAGE, 0);
	for (uint64_t at = TEXT_SIZE; at < IMAGE_END - FAKE_TEXT; at += PAGE)
		fake_map(f, f->pgd, FAKE_TEXT + at, IMAGE_GPA + at, PAGE,
			 PTE_NX | (FAKE_TEXT + at >= DATA ? PTE_W : 0));
	/* The first GiB in one page, though not all of it is RAM. */
	fake_map(f, f->pgd, FAKE_PAGE_OFFSET, 0, 512 * 512 * PAGE, PTE_W | PTE_NX);
}

static void put_u64(struct fake *f, const char *name, uint64_t value)
{
	*AT(f, fake_object(f, name, 'D', 8, 8), uint64_t) = value;
}

/* A note as the linker writes it, between the two symbols that find it. */
static void put_build_id(struct fake *f)
{
	const uint32_t head[] = { 4, 20, 3 };
	uint64_t gva = fake_object(f, "__start_notes", 'R', sizeof(head) + 4 + 20, 4);
	uint8_t *p = fake_at(f, gva);

	memcpy(p, head, sizeof(head));
	memcpy(p + 12, "GNU", 4);
	for (unsigned int i = 0; i < 20; i++)
		p[16 + i] = (uint8_t)(i * 13 + 1);
	fake_name(f, "__stop_notes", 'R', gva + sizeof(head) + 4 + 20);
}

static void put_vmcoreinfo(struct fake *f)
{
	uint64_t gva = fake_vmalloc(f, PAGE, PTE_W | PTE_NX);

	snprintf(fake_at(f, gva), PAGE,
		 "OSRELEASE=6.12.0-fake\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=%llx\n"
		 "NUMBER(phys_base)=%lld\nNUMBER(pgtable_l5_enabled)=%d\nKERNELOFFSET=%llx\n",
		 (unsigned long long)fake_symbol(f, "init_top_pgt"),
		 (long long)(IMAGE_GPA - (FAKE_TEXT - 0xffffffff80000000ull)), f->options.la57,
		 FAKE_TEXT - 0xffffffff81000000ull);
	put_u64(f, "vmcoreinfo_data", gva);
}

/* What the kernel is before it does anything. */
static void build_image(struct fake *f)
{
	size_t bytes = (size_t)(fake_btf_end - fake_btf);
	char name[32];

	fake_name(f, "_text", 'T', FAKE_TEXT);
	fake_name(f, "_stext", 'T', FAKE_TEXT);
	for (unsigned int i = 0; i < 300; i++) {
		uint64_t gva;

		snprintf(name, sizeof(name), "fake_function_%u", i);
		gva = fake_object(f, name, i % 3 ? 't' : 'T', 32, 16);
		/* endbr64; lea r(i), ...; ret; int3...: anything that differs */
		memset(fake_at(f, gva), 0xcc, 32);
		memcpy(fake_at(f, gva), "\xf3\x0f\x1e\xfa\x48\xc7\xc0", 7);
		memcpy((char *)fake_at(f, gva) + 7, &i, 4);
		((uint8_t *)fake_at(f, gva))[11] = 0xc3;
	}
	strcpy(fake_at(f, fake_object(f, "linux_banner", 'R', sizeof(FAKE_BANNER) + 1, 32)),
	       FAKE_BANNER "\n");
	memcpy(fake_at(f, fake_object(f, "__start_BTF", 'R', bytes, 8)), fake_btf, bytes);
	fake_name(f, "__stop_BTF", 'R', f->rodata_brk);
	put_build_id(f);
	fake_name(f, "init_top_pgt", 'D', DATA);
	put_u64(f, "page_offset_base", FAKE_PAGE_OFFSET);
	put_u64(f, "vmalloc_base", FAKE_VMALLOC);
	put_u64(f, "vmemmap_base", FAKE_VMEMMAP);
	*AT(f, fake_object(f, "nr_cpu_ids", 'D', 4, 4), u32) = 2;
	*AT(f, fake_object(f, "system_state", 'D', 4, 4), u32) = SYSTEM_RUNNING;
	put_vmcoreinfo(f);
}

static void end_image(struct fake *f)
{
	fake_name(f, "_etext", 'T', f->text_brk);
	fake_name(f, "_end", 'B', IMAGE_END);
	fake_kallsyms(f);
}

/* ------------------------------------------------------------------------------------- the door */

static void set_target(struct fake *f)
{
	f->regions[0] =
		(struct vmi_region){ .bytes = HOLE_START, .backing = VMI_BACKING_CALL, .fd = -1 };
	f->regions[1] = (struct vmi_region){
		.gpa = HOLE_END, .bytes = FAKE_RAM - HOLE_END, .backing = VMI_BACKING_CALL, .fd = -1
	};
	for (int i = 0; i < 2; i++) {
		f->vcpus[i].id = i;
		f->vcpus[i].known = VMI_REG_CR | VMI_REG_EFER;
		f->vcpus[i].cr0 = 0x80050033;
		f->vcpus[i].efer = 0xd01;
		f->vcpus[i].cr3 = f->pgd;
		f->vcpus[i].cr4 = CR4_PAE | (f->options.la57 ? CR4_LA57 : 0);
	}
	f->target.kind = VMI_TARGET_RAW;
	strcpy(f->target.name, "fake");
	f->target.regions = f->regions;
	f->target.n_regions = 2;
	f->target.vcpus = f->vcpus;
	f->target.n_vcpus = f->options.no_registers ? 0 : 2;
	if (vmi_mem_open(&f->mem, f->regions, 2, read_ram, f))
		fake_die("its memory does not open");
}

struct fake *fake_new(const struct fake_options *o)
{
	struct fake *f = calloc(1, sizeof(*f));

	if (f)
		f->writes = calloc(FAKE_WRITES, sizeof(*f->writes));
	if (!f || !f->writes)
		fake_die("no memory");
	/* Its pages come when they are written. */
	f->ram = mmap(NULL, FAKE_RAM, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (f->ram == MAP_FAILED)
		fake_die("no memory");
	f->options = o ? *o : (struct fake_options){ .kallsyms = FAKE_KALLSYMS_6_4 };
	f->table_brk = PAGE;
	f->heap_brk = HEAP_GPA;
	f->text_brk = FAKE_TEXT;
	f->rodata_brk = RODATA;
	f->data_brk = DATA + PAGE;
	f->vmalloc_brk = FAKE_VMALLOC;
	map_kernel(f);
	build_image(f);
	fake_world_tasks(f);
	end_image(f);
	set_target(f);
	return f;
}

void fake_free(struct fake *f)
{
	if (!f)
		return;
	vmi_mem_close(f->mem);
	munmap(f->ram, FAKE_RAM);
	free(f->symbols);
	free(f->writes);
	free(f);
}

int fake_open(struct fake *f, struct vmi_guest **g)
{
	struct vmi_error err;

	return vmi_guest_open(g, &f->target, f->mem, &err);
}
