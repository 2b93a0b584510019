/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "table.h"

/* All tables, by name. */
/* clang-format off */
#define TABLES(X) \
	X(arp_cache) \
	X(bpf_programs) \
	X(credentials) \
	X(ftrace_hooks) \
	X(hidden_modules) \
	X(hidden_processes) \
	X(idt) \
	X(integrity) \
	X(interface_addresses) \
	X(interface_details) \
	X(kernel_info) \
	X(kernel_log) \
	X(kernel_modules) \
	X(kernel_symbols) \
	X(kernel_text) \
	X(kernel_text_pages) \
	X(kprobes) \
	X(listening_ports) \
	X(memory_map) \
	X(mounts) \
	X(os_version) \
	X(process_envs) \
	X(process_memory_map) \
	X(process_namespaces) \
	X(process_open_files) \
	X(process_open_sockets) \
	X(process_strings) \
	X(processes) \
	X(routes) \
	X(sockets) \
	X(syscall_table) \
	X(task_exits) \
	X(threads) \
	X(uptime) \
	X(vcpu_bill) \
	X(vcpu_exits) \
	X(vcpus) \
	X(vms)

#define DECLARE(name) extern const struct vmi_table vmi_table_##name;
#define POINT(name)   &vmi_table_##name,

TABLES(DECLARE)

const struct vmi_table *const vmi_tables[] = { TABLES(POINT) NULL };
