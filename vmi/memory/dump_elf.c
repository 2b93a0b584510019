// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ELF cores of a machine's memory: QEMU's dump-guest-memory (QEMU: dump/dump.c,
 * target/i386/arch_dump.c), `virsh dump --memory-only`, Linux' /proc/vmcore.
 *
 * PT_LOAD says where physical memory lies in the file; what p_memsz has beyond p_filesz was not
 * dumped. Registers and VMCOREINFO are notes. All of it is untrusted.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "internal.h"

#define PHDRS_MAX (1u << 20)
#define NOTES_MAX (16u << 20)
#define CHUNK	  256 /* headers that are read at once */

/* -------------------------------------------------------------------------------------- headers */

static int read_header(struct vmi_target *t, Elf64_Ehdr *eh, uint32_t *n_phdrs,
		       struct vmi_error *err)
{
	Elf64_Shdr sh;

	if (vmi_read_at(t->fds[0], 0, eh, sizeof(*eh)))
		return vmi_fail(err, -EINVAL, "%s ends within its ELF header", t->name);
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh->e_type != ET_CORE)
		return vmi_fail(err, -EINVAL,
				"%s is an ELF file, but not a core of a little-endian machine",
				t->name);
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_machine != EM_X86_64)
		return vmi_fail(err, -ENOTSUP,
				"%s is a core of another machine than x86-64 (ELF machine %u)",
				t->name, eh->e_machine);
	if (eh->e_phentsize != sizeof(Elf64_Phdr))
		return vmi_fail(err, -EINVAL, "%s has program headers of %u bytes", t->name,
				eh->e_phentsize);
	*n_phdrs = eh->e_phnum;
	/* More than fit into 16 bits are counted in the first section header (PN_XNUM). */
	if (eh->e_phnum == PN_XNUM) {
		if (eh->e_shentsize != sizeof(sh) ||
		    vmi_read_at(t->fds[0], eh->e_shoff, &sh, sizeof(sh)))
			return vmi_fail(err, -EINVAL,
					"%s does not tell how many program headers it has",
					t->name);
		*n_phdrs = sh.sh_info;
	}
	if (*n_phdrs > PHDRS_MAX)
		return vmi_fail(err, -E2BIG, "%s has %u program headers, over %u", t->name,
				*n_phdrs, PHDRS_MAX);
	return 0;
}

/* Headers that go on where the last one ended are joined at once: there may be very many. */
static int add_load(struct vmi_target *t, const Elf64_Phdr *ph)
{
	struct vmi_region r = { .gpa = ph->p_paddr,
				.bytes = ph->p_filesz,
				.backing = VMI_BACKING_MAP,
				.fd = t->fds[0],
				.offset = ph->p_offset };
	struct vmi_region *last = t->n_regions ? &t->regions[t->n_regions - 1] : NULL;

	if (r.bytes > ph->p_memsz)
		r.bytes = ph->p_memsz;
	/* /proc/vmcore gives what has no physical address -1. */
	if (!r.bytes || r.gpa >= (1ULL << 52) || r.bytes > (1ULL << 52) - r.gpa ||
	    r.offset > INT64_MAX || r.bytes > INT64_MAX - r.offset)
		return 0;
	if (last && r.gpa - last->gpa == last->bytes && r.offset - last->offset == last->bytes) {
		last->bytes += r.bytes;
		return 0;
	}
	if (t->n_regions == VMI_REGIONS_MAX)
		vmi_target_merge_regions(t);
	return vmi_target_add_region(t, &r);
}

static void read_notes(struct vmi_target *t, const Elf64_Phdr *ph)
{
	size_t len = ph->p_filesz > NOTES_MAX ? NOTES_MAX : (size_t)ph->p_filesz;
	char *buf = malloc(len ? len : 1);

	if (buf && !vmi_read_at(t->fds[0], ph->p_offset, buf, len))
		vmi_notes_parse(t, buf, len);
	free(buf);
}

static int read_phdrs(struct vmi_target *t, const Elf64_Ehdr *eh, uint32_t n, struct vmi_error *err)
{
	Elf64_Phdr ph[CHUNK];
	unsigned int notes = 0;

	for (uint32_t i = 0; i < n; i++) {
		const Elf64_Phdr *p = &ph[i % CHUNK];
		uint32_t now = n - i < CHUNK ? n - i : CHUNK;
		int error = 0;

		if (!(i % CHUNK) &&
		    (eh->e_phoff > INT64_MAX / 2 ||
		     vmi_read_at(t->fds[0], eh->e_phoff + i * sizeof(*ph), ph, now * sizeof(*ph))))
			return vmi_fail(err, -EINVAL, "%s ends within its program headers",
					t->name);
		if (p->p_type == PT_LOAD)
			error = add_load(t, p);
		else if (p->p_type == PT_NOTE && notes++ < 16)
			read_notes(t, p);
		if (error == -E2BIG)
			return vmi_fail(err, error, "%s has memory in more than %d pieces", t->name,
					VMI_REGIONS_MAX);
		if (error)
			return vmi_fail(err, error, "out of memory");
	}
	return 0;
}

/* Does the file hold all that its headers promise? What is missing will be -EIO. */
static bool whole(const struct vmi_target *t)
{
	struct stat st;

	if (fstat(t->fds[0], &st) || !S_ISREG(st.st_mode))
		return true;
	for (size_t i = 0; i < t->n_regions; i++) {
		if (t->regions[i].offset + t->regions[i].bytes > (uint64_t)st.st_size)
			return false;
	}
	return true;
}

int vmi_elf_parse(struct vmi_target *t, struct vmi_error *err)
{
	Elf64_Ehdr eh;
	uint32_t n = 0;
	int error = read_header(t, &eh, &n, err);

	if (!error)
		error = read_phdrs(t, &eh, n, err);
	if (error)
		return error;
	vmi_target_merge_regions(t);
	if (!t->n_regions)
		return vmi_fail(err, -EINVAL, "%s holds no memory", t->name);
	snprintf(t->how_ram, sizeof(t->how_ram), "ELF core, mapped%s",
		 whole(t) ? "" : "; the file is shorter than its headers say");
	snprintf(t->how_layout, sizeof(t->how_layout), "program headers of the dump");
	snprintf(t->how_vcpus, sizeof(t->how_vcpus), "%s",
		 t->n_vcpus ? "notes of the dump" : "none: the dump has no register notes");
	return 0;
}

/* ---------------------------------------------------------------------------------------- notes */

/* struct elf_prstatus of x86-64 Linux, as far as it is of use (Linux: linux/elfcore.h). */
struct prstatus {
	char before[32];
	uint32_t pid;
	char between[76];
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax;
	uint64_t rip, cs, rflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};

struct qemu_segment {
	uint32_t selector, limit, flags, pad;
	uint64_t base;
};

/* QEMUCPUState, version 1 (QEMU: target/i386/arch_dump.c); the last member came in 2.12. */
struct qemu_cpu {
	uint32_t version, size;
	uint64_t gpr[8]; /* rax rbx rcx rdx rsi rdi rsp rbp */
	uint64_t r8_15[8];
	uint64_t rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5];
	uint64_t kernel_gs_base;
};

struct note {
	const char *name, *desc;
	size_t name_len, desc_len;
	uint32_t type;
};

/* The next note of `len` bytes at `p`; returns how many bytes it takes, 0 = none. */
static size_t next_note(const char *p, size_t len, struct note *out)
{
	Elf64_Nhdr nh;
	size_t name, desc;

	if (len < sizeof(nh))
		return 0;
	memcpy(&nh, p, sizeof(nh));
	name = ((size_t)nh.n_namesz + 3) & ~(size_t)3;
	desc = ((size_t)nh.n_descsz + 3) & ~(size_t)3;
	len -= sizeof(nh);
	if (name > len || nh.n_descsz > len - name)
		return 0;
	if (desc > len - name) /* the last one may lack its padding */
		desc = len - name;
	*out = (struct note){ .name = p + sizeof(nh),
			      .desc = p + sizeof(nh) + name,
			      .name_len = nh.n_namesz,
			      .desc_len = nh.n_descsz,
			      .type = nh.n_type };
	return sizeof(nh) + name + desc;
}

static bool is_named(const struct note *n, const char *name)
{
	size_t len = strlen(name);

	return n->name_len >= len && n->name_len <= len + 1 && !memcmp(n->name, name, len);
}

static void from_prstatus(struct vmi_vcpu *v, const struct note *n)
{
	struct prstatus s;

	if (n->desc_len < sizeof(s))
		return;
	memcpy(&s, n->desc, sizeof(s));
	v->known |= VMI_REG_GPR;
	memcpy(v->gpr,
	       (uint64_t[16]){ s.rax, s.rcx, s.rdx, s.rbx, s.rsp, s.rbp, s.rsi, s.rdi, s.r8, s.r9,
			       s.r10, s.r11, s.r12, s.r13, s.r14, s.r15 },
	       sizeof(v->gpr));
	v->rip = s.rip;
	v->rflags = s.rflags;
	v->cs = (uint32_t)s.cs;
}

static void from_qemu(struct vmi_vcpu *v, const struct note *n)
{
	struct qemu_cpu s = { 0 };
	size_t len = n->desc_len < sizeof(s) ? n->desc_len : sizeof(s);

	if (len < offsetof(struct qemu_cpu, kernel_gs_base))
		return;
	memcpy(&s, n->desc, len);
	if (s.version != 1)
		return;
	v->known |= VMI_REG_GPR | VMI_REG_CR | VMI_REG_DTR | VMI_REG_SEG;
	memcpy(v->gpr,
	       (uint64_t[8]){ s.gpr[0], s.gpr[2], s.gpr[3], s.gpr[1], s.gpr[6], s.gpr[7], s.gpr[4],
			      s.gpr[5] },
	       8 * sizeof(v->gpr[0]));
	memcpy(v->gpr + 8, s.r8_15, sizeof(s.r8_15));
	v->rip = s.rip;
	v->rflags = s.rflags;
	v->cr0 = s.cr[0];
	v->cr2 = s.cr[2];
	v->cr3 = s.cr[3];
	v->cr4 = s.cr[4];
	v->idt_base = s.idt.base;
	v->idt_limit = s.idt.limit;
	v->gdt_base = s.gdt.base;
	v->gdt_limit = s.gdt.limit;
	v->cs = s.cs.selector;
	v->fs_base = s.fs.base;
	v->gs_base = s.gs.base;
	if (len == sizeof(s) && s.size >= sizeof(s)) {
		v->known |= VMI_REG_KERNEL_GS;
		v->kernel_gs_base = s.kernel_gs_base;
	}
}

/* QEMU writes all vCPUs' PRSTATUS first, then all of its own notes, in the same order. */
void vmi_notes_parse(struct vmi_target *t, const void *notes, size_t len)
{
	size_t used, n_prstatus = 0, n_qemu = 0;
	const char *p = notes;
	struct note n;

	for (; (used = next_note(p, len, &n)); p += used, len -= used) {
		bool qemu = is_named(&n, "QEMU");
		size_t *count = qemu ? &n_qemu : &n_prstatus;
		struct vmi_vcpu *v;

		if (is_named(&n, "VMCOREINFO"))
			vmi_target_set_vmcoreinfo(t, n.desc, n.desc_len);
		if (!qemu && !(is_named(&n, "CORE") && n.type == NT_PRSTATUS))
			continue;
		v = *count < t->n_vcpus ? &t->vcpus[*count] : vmi_target_add_vcpu(t);
		if (!v)
			continue;
		(*count)++;
		if (qemu)
			from_qemu(v, &n);
		else
			from_prstatus(v, &n);
	}
}
