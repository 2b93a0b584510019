/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line. */
#ifndef IHO_DEMO_OPTIONS_H
#define IHO_DEMO_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "script.h"
#include "vmm.h"

#define OPTIONS_NEVER UINT64_MAX

/* The script of one vCPU only, by --script-vcpu. */
struct override {
	unsigned int vcpu;
	struct script script;
};

struct options {
	unsigned int nr_vcpus;
	const char *name;
	struct vmm_linux boot;	  /* kernel: NULL if the tenant runs scripts */
	struct script scripts[2]; /* of even and odd vCPUs; with --script only the first */
	unsigned int nr_scripts;
	struct override *overrides;
	unsigned int nr_overrides;
	unsigned int *pin;
	unsigned int nr_pin;
	uint64_t hlt_us;
	uint64_t run_ns;     /* OPTIONS_NEVER: until the scripts end */
	uint64_t hotplug_ns; /* OPTIONS_NEVER: no hotplug */
	bool no_irqchip;
	bool idle_in_guest;
	bool no_pv_unhalt;
	bool gate_stdin;
	bool linger;
	bool report;
	bool announce;
	bool die_with_parent;

	/* The first option seen that goes with scripts only, and with Linux only; for messages. */
	const char *script_option;
	const char *linux_option;
};

/*
 * Returns 0 to go on, 1 if all is done (--help and the like), or a negative errno after a message
 * on stderr. Free @options in each case.
 */
int options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);

/* What a vCPU runs; NULL in a Linux tenant. */
const struct script *options_script(const struct options *options, unsigned int vcpu);

#endif
