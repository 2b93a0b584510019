// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The names under which things are shown: one table for JSON keys, columns and words.
 */
#include <inttypes.h>
#include <stdio.h>

#include "report.h"

static const struct {
	const char *key, *label;
} bills[IHO_BILL_MAX] = {
	[IHO_BILL_GUEST] = { "guest", "Guest" },
	[IHO_BILL_KVM] = { "kvm", "KVM" },
	[IHO_BILL_GUEST_OR_KVM] = { "guest_or_kvm", "Guest|KVM" },
	[IHO_BILL_QEMU] = { "qemu", "QEMU" },
	[IHO_BILL_HALT_POLL] = { "halt_poll", "Poll" },
	[IHO_BILL_HALTED] = { "halted", "Halted" },
	[IHO_BILL_BLOCKED] = { "blocked", "Blocked" },
	[IHO_BILL_RUNNABLE] = { "runnable", "Runnable" },
	[IHO_BILL_PREEMPTED] = { "preempted", "Preempted" },
	[IHO_BILL_STOPPED] = { "stopped", "Stopped" },
	[IHO_BILL_UNACCOUNTED] = { "unaccounted", "Unaccounted" },
};

/* `number`: how the JSON calls the value; the low bit of some kinds says write. */
static const struct {
	const char *key, *title, *number;
	bool write;
} drills[IHO_DRILL_MAX] = {
	[IHO_DRILL_NONE] = { "none", "", "value", false },
	[IHO_DRILL_PIO] = { "pio", "I/O ports", "port", true },
	[IHO_DRILL_MMIO] = { "mmio", "MMIO pages", "page", true },
	[IHO_DRILL_FAST_MMIO] = { "fast_mmio", "Fast MMIO pages", "page", false },
	[IHO_DRILL_MSR] = { "msr", "MSRs", "msr", true },
	[IHO_DRILL_CPUID] = { "cpuid", "CPUID leaves", "leaf", false },
	[IHO_DRILL_CR] = { "cr", "Control registers", "cr", true },
	[IHO_DRILL_HYPERCALL] = { "hypercall", "Hypercalls", "number", false },
	[IHO_DRILL_PAGE_FAULT] = { "page_fault", "Page faults by error code", "error_code", false },
	[IHO_DRILL_INJ_VIRQ] = { "inj_virq", "Injected interrupts", "vector", false },
	[IHO_DRILL_INJ_EXCEPTION] = { "inj_exception", "Injected exceptions", "vector", false },
	[IHO_DRILL_IPI] = { "ipi", "IPIs sent", "vector", false },
	[IHO_DRILL_EOI] = { "eoi", "EOIs", "vector", false },
	[IHO_DRILL_PV_EOI] = { "pv_eoi", "Paravirtual EOIs", "vector", false },
	[IHO_DRILL_APIC_ACCEPT] = { "apic_accept", "Accepted by the software APIC", "vector",
				    false },
	[IHO_DRILL_APICV_ACCEPT] = { "apicv_accept", "Accepted by APICv/AVIC", "vector", false },
	[IHO_DRILL_MSI] = { "msi", "MSIs", "vector", false },
	[IHO_DRILL_PI_IRTE] = { "pi_irte", "Posted interrupts set up", "vector", false },
};

const char *iho_bill_key(enum iho_bill b)
{
	return b < IHO_BILL_MAX ? bills[b].key : "?";
}

const char *iho_bill_label(enum iho_bill b)
{
	return b < IHO_BILL_MAX ? bills[b].label : "?";
}

const char *iho_drill_key(enum iho_drill_kind kind)
{
	return kind < IHO_DRILL_MAX ? drills[kind].key : "?";
}

const char *iho_drill_title(enum iho_drill_kind kind)
{
	return kind < IHO_DRILL_MAX ? drills[kind].title : "?";
}

void iho_drill_decode(enum iho_drill_kind kind, uint64_t value, struct iho_drill_fields *f)
{
	f->number_key = kind < IHO_DRILL_MAX ? drills[kind].number : "value";
	f->has_write = kind < IHO_DRILL_MAX && drills[kind].write;
	f->write = f->has_write && (value & 1);
	f->number = f->has_write ? value >> 1 : value;
	f->delivery_mode = 0;
	if (kind == IHO_DRILL_MMIO || kind == IHO_DRILL_FAST_MMIO) {
		f->number <<= 12;
	} else if (kind == IHO_DRILL_IPI) {
		f->delivery_mode = f->number >> 8 & 7;
		f->number &= 0xff;
	}
}

const char *iho_exception_name(unsigned int vector)
{
	/* SDM volume 3, table 6-1 */
	static const char *const names[] = {
		"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "",    "#TS",
		"#NP", "#SS", "#GP", "#PF", "",	   "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
	};

	return vector < sizeof(names) / sizeof(names[0]) ? names[vector] : "";
}

void iho_drill_describe(enum iho_drill_kind kind, uint64_t value, char *buf, size_t len)
{
	/* SDM volume 3, figure 11-12: the ICR's delivery modes */
	static const char *const modes[] = {
		"", " lowest priority", " SMI", " mode 3", " NMI", " INIT", " SIPI", " mode 7"
	};
	struct iho_drill_fields f;

	iho_drill_decode(kind, value, &f);
	switch (kind) {
	case IHO_DRILL_PIO:
		snprintf(buf, len, "port 0x%" PRIx64 " %s", f.number, f.write ? "write" : "read");
		break;
	case IHO_DRILL_MMIO:
		snprintf(buf, len, "page 0x%" PRIx64 " %s", f.number, f.write ? "write" : "read");
		break;
	case IHO_DRILL_FAST_MMIO:
		snprintf(buf, len, "page 0x%" PRIx64 " (ioeventfd)", f.number);
		break;
	case IHO_DRILL_MSR:
		snprintf(buf, len, "MSR 0x%" PRIx64 " %s", f.number, f.write ? "write" : "read");
		break;
	case IHO_DRILL_CPUID:
		snprintf(buf, len, "leaf 0x%" PRIx64 "%s", f.number,
			 f.number == IHO_CPUID_SCAN ? " to 0x4000ff00, hypervisor search" : "");
		break;
	case IHO_DRILL_CR:
		snprintf(buf, len, "CR%" PRIu64 " %s", f.number, f.write ? "write" : "read");
		break;
	case IHO_DRILL_HYPERCALL:
		snprintf(buf, len, "hypercall %" PRIu64, f.number);
		break;
	case IHO_DRILL_PAGE_FAULT:
		snprintf(buf, len, "error code 0x%" PRIx64, f.number);
		break;
	case IHO_DRILL_INJ_EXCEPTION:
		snprintf(buf, len, "vector %" PRIu64 " %s", f.number, iho_exception_name(f.number));
		break;
	case IHO_DRILL_IPI:
		snprintf(buf, len, "vector %" PRIu64 " (0x%02" PRIx64 ")%s", f.number, f.number,
			 modes[f.delivery_mode]);
		break;
	default:
		snprintf(buf, len, "vector %" PRIu64 " (0x%02" PRIx64 ")", f.number, f.number);
		break;
	}
}
