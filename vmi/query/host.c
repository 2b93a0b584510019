// SPDX-License-Identifier: GPL-2.0-or-later
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct host {
	struct vmi_target *target;
};

int host_open(struct host **out, struct vmi_target *target, struct vmi_error *err)
{
	struct host *h = calloc(1, sizeof(*h));

	*out = h;
	if (!h) {
		snprintf(err->text, sizeof(err->text), "out of memory");
		return -ENOMEM;
	}
	h->target = target;
	return 0;
}

void host_close(struct host *h)
{
	free(h);
}

static json_t *registers(struct host *h, struct vmi_error *err)
{
	json_t *j, *vcpus;

	if (vmi_target_refresh(h->target, err))
		return NULL;
	j = vmi_target_to_json(h->target);
	vcpus = json_incref(json_object_get(j, "vcpus"));
	json_decref(j);
	if (!vcpus)
		snprintf(err->text, sizeof(err->text), "out of memory");
	return vcpus;
}

json_t *host_answer(struct host *h, const char *topic, struct vmi_error *err)
{
	if (!strcmp(topic, "registers"))
		return registers(h, err);
	snprintf(err->text, sizeof(err->text), "the host knows nothing of that name");
	return NULL;
}
