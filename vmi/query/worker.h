/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process in which all that a guest or a client wrote is parsed: guest memory, dumps, SQL.
 *
 * It is this program, started again, with a socket as descriptor 3 (channel.h) and nothing else;
 * before it reads the first byte from there it gives up what it could do harm with (sandbox.h).
 *
 *	parent -> worker			worker -> parent
 *	{"open": TARGET, "limits": {...}}	{"opened": ABOUT} or {"failed": {"code", "text"}}
 *	   with the target's descriptors; "reference": true: and behind them, the reference's
 *	{"query": SQL}				{"columns": [...]}, {"rows": [[...], ...]}..., then
 *						{"done": OUTCOME} or
 *						{"failed": {"code", "text"}, "outcome": OUTCOME}
 *	in between, where a table asks:		{"host": TOPIC}
 *	{"host": [...]} or {"host": null, "text": WHY}
 *	{"cancel": true}			ends the statement
 *
 * A value is null, a number or a string. ABOUT is a flat object, for people. A worker whose parent
 * is gone ends.
 */
#ifndef QUERY_WORKER_H
#define QUERY_WORKER_H

#include "../sql/engine.h"

#define WORKER_FD	     3
#define WORKER_ARGUMENT	     "--worker" /* the only one */
#define WORKER_LINE_BYTES    (6u << 20) /* to the parent; a row that needs more cannot be shown */
#define WORKER_REQUEST_BYTES (32u << 20) /* to the worker: what the host knows of many vCPUs */
#define WORKER_BATCH_BYTES   (64u << 10) /* rows go in lines of about this size */

/* The program's exit status. */
int worker_main(void);

json_t *worker_limits_to_json(const struct vmi_limits *l);
/* What is missing or wrong stays as it is. */
void worker_limits_from_json(struct vmi_limits *l, const json_t *j);
json_t *worker_outcome_to_json(const struct vmi_outcome *o);
/* -EPROTO: it is none. Texts come out presentable. */
int worker_outcome_from_json(struct vmi_outcome *o, const json_t *j);

#endif /* QUERY_WORKER_H */
