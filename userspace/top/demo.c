// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "demo.h"
#include "vmname.h"

#define START_TIMEOUT_MS 20000

static int fail(struct iho_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct iho_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

static void count(pid_t pid, void *arg)
{
	(void)pid;
	(*(int *)arg)++;
}

bool iho_demo_needed(void)
{
	int n = 0;

	iho_for_each_vm_process("/proc", count, &n);
	return n == 0;
}

/* The program lies beside ours, in the build folder as well as when installed. */
static int demo_path(char *buf, size_t len)
{
	ssize_t n = readlink("/proc/self/exe", buf, len - 1);
	char *slash;

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	if (!slash || (size_t)(slash - buf) + sizeof("/iho-demo") > len)
		return -ENAMETOOLONG;
	memcpy(slash, "/iho-demo", sizeof("/iho-demo"));
	return access(buf, X_OK) ? -errno : 0;
}

static void run_demo(const char *path, int out, int errfd)
{
	int null = open("/dev/null", O_RDONLY);

	/* Ctrl-C at the terminal is meant for the screen; the tenant ends with its parent. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(errfd, STDERR_FILENO);
	execl(path, "iho-demo", "--name", "demo", "--announce", "--die-with-parent", (char *)NULL);
	_exit(127);
}

/* Its first line of output says that it is ready, or what is wrong. */
static int read_line(int fd, char *buf, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t n = 0;

	while (n + 1 < len) {
		int r = poll(&p, 1, START_TIMEOUT_MS);
		ssize_t got;

		if (r == 0)
			return -ETIMEDOUT;
		if (r < 0 && errno != EINTR)
			return -errno;
		got = read(fd, buf + n, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || buf[n] == '\n')
			break;
		n++;
	}
	buf[n] = '\0';
	return 0;
}

int iho_demo_start(pid_t *pid, struct iho_error *err)
{
	char path[PATH_MAX], line[400] = "";
	int fds[2], r = demo_path(path, sizeof(path));

	if (r)
		return fail(err, r, "the demo tenant iho-demo is not beside iho-top: %s",
			    strerror(-r));
	if (pipe2(fds, O_CLOEXEC))
		return fail(err, -errno, "cannot make a pipe: %s", strerror(errno));
	*pid = fork();
	if (*pid == 0)
		run_demo(path, fds[1], fds[1]);
	close(fds[1]);
	if (*pid < 0) {
		close(fds[0]);
		return fail(err, -EAGAIN, "cannot start the demo tenant: %s", strerror(errno));
	}
	r = read_line(fds[0], line, sizeof(line));
	/* The pipe stays open: the tenant may print more, and must not die of that. */
	if (!r && !strncmp(line, "ready ", 6))
		return 0;
	close(fds[0]);
	iho_demo_stop(*pid);
	return fail(err, -EIO, "%s",
		    r	      ? "the demo tenant did not start in time"
		    : line[0] ? line
			      : "the demo tenant ended without a word");
}

void iho_demo_stop(pid_t pid)
{
	int status;

	if (pid <= 0)
		return;
	kill(pid, SIGTERM);
	for (int i = 0; i < 200; i++) {
		if (waitpid(pid, &status, WNOHANG) != 0)
			return;
		usleep(10000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}
