#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guests that introspection is tested with are what they claim to be: each kernel boots, the
# workload is there, the truth is of the moment of the dump, and the options do what they say.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh

# What no kernel has changed since: name, state and number of a role's processes
roles() { # PROC-FOLDER
	local f
	for f in "$1"/*/status; do
		awk '$1 == "Name:" { n = substr($0, 7) } $1 == "State:" { s = $2 } $1 == "Kthread:" { k = $2 }
			END { print s, n }' "$f"
	done | sort | uniq -c | awk '{ $1 = $1; print }'
}

one_kernel() { # KERNEL
	local d=$TMP/$1 t p
	guest_start guest "$1" vmcoreinfo=on
	ok $? "$1 boots with its workload" || return
	guest_snapshot guest "$d"
	ok $? "$1: truth and dumps" || { guest_stop guest; return; }
	t=$d/truth
	is "$(awk '{print $3}' "$t/uname")" "$(cat "$GUEST_LAB/$1/release")" "$1: is that kernel"
	p=$(roles "$t/proc")
	for r in '1 S plain' '3 Z zombies' '1 Z leaderless' '1 T stopped' '1 t tracee' '1 D vfork' \
		'1 S a) S 1 (b\n\\' '1 S innermost' '1 S frozen' '1 S many-39' '1 S bpf'; do
		grep -qxF -- "$r" <<<"$p"
		ok $? "$1: there is: $r" || diag "$p"
	done
	is "$(grep -c . "$t/workload")" 29 "$1: all roles"
	is "$(find "$t/proc/$(role "$t" threads)/task" -name comm | wc -l)" 13 "$1: threads"
	is "$(tr '\0' '\n' <"$t/proc/$(role "$t" args)/cmdline" | sed -n 2p)" "two words" "$1: arguments"
	[ "$(stat -c %s "$t/proc/$(role "$t" long)/cmdline")" -gt 100000 ]
	ok $? "$1: long arguments"
	is "$(jq -c '[.[].name | select(startswith("iho_"))]' "$t/bpf-prog.json")" \
		"$(printf '["%s","%s","%s","%s","%s","%s"]' iho_{filter,egress,tracepoint,raw,loaded,pinned})" \
		"$1: BPF programs"
	is "$(grep -c ' LISTEN ' "$t/ss")" 6 "$1: listening sockets"
	grep -q '192.0.2.7' "$t/ip-neigh.json" && grep -q '203.0.116.0/24' "$t/ip-route4.json"
	ok $? "$1: neighbours and routes"
	like "$(cat "$t/mounts")" '^a\\040source /mnt/with\\040space tmpfs ro' "$1: mounts"
	grep -q '^<12>.*iho: two$' "$t/dmesg" # 12: the user's facility
	ok $? "$1: kernel log"
	grep -qx 'VMCOREINFO' <(readelf -nW "$d/dump.elf" | awk '{print $1}')
	ok $? "$1: the dump has VMCOREINFO"
	# of one moment: nothing of the question is in the guest's memory of processes
	is "$(cut -d' ' -f1 "$t/proc/1/fd" | sort -n | xargs)" "0 1 2 3" "$1: the agent is at rest"
	! grep '^RIP=' "$d/registers" | grep -v HLT=1
	ok $? "$1: the vCPUs are idle"
	guest_stop guest
	rm -rf "$d"
}

role() { awk -v r="$2" '$1 == r { print $2 }' "$1/workload"; }

kernel_text() { guest_run "$1" 'grep " _text$" /proc/kallsyms | cut -d" " -f1'; }

traced() {
	guest_run "$1" 'cat /sys/kernel/tracing/enabled_functions' | awk '{print $1}' | sort | xargs
}

la57() {
	local cr4
	cr4=$(guest_hmp "$1" 'info registers' | grep -o 'CR4=[0-9a-f]*' | head -n 1)
	echo $((0x${cr4#CR4=} >> 12 & 1))
}

options() {
	guest_start guest 6.12 smp=4 mem=256M la57=on kaslr=off memory=private workload=off pti=on
	ok $? "4 vCPUs, 256M, 5 levels, no KASLR, private memory" || return
	is "$(guest_run guest 'grep -c ^processor /proc/cpuinfo')" 4 "vCPUs"
	is "$(kernel_text guest)" ffffffff81000000 "without KASLR the kernel is where it was linked to"
	[ "$(guest_run guest "awk '/MemTotal/{print \$2}' /proc/meminfo")" -lt $((256 * 1024)) ]
	ok $? "memory"
	is "$(la57 guest)" 1 "CR4.LA57"
	like "$(guest_run guest 'dmesg')" 'page tables isolation: enabled' "PTI"
	! grep -q memfd:memory-backend "/proc/$GUEST_PID/maps"
	ok $? "no memfd"
	guest_stop guest

	guest_start guest 6.12 smp=2 mem=4G boot=elf workload=off
	ok $? "2 vCPUs, 4G, as an ELF file" || return
	grep -q memfd:memory-backend "/proc/$GUEST_PID/maps"
	ok $? "shared memfd"
	is "$(la57 guest)" 0 "no CR4.LA57"
	is "$(guest_run guest 'echo to both; echo of them >&2; exit 3'; echo $?)" \
		$'to both\nof them\n3' "a script's output and status"
	head -c 300000 /dev/urandom >"$TMP/file"
	guest_put guest "$TMP/file" /run/file
	is "$(guest_run guest 'sha256sum </run/file')" "$(sha256sum <"$TMP/file")" "a file into the guest"
	guest_kprobe guest do_sys_openat2
	guest_ftrace guest vfs_read
	is "$(guest_run guest 'cat /sys/kernel/debug/kprobes/list' | awk '{print $3}')" \
		do_sys_openat2+0x0 "a kprobe"
	is "$(traced guest)" "do_sys_openat2 vfs_read" "the function tracer"
	guest_untrace guest
	is "$(guest_run guest 'cd /sys/kernel; cat debug/kprobes/list tracing/enabled_functions')" \
		"" "neither"
	guest_stop guest

	guest_start guest 6.12 workload=off
	[ "$(kernel_text guest)" != ffffffff81000000 ]
	ok $? "KASLR" # once in 512 boots it stays
	guest_stop guest
}

guest_build || { echo "Bail out! no kernels for the guests"; exit 1; }
for kernel in $(guest_kernels); do
	one_kernel "$kernel"
done
options
done_testing
