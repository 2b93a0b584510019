/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib and ihod: what goes over ihod's socket, to and from JSON.
 *
 * The functions that make JSON return a new reference, or NULL when out of memory. Those that read
 * it take nothing for granted: whatever does not have the right shape is -EPROTO, texts are cut to
 * their arrays, numbers checked against them.
 */
#ifndef IHO_WIRE_H
#define IHO_WIRE_H

#include <jansson.h>

#include "build.h"

/* Names the layout of the mapped records: two programs with the same one may share them. */
const char *iho_wire_layout(void);

/* {"layout", "slots": {"stride", "n"}, ...}: sizes of what the descriptors map. */
json_t *iho_wire_maps(const struct iho_maps *m);
int iho_wire_maps_read(struct iho_maps *m, const json_t *j);

/* Facts of the host that do not change: KVM's module, APICv. */
json_t *iho_wire_host(const struct iho_directory *d);
int iho_wire_host_read(struct iho_directory *d, char *vendor_module, size_t len, const json_t *j);

/* VMs, pinning, cost. `snap`: which slots are in use. */
json_t *iho_wire_directory(const struct iho_directory *d, const struct iho_snapshot *snap);
/*
 * `d->vm` and `vcpu` (d->n_vcpus of them, which d->vcpu points to) are the caller's; `d->vm` grows
 * with realloc. On -EPROTO both are emptied.
 */
int iho_wire_directory_read(struct iho_directory *d, struct iho_vcpu_entry *vcpu, const json_t *j);

json_t *iho_wire_features(const struct iho_features *f);
int iho_wire_features_read(struct iho_features *f, const json_t *j);

#endif /* IHO_WIRE_H */
