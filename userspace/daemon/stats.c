// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <cap-ng.h>
#include <seccomp.h>

#include "stats.h"

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

/* All that the child may call: to wait, to enable statistics, to hand them over, to end. */
static int confine(void)
{
	static const int allowed[] = { SCMP_SYS(read), SCMP_SYS(sendmsg), SCMP_SYS(close),
				       SCMP_SYS(exit_group), SCMP_SYS(exit) };
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1,
				     SCMP_A0(SCMP_CMP_EQ, BPF_ENABLE_STATS));
	if (!r)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

static _Noreturn void serve(int sock)
{
	char ask;

	signal(SIGTERM, SIG_IGN); /* it ends with its parent, whose end of the socket closes */
	signal(SIGINT, SIG_IGN);
	prctl(PR_SET_NAME, "ihod-stats");
	capng_clear(CAPNG_SELECT_BOTH);
	capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SYS_ADMIN);
	if (capng_apply(CAPNG_SELECT_BOTH) || confine())
		_exit(1);
	while (read(sock, &ask, 1) == 1) {
		int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);

		if (send_fd(sock, fd))
			break;
		if (fd >= 0)
			close(fd);
	}
	_exit(0);
}

int stats_start(int *sock, struct iho_error *err)
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
		serve(3);
	}
	close(pair[1]);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	*sock = pair[0];
	return 0;
}

int stats_fd(void *arg)
{
	char control[CMSG_SPACE(sizeof(int))], ok = 1;
	struct iovec iov = { .iov_base = &ok, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int *sock = arg, fd = -1;
	struct cmsghdr *c;

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
