/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a boot loader does: a bzImage into guest memory, by the 32-bit boot protocol of
 * Documentation/arch/x86/boot.rst.
 */
#ifndef IHO_DEMO_LINUX_H
#define IHO_DEMO_LINUX_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/kvm.h>

#include "vmm.h"

/* RAM ends here below 4 GiB, and goes on at 4 GiB. */
#define LINUX_LOW_RAM_END 0xc0000000ULL
#define LINUX_HIGH_RAM	  0x100000000ULL

/*
 * Fill the zeroed guest memory @ram of @config->memory_bytes: kernel, initrd, command line, boot
 * parameters, ACPI tables for @nr_vcpus. The files are not trusted. Returns 0, or a negative errno
 * after one message on stderr.
 */
int linux_load(const struct vmm_linux *config, unsigned int nr_vcpus, uint8_t *ram);

/* Turn @sregs and @regs into the first vCPU's start state. */
void linux_start_state(struct kvm_sregs *sregs, struct kvm_regs *regs);

/* Whether @cmdline asks for triple faults as the way to reboot. */
bool linux_reboots_by_triple_fault(const char *cmdline);

#endif
