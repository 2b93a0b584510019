/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The environment with which the guest's processes were started, as it is in their memory now. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "task_info.h"

enum { COL_PID, COL_KEY, COL_VALUE };

static const struct vmi_column columns[] = {
	[COL_PID] = { "pid", VMI_INTEGER, "process id", true },
	[COL_KEY] = { "key", VMI_TEXT, "name of the variable" },
	[COL_VALUE] = { "value", VMI_TEXT, "its value" },
};

enum { ENV_START, ENV_END, FIELDS };

static const char *const paths[FIELDS] = {
	[ENV_START] = "mm_struct.env_start",
	[ENV_END] = "mm_struct.env_end",
};

/* Linux allows a quarter of the stack's limit, of 8 MiB by default; what is beyond is cut. */
#define ENV_BYTES_MAX (2u << 20)

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	struct vmi_tasks tasks;
	char *text; /* of `room` bytes */
	size_t room;
};

/* One "key=value"; what has no '=' is no variable. */
static bool variable(struct scan *s, const struct vmi_task *t, const char *text, size_t n)
{
	const char *equal = memchr(text, '=', n);
	size_t key = equal ? (size_t)(equal - text) : n;

	if (!equal)
		return false;
	vmi_row(s->r);
	vmi_int(s->r, COL_PID, t->pid);
	vmi_strn(s->r, COL_KEY, text, key);
	vmi_strn(s->r, COL_VALUE, equal + 1, n - key - 1);
	vmi_task_witness(&s->tasks, t);
	return vmi_row_end(s->r);
}

static bool process(struct scan *s, const struct vmi_task *t, uint64_t start, uint64_t end)
{
	size_t n = end - start > ENV_BYTES_MAX ? ENV_BYTES_MAX : (size_t)(end - start), at = 0;

	if (n > s->room) {
		char *text = realloc(s->text, n);

		if (!text) {
			vmi_walk_stop(s->w, VMI_STOP_MEMORY, "mm_struct.env_end");
			return true;
		}
		s->text = text;
		s->room = n;
	}
	n = vmi_user_read(s->w, t->pgd, start, s->text, n);
	vmi_witness_reset(s->w);
	while (at < n) {
		size_t len = strnlen(s->text + at, n - at);

		if (len && variable(s, t, s->text + at, len))
			return true;
		at += len + 1;
	}
	return false;
}

static int rows(struct vmi_rows *r)
{
	struct scan s = { .r = r, .w = vmi_rows_walk(r) };
	const struct vmi_field *f = vmi_layout(s.w->guest, paths, FIELDS);
	struct vmi_task t;
	int err = f ? vmi_tasks_start_wanted(&s.tasks, r, false, COL_PID) : -ENOMEM;

	while (!err && vmi_tasks_next(&s.tasks, &t)) {
		uint64_t start = vmi_val(s.w, t.mm, &f[ENV_START]);
		uint64_t end = vmi_val(s.w, t.mm, &f[ENV_END]);

		if (t.mm && start < end && process(&s, &t, start, end))
			break;
	}
	free(s.text);
	return err;
}

const struct vmi_table vmi_table_process_envs = {
	.name = "process_envs",
	.doc = "Environment variables of the guest's processes.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
