/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What ihod and its readers agree on; in words: userspace/daemon/PROTOCOL.md.
 *
 * One JSON object a line (RFC 8259, UTF-8, "\n"), in both directions. A request is
 * {"id": N, "method": "..."}; its answer has the same id, and "result" or "error".
 */
#ifndef IHO_PROTOCOL_H
#define IHO_PROTOCOL_H

#define IHO_PROTOCOL_VERSION 1
#define IHO_SOCKET_PATH	     "/run/iho/ihod.sock"

/* Limits of ihod; PROTOCOL.md and the answer to "hello" name them. */
#define IHO_REQUEST_BYTES    4096 /* of a line, with its end */
#define IHO_REPLY_BYTES	     (8u << 20)
#define IHO_CLIENTS	     64
#define IHO_CLIENTS_ROOT     8 /* of these, kept for root */
#define IHO_CLIENTS_PER_USER 16 /* root: no limit of its own */
#define IHO_REQUESTS_PER_S   100 /* of one client; short of it, a burst of as many */
#define IHO_LINE_SECONDS     10 /* for the rest of a line that has begun, or an answer to be read */
#define IHO_IDLE_SECONDS     7200
#define IHO_WIRE_SAMPLES     120 /* of a migration, evenly over its time */

/* The descriptors that come with the answer to "maps", in this order. */
enum iho_wire_fd {
	IHO_FD_SLOTS,
	IHO_FD_CPUS,
	IHO_FD_SHARED,
	IHO_FD_VMS,
	IHO_FD_LEDGER,
	IHO_FD_MAX,
};

/* error.code; the message is for a person. */
#define IHO_ERR_SYNTAX	  "syntax" /* not a JSON object in one line */
#define IHO_ERR_METHOD	  "unknown-method"
#define IHO_ERR_TOO_LONG  "too-long" /* the connection ends */
#define IHO_ERR_RATE	  "rate" /* ask again later */
#define IHO_ERR_CLIENTS	  "clients" /* too many; the connection ends */
#define IHO_ERR_FORBIDDEN "forbidden" /* the connection ends */
#define IHO_ERR_BUSY	  "busy" /* an earlier set of descriptors is not read yet */
#define IHO_ERR_INTERNAL  "internal"

#endif /* IHO_PROTOCOL_H */
