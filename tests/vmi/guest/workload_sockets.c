// SPDX-License-Identifier: GPL-2.0-or-later
/* Sockets of every family and state that stays as it is */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "workload.h"

static struct sockaddr_in in4(const char *address, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_pton(AF_INET, address, &a.sin_addr);
	return a;
}

static struct sockaddr_in6 in6(const char *address, int port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	inet_pton(AF_INET6, address, &a.sin6_addr);
	return a;
}

static int bound(int family, int type, int protocol, const void *address, socklen_t size)
{
	int s = must(socket(family, type, protocol)), on = 1;

	if (type == SOCK_STREAM && family != AF_UNIX)
		must(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	must(bind(s, address, size));
	return s;
}

static int bound4(int type, const char *address, int port)
{
	struct sockaddr_in a = in4(address, port);

	return bound(AF_INET, type, 0, &a, sizeof(a));
}

static int bound6(int type, const char *address, int port)
{
	struct sockaddr_in6 a = in6(address, port);

	return bound(AF_INET6, type, 0, &a, sizeof(a));
}

static int listening(int s, int backlog)
{
	must(listen(s, backlog));
	return s;
}

/* A connection to a listening socket, from a port that is known; the other end goes to *PEER */
static int connection(int listener, int s, int *peer)
{
	struct sockaddr_storage a;
	socklen_t size = sizeof(a);

	must(getsockname(listener, (void *)&a, &size));
	must(connect(s, (void *)&a, size));
	*peer = must(accept(listener, NULL, NULL));
	return s;
}

static void play_inet(void)
{
	struct sockaddr_in a4;
	struct sockaddr_in6 a6;
	int l4 = listening(bound4(SOCK_STREAM, "127.0.0.1", 8001), 17), l6, both, s, peer;

	listening(bound4(SOCK_STREAM, "0.0.0.0", 8002), 5);
	l6 = listening(bound6(SOCK_STREAM, "::1", 8003), 7);
	both = listening(bound6(SOCK_STREAM, "::", 8004), 9);

	connection(l4, bound4(SOCK_STREAM, "127.0.0.1", 9001), &peer);
	must(write(peer, "unread", 6));
	connection(l6, bound6(SOCK_STREAM, "::1", 9002), &peer);
	/* an IPv4 peer of an IPv6 socket */
	s = bound4(SOCK_STREAM, "127.0.0.1", 9003);
	a4 = in4("127.0.0.1", 8004);
	must(connect(s, (void *)&a4, sizeof(a4)));
	must(accept(both, NULL, NULL));
	/* FIN_WAIT2 and CLOSE_WAIT */
	s = connection(l4, bound4(SOCK_STREAM, "127.0.0.2", 9004), &peer);
	must(shutdown(s, SHUT_WR));
	/* CLOSE: never connected, never bound */
	must(socket(AF_INET, SOCK_STREAM, 0));
	/* waits to be accepted */
	s = bound4(SOCK_STREAM, "127.0.0.1", 9005);
	a4 = in4("127.0.0.1", 8001);
	must(connect(s, (void *)&a4, sizeof(a4)));

	bound4(SOCK_DGRAM, "127.0.0.1", 8101);
	bound4(SOCK_DGRAM, "0.0.0.0", 8102);
	s = bound4(SOCK_DGRAM, "127.0.0.1", 9101);
	a4 = in4("127.0.0.1", 8101);
	must(connect(s, (void *)&a4, sizeof(a4)));
	must(write(s, "datagram", 8));
	bound6(SOCK_DGRAM, "::1", 8103);
	s = bound6(SOCK_DGRAM, "::", 9103);
	a6 = in6("::1", 8103);
	must(connect(s, (void *)&a6, sizeof(a6)));

	must(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	a4 = in4("127.0.0.1", 0);
	bound(AF_INET, SOCK_RAW, 89, &a4, sizeof(a4));
	must(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
}

static struct sockaddr_un local(const char *path, socklen_t *size)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t n = strlen(path);

	memcpy(a.sun_path, path, n);
	*size = offsetof(struct sockaddr_un, sun_path) + n + 1;
	/* an abstract name is as long as it is said to be */
	if (path[0] == '@') {
		a.sun_path[0] = 0;
		*size -= 1;
	}
	return a;
}

static int bound_local(int type, const char *path)
{
	socklen_t size;
	struct sockaddr_un a = local(path, &size);

	return bound(AF_UNIX, type, 0, &a, size);
}

static void play_unix(void)
{
	int peer, fds[2], s;
	socklen_t size;
	struct sockaddr_un a;

	s = listening(bound_local(SOCK_STREAM, SCRATCH "/stream"), 3);
	connection(s, must(socket(AF_UNIX, SOCK_STREAM, 0)), &peer);
	s = listening(bound_local(SOCK_SEQPACKET, "@iho abstract"), 4);
	connection(s, must(socket(AF_UNIX, SOCK_SEQPACKET, 0)), &peer);
	bound_local(SOCK_DGRAM, SCRATCH "/datagram");
	s = bound_local(SOCK_DGRAM, "@iho-datagram");
	a = local(SCRATCH "/datagram", &size);
	must(connect(s, (void *)&a, size));
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	must(write(fds[0], "unread", 6));
}

static void play_others(void)
{
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK,
				  .nl_groups = RTMGRP_LINK | RTMGRP_NEIGH };
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP) };

	bound(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &nl, sizeof(nl));
	nl.nl_groups = 1;
	bound(AF_NETLINK, SOCK_DGRAM, NETLINK_KOBJECT_UEVENT, &nl, sizeof(nl));
	ll.sll_ifindex = if_nametoindex("dummy0");
	bound(AF_PACKET, SOCK_RAW, htons(ETH_P_ARP), &ll, sizeof(ll));
	must(socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_LOOPBACK)));
}

void play_sockets(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	play_inet();
	play_unix();
	play_others();
	ready();
}
