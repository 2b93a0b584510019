// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A target as JSON, for the way to another process. Descriptors are indices; 64-bit registers are
 * kept bit by bit in JSON's signed integers. What is read is checked as if a stranger had sent it.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static const char *const kinds[] = {
	[VMI_TARGET_LIVE] = "live",
	[VMI_TARGET_ELF] = "elf",
	[VMI_TARGET_KDUMP] = "kdump",
	[VMI_TARGET_RAW] = "raw",
};

static const char *const backings[] = {
	[VMI_BACKING_MAP] = "map",
	[VMI_BACKING_PREAD] = "pread",
	[VMI_BACKING_CALL] = "call",
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* The texts and numbers of a vCPU, for both directions. */
#define REG(member)                                                                                \
	{                                                                                          \
#member, offsetof(struct vmi_vcpu, member), sizeof(((struct vmi_vcpu *)0)->member) \
	}

static const struct reg {
	const char *name;
	size_t offset, size;
} regs[] = {
	REG(id),	REG(known), REG(rip),	  REG(rflags),	 REG(cr0),	REG(cr2),
	REG(cr3),	REG(cr4),   REG(efer),	  REG(idt_base), REG(gdt_base), REG(idt_limit),
	REG(gdt_limit), REG(cs),    REG(fs_base), REG(gs_base),	 REG(lstar),	REG(kernel_gs_base),
};

static const struct text {
	const char *name;
	size_t offset, size;
} texts[] = {
	{ "name", offsetof(struct vmi_target, name), sizeof(((struct vmi_target *)0)->name) },
	{ "how_ram", offsetof(struct vmi_target, how_ram),
	  sizeof(((struct vmi_target *)0)->how_ram) },
	{ "how_layout", offsetof(struct vmi_target, how_layout),
	  sizeof(((struct vmi_target *)0)->how_layout) },
	{ "how_vcpus", offsetof(struct vmi_target, how_vcpus),
	  sizeof(((struct vmi_target *)0)->how_vcpus) },
};

/* -------------------------------------------------------------------------------------- to JSON */

static json_t *integer(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static json_t *vcpu_to_json(const struct vmi_vcpu *v)
{
	json_t *j = json_object(), *gpr = json_array();

	for (size_t i = 0; i < N(regs); i++) {
		const char *p = (const char *)v + regs[i].offset;
		uint64_t value = 0;

		memcpy(&value, p, regs[i].size); /* x86-64 is little-endian */
		json_object_set_new(j, regs[i].name, integer(value));
	}
	for (size_t i = 0; i < N(v->gpr); i++)
		json_array_append_new(gpr, integer(v->gpr[i]));
	json_object_set_new(j, "gpr", gpr);
	return j;
}

static int fd_index(const struct vmi_target *t, int fd)
{
	for (size_t i = 0; i < t->n_fds; i++) {
		if (t->fds[i] == fd)
			return (int)i;
	}
	return -1;
}

static json_t *region_to_json(const struct vmi_target *t, const struct vmi_region *r)
{
	return json_pack("{s:I, s:I, s:s, s:i, s:I}", "gpa", (json_int_t)r->gpa, "bytes",
			 (json_int_t)r->bytes, "backing", backings[r->backing], "fd",
			 fd_index(t, r->fd), "offset", (json_int_t)r->offset);
}

json_t *vmi_target_to_json(const struct vmi_target *t)
{
	json_t *j = json_object(), *regions = json_array(), *vcpus = json_array();

	json_object_set_new(j, "kind", json_string(kinds[t->kind]));
	json_object_set_new(j, "pid", json_integer(t->pid));
	json_object_set_new(j, "pidfd", json_integer(fd_index(t, t->pidfd)));
	for (size_t i = 0; i < N(texts); i++)
		json_object_set_new(j, texts[i].name,
				    json_string((const char *)t + texts[i].offset));
	for (size_t i = 0; i < t->n_regions; i++)
		json_array_append_new(regions, region_to_json(t, &t->regions[i]));
	for (size_t i = 0; i < t->n_vcpus; i++)
		json_array_append_new(vcpus, vcpu_to_json(&t->vcpus[i]));
	json_object_set_new(j, "regions", regions);
	json_object_set_new(j, "vcpus", vcpus);
	/* Of a live VM it never comes from here; of a dump, whoever opens it finds it again. */
	return j;
}

/* ------------------------------------------------------------------------------------ from JSON */

static bool get_integer(const json_t *j, const char *name, uint64_t *out)
{
	const json_t *v = json_object_get(j, name);

	if (!json_is_integer(v))
		return false;
	*out = (uint64_t)json_integer_value(v);
	return true;
}

/* The index of a word in a table, -1 = none of them. */
static int get_word(const json_t *j, const char *name, const char *const *words, size_t n)
{
	const char *s = json_string_value(json_object_get(j, name));

	for (size_t i = 0; s && i < n; i++) {
		if (!strcmp(s, words[i]))
			return (int)i;
	}
	return -1;
}

static int region_from_json(struct vmi_target *t, const json_t *j, const int *fds, size_t n_fds)
{
	int backing = get_word(j, "backing", backings, N(backings));
	struct vmi_region r = { .fd = -1 };
	uint64_t fd;

	/* CALL regions belong to a dump that is parsed by whoever opens it: none is ever sent. */
	if (backing < 0 || backing == VMI_BACKING_CALL || !get_integer(j, "gpa", &r.gpa) ||
	    !get_integer(j, "bytes", &r.bytes) || !get_integer(j, "offset", &r.offset) ||
	    !get_integer(j, "fd", &fd) || fd >= n_fds)
		return -EINVAL;
	r.backing = (enum vmi_backing)backing;
	r.fd = fds[fd];
	return vmi_target_add_region(t, &r);
}

int vmi_vcpu_from_json(struct vmi_vcpu *out, const json_t *j)
{
	const json_t *gpr = json_object_get(j, "gpr");
	struct vmi_vcpu v = { 0 };

	if (json_array_size(gpr) != N(v.gpr))
		return -EINVAL;
	for (size_t i = 0; i < N(v.gpr); i++) {
		if (!json_is_integer(json_array_get(gpr, i)))
			return -EINVAL;
		v.gpr[i] = (uint64_t)json_integer_value(json_array_get(gpr, i));
	}
	for (size_t i = 0; i < N(regs); i++) {
		uint64_t value;

		if (!get_integer(j, regs[i].name, &value))
			return -EINVAL;
		if (regs[i].size < sizeof(value) && value >> (8 * regs[i].size))
			return -EINVAL;
		memcpy((char *)&v + regs[i].offset, &value, regs[i].size);
	}
	if (v.id < 0)
		return -EINVAL;
	*out = v;
	return 0;
}

static int vcpu_from_json(struct vmi_target *t, const json_t *j)
{
	struct vmi_vcpu v, *to;
	int err = vmi_vcpu_from_json(&v, j);

	if (err)
		return err;
	to = vmi_target_add_vcpu(t);
	if (!to)
		return -E2BIG;
	*to = v;
	return 0;
}

static int texts_from_json(struct vmi_target *t, const json_t *j)
{
	for (size_t i = 0; i < N(texts); i++) {
		const char *s = json_string_value(json_object_get(j, texts[i].name));

		if (!s || strlen(s) >= texts[i].size)
			return -EINVAL;
		strcpy((char *)t + texts[i].offset, s);
	}
	return 0;
}

static int parse(struct vmi_target *t, const json_t *j, const int *fds, size_t n_fds)
{
	int kind = get_word(j, "kind", kinds, N(kinds));
	json_t *regions = json_object_get(j, "regions"), *vcpus = json_object_get(j, "vcpus"), *v;
	uint64_t pid, pidfd;
	size_t i;
	int err;

	if (kind < 0 || !get_integer(j, "pid", &pid) || pid > INT_MAX || !json_is_array(regions) ||
	    !json_is_array(vcpus) || n_fds > VMI_FDS_MAX)
		return -EINVAL;
	/* Without any descriptor it is only to be looked at. */
	if (!get_integer(j, "pidfd", &pidfd) || (n_fds && pidfd != UINT64_MAX && pidfd >= n_fds))
		return -EINVAL;
	t->pidfd = !n_fds || pidfd == UINT64_MAX ? -1 : fds[pidfd];
	t->kind = (enum vmi_target_kind)kind;
	t->pid = (pid_t)pid;
	/* A dump is its file. */
	if (kind != VMI_TARGET_LIVE && !n_fds)
		return -EINVAL;
	err = texts_from_json(t, j);
	if (err)
		return err;
	json_array_foreach(regions, i, v)
	{
		err = region_from_json(t, v, fds, n_fds);
		if (err)
			return err;
	}
	json_array_foreach(vcpus, i, v)
	{
		err = vcpu_from_json(t, v);
		if (err)
			return err;
	}
	return 0;
}

int vmi_target_from_json(struct vmi_target **out, const json_t *j, const int *fds, size_t n_fds,
			 struct vmi_error *err)
{
	struct vmi_target *t = calloc(1, sizeof(*t));
	int error;

	*out = NULL;
	if (!t)
		return vmi_fail(err, -ENOMEM, "out of memory");
	error = parse(t, j, fds, n_fds);
	if (!error && n_fds) {
		t->fds = malloc(n_fds * sizeof(*fds));
		if (t->fds)
			memcpy(t->fds, fds, n_fds * sizeof(*fds));
		else
			error = -ENOMEM;
	}
	if (error) { /* the descriptors stay the caller's: t->n_fds is 0 */
		vmi_target_free(t);
		return vmi_fail(err, error, "that is no description of a target: %s",
				strerror(-error));
	}
	t->n_fds = n_fds;
	*out = t;
	return 0;
}
