/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verdicts on the guest's kernel, one a row, with their evidence. A check that finds nothing says
 * so in one row; each finding is a row of its own. What cannot be told is `unknown`, never `ok`.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "integrity.h"

enum { COL_CHECK, COL_SUBJECT, COL_VERDICT, COL_EVIDENCE };

static const struct vmi_column columns[] = {
	[COL_CHECK] = { "check_name", VMI_TEXT, "what was looked at: syscalls, idt, ...",
			.index = true },
	[COL_SUBJECT] = { "subject", VMI_TEXT, "which one of them" },
	[COL_VERDICT] = { "verdict", VMI_TEXT, "ok, bad, or unknown: it cannot be told" },
	[COL_EVIDENCE] = { "evidence", VMI_TEXT, "what was seen" },
};

static const struct {
	const char *name;
	int (*run)(struct vmi_integrity *v);
} checks[] = {
	{ "syscalls", vmi_check_syscalls },   { "idt", vmi_check_idt },
	{ "registers", vmi_check_registers }, { "permissions", vmi_check_permissions },
	{ "ftrace", vmi_check_ftrace },	      { "kprobes", vmi_check_kprobes },
	{ "constants", vmi_check_constants }, { "branches", vmi_check_branches },
	{ "text", vmi_check_text },	      { "modules", vmi_check_modules },
	{ "tasks", vmi_check_tasks },	      { "credentials", vmi_check_credentials },
};

#define EVIDENCE_MAX 1024
#define FINDINGS_MAX 1000 /* of one check: more say no more */

static bool verdict(struct vmi_integrity *v, const char *subject, const char *what, const char *fmt,
		    va_list args)
{
	char text[EVIDENCE_MAX];

	if (v->enough)
		return true;
	vsnprintf(text, sizeof(text), fmt, args);
	vmi_witness_reset(v->w);
	vmi_row(v->r);
	vmi_str(v->r, COL_CHECK, v->check);
	vmi_str(v->r, COL_SUBJECT, subject);
	vmi_str(v->r, COL_VERDICT, what);
	vmi_str(v->r, COL_EVIDENCE, text);
	v->enough = vmi_row_end(v->r);
	return v->enough || v->bad >= FINDINGS_MAX;
}

bool vmi_bad(struct vmi_integrity *v, const char *subject, const char *fmt, ...)
{
	va_list args;
	bool enough;

	v->bad++;
	va_start(args, fmt);
	enough = verdict(v, subject, "bad", fmt, args);
	va_end(args);
	return enough;
}

bool vmi_unknown(struct vmi_integrity *v, const char *subject, const char *fmt, ...)
{
	va_list args;
	bool enough;

	v->unknown++;
	va_start(args, fmt);
	enough = verdict(v, subject, "unknown", fmt, args);
	va_end(args);
	return enough;
}

bool vmi_fine(struct vmi_integrity *v, const char *subject, const char *fmt, ...)
{
	va_list args;
	bool enough;

	va_start(args, fmt);
	enough = verdict(v, subject, "ok", fmt, args);
	va_end(args);
	return enough;
}

int vmi_integrity_sites(struct vmi_integrity *v)
{
	int err = 0;

	if (!v->has_sites)
		err = vmi_sites_load(&v->sites, v->w, v->c);
	v->has_sites = !err;
	return err;
}

const char *vmi_integrity_name(struct vmi_integrity *v, uint64_t addr, char *buf, size_t size)
{
	vmi_code_name(v->c, addr, true, buf, size);
	if (!*buf || !vmi_integrity_known(v, addr))
		snprintf(buf, size, "0x%016llx, where no code is known", (unsigned long long)addr);
	return buf;
}

static void run(struct vmi_integrity *v, size_t i)
{
	unsigned int stop = v->w->stop;
	int err;

	v->check = checks[i].name;
	v->bad = v->unknown = 0;
	err = checks[i].run(v);
	if (err)
		vmi_unknown(v, "", "the check ended early: %s", strerror(-err));
	else if (v->w->stop != stop)
		vmi_unknown(v, "", "the check ended early: %s", vmi_stop_text(v->w->stop));
}

static int rows(struct vmi_rows *r)
{
	struct vmi_integrity v = { .r = r, .w = vmi_rows_walk(r), .g = vmi_rows_guest(r) };
	const char *only = NULL;

	if (vmi_code_open(&v.c, v.w))
		return vmi_rows_error(r, "the map of the kernel's code cannot be made");
	vmi_want_str(r, COL_CHECK, &only);
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]) && !v.enough; i++) {
		if (!only || !strcmp(only, checks[i].name))
			run(&v, i);
	}
	vmi_sites_free(&v.sites);
	vmi_code_close(v.c);
	return 0;
}

const struct vmi_table vmi_table_integrity = {
	.name = "integrity",
	.doc = "Verdicts on the guest's kernel, with the evidence for each.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
