// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory slots and registers from KVM's own structs, by the iterators of bpf/memslots.bpf.c.
 * Neither the VMM nor a vCPU takes part in it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../bpf/memslots.h"

#include "live.h"
#include "memslots.skel.h"

#define TRIES 5 /* while the VMM changes its slots */

enum what { SLOTS_HASH, SLOTS_ARRAY, CPUS };

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return getenv("IHO_DEBUG") ? vfprintf(stderr, format, args) : 0;
}

static bool has_kvm_amd(void)
{
	return !access("/sys/module/kvm_amd/parameters", F_OK);
}

static int load(const struct vmi_live *l, enum what what, struct memslots **out)
{
	struct memslots *skel = memslots__open();
	int err;

	*out = NULL;
	if (!skel)
		return -errno;
	skel->rodata->wanted_tgid = (__u32)l->pid;
	skel->rodata->hw_svm = has_kvm_amd();
	bpf_program__set_autoload(skel->progs.on_slots_hash, what == SLOTS_HASH);
	bpf_program__set_autoload(skel->progs.on_slots_array, what == SLOTS_ARRAY);
	bpf_program__set_autoload(skel->progs.on_cpus, what == CPUS);
	err = memslots__load(skel);
	if (err)
		memslots__destroy(skel);
	else
		*out = skel;
	return err;
}

/* Runs an iterator to its end. */
static int run(struct bpf_program *prog)
{
	struct bpf_link *link = bpf_program__attach_iter(prog, NULL);
	char byte[64];
	ssize_t n;
	int fd, err = 0;

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0) {
		err = -errno;
		bpf_link__destroy(link);
		return err;
	}
	do
		n = read(fd, byte, sizeof(byte));
	while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	if (n < 0)
		err = -errno;
	close(fd);
	bpf_link__destroy(link);
	return err;
}

static int say_error(char how[160], int err)
{
	snprintf(how, 160, "KVM's structs cannot be read with BPF: %s",
		 err == -EPERM || err == -EACCES ? "not allowed" : strerror(-err));
	return err;
}

/* ------------------------------------------------------------------------------------------- slots
 */

static int find_slots(const struct vmi_live *l, struct memslots **out)
{
	enum what what = SLOTS_HASH;
	int err = load(l, what, out);

	if (err && err != -EPERM && err != -EACCES) {
		what = SLOTS_ARRAY;
		err = load(l, what, out);
	}
	for (int i = 0; !err && i < TRIES; i++) {
		struct memslots__bss *b = (*out)->bss;

		b->n_kvms = b->n_slots = b->torn = b->left_out = 0;
		err = run(what == SLOTS_HASH ? (*out)->progs.on_slots_hash
					     : (*out)->progs.on_slots_array);
		if (!b->torn)
			break;
		if (i == TRIES - 1)
			err = -EAGAIN;
	}
	if (err) {
		memslots__destroy(*out);
		*out = NULL;
	}
	return err;
}

/* A process may hold several VMs; the one with the most memory is meant. */
static uint32_t largest_vm(const struct memslots__bss *b)
{
	uint64_t pages[sizeof(b->kvms) / sizeof(b->kvms[0])] = { 0 };
	uint32_t best = 0;

	for (uint32_t i = 0; i < b->n_slots && i < IHO_MEMSLOTS; i++)
		pages[b->slots[i].vm] += b->slots[i].pages;
	for (uint32_t i = 0; i < b->n_kvms; i++)
		best = pages[i] > pages[best] ? i : best;
	return best;
}

int vmi_kvm_slots(const struct vmi_live *l, struct vmi_slots *out, char how[160])
{
	struct memslots *skel;
	uint32_t vm;
	int err;

	if (!l->kvm) {
		snprintf(how, 160, "not a guest of KVM");
		return -ENOTSUP;
	}
	libbpf_set_print(quiet);
	err = find_slots(l, &skel);
	if (err)
		return say_error(how, err);
	vm = largest_vm(skel->bss);
	for (uint32_t i = 0; i < skel->bss->n_slots && !err; i++) {
		const struct iho_memslot *s = &skel->bss->slots[i];

		if (s->vm == vm && s->gfn < 1ULL << 40 && s->pages < 1ULL << 40)
			err = vmi_slots_add(out, &(struct vmi_slot){ .gpa = s->gfn << 12,
								     .bytes = s->pages << 12,
								     .hva = s->hva });
	}
	if (!err && !out->n)
		err = -ENODATA;
	if (err)
		say_error(how, err);
	else
		snprintf(how, 160, "KVM's memory slots%s%s",
			 skel->bss->n_kvms > 1 ? "; of the process' VMs, the largest" : "",
			 skel->bss->left_out ? "; some were left out" : "");
	memslots__destroy(skel);
	return err;
}

/* ---- registers ---- */

static bool all(uint32_t known, uint32_t bits)
{
	return (known & bits) == bits;
}

static void take_cpu(struct vmi_vcpu *v, const struct iho_memslot_cpu *c)
{
	v->id = c->id < 0 ? 0 : c->id;
	memcpy(v->gpr, c->gpr, sizeof(v->gpr));
	v->rip = c->rip;
	v->rflags = c->rflags;
	v->cr0 = c->cr0;
	v->cr2 = c->cr2;
	v->cr3 = c->cr3;
	v->cr4 = c->cr4;
	v->efer = c->efer;
	v->idt_base = c->idt_base;
	v->idt_limit = c->idt_limit;
	v->gdt_base = c->gdt_base;
	v->gdt_limit = c->gdt_limit;
	v->cs = c->cs;
	v->fs_base = c->fs_base;
	v->gs_base = c->gs_base;
	v->kernel_gs_base = c->kernel_gs_base;
	v->lstar = c->lstar;
	if (all(c->known, IHO_MEMSLOT_KNOWS_GPR | IHO_MEMSLOT_KNOWS_RIP | IHO_MEMSLOT_KNOWS_RSP))
		v->known |= VMI_REG_GPR;
	if (all(c->known, IHO_MEMSLOT_KNOWS_CR0 | IHO_MEMSLOT_KNOWS_CR3 | IHO_MEMSLOT_KNOWS_CR4))
		v->known |= VMI_REG_CR;
	if (c->known & IHO_MEMSLOT_KNOWS_EFER)
		v->known |= VMI_REG_EFER;
	if (c->known & IHO_MEMSLOT_KNOWS_SAVE)
		v->known |= VMI_REG_DTR | VMI_REG_SEG | VMI_REG_KERNEL_GS | VMI_REG_LSTAR;
}

static int by_id(const void *a, const void *b)
{
	const struct vmi_vcpu *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* The VM that most of the vCPUs belong to: the one that has memory is not known here. */
static uint32_t main_vm(const struct memslots__bss *b)
{
	unsigned int cpus[sizeof(b->kvms) / sizeof(b->kvms[0])] = { 0 };
	uint32_t best = 0;

	for (uint32_t i = 0; i < b->n_cpus && i < IHO_MEMSLOT_CPUS; i++)
		cpus[b->cpus[i].vm]++;
	for (uint32_t i = 0; i < b->n_kvms; i++)
		best = cpus[i] > cpus[best] ? i : best;
	return best;
}

/* A descriptor that was duplicated comes twice. */
static bool has_id(const struct vmi_target *t, int id)
{
	for (size_t i = 0; i < t->n_vcpus; i++) {
		if (t->vcpus[i].id == id)
			return true;
	}
	return false;
}

int vmi_kvm_vcpus(const struct vmi_live *l, struct vmi_target *t, char how[160])
{
	const struct memslots__bss *b;
	struct memslots *skel;
	uint32_t vm;
	int err;

	libbpf_set_print(quiet);
	err = load(l, CPUS, &skel);
	if (!err)
		err = run(skel->progs.on_cpus);
	if (err) {
		memslots__destroy(skel);
		return say_error(how, err);
	}
	b = skel->bss;
	vm = main_vm(b);
	t->n_vcpus = 0;
	for (uint32_t i = 0; i < b->n_cpus; i++) {
		struct vmi_vcpu *v;

		if (b->cpus[i].vm != vm || has_id(t, b->cpus[i].id))
			continue;
		v = vmi_target_add_vcpu(t);
		if (!v)
			break;
		take_cpu(v, &b->cpus[i]);
	}
	if (t->n_vcpus)
		qsort(t->vcpus, t->n_vcpus, sizeof(*t->vcpus), by_id);
	memslots__destroy(skel);
	snprintf(how, 160, "KVM, as of each vCPU's last exit");
	return 0;
}
