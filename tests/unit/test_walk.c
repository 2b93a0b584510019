/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Walks: budgets, page tables, and Linux' containers, whole, torn and crafted. The memory is that
 * of the made-up guest (tests/vmi/fake), whose free part the tests fill.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../vmi/kernel/walk.h"
#include "../vmi/fake/fake.h"

#define PAGE 4096ull

static struct fake *fake, *fake_la57;
static struct vmi_guest *guest, *guest_la57;
static struct vmi_walk walk;

static int set_up(void **state)
{
	const struct fake_options la57 = { .la57 = true, .kallsyms = FAKE_KALLSYMS_6_4 };

	fake = fake_new(NULL);
	fake_la57 = fake_new(&la57);
	return fake_open(fake, &guest) || fake_open(fake_la57, &guest_la57);
}

static int tear_down(void **state)
{
	vmi_guest_close(guest);
	vmi_guest_close(guest_la57);
	fake_free(fake);
	fake_free(fake_la57);
	return 0;
}

/* Each test starts with memory and budget as they were. */
static int begin(void **state)
{
	fake->on_read = fake_la57->on_read = NULL;
	fake_undo(fake);
	fake_undo(fake_la57);
	vmi_walk_start(&walk, guest, NULL);
	return 0;
}

static void poke(uint64_t gva, uint64_t value)
{
	assert_true(fake_poke(fake, gva, value));
}

static void with_steps(uint64_t steps)
{
	const struct vmi_budget b = { .steps = steps, .bytes = 1 << 30, .ns = UINT64_C(1) << 40 };

	vmi_walk_start(&walk, guest, &b);
}

static void stopped(enum vmi_stop why)
{
	assert_string_equal(vmi_stop_key(walk.stop), vmi_stop_key(why));
}

/* -------------------------------------------------------------------------------------- reading */

static void test_read(void **state)
{
	uint64_t at = fake_alloc(fake, 2 * PAGE, PAGE), v;
	char buf[32], expect[32] = "over the end of a page";

	assert_true(fake_write(fake, at + PAGE - 10, expect, sizeof(expect)));
	assert_int_equal(vmi_read(&walk, at + PAGE - 10, buf, sizeof(buf)), 0);
	assert_memory_equal(buf, expect, sizeof(buf));
	assert_int_equal(vmi_read(&walk, at, buf, 0), 0);

	/* The second page of vmcoreinfo_data is not mapped: nothing of the first is left. */
	assert_int_equal(vmi_ptr(&walk, fake_symbol(fake, "vmcoreinfo_data"), &at), 0);
	memset(buf, 'x', sizeof(buf));
	assert_int_equal(vmi_read(&walk, at + PAGE - 16, buf, 32), -EFAULT);
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0);

	/* Over the end of the address space; where there is no RAM; what no pointer can be. */
	assert_int_equal(vmi_read(&walk, UINT64_MAX - 3, buf, 8), -EFAULT);
	assert_int_equal(vmi_read(&walk, FAKE_PAGE_OFFSET + FAKE_RAM - 4, buf, 8), -EFAULT);
	assert_int_equal(vmi_read(&walk, FAKE_PAGE_OFFSET + 0xa0000, buf, 8), -EFAULT);
	assert_int_equal(vmi_read(&walk, 0x8000000000000000, buf, 8), -EFAULT);
	assert_int_equal(vmi_read(&walk, 0, buf, 8), -EFAULT);
	assert_int_equal(vmi_uint(&walk, FAKE_TEXT, 3, &v), -EINVAL);
	assert_int_equal(walk.faults, 6);
	stopped(VMI_STOP_NONE);
}

static int broken(struct fake *f, uint64_t gpa, size_t len)
{
	return -EIO;
}

static void test_memory_goes_away(void **state)
{
	uint64_t v = 7;

	assert_int_equal(vmi_ptr(&walk, FAKE_TEXT, &v), 0);
	fake->on_read = broken;
	assert_int_equal(vmi_ptr(&walk, FAKE_TEXT, &v), -EIO);
	assert_int_equal(v, 0);
	assert_int_equal(vmi_ptr(&walk, FAKE_VMALLOC, &v), -EIO);
}

static void test_text(void **state)
{
	uint64_t at = fake_alloc(fake, 2 * PAGE, PAGE);
	char buf[64], all[2 * PAGE];

	memset(all, 'a', sizeof(all));
	assert_true(fake_write(fake, at, all, sizeof(all)));
	assert_int_equal(vmi_text(&walk, at, buf, sizeof(buf)), 63);
	assert_int_equal(strlen(buf), 63);
	assert_int_equal(vmi_text(&walk, at, buf, 1), 0);
	assert_int_equal(vmi_text(&walk, at, buf, 0), -EINVAL);

	/* It ends right before what is not mapped. */
	assert_int_equal(vmi_ptr(&walk, fake_symbol(fake, "vmcoreinfo_data"), &at), 0);
	assert_true(fake_write(fake, at + PAGE - 6, "hello", 6));
	assert_int_equal(vmi_text(&walk, at + PAGE - 6, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "hello");
	/* It does not end before. */
	assert_true(fake_write(fake, at + PAGE - 6, "hello!", 6));
	assert_int_equal(vmi_text(&walk, at + PAGE - 6, buf, sizeof(buf)), -EFAULT);
	assert_string_equal(buf, "");
}

static void test_budget(void **state)
{
	const struct vmi_budget few_bytes = { .steps = 1000, .bytes = 20, .ns = UINT64_C(1) << 40 };
	const struct vmi_budget no_time = { .steps = 1 << 20, .bytes = 1 << 30, .ns = 0 };
	volatile int cancel = 0;
	uint64_t v, gpa = 0x800000;
	unsigned int n;

	with_steps(10);
	for (n = 0; !vmi_read_phys(&walk, gpa, &v, 8); n++)
		;
	assert_int_equal(n, 10);
	assert_int_equal(walk.steps, 10);
	stopped(VMI_STOP_STEPS);
	assert_int_equal(vmi_read_phys(&walk, gpa, &v, 8), -ETIME);
	assert_int_equal(vmi_step(&walk), -ETIME);

	vmi_walk_start(&walk, guest, &few_bytes);
	assert_int_equal(vmi_read_phys(&walk, gpa, &v, 8), 0);
	assert_int_equal(vmi_read_phys(&walk, gpa, &v, 8), 0);
	assert_int_equal(vmi_read_phys(&walk, gpa, &v, 8), -ETIME);
	stopped(VMI_STOP_BYTES);
	/* What would have fitted is not read any more. */
	assert_int_equal(vmi_read_phys(&walk, gpa, &v, 1), -ETIME);
	assert_int_equal(walk.bytes, 16);

	vmi_walk_start(&walk, guest, &no_time);
	for (n = 0; !vmi_step(&walk); n++)
		assert_in_range(n, 0, 256);
	stopped(VMI_STOP_TIME);

	vmi_walk_start(&walk, guest, NULL);
	walk.cancel = &cancel;
	for (n = 0; n < 1000; n++)
		assert_int_equal(vmi_step(&walk), 0);
	cancel = 1;
	for (n = 0; !vmi_step(&walk); n++)
		assert_in_range(n, 0, 256);
	stopped(VMI_STOP_CANCELLED);
	assert_int_equal(vmi_step(&walk), -ETIME);

	/* The first reason stays. */
	vmi_walk_start(&walk, guest, NULL);
	assert_int_equal(vmi_walk_stop(&walk, VMI_STOP_FAULT, "here"), -EFAULT);
	assert_int_equal(vmi_walk_stop(&walk, VMI_STOP_CYCLE, "there"), -ETIME);
	stopped(VMI_STOP_FAULT);
	assert_string_equal(walk.where, "here");
}

static void test_fields(void **state)
{
	uint64_t info = fake_alloc(fake, sizeof(struct printk_info), 8), v;
	struct printk_info i = { .seq = 5, .level = 6, .flags = 17, .facility = 200 };
	struct vmi_field f, prio;
	char buf[8];

	assert_true(fake_write(fake, info, &i, sizeof(i)));
	assert_int_equal(vmi_field(guest, "printk_info.level", &f), 0);
	assert_int_equal(vmi_val(&walk, info, &f), 6);
	assert_int_equal(vmi_field(guest, "printk_info.flags", &f), 0);
	assert_int_equal(vmi_val(&walk, info, &f), 17);
	assert_int_equal(vmi_field(guest, "printk_info.facility", &f), 0);
	assert_int_equal(vmi_val(&walk, info, &f), 200);
	assert_int_equal(vmi_val(&walk, 0, &f), 0);
	assert_int_equal(vmi_get(&walk, 0, &f, &v), -EFAULT);
	assert_int_equal(vmi_field(guest, "printk_info.color", &f), -ENOENT);
	assert_int_equal(vmi_get(&walk, info, &f, &v), -ENOENT);

	assert_int_equal(vmi_field(guest, "task_struct.prio", &prio), 0);
	assert_true(fake_write(fake, fake->world.task[1] + prio.offset, &(int){ -3 }, 4));
	assert_int_equal(vmi_val(&walk, fake->world.task[1], &prio), 0xfffffffd);
	assert_int_equal(vmi_sval(&walk, fake->world.task[1], &prio), -3);

	/* A name without an end is cut at its own. */
	assert_int_equal(vmi_field(guest, "task_struct.comm", &f), 0);
	assert_true(fake_write(fake, fake->world.task[1] + f.offset, "0123456789abcdefgh", 16));
	assert_int_equal(vmi_text_field(&walk, fake->world.task[1], &f, buf, sizeof(buf)), 7);
	assert_string_equal(buf, "0123456");
	{
		char large[64];

		assert_int_equal(vmi_text_field(&walk, fake->world.task[1], &f, large, 64), 16);
	}
}

static void test_per_cpu(void **state)
{
	uint64_t rq = fake_symbol(fake, "runqueues"), one = vmi_per_cpu(&walk, rq, 1), v;
	struct vmi_field cpu;

	assert_int_equal(vmi_field(guest, "rq.cpu", &cpu), 0);
	assert_int_equal(vmi_val(&walk, one, &cpu), 1);
	assert_int_equal(vmi_val(&walk, vmi_per_cpu(&walk, rq, 0), &cpu), 0);
	assert_int_equal(vmi_per_cpu(&walk, rq, 2), 0);
	assert_int_equal(vmi_per_cpu(&walk, rq, UINT32_MAX), 0);
	assert_int_equal(vmi_per_cpu(&walk, 0, 0), 0);
	/* An offset that leads nowhere is found when it is read. */
	poke(fake_symbol(fake, "__per_cpu_offset") + 8, 0x1234567812345678);
	assert_int_equal(vmi_ptr(&walk, vmi_per_cpu(&walk, rq, 1), &v), -EFAULT);
}

static void test_witnesses(void **state)
{
	uint64_t at = fake_alloc(fake, 64 * 8, 8);

	for (unsigned int i = 0; i < 2 * VMI_WITNESSES; i++)
		vmi_witness(&walk, at + 8 * i, 8, 0);
	assert_false(vmi_witness_torn(&walk));
	poke(at + 8 * (VMI_WITNESSES - 1), 1);
	assert_true(vmi_witness_torn(&walk));
	vmi_witness_reset(&walk);
	assert_false(vmi_witness_torn(&walk));
	/* One that cannot be read again is torn too. */
	vmi_witness(&walk, 0, 8, 0);
	assert_true(vmi_witness_torn(&walk));
}

/* ---------------------------------------------------------------------------------- page tables */

/* Maps `gva` by hand: the gpas of its tables from the top on; returns the last table's gpa. */
static uint64_t table_for(struct fake *f, uint64_t pgd, uint64_t gva, unsigned int levels,
			  unsigned int to)
{
	for (unsigned int level = levels - 1; level > to; level--) {
		uint64_t *entry = fake_phys(f, pgd + (gva >> (12 + 9 * level) & 511) * 8);

		if (!(*entry & 1))
			*entry = (fake_alloc(f, PAGE, PAGE) - FAKE_PAGE_OFFSET) | 7;
		pgd = *entry & 0x000ffffffffff000;
	}
	return pgd;
}

static void map(struct fake *f, uint64_t pgd, uint64_t gva, unsigned int levels, unsigned int level,
		uint64_t entry)
{
	uint64_t table = table_for(f, pgd, gva, levels, level);

	*(uint64_t *)fake_phys(f, table + (gva >> (12 + 9 * level) & 511) * 8) = entry;
}

static uint64_t new_pgd(struct fake *f)
{
	return fake_alloc(f, PAGE, PAGE) - FAKE_PAGE_OFFSET;
}

static void leads_to(uint64_t pgd, uint64_t gva, uint64_t gpa, uint64_t left, uint64_t flags)
{
	uint64_t g, l, fl;

	/* Twice: by the tables, and by what the walk remembers of them. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(vmi_translate(&walk, pgd, gva, &g, &l, &fl), 0);
		assert_int_equal(g, gpa);
		assert_int_equal(l, left);
		assert_int_equal(fl, flags);
	}
}

static void leads_nowhere(uint64_t pgd, uint64_t gva)
{
	uint64_t g, l;

	assert_int_equal(vmi_translate(&walk, pgd, gva, &g, &l, NULL), -EFAULT);
}

static void test_pages(void **state)
{
	const uint64_t all = VMI_PAGE_WRITE | VMI_PAGE_USER, nx = VMI_PAGE_NX;
	const uint64_t mib = 1 << 20;
	uint64_t pgd = new_pgd(fake), steps;

	map(fake, pgd, 0x7f0000001000, 4, 0, 0x123000 | 7 | nx);
	leads_to(pgd, 0x7f0000001abc, 0x123abc, PAGE - 0xabc, all | nx);
	steps = walk.steps;
	leads_to(pgd, 0x7f0000001000, 0x123000, PAGE, all | nx);
	assert_int_equal(walk.steps, steps);
	leads_nowhere(pgd, 0x7f0000002000);
	/* A page of 2 MiB, read-only, with PAT and reserved bits set below its address. */
	map(fake, pgd, 0x7f0040000000, 4, 1, 0x40000000 | 1 << 12 | 0x1e000 | 0x85);
	leads_to(pgd, 0x7f0040000000 + mib + 5, 0x40000000 + mib + 5, mib - 5, VMI_PAGE_USER);
	/* One of 1 GiB, the kernel's: remembered in parts of 2 MiB. */
	map(fake, pgd, 0xffff888000000000, 4, 2, 0x40000000 | 0x83);
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t gpa, left, flags;

		assert_int_equal(vmi_translate(&walk, pgd, 0xffff888000000000 + 701 * mib, &gpa,
					       &left, &flags),
				 0);
		assert_int_equal(gpa, 0x40000000 + 701 * mib);
		assert_int_equal(left, i ? mib : 323 * mib);
		assert_int_equal(flags, VMI_PAGE_WRITE);
	}
	/* Rights are those of all levels together. */
	*(uint64_t *)fake_phys(fake, pgd + (0x7f0000001000 >> 39 & 511) * 8) &= ~2ull;
	begin(state);
	leads_to(pgd, 0x7f0000001000, 0x123000, PAGE, VMI_PAGE_USER | nx);
}

static void test_pages_none(void **state)
{
	const uint64_t inverted = 0x000ffffffffff000;
	uint64_t pgd = new_pgd(fake);

	/* PROT_NONE: P clear, G set, the address inverted. */
	map(fake, pgd, 0x1000, 4, 0, (0x123000 ^ inverted) | 0x100);
	leads_to(pgd, 0x1010, 0x123010, PAGE - 0x10, 0);
	map(fake, pgd, 0x40200000, 4, 1, (0x600000 ^ 0x000fffffffe00000) | 0x180);
	leads_to(pgd, 0x40200010, 0x600010, (2 << 20) - 0x10, 0);
	/* A swap entry is none: both bits are clear. Nor is a table that is not present. */
	map(fake, pgd, 0x2000, 4, 0, 0x123000);
	leads_nowhere(pgd, 0x2000);
	map(fake, pgd, 0x40400000, 4, 1, 0x600000 | 0x100);
	leads_nowhere(pgd, 0x40400000);
	map(fake, pgd, 0x80000000, 4, 2, 0x180);
	leads_nowhere(pgd, 0x80000000);
	/* PS in the top table is reserved. */
	map(fake, pgd, 0x8000000000, 4, 3, 0x83);
	leads_nowhere(pgd, 0x8000000000);
}

static void test_pages_canonical(void **state)
{
	uint64_t pgd = new_pgd(fake);

	/* Each top entry is there, so that only the address can be wrong. */
	map(fake, pgd, 0x7fffffe00000, 4, 1, 0x83);
	map(fake, pgd, 0xffff800000000000, 4, 1, 0x83);
	leads_to(pgd, 0x7fffffe00000, 0, 2 << 20, VMI_PAGE_WRITE);
	leads_to(pgd, 0xffff800000000000, 0, 2 << 20, VMI_PAGE_WRITE);
	leads_nowhere(pgd, 0x0000800000000000);
	leads_nowhere(pgd, 0xffff7fffffe00000);
	leads_nowhere(pgd, 0xdead7fffffe00000);

	pgd = new_pgd(fake_la57);
	vmi_walk_start(&walk, guest_la57, NULL);
	map(fake_la57, pgd, 0x00fffffffffff000, 5, 0, 0x5000 | 7);
	map(fake_la57, pgd, 0xff00000000000000, 5, 1, 0x83);
	leads_to(pgd, 0x00fffffffffff008, 0x5008, PAGE - 8, VMI_PAGE_WRITE | VMI_PAGE_USER);
	leads_to(pgd, 0xff00000000000000, 0, 2 << 20, VMI_PAGE_WRITE);
	leads_nowhere(pgd, 0x0100000000000000);
	leads_nowhere(pgd, 0xfefffffffffff000);
}

/* Tables that are their own: each level is passed once, whatever they say. */
static void test_pages_loop(void **state)
{
	uint64_t pgd = new_pgd(fake), steps;

	for (unsigned int i = 0; i < 512; i++)
		((uint64_t *)fake_phys(fake, pgd))[i] = pgd | 7;
	steps = walk.steps;
	leads_to(pgd, 0x123456789123, pgd | 0x123, PAGE - 0x123, VMI_PAGE_WRITE | VMI_PAGE_USER);
	assert_int_equal(walk.steps, steps + 4);
	/* Tables where there is no RAM, and beyond what can be an address. */
	map(fake, pgd, 0, 4, 3, 0xa0000 | 7);
	leads_nowhere(pgd, 0);
	map(fake, pgd, 0, 4, 3, 0x000ffffffffff000 | 7);
	leads_nowhere(pgd, 0);
	leads_nowhere(UINT64_MAX, 0);
}

/* A page table of a process that has ended, whose page has other things in it now. */
static void test_pages_of_the_past(void **state)
{
	struct vmi_guest past = *guest;
	uint64_t pgd = new_pgd(fake), *last = (uint64_t *)fake_phys(fake, pgd) + 511;

	map(fake, pgd, 0xffffffff81000000, 4, 1, 0x600000 | 0x83);
	map(fake, pgd, 0xffffffff81200000, 4, 0, 0x123000 | 3);
	map(fake, pgd, 0xffff888000000000, 4, 2, 0x40000000 | 0x83);
	past.pgd = pgd;
	past.pgd_last = *last;
	*last = 0;
	leads_nowhere(pgd, 0xffffffff81000000);
	walk.guest = &past;
	leads_to(pgd, 0xffffffff81000000, 0x600000, 2 << 20, VMI_PAGE_WRITE);
	leads_to(pgd, 0xffffffff81200008, 0x123008, PAGE - 8, VMI_PAGE_WRITE);
	/* The rest of it, and other tables, are as they are. */
	((uint64_t *)fake_phys(fake, pgd))[0xffff888000000000 >> 39 & 511] = 0;
	leads_nowhere(pgd, 0xffff888000000000);
	leads_nowhere(new_pgd(fake), 0xffffffff81000000);
	/* Other levels' last entries too. */
	leads_nowhere(pgd, 0xffffffffffffe000);
}

/* ---------------------------------------------------------------------------------------- lists */

static uint64_t make_list(unsigned int n, uint64_t *nodes)
{
	uint64_t head = fake_alloc(fake, 16, 16), last = head;

	for (unsigned int i = 0; i < n; i++) {
		nodes[i] = fake_alloc(fake, 16, 16);
		poke(last, nodes[i]);
		poke(nodes[i] + 8, last);
		last = nodes[i];
	}
	poke(last, head);
	poke(head + 8, last);
	return head;
}

static unsigned int count_list(uint64_t head)
{
	struct vmi_list l;
	unsigned int n = 0;

	vmi_list_start(&l, &walk, head, "list");
	while (vmi_list_next(&l))
		n++;
	assert_int_equal(vmi_list_next(&l), 0);
	return n;
}

static void test_list(void **state)
{
	uint64_t nodes[10], head = make_list(10, nodes);
	struct vmi_list l;

	vmi_list_start(&l, &walk, head, "list");
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(vmi_list_next(&l), nodes[i]);
	assert_int_equal(vmi_list_next(&l), 0);
	stopped(VMI_STOP_NONE);
	assert_false(walk.torn);
	assert_int_equal(count_list(make_list(0, nodes)), 0);

	/* A node whose back link disagrees. */
	poke(nodes[4] + 8, nodes[2]);
	assert_int_equal(count_list(head), 10);
	assert_true(walk.torn);
	stopped(VMI_STOP_NONE);
}

static void test_list_cycles(void **state)
{
	uint64_t nodes[1000], head = make_list(1000, nodes);

	/* Back to any node but the head: found within a few times the list's length. */
	for (unsigned int i = 0; i < 1000; i += 111) {
		begin(state);
		head = make_list(1000, nodes);
		poke(nodes[999], nodes[i]);
		assert_in_range(count_list(head), 1000, 4000);
		stopped(VMI_STOP_CYCLE);
		assert_string_equal(walk.where, "list");
		assert_true(walk.torn);
	}
	begin(state);
	head = make_list(1, nodes);
	poke(nodes[0], nodes[0]);
	assert_in_range(count_list(head), 1, 3);
	stopped(VMI_STOP_CYCLE);
}

static void test_list_faults(void **state)
{
	static const uint64_t wrong[] = { 0,
					  8,
					  0xdead000000000100,
					  0x0000800000000000,
					  FAKE_PAGE_OFFSET + FAKE_RAM,
					  FAKE_PAGE_OFFSET + 0xa0000,
					  UINT64_MAX,
					  UINT64_MAX - 7 };
	uint64_t nodes[4], head;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		begin(state);
		head = make_list(4, nodes);
		poke(nodes[2], wrong[i]);
		/* The wrong node may be handed out once: it is read by whoever gets it. */
		assert_in_range(count_list(head), 3, 4);
		stopped(VMI_STOP_FAULT);
	}
	begin(state);
	assert_int_equal(count_list(0), 0);
	assert_int_equal(count_list(0x8000000000000000), 0);
	stopped(VMI_STOP_FAULT);
}

/* The window in which each node is made when it is read: the list never ends and never repeats. */
static uint64_t window;

static int endless(struct fake *f, uint64_t gpa, size_t len)
{
	uint64_t next = gpa + FAKE_PAGE_OFFSET + 1;

	if (gpa >= window && gpa - window < (2u << 20) && len == 8)
		memcpy(f->ram + gpa, &next, 8);
	return 0;
}

static void test_list_endless(void **state)
{
	struct vmi_list l;
	unsigned int n = 0;

	window = fake_alloc(fake, 2 << 20, PAGE) - FAKE_PAGE_OFFSET;
	fake->on_read = endless;
	assert_int_equal(count_list(FAKE_PAGE_OFFSET + window), VMI_LIST_MAX);
	stopped(VMI_STOP_LENGTH);
	assert_in_range(walk.steps, VMI_LIST_MAX, 2 * VMI_LIST_MAX + 16);

	begin(state);
	fake->on_read = endless;
	vmi_hlist_start(&l, &walk, FAKE_PAGE_OFFSET + window, "hlist");
	while (vmi_hlist_next(&l))
		n++;
	/* Every other node is the end of an hlist_nulls: its lowest bit is set. */
	assert_int_equal(n, 0);
	stopped(VMI_STOP_NONE);

	with_steps(1000);
	fake->on_read = endless;
	assert_in_range(count_list(FAKE_PAGE_OFFSET + window), 400, 600);
	stopped(VMI_STOP_STEPS);
}

static void test_hlist(void **state)
{
	uint64_t head = fake_alloc(fake, 8, 8), a = fake_alloc(fake, 16, 16),
		 b = fake_alloc(fake, 16, 16);
	struct vmi_list l;
	unsigned int n = 0;

	vmi_hlist_start(&l, &walk, head, "hlist");
	assert_int_equal(vmi_hlist_next(&l), 0);
	poke(head, a);
	poke(a, b);
	poke(b, 0x4d3); /* the end of an hlist_nulls */
	vmi_hlist_start(&l, &walk, head, "hlist");
	assert_int_equal(vmi_hlist_next(&l), a);
	assert_int_equal(vmi_hlist_next(&l), b);
	assert_int_equal(vmi_hlist_next(&l), 0);
	assert_int_equal(vmi_hlist_next(&l), 0);
	stopped(VMI_STOP_NONE);
	poke(b, a);
	for (vmi_hlist_start(&l, &walk, head, "hlist"); vmi_hlist_next(&l);)
		n++;
	assert_in_range(n, 2, 8);
	stopped(VMI_STOP_CYCLE);
}

/* ----------------------------------------------------------------------------------- red-black
 * trees */

static void rb_set(uint64_t node, uint64_t left, uint64_t right)
{
	poke(node + 16, left);
	poke(node + 8, right);
}

static unsigned int count_rb(uint64_t root)
{
	struct vmi_rb r;
	unsigned int n = 0;

	for (vmi_rb_start(&r, &walk, root, "tree"); vmi_rb_next(&r);)
		n++;
	assert_int_equal(vmi_rb_next(&r), 0);
	return n;
}

static void test_rb(void **state)
{
	uint64_t root = fake_alloc(fake, 8, 8), node[8];
	struct vmi_rb r;

	assert_int_equal(count_rb(root), 0);
	for (unsigned int i = 0; i < 8; i++)
		node[i] = fake_alloc(fake, 24, 8);
	rb_set(node[4], node[2], node[6]);
	rb_set(node[2], node[1], node[3]);
	rb_set(node[6], node[5], node[7]);
	poke(root, node[4]);
	vmi_rb_start(&r, &walk, root, "tree");
	for (unsigned int i = 1; i < 8; i++)
		assert_int_equal(vmi_rb_next(&r), node[i]);
	assert_int_equal(vmi_rb_next(&r), 0);
	stopped(VMI_STOP_NONE);

	/* A branch that leads nowhere: the rest is there. */
	rb_set(node[2], 0x8000000000000000, node[3]);
	assert_in_range(count_rb(root), 6, 7);
	stopped(VMI_STOP_FAULT);
}

static void test_rb_cycles(void **state)
{
	uint64_t root = fake_alloc(fake, 8, 8), node[200];

	for (unsigned int i = 0; i < 200; i++)
		node[i] = fake_alloc(fake, 24, 8);
	poke(root, node[0]);
	rb_set(node[0], node[0], 0);
	assert_in_range(count_rb(root), 0, VMI_RB_DEPTH);
	stopped(VMI_STOP_CYCLE);

	begin(state);
	poke(root, node[0]);
	rb_set(node[0], 0, node[0]);
	assert_in_range(count_rb(root), 1, VMI_LIST_MAX);
	assert_int_not_equal(walk.stop, VMI_STOP_NONE);
	assert_in_range(walk.steps, 1, 4 * VMI_LIST_MAX);

	/* Deeper than any tree; and one of few nodes that has 2^100 leaves. */
	begin(state);
	poke(root, node[0]);
	for (unsigned int i = 0; i < 199; i++)
		rb_set(node[i], node[i + 1], 0);
	assert_in_range(count_rb(root), 0, VMI_RB_DEPTH);
	stopped(VMI_STOP_CYCLE);
	begin(state);
	poke(root, node[0]);
	for (unsigned int i = 0; i < 100; i++)
		rb_set(node[i], node[i + 1], node[i + 1]);
	assert_in_range(count_rb(root), 1, VMI_LIST_MAX);
	assert_int_not_equal(walk.stop, VMI_STOP_NONE);
	assert_in_range(walk.steps, 1, 4 * VMI_LIST_MAX);
}

/* -------------------------------------------------------------------------------------- xarrays */

static uint64_t new_node(unsigned int shift)
{
	uint64_t gva = fake_alloc(fake, sizeof(struct xa_node), 64);
	uint8_t s = (uint8_t)shift;

	assert_true(fake_write(fake, gva, &s, 1));
	return gva;
}

static void set_slot(uint64_t node, unsigned int slot, uint64_t entry)
{
	poke(node + offsetof(struct xa_node, slots) + 8 * slot, entry);
}

static uint64_t new_xarray(uint64_t head)
{
	uint64_t xa = fake_alloc(fake, sizeof(struct xarray), 8);

	poke(xa + offsetof(struct xarray, xa_head), head);
	return xa;
}

static unsigned int count_xa(uint64_t xa)
{
	uint64_t index, entry;
	struct vmi_xa x;
	unsigned int n = 0;

	for (vmi_xa_start(&x, &walk, xa, "xarray"); vmi_xa_next(&x, &index, &entry);)
		n++;
	return n;
}

static void test_xarray(void **state)
{
	uint64_t top = new_node(6), low = new_node(0), index, entry;
	uint64_t xa = new_xarray(top | 2);
	struct vmi_xa x;

	set_slot(top, 3, low | 2);
	set_slot(top, 5, 0xffff9b4fc0900000); /* a pointer that stands for 64 indices */
	set_slot(low, 0, 0xffff9b4fc0900100);
	set_slot(low, 1, 2 << 2 | 2); /* a sibling */
	set_slot(low, 2, 256 << 2 | 2); /* a retry */
	set_slot(low, 63, 41 << 1 | 1); /* a value */
	vmi_xa_start(&x, &walk, xa, "xarray");
	assert_true(vmi_xa_next(&x, &index, &entry));
	assert_true(index == 3 * 64 && entry == 0xffff9b4fc0900100);
	assert_true(vmi_xa_next(&x, &index, &entry));
	assert_true(index == 3 * 64 + 63 && entry == (41 << 1 | 1));
	assert_true(vmi_xa_next(&x, &index, &entry));
	assert_true(index == 5 * 64 && entry == 0xffff9b4fc0900000);
	assert_false(vmi_xa_next(&x, &index, &entry));
	assert_false(vmi_xa_next(&x, &index, &entry));
	stopped(VMI_STOP_NONE);

	assert_int_equal(vmi_xa_load(&walk, xa, 3 * 64), 0xffff9b4fc0900100);
	assert_int_equal(vmi_xa_load(&walk, xa, 3 * 64 + 63), 0);
	assert_int_equal(vmi_xa_load(&walk, xa, 64 * 64), 0);
	assert_int_equal(vmi_xa_load(&walk, xa, UINT64_MAX), 0);

	/* One entry, without a node. */
	xa = new_xarray(0xffff9b4fc0900200);
	vmi_xa_start(&x, &walk, xa, "xarray");
	assert_true(vmi_xa_next(&x, &index, &entry));
	assert_true(!index && entry == 0xffff9b4fc0900200);
	assert_false(vmi_xa_next(&x, &index, &entry));
	assert_int_equal(vmi_xa_load(&walk, xa, 0), 0xffff9b4fc0900200);
	assert_int_equal(vmi_xa_load(&walk, xa, 1), 0);
	assert_int_equal(count_xa(new_xarray(0)), 0);
	stopped(VMI_STOP_NONE);
}

static void test_xarray_crafted(void **state)
{
	uint64_t node = new_node(6), xa = new_xarray(node | 2), chain[10];

	/* A node below itself. */
	set_slot(node, 1, node | 2);
	assert_int_equal(count_xa(xa), 0);
	stopped(VMI_STOP_CYCLE);
	assert_int_equal(vmi_xa_load(&walk, xa, 64), 0);
	/* A node that leads nowhere; a shift that no node has. */
	begin(state);
	assert_int_equal(count_xa(new_xarray(0x8000000000001002)), 0);
	stopped(VMI_STOP_FAULT);
	begin(state);
	assert_int_equal(count_xa(new_xarray(new_node(255) | 2)), 0);
	stopped(VMI_STOP_CYCLE);
	/* Ten nodes, each in all slots of the one above: 2^60 entries. */
	with_steps(100000);
	fake_undo(fake);
	for (unsigned int i = 0; i < 10; i++)
		chain[i] = new_node(54 - 6 * i);
	for (unsigned int i = 0; i < 10; i++)
		for (unsigned int s = 0; s < 64; s++)
			set_slot(chain[i], s, i < 9 ? chain[i + 1] | 2 : FAKE_PAGE_OFFSET);
	assert_in_range(count_xa(new_xarray(chain[0] | 2)), 90000, 100000);
	stopped(VMI_STOP_STEPS);
}

/* ------------------------------------------------------------------------------------- maple trees
 */

enum { LEAF = 1, RANGE = 2, ARANGE = 3 };

static uint64_t enode(uint64_t node, unsigned int type)
{
	return node | type << 3 | 4;
}

static uint64_t new_maple(uint64_t root)
{
	uint64_t mt = fake_alloc(fake, sizeof(struct maple_tree), 8);

	poke(mt + offsetof(struct maple_tree, ma_root), root);
	return mt;
}

static unsigned int count_maple(uint64_t mt)
{
	uint64_t first, last, entry, after = 0;
	struct vmi_maple m;
	unsigned int n = 0;

	for (vmi_maple_start(&m, &walk, mt, "maple"); vmi_maple_next(&m, &first, &last, &entry);
	     n++) {
		assert_true(first <= last);
		/* Whatever the nodes say: in order, and apart. */
		assert_true(!n || first > after);
		after = last;
	}
	return n;
}

static void test_maple(void **state)
{
	static const uint64_t expect[][2] = {
		{ 0x400000, 0x403fff },
		{ 0x410000, 0x413fff },
		{ 0x420000, 0x423fff },
		{ 0x430000, 0x433fff },
		{ 0x440000, 0x443fff },
		{ 0x7f0000000000, 0x7f0000003fff },
		{ 0x7f0000010000, 0x7f0000013fff },
		{ 0x7f0000020000, 0x7f0000023fff },
	};
	uint64_t mt = fake->world.mm[1] + offsetof(struct mm_struct, mm_mt), first, last, entry;
	struct vmi_maple m;

	/* Two leaves below an arange node, as make_areas() built them. */
	vmi_maple_start(&m, &walk, mt, "maple");
	for (unsigned int i = 0; i < 8; i++) {
		assert_true(vmi_maple_next(&m, &first, &last, &entry));
		assert_int_equal(first, expect[i][0]);
		assert_int_equal(last, expect[i][1]);
		assert_int_equal(((struct vm_area_struct *)fake_at(fake, entry))->vm_start, first);
	}
	assert_false(vmi_maple_next(&m, &first, &last, &entry));
	assert_false(vmi_maple_next(&m, &first, &last, &entry));
	stopped(VMI_STOP_NONE);
	assert_false(walk.torn);

	/* One entry for index 0, without a node; none. */
	vmi_maple_start(&m, &walk, new_maple(FAKE_PAGE_OFFSET), "maple");
	assert_true(vmi_maple_next(&m, &first, &last, &entry));
	assert_true(!first && !last && entry == FAKE_PAGE_OFFSET);
	assert_false(vmi_maple_next(&m, &first, &last, &entry));
	assert_int_equal(count_maple(new_maple(0)), 0);
	stopped(VMI_STOP_NONE);
}

/* A full leaf has one slot more than pivots: the last one's range ends where the node's does. */
static void test_maple_full(void **state)
{
	uint64_t leaf = fake_alloc(fake, 256, 256), top = fake_alloc(fake, 256, 256);
	struct maple_range_64 *l = fake_at(fake, leaf), *t = fake_at(fake, top);
	uint64_t first, last, entry;
	struct vmi_maple m;

	for (unsigned int i = 0; i < 16; i++) {
		l->slot[i] = (void *)(uintptr_t)(FAKE_PAGE_OFFSET + i * 64);
		if (i < 15)
			l->pivot[i] = 10 * i + 9;
	}
	t->slot[0] = (void *)(uintptr_t)enode(leaf, LEAF);
	t->pivot[0] = 500;
	t->pivot[1] = UINT64_MAX;
	vmi_maple_start(&m, &walk, new_maple(enode(top, RANGE) | 2), "maple");
	for (unsigned int i = 0; i < 16; i++) {
		assert_true(vmi_maple_next(&m, &first, &last, &entry));
		assert_int_equal(first, 10 * i);
		assert_int_equal(last, i == 15 ? 500 : 10 * i + 9);
		assert_int_equal(entry, FAKE_PAGE_OFFSET + i * 64);
	}
	assert_false(vmi_maple_next(&m, &first, &last, &entry));
}

static void test_maple_crafted(void **state)
{
	uint64_t node = fake_alloc(fake, 256, 256), mt = new_maple(enode(node, ARANGE) | 2);
	struct maple_arange_64 *n = fake_at(fake, node);

	/* A node below itself, in its whole range. */
	n->slot[0] = (void *)(uintptr_t)enode(node, ARANGE);
	n->pivot[0] = UINT64_MAX;
	assert_int_equal(count_maple(mt), 0);
	assert_int_not_equal(walk.stop, VMI_STOP_NONE);
	/* In each slot. */
	with_steps(100000);
	for (unsigned int i = 0; i < 10; i++) {
		n->slot[i] = (void *)(uintptr_t)enode(node, ARANGE);
		if (i < 9)
			n->pivot[i] = i + 1;
	}
	poke(mt + offsetof(struct maple_tree, ma_root), enode(node, ARANGE) | 2);
	count_maple(mt);
	assert_int_not_equal(walk.stop, VMI_STOP_NONE);
	assert_in_range(walk.steps, 1, 100000);
	/* Pivots that do not rise; a type that no node has; a child that leads nowhere. */
	begin(state);
	memset(n, 0, sizeof(*n));
	for (unsigned int i = 0; i < 9; i++)
		n->pivot[i] = 1000 - i;
	for (unsigned int i = 0; i < 10; i++)
		n->slot[i] = (void *)(uintptr_t)FAKE_PAGE_OFFSET;
	mt = new_maple(enode(node, LEAF) | 2);
	assert_in_range(count_maple(mt), 0, 10);
	begin(state);
	assert_int_equal(count_maple(new_maple(enode(node, 9) | 2)), 0);
	stopped(VMI_STOP_FAULT);
	begin(state);
	assert_int_equal(count_maple(new_maple(0x8000000000001002 | LEAF << 3)), 0);
	stopped(VMI_STOP_FAULT);
	/* A node that was taken out while the tree was walked is its own parent. */
	begin(state);
	n->parent = (void *)(uintptr_t)node;
	count_maple(new_maple(enode(node, LEAF) | 2));
	assert_true(walk.torn);
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_read),
		TEST(test_memory_goes_away),
		TEST(test_text),
		TEST(test_budget),
		TEST(test_fields),
		TEST(test_per_cpu),
		TEST(test_witnesses),
		TEST(test_pages),
		TEST(test_pages_none),
		TEST(test_pages_canonical),
		TEST(test_pages_loop),
		TEST(test_pages_of_the_past),
		TEST(test_list),
		TEST(test_list_cycles),
		TEST(test_list_faults),
		TEST(test_list_endless),
		TEST(test_hlist),
		TEST(test_rb),
		TEST(test_rb_cycles),
		TEST(test_xarray),
		TEST(test_xarray_crafted),
		TEST(test_maple),
		TEST(test_maple_full),
		TEST(test_maple_crafted),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
