/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Statements through ihod, by its "query" (userspace/daemon/PROTOCOL.md): its answers are believed
 * as little as a worker's.
 */
#ifndef QUERY_THROUGH_H
#define QUERY_THROUGH_H

#include "channel.h"
#include "session.h"

struct through;

/*
 * -ENOENT: no ihod is there; -EACCES: it does not let us ask; -EPROTO: it is another version, or
 * none. After any of these it may be tried without. Else as session_open().
 */
int through_open(struct through **out, const char *socket, const char *vm, int cancel_fd,
		 struct vmi_error *err);
void through_close(struct through *t);

/* What it found: a new reference. -ENOENT... as above, then what is said of the guest. */
int through_about(struct through *t, json_t **about, struct vmi_error *err);

/* As session_query(). -ENOTCONN: ihod is gone. */
int through_query(struct through *t, const char *sql, const struct vmi_limits *limits,
		  const struct vmi_sink *sink, struct vmi_outcome *out, struct vmi_error *err);

#endif /* QUERY_THROUGH_H */
