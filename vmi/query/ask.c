/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ask.h"

#include <inttypes.h>

static void tell_note(enum query_format kind, const struct vmi_note *n)
{
	char text[400], torn[80] = "";

	if (n->torn)
		snprintf(torn, sizeof(torn), "%s%" PRIu64 " rows changed while they were read",
			 n->stop != VMI_STOP_NONE ? "; " : "", n->torn);
	if (n->stop != VMI_STOP_NONE)
		snprintf(text, sizeof(text), "%s is not whole: %s%s%s%s", n->table,
			 vmi_stop_text(n->stop), n->where[0] ? ", at " : "", n->where, torn);
	else
		snprintf(text, sizeof(text), "%s: %s", n->table, torn);
	say_warning(kind, text);
}

static void tell(enum query_format kind, const struct vmi_outcome *out, bool cost)
{
	char text[400];

	for (size_t i = 0; i < out->n_notes; i++)
		tell_note(kind, &out->notes[i]);
	if (out->more_notes) {
		snprintf(text, sizeof(text), "%zu further table scans were not whole",
			 out->more_notes);
		say_warning(kind, text);
	}
	if (out->cut)
		say_warning(kind, out->why);
	if (cost)
		fprintf(stderr,
			"%" PRIu64 " rows in %.3f ms; %" PRIu64 " reads of guest memory, %" PRIu64
			" bytes\n",
			out->rows, (double)out->ns / 1e6, out->steps, out->guest_bytes);
}

int ask(struct session *s, struct format *f, enum query_format kind, const char *sql, bool cost)
{
	struct vmi_outcome out;
	struct vmi_error err = {};
	const struct vmi_sink *sink = format_sink(f);
	int r = session_query(s, sql, sink, &out, &err);
	bool begun = format_begun(f);

	/* Nothing was said yet: then a failed statement has no result, not an empty one. */
	if ((begun || !r) && format_end(f) && !r) {
		say_error(kind, false, "cannot write to standard output");
		return 1;
	}
	tell(kind, &out, cost);
	if (!r)
		return 0;
	say_error(kind, !begun, err.text);
	return 1;
}
