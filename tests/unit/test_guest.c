// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Finding a guest's kernel: by a vCPU, by the page table that CPUs are started with, by VMCOREINFO;
 * with PTI and five levels; beside copies of kernels that do not run; and what is said where there
 * is none.
 */
#include <errno.h>

#include "fake_kernel.h"

#define TRAMPOLINE 0x98000ull
#define COPY_MOVE  0x1000000ull /* of the copy of a kernel, from the one that runs */

static struct vmi_guest *open_guest(struct fake *f)
{
	struct vmi_guest *g;
	struct vmi_error e;

	assert_int_equal(vmi_guest_open(&g, &f->target, f->mem, &e), 0);
	return g;
}

static void assert_level(struct fake *f, enum vmi_level level, const char *says)
{
	struct vmi_guest *g = open_guest(f);

	if (g->level != level || !strstr(g->missing, says))
		fail_msg("level %d: %s", g->level, g->missing);
	assert_true((g->symbols != NULL) == (level >= VMI_LEVEL_SYMBOLS));
	assert_true((g->types != NULL) == (level >= VMI_LEVEL_TYPES));
	vmi_guest_close(g);
}

/* All that is known of the kernel that runs. */
static void assert_whole(struct fake *f, const char *by)
{
	struct vmi_guest *g = open_guest(f);
	struct vmi_field field;

	if (g->level != VMI_LEVEL_TYPES)
		fail_msg("level %d: %s", g->level, g->missing);
	assert_string_equal(g->missing, "");
	if (!strstr(g->evidence, by))
		fail_msg("evidence: %s", g->evidence);
	assert_int_equal(strcspn(g->banner, "\n"), sizeof(FAKE_BANNER) - 2);
	assert_memory_equal(g->banner, FAKE_BANNER, sizeof(FAKE_BANNER) - 2);
	assert_string_equal(g->release, "6.12.1-fake");
	assert_int_equal(g->version[0], 6);
	assert_int_equal(g->version[1], 12);
	assert_string_equal(g->build_id, FAKE_BUILD_ID);
	assert_int_equal(g->la57, f->la57);
	assert_int_equal(g->pgd, f->pgd);
	assert_int_equal(g->text, f->text);
	assert_int_equal(g->image_end, f->text + FAKE_AT_END);
	assert_int_equal(g->phys_base, fake_gpa(f, f->text) - (f->text - VMI_START_KERNEL_MAP));
	assert_int_equal(g->kaslr_offset, f->kaslr);
	assert_int_equal(g->page_offset, fake_direct(f));
	assert_int_equal(g->vmalloc_start, 0xffffc90000000000ull);
	assert_int_equal(g->vmemmap_start, 0xffffea0000000000ull);
	assert_int_equal(g->cpus, FAKE_CPUS);
	assert_int_equal(vmi_sym(g, "init_task"), f->text + FAKE_AT_TASK);
	assert_int_equal(vmi_field(g, "task_struct.pid", &field), 0);
	assert_int_equal(field.offset, FAKE_TASK_PID);
	assert_int_equal(vmi_phys_to_virt(g, 0x1234), fake_direct(f) + 0x1234);
	assert_int_equal(vmi_page_to_phys(g, 0xffffea0000000000ull + 64 * 5), 5 * FAKE_PAGE);
	assert_int_equal(vmi_page_to_phys(g, 0xffffea0000000000ull + 65), 0);
	assert_int_equal(vmi_page_to_phys(g, 0xffffe90000000000ull), 0);
	vmi_guest_close(g);
}

static struct fake *make(bool la57)
{
	struct fake *f = fake_new(la57, 0x6600000, 0x800000);

	fake_kallsyms(f, FAKE_6_15);
	return f;
}

static void without_registers(struct fake *f)
{
	f->target.n_vcpus = 0;
}

static void without_info(struct fake *f)
{
	memset(fake_phys(f, 0x3100000), 0, FAKE_PAGE);
}

/* As arch/x86/realmode/init.c makes it: entry 511 is init_mm's, entry 0 maps what is low. */
static void with_trampoline(struct fake *f)
{
	uint64_t *page = fake_phys(f, TRAMPOLINE);

	page[0] = 0x99063;
	page[511] = ((uint64_t *)fake_phys(f, f->pgd))[511];
}

static void by_a_vcpu(void **state)
{
	for (unsigned int la57 = 0; la57 < 2; la57++) {
		struct fake *f = make(la57);

		assert_whole(f, "found by a vCPU's page table");
		assert_whole(f, "1 of 1 vCPUs share");
		/* Also where EFER is not known, and PCIDs are in CR3. */
		f->vcpu.known = VMI_REG_CR;
		f->vcpu.cr3 |= 1ull << 63 | 0x123;
		assert_whole(f, "found by a vCPU's page table");
		fake_close(f);
	}
}

static void no_kaslr(void **state)
{
	struct fake *f = fake_new(false, 0, 0);

	fake_kallsyms(f, FAKE_7_0);
	assert_whole(f, "found by a vCPU's page table");
	fake_close(f);
}

/*
 * In user mode with PTI: the upper page of the pair, which maps nothing of the image but the entry
 * code's 2 MiB, or (pti_clone_kernel_text) all but the data.
 */
static void by_the_users_half_of_a_pair(void **state)
{
	for (unsigned int pages = 1; pages <= 2; pages++) {
		struct fake *f = make(false);
		uint64_t pgd = f->vcpu.cr3 + FAKE_PAGE;

		assert_int_equal(f->vcpu.cr3 & FAKE_PAGE, 0);
		fake_map(f, pgd, f->text, fake_gpa(f, f->text), 21, 0);
		if (pages == 2)
			fake_map(f, pgd, f->text + FAKE_PMD, fake_gpa(f, f->text) + FAKE_PMD, 21,
				 FAKE_NX);
		f->vcpu.cr3 = pgd | 0x801;
		assert_whole(f, "found by a vCPU's page table");
		assert_whole(f, "1 of 1 vCPUs share");
		fake_close(f);
	}
}

static void by_the_table_that_cpus_are_started_with(void **state)
{
	for (unsigned int la57 = 0; la57 < 2; la57++) {
		struct fake *f = make(la57);

		without_registers(f);
		without_info(f);
		with_trampoline(f);
		assert_whole(f, "found by the page table that CPUs are started with");
		assert_whole(f, "no registers are known");
		fake_close(f);
	}
}

static void by_vmcoreinfo(void **state)
{
	for (unsigned int la57 = 0; la57 < 2; la57++) {
		struct fake *f = make(la57);

		without_registers(f);
		assert_whole(f, "found by a page that looks like VMCOREINFO");
		f->target.vmcoreinfo = f->info;
		assert_whole(f, "found by VMCOREINFO");
		fake_close(f);
	}
}

/* The note is no good: of another boot. */
static void by_a_vcpu_in_spite_of_a_wrong_note(void **state)
{
	struct fake *f = make(false);
	char info[] = "SYMBOL(swapper_pg_dir)=ffffffffa2400000\nNUMBER(phys_base)=1234567\n"
		      "SYMBOL(kallsyms_names)=ffffffff87700000\nSYMBOL(kallsyms_num_syms)=\n"
		      "SYMBOL(kallsyms_token_table)=1";

	f->target.vmcoreinfo = info;
	assert_whole(f, "found by a vCPU's page table");
	without_registers(f);
	with_trampoline(f);
	assert_whole(f, "found by the page table that CPUs are started with");
	fake_close(f);
}

/* --------------------------------------------------------------------------------------- decoys */

/* The whole image again, as a vmlinux in a huge page of the page cache; returns its pgd's gpa. */
static uint64_t copy_image(struct fake *f)
{
	uint64_t from = fake_gpa(f, f->text);

	memcpy(fake_phys(f, from + COPY_MOVE), fake_phys(f, from), FAKE_AT_END);
	return f->pgd + COPY_MOVE;
}

/* A process writes a page that looks like VMCOREINFO, before the real one; `phys` as it likes. */
static void fake_page(struct fake *f, uint64_t gpa, int64_t phys_base)
{
	snprintf(fake_phys(f, gpa), FAKE_PAGE,
		 "OSRELEASE=6.12.1-fake\nSYMBOL(swapper_pg_dir)=%llx\nNUMBER(phys_base)=%lld\n",
		 (unsigned long long)f->text + FAKE_AT_PGD, (long long)phys_base);
}

static int64_t phys_base_of(struct fake *f, uint64_t move)
{
	return (int64_t)(fake_gpa(f, f->text) + move - (f->text - VMI_START_KERNEL_MAP));
}

/* A copy's page tables, made to map the copy and all of RAM: what only who means harm does. */
static void forge_tables(struct fake *f)
{
	uint64_t move = f->move, pgd = f->pgd + COPY_MOVE;

	memset(fake_phys(f, pgd), 0, FAKE_PAGE);
	f->move += COPY_MOVE;
	f->free_page = 0x3300000;
	fake_image(f, pgd);
	fake_map(f, pgd, fake_direct(f), 0, 30, FAKE_NX | 2);
	f->move = move;
}

/* Copies, a page that names them, banners: none of them is what the vCPU runs. */
static void decoys_beside_the_kernel(void **state)
{
	struct fake *f = make(false);

	copy_image(f);
	fake_page(f, 0x10000, phys_base_of(f, COPY_MOVE));
	strcpy(fake_phys(f, 0x20000), FAKE_BANNER);
	assert_whole(f, "found by a vCPU's page table");
	forge_tables(f);
	assert_whole(f, "found by a vCPU's page table");
	without_registers(f);
	with_trampoline(f);
	assert_whole(f, "found by the page table that CPUs are started with");
	fake_close(f);
}

/*
 * Without PTI, the page below a vCPU's page table may be anybody's: here a forged table that leads
 * to a forged kernel.
 */
static void a_forged_table_below_a_page_table(void **state)
{
	struct fake *f = make(false);
	uint64_t forged = copy_image(f);

	forge_tables(f);
	memcpy(fake_phys(f, f->vcpu.cr3 + FAKE_PAGE), fake_phys(f, f->vcpu.cr3), FAKE_PAGE);
	memcpy(fake_phys(f, f->vcpu.cr3), fake_phys(f, forged), FAKE_PAGE);
	f->vcpu.cr3 += FAKE_PAGE;
	assert_whole(f, "1 of 1 vCPUs share");
	fake_close(f);
}

/* A scan meets a copy whose tables are as the linker made them, before the kernel. */
static void a_copy_that_a_scan_meets_first(void **state)
{
	struct fake *f = make(false);
	uint64_t pgd = copy_image(f), *last = (uint64_t *)fake_phys(f, pgd) + 511;

	without_registers(f);
	fake_page(f, 0x200000, phys_base_of(f, COPY_MOVE));
	/* Its own tables: the image, no direct map. */
	memset(fake_phys(f, pgd), 0, FAKE_PAGE);
	*last = 0;
	f->free_page = 0x3300000;
	f->move += COPY_MOVE;
	fake_image(f, pgd);
	f->move -= COPY_MOVE;
	assert_whole(f, "found by a page that looks like VMCOREINFO");
	/* Nor is it with a direct map of something else. */
	fake_map(f, pgd, fake_direct(f), 1ull << 30, 30, FAKE_NX | 2);
	assert_whole(f, "found by a page that looks like VMCOREINFO");
	/* Alone, it is not believed, but said. */
	without_info(f);
	assert_level(f, VMI_LEVEL_BANNER, "a copy of a kernel, not one that runs");
	fake_close(f);
}

/* A scan cannot tell a perfect forgery: then neither is believed. */
static void two_kernels_of_a_scan(void **state)
{
	struct fake *f = make(false);

	copy_image(f);
	forge_tables(f);
	without_registers(f);
	fake_page(f, 0x200000, phys_base_of(f, COPY_MOVE));
	assert_level(f, VMI_LEVEL_BANNER, "it cannot be told which of them runs");
	fake_close(f);
}

/* The guest was reset: RAM still holds a kernel, but vCPUs are in the firmware. */
static void a_kernel_that_ran_before_a_reset(void **state)
{
	struct fake *f = make(false);

	with_trampoline(f);
	f->vcpu.cr0 = 0x10;
	f->vcpu.efer = 0;
	f->vcpu.cr3 = 0;
	assert_level(f, VMI_LEVEL_BANNER, "none of 1 vCPUs uses its page tables");
	/* Or in a boot loader, on tables of its own. */
	f->vcpu.cr0 = 1u << 31 | 1;
	f->vcpu.efer = 0xd00;
	f->vcpu.cr3 = 0x3300000;
	fake_map(f, 0x3300000, 0, 0, 30, 0x67);
	assert_level(f, VMI_LEVEL_BANNER, "none of 1 vCPUs uses its page tables");
	fake_close(f);
}

/* The first task must be one, and be at the head of a list that leads back. */
static void first_tasks_that_are_none(void **state)
{
	static const struct {
		unsigned int at;
		unsigned char value;
	} changes[] = {
		{ FAKE_TASK_COMM, 'S' }, { FAKE_TASK_COMM + 9, 'x' }, { FAKE_TASK_PID, 1 },
		{ FAKE_TASK_PARENT, 1 }, { FAKE_TASK_TASKS, 0x99 },   { FAKE_TASK_TASKS + 7, 0 },
	};
	struct fake *f = make(false);
	unsigned char *task = fake_at(f, f->text + FAKE_AT_TASK);

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		unsigned char was = task[changes[i].at];

		task[changes[i].at] = changes[i].value;
		assert_level(f, VMI_LEVEL_BANNER, "its init_task is no first task of a Linux");
		task[changes[i].at] = was;
	}
	assert_whole(f, "found by a vCPU");
	/* Its name before SMP is set up. */
	strcpy((char *)task + FAKE_TASK_COMM, "swapper");
	assert_whole(f, "found by a vCPU");
	fake_close(f);
}

/* --------------------------------------------------------------------------- less than a whole one
 */

static void no_btf(void **state)
{
	struct fake *f = fake_new(false, 0, 0);

	for (unsigned int i = 0; i < f->n; i++)
		if (strstr(f->symbols[i].name, "_BTF"))
			f->symbols[i].name[1] = 'x';
	fake_kallsyms(f, FAKE_6_15);
	assert_level(f, VMI_LEVEL_SYMBOLS, "found Linux 6.12.1-fake, but it has no BTF");
	/* Without types, the first task's name is a witness all the same. */
	strcpy((char *)fake_at(f, f->text + FAKE_AT_TASK) + FAKE_TASK_COMM, "systemd");
	assert_level(f, VMI_LEVEL_BANNER, "its init_task is no first task of a Linux");
	fake_close(f);
}

static void damaged_btf(void **state)
{
	struct fake *f = make(false);

	memset(fake_at(f, f->text + FAKE_AT_BTF), 0, 4);
	assert_level(f, VMI_LEVEL_SYMBOLS, "its BTF is damaged");
	fake_close(f);
}

static void functions_only(void **state)
{
	struct fake *f = fake_new(false, 0, 0);
	unsigned int n = 0;

	for (unsigned int i = 0; i < f->n; i++)
		if (strchr("Tt", f->symbols[i].name[0]))
			f->symbols[n++] = f->symbols[i];
	f->n = n;
	fake_kallsyms(f, FAKE_6_15);
	/* Where init_mm's page table is, such a kernel does not tell: the vCPU's own must do. */
	fake_map(f, f->vcpu.cr3, fake_direct(f), 0, 30, FAKE_NX | 2);
	assert_level(f, VMI_LEVEL_SYMBOLS, "name functions only (CONFIG_KALLSYMS_ALL is off)");
	fake_close(f);
}

static void no_kallsyms(void **state)
{
	struct fake *f = make(false);

	memset(fake_at(f, f->at.token_table), 0, 64);
	memset((char *)fake_at(f, f->at.token_table) + 64, 0, 256);
	assert_level(f, VMI_LEVEL_BANNER, "found Linux 6.12.1-fake, but not its symbols");
	strcpy(fake_at(f, f->text + FAKE_AT_BANNER), "FreeBSD 14");
	assert_level(f, VMI_LEVEL_MEMORY, "no Linux that is known here");
	fake_close(f);
}

static void no_linux(void **state)
{
	struct fake *f = make(false);

	memset(fake_phys(f, 0), 0, FAKE_RAM);
	assert_level(f, VMI_LEVEL_MEMORY, "no page table of a vCPU maps a kernel");
	f->vcpu.known |= VMI_REG_LSTAR;
	f->vcpu.lstar = 0xfffff8037be28c00ull;
	assert_level(f, VMI_LEVEL_MEMORY, "Windows guests are out of scope");
	f->vcpu.lstar = 0;
	f->vcpu.cr0 = 0x10;
	assert_level(f, VMI_LEVEL_MEMORY, "no vCPU is in long mode with paging on");
	f->target.n_vcpus = 0;
	assert_level(f, VMI_LEVEL_MEMORY, "no registers are known");
	fake_close(f);
}

/* Variables that hold nonsense: what is told stays within bounds. */
static void variables_that_lie(void **state)
{
	struct fake *f = make(false);
	struct vmi_guest *g;

	fake_put(f, f->text + FAKE_AT_VARIABLES + 24, 0xffffffff);
	g = open_guest(f);
	assert_true(g->cpus >= 1 && g->cpus <= 8192);
	vmi_guest_close(g);
	fake_put(f, f->text + FAKE_AT_VARIABLES, 0x1234);
	assert_level(f, VMI_LEVEL_BANNER, "a copy of a kernel");
	fake_close(f);
}

/* A banner of control characters, without an end, must not reach a terminal. */
static void banners_are_made_presentable(void **state)
{
	struct fake *f = make(false);
	char *banner = fake_at(f, f->text + FAKE_AT_BANNER);
	struct vmi_guest *g;

	memset(banner + 14, '\033', 2000);
	g = open_guest(f);
	assert_int_equal(g->level, VMI_LEVEL_TYPES);
	assert_int_equal(strlen(g->banner), sizeof(g->banner) - 1);
	assert_null(strchr(g->banner, '\033'));
	assert_int_equal(strlen(g->release), sizeof(g->release) - 1);
	vmi_guest_close(g);
	fake_close(f);
}

/*
 * Any byte of page tables, variables, notes, types or the first task another one: the sanitizer
 * watches, and no answer takes long.
 */
static void every_byte_changed(void **state)
{
	static const struct {
		uint64_t at, bytes;
	} parts[] = {
		{ FAKE_AT_PGD, 0x8000 }, { FAKE_AT_VARIABLES, 40 }, { FAKE_AT_NOTES, 64 },
		{ FAKE_AT_BTF, 400 },	 { FAKE_AT_TASK, 128 },	    { FAKE_AT_BANNER, 40 },
	};
	struct fake *f = make(false);
	unsigned int seed = 7;

	with_trampoline(f);
	for (unsigned int i = 0; i < 600; i++) {
		size_t part = i % (sizeof(parts) / sizeof(*parts));
		unsigned char *p, was;

		seed = seed * 1103515245u + 12345u;
		p = fake_at(f, f->text + parts[part].at + (seed >> 8) % parts[part].bytes);
		was = *p;
		*p = (unsigned char)(seed >> 24 ^ seed);
		f->target.n_vcpus = i / 6 % 2;
		vmi_guest_close(open_guest(f));
		*p = was;
	}
	f->target.n_vcpus = 1;
	assert_whole(f, "found by a vCPU");
	fake_close(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_a_vcpu),
		cmocka_unit_test(no_kaslr),
		cmocka_unit_test(by_the_users_half_of_a_pair),
		cmocka_unit_test(by_the_table_that_cpus_are_started_with),
		cmocka_unit_test(by_vmcoreinfo),
		cmocka_unit_test(by_a_vcpu_in_spite_of_a_wrong_note),
		cmocka_unit_test(decoys_beside_the_kernel),
		cmocka_unit_test(a_forged_table_below_a_page_table),
		cmocka_unit_test(a_copy_that_a_scan_meets_first),
		cmocka_unit_test(two_kernels_of_a_scan),
		cmocka_unit_test(a_kernel_that_ran_before_a_reset),
		cmocka_unit_test(first_tasks_that_are_none),
		cmocka_unit_test(no_btf),
		cmocka_unit_test(damaged_btf),
		cmocka_unit_test(functions_only),
		cmocka_unit_test(no_kallsyms),
		cmocka_unit_test(no_linux),
		cmocka_unit_test(variables_that_lie),
		cmocka_unit_test(banners_are_made_presentable),
		cmocka_unit_test(every_byte_changed),
	};

	return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
