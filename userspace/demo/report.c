// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Written with printf, not a JSON library: the shape is fixed, and the program shall depend on
 * libc only, so that it can be copied into a lab machine's initramfs.
 */
#include "report.h"

#include <inttypes.h>
#include <unistd.h>

/* The kernel's own names, taken from its header. */
#define EXIT_NAME(reason) [reason] = #reason
static const char *const exit_names[VMM_NR_EXIT_REASONS] = {
	EXIT_NAME(KVM_EXIT_UNKNOWN),
	EXIT_NAME(KVM_EXIT_IO),
	EXIT_NAME(KVM_EXIT_MMIO),
	EXIT_NAME(KVM_EXIT_HLT),
	EXIT_NAME(KVM_EXIT_INTR),
	EXIT_NAME(KVM_EXIT_SHUTDOWN),
	EXIT_NAME(KVM_EXIT_FAIL_ENTRY),
	EXIT_NAME(KVM_EXIT_INTERNAL_ERROR),
};

static const char *const access_names[] = {
	[VMM_OUT] = "out",
	[VMM_IN] = "in",
	[VMM_MMIO_WRITE] = "mmio-write",
	[VMM_MMIO_READ] = "mmio-read",
};

/* @text is printable ASCII. */
static void print_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++)
		fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	fputc('"', out);
}

/* What the ops of a vCPU's script did. */
static void print_script(FILE *out, const struct vmm_vcpu *vcpu)
{
	const char *separator = "";

	fprintf(out, "\"guest\": {");
	for (uint32_t kind = 0; kind < GUEST_NR_OPS; kind++) {
		if (!script_op_name(kind))
			continue;
		fprintf(out, "%s\"%s\": %" PRIu64, separator, script_op_name(kind),
			vcpu->area->done[kind]);
		separator = ", ";
	}
	fprintf(out, ", \"eoi_wrmsr\": %" PRIu64 ", \"eoi_rdmsr\": %" PRIu64,
		vcpu->area->eoi_wrmsrs, vcpu->area->eoi_rdmsrs);
	fprintf(out, ", \"timer_early\": %" PRIu64 ", \"stray\": %" PRIu64 "}",
		vcpu->area->early, vcpu->area->stray);
	fprintf(out, ",\n   \"wakes\": %" PRIu64 ", ", vcpu->wakes);
}

static void print_vcpu(FILE *out, const struct vmm_vcpu *vcpu)
{
	const char *separator = "";

	fprintf(out, "{\"vcpu\": %u, \"tid\": %d", vcpu->index, vcpu->tid);
	if (vcpu->area)
		fprintf(out, ", \"done\": %s", vcpu->done ? "true" : "false");
	fprintf(out, ", \"elapsed_seconds\": %.6f, \"cpu_seconds\": %.6f,\n   ",
		(double)vcpu->elapsed_ns / 1e9, (double)vcpu->cpu_ns / 1e9);
	if (vcpu->area)
		print_script(out, vcpu);

	fprintf(out, "\"exits\": {");
	for (unsigned int reason = 0; reason < VMM_NR_EXIT_REASONS; reason++) {
		if (!vcpu->exits[reason])
			continue;
		if (exit_names[reason])
			fprintf(out, "%s\"%s\": ", separator, exit_names[reason]);
		else
			fprintf(out, "%s\"%u\": ", separator, reason);
		fprintf(out, "%" PRIu64, vcpu->exits[reason]);
		separator = ", ";
	}

	fprintf(out, "},\n   \"addresses\": [");
	for (unsigned int i = 0; i < vcpu->nr_addrs; i++)
		fprintf(out,
			"%s{\"access\": \"%s\", \"address\": %" PRIu64 ", \"count\": %" PRIu64 "}",
			i ? ", " : "", access_names[vcpu->addrs[i].access], vcpu->addrs[i].addr,
			vcpu->addrs[i].count);
	fprintf(out, "], \"other_addresses\": %" PRIu64 "}", vcpu->addrs_lost);
}

void report_print(FILE *out, const struct vmm *vmm, const struct report_info *info)
{
	fprintf(out, "{\"name\": ");
	print_string(out, info->name);
	fprintf(out, ", \"pid\": %d, \"ended_by\": \"%s\", \"irqchip\": %s, ", getpid(),
		info->ended_by, vmm_has_irqchip(vmm) ? "true" : "false");
	fprintf(out, "\"elapsed_seconds\": %.6f,\n \"vcpus\": [\n  ", info->elapsed_seconds);
	for (unsigned int i = 0; i < vmm_nr_vcpus(vmm); i++) {
		if (i)
			fprintf(out, ",\n  ");
		print_vcpu(out, vmm_vcpu(vmm, i));
	}
	fprintf(out, "\n]}\n");
}
