/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As osquery's: of the sockets of IP those without a peer, of UNIX those with a name. Of TCP that
 * is those that listen: one that is only bound is not in /proc/net either.
 */
#include "sock.h"

enum {
	COL_PID,
	COL_PORT,
	COL_PROTOCOL,
	COL_FAMILY,
	COL_ADDRESS,
	COL_FD,
	COL_SOCKET,
	COL_PATH,
	COL_NET_NAMESPACE,
	COL_SOCK,
};

static const struct vmi_column columns[] = {
	[COL_PID] = { "pid", VMI_INTEGER, "process id; -1: no process has it open", true },
	[COL_PORT] = { "port", VMI_INTEGER, "port; of raw sockets, the protocol" },
	[COL_PROTOCOL] = { "protocol", VMI_INTEGER, "TCP 6, UDP 17..." },
	[COL_FAMILY] = { "family", VMI_INTEGER, "AF_*: UNIX 1, IPv4 2, IPv6 10" },
	[COL_ADDRESS] = { "address", VMI_TEXT, "IP address that it is bound to" },
	[COL_FD] = { "fd", VMI_INTEGER, "file descriptor of the process; -1: none" },
	[COL_SOCKET] = { "socket", VMI_INTEGER, "inode number" },
	[COL_PATH] = { "path", VMI_TEXT, "of UNIX sockets; \"@...\": an abstract name" },
	[COL_NET_NAMESPACE] = { "net_namespace", VMI_TEXT, "inode of the network namespace" },
	[COL_SOCK] = { "sock", VMI_TEXT, "address of its struct sock", .hidden = true },
};

static bool listens(const struct vmi_sock *s)
{
	if (s->family == AF_UNIX)
		return s->path_len > 0;
	if ((s->family != AF_INET && s->family != AF_INET6) || s->mini || s->remote_port ||
	    !s->local_port)
		return false;
	return s->type != SOCK_STREAM || s->state == VMI_TCP_LISTEN;
}

static bool row(struct vmi_rows *r, const struct vmi_open_socket *o)
{
	const struct vmi_sock *s = &o->sock;

	if (!listens(s)) {
		vmi_witness_reset(vmi_rows_walk(r));
		return false;
	}
	vmi_row(r);
	vmi_int(r, COL_PID, o->pid);
	vmi_int(r, COL_PORT, s->local_port);
	vmi_int(r, COL_PROTOCOL, s->protocol);
	vmi_int(r, COL_FAMILY, s->family);
	vmi_str(r, COL_ADDRESS, "");
	if (s->family != AF_UNIX)
		vmi_address_column(r, COL_ADDRESS, s->family, s->local);
	vmi_int(r, COL_FD, o->fd);
	vmi_int(r, COL_SOCKET, (int64_t)s->inode);
	vmi_strn(r, COL_PATH, s->path, s->path_len);
	vmi_net_column(r, COL_NET_NAMESPACE, s->net);
	vmi_hex(r, COL_SOCK, s->gva);
	return vmi_row_end(r);
}

static int rows(struct vmi_rows *r)
{
	return vmi_open_sockets(r, COL_PID, row);
}

const struct vmi_table vmi_table_listening_ports = {
	.name = "listening_ports",
	.doc = "Sockets that others can reach: listening or bound.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
