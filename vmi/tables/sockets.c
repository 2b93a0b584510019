/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets as the network stack finds them, whoever has them open: the kernel's own, those that wait
 * for their end, those of processes that hide. What process_open_sockets has and this has not was
 * never bound.
 */
#include "sock.h"

enum {
	COL_HASH,
	COL_SOCKET,
	COL_FAMILY,
	COL_TYPE,
	COL_PROTOCOL,
	COL_LOCAL_ADDRESS,
	COL_LOCAL_PORT,
	COL_REMOTE_ADDRESS,
	COL_REMOTE_PORT,
	COL_PATH,
	COL_STATE,
	COL_NET_NAMESPACE,
	COL_SOCK,
};

static const struct vmi_column columns[] = {
	[COL_HASH] = { "hash", VMI_TEXT, "table in which it was found: tcp, tcp_listen, udp, ..." },
	[COL_SOCKET] = { "socket", VMI_INTEGER, "inode number; 0: no process can have it open" },
	[COL_FAMILY] = { "family", VMI_INTEGER, "AF_*: UNIX 1, IPv4 2, IPv6 10, netlink 16..." },
	[COL_TYPE] = { "type", VMI_INTEGER, "SOCK_*: stream 1, datagram 2, raw 3..." },
	[COL_PROTOCOL] = { "protocol", VMI_INTEGER,
			   "of IP: TCP 6, UDP 17...; of netlink NETLINK_*" },
	[COL_LOCAL_ADDRESS] = { "local_address", VMI_TEXT, "IP address of this end" },
	[COL_LOCAL_PORT] = { "local_port", VMI_INTEGER, "port of this end" },
	[COL_REMOTE_ADDRESS] = { "remote_address", VMI_TEXT, "IP address of the other end" },
	[COL_REMOTE_PORT] = { "remote_port", VMI_INTEGER, "port of the other end" },
	[COL_PATH] = { "path", VMI_TEXT, "of UNIX sockets; \"@...\": an abstract name" },
	[COL_STATE] = { "state", VMI_TEXT, "of TCP: ESTABLISHED, LISTEN..." },
	[COL_NET_NAMESPACE] = { "net_namespace", VMI_TEXT, "inode of the network namespace" },
	[COL_SOCK] = { "sock", VMI_TEXT, "address of its struct sock", .hidden = true },
};

static bool row(void *arg, uint64_t sock, enum vmi_sock_table table)
{
	struct vmi_rows *r = arg;
	struct vmi_sock s;

	if (vmi_sock_load(vmi_rows_walk(r), sock, &s))
		return false;
	vmi_sock_witness(vmi_rows_walk(r), &s);
	vmi_row(r);
	vmi_str(r, COL_HASH, vmi_sock_table_name(table));
	vmi_int(r, COL_SOCKET, (int64_t)s.inode);
	vmi_int(r, COL_FAMILY, s.family);
	vmi_int(r, COL_TYPE, s.type);
	vmi_int(r, COL_PROTOCOL, s.protocol);
	if (s.family == AF_INET || s.family == AF_INET6) {
		vmi_address_column(r, COL_LOCAL_ADDRESS, s.family, s.local);
		vmi_int(r, COL_LOCAL_PORT, s.local_port);
		vmi_address_column(r, COL_REMOTE_ADDRESS, s.family, s.remote);
		vmi_int(r, COL_REMOTE_PORT, s.remote_port);
		if (s.protocol == IPPROTO_TCP)
			vmi_str(r, COL_STATE, vmi_tcp_state(s.state));
	}
	if (s.path_len)
		vmi_strn(r, COL_PATH, s.path, s.path_len);
	vmi_net_column(r, COL_NET_NAMESPACE, s.net);
	vmi_hex(r, COL_SOCK, s.gva);
	return vmi_row_end(r);
}

static int rows(struct vmi_rows *r)
{
	return vmi_socks_each(r, (1u << VMI_SOCKS_TABLES) - 1, row, r);
}

const struct vmi_table vmi_table_sockets = {
	.name = "sockets",
	.doc = "Sockets in the hash tables of the network stack, whoever has them open.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
