// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A statement that anybody may ask, over a small made-up guest: it reads, or is refused; it stays
 * within its limits, and whatever it was, the next one is answered as if it had not been.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../vmi/sql/engine.h"
#include "../vmi/fake/fake.h"

#define ROWS  200
#define BYTES (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct result {
	size_t columns;
	uint64_t rows, bytes;
	int64_t last;
};

static struct vmi_engine *engine;
static int64_t processes;

static int columns(void *arg, const char *const *names, size_t n)
{
	struct result *r = arg;

	assert(!r->columns && n && n <= SQL_COLUMNS_MAX);
	r->columns = n;
	return 0;
}

static int row(void *arg, const struct vmi_value *v, size_t n)
{
	struct result *r = arg;

	assert(n == r->columns);
	for (size_t i = 0; i < n; i++) {
		if (v[i].kind != VMI_V_TEXT)
			continue;
		assert(strlen(v[i].s) == v[i].n);
		r->bytes += v[i].n;
	}
	if (v[0].kind == VMI_V_INT)
		r->last = v[0].i;
	r->rows++;
	return 0;
}

static int ask(const char *sql, struct result *r, struct vmi_outcome *out)
{
	const struct vmi_sink sink = { columns, row, r };
	struct vmi_error err = {};
	int e;

	*r = (struct result){};
	e = vmi_engine_query(engine, sql, &sink, out, &err);
	assert(!e == !err.text[0]);
	return e;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct fake *f = fake_new(NULL);
	struct vmi_engine_options o = { .limits = { .rows = ROWS,
						    .bytes = BYTES,
						    .ns = 300000000,
						    .walk = { 20000, 4 << 20, 300000000 } } };
	struct vmi_outcome out;
	struct vmi_error err;
	struct vmi_guest *g;
	struct result r;

	if (fake_open(f, &g) || vmi_engine_open(&engine, g, &o, &err) ||
	    ask("SELECT count(*) FROM processes", &r, &out))
		abort();
	processes = r.last;
	return 0;
}

/* On a machine with much to do it may be out of time: nothing else may have changed. */
static void check_next(void)
{
	struct vmi_outcome out;
	struct result r;
	int e = ask("SELECT count(*) FROM processes", &r, &out);

	assert(!e || e == -ETIME);
	if (!e && out.n_notes)
		assert(out.notes[0].stop == VMI_STOP_TIME);
	else if (!e)
		assert(r.last == processes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *sql = strndup((const char *)data, size);
	struct vmi_outcome out;
	struct result r;

	if (!ask(sql, &r, &out))
		assert(r.columns && out.rows == r.rows);
	assert(r.rows <= ROWS && r.bytes <= BYTES);
	free(sql);
	check_next();
	return 0;
}
