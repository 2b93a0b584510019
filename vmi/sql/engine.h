/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SQL over the tables (SQLite's virtual tables). The door of vmi/sql.
 *
 * Statements are hostile input too: only reading is allowed (an authorizer), with limits on length,
 * depth, rows, bytes, time and memory.
 */
#ifndef VMI_ENGINE_H
#define VMI_ENGINE_H

#include "../tables/rows.h"

struct vmi_engine;

#define SQL_COLUMNS_MAX 500 /* of a result */
#define SQL_BYTES_MAX	(64u << 10) /* of a statement */

struct vmi_limits {
	uint64_t rows; /* of a result */
	uint64_t bytes; /* of a result's texts */
	uint64_t ns; /* of a statement */
	struct vmi_budget walk; /* of each table scan */
};

extern const struct vmi_limits vmi_limits_default;

struct vmi_engine_options {
	struct vmi_limits limits;
	const struct vmi_table *const *tables; /* NULL: vmi_tables */
	json_t *(*host)(void *arg, const char *topic, struct vmi_error *err);
	void *host_arg;
};

/*
 * The engine belongs to one thread. SQLite's memory is limited for the whole process, so a process
 * has one engine at a time.
 */
int vmi_engine_open(struct vmi_engine **out, struct vmi_guest *g,
		    const struct vmi_engine_options *o, struct vmi_error *err);
void vmi_engine_close(struct vmi_engine *e);

/*
 * Called in this order: columns once (also where no row follows), then each row. Not 0: enough.
 * Texts are valid UTF-8 without control characters but tab and newline; a blob is hexadecimal text.
 */
struct vmi_sink {
	int (*columns)(void *arg, const char *const *names, size_t n);
	int (*row)(void *arg, const struct vmi_value *values, size_t n);
	void *arg;
};

/* A table scan of a statement that did not go to its end, or saw torn rows. */
struct vmi_note {
	char table[40];
	enum vmi_stop stop;
	char where[64];
	uint64_t torn; /* rows */
};

struct vmi_outcome {
	uint64_t rows;
	uint64_t ns, steps, guest_bytes; /* what it took */
	struct vmi_note notes[16]; /* one for each table, reason and place */
	size_t n_notes, more_notes;
	bool cut; /* by the limits of the result */
	char why[160];
};

/*
 * One statement. 0; -EINVAL: the statement is wrong, or a table cannot be had (SQLite's or the
 * table's own reason); -EPERM: not a reading one; -ETIME: took too long; -ECANCELED; -ENOMEM: more
 * memory than allowed. What was made until then has gone to the sink, and `out` is filled in.
 */
int vmi_engine_query(struct vmi_engine *e, const char *sql, const struct vmi_sink *sink,
		     struct vmi_outcome *out, struct vmi_error *err);

/* From another thread or a signal handler: ends the statement that runs. */
void vmi_engine_cancel(struct vmi_engine *e);

#endif /* VMI_ENGINE_H */
