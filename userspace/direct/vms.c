// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "direct.h"
#include "vmname.h"

#define PROC	    "/proc"
#define LIBVIRT_RUN "/run/libvirt/qemu"
#define MAX_VMS	    4096

int direct_fail(struct direct_error *err, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return r;
}

void say_error(bool json, const char *text)
{
	json_t *j = json ? json_pack("{s:s}", "error", text) : NULL;

	if (j) {
		json_dumpf(j, stdout, JSON_ENSURE_ASCII);
		putchar('\n');
		json_decref(j);
	} else {
		fprintf(stderr, "iho-direct: %s\n", text);
	}
}

int direct_make_dir(const char *dir, struct direct_error *err)
{
	if ((mkdir("/run/iho", 0755) && errno != EEXIST) || (mkdir(dir, 0700) && errno != EEXIST))
		return direct_fail(err, -errno, "cannot make %s: %s", dir, strerror(errno));
	return 0;
}

struct list {
	struct direct_vm *vms;
	size_t n, size;
	bool no_memory;
};

static void add(pid_t pid, void *arg)
{
	struct list *l = arg;
	struct iho_vm_id id;
	struct direct_vm *vm;

	if (l->n == MAX_VMS || l->no_memory)
		return;
	if (l->n == l->size) {
		size_t size = l->size ? 2 * l->size : 16;
		struct direct_vm *more = reallocarray(l->vms, size, sizeof(*more));

		if (!more) {
			l->no_memory = true;
			return;
		}
		l->vms = more;
		l->size = size;
	}
	iho_vm_identify(PROC, LIBVIRT_RUN, pid, &id);
	vm = &l->vms[l->n++];
	vm->pid = pid;
	vm->vmm = id.vmm;
	memcpy(vm->name, id.name, sizeof(vm->name));
}

static int by_pid(const void *a, const void *b)
{
	const struct direct_vm *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

int direct_list_vms(struct direct_vm **vms, struct direct_error *err)
{
	struct list l = {};
	int r = iho_for_each_vm_process(PROC, add, &l);

	if (r < 0 || l.no_memory) {
		free(l.vms);
		r = r < 0 ? r : -ENOMEM;
		return direct_fail(err, r, "cannot look for VMs: %s", strerror(-r));
	}
	if (l.n)
		qsort(l.vms, l.n, sizeof(*l.vms), by_pid);
	*vms = l.vms;
	return (int)l.n;
}

int direct_find_vm(const char *which, struct direct_vm *vm, struct direct_error *err)
{
	bool is_pid = *which && strspn(which, "0123456789") == strlen(which);
	long pid = is_pid ? strtol(which, NULL, 10) : 0;
	struct direct_vm *vms, *found = NULL;
	char clean[64];
	int n, r = 0;

	n = direct_list_vms(&vms, err);
	if (n < 0)
		return n;
	iho_clean_text(clean, sizeof(clean), which);
	for (int i = 0; i < n && !r; i++) {
		if (is_pid ? vms[i].pid != pid : strcmp(vms[i].name, which) != 0)
			continue;
		if (found)
			r = direct_fail(
				err, -ENOTUNIQ,
				"processes %d and %d both are a VM '%s': name one by its pid",
				(int)found->pid, (int)vms[i].pid, clean);
		found = &vms[i];
	}
	if (!found)
		r = direct_fail(err, -ENOENT, "there is no VM '%s' that this user may look at",
				clean);
	else if (!r)
		*vm = *found;
	free(vms);
	return r;
}
