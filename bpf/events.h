/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel tracepoints that the collector listens to: the one list.
 *
 * X(name, group, what a user loses where this host does not have it)
 *
 * The BPF program of an event is called on_<name>; iho-top --features, the JSON's "events" object
 * and the test that compares this list with the programs are all made from here.
 */
#ifndef IHO_EVENTS_H
#define IHO_EVENTS_H

#define IHO_EVENTS(X)                                                                              \
	X(sched_switch, sched, "nothing works without it")                                         \
	X(sched_wakeup, sched, "waiting for a core cannot be told from sleeping")                  \
	X(sched_migrate_task, sched, "moves between cores are not counted")                        \
	X(kvm_entry, kvm, "guest time cannot be told from KVM time")                               \
	X(kvm_exit, kvm, "no exit reasons and no exit latencies")                                  \
	X(kvm_userspace_exit, kvm, "no time in the VMM and no userspace exit reasons")             \
	X(kvm_fpu, kvm, "the VMM's time lasts until the guest runs, not until KVM_RUN starts")     \
	X(kvm_halt_poll_ns, kvm, "halt polling may be billed although it is off")                  \
	X(kvm_vcpu_wakeup, kvm, "halt polling is billed as KVM time")                              \
	X(kvm_pio, kvm, "no I/O ports")                                                            \
	X(kvm_mmio, kvm, "no MMIO pages")                                                          \
	X(kvm_fast_mmio, kvm, "no fast (ioeventfd) MMIO pages")                                    \
	X(kvm_msr, kvm, "no MSRs")                                                                 \
	X(kvm_cpuid, kvm, "no CPUID leaves")                                                       \
	X(kvm_cr, kvm, "no control register accesses")                                             \
	X(kvm_hypercall, kvm, "no hypercall numbers")                                              \
	X(kvm_emulate_insn, kvm, "emulated instructions are not counted")                          \
	X(kvm_page_fault, kvm, "guest page faults are not counted")                                \
	X(kvm_inj_virq, kvm, "no injected interrupt vectors")                                      \
	X(kvm_inj_exception, kvm, "no injected exceptions")                                        \
	X(kvm_apic_accept_irq, kvm, "no interrupts accepted by the software APIC")                 \
	X(kvm_apicv_accept_irq, kvm, "no interrupts accepted by APICv or AVIC")                    \
	X(kvm_apic_ipi, kvm, "no IPI vectors")                                                     \
	X(kvm_eoi, kvm, "EOI writes are not counted")                                              \
	X(kvm_pv_eoi, kvm, "paravirtual EOIs are not counted")                                     \
	X(kvm_msi_set_irq, kvm, "MSIs are not counted")                                            \
	X(kvm_pi_irte_update, kvm, "posted device interrupts: set-up is not seen")                 \
	X(kvm_apicv_inhibit_changed, kvm, "changes of APICv or AVIC are not seen")                 \
	X(kvm_ple_window_update, kvm, "pause-loop windows are not seen")                           \
	X(kvm_async_pf_not_present, kvm, "asynchronous page faults are not counted")               \
	X(kvm_async_pf_ready, kvm, "completed asynchronous page faults are not counted")           \
	X(kvm_async_pf_completed, kvm, "finished asynchronous page-ins are not counted")           \
	X(kvm_async_pf_repeated_fault, kvm, "repeated asynchronous page faults are not counted")   \
	X(kvm_dirty_ring_push, kvm, "dirty-ring entries are not counted")                          \
	X(kvm_dirty_ring_reset, kvm, "dirty-ring resets are not counted")                          \
	X(kvm_dirty_ring_exit, kvm, "exits for a full dirty ring are not counted")                 \
	X(kvm_iho_modes, kvm, "switches of HLT exits (patched KVM only) are not seen")             \
	X(kvm_direct_vcpu, kvm, "changes of direct mode (patched KVM only) are not seen")          \
	X(kvm_direct_stat, kvm, "no counters of direct mode (patched KVM only)")                   \
	X(irq_handler_entry, irq, "device interrupts are not seen as interlopers")                 \
	X(irq_handler_exit, irq, "device interrupts are not seen as interlopers")                  \
	X(softirq_entry, irq, "softirqs are not seen as interlopers")                              \
	X(softirq_exit, irq, "softirqs are not seen as interlopers")

enum iho_event {
#define IHO_EVENT_ENUM(name, group, loss) IHO_EV_##name,
	IHO_EVENTS(IHO_EVENT_ENUM)
#undef IHO_EVENT_ENUM
		IHO_EV_MAX,
};

#endif /* IHO_EVENTS_H */
