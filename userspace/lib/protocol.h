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

/* Limits of statements about guests. */
#define IHO_STATEMENTS		 32 /* at once, in all; subscriptions count too */
#define IHO_STATEMENTS_CLIENT	 4
#define IHO_STATEMENTS_USER	 12 /* root: no limit of its own */
#define IHO_STATEMENT_MS	 10000 /* from its turn to its last line */
#define IHO_STATEMENT_ROWS	 1000000
#define IHO_STATEMENT_BYTES	 (64u << 20) /* of values */
#define IHO_STATEMENT_LINE_BYTES (2u << 20) /* of an answer */
#define IHO_WATCH_ROWS		 20000 /* of a result that is subscribed to */
#define IHO_INTERVAL_MIN_S	 0.1 /* of a subscription */
#define IHO_INTERVAL_MAX_S	 3600.0
#define IHO_GUESTS		 8 /* that are kept open */
#define IHO_GUEST_IDLE_S	 120 /* until one that nobody asks about is closed */

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
/* of statements about guests; the connection goes on */
#define IHO_ERR_OFF	  "introspection-off"
#define IHO_ERR_ALLOWED	  "not-allowed"
#define IHO_ERR_AUDIT	  "audit" /* the log cannot be written: nothing is asked */
#define IHO_ERR_REQUEST	  "request" /* a member is missing or wrong */
#define IHO_ERR_LIMIT	  "limit" /* of statements at once */
#define IHO_ERR_VM	  "vm" /* no such VM, or several */
#define IHO_ERR_GUEST	  "guest" /* it cannot be looked into, or is gone */
#define IHO_ERR_SQL	  "sql" /* the statement is wrong, or not allowed */
#define IHO_ERR_TIME	  "time"
#define IHO_ERR_MEMORY	  "memory"
#define IHO_ERR_CANCELLED "cancelled"
#define IHO_ERR_WORKER	  "worker" /* it died of the statement */

#endif /* IHO_PROTOCOL_H */
