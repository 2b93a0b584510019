// SPDX-License-Identifier: GPL-2.0-or-later
#include <err.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <x86intrin.h>

#include "vmm_internal.h"

#define MSI_ADDR_BASE 0xfee00000
#define WAKER_MAX_NS  (100 * NS_PER_MS) /* how long vmm_stop() may wait for the waker */

static int wake(struct vmm *vmm, struct vmm_vcpu *vcpu)
{
	struct kvm_msi msi = {
		.address_lo = MSI_ADDR_BASE | (vcpu->index & 0xff) << 12,
		.address_hi = vcpu->index & ~0xffU, /* KVM_CAP_X2APIC_API */
		.data = GUEST_WAKE_VEC,
	};
	int ret = ioctl(vmm->vm_fd, KVM_SIGNAL_MSI, &msi);

	if (ret <= 0) {
		warnx("vCPU %u: KVM_SIGNAL_MSI did not wake it: %s", vcpu->index,
		      ret < 0 ? strerror(errno) : "interrupt blocked");
		return -EIO;
	}
	vcpu->wakes++;
	return 0;
}

/*
 * Wake the vCPU if it is due. Returns the nanoseconds until it is, UINT64_MAX if it does not
 * halt, or 0 on failure.
 */
static uint64_t wake_if_due(struct vmm *vmm, struct vmm_vcpu *vcpu, const struct hlt_limits *limits)
{
	uint64_t wake_tsc = __atomic_load_n(&vcpu->area->wake_tsc, __ATOMIC_ACQUIRE);
	uint64_t left;

	if (!wake_tsc)
		return UINT64_MAX;
	left = wake_tsc - (__rdtsc() + vcpu->tsc_offset);
	/* Beyond the longest delay it is in the past, or the TSCs of two CPUs disagree. */
	if (left && left <= limits->longest_us * limits->tsc_khz / 1000)
		return (uint64_t)((double)left * 1e6 / (double)limits->tsc_khz) + 1;
	__atomic_store_n(&vcpu->area->wake_tsc, 0, __ATOMIC_RELEASE);
	return wake(vmm, vcpu) ? 0 : UINT64_MAX;
}

/*
 * Nothing tells the waker that a vCPU is about to halt: that would cost an exit nobody asked for.
 * It looks as often as the shortest delay, and thereby sees each HLT before its time is up.
 */
void *waker_thread(void *arg)
{
	struct vmm *vmm = arg;

	pthread_setname_np(pthread_self(), "waker");
	prctl(PR_SET_TIMERSLACK, 1);

	while (!vmm_is_stopping(vmm)) {
		uint64_t now_ns = vmm_clock_ns(CLOCK_MONOTONIC);
		unsigned int nr_vcpus = __atomic_load_n(&vmm->nr_vcpus, __ATOMIC_ACQUIRE);
		struct hlt_limits limits;
		struct timespec until;
		uint64_t sleep_ns;

		pthread_mutex_lock(&vmm->lock);
		limits = vmm->hlt;
		pthread_mutex_unlock(&vmm->lock);
		sleep_ns = limits.shortest_ns;
		for (unsigned int i = 0; i < nr_vcpus; i++) {
			uint64_t left_ns = wake_if_due(vmm, &vmm->vcpus[i], &limits);

			if (!left_ns) {
				vmm_fail(vmm);
				return NULL;
			}
			if (left_ns < sleep_ns)
				sleep_ns = left_ns;
		}
		if (sleep_ns > WAKER_MAX_NS)
			sleep_ns = WAKER_MAX_NS;
		until = vmm_to_timespec(now_ns + sleep_ns);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	}
	return NULL;
}
