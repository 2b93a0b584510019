/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Statements about guests, for those who may: each is written to the audit log before it goes to
 * the broker of its VM (vmi/query/broker.h), whose lines are passed on as they come. Nothing in
 * here waits.
 */
#ifndef IHO_DAEMON_INTROSPECT_H
#define IHO_DAEMON_INTROSPECT_H

#include "server.h"

struct introspect;

struct introspect_options {
	bool on;
	gid_t group; /* whose members may ask, beside root; (gid_t)-1: only root */
	const char *audit, *socket; /* paths: of the log, of ihod's own socket */
	int *launcher;
};

/* Ends with an empty one; their `arg` is a struct introspect. */
extern const struct server_ask introspect_asks[];

int introspect_open(struct introspect **out, struct event_base *base,
		    const struct introspect_options *o, struct iho_error *err);
/* After the server, whose clients it knows. */
void introspect_close(struct introspect *in);

/* To be called when a client goes, and when all that was sent to one has left. */
void introspect_gone(void *arg, struct client *c);
void introspect_drained(void *arg, struct client *c);

/* For "status": a new reference. */
json_t *introspect_status(const struct introspect *in);

#endif /* IHO_DAEMON_INTROSPECT_H */
