/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	C_FAMILY,
	C_STATE,
	C_NUM,
	C_DPORT,
	C_DADDR,
	C_SADDR,
	C_NET,
	C_DADDR6,
	C_SADDR6,
	C_FIELDS, /* above: of struct sock_common, with which all of them begin */
	S_PROTOCOL = C_FIELDS,
	S_TYPE,
	S_SOCKET,
	TW_SUBSTATE,
	SOCKET_SK,
	ALLOC_SOCKET,
	ALLOC_INODE,
	I_INO,
	FILE_OP,
	FILE_PRIVATE,
	U_ADDR,
	UA_LEN,
	UA_NAME,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[C_FAMILY] = "sock_common.skc_family",
	[C_STATE] = "sock_common.skc_state",
	[C_NUM] = "sock_common.skc_num",
	[C_DPORT] = "sock_common.skc_dport",
	[C_DADDR] = "sock_common.skc_daddr",
	[C_SADDR] = "sock_common.skc_rcv_saddr",
	[C_NET] = "sock_common.skc_net.net",
	[C_DADDR6] = "sock_common.skc_v6_daddr",
	[C_SADDR6] = "sock_common.skc_v6_rcv_saddr",
	[S_PROTOCOL] = "sock.sk_protocol",
	[S_TYPE] = "sock.sk_type",
	[S_SOCKET] = "sock.sk_socket",
	[TW_SUBSTATE] = "inet_timewait_sock.tw_substate",
	[SOCKET_SK] = "socket.sk",
	[ALLOC_SOCKET] = "socket_alloc.socket",
	[ALLOC_INODE] = "socket_alloc.vfs_inode",
	[I_INO] = "inode.i_ino",
	[FILE_OP] = "file.f_op",
	[FILE_PRIVATE] = "file.private_data",
	[U_ADDR] = "unix_sock.addr",
	[UA_LEN] = "unix_address.len",
	[UA_NAME] = "unix_address.name",
};

/* struct sockaddr_un: a family of 16 bits, then the path (include/uapi/linux/un.h) */
#define SUN_PATH     2
#define SUN_PATH_MAX 108

const char *vmi_tcp_state(unsigned int state)
{
	/* osquery's names; a request is shown as the kernel's /proc/net/tcp shows it */
	static const char *const names[] = {
		NULL,	     "ESTABLISHED", "SYN_SENT", "SYN_RECV",   "FIN_WAIT1",
		"FIN_WAIT2", "TIME_WAIT",   "CLOSED",	"CLOSE_WAIT", "LAST_ACK",
		"LISTEN",    "CLOSING",	    "SYN_RECV",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : NULL;
}

/* As unix_seq_show(): a path ends before its NUL, an abstract name with it. */
static void load_path(struct vmi_walk *w, const struct vmi_field *f, struct vmi_sock *s)
{
	uint64_t address = vmi_val(w, s->gva, &f[U_ADDR]), len;
	size_t n;

	if (!address || !f[UA_NAME].present || vmi_get(w, address, &f[UA_LEN], &len) ||
	    len <= SUN_PATH)
		return;
	n = len - SUN_PATH > SUN_PATH_MAX ? SUN_PATH_MAX : (size_t)len - SUN_PATH;
	if (vmi_read(w, address + f[UA_NAME].offset + SUN_PATH, s->path, n))
		return;
	if (s->path[0]) {
		n = strnlen(s->path, n);
	} else {
		for (size_t i = 0; i < n; i++)
			if (!s->path[i])
				s->path[i] = '@';
	}
	s->path[n] = 0;
	s->path_len = n;
}

static uint64_t inode_of(struct vmi_walk *w, const struct vmi_field *f, uint64_t sock)
{
	uint64_t socket = vmi_val(w, sock, &f[S_SOCKET]);

	if (!socket || !f[ALLOC_SOCKET].present || !f[ALLOC_INODE].present)
		return 0;
	return vmi_val(w, socket - f[ALLOC_SOCKET].offset + f[ALLOC_INODE].offset, &f[I_INO]);
}

static void load_addresses(const struct vmi_field *f, const struct vmi_copy *c, struct vmi_sock *s)
{
	bool v6 = s->family == AF_INET6;
	const struct vmi_field *from = &f[v6 ? C_SADDR6 : C_SADDR],
			       *to = &f[v6 ? C_DADDR6 : C_DADDR];
	size_t n = v6 ? 16 : 4;
	const void *local = vmi_copy_at(c, s->gva + from->offset, n);
	const void *remote = vmi_copy_at(c, s->gva + to->offset, n);

	if (from->present && local)
		memcpy(s->local, local, n);
	if (to->present && remote)
		memcpy(s->remote, remote, n);
}

int vmi_sock_load(struct vmi_walk *w, uint64_t gva, struct vmi_sock *out)
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);
	struct vmi_copy c;
	int err;

	*out = (struct vmi_sock){ .gva = gva };
	if (!f)
		return -ENOMEM;
	err = vmi_copy(w, gva, f, C_FIELDS, &c);
	if (err)
		return err;
	out->family = (int)vmi_copied(w, &c, &f[C_FAMILY]);
	out->state = (unsigned int)vmi_copied(w, &c, &f[C_STATE]);
	out->net = vmi_copied(w, &c, &f[C_NET]);
	out->mini = (out->family == AF_INET || out->family == AF_INET6) &&
		    (out->state == VMI_TCP_TIME_WAIT || out->state == VMI_TCP_NEW_SYN_RECV);
	if (out->mini) {
		out->type = SOCK_STREAM;
		out->protocol = IPPROTO_TCP;
		/* FIN_WAIT2 may have been put off into a TIME_WAIT */
		if (out->state == VMI_TCP_TIME_WAIT && f[TW_SUBSTATE].present)
			out->state = (unsigned int)vmi_val(w, gva, &f[TW_SUBSTATE]);
	} else {
		out->type = (int)vmi_val(w, gva, &f[S_TYPE]);
		out->protocol = (int)vmi_val(w, gva, &f[S_PROTOCOL]);
		out->inode = inode_of(w, f, gva);
	}
	if (out->family == AF_INET || out->family == AF_INET6) {
		out->local_port = (uint16_t)vmi_copied(w, &c, &f[C_NUM]);
		out->remote_port = ntohs((uint16_t)vmi_copied(w, &c, &f[C_DPORT]));
		load_addresses(f, &c, out);
	} else if (out->family == AF_UNIX) {
		load_path(w, f, out);
	}
	return 0;
}

void vmi_sock_witness(struct vmi_walk *w, const struct vmi_sock *s)
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);

	if (!f)
		return;
	vmi_witness(w, s->gva + f[C_FAMILY].offset, 2, (uint64_t)s->family);
	vmi_witness(w, s->gva + f[C_NET].offset, 8, s->net);
	if (s->family != AF_INET && s->family != AF_INET6)
		return;
	vmi_witness(w, s->gva + f[C_NUM].offset, 2, s->local_port);
	vmi_witness(w, s->gva + f[C_DPORT].offset, 2, htons(s->remote_port));
}

uint64_t vmi_sock_of_file(struct vmi_walk *w, uint64_t file)
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);
	uint64_t ops = vmi_sym(w->guest, "socket_file_ops"), op, socket;

	if (!f || !ops || vmi_get(w, file, &f[FILE_OP], &op) || op != ops)
		return 0;
	socket = vmi_val(w, file, &f[FILE_PRIVATE]);
	return socket ? vmi_val(w, socket, &f[SOCKET_SK]) : 0;
}

/* ---------------------------------------------------------------------------------------- set */

#define SET_MAX (1u << 22)

static size_t set_at(const struct vmi_set *s, uint64_t v)
{
	size_t i = (size_t)((v >> 6) * 0x9e3779b97f4a7c15ull >> 20) & (s->size - 1);

	while (s->slot[i] && s->slot[i] != v)
		i = (i + 1) & (s->size - 1);
	return i;
}

static bool set_grow(struct vmi_set *s)
{
	struct vmi_set more = { .n = s->n, .size = s->size ? 2 * s->size : 256 };

	if (more.size > SET_MAX)
		return false;
	more.slot = calloc(more.size, sizeof(*more.slot));
	if (!more.slot)
		return false;
	for (size_t i = 0; i < s->size; i++)
		if (s->slot[i])
			more.slot[set_at(&more, s->slot[i])] = s->slot[i];
	free(s->slot);
	*s = more;
	return true;
}

bool vmi_set_add(struct vmi_set *s, uint64_t v, bool *full)
{
	size_t i;

	if (2 * s->n >= s->size && !set_grow(s)) {
		*full = true;
		return false;
	}
	i = set_at(s, v);
	if (!v || s->slot[i])
		return false;
	s->slot[i] = v;
	s->n++;
	return true;
}

bool vmi_set_has(const struct vmi_set *s, uint64_t v)
{
	return s->size && v && s->slot[set_at(s, v)];
}

void vmi_set_free(struct vmi_set *s)
{
	free(s->slot);
	*s = (struct vmi_set){ 0 };
}
