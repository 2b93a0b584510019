// SPDX-License-Identifier: GPL-2.0-or-later
/* A vCPU's thread: KVM_RUN, and what the VMM does at each exit. */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "linux.h"
#include "vmm_internal.h"

static struct vmm_addr *find_addr(struct vmm_vcpu *vcpu, enum vmm_access access, uint64_t addr)
{
	struct vmm_addr *entry;

	for (unsigned int i = 0; i < vcpu->nr_addrs; i++) {
		entry = &vcpu->addrs[i];
		if (entry->access == access && entry->addr == addr)
			return entry;
	}
	if (vcpu->nr_addrs == VMM_MAX_ADDRS)
		return NULL;
	entry = &vcpu->addrs[vcpu->nr_addrs++];
	entry->access = access;
	entry->addr = addr;
	return entry;
}

static void count_access(struct vmm_vcpu *vcpu, enum vmm_access access, uint64_t addr)
{
	struct vmm_addr *entry = vcpu->last_addr;

	if (!entry || entry->addr != addr || entry->access != access) {
		entry = find_addr(vcpu, access, addr);
		if (!entry) {
			vcpu->addrs_lost++;
			return;
		}
		vcpu->last_addr = entry;
	}
	entry->count++;
}

static void wait_at_gate(struct vmm_vcpu *vcpu)
{
	struct vmm *vmm = vcpu->vmm;

	pthread_mutex_lock(&vmm->lock);
	vcpu->at_gate = true;
	vmm_notify(vmm);
	while (vmm->gate_openings <= vcpu->gates_passed && !vmm_is_stopping(vmm))
		pthread_cond_wait(&vmm->cond, &vmm->lock);
	vcpu->at_gate = false;
	vcpu->gates_passed++;
	pthread_mutex_unlock(&vmm->lock);
}

static void sleep_ms(struct vmm *vmm, uint32_t ms)
{
	struct timespec until = vmm_to_timespec(vmm_clock_ns(CLOCK_MONOTONIC) + ms * NS_PER_MS);
	int ret = 0;

	pthread_mutex_lock(&vmm->lock);
	while (ret != ETIMEDOUT && !vmm_is_stopping(vmm))
		ret = pthread_cond_timedwait(&vmm->cond, &vmm->lock, &until);
	pthread_mutex_unlock(&vmm->lock);
}

static void report_fault(struct vmm_vcpu *vcpu)
{
	const struct guest_op *ops;
	struct kvm_regs regs;
	size_t index;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs)) {
		warn("vCPU %u: exception in the guest; KVM_GET_REGS", vcpu->index);
		return;
	}
	ops = (const struct guest_op *)((const uint8_t *)vcpu->area + GUEST_STACK_TOP);
	index = guest_current_op(&regs);
	if (index >= vcpu->vmm->config.max_ops)
		warnx("vCPU %u: exception in the guest", vcpu->index);
	else if (ops[index].kind == OP_WRMSR || ops[index].kind == OP_RDMSR)
		warnx("vCPU %u: this KVM refuses %s of MSR %#" PRIx64, vcpu->index,
		      script_op_name(ops[index].kind), ops[index].arg);
	else
		warnx("vCPU %u: exception in the guest at op %zu of the script", vcpu->index,
		      index + 1);
}

/* Serve an OUT to a control port. False: the vCPU has nothing more to do. */
static bool control_port(struct vmm_vcpu *vcpu, uint16_t port, const void *data)
{
	uint32_t ms;

	switch (port) {
	case GUEST_PORT_SLEEP:
		memcpy(&ms, data, sizeof(ms));
		sleep_ms(vcpu->vmm, ms);
		return true;
	case GUEST_PORT_GATE:
		wait_at_gate(vcpu);
		return true;
	case GUEST_PORT_PAGE:
		if (!vmm_disturb_page(vcpu->vmm, *(const uint8_t *)data))
			return true;
		vmm_fail(vcpu->vmm);
		return false;
	case GUEST_PORT_DONE:
		vcpu->script_ended = true;
		return false;
	case GUEST_PORT_FAULT:
		report_fault(vcpu);
		vmm_fail(vcpu->vmm);
		return false;
	}
	return true;
}

/* A port of a Linux tenant. False: the vCPU has nothing more to do. */
static bool pc_port(struct vmm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool in = run->io.direction == KVM_EXIT_IO_IN;
	struct vmm *vmm = vcpu->vmm;

	count_access(vcpu, in ? VMM_IN : VMM_OUT, run->io.port);
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (in) {
			pc_in(vmm->pc, run->io.port, data, run->io.size);
			continue;
		}
		switch (pc_out(vmm->pc, run->io.port, data, run->io.size)) {
		case PC_GOES_ON:
			break;
		case PC_POWER_OFF:
			vmm_set_ending(vmm, VMM_POWER_OFF);
			return false;
		case PC_RESET:
			vmm_set_ending(vmm, VMM_RESET);
			return false;
		case PC_FAILED:
			vmm_fail(vmm);
			return false;
		}
	}
	return true;
}

static bool handle_io(struct vmm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint16_t port = run->io.port;

	if (run->io.direction == KVM_EXIT_IO_IN) {
		count_access(vcpu, VMM_IN, port);
		memset(data, 0, (size_t)run->io.size * run->io.count);
		return true;
	}
	count_access(vcpu, VMM_OUT, port);
	if (port < GUEST_PORT_FIRST || port > GUEST_PORT_LAST)
		return true;
	return control_port(vcpu, port, data);
}

static void handle_mmio(struct vmm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->mmio.is_write) {
		count_access(vcpu, VMM_MMIO_WRITE, run->mmio.phys_addr);
	} else {
		count_access(vcpu, VMM_MMIO_READ, run->mmio.phys_addr);
		memset(run->mmio.data, vcpu->vmm->pc ? 0xff : 0, sizeof(run->mmio.data));
	}
}

/* An exit after which the vCPU cannot go on. */
static void handle_last_exit(const struct vmm_vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	struct vmm *vmm = vcpu->vmm;

	if (run->exit_reason == KVM_EXIT_SHUTDOWN && vmm->pc &&
	    linux_reboots_by_triple_fault(vmm->config.boot->append)) {
		vmm_set_ending(vmm, VMM_RESET);
		return;
	}
	switch (run->exit_reason) {
	case KVM_EXIT_FAIL_ENTRY:
		warnx("vCPU %u: KVM_EXIT_FAIL_ENTRY, hardware reason %#llx", vcpu->index,
		      run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		warnx("vCPU %u: KVM_EXIT_INTERNAL_ERROR, suberror %u%s", vcpu->index,
		      run->internal.suberror,
		      run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ?
			      ": KVM cannot emulate an instruction of the guest" :
			      "");
		break;
	case KVM_EXIT_SHUTDOWN:
		warnx("vCPU %u: KVM_EXIT_SHUTDOWN: triple fault in the guest", vcpu->index);
		break;
	default:
		warnx("vCPU %u: unexpected KVM exit reason %u", vcpu->index, run->exit_reason);
	}
	vmm_fail(vmm);
}

/*
 * The loop that a benchmark measures: no lock, no system call but KVM_RUN. A stop needs no check
 * here: vmm_stop() sets immediate_exit, so the next KVM_RUN returns EINTR.
 */
static void run_vcpu(struct vmm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	for (;;) {
		uint32_t reason;

		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
			if (errno != EINTR && errno != EAGAIN) {
				warn("vCPU %u: KVM_RUN", vcpu->index);
				vmm_fail(vcpu->vmm);
				return;
			}
			vcpu->exits[KVM_EXIT_INTR]++;
			if (vmm_is_stopping(vcpu->vmm))
				return;
			continue;
		}
		reason = run->exit_reason;
		vcpu->exits[reason < VMM_NR_EXIT_REASONS ? reason : VMM_NR_EXIT_REASONS - 1]++;
		switch (reason) {
		case KVM_EXIT_IO:
			if (!(vcpu->vmm->pc ? pc_port(vcpu) : handle_io(vcpu)))
				return;
			break;
		case KVM_EXIT_MMIO:
			handle_mmio(vcpu);
			break;
		case KVM_EXIT_HLT: /* no irqchip: re-entering wakes it */
		case KVM_EXIT_INTR:
			break;
		default:
			handle_last_exit(vcpu);
			return;
		}
	}
}

void *vcpu_thread(void *arg)
{
	struct vmm_vcpu *vcpu = arg;
	struct vmm *vmm = vcpu->vmm;
	uint64_t start_ns, start_cpu_ns;
	char name[16];

	/* As QEMU names them; tools that look for vCPU threads know this form. */
	snprintf(name, sizeof(name), "CPU %u/KVM", vcpu->index);
	pthread_setname_np(pthread_self(), name);

	pthread_mutex_lock(&vmm->lock);
	vcpu->tid = gettid();
	vmm->nr_ready++;
	pthread_cond_broadcast(&vmm->cond);
	while (!vmm->started && !vmm_is_stopping(vmm))
		pthread_cond_wait(&vmm->cond, &vmm->lock);
	pthread_mutex_unlock(&vmm->lock);

	start_ns = vmm_clock_ns(CLOCK_MONOTONIC);
	start_cpu_ns = vmm_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	if (!vmm_is_stopping(vmm))
		run_vcpu(vcpu);
	vcpu->elapsed_ns = vmm_clock_ns(CLOCK_MONOTONIC) - start_ns;
	vcpu->cpu_ns = vmm_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start_cpu_ns;

	pthread_mutex_lock(&vmm->lock);
	vcpu->done = vcpu->script_ended;
	vmm_notify(vmm);
	while (vmm->config.linger && !vmm_is_stopping(vmm))
		pthread_cond_wait(&vmm->cond, &vmm->lock);
	pthread_mutex_unlock(&vmm->lock);
	return NULL;
}
