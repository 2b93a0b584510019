#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The recorded traces are what README.md says, and small.
. "$(dirname "$0")/../tap.sh"

for v in amd:2 intel:1; do
	isa=${v#*:} v=${v%:*}
	file=tests/data/$v.trace.dat.xz
	[ "$(stat -c %s "$file")" -le 1048576 ]
	ok $? "$v: at most 1 MiB"
	xz -dc "$file" >"$TMP/$v.dat" && trace-cmd report -R "$TMP/$v.dat" >"$TMP/$v" 2>"$TMP/err"
	ok $? "$v: trace-cmd reads it" || diag "$(head -3 "$TMP/err")"
	is "$(grep -o ' kvm_exit: .* isa=[0-9]' "$TMP/$v" | sed 's/.*isa=//' | sort -u)" "$isa" "$v: exits with isa=$isa"
	read -r exits entries < <(awk '/ kvm_exit: /{x++} / kvm_entry: /{e++} END{print x+0, e+0}' "$TMP/$v")
	[ "$exits" -gt 10000 ] && [ $((exits - entries)) -le 2 ] && [ $((entries - exits)) -le 2 ]
	ok $? "$v: $exits exits, $entries entries"
	for e in kvm_userspace_exit kvm_msr kvm_vcpu_wakeup sched_switch sched_wakeup local_timer_entry; do
		grep -q " $e: " "$TMP/$v"
		ok $? "$v: has $e"
	done
	is "$(trace-cmd report --stat "$TMP/$v.dat" 2>/dev/null |
		awk '/^(overrun|commit overrun|dropped events):/ {n += $NF} END {print n+0}')" 0 "$v: nothing was lost"
	is "$(grep -oE 'CPU [0-9]+/KVM' "$TMP/$v" | sort -u | xargs)" "CPU 0/KVM CPU 1/KVM" "$v: two vCPUs"
done
done_testing
