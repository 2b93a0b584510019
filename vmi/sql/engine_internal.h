/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/sql. */
#ifndef VMI_ENGINE_INTERNAL_H
#define VMI_ENGINE_INTERNAL_H

#include <sqlite3.h>

#include "engine.h"

#define SCANS_MAX 64 /* kept of a statement */
#define WANTS_MAX 8 /* equalities of one scan */

struct vmi_engine {
	sqlite3 *db;
	struct vmi_guest *guest;
	struct vmi_engine_options o;
	struct module *modules; /* one for each table */
	volatile int cancel;
	/* of the statement that runs */
	uint64_t deadline_ns;
	const char *denied; /* what the authorizer refused */
	struct vmi_outcome *out;
	struct scan *scans; /* newest first */
	size_t n_scans;
};

struct module {
	struct vmi_engine *engine;
	const struct vmi_table *table;
};

uint64_t engine_now_ns(void);

/* module.c: the tables as SQLite's virtual tables. SQLite's result codes. */
int modules_register(struct vmi_engine *e);
/* Forgets the rows that the statement made. */
void scans_drop(struct vmi_engine *e);

/* functions.c: what osquery adds to SQLite's functions, and the packs out there use. */
int functions_register(sqlite3 *db);

#endif /* VMI_ENGINE_INTERNAL_H */
