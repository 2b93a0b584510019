// SPDX-License-Identifier: GPL-2.0-or-later
/* Targets: dumps that were made for the purpose, broken ones, JSON, and what monitors say. */
#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../vmi/memory/live.h"

#define PAGE		    4096u
#define ARRAY_SIZE(a)	    (sizeof(a) / sizeof((a)[0]))
#define assert_begins(a, b) assert_memory_equal(a, b, strlen(b))

/* ---------------------------------------------------------------------------------------- files */

struct file {
	unsigned char *v;
	size_t n, room;
	char path[64];
};

static void put(struct file *f, size_t at, const void *data, size_t n)
{
	if (at + n > f->room) {
		f->room = 2 * (at + n);
		f->v = realloc(f->v, f->room);
		assert_non_null(f->v);
	}
	if (at > f->n)
		memset(f->v + f->n, 0, at - f->n);
	if (n)
		memcpy(f->v + at, data, n);
	if (at + n > f->n)
		f->n = at + n;
}

static void save(struct file *f)
{
	int fd;

	if (!f->path[0]) {
		strcpy(f->path, "/tmp/iho-target.XXXXXX");
		fd = mkstemp(f->path);
	} else {
		fd = open(f->path, O_WRONLY | O_TRUNC);
	}
	assert_true(fd >= 0);
	assert_int_equal(write(fd, f->v, f->n), f->n);
	close(fd);
}

static void discard(struct file *f)
{
	if (f->path[0])
		unlink(f->path);
	free(f->v);
	*f = (struct file){ 0 };
}

/* Finds and opens; the target goes away again when that fails. */
static int open_dump(const char *path, const char *map, struct vmi_target **t, struct vmi_mem **m,
		     struct vmi_error *err)
{
	struct vmi_find_options o = { .dump = path, .map = map };
	int r;

	*m = NULL;
	err->text[0] = '\0';
	r = vmi_target_find(t, &o, err);
	if (!r)
		r = vmi_target_open(*t, m, err);
	if (r) {
		assert_true(err->text[0]);
		vmi_target_free(*t);
		*t = NULL;
	}
	return r;
}

static void close_dump(struct vmi_target *t, struct vmi_mem *m)
{
	vmi_mem_close(m);
	vmi_target_free(t);
}

/* ------------------------------------------------------------------------------------------ raw */

static void test_raw(void **state)
{
	static const char *const bad[] = {
		"",
		"0",
		"0:4096",
		"0:4096@",
		"0:0@0",
		"0:4096@0,",
		"0:-1@0",
		"0:4096@0;",
		"0:4096@0x",
		"a:4096@0",
		":4096@0",
		"0:4096@0,,",
		"0:4K@0 ",
		"0:4KB@0",
		"0@0:4096",
		" 0:4096@0",
		"0:99999999999999999999@0",
		"0:99999999999G@0",
		"0:4K@0,2K:4K@4K",
		"0xfffffffffffff000:8K@0",
	};
	struct file f = { 0 };
	struct vmi_target *t;
	struct vmi_error err = {};
	struct vmi_mem *m;
	char buf[4];

	put(&f, 3 * PAGE - 4, "last", 4);
	put(&f, PAGE, "one", 4);
	save(&f);
	assert_int_equal(open_dump(f.path, "0x100000:4K@4K,4G:0x1000@8k", &t, &m, &err), 0);
	assert_int_equal(t->kind, VMI_TARGET_RAW);
	assert_int_equal(vmi_mem_bytes(m), 2 * PAGE);
	assert_int_equal(vmi_mem_read(m, 0x100000, buf, 4), 0);
	assert_string_equal(buf, "one");
	assert_int_equal(vmi_mem_read(m, (4ULL << 30) + PAGE - 4, buf, 4), 0);
	assert_memory_equal(buf, "last", 4);
	assert_int_equal(vmi_mem_read(m, 0, buf, 4), -EFAULT);
	assert_int_equal(vmi_target_alive(t, &err), 0);
	assert_int_equal(vmi_target_refresh(t, &err), -ENOTSUP);
	close_dump(t, m);
	/* longer than the file */
	assert_int_equal(open_dump(f.path, "0:1M@0", &t, &m, &err), 0);
	assert_int_equal(vmi_mem_read(m, 3 * PAGE - 4, buf, 4), 0);
	assert_int_equal(vmi_mem_read(m, 3 * PAGE, buf, 4), -EIO);
	close_dump(t, m);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (open_dump(f.path, bad[i], &t, &m, &err) != -EINVAL)
			fail_msg("\"%s\" is taken for a map", bad[i]);
	}
	discard(&f);
}

static void test_what_is_no_dump(void **state)
{
	struct vmi_find_options both = { .vm = "1", .dump = "x" },
				live_map = { .vm = "1", .map = "0:4K@0" };
	struct file f = { 0 };
	struct vmi_target *t;
	struct vmi_error err = {};
	struct vmi_mem *m;
	char path[80];

	assert_int_equal(vmi_target_find(&t, &both, &err), -EINVAL);
	assert_int_equal(vmi_target_find(&t, &live_map, &err), -EINVAL);
	assert_int_equal(open_dump("/nonexistent/file", NULL, &t, &m, &err), -ENOENT);
	assert_int_equal(open_dump("/tmp", NULL, &t, &m, &err), -EINVAL);
	assert_int_equal(open_dump("/dev/zero", NULL, &t, &m, &err), -EINVAL);
	put(&f, 0, "short", 5);
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), -EINVAL);
	put(&f, 0, "no magic number at all", 22);
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), -EINVAL);
	assert_non_null(strstr(err.text, "--map"));
	/* opening a FIFO must not wait for its other end */
	snprintf(path, sizeof(path), "%s.fifo", f.path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(open_dump(path, NULL, &t, &m, &err), -EINVAL);
	unlink(path);
	discard(&f);
}

/* ------------------------------------------------------------------------------------------ ELF */

struct load {
	uint64_t gpa, filesz, memsz, offset;
};

static Elf64_Ehdr header(size_t n_phdrs)
{
	Elf64_Ehdr eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			  .e_type = ET_CORE,
			  .e_machine = EM_X86_64,
			  .e_version = EV_CURRENT,
			  .e_phoff = sizeof(eh),
			  .e_ehsize = sizeof(eh),
			  .e_phentsize = sizeof(Elf64_Phdr),
			  .e_phnum = (uint16_t)n_phdrs };

	return eh;
}

static void put_elf(struct file *f, const struct load *v, size_t n)
{
	Elf64_Ehdr eh = header(n);

	put(f, 0, &eh, sizeof(eh));
	for (size_t i = 0; i < n; i++) {
		Elf64_Phdr ph = { .p_type = PT_LOAD,
				  .p_paddr = v[i].gpa,
				  .p_filesz = v[i].filesz,
				  .p_memsz = v[i].memsz,
				  .p_offset = v[i].offset };

		put(f, sizeof(eh) + i * sizeof(ph), &ph, sizeof(ph));
	}
}

static void assert_text_at(struct vmi_mem *m, uint64_t gpa, const char *text)
{
	char buf[64];

	assert_int_equal(vmi_mem_read(m, gpa, buf, strlen(text)), 0);
	assert_memory_equal(buf, text, strlen(text));
}

static void test_elf(void **state)
{
	/* out of order, not page-aligned in the file, on both sides of 4 GiB, one cut short */
	static const struct load loads[] = {
		{ 4ULL << 30, 2 * PAGE, 2 * PAGE, 0x5123 },
		{ 0, PAGE, PAGE, 0x1123 },
		{ PAGE, PAGE, PAGE, 0x2123 }, /* goes on where the last one ended */
		{ 0x100000, PAGE, 4 * PAGE, 0x3123 },
		{ 0x200000, 0, PAGE, 0x3123 }, /* not dumped */
		{ UINT64_MAX, PAGE, PAGE, 0x3123 }, /* no physical address */
	};
	struct file f = { 0 };
	const struct vmi_region *v;
	struct vmi_target *t;
	struct vmi_error err = {};
	struct vmi_mem *m;
	char buf[8];
	size_t n;

	put_elf(&f, loads, ARRAY_SIZE(loads));
	put(&f, 0x2123 - 4, "seamless", 8);
	put(&f, 0x3123, "third", 5);
	put(&f, 0x5123 + 2 * PAGE - 3, "end", 3);
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), 0);
	assert_int_equal(t->kind, VMI_TARGET_ELF);
	assert_int_equal(t->pid, 0);
	assert_string_equal(t->how_ram, "ELF core, mapped");
	v = vmi_mem_regions(m, &n);
	assert_int_equal(n, 3);
	assert_int_equal(v[0].bytes, 2 * PAGE);
	assert_int_equal(v[1].gpa, 0x100000);
	assert_int_equal(v[1].bytes, PAGE);
	assert_int_equal(v[2].gpa, 4ULL << 30);
	assert_text_at(m, PAGE - 4, "seamless");
	assert_text_at(m, 0x100000, "third");
	assert_text_at(m, (4ULL << 30) + 2 * PAGE - 3, "end");
	assert_int_equal(vmi_mem_read(m, 0x101000, buf, 1), -EFAULT);
	assert_int_equal(vmi_mem_read(m, 0x200000, buf, 1), -EFAULT);
	assert_int_equal(t->n_vcpus, 0);
	assert_begins(t->how_vcpus, "none");
	close_dump(t, m);

	/* cut off: what is missing cannot be read, the rest can */
	f.n -= PAGE;
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), 0);
	assert_non_null(strstr(t->how_ram, "shorter"));
	assert_text_at(m, 0x100000, "third");
	assert_int_equal(vmi_mem_read(m, (4ULL << 30) + 2 * PAGE - 3, buf, 3), -EIO);
	close_dump(t, m);
	discard(&f);
}

/* The same memory under several names, as in dumps with paging: the first in the order counts. */
static void test_elf_overlap(void **state)
{
	static const struct load loads[] = {
		{ 0x1000, 4 * PAGE, 4 * PAGE, 0x1000 },
		{ 0x2000, PAGE, PAGE, 0x2000 }, /* within */
		{ 0x4000, 2 * PAGE, 2 * PAGE, 0x8000 }, /* half of it */
		{ 0x1000, PAGE, PAGE, 0x1000 }, /* again */
	};
	struct file f = { 0 };
	struct vmi_target *t;
	struct vmi_error err = {};
	struct vmi_mem *m;

	put_elf(&f, loads, ARRAY_SIZE(loads));
	put(&f, 0x4ffb, "first", 5);
	put(&f, 0x9000, "second", 6);
	put(&f, 0xa000, "", 0);
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), 0);
	assert_int_equal(vmi_mem_bytes(m), 5 * PAGE);
	assert_text_at(m, 0x4ffb, "first");
	assert_text_at(m, 0x5000, "second");
	close_dump(t, m);
	discard(&f);
}

/* More program headers than 16 bits count; adjacent ones become one region. */
static void test_elf_many_headers(void **state)
{
	const uint32_t n = 70000;
	Elf64_Ehdr eh = header(PN_XNUM);
	Elf64_Shdr sh = { .sh_info = n };
	struct file f = { 0 };
	struct vmi_target *t;
	struct vmi_error err = {};
	struct vmi_mem *m;
	size_t data = sizeof(eh) + n * sizeof(Elf64_Phdr) + sizeof(sh);

	eh.e_shoff = sizeof(eh) + n * sizeof(Elf64_Phdr);
	eh.e_shentsize = sizeof(sh);
	eh.e_shnum = 1;
	put(&f, 0, &eh, sizeof(eh));
	for (uint32_t i = 0; i < n; i++) {
		Elf64_Phdr ph = { .p_type = PT_LOAD,
				  .p_paddr = i * 16,
				  .p_filesz = 16,
				  .p_memsz = 16,
				  .p_offset = data + i * 16 };

		put(&f, sizeof(eh) + i * sizeof(ph), &ph, sizeof(ph));
	}
	put(&f, eh.e_shoff, &sh, sizeof(sh));
	put(&f, data + (size_t)n * 16 - 6, "finish", 6);
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), 0);
	assert_int_equal(vmi_mem_bytes(m), n * 16);
	assert_text_at(m, (uint64_t)n * 16 - 6, "finish");
	close_dump(t, m);
	/* the count cannot be had, or is too high */
	eh.e_shoff = f.n;
	put(&f, 0, &eh, sizeof(eh));
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), -EINVAL);
	eh.e_shoff = 0;
	eh.e_shentsize = 0;
	put(&f, 0, &eh, sizeof(eh));
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), -EINVAL);
	discard(&f);

	/* memory in too many pieces */
	eh = header(8000);
	put(&f, 0, &eh, sizeof(eh));
	for (uint32_t i = 0; i < 8000; i++) {
		Elf64_Phdr ph = { .p_type = PT_LOAD,
				  .p_paddr = i * 2 * PAGE,
				  .p_filesz = PAGE,
				  .p_memsz = PAGE };

		put(&f, sizeof(eh) + i * sizeof(ph), &ph, sizeof(ph));
	}
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), -E2BIG);
	discard(&f);
}

static void test_elf_broken(void **state)
{
	static const struct load one = { 0, PAGE, PAGE, 0x1000 };
	struct file f = { 0 };
	struct vmi_target *t;
	struct vmi_error err = {};
	struct vmi_mem *m;
	Elf64_Ehdr eh;

#define BROKEN(change, error)                                                                      \
	do {                                                                                       \
		eh = header(1);                                                                    \
		change;                                                                            \
		put(&f, 0, &eh, sizeof(eh));                                                       \
		save(&f);                                                                          \
		assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), error);                    \
	} while (0)

	put_elf(&f, &one, 1);
	put(&f, 0x2000, "", 0);
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), 0);
	close_dump(t, m);
	BROKEN(eh.e_ident[EI_CLASS] = ELFCLASS32, -ENOTSUP);
	BROKEN(eh.e_ident[EI_DATA] = ELFDATA2MSB, -EINVAL);
	BROKEN(eh.e_machine = EM_AARCH64, -ENOTSUP);
	BROKEN(eh.e_type = ET_EXEC, -EINVAL);
	BROKEN(eh.e_phentsize = 55, -EINVAL);
	BROKEN(eh.e_phnum = 0, -EINVAL);
	BROKEN(eh.e_phnum = 1000, -EINVAL);
	BROKEN(eh.e_phoff = f.n - 55, -EINVAL);
	BROKEN(eh.e_phoff = UINT64_MAX, -EINVAL);
	BROKEN(eh.e_phoff = INT64_MAX, -EINVAL);
	BROKEN(eh.e_phoff = 0, -EINVAL); /* the header itself as a program header */
	f.n = 40;
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), -EINVAL);
	discard(&f);
}

/* ---------------------------------------------------------------------------------------- notes */

static size_t put_note(struct file *f, size_t at, const char *name, uint32_t type, const void *desc,
		       size_t len)
{
	Elf64_Nhdr nh = { .n_namesz = (uint32_t)strlen(name) + 1,
			  .n_descsz = (uint32_t)len,
			  .n_type = type };

	put(f, at, &nh, sizeof(nh));
	at += sizeof(nh);
	put(f, at, name, nh.n_namesz);
	at += (nh.n_namesz + 3) & ~3u;
	put(f, at, desc, len);
	return at + ((len + 3) & ~(size_t)3);
}

/* Offsets as in QEMU's x86_64_elf_prstatus and QEMUCPUState, each field with its own value. */
static size_t put_cpu_notes(struct file *f, size_t at, uint64_t seed, size_t qemu_size, bool qemu)
{
	uint64_t regs[27], state[64] = { 0 };
	unsigned char prstatus[336] = { 0 };
	uint32_t head[2] = { 1, (uint32_t)qemu_size };

	if (!qemu) {
		for (size_t i = 0; i < 27; i++)
			regs[i] = seed + 100 + i;
		memcpy(prstatus + 112, regs, sizeof(regs));
		return put_note(f, at, "CORE", NT_PRSTATUS, prstatus, sizeof(prstatus));
	}
	for (size_t i = 1; i < 64; i++)
		state[i] = seed + i;
	memcpy(state, head, sizeof(head));
	return put_note(f, at, "QEMU", 0, state, qemu_size);
}

static void put_notes_elf(struct file *f, size_t from, size_t end)
{
	Elf64_Ehdr eh = header(2);
	Elf64_Phdr ph[2] = {
		{ .p_type = PT_NOTE, .p_offset = from, .p_filesz = end - from },
		{ .p_type = PT_LOAD, .p_filesz = PAGE, .p_memsz = PAGE, .p_offset = 0x4000 },
	};

	put(f, 0, &eh, sizeof(eh));
	put(f, sizeof(eh), ph, sizeof(ph));
	put(f, 0x5000, "", 0);
}

static void test_notes(void **state)
{
	static const char info[] = "OSRELEASE=6.12\nKERNELOFFSET=0\n";
	struct file f = { 0 };
	const struct vmi_vcpu *v;
	struct vmi_target *t;
	struct vmi_error err = {};
	struct vmi_mem *m;
	size_t at = 0x1000;

	at = put_cpu_notes(&f, at, 0x1000, 0, false);
	at = put_cpu_notes(&f, at, 0x2000, 0, false);
	at = put_cpu_notes(&f, at, 0x3000, 432, true);
	at = put_cpu_notes(&f, at, 0x4000, 440, true);
	at = put_note(&f, at, "VMCOREINFO", 0, info, sizeof(info) - 1);
	put_notes_elf(&f, 0x1000, at);
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), 0);
	assert_int_equal(t->n_vcpus, 2);
	assert_string_equal(t->vmcoreinfo, info);
	v = t->vcpus;
	assert_int_equal(v[0].known, VMI_REG_GPR | VMI_REG_CR | VMI_REG_DTR | VMI_REG_SEG);
	assert_int_equal(v[1].known, v[0].known | VMI_REG_KERNEL_GS);
	/* QEMUCPUState in 8-byte words: rax rbx rcx rdx rsi rdi rsp rbp r8 ... from 1 on */
	assert_int_equal(v[1].gpr[0], 0x4001);
	assert_int_equal(v[1].gpr[1], 0x4003);
	assert_int_equal(v[1].gpr[2], 0x4004);
	assert_int_equal(v[1].gpr[3], 0x4002);
	assert_int_equal(v[1].gpr[4], 0x4007);
	assert_int_equal(v[1].gpr[5], 0x4008);
	assert_int_equal(v[1].gpr[6], 0x4005);
	assert_int_equal(v[1].gpr[7], 0x4006);
	assert_int_equal(v[1].gpr[8], 0x4009);
	assert_int_equal(v[1].gpr[15], 0x4010);
	assert_int_equal(v[1].rip, 0x4011);
	assert_int_equal(v[1].rflags, 0x4012);
	/* 10 segments of 3 words from 19 on: cs ds es fs gs ss ldt tr gdt idt */
	assert_int_equal(v[1].cs, 0x4013);
	assert_int_equal(v[1].fs_base, 0x4000 + 19 + 3 * 3 + 2);
	assert_int_equal(v[1].gs_base, 0x4000 + 19 + 4 * 3 + 2);
	assert_int_equal(v[1].gdt_base, 0x4000 + 19 + 8 * 3 + 2);
	assert_int_equal(v[1].idt_base, 0x4000 + 19 + 9 * 3 + 2);
	assert_int_equal(v[1].cr0, 0x4000 + 49);
	assert_int_equal(v[1].cr3, 0x4000 + 52);
	assert_int_equal(v[1].cr4, 0x4000 + 53);
	assert_int_equal(v[1].kernel_gs_base, 0x4000 + 54);
	close_dump(t, m);
	discard(&f);

	/* only what every core has; the order is r15 r14 ... orig_rax rip cs rflags rsp ss */
	at = put_cpu_notes(&f, 0x1000, 0x1000, 0, false);
	put_notes_elf(&f, 0x1000, at);
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), 0);
	assert_int_equal(t->n_vcpus, 1);
	assert_null(t->vmcoreinfo);
	v = t->vcpus;
	assert_int_equal(v->known, VMI_REG_GPR);
	assert_int_equal(v->gpr[15], 0x1000 + 100);
	assert_int_equal(v->gpr[0], 0x1000 + 110);
	assert_int_equal(v->rip, 0x1000 + 116);
	assert_int_equal(v->gpr[4], 0x1000 + 119);
	close_dump(t, m);
	discard(&f);
}

/* Every byte of the headers and the notes takes several values: all that may happen is an error. */
static void test_elf_every_byte(void **state)
{
	static const unsigned char values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
	struct file f = { 0 };
	struct vmi_target *t;
	struct vmi_error err = {};
	struct vmi_mem *m;
	size_t at = 0x200, end, opened = 0;

	at = put_cpu_notes(&f, at, 0x1000, 0, false);
	at = put_cpu_notes(&f, at, 0x2000, 440, true);
	end = put_note(&f, at, "VMCOREINFO", 0, "OSRELEASE=6", 11);
	put_notes_elf(&f, 0x200, end);
	save(&f);
	int fd = open(f.path, O_WRONLY);

	for (size_t i = 0; i < end; i++) {
		if (i > 0x300 && i < at) /* registers have any value */
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(values); k++) {
			char buf[16];

			assert_int_equal(pwrite(fd, &values[k], 1, (off_t)i), 1);
			if (open_dump(f.path, NULL, &t, &m, &err))
				continue;
			opened++;
			vmi_mem_read(m, 0, buf, sizeof(buf));
			vmi_mem_read(m, PAGE - 8, buf, sizeof(buf));
			close_dump(t, m);
		}
		assert_int_equal(pwrite(fd, &f.v[i], 1, (off_t)i), 1);
	}
	assert_true(opened > 100);
	close(fd);
	discard(&f);
}

/* ---------------------------------------------------------------------------------------- kdump */

/* libkdumpfile 0.5.1 does not give back all of what it took. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libkdumpfile";
}

/* A dump of 24 pages, uncompressed: 16 of them RAM. */
#define KDUMP_PAGES 24

static bool kdump_has(unsigned int pfn)
{
	return pfn < 8 || pfn >= 16;
}

static void put_kdump(struct file *f)
{
	struct {
		uint64_t offset;
		uint32_t size, flags;
		uint64_t page_flags;
	} desc;
	uint32_t blocks[] = { 1 /* status */, PAGE, 1 /* sub header */, 2 /* bitmaps */,
			      KDUMP_PAGES };
	unsigned char bitmap[PAGE] = { 0 };
	unsigned int n = 0;
	uint32_t version = 6;
	size_t notes = 0x3000 + 0x1000 + 0x1000 * 20, end;
	uint64_t where[2];

	put(f, 0, "KDUMP   ", 8);
	put(f, 8, &version, 4);
	put(f, 12 + 4 * 65, "x86_64", 7);
	put(f, 424, blocks, sizeof(blocks));
	for (unsigned int i = 0; i < KDUMP_PAGES; i++) {
		if (kdump_has(i))
			bitmap[i / 8] |= (unsigned char)(1 << i % 8);
	}
	put(f, 0x2000, bitmap, PAGE / 2);
	put(f, 0x2000, bitmap, PAGE);
	put(f, 0x3000, bitmap, PAGE);
	/* behind header, sub-header and two bitmaps of a block each: descriptors, then pages */
	for (unsigned int i = 0; i < KDUMP_PAGES; i++) {
		unsigned char page[PAGE];

		if (!kdump_has(i))
			continue;
		memset(page, (int)i + 1, PAGE);
		desc.offset = 0x5000 + n * PAGE;
		desc.size = PAGE;
		desc.flags = 0;
		desc.page_flags = 0;
		put(f, 0x4000 + n * sizeof(desc), &desc, sizeof(desc));
		put(f, desc.offset, page, PAGE);
		n++;
	}
	notes = 0x5000 + n * PAGE;
	end = put_cpu_notes(f, notes, 0x1000, 0, false);
	end = put_cpu_notes(f, end, 0x2000, 440, true);
	where[0] = notes;
	where[1] = end - notes;
	put(f, PAGE + 48, where, sizeof(where));
	put(f, PAGE + 96, &(uint64_t){ KDUMP_PAGES }, 8); /* version 6: pages in 64 bits */
}

static void check_kdump(const char *path)
{
	struct vmi_target *t;
	struct vmi_error err = { "" };
	struct vmi_mem *m;
	unsigned char buf[2 * PAGE];
	size_t n;

	if (open_dump(path, NULL, &t, &m, &err))
		fail_msg("%s", err.text);
	assert_int_equal(t->kind, VMI_TARGET_KDUMP);
	assert_int_equal(vmi_mem_bytes(m), 16 * PAGE);
	assert_int_equal(vmi_mem_regions(m, &n)[1].gpa, 16 * PAGE);
	assert_int_equal(n, 2);
	for (unsigned int i = 0; i < KDUMP_PAGES; i++) {
		int r = vmi_mem_read(m, (uint64_t)i * PAGE + 5, buf, 100);

		assert_int_equal(r, kdump_has(i) ? 0 : -EFAULT);
		for (size_t k = 0; !r && k < 100; k++)
			assert_int_equal(buf[k], i + 1);
	}
	assert_int_equal(vmi_mem_read(m, 2 * PAGE - 1, buf, 2), 0);
	assert_int_equal(buf[0], 2);
	assert_int_equal(buf[1], 3);
	assert_int_equal(t->n_vcpus, 1);
	assert_int_equal(t->vcpus[0].cr3, 0x2000 + 52);
	close_dump(t, m);
}

/* makedumpfile's flattened form of a file: pieces in a wild order, overwritten ones among them. */
static void flatten(const struct file *f, struct file *out)
{
	uint64_t head[2];
	size_t at = PAGE, step = 3 * PAGE + 17;

	put(out, 0, "makedumpfile\0\0\0", 16);
	head[0] = head[1] = htobe64(1);
	put(out, 16, head, 16);
	head[0] = htobe64(0);
	head[1] = htobe64(8);
	put(out, at, head, 16);
	put(out, at + 16, "rubbish!", 8);
	at += 24;
	for (size_t pos = (f->n - 1) / step * step, i = 0; i <= (f->n - 1) / step;
	     i++, pos -= step) {
		size_t n = f->n - pos < step ? f->n - pos : step;

		head[0] = htobe64(pos);
		head[1] = htobe64(n);
		put(out, at, head, 16);
		put(out, at + 16, f->v + pos, n);
		at += 16 + n;
	}
	head[0] = head[1] = UINT64_MAX;
	put(out, at, head, 16);
}

static int try_dump(const char *path)
{
	struct vmi_error err = {};
	struct vmi_target *t;
	struct vmi_mem *m;
	int r = open_dump(path, NULL, &t, &m, &err);

	assert_int_equal(!r, !err.text[0]);
	if (!r)
		close_dump(t, m);
	return r;
}

static void test_kdump(void **state)
{
	struct file f = { 0 }, flat = { 0 };
	struct vmi_target *t;
	struct vmi_error err = {};
	struct vmi_mem *m;

	put_kdump(&f);
	save(&f);
	check_kdump(f.path);
	flatten(&f, &flat);
	save(&flat);
	check_kdump(flat.path);

	/* a page of more than a page, the last; a piece of a split dump; a 32-bit header too */
	for (uint32_t size = PAGE; size <= PAGE + 1; size++) {
		put(&f, 0x4000 + 15 * 24 + 8, &size, 4);
		save(&f);
		assert_int_equal(try_dump(f.path), size == PAGE ? 0 : -EINVAL);
	}
	put(&f, 0x4000 + 15 * 24 + 8, &(uint32_t){ PAGE }, 4);
	put(&f, PAGE + 12, &(uint32_t){ 1 }, 4);
	save(&f);
	assert_int_equal(try_dump(f.path), -ENOTSUP);
	put(&f, PAGE + 12, &(uint32_t){ 0 }, 4);
	put(&f, 416, &(uint32_t){ 1 << 20 }, 4);
	save(&f);
	assert_int_equal(try_dump(f.path), -EINVAL);
	put(&f, 416, &(uint32_t){ 0 }, 4);
	/* cut off among the descriptors: what there is can be read */
	f.n = 0x4000 + 3 * 24 + 10;
	save(&f);
	assert_int_equal(try_dump(f.path), 0);
	put_kdump(&f);

	/* another machine; no end; a piece that is not there; places beyond any file */
	put(&f, 12 + 4 * 65, "aarch64", 8);
	save(&f);
	assert_int_equal(open_dump(f.path, NULL, &t, &m, &err), -ENOTSUP);
	flat.n -= 16;
	save(&flat);
	assert_int_equal(open_dump(flat.path, NULL, &t, &m, &err), -EINVAL);
	for (uint64_t big = 1ULL << 40; big; big <<= 1) {
		put(&flat, PAGE + 8, &(uint64_t){ htobe64(big) }, 8);
		save(&flat);
		assert_int_equal(open_dump(flat.path, NULL, &t, &m, &err), -EINVAL);
		put(&flat, PAGE + 8, &(uint64_t){ htobe64(8) }, 8);
	}
	put(&flat, PAGE, &(uint64_t){ htobe64(1ULL << 47) }, 8);
	save(&flat);
	assert_int_equal(open_dump(flat.path, NULL, &t, &m, &err), -EINVAL);
	flat.n = 20;
	save(&flat);
	assert_int_equal(open_dump(flat.path, NULL, &t, &m, &err), -EINVAL);
	discard(&f);
	discard(&flat);
	/* rubbish behind the magic number */
	put(&f, 0, "KDUMP   ", 8);
	for (size_t i = 8; i < 8 * PAGE; i += 8)
		put(&f, i, &(uint64_t){ i * 0x9e3779b97f4a7c15 }, 8);
	save(&f);
	assert_true(open_dump(f.path, NULL, &t, &m, &err) < 0);
	discard(&f);
}

/* ----------------------------------------------------------------------------------------- JSON */

static struct vmi_target *make_live(void)
{
	struct vmi_target *t = calloc(1, sizeof(*t));
	int fd = memfd_create("ram", MFD_CLOEXEC);
	struct vmi_vcpu *v;

	assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
	assert_int_equal(pwrite(fd, "guest", 5, PAGE), 5);
	t->kind = VMI_TARGET_LIVE;
	t->pid = 1234;
	t->pidfd = -1;
	strcpy(t->name, "tenant \"7\" \xc3\xa4");
	strcpy(t->how_ram, "memfd");
	assert_int_equal(vmi_target_add_fd(t, open("/dev/null", O_RDONLY | O_CLOEXEC)), 0);
	assert_int_equal(vmi_target_add_fd(t, fd), 0);
	for (uint64_t i = 0; i < 3; i++) {
		struct vmi_region r = { .gpa = i << 32,
					.bytes = PAGE,
					.offset = i * PAGE,
					.fd = fd,
					.backing = i == 2 ? VMI_BACKING_PREAD : VMI_BACKING_MAP };

		assert_int_equal(vmi_target_add_region(t, &r), 0);
	}
	for (int i = 0; i < 5; i++) {
		v = vmi_target_add_vcpu(t);
		assert_non_null(v);
		/* no padding in the struct is read, but every member is to survive */
		v->known = 0x7f;
		for (size_t k = 0; k < 16; k++)
			v->gpr[k] = 0xf000000000000000 + 16 * (uint64_t)i + k;
		v->rip = UINT64_MAX;
		v->rflags = 1;
		v->cr0 = 2;
		v->cr2 = 3;
		v->cr3 = 1ULL << 63;
		v->cr4 = 5;
		v->efer = 6;
		v->idt_base = 7;
		v->gdt_base = 8;
		v->idt_limit = UINT32_MAX;
		v->gdt_limit = 9;
		v->cs = 10;
		v->fs_base = 11;
		v->gs_base = 12;
		v->kernel_gs_base = 13;
		v->lstar = 14;
	}
	return t;
}

static void assert_same_vcpu(const struct vmi_vcpu *a, const struct vmi_vcpu *b)
{
	assert_int_equal(a->id, b->id);
	assert_int_equal(a->known, b->known);
	assert_memory_equal(a->gpr, b->gpr, sizeof(a->gpr));
	assert_true(a->rip == b->rip && a->rflags == b->rflags && a->cr0 == b->cr0 &&
		    a->cr2 == b->cr2 && a->cr3 == b->cr3 && a->cr4 == b->cr4 &&
		    a->efer == b->efer && a->idt_base == b->idt_base &&
		    a->gdt_base == b->gdt_base && a->idt_limit == b->idt_limit &&
		    a->gdt_limit == b->gdt_limit && a->cs == b->cs && a->fs_base == b->fs_base &&
		    a->gs_base == b->gs_base && a->kernel_gs_base == b->kernel_gs_base &&
		    a->lstar == b->lstar);
}

static void test_json(void **state)
{
	struct vmi_target *t = make_live(), *u;
	struct vmi_error err = {};
	struct vmi_mem *m;
	json_t *j, *back;
	char *text;
	int fds[2];

	j = vmi_target_to_json(t);
	text = json_dumps(j, 0);
	back = json_loads(text, 0, NULL);
	assert_non_null(back);
	for (size_t i = 0; i < 2; i++)
		fds[i] = fcntl(t->fds[i], F_DUPFD_CLOEXEC, 0);
	assert_int_equal(vmi_target_from_json(&u, back, fds, 2, &err), 0);
	assert_string_equal(u->name, t->name);
	assert_string_equal(u->how_ram, t->how_ram);
	assert_int_equal(u->pid, 1234);
	assert_int_equal(u->pidfd, -1);
	assert_int_equal(u->n_regions, 3);
	assert_int_equal(u->regions[1].fd, fds[1]);
	assert_int_equal(u->n_vcpus, 5);
	for (size_t i = 0; i < 5; i++)
		assert_same_vcpu(&t->vcpus[i], &u->vcpus[i]);
	vmi_target_free(t);
	assert_int_equal(vmi_target_open(u, &m, &err), 0);
	assert_text_at(m, 1ULL << 32, "guest");
	assert_int_equal(vmi_target_refresh(u, &err), -ENOTSUP);
	close_dump(u, m);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1); /* they were the target's */
	json_decref(j);
	json_decref(back);
	free(text);
}

/* Replaces what `path` leads to ("regions/0/fd"); NULL removes it. */
static void change(json_t *j, const char *path, json_t *value)
{
	char part[32];

	for (;;) {
		size_t len = strcspn(path, "/");

		snprintf(part, sizeof(part), "%.*s", (int)len, path);
		if (!path[len])
			break;
		path += len + 1;
		j = json_is_array(j) ? json_array_get(j, (size_t)atoi(part))
				     : json_object_get(j, part);
		assert_non_null(j);
	}
	if (json_is_array(j))
		json_array_set_new(j, (size_t)atoi(part), value);
	else if (value)
		json_object_set_new(j, part, value);
	else
		json_object_del(j, part);
}

static json_t *repeat(const char *s, size_t n)
{
	char *text = malloc(n + 1);
	json_t *j;

	for (size_t i = 0; i < n; i++)
		text[i] = s[0];
	text[n] = '\0';
	j = json_string(text);
	free(text);
	return j;
}

static void test_json_hostile(void **state)
{
	static const struct {
		const char *path, *value; /* NULL: is missing */
	} cases[] = {
		{ "kind", NULL },
		{ "kind", "5" },
		{ "kind", "\"LIVE\"" },
		{ "pid", "-1" },
		{ "pid", "4294967296" },
		{ "pid", "\"1\"" },
		{ "pidfd", NULL },
		{ "pidfd", "2" },
		{ "pidfd", "-2" },
		{ "name", NULL },
		{ "name", "{}" },
		{ "how_ram", "null" },
		{ "regions", NULL },
		{ "regions", "{}" },
		{ "regions/0", "5" },
		{ "regions/0", "null" },
		{ "regions/0/gpa", NULL },
		{ "regions/0/gpa", "1.5" },
		{ "regions/0/fd", "2" },
		{ "regions/0/fd", "-1" },
		{ "regions/0/fd", "9223372036854775807" },
		{ "regions/0/backing", "\"call\"" },
		{ "regions/0/backing", "0" },
		{ "regions/0/bytes", "true" },
		{ "regions/0/offset", NULL },
		{ "vcpus", "5" },
		{ "vcpus/0", "[]" },
		{ "vcpus/0/rip", NULL },
		{ "vcpus/0/gpr", "[]" },
		{ "vcpus/0/gpr/3", "\"x\"" },
		{ "vcpus/0/cs", "4294967296" },
		{ "vcpus/0/cs", "-1" },
		{ "vcpus/0/id", "-1" },
		{ "vcpus/0/id", "4294967295" },
	};
	struct vmi_target *t = make_live(), *u;
	json_t *good = vmi_target_to_json(t), *j;
	struct vmi_error err = {};
	struct vmi_mem *m;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *value = cases[i].value ? json_loads(cases[i].value, JSON_DECODE_ANY, NULL)
					       : NULL;

		assert_true(!cases[i].value || value);
		j = json_deep_copy(good);
		change(j, cases[i].path, value);
		if (vmi_target_from_json(&u, j, t->fds, 2, &err) != -EINVAL)
			fail_msg("%s = %s is taken", cases[i].path, cases[i].value);
		assert_null(u);
		json_decref(j);
	}
	/* texts that do not fit, too many regions and vCPUs */
	j = json_deep_copy(good);
	change(j, "name", repeat("n", 64));
	assert_int_equal(vmi_target_from_json(&u, j, t->fds, 2, &err), -EINVAL);
	change(j, "name", repeat("n", 63));
	change(j, "how_ram", repeat("n", 160));
	assert_int_equal(vmi_target_from_json(&u, j, t->fds, 2, &err), -EINVAL);
	json_decref(j);
	j = json_deep_copy(good);
	for (int i = 0; i < VMI_REGIONS_MAX; i++)
		json_array_append(json_object_get(j, "regions"),
				  json_array_get(json_object_get(j, "regions"), 0));
	assert_int_equal(vmi_target_from_json(&u, j, t->fds, 2, &err), -E2BIG);
	json_decref(j);
	j = json_deep_copy(good);
	for (int i = 0; i < VMI_VCPUS_MAX; i++)
		json_array_append(json_object_get(j, "vcpus"),
				  json_array_get(json_object_get(j, "vcpus"), 0));
	assert_int_equal(vmi_target_from_json(&u, j, t->fds, 2, &err), -E2BIG);
	json_decref(j);
	/* no object; no descriptors; a dump without its file */
	j = json_array();
	assert_int_equal(vmi_target_from_json(&u, j, t->fds, 2, &err), -EINVAL);
	json_decref(j);
	assert_int_equal(vmi_target_from_json(&u, NULL, t->fds, 2, &err), -EINVAL);
	assert_int_equal(vmi_target_from_json(&u, good, NULL, 0, &err), -EINVAL);
	j = json_deep_copy(good);
	change(j, "regions", json_array());
	change(j, "kind", json_string("elf"));
	assert_int_equal(vmi_target_from_json(&u, j, NULL, 0, &err), -EINVAL);
	json_decref(j);
	/* regions that contradict each other are found when they are opened */
	j = json_deep_copy(good);
	change(j, "regions/0/gpa", json_integer((1LL << 32) + 1));
	assert_int_equal(vmi_target_from_json(&u, j, t->fds, 2, &err), 0);
	assert_int_equal(vmi_target_open(u, &m, &err), -EINVAL);
	u->n_fds = 0; /* they stay those of t */
	vmi_target_free(u);
	json_decref(j);
	json_decref(good);
	/* all failures left the descriptors alone */
	assert_int_equal(fcntl(t->fds[1], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	vmi_target_free(t);
}

/* ----------------------------------------------------------------------------------- QEMU's
 * answers */

/* QEMU 7.2, q35 with 4 GiB in a memfd and a VGA, shortened; views of other processors around it. */
static const char mtree[] =
	"FlatView #0\r\n AS \"cpu-smm-1\", root: memory\r\n Root memory region: memory\r\n"
	"  0000000000000000-00000000000bffff (prio 0, ram): m\r\n\r\n"
	"FlatView #1\r\n AS \"memory\", root: system\r\n AS \"cpu-memory-0\", root: system\r\n"
	" Root memory region: system\r\n"
	"  0000000000000000-000000000009ffff (prio 0, ram): m KVM\r\n"
	"  00000000000a0000-00000000000bffff (prio 1, i/o): vga-lowmem\r\n"
	"  00000000000c0000-00000000000cafff (prio 0, rom): m @00000000000c0000 KVM\r\n"
	"  00000000000cb000-00000000000cdfff (prio 0, ram): m @00000000000cb000\r\n"
	"  00000000b0000000-00000000bfffffff (prio 0, i/o): pcie-mmcfg-mmio\r\n"
	"  00000000fd000000-00000000fdffffff (prio 1, ram): vga.vram\r\n"
	"  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n"
	"  0000000100000000-000000017fffffff (prio 0, ram): m @0000000080000000\r\n\r\n"
	"FlatView #2\r\n AS \"mch\", root: bus master container\r\n"
	"  0000000000000000-ffffffffffffffff (prio 0, ram): not ours\r\n";

static void test_mtree(void **state)
{
	static const char *const bad[] = {
		"",
		"FlatView #0\n AS \"memory\", root: system\n",
		"FlatView #0\n AS \"memory",
		"FlatView #0\n AS \"memory\", root: system\n  0-ffffffffffffffff (prio 0, ram): "
		"m\n",
		"FlatView #0\n AS \"memory\", root: system\n  10-0 (prio 0, ram): m\n",
		"FlatView #0\n AS \"memory\", root: system\n  0-ff (prio 0, ram)\n",
		"FlatView #0\n AS \"memory\", root: system\n  0-ff (prio 0, rom): bios\n",
		"FlatView #0\n AS \"memory\", root: system\n  0-ff (prio 0, ram): m @zz\n",
	};
	struct vmi_flat v[8];
	uint64_t hva;
	char *text;
	int n;

	assert_int_equal(vmi_mtree_parse(mtree, v, 8), 4);
	assert_int_equal(v[0].bytes, 0xa0000);
	assert_string_equal(v[0].block, "m");
	assert_int_equal(v[1].gpa, 0xc0000); /* RAM under the firmware's shadow */
	assert_string_equal(v[1].block, "m");
	assert_int_equal(v[1].offset, 0xc0000);
	assert_int_equal(v[3].gpa, 1ULL << 32);
	assert_int_equal(v[3].offset, 0x80000000);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(vmi_mtree_parse(bad[i], v, 8), -EPROTO);
	assert_int_equal(vmi_mtree_parse(mtree, v, 3), -E2BIG);
	/* cut anywhere */
	for (size_t i = 0; i < sizeof(mtree); i++) {
		text = strndup(mtree, i);
		n = vmi_mtree_parse(text, v, 8);
		assert_true(n == -EPROTO || (n > 0 && n <= 4));
		free(text);
	}
	assert_true(
		vmi_gpa2hva_parse("Host virtual address for 0x0 (m) is 0x7fce1bfff000\r\n", &hva));
	assert_int_equal(hva, 0x7fce1bfff000);
	assert_false(vmi_gpa2hva_parse("Memory at address 0xfed00000 is not RAM\r\n", &hva));
	assert_false(vmi_gpa2hva_parse("", &hva));
	assert_false(vmi_gpa2hva_parse("Host virtual address for 0x0 (m) is 0x", &hva));
}

/* QEMU 7.2, one vCPU in 64-bit code and one in 16-bit code. */
static const char registers[] =
	"\r\nCPU#0\r\n"
	"RAX=000000000001ad40 RBX=0000000000000000 RCX=0000000000000001 RDX=4000000000000000\r\n"
	"RSI=0000000000000083 RDI=000000000001a394 RBP=ffffffffb9e1aa40 RSP=ffffffffb9e03e98\r\n"
	"R8 =0000000000000008 R9 =00000000314dd33f R10=0000000000000010 R11=0000000000000011\r\n"
	"R12=0000000000000012 R13=0000000000000013 R14=0000000000000014 R15=0000000000014790\r\n"
	"RIP=ffffffffb8e592eb RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n"
	"ES =0000 0000000000000000 00000000 00000000\r\n"
	"CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]\r\n"
	"FS =0000 0000000000001234 00000000 00000000\r\n"
	"GS =0000 ffff8a27dee00000 00000000 00000000\r\n"
	"LDT=0000 0000000000000000 00000000 00008200 DPL=0 LDT\r\n"
	"TR =0040 fffffe0000003000 00004087 00008900 DPL=0 TSS64-avl\r\n"
	"GDT=     fffffe0000001000 0000007f\r\nIDT=     fffffe0000000000 00000fff\r\n"
	"CR0=80050033 CR2=00000000005794a9 CR3=0000000017546000 CR4=00750ef0\r\n"
	"EFER=0000000000000d01\r\nFCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80\r\n"
	"\r\nCPU#1\r\n"
	"EAX=00000001 EBX=00000002 ECX=00000003 EDX=00000663\r\n"
	"ESI=00000004 EDI=00000005 EBP=00000006 ESP=00000007\r\n"
	"EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n"
	"GDT=     00000000 0000ffff\r\nIDT=     00000000 0000ffff\r\n"
	"CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000\r\n";

static void test_registers(void **state)
{
	struct vmi_target t = { .kind = VMI_TARGET_LIVE };
	struct vmi_vcpu *v;

	assert_int_equal(vmi_registers_parse(registers, &t), 0);
	assert_int_equal(t.n_vcpus, 2);
	v = t.vcpus;
	assert_int_equal(v->known,
			 VMI_REG_GPR | VMI_REG_CR | VMI_REG_EFER | VMI_REG_DTR | VMI_REG_SEG);
	assert_int_equal(v->gpr[0], 0x1ad40);
	assert_int_equal(v->gpr[1], 1);
	assert_int_equal(v->gpr[2], 0x4000000000000000);
	assert_int_equal(v->gpr[4], 0xffffffffb9e03e98);
	assert_int_equal(v->gpr[6], 0x83);
	assert_int_equal(v->gpr[8], 8);
	assert_int_equal(v->gpr[9], 0x314dd33f);
	assert_int_equal(v->gpr[10], 0x10);
	assert_int_equal(v->gpr[15], 0x14790);
	assert_int_equal(v->rip, 0xffffffffb8e592eb);
	assert_int_equal(v->rflags, 0x246);
	assert_int_equal(v->cs, 0x10);
	assert_int_equal(v->fs_base, 0x1234);
	assert_int_equal(v->gs_base, 0xffff8a27dee00000);
	assert_int_equal(v->gdt_base, 0xfffffe0000001000);
	assert_int_equal(v->gdt_limit, 0x7f);
	assert_int_equal(v->idt_base, 0xfffffe0000000000);
	assert_int_equal(v->idt_limit, 0xfff);
	assert_int_equal(v->cr0, 0x80050033);
	assert_int_equal(v->cr2, 0x5794a9);
	assert_int_equal(v->cr3, 0x17546000);
	assert_int_equal(v->cr4, 0x750ef0);
	assert_int_equal(v->efer, 0xd01);
	v++;
	assert_int_equal(v->id, 1);
	assert_int_equal(v->known, VMI_REG_GPR | VMI_REG_CR | VMI_REG_DTR);
	assert_int_equal(v->gpr[2], 0x663);
	assert_int_equal(v->rip, 0xfff0);
	/* again, over the old ones; then rubbish */
	assert_int_equal(vmi_registers_parse(registers, &t), 0);
	assert_int_equal(t.n_vcpus, 2);
	assert_int_equal(vmi_registers_parse("", &t), -EPROTO);
	assert_int_equal(vmi_registers_parse("RAX=1 RBX=", &t), -EPROTO);
	for (size_t i = 0; i < sizeof(registers); i++) {
		char *text = strndup(registers, i);

		vmi_registers_parse(text, &t);
		assert_true(t.n_vcpus <= 2);
		free(text);
	}
	free(t.vcpus);
}

/* ------------------------------------------------------------------------------------ the guess */

/* As QEMU 7.2 placed them ("info mtree"); tests/vmi/target.t asks the QEMU that is installed. */
static void test_split(void **state)
{
	static const struct {
		const char *machine;
		uint64_t mib, max_mib, low_mib;
	} cases[] = {
		{ "pc", 3072, 0, 3072 },      { "pc", 3583, 0, 3583 },
		{ "pc", 3584, 0, 3072 },      { "pc-i440fx-7.2", 4096, 0, 3072 },
		{ "pc", 4096, 2048, 2048 },   { "q35", 2800, 0, 2800 },
		{ "q35", 2816, 0, 2048 },     { "pc-q35-7.2", 4096, 0, 2048 },
		{ "q35", 4096, 1024, 1024 },  { "microvm", 3072, 0, 3072 },
		{ "microvm", 3200, 0, 3072 },
	};
	struct vmi_slot v[2];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t low = cases[i].low_mib << 20, all = cases[i].mib << 20;
		size_t n = vmi_qemu_split(cases[i].machine, all, cases[i].max_mib << 20, v);

		assert_int_equal(n, low == all ? 1 : 2);
		assert_int_equal(v[0].gpa, 0);
		assert_int_equal(v[0].bytes, low);
		if (n == 1)
			continue;
		assert_int_equal(v[1].gpa, 4ULL << 30);
		assert_int_equal(v[1].bytes, all - low);
		assert_int_equal(v[1].hva, low);
	}
	assert_int_equal(vmi_qemu_split("virt", 1 << 30, 0, v), 0);
	assert_int_equal(vmi_qemu_split("pcx", 1 << 30, 0, v), 0);
}

#define GUESS(cmdline, maps, out, how)                                                             \
	guess(cmdline, sizeof(cmdline), maps, ARRAY_SIZE(maps), out, how)

static int guess(const char *cmdline, size_t len, struct vmi_vma *maps, size_t n,
		 struct vmi_slots *out, char how[160])
{
	struct vmi_live l = { .qemu = true, .vmm = "qemu", .cmdline = { cmdline, cmdline + len } };
	struct vmi_vmas m = { maps, n };

	free(out->v);
	*out = (struct vmi_slots){ 0 };
	return vmi_guess_slots(&l, &m, out, how);
}

static void test_guess(void **state)
{
	const uint64_t gib = 1ULL << 30, mib = 1ULL << 20;
	/* RAM in three mappings, as mbind() leaves it, beside others */
	struct vmi_vma maps[] = {
		{ .start = gib, .end = gib + 5 * mib, .readable = true, .writable = true },
		{ .start = gib + 5 * mib, .end = gib + 6 * mib },
		{ .start = 2 * gib, .end = 2 * gib + 8 * mib, .readable = true, .writable = true },
		{ .start = 2 * gib + 8 * mib, .end = 3 * gib, .readable = true, .writable = true },
		{ .start = 3 * gib, .end = 5 * gib, .readable = true, .writable = true },
		{ .start = 5 * gib, .end = 6 * gib, .readable = true, .writable = true },
		{ .start = 6 * gib, .end = 6 * gib + mib },
		{ 7 * gib, 8 * gib, .writable = true, .readable = true, .inode = 5 },
	};
	struct vmi_slots v = { 0 };
	char how[160];

	assert_int_equal(GUESS("qemu-system-x86_64\0-M\0q35\0-m\0size=2G,slots=2", maps, &v, how),
			 0);
	assert_int_equal(v.n, 1);
	assert_int_equal(v.v[0].hva, 3 * gib);
	assert_begins(how, "guessed: q35 with 2048 MiB");
	assert_int_equal(GUESS("qemu\0-m\0"
			       "4096\0-machine\0accel=tcg,type=q35",
			       maps, &v, how),
			 0);
	assert_int_equal(v.n, 2);
	assert_int_equal(v.v[0].hva, 2 * gib);
	assert_int_equal(v.v[0].bytes, 2 * gib);
	assert_int_equal(v.v[1].gpa, 4 * gib);
	assert_int_equal(v.v[1].hva, 4 * gib);
	assert_int_equal(GUESS("qemu\0-m\0"
			       "5M",
			       maps, &v, how),
			 0);
	assert_int_equal(v.v[0].hva, gib);
	/* several fit, or none; what is not understood */
	assert_int_equal(GUESS("qemu\0-m\0"
			       "1G",
			       maps, &v, how),
			 -ENOTSUP);
	assert_non_null(strstr(how, "3 mappings"));
	assert_int_equal(GUESS("qemu\0-m\0"
			       "768M",
			       maps, &v, how),
			 -ENOTSUP);
	assert_int_equal(GUESS("qemu\0-m\0"
			       "2G\0-M\0virt",
			       maps, &v, how),
			 -ENOTSUP);
	assert_int_equal(GUESS("qemu\0-m\0"
			       "2G\0-readconfig\0x",
			       maps, &v, how),
			 -ENOTSUP);
	assert_int_equal(GUESS("qemu\0-m\0"
			       "2Q",
			       maps, &v, how),
			 -ENOTSUP);
	assert_int_equal(GUESS("qemu\0-m\0-1", maps, &v, how), -ENOTSUP);
	assert_int_equal(GUESS("qemu\0-m\0"
			       "2G\0-numa\0node,memdev=a\0-numa\0node,memdev=b",
			       maps, &v, how),
			 -ENOTSUP);
	assert_int_equal(GUESS("qemu", maps, &v, how), -ENOTSUP);
	free(v.v);
}

/* ------------------------------------------------------------------------------------ processes */

static void test_no_such_vm(void **state)
{
	struct vmi_find_options o = { .vm = "no-such-vm-here" };
	struct vmi_target *t;
	struct vmi_error err = {};
	char pid[16];

	assert_int_equal(vmi_target_find(&t, &o, &err), -ESRCH);
	assert_null(t);
	o.vm = "2147483647";
	assert_int_equal(vmi_target_find(&t, &o, &err), -ESRCH);
	/* a process, but no VMM */
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	o.vm = pid;
	assert_int_equal(vmi_target_find(&t, &o, &err), -ESRCH);
	assert_non_null(strstr(err.text, "runs no VM"));
	o.vm = "";
	assert_int_equal(vmi_target_find(&t, &o, &err), -ESRCH);
}

/* Two mappings of one memfd and one of private memory, in another process: all of it is found. */
static void test_maps(void **state)
{
	struct vmi_target *t = calloc(1, sizeof(*t));
	struct vmi_slots slots = { 0 };
	struct vmi_live l = { 0 };
	struct vmi_vmas vmas;
	struct vmi_error err = {};
	struct vmi_mem *m;
	char path[32], buf[8];
	int go[2], status, fd = memfd_create("test-ram", MFD_CLOEXEC);
	pid_t pid;
	char *shared, *private;

	assert_int_equal(ftruncate(fd, 8 * PAGE), 0);
	shared = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* a second mapping with the same pages: split, as other access rights would */
	assert_int_equal(mprotect(shared + 4 * PAGE, PAGE, PROT_READ), 0);
	strcpy(shared + 4 * PAGE - 3, "se");
	strcpy(private + PAGE, "private");
	close(fd);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (!pid) {
		close(go[1]);
		_exit((int)read(go[0], path, 1));
	}
	close(go[0]);
	t->pidfd = -1;
	l.pid = pid;
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	l.proc = open(path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(vmi_vmas_read(&l, &vmas), 0);
	assert_non_null(vmi_vma_at(&vmas, (uintptr_t)shared));
	assert_null(vmi_vma_at(&vmas, 0));
	assert_null(vmi_vma_at(&vmas, UINT64_MAX));
	vmi_slots_add(&slots, &(struct vmi_slot){ 0, 8 * PAGE, (uintptr_t)shared });
	vmi_slots_add(&slots, &(struct vmi_slot){ 1ULL << 32, 4 * PAGE, (uintptr_t) private });
	/* where nothing is mapped, where the numbers wrap around */
	vmi_slots_add(&slots, &(struct vmi_slot){ 1ULL << 40, PAGE, 0 });
	vmi_slots_add(&slots, &(struct vmi_slot){ 1ULL << 41, UINT64_MAX, 1ULL << 62 });
	assert_int_equal(vmi_maps_back(t, &l, &vmas, &slots, &err), 0);
	assert_string_equal(t->how_ram, "memfd of the VMM, mapped; private memory of the VMM, read "
					"through /proc/PID/mem");
	assert_int_equal(t->n_regions, 2);
	assert_int_equal(t->regions[0].backing, VMI_BACKING_MAP);
	assert_int_equal(t->regions[0].bytes, 8 * PAGE);
	assert_int_equal(fcntl(t->regions[0].fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(t->regions[1].backing, VMI_BACKING_PREAD);
	assert_int_equal(vmi_target_open(t, &m, &err), 0);
	assert_int_equal(vmi_mem_read(m, 4 * PAGE - 3, buf, 3), 0);
	assert_string_equal(buf, "se");
	assert_int_equal(vmi_mem_read(m, (1ULL << 32) + PAGE, buf, 8), 0);
	assert_string_equal(buf, "private");
	close(go[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(vmi_mem_read(m, (1ULL << 32) + PAGE, buf, 8), -EIO);
	close_dump(t, m);
	vmi_vmas_free(&vmas);
	/* the pid is gone: nothing of another process is found in its place */
	assert_true(vmi_vmas_read(&l, &vmas) < 0 || !vmas.n);
	close(l.proc);
	free(slots.v);
	munmap(shared, 8 * PAGE);
	munmap(private, 4 * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_what_is_no_dump),
		cmocka_unit_test(test_elf),
		cmocka_unit_test(test_elf_overlap),
		cmocka_unit_test(test_elf_many_headers),
		cmocka_unit_test(test_elf_broken),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_elf_every_byte),
		cmocka_unit_test(test_kdump),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_hostile),
		cmocka_unit_test(test_mtree),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_guess),
		cmocka_unit_test(test_no_such_vm),
		cmocka_unit_test(test_maps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
