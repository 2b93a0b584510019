/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running a table: the side of whoever wants rows (sql/, the tests, fuzzing). Rows are kept in one
 * bounded buffer and read back by index.
 */
#ifndef VMI_ROWS_H
#define VMI_ROWS_H

#include "table.h"

#define VMI_ROWS_MAX	   1000000u
#define VMI_ROWS_BYTES_MAX (256u << 20)
#define VMI_COLUMNS_MAX	   64

struct vmi_value {
	enum { VMI_V_NULL, VMI_V_INT, VMI_V_DOUBLE, VMI_V_TEXT } kind;
	union {
		int64_t i;
		double d;
		const char *s; /* lives until the rows are run again or closed */
	};
	size_t n; /* bytes of s, without NUL */
};

/* Equality that the query asks of an indexed column. */
struct vmi_want {
	unsigned int column;
	struct vmi_value value;
};

struct vmi_run {
	const struct vmi_budget *budget; /* NULL: the default */
	uint64_t columns; /* bit mask of those that are used; ~0 = all */
	const struct vmi_want *wants;
	size_t n_wants;
	uint64_t max_rows; /* 0: VMI_ROWS_MAX */
	const volatile int *cancel;
	json_t *(*host)(void *arg, const char *topic, struct vmi_error *err);
	void *host_arg;
};

int vmi_rows_open(struct vmi_rows **out, struct vmi_guest *g, const struct vmi_table *t);
void vmi_rows_close(struct vmi_rows *r);

/* 0; -EINVAL (level too low, the table's own error), -ENOMEM: `err` holds one sentence. */
int vmi_rows_run(struct vmi_rows *r, const struct vmi_run *run, struct vmi_error *err);

size_t vmi_rows_count(const struct vmi_rows *r);
/* `column` n_columns is `torn`. */
void vmi_rows_value(const struct vmi_rows *r, size_t row, unsigned int column,
		    struct vmi_value *out);
/* How the walk ended and what it took. */
const struct vmi_walk *vmi_rows_walked(const struct vmi_rows *r);
uint64_t vmi_rows_torn(const struct vmi_rows *r);

/*
 * Valid UTF-8 of the same length, and NUL: each byte that is part of no character, and each control
 * character but tab and newline, becomes '?'. `to` has room for n + 1 bytes.
 */
void vmi_presentable(char *to, const char *s, size_t n);

/* In decimal, without a NUL; returns the end. Of large results, printf() took most of the time. */
#define VMI_DECIMAL_MAX 20
char *vmi_decimal(char *to, int64_t v);

#endif /* VMI_ROWS_H */
