/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's own tasks beside the exits they cause: asked of iho-query's worker
 * (vmi/query/session.h, the table task_exits) by a thread, so that nobody waits for a guest.
 */
#ifndef IHO_TOP_TENANT_H
#define IHO_TOP_TENANT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers that are not known are negative. */
struct tenant_row {
	int64_t pid, tid; /* 0: idle, of all CPUs; tid -1: could not be read */
	int64_t uid;
	char name[64];
	double share; /* samples that saw it run, in CPUs: 2.0 is two of them all the time */
	double cpu; /* CPU time by the guest's own books, in CPUs */
	double exits_per_s;
	char reason[40]; /* the most frequent; "" = none */
	double reason_per_s;
	double certain; /* part of the exits that cannot be another task's, 0 to 1 */
};

struct tenant_view {
	char text[600]; /* why there are no rows (yet); "" = there are */
	char missing[512]; /* why the rows have no exits; "" = they have */
	char vm[64];
	int64_t samples, window_ms; /* of each vCPU */
	struct tenant_row *rows; /* by exits, then by share */
	size_t n;
	uint64_t round; /* of results so far */
};

struct tenant;

/* `vm`: name or pid; "" = the only one that runs. NULL: no memory, no thread. Never waits. */
struct tenant *tenant_open(const char *vm);
/* Nor does this: what still runs ends by itself. */
void tenant_close(struct tenant *t);

/* Replaces what `v` held, if there is something newer; begin with an empty one. */
void tenant_take(struct tenant *t, struct tenant_view *v);
void tenant_view_free(struct tenant_view *v);

/* Until there is a result or a reason why not, for programs that print. */
void tenant_wait(struct tenant *t, double seconds);

json_t *tenant_to_json(const struct tenant_view *v);

#endif /* IHO_TOP_TENANT_H */
