/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/memory: a running VM. live.c finds its process and puts together what the others
 * find out: where guest memory lies in the process (KVM, QMP, or a guess), what backs it there
 * (live_maps.c), and the registers (KVM, QMP).
 */
#ifndef VMI_MEMORY_LIVE_H
#define VMI_MEMORY_LIVE_H

#include "internal.h"
#include "qemu.h"

/* A range of guest memory and its address in the VMM. */
struct vmi_slot {
	uint64_t gpa, bytes, hva;
};

struct vmi_slots {
	struct vmi_slot *v;
	size_t n;
};

/* -ENOMEM, -E2BIG; what is empty or wraps around is left out. */
int vmi_slots_add(struct vmi_slots *s, const struct vmi_slot *slot);

struct vmi_live {
	pid_t pid;
	int proc; /* /proc/PID: of this process, also when another one has the pid */
	bool kvm; /* it holds a VM of KVM */
	bool qemu;
	char vmm[32];
	char *qmp; /* the monitor's path; NULL = none is known */
	pid_t qmp_root; /* whose path it is; 0 = ours */
	struct iho_cmdline cmdline;
	char *cmdline_text;
};

/* A mapping of the process. */
struct vmi_vma {
	uint64_t start, end, offset;
	uint64_t dev, inode;
	bool readable, writable, shared;
	char path[128]; /* cut */
};

struct vmi_vmas {
	struct vmi_vma *v;
	size_t n;
};

int vmi_vmas_read(const struct vmi_live *l, struct vmi_vmas *out);
void vmi_vmas_free(struct vmi_vmas *m);
/* The mapping that holds `hva`; NULL. */
const struct vmi_vma *vmi_vma_at(const struct vmi_vmas *m, uint64_t hva);

/* Makes regions and descriptors of `t` out of slots; says how in t->how_ram. */
int vmi_maps_back(struct vmi_target *t, const struct vmi_live *l, const struct vmi_vmas *m,
		  const struct vmi_slots *slots, struct vmi_error *err);

/*
 * Each finds the slots, and says how in `how`; when it cannot, it says why there, in a few words.
 * 0 or a negative errno value.
 */
int vmi_kvm_slots(const struct vmi_live *l, struct vmi_slots *out, char how[160]);
int vmi_qmp_slots(const struct vmi_live *l, struct vmi_slots *out, char how[160]);
int vmi_guess_slots(const struct vmi_live *l, const struct vmi_vmas *m, struct vmi_slots *out,
		    char how[160]);

/* Replace the vcpus of `t`; the text as above. */
int vmi_kvm_vcpus(const struct vmi_live *l, struct vmi_target *t, char how[160]);
int vmi_qmp_vcpus(const struct vmi_live *l, struct vmi_target *t, char how[160]);

/* What a monitor answered, for the tests. Both texts are QEMU's, and may be anything. */
struct vmi_flat {
	uint64_t gpa, bytes;
	char block[64];
	uint64_t offset; /* in the block */
};
/* Guest RAM in "info mtree -f"; returns how many, at most `max`, or a negative errno value. */
int vmi_mtree_parse(const char *text, struct vmi_flat *out, size_t max);
int vmi_registers_parse(const char *text, struct vmi_target *t);
/* "Host virtual address for 0x0 (pc.ram) is 0x7f..." */
bool vmi_gpa2hva_parse(const char *text, uint64_t *hva);

/* How QEMU splits RAM around the hole below 4 GiB; returns how many pieces, 0 = not known. */
size_t vmi_qemu_split(const char *machine, uint64_t bytes, uint64_t max_below_4g,
		      struct vmi_slot out[2]);

#endif /* VMI_MEMORY_LIVE_H */
