/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child that keeps privileges which ihod gives up, for one purpose: asked over a socket, it makes
 * a descriptor and hands it over. It ends with ihod.
 */
#ifndef IHO_DAEMON_HELPER_H
#define IHO_DAEMON_HELPER_H

#include "collector.h"

struct helper {
	const char *name; /* of the process */
	int (*confine)(void); /* in the child, before the first request; not 0: it ends */
	int (*make)(const void *arg); /* in the child: a descriptor, or a negative value */
	const void *arg;
};

/* Must be called while the process has one thread, and before it gives its capabilities up. */
int helper_start(int *socket, const struct helper *h, struct iho_error *err);

/*
 * A descriptor that it made. -EPERM: it could not; -EPIPE: it does not answer, and is not asked
 * again (*socket is -1 then).
 */
int helper_ask(int *socket);

#endif /* IHO_DAEMON_HELPER_H */
