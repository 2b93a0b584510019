/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket of ihod: who may ask, what, how much. PROTOCOL.md says it in words.
 */
#ifndef IHO_DAEMON_SERVER_H
#define IHO_DAEMON_SERVER_H

#include <sys/types.h>

#include <jansson.h>

#include "collector.h"

struct event_base;
struct server;

/*
 * What is answered: a new reference, or NULL for an internal error. `fds`: IHO_FD_MAX descriptors
 * to send along, set only by "maps"; they stay the answerer's.
 */
struct server_method {
	const char *name;
	json_t *(*answer)(void *arg, const int **fds);
};

struct server_options {
	const char *path;
	gid_t group; /* whose members may ask, beside root; (gid_t)-1: only root */
	const struct server_method *methods; /* ends with an empty one */
	void *arg;
};

/* Binds the socket; -EADDRINUSE: another ihod has it. */
int server_open(struct server **out, struct event_base *base, const struct server_options *o,
		struct iho_error *err);
/* Also removes the socket's file. */
void server_close(struct server *s);

/* {"clients", "requests", "refused"...}: a new reference. */
json_t *server_status(const struct server *s);

#endif /* IHO_DAEMON_SERVER_H */
