/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the module have of each other; its ABI with KVM is iho_para.h. */
#ifndef IHO_GUEST_H
#define IHO_GUEST_H

#include <linux/ftrace.h>
#include <linux/percpu.h>
#include <linux/types.h>

#include "iho_para.h"

#undef pr_fmt
#define pr_fmt(fmt) "iho_guest: " fmt

/* iho_vcpu.deadline: none is awaited */
#define IHO_STOPPED	U64_MAX

/* All but `open` and what sysfs reads is the CPU's own, touched there with interrupts off. */
struct iho_vcpu {
	struct iho_page *page;		/* donated, or NULL */
	struct iho_page *open;		/* the same, for other vCPUs to post to */
	struct iho_page *memory;	/* for it; kept until the module goes */
	u64 deadline;			/* last written, by the guest's TSC; 0: not by us */
	u64 accounted;			/* when times were last put into the page, TSC */
	u64 asked;			/* when it was last asked whether KVM has the page, TSC */
	unsigned int renewed;		/* times that it had not, and has it again */
	long error;			/* -KVM_E*, of the last donation */
};

DECLARE_PER_CPU(struct iho_vcpu, iho_vcpus);

/* Until Linux 6.2 */
#ifdef ftrace_instruction_pointer_set
#define ftrace_regs_set_instruction_pointer ftrace_instruction_pointer_set
#endif

/* main.c */
const char *iho_state(void);
/* No page is donated from the one to the other, which nest; CPUs do not come or go meanwhile */
void iho_pause(void);
void iho_resume(void);

/* vcpu.c: a vCPU's page; donate and withdraw on the vCPU, with interrupts off */
int iho_vcpu_prepare(unsigned int cpu);
void iho_vcpu_donate(struct iho_vcpu *v);
void iho_vcpu_withdraw(struct iho_vcpu *v);
/* Its page has no modes: maybe KVM has no such page any more */
void iho_vcpu_renew(struct iho_vcpu *v);
/* Before: nobody posts to it, or is about to, when this returns. NULL: to any */
void iho_vcpu_close(struct iho_vcpu *v);
void iho_vcpu_free_all(void);

/* timer.c: its hooks, in the kernel from start to stop */
void iho_timer_start(unsigned long offered);
void iho_timer_stop(void);
const char *iho_timer_state(void);
/* On the vCPU, interrupts off: takes a deadline back, and writes the last one in plain form */
void iho_timer_disarm(struct iho_vcpu *v);
void iho_timer_rearm(struct iho_vcpu *v);

/* ipi.c: its hooks, in the kernel from start to stop */
void iho_ipi_start(unsigned long offered);
void iho_ipi_stop(void);
const char *iho_ipi_state(void);
bool iho_ipi_hooked(void);
/* On the vCPU whose page this is, from time to time: what KVM has made of the mode */
void iho_ipi_look(const struct iho_page *page);

/* bond.c: a process' affair, and rtnl's; nothing of it is needed by the others */
int iho_bond_start(void);
void iho_bond_stop(void);
/* sysfs' file: a line for each pair of devices, or one word */
int iho_bond_show(char *buf);

/* sysfs.c */
int iho_sysfs_add(void);
int iho_sysfs_add_cpus(void);
void iho_sysfs_remove(void);

#endif /* IHO_GUEST_H */
