/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Basic authentication (RFC 7617) against bcrypt hashes. bcrypt is slow on purpose: it is computed
 * in a thread of its own, so that nobody else waits for it, at most IHO_AUTH_RATE times a second,
 * and a credential that was right once is known by a keyed hash from then on.
 */
#ifndef IHO_EXPORTER_AUTH_H
#define IHO_EXPORTER_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "webconfig.h"

#define IHO_AUTH_RATE  10 /* credentials not known yet, per second; also at once */
#define IHO_AUTH_QUEUE 16
#define IHO_AUTH_BYTES 256 /* of "user:password" */

enum iho_auth_verdict {
	IHO_AUTH_GOOD,
	IHO_AUTH_BAD,
	IHO_AUTH_LATER, /* too many unknown ones: 429 */
	IHO_AUTH_PENDING, /* iho_auth_done() will tell */
};

struct iho_auth;

/* `fd` is written to, as an eventfd, whenever a verdict is there. */
int iho_auth_new(struct iho_auth **out, int fd, struct iho_error *err);
void iho_auth_free(struct iho_auth *a);

/* Takes the users of `c` over; none: everybody may. What was known is forgotten. */
void iho_auth_users(struct iho_auth *a, struct iho_webconfig *c);

/* `header` is the Authorization field or NULL; `who` comes back with a pending verdict. */
enum iho_auth_verdict iho_auth_check(struct iho_auth *a, const char *header, void *who);

/* Takes one verdict that was pending; false: none is there. */
bool iho_auth_done(struct iho_auth *a, void **who, enum iho_auth_verdict *verdict);

/*
 * "Basic dXNlcjpwYXNz" becomes "user" and "pass", both in `buf` of IHO_AUTH_BYTES. Returns 0 or
 * -EINVAL, also for what is too long or holds a NUL.
 */
int iho_auth_parse(const char *header, char *buf, const char **user, const char **password);

#endif /* IHO_EXPORTER_AUTH_H */
