// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "text.h"
#include "wire.h"

#define MAX_SLOTS 16384u
#define MAX_CPUS  8192u
#define MAX_VMS	  16384u

const char *iho_wire_layout(void)
{
	return IHO_LAYOUT;
}

/* Numbers that are 64 bits without a sign: JSON's readers have 53, jansson 63. */
static json_t *hex(uint64_t v)
{
	return json_sprintf("0x%" PRIx64, v);
}

static int read_hex(const json_t *j, const char *key, uint64_t *v)
{
	const char *s = json_string_value(json_object_get(j, key));
	size_t n;

	if (!s || strncmp(s, "0x", 2))
		return -EPROTO;
	/* strtoull() alone would also take a sign, spaces, and a second 0x */
	n = strspn(s + 2, "0123456789abcdef");
	if (!n || n > 16 || s[2 + n])
		return -EPROTO;
	*v = strtoull(s + 2, NULL, 16);
	return 0;
}

static int read_int(const json_t *j, const char *key, int64_t min, int64_t max, int64_t *v)
{
	const json_t *n = json_object_get(j, key);

	if (!json_is_integer(n))
		return -EPROTO;
	*v = json_integer_value(n);
	return *v < min || *v > max ? -EPROTO : 0;
}

static int read_real(const json_t *j, const char *key, double *v)
{
	const json_t *n = json_object_get(j, key);

	if (!json_is_number(n))
		return -EPROTO;
	*v = json_number_value(n);
	return 0;
}

static int read_text(const json_t *j, const char *key, char *buf, size_t len)
{
	const char *s = json_string_value(json_object_get(j, key));

	size_t n;

	if (!s)
		return -EPROTO;
	n = strlen(s);
	if (n >= len) /* not in the middle of a character: it has to be UTF-8 further on */
		for (n = len - 1; n && (s[n] & 0xc0) == 0x80; n--)
			;
	memcpy(buf, s, n);
	buf[n] = '\0';
	return 0;
}

static int read_bool(const json_t *j, const char *key, bool *v)
{
	const json_t *b = json_object_get(j, key);

	*v = json_is_true(b);
	return json_is_boolean(b) ? 0 : -EPROTO;
}

/* ---- maps ---- */

json_t *iho_wire_maps(const struct iho_maps *m)
{
	return json_pack("{s:s, s:{s:I, s:I}, s:{s:I, s:I}, s:I, s:I, s:I}", "layout", IHO_LAYOUT,
			 "slots", "stride", (json_int_t)m->slot_stride, "n",
			 (json_int_t)m->n_slots, "cpus", "stride", (json_int_t)m->cpu_stride, "n",
			 (json_int_t)m->n_cpus, "shared", (json_int_t)IHO_SHARED, "vms",
			 (json_int_t)IHO_VMS, "bytes", (json_int_t)m->bytes);
}

int iho_wire_maps_read(struct iho_maps *m, const json_t *j)
{
	const json_t *slots = json_object_get(j, "slots"), *cpus = json_object_get(j, "cpus");
	int64_t n_slots, n_cpus, stride, cpu_stride, shared, vms, bytes;

	if (read_int(slots, "n", 1, MAX_SLOTS, &n_slots) ||
	    read_int(cpus, "n", 1, MAX_CPUS, &n_cpus) ||
	    read_int(slots, "stride", sizeof(struct iho_slot), sizeof(struct iho_slot) + 7,
		     &stride) ||
	    read_int(cpus, "stride", sizeof(struct iho_cpu), sizeof(struct iho_cpu) + 7,
		     &cpu_stride) ||
	    read_int(j, "shared", IHO_SHARED, IHO_SHARED, &shared) ||
	    read_int(j, "vms", IHO_VMS, IHO_VMS, &vms) ||
	    read_int(j, "bytes", 0, INT64_MAX, &bytes))
		return -EPROTO;
	m->n_slots = n_slots;
	m->n_cpus = n_cpus;
	m->slot_stride = stride;
	m->cpu_stride = cpu_stride;
	m->bytes = bytes;
	return 0;
}

/* ---- host ---- */

json_t *iho_wire_host(const struct iho_directory *d)
{
	return json_pack("{s:o, s:b, s:i}", "vendor_module",
			 iho_text_json(d->vendor_module ? d->vendor_module : ""), "hardware", d->hw,
			 "apicv", d->apicv_param);
}

int iho_wire_host_read(struct iho_directory *d, char *vendor_module, size_t len, const json_t *j)
{
	int64_t apicv;

	if (read_text(j, "vendor_module", vendor_module, len) ||
	    read_bool(j, "hardware", &d->hw) || read_int(j, "apicv", -1, 1, &apicv))
		return -EPROTO;
	d->vendor_module = vendor_module;
	d->apicv_param = apicv;
	return 0;
}

/* ---- directory ---- */

static json_t *vm_out(const struct iho_vm_entry *e)
{
	return json_pack("{s:i, s:I, s:o, s:I, s:b, s:o, s:s}", "pid", e->pid, "start_ns",
			 (json_int_t)e->start_ns, "key", hex(e->key), "nth", (json_int_t)e->nth,
			 "namesake", e->namesake, "name", iho_text_json(e->id.name), "vmm",
			 e->id.vmm);
}

static json_t *vcpu_out(unsigned int slot, const struct iho_vcpu_entry *e)
{
	return json_pack("{s:I, s:I, s:s, s:i, s:o*}", "slot", (json_int_t)slot, "start_ns",
			 (json_int_t)e->start_ns, "affinity", e->affinity, "cpus", e->n_cpus,
			 "utilisation",
			 e->utilisation.start_ns == e->start_ns
				 ? iho_utilisation_to_json(&e->utilisation)
				 : NULL);
}

json_t *iho_wire_directory(const struct iho_directory *d, const struct iho_snapshot *snap)
{
	json_t *vms = json_array(), *vcpus = json_array();

	for (size_t i = 0; i < d->n_vms; i++)
		if (json_array_append_new(vms, vm_out(&d->vm[i])))
			goto cleanup;
	for (unsigned int i = 0; i < d->n_vcpus && i < snap->n_slots; i++)
		if (snap->vcpu[i].used && d->vcpu[i].start_ns == snap->vcpu[i].slot->start_ns &&
		    json_array_append_new(vcpus, vcpu_out(i, &d->vcpu[i])))
			goto cleanup;
	return json_pack("{s:o, s:o, s:{s:I, s:I, s:f, s:f}}", "vms", vms, "vcpus", vcpus,
			 "collector", "cpu_ns", (json_int_t)d->cpu_ns, "rss_bytes",
			 (json_int_t)d->rss_bytes, "bpf_ns_per_event", d->ns_per_event, "bpf_share",
			 d->bpf_share);

cleanup:
	json_decref(vms);
	json_decref(vcpus);
	return NULL;
}

static int vm_in(struct iho_vm_entry *e, const json_t *j)
{
	int64_t pid, start, nth;
	char vmm[32];

	memset(e, 0, sizeof(*e));
	if (read_int(j, "pid", 1, INT32_MAX, &pid) ||
	    read_int(j, "start_ns", 0, INT64_MAX, &start) ||
	    read_int(j, "nth", 0, UINT32_MAX, &nth) || read_hex(j, "key", &e->key) ||
	    read_text(j, "name", e->id.name, sizeof(e->id.name)) ||
	    read_text(j, "vmm", vmm, sizeof(vmm)) || read_bool(j, "namesake", &e->namesake))
		return -EPROTO;
	e->pid = pid;
	e->start_ns = start;
	e->nth = nth;
	e->id.vmm = iho_vmm_name(vmm);
	return 0;
}

static int vms_in(struct iho_directory *d, const json_t *vms)
{
	size_t n = json_array_size(vms);
	struct iho_vm_entry *v;

	if (!json_is_array(vms) || n > MAX_VMS)
		return -EPROTO;
	v = realloc(d->vm, (n + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	d->vm = v;
	for (size_t i = 0; i < n; i++) {
		if (vm_in(&v[i], json_array_get(vms, i)))
			return -EPROTO;
		d->n_vms = i + 1;
	}
	return 0;
}

static int vcpus_in(struct iho_directory *d, struct iho_vcpu_entry *vcpu, const json_t *vcpus)
{
	int64_t slot, start, cpus;

	if (!json_is_array(vcpus) || json_array_size(vcpus) > d->n_vcpus)
		return -EPROTO;
	for (size_t i = 0; i < json_array_size(vcpus); i++) {
		const json_t *j = json_array_get(vcpus, i), *used;
		struct iho_vcpu_entry *e;

		if (read_int(j, "slot", 0, (int64_t)d->n_vcpus - 1, &slot) ||
		    read_int(j, "start_ns", 0, INT64_MAX, &start) ||
		    read_int(j, "cpus", 0, INT32_MAX, &cpus))
			return -EPROTO;
		e = &vcpu[slot];
		if (read_text(j, "affinity", e->affinity, sizeof(e->affinity)))
			return -EPROTO;
		e->start_ns = start;
		e->n_cpus = cpus;
		used = json_object_get(j, "utilisation");
		if (used && iho_utilisation_from_json(&e->utilisation, used))
			return -EPROTO;
	}
	return 0;
}

static int collector_in(struct iho_directory *d, const json_t *j)
{
	int64_t cpu, rss;

	if (read_int(j, "cpu_ns", 0, INT64_MAX, &cpu) ||
	    read_int(j, "rss_bytes", 0, INT64_MAX, &rss) ||
	    read_real(j, "bpf_ns_per_event", &d->ns_per_event) ||
	    read_real(j, "bpf_share", &d->bpf_share))
		return -EPROTO;
	d->cpu_ns = cpu;
	d->rss_bytes = rss;
	return 0;
}

int iho_wire_directory_read(struct iho_directory *d, struct iho_vcpu_entry *vcpu, const json_t *j)
{
	int r;

	d->n_vms = 0;
	memset(vcpu, 0, d->n_vcpus * sizeof(*vcpu));
	r = vms_in(d, json_object_get(j, "vms"));
	if (!r)
		r = vcpus_in(d, vcpu, json_object_get(j, "vcpus"));
	if (!r)
		r = collector_in(d, json_object_get(j, "collector"));
	if (r) {
		d->n_vms = 0;
		memset(vcpu, 0, d->n_vcpus * sizeof(*vcpu));
	}
	return r;
}

/* ---- features ---- */

json_t *iho_wire_features(const struct iho_features *f)
{
	json_t *a = json_array();

	for (size_t i = 0; i < f->n; i++) {
		const struct iho_feature *v = &f->v[i];

		if (!json_array_append_new(a, json_pack("{s:s, s:b, s:b, s:s, s:o, s:o}", "name",
							v->name, "present", v->present, "used",
							v->used, "how", v->how, "cost",
							iho_text_json(v->cost), "detail",
							iho_text_json(v->detail))))
			continue;
		json_decref(a);
		return NULL;
	}
	return a;
}

int iho_wire_features_read(struct iho_features *f, const json_t *j)
{
	size_t n = json_array_size(j);

	memset(f, 0, sizeof(*f));
	if (!json_is_array(j) || n > 1000)
		return -EPROTO;
	f->v = calloc(n + 1, sizeof(*f->v));
	if (!f->v)
		return -ENOMEM;
	for (; f->n < n; f->n++) {
		const json_t *row = json_array_get(j, f->n);
		struct iho_feature *v = &f->v[f->n];

		if (read_text(row, "name", v->name, sizeof(v->name)) ||
		    read_text(row, "how", v->how, sizeof(v->how)) ||
		    read_text(row, "cost", v->cost, sizeof(v->cost)) ||
		    read_text(row, "detail", v->detail, sizeof(v->detail)) ||
		    read_bool(row, "present", &v->present) || read_bool(row, "used", &v->used)) {
			iho_features_free(f);
			return -EPROTO;
		}
	}
	return 0;
}
