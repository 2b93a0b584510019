// SPDX-License-Identifier: GPL-2.0-or-later
#include "session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "modes.h"

#define DEVICE "/dev/iho"

static int open_device(struct iho_info *info, struct direct_error *err)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC), r = -errno;

	if (fd < 0 && r == -ENOENT)
		return direct_fail(
			err, r,
			"direct mode is not supported: this host's KVM is not the patched one "
			"(no " DEVICE ")");
	if (fd < 0)
		return direct_fail(err, r, "cannot open " DEVICE ": %s", strerror(-r));
	if (ioctl(fd, IHO_GET_INFO, info)) {
		r = -errno;
		close(fd);
		return direct_fail(err, r, DEVICE " does not say what it can: %s", strerror(-r));
	}
	if (info->version != IHO_ABI_VERSION) {
		close(fd);
		return direct_fail(err, -EPROTO,
				   DEVICE " has version %u, and this program knows %u",
				   info->version, IHO_ABI_VERSION);
	}
	return fd;
}

int session_info(struct iho_info *info, struct direct_error *err)
{
	int fd = open_device(info, err);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

bool session_has_ipiv(void)
{
	FILE *f = fopen("/sys/module/kvm_intel/parameters/enable_ipiv", "re");
	bool has = f && getc(f) == 'Y';

	if (f)
		fclose(f);
	return has;
}

/* The number of the process' one descriptor of a VM. */
static int vm_descriptor(pid_t pid, struct direct_error *err)
{
	char path[64], to[64];
	int found = -1, n = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	if (!d)
		return direct_fail(err, -errno, "cannot look at process %d: %s", (int)pid,
				   strerror(errno));
	while ((e = readdir(d))) {
		ssize_t len = readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1);

		to[len > 0 ? len : 0] = 0;
		if (strcmp(to, "anon_inode:kvm-vm") != 0)
			continue;
		found = atoi(e->d_name);
		n++;
	}
	closedir(d);
	if (n == 1)
		return found;
	if (n)
		return direct_fail(err, -ENOTUNIQ, "process %d has %d VMs", (int)pid, n);
	return direct_fail(err, -ENOENT, "process %d has no VM", (int)pid);
}

/* Its descriptor of the VM as ours: the VMM is not asked, nor told. */
static int take_vm(pid_t pid, int pidfd, struct direct_error *err)
{
	int number = vm_descriptor(pid, err), fd;

	if (number < 0)
		return number;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (fd < 0)
		return direct_fail(err, -errno, "cannot take the VM of process %d: %s", (int)pid,
				   strerror(errno));
	return fd;
}

static int attach(int session, pid_t pid, int pidfd, struct direct_error *err)
{
	int vm = take_vm(pid, pidfd, err), r = 0;

	if (vm < 0)
		return vm;
	if (ioctl(session, IHO_ATTACH, &vm)) {
		r = -errno;
		if (r == -EBUSY)
			direct_fail(err, r, "somebody else has a session for the VM of process %d",
				    (int)pid);
		else
			direct_fail(err, r, "cannot attach to the VM of process %d: %s", (int)pid,
				    strerror(-r));
	}
	close(vm);
	return r;
}

int session_open(pid_t pid, int *pidfd, struct direct_error *err)
{
	struct iho_info info;
	int session = open_device(&info, err), r;

	if (session < 0)
		return session;
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (*pidfd < 0) {
		r = direct_fail(err, -errno, "process %d: %s", (int)pid, strerror(errno));
	} else {
		r = attach(session, pid, *pidfd, err);
		if (!r)
			return session;
		close(*pidfd);
	}
	close(session);
	return r;
}

int session_set(int session, uint32_t modes, uint32_t *refused, struct direct_error *err)
{
	struct iho_modes m = { .modes = modes };
	char why[400];

	*refused = 0;
	if (!ioctl(session, IHO_SET_MODES, &m))
		return 0;
	if (errno != EOPNOTSUPP)
		return direct_fail(err, -errno, "cannot switch: %s", strerror(errno));
	*refused = m.refused;
	bits_text(direct_refused, m.refused, "; ", 1, why, sizeof(why));
	return direct_fail(err, -EOPNOTSUPP, "refused: %s", why);
}
