// SPDX-License-Identifier: GPL-2.0-or-later
/* The VM and the control of its threads. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "linux.h"
#include "vmm_internal.h"

/* Where VMX without unrestricted guest keeps its TSS (3 pages) and identity map: unused GPAs. */
#define TSS_GPA		 0xfffbd000
#define IDENTITY_MAP_GPA 0xfffbc000ULL

#define PAGE_BYTES 4096
#define PAGE_SLOT  2

#define THREAD_STACK_BYTES (256 * 1024)
#define EXTRA_FILES	   64

uint64_t vmm_clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

struct timespec vmm_to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S),
				  .tv_nsec = (long)(ns % NS_PER_S) };
}

void vmm_notify(struct vmm *vmm)
{
	/* It fails only if the counter is about to overflow: then it is readable anyway. */
	if (eventfd_write(vmm->event_fd, 1))
		return;
}

bool vmm_is_stopping(const struct vmm *vmm)
{
	return __atomic_load_n(&vmm->stopping, __ATOMIC_ACQUIRE);
}

void vmm_fail(struct vmm *vmm)
{
	pthread_mutex_lock(&vmm->lock);
	vmm->failed = true;
	pthread_mutex_unlock(&vmm->lock);
	vmm_notify(vmm);
}

void vmm_set_ending(struct vmm *vmm, enum vmm_ending ending)
{
	pthread_mutex_lock(&vmm->lock);
	vmm->ending = ending;
	pthread_mutex_unlock(&vmm->lock);
	vmm_notify(vmm);
}

/* @cpu: the only CPU to run on, NULL: any. */
static int create_thread(pthread_t *thread, const unsigned int *cpu, void *(*func)(void *),
			 void *arg)
{
	cpu_set_t *set = NULL;
	pthread_attr_t attr;
	int ret;

	ret = pthread_attr_init(&attr);
	if (ret)
		return -ret;
	ret = pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
	if (!ret && cpu) {
		size_t set_bytes = CPU_ALLOC_SIZE(*cpu + 1UL);

		set = CPU_ALLOC(*cpu + 1UL);
		if (!set) {
			ret = ENOMEM;
			goto cleanup;
		}
		CPU_ZERO_S(set_bytes, set);
		CPU_SET_S(*cpu, set_bytes, set);
		ret = pthread_attr_setaffinity_np(&attr, set_bytes, set);
	}
	if (!ret)
		ret = pthread_create(thread, &attr, func, arg);
cleanup:
	if (set)
		CPU_FREE(set);
	pthread_attr_destroy(&attr);
	return -ret;
}

int vmm_check_extension(const struct vmm *vmm, int extension)
{
	int ret = ioctl(vmm->kvm_fd, KVM_CHECK_EXTENSION, extension);

	return ret < 0 ? 0 : ret;
}

static int open_kvm(struct vmm *vmm)
{
	int ret, version;

	vmm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vmm->kvm_fd < 0) {
		ret = -errno;
		switch (errno) {
		case ENOENT:
		case ENODEV:
		case ENXIO:
			warnx("no /dev/kvm: load kvm_intel or kvm_amd; if that fails, enable "
			      "virtualization (VT-x, SVM) in the firmware, or nested "
			      "virtualization if this is itself a VM");
			break;
		case EACCES:
		case EPERM:
			warnx("no permission for /dev/kvm: join the group kvm "
			      "(usermod -aG kvm $USER, then log in again) or run as root");
			break;
		default:
			warn("/dev/kvm");
		}
		return ret;
	}
	version = ioctl(vmm->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		warnx("/dev/kvm: API version %d instead of %d", version, KVM_API_VERSION);
		return -ENOTSUP;
	}
	if (!vmm_check_extension(vmm, KVM_CAP_IMMEDIATE_EXIT) ||
	    !vmm_check_extension(vmm, KVM_CAP_USER_MEMORY)) {
		warnx("this KVM lacks KVM_CAP_IMMEDIATE_EXIT or KVM_CAP_USER_MEMORY");
		return -ENOTSUP;
	}
	return 0;
}

static int check_nr_vcpus(const struct vmm *vmm)
{
	int max = vmm_check_extension(vmm, KVM_CAP_MAX_VCPUS);
	int max_id = vmm_check_extension(vmm, KVM_CAP_MAX_VCPU_ID);

	if (max_id > 0 && max_id < max)
		max = max_id;
	if (max > 0 && vmm->config.max_vcpus > (unsigned int)max) {
		warnx("%u vCPUs are more than this KVM's maximum, %d", vmm->config.max_vcpus, max);
		return -EINVAL;
	}
	return 0;
}

/* LAPICs in the kernel, if wanted and possible: without, the VM works too and HLT exits to us. */
static int create_irqchip(struct vmm *vmm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X2APIC_API,
		.args = { KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK },
	};

	if (!vmm->config.irqchip)
		return 0;
	if (!vmm_check_extension(vmm, KVM_CAP_IRQCHIP) ||
	    !vmm_check_extension(vmm, KVM_CAP_SIGNAL_MSI)) {
		warnx("note: this KVM has no in-kernel irqchip; each HLT exits to userspace");
		return 0;
	}
	if (ioctl(vmm->vm_fd, KVM_CREATE_IRQCHIP, 0)) {
		warn("note: each HLT exits to userspace; KVM_CREATE_IRQCHIP");
		return 0;
	}
	if (ioctl(vmm->vm_fd, KVM_ENABLE_CAP, &cap) && vmm->config.max_vcpus > 255) {
		int ret = -errno;

		warn("more than 255 vCPUs need KVM_CAP_X2APIC_API");
		return ret;
	}
	vmm->irqchip = true;
	return 0;
}

/* Only before the first vCPU. */
static int disable_hlt_exits(struct vmm *vmm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X86_DISABLE_EXITS,
		.args = { KVM_X86_DISABLE_EXITS_HLT },
	};
	int ret;

	if (!vmm->config.idle_in_guest)
		return 0;
	if (!(vmm_check_extension(vmm, cap.cap) & KVM_X86_DISABLE_EXITS_HLT)) {
		warnx("this KVM cannot let HLT stay in the guest");
		return -EOPNOTSUPP;
	}
	if (ioctl(vmm->vm_fd, KVM_ENABLE_CAP, &cap)) {
		ret = -errno;
		warn("KVM_CAP_X86_DISABLE_EXITS");
		return ret;
	}
	return 0;
}

static int create_vm(struct vmm *vmm)
{
	uint64_t identity_map = IDENTITY_MAP_GPA;
	int ret;

	do
		vmm->vm_fd = ioctl(vmm->kvm_fd, KVM_CREATE_VM, 0);
	while (vmm->vm_fd < 0 && errno == EINTR);
	if (vmm->vm_fd < 0) {
		ret = -errno;
		warn("KVM_CREATE_VM");
		return ret;
	}
	if (vmm_check_extension(vmm, KVM_CAP_SET_IDENTITY_MAP_ADDR) &&
	    ioctl(vmm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map)) {
		ret = -errno;
		warn("KVM_SET_IDENTITY_MAP_ADDR");
		return ret;
	}
	if (vmm_check_extension(vmm, KVM_CAP_SET_TSS_ADDR) &&
	    ioctl(vmm->vm_fd, KVM_SET_TSS_ADDR, TSS_GPA)) {
		ret = -errno;
		warn("KVM_SET_TSS_ADDR");
		return ret;
	}
	ret = disable_hlt_exits(vmm);
	if (ret)
		return ret;
	return create_irqchip(vmm);
}

static int map_ram(struct vmm *vmm, size_t bytes)
{
	void *ram = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (ram == MAP_FAILED) {
		int ret = -errno;

		warn("%zu MiB of guest memory", bytes >> 20);
		return ret;
	}
	vmm->ram = ram;
	vmm->ram_bytes = bytes;
	return 0;
}

/* Show the guest the part of its memory from @offset on at @gpa. */
static int add_region(struct vmm *vmm, uint32_t slot, uint64_t gpa, size_t offset, size_t bytes)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)vmm->ram + offset,
	};
	int ret;

	if (!ioctl(vmm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region))
		return 0;
	ret = -errno;
	warn("KVM_SET_USER_MEMORY_REGION");
	return ret;
}

static int create_script_ram(struct vmm *vmm)
{
	size_t bytes;
	int ret;

	vmm->area_bytes = guest_area_bytes(vmm->config.max_ops);
	bytes = GUEST_AREAS + vmm->config.max_vcpus * vmm->area_bytes;
	if (bytes > GUEST_MMIO_START) {
		warnx("%u vCPUs with scripts of %zu ops need more than %u MiB of guest memory",
		      vmm->config.max_vcpus, vmm->config.max_ops, GUEST_MMIO_START >> 20);
		return -E2BIG;
	}
	ret = map_ram(vmm, bytes);
	if (ret)
		return ret;
	guest_build(vmm->ram);
	return add_region(vmm, 0, 0, 0, bytes);
}

/* KVM can delete a slot, but not shrink it. The page is the last of the only vCPU's area. */
static int unmap_page(struct vmm *vmm, size_t page)
{
	int ret;

	if (vmm->page_apart)
		return add_region(vmm, PAGE_SLOT, page, page, 0);
	ret = add_region(vmm, 0, 0, 0, 0);
	if (!ret)
		ret = add_region(vmm, 0, 0, 0, page);
	vmm->page_apart = true;
	return ret;
}

int vmm_disturb_page(struct vmm *vmm, unsigned int what)
{
	size_t page = vmm->ram_bytes - PAGE_BYTES;
	int ret = 0;

	if (vmm->config.max_vcpus != 1) {
		warnx("discard, unmap and remap are for a VM of one vCPU");
		return -EINVAL;
	}
	switch (what) {
	case PAGE_DISCARD:
		if (!madvise(vmm->ram + page, PAGE_BYTES, MADV_DONTNEED))
			return 0;
		ret = -errno;
		warn("MADV_DONTNEED");
		return ret;
	case PAGE_UNMAP:
		return unmap_page(vmm, page);
	default:
		ret = add_region(vmm, PAGE_SLOT, vmm->ram_bytes, page, PAGE_BYTES);
		return ret ? ret : add_region(vmm, PAGE_SLOT, page, page, PAGE_BYTES);
	}
}

static int create_linux_ram(struct vmm *vmm)
{
	const struct vmm_linux *boot = vmm->config.boot;
	size_t bytes = boot->memory_bytes;
	size_t low_bytes = bytes < LINUX_LOW_RAM_END ? bytes : LINUX_LOW_RAM_END;
	int ret = map_ram(vmm, bytes);

	if (ret)
		return ret;
	/* Where there are huge pages, nested page faults are rarer; where not, nothing is lost. */
	madvise(vmm->ram, bytes, MADV_HUGEPAGE);
	ret = linux_load(boot, vmm->config.max_vcpus, vmm->ram);
	if (!ret)
		ret = add_region(vmm, 0, 0, 0, low_bytes);
	if (!ret && bytes > low_bytes)
		ret = add_region(vmm, 1, LINUX_HIGH_RAM, low_bytes, bytes - low_bytes);
	return ret;
}

/* What a Linux tenant has and one with scripts has not. */
static int create_pc(struct vmm *vmm)
{
	if (!vmm->config.boot)
		return 0;
	if (!vmm->irqchip) {
		warnx("Linux needs KVM's interrupt controllers");
		return -ENOTSUP;
	}
	cpuid_make_pc(vmm);
	return pc_create(&vmm->pc, vmm->vm_fd, vmm->config.boot->console, &vmm->stopping);
}

static int get_cpuid(struct vmm *vmm)
{
	size_t bytes = sizeof(*vmm->cpuid) + VMM_MAX_CPUID_ENTRIES * sizeof(vmm->cpuid->entries[0]);
	int ret;

	vmm->cpuid = calloc(1, bytes);
	if (!vmm->cpuid) {
		warnx("out of memory");
		return -ENOMEM;
	}
	vmm->cpuid->nent = VMM_MAX_CPUID_ENTRIES;
	if (ioctl(vmm->kvm_fd, KVM_GET_SUPPORTED_CPUID, vmm->cpuid)) {
		ret = -errno;
		warn("KVM_GET_SUPPORTED_CPUID");
		return ret;
	}
	return 0;
}

/* Each vCPU is a descriptor; the usual soft limit, 1024, is too low for 1024 vCPUs. */
static void raise_file_limit(const struct vmm *vmm)
{
	rlim_t want = vmm->config.max_vcpus + EXTRA_FILES;
	struct rlimit limit;

	/* Where this does not help, KVM_CREATE_VCPU says so. */
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= want)
		return;
	limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void ignore_signal(int signal)
{
	(void)signal;
}

static int set_up(struct vmm *vmm)
{
	struct sigaction kick = { .sa_handler = ignore_signal };
	sigset_t kick_set;
	int ret;

	/* No SA_RESTART: the signal's whole purpose is to end KVM_RUN. */
	sigaction(VMM_KICK_SIGNAL, &kick, NULL);
	sigemptyset(&kick_set);
	sigaddset(&kick_set, VMM_KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick_set, NULL); /* whatever we have inherited */
	raise_file_limit(vmm);

	vmm->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vmm->event_fd < 0) {
		ret = -errno;
		warn("eventfd");
		return ret;
	}
	vmm->vcpus = calloc(vmm->config.max_vcpus, sizeof(*vmm->vcpus));
	if (!vmm->vcpus) {
		warnx("out of memory");
		return -ENOMEM;
	}
	ret = open_kvm(vmm);
	if (!ret)
		ret = check_nr_vcpus(vmm);
	if (!ret)
		ret = create_vm(vmm);
	if (!ret)
		ret = vmm->config.boot ? create_linux_ram(vmm) : create_script_ram(vmm);
	if (!ret)
		ret = get_cpuid(vmm);
	if (!ret && vmm->config.no_pv_unhalt)
		cpuid_drop_pv_unhalt(vmm);
	if (!ret)
		ret = create_pc(vmm);
	if (ret)
		return ret;

	ret = ioctl(vmm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ret < (int)sizeof(struct kvm_run)) {
		warn("KVM_GET_VCPU_MMAP_SIZE");
		return -EINVAL;
	}
	vmm->run_bytes = (size_t)ret;
	return 0;
}

int vmm_create(struct vmm **vmm_out, const struct vmm_config *config)
{
	struct vmm *vmm = calloc(1, sizeof(*vmm));
	pthread_condattr_t attr;
	int ret;

	if (!vmm) {
		warnx("out of memory");
		return -ENOMEM;
	}
	vmm->config = *config;
	vmm->kvm_fd = vmm->vm_fd = vmm->event_fd = -1;
	vmm->hlt.shortest_ns = UINT64_MAX;
	pthread_mutex_init(&vmm->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&vmm->cond, &attr);
	pthread_condattr_destroy(&attr);

	ret = set_up(vmm);
	if (ret) {
		vmm_destroy(vmm);
		return ret;
	}
	*vmm_out = vmm;
	return 0;
}

/* Once, and only if there is an HLT to wake from. */
static int start_waker(struct vmm *vmm)
{
	int ret;

	if (vmm->waker_created || !vmm->irqchip || vmm->hlt.shortest_ns == UINT64_MAX)
		return 0;
	ret = create_thread(&vmm->waker, NULL, waker_thread, vmm);
	if (ret) {
		warnx("creating the waker's thread: %s", strerror(-ret));
		return ret;
	}
	vmm->waker_created = true;
	return 0;
}

int vmm_add_vcpu(struct vmm *vmm, const struct script *script)
{
	unsigned int index = vmm->nr_vcpus, nr_pin = vmm->config.nr_pin;
	const unsigned int *cpu = nr_pin ? &vmm->config.pin[index % nr_pin] : NULL;
	struct vmm_vcpu *vcpu = &vmm->vcpus[index];
	int ret;

	if (index == vmm->config.max_vcpus) {
		warnx("vCPU %u: only %u were announced", index, index);
		return -EINVAL;
	}
	vcpu->vmm = vmm;
	vcpu->index = index;
	if (!vmm->pc)
		vcpu->area =
			(struct guest_area *)(vmm->ram + GUEST_AREAS + index * vmm->area_bytes);
	ret = vcpu_create(vcpu, script);
	if (ret)
		goto failed;
	ret = create_thread(&vcpu->thread, cpu, vcpu_thread, vcpu);
	if (ret) {
		if (ret == -EINVAL && cpu)
			warnx("vCPU %u: cannot run on CPU %u: it is offline or not ours to use",
			      index, *cpu);
		else
			warnx("vCPU %u: creating its thread: %s", index, strerror(-ret));
		goto failed;
	}
	vcpu->thread_created = true;
	__atomic_store_n(&vmm->nr_vcpus, index + 1, __ATOMIC_RELEASE);
	return vmm->started ? start_waker(vmm) : 0;
failed:
	vcpu_destroy(vcpu);
	return ret;
}

void vmm_wait_ready(struct vmm *vmm)
{
	pthread_mutex_lock(&vmm->lock);
	while (vmm->nr_ready < vmm->nr_vcpus)
		pthread_cond_wait(&vmm->cond, &vmm->lock);
	pthread_mutex_unlock(&vmm->lock);
}

int vmm_start(struct vmm *vmm)
{
	int ret = start_waker(vmm);

	if (ret)
		return ret;
	pthread_mutex_lock(&vmm->lock);
	vmm->started = true;
	pthread_cond_broadcast(&vmm->cond);
	pthread_mutex_unlock(&vmm->lock);
	return 0;
}

/* Control */

void vmm_open_gate(struct vmm *vmm)
{
	pthread_mutex_lock(&vmm->lock);
	vmm->gate_openings++;
	pthread_cond_broadcast(&vmm->cond);
	pthread_mutex_unlock(&vmm->lock);
}

int vmm_event_fd(const struct vmm *vmm)
{
	return vmm->event_fd;
}

void vmm_get_state(struct vmm *vmm, struct vmm_state *state)
{
	unsigned int nr_at_gate = 0;

	*state = (struct vmm_state){ 0 };
	pthread_mutex_lock(&vmm->lock);
	for (unsigned int i = 0; i < vmm->nr_vcpus; i++) {
		const struct vmm_vcpu *vcpu = &vmm->vcpus[i];

		state->nr_done += vcpu->done;
		/* One that is released, but has not run yet, is no longer at the gate. */
		nr_at_gate += vcpu->at_gate && vcpu->gates_passed >= vmm->gate_openings;
	}
	if (nr_at_gate && nr_at_gate + state->nr_done == vmm->nr_vcpus)
		state->gate = vmm->gate_openings + 1;
	state->failed = vmm->failed;
	state->ending = vmm->ending;
	pthread_mutex_unlock(&vmm->lock);
}

int vmm_stop(struct vmm *vmm)
{
	pthread_mutex_lock(&vmm->lock);
	__atomic_store_n(&vmm->stopping, true, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&vmm->cond);
	pthread_mutex_unlock(&vmm->lock);

	for (unsigned int i = 0; i < vmm->nr_vcpus; i++) {
		struct vmm_vcpu *vcpu = &vmm->vcpus[i];

		/* The flag is for a thread about to enter KVM_RUN, the signal for one inside. */
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELEASE);
		if (vcpu->thread_created)
			pthread_kill(vcpu->thread, VMM_KICK_SIGNAL);
	}
	for (unsigned int i = 0; i < vmm->nr_vcpus; i++) {
		if (vmm->vcpus[i].thread_created)
			pthread_join(vmm->vcpus[i].thread, NULL);
		vmm->vcpus[i].thread_created = false;
	}
	if (vmm->waker_created)
		pthread_join(vmm->waker, NULL);
	vmm->waker_created = false;
	return vmm->pc && !pc_flush(vmm->pc) ? -EIO : 0;
}

void vmm_destroy(struct vmm *vmm)
{
	if (!vmm)
		return;
	vmm_stop(vmm);
	for (unsigned int i = 0; i < vmm->nr_vcpus; i++)
		vcpu_destroy(&vmm->vcpus[i]);
	if (vmm->vm_fd >= 0)
		close(vmm->vm_fd);
	if (vmm->kvm_fd >= 0)
		close(vmm->kvm_fd);
	if (vmm->event_fd >= 0)
		close(vmm->event_fd);
	pc_destroy(vmm->pc);
	if (vmm->ram)
		munmap(vmm->ram, vmm->ram_bytes);
	free(vmm->cpuid);
	free(vmm->vcpus);
	pthread_cond_destroy(&vmm->cond);
	pthread_mutex_destroy(&vmm->lock);
	free(vmm);
}

unsigned int vmm_nr_vcpus(const struct vmm *vmm)
{
	return vmm->nr_vcpus;
}

const struct vmm_vcpu *vmm_vcpu(const struct vmm *vmm, unsigned int index)
{
	return &vmm->vcpus[index];
}

bool vmm_has_irqchip(const struct vmm *vmm)
{
	return vmm->irqchip;
}
