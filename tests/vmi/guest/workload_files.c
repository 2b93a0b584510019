// SPDX-License-Identifier: GPL-2.0-or-later
/* Open files and mappings of every kind */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "workload.h"

#define PAGE  4096
#define FILES DISK "/files"

#ifndef PR_SET_VMA
#define PR_SET_VMA	     0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static int make(const char *path, int flags, size_t size)
{
	int fd = must_(open(path, O_CREAT | flags, 0644), path);

	must(ftruncate(fd, size));
	return fd;
}

/*
 * Directories inside each other until a path is longer than a page of memory has room for; the way
 * there is by steps. What it opens there stays open.
 */
static int open_deep(const char *top)
{
	char step[201];
	int dir = must(open(top, O_RDONLY | O_DIRECTORY)), next, fd;

	memset(step, 'd', 200);
	step[200] = 0;
	for (int i = 0; i < 25; i++) {
		step[0] = 'a' + i;
		must(mkdirat(dir, step, 0755));
		next = must(openat(dir, step, O_RDONLY | O_DIRECTORY));
		close(dir);
		dir = next;
	}
	fd = must(openat(dir, "deepest", O_CREAT | O_RDWR, 0644));
	close(dir);
	return fd;
}

static int long_path(char *path, size_t size)
{
	size_t n = snprintf(path, size, FILES "/long");

	must(mkdir(path, 0755));
	while (n + 202 < size) {
		path[n++] = '/';
		memset(path + n, 'l', 200);
		n += 200;
		path[n] = 0;
		must(mkdir(path, 0755));
	}
	return snprintf(path + n, size - n, "/f");
}

void play_files(int argc, char **argv)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct itimerspec later = { .it_value.tv_sec = 1000000 };
	int fd, fds[2], epoll;
	char path[3600];
	sigset_t signals;

	(void)argc;
	(void)argv;
	must(mkdir(FILES, 0755));
	fd = make(FILES "/read-write", O_RDWR, 12345);
	must(lseek(fd, 4321, SEEK_SET));
	must(flock(fd, LOCK_EX));
	must(open(FILES "/read-write", O_RDONLY));
	must(open(FILES "/read-write", O_WRONLY | O_APPEND | O_CLOEXEC));
	must(open(FILES "/read-write", O_PATH));
	make(FILES "/deleted", O_RDWR, 100);
	must(unlink(FILES "/deleted"));
	make(FILES "/old-name", O_RDWR, 0);
	must(rename(FILES "/old-name", FILES "/new-name"));
	make(FILES "/with space", O_RDWR, 0);
	make(FILES "/new\nline\\and\ttab", O_RDWR, 0);
	make(FILES "/ünïcödé – 日本", O_RDWR, 0);
	make(FILES "/\xff\xfe", O_RDWR, 0);
	make(FILES "/ (deleted)", O_RDWR, 0);
	must(open(FILES, O_TMPFILE | O_RDWR, 0600));
	must(open(FILES, O_RDONLY | O_DIRECTORY));
	long_path(path, sizeof(path));
	make(path, O_RDWR, 0);
	open_deep(FILES);

	/* other file systems */
	make("/mnt/tmp/file", O_RDWR, 1);
	make("/mnt/overlay/merged/upper-file", O_RDWR, 2);
	must(open("/mnt/overlay/merged/lower-file", O_RDONLY));
	must(open("/mnt/bind/file", O_RDONLY));
	must(open("/proc/self/status", O_RDONLY));
	must(open("/sys/kernel/notes", O_RDONLY));
	must(open("/dev/null", O_RDWR));
	must(open("/dev/zero", O_RDONLY));
	must(open("/dev/vda", O_RDONLY));
	must(open("/proc/self/ns/net", O_RDONLY));

	must(pipe2(fds, O_NONBLOCK));
	must(mkfifo(FILES "/fifo", 0644));
	must(open(FILES "/fifo", O_RDWR));
	epoll = must(epoll_create1(0));
	fd = must(eventfd(7, 0));
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	fd = must(timerfd_create(CLOCK_MONOTONIC, 0));
	must(timerfd_settime(fd, 0, &later, NULL));
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	must(signalfd(-1, &signals, 0));
	fd = must(inotify_init1(0));
	must(inotify_add_watch(fd, FILES, IN_CREATE));
	must(memfd_create("a memfd", 0));
	must(syscall(SYS_pidfd_open, 1, 0));

	/* beyond what fits into the table of a new process, with holes */
	fd = must(open("/dev/null", O_RDONLY));
	must(dup2(fd, 100));
	must(dup2(fd, 300));
	must(dup2(fd, 1000));
	ready();
}

static void *map(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	void *p = mmap(at, size, prot, flags, fd, offset);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

void play_maps(int argc, char **argv)
{
	static const int prots[] = { PROT_READ, PROT_NONE, PROT_READ | PROT_WRITE };
	int fd = make(FILES "/mapped", O_RDWR, 16 * PAGE), i;
	char path[3600], *p;

	(void)argc;
	(void)argv;
	map(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	map(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 5 * PAGE);
	map(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 2 * PAGE);
	fd = make(FILES "/mapped and gone", O_RDWR, PAGE);
	map(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	must(unlink(FILES "/mapped and gone"));
	snprintf(path, sizeof(path), FILES "/map\nline");
	map(NULL, PAGE, PROT_READ, MAP_SHARED, make(path, O_RDWR, PAGE), 0);
	fd = must(memfd_create("mapped", 0));
	must(ftruncate(fd, 4 * PAGE));
	map(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);

	map(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	map(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	map(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	map(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1,
	    0);
	p = map(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(mlock(p, 2 * PAGE));
	/* since Linux 5.17 */
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 2 * PAGE, "a name");
	map((void *)0x10000000000, PAGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	i = must(shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0600));
	if (shmat(i, NULL, 0) == (void *)-1)
		die("shmat");

	/* more mappings than one level of any tree holds: none is like its neighbour */
	p = map(NULL, 1500 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < 1500; i++)
		must(mprotect(p + i * PAGE, PAGE, prots[i % 3]));
	ready();
}
