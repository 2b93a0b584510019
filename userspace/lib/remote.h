/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: the slots and the directory of an ihod, over its socket.
 *
 * No call waits longer than a few seconds for an ihod that does not answer. After -ENOTCONN the
 * connection is over: close it and open another.
 */
#ifndef IHO_REMOTE_H
#define IHO_REMOTE_H

#include "build.h"

struct iho_remote;

/*
 * `path`: NULL = IHO_SOCKET_PATH. -ENOENT: no ihod runs; -EACCES: it does not let us; -ENOTCONN: it
 * does not answer; -EPROTO: it is another version.
 */
int iho_remote_open(struct iho_remote **out, const char *path, struct iho_error *err);
void iho_remote_close(struct iho_remote *r);

/* Mapped read-only; valid until the close. */
const struct iho_maps *iho_remote_maps(const struct iho_remote *r);
/* As of the last refresh. */
struct iho_directory *iho_remote_directory(struct iho_remote *r);
int iho_remote_refresh(struct iho_remote *r, struct iho_error *err);
/* What ihod knows about migrations; it is the caller's. */
int iho_remote_migrations(struct iho_remote *r, struct iho_migration_view **out,
			  struct iho_error *err);
int iho_remote_features(struct iho_remote *r, struct iho_features *f, struct iho_error *err);

#endif /* IHO_REMOTE_H */
