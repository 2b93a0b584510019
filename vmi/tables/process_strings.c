/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Texts in the memory of a process, as strings(1) finds them in a file: of the pages that its page
 * table has now. A page that is swapped out, or was never touched, is not looked for elsewhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pages.h"
#include "task.h"

enum { COL_PID, COL_ADDRESS, COL_LENGTH, COL_ENCODING, COL_VALUE, COL_MIN_LENGTH };

static const struct vmi_column columns[] = {
	[COL_PID] = { "pid", VMI_INTEGER, "process id: must be given", true },
	[COL_ADDRESS] = { "address", VMI_TEXT, "where it begins, hexadecimal" },
	[COL_LENGTH] = { "length", VMI_INTEGER, "characters; a longer text goes on in a next row" },
	[COL_ENCODING] = { "encoding", VMI_TEXT, "ascii, or utf-16: ASCII in two bytes each" },
	[COL_VALUE] = { "value", VMI_TEXT, "the text" },
	[COL_MIN_LENGTH] = { "min_length", VMI_INTEGER,
			     "shorter texts are left out: 4, if not given", true, .hidden = true },
};

enum { TOTAL_VM, FIELDS };

static const char *const paths[FIELDS] = {
	[TOTAL_VM] = "mm_struct.total_vm",
};

#define PAGE	    4096u
#define CHUNK	    (16 * PAGE)
#define BYTES_MAX   (256u << 20) /* read of a process */
#define TEXT_BYTES  (32u << 20) /* of all texts */
#define STRINGS_MAX 200000u
#define LONGEST	    4096u
#define MIN_LENGTH  4
#define USER_BITS_4 47
#define USER_BITS_5 56

/* A text that grows. */
struct run {
	const char *encoding;
	uint64_t start;
	size_t n;
	char text[LONGEST];
};

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	struct vmi_tasks tasks;
	struct vmi_task task;
	size_t min_length;
	struct run ascii, wide;
	uint64_t next; /* the address behind what was read last */
	uint64_t bytes, texts, strings; /* so far */
	uint64_t resident; /* pages */
	bool counting; /* enough was read: pages are only counted */
	uint8_t chunk[CHUNK];
};

static bool end_run(struct scan *s, struct run *run)
{
	size_t n = run->n;

	run->n = 0;
	if (n < s->min_length)
		return false;
	if (s->strings == STRINGS_MAX || s->texts + n > TEXT_BYTES) {
		vmi_walk_stop(s->w, VMI_STOP_ROWS, "the texts of a process");
		return true;
	}
	s->strings++;
	s->texts += n;
	vmi_row(s->r);
	vmi_int(s->r, COL_PID, s->task.pid);
	vmi_hex(s->r, COL_ADDRESS, run->start);
	vmi_int(s->r, COL_LENGTH, (int64_t)n);
	vmi_str(s->r, COL_ENCODING, run->encoding);
	vmi_strn(s->r, COL_VALUE, run->text, n);
	vmi_int(s->r, COL_MIN_LENGTH, (int64_t)s->min_length);
	vmi_task_witness(&s->tasks, &s->task);
	return vmi_row_end(s->r);
}

/* As strings(1): what can be printed in ASCII, and tabs. */
static bool printable(uint8_t c)
{
	return (c >= ' ' && c <= '~') || c == '\t';
}

static bool character(struct scan *s, struct run *run, uint64_t at, uint8_t c)
{
	if (!run->n)
		run->start = at;
	run->text[run->n++] = (char)c;
	return run->n == LONGEST && end_run(s, run);
}

static bool look(struct scan *s, uint64_t at, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool enough = printable(p[i]) ? character(s, &s->ascii, at + i, p[i])
					      : end_run(s, &s->ascii);

		if (enough)
			return true;
	}
	/* at is even, and so is n */
	for (size_t i = 0; i + 1 < n; i += 2) {
		bool enough = printable(p[i]) && !p[i + 1] ? character(s, &s->wide, at + i, p[i])
							   : end_run(s, &s->wide);

		if (enough)
			return true;
	}
	return false;
}

static bool gap(struct scan *s)
{
	return end_run(s, &s->ascii) || end_run(s, &s->wide);
}

/* Page by page: one that changed hands in the meantime costs the others nothing. */
static size_t read_some(struct scan *s, uint64_t at, size_t n)
{
	size_t done = 0;

	while (done < n && !vmi_read_as(s->w, s->task.pgd, at + done, s->chunk + done, PAGE))
		done += PAGE;
	return done;
}

static bool range(void *arg, const struct vmi_mapped *m)
{
	struct scan *s = arg;
	uint64_t at = m->start;

	if (!(m->flags & VMI_PAGE_USER))
		return false;
	s->resident += (m->last - m->start + 1) / PAGE;
	if (at != s->next && gap(s))
		return true;
	while (at < m->last && !s->counting) {
		size_t n = m->last - at < CHUNK ? (size_t)(m->last - at + 1) : CHUNK;
		size_t done;

		if (s->bytes + n > BYTES_MAX) {
			vmi_walk_stop(s->w, VMI_STOP_BYTES, "256 MiB of a process");
			s->counting = true;
			break;
		}
		done = read_some(s, at, n);
		s->bytes += done;
		if (look(s, at, s->chunk, done) || (done < n && gap(s)))
			return true;
		at += done < n ? done + PAGE : n;
		s->next = at;
		if (!s->w->left.steps)
			return true;
	}
	return false;
}

/* What the areas of a process have room for, and its page table has not. */
static void tell_absent(struct scan *s)
{
	const struct vmi_field *f = vmi_layout(s->w->guest, paths, FIELDS);
	uint64_t total = f ? vmi_val(s->w, s->task.mm, &f[TOTAL_VM]) : 0;
	char where[64];

	if (total <= s->resident)
		return;
	snprintf(where, sizeof(where), "pid %d: %llu pages of %llu", s->task.pid,
		 (unsigned long long)(total - s->resident), (unsigned long long)total);
	vmi_walk_stop(s->w, VMI_STOP_ABSENT, where);
}

static int process(struct scan *s)
{
	unsigned int bits = s->w->guest->la57 ? USER_BITS_5 : USER_BITS_4;
	int err;

	if (!s->task.mm || !s->task.pgd)
		return 0;
	vmi_witness_reset(s->w);
	err = vmi_mapped_each(s->w, s->task.pgd, 0, (1ull << bits) - 1, VMI_PAGE_USER, range, s);
	gap(s);
	if (!s->w->stop)
		tell_absent(s);
	/* A table that cannot be read, a budget that is used up: the walk says so. */
	return err == -ENOMEM ? err : 0;
}

static int scan(struct scan *s)
{
	int64_t pid, length = MIN_LENGTH;
	int err;

	if (!vmi_want_int(s->r, COL_PID, &pid))
		return vmi_rows_error(s->r, "process_strings reads the memory of one process: it "
					    "needs WHERE pid = ...");
	if (vmi_want_int(s->r, COL_MIN_LENGTH, &length) && (length < 1 || length > LONGEST))
		return vmi_rows_error(s->r, "min_length is 1 to %u", LONGEST);
	s->min_length = (size_t)length;
	s->ascii.encoding = "ascii";
	s->wide.encoding = "utf-16";
	err = vmi_tasks_start(&s->tasks, s->r, false, pid);
	if (!err && vmi_tasks_next(&s->tasks, &s->task))
		err = process(s);
	return err;
}

static int rows(struct vmi_rows *r)
{
	struct scan *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->r = r;
	s->w = vmi_rows_walk(r);
	err = scan(s);
	free(s);
	return err;
}

const struct vmi_table vmi_table_process_strings = {
	.name = "process_strings",
	.doc = "Texts in the memory of one process, of the pages that are there.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
