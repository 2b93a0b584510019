// SPDX-License-Identifier: GPL-2.0-or-later
#include "options.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef IHO_VERSION
#define IHO_VERSION "unversioned"
#endif

#define MAX_VCPUS      65536 /* of the option; KVM's own limit is checked later */
#define MAX_CPU	       65535
#define MAX_NAME_CHARS 64
#define NEVER	       OPTIONS_NEVER

/*
 * The demo: what a newcomer sees in iho-top. Each line is a phase of a few seconds; the two vCPUs
 * are in different ones. Every phase halts most of the time, so that it costs little.
 */
static const char *const demo_scripts[] = {
	/* even vCPUs */
	"mark,out:0x3f8:8,in:0x3fd:2,hlt:1:2000,loop:2000\n"
	"mark,mmio-write:0xd0000000:6,mmio-read:0xd0000004:2,hlt:1:2000,loop:2000\n"
	"mark,cpuid:0:4,cpuid:1:2,wrmsr:0x8b:3,rdmsr:0x8b:3,hlt:1:2000,loop:2000\n"
	"hlt:400:10000\n"
	"mark,busy:6,hlt:1:4000,loop:400\n"
	"mark,out:0x3f8:2,mmio-write:0xd0000000:2,cpuid:1:1,rdmsr:0x8b:1,busy:1,hlt:2:1000,sleep:1,"
	"loop:1200\n"
	"loop",
	/* odd vCPUs */
	"hlt:300:10000\n"
	"mark,cpuid:1:10,rdmsr:0x8b:2,hlt:1:3000,loop:1500\n"
	"mark,busy:10,hlt:1:10000,loop:200\n"
	"mark,out:0x3f8:3,in:0x60:1,wrmsr:0x8b:2,mmio-read:0xd0001000:2,hlt:2:1000,"
	"sleep:2,loop:1000\n"
	"mark,out:0x1f0:16,hlt:1:4000,loop:1200\n"
	"mark,mmio-write:0xd0001000:12,hlt:1:3000,loop:1200\n"
	"loop",
};

static void print_help(void)
{
	printf("Usage: iho-demo [OPTION]...\n"
	       "       iho-demo --kernel BZIMAGE [OPTION]...\n"
	       "Run a tiny KVM tenant that makes exactly the exits its script asks for; without\n"
	       "--script an endless, changing mix on two vCPUs. Or boot an ordinary Linux.\n"
	       "\n"
	       "Scripts:\n"
	       "  --script S           run S on every vCPU: ops separated by commas or newlines;\n"
	       "                       @FILE reads them from a file, # starts a comment\n"
	       "  --script-vcpu I=S    run S on vCPU I instead; may be repeated\n"
	       "  --list-ops           describe the ops and exit\n"
	       "  --hotplug-after MS   add one more vCPU after MS milliseconds\n"
	       "  --hlt-us N           wake each HLT after N microseconds (default 1000)\n"
	       "  --no-irqchip         no LAPIC in the kernel: each HLT exits to userspace and is\n"
	       "                       re-entered at once\n"
	       "  --gate-stdin         a line on standard input opens the gate, as SIGUSR1 does\n"
	       "  --linger             keep the vCPU threads parked at the end, until SIGTERM\n"
	       "\n"
	       "Linux, until it switches itself off or reboots:\n"
	       "  --kernel BZIMAGE     the kernel\n"
	       "  --initrd FILE        its initial ramdisk (default none)\n"
	       "  --append CMDLINE     its command line (default console=ttyS0)\n"
	       "  --memory MIB         its memory (default 256)\n"
	       "  --console FILE       where its serial port writes to (default standard output)\n"
	       "\n"
	       "Both:\n"
	       "  --vcpus N            number of vCPUs (default 2)\n"
	       "  --pin CPU[,CPU...]   run vCPU i on the i-th CPU of the list, round and round\n"
	       "  --idle-in-guest      HLT does not exit: the host cannot see the tenant idle\n"
	       "  --no-pv-unhalt       CPUID without KVM's paravirtual spinlocks\n"
	       "  --seconds T          stop after T seconds\n"
	       "  --name NAME          the tenant's name (default demo)\n"
	       "  --announce           print 'ready PID TID...' before the vCPUs start; scripts:\n"
	       "                       'gate N' when all vCPUs wait for the N-th opening,\n"
	       "                       'hotplug I TID', and 'done' when all scripts have ended;\n"
	       "                       Linux: 'power-off' or 'reset' at its end\n"
	       "  --report             print what was executed and seen, as JSON, at the end\n"
	       "  --die-with-parent    end when the parent process does\n"
	       "  --help, --version\n"
	       "\n"
	       "SIGTERM and SIGINT end it at any time.\n"
	       "Exit status: 0, 1 on failure, 2 on wrong usage.\n");
}

static int usage_error(void)
{
	fprintf(stderr, "Try 'iho-demo --help'.\n");
	return -EINVAL;
}

static int parse_number(const char *option, const char *text, uint64_t min, uint64_t max,
			uint64_t *value)
{
	if (!script_number(text, text + strlen(text), min, max, value))
		return 0;
	warnx("--%s: '%s' is not a number from %" PRIu64 " to %" PRIu64, option, text, min, max);
	return usage_error();
}

static int parse_seconds(const char *text, uint64_t *ns)
{
	double seconds;
	char *end;

	errno = 0;
	seconds = strtod(text, &end);
	if (errno || end == text || *end || !(seconds > 0 && seconds <= 1e9)) {
		warnx("--seconds: '%s' is not a number of seconds above 0", text);
		return usage_error();
	}
	*ns = (uint64_t)(seconds * 1e9);
	return 0;
}

static int parse_pin(const char *text, struct options *options)
{
	free(options->pin);
	options->nr_pin = 0;
	options->pin = calloc(strlen(text) + 1, sizeof(*options->pin));
	if (!options->pin) {
		warnx("out of memory");
		return -ENOMEM;
	}
	for (;;) {
		const char *end = strchrnul(text, ',');
		uint64_t cpu;

		if (script_number(text, end, 0, MAX_CPU, &cpu)) {
			warnx("--pin: '%.*s' is not a CPU number", (int)(end - text), text);
			return usage_error();
		}
		options->pin[options->nr_pin++] = (unsigned int)cpu;
		if (!*end)
			return 0;
		text = end + 1;
	}
}

static int parse_name(const char *text, struct options *options)
{
	size_t len = strlen(text);

	for (const char *c = text; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			len = 0;
	if (!len || len > MAX_NAME_CHARS) {
		warnx("--name: 1 to %d printable ASCII characters, please", MAX_NAME_CHARS);
		return usage_error();
	}
	options->name = text;
	return 0;
}

static int parse_override(const char *text, struct options *options)
{
	const char *equals = strchr(text, '=');
	struct override *overrides;
	struct script script;
	uint64_t vcpu;
	int ret;

	if (!equals || script_number(text, equals, 0, MAX_VCPUS - 1, &vcpu)) {
		warnx("--script-vcpu: '%s' is not of the form VCPU=SCRIPT", text);
		return usage_error();
	}
	overrides = reallocarray(options->overrides, options->nr_overrides + 1, sizeof(*overrides));
	if (!overrides) {
		warnx("out of memory");
		return -ENOMEM;
	}
	options->overrides = overrides;
	ret = script_load(&script, equals + 1);
	if (ret)
		return ret;
	overrides[options->nr_overrides++] = (struct override){ (unsigned int)vcpu, script };
	return 0;
}

static int load_demo(struct options *options)
{
	while (options->nr_scripts < 2) {
		unsigned int i = options->nr_scripts;
		int ret = script_load(&options->scripts[i], demo_scripts[i]);

		if (ret)
			return ret;
		options->nr_scripts++;
	}
	return 0;
}

static int check_options(const struct options *options)
{
	unsigned int total = options->nr_vcpus + (options->hotplug_ns != NEVER);

	if (options->boot.kernel && options->script_option) {
		warnx("--%s is for scripts: it does not go with --kernel", options->script_option);
		return usage_error();
	}
	if (!options->boot.kernel && options->linux_option) {
		warnx("--%s is for Linux: it needs --kernel", options->linux_option);
		return usage_error();
	}
	if (options->boot.kernel && total > VMM_LINUX_MAX_VCPUS) {
		warnx("--vcpus: with --kernel at most %d", VMM_LINUX_MAX_VCPUS);
		return usage_error();
	}
	for (unsigned int i = 0; i < options->nr_overrides; i++) {
		if (options->overrides[i].vcpu < total)
			continue;
		warnx("--script-vcpu: there is no vCPU %u", options->overrides[i].vcpu);
		return usage_error();
	}
	return 0;
}

enum {
	OPT_KERNEL = 256,
	OPT_INITRD,
	OPT_APPEND,
	OPT_MEMORY,
	OPT_CONSOLE,
	OPT_SCRIPT,
	OPT_SCRIPT_VCPU,
	OPT_LIST_OPS,
	OPT_VCPUS,
	OPT_HOTPLUG_AFTER,
	OPT_PIN,
	OPT_HLT_US,
	OPT_NO_IRQCHIP,
	OPT_IDLE_IN_GUEST,
	OPT_NO_PV_UNHALT,
	OPT_GATE_STDIN,
	OPT_LINGER,
	OPT_SECONDS,
	OPT_NAME,
	OPT_ANNOUNCE,
	OPT_REPORT,
	OPT_DIE_WITH_PARENT,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "console", required_argument, NULL, OPT_CONSOLE },
	{ "script", required_argument, NULL, OPT_SCRIPT },
	{ "script-vcpu", required_argument, NULL, OPT_SCRIPT_VCPU },
	{ "list-ops", no_argument, NULL, OPT_LIST_OPS },
	{ "vcpus", required_argument, NULL, OPT_VCPUS },
	{ "hotplug-after", required_argument, NULL, OPT_HOTPLUG_AFTER },
	{ "pin", required_argument, NULL, OPT_PIN },
	{ "hlt-us", required_argument, NULL, OPT_HLT_US },
	{ "no-irqchip", no_argument, NULL, OPT_NO_IRQCHIP },
	{ "idle-in-guest", no_argument, NULL, OPT_IDLE_IN_GUEST },
	{ "no-pv-unhalt", no_argument, NULL, OPT_NO_PV_UNHALT },
	{ "gate-stdin", no_argument, NULL, OPT_GATE_STDIN },
	{ "linger", no_argument, NULL, OPT_LINGER },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "announce", no_argument, NULL, OPT_ANNOUNCE },
	{ "report", no_argument, NULL, OPT_REPORT },
	{ "die-with-parent", no_argument, NULL, OPT_DIE_WITH_PARENT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

/* Most options go with both kinds of tenants. */
static void note_kind(struct options *options, int option, const char *name)
{
	switch (option) {
	case OPT_INITRD:
	case OPT_APPEND:
	case OPT_MEMORY:
	case OPT_CONSOLE:
		if (!options->linux_option)
			options->linux_option = name;
		break;
	case OPT_SCRIPT:
	case OPT_SCRIPT_VCPU:
	case OPT_HOTPLUG_AFTER:
	case OPT_HLT_US:
	case OPT_NO_IRQCHIP:
	case OPT_GATE_STDIN:
	case OPT_LINGER:
		if (!options->script_option)
			options->script_option = name;
		break;
	}
}

static int load_script(struct options *options, const char *text)
{
	script_free(&options->scripts[0]);
	options->nr_scripts = 1;
	return script_load(&options->scripts[0], text);
}

static int parse_option(struct options *options, int option, const char *name)
{
	uint64_t value = 0;
	int ret = 0;

	switch (option) {
	case OPT_KERNEL:
		options->boot.kernel = optarg;
		return 0;
	case OPT_INITRD:
		options->boot.initrd = optarg;
		return 0;
	case OPT_APPEND:
		options->boot.append = optarg;
		return 0;
	case OPT_MEMORY:
		ret = parse_number(name, optarg, VMM_LINUX_MIN_MIB, VMM_LINUX_MAX_MIB, &value);
		options->boot.memory_bytes = value << 20;
		return ret;
	case OPT_CONSOLE:
		options->boot.console = optarg;
		return 0;
	case OPT_SCRIPT:
		return load_script(options, optarg);
	case OPT_SCRIPT_VCPU:
		return parse_override(optarg, options);
	case OPT_VCPUS:
		ret = parse_number(name, optarg, 1, MAX_VCPUS, &value);
		options->nr_vcpus = (unsigned int)value;
		return ret;
	case OPT_HOTPLUG_AFTER:
		ret = parse_number(name, optarg, 0, SCRIPT_MAX_MS, &value);
		options->hotplug_ns = value * 1000000;
		return ret;
	case OPT_PIN:
		return parse_pin(optarg, options);
	case OPT_HLT_US:
		return parse_number(name, optarg, 1, SCRIPT_MAX_HLT_US, &options->hlt_us);
	case OPT_NO_IRQCHIP:
		options->no_irqchip = true;
		return 0;
	case OPT_NO_PV_UNHALT:
		options->no_pv_unhalt = true;
		return 0;
	case OPT_IDLE_IN_GUEST:
		options->idle_in_guest = true;
		return 0;
	case OPT_GATE_STDIN:
		options->gate_stdin = true;
		return 0;
	case OPT_LINGER:
		options->linger = true;
		return 0;
	case OPT_SECONDS:
		return parse_seconds(optarg, &options->run_ns);
	case OPT_NAME:
		return parse_name(optarg, options);
	case OPT_ANNOUNCE:
		options->announce = true;
		return 0;
	case OPT_REPORT:
		options->report = true;
		return 0;
	case OPT_DIE_WITH_PARENT:
		options->die_with_parent = true;
		return 0;
	}
	return usage_error();
}

int options_parse(struct options *options, int argc, char **argv)
{
	int option, index = 0;

	*options = (struct options){
		.nr_vcpus = 2,
		.name = "demo",
		.hlt_us = 1000,
		.run_ns = NEVER,
		.hotplug_ns = NEVER,
		.boot = { .append = "console=ttyS0", .memory_bytes = 256 << 20 },
	};
	while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		int ret;

		switch (option) {
		case OPT_HELP:
			print_help();
			return 1;
		case OPT_VERSION:
			printf("iho-demo %s\n", IHO_VERSION);
			return 1;
		case OPT_LIST_OPS:
			script_list_ops(stdout);
			return 1;
		}
		note_kind(options, option, long_options[index].name);
		ret = parse_option(options, option, long_options[index].name);
		if (ret)
			return ret;
	}
	if (optind < argc) {
		warnx("what is '%s'?", argv[optind]);
		return usage_error();
	}
	if (!options->nr_scripts && !options->boot.kernel) {
		int ret = load_demo(options);

		if (ret)
			return ret;
	}
	return check_options(options);
}

void options_free(struct options *options)
{
	script_free(&options->scripts[0]);
	script_free(&options->scripts[1]);
	for (unsigned int i = 0; i < options->nr_overrides; i++)
		script_free(&options->overrides[i].script);
	free(options->overrides);
	free(options->pin);
}

const struct script *options_script(const struct options *options, unsigned int vcpu)
{
	if (options->boot.kernel)
		return NULL;
	for (unsigned int i = options->nr_overrides; i > 0; i--)
		if (options->overrides[i - 1].vcpu == vcpu)
			return &options->overrides[i - 1].script;
	return &options->scripts[vcpu % options->nr_scripts];
}
