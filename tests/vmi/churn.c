// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * churn MODULE-FILE MODULE: a guest that changes while it is looked at. Processes come and go as
 * fast as they can be made; some have a thread, a file, a mapping of it and a socket, all named
 * after the process' serial number. Beside them are processes that stay, and a module is loaded and
 * unloaded.
 *
 * /run/churn.pids is the pid of each serial number, 32 bits each; rows that name a serial number
 * are true if it was that pid's. Ends when /run/churn.stop is there, and then writes
 * /run/churn.done: how many processes there were, and how often the module was loaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIDS_MAX  (1u << 22)
#define STAYING	  10
#define AT_ONCE	  32
#define MODULE_US 200000 /* between two loads, for which each CPU is interrupted many times */
#define PIDS_CPU  0
#define LOADS_CPU 1
#define RICH	  16 /* each so-manyeth has more than a name */

static void give_up(const char *what)
{
	fprintf(stderr, "churn: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void have_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	if (fd < 0 || ftruncate(fd, 4096))
		give_up(path);
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
		give_up(path);
}

static void have_socket(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	memcpy(a.sun_path + 1, name, strlen(name));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len))
		give_up(name);
}

static void *thread(void *name)
{
	prctl(PR_SET_NAME, name);
	return NULL;
}

static void child(unsigned int serial)
{
	char name[16], path[64];
	pthread_t t;

	snprintf(name, sizeof(name), "c%07u", serial);
	prctl(PR_SET_NAME, name);
	snprintf(path, sizeof(path), "/run/churn-%07u", serial);
	have_file(path);
	have_socket(path);
	*name = 't';
	if (pthread_create(&t, NULL, thread, name))
		give_up("a thread");
	pthread_join(t, NULL);
	unlink(path);
	_exit(0);
}

/* Shares the memory: without page tables of their own they are made many times as fast. */
static int poor_child(void *serial)
{
	char name[16];

	snprintf(name, sizeof(name), "c%07u", (unsigned int)(uintptr_t)serial);
	prctl(PR_SET_NAME, name);
	return 0;
}

static pid_t make(unsigned int serial)
{
	static char stacks[AT_ONCE][16384] __attribute__((aligned(16)));
	pid_t p;

	if (serial % RICH)
		return clone(poor_child, stacks[serial % AT_ONCE] + sizeof(stacks[0]),
			     CLONE_VM | SIGCHLD, (void *)(uintptr_t)serial);
	p = fork();
	if (!p)
		child(serial);
	return p;
}

static void stay(unsigned int n)
{
	char name[32];

	snprintf(name, sizeof(name), "stay-%u", n);
	prctl(PR_SET_NAME, name);
	snprintf(name, sizeof(name), "/run/stay-%u", n);
	have_file(name);
	have_socket(name);
	while (1)
		pause();
}

static bool stopped(void)
{
	return !access("/run/churn.stop", F_OK);
}

/*
 * Who makes processes keeps to one CPU, and with it all that share its memory: on two, each fork()
 * that protects it has the other flush its TLB, and waits for that. Where a host's core is shared
 * by emulated CPUs, that takes milliseconds.
 */
static void keep_to(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		give_up("sched_setaffinity");
}

/* Loads and unloads until the end; how often. */
static unsigned int load(const char *file, const char *name)
{
	unsigned int n = 0;

	while (!stopped()) {
		int fd = open(file, O_RDONLY | O_CLOEXEC);

		if (syscall(SYS_delete_module, name, O_NONBLOCK))
			give_up("delete_module");
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			give_up("finit_module");
		close(fd);
		n++;
		usleep(MODULE_US);
	}
	return n;
}

/* A process that does so, named "modules" from its first moment on; tells at the end how often, and
 * stays. */
static int loader(char **of)
{
	unsigned int loads;
	int fds[2];
	pid_t p;

	prctl(PR_SET_NAME, "modules");
	p = pipe2(fds, O_CLOEXEC) ? -1 : fork();
	if (p < 0)
		give_up("fork");
	if (!p) {
		keep_to(LOADS_CPU);
		loads = load(of[0], of[1]);
		if (write(fds[1], &loads, sizeof(loads)) != sizeof(loads))
			give_up("write");
		while (1)
			pause();
	}
	prctl(PR_SET_NAME, "churn");
	close(fds[1]);
	return fds[0];
}

static unsigned int churn(uint32_t *pids)
{
	pid_t alive[AT_ONCE] = { 0 };
	unsigned int n;

	for (n = 0; n < PIDS_MAX && !(n % 64 == 0 && stopped()); n++) {
		pid_t *slot = &alive[n % AT_ONCE];

		if (*slot)
			waitpid(*slot, NULL, 0);
		*slot = make(n);
		if (*slot < 0)
			give_up("fork");
		pids[n] = (uint32_t)*slot;
	}
	for (unsigned int i = 0; i < AT_ONCE; i++)
		waitpid(alive[i], NULL, 0);
	return n;
}

static void done(unsigned int forks, unsigned int loads)
{
	FILE *f = fopen("/run/churn.new", "w");

	if (!f || fprintf(f, "%u %u\n", forks, loads) < 0 || fclose(f) ||
	    rename("/run/churn.new", "/run/churn.done"))
		give_up("/run/churn.done");
}

int main(int argc, char **argv)
{
	unsigned int forks, loads;
	uint32_t *pids;
	int fd;

	if (argc != 3)
		return 2;
	fd = open("/run/churn.pids", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, PIDS_MAX * sizeof(*pids)))
		give_up("/run/churn.pids");
	pids = mmap(NULL, PIDS_MAX * sizeof(*pids), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (pids == MAP_FAILED || daemon(0, 1))
		give_up("start");
	fd = loader(argv + 1);
	for (unsigned int i = 0; i < STAYING; i++) {
		pid_t p = fork();

		if (!p)
			stay(i);
		if (p < 0)
			give_up("fork");
	}
	keep_to(PIDS_CPU);
	forks = churn(pids);
	if (read(fd, &loads, sizeof(loads)) != sizeof(loads))
		give_up("the loader");
	done(forks, loads);
	while (1) /* its children stay too */
		pause();
}
