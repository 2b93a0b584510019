/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's RAM as the VMM has it: what is read here, and where it comes from. */
#include "table.h"

enum { COL_START, COL_END, COL_BYTES, COL_BACKING };

static const struct vmi_column columns[] = {
	[COL_START] = { "start", VMI_TEXT, "first guest physical address" },
	[COL_END] = { "end", VMI_TEXT, "last guest physical address" },
	[COL_BYTES] = { "bytes", VMI_INTEGER, "size" },
	[COL_BACKING] = { "backing", VMI_TEXT,
			  "map (mapped here), pread (through /proc), call (decoded from a dump)" },
};

static int rows(struct vmi_rows *r)
{
	static const char *const backing[] = {
		[VMI_BACKING_MAP] = "map",
		[VMI_BACKING_PREAD] = "pread",
		[VMI_BACKING_CALL] = "call",
	};
	size_t n;
	const struct vmi_region *v = vmi_mem_regions(vmi_rows_guest(r)->mem, &n);

	for (size_t i = 0; i < n; i++) {
		vmi_row(r);
		vmi_hex(r, COL_START, v[i].gpa);
		vmi_hex(r, COL_END, v[i].gpa + v[i].bytes - 1);
		vmi_int(r, COL_BYTES, (int64_t)v[i].bytes);
		vmi_str(r, COL_BACKING, backing[v[i].backing]);
		if (vmi_row_end(r))
			break;
	}
	return 0;
}

const struct vmi_table vmi_table_memory_map = {
	.name = "memory_map",
	.doc = "The guest's RAM by physical address, and how it is read.",
	.origin = VMI_OURS, /* osquery's is of the machine's firmware map */
	.needs = VMI_LEVEL_MEMORY,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
