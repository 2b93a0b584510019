/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "insn.h"
#include "reference.h"

#define SECTIONS_MAX 1024
#define RELOCS_MAX   (8u << 20)
#define BUILD_ID_MAX 20
#define JUMP_SIZE    5
#define ENDBR_SIZE   4

struct section {
	const char *name; /* in the file, ended by NUL */
	uint64_t addr, bytes;
	const uint8_t *data; /* NULL = none in the file */
};

struct relocs {
	uint64_t *v; /* sorted */
	size_t n;
};

struct vmi_reference {
	const uint8_t *file;
	size_t bytes;
	struct section *section;
	size_t n;
	struct relocs r32, inverse, r64;
	char build_id[2 * BUILD_ID_MAX + 1];
};

static int refuse(struct vmi_error *err, const char *why)
{
	snprintf(err->text, sizeof(err->text),
		 "the reference is no kernel that can be compared with: %s", why);
	return -EINVAL;
}

static bool within(const struct vmi_reference *r, uint64_t at, uint64_t n)
{
	return at <= r->bytes && n <= r->bytes - at;
}

/* Sections with their names; *end becomes where the last thing of the ELF file ends. */
static int load_sections(struct vmi_reference *r, uint64_t *end, struct vmi_error *err)
{
	Elf64_Ehdr h;
	Elf64_Shdr *sh, names;

	if (!within(r, 0, sizeof(h)))
		return refuse(err, "it is too short");
	memcpy(&h, r->file, sizeof(h));
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) || h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    h.e_machine != EM_X86_64)
		return refuse(err, "it is no ELF file for x86-64; Linux' scripts/extract-vmlinux "
				   "takes it out of a vmlinuz");
	if (!h.e_shnum || h.e_shnum > SECTIONS_MAX || h.e_shentsize != sizeof(*sh) ||
	    h.e_shstrndx >= h.e_shnum || !within(r, h.e_shoff, (uint64_t)h.e_shnum * sizeof(*sh)))
		return refuse(err, "it has no sections");
	sh = malloc(h.e_shnum * sizeof(*sh));
	r->section = calloc(h.e_shnum, sizeof(*r->section));
	if (!sh || !r->section) {
		free(sh);
		return -ENOMEM;
	}
	memcpy(sh, r->file + h.e_shoff, h.e_shnum * sizeof(*sh));
	*end = h.e_shoff + h.e_shnum * sizeof(*sh);
	names = sh[h.e_shstrndx];
	if (!names.sh_size || !within(r, names.sh_offset, names.sh_size) ||
	    r->file[names.sh_offset + names.sh_size - 1]) {
		free(sh);
		return refuse(err, "its sections have no names");
	}
	for (unsigned int i = 0; i < h.e_shnum; i++) {
		struct section *s = &r->section[r->n];

		if (sh[i].sh_name >= names.sh_size)
			continue;
		s->name = (const char *)r->file + names.sh_offset + sh[i].sh_name;
		s->addr = sh[i].sh_addr;
		s->bytes = sh[i].sh_size;
		if (sh[i].sh_type != SHT_NOBITS && sh[i].sh_type != SHT_NULL) {
			if (!within(r, sh[i].sh_offset, sh[i].sh_size))
				continue;
			s->data = r->file + sh[i].sh_offset;
			if (sh[i].sh_offset + sh[i].sh_size > *end)
				*end = sh[i].sh_offset + sh[i].sh_size;
		}
		r->n++;
	}
	free(sh);
	return 0;
}

bool vmi_reference_section(const struct vmi_reference *r, const char *name, uint64_t *addr,
			   const uint8_t **data, uint64_t *bytes)
{
	for (size_t i = 0; i < r->n; i++) {
		if (!r->section[i].data || strcmp(r->section[i].name, name))
			continue;
		*addr = r->section[i].addr;
		*data = r->section[i].data;
		*bytes = r->section[i].bytes;
		return true;
	}
	return false;
}

const uint8_t *vmi_reference_at(const struct vmi_reference *r, uint64_t addr, size_t n)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct section *s = &r->section[i];

		if (s->data && s->addr && addr >= s->addr && addr - s->addr < s->bytes)
			return n <= s->bytes - (addr - s->addr) ? s->data + (addr - s->addr) : NULL;
	}
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * A list of 32-bit halves of addresses, that ends at *at (read backwards) and begins behind a 0;
 * *at becomes the offset of that 0.
 */
static int load_list(const struct vmi_reference *r, uint64_t low, uint64_t *at, struct relocs *out)
{
	uint64_t n = 0, from = *at;
	uint32_t v;

	for (;;) {
		if (from < low + 4 || n > RELOCS_MAX)
			return -EINVAL;
		from -= 4;
		memcpy(&v, r->file + from, 4);
		if (!v)
			break;
		n++;
	}
	out->v = malloc((n + 1) * sizeof(*out->v));
	if (!out->v)
		return -ENOMEM;
	for (uint64_t i = 0; i < n; i++) {
		int32_t half;

		memcpy(&half, r->file + from + 4 + 4 * i, 4);
		out->v[i] = (uint64_t)(int64_t)half;
	}
	out->n = n;
	qsort(out->v, n, sizeof(*out->v), by_value);
	*at = from;
	return 0;
}

/*
 * From the file's end: those of 32 bits; until 6.14, where per-CPU variables are linked for address
 * 0, those of 32 bits that are to be subtracted; those of 64 bits.
 */
static int load_relocs(struct vmi_reference *r, uint64_t low, struct vmi_error *err)
{
	uint64_t at = r->bytes & ~3ull, addr, bytes;
	const uint8_t *data;
	bool inverse = vmi_reference_section(r, ".data..percpu", &addr, &data, &bytes) && !addr;
	int e;

	if (at == low)
		return refuse(err, "its relocations are not behind it");
	e = load_list(r, low, &at, &r->r32);
	if (!e && inverse)
		e = load_list(r, low, &at, &r->inverse);
	if (!e)
		e = load_list(r, low, &at, &r->r64);
	return e == -EINVAL ? refuse(err, "its relocations are not behind it") : e;
}

/* .notes: the note of GNU's linker with type NT_GNU_BUILD_ID */
static void load_build_id(struct vmi_reference *r)
{
	const uint8_t *data;
	uint64_t addr, bytes, at = 0;

	if (!vmi_reference_section(r, ".notes", &addr, &data, &bytes))
		return;
	while (bytes - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n;
		uint64_t name, desc;

		memcpy(&n, data + at, sizeof(n));
		name = at + sizeof(n);
		desc = name + ((uint64_t)n.n_namesz + 3) / 4 * 4;
		at = desc + ((uint64_t)n.n_descsz + 3) / 4 * 4;
		if (at > bytes)
			return;
		if (n.n_type != NT_GNU_BUILD_ID || n.n_namesz != 4 ||
		    memcmp(data + name, "GNU", 4) || n.n_descsz > BUILD_ID_MAX)
			continue;
		for (uint32_t i = 0; i < n.n_descsz; i++)
			sprintf(r->build_id + 2 * i, "%02x", data[desc + i]);
		return;
	}
}

int vmi_reference_open(struct vmi_reference **out, const void *file, size_t bytes,
		       struct vmi_error *err)
{
	struct vmi_reference *r = calloc(1, sizeof(*r));
	const uint8_t *data;
	uint64_t end = 0, addr, size;
	int e;

	*out = NULL;
	if (!r)
		return -ENOMEM;
	r->file = file;
	r->bytes = bytes;
	e = load_sections(r, &end, err);
	if (!e && !vmi_reference_section(r, ".text", &addr, &data, &size))
		e = refuse(err, "it has no section .text");
	if (!e)
		e = load_relocs(r, end, err);
	if (e) {
		vmi_reference_close(r);
		return e;
	}
	load_build_id(r);
	*out = r;
	return 0;
}

void vmi_reference_close(struct vmi_reference *r)
{
	if (!r)
		return;
	free(r->section);
	free(r->r32.v);
	free(r->inverse.v);
	free(r->r64.v);
	free(r);
}

const char *vmi_reference_build_id(const struct vmi_reference *r)
{
	return r->build_id;
}

/* ---- what the kernel changes ---- */

struct masking {
	const struct vmi_reference *r;
	const struct vmi_guest *g;
	uint64_t addr;
	uint8_t *mask;
	size_t n;
};

static void hide(const struct masking *m, uint64_t addr, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t bit = addr + i - m->addr;

		if (bit < m->n)
			m->mask[bit / 8] |= (uint8_t)(1u << (bit & 7));
	}
}

/* The instruction at an address, by its length in the reference. */
static void hide_insn(const struct masking *m, uint64_t addr)
{
	const uint8_t *p = vmi_reference_at(m->r, addr, VMI_INSN_MAX);
	struct vmi_insn i;

	if (p && vmi_insn_decode(&i, p, VMI_INSN_MAX))
		hide(m, addr, i.len);
}

static int32_t distance(const uint8_t *p)
{
	int32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* A section of distances, each from itself to a place (include/asm: retpolines, returns, locks,
 * ...). */
static void hide_distances(const struct masking *m, const char *name, uint64_t n, bool insn)
{
	const uint8_t *data;
	uint64_t addr, bytes;

	if (!vmi_reference_section(m->r, name, &addr, &data, &bytes))
		return;
	for (uint64_t i = 0; i + 4 <= bytes; i += 4) {
		uint64_t to = addr + i + (uint64_t)(int64_t)distance(data + i);

		if (insn)
			hide_insn(m, to);
		else
			hide(m, to, n);
	}
}

/* Constants that are written into instructions at boot (asm/runtime-const.h, 6.11 and later). */
static void hide_runtime_constants(const struct masking *m)
{
	static const struct {
		const char *prefix;
		unsigned int bytes;
	} kinds[] = { { "runtime_ptr_", 8 }, { "runtime_shift_", 1 }, { "runtime_mask_", 4 } };

	for (size_t i = 0; i < m->r->n; i++) {
		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
			const char *name = m->r->section[i].name;

			if (m->r->section[i].data &&
			    !strncmp(name, kinds[k].prefix, strlen(kinds[k].prefix)))
				hide_distances(m, name, kinds[k].bytes, false);
		}
	}
}

/* struct alt_instr grew and shrank over time: its shape is the guest's. */
static void hide_alternatives(const struct masking *m)
{
	uint32_t size = vmi_types_size(m->g->types, "alt_instr");
	struct vmi_field offset, len;
	const uint8_t *data;
	uint64_t addr, bytes;

	if (size < 8 || vmi_types_field(m->g->types, "alt_instr.instr_offset", &offset) ||
	    vmi_types_field(m->g->types, "alt_instr.instrlen", &len) || offset.offset > size - 4 ||
	    len.offset >= size ||
	    !vmi_reference_section(m->r, ".altinstructions", &addr, &data, &bytes))
		return;
	for (uint64_t i = 0; i + size <= bytes; i += size) {
		uint64_t at = addr + i + offset.offset;

		hide(m, at + (uint64_t)(int64_t)distance(data + i + offset.offset),
		     data[i + len.offset]);
	}
}

/* struct paravirt_patch_site, until 6.7: an address, a type, a length */
static void hide_paravirt(const struct masking *m)
{
	uint32_t size = vmi_types_size(m->g->types, "paravirt_patch_site");
	struct vmi_field instr, len;
	const uint8_t *data;
	uint64_t addr, bytes;

	if (size < 10 || vmi_types_field(m->g->types, "paravirt_patch_site.instr", &instr) ||
	    vmi_types_field(m->g->types, "paravirt_patch_site.len", &len) || len.offset < 8 ||
	    instr.offset > len.offset - 8 || len.offset >= size ||
	    !vmi_reference_section(m->r, ".parainstructions", &addr, &data, &bytes))
		return;
	/* The last entry is not padded to its full size. */
	for (uint64_t i = 0; i + len.offset < bytes; i += size) {
		uint64_t at;

		memcpy(&at, data + i + instr.offset, 8);
		hide(m, at, data[i + len.offset]);
	}
}

/* A table between two symbols of the guest, as the reference has it. */
static const uint8_t *table(const struct masking *m, const char *from, const char *to,
			    uint64_t *addr, uint64_t *bytes)
{
	uint64_t start = vmi_sym(m->g, from), end = vmi_sym(m->g, to);

	if (!start || end <= start)
		return NULL;
	*addr = start - m->g->kaslr_offset;
	*bytes = end - start;
	return vmi_reference_at(m->r, *addr, *bytes);
}

/* Static branches and static calls: entries that begin with the distance to the place. */
static void hide_entries(const struct masking *m, const char *from, const char *to,
			 const char *type)
{
	uint32_t size = vmi_types_size(m->g->types, type);
	uint64_t addr, bytes;
	const uint8_t *data = table(m, from, to, &addr, &bytes);

	if (!data || size < 4)
		return;
	for (uint64_t i = 0; i + size <= bytes; i += size)
		hide_insn(m, addr + i + (uint64_t)(int64_t)distance(data + i));
}

static void hide_ftrace(const struct masking *m)
{
	static const char *const calls[] = { "ftrace_call", "ftrace_regs_call",
					     "ftrace_graph_call" };
	uint64_t addr, bytes, at;
	const uint8_t *data = table(m, "__start_mcount_loc", "__stop_mcount_loc", &addr, &bytes);

	for (uint64_t i = 0; data && i + 8 <= bytes; i += 8) {
		memcpy(&at, data + i, 8);
		hide(m, at, JUMP_SIZE);
	}
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		at = vmi_sym(m->g, calls[i]);
		if (at)
			hide(m, at - m->g->kaslr_offset, JUMP_SIZE);
	}
}

/* Trampolines of static calls: a jump or a return, and a mark behind it (asm/static_call.h). */
static void hide_trampolines(const struct masking *m)
{
	uint64_t addr, bytes;
	const uint8_t *data =
		table(m, "__static_call_text_start", "__static_call_text_end", &addr, &bytes);
	const struct vmi_symbols *all = m->g->symbols;
	size_t n = vmi_symbols_count(all);

	for (size_t i = 0; data && i < n; i++) {
		const struct vmi_symbol *y = vmi_symbol_nth(all, i);
		uint64_t at = y->addr - m->g->kaslr_offset;

		if (at >= addr && at < addr + bytes && !strncmp(y->name, "__SCT__", 7))
			hide(m, at, JUMP_SIZE);
	}
}

int vmi_reference_mask(const struct vmi_reference *r, const struct vmi_guest *g, uint64_t addr,
		       uint8_t *mask, size_t n)
{
	const struct masking m = { .r = r, .g = g, .addr = addr, .mask = mask, .n = n };

	if (!g->types || !g->symbols)
		return -ENOENT;
	memset(mask, 0, (n + 7) / 8);
	hide_alternatives(&m);
	hide_paravirt(&m);
	hide_distances(&m, ".retpoline_sites", 0, true);
	hide_distances(&m, ".return_sites", 0, true);
	hide_distances(&m, ".ibt_endbr_seal", ENDBR_SIZE, false);
	hide_distances(&m, ".smp_locks", 1, false);
	hide_runtime_constants(&m);
	hide_entries(&m, "__start___jump_table", "__stop___jump_table", "jump_entry");
	hide_entries(&m, "__start_static_call_sites", "__stop_static_call_sites",
		     "static_call_site");
	hide_ftrace(&m);
	hide_trampolines(&m);
	return 0;
}

/* ---- KASLR ---- */

static void shift(const struct relocs *list, uint64_t offset, unsigned int size, uint64_t addr,
		  uint8_t *data, size_t n)
{
	size_t lo = 0, hi = list->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (list->v[mid] < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < list->n && list->v[lo] - addr < n; lo++) {
		uint64_t at = list->v[lo] - addr, v = 0;

		if (size > n - at)
			return;
		memcpy(&v, data + at, size);
		v -= offset;
		memcpy(data + at, &v, size);
	}
}

void vmi_reference_unrelocate(const struct vmi_reference *r, uint64_t offset, uint64_t addr,
			      uint8_t *data, size_t n)
{
	shift(&r->r32, offset, 4, addr, data, n);
	shift(&r->inverse, -offset, 4, addr, data, n);
	shift(&r->r64, offset, 8, addr, data, n);
}
