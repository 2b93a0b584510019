#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Tables about processes, files, mounts, sockets, interfaces, routes, modules, the log, symbols, BPF, probes, gates
# and system calls, of a guest of each kernel, row by row beside its own /proc, /sys, statfs(2), ip(8), dmesg(1)
# and bpftool(8). KERNELS="6.12 7" limits it.
#
# The guest tells its truth, is dumped, and tells it again: what was the same both times must be equal in
# the dump, what moved (a clock, a counter) must lie between.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
need_root
make --no-print-directory -s programs >&2 || exit 1
guest_build || exit 1

# What guest/collect does not ask: the sizes of file systems, the PCI slots of interfaces
more_truth() {
	guest_run guest 'cut -d" " -f2 /proc/mounts | while read -r p; do p=$(printf "%b" "$p")
		stat -f -c "%s %b %f %a %c %d %n" "$p"; done' >"$1/statfs"
	guest_run guest 'cd /sys/class/net && for i in *; do
		[ -e $i/device ] && p=$(readlink -f $i/device) && echo "$i $(basename "$(dirname "$p")")"
		done' >"$1/pci"
}

# compare SCRIPT TABLE TRUTH...: by one of the comparers, whose last line says how much it compared
compare() {
	local out
	out=$(tests/vmi/"$1" "${@:2}" "$B/iho-query" --format json --dump "$S/dump.elf" 2>&1)
	ok $? "$kernel: $(tail -n 1 <<<"$out")" || diag "$(head -n 40 <<<"$out")"
}

# It can fail at all: with a line less of the truth there is a row too many
spoiled() { # SCRIPT TABLE FILE LINE TRUTH...
	local out status
	sed -i "$4d" "$S/truth/$3"
	out=$(tests/vmi/"$1" "$2" "${@:5}" "$B/iho-query" --format json --dump "$S/dump.elf" 2>&1)
	status=$?
	[ $status = 1 ] && grep -q ' [1-9][0-9]* differ$' <<<"$out"
	ok $? "$kernel: $2: what the guest does not have is found" || diag "$(tail -n 5 <<<"$out")"
}

# Probes of each kind: armed, not armed, at a return, within a function; and the function tracer
hook() {
	guest_ftrace guest vfs_fsync && guest_kprobe guest do_sys_openat2 &&
		guest_run guest 'cd /sys/kernel/tracing && {
			echo "p:iho_idle do_truncate"
			echo "r:iho_return path_mount"
			echo "p:iho_module veth_open"
		} >>kprobe_events && echo 1 >events/kprobes/iho_return/enable'
}

S=$TMP/snapshot
for kernel in ${KERNELS:-$(guest_kernels)}; do
	rm -rf "$S"
	mkdir -p "$S/truth"
	guest_start guest "$kernel" smp=2
	ok $? "$kernel boots" || continue
	hook
	ok $? "$kernel: probes and the function tracer"
	more_truth "$TMP"
	guest_snapshot guest "$S" && guest_qmp guest cont >/dev/null && guest_truth guest "$S/after"
	ok $? "$kernel: truth, dump, truth"
	guest_stop guest
	mv "$TMP/statfs" "$TMP/pci" "$S/truth/"
	for table in process_open_files mounts sockets process_open_sockets listening_ports \
		interface_details interface_addresses arp_cache routes; do
		compare compare_network.py $table "$S/truth"
	done
	for table in processes threads credentials process_memory_map process_envs process_namespaces \
		kernel_info os_version uptime vcpus; do
		compare compare_processes.py $table "$S/truth" "$S/after"
	done
	for table in kernel_modules kernel_log kernel_symbols bpf_programs kprobes ftrace_hooks idt \
		syscall_table memory_map hidden_processes hidden_modules; do
		compare compare_kernel.py $table "$S/truth" "$S/after"
	done
	spoiled compare_network.py sockets net/tcp '$' "$S/truth"
	spoiled compare_network.py process_open_files proc/1/fd '$' "$S/truth"
	for what in kernel_modules:modules:1 kernel_log:dmesg:1 kernel_symbols:kallsyms:1 \
		bpf_programs:bpf-prog.json:1 kprobes:kprobes:1 ftrace_hooks:tracing-enabled_functions:1 \
		'idt:kallsyms:/ asm_exc_page_fault$/' 'syscall_table:kallsyms:/ __x64_sys_read$/' \
		memory_map:iomem:1; do
		IFS=: read -r table file line <<<"$what"
		spoiled compare_kernel.py "$table" "$file" "$line" "$S/truth" "$S/after"
	done
done
done_testing
