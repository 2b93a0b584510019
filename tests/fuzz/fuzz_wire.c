// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an ihod, or something that poses as one, may answer to a reader. The first byte chooses the
 * message, the rest is its JSON. What is taken must be within its bounds, and mean the same when it
 * is written and read once more.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "keeper.h"
#include "wire.h"

#define SLOTS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *again(json_t *j)
{
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	json_t *back;

	assert(text);
	back = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert(back);
	free(text);
	json_decref(j);
	return back;
}

static void maps(json_t *j)
{
	struct iho_maps m = {}, n = {};

	if (iho_wire_maps_read(&m, j))
		return;
	assert(m.n_slots && m.n_slots <= 16384 && m.n_cpus && m.n_cpus <= 8192);
	assert(m.slot_stride >= sizeof(struct iho_slot) && m.cpu_stride >= sizeof(struct iho_cpu));
	j = again(iho_wire_maps(&m));
	assert(!iho_wire_maps_read(&n, j));
	assert(!memcmp(&m, &n, sizeof(m)));
	json_decref(j);
}

static void host(json_t *j)
{
	char module[32], other[32];
	struct iho_directory d = {}, e = {};

	if (iho_wire_host_read(&d, module, sizeof(module), j))
		return;
	assert(memchr(module, '\0', sizeof(module)));
	j = again(iho_wire_host(&d));
	assert(!iho_wire_host_read(&e, other, sizeof(other), j));
	assert(!strcmp(module, other) && d.hw == e.hw && d.apicv_param == e.apicv_param);
	json_decref(j);
}

static void directory(json_t *j)
{
	struct iho_vcpu_entry vcpu[SLOTS], vcpu2[SLOTS];
	struct iho_directory d = { .vcpu = vcpu, .n_vcpus = SLOTS };
	struct iho_directory e = { .vcpu = vcpu2, .n_vcpus = SLOTS };
	struct iho_snapshot *snap = iho_snapshot_new(SLOTS);

	assert(snap);
	if (iho_wire_directory_read(&d, vcpu, j)) {
		assert(!d.n_vms);
		goto cleanup;
	}
	for (int i = 0; i < SLOTS; i++) {
		assert(memchr(vcpu[i].affinity, '\0', sizeof(vcpu[i].affinity)) &&
		       vcpu[i].n_cpus >= 0);
		snap->vcpu[i].used = true;
		snap->vcpu[i].slot = calloc(1, sizeof(struct iho_slot));
		assert(snap->vcpu[i].slot);
		snap->vcpu[i].slot->start_ns = vcpu[i].start_ns;
	}
	j = again(iho_wire_directory(&d, snap));
	assert(!iho_wire_directory_read(&e, vcpu2, j));
	json_decref(j);
	assert(!memcmp(vcpu, vcpu2, sizeof(vcpu)));
	assert(d.n_vms == e.n_vms && d.cpu_ns == e.cpu_ns && d.rss_bytes == e.rss_bytes);
	for (size_t i = 0; i < d.n_vms; i++)
		assert(!memcmp(&d.vm[i], &e.vm[i], sizeof(d.vm[i])));

cleanup:
	free(d.vm);
	free(e.vm);
	iho_snapshot_free(snap);
}

static void features(json_t *j)
{
	struct iho_features f, g;

	if (iho_wire_features_read(&f, j)) {
		assert(!f.v && !f.n);
		return;
	}
	j = again(iho_wire_features(&f));
	assert(!iho_wire_features_read(&g, j));
	json_decref(j);
	assert(f.n == g.n && !memcmp(f.v, g.v, f.n * sizeof(*f.v)));
	iho_features_free(&f);
	iho_features_free(&g);
}

static void names(json_t *j)
{
	struct iho_names *n, *m;
	char a[100], b[100];

	if (iho_names_read(&n, j)) {
		assert(!n);
		return;
	}
	j = again(iho_names_wire(n));
	assert(!iho_names_read(&m, j));
	json_decref(j);
	for (uint32_t code = 0; code < 100; code++) {
		for (uint32_t isa = 0; isa < 3; isa++) {
			iho_exit_name(n, isa, code | code << 26, a, sizeof(a));
			iho_exit_name(m, isa, code | code << 26, b, sizeof(b));
			assert(!strcmp(a, b));
		}
		iho_user_exit_name(n, code, a, sizeof(a));
		iho_user_exit_name(m, code, b, sizeof(b));
		assert(!strcmp(a, b));
		iho_softirq_name(n, code, a, 5);
		iho_apicv_reason_name(n, code, a, 5);
	}
	iho_names_close(n);
	iho_names_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const read[])(json_t * j) = { maps, host, directory, features, names };
	json_t *j;

	if (!size)
		return 0;
	j = json_loadb((const char *)data + 1, size - 1, JSON_REJECT_DUPLICATES, NULL);
	if (j)
		read[data[0] % (sizeof(read) / sizeof(read[0]))](j);
	json_decref(j);
	return 0;
}
