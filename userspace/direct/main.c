// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * iho-direct: the direct mode of the patched KVM, see kvm-patches/.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpus.h"
#include "doctor.h"
#include "holder.h"
#include "modes.h"
#include "pin.h"
#include "session.h"
#include "status.h"

enum { OPT_HLT = 256, OPT_TIMER, OPT_IPI, OPT_JSON, OPT_FOREGROUND, OPT_SYSROOT, OPT_CPUS };

static const struct option long_options[] = {
	{ "hlt", no_argument, NULL, OPT_HLT },
	{ "timer", no_argument, NULL, OPT_TIMER },
	{ "ipi", required_argument, NULL, OPT_IPI },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "foreground", no_argument, NULL, OPT_FOREGROUND },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "sysroot", required_argument, NULL, OPT_SYSROOT },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

struct options {
	const char *command, *vm, *ipi, *sysroot, *cpus;
	uint32_t modes;
	bool json, foreground;
};

static void help(void)
{
	puts("Usage: iho-direct status [--json] [VM]\n"
	     "       iho-direct on [--hlt] [--timer] [--ipi=trap|ipiv|raw] [--foreground] VM\n"
	     "       iho-direct off VM\n"
	     "       iho-direct pin [--cpus=LIST] [--json] VM\n"
	     "       iho-direct unpin [--json] VM\n"
	     "       iho-direct doctor [--json] [VM]\n"
	     "What a tenant of the patched KVM does without VM exits. VM is a process or a name.\n"
	     "\n"
	     "  status            which VMs there are, and what is on, by whom\n"
	     "  on                have just these modes on; a process of its own holds them, and\n"
	     "                    all is undone when that ends\n"
	     "    --hlt           HLT does not exit\n"
	     "    --timer         a guest that takes part arms its timer without exits\n"
	     "    --ipi=MODE      how its IPIs are sent: trap, by KVM, with exits (the default);\n"
	     "                    ipiv, by the processor, where it can; raw, by the guest, which\n"
	     "                    can then send anything to any CPU of this host\n"
	     "    --foreground    hold them in this process, until SIGTERM or the VM's end\n"
	     "  off               end that process\n"
	     "  pin               each vCPU to a CPU of its own, all else of the VM's and the "
	     "host's\n"
	     "                    interrupts to CPU 0, or nothing\n"
	     "    --cpus=LIST     to these in turn, such as 2,4-6\n"
	     "  unpin             as it was before\n"
	     "  doctor            what this host, and the VM, lack, and what to do about it\n"
	     "    --sysroot=DIR   look at the /proc, /sys and /dev in DIR\n"
	     "  --json            one JSON value on standard output, for errors too\n"
	     "  --help, --version\n"
	     "\n"
	     "Exit status: 0, 1 on failure (doctor: something is missing), 2 on wrong usage.");
}

static int usage(const struct options *o, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say_error(o->json, text);
	if (!o->json)
		fputs("Try 'iho-direct --help'.\n", stderr);
	return 2;
}

static int failed(const struct options *o, const struct direct_error *err)
{
	say_error(o->json, err->text);
	return 1;
}

/* As is_on, where there is someone to tell. */
static void say_on(const struct options *o, const struct direct_vm *vm)
{
	char modes[64];

	if (o->json) {
		printf("{\"pid\": %d}\n", (int)vm->pid);
		fflush(stdout);
		return;
	}
	bits_text(direct_modes, o->modes, ", ", 0, modes, sizeof(modes));
	printf("%s (process %d): %s\n", vm->name, (int)vm->pid, modes);
	fflush(stdout);
}

static int command_on(const struct options *o, const struct direct_vm *vm)
{
	struct direct_error err = {};
	struct iho_info info;
	uint32_t refused;
	char lacks[64];

	if (session_info(&info, &err))
		return failed(o, &err);
	if (session_has_ipiv() && o->modes & (IHO_MODE_TIMER | IHO_MODE_IPI_RAW)) {
		direct_fail(&err, 0,
			    "this host has IPI virtualization, which leaves no page to a guest for "
			    "--timer and --ipi=raw (modprobe kvm_intel enable_ipiv=0)");
		return failed(o, &err);
	}
	if (o->ipi && !strcmp(o->ipi, "ipiv") && !session_has_ipiv()) {
		direct_fail(&err, 0,
			    "this host has no IPI virtualization (kvm_intel.enable_ipiv is off, or "
			    "the processor has none)");
		return failed(o, &err);
	}
	if (o->modes & ~info.modes) {
		bits_text(direct_modes, o->modes & ~info.modes, ", ", 0, lacks, sizeof(lacks));
		direct_fail(&err, 0, "this KVM, on this processor, does not have: %s", lacks);
		return failed(o, &err);
	}
	if (o->foreground) {
		if (holder_run(vm, o->modes, &refused, &err))
			return failed(o, &err);
		return 0;
	}
	if (holder_on(vm, o->modes, &refused, &err))
		return failed(o, &err);
	say_on(o, vm);
	return 0;
}

static int command_off(const struct options *o, const struct direct_vm *vm)
{
	struct direct_error err = {};

	if (holder_off(vm->pid, &err))
		return failed(o, &err);
	if (o->json)
		printf("{\"pid\": %d}\n", (int)vm->pid);
	return 0;
}

static int run(const struct options *o)
{
	struct direct_error err = {};
	struct direct_vm vm;

	if (!strcmp(o->command, "status"))
		return status_print(o->vm, o->json);
	if (!strcmp(o->command, "unpin"))
		return unpin_print(o->vm, o->json);
	if (o->vm && direct_find_vm(o->vm, &vm, &err))
		return failed(o, &err);
	if (!strcmp(o->command, "doctor"))
		return doctor_print(o->sysroot ? o->sysroot : "", o->vm ? &vm : NULL, o->json);
	if (!strcmp(o->command, "pin"))
		return pin_print(&vm, o->cpus, o->json);
	return strcmp(o->command, "on") ? command_off(o, &vm) : command_on(o, &vm);
}

static int check_cpus(const struct options *o)
{
	struct cpus c;

	if (!o->cpus)
		return 0;
	if (strcmp(o->command, "pin") != 0)
		return usage(o, "--cpus is for pin");
	if (cpus_parse(o->cpus, &c))
		return usage(o, "--cpus is a list such as 2,4-6, of each CPU once");
	if (cpus_have(&c, 0))
		return usage(o, "--cpus: CPU 0 is the host's own, and direct mode refuses it");
	return 0;
}

/* An option of another command's is no option. */
static int check(const struct options *o)
{
	bool on = o->command && !strcmp(o->command, "on");
	bool off = o->command && !strcmp(o->command, "off");
	bool doctor = o->command && !strcmp(o->command, "doctor");

	bool pin = o->command && (!strcmp(o->command, "pin") || !strcmp(o->command, "unpin"));

	if (!o->command)
		return usage(o, "no command: status, on, off, pin, unpin or doctor");
	if (!on && !off && !pin && !doctor && strcmp(o->command, "status") != 0)
		return usage(o, "no such command: '%.32s'", o->command);
	if ((on || off || pin) && !o->vm)
		return usage(o, "%s: which VM?", o->command);
	if (!on && (o->modes || o->ipi || o->foreground))
		return usage(o, "%s takes no modes", o->command);
	if (on && !o->modes)
		return usage(o, "on: --hlt, --timer, --ipi=raw, or several of them");
	if (o->ipi && strcmp(o->ipi, "trap") && strcmp(o->ipi, "ipiv") && strcmp(o->ipi, "raw"))
		return usage(o, "--ipi is one of trap, ipiv, raw");
	if (o->sysroot && (!doctor || o->vm))
		return usage(o, "--sysroot is for a doctor without a VM");
	return check_cpus(o);
}

static int parse(int argc, char **argv, struct options *o)
{
	int c;

	/* How errors are told does not depend on where the option stands. */
	for (int i = 1; i < argc; i++)
		o->json = o->json || !strcmp(argv[i], "--json");
	opterr = 0;
	while ((c = getopt_long(argc, argv, "hV", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_HLT:
			o->modes |= IHO_MODE_HLT;
			break;
		case OPT_TIMER:
			o->modes |= IHO_MODE_TIMER;
			break;
		case OPT_IPI:
			o->ipi = optarg;
			if (!strcmp(optarg, "raw"))
				o->modes |= IHO_MODE_IPI_RAW;
			else
				o->modes &= ~IHO_MODE_IPI_RAW;
			break;
		case OPT_JSON:
			break;
		case OPT_FOREGROUND:
			o->foreground = true;
			break;
		case OPT_CPUS:
			o->cpus = optarg;
			break;
		case OPT_SYSROOT:
			o->sysroot = optarg;
			break;
		case 'h':
			help();
			exit(0);
		case 'V':
			puts("iho-direct " IHO_VERSION);
			exit(0);
		default:
			return usage(o, "wrong option: '%.64s'", argv[optind - 1]);
		}
	}
	o->command = argv[optind];
	o->vm = o->command ? argv[optind + 1] : NULL;
	if (o->vm && argv[optind + 2])
		return usage(o, "one VM at a time");
	return check(o);
}

int main(int argc, char **argv)
{
	struct options o = {};
	int r = parse(argc, argv, &o);

	if (!r)
		r = run(&o);
	if (fflush(stdout) || ferror(stdout))
		return r ? r : 1;
	return r;
}
