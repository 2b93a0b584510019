// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the patch in kvm-patches/6.12/core/ does, on a kernel that is built without it: the same
 * look at stopping_cpu, by ftrace in front of the handler of REBOOT_VECTOR.  For a host in x2APIC
 * mode.  What isn't exported comes as a parameter, from /proc/kallsyms.
 */
#include <linux/ftrace.h>
#include <linux/hardirq.h>
#include <linux/module.h>
#include <asm/apicdef.h>
#include <asm/msr.h>

static unsigned long stopping_cpu;
module_param(stopping_cpu, ulong, 0400);
MODULE_PARM_DESC(stopping_cpu, "the address of stopping_cpu");

static void stray(struct pt_regs *regs)
{
	wrmsrl(APIC_BASE_MSR + (APIC_EOI >> 4), APIC_EOI_ACK);
	inc_irq_stat(irq_spurious_count);
	pr_warn_once("CPU%d: stray reboot IPI, ignored\n", raw_smp_processor_id());
}

static void notrace look(unsigned long ip, unsigned long parent, struct ftrace_ops *ops,
			 struct ftrace_regs *fregs)
{
	int stopping = atomic_read((atomic_t *)stopping_cpu);

	if (stopping == -1 || stopping == raw_smp_processor_id())
		ftrace_regs_set_instruction_pointer(fregs, (unsigned long)stray);
}

static struct ftrace_ops ops = {
	.func = look,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY,
};

static int __init reboot_ipi_init(void)
{
	static char handler[] = "__sysvec_reboot";
	int r;

	if (!stopping_cpu)
		return -EINVAL;
	r = ftrace_set_filter(&ops, handler, sizeof(handler) - 1, 1);
	return r ? r : register_ftrace_function(&ops);
}
module_init(reboot_ipi_init);

MODULE_DESCRIPTION("A reboot IPI that this kernel hasn't sent stops no CPU");
MODULE_LICENSE("GPL");
