/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A question to a QEMU's monitor (QMP, QEMU's docs/interop/qmp-spec).
 *
 * A monitor serves one client at a time, and belongs to whoever manages the VM. So a connection is
 * to last for some milliseconds, a monitor that has a client is left alone (-EBUSY), and nothing is
 * sent before the other side has greeted. What it says may be anything: lines, their number and the
 * time are limited.
 *
 * Functions return 0 or a negative errno value: -ETIMEDOUT; -EPROTO, it speaks no QMP, or not as it
 * should; -EMSGSIZE; -EPIPE, it hung up.
 */
#ifndef IHO_QMP_H
#define IHO_QMP_H

#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

#define IHO_QMP_LINE_MAX (256 * 1024) /* the longest answer, unless the caller says otherwise */

struct iho_qmp;

/*
 * A conversation on a connected socket, which stays the caller's: waits for the greeting and leaves
 * the negotiation of capabilities behind it. All of it is to end within `timeout_ms`.
 */
int iho_qmp_open(struct iho_qmp **out, int fd, int timeout_ms);

/*
 * The same, to a socket. `pid`: the process whose path that is, which is followed from its root or
 * working directory, and who must be the one that answers (-EPERM); 0: our own path. `proc` is
 * where procfs is mounted.
 */
int iho_qmp_connect(struct iho_qmp **out, const char *proc, pid_t pid, const char *path,
		    int timeout_ms);

void iho_qmp_close(struct iho_qmp *q);

/* For the answers from now on. */
void iho_qmp_limit(struct iho_qmp *q, size_t line_bytes);

/* Who answers: the process that listens, 0 = not known. */
pid_t iho_qmp_peer(const struct iho_qmp *q);

/*
 * Takes `arguments` (NULL: none); `*ret` is a new reference. -EREMOTEIO: the answer is an error.
 */
int iho_qmp_execute(struct iho_qmp *q, const char *command, json_t *arguments, json_t **ret);

#endif /* IHO_QMP_H */
