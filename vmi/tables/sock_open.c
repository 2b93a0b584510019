/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fds.h"
#include "sock.h"

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	vmi_open_socket_fn fn;
	struct vmi_set held;
	bool full; /* no memory for the set */
};

static bool held_by(struct scan *s, struct vmi_tasks *tasks, const struct vmi_task *t)
{
	struct vmi_open_socket o = { .pid = t->pid };
	struct vmi_fds fds;
	struct vmi_fd fd;

	if (!vmi_fds_start(&fds, s->w, t))
		return false;
	while (vmi_fds_next(&fds, &fd)) {
		uint64_t sock = vmi_sock_of_file(s->w, fd.file);

		if (!sock || vmi_sock_load(s->w, sock, &o.sock))
			continue;
		vmi_set_add(&s->held, sock, &s->full);
		o.fd = fd.fd;
		vmi_task_witness(tasks, t);
		vmi_witness(s->w, fd.slot, 8, fd.file);
		vmi_sock_witness(s->w, &o.sock);
		if (s->fn(s->r, &o))
			return true;
	}
	return false;
}

static bool held_by_none(void *arg, uint64_t sock, enum vmi_sock_table table)
{
	struct scan *s = arg;
	struct vmi_open_socket o = { .pid = -1, .fd = -1 };

	(void)table;
	if (vmi_set_has(&s->held, sock) || vmi_sock_load(s->w, sock, &o.sock))
		return false;
	vmi_sock_witness(s->w, &o.sock);
	return s->fn(s->r, &o);
}

int vmi_open_sockets(struct vmi_rows *r, unsigned int pid_column, vmi_open_socket_fn fn)
{
	const unsigned int mask = 1u << VMI_SOCKS_TCP | 1u << VMI_SOCKS_LISTEN |
				  1u << VMI_SOCKS_UDP | 1u << VMI_SOCKS_UDPLITE |
				  1u << VMI_SOCKS_PING | 1u << VMI_SOCKS_RAW |
				  1u << VMI_SOCKS_RAW6 | 1u << VMI_SOCKS_UNIX;
	struct scan s = { .r = r, .w = vmi_rows_walk(r), .fn = fn };
	struct vmi_tasks tasks;
	struct vmi_task t;
	bool enough = false;
	int64_t pid;
	int err = vmi_tasks_start_wanted(&tasks, r, false, pid_column);

	while (!err && !enough && vmi_tasks_next(&tasks, &t)) {
		enough = held_by(&s, &tasks, &t);
		vmi_witness_reset(s.w);
	}
	if (s.full)
		vmi_walk_stop(s.w, VMI_STOP_MEMORY, "sockets");
	/* Without all that are held, none can be said to be held by nobody. */
	if (!err && !enough && !s.full && s.w->stop == VMI_STOP_NONE &&
	    (!vmi_want_int(r, pid_column, &pid) || pid == -1))
		err = vmi_socks_each(r, mask, held_by_none, &s);
	vmi_set_free(&s.held);
	return err;
}
