/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket of ihod: who may ask, what, how much. PROTOCOL.md says it in words.
 */
#ifndef IHO_DAEMON_SERVER_H
#define IHO_DAEMON_SERVER_H

#include <sys/socket.h>
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

struct client;

/*
 * What answers later, or in many lines, by client_send(); `request` is the whole object. False: the
 * connection ends.
 */
struct server_ask {
	const char *name;
	bool (*ask)(void *arg, struct client *c, const json_t *id, const json_t *request);
};

struct server_options {
	const char *path;
	gid_t group; /* whose members may ask, beside root; (gid_t)-1: only root */
	const struct server_method *methods; /* ends with an empty one */
	void *arg;
	/* NULL: there are none; all get ask_arg */
	const struct server_ask *asks; /* ends with an empty one */
	void (*gone)(void *arg, struct client *c); /* before a client is no more */
	void (*drained)(void *arg, struct client *c); /* all that was sent has left */
	void *ask_arg;
};

/* Binds the socket; -EADDRINUSE: another ihod has it. */
int server_open(struct server **out, struct event_base *base, const struct server_options *o,
		struct iho_error *err);
/* Also removes the socket's file. */
void server_close(struct server *s);

/* A line, or a part of one. False: out of memory. */
bool client_send(struct client *c, const char *text, size_t n);
/* Bytes that were sent, and have not left yet. */
size_t client_backlog(const struct client *c);
/* Who it was when it connected. */
const struct ucred *client_credentials(const struct client *c);
bool client_in_group(const struct client *c, gid_t group);

/* {"clients", "requests", "refused"...}: a new reference. */
json_t *server_status(const struct server *s);

#endif /* IHO_DAEMON_SERVER_H */
