/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/tables: what runs on which of the guest's CPUs. */
#ifndef VMI_VCPUS_H
#define VMI_VCPUS_H

#include "../memory/target.h"
#include "table.h"

/* Per-CPU address of a pointer to the task that runs there; 0 = not found. */
uint64_t vmi_current_task_at(struct vmi_guest *g);

/*
 * Which of the guest's CPUs a vCPU is: the kernel's base of gs is where that CPU's variables are,
 * in one of two registers. -1 = not known.
 */
int vmi_cpu_of_vcpu(struct vmi_walk *w, const struct vmi_vcpu *v);

#endif /* VMI_VCPUS_H */
