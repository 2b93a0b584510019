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

static const struct {
	const char *key, *label;
} cpus[IHO_CPU_MAX] = {
	[IHO_CPU_HOST_USER] = { "host_user", "Host user" },
	[IHO_CPU_HOST_SYSTEM] = { "host_system", "Host system" },
	[IHO_CPU_GUEST_USER] = { "guest_user", "Guest user" },
	[IHO_CPU_GUEST_SYSTEM] = { "guest_system", "Guest system" },
	[IHO_CPU_GUEST] = { "guest", "Guest, undivided" },
	[IHO_CPU_GUEST_OR_HOST_SYSTEM] = { "guest_or_host_system", "Guest or host system" },
};

static const char *const busies[IHO_BUSY_MAX] = {
	[IHO_BUSY_BILL] = "bill",
	[IHO_BUSY_REF_CYCLES] = "ref_cycles",
	[IHO_BUSY_MPERF] = "mperf",
	[IHO_BUSY_GUEST] = "guest",
};

static const char *const directs[IHO_DIRECT_ALL] = {
	[IHO_DIRECT_ENGAGED] = "engaged",
	[IHO_DIRECT_GIVEN] = "given",
	[IHO_DIRECT_TAKEN] = "taken",
	[IHO_DIRECT_RECOVERED] = "recovered",
	[IHO_DIRECT_HOST_TIMER] = "host_timer",
	[IHO_DIRECT_IPIS_KICKED] = "ipis_kicked",
	[IHO_DIRECT_DRAINED] = "drained",
	[IHO_DIRECT_DEADLINES] = "deadlines",
	[IHO_DIRECT_FIRED] = "fired",
	[IHO_DIRECT_SPURIOUS] = "spurious",
	[IHO_DIRECT_IPIS_POSTED] = "ipis_posted",
	[IHO_DIRECT_IPIS_NOTIFIED] = "ipis_notified",
	[IHO_DIRECT_IPIS_ASKED] = "ipis_asked",
	[IHO_DIRECT_IDLE_NS] = "idle_ns",
	[IHO_DIRECT_IRQ_NS] = "irq_ns",
	[IHO_DIRECT_SOFTIRQ_NS] = "softirq_ns",
	[IHO_DIRECT_WITHOUT_EXIT] = "without_exit",
	[IHO_DIRECT_WITH_EXIT] = "with_exit",
	[IHO_DIRECT_IPIS_WITHOUT_EXIT] = "ipis_without_exit",
	[IHO_DIRECT_SAVED] = "saved",
};

/* By the number of the bit of IHO_DIRECT_MISSING_*. */
static const struct {
	const char *key, *text;
} missings[] = {
	{ "page", "the guest takes no part" },
	{ "apic", "its APIC is not in TSC-deadline mode, or APICv is inhibited" },
	{ "tsc_ratio", "its TSC has a rate of its own" },
	{ "nested", "it runs a guest of its own" },
	{ "pinned", "its thread is not pinned to one CPU, not CPU 0" },
	{ "x2apic", "its APIC is not in x2APIC mode (for IPIs)" },
	{ "drained", "it has not run since its VMM read its APIC" },
};

static const struct {
	const char *key, *text;
} idles[] = {
	[IHO_IDLE_SEEN_UNKNOWN] = { "unknown",
				    "no halt seen: always busy, or idle without an exit" },
	[IHO_IDLE_SEEN_NO] = { "no", "halts do not exit: guest time may be idle time" },
	[IHO_IDLE_SEEN_YES] = { "yes", "halts exit: guest time is work" },
	[IHO_IDLE_SEEN_HALT] = { "halt_seen", "it was seen to halt: guest time is work" },
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

const char *iho_cpu_key(enum iho_cpu_mode m)
{
	return m < IHO_CPU_MAX ? cpus[m].key : "?";
}

const char *iho_cpu_label(enum iho_cpu_mode m)
{
	return m < IHO_CPU_MAX ? cpus[m].label : "?";
}

const char *iho_direct_key(unsigned int counter)
{
	return counter < IHO_DIRECT_ALL ? directs[counter] : "?";
}

const char *iho_direct_missing_key(unsigned int bit)
{
	return bit < sizeof(missings) / sizeof(missings[0]) ? missings[bit].key : NULL;
}

const char *iho_direct_missing_text(unsigned int bit)
{
	return bit < sizeof(missings) / sizeof(missings[0]) ? missings[bit].text : NULL;
}

const char *iho_busy_key(enum iho_busy_signal s)
{
	return s < IHO_BUSY_MAX ? busies[s] : "?";
}

const char *iho_idle_key(enum iho_idle_seen s)
{
	return s <= IHO_IDLE_SEEN_HALT ? idles[s].key : "?";
}

const char *iho_idle_text(enum iho_idle_seen s)
{
	return s <= IHO_IDLE_SEEN_HALT ? idles[s].text : "?";
}

double iho_busy_share(const struct iho_busy *b)
{
	if (!b->known || !b->of_delta_ns)
		return -1;
	return b->busy_delta_ns < b->of_delta_ns ? (double)b->busy_delta_ns / b->of_delta_ns : 1;
}

enum iho_busy_signal iho_busy_best(const struct iho_cpu_times *t)
{
	enum iho_busy_signal s = IHO_BUSY_BILL;

	while (s < IHO_BUSY_MAX && iho_busy_share(&t->busy[s]) < 0)
		s++;
	return s;
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
