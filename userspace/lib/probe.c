// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "probe.h"
#include "source.h"

#define IHO_SYSTEM_sched "sched"
#define IHO_SYSTEM_kvm	 "kvm"
#define IHO_SYSTEM_irq	 "irq"

const struct iho_event_info iho_event_info[IHO_EV_MAX] = {
#define IHO_EVENT_INFO(name, group, loss)                                                          \
	[IHO_EV_##name] = { #name, IHO_GROUP_##group, IHO_SYSTEM_##group, loss },
	IHO_EVENTS(IHO_EVENT_INFO)
#undef IHO_EVENT_INFO
};

static bool readable(const char *path)
{
	return access(path, R_OK) == 0;
}

static bool event_in_tracefs(const char *tracefs, const struct iho_event_info *e)
{
	char path[256];

	if (!tracefs[0])
		return false;
	snprintf(path, sizeof(path), "%s/events/%s/%s", tracefs, e->system, e->name);
	return access(path, F_OK) == 0;
}

/* The kernel describes each tracepoint's arguments by a typedef of a function pointer. */
static const struct btf_type *event_proto(const struct btf *btf, const char *event)
{
	char name[96];
	const struct btf_type *t;
	int id;

	if (!btf)
		return NULL;
	snprintf(name, sizeof(name), "btf_trace_%s", event);
	id = btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF);
	if (id < 0)
		return NULL;
	t = btf__type_by_id(btf, btf__type_by_id(btf, id)->type);
	if (!t || !btf_is_ptr(t))
		return NULL;
	t = btf__type_by_id(btf, t->type);
	return t && btf_is_func_proto(t) ? t : NULL;
}

/* Is argument `arg` of the event a pointer to struct `name`? (Argument 0 of BTF is the data
 * pointer.) */
static bool arg_is_struct(const struct btf *btf, const struct btf_type *proto, unsigned int arg,
			  const char *name)
{
	const struct btf_type *t;

	if (!proto || arg + 1 >= btf_vlen(proto))
		return false;
	t = btf__type_by_id(btf, btf_params(proto)[arg + 1].type);
	if (!t || !btf_is_ptr(t))
		return false;
	t = btf__type_by_id(btf, t->type);
	while (t && btf_is_mod(t))
		t = btf__type_by_id(btf, t->type);
	return t && !strcmp(btf__name_by_offset(btf, t->name_off), name);
}

static int read_param(const char *path)
{
	FILE *f = fopen(path, "re");
	int c;

	if (!f)
		return -1;
	c = fgetc(f);
	fclose(f);
	return c == 'Y' || c == '1' ? 1 : 0;
}

/* The module that brings the hardware (or the software) into kvm: its name starts with "kvm_". */
static void find_vendor_module(struct iho_probe *p)
{
	static const char *const known[] = { "kvm_intel", "kvm_amd" };
	struct dirent *d;
	DIR *dir;

	for (unsigned int i = 0; i < 2; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/module/%s", known[i]);
		if (access(path, F_OK))
			continue;
		snprintf(p->vendor_module, sizeof(p->vendor_module), "%s", known[i]);
		if (i == 0)
			p->hw_vmx = true;
		else
			p->hw_svm = true;
	}
	if (p->vendor_module[0])
		return;
	dir = opendir("/sys/module");
	if (!dir)
		return;
	while ((d = readdir(dir)))
		if (!strncmp(d->d_name, "kvm_", 4) && strlen(d->d_name) < sizeof(p->vendor_module))
			snprintf(p->vendor_module, sizeof(p->vendor_module), "%.31s", d->d_name);
	closedir(dir);
}

static void find_tracefs(struct iho_probe *p)
{
	static const char *const places[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };

	for (unsigned int i = 0; i < 2; i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/events", places[i]);
		if (!readable(path))
			continue;
		snprintf(p->tracefs, sizeof(p->tracefs), "%s", places[i]);
		return;
	}
}

/*
 * libbpf explains failures at length on stderr; a person gets one sentence, IHO_DEBUG=1 the
 * rest.
 */
static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level == LIBBPF_DEBUG || !getenv("IHO_DEBUG"))
		return 0;
	return vfprintf(stderr, fmt, ap);
}

int iho_probe_host(struct iho_probe *p, struct iho_error *err)
{
	const struct btf_type *proto;
	const struct btf *kvm;

	libbpf_set_print(print_libbpf);
	memset(p, 0, sizeof(*p));
	p->apicv_param = -1;
	find_tracefs(p);
	find_vendor_module(p);
	p->kvm_loaded = access("/sys/module/kvm", F_OK) == 0;
	p->dev_kvm = access("/dev/kvm", F_OK) == 0;
	p->dev_kvm_access = access("/dev/kvm", R_OK | W_OK) == 0;
	if (p->hw_vmx)
		p->apicv_param = read_param("/sys/module/kvm_intel/parameters/enable_apicv");
	else if (p->hw_svm)
		p->apicv_param = read_param("/sys/module/kvm_amd/parameters/avic");

	p->vmlinux = btf__load_vmlinux_btf();
	if (!p->vmlinux && readable("/sys/kernel/btf/vmlinux"))
		return iho_error_set(err, -EIO, "cannot load /sys/kernel/btf/vmlinux: %s",
				     strerror(errno));
	if (!p->vmlinux)
		return iho_error_set(
			err, -ENOTSUP,
			"this kernel has no BTF (/sys/kernel/btf/vmlinux): iho needs a "
			"kernel built with CONFIG_DEBUG_INFO_BTF");
	if (readable("/sys/kernel/btf/kvm"))
		p->kvm = btf__load_module_btf("kvm", p->vmlinux);
	kvm = p->kvm ? p->kvm : p->vmlinux;

	for (int i = 0; i < IHO_EV_MAX; i++) {
		const struct iho_event_info *e = &iho_event_info[i];

		p->event_btf[i] =
			event_proto(e->group == IHO_GROUP_kvm ? kvm : p->vmlinux, e->name);
		p->event[i] = p->event_btf[i] || event_in_tracefs(p->tracefs, e);
		/* kvm built in but its tracepoints' typedefs are seen without the module: not
		 * loaded */
		if (e->group == IHO_GROUP_kvm && !p->kvm_loaded)
			p->event[i] = false;
	}
	p->exit_args_known = arg_is_struct(kvm, event_proto(kvm, "kvm_exit"), 0, "kvm_vcpu") &&
			     arg_is_struct(kvm, event_proto(kvm, "kvm_entry"), 0, "kvm_vcpu");
	proto = event_proto(kvm, "kvm_page_fault");
	p->page_fault_code_arg = arg_is_struct(kvm, proto, 0, "kvm_vcpu") ? 2 : 1;
	return 0;
}

void iho_probe_free(struct iho_probe *p)
{
	btf__free(p->kvm);
	btf__free(p->vmlinux);
	p->kvm = NULL;
	p->vmlinux = NULL;
}
