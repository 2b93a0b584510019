// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * iho-hold PID: a session of /dev/iho for the VM of this VMM. Says "attached", or what went wrong
 * and ends; then takes lines at its standard input, each answered by one:
 *
 *	set MODES	"modes M" as they are now, or "refused R MODES"
 *	toggle N MODES	N times these and none, each for a ms: "modes M"
 *	vcpu I		"vcpu I", and the fields of struct iho_vcpu, each NAME=VALUE
 *
 * The session ends with the process.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/iho.h>

static int fail(const char *what)
{
	printf("%s: %s\n", what, strerrorname_np(errno));
	return 1;
}

/* The VMM's descriptor of its VM, as our own; -1 */
static int vm_of(int pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), fd = -1;
	char path[300], to[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && fd < 0 && (e = readdir(d))) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid, e->d_name);
		n = readlink(path, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = 0;
		if (!strcmp(to, "anon_inode:kvm-vm"))
			fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(e->d_name), 0);
	}
	if (d)
		closedir(d);
	close(pidfd);
	return fd;
}

static int set(int session, __u32 modes)
{
	struct iho_modes m = { .modes = modes };

	if (!ioctl(session, IHO_SET_MODES, &m))
		return 0;
	printf("refused %u %s\n", m.refused, strerrorname_np(errno));
	return -1;
}

static void print_vcpu(int session, unsigned int index)
{
	struct iho_vcpu v = { .index = index };

	if (ioctl(session, IHO_GET_VCPU, &v)) {
		fail("IHO_GET_VCPU");
		return;
	}
	printf("vcpu %u modes=%u missing=%u engaged=%llu given=%llu taken=%llu recovered=%llu"
	       " host_timer=%llu generation=%u seen=%u deadlines=%llu fired=%llu spurious=%llu"
	       " ipi_engaged=%llu ipi_kicked=%llu posted=%llu notified=%llu asked=%llu"
	       " drained=%llu\n",
	       index, v.modes, v.missing, v.engaged, v.given, v.taken, v.recovered, v.host_timer,
	       v.generation, v.seen_generation, v.deadlines, v.fired, v.spurious, v.ipi_engaged,
	       v.ipi_kicked, v.ipis_posted, v.ipis_notified, v.ipis_asked, v.drained);
}

static void command(int session, const char *line)
{
	struct iho_modes now;
	unsigned int n = 0, modes;

	if (sscanf(line, "vcpu %u", &n) == 1) {
		print_vcpu(session, n);
		return;
	}
	if (sscanf(line, "set %u", &modes) == 1) {
		if (set(session, modes))
			return;
	} else if (sscanf(line, "toggle %u %u", &n, &modes) == 2) {
		for (n *= 2; n; n--) {
			if (set(session, n % 2 ? 0 : modes))
				return;
			usleep(1000);
		}
	}
	if (ioctl(session, IHO_GET_MODES, &now))
		fail("IHO_GET_MODES");
	else
		printf("modes %u\n", now.modes);
}

int main(int argc, char **argv)
{
	int session = open("/dev/iho", O_RDWR | O_CLOEXEC), vm;
	struct iho_info info;
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 2)
		return 2;
	if (session < 0)
		return fail("/dev/iho");
	if (ioctl(session, IHO_GET_INFO, &info))
		return fail("IHO_GET_INFO");
	vm = strcmp(argv[1], "none") ? vm_of(atoi(argv[1])) : session;
	if (vm < 0)
		return fail("no VM");
	if (ioctl(session, IHO_ATTACH, &vm))
		return fail("IHO_ATTACH");
	if (vm != session)
		close(vm);
	printf("attached, version %u, modes %u\n", info.version, info.modes);
	while (fgets(line, sizeof(line), stdin))
		command(session, line);
	return 0;
}
