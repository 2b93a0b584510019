// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * truth FOLDER: what /proc says of every process, into FOLDER/PID/: copies of its files; links, fd
 * and ns, a line "NAME TARGET" for each link in there, with \ and newlines in TARGET as \134 and
 * \012; fdinfo/; and for each thread task/TID/. Whoever is in our session is left out: that is this
 * question, not the guest. A
 * script would start several processes for each link.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const process_files[] = { "stat",	 "status",    "statm",	   "cmdline",
					     "comm",	 "environ",   "maps",	   "cgroup",
					     "io",	 "limits",    "mountinfo", "oom_score_adj",
					     "loginuid", "sessionid", "wchan",	   "uid_map",
					     "stack",	 NULL };
static const char *const thread_files[] = { "comm", "stat", "status", NULL };
static const char *const process_links[] = { "exe", "cwd", "root", NULL };

static void die(const char *what)
{
	fprintf(stderr, "truth: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* What a process does not have, a kernel thread's environment for one, is no file here */
static void copy(int from, int to, const char *name)
{
	char buf[65536];
	ssize_t n;
	int in = openat(from, name, O_RDONLY | O_CLOEXEC), out = -1;

	if (in < 0)
		return;
	while ((n = read(in, buf, sizeof(buf))) > 0) {
		if (out < 0)
			out = openat(to, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (out < 0 || write(out, buf, n) != n)
			die(name);
	}
	if (out < 0 && n == 0)
		out = openat(to, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	close(in);
	if (out >= 0)
		close(out);
}

static int folder(int at, const char *name)
{
	int fd;

	if (mkdirat(at, name, 0755) && errno != EEXIST)
		die(name);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		die(name);
	return fd;
}

static DIR *list(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

static FILE *create(int at, const char *name)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (!f)
		die(name);
	return f;
}

/* A path that is too long for /proc itself is left empty, as /proc leaves it */
static void put_link(FILE *f, int at, const char *name)
{
	char target[8192];
	ssize_t n = readlinkat(at, name, target, sizeof(target));

	if (n < 0 && errno != ENAMETOOLONG)
		return;
	fprintf(f, "%s ", name);
	for (ssize_t i = 0; i < n; i++)
		if (target[i] == '\n' || target[i] == '\\')
			fprintf(f, "\\%03o", target[i]);
		else
			fputc(target[i], f);
	fputc('\n', f);
}

static void put_links(int from, int to, const char *name)
{
	DIR *d = list(from, name);
	struct dirent *e;
	FILE *f;

	if (!d)
		return;
	f = create(to, name);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			put_link(f, dirfd(d), e->d_name);
	fclose(f);
	closedir(d);
}

static void put_threads(int from, int to)
{
	DIR *d = list(from, "task");
	int all, one, proc;
	struct dirent *e;

	if (!d)
		return;
	all = folder(to, "task");
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		proc = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (proc < 0)
			continue;
		one = folder(all, e->d_name);
		for (int i = 0; thread_files[i]; i++)
			copy(proc, one, thread_files[i]);
		close(one);
		close(proc);
	}
	close(all);
	closedir(d);
}

static void put_fdinfo(int from, int to)
{
	DIR *d = list(from, "fdinfo");
	struct dirent *e;
	int out;

	if (!d)
		return;
	out = folder(to, "fdinfo");
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			copy(dirfd(d), out, e->d_name);
	close(out);
	closedir(d);
}

static void put_process(int from, int to)
{
	FILE *f;

	for (int i = 0; process_files[i]; i++)
		copy(from, to, process_files[i]);
	f = create(to, "links");
	for (int i = 0; process_links[i]; i++)
		put_link(f, from, process_links[i]);
	fclose(f);
	put_links(from, to, "fd");
	put_links(from, to, "ns");
	put_fdinfo(from, to);
	put_threads(from, to);
}

int main(int argc, char **argv)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int out, to, proc;
	char *end;
	long pid;

	if (argc != 2 || !d)
		return 2;
	out = folder(AT_FDCWD, argv[1]);
	while ((e = readdir(d))) {
		pid = strtol(e->d_name, &end, 10);
		if (*end || pid <= 0 || getsid(pid) == getsid(0))
			continue;
		proc = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (proc < 0)
			continue;
		to = folder(out, e->d_name);
		put_process(proc, to);
		close(to);
		close(proc);
	}
	return 0;
}
