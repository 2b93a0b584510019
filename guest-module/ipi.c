// SPDX-License-Identifier: GPL-2.0-only
/*
 * IPIs: posted to the page of the vCPU that they are for, and notified by the
 * processor's own ICR; see iho_para.h.
 *
 * Linux sends them through functions of its APIC driver (arch/x86/kernel/apic/
 * x2apic_phys.c, x2apic_cluster.c), or of KVM's guest support (arch/x86/kernel/
 * kvm.c). As long as the host does not have the mode on, the hooks let these run.
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/ftrace.h>
#include <linux/irqflags.h>
#include <linux/kvm_para.h>
#include <linux/moduleparam.h>
#include <linux/rcupdate.h>
#include <linux/smp.h>
#include <linux/workqueue.h>
#include <asm/apic.h>
#include <asm/irq_vectors.h>

#include "iho_guest.h"

/* In the control word of a posted-interrupt descriptor */
#define PI_ON		0
#define PI_SN		BIT_ULL(1)
#define PI_NV(control)	((control) >> 16 & 0xff)
#define PI_NDST(control) ((control) >> 32)

static bool ipi = true;
module_param(ipi, bool, 0444);
MODULE_PARM_DESC(ipi, "post IPIs without exits, where KVM offers it (default: yes)");

static const char *state = "off";

/*
 * Who decided by a page that IPIs are in plain form may write it on another vCPU,
 * if it was preempted. So it is decided for all: all senders are ours before the
 * first one posts, and until KVM has every vCPU's ICR again.
 */
static bool ours;
static bool posting;

const char *iho_ipi_state(void)
{
	return state;
}

bool iho_ipi_hooked(void)
{
	return !strcmp(state, "hooked");
}

static __always_inline void write_icr(u64 icr)
{
	/* this MSR is no serializing one: what was posted comes before */
	weak_wrmsr_fence();
	asm volatile("wrmsr" : : "c" (APIC_BASE_MSR + (APIC_ICR >> 4)), "a" ((u32)icr),
		     "d" ((u32)(icr >> 32)) : "memory");
}

static void grow(u64 *field)
{
	WRITE_ONCE(*field, *field + 1);
}

/* False: it cannot be posted there. */
static bool post(struct iho_page *own, unsigned int cpu, int vector)
{
	struct iho_page *to = READ_ONCE(per_cpu(iho_vcpus, cpu).open);
	u32 nested;
	u64 control;

	if (!to || !(READ_ONCE(to->modes) & IHO_DIRECT_IPI))
		return false;
	if (!test_and_set_bit(vector, (unsigned long *)to->pir))
		grow(&own->ipis_posted);
	if (test_and_set_bit(PI_ON, (unsigned long *)&to->control))
		return true;
	control = READ_ONCE(to->control);
	if (control & PI_SN)
		return true;
	/* an NMI may send as well, in between */
	nested = own->ipi_to;
	WRITE_ONCE(own->ipi_to, READ_ONCE(to->vcpu) + 1);
	write_icr(PI_NDST(control) << 32 | PI_NV(control));
	WRITE_ONCE(own->ipi_to, nested);
	grow(&own->ipis_notified);
	return true;
}

/* -KVM_ENOSYS: after a migration, of a KVM without direct mode; the ICR is its own. */
static void ask(struct iho_page *own, u64 icr)
{
	grow(&own->ipis_asked);
	if (kvm_hypercall1(IHO_HC_ICR, icr) == -KVM_ENOSYS)
		write_icr(icr);
}

/*
 * With interrupts off. What was posted while the pages became another KVM's may
 * have reached nobody, and is sent again: an IPI too many does no harm.
 */
static void send_one(unsigned int cpu, int vector)
{
	struct iho_page *own = this_cpu_ptr(&iho_vcpus)->page;
	u32 generation = own ? READ_ONCE(own->generation) : 0;
	u64 icr = (u64)per_cpu(x86_cpu_to_apicid, cpu) << 32;

	icr |= vector == NMI_VECTOR ? APIC_DM_NMI : APIC_DM_FIXED | vector;
	if (!own || !READ_ONCE(posting) || !(READ_ONCE(own->modes) & IHO_DIRECT_IPI)) {
		write_icr(icr);
		return;
	}
	if (vector != NMI_VECTOR && post(own, cpu, vector) &&
	    generation == READ_ONCE(own->generation))
		return;
	ask(own, icr);
}

static void send_mask(const struct cpumask *mask, int vector, bool but_self)
{
	unsigned long flags;
	unsigned int cpu;

	local_irq_save(flags);
	for_each_cpu(cpu, mask)
		if (!but_self || cpu != smp_processor_id())
			send_one(cpu, vector);
	local_irq_restore(flags);
}

static void send(int cpu, int vector)
{
	unsigned long flags;

	local_irq_save(flags);
	send_one(cpu, vector);
	local_irq_restore(flags);
}

static void to_mask(const struct cpumask *mask, int vector)
{
	send_mask(mask, vector, false);
}

static void to_mask_but_self(const struct cpumask *mask, int vector)
{
	send_mask(mask, vector, true);
}

static void to_all(int vector)
{
	send_mask(cpu_online_mask, vector, false);
}

static void to_all_but_self(int vector)
{
	send_mask(cpu_online_mask, vector, true);
}

/* Each in the place of functions of one kind, of those that this kernel has */
static struct hook {
	const char *names[2];
	void *instead;
	struct ftrace_ops ops;
} hooks[] = {
	{ { "x2apic_send_IPI" }, send },
	{ { "x2apic_send_IPI_mask", "kvm_send_ipi_mask" }, to_mask },
	{ { "x2apic_send_IPI_mask_allbutself", "kvm_send_ipi_mask_allbutself" },
	  to_mask_but_self },
	{ { "x2apic_send_IPI_all" }, to_all },
	{ { "x2apic_send_IPI_allbutself" }, to_all_but_self },
};

static void notrace hooked(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			   struct ftrace_regs *fregs)
{
	const struct hook *h = container_of(ops, struct hook, ops);

	if (READ_ONCE(ours))
		ftrace_regs_set_instruction_pointer(fregs, (unsigned long)h->instead);
}

static int registered;

static void unhook(void)
{
	while (registered) {
		registered--;
		unregister_ftrace_function(&hooks[registered].ops);
		ftrace_free_filter(&hooks[registered].ops);
	}
	/* The functions in place of the kernel's, which ftrace does not wait for. */
	synchronize_rcu_tasks();
	synchronize_rcu();
}

static int hook_one(struct hook *h)
{
	int found = -ENOENT, i;

	for (i = 0; i < ARRAY_SIZE(h->names) && h->names[i]; i++) {
		/* an array: it is cut up in there */
		unsigned char name[sizeof("x2apic_send_IPI_mask_allbutself")];

		strscpy(name, h->names[i], sizeof(name));
		if (!ftrace_set_filter(&h->ops, name, strlen(name), found == -ENOENT))
			found = 0;
	}
	if (found) {
		pr_warn("no function %s to be hooked\n", h->names[0]);
		return found;
	}
	h->ops.func = hooked;
	h->ops.flags = FTRACE_OPS_FL_PERMANENT | FTRACE_OPS_FL_IPMODIFY;
	found = register_ftrace_function(&h->ops);
	if (found) {
		pr_warn("%s cannot be hooked: %d\n", h->names[0], found);
		ftrace_free_filter(&h->ops);
	}
	return found;
}

static const char *hook(void)
{
	int ret;

	for (; registered < ARRAY_SIZE(hooks); registered++) {
		ret = hook_one(&hooks[registered]);
		if (ret) {
			unhook();
			return ret == -ENOENT ? "no-function" : "refused";
		}
	}
	return "hooked";
}

static bool wanted(void)
{
	unsigned int cpu;

	for_each_online_cpu(cpu) {
		const struct iho_page *page = READ_ONCE(per_cpu(iho_vcpus, cpu).open);

		if (page && READ_ONCE(page->modes) & IHO_DIRECT_IPI)
			return true;
	}
	return false;
}

static void begin(void)
{
	WRITE_ONCE(ours, true);
	/* Whoever is still in the kernel's functions has written its plain form then. */
	synchronize_rcu_tasks();
	WRITE_ONCE(posting, true);
}

/* With the page KVM gives the ICR back: all of them, before the plain form is anybody's. */
static void end(void)
{
	WRITE_ONCE(posting, false);
	synchronize_rcu();
	iho_pause();
	iho_resume();
	WRITE_ONCE(ours, false);
}

static void change(struct work_struct *work)
{
	cpus_read_lock();
	if (wanted() && !posting)
		begin();
	else if (!wanted() && posting)
		end();
	cpus_read_unlock();
}

static DECLARE_WORK(work, change);

/* From time to time on each vCPU: has KVM changed its mind? */
void iho_ipi_look(const struct iho_page *page)
{
	if (registered && !!(READ_ONCE(page->modes) & IHO_DIRECT_IPI) != READ_ONCE(posting))
		schedule_work(&work);
}

void iho_ipi_start(unsigned long offered)
{
	if (!ipi)
		state = "off";
	else if (!(offered & IHO_DIRECT_IPI))
		state = "not-offered";
	else if (!x2apic_mode)
		state = "no-x2apic";
	else
		state = hook();
}

/* When no page is donated any more */
void iho_ipi_stop(void)
{
	unhook();
	cancel_work_sync(&work);
}
