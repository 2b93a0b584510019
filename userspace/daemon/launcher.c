// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cap-ng.h>

#include "launcher.h"

#define ANSWER_SECONDS 2
#define BROKER_FD      3

static int send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {}, ok = 1;
	struct iovec iov = { .iov_base = &ok, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static _Noreturn void become_broker(const char *program, int fd)
{
	static char *const argv[] = { "iho-query", "--broker", NULL };
	static char *const envp[] = { NULL };
	int null = open("/dev/null", O_RDWR);

	signal(SIGCHLD, SIG_DFL); /* it waits for its worker */
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
		_exit(127);
	if (fd == BROKER_FD ? fcntl(fd, F_SETFD, 0) : dup2(fd, BROKER_FD) < 0)
		_exit(127);
	if (!syscall(SYS_close_range, BROKER_FD + 1, ~0U, 0))
		execve(program, argv, envp);
	_exit(127);
}

static int launch(int sock, const char *program)
{
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (!pid)
		become_broker(program, pair[1]);
	close(pair[1]);
	/* Where there is none, its end of the socket is closed: that says so. */
	r = send_fd(sock, pair[0]);
	close(pair[0]);
	return r;
}

/* Of a VM's process: its descriptors, mappings, memory slots; and a worker that is nobody. */
static void keep_needed(void)
{
	static const int caps[] = { CAP_SYS_PTRACE,	    CAP_BPF,	CAP_PERFMON,
				    CAP_SYS_ADMIN,	    CAP_SETUID, CAP_SETGID,
				    CAP_CHECKPOINT_RESTORE, CAP_KILL,	CAP_DAC_READ_SEARCH,
				    CAP_DAC_OVERRIDE };

	capng_get_caps_process();
	for (int c = 0; c <= CAP_LAST_CAP; c++) {
		bool needed = false;

		for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++)
			needed = needed || caps[i] == c;
		if (needed)
			continue;
		prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
		capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE, c);
	}
	if (capng_apply(CAPNG_SELECT_CAPS))
		_exit(1);
}

static _Noreturn void serve(int sock, const char *program)
{
	char byte;

	signal(SIGTERM, SIG_IGN); /* it ends with its parent, whose end of the socket closes */
	signal(SIGINT, SIG_IGN);
	signal(SIGCHLD, SIG_IGN); /* brokers end without anybody's interest */
	prctl(PR_SET_NAME, "ihod-launcher");
	keep_needed();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		_exit(1);
	while (read(sock, &byte, 1) == 1)
		if (launch(sock, program))
			break;
	_exit(0);
}

/* iho-query lies where ihod does. */
static int find_program(char *path, size_t size, struct iho_error *err)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 1);
	char *slash;

	path[n > 0 ? n : 0] = 0;
	slash = strrchr(path, '/');
	if (slash && (size_t)(slash - path) + sizeof("/iho-query") <= size) {
		strcpy(slash, "/iho-query");
		if (!access(path, X_OK))
			return 0;
	}
	snprintf(err->text, sizeof(err->text), "--introspection needs iho-query beside ihod: %s",
		 strerror(errno));
	return -ENOENT;
}

int launcher_start(int *sock, struct iho_error *err)
{
	struct timeval t = { .tv_sec = ANSWER_SECONDS };
	char program[PATH_MAX];
	int pair[2], r = find_program(program, sizeof(program), err);
	pid_t pid;

	if (r)
		return r;
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
		serve(3, program);
	}
	close(pair[1]);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	*sock = pair[0];
	return 0;
}

int launcher_broker(int *sock)
{
	char control[CMSG_SPACE(sizeof(int))], byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int fd = -1;

	if (*sock < 0)
		return -EPIPE;
	if (send(*sock, &byte, 1, MSG_NOSIGNAL) != 1 ||
	    recvmsg(*sock, &msg, MSG_CMSG_CLOEXEC) != 1) {
		/* out of step or gone: never again */
		close(*sock);
		*sock = -1;
		return -EPIPE;
	}
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd < 0 ? -EPIPE : fd;
}
