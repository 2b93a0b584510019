// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "helper.h"

#define ANSWER_SECONDS 2

static int send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {}, ok = fd >= 0;
	struct iovec iov = { .iov_base = &ok, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static _Noreturn void serve(int sock, const struct helper *h)
{
	char ask;

	signal(SIGTERM, SIG_IGN); /* it ends with its parent, whose end of the socket closes */
	signal(SIGINT, SIG_IGN);
	prctl(PR_SET_NAME, h->name);
	if (h->confine())
		_exit(1);
	while (read(sock, &ask, 1) == 1) {
		int fd = h->make(h->arg);

		if (send_fd(sock, fd))
			break;
		if (fd >= 0)
			close(fd);
	}
	_exit(0);
}

int helper_start(int *sock, const struct helper *h, struct iho_error *err)
{
	struct timeval t = { .tv_sec = ANSWER_SECONDS };
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		snprintf(err->text, sizeof(err->text), "cannot make a socket pair: %s",
			 strerror(errno));
		return -errno;
	}
	pid = fork();
	if (pid < 0) {
		snprintf(err->text, sizeof(err->text), "cannot start a process: %s",
			 strerror(errno));
		close(pair[0]);
		close(pair[1]);
		return -errno;
	}
	if (!pid) {
		/* nothing else of its parent's */
		syscall(SYS_dup3, pair[1], 3, O_CLOEXEC);
		syscall(SYS_close_range, 4, ~0U, 0);
		serve(3, h);
	}
	close(pair[1]);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	*sock = pair[0];
	return 0;
}

int helper_ask(int *sock)
{
	char control[CMSG_SPACE(sizeof(int))], ok = 1;
	struct iovec iov = { .iov_base = &ok, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int fd = -1;

	if (*sock < 0)
		return -EPIPE;
	if (send(*sock, &ok, 1, MSG_NOSIGNAL) != 1 || recvmsg(*sock, &msg, MSG_CMSG_CLOEXEC) != 1) {
		/* out of step or gone: never again */
		close(*sock);
		*sock = -1;
		return -EPIPE;
	}
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd < 0 ? -EPERM : fd;
}
