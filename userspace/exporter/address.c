// SPDX-License-Identifier: GPL-2.0-or-later
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"

#define BACKLOG 512

static int parse_port(const char *s, in_port_t *port)
{
	unsigned long n = 0;

	if (!*s || strlen(s) > 5)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		n = 10 * n + (*s - '0');
	}
	if (n > 65535)
		return -EINVAL;
	*port = htons(n);
	return 0;
}

int iho_address_parse(const char *text, struct iho_address *out, struct iho_error *err)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&out->ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->ss;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t n;

	memset(out, 0, sizeof(*out));
	if (!colon || (n = colon - text) >= sizeof(host))
		goto wrong;
	memcpy(host, text, n);
	host[n] = '\0';
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		v6->sin6_family = AF_INET6;
		out->len = sizeof(*v6);
		if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1 &&
		    !parse_port(colon + 1, &v6->sin6_port))
			return 0;
	} else {
		v4->sin_family = AF_INET;
		out->len = sizeof(*v4);
		if (inet_pton(AF_INET, host, &v4->sin_addr) == 1 &&
		    !parse_port(colon + 1, &v4->sin_port))
			return 0;
	}
wrong:
	return iho_fail(err, -EINVAL,
			"\"%.80s\" is no address to listen on: ADDRESS:PORT in numbers, as in "
			"127.0.0.1:9978 or [::1]:9978",
			text);
}

void iho_address_format(const struct iho_address *a, char *buf)
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (a->ss.ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->ss;

		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(buf, IHO_ADDRESS_TEXT, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->ss;

		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(buf, IHO_ADDRESS_TEXT, "%s:%u", host, ntohs(v4->sin_port));
	}
}

int iho_address_listen(const struct iho_address *a, struct iho_error *err)
{
	int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, r;
	char text[IHO_ADDRESS_TEXT];

	if (fd < 0)
		goto failed;
	/* a restart must not wait for the connections of the last run to be forgotten */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)))
		goto failed;
	if (a->ss.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)))
		goto failed;
	if (!bind(fd, (const struct sockaddr *)&a->ss, a->len) && !listen(fd, BACKLOG))
		return fd;
failed:
	r = -errno;
	iho_address_format(a, text);
	iho_fail(err, r, "cannot listen on %s: %s", text, strerror(-r));
	if (fd >= 0)
		close(fd);
	return r;
}
