/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The workload script: text in, a table of guest ops out. */
#ifndef IHO_DEMO_SCRIPT_H
#define IHO_DEMO_SCRIPT_H

#include <stddef.h>
#include <stdio.h>

#include "guest.h"

/**
 * struct script - a parsed script
 * @ops: ends with OP_DONE. The times of OP_HLT (microseconds, 0: the default) and OP_BUSY
 *	(milliseconds) are still in the script's units: only the VMM knows the guest's TSC
 * @nr_ops: entries in @ops, OP_DONE included
 */
struct script {
	struct guest_op *ops;
	size_t nr_ops;
};

#define SCRIPT_MAX_OPS	  16384
#define SCRIPT_MAX_BYTES  (1 << 20)
#define SCRIPT_MAX_MS	  1000000000
#define SCRIPT_MAX_HLT_US 1000000000

/*
 * Parse @text, or the file FILE if @text is "@FILE". Returns 0, or a negative errno after one
 * message on stderr. The caller frees with script_free(), which also takes a zeroed script.
 */
int script_load(struct script *script, const char *text);
void script_free(struct script *script);

/* Read a decimal or 0x number within [@min, @max] that fills [@text, @end). 0 or -EINVAL. */
int script_number(const char *text, const char *end, uint64_t min, uint64_t max, uint64_t *value);

/* The op's name in scripts and reports, NULL for OP_DONE and unknown codes. */
const char *script_op_name(uint32_t kind);

/* What --list-ops shows. */
void script_list_ops(FILE *out);

#endif
