/* SPDX-License-Identifier: GPL-2.0-or-later */
/* integrity: what hooks the kernel's functions, and pages that can be written and executed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ftrace_hooks.h"
#include "insn.h"
#include "integrity.h"
#include "kprobes.h"
#include "pages.h"

#define NAME 256
#define PAGE 4096

struct ftrace {
	struct vmi_integrity *v;
	struct vmi_ftrace f;
	uint64_t ipmodify; /* flag of ops */
	unsigned int ops, sites;
};

/* Live patches are what changes where functions go to, by way of ftrace. */
static bool is_livepatch(struct vmi_integrity *v, uint64_t addr)
{
	const struct vmi_code_range *r = vmi_code_at(v->c, addr);
	const struct vmi_module *m;
	struct vmi_field klp;
	size_t n;

	if (!r || r->kind == VMI_CODE_KERNEL)
		return true; /* kprobes' own, and livepatch's handler: both are the kernel's */
	if (r->kind != VMI_CODE_MODULE || vmi_field(v->g, "module.klp", &klp))
		return false;
	m = vmi_code_modules(v->c, &n);
	return r->module < n && vmi_val(v->w, m[r->module].gva, &klp);
}

static bool in_module(const struct vmi_integrity *v, uint64_t addr)
{
	return vmi_code_kind(v->c, addr) == VMI_CODE_MODULE;
}

/*
 * A module whose functions are called where others' begin may be an honest tracer or not: what it
 * does cannot be told from here. What the kernel's own tracers and BPF attach is called by the
 * kernel's functions.
 */
static bool ftrace_ops(void *arg, const struct vmi_ftrace_ops *o)
{
	struct ftrace *s = arg;
	char subject[64], name[NAME];

	s->ops++;
	snprintf(subject, sizeof(subject), "ops 0x%016llx", (unsigned long long)o->gva);
	vmi_integrity_name(s->v, o->func, name, sizeof(name));
	if (!vmi_integrity_known(s->v, o->func))
		return vmi_bad(s->v, subject, "%llu functions call %s (0 = all)",
			       (unsigned long long)o->functions, name);
	if (o->trampoline && !vmi_integrity_known(s->v, o->trampoline))
		return vmi_bad(s->v, subject,
			       "its trampoline is at 0x%016llx, where no code is known",
			       (unsigned long long)o->trampoline);
	if (o->flags & s->ipmodify && !is_livepatch(s->v, o->func))
		return vmi_bad(s->v, subject,
			       "%s may change where functions go to, and is no live patch", name);
	if (in_module(s->v, o->func) && !is_livepatch(s->v, o->func))
		return vmi_unknown(s->v, subject,
				   "%llu functions call %s (0 = all), which is a module's",
				   (unsigned long long)o->functions, name);
	return false;
}

static bool ftrace_site(void *arg, const struct vmi_ftrace_site *site)
{
	struct ftrace *s = arg;
	uint8_t code[VMI_FTRACE_SITE_BYTES];
	struct vmi_insn i;
	char name[NAME], target[NAME];
	uint64_t to;

	if (!(site->flags & (s->f.enabled | s->f.count_mask)))
		return false;
	s->sites++;
	if (vmi_read(s->v->w, site->ip, code, sizeof(code)) ||
	    !vmi_insn_decode(&i, code, sizeof(code)) || !i.branch)
		return false; /* being changed, or a nop: nothing is called */
	to = vmi_insn_target(&i, site->ip);
	if (vmi_integrity_known(s->v, to) && vmi_code_kind(s->v->c, to) != VMI_CODE_MODULE)
		return false;
	return vmi_bad(s->v, vmi_integrity_name(s->v, site->ip, name, sizeof(name)),
		       "its call for ftrace goes to %s",
		       vmi_integrity_name(s->v, to, target, sizeof(target)));
}

int vmi_check_ftrace(struct vmi_integrity *v)
{
	struct ftrace s = { .v = v };
	int64_t bit;
	int err = vmi_ftrace_open(&s.f, v->w);

	if (err == -ENOENT) {
		vmi_fine(v, "", "this kernel has no dynamic ftrace");
		return 0;
	}
	if (!vmi_types_enum(v->g->types, NULL, "FTRACE_OPS_FL_IPMODIFY", &bit))
		s.ipmodify = (uint64_t)bit;
	vmi_ftrace_each_ops(&s.f, ftrace_ops, &s);
	err = vmi_ftrace_each_site(&s.f, ftrace_site, &s);
	if (!err && !v->bad && !v->unknown)
		vmi_fine(v, "", "%u hooks, set on %u functions, are the kernel's or BPF's", s.ops,
			 s.sites);
	return err;
}

struct probes {
	struct vmi_integrity *v;
	unsigned int n;
};

static bool probe(void *arg, const struct vmi_kprobe *k)
{
	const uint64_t handlers[] = { k->pre, k->post, k->ret };
	struct probes *s = arg;
	char subject[NAME], name[NAME];

	s->n += !k->aggregate;
	vmi_integrity_name(s->v, k->addr, subject, sizeof(subject));
	for (size_t i = 0; i < 3; i++) {
		if (handlers[i] && !vmi_integrity_known(s->v, handlers[i]))
			return vmi_bad(s->v, subject, "a kprobe there calls %s",
				       vmi_integrity_name(s->v, handlers[i], name, sizeof(name)));
		if (handlers[i] && in_module(s->v, handlers[i]) &&
		    vmi_unknown(s->v, subject, "a kprobe there calls %s, which is a module's",
				vmi_integrity_name(s->v, handlers[i], name, sizeof(name))))
			return true;
	}
	return false;
}

int vmi_check_kprobes(struct vmi_integrity *v)
{
	struct probes s = { .v = v };

	if (vmi_kprobes(v->w, probe, &s))
		vmi_fine(v, "", "this kernel has no kprobes");
	else if (!v->bad && !v->unknown)
		vmi_fine(v, "", "%u kprobes call the kernel's functions", s.n);
	return 0;
}

struct permissions {
	struct vmi_integrity *v;
	unsigned int ranges;
};

/*
 * Until the JIT had packs, the page of a trampoline or dispatcher stayed writable
 * (bpf_jit_alloc_exec_page()); programs never did.
 */
static bool is_bpf_page(const struct vmi_integrity *v, const struct vmi_mapped *m)
{
	size_t n;
	const struct vmi_code_range *r = vmi_code_ranges(v->c, &n);

	if (vmi_sym(v->g, "pack_list") || m->last - m->start != 4095)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (r[i].start == m->start && r[i].kind == VMI_CODE_BPF &&
		    (!strncmp(r[i].name, "bpf_trampoline_", 15) ||
		     !strncmp(r[i].name, "bpf_dispatcher_", 15)))
			return true;
	}
	return false;
}

static bool writable_code(void *arg, const struct vmi_mapped *m)
{
	struct permissions *s = arg;
	char subject[64], name[NAME];

	if (m->flags & VMI_PAGE_NX)
		return false;
	s->ranges++;
	if (!(m->flags & VMI_PAGE_WRITE) || is_bpf_page(s->v, m))
		return false;
	snprintf(subject, sizeof(subject), "0x%016llx-0x%016llx", (unsigned long long)m->start,
		 (unsigned long long)m->last);
	return vmi_bad(s->v, subject, "pages can be executed and written (%s)",
		       vmi_integrity_name(s->v, m->start, name, sizeof(name)));
}

static bool writable_constants(void *arg, const struct vmi_mapped *m)
{
	struct permissions *s = arg;
	char subject[64];

	if (!(m->flags & VMI_PAGE_WRITE))
		return false;
	snprintf(subject, sizeof(subject), "0x%016llx-0x%016llx", (unsigned long long)m->start,
		 (unsigned long long)m->last);
	return vmi_bad(s->v, subject, "the kernel's text or constants can be written");
}

int vmi_check_permissions(struct vmi_integrity *v)
{
	struct permissions s = { .v = v };
	uint64_t from = v->g->la57 ? 0xff00000000000000ull : 0xffff800000000000ull;
	uint64_t text = v->g->text, etext = vmi_sym(v->g, "_etext");
	uint64_t ro = vmi_sym(v->g, "__start_rodata"), rodata_end = vmi_sym(v->g, "__end_rodata");
	int err = vmi_mapped_each(v->w, v->g->pgd, from, ~0ull, VMI_PAGE_NX | VMI_PAGE_WRITE,
				  writable_code, &s);

	if (!err && text && etext > text)
		err = vmi_mapped_each(v->w, v->g->pgd, text, etext - 1, VMI_PAGE_WRITE,
				      writable_constants, &s);
	if (!err && ro && rodata_end > ro)
		err = vmi_mapped_each(v->w, v->g->pgd, ro, rodata_end - 1, VMI_PAGE_WRITE,
				      writable_constants, &s);
	else if (!err)
		vmi_unknown(v, "constants", "where they are is not among the kernel's symbols");
	if (!err && !v->bad)
		vmi_fine(v, "", "no page of %u ranges of code can be written, nor can constants",
			 s.ranges);
	return err;
}

/*
 * Constants of the kernel lead into the kernel: tables of file operations, of sequences, of
 * protocols. Those that are set up while it boots (ro_after_init) may lead to modules, but not to
 * code that nobody knows; the same is true of its variables.
 */
struct pointers {
	struct vmi_integrity *v;
	uint64_t init_start, init_end; /* of ro_after_init */
	uint64_t low; /* where modules may begin */
	uint64_t count;
};

#define TRAPS 0xccccccccccccccccull

/* Memory for code that nobody uses yet holds traps (mod_tree.addr_max points behind the last
 * module). */
static bool is_executable(struct vmi_integrity *v, uint64_t addr)
{
	uint64_t gpa, left, flags, word;

	return !vmi_translate(v->w, v->g->pgd, addr, &gpa, &left, &flags) &&
	       !(flags & VMI_PAGE_NX) && !vmi_ptr(v->w, addr, &word) && word != TRAPS;
}

static bool pointer(struct pointers *s, uint64_t at, uint64_t value, bool constant)
{
	const struct vmi_symbol *y;
	char subject[NAME], name[NAME];
	enum vmi_code_kind kind;

	if (value < s->low || (value >= s->v->g->text && value < s->v->g->image_end))
		return false;
	if (at >= s->init_start && at < s->init_end)
		constant = false;
	kind = vmi_code_kind(s->v->c, value);
	if (kind != VMI_CODE_UNKNOWN && !(constant && kind == VMI_CODE_MODULE))
		return false;
	if (kind == VMI_CODE_UNKNOWN && !is_executable(s->v, value))
		return false;
	y = vmi_symbol_at(s->v->g->symbols, at);
	snprintf(subject, sizeof(subject), "%s+0x%llx", y ? y->name : "?",
		 (unsigned long long)(y ? at - y->addr : 0));
	return vmi_bad(s->v, subject, "leads to %s",
		       vmi_integrity_name(s->v, value, name, sizeof(name)));
}

static int each_pointer(struct pointers *s, uint64_t from, uint64_t to, bool constant)
{
	uint64_t page[PAGE / 8];

	for (uint64_t p = from & ~7ull; p < to;) {
		uint64_t n = PAGE - (p & (PAGE - 1));

		n = n < to - p ? n : (to - p) & ~7ull;
		if (!n)
			break;
		if (!vmi_read(s->v->w, p, page, n)) {
			for (uint64_t i = 0; i < n / 8; i++) {
				if (pointer(s, p + i * 8, page[i], constant))
					return 0;
			}
			s->count += n / 8;
		} else if (s->v->w->stop) {
			return -ETIME;
		}
		p += n;
	}
	return 0;
}

int vmi_check_constants(struct vmi_integrity *v)
{
	struct vmi_guest *g = v->g;
	uint64_t ro = vmi_sym(g, "__start_rodata"), ro_end = vmi_sym(g, "__end_rodata");
	uint64_t data = vmi_sym(g, "_sdata"), data_end = vmi_sym(g, "_edata");
	uint64_t bss = vmi_sym(g, "__bss_start"), bss_end = vmi_sym(g, "__bss_stop");
	/* Its end is given away where memory is not encrypted (mm/mem_encrypt_amd.c). */
	uint64_t given = vmi_sym(g, "__start_bss_decrypted");
	struct pointers s = {
		.v = v,
		.init_start = vmi_sym(g, "__start_ro_after_init"),
		.init_end = vmi_sym(g, "__end_ro_after_init"),
		.low = g->text,
	};
	int err;

	if (!ro || ro_end <= ro || !s.init_start) {
		vmi_unknown(v, "", "where constants are is not among the kernel's symbols");
		return 0;
	}
	err = each_pointer(&s, ro, ro_end, true);
	if (!err && data && data_end > data)
		err = each_pointer(&s, data, data_end, false);
	bss_end = given && given < bss_end ? given : bss_end;
	if (!err && bss && bss_end > bss)
		err = each_pointer(&s, bss, bss_end, false);
	if (!err && !v->bad)
		vmi_fine(v, "", "of %llu words none leads to code where it should not",
			 (unsigned long long)s.count);
	return err;
}
