/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/tables: rows that the host's side made (vmi_rows_host). */
#ifndef VMI_TABLES_HOST_H
#define VMI_TABLES_HOST_H

#include "table.h"

/*
 * Each object of the topic's array is a row, each column the member of its name; what is missing,
 * null, or of another type than the column's is NULL.
 */
int vmi_host_rows(struct vmi_rows *r, const char *topic, const struct vmi_column *columns,
		  size_t n);

#endif /* VMI_TABLES_HOST_H */
