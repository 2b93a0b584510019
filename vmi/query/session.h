/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asking statements of a target: a worker of our own (as root for a VM; a dump needs no
 * privileges), or ihod's.
 *
 * A session belongs to one thread, but for session_cancel().
 */
#ifndef QUERY_SESSION_H
#define QUERY_SESSION_H

#include <jansson.h>

#include "../sql/engine.h"

struct session;

/* Who asks: as in iho-top, ihod where it answers and allows, else a worker of our own. */
enum session_mode { SESSION_AUTO, SESSION_DAEMON, SESSION_SELF };

struct session_options {
	enum session_mode mode; /* of a VM; a dump is always our own business */
	struct vmi_find_options find;
	struct vmi_limits limits;
	const char *reference; /* file of the kernel as it was built; NULL: none */
	const char *program; /* whose WORKER_ARGUMENT makes a worker; NULL: this one */
	const char *socket; /* of ihod, for what the host knows; NULL: the usual one */
	bool watch_fd; /* `cancel_fd` also ends a statement, when it can be read */
	int cancel_fd;
};

/* 0, or as vmi_target_find(), vmi_target_open() and vmi_guest_open(). */
int session_open(struct session **out, const struct session_options *o, struct vmi_error *err);
void session_close(struct session *s);

/*
 * As vmi_engine_query(), and: -EPIPE: the worker died of it, or had to be ended; the next statement
 * gets a new one.
 */
int session_query(struct session *s, const char *sql, const struct vmi_sink *sink,
		  struct vmi_outcome *out, struct vmi_error *err);

/* Ends the statement that runs. From any thread, or a signal handler. */
void session_cancel(struct session *s);

/* Can be read when the VM is no more; -1: a dump. Belongs to the session. */
int session_pidfd(const struct session *s);

/* How all was found (worker.h: ABOUT), texts presentable. Belongs to the session. */
const json_t *session_about(const struct session *s);

#endif /* QUERY_SESSION_H */
