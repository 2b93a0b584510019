// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A running VM: its process, and from there everything else.
 *
 * /proc/PID is opened once and used by its descriptor: when the process has ended, files in it are
 * -ESRCH, also if another process has got the pid.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "live.h"
#include "vmname.h"

#define CMDLINE_MAX (128 * 1024)
#define LIBVIRT_RUN "/run/libvirt/qemu"

int vmi_slots_add(struct vmi_slots *s, const struct vmi_slot *slot)
{
	struct vmi_slot *p;

	if (!slot->bytes || slot->bytes > UINT64_MAX - slot->gpa ||
	    slot->bytes > UINT64_MAX - slot->hva)
		return 0;
	if (s->n == VMI_REGIONS_MAX)
		return -E2BIG;
	p = reallocarray(s->v, s->n + 1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->v = p;
	s->v[s->n++] = *slot;
	return 0;
}

/* ------------------------------------------------------------------------------------- the process
 */

/* A decimal number that is all of the text; -1 if it is no pid. */
static pid_t parse_pid(const char *s)
{
	char *end;
	long v;

	if (!isdigit((unsigned char)*s))
		return -1;
	errno = 0;
	v = strtol(s, &end, 10);
	return errno || *end || v < 1 || v > INT_MAX ? -1 : (pid_t)v;
}

static bool holds_vm(int proc)
{
	int dir = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char target[32];
	struct dirent *e;
	bool found = false;
	DIR *d;

	if (dir < 0)
		return false;
	d = fdopendir(dir);
	if (!d) {
		close(dir);
		return false;
	}
	while (!found && (e = readdir(d))) {
		ssize_t n = readlinkat(dir, e->d_name, target, sizeof(target) - 1);

		target[n > 0 ? n : 0] = '\0';
		found = !strcmp(target, "anon_inode:kvm-vm"); /* virt/kvm/kvm_main.c */
	}
	closedir(d);
	return found;
}

static int open_proc(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* What can be looked into: who runs VMs by its name, and who holds one of KVM's. */
static bool is_vmm(pid_t pid, struct iho_vm_id *id)
{
	int proc = open_proc(pid);
	bool yes;

	if (proc < 0)
		return false;
	iho_vm_identify("/proc", LIBVIRT_RUN, pid, id);
	yes = strcmp(id->vmm, "unknown") || holds_vm(proc);
	close(proc);
	return yes;
}

struct search {
	char wanted[64];
	bool any;
	pid_t pid;
	unsigned int found;
	char others[256]; /* pids, when several fit */
};

static void look_at(struct search *s, pid_t pid)
{
	struct iho_vm_id id;
	size_t len = strlen(s->others);

	if (!is_vmm(pid, &id) || (!s->any && strcmp(id.name, s->wanted)))
		return;
	s->pid = pid;
	if (s->found++ < 16)
		snprintf(s->others + len, sizeof(s->others) - len, "%s%d", len ? ", " : "",
			 (int)pid);
}

static int find_by_name(const char *name, struct search *s, struct vmi_error *err)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	if (!d)
		return vmi_fail(err, -errno, "/proc: %s", strerror(errno));
	*s = (struct search){ 0 };
	s->any = !name;
	if (name)
		iho_clean_text(s->wanted, sizeof(s->wanted), name);
	while ((e = readdir(d))) {
		pid_t pid = parse_pid(e->d_name);

		if (pid > 0)
			look_at(s, pid);
	}
	closedir(d);
	return 0;
}

/* Where none is named there must be only one. */
static int find_only(pid_t *out, struct vmi_error *err)
{
	struct search s;
	int error = find_by_name(NULL, &s, err);

	if (error)
		return error;
	if (s.found > 1)
		return vmi_fail(err, -EEXIST, "%u VMs run here; name one, or its pid: %s",
				s.found, s.others);
	if (!s.found)
		return vmi_fail(err, -ESRCH, "no VM runs here%s",
				geteuid() ? " that you may look into" : "");
	*out = s.pid;
	return 0;
}

/* The process that is meant by a pid or a name; NULL: by nothing. */
static int find_process(const char *vm, pid_t *out, struct vmi_error *err)
{
	pid_t pid = vm ? parse_pid(vm) : -1;
	struct iho_vm_id id;
	struct search s;
	int error;

	if (!vm)
		return find_only(out, err);
	if (pid > 0 && is_vmm(pid, &id)) {
		*out = pid;
		return 0;
	}
	error = find_by_name(vm, &s, err);
	if (error)
		return error;
	if (s.found > 1)
		return vmi_fail(err, -EEXIST, "\"%s\" is the name of %u VMs; use a pid: %s",
				s.wanted, s.found, s.others);
	if (!s.found && pid > 0 && !kill(pid, 0))
		return vmi_fail(err, -ESRCH, "process %d runs no VM", (int)pid);
	if (!s.found)
		return vmi_fail(err, -ESRCH, "no VM \"%s\" runs here%s", s.wanted,
				geteuid() ? " that you may look into" : "");
	*out = s.pid;
	return 0;
}

/* --------------------------------------------------------------------------------------- what it
 * is */

static int read_cmdline(struct vmi_live *l)
{
	int fd = openat(l->proc, "cmdline", O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t got;

	if (fd < 0)
		return -errno;
	l->cmdline_text = malloc(CMDLINE_MAX + 1);
	if (!l->cmdline_text) {
		close(fd);
		return -ENOMEM;
	}
	while (n < CMDLINE_MAX && (got = read(fd, l->cmdline_text + n, CMDLINE_MAX - n)) > 0)
		n += (size_t)got;
	close(fd);
	l->cmdline_text[n] = '\0';
	l->cmdline = (struct iho_cmdline){ l->cmdline_text, l->cmdline_text + n };
	return 0;
}

static int find_monitor(struct vmi_live *l, const char *named)
{
	char path[PATH_MAX];

	if (named) {
		l->qmp = strdup(named);
		return l->qmp ? 0 : -ENOMEM;
	}
	if (!l->qemu || !iho_qemu_monitor_path(&l->cmdline, path, sizeof(path)))
		return 0;
	l->qmp = strdup(path);
	l->qmp_root = l->pid;
	return l->qmp ? 0 : -ENOMEM;
}

/* /proc/PID was opened before: if that is alive afterwards, both are of the same process. */
static int open_pidfd(struct vmi_target *t, const struct vmi_live *l)
{
	int fd = (int)syscall(SYS_pidfd_open, l->pid, 0), err;

	if (fd < 0)
		return -errno;
	err = vmi_target_add_fd(t, fd);
	if (!err && faccessat(l->proc, "stat", F_OK, 0))
		err = -ESRCH;
	if (!err)
		t->pidfd = fd;
	return err;
}

static int open_live(struct vmi_target *t, pid_t pid, const char *qmp, struct vmi_error *err)
{
	struct vmi_live *l = calloc(1, sizeof(*l));
	struct iho_vm_id id;
	int error;

	if (!l)
		return vmi_fail(err, -ENOMEM, "out of memory");
	t->live = l;
	l->pid = pid;
	l->proc = open_proc(pid);
	if (l->proc < 0)
		return vmi_fail(err, -ESRCH, "process %d has ended", (int)pid);
	iho_vm_identify("/proc", LIBVIRT_RUN, pid, &id);
	snprintf(l->vmm, sizeof(l->vmm), "%s", id.vmm);
	l->qemu = !strcmp(id.vmm, "qemu") || !strcmp(id.vmm, "libvirt");
	l->kvm = holds_vm(l->proc);
	error = open_pidfd(t, l);
	if (!error)
		error = read_cmdline(l);
	if (!error)
		error = find_monitor(l, qmp);
	if (error)
		return vmi_fail(err, error, "cannot look at process %d: %s", (int)pid,
				strerror(-error));
	t->kind = VMI_TARGET_LIVE;
	t->pid = pid;
	snprintf(t->name, sizeof(t->name), "%s", id.name);
	return 0;
}

void vmi_live_free(struct vmi_live *l)
{
	if (!l)
		return;
	if (l->proc >= 0)
		close(l->proc);
	free(l->qmp);
	free(l->cmdline_text);
	free(l);
}

/* ----------------------------------------------------------------------------------------- find */

/* KVM knows; QEMU knows; else a guess. Each says why it could not. */
static int find_slots(struct vmi_target *t, const struct vmi_vmas *m, struct vmi_slots *slots,
		      struct vmi_error *err)
{
	char kvm[160] = "", qmp[160] = "", guess[160] = "";
	int error = vmi_kvm_slots(t->live, slots, kvm);

	if (!error) {
		memcpy(t->how_layout, kvm, sizeof(kvm));
		return 0;
	}
	if (t->live->qemu || t->live->qmp) {
		slots->n = 0;
		error = vmi_qmp_slots(t->live, slots, qmp);
		if (!error) {
			memcpy(t->how_layout, qmp, sizeof(qmp));
			return 0;
		}
	}
	slots->n = 0;
	error = vmi_guess_slots(t->live, m, slots, guess);
	if (!error) {
		snprintf(t->how_layout, sizeof(t->how_layout), "%.70s (%.80s)", guess, qmp);
		return 0;
	}
	return vmi_fail(err, -ENOTSUP, "where the memory of \"%s\" lies is not known: %s%s%s; %s",
			t->name, kvm, qmp[0] ? "; " : "", qmp, guess);
}

static int find_vcpus(struct vmi_target *t)
{
	if (t->live->kvm)
		return vmi_kvm_vcpus(t->live, t, t->how_vcpus);
	return vmi_qmp_vcpus(t->live, t, t->how_vcpus);
}

int vmi_live_find(struct vmi_target *t, const struct vmi_find_options *o, struct vmi_error *err)
{
	struct vmi_slots slots = { 0 };
	struct vmi_vmas vmas;
	pid_t pid;
	int error = find_process(o->vm, &pid, err);

	if (!error)
		error = open_live(t, pid, o->qmp, err);
	if (error)
		return error;
	error = vmi_vmas_read(t->live, &vmas);
	if (error)
		return vmi_fail(err, error == -EPERM ? -EACCES : error,
				"cannot look at the memory of process %d: %s", (int)pid,
				strerror(-error));
	error = find_slots(t, &vmas, &slots, err);
	if (!error)
		error = vmi_maps_back(t, t->live, &vmas, &slots, err);
	free(slots.v);
	vmi_vmas_free(&vmas);
	if (!error)
		find_vcpus(t); /* that there are none is told in how_vcpus */
	return error;
}

int vmi_live_refresh(struct vmi_target *t, struct vmi_error *err)
{
	int error;

	if (!t->live)
		return vmi_fail(err, -ENOTSUP, "only who found the VM can ask again");
	error = vmi_target_alive(t, err);
	if (error)
		return error;
	error = find_vcpus(t);
	if (error)
		return vmi_fail(err, -ENOTSUP, "%s", t->how_vcpus);
	return 0;
}
