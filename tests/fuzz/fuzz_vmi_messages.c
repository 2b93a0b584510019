// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What goes between iho-query and its worker, from somebody who lies. The first byte chooses: 't',
 * a target's description; 'w', lines of a worker, as its parent receives and believes them; 'l',
 * the limits of a request.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../vmi/query/channel.h"
#include "../../vmi/query/stream.h"
#include "../../vmi/query/worker.h"

#define LINE_MAX_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void target(const uint8_t *data, size_t size)
{
	json_t *j = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL), *back;
	int fds[2] = { dup(0), dup(0) };
	struct vmi_target *t, *u;
	struct vmi_error err = {};

	if (vmi_target_from_json(&t, j, fds, 2, &err)) {
		assert(!t && err.text[0]);
		close(fds[0]);
		close(fds[1]);
		json_decref(j);
		return;
	}
	for (size_t i = 0; i < t->n_regions; i++)
		assert(t->regions[i].fd == fds[0] || t->regions[i].fd == fds[1]);
	back = vmi_target_to_json(t);
	/* the same once more; the copy's descriptors are others' */
	assert(!vmi_target_from_json(&u, back, fds, 2, &err));
	assert(t->n_vcpus == u->n_vcpus && t->n_regions == u->n_regions);
	assert(!t->n_vcpus || !memcmp(t->vcpus, u->vcpus, t->n_vcpus * sizeof(*t->vcpus)));
	u->n_fds = 0;
	vmi_target_free(u);
	vmi_target_free(t);
	json_decref(back);
	json_decref(j);
}

static int columns(void *arg, const char *const *names, size_t n)
{
	assert(n && n <= SQL_COLUMNS_MAX);
	*(size_t *)arg = n;
	for (size_t i = 0; i < n; i++)
		assert(names[i]);
	return 0;
}

static int row(void *arg, const struct vmi_value *values, size_t n)
{
	assert(n == *(size_t *)arg);
	for (size_t i = 0; i < n; i++)
		assert(values[i].kind != VMI_V_TEXT || strlen(values[i].s) == values[i].n);
	return 0;
}

static void check_outcome(const struct vmi_outcome *o)
{
	json_t *j = worker_outcome_to_json(o);
	struct vmi_outcome back;

	assert(!o->n_notes || j);
	if (j)
		assert(!worker_outcome_from_json(&back, j) && back.n_notes == o->n_notes);
	json_decref(j);
}

static void worker(const uint8_t *data, size_t size)
{
	size_t n = 0;
	const struct vmi_sink sink = { columns, row, &n };
	struct vmi_limits limits = vmi_limits_default;
	struct vmi_outcome out = {};
	struct vmi_error err = {};
	struct stream s;
	struct channel c;
	int fd[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
		abort();
	limits.rows = 64;
	channel_init(&c, fd[0], LINE_MAX_BYTES, 0);
	stream_begin(&s, &sink, &limits);
	if (send(fd[1], data, size, MSG_DONTWAIT) != (ssize_t)size)
		abort();
	close(fd[1]);
	do {
		json_t *j;

		r = channel_receive(&c, &j, 0);
		assert(!r == json_is_object(j) && r != -ETIMEDOUT);
		if (r)
			break;
		r = stream_message(&s, j, &out, &err);
		if (!r)
			check_outcome(&out);
		json_decref(j);
	} while (r == 1);
	stream_end(&s);
	channel_close(&c);
}

static void limits(const uint8_t *data, size_t size)
{
	json_t *j = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	struct vmi_limits l = vmi_limits_default;

	worker_limits_from_json(&l, j);
	assert(l.rows <= INT64_MAX && l.walk.steps <= INT64_MAX && l.ns <= INT64_MAX);
	json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && data[0] == 't')
		target(data + 1, size - 1);
	if (size && data[0] == 'w')
		worker(data + 1, size - 1);
	if (size && data[0] == 'l')
		limits(data + 1, size - 1);
	return 0;
}
