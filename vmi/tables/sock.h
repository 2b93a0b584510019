/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: sockets of the guest (include/net/sock.h), and the hash tables through
 * which its network stack finds them.
 */
#ifndef VMI_SOCK_H
#define VMI_SOCK_H

#include "net.h"

/* enum of include/net/tcp_states.h, the same in all kernels */
enum {
	VMI_TCP_ESTABLISHED = 1,
	VMI_TCP_TIME_WAIT = 6,
	VMI_TCP_LISTEN = 10,
	VMI_TCP_NEW_SYN_RECV = 12,
};

struct vmi_sock {
	uint64_t gva; /* of its struct sock, or of what stands for it (see `mini`) */
	int family, type, protocol; /* AF_*, SOCK_*, IPPROTO_* or the family's own */
	unsigned int state; /* as of TCP, also of other families */
	bool mini; /* an inet_timewait_sock or a request_sock: no struct sock */
	uint8_t local[16], remote[16]; /* of AF_INET the first 4 */
	uint16_t local_port, remote_port; /* host order; of raw sockets, the protocol */
	uint64_t net; /* gva of its struct net */
	uint64_t inode; /* as in "socket:[INODE]"; 0: no process can have it open */
	char path[112]; /* AF_UNIX: its address, an abstract one with '@' for each NUL; "" = none */
	size_t path_len;
};

/* 0 or a negative errno value. */
int vmi_sock_load(struct vmi_walk *w, uint64_t gva, struct vmi_sock *out);

/* Names what a row made of it hangs on. */
void vmi_sock_witness(struct vmi_walk *w, const struct vmi_sock *s);

/* The struct sock of an open file; 0: it is no socket. */
uint64_t vmi_sock_of_file(struct vmi_walk *w, uint64_t file);

/* "ESTABLISHED", as osquery has it; NULL: not a state of TCP. */
const char *vmi_tcp_state(unsigned int state);

/* Where a socket was found. */
enum vmi_sock_table {
	VMI_SOCKS_TCP, /* connections, those that wait for their end, and requests */
	VMI_SOCKS_LISTEN,
	VMI_SOCKS_UDP,
	VMI_SOCKS_UDPLITE,
	VMI_SOCKS_PING,
	VMI_SOCKS_RAW,
	VMI_SOCKS_RAW6,
	VMI_SOCKS_UNIX,
	VMI_SOCKS_NETLINK,
	VMI_SOCKS_PACKET,
	VMI_SOCKS_TABLES,
};

const char *vmi_sock_table_name(enum vmi_sock_table t);

/*
 * Calls `fn` for each socket in the tables of `mask` (1 << enum vmi_sock_table), of all namespaces,
 * until it returns true. Tables that this kernel does not have are empty. 0, -ENOENT (with a
 * sentence), -ENOMEM.
 */
typedef bool (*vmi_sock_fn)(void *arg, uint64_t sock, enum vmi_sock_table table);
int vmi_socks_each(struct vmi_rows *r, unsigned int mask, vmi_sock_fn fn, void *arg);

/* A set of addresses. */
struct vmi_set {
	uint64_t *slot;
	size_t n, size;
};
/* false: it was in it, or there is no memory (`*full`). */
bool vmi_set_add(struct vmi_set *s, uint64_t v, bool *full);
bool vmi_set_has(const struct vmi_set *s, uint64_t v);
void vmi_set_free(struct vmi_set *s);

/*
 * Sockets with who has them open: first those in the descriptors of process `pid` (-1: of all),
 * each as often as it is open; then, of all, those of IP and UNIX that no process has: the kernel's
 * own, connections that nobody accepted yet or that wait for their end. osquery's pid for them is
 * -1.
 */
struct vmi_open_socket {
	struct vmi_sock sock;
	int64_t pid, fd; /* -1 = none */
};

/* Calls `fn` for each, between the naming of its witnesses and their end, until it returns true. */
typedef bool (*vmi_open_socket_fn)(struct vmi_rows *r, const struct vmi_open_socket *s);
int vmi_open_sockets(struct vmi_rows *r, unsigned int pid_column, vmi_open_socket_fn fn);

#endif /* VMI_SOCK_H */
