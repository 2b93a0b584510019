/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IHO_DEMO_REPORT_H
#define IHO_DEMO_REPORT_H

#include <stdio.h>

#include "vmm.h"

/**
 * struct report_info - what the report says beside the vCPUs' counts
 * @name: printable ASCII
 * @ended_by: "scripts", "power-off", "reset", "signal", "seconds" or "failure"
 */
struct report_info {
	const char *name;
	const char *ended_by;
	double elapsed_seconds;
};

/* Print one JSON object about a stopped @vmm; README.md describes it. */
void report_print(FILE *out, const struct vmm *vmm, const struct report_info *info);

#endif
