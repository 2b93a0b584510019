/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table: columns, and a function that makes rows. The door of vmi/tables.
 *
 * A table is a `const struct vmi_table` in a file of its own, named in list.h. It knows neither
 * SQLite nor JSON: it walks the guest and hands rows over. Names and columns are osquery's where
 * osquery has the table (its specs/ folder), ours behind them.
 *
 *	static int rows(struct vmi_rows *r)
 *	{
 *		struct vmi_walk *w = vmi_rows_walk(r);
 *		...
 *		vmi_row(r);			begins a row: all columns NULL
 *		vmi_int(r, COL_PID, pid);
 *		vmi_str(r, COL_NAME, comm);
 *		if (vmi_wants(r, COL_CMDLINE)) ...	what is dear is made only when asked for
 *		if (vmi_row_end(r))		checks the witnesses, sets `torn`
 *			return 0;		enough: LIMIT, the budget, a client that went away
 *	}
 *
 * What cannot be known in a guest's memory is NULL, never a guess. Texts may hold any byte: they
 * are made valid UTF-8 by vmi_str (bytes that are none, and control characters but tab and newline,
 * become '?').
 */
#ifndef VMI_TABLE_H
#define VMI_TABLE_H

#include "../kernel/walk.h"

enum vmi_type { VMI_TEXT, VMI_INTEGER, VMI_DOUBLE };

struct vmi_column {
	const char *name;
	enum vmi_type type;
	const char *doc; /* one line, with the unit */
	/*
	 * An equality with this column is handed to rows() (vmi_want_int, vmi_want_str), which may
	 * use it to do less. Results are filtered all the same.
	 */
	bool index;
	bool hidden; /* not part of SELECT * */
};

enum vmi_origin {
	VMI_OURS, /* osquery has no such table */
	VMI_OSQUERY, /* all of osquery's columns, by name and type */
};

struct vmi_rows;

struct vmi_table {
	const char *name;
	const char *doc; /* one sentence */
	enum vmi_origin origin;
	enum vmi_level needs; /* a guest with less gets a message instead */
	const struct vmi_column *columns;
	size_t n_columns;
	/* 0, or a negative errno value with a sentence given by vmi_rows_error(). */
	int (*rows)(struct vmi_rows *r);
};

/* All tables, ended by NULL, by name. */
extern const struct vmi_table *const vmi_tables[];

/* ------------------------------------------------------------------------- for a table's rows() */

struct vmi_walk *vmi_rows_walk(struct vmi_rows *r);
struct vmi_guest *vmi_rows_guest(struct vmi_rows *r);

/* The value that an indexed column is to equal: false = the query does not say. */
bool vmi_want_int(const struct vmi_rows *r, unsigned int column, int64_t *value);
bool vmi_want_str(const struct vmi_rows *r, unsigned int column, const char **value);

/* Does the query use the column at all? */
bool vmi_wants(const struct vmi_rows *r, unsigned int column);

void vmi_row(struct vmi_rows *r);
void vmi_int(struct vmi_rows *r, unsigned int column, int64_t v);
void vmi_double(struct vmi_rows *r, unsigned int column, double v);
void vmi_str(struct vmi_rows *r, unsigned int column, const char *s); /* NULL: stays NULL */
void vmi_strn(struct vmi_rows *r, unsigned int column, const char *s, size_t n);
void vmi_hex(struct vmi_rows *r, unsigned int column, uint64_t v); /* "0x%016x" */
void vmi_strf(struct vmi_rows *r, unsigned int column, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * Ends the row. Returns true when no more are wanted. The hidden column `torn`, which every table
 * has behind its own, becomes 1 if a witness differs, a list was inconsistent, or vmi_row_torn()
 * was called in the row.
 */
bool vmi_row_end(struct vmi_rows *r);
/* The row is not to be: forgets what was begun. */
void vmi_row_drop(struct vmi_rows *r);
void vmi_row_torn(struct vmi_rows *r);

/* Returns -EINVAL, for `return vmi_rows_error(r, "...")`. */
int vmi_rows_error(struct vmi_rows *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Host data, for tables about what the host knows (vms, vcpu_exits, vcpu_bill, registers): a JSON
 * array of objects, asked of the process that started us; a new reference, NULL with a sentence
 * set. `topic`: "vms", "vcpu_exits", "vcpu_bill", "registers", "exit_counts", "moment".
 */
json_t *vmi_rows_host(struct vmi_rows *r, const char *topic);

#endif /* VMI_TABLE_H */
