// SPDX-License-Identifier: GPL-2.0-only
/* The page that a vCPU shares with KVM. */
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kvm_para.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include <linux/topology.h>

#include "iho_guest.h"

DEFINE_PER_CPU(struct iho_vcpu, iho_vcpus);

int iho_vcpu_prepare(unsigned int cpu)
{
	struct iho_vcpu *v = per_cpu_ptr(&iho_vcpus, cpu);
	struct page *page;

	if (v->memory)
		return 0;
	page = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL | __GFP_ZERO, 0);
	if (!page)
		return -ENOMEM;
	v->memory = page_address(page);
	return 0;
}

/* The counters stay: they only grow. */
static void clear_for_kvm(struct iho_page *page)
{
	memset(page, 0, offsetof(struct iho_page, deadlines));
	page->ipi_to = 0;
}

void iho_vcpu_donate(struct iho_vcpu *v)
{
	unsigned long gpa;

	if (v->page || !v->memory)
		return;
	clear_for_kvm(v->memory);
	gpa = virt_to_phys(v->memory);
	v->error = kvm_hypercall1(IHO_HC_DONATE, gpa);
	if (v->error == -KVM_EPERM) {
		/* of a kernel that did not come to withdraw it, before a kexec */
		kvm_hypercall0(IHO_HC_WITHDRAW);
		v->error = kvm_hypercall1(IHO_HC_DONATE, gpa);
	}
	if (v->error)
		return;
	WRITE_ONCE(v->page, v->memory);
	WRITE_ONCE(v->open, v->memory);
}

/*
 * The page is known to the KVM that it was donated to, but it may be another one by
 * now, or have been told to forget it.
 */
void iho_vcpu_renew(struct iho_vcpu *v)
{
	long error = kvm_hypercall1(IHO_HC_DONATE, virt_to_phys(v->memory));

	if (!error)
		WRITE_ONCE(v->renewed, v->renewed + 1);
	WRITE_ONCE(v->error, error == -KVM_EPERM ? 0 : error);
}

/* Who posts has interrupts off, from its look at the page on. */
void iho_vcpu_close(struct iho_vcpu *v)
{
	unsigned int cpu;

	if (v)
		WRITE_ONCE(v->open, NULL);
	else
		for_each_possible_cpu(cpu)
			WRITE_ONCE(per_cpu(iho_vcpus, cpu).open, NULL);
	synchronize_rcu();
}

/*
 * A deadline in direct form would be lost with the page, or fire without its bit
 * in PIR: it is taken back before, and written in plain form after.
 */
void iho_vcpu_withdraw(struct iho_vcpu *v)
{
	bool direct;

	if (!v->page)
		return;
	direct = v->page->deadline_direct;
	if (direct)
		iho_timer_disarm(v);
	/* Whatever it returns: there is none then, as after a migration to another KVM. */
	kvm_hypercall0(IHO_HC_WITHDRAW);
	WRITE_ONCE(v->page, NULL);
	clear_for_kvm(v->memory);
	if (direct)
		iho_timer_rearm(v);
}

void iho_vcpu_free_all(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		struct iho_vcpu *v = per_cpu_ptr(&iho_vcpus, cpu);

		free_page((unsigned long)v->memory);
		v->memory = NULL;
	}
}
