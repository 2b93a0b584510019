#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every event is counted: a tenant's script says how many there are, per vCPU and per port, page,
# register and leaf, and so must we.
. "$(dirname "$0")/../tap.sh"
need_root
need_kvm

PORT=1016 PAGE=3489660928 MSR=139 LEAF=7 # 0x3f8, 0xd0000000, 0x8b

# Sum of the totals of one drill-down row of vCPU $2 in report $1
row() { jq ".vms[0].vcpus[] | select(.id==$2) | [.drill.$3[]? | select($4) | .total] | add // 0" "$1"; }
field() { jq ".vms[0].vcpus[] | select(.id==$2) | $3" "$1"; }

# check REPORT VCPU N WHAT
check() {
	is "$(row "$1" "$2" pio ".port==$PORT and .write")" "$3" "$4, vCPU $2: $3 port writes"
	is "$(row "$1" "$2" mmio ".page==$PAGE and .write")" "$3" "$4, vCPU $2: $3 MMIO writes"
	is "$(row "$1" "$2" msr ".msr==$MSR and .write")" "$3" "$4, vCPU $2: $3 MSR writes"
	is "$(row "$1" "$2" cpuid ".leaf==$LEAF")" "$3" "$4, vCPU $2: $3 CPUIDs"
	is "$(field "$1" "$2" '[.userspace_exits[]|select(.reason=="KVM_EXIT_MMIO").total]|add')" "$3" \
		"$4, vCPU $2: $3 MMIO exits to the VMM"
	is "$(field "$1" "$2" '[.losses|.unpaired,.clock_back,.exit_overflow,.userspace_exit_overflow,(.drill_overflow[]?)]|add')" \
		0 "$4, vCPU $2: nothing unpaired or over"
}

for n in 1 1000 1000000; do
	script="gate,out:0x3f8:$n,mmio-write:0xd0000000:$n,wrmsr:0x8b:$n,cpuid:7:$n"
	demo exact$n --linger --script "$script" || exit 1
	pid=$DEMO_PID
	gate_wait exact$n
	top_start "$TMP/top$n" --vm "$pid"
	gate_open "$pid"
	demo_done exact$n 300
	ok $? "N=$n: the tenant ran to its end"
	top_stop "$TMP/top$n"
	for v in 0 1; do
		check "$TMP/top$n.last" $v $n "N=$n"
	done
	# the VM's own sums are the sums of its vCPUs
	is "$(jq '[.vms[0].drill.pio[]|select(.port==1016).total]|add' "$TMP/top$n.last")" $((2 * n)) \
		"N=$n: the VM's sum of port writes"
	if emits_exits; then
		is "$(jq '[.vms[0].vcpus[].exits[]|select(.reason=="CPUID" or .reason=="cpuid").total]|add' \
			"$TMP/top$n.last")" $((2 * n)) "N=$n: exits for CPUID"
	fi
	is "$(jq '.self|.lost_storage+.lost_nested+.lost_read' "$TMP/top$n.last")" 0 "N=$n: nothing lost" ||
		diag "$(jq -c .self "$TMP/top$n.last")"
	kill "$pid"
	wait_gone "$pid" 20
done

# HLTs that the VMM handles: exactly as many exits as the script has. HLTs that the kernel handles: as many
# as perf stat counts; a wake-up that comes before the HLT leaves no event, so that may be less.
for n in 1 1000 100000; do
	demo hlt$n --linger --no-irqchip --script "gate,hlt:$n" || exit 1
	pid=$DEMO_PID
	gate_wait hlt$n
	top_start "$TMP/hlt$n" --vm "$pid"
	gate_open "$pid"
	demo_done hlt$n 300
	top_stop "$TMP/hlt$n"
	for v in 0 1; do
		is "$(field "$TMP/hlt$n.last" $v '[.userspace_exits[]|select(.reason=="KVM_EXIT_HLT").total]|add')" $n \
			"N=$n, vCPU $v: $n HLTs"
	done
	kill "$pid"
	wait_gone "$pid" 20
done
demo wake --linger --script "gate,hlt:500:500" || exit 1
pid=$DEMO_PID
gate_wait wake
tids=$(sed -n 's/^ready [0-9]* //p' "$TMP/wake.out" | tr ' ' ,)
top_start "$TMP/wake" --vm "$pid"
spawn perf stat -x, -o "$TMP/perf" -e kvm:kvm_vcpu_wakeup -t "$tids"
perf_pid=$SPAWNED
perf_counts() { [ "$(find "/proc/$perf_pid/fd" -lname '*perf_event*' 2>/dev/null | wc -l)" -ge "$1" ]; }
poll 20 perf_counts 2
gate_open "$pid"
demo_done wake
kill -INT "$perf_pid"
wait_gone "$perf_pid" 20
top_stop "$TMP/wake"
woken=$(awk -F, '$3=="kvm:kvm_vcpu_wakeup"{print $1}' "$TMP/perf")
is "$(jq '[.vms[0].vcpus[].halts]|add' "$TMP/wake.last")" "$woken" "halts in the kernel: as many as perf stat counts"
[ "$woken" -gt 900 ] && [ "$woken" -le 1000 ]
ok $? "halts in the kernel: nearly all of the 1000 ($woken) blocked"
if emits_exits; then
	is "$(jq '[.vms[0].vcpus[].exits[]|select(.reason=="HLT" or .reason=="hlt").total]|add' "$TMP/wake.last")" \
		1000 "halts in the kernel: exits for HLT"
fi
kill "$pid"
wait_gone "$pid" 20

# Attach while the tenant makes exits all the time. What it does after a gate that opens later is
# known exactly; what was before the gate can only be part of what it did.
demo mid --linger --script "out:0x80:300000,gate,out:0x3f8:20000,cpuid:7:500" || exit 1
pid=$DEMO_PID
top_start "$TMP/mid" --vm "$pid"
tids=$(sed -n 's/^ready [0-9]* //p' "$TMP/mid.out" | tr ' ' ,)
gate_wait mid
spawn perf stat -x, -o "$TMP/perf" -e kvm:kvm_pio,kvm:kvm_cpuid,kvm:kvm_userspace_exit -t "$tids"
perf_pid=$SPAWNED
poll 20 perf_counts 6
# the tenant stands at its gate: two more reports, and the last one is of this pause
poll 20 more_lines "$TMP/mid" $(($(wc -l <"$TMP/mid") + 2))
before=$(last_line "$TMP/mid")
gate_open "$pid"
demo_done mid
kill -INT "$perf_pid"
wait_gone "$perf_pid" 20
top_stop "$TMP/mid"
for v in 0 1; do
	is "$(row "$TMP/mid.last" $v pio '.port==1016 and .write')" 20000 "mid-run, vCPU $v: every write after the gate"
	is "$(row "$TMP/mid.last" $v cpuid '.leaf==7')" 500 "mid-run, vCPU $v: every CPUID after the gate"
	seen=$(row "$TMP/mid.last" $v pio '.port==128 and .write')
	[ "$seen" -gt 0 ] && [ "$seen" -lt 300000 ]
	ok $? "mid-run, vCPU $v: part of the writes before the gate ($seen of 300000)"
done
count() { awk -F, -v e="kvm:$1" '$3==e{s+=$1}END{print s+0}' "$TMP/perf"; }
events() { jq "[.vms[0].vcpus[].events.$1 // 0]|add" <<<"$2"; }
last=$(cat "$TMP/mid.last")
for e in kvm_pio kvm_cpuid kvm_userspace_exit; do
	is $(($(events $e "$last") - $(events $e "$before"))) "$(count $e)" "mid-run: as many $e as perf stat counts"
done
done_testing
