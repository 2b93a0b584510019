// SPDX-License-Identifier: GPL-2.0-or-later
/* Limits and outcomes as JSON, which both ends of a worker's channel need. */
#include "worker.h"

#include <errno.h>
#include <string.h>

json_t *worker_limits_to_json(const struct vmi_limits *l)
{
	return json_pack("{s:I, s:I, s:I, s:{s:I, s:I, s:I}}", "rows", (json_int_t)l->rows, "bytes",
			 (json_int_t)l->bytes, "ns", (json_int_t)l->ns, "walk", "steps",
			 (json_int_t)l->walk.steps, "bytes", (json_int_t)l->walk.bytes, "ns",
			 (json_int_t)l->walk.ns);
}

static void get_u64(const json_t *j, const char *key, uint64_t *out)
{
	const json_t *v = json_object_get(j, key);

	if (json_is_integer(v) && json_integer_value(v) >= 0)
		*out = (uint64_t)json_integer_value(v);
}

void worker_limits_from_json(struct vmi_limits *l, const json_t *j)
{
	const json_t *walk = json_object_get(j, "walk");

	get_u64(j, "rows", &l->rows);
	get_u64(j, "bytes", &l->bytes);
	get_u64(j, "ns", &l->ns);
	get_u64(walk, "steps", &l->walk.steps);
	get_u64(walk, "bytes", &l->walk.bytes);
	get_u64(walk, "ns", &l->walk.ns);
}

json_t *worker_outcome_to_json(const struct vmi_outcome *o)
{
	json_t *notes = json_array();

	for (size_t i = 0; i < o->n_notes; i++) {
		const struct vmi_note *n = &o->notes[i];

		json_array_append_new(notes, json_pack("{s:s, s:s, s:s, s:I}", "table", n->table,
						       "stop", vmi_stop_key(n->stop), "where",
						       n->where, "torn", (json_int_t)n->torn));
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:o, s:I, s:b, s:s}", "rows", (json_int_t)o->rows,
			 "ns", (json_int_t)o->ns, "steps", (json_int_t)o->steps, "guest_bytes",
			 (json_int_t)o->guest_bytes, "notes", notes, "more_notes",
			 (json_int_t)o->more_notes, "cut", o->cut, "why", o->why);
}

static int get_text(const json_t *j, const char *key, char *buf, size_t size)
{
	const char *s = json_string_value(json_object_get(j, key));

	if (!s)
		return -EPROTO;
	vmi_presentable(buf, s, strnlen(s, size - 1));
	return 0;
}

static int note_from_json(struct vmi_note *n, const json_t *j)
{
	char stop[32];

	if (get_text(j, "table", n->table, sizeof(n->table)) ||
	    get_text(j, "where", n->where, sizeof(n->where)) ||
	    get_text(j, "stop", stop, sizeof(stop)))
		return -EPROTO;
	get_u64(j, "torn", &n->torn);
	for (int i = VMI_STOP_NONE; i < VMI_STOPS; i++) {
		if (strcmp(vmi_stop_key((enum vmi_stop)i), stop))
			continue;
		n->stop = (enum vmi_stop)i;
		return 0;
	}
	return -EPROTO;
}

int worker_outcome_from_json(struct vmi_outcome *o, const json_t *j)
{
	const json_t *notes = json_object_get(j, "notes");
	uint64_t more = 0;

	*o = (struct vmi_outcome){};
	if (!json_is_array(notes) ||
	    json_array_size(notes) > sizeof(o->notes) / sizeof(o->notes[0]) ||
	    get_text(j, "why", o->why, sizeof(o->why)))
		return -EPROTO;
	get_u64(j, "rows", &o->rows);
	get_u64(j, "ns", &o->ns);
	get_u64(j, "steps", &o->steps);
	get_u64(j, "guest_bytes", &o->guest_bytes);
	get_u64(j, "more_notes", &more);
	o->more_notes = more;
	o->cut = json_is_true(json_object_get(j, "cut"));
	for (size_t i = 0; i < json_array_size(notes); i++)
		if (note_from_json(&o->notes[o->n_notes++], json_array_get(notes, i)))
			return -EPROTO;
	return 0;
}
