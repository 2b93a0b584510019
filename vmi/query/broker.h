/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One VM's session, kept for ihod: this program, started by it with a socket as descriptor 3.
 *
 *	ihod -> broker				broker -> ihod
 *	{"open": VM, "socket": PATH}		{"opened": ABOUT} or {"failed": ...}, and its end
 *	{"query": SQL, "rows": N, "bytes": N}	as a worker (worker.h)
 *	   and "watch": KEY			{"columns"} the first time, then only what changed:
 *						{"added": [...]}, {"removed": [...]}...,
 *						{"event": {"added": N, "removed": N, ...}}; "done"
 *	{"cancel": true}			ends the statement
 *
 * VM is "" where only one runs. "alive": [KEY...] of a query are the watches that are still wanted.
 * The end of the VM, or of ihod, is the broker's.
 */
#ifndef QUERY_BROKER_H
#define QUERY_BROKER_H

#define BROKER_ARGUMENT "--broker" /* the only one */

/* The program's exit status. */
int broker_main(void);

#endif /* QUERY_BROKER_H */
