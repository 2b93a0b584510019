// SPDX-License-Identifier: GPL-2.0-only
/*
 * What iho_guest takes for KVM's direct mode, in a guest under QEMU's TCG, where
 * VMCALL is an invalid opcode: this module handles that trap as KVM would the
 * hypercalls, and has each WRMSR of iho_guest's looked at. TCG has no TSC deadlines,
 * and ignores the MSR. Kernel timers go on as without.
 *
 * Commands are words written to /sys/kernel/debug/fake_host; what is read there is
 * the state, and the answer to the last "call".
 */
#include <linux/clockchips.h>
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/ftrace.h>
#include <linux/io.h>
#include <linux/kdebug.h>
#include <linux/kprobes.h>
#include <linux/kvm_para.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <asm/irq_vectors.h>
#include <asm/msr-index.h>
#include <asm/processor.h>
#include <asm/trapnr.h>
#include <asm/tsc.h>

#include "iho_para.h"

#ifdef ftrace_instruction_pointer_set
#define ftrace_regs_set_instruction_pointer ftrace_instruction_pointer_set
#endif

/* What IHO_HC_OFFER returns */
static long offer = IHO_ABI_PARA | IHO_DIRECT_TIMER << 8;
module_param(offer, long, 0644);

static struct vcpu {
	struct iho_page *page;
	unsigned int donated;
	unsigned int again;	/* donations of the page that it has */
	unsigned int withdrawn;
	bool lost;		/* the page, with another KVM */
	u64 written;		/* to the deadline's MSR, last */
	unsigned int writes;
} vcpus[8];
static unsigned int refused;	/* hypercalls that were not right */
static u32 modes;
static u64 offset;
static char answer[200] = "none";

/* A page that is whole, empty or used before, and nobody else's */
static long donate(struct vcpu *v, u64 gpa)
{
	struct iho_page *page = __va(gpa);
	int cpu;

	if (v->page) {
		v->again += v->page == page;
		refused += v->page != page;
		return -KVM_EPERM;
	}
	for_each_possible_cpu(cpu)
		if (vcpus[cpu].page == page)
			return -KVM_EINVAL;
	if (!PAGE_ALIGNED(gpa) || !pfn_valid(gpa >> PAGE_SHIFT) ||
	    (memchr_inv(page, 0, 128) && !v->lost))
		return -KVM_EINVAL;
	memset(page, 0, offsetof(struct iho_page, modes));
	v->page = page;
	v->lost = false;
	v->donated++;
	page->tsc_offset = offset;
	page->modes = modes;
	page->generation++;
	return 0;
}

static long withdraw(struct vcpu *v)
{
	if (!v->page) {
		refused++;
		return -KVM_EPERM;
	}
	v->page = NULL;
	v->withdrawn++;
	return 0;
}

/* iho_guest wants a timer with deadlines, which the kernel must not see. */
static void show_deadlines(bool on)
{
	if (on)
		set_cpu_cap(&boot_cpu_data, X86_FEATURE_TSC_DEADLINE_TIMER);
	else
		clear_bit(X86_FEATURE_TSC_DEADLINE_TIMER,
			  (unsigned long *)boot_cpu_data.x86_capability);
}

static long hypercall(struct pt_regs *regs)
{
	struct vcpu *v = &vcpus[smp_processor_id()];

	switch (regs->ax) {
	case IHO_HC_OFFER:
		show_deadlines(true);
		return offer;
	case IHO_HC_DONATE:
		show_deadlines(false);
		return donate(v, regs->bx);
	case IHO_HC_WITHDRAW:
		return withdraw(v);
	}
	return -KVM_ENOSYS;
}

static int on_trap(struct notifier_block *nb, unsigned long event, void *data)
{
	static const u8 vmcall[] = { 0x0f, 0x01, 0xc1 };
	struct die_args *args = data;
	u8 code[sizeof(vmcall)];
	long ret;

	if (event != DIE_TRAP || args->trapnr != X86_TRAP_UD || user_mode(args->regs) ||
	    copy_from_kernel_nofault(code, (void *)args->regs->ip, sizeof(code)) ||
	    memcmp(code, vmcall, sizeof(code)))
		return NOTIFY_DONE;
	ret = hypercall(args->regs);
	if (ret < 0 && ret != -KVM_ENOSYS && ret != -KVM_EPERM)
		refused++;
	args->regs->ax = ret;
	args->regs->ip += sizeof(vmcall);
	return NOTIFY_STOP;
}

static struct notifier_block trap_nb = { .notifier_call = on_trap };

/* ---- KVM is there ---- */

static bool yes(void)
{
	return true;
}

static void notrace to_yes(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			   struct ftrace_regs *fregs)
{
	ftrace_regs_set_instruction_pointer(fregs, (unsigned long)yes);
}

static struct ftrace_ops kvm_ops = { .func = to_yes, .flags = FTRACE_OPS_FL_IPMODIFY };

/* ---- what is written to the MSR ---- */

static int on_wrmsr(struct kprobe *p, struct pt_regs *regs)
{
	struct vcpu *v = &vcpus[smp_processor_id()];

	if ((u32)regs->cx == MSR_IA32_TSC_DEADLINE) {
		v->written = (u32)regs->ax | regs->dx << 32;
		v->writes++;
	}
	return 0;
}

static struct kprobe wrmsr[16];
static int watched;

static void *address_of(const char *symbol)
{
	struct kprobe k = { .symbol_name = symbol };
	void *address;

	if (register_kprobe(&k))
		return NULL;
	address = k.addr;
	unregister_kprobe(&k);
	return address;
}

/* Every WRMSR in the first bytes of a function; what is none a kprobe is not set on. */
static int watch(const char *function)
{
	u8 *code = address_of(function);
	int i, found = 0;

	for (i = 0; code && i < 0x150 && watched < ARRAY_SIZE(wrmsr); i++) {
		struct kprobe *k = &wrmsr[watched];

		if (code[i] != 0x0f || code[i + 1] != 0x30)
			continue;
		k->addr = (kprobe_opcode_t *)(code + i);
		k->pre_handler = on_wrmsr;
		if (!register_kprobe(k)) {
			watched++;
			found++;
		} else {
			memset(k, 0, sizeof(*k));
		}
	}
	return found;
}

static void unwatch(void)
{
	while (watched)
		unregister_kprobe(&wrmsr[--watched]);
	memset(wrmsr, 0, sizeof(wrmsr));
}

/* ---- commands ---- */

#define DELTA 1000000

static int (*set_next_event)(unsigned long delta, struct clock_event_device *evt);
static int (*shut_down)(struct clock_event_device *evt);

/* What the clock event device does, and what of it KVM sees */
static void call(void *unused)
{
	struct vcpu *v = &vcpus[smp_processor_id()];
	unsigned int before = v->writes;
	u64 from, to, deadline;

	from = rdtsc();
	set_next_event(DELTA, NULL);
	to = rdtsc();
	deadline = v->written;
	if (v->page && v->page->deadline_direct)
		deadline += v->page->deadline_offset;
	deadline -= 8ULL * DELTA;
	snprintf(answer, sizeof(answer), "writes=%u right=%d pir=%d direct=%d deadlines=%llu",
		 v->writes - before, from <= deadline && deadline <= to,
		 v->page ? test_bit(LOCAL_TIMER_VECTOR, (unsigned long *)v->page->pir) : -1,
		 v->page ? v->page->deadline_direct : -1, v->page ? v->page->deadlines : 0);
}

/* A device of no features is not the CPU's: only the hook sees it. */
static void call_shutdown(void *unused)
{
	struct clock_event_device dummy = { .features = CLOCK_EVT_FEAT_DUMMY };
	struct vcpu *v = &vcpus[smp_processor_id()];

	v->written = 1;
	shut_down(&dummy);
	snprintf(answer, sizeof(answer), "written=%llu pir=%d direct=%d", v->written,
		 v->page ? test_bit(LOCAL_TIMER_VECTOR, (unsigned long *)v->page->pir) : -1,
		 v->page ? v->page->deadline_direct : -1);
}

static void set_modes(void *unused)
{
	struct iho_page *page = vcpus[smp_processor_id()].page;

	if (!page)
		return;
	page->tsc_offset = offset;
	page->modes = modes;
	page->generation++;
}

/* Drained by one KVM, and with the next, which has no page */
static void migrate(void *unused)
{
	struct vcpu *v = &vcpus[smp_processor_id()];

	if (!v->page)
		return;
	v->page->modes = 0;
	v->page->generation++;
	v->page = NULL;
	v->lost = true;
}

static ssize_t command_write(struct file *file, const char __user *from, size_t size, loff_t *pos)
{
	char line[64] = "";
	unsigned int cpu;

	if (size >= sizeof(line) || copy_from_user(line, from, size))
		return -EINVAL;
	if (sscanf(line, "call %u", &cpu) == 1)
		smp_call_function_single(cpu, call, NULL, 1);
	else if (sscanf(line, "shutdown %u", &cpu) == 1)
		smp_call_function_single(cpu, call_shutdown, NULL, 1);
	else if (sscanf(line, "modes %u %llu", &modes, &offset) == 2)
		on_each_cpu(set_modes, NULL, 1);
	else if (!strncmp(line, "migrate", 7))
		on_each_cpu(migrate, NULL, 1);
	else if (!strncmp(line, "watch", 5))
		snprintf(answer, sizeof(answer), "%d %d %d %d", watch("iho_guest:next_deadline"),
			 watch("iho_guest:before_shutdown"), watch("iho_guest:iho_timer_disarm"),
			 watch("iho_guest:iho_timer_rearm"));
	else if (!strncmp(line, "unwatch", 7))
		unwatch();
	else
		return -EINVAL;
	return size;
}

static int show(struct seq_file *f, void *unused)
{
	int cpu;

	for_each_present_cpu(cpu)
		seq_printf(f, "cpu%d has=%d donated=%u withdrawn=%u written=%llu again=%u\n", cpu,
			   !!vcpus[cpu].page, vcpus[cpu].donated, vcpus[cpu].withdrawn,
			   vcpus[cpu].written, vcpus[cpu].again);
	seq_printf(f, "refused %u\nanswer %s\n", refused, answer);
	return 0;
}

static int command_open(struct inode *inode, struct file *file)
{
	return single_open(file, show, NULL);
}

static const struct file_operations fops = {
	.owner = THIS_MODULE,
	.open = command_open,
	.read = seq_read,
	.write = command_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static struct dentry *file;

static int __init fake_host_init(void)
{
	static unsigned char name[] = "kvm_para_available";
	int ret;

	set_next_event = address_of("lapic_next_deadline");
	shut_down = address_of("lapic_timer_shutdown");
	if (!set_next_event || !shut_down || nr_cpu_ids > ARRAY_SIZE(vcpus))
		return -ENOENT;
	ret = ftrace_set_filter(&kvm_ops, name, strlen(name), 1);
	if (!ret)
		ret = register_ftrace_function(&kvm_ops);
	if (ret)
		return ret;
	register_die_notifier(&trap_nb);
	file = debugfs_create_file("fake_host", 0600, NULL, NULL, &fops);
	return 0;
}

static void __exit fake_host_exit(void)
{
	debugfs_remove(file);
	unwatch();
	unregister_die_notifier(&trap_nb);
	unregister_ftrace_function(&kvm_ops);
	ftrace_free_filter(&kvm_ops);
}

module_init(fake_host_init);
module_exit(fake_host_exit);
MODULE_DESCRIPTION("Direct mode's hypercalls, for a test");
MODULE_LICENSE("GPL");
