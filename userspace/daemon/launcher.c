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
#include <unistd.h>

#include <cap-ng.h>

#include "helper.h"
#include "launcher.h"

#define BROKER_FD 3

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

static int launch(const void *program)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (!pid)
		become_broker(program, pair[1]);
	/* Where there is none, its end of the socket is closed: that says so. */
	close(pair[1]);
	return pair[0];
}

/* Of a VM's process: its descriptors, mappings, memory slots; and a worker that is nobody. */
static int confine(void)
{
	static const int caps[] = { CAP_SYS_PTRACE,	    CAP_BPF,	CAP_PERFMON,
				    CAP_SYS_ADMIN,	    CAP_SETUID, CAP_SETGID,
				    CAP_CHECKPOINT_RESTORE, CAP_KILL,	CAP_DAC_READ_SEARCH,
				    CAP_DAC_OVERRIDE };

	signal(SIGCHLD, SIG_IGN); /* brokers end without anybody's interest */
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
	return capng_apply(CAPNG_SELECT_CAPS) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
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
	char program[PATH_MAX];
	const struct helper h = {
		.name = "ihod-launcher", .confine = confine, .make = launch, .arg = program
	};
	int r = find_program(program, sizeof(program), err);

	return r ? r : helper_start(sock, &h, err);
}

int launcher_broker(int *sock)
{
	int fd = helper_ask(sock);

	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}
