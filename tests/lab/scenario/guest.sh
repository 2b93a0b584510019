# SPDX-License-Identifier: GPL-2.0-or-later
# A Linux tenant of two vCPUs with guest-module/, on CPUs 1 and 2 of three: rounds of the same work, each under another
# mode, the first and the last one under none. Exits are those of the kernel's histograms, between two lines of the
# tenant's console. Then the module and a CPU come and go in direct mode.
# needs: iho-hold
# tenant: iho_guest.ko
# tenant: load
# cpus: 3
cons=linux.console
parts='sleep ipis spin idle'
EVENTS='kvm_exit kvm_msr'
hlt=12 preempted=52 interrupt=1
deadline=1760 icr=2096 # MSRs, as the histogram has them

said() { grep -q "^tenant: $1" $cons 2>/dev/null || ! kill -0 $TENANT 2>/dev/null; }

# The host's interrupts on the tenant's CPUs so far, of all kinds
interrupts() { awk '$1 ~ /:$/ && $3 ~ /^[0-9]+$/ {n += $3 + $4} END {print n}' /proc/interrupts; }
msr_writes() { sed -n "s/.*ecx: *$1, write: *1 .*hitcount: *//p" "$2.kvm_msr" | awk '{n += $1} END {print n + 0}'; } # MSR PART
host_timers() { sed -n 's/.*{ what: *4 .*hitcount: *//p' "$1.timer" | awk '{n += $1} END {print n + 0}'; }

# part ROUND-NAME: all that happens in one part of the tenant's, which is stopped before and after
part() {
	kill -CONT $TENANT
	poll 200 said "begin $1"
	kill -STOP $TENANT
	interrupts >"$1.before"
	echo 'hist:keys=what' >$T/kvm_direct_timer/trigger
	truth_begin
	kill -CONT $TENANT
	poll 200 said "end $1"
	kill -STOP $TENANT
	truth_end "$1"
	cat $T/kvm_direct_timer/hist >"$1.timer"
	echo '!hist:keys=what' >$T/kvm_direct_timer/trigger
	interrupts >"$1.after"
	echo "# $1:$(sed -n 's/.*exit_reason: *\([0-9]*\) .*hitcount: *\([0-9]*\)/\1 \2/p' "$1.kvm_exit" |
		awk '{n[$1] += $2; all += $2} END {printf " %d", all; for (r in n) printf " %s=%d", r, n[r]}'); $(msr_writes $deadline "$1") deadlines, $(msr_writes $icr "$1") IPIs"
}

# How often the vCPUs' threads were switched to so far
switches() { cat /proc/"$vmm"/task/*/status | awk '/ctxt_switches/ {n += $2} END {print n}'; }
# in_round ROUND COUNT: what the tenant's CPUs have counted in a round
in_round() {
	sed -n "s/^tenant: \(round [0-9]*\).*/\1/p; s/^tenant: cpu[01] .*$2=\([0-9]*\).*/\1/p" $cons |
		awk -v r="$1" '$1 == "round" {if ($2 == r) print now - before; before = now; now = 0; next} {now += $1}'
}
# Each interrupt of the timer that came early was taken along by another one, or by a switch to its vCPU
early_explained() { # ROUND
	e=$(in_round "$1" spurious) o=$(in_round "$1" others) s=$(($(cat "$1.switches") - $(cat $(($1 - 1)).switches)))
	[ "$e" -le $((o + s)) ]
	ok $? "of the timer's interrupts $e came early, for $o other ones and $s switches to vCPUs"
}

# of ROUND WHAT: the sum over all parts
of() {
	all=0
	for p in $parts; do
		case $2 in
		$deadline | $icr) n=$(msr_writes "$2" "$1-$p") ;;
		host_timers) n=$(host_timers "$1-$p") ;;
		interrupts) n=$(($(cat "$1-$p.after") - $(cat "$1-$p.before"))) ;;
		*) n=$(exits_by "$2" "$1-$p") ;;
		esac
		all=$((all + n))
	done
	echo $all
}

# round N NAME: one round, and its line of the table
round() {
	for p in $parts; do
		part "$1-$p"
	done
	kill -CONT $TENANT
	poll 200 said "round $1"
	switches >"$1.switches"
	kill -STOP $TENANT
	w=$(of "$1" $deadline) h=$(of "$1" $hlt) p=$(of "$1" $preempted) x=$(of "$1" $interrupt)
	echo "# $2: $w deadlines, $(of "$1" $icr) IPIs, $h HLT, $p preemption timer, $x interrupts"
}

# What the tenant says of its work, but for how late it was
work() { sed -n "s/^tenant: $1-\([a-z]*: .*\)/\1/p" $cons | grep -v IPIs | sed 's/, late by.*//' | tr -d '\r'; }
# How many IPIs the tenant has sent and received in a round, by its own counts, which are not of one moment
ipis() { sed -n "s/^tenant: $1-.*IPIs: \([0-9]*\) sent, \([0-9]*\) received.*/\1 \2/p" $cons | awk '{s += $1; r += $2} END {print s + 0, r + 0}'; }

iho-demo --name guest --announce --vcpus 2 --pin 1,2 --memory 256 --no-pv-unhalt --kernel /tenant/bzImage \
	--initrd /tenant/initrd --console $cons \
	--append "console=ttyS0 quiet panic=-1 reboot=k mitigations=off nokaslr iho.direct" >guest.tenant &
TENANT=$!
poll 200 said module
grep -q '^tenant: module active hooked hooked' $cons
ok $? "the module found the host" || tail -n 20 $cons
vmm=$(vmm_of guest)
round 1 'stock'
[ "$w" -gt 200 ] && [ "$h" -gt 50 ] && [ "$(of 1 host_timers)" = 0 ]
ok $? "stock: deadlines and HLTs exit"

hold first "$vmm"
[ "$(tell first 'set 1')" = 'modes 1' ]
ok $? "HLT exits are off"
round 2 'HLT off'
[ "$w" -gt 200 ] && [ "$h" = 0 ]
ok $? "HLT off: no HLT exits, $w deadlines do"

echo 1 >/sys/module/kvm/parameters/pi_inject_timer
round 3 'HLT off, pi_inject_timer'
echo 0 >/sys/module/kvm/parameters/pi_inject_timer
[ "$w" -gt 200 ] && [ "$h" = 0 ]
ok $? "HLT off, pi_inject_timer: no HLT exits, $w deadlines do"

[ "$(tell first 'set 3')" = 'modes 3' ]
ok $? "timers are direct"
round 4 'HLT off, timers direct'
[ "$w" = 0 ] && [ "$h" = 0 ]
ok $? "HLT off, timers direct: no deadline exits, no HLT does"
[ "$p" -gt 0 ] && [ "$p" -le "$(of 4 host_timers)" ]
ok $? "each of $p exits by the preemption timer was for the host's own timer: $(of 4 host_timers)"
[ $((x + p)) -le "$(of 4 interrupts)" ]
ok $? "each of $x exits by interrupts, and of those, was for an interrupt of the host's: $(of 4 interrupts)"
early_explained 4
tell first 'vcpu 0'
tell first 'vcpu 1'

[ "$(tell first 'set 7')" = 'modes 7' ]
ok $? "IPIs are the guest's, too: $(tail -n 1 first.hold)"
round 5 'HLT off, timers and IPIs direct'
tell first 'vcpu 0'
tell first 'vcpu 1'
early_explained 5
i=$(of 5 $icr)
[ "$w" = 0 ] && [ "$h" = 0 ] && [ "$i" = 0 ]
ok $? "HLT off, timers and IPIs direct: no deadline exits, no IPI, no HLT does"
ipis 5 >ipis
read -r sent received <ipis
[ "$sent" -gt 200 ] && [ $((sent - received)) -le $((sent / 20)) ] && [ $((received - sent)) -le $((sent / 20)) ]
ok $? "what is sent without exits is received: $sent IPIs, and $received"
[ "$p" -le "$(of 5 host_timers)" ] && [ $((x + p)) -le "$(of 5 interrupts)" ]
ok $? "each of $p and $x exits was for the host's own timer and interrupts: $(of 5 interrupts)"

[ "$(tell first 'set 0')" = 'modes 0' ]
ok $? "all is off"
round 6 'stock again'
[ "$w" -gt 200 ] && [ "$h" -gt 50 ] && [ "$(of 6 host_timers)" = 0 ]
ok $? "stock again: deadlines and HLTs exit as before"

tell first 'set 7'
top_start sent
kill -CONT $TENANT
poll 300 said 'churn 1'
top_end
sent=$(grep -o '"ipis_without_exit":[0-9]*' sent.json | cut -d: -f2 | sort -n | tail -n 1)
[ "${sent:-0}" -gt 0 ]
ok $? "iho-top shows the IPIs: $sent without exits" || tail -n 1 sent.json
poll 300 said over
sed -n 's/^tenant: /# /p' $cons | grep -v ' begin \| end '
same=0
for r in 2 3 4 5 6; do
	[ "$(work 1)" = "$(work $r)" ] || same=1
done
[ $same = 0 ] && [ "$(work 1 | wc -l)" = 5 ] && ! work 1 | grep -v ' 0 early\| 0 failed\|pings\|span'
ok $? "the tenant did the same work in each round, and no sleeper came early"
grep -q '^tenant: over' $cons && ! grep -q '^tenant: complains' $cons
ok $? "the tenant came to its end, and its kernel had nothing to complain of" || tail -n 30 $cons
release TERM
wait $TENANT
dmesg >dmesg
! grep -E 'WARNING|BUG|stall|lockup|Oops|list_' dmesg
ok $? "the host's kernel had nothing to complain of"
