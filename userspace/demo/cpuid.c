// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What CPUID says beside what KVM supports. For a Linux tenant: one package of as many cores as
 * there are vCPUs, one thread each, APIC ids from 0. Leaves below 0x80000000 are Intel's (SDM
 * volume 2, CPUID), those above AMD's (APM volume 3, appendix E).
 */
#include <asm/kvm_para.h>
#include <sys/ioctl.h>

#include "vmm_internal.h"

#define LEAF1_ECX_X2APIC       (1U << 21)
#define LEAF1_ECX_TSC_DEADLINE (1U << 24)
#define LEAF1_ECX_HYPERVISOR   (1U << 31)
#define LEAF1_EDX_HTT	       (1U << 28)

#define LEVEL_THREADS 1
#define LEVEL_CORES   2
#define SHARED_CACHE  3 /* this level and those above belong to all cores */

static uint32_t bits(uint32_t value, unsigned int high, unsigned int low)
{
	return value >> low & ((2U << (high - low)) - 1);
}

static uint32_t set_bits(uint32_t old, unsigned int high, unsigned int low, uint32_t value)
{
	uint32_t mask = ((2U << (high - low)) - 1) << low;

	return (old & ~mask) | (value << low & mask);
}

/* The bits of an APIC id that tell @nr_vcpus apart. */
static uint32_t id_bits(unsigned int nr_vcpus)
{
	uint32_t nr_bits = 0;

	while (1U << nr_bits < nr_vcpus)
		nr_bits++;
	return nr_bits;
}

static bool is_topology(uint32_t function)
{
	return function == 0xb || function == 0x1f || function == 0x80000026;
}

/* The host's own topology, where KVM gives it away. */
static void drop_topology(struct kvm_cpuid2 *cpuid)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (!is_topology(cpuid->entries[i].function))
			cpuid->entries[kept++] = cpuid->entries[i];
	cpuid->nent = kept;
}

void cpuid_drop_pv_unhalt(struct vmm *vmm)
{
	for (uint32_t i = 0; i < vmm->cpuid->nent; i++)
		if (vmm->cpuid->entries[i].function == KVM_CPUID_FEATURES)
			vmm->cpuid->entries[i].eax &= ~(1U << KVM_FEATURE_PV_UNHALT);
}

static void add_level(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t level, uint32_t type,
		      uint32_t shift, uint32_t nr_cpus)
{
	if (cpuid->nent == VMM_MAX_CPUID_ENTRIES)
		return;
	cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
		.function = function,
		.index = level,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = shift,
		.ebx = nr_cpus,
		.ecx = type << 8 | level,
	};
}

static void add_topology(struct kvm_cpuid2 *cpuid, uint32_t function, unsigned int nr_vcpus)
{
	add_level(cpuid, function, 0, LEVEL_THREADS, 0, 1);
	add_level(cpuid, function, 1, LEVEL_CORES, id_bits(nr_vcpus), nr_vcpus);
	add_level(cpuid, function, 2, 0, 0, 0);
}

static void set_cache_sharing(struct kvm_cpuid_entry2 *entry, unsigned int nr_vcpus)
{
	uint32_t max_id = (1U << id_bits(nr_vcpus)) - 1;
	bool is_cache = bits(entry->eax, 4, 0) != 0;

	if (!is_cache)
		return;
	entry->eax =
		set_bits(entry->eax, 25, 14, bits(entry->eax, 7, 5) >= SHARED_CACHE ? max_id : 0);
	if (entry->function == 0x4) /* 6 bits; leaf 0xb has them all */
		entry->eax = set_bits(entry->eax, 31, 26, max_id < 63 ? max_id : 63);
}

void cpuid_make_pc(struct vmm *vmm)
{
	unsigned int nr_vcpus = vmm->config.max_vcpus;
	struct kvm_cpuid2 *cpuid = vmm->cpuid;
	uint32_t max_leaf = 0;

	drop_topology(cpuid);
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		switch (entry->function) {
		case 0x0:
			max_leaf = entry->eax;
			break;
		case 0x1:
			entry->ebx = set_bits(entry->ebx, 23, 16, nr_vcpus);
			entry->ecx |= LEAF1_ECX_HYPERVISOR;
			if (nr_vcpus > 1)
				entry->edx |= LEAF1_EDX_HTT;
			else
				entry->edx &= ~LEAF1_EDX_HTT;
			break;
		case 0x4:
		case 0x8000001d:
			set_cache_sharing(entry, nr_vcpus);
			break;
		case 0x80000008: /* cores, and the bits of the APIC id that number them */
			entry->ecx = set_bits(entry->ecx, 7, 0, nr_vcpus - 1);
			entry->ecx = set_bits(entry->ecx, 15, 12, id_bits(nr_vcpus));
			break;
		}
	}
	if (max_leaf >= 0xb)
		add_topology(cpuid, 0xb, nr_vcpus);
	if (max_leaf >= 0x1f)
		add_topology(cpuid, 0x1f, nr_vcpus);
}

void cpuid_set_id(struct vmm *vmm, unsigned int apic_id)
{
	for (uint32_t i = 0; i < vmm->cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &vmm->cpuid->entries[i];

		switch (entry->function) {
		case 0x1:
			entry->ebx = set_bits(entry->ebx, 31, 24, apic_id);
			if (!vmm->irqchip)
				break;
			entry->ecx |= LEAF1_ECX_X2APIC;
			/* KVM has it with LAPICs in the kernel only, so leaves it to us to say. */
			if (vmm_check_extension(vmm, KVM_CAP_TSC_DEADLINE_TIMER))
				entry->ecx |= LEAF1_ECX_TSC_DEADLINE;
			break;
		case 0xb:
		case 0x1f:
			entry->edx = apic_id;
			break;
		case 0x8000001e: /* a core of one thread, node 0 of 1 */
			entry->eax = apic_id;
			entry->ebx = apic_id & 0xff;
			entry->ecx = 0;
			break;
		}
	}
}
