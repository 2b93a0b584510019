// SPDX-License-Identifier: GPL-2.0-or-later
#include "threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmname.h"

#define MAX_VCPUS 4096 /* KVM's own limit on x86 */

static ssize_t read_line(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : read(fd, buf, len - 1);

	if (fd >= 0) {
		n = n < 0 ? -errno : n;
		close(fd);
	}
	buf[n > 0 ? n : 0] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return n;
}

/* proc_pid_stat(5): ppid (4) and starttime (22); the name in the second may hold anything. */
static int read_stat(pid_t pid, pid_t tid, pid_t *ppid, uint64_t *start)
{
	char path[64], text[1024], *p;
	unsigned long long ticks;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	n = read_line(path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1,
			 " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
			 "%*d %llu",
			 ppid, &ticks) != 2)
		return -EINVAL;
	*start = ticks;
	return 0;
}

int thread_start(pid_t pid, pid_t tid, uint64_t *start)
{
	pid_t ppid;

	return read_stat(pid, tid, &ppid, start);
}

void thread_name(pid_t pid, pid_t tid, char *buf, size_t len)
{
	char path[64], comm[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", (int)pid, (int)tid);
	if (read_line(path, comm, sizeof(comm)) <= 0)
		snprintf(comm, sizeof(comm), "?");
	iho_clean_text(buf, len, comm);
}

static int for_each_number(const char *dir, void (*fn)(pid_t number, void *arg), void *arg)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0, number;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		number = atoi(e->d_name);
		if (number <= 0)
			continue;
		fn(number, arg);
		n++;
	}
	closedir(d);
	return n;
}

int for_each_thread(pid_t pid, void (*fn)(pid_t tid, void *arg), void *arg)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	return for_each_number(path, fn, arg);
}

/* ---- the kernel's ---- */

struct kernel_threads {
	pid_t pid;
	void (*fn)(pid_t tid, void *arg);
	void *arg;
	int n;
};

/* The number is that of the thread which asked KVM or vhost: any of the VMM's. */
static void look_at_process(pid_t tid, void *arg)
{
	static const char *const names[] = { "vhost-%d", "kvm-pit/%d", "kvm-nx-lpage-recovery-%d" };
	struct kernel_threads *k = arg;
	char comm[64], path[64];
	uint64_t start;
	pid_t ppid;
	int of;

	if (read_stat(tid, tid, &ppid, &start) || ppid != 2)
		return;
	thread_name(tid, tid, comm, sizeof(comm));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (sscanf(comm, names[i], &of) != 1)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)k->pid, of);
		if (access(path, F_OK))
			continue;
		k->fn(tid, k->arg);
		k->n++;
	}
}

int for_each_kernel_thread(pid_t pid, void (*fn)(pid_t tid, void *arg), void *arg)
{
	struct kernel_threads k = { .pid = pid, .fn = fn, .arg = arg };
	int r = for_each_number("/proc", look_at_process, &k);

	return r < 0 ? r : k.n;
}

/* ---- vCPUs ---- */

struct vcpus {
	pid_t pid;
	struct vcpu_thread *v;
	unsigned int n;
	bool incomplete;
};

static void add_vcpu(struct vcpus *l, unsigned int vcpu, pid_t tid)
{
	if (l->n == MAX_VCPUS || tid <= 0) {
		l->incomplete = true;
		return;
	}
	l->v[l->n++] = (struct vcpu_thread){ .vcpu = vcpu, .tid = tid };
}

/* virt/kvm/kvm_main.c, kvm_create_vcpu_debugfs(): of a vCPU that never ran it is 0. */
static void by_debugfs(struct vcpus *l)
{
	char path[PATH_MAX], text[32];
	glob_t g = {};

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-*/vcpu*/pid", (int)l->pid);
	if (!glob(path, GLOB_NOSORT, NULL, &g)) {
		for (size_t i = 0; i < g.gl_pathc; i++) {
			const char *vcpu = strstr(g.gl_pathv[i], "/vcpu");

			if (vcpu && read_line(g.gl_pathv[i], text, sizeof(text)) > 0)
				add_vcpu(l, (unsigned int)strtoul(vcpu + 5, NULL, 10), atoi(text));
		}
	}
	globfree(&g);
}

/* QEMU, Firecracker, Cloud Hypervisor, crosvm, kvmtool */
static void by_name(pid_t tid, void *arg)
{
	static const char *const names[] = { "CPU %u/KVM", "fc_vcpu %u", "vcpu%u", "crosvm_vcpu%u",
					     "kvm-vcpu-%u" };
	struct vcpus *l = arg;
	unsigned int vcpu;
	char comm[64];

	thread_name(l->pid, tid, comm, sizeof(comm));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (sscanf(comm, names[i], &vcpu) == 1) {
			add_vcpu(l, vcpu, tid);
			return;
		}
	}
}

static int by_vcpu(const void *a, const void *b)
{
	const struct vcpu_thread *x = a, *y = b;

	return (x->vcpu > y->vcpu) - (x->vcpu < y->vcpu);
}

int vcpu_threads(pid_t pid, struct vcpu_thread **threads, struct direct_error *err)
{
	struct vcpus l = { .pid = pid };
	int vcpus;

	*threads = NULL;
	l.v = calloc(MAX_VCPUS, sizeof(*l.v));
	if (!l.v)
		return direct_fail(err, -ENOMEM, "no memory");
	by_debugfs(&l);
	vcpus = (int)l.n;
	if (!l.n && !l.incomplete) {
		vcpus = iho_count_vcpus("/proc", pid);
		for_each_thread(pid, by_name, &l);
	}
	if (l.incomplete || vcpus <= 0 || (int)l.n != vcpus) {
		free(l.v);
		if (vcpus < 0)
			return direct_fail(err, vcpus, "cannot look at process %d: %s", (int)pid,
					   strerror(-vcpus));
		return direct_fail(
			err, -ENODATA,
			"the threads of %u of the %d vCPUs of process %d are known: each "
			"has to have run, and debugfs to be mounted, or its threads to "
			"have names (QEMU: -name ...,debug-threads=on)",
			l.n, vcpus, (int)pid);
	}
	qsort(l.v, l.n, sizeof(*l.v), by_vcpu);
	*threads = l.v;
	return (int)l.n;
}
