# SPDX-License-Identifier: GPL-2.0-or-later
# Direct mode of the patched KVM: a tenant that has donated its page arms its timer without an exit,
# as long as somebody holds the mode, and every timer comes. Counts are those of the kernel's
# histograms; the same script without the mode is the control. One vCPU, on CPU 1.
# needs: iho-hold
n=200
hlt=12 wrmsr=32 preempted=52
timers="timer:$n:1000"
EVENTS=kvm_exit

field() { sed -n "s/.* $2=\([0-9]*\).*/\1/p" "$1" | tail -n 1; } # FILE NAME
# How often a tracepoint of ours said so
traced() { sed -n "s/.*{ $2:* *$3 .*hitcount: *\([0-9]*\).*/\1/p" "$1.hist" | awk '{n += $1} END {print n + 0}'; } # EVENT KEY VALUE
keys_of_ours='kvm_direct_timer:what kvm_iho_modes:modes kvm_direct_vcpu:missing kvm_direct_stat:fired'
early() { sed -n 's/.*"timer_early": \([0-9]*\).*/\1/p' "$1.tenant"; }

# exits PHASE WRMSR HLT: what they are to be; each phase sets up and masks the LVT register once
exits() {
	w=$(exits_by $wrmsr "$1") h=$(exits_by $hlt "$1") p=$(exits_by $preempted "$1")
	[ "$w" = "$2" ] && [ "$h" = "$3" ]
	ok $? "$1: $w WRMSR, $h HLT, $p for the host's timer, $(exits_by 1 "$1") interrupts, for $n timers"
}

tenant direct "hlt:1,gate,$timers,donate,gate,$timers,gate,$timers,gate,$timers,gate,$timers,gate,timer:1000:1000,gate,mark,timer:1:300,out:0x80:2,loop:3000,gate,withdraw,$timers" \
	"" --no-pv-unhalt --pin 1
ok $? "the tenant waits at its gate" || cat direct.tenant.err
vmm=$(vmm_of direct)
for k in $keys_of_ours; do
	echo "hist:keys=${k#*:}" >$T/${k%:*}/trigger
done

phase stock 'gate 2'
exits stock $((n + 2)) $n

hold first "$vmm"
phase donated 'gate 3'
exits donated $((n + 2)) $n

[ "$(tell first 'set 2')" = 'modes 2' ]
ok $? "timers: $(tail -n 1 first.hold)"
phase timer 'gate 4'
exits timer 3 $n
tell first 'vcpu 0'
[ "$(field first.hold given)" = $n ] && [ "$(field first.hold engaged)" = 1 ] && [ "$(field first.hold missing)" = 0 ]
ok $? "each HLT left its deadline to KVM"

[ "$(tell first 'set 3')" = 'modes 3' ]
ok $? "timers and HLT: $(tail -n 1 first.hold)"
phase both 'gate 5'
exits both 2 0
tell first 'vcpu 0'
[ "$(field first.hold host_timer)" -ge "$p" ] && [ "$(field first.hold given)" = $n ]
ok $? "each of its exits by the preemption timer was the host's own: $(field first.hold host_timer) since the session began"
d=$(field first.hold deadlines) f=$(field first.hold fired) s=$(field first.hold spurious)
[ $((d)) = $((2 * n + s)) ] && [ $((f)) = $((d + n)) ]
ok $? "the guest's own count: $d deadlines, $f interrupts, $s of them early"

# the CPU is not the tenant's alone: whoever else runs there makes it wait, and the timers come
taskset 2 sh -c 'while :; do :; done' &
busy=$!
phase preempted 'gate 6'
ran=$(awk '{print $14 + $15}' /proc/$busy/stat)
kill $busy
[ "$ran" -gt 0 ]
ok $? "a task beside the tenant ran for $ran ticks"
tell first 'vcpu 0'
d=$(field first.hold deadlines) f=$(field first.hold fired) s=$(field first.hold spurious)
[ $((d)) = $((3 * n + s)) ] && [ $((f)) = $((d + n)) ]
ok $? "with a task beside it: $d deadlines, $f interrupts, $s of them early, $(field first.hold recovered) that came outside the guest"

truth_begin
gate_open
[ "$(tell first 'toggle 200 3')" = 'modes 0' ]
ok $? "200 times on and off while it runs: $(tail -n 1 first.hold)"
poll 300 tenant_says direct.tenant '^gate 7$' && has direct.tenant '^gate 7$'
ok $? "all of its timers came"
truth_end toggled
w=$(exits_by $wrmsr toggled) h=$(exits_by $hlt toggled)
[ "$w" -gt 2 ] && [ "$w" -lt 1002 ] && [ "$h" -gt 0 ] && [ "$h" -lt 1000 ]
ok $? "some without exits, some with: $w WRMSR and $h HLT for 1000 timers"
tell first 'vcpu 0'
for k in $keys_of_ours; do
	cat $T/${k%:*}/hist >"${k%:*}.hist"
	echo "!hist:keys=${k#*:}" >$T/${k%:*}/trigger
done
what=0 all=
for f in engaged given taken recovered host_timer; do
	[ "$(traced kvm_direct_timer what $what)" = "$(field first.hold $f)" ] || all="$all $f"
	what=$((what + 1))
done
[ -z "$all" ]
ok $? "tracepoints say what IHO_GET_VCPU counts$all: $(tail -n 1 first.hold)" || cat kvm_direct_timer.hist
# 2 and 3 asked for once each, then 200 times 3 and none
[ "$(traced kvm_iho_modes modes 3)" = 201 ] && [ "$(traced kvm_iho_modes modes 2)" = 1 ] &&
	[ "$(traced kvm_iho_modes modes 0)" = 200 ] && [ "$(traced kvm_direct_vcpu missing 0)" -gt 2 ]
ok $? "each change of the modes was traced" || cat kvm_iho_modes.hist kvm_direct_vcpu.hist
most=$(sed -n 's/.*{ fired: *\([0-9]*\) .*/\1/p' kvm_direct_stat.hist | sort -n | tail -n 1)
[ "${most:-0}" -gt $((3 * n)) ] && [ "$most" -le "$(field first.hold fired)" ]
ok $? "the vCPU's counters were traced: $(grep -c fired: kvm_direct_stat.hist) times, $most fired"

# its thread is moved to the host's CPU, where it has no timer of its own, and back, between exits to its VMM
tell first 'set 3'
engaged=$(tell first 'vcpu 0' | sed -n 's/.* engaged=\([0-9]*\).*/\1/p')
thread=$(grep -l '^CPU 0/KVM$' /proc/"$vmm"/task/*/comm | cut -d/ -f5)
gate_open
moved=0 without=0
while [ $moved -lt 25 ]; do
	taskset -p 1 "$thread" >/dev/null
	usleep 5000
	missing=$(tell first 'vcpu 0' | sed -n 's/.* missing=\([0-9]*\).*/\1/p')
	[ $((missing & 16)) = 0 ] || without=$((without + 1))
	taskset -p 2 "$thread" >/dev/null
	usleep 5000
	moved=$((moved + 1))
done
poll 300 tenant_says direct.tenant '^gate 8$' && has direct.tenant '^gate 8$'
ok $? "moved to another CPU and back: all timers came, between two exits to the VMM each"
tell first 'vcpu 0'
[ $without -gt 0 ] && [ "$(field first.hold engaged)" -gt "$engaged" ]
ok $? "on CPU 0 it was without, $without of $moved times; it began $(($(field first.hold engaged) - engaged)) times again"

release KILL
phase withdrawn 'done'
exits withdrawn $((n + 2)) $n
tenant_end
ok 0 "interrupts before their deadline, of all: $(early direct)"

# the VMM dies in the middle of it
tenant killed "hlt:1,gate,donate,gate,timer:1000000:500" "" --no-pv-unhalt --pin 1
vmm=$(vmm_of killed)
hold second "$vmm"
phase donates 'gate 2'
tell second 'set 3'
gate_open
engaged() { tell second 'vcpu 0' >/dev/null && [ "$(field second.hold engaged)" = 1 ]; }
poll 60 engaged
ok $? "a tenant is in direct mode: $(tail -n 1 second.hold)"
kill -KILL $TENANT
exec 7>&-
wait $TENANT
release TERM
tenant after "hlt:1,gate,donate,$timers,withdraw" "" --no-pv-unhalt --pin 1
phase after 'done'
exits after $((n + 2)) $n
tenant_end

dmesg >dmesg
! grep -E 'WARNING|BUG|stall|lockup|Oops|list_' dmesg
ok $? "the kernel had nothing to complain of"
