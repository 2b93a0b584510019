// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmname.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What we read of a command line. The kernel has no limit that is worth relying on. */
#define CMDLINE_MAX   (128 * 1024)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* An open /proc/PID. Should the pid be reused, files in it give ESRCH and not the new process'. */
struct process {
	int dir;
	char exe[256]; /* base name, "" if unknown */
	char comm[32]; /* "" if unknown */
	char *cmdline; /* NUL-terminated arguments one after the other */
	size_t cmdline_len;
};

/* ---- reading files ---- */

/* Reads at most `size` - 1 bytes and terminates them. Returns how many, or a negative errno. */
static ssize_t read_at(int dir, const char *path, int flags, char *buf, size_t size)
{
	ssize_t got = 0;
	size_t n = 0;
	int fd;

	/* O_NONBLOCK: opening a FIFO must not wait. */
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags);
	if (fd < 0)
		return -errno;
	while (n < size - 1) {
		got = read(fd, buf + n, size - 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += got;
	}
	if (got < 0)
		n = 0;
	buf[n] = '\0';
	got = got < 0 ? -errno : (ssize_t)n;
	close(fd);
	return got;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The kernel appends this to the path of a program that was replaced, as package updates do. */
static void strip_deleted(char *path)
{
	static const char deleted[] = " (deleted)";
	size_t len = strlen(path), cut = sizeof(deleted) - 1;

	if (len > cut && !strcmp(path + len - cut, deleted))
		path[len - cut] = '\0';
}

static int open_pid(const char *proc, pid_t pid, const char *below, int flags)
{
	char path[PATH_MAX];
	int fd, n;

	n = snprintf(path, sizeof(path), "%s/%d%s", proc, (int)pid, below);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* What cannot be read stays empty. */
static void process_open(struct process *p, const char *proc, pid_t pid)
{
	char path[PATH_MAX];
	ssize_t n;

	memset(p, 0, sizeof(*p));
	p->dir = open_pid(proc, pid, "", O_PATH);
	if (p->dir < 0)
		return;

	if (read_at(p->dir, "comm", 0, p->comm, sizeof(p->comm)) > 0) {
		size_t len = strlen(p->comm);

		if (len && p->comm[len - 1] == '\n')
			p->comm[len - 1] = '\0';
	}

	n = readlinkat(p->dir, "exe", path, sizeof(path) - 1);
	if (n > 0) {
		path[n] = '\0';
		strip_deleted(path);
		snprintf(p->exe, sizeof(p->exe), "%s", base_name(path));
	}

	p->cmdline = malloc(CMDLINE_MAX + 1);
	if (!p->cmdline)
		return;
	n = read_at(p->dir, "cmdline", 0, p->cmdline, CMDLINE_MAX + 1);
	p->cmdline_len = n > 0 ? n : 0;
}

static void process_close(struct process *p)
{
	if (p->dir >= 0)
		close(p->dir);
	free(p->cmdline);
}

/* The argument after `arg`, the first one for NULL; NULL at the end. */
static const char *next_arg(const struct process *p, const char *arg)
{
	const char *next = arg ? arg + strlen(arg) + 1 : p->cmdline;

	return next && next < p->cmdline + p->cmdline_len ? next : NULL;
}

/* ---- the text ---- */

/*
 * The length of the valid UTF-8 character at `s`, 0 if it is none (Unicode, table 3-7). Our own,
 * because mbrtowc() depends on the locale, which a view may have set to anything.
 */
static size_t utf8_len(const unsigned char *s)
{
	uint32_t min, c;
	size_t len, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xf0 && s[0] < 0xf8) {
		len = 4;
		min = 0x10000;
		c = s[0] & 0x07;
	} else if (s[0] >= 0xe0 && s[0] < 0xf0) {
		len = 3;
		min = 0x800;
		c = s[0] & 0x0f;
	} else if (s[0] >= 0xc0 && s[0] < 0xe0) {
		len = 2;
		min = 0x80;
		c = s[0] & 0x1f;
	} else {
		return 0;
	}
	/* The terminating NUL is no continuation byte, so this never looks beyond it. */
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return len;
}

/* C0, DEL and C1: some terminals take U+009B for an escape sequence's beginning. */
static bool is_control(const unsigned char *s, size_t len)
{
	if (len == 1)
		return s[0] < 0x20 || s[0] == 0x7f;
	return len == 2 && s[0] == 0xc2 && s[1] < 0xa0;
}

/* Names go to terminals, JSON and Prometheus labels: none of them gets anything but clean text. */
void iho_clean_text(char *buf, size_t size, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t at = 0, len;

	while (*s) {
		len = utf8_len(s);
		if (!len || is_control(s, len)) {
			if (at + 1 >= size)
				break;
			buf[at++] = '?';
			s += len ? len : 1;
			continue;
		}
		if (at + len >= size)
			break;
		memcpy(buf + at, s, len);
		at += len;
		s += len;
	}
	buf[at] = '\0';
}

static void set_name(struct iho_vm_id *out, const char *name)
{
	iho_clean_text(out->name, sizeof(out->name), name);
}

/* ---- names by kind of VMM ---- */

/* Each gives an allocated name, or NULL. */

/* The last --opt VALUE or --opt=VALUE; a later one overrides, where it is allowed at all. */
static char *long_option(const struct process *p, const char *opt)
{
	const char *arg = next_arg(p, NULL), *found = NULL;
	size_t len = strlen(opt);

	while (arg && (arg = next_arg(p, arg))) {
		if (!strcmp(arg, "--"))
			break;
		if (strncmp(arg, opt, len))
			continue;
		if (arg[len] == '=') {
			found = arg + len + 1;
		} else if (!arg[len]) {
			arg = next_arg(p, arg);
			if (arg)
				found = arg;
		}
	}
	return found ? strdup(found) : NULL;
}

static char *id_option(const struct process *p)
{
	return long_option(p, "--id");
}

static char *name_option(const struct process *p)
{
	return long_option(p, "--name");
}

/*
 * Steps over a value of QEMU's option syntax, which ends at a comma; a doubled comma is one in the
 * value. Copies it if `value` is not NULL. Returns where the next option begins.
 */
static const char *qemu_value(const char *s, char *value)
{
	while (*s && (s[0] != ',' || s[1] == ',')) {
		if (*s == ',')
			s++;
		if (value)
			*value++ = *s;
		s++;
	}
	if (value)
		*value = '\0';
	return *s ? s + 1 : s;
}

/*
 * The last guest= in -name's argument, by QEMU's rules: key=value with commas between, and a first
 * one without a key is the guest's name. Returns whether there is one; `value` is as long as `s`.
 */
static bool qemu_guest(const char *s, char *value)
{
	bool first = true, found = false, guest;
	size_t key;

	while (*s) {
		key = strcspn(s, "=,");
		if (s[key] == '=') {
			guest = key == strlen("guest") && !memcmp(s, "guest", key);
			s += key + 1;
		} else {
			guest = first;
		}
		s = qemu_value(s, guest ? value : NULL);
		found |= guest;
		first = false;
	}
	return found;
}

static char *qemu_name(const struct process *p)
{
	const char *arg = next_arg(p, NULL);
	char *name = NULL, *value;

	while (arg && (arg = next_arg(p, arg))) {
		if (strcmp(arg, "-name") && strcmp(arg, "--name"))
			continue;
		arg = next_arg(p, arg);
		if (!arg)
			break;
		value = malloc(strlen(arg) + 1);
		if (value && qemu_guest(arg, value)) {
			free(name);
			name = value;
		} else {
			free(value);
		}
	}
	return name;
}

/* Cloud Hypervisor's VMs have no names; who runs several gives each its own API socket. */
static char *api_socket_name(const struct process *p)
{
	char *opt = long_option(p, "--api-socket"), *name, *end;
	const char *path = opt;

	if (!opt)
		return NULL;
	if (!strncmp(path, "path=", 5))
		path += 5;
	else if (!strncmp(path, "fd=", 3))
		path = "";
	opt[strcspn(opt, ",")] = '\0';
	name = strdup(base_name(path));
	free(opt);
	if (!name)
		return NULL;
	end = strrchr(name, '.');
	if (end && end != name)
		*end = '\0';
	return name;
}

/*
 * By the program's base name: equal, or with `variant` also followed by anything, as in
 * qemu-system-x86_64, firecracker-v1.7.0-x86_64, cloud-hypervisor-static.
 */
static const struct vmm {
	const char *program;
	const char *vmm;
	bool variant;
	char *(*name)(const struct process *p);
} vmms[] = {
	{ "qemu-system-", "qemu", true, qemu_name },
	{ "qemu-kvm", "qemu", false, qemu_name },
	{ "kvm", "qemu", false, qemu_name },
	{ "firecracker", "firecracker", false, id_option },
	{ "firecracker-", "firecracker", true, id_option },
	{ "cloud-hypervisor", "cloud-hypervisor", false, api_socket_name },
	{ "cloud-hypervisor-", "cloud-hypervisor", true, api_socket_name },
	{ "crosvm", "crosvm", false, name_option },
	/* kvmtool's -n is no short form of --name: lkvm run takes it for --network. */
	{ "lkvm", "kvmtool", false, name_option },
	{ "lkvm-static", "kvmtool", false, name_option },
	{ "kvmtool", "kvmtool", false, name_option },
	{ "iho-demo", "iho-demo", false, name_option },
};

const char *iho_vmm_name(const char *vmm)
{
	for (size_t i = 0; i < ARRAY_SIZE(vmms); i++)
		if (!strcmp(vmms[i].vmm, vmm))
			return vmms[i].vmm;
	return !strcmp(vmm, "libvirt") ? "libvirt" : "unknown";
}

static const struct vmm *find_vmm(const char *program)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(vmms); i++) {
		if (vmms[i].variant && !strncmp(program, vmms[i].program, strlen(vmms[i].program)))
			return &vmms[i];
		if (!strcmp(program, vmms[i].program))
			return &vmms[i];
	}
	return NULL;
}

/* The program file first, which a process cannot choose as freely as its argv[0]. */
static const struct vmm *process_vmm(const struct process *p)
{
	const struct vmm *vmm = find_vmm(p->exe);
	const char *argv0 = next_arg(p, NULL);

	return vmm || !argv0 ? vmm : find_vmm(base_name(argv0));
}

/* A decimal number that is all of the text, but for a newline at its end; -1 if it is no pid. */
static pid_t parse_pid(const char *s)
{
	char *end;
	long v;

	if (!isdigit((unsigned char)s[0]))
		return -1;
	errno = 0;
	v = strtol(s, &end, 10);
	if (*end == '\n')
		end++;
	return errno || *end || v < 1 || v > INT_MAX ? -1 : (pid_t)v;
}

/*
 * The domain whose pid file names the process. libvirt's library is not asked: its API gives no
 * pids of domains, and a libvirtd that hangs must not make us hang. A user's own session keeps its
 * files elsewhere; its domains still have the name that libvirt gives QEMU in -name.
 */
static char *libvirt_domain(const char *run, pid_t pid)
{
	char *name = NULL, text[32], *dot;
	struct dirent *e;
	DIR *dir;

	dir = opendir(run);
	if (!dir)
		return NULL;
	while (!name && (e = readdir(dir))) {
		dot = strrchr(e->d_name, '.');
		if (!dot || dot == e->d_name || strcmp(dot, ".pid"))
			continue;
		if (read_at(dirfd(dir), e->d_name, O_NOFOLLOW, text, sizeof(text)) <= 0)
			continue;
		if (parse_pid(text) == pid)
			name = strndup(e->d_name, dot - e->d_name);
	}
	closedir(dir);
	return name;
}

void iho_vm_identify(const char *proc, const char *libvirt_run, pid_t pid, struct iho_vm_id *out)
{
	const struct vmm *vmm;
	char fallback[64];
	struct process p;
	char *name = NULL;

	process_open(&p, proc, pid);
	vmm = process_vmm(&p);
	out->vmm = vmm ? vmm->vmm : "unknown";
	/* Only for a QEMU: a pid file that was left behind may name any process by now. */
	if (vmm && !strcmp(vmm->vmm, "qemu") && libvirt_run) {
		name = libvirt_domain(libvirt_run, pid);
		if (name)
			out->vmm = "libvirt";
	}
	if (vmm && !name)
		name = vmm->name(&p);

	if (!name || !*name) {
		if (p.comm[0])
			snprintf(fallback, sizeof(fallback), "%s (%d)", p.comm, (int)pid);
		else
			snprintf(fallback, sizeof(fallback), "pid %d", (int)pid);
	}
	set_name(out, name && *name ? name : fallback);
	free(name);
	process_close(&p);
}

/* ---- affinity ---- */

int iho_cpu_ranges(const char *list, void (*fn)(unsigned int first, unsigned int last, void *arg),
		   void *arg)
{
	unsigned long first, last, n = 0;
	char *end;

	while (*list) {
		if (!isdigit((unsigned char)*list))
			return -EINVAL;
		first = last = strtoul(list, &end, 10);
		if (*end == '-') {
			if (!isdigit((unsigned char)end[1]))
				return -EINVAL;
			last = strtoul(end + 1, &end, 10);
		}
		if (last < first || last > INT_MAX || (*end && (*end != ',' || !end[1])))
			return -EINVAL;
		n += last - first + 1;
		if (n > INT_MAX)
			return -EINVAL;
		if (fn)
			fn(first, last, arg);
		list = *end ? end + 1 : end;
	}
	return n;
}

static void copy_list(const char *list, char *buf, size_t len)
{
	static const char more[] = "...";
	const char *comma;
	size_t keep;

	if (!len)
		return;
	if (strlen(list) < len) {
		strcpy(buf, list);
		return;
	}
	comma = len > sizeof(more) ? memrchr(list, ',', len - sizeof(more)) : NULL;
	keep = comma ? comma + 1 - list : 0;
	memcpy(buf, list, keep);
	snprintf(buf + keep, len - keep, "%s", more);
}

int iho_affinity(const char *proc, pid_t pid, pid_t tid, char *buf, size_t len)
{
	static const char key[] = "Cpus_allowed_list:";
	char path[PATH_MAX], *line = NULL, *list;
	int ret = -ENODATA, n;
	size_t size = 0;
	FILE *f;

	if (len)
		buf[0] = '\0';
	n = snprintf(path, sizeof(path), "%s/%d/task/%d/status", proc, (int)pid, (int)tid);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	f = fopen(path, "re");
	if (!f)
		return -errno;
	/* "Groups:" before it can have hundreds of KiB. The kernel escapes newlines in "Name:". */
	errno = 0;
	while (getline(&line, &size, f) >= 0) {
		if (strncmp(line, key, sizeof(key) - 1))
			continue;
		list = line + sizeof(key) - 1;
		list += strspn(list, " \t");
		list[strcspn(list, "\n")] = '\0';
		ret = iho_cpu_ranges(list, NULL, NULL);
		if (ret >= 0)
			copy_list(list, buf, len);
		goto cleanup;
	}
	if (ferror(f) && errno)
		ret = -errno;
cleanup:
	free(line);
	fclose(f);
	return ret;
}

/* ---- descriptors of KVM ---- */

/*
 * Links are named by virt/kvm/kvm_main.c: "anon_inode:kvm-vm" and "anon_inode:kvm-vcpu:0". Counts
 * those in an open /proc/PID/fd that are `link`, or begin with it; stops at `limit`. Closes `fd`.
 */
static int count_links(int fd, const char *link, bool prefix, int limit)
{
	char target[64];
	struct dirent *e;
	ssize_t got;
	int n = 0;
	DIR *dir;

	dir = fdopendir(fd);
	if (!dir) {
		n = -errno;
		close(fd);
		return n;
	}
	while (n < limit && (e = readdir(dir))) {
		/* A longer target is cut, and so differs from `link` as it should. */
		got = readlinkat(fd, e->d_name, target, sizeof(target) - 1);
		if (got <= 0)
			continue;
		target[got] = '\0';
		if (prefix ? !strncmp(target, link, strlen(link)) : !strcmp(target, link))
			n++;
	}
	closedir(dir);
	return n;
}

int iho_count_vcpus(const char *proc, pid_t pid)
{
	int fd = open_pid(proc, pid, "/fd", O_RDONLY);

	return fd < 0 ? fd : count_links(fd, "anon_inode:kvm-vcpu:", true, INT_MAX);
}

int iho_for_each_vm_process(const char *proc, void (*fn)(pid_t pid, void *arg), void *arg)
{
	struct dirent *e;
	int n = 0, fd;
	pid_t pid;
	DIR *dir;

	dir = opendir(proc);
	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		pid = parse_pid(e->d_name);
		if (pid < 0)
			continue;
		fd = open_pid(proc, pid, "/fd", O_RDONLY);
		if (fd < 0 || count_links(fd, "anon_inode:kvm-vm", false, 1) <= 0)
			continue;
		fn(pid, arg);
		n++;
	}
	closedir(dir);
	return n;
}
