// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include <cap-ng.h>

#include "privileges.h"

int privileges_drop(struct iho_error *err)
{
	const unsigned int bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
				  SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED;

	/* Needs CAP_SETPCAP; without it there is nothing to lock away either. */
	if (prctl(PR_SET_SECUREBITS, bits) && errno != EPERM) {
		snprintf(err->text, sizeof(err->text), "cannot lock the capabilities: %s",
			 strerror(errno));
		return -errno;
	}
	capng_clear(CAPNG_SELECT_ALL);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_BPF, CAP_PERFMON,
		      CAP_SYS_PTRACE, -1);
	if (capng_apply(CAPNG_SELECT_ALL)) {
		snprintf(err->text, sizeof(err->text), "cannot give up capabilities: %s",
			 strerror(errno));
		return -EPERM;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		snprintf(err->text, sizeof(err->text), "cannot set no_new_privs: %s",
			 strerror(errno));
		return -errno;
	}
	return 0;
}

int privileges_stay_on(unsigned int cpu, struct iho_error *err)
{
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	size_t size = CPU_ALLOC_SIZE(cpu + 1);
	int r;

	if (!set) {
		snprintf(err->text, sizeof(err->text), "out of memory");
		return -ENOMEM;
	}
	CPU_ZERO_S(size, set);
	CPU_SET_S(cpu, size, set);
	r = sched_setaffinity(0, size, set) ? -errno : 0;
	CPU_FREE(set);
	if (r)
		snprintf(err->text, sizeof(err->text), "cannot run on CPU %u: %s", cpu,
			 strerror(-r));
	return r;
}
