# SPDX-License-Identifier: GPL-2.0-or-later
# iho-direct with the patched KVM: it switches a running tenant's modes, names what is refused, and
# however its holder ends, all is as before. Counts are those of the kernel's histograms.
hlt=12 offered='["hlt","timer","ipi_raw"]'
[ $ISA = vmx ] || hlt=120 offered='["hlt"]'
n=200
EVENTS=kvm_exit
halts="hlt:$n:1000"

json() { iho-direct status --json "$vmm"; }
# What is on, and by whom
modes() { json | sed -n 's/.*"vms": \[.*"modes": \(\[[^]]*\]\).*"holder.*/\1/p'; }
holder() { json | sed -n 's/.*"holder": \([0-9]*\).*/\1/p'; }
nobody() { [ -z "$(holder)" ]; }

# halting PHASE GATE EXITS
halting() {
	phase "$1" "$2"
	exits=$(exits_by $hlt "$1")
	[ "$exits" = "$3" ]
	ok $? "$1: $exits exits for $n HLTs"
}

tenant control "hlt:1,gate,$halts,gate,$halts,gate,$halts,gate,$halts" "" --no-pv-unhalt
vmm=$(vmm_of control)
iho-direct status | sed 's/^/# /'
json | grep -q "\"supported\": true.*\"offered\": $(echo "$offered" | sed 's/,/, /g; s/[][]/\\&/g')"
ok $? "this KVM offers $offered" || json
nobody
ok $? "nothing is on"

# two at once: the one that is late changes what the other holds, or finds it as it is to be
iho-direct on --hlt control >on1 2>&1 &
first=$!
iho-direct on --hlt "$vmm" >on2 2>&1
r=$?
wait $first && [ $r = 0 ]
ok $? "on, by two at once: $(cat on1); $(cat on2)"
[ "$(modes)" = '["hlt"]' ]
ok $? "$(holder) holds $(modes)"
halting held 'gate 2' 0
iho-direct on --hlt --timer control >refused 2>&1
[ $? = 1 ] && grep -q 'pinned\|AMD\|does not have: timer' refused && [ "$(modes)" = '["hlt"]' ]
ok $? "what cannot be is refused, and changes nothing: $(cat refused)"

# pinned it is accepted, where the processor has it
affinities() { for t in "/proc/$vmm/task"/*; do sed -n 's/^Cpus_allowed_list:.//p' "$t/status"; done | xargs; }
timer() { [ $ISA = vmx ]; }
interrupts() { cat /proc/irq/*/smp_affinity_list /sys/devices/virtual/workqueue/cpumask | xargs; }
! timer || grep -q pinned refused
ok $? "for want of a pin, where there are timers"
loose=$(affinities) host=$(interrupts)
iho-direct pin control >pinned && [ "$(affinities)" != "$loose" ]
ok $? "pinned: $(cat pinned); $(affinities), before: $loose"
json | grep -q '"pinned": \[{"vcpu": 0, "tid": [0-9]*, "cpu": 1}\]'
ok $? "the status says where"
if timer; then
	iho-direct on --hlt --timer control >accepted 2>&1 && [ "$(modes)" = '["hlt", "timer"]' ]
	ok $? "what was refused is accepted: $(cat accepted)"
	iho-direct on --hlt control >>on1 && [ "$(modes)" = '["hlt"]' ]
	ok $? "and off again"
fi
iho-direct unpin control && [ "$(affinities); $(interrupts)" = "$loose; $host" ]
ok $? "unpinned: all is as before"
iho-direct off control && nobody
ok $? "off"
halting off 'gate 3' $n

iho-direct on --hlt control >>on1
kill -KILL "$(holder)"
poll 30 nobody
ok $? "its holder is killed"
halting killed 'gate 4' $n

iho-direct on --hlt --foreground control &
foreground=$!
held() { [ "$(modes)" = '["hlt"]' ]; }
poll 30 held
ok $? "in the foreground"
kill -TERM $foreground
wait $foreground
r=$?
nobody && [ $r = 0 ]
ok $? "and not any more, exit $r"

iho-direct on --hlt control >>on1
h=$(holder)
grep -q '^Seccomp:.2' "/proc/$h/status" && grep -q '^CapEff:.0*$' "/proc/$h/status"
ok $? "the holder has no privileges: $(grep -E '^(CapEff|Seccomp)' "/proc/$h/status" | xargs)"
phase last 'done'
tenant_end
ended() { ! kill -0 "$h" 2>/dev/null; }
poll 30 ended && [ -z "$(ls /run/iho/direct)" ]
ok $? "the VM has ended, and its holder with it"
