/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "clock.h"

#include <errno.h>

#include "../kernel/layout.h"

enum {
	MONO_CLOCK,
	MONO_MASK,
	MONO_SHIFT,
	MONO_NSEC,
	MONO_BASE,
	OFFS_REAL,
	OFFS_BOOT,
	TK_FIELDS, /* above: of struct timekeeper */
	CLOCK_MASK = TK_FIELDS,
	REQUIRED,
	DATA_TK = REQUIRED,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[MONO_CLOCK] = "timekeeper.tkr_mono.clock", [MONO_MASK] = "timekeeper.tkr_mono.mask",
	[MONO_SHIFT] = "timekeeper.tkr_mono.shift", [MONO_NSEC] = "timekeeper.tkr_mono.xtime_nsec",
	[MONO_BASE] = "timekeeper.tkr_mono.base",   [OFFS_REAL] = "timekeeper.offs_real",
	[OFFS_BOOT] = "timekeeper.offs_boot",	    [CLOCK_MASK] = "clocksource.mask",
	[DATA_TK] = "tk_data.timekeeper",
};

/* The clock source that the timekeeper names has the mask that it keeps a copy of. */
static int load(struct vmi_walk *w, const struct vmi_field *f, uint64_t tk, struct vmi_copy *c)
{
	uint64_t clock, mask;
	int err = vmi_copy(w, tk, f, TK_FIELDS, c);

	if (err)
		return err;
	clock = vmi_copied(w, c, &f[MONO_CLOCK]);
	if (!clock || vmi_get(w, clock, &f[CLOCK_MASK], &mask) || !mask ||
	    mask != vmi_copied(w, c, &f[MONO_MASK]))
		return -ENOENT;
	return 0;
}

/*
 * Linux: kernel/time/timekeeping.c. Since 6.17 an array whose first is the system's clock, before
 * that tk_core; before 6.13 that was a struct without a name, of a sequence counter and the
 * timekeeper, which lies behind it at the next place that is aligned.
 */
static int find(struct vmi_walk *w, const struct vmi_field *f, uint64_t *seq, struct vmi_copy *c)
{
	uint64_t data = vmi_sym(w->guest, "timekeeper_data");

	if (!data)
		data = vmi_sym(w->guest, "tk_core");
	if (!data)
		return -ENOENT;
	*seq = data;
	if (f[DATA_TK].present)
		return load(w, f, data + f[DATA_TK].offset, c);
	for (unsigned int offset = 8; offset <= 64; offset += 8)
		if (!load(w, f, data + offset, c))
			return 0;
	return -ENOENT;
}

int vmi_clock(struct vmi_walk *w, struct vmi_clock *out)
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);
	uint64_t seq, value, mono, real, boot;
	struct vmi_copy c;
	int err;

	if (!f)
		return -ENOMEM;
	for (int i = 0; i < REQUIRED; i++)
		if (!f[i].present)
			return -ENOENT;
	err = find(w, f, &seq, &c);
	if (!err)
		err = vmi_uint(w, seq, 4, &value);
	if (err)
		return err;
	vmi_witness(w, seq, 4, value);
	if (value & 1)
		w->torn = true;
	real = vmi_copied(w, &c, &f[OFFS_REAL]);
	boot = vmi_copied(w, &c, &f[OFFS_BOOT]);
	mono = vmi_copied(w, &c, &f[MONO_BASE]) +
	       (vmi_copied(w, &c, &f[MONO_NSEC]) >> (vmi_copied(w, &c, &f[MONO_SHIFT]) & 63));
	out->real_ns = (int64_t)(mono + real);
	out->up_ns = (int64_t)(mono + boot);
	out->boot_ns = (int64_t)(real - boot);
	return 0;
}
