/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of who asked what of which guest: JSON lines, only ever appended to, in a file that is
 * put aside when it is large (PATH.1 is the youngest, PATH.4 the oldest that is kept).
 */
#ifndef IHO_DAEMON_AUDIT_H
#define IHO_DAEMON_AUDIT_H

#include <jansson.h>

#include "collector.h"

struct audit;

#define AUDIT_PATH "/var/log/iho/audit.jsonl"

/* A file that cannot be written now may be later: that is no failure here. */
struct audit *audit_open(const char *path);
void audit_close(struct audit *a);

/* Takes over `entry`. 0, or a negative errno value: it is not written, `err` says why. */
int audit_write(struct audit *a, json_t *entry, struct iho_error *err);

#endif /* IHO_DAEMON_AUDIT_H */
