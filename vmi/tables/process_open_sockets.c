/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As osquery's, which puts it together from /proc/PID/fd and /proc/net of each namespace: each
 * socket with the process that has it open. osquery knows IP and UNIX sockets that the network
 * stack can find; here are those of all families, and those that were never bound.
 */
#include "sock.h"

enum {
	COL_PID,
	COL_FD,
	COL_SOCKET,
	COL_FAMILY,
	COL_PROTOCOL,
	COL_LOCAL_ADDRESS,
	COL_REMOTE_ADDRESS,
	COL_LOCAL_PORT,
	COL_REMOTE_PORT,
	COL_PATH,
	COL_STATE,
	COL_NET_NAMESPACE,
	COL_SOCK,
};

static const struct vmi_column columns[] = {
	[COL_PID] = { "pid", VMI_INTEGER, "process id; -1: no process has it open", true },
	[COL_FD] = { "fd", VMI_INTEGER, "file descriptor of the process; -1: none" },
	[COL_SOCKET] = { "socket", VMI_INTEGER, "inode number" },
	[COL_FAMILY] = { "family", VMI_INTEGER, "AF_*: UNIX 1, IPv4 2, IPv6 10, netlink 16..." },
	[COL_PROTOCOL] = { "protocol", VMI_INTEGER,
			   "of IP: TCP 6, UDP 17...; of netlink NETLINK_*" },
	[COL_LOCAL_ADDRESS] = { "local_address", VMI_TEXT, "IP address of this end" },
	[COL_REMOTE_ADDRESS] = { "remote_address", VMI_TEXT, "IP address of the other end" },
	[COL_LOCAL_PORT] = { "local_port", VMI_INTEGER, "port of this end" },
	[COL_REMOTE_PORT] = { "remote_port", VMI_INTEGER, "port of the other end" },
	[COL_PATH] = { "path", VMI_TEXT, "of UNIX sockets; \"@...\": an abstract name" },
	[COL_STATE] = { "state", VMI_TEXT, "of TCP: ESTABLISHED, LISTEN..." },
	[COL_NET_NAMESPACE] = { "net_namespace", VMI_TEXT, "inode of the network namespace" },
	[COL_SOCK] = { "sock", VMI_TEXT, "address of its struct sock", .hidden = true },
};

static bool row(struct vmi_rows *r, const struct vmi_open_socket *o)
{
	const struct vmi_sock *s = &o->sock;
	bool ip = s->family == AF_INET || s->family == AF_INET6;

	vmi_row(r);
	vmi_int(r, COL_PID, o->pid);
	vmi_int(r, COL_FD, o->fd);
	vmi_int(r, COL_SOCKET, (int64_t)s->inode);
	vmi_int(r, COL_FAMILY, s->family);
	vmi_int(r, COL_PROTOCOL, s->protocol);
	/* Where there is none: "" and 0, as osquery has it. */
	vmi_str(r, COL_LOCAL_ADDRESS, "");
	vmi_str(r, COL_REMOTE_ADDRESS, "");
	if (ip) {
		vmi_address_column(r, COL_LOCAL_ADDRESS, s->family, s->local);
		vmi_address_column(r, COL_REMOTE_ADDRESS, s->family, s->remote);
	}
	vmi_int(r, COL_LOCAL_PORT, s->local_port);
	vmi_int(r, COL_REMOTE_PORT, s->remote_port);
	vmi_strn(r, COL_PATH, s->path, s->path_len);
	vmi_str(r, COL_STATE, ip && s->protocol == IPPROTO_TCP ? vmi_tcp_state(s->state) : "");
	vmi_net_column(r, COL_NET_NAMESPACE, s->net);
	vmi_hex(r, COL_SOCK, s->gva);
	return vmi_row_end(r);
}

static int rows(struct vmi_rows *r)
{
	return vmi_open_sockets(r, COL_PID, row);
}

const struct vmi_table vmi_table_process_open_sockets = {
	.name = "process_open_sockets",
	.doc = "Sockets, with the processes that have them open.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
