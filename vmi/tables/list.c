/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "table.h"

/* All tables, by name. */
/* clang-format off */
#define TABLES(X) \
	X(kernel_log) \
	X(kernel_modules) \
	X(kernel_symbols) \
	X(memory_map) \
	X(os_version) \
	X(processes) \
	X(syscall_table)

#define DECLARE(name) extern const struct vmi_table vmi_table_##name;
#define POINT(name)   &vmi_table_##name,

TABLES(DECLARE)

const struct vmi_table *const vmi_tables[] = { TABLES(POINT) NULL };
