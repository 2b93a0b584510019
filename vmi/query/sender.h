/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A result, to be sent in messages (worker.h): rows go in lines of about WORKER_BATCH_BYTES.
 */
#ifndef QUERY_SENDER_H
#define QUERY_SENDER_H

#include "../sql/engine.h"
#include "channel.h"

struct sender {
	struct vmi_sink sink; /* what is given to it is sent */
	int sent; /* the first error of sending */
	/* private */
	struct channel *channel;
	char *batch; /* the line as far as it is written */
	size_t batch_bytes, batch_room, max;
	bool too_large; /* a row that could not be sent */
};

/* `max`: bytes of a line. The sender must stay where it is until the end. */
void sender_begin(struct sender *s, struct channel *c, size_t max);
/* Sends what is left, frees; tells in `out` what could not be sent. Returns `sent`. */
int sender_end(struct sender *s, struct vmi_outcome *out);

/* A row as the text of a JSON array, to be freed; NULL: no memory. */
char *sender_row(const struct vmi_value *v, size_t n);
/* The names of columns as a JSON array, presentable: a new reference. */
json_t *sender_columns(const char *const *names, size_t n);

/* {"failed": ...}; with the outcome where there is one. */
int sender_failure(struct channel *c, int code, const char *text, const struct vmi_outcome *out);

#endif /* QUERY_SENDER_H */
