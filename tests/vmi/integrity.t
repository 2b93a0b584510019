#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What rootkits do is found, and what honest people do is not: in a running guest the
# test rootkit does one trick after the other and undoes it; before, between and after, beside
# ordinary modules, BPF programs and tracers, nothing is found. KERNELS="6.12" chooses others.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
need_root
make --no-print-directory -s "$B/iho-query" >&2 || exit 1
guest_build || exit 1
Q=$B/iho-query

# Each finding as TABLE|WHICH|SUBJECT|EVIDENCE. Without a reference text is not judged, nor LSTAR
# where the hypervisor does not tell it; what else cannot be told is a finding here.
FINDINGS="SELECT 'integrity' || '|' || check_name || '|' || subject || '|' || verdict || ': ' || evidence AS f
	FROM integrity WHERE verdict = 'bad' OR (verdict = 'unknown' AND check_name <> 'text'
		AND evidence <> 'its LSTAR is not known')
	UNION ALL SELECT 'hidden_processes|' || pid || '|' || name || '|' || missing FROM hidden_processes
	UNION ALL SELECT 'hidden_modules|' || coalesce(name, '') || '|' || address || '|' || coalesce(missing, '')
		FROM hidden_modules
	UNION ALL SELECT 'syscall_table|' || abi || '|' || nr || '|' || coalesce(symbol, address) FROM syscall_table
		WHERE expected = 0
	UNION ALL SELECT 'idt|' || vector || '||' || coalesce(symbol, offset) FROM idt WHERE expected = 0"

findings() { # TARGET...
	$Q "$@" --format json "$FINDINGS" 2>&1 | jq -r 'if type == "array" then .[].f else tostring end' 2>&1
}

clean() { # WHEN
	is "$(findings --vm "$vm")" "" "$kernel: nothing is found $1"
}

wanted=()

# One more trick is done; REGEX...: what is to be found then
trick() { # NAME PID AT TO CPU-MASK REGEX...
	guest_run g "taskset $5 sh -c 'echo $1 $2 $3 $4 >/proc/iho-rootkit'"
	ok $? "$kernel: $1 is done" || return
	shift 5
	wanted+=("$@")
}

# What is found of the tricks done: each wanted, and nothing else; when they are undone nothing is
found() { # NAME CPU-MASK
	local got regex all
	got=$(findings --vm "$vm")
	for regex in "${wanted[@]}"; do
		like "$got" "$regex" "$kernel: $1: found: $regex"
	done
	all=$(printf '%s\n' "${wanted[@]}")
	is "$(grep -vE -- "$all" <<<"$got")" "" "$kernel: $1: nothing else is found"
	case $kernel:$1 in
	6.12:tasks | 6.12:code | 6.12:registers)
		guest_dump g "$TMP/dump"
		is "$(findings --dump "$TMP/dump" | sort)" "$(sort <<<"$got")" "$kernel: $1: the same in a dump"
		rm -f "$TMP/dump"
		;;
	esac
	wanted=()
	guest_run g "taskset $2 sh -c 'echo undo 0 0 0 >/proc/iho-rootkit'"
	clean "when $1 is undone"
}

symbol() { awk -v s="$1" -v m="${2-}" '$3 == s && $4 == m { print $1; exit }' "$TMP/kallsyms"; } # NAME [MODULE]
at() { printf '%x' $((0x$(symbol "$1") + ${2:-0})); } # SYMBOL OFFSET

x64() { symbol "__x64_sys_$1"; } # SYSTEM-CALL

task_tricks() {
	local pids
	pids=$(guest_run g 'for i in 1 2 3 4 5; do sleep 100000 </dev/null >/dev/null 2>&1 & echo $!; done')
	# shellcheck disable=SC2086
	set -- $pids
	trick task_list "$1" 0 0 1 "^hidden_processes\|$1\|sleep\|list$" \
		"^integrity\|tasks\|pid $1 sleep\|bad: seen in pid,tree,cgroup, not in list$"
	trick task_pid "$2" 0 0 1 "^hidden_processes\|$2\|sleep\|pid$" \
		"^integrity\|tasks\|pid $2 sleep\|bad: seen in list,tree,cgroup, not in pid$"
	trick task_tree "$3" 0 0 1 "^hidden_processes\|$3\|sleep\|tree$" \
		"^integrity\|tasks\|pid $3 sleep\|bad: seen in list,pid,cgroup, not in tree$"
	trick task_all "$4" 0 0 1 "^hidden_processes\|$4\|sleep\|list,pid,tree$" \
		"^integrity\|tasks\|pid $4 sleep\|bad: seen in cgroup, not in list,pid,tree$"
	trick cred "$5" "$(symbol init_cred)" 0 1 \
		"^integrity\|credentials\|pid $5 sleep\|bad: .*kernel's first thread"
	found tasks 1
}

module_tricks() {
	trick hide_list 0 0 0 1 "^hidden_modules\|rootkit\|0x$text\|list$" \
		"^integrity\|modules\|rootkit\|bad: is loaded at 0x$text: .*not in list$"
	found hide_list 1
	trick hide_sysfs 0 0 0 1 "^hidden_modules\|rootkit\|0x$text\|sysfs$" \
		"^integrity\|modules\|rootkit\|bad: is loaded at 0x$text: .*not in sysfs$"
	found hide_sysfs 1
	trick hide_tree 0 "$(symbol mod_tree)" 0 1 "^hidden_modules\|rootkit\|0x$text\|tree$" \
		"^integrity\|modules\|rootkit\|bad: is loaded at 0x$text: .*not in tree$"
	found hide_tree 1
	trick hide_all 0 "$(symbol mod_tree)" 0 1 "^hidden_modules\|rootkit\|0x$text\|list,tree,sysfs$" \
		"^integrity\|modules\|rootkit\|bad: is loaded at 0x$text: seen in memory, not in list,tree,sysfs$"
	found hide_all 1
	trick hide_traces 0 "$(symbol mod_tree)" 0 1 "^hidden_modules\|\|0x$text\|$" \
		"^integrity\|modules\|0x$text\|bad: .* bytes of code belong to nothing known"
	found hide_traces 1
	trick kprobe_hidden 0 "$(x64 swapoff)" 0 1 "^hidden_modules\|rootkit\|0x$text\|list$" \
		"^integrity\|modules\|rootkit\|bad: is loaded at 0x$text: .*not in list$" \
		"^integrity\|kprobes\|__x64_sys_swapoff(\+0x4)?\|bad: a kprobe there calls 0x$(symbol handler "[rootkit]"), where no code is known$"
	found kprobe_hidden 1
}

# Each at another system call that nobody uses
code_tricks() {
	local hooked='hooked \[rootkit\]' handler='handler \[rootkit\]'

	trick ftrace 0 "$(x64 swapon)" 0 1 \
		"^integrity\|ftrace\|ops 0x$(symbol ops "[rootkit]")\|bad: callback \[rootkit\] may change where functions go"
	trick kprobe 0 "$(x64 chroot)" 0 1 \
		"^integrity\|kprobes\|__x64_sys_chroot(\+0x4)?\|unknown: a kprobe there calls $handler, which is a module's$"
	trick word 0 "$(at sys_call_table $((168 * 8)))" 0 1 \
		"^integrity\|syscalls\|x64 168 swapoff\|bad: the table leads to $hooked$" \
		"^integrity\|constants\|sys_call_table\+0x540\|bad: leads to $hooked$"
	trick word 0 "$(at sys_call_table $((155 * 8)))" "$(x64 chroot)" 1 \
		"^integrity\|syscalls\|x64 155 pivot_root\|bad: the table leads to __(x64|se)_sys_chroot, which is another function$"
	trick gate 0 "$(at idt_table $((4 * 16)))" 0 1 "^idt\|4\|\|$hooked" \
		"^integrity\|idt\|vector 4\|bad: the gate leads to $hooked$"
	if [ -n "$(symbol x64_sys_call)" ]; then
		trick leaf 0 "$(symbol x64_sys_call)" "$(x64 quotactl)" 1 "^syscall_table\|x64\|179\|$hooked" \
			"^integrity\|syscalls\|x64 179 quotactl\|bad: the switch leads to $hooked$" \
			"^integrity\|branches\|x64_sys_call\+0x[0-9a-f]+\|bad: jumps to $hooked$"
	else
		# Calls go by the table
		wanted+=("^syscall_table\|x64\|168\|$hooked" "^syscall_table\|x64\|155\|__(x64|se)_sys_chroot$")
	fi
	trick jump 0 "$(x64 acct)" 0 1 "^integrity\|branches\|__(x64|se)_sys_acct\|bad: jumps to $hooked$"
	trick movabs 0 "$(x64 sethostname)" 0 1 \
		"^integrity\|branches\|__(x64|se)_sys_sethostname\|bad: goes to $hooked$"
	trick push 0 "$(x64 setdomainname)" 0 1 \
		"^integrity\|branches\|__(x64|se)_sys_setdomainname\|bad: goes to $hooked$"
	trick breakpoint 0 "$(x64 delete_module)" 0 1 \
		"^integrity\|branches\|__(x64|se)_sys_delete_module\|bad: a breakpoint that no kprobe set"
	found code 1
}

register_tricks() {
	trick write_protect 0 0 0 2 '^integrity\|registers\|vcpu 1\|bad: .*CR0 is 0x[0-9a-f]+: WP is off'
	trick smep 0 0 0 2 '^integrity\|registers\|vcpu 1\|bad: .*CR4 is 0x[0-9a-f]+, without SMEP SMAP'
	trick idtr 0 "$(symbol idt_table)" 0 2 \
		'^integrity\|registers\|vcpu 1\|bad: .*IDTR holds 0x[0-9a-f]+, limit 0xfff, which is not idt_table'
	found registers 2
}

function_id() { # NAME: its number among the kernel's types
	PATH=$PATH:/usr/sbin:/sbin bpftool btf dump file "$GUEST_LAB/$kernel/vmlinux" |
		sed -n "s/^\[\([0-9]*\)\] FUNC '$1' .*/\1/p" | head -n 1
}

column() { $Q --vm "$vm" --format csv "$1" | tr -d '\r' | tail -n +2 | sort -u | xargs; } # SQL

# What honest administrators do is in the tables as what it is, and is no finding
honest() {
	local modules="dummy veth unix_diag tcp_diag udp_diag raw_diag"
	guest_run g "for m in $modules; do rmmod \$m; insmod /modules/\$m.ko || exit 1; done" >"$TMP/out" 2>&1
	ok $? "$kernel: modules leave and come" || diag "$(cat "$TMP/out")"
	clean "when modules were loaded anew"

	guest_kprobe g do_sys_openat2 && guest_run g "cd /sys/kernel/tracing &&
		echo 'r:iho_return vfs_write' >>kprobe_events && echo 1 >events/kprobes/iho_return/enable"
	ok $? "$kernel: kprobe events"
	guest_put g "$TMP/rootkit/ordinary" /run/ordinary
	like "$(guest_run g "i=\$(cat /sys/class/net/dummy0/ifindex)
		/run/ordinary $(function_id vfs_read) \$i \$(cat /sys/kernel/tracing/events/kprobes/iho_do_sys_openat2/id) \
			</dev/null >/run/ordinary.out 2>&1 &
		until [ -s /run/ordinary.out ]; do sleep 0.1; done; cat /run/ordinary.out")" \
		'^kprobe fentry xdp' "$kernel: BPF programs at a kprobe, a function, an interface"
	clean "beside kprobe events, and BPF programs attached"
	like "$(column "SELECT name FROM bpf_programs")" \
		'iho_egress.* iho_raw.* iho_tracepoint.* ord_fentry.* ord_kprobe.* ord_xdp' "$kernel: the programs are shown"
	like "$(column "SELECT symbol || '=' || pre_symbol FROM kprobes")" \
		'do_sys_openat2\+0x[04]=kprobe_dispatcher.* vfs_write\+0x[04]=' "$kernel: the kprobes are shown"

	guest_ftrace g vfs_statx
	ok $? "$kernel: the function tracer"
	clean "beside the function tracer"
	like "$(column "SELECT symbol FROM ftrace_hooks WHERE kind = 'function'")" vfs_statx \
		"$kernel: the function is shown as hooked"
	guest_run g 'cd /sys/kernel/tracing && echo function_graph >current_tracer'
	ok $? "$kernel: the graph tracer"
	clean "beside the graph tracer"
	guest_untrace g
	clean "when nothing is traced"
}

for kernel in ${KERNELS:-5.10 6.1 6.12 6.18 7}; do
	tests/vmi/rootkit/build.sh "$GUEST_LAB/$kernel/vmlinux" "$TMP/rootkit" >&2
	ok $? "$kernel: the rootkit is built" || continue
	guest_start g "$kernel" smp=2 mem=256M || exit 1
	vm=$GUEST_PID
	clean "in a clean guest, with modules and BPF programs"

	honest

	guest_put g "$TMP/rootkit/rootkit.ko" /run/rootkit.ko
	guest_put g "$TMP/rootkit/load" /run/load
	guest_run g '/run/load /run/rootkit.ko && cat /proc/kallsyms' >"$TMP/kallsyms"
	ok $? "$kernel: the rootkit is loaded" || { guest_stop g; continue; }
	text=$(guest_run g 'cat /sys/module/rootkit/sections/.text' | sed 's/^0x//')
	clean "while it does nothing"
	task_tricks
	module_tricks
	code_tricks
	register_tricks
	guest_stop g
done
done_testing
