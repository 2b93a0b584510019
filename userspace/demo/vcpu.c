// SPDX-License-Identifier: GPL-2.0-or-later
/* Creation of a vCPU: its CPUID, registers, LAPIC and script. */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#include "linux.h"
#include "vmm_internal.h"

#define MSR_IA32_TSC	     0x10
#define MSR_KVM_PV_EOI_EN    0x4b564d04
#define MSR_IA32_MISC_ENABLE 0x1a0
#define MISC_FAST_STRING     0x1
#define MSR_MTRR_DEF_TYPE    0x2ff
#define MTRR_ENABLE	     0x800
#define MTRR_WRITE_BACK	     0x6
#define APIC_SPIV	     0xf0
#define APIC_SPIV_ENABLE     0x1ff
#define APIC_BASE_ENABLE     0x800
#define APIC_BASE_X2APIC     0x400

#define WAKER_MIN_NS (20 * NS_PER_US)

static int set_cpuid(struct vmm_vcpu *vcpu)
{
	struct vmm *vmm = vcpu->vmm;

	cpuid_set_id(vmm, vcpu->index);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, vmm->cpuid)) {
		int ret = -errno;

		warn("vCPU %u: KVM_SET_CPUID2", vcpu->index);
		return ret;
	}
	return 0;
}

static int set_registers(struct vmm_vcpu *vcpu)
{
	struct vmm *vmm = vcpu->vmm;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	int ret;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		goto failed;
	if (vmm->pc) {
		linux_start_state(&sregs, &regs);
	} else {
		guest_start_state(&sregs, &regs, (uint64_t)((uint8_t *)vcpu->area - vmm->ram));
		if (vmm->irqchip)
			sregs.apic_base |= APIC_BASE_ENABLE | APIC_BASE_X2APIC;
	}
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) || ioctl(vcpu->fd, KVM_SET_REGS, &regs))
		goto failed;
	return 0;
failed:
	ret = -errno;
	warn("vCPU %u: setting the registers", vcpu->index);
	return ret;
}

/* Returns whether the MSR could be written or, with @get, read. */
static bool access_msr(struct vmm_vcpu *vcpu, uint32_t index, uint64_t *data, bool get)
{
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} arg;

	memset(arg.room, 0, sizeof(arg.room));
	arg.msrs.nmsrs = 1;
	arg.msrs.entries[0].index = index;
	arg.msrs.entries[0].data = *data;
	if (ioctl(vcpu->fd, get ? KVM_GET_MSRS : KVM_SET_MSRS, &arg) != 1)
		return false;
	*data = arg.msrs.entries[0].data;
	return true;
}

/* Switch the LAPIC on, let KVM spare the guest its EOIs, and let a vCPU other than 0 run. */
static int set_apic(struct vmm_vcpu *vcpu)
{
	struct kvm_mp_state mp_state = { .mp_state = KVM_MP_STATE_RUNNABLE };
	uint64_t pv_eoi = (uint64_t)((uint8_t *)&vcpu->area->pv_eoi - vcpu->vmm->ram) | 1;
	const uint32_t spiv = APIC_SPIV_ENABLE;
	struct kvm_lapic_state lapic;
	int ret;

	if (!vcpu->vmm->irqchip)
		return 0;
	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic))
		goto failed;
	memcpy(lapic.regs + APIC_SPIV, &spiv, sizeof(spiv));
	if (ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic) || ioctl(vcpu->fd, KVM_SET_MP_STATE, &mp_state))
		goto failed;
	/* A KVM that refuses it makes the guest write EOIs, which the report shows. */
	access_msr(vcpu, MSR_KVM_PV_EOI_EN, &pv_eoi, false);
	return 0;
failed:
	ret = -errno;
	warn("vCPU %u: setting up the LAPIC", vcpu->index);
	return ret;
}

/*
 * What firmware sets on every CPU, and Linux takes as given: memory is write-back where no MTRR
 * says otherwise, and the string instructions are fast. A KVM without these MSRs needs neither.
 */
static void set_pc_msrs(struct vmm_vcpu *vcpu)
{
	uint64_t def_type = MTRR_ENABLE | MTRR_WRITE_BACK, misc = 0;

	access_msr(vcpu, MSR_MTRR_DEF_TYPE, &def_type, false);
	if (access_msr(vcpu, MSR_IA32_MISC_ENABLE, &misc, true)) {
		misc |= MISC_FAST_STRING;
		access_msr(vcpu, MSR_IA32_MISC_ENABLE, &misc, false);
	}
}

/* The other vCPUs wait for the first one's INIT and SIPI; it sets up the LAPICs. */
static int create_for_linux(struct vmm_vcpu *vcpu)
{
	set_pc_msrs(vcpu);
	return vcpu->index ? 0 : set_registers(vcpu);
}

static int read_tsc(struct vmm_vcpu *vcpu, uint64_t *tsc_khz)
{
	uint64_t guest_tsc = 0, host_tsc;
	int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	if (khz <= 0) {
		warnx("vCPU %u: KVM does not know the frequency of the TSC", vcpu->index);
		return -EIO;
	}
	host_tsc = __rdtsc();
	if (!access_msr(vcpu, MSR_IA32_TSC, &guest_tsc, true)) {
		warnx("vCPU %u: KVM_GET_MSRS of the TSC failed", vcpu->index);
		return -EIO;
	}
	*tsc_khz = (uint64_t)khz;
	vcpu->tsc_offset = guest_tsc - host_tsc;
	return 0;
}

static void update_hlt_limits(struct vmm *vmm, uint64_t tsc_khz, uint64_t us)
{
	uint64_t ns = us * NS_PER_US < WAKER_MIN_NS ? WAKER_MIN_NS : us * NS_PER_US;

	pthread_mutex_lock(&vmm->lock);
	vmm->hlt.tsc_khz = tsc_khz;
	if (ns < vmm->hlt.shortest_ns)
		vmm->hlt.shortest_ns = ns;
	if (us > vmm->hlt.longest_us)
		vmm->hlt.longest_us = us;
	pthread_mutex_unlock(&vmm->lock);
}

/* The script's ops, with its times turned into TSC ticks. */
static int load_script(struct vmm_vcpu *vcpu, const struct script *script, uint64_t tsc_khz)
{
	struct vmm *vmm = vcpu->vmm;
	struct guest_op *ops;

	if (script->nr_ops > vmm->config.max_ops) {
		warnx("script of %zu ops where %zu were announced", script->nr_ops,
		      vmm->config.max_ops);
		return -EINVAL;
	}
	ops = reallocarray(NULL, script->nr_ops, sizeof(*ops));
	if (!ops) {
		warnx("out of memory");
		return -ENOMEM;
	}
	memcpy(ops, script->ops, script->nr_ops * sizeof(*ops));
	for (size_t i = 0; i < script->nr_ops; i++) {
		uint64_t us;

		switch (ops[i].kind) {
		case OP_BUSY:
			ops[i].arg *= tsc_khz;
			break;
		case OP_TIMER:
			ops[i].arg = ops[i].arg * tsc_khz / 1000;
			break;
		case OP_DONATE:
			/* A KVM that does not know VMCALL may execute it for ever. */
			if (!access("/dev/iho", F_OK))
				break;
			warnx("donate: this KVM has no direct mode (no /dev/iho, see kvm-patches)");
			free(ops);
			return -EOPNOTSUPP;
		case OP_HLT:
			us = ops[i].arg ? ops[i].arg : vmm->config.hlt_us;
			ops[i].arg = us * tsc_khz / 1000;
			update_hlt_limits(vmm, tsc_khz, us);
			break;
		}
	}
	guest_load_ops((uint8_t *)vcpu->area, (uint64_t)((uint8_t *)vcpu->area - vmm->ram), ops,
		       script->nr_ops);
	free(ops);
	return 0;
}

static int create_for_script(struct vmm_vcpu *vcpu, const struct script *script)
{
	uint64_t tsc_khz = 0;
	int ret = set_registers(vcpu);

	if (!ret)
		ret = set_apic(vcpu);
	if (!ret)
		ret = read_tsc(vcpu, &tsc_khz);
	if (!ret)
		ret = load_script(vcpu, script, tsc_khz);
	return ret;
}

void vcpu_destroy(struct vmm_vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->vmm->run_bytes);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
}

int vcpu_create(struct vmm_vcpu *vcpu, const struct script *script)
{
	struct vmm *vmm = vcpu->vmm;
	void *run;
	int ret;

	vcpu->fd = ioctl(vmm->vm_fd, KVM_CREATE_VCPU, vcpu->index);
	if (vcpu->fd < 0) {
		ret = -errno;
		warn("vCPU %u: KVM_CREATE_VCPU", vcpu->index);
		return ret;
	}
	run = mmap(NULL, vmm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED) {
		ret = -errno;
		warn("vCPU %u: mmap", vcpu->index);
		return ret;
	}
	vcpu->run = run;
	ret = set_cpuid(vcpu);
	if (ret)
		return ret;
	return vmm->pc ? create_for_linux(vcpu) : create_for_script(vcpu, script);
}
