// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What vmi/memory finds of a target, for target.t. One line for each fact, then answers to commands
 * on stdin, one line each:
 *
 *	look [--drop] [--qmp SOCKET] [--map MAP] VM | FILE
 *	read GPA LEN	hexadecimal, or the error's name
 *	refresh		registers of the first vCPU
 *	alive
 *
 * --drop: after the search becomes nobody, in a process of its own that gets JSON and descriptors
 * only, as the reader of a guest's memory does.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../vmi/memory/target.h"

#define NOBODY 65534

static int fail(const char *text)
{
	fprintf(stderr, "look: %s\n", text);
	return 1;
}

static void print_vcpu(const struct vmi_vcpu *v)
{
	printf("vcpu %d known=%#x rip=%#" PRIx64 " rdx=%#" PRIx64 " rsp=%#" PRIx64 " cr0=%#" PRIx64
	       " cr3=%#" PRIx64 " cr4=%#" PRIx64 " efer=%#" PRIx64 " cs=%#x idt=%#" PRIx64
	       "/%#x gdt=%#" PRIx64 "/%#x gs=%#" PRIx64 " lstar=%#" PRIx64 "\n",
	       v->id, v->known, v->rip, v->gpr[2], v->gpr[4], v->cr0, v->cr3, v->cr4, v->efer,
	       v->cs, v->idt_base, v->idt_limit, v->gdt_base, v->gdt_limit, v->gs_base, v->lstar);
}

static void print_target(const struct vmi_target *t, struct vmi_mem *m)
{
	static const char *const backings[] = { "map", "pread", "call" };
	const struct vmi_region *v;
	size_t n;

	printf("name %s\npid %d\nram %s\nlayout %s\nvcpus %s\n", t->name, (int)t->pid, t->how_ram,
	       t->how_layout, t->how_vcpus);
	v = vmi_mem_regions(m, &n);
	for (size_t i = 0; i < n; i++)
		printf("region %#" PRIx64 " %#" PRIx64 " %s\n", v[i].gpa, v[i].bytes,
		       backings[v[i].backing]);
	for (size_t i = 0; i < t->n_vcpus; i++)
		print_vcpu(&t->vcpus[i]);
	printf("ready\n");
	fflush(stdout);
}

static void read_memory(struct vmi_mem *m, uint64_t gpa, size_t len)
{
	unsigned char buf[4096];
	int err;

	if (len > sizeof(buf))
		len = sizeof(buf);
	err = vmi_mem_read(m, gpa, buf, len);
	if (err) {
		printf("%s\n", strerrorname_np(-err));
		return;
	}
	for (size_t i = 0; i < len; i++)
		printf("%02x", buf[i]);
	printf("\n");
}

static void serve(struct vmi_target *t, struct vmi_mem *m)
{
	struct vmi_error err;
	char line[128];
	uint64_t gpa;
	size_t len;

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "read %" SCNi64 " %zi", (int64_t *)&gpa, &len) == 2)
			read_memory(m, gpa, len);
		else if (!strcmp(line, "alive"))
			printf("%s\n", vmi_target_alive(t, &err) ? err.text : "alive");
		else if (strcmp(line, "refresh"))
			printf("what?\n");
		else if (vmi_target_refresh(t, &err))
			printf("%s\n", err.text);
		else
			print_vcpu(&t->vcpus[0]);
		fflush(stdout);
	}
}

/* Only what goes through JSON is left of the target. */
static int drop(struct vmi_target **t, struct vmi_error *err)
{
	json_t *j = vmi_target_to_json(*t);
	struct vmi_target *old = *t;
	int fds[64], n = (int)old->n_fds, error;

	for (int i = 0; i < n; i++)
		fds[i] = dup(old->fds[i]);
	vmi_target_free(old);
	if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		return -errno;
	error = vmi_target_from_json(t, j, fds, (size_t)n, err);
	json_decref(j);
	return error;
}

int main(int argc, char **argv)
{
	struct vmi_error err = { "" };
	struct vmi_find_options o = { 0 };
	struct vmi_target *t;
	struct vmi_mem *m;
	bool dropped = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--drop"))
			dropped = true;
		else if (!strcmp(argv[i], "--qmp") && i + 1 < argc)
			o.qmp = argv[++i];
		else if (!strcmp(argv[i], "--map") && i + 1 < argc)
			o.map = argv[++i];
		else if (strchr(argv[i], '/'))
			o.dump = argv[i];
		else
			o.vm = argv[i];
	}
	if (vmi_target_find(&t, &o, &err))
		return fail(err.text);
	if (dropped && drop(&t, &err))
		return fail(err.text);
	if (vmi_target_open(t, &m, &err))
		return fail(err.text);
	print_target(t, m);
	serve(t, m);
	vmi_mem_close(m);
	vmi_target_free(t);
	return 0;
}
