// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * agent PORT: the guest's first process, once init has set the guest up. The host sends
 *
 *	ID SCRIPT-BYTES INPUT-BYTES\n	and so many bytes of a script and of its input,
 *
 * and gets, after the script's end,
 *
 *	ID STATUS OUTPUT-BYTES\n	and the output.
 *
 * Between two such questions the guest is left as it was: no process comes or goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a new connection may go unnoticed */
#define HANGUP_US 20000

static int port;

static void die(const char *what)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
	reboot(RB_POWER_OFF);
	_exit(1);
}

/* While the host is not connected, the port is at its end, and poll() does not wait */
static void read_all(char *to, size_t n)
{
	while (n) {
		struct pollfd p = { .fd = port, .events = POLLIN };
		ssize_t got;

		poll(&p, 1, -1);
		got = read(port, to, n);
		if (got < 0 && errno != EINTR && errno != EAGAIN)
			die("read");
		if (got > 0) {
			to += got;
			n -= got;
		} else {
			usleep(HANGUP_US);
		}
	}
}

static void write_all(int fd, const char *from, size_t n)
{
	while (n) {
		ssize_t put = write(fd, from, n);

		if (put < 0 && errno != EINTR && errno != EAGAIN)
			die("write");
		if (put > 0) {
			from += put;
			n -= put;
		}
	}
}

static void read_line(char *line, size_t size)
{
	size_t i = 0;

	do {
		if (i == size - 1)
			die("line too long");
		read_all(&line[i], 1);
	} while (line[i++] != '\n');
	line[i] = 0;
}

static int scratch(size_t n)
{
	char buf[65536];
	int fd = memfd_create("agent", MFD_CLOEXEC);

	if (fd < 0)
		die("memfd_create");
	while (n) {
		size_t part = n < sizeof(buf) ? n : sizeof(buf);

		read_all(buf, part);
		write_all(fd, buf, part);
		n -= part;
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static int run(char *script, int in, int out)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		die("fork");
	if (child == 0) {
		dup2(in, 0);
		dup2(out, 1);
		dup2(out, 2);
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(127);
	}
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void answer(unsigned long id, unsigned long script_bytes, unsigned long in_bytes)
{
	char line[128], buf[65536], *script = malloc(script_bytes + 1);
	int in, out, status;
	ssize_t n;

	if (!script)
		die("malloc");
	read_all(script, script_bytes);
	script[script_bytes] = 0;
	in = scratch(in_bytes);
	out = scratch(0);
	status = run(script, in, out);
	snprintf(line, sizeof(line), "%lu %d %ld\n", id, status, (long)lseek(out, 0, SEEK_END));
	write_all(port, line, strlen(line));
	lseek(out, 0, SEEK_SET);
	while ((n = read(out, buf, sizeof(buf))) > 0)
		write_all(port, buf, n);
}

/* By a process in a session of its own: whoever is not in that session was there before */
static void serve(void)
{
	unsigned long id, script_bytes, in_bytes;
	char line[128];
	pid_t child, pid;

	read_line(line, sizeof(line));
	if (sscanf(line, "%lu %lu %lu", &id, &script_bytes, &in_bytes) != 3)
		die("not a question");
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		setsid();
		answer(id, script_bytes, in_bytes);
		_exit(0);
	}
	/* as the first process, the agent is the parent of all orphans */
	do {
		pid = waitpid(-1, NULL, 0);
		if (pid < 0 && errno != EINTR)
			die("waitpid");
	} while (pid != child);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	port = open(argv[1], O_RDWR | O_CLOEXEC);
	if (port < 0)
		die(argv[1]);
	for (;;)
		serve();
}
