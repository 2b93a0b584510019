/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A result as it comes in messages (worker.h), from somebody who may lie: checked, and handed to a
 * sink.
 */
#ifndef QUERY_STREAM_H
#define QUERY_STREAM_H

#include <jansson.h>

#include "../sql/engine.h"

struct stream {
	const struct vmi_sink *sink;
	struct vmi_limits limits;
	bool enough; /* the sink wants no more: rows that still come are dropped */
	/* private */
	size_t n; /* columns; 0 = not told yet */
	uint64_t rows, bytes;
	struct vmi_value *values;
	char *scratch;
	size_t scratch_room;
};

void stream_begin(struct stream *s, const struct vmi_sink *sink, const struct vmi_limits *limits);
void stream_end(struct stream *s);

/*
 * One message. 1: go on; 0: the result is complete, `out` is filled in; < 0: it failed, `err` and
 * `out` are filled in. -EPROTO: whoever sends this is not to be talked to any more.
 */
int stream_message(struct stream *s, const json_t *message, struct vmi_outcome *out,
		   struct vmi_error *err);

/* A message {"failed": ...} by itself: its code, and the sentence. -EPROTO: it is none. */
int stream_failure(const json_t *message, struct vmi_error *err);

#endif /* QUERY_STREAM_H */
