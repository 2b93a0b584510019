// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's processes that the tests know, each an example of something that a reader of kernel
 * memory may get wrong. Without arguments it starts them all and ends; then each of them sleeps.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workload.h"

#define SELF	       "/guest/workload"
#define READY_FD       3
#define READY_LIMIT_MS 120000

static const char *role_name = "workload";

void die(const char *what)
{
	fprintf(stderr, "workload: %s: %s: %s\n", role_name, what, strerror(errno));
	_exit(1);
}

long must_(long value, const char *what)
{
	if (value == -1)
		die(what);
	return value;
}

void ready(void)
{
	must(write(READY_FD, "", 1));
	forget_ready();
}

void forget_ready(void)
{
	close(READY_FD);
}

void sleep_for_ever(void)
{
	for (;;)
		pause();
}

int sleeper(const char *name)
{
	int pid, pipes[2];
	char byte;

	must(pipe(pipes));
	pid = must(fork());
	if (pid == 0) {
		forget_ready();
		close(pipes[0]);
		if (name)
			prctl(PR_SET_NAME, name);
		close(pipes[1]);
		sleep_for_ever();
	}
	close(pipes[1]);
	/* until it has its name */
	must(read(pipes[0], &byte, 1));
	close(pipes[0]);
	return pid;
}

void write_file(const char *path, const char *text)
{
	int fd = must_(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644), path);

	must_(write(fd, text, strlen(text)), path);
	close(fd);
}

static void play_plain(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	ready();
}

/* As setproctitle() does it: the arguments' memory holds something else by now */
static void play_title(int argc, char **argv)
{
	memset(argv[0], 0, argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]);
	snprintf(argv[0], 20, "title: serving");
	ready();
}

/* What /proc/PID/stat has in parentheses is not always what a parser expects */
static void play_odd(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	prctl(PR_SET_NAME, "a) S 1 (b\n\\");
	ready();
}

static void *thread(void *name)
{
	prctl(PR_SET_NAME, name);
	must(write(*(int *)((char *)name + 16), "", 1));
	sleep_for_ever();
}

static void play_threads(int argc, char **argv)
{
	static struct {
		char name[16];
		int pipe;
	} threads[12];
	int pipes[2];
	char byte;

	(void)argc;
	(void)argv;
	must(pipe(pipes));
	for (int i = 0; i < 12; i++) {
		pthread_t t;

		snprintf(threads[i].name, sizeof(threads[i].name),
			 i == 11 ? "fädeln %d" : "worker-%d", i);
		threads[i].pipe = pipes[1];
		errno = pthread_create(&t, NULL, thread, &threads[i]);
		if (errno)
			die("pthread_create");
		must(read(pipes[0], &byte, 1));
	}
	ready();
}

/* The leader of the thread group has ended, a thread of it lives on */
static void *survivor(void *leader)
{
	char path[64], stat[64] = "";
	int fd;

	prctl(PR_SET_NAME, "survivor");
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", *(int *)leader);
	while (!strstr(stat, ") Z")) {
		usleep(1000);
		fd = must(open(path, O_RDONLY));
		must(read(fd, stat, sizeof(stat) - 1));
		close(fd);
	}
	ready();
	sleep_for_ever();
}

static void play_leaderless(int argc, char **argv)
{
	static int leader;
	pthread_t t;

	(void)argc;
	(void)argv;
	leader = getpid();
	errno = pthread_create(&t, NULL, survivor, &leader);
	if (errno)
		die("pthread_create");
	syscall(SYS_exit, 0);
}

static void play_zombies(int argc, char **argv)
{
	siginfo_t info;

	(void)argc;
	(void)argv;
	for (int i = 0; i < 3; i++) {
		int pid = must(fork());

		if (pid == 0)
			_exit(i);
		must(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
	}
	ready();
}

static void play_stopped(int argc, char **argv)
{
	siginfo_t info;
	int pid = sleeper("stopped");

	(void)argc;
	(void)argv;
	must(kill(pid, SIGSTOP));
	must(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT));
	ready();
}

static void play_tracer(int argc, char **argv)
{
	int pid = sleeper("tracee");

	(void)argc;
	(void)argv;
	must(ptrace(PTRACE_ATTACH, pid, NULL, NULL));
	must(waitpid(pid, NULL, 0));
	ready();
}

/* The child of vfork() has its parent's memory, and its parent waits uninterruptibly */
static void play_vfork(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	ready();
	if (vfork() == 0)
		sleep_for_ever();
}

static void play_ids(int argc, char **argv)
{
	gid_t groups[] = { 100, 2000, 70000, 4000000000u };

	(void)argc;
	(void)argv;
	must(setgroups(4, groups));
	must(setresgid(1000, 1001, 1002));
	must(setresuid(1000, 1001, 1002));
	ready();
}

static void play_caps(int argc, char **argv)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	unsigned int keep = 1u << CAP_NET_BIND_SERVICE | 1u << CAP_SYS_PTRACE;
	struct __user_cap_data_struct caps[2] = { { keep, keep, keep }, { 0, 0, 0 } };

	(void)argc;
	(void)argv;
	must(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0));
	must(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
	must(setresgid(1000, 1000, 1000));
	must(setresuid(1000, 1000, 1000));
	must(syscall(SYS_capset, &head, caps));
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0));
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	ready();
}

/* Other namespaces of every kind, and one pid namespace inside of another */
static void play_spaces(int argc, char **argv)
{
	int pipes[2];
	char byte;

	(void)argc;
	(void)argv;
	must(pipe(pipes));
	must(unshare(CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
		     CLONE_NEWCGROUP));
	must(sethostname("inner", 5));
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mount("inner", "/mnt/bind", "tmpfs", MS_NOSUID, "size=64k"));
	if (must(fork()) == 0) {
		forget_ready();
		prctl(PR_SET_NAME, "inner-init");
		must(unshare(CLONE_NEWPID));
		sleeper("innermost");
		must(write(pipes[1], "", 1));
		sleep_for_ever();
	}
	must(read(pipes[0], &byte, 1));
	ready();
}

static void play_userspace(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	must(setresgid(1000, 1000, 1000));
	must(setresuid(1000, 1000, 1000));
	must(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
	must(unshare(CLONE_NEWUSER));
	write_file("/proc/self/setgroups", "deny");
	write_file("/proc/self/uid_map", "0 1000 1");
	write_file("/proc/self/gid_map", "0 1000 1");
	ready();
}

static void play_chroot(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	must(mkdir(SCRATCH "/jail", 0755));
	must(mkdir(SCRATCH "/jail/home", 0755));
	must(chroot(SCRATCH "/jail"));
	must(chdir("/home"));
	ready();
}

static void play_lost(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	must(mkdir(SCRATCH "/lost", 0755));
	must(chdir(SCRATCH "/lost"));
	must(rmdir(SCRATCH "/lost"));
	ready();
}

/* Parents, groups, sessions and a terminal */
static void play_session(int argc, char **argv)
{
	char name[16];
	int master, slave, unlock = 0, pid = 0, pipes[2];
	char byte;

	(void)argc;
	(void)argv;
	must(pipe(pipes));
	must(setsid());
	master = must(open("/dev/pts/ptmx", O_RDWR | O_NOCTTY));
	must(ioctl(master, TIOCSPTLCK, &unlock));
	slave = must(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY));
	must(ioctl(slave, TIOCSCTTY, 0));
	pid = sleeper("job");
	must(setpgid(pid, pid));
	must(tcsetpgrp(slave, pid));
	if (must(fork()) == 0) {
		forget_ready();
		for (int depth = 1; depth <= 6; depth++) {
			snprintf(name, sizeof(name), "depth-%d", depth);
			prctl(PR_SET_NAME, name);
			if (depth < 6 && must(fork()))
				sleep_for_ever();
		}
		must(write(pipes[1], "", 1));
		sleep_for_ever();
	}
	must(read(pipes[0], &byte, 1));
	ready();
}

static void play_sched(int argc, char **argv)
{
	static const struct {
		const char *name;
		int policy, priority, nice;
	} how[] = {
		{ "fifo", SCHED_FIFO, 10, 0 },	{ "rr", SCHED_RR, 20, 0 },
		{ "batch", SCHED_BATCH, 0, 5 }, { "idle", SCHED_IDLE, 0, 0 },
		{ "nice", SCHED_OTHER, 0, 19 }, { "greedy", SCHED_OTHER, 0, -20 },
	};
	cpu_set_t cpus;

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
		struct sched_param param = { .sched_priority = how[i].priority };
		int pid = sleeper(how[i].name);

		must(sched_setscheduler(pid, how[i].policy, &param));
		must(setpriority(PRIO_PROCESS, pid, how[i].nice));
	}
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	must(sched_setaffinity(0, sizeof(cpus), &cpus));
	write_file("/proc/self/oom_score_adj", "-500");
	ready();
}

static void play_frozen(int argc, char **argv)
{
	char pid[16], events[256];
	int fd, child = sleeper("frozen");

	(void)argc;
	(void)argv;
	must(mkdir(CGROUP "/frozen", 0755));
	snprintf(pid, sizeof(pid), "%d", child);
	write_file(CGROUP "/frozen/cgroup.procs", pid);
	write_file(CGROUP "/frozen/cgroup.freeze", "1");
	do {
		fd = must(open(CGROUP "/frozen/cgroup.events", O_RDONLY));
		memset(events, 0, sizeof(events));
		must(read(fd, events, sizeof(events) - 1));
		close(fd);
	} while (!strstr(events, "frozen 1"));
	ready();
}

static void play_many(int argc, char **argv)
{
	char name[16];

	(void)argc;
	(void)argv;
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "many-%d", i);
		sleeper(name);
	}
	ready();
}

static int copy_of_self(int to)
{
	char buf[65536];
	ssize_t n;
	int from = must(open(SELF, O_RDONLY | O_CLOEXEC));

	while ((n = must(read(from, buf, sizeof(buf)))) > 0)
		must(write(to, buf, n));
	close(from);
	return to;
}

/* Executed once more, from a file that is gone by then, and from no file at all */
static void play_gone(int argc, char **argv)
{
	char *args[] = { "gone", "again", NULL }, *env[] = { NULL };

	(void)argv;
	if (argc == 1) {
		close(copy_of_self(must(open(SCRATCH "/gone", O_CREAT | O_WRONLY, 0755))));
		must(execve(SCRATCH "/gone", args, env));
	}
	must(unlink(SCRATCH "/gone"));
	ready();
}

static void play_fileless(int argc, char **argv)
{
	char *args[] = { "fileless", "again", NULL }, *env[] = { NULL };

	(void)argv;
	if (argc == 1)
		must(fexecve(copy_of_self(must(memfd_create("payload", MFD_CLOEXEC))), args, env));
	ready();
}

/* Looks like a kernel thread, but has memory */
static void play_kthread(int argc, char **argv)
{
	(void)argc;
	memset(argv[0], 0, strlen(argv[0]));
	strcpy(argv[0], "[kwork]");
	prctl(PR_SET_NAME, "kworker/0:9");
	ready();
}

static const char *const odd_args[] = { "two words",	     "ünïcödé – 日本", "",
					"--flag=\"quoted\"", "tab\there",      "new\nline",
					"$(id) `id`",	     "\xff\xfe",       NULL };
static const char *const odd_env[] = {
	"PATH=/bin:/sbin", "SPACE=two words", "UTF8=日本語", "EMPTY=", "NOVALUE", "LINES=a\nb", NULL
};
static const char *const title_args[] = { "a long argument that makes room for a title", "another",
					  NULL };

#define LONG_ARG  (100 * 1024)
#define MANY_ARGS 500
static const char *long_args[MANY_ARGS + 2], *long_env[MANY_ARGS + 1];

static const struct role roles[] = {
	{ "plain", play_plain, NULL, NULL },
	{ "args", play_plain, odd_args, odd_env },
	{ "long", play_plain, long_args, long_env },
	{ "a-name-longer-than-fifteen", play_plain, NULL, NULL },
	{ "title", play_title, title_args, odd_env },
	{ "odd", play_odd, NULL, NULL },
	{ "kthread", play_kthread, NULL, NULL },
	{ "threads", play_threads, NULL, NULL },
	{ "leaderless", play_leaderless, NULL, NULL },
	{ "zombies", play_zombies, NULL, NULL },
	{ "stopper", play_stopped, NULL, NULL },
	{ "tracer", play_tracer, NULL, NULL },
	{ "vfork", play_vfork, NULL, NULL },
	{ "ids", play_ids, NULL, NULL },
	{ "caps", play_caps, NULL, NULL },
	{ "spaces", play_spaces, NULL, NULL },
	{ "userspace", play_userspace, NULL, NULL },
	{ "chroot", play_chroot, NULL, NULL },
	{ "lost", play_lost, NULL, NULL },
	{ "session", play_session, NULL, NULL },
	{ "sched", play_sched, NULL, NULL },
	{ "freezer", play_frozen, NULL, NULL },
	{ "gone", play_gone, NULL, NULL },
	{ "fileless", play_fileless, NULL, NULL },
	{ "many", play_many, NULL, NULL },
	{ "files", play_files, NULL, NULL },
	{ "maps", play_maps, NULL, NULL },
	{ "sockets", play_sockets, NULL, NULL },
	{ "bpf", play_bpf, NULL, NULL },
};

static void make_long_args(void)
{
	static char big[LONG_ARG + 1], numbers[MANY_ARGS][16], variables[MANY_ARGS][32];

	for (int i = 0; i < LONG_ARG; i++)
		big[i] = 'a' + i % 26;
	long_args[0] = big;
	for (int i = 0; i < MANY_ARGS; i++) {
		snprintf(numbers[i], sizeof(numbers[i]), "arg-%d", i);
		snprintf(variables[i], sizeof(variables[i]), "VARIABLE_%d=value %d", i, i * i);
		long_args[i + 1] = numbers[i];
		long_env[i] = variables[i];
	}
}

static void execute(const struct role *role, int pipe)
{
	static const char *const plain_env[] = { "PATH=/bin:/sbin", "HOME=/root", NULL };
	const char *args[MANY_ARGS + 3] = { role->name };
	char path[64];

	if (dup2(pipe, READY_FD) < 0)
		die("dup2");
	for (int i = 0; role->args && role->args[i]; i++)
		args[i + 1] = role->args[i];
	snprintf(path, sizeof(path), SCRATCH "/bin/%s", role->name);
	must(execve(path, (char **)args, (char **)(role->env ? role->env : plain_env)));
}

static void start(const struct role *role)
{
	char path[64], byte;
	int pipes[2], pid;
	struct pollfd p;

	snprintf(path, sizeof(path), SCRATCH "/bin/%s", role->name);
	must(symlink(SELF, path));
	must(pipe2(pipes, O_CLOEXEC));
	pid = must(fork());
	if (pid == 0)
		execute(role, pipes[1]);
	close(pipes[1]);
	p = (struct pollfd){ .fd = pipes[0], .events = POLLIN };
	if (poll(&p, 1, READY_LIMIT_MS) != 1 || read(pipes[0], &byte, 1) != 1)
		die(role->name);
	close(pipes[0]);
	printf("%s %d\n", role->name, pid);
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');

	name = name ? name + 1 : argv[0];
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (strcmp(name, roles[i].name))
			continue;
		role_name = roles[i].name;
		roles[i].play(argc, argv);
		sleep_for_ever();
	}
	must(mkdir(SCRATCH, 0755));
	must(mkdir(SCRATCH "/bin", 0755));
	must(mkdir(CGROUP, 0755));
	make_long_args();
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		start(&roles[i]);
	return 0;
}
