// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's side of KVM's direct mode: finds out whether there is one, gives each
 * vCPU its page, and takes it back before a vCPU or the kernel goes. The bond of
 * network devices, in bond.c, needs none of it.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/kvm_para.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/smp.h>
#include <linux/suspend.h>
#include <asm/processor.h>

#include "iho_guest.h"

#define OFFER_ABI	0xff
#define OFFER_MODES	8

static const char *state;
static unsigned long offered;
static bool present;	/* KVM's direct mode */
static unsigned int paused;	/* no page is to be donated: changed with all CPUs held */
static DEFINE_MUTEX(pausing);
static unsigned int coming = UINT_MAX;	/* the CPU that is being brought up */
static int online_state, coming_state;

const char *iho_state(void)
{
	if (present && READ_ONCE(paused))
		return "paused";
	return state;
}

/* vmcall is Intel's: on a processor that is not, another KVM might take it for something. */
static const char *ask(void)
{
	long offer;

	if (!kvm_para_available())
		return "no-kvm";
	if (boot_cpu_data.x86_vendor != X86_VENDOR_INTEL)
		return "no-vmx";
	offer = kvm_hypercall0(IHO_HC_OFFER);
	if (offer == -KVM_EOPNOTSUPP)
		return "not-this-vm";
	if (offer < 0)
		return "no-offer";
	if ((offer & OFFER_ABI) != IHO_ABI_PARA)
		return "other-abi";
	offered = offer >> OFFER_MODES;
	present = true;
	return "active";
}

static void donate_here(void *unused)
{
	iho_vcpu_donate(this_cpu_ptr(&iho_vcpus));
}

static void withdraw_here(void *unused)
{
	iho_vcpu_withdraw(this_cpu_ptr(&iho_vcpus));
}

void iho_pause(void)
{
	mutex_lock(&pausing);
	WRITE_ONCE(paused, paused + 1);
	if (paused == 1) {
		iho_vcpu_close(NULL);
		on_each_cpu(withdraw_here, NULL, 1);
	}
	mutex_unlock(&pausing);
}

void iho_resume(void)
{
	mutex_lock(&pausing);
	WRITE_ONCE(paused, paused - 1);
	if (!paused)
		on_each_cpu(donate_here, NULL, 1);
	mutex_unlock(&pausing);
}

static void set_paused(bool pause)
{
	cpus_read_lock();
	if (pause)
		iho_pause();
	else
		iho_resume();
	cpus_read_unlock();
}

/*
 * A CPU is started by INIT and SIPI, which the kernel writes to the ICR where no
 * hook is: it has to be KVM's.
 */
static int vcpu_coming(unsigned int cpu)
{
	if (!iho_ipi_hooked())
		return 0;
	coming = cpu;
	iho_pause();
	return 0;
}

/* Or did not. */
static int came(unsigned int cpu)
{
	if (coming != cpu)
		return 0;
	coming = UINT_MAX;
	iho_resume();
	return 0;
}

static int vcpu_online(unsigned int cpu)
{
	struct iho_vcpu *v = this_cpu_ptr(&iho_vcpus);
	unsigned long flags;
	int ret;

	/* A vCPU that KVM keeps out of it is no reason not to have it. */
	ret = iho_vcpu_prepare(cpu);
	came(cpu);
	if (ret || paused)
		return 0;
	local_irq_save(flags);
	iho_vcpu_donate(v);
	local_irq_restore(flags);
	if (v->error)
		pr_warn("cpu %u: KVM does not take its page: %ld\n", cpu, v->error);
	return 0;
}

static int vcpu_offline(unsigned int cpu)
{
	unsigned long flags;

	iho_vcpu_close(this_cpu_ptr(&iho_vcpus));
	local_irq_save(flags);
	iho_vcpu_withdraw(this_cpu_ptr(&iho_vcpus));
	local_irq_restore(flags);
	return 0;
}

/* Also what is in an image of hibernation knows of no page of a KVM that has gone. */
static int on_power(struct notifier_block *nb, unsigned long event, void *unused)
{
	switch (event) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		set_paused(true);
		break;
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		set_paused(false);
		break;
	}
	return NOTIFY_DONE;
}

/* Also before a kexec: the next kernel's memory is not to be KVM's. */
static int on_reboot(struct notifier_block *nb, unsigned long event, void *unused)
{
	set_paused(true);
	return NOTIFY_DONE;
}

static struct notifier_block power_nb = { .notifier_call = on_power };
static struct notifier_block reboot_nb = { .notifier_call = on_reboot };

static int start(void)
{
	int ret;

	ret = iho_sysfs_add_cpus();
	if (ret)
		return ret;
	/* Hooked before the first page: from then on the mode may be on. */
	iho_timer_start(offered);
	iho_ipi_start(offered);
	ret = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "x86/iho_guest:prepare",
					vcpu_coming, came);
	if (ret < 0)
		goto err_hooks;
	coming_state = ret;
	ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "x86/iho_guest:online", vcpu_online,
				vcpu_offline);
	if (ret < 0)
		goto err_coming;
	online_state = ret;
	ret = register_pm_notifier(&power_nb);
	if (ret)
		goto err_cpuhp;
	ret = register_reboot_notifier(&reboot_nb);
	if (ret)
		goto err_pm;
	return 0;

err_pm:
	unregister_pm_notifier(&power_nb);
err_cpuhp:
	cpuhp_remove_state(online_state);
err_coming:
	cpuhp_remove_state_nocalls(coming_state);
err_hooks:
	iho_timer_stop();
	iho_ipi_stop();
	iho_vcpu_free_all();
	return ret;
}

static void stop(void)
{
	unregister_reboot_notifier(&reboot_nb);
	unregister_pm_notifier(&power_nb);
	/* withdraws all pages; then no deadline and no IPI is in direct form */
	set_paused(true);
	cpuhp_remove_state(online_state);
	cpuhp_remove_state_nocalls(coming_state);
	iho_timer_stop();
	iho_ipi_stop();
}

static int __init iho_guest_init(void)
{
	int ret;

	state = ask();
	ret = iho_sysfs_add();
	if (ret)
		return ret;
	if (present) {
		ret = start();
		if (ret)
			goto err_sysfs;
		pr_info("direct mode: timer %s, ipi %s\n", iho_timer_state(), iho_ipi_state());
	} else {
		pr_info("no direct mode here: %s\n", state);
	}
	ret = iho_bond_start();
	if (ret)
		goto err_direct;
	return 0;

err_direct:
	if (present)
		stop();
err_sysfs:
	iho_sysfs_remove();
	iho_vcpu_free_all();
	return ret;
}

static void __exit iho_guest_exit(void)
{
	iho_bond_stop();
	if (present)
		stop();
	iho_sysfs_remove();
	iho_vcpu_free_all();
}

module_init(iho_guest_init);
module_exit(iho_guest_exit);
MODULE_AUTHOR("IHO maintainers");
MODULE_DESCRIPTION("Guest side of KVM's direct mode, and the bond of VF and virtio-net");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
