// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "protocol.h"
#include "remote.h"
#include "wire.h"

#define ANSWER_SECONDS 5

struct iho_remote {
	int fd;
	char path[108]; /* of struct sockaddr_un */
	json_int_t id; /* of the last request */
	uint64_t due_ms; /* its answer, whole */
	char *buf; /* what has come in */
	size_t len, cap;
	struct iho_maps maps;
	struct iho_names *names;
	char vendor_module[32];
	struct iho_directory dir;
	struct iho_vcpu_entry *vcpu;
};

static int lost(const struct iho_remote *r, struct iho_error *err, const char *why)
{
	return iho_error_set(err, -ENOTCONN, "ihod (%s) does not answer: %s", r->path, why);
}

static int no_sense(const struct iho_remote *r, struct iho_error *err, const char *what)
{
	return iho_error_set(err, -EPROTO,
			     "ihod (%s) speaks another version: its %s cannot be read; restart it "
			     "after an update",
			     r->path, what);
}

static const char *reason(int e)
{
	return e == EAGAIN ? "no answer in time" : strerror(e);
}

static int connect_to(struct iho_remote *r, struct iho_error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval t = { .tv_sec = ANSWER_SECONDS };
	int e;

	memcpy(addr.sun_path, r->path, sizeof(addr.sun_path));
	r->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r->fd < 0)
		return iho_error_set(err, -errno, "cannot make a socket: %s", strerror(errno));
	/* for connect() too, which waits while too many others do */
	setsockopt(r->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	if (!connect(r->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return 0;
	e = errno;
	if (e == ENOENT || e == ECONNREFUSED || e == ENOTDIR)
		return iho_error_set(err, -ENOENT, "no ihod runs here (%s: %s)", r->path,
				     strerror(e));
	if (e == EACCES || e == EPERM)
		return iho_error_set(err, -EACCES,
				     "ihod runs, but this user may not ask it: members of the "
				     "group of %s may",
				     r->path);
	return lost(r, err, reason(e));
}

/* ---- lines ---- */

static int send_line(struct iho_remote *r, const char *line, size_t len, struct iho_error *err)
{
	while (len) {
		ssize_t n = send(r->fd, line, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return lost(r, err, reason(errno));
		line += n;
		len -= n;
	}
	return 0;
}

/* Descriptors that were not asked for, or are too many, are closed. */
static void take_fds(const struct msghdr *msg, int *fds, unsigned int *n_fds, unsigned int max)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (*n_fds < max)
				fds[(*n_fds)++] = fd;
			else
				close(fd);
		}
	}
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

/* Until something comes in, or the answer is overdue, however much of it is here. */
static int wait_input(const struct iho_remote *r, struct iho_error *err)
{
	struct pollfd p = { .fd = r->fd, .events = POLLIN };
	int n;

	do {
		uint64_t now = now_ms();

		n = poll(&p, 1, r->due_ms > now ? r->due_ms - now : 0);
	} while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : lost(r, err, reason(n ? errno : EAGAIN));
}

static int receive(struct iho_remote *r, int *fds, unsigned int *n_fds, unsigned int max,
		   struct iho_error *err)
{
	char control[CMSG_SPACE(16 * sizeof(int))];
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	ssize_t n;
	int ret;

	if (r->len == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 16384;
		char *buf = cap <= IHO_REPLY_BYTES ? realloc(r->buf, cap) : NULL;

		if (!buf)
			return no_sense(r, err, "answer (too long)");
		r->buf = buf;
		r->cap = cap;
	}
	ret = wait_input(r, err);
	if (ret)
		return ret;
	iov.iov_base = r->buf + r->len;
	iov.iov_len = r->cap - r->len;
	do {
		msg.msg_controllen = sizeof(control);
		n = recvmsg(r->fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return lost(r, err, reason(errno));
	take_fds(&msg, fds, n_fds, max);
	if (!n)
		return lost(r, err, "it has closed the connection");
	r->len += n;
	return 0;
}

/* One answer; what comes after it stays in the buffer. */
static int receive_line(struct iho_remote *r, json_t **out, int *fds, unsigned int *n_fds,
			unsigned int max, struct iho_error *err)
{
	char *end;
	int ret;

	*out = NULL;
	while (!r->len || !(end = memchr(r->buf, '\n', r->len))) {
		ret = receive(r, fds, n_fds, max, err);
		if (ret)
			return ret;
	}
	*out = json_loadb(r->buf, end - r->buf, JSON_REJECT_DUPLICATES, NULL);
	r->len -= end + 1 - r->buf;
	memmove(r->buf, end + 1, r->len);
	return *out ? 0 : no_sense(r, err, "answer");
}

/* ihod said no, in its own words. */
static int refused(const struct iho_remote *r, const json_t *error, struct iho_error *err)
{
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *text = json_string_value(json_object_get(error, "message"));

	return iho_error_set(err, code && !strcmp(code, IHO_ERR_FORBIDDEN) ? -EACCES : -ENOTCONN,
			     "ihod (%s) refuses: %.300s", r->path, text ? text : "no reason given");
}

/* Asks, and waits for the answer. `result` is a new reference. */
static int ask(struct iho_remote *r, const char *method, json_t **result, int *fds,
	       unsigned int max, struct iho_error *err)
{
	unsigned int n_fds = 0;
	json_t *answer = NULL;
	const json_t *id;
	char line[128];
	int ret, n;

	*result = NULL;
	n = snprintf(line, sizeof(line), "{\"id\": %lld, \"method\": \"%s\"}\n", (long long)++r->id,
		     method);
	r->due_ms = now_ms() + ANSWER_SECONDS * 1000;
	ret = send_line(r, line, n, err);
	if (!ret || ret == -ENOTCONN) /* refusing a client, it says why before it closes */
		ret = receive_line(r, &answer, fds, &n_fds, max, err);
	if (ret)
		goto cleanup;
	id = json_object_get(answer, "id");
	if (json_object_get(answer, "error")) {
		ret = refused(r, json_object_get(answer, "error"), err);
	} else if (json_integer_value(id) != r->id || !json_object_get(answer, "result") ||
		   n_fds != max) {
		ret = no_sense(r, err, method);
	} else {
		*result = json_incref(json_object_get(answer, "result"));
	}

cleanup:
	json_decref(answer);
	while (ret && n_fds)
		close(fds[--n_fds]);
	return ret;
}

/* ---- the parts ---- */

static int hello(struct iho_remote *r, struct iho_error *err)
{
	json_t *j;
	int ret = ask(r, "hello", &j, NULL, 0, err);

	if (ret)
		return ret;
	if (json_integer_value(json_object_get(j, "protocol")) != IHO_PROTOCOL_VERSION ||
	    iho_wire_host_read(&r->dir, r->vendor_module, sizeof(r->vendor_module),
			       json_object_get(j, "host")))
		ret = no_sense(r, err, "greeting");
	json_decref(j);
	return ret;
}

static int names(struct iho_remote *r, struct iho_error *err)
{
	json_t *j;
	int ret = ask(r, "names", &j, NULL, 0, err);

	if (ret)
		return ret;
	if (iho_names_read(&r->names, j))
		ret = no_sense(r, err, "table of names");
	r->dir.names = r->names;
	json_decref(j);
	return ret;
}

/* The kernel refuses a mapping beyond a BPF map; a file may be shorter than its mapping. */
static bool holds(int fd, size_t bytes)
{
	struct stat st;

	return !fstat(fd, &st) && (!S_ISREG(st.st_mode) || (size_t)st.st_size >= bytes);
}

static void *map_fd(int fd, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int map_all(struct iho_remote *r, const int *fds, struct iho_error *err)
{
	struct iho_maps *m = &r->maps;
	const size_t bytes[] = {
		[IHO_FD_SLOTS] = iho_map_bytes(m->slot_stride, m->n_slots),
		[IHO_FD_CPUS] = iho_map_bytes(m->cpu_stride, m->n_cpus),
		[IHO_FD_SHARED] = iho_map_bytes(sizeof(*m->shared), IHO_SHARED),
		[IHO_FD_VMS] = iho_map_bytes(sizeof(*m->vms), IHO_VMS),
		[IHO_FD_LEDGER] = iho_ledger_bytes(m->n_slots),
	};

	for (int i = 0; i < IHO_FD_MAX; i++)
		if (!holds(fds[i], bytes[i]))
			return no_sense(r, err, "file of slots");
	m->slots = map_fd(fds[IHO_FD_SLOTS], bytes[IHO_FD_SLOTS]);
	m->cpus = map_fd(fds[IHO_FD_CPUS], bytes[IHO_FD_CPUS]);
	m->shared = map_fd(fds[IHO_FD_SHARED], bytes[IHO_FD_SHARED]);
	m->vms = map_fd(fds[IHO_FD_VMS], bytes[IHO_FD_VMS]);
	m->ledger = map_fd(fds[IHO_FD_LEDGER], bytes[IHO_FD_LEDGER]);
	if (!m->slots || !m->cpus || !m->shared || !m->vms || !m->ledger)
		return iho_error_set(err, -errno, "cannot map the slots of ihod: %s",
				     strerror(errno));
	m->archive = iho_ledger_archive(m->ledger);
	return 0;
}

static int maps(struct iho_remote *r, struct iho_error *err)
{
	int fds[IHO_FD_MAX], ret;
	const char *layout;
	json_t *j;

	ret = ask(r, "maps", &j, fds, IHO_FD_MAX, err);
	if (ret)
		return ret;
	layout = json_string_value(json_object_get(j, "layout"));
	if (!layout || strcmp(layout, iho_wire_layout()))
		ret = no_sense(r, err, "layout of slots");
	else if (iho_wire_maps_read(&r->maps, j))
		ret = no_sense(r, err, "maps");
	else
		ret = map_all(r, fds, err);
	json_decref(j);
	for (int i = 0; i < IHO_FD_MAX; i++)
		close(fds[i]);
	if (ret)
		return ret;
	r->dir.n_vcpus = r->maps.n_slots;
	r->vcpu = calloc(r->maps.n_slots, sizeof(*r->vcpu));
	r->dir.vcpu = r->vcpu;
	return r->vcpu ? 0 : iho_error_set(err, -ENOMEM, "out of memory");
}

int iho_remote_refresh(struct iho_remote *r, struct iho_error *err)
{
	json_t *j;
	int ret = ask(r, "directory", &j, NULL, 0, err);

	if (ret)
		return ret;
	ret = iho_wire_directory_read(&r->dir, r->vcpu, j);
	if (ret == -ENOMEM)
		iho_error_set(err, ret, "out of memory");
	else if (ret)
		no_sense(r, err, "directory");
	json_decref(j);
	return ret;
}

int iho_remote_migrations(struct iho_remote *r, struct iho_migration_view **out,
			  struct iho_error *err)
{
	json_t *j;
	int ret = ask(r, "migrations", &j, NULL, 0, err);

	if (ret)
		return ret;
	ret = iho_migration_view_from_json(j, out);
	if (ret == -ENOMEM)
		iho_error_set(err, ret, "out of memory");
	else if (ret)
		ret = no_sense(r, err, "list of migrations");
	json_decref(j);
	return ret;
}

int iho_remote_features(struct iho_remote *r, struct iho_features *f, struct iho_error *err)
{
	json_t *j;
	int ret = ask(r, "features", &j, NULL, 0, err);

	if (ret)
		return ret;
	ret = iho_wire_features_read(f, j);
	if (ret)
		no_sense(r, err, "list of features");
	json_decref(j);
	return ret;
}

int iho_remote_open(struct iho_remote **out, const char *path, struct iho_error *err)
{
	struct iho_remote *r = calloc(1, sizeof(*r));
	int ret;

	*out = NULL;
	if (!r)
		return iho_error_set(err, -ENOMEM, "out of memory");
	r->fd = -1;
	if (!path)
		path = IHO_SOCKET_PATH;
	if (strlen(path) >= sizeof(r->path)) {
		ret = iho_error_set(err, -ENAMETOOLONG, "the socket's path is too long: %.200s",
				    path);
		goto cleanup;
	}
	strcpy(r->path, path);
	ret = connect_to(r, err);
	if (!ret)
		ret = hello(r, err);
	if (!ret)
		ret = names(r, err);
	if (!ret)
		ret = maps(r, err);
	if (!ret)
		ret = iho_remote_refresh(r, err);
	if (!ret) {
		*out = r;
		return 0;
	}

cleanup:
	iho_remote_close(r);
	return ret;
}

static void unmap(const void *p, size_t bytes)
{
	if (p)
		munmap((void *)p, bytes);
}

void iho_remote_close(struct iho_remote *r)
{
	const struct iho_maps *m;

	if (!r)
		return;
	m = &r->maps;
	unmap(m->slots, iho_map_bytes(m->slot_stride, m->n_slots));
	unmap(m->cpus, iho_map_bytes(m->cpu_stride, m->n_cpus));
	unmap(m->shared, iho_map_bytes(sizeof(*m->shared), IHO_SHARED));
	unmap(m->vms, iho_map_bytes(sizeof(*m->vms), IHO_VMS));
	unmap(m->ledger, iho_ledger_bytes(m->n_slots));
	if (r->fd >= 0)
		close(r->fd);
	iho_names_close(r->names);
	free(r->dir.vm);
	free(r->vcpu);
	free(r->buf);
	free(r);
}

const struct iho_maps *iho_remote_maps(const struct iho_remote *r)
{
	return &r->maps;
}

struct iho_directory *iho_remote_directory(struct iho_remote *r)
{
	return &r->dir;
}
