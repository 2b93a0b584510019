// SPDX-License-Identifier: GPL-2.0-or-later
#include "modes.h"

#include <stdio.h>
#include <string.h>

#include <linux/iho.h>

const struct bit_name direct_modes[] = {
	{ IHO_MODE_HLT, "hlt", "HLT does not exit" },
	{ IHO_MODE_TIMER, "timer", "the guest arms its timer without exits" },
	{ IHO_MODE_IPI_RAW, "ipi_raw", "the guest sends its IPIs by the processor's own ICR" },
	{ 0, NULL, NULL },
};

const struct bit_name direct_refused[] = {
	{ IHO_REFUSED_UNKNOWN, "unknown", "this KVM has no such mode" },
	{ IHO_REFUSED_SMT_RSB, "smt_rsb", "kvm.mitigate_smt_rsb is in force" },
	{ IHO_REFUSED_PV_UNHALT, "pv_unhalt",
	  "the VM has KVM's paravirtual spinlocks (QEMU: -cpu ...,kvm-pv-unhalt=off)" },
	{ IHO_REFUSED_VENDOR, "vendor", "AMD's processors have no such mode" },
	{ IHO_REFUSED_APICV, "apicv", "kvm_intel.enable_apicv is off" },
	{ IHO_REFUSED_HOST_TIMER, "host_timer",
	  "this host has no TSC deadline timer, VMX-preemption timer or MSR bitmaps" },
	{ IHO_REFUSED_UNPINNED, "unpinned", "a vCPU's thread is not pinned to one CPU" },
	{ IHO_REFUSED_CPU0, "cpu0", "a vCPU's thread may run on CPU 0" },
	{ IHO_REFUSED_X2APIC, "x2apic", "the host's APICs are not in x2APIC mode" },
	{ 0, NULL, NULL },
};

const struct bit_name direct_missing[] = {
	{ IHO_MISSING_PAGE, "page", "the guest takes no part (iho_guest.ko)" },
	{ IHO_MISSING_APIC, "apic", "its APIC is not in TSC-deadline mode, or APICv is inhibited" },
	{ IHO_MISSING_TSC_RATIO, "tsc_ratio", "its TSC has a rate of its own" },
	{ IHO_MISSING_NESTED, "nested", "it runs a guest of its own" },
	{ IHO_MISSING_PINNED, "pinned", "its thread is not pinned to one CPU, not CPU 0" },
	{ IHO_MISSING_X2APIC, "x2apic", "its APIC is not in x2APIC mode (for IPIs)" },
	{ IHO_MISSING_DRAINED, "drained", "it has not run since its VMM read its APIC" },
	{ 0, NULL, NULL },
};

void bits_text(const struct bit_name *names, uint32_t bits, const char *separator, int texts,
	       char *buf, size_t len)
{
	const char *between = "";
	size_t at = 0;

	buf[0] = 0;
	for (; names->bit; names++) {
		if (!(bits & names->bit))
			continue;
		bits &= ~names->bit;
		if (at < len)
			at += (size_t)snprintf(buf + at, len - at, "%s%s", between,
					       texts ? names->text : names->name);
		between = separator;
	}
	if (bits && at < len)
		snprintf(buf + at, len - at, "%s0x%x", between, bits);
}
