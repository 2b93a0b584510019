// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What this host gives, in words: for --features, and for ihod's readers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "look.h"
#include "probe.h"
#include "utilisation.h"

static struct iho_feature *add_feature(struct iho_features *f, const char *name, bool present)
{
	struct iho_feature *v = realloc(f->v, (f->n + 1) * sizeof(*v));

	if (!v)
		return NULL;
	f->v = v;
	v = &f->v[f->n++];
	memset(v, 0, sizeof(*v));
	snprintf(v->name, sizeof(v->name), "%s", name);
	v->present = present;
	return v;
}

static void set_texts(struct iho_feature *v, const char *cost, const char *detail)
{
	if (!v)
		return;
	if (!v->present)
		snprintf(v->cost, sizeof(v->cost), "%s", cost);
	snprintf(v->detail, sizeof(v->detail), "%s", detail ? detail : "");
}

static void add_signal(struct iho_features *f, const struct iho_utilisation_set *u,
		       enum iho_busy_signal signal, bool used, const char *cost, const char *detail)
{
	bool present = iho_utilisation_has(u, signal) == IHO_PRESENT;
	struct iho_feature *v = add_feature(f, iho_busy_key(signal), present);

	set_texts(v, cost, detail);
	if (v)
		v->used = present && used;
}

/* What tells how busy a guest is, beside the bill. */
static void add_signals(struct iho_features *f, bool used)
{
	struct iho_utilisation_set *u;

	if (iho_utilisation_open(&u, 0, NULL))
		return;
	iho_utilisation_probe(u);
	add_signal(f, u, IHO_BUSY_REF_CYCLES, used,
		   "guest user and system time undivided; the work of a guest that idles in guest "
		   "mode not known by this",
		   "perf, reference cycles of guests");
	add_signal(f, u, IHO_BUSY_MPERF, used,
		   "the work of a guest that idles in guest mode not known by this",
		   "perf, msr/mperf/");
	iho_utilisation_close(u);
}

int iho_features_look(struct iho_features *f, const struct iho_source *source,
		      struct iho_error *err)
{
	struct iho_probe p;
	int r = iho_probe_host(&p, err);

	f->v = NULL;
	f->n = 0;
	if (r) {
		iho_probe_free(&p);
		return r;
	}
	set_texts(add_feature(f, "dev_kvm", p.dev_kvm),
		  "no VM can run here: load kvm_intel or kvm_amd, or enable virtualization in the "
		  "firmware",
		  p.dev_kvm ? (p.dev_kvm_access ? "/dev/kvm" : "/dev/kvm, no access for this user")
			    : "");
	set_texts(add_feature(f, "kvm", p.kvm_loaded), "nothing to observe until KVM is loaded",
		  p.vendor_module);
	set_texts(add_feature(f, "btf", p.vmlinux), "nothing works without it",
		  "/sys/kernel/btf/vmlinux");
	set_texts(add_feature(f, "kvm_module_btf",
			      p.kvm || (p.event_btf[IHO_EV_kvm_exit] && !p.kvm)),
		  "exit reasons come from the slower classic tracepoint",
		  p.kvm ? "/sys/kernel/btf/kvm" : "kvm is built in");
	set_texts(add_feature(f, "tracefs", p.tracefs[0]),
		  "names of exit reasons come from the build instead of the running kernel "
		  "(mount -t tracefs tracefs /sys/kernel/tracing)",
		  p.tracefs);
	set_texts(add_feature(f, "exit_reasons", p.hw_vmx || p.hw_svm),
		  "this KVM is neither kvm_intel nor kvm_amd: it may emit no kvm_entry/kvm_exit, "
		  "then "
		  "guest and KVM time stay undivided",
		  p.vendor_module);
	set_texts(add_feature(f, "apicv", p.apicv_param == 1),
		  "interrupts and IPIs reach the guest through VM exits",
		  p.apicv_param < 0 ? "this KVM has no such parameter" : "module parameter");
	add_signals(f, source != NULL);
	for (int i = 0; i < IHO_EV_MAX; i++) {
		struct iho_feature *v = add_feature(f, iho_event_info[i].name, p.event[i]);

		set_texts(v, iho_event_info[i].loss, iho_event_info[i].system);
		if (v && source) {
			const char *how = "";

			v->used = source->uses(source, v->name, &how);
			snprintf(v->how, sizeof(v->how), "%s", how);
		}
	}
	iho_probe_free(&p);
	return f->v ? 0 : iho_error_set(err, -ENOMEM, "out of memory");
}

void iho_features_free(struct iho_features *f)
{
	free(f->v);
	f->v = NULL;
	f->n = 0;
}
