// SPDX-License-Identifier: GPL-2.0-only
/*
 * The timer: how its deadlines are written, and what is counted of it.
 *
 * Linux writes a deadline in lapic_next_deadline(), and stops the timer in
 * lapic_timer_shutdown() (arch/x86/kernel/apic/apic.c). See README.md for why they
 * are hooked by ftrace.
 */
#include <linux/clockchips.h>
#include <linux/ftrace.h>
#include <linux/hrtimer.h>
#include <linux/irqflags.h>
#include <linux/kernel_stat.h>
#include <linux/moduleparam.h>
#include <linux/tick.h>
#include <linux/timekeeping.h>
#include <linux/tracepoint.h>
#include <asm/cpufeature.h>
#include <asm/irq_vectors.h>
#include <asm/msr-index.h>
#include <asm/processor.h>
#include <asm/tsc.h>

#include "iho_guest.h"

/* Cycles of the TSC in one of the clock event device's, as in apic.c */
#define TSC_DIVISOR	8

/* How often it is asked whether KVM still has a page, while nothing is on: an exit each */
#define RENEW_MS	1000ULL

static bool timer = true;
module_param(timer, bool, 0444);
MODULE_PARM_DESC(timer, "write deadlines without exits, where KVM offers it (default: yes)");

static const char *state = "off";
static struct tracepoint *timer_entry;
static bool counting;

const char *iho_timer_state(void)
{
	return state;
}

/* wrmsrl() has a tracepoint; its native form was renamed in 6.16. */
static __always_inline void write_deadline(u64 value)
{
	/* this MSR is no serializing one: what KVM reads of the page is written before */
	weak_wrmsr_fence();
	asm volatile("wrmsr" : : "c" (MSR_IA32_TSC_DEADLINE), "a" ((u32)value),
		     "d" ((u32)(value >> 32)) : "memory");
}

static unsigned long *pir(struct iho_page *page)
{
	return (unsigned long *)page->pir;
}

/*
 * KVM's part may become another at any exit before the WRMSR. Each form works then,
 * but an offset that was read before and written after the processor's TSC
 * changed, which the generation tells.
 */
static void arm(struct iho_page *page, u64 deadline)
{
	u32 generation;

	do {
		generation = READ_ONCE(page->generation);
		if (READ_ONCE(page->modes) & IHO_DIRECT_TIMER) {
			u64 offset = READ_ONCE(page->tsc_offset);

			set_bit(LOCAL_TIMER_VECTOR, pir(page));
			WRITE_ONCE(page->deadline_offset, offset);
			WRITE_ONCE(page->deadline_direct, 1);
			write_deadline(deadline - offset);
			WRITE_ONCE(page->deadlines, page->deadlines + 1);
		} else {
			WRITE_ONCE(page->deadline_direct, 0);
			write_deadline(deadline);
		}
		WRITE_ONCE(page->seen_generation, generation);
	} while (generation != READ_ONCE(page->generation));
}

void iho_timer_disarm(struct iho_vcpu *v)
{
	WRITE_ONCE(v->page->deadline_direct, 0);
	write_deadline(0);
	/* The bit would be delivered with another vCPU's interrupt. */
	clear_bit(LOCAL_TIMER_VECTOR, pir(v->page));
}

/* One that has been is in the past, and makes an interrupt that finds nothing to do. */
void iho_timer_rearm(struct iho_vcpu *v)
{
	if (v->deadline != IHO_STOPPED)
		write_deadline(v->deadline);
}

/* For the provider; 0 where the kernel keeps no account of it. */
static void grow(u64 *field, u64 ns)
{
	if (ns > *field)
		WRITE_ONCE(*field, ns);
}

/*
 * Idle time includes waiting for devices: both leave the core unused. With nohz,
 * kcpustat lags behind while the tick stands still.
 */
static u64 idle_ns(int cpu)
{
	u64 idle = get_cpu_idle_time_us(cpu, NULL);

	if (idle != -1ULL)
		return (idle + get_cpu_iowait_time_us(cpu, NULL)) * NSEC_PER_USEC;
	return kcpustat_this_cpu->cpustat[CPUTIME_IDLE] +
	       kcpustat_this_cpu->cpustat[CPUTIME_IOWAIT];
}

/* What is to be done now and then: once in a millisecond at most */
static void account(struct iho_vcpu *v, struct iho_page *page, u64 now)
{
	if (now - v->accounted < tsc_khz)
		return;
	v->accounted = now;
	grow(&page->idle_ns, idle_ns(smp_processor_id()));
	grow(&page->irq_ns, kcpustat_this_cpu->cpustat[CPUTIME_IRQ]);
	grow(&page->softirq_ns, kcpustat_this_cpu->cpustat[CPUTIME_SOFTIRQ]);
	WRITE_ONCE(page->updated_ns, ktime_get_ns());
	iho_ipi_look(page);
	if (!READ_ONCE(page->modes) && now - v->asked > RENEW_MS * tsc_khz) {
		v->asked = now;
		iho_vcpu_renew(v);
	}
}

/* In place of lapic_next_deadline(): the caller has interrupts off. */
static int next_deadline(unsigned long delta, struct clock_event_device *evt)
{
	struct iho_vcpu *v = this_cpu_ptr(&iho_vcpus);
	u64 now = rdtsc();

	v->deadline = now + (u64)delta * TSC_DIVISOR;
	if (v->page) {
		arm(v->page, v->deadline);
		account(v, v->page, now);
	} else {
		write_deadline(v->deadline);
	}
	return 0;
}

static void notrace to_next_deadline(unsigned long ip, unsigned long parent_ip,
				     struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	ftrace_regs_set_instruction_pointer(fregs, (unsigned long)next_deadline);
}

/*
 * Before lapic_timer_shutdown(), which masks the timer: that stops a deadline in
 * plain form, but none in direct form.
 */
static void notrace before_shutdown(unsigned long ip, unsigned long parent_ip,
				    struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	struct iho_vcpu *v;
	unsigned long flags;

	raw_local_irq_save(flags);
	v = this_cpu_ptr(&iho_vcpus);
	v->deadline = IHO_STOPPED;
	if (v->page && v->page->deadline_direct)
		iho_timer_disarm(v);
	raw_local_irq_restore(flags);
}

/*
 * Permanent: kernel.ftrace_enabled=0 would leave deadlines in plain form while the
 * mode is on.
 */
static struct hook {
	unsigned char name[sizeof("lapic_timer_shutdown")];
	struct ftrace_ops ops;
} hooks[] = {
	{ "lapic_timer_shutdown", {
		.func = before_shutdown,
		.flags = FTRACE_OPS_FL_PERMANENT,
	} },
	{ "lapic_next_deadline", {
		.func = to_next_deadline,
		.flags = FTRACE_OPS_FL_PERMANENT | FTRACE_OPS_FL_IPMODIFY,
	} },
};

static int hooked;

static void unhook(void)
{
	while (hooked) {
		hooked--;
		unregister_ftrace_function(&hooks[hooked].ops);
		ftrace_free_filter(&hooks[hooked].ops);
	}
	/* next_deadline() runs with interrupts off, after ftrace is done with it. */
	synchronize_rcu();
}

static const char *hook(void)
{
	struct hook *h;
	int ret;

	for (h = hooks; h < hooks + ARRAY_SIZE(hooks); h++) {
		ret = ftrace_set_filter(&h->ops, h->name, strlen(h->name), 1);
		if (ret) {
			pr_warn("no function %s to be hooked: %d\n", h->name, ret);
			unhook();
			return "no-function";
		}
		ret = register_ftrace_function(&h->ops);
		if (ret) {
			pr_warn("%s cannot be hooked: %d\n", h->name, ret);
			ftrace_free_filter(&h->ops);
			unhook();
			return "refused";
		}
		hooked++;
	}
	return "hooked";
}

/* On local_timer_entry, which is not exported, before the kernel handles the interrupt */
static void on_timer(void *data, int vector)
{
	struct iho_vcpu *v = this_cpu_ptr(&iho_vcpus);
	struct iho_page *page = v->page;
	u64 now = rdtsc();

	if (!page)
		return;
	WRITE_ONCE(page->fired, page->fired + 1);
	if (now < v->deadline)
		WRITE_ONCE(page->spurious, page->spurious + 1);
	account(v, page, now);
}

static void find_timer_entry(struct tracepoint *tp, void *unused)
{
	if (!strcmp(tp->name, "local_timer_entry"))
		timer_entry = tp;
}

static void count(void)
{
	for_each_kernel_tracepoint(find_timer_entry, NULL);
	counting = timer_entry && !tracepoint_probe_register(timer_entry, on_timer, NULL);
	if (!counting)
		pr_warn("interrupts of the timer are not counted\n");
}

/*
 * An interrupt that comes early is harmless for hrtimer_interrupt() alone: what
 * handles ticks without high resolution takes it for a tick.
 */
void iho_timer_start(unsigned long offered)
{
	count();
	if (!timer)
		state = "off";
	else if (!(offered & IHO_DIRECT_TIMER))
		state = "not-offered";
	else if (!boot_cpu_has(X86_FEATURE_TSC_DEADLINE_TIMER))
		state = "no-deadline-timer";
	else if (hrtimer_resolution != HIGH_RES_NSEC)
		state = "no-high-resolution";
	else
		state = hook();
}

void iho_timer_stop(void)
{
	unhook();
	if (counting)
		tracepoint_probe_unregister(timer_entry, on_timer, NULL);
	tracepoint_synchronize_unregister();
}
