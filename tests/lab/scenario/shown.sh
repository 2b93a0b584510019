# SPDX-License-Identifier: GPL-2.0-or-later
# Direct mode of the patched KVM, as iho-top and iho-exporter show it, from ihod: the counts of each
# phase are those of IHO_GET_VCPU, and what it says came without exits is what the histograms have no
# exits for. Then the tenant's own account of its idle time, which is a lie. One vCPU, on CPU 1.
# Counters are traced with an exit, ten times a second: each phase ends with one.
# needs: iho-hold
n=200
EVENTS=kvm_exit
wrmsr=32
timers="timer:$n:1000"
pause='sleep:300,cpuid:1:1'
counters='engaged given taken recovered deadlines fired spurious'

held() { sed -n "s/.* $1=\([0-9]*\).*/\1/p" first.hold | tail -n 1; } # COUNTER
shown() { tail -n 1 "$1.shown" | sed 's/.*"counts":{\([^}]*\)}.*/\1/' | tr , '\n' | sed -n "s/^\"$2\"://p"; } # PHASE COUNTER
gained() { echo $(($(shown "$1" "$2") - $(shown "$before" "$2"))); } # PHASE COUNTER
says() { tail -n 1 "$1.shown" | grep -q "$2"; } # PHASE TEXT

# What a tenant that is busy says of itself: so many ms of each second were idle
claim() { echo "mark,account:$1,busy:300,cpuid:1:1,loop:12"; }
share() { tail -n 1 "$1.shown" | sed -n 's/.*"guest":{"share":\([0-9.e-]*\),.*/\1/p'; } # PHASE
over_half() { awk -v s="$(share "$1")" 'BEGIN {exit !(s > 0.5)}'; }

# take PHASE: what iho-top says now, and what KVM does
take() {
	poll 60 has_lines "$top_out" $(($(lines "$top_out") + 2))
	tail -n 1 "$top_out" >"$1.shown"
	tell first 'vcpu 0' >"$1.vcpu"
	for c in $counters host_timer; do
		echo "$(held $c)" >"$1.$c"
	done
}

# same PHASE: the counters grew by as much for iho-top as for KVM since the phase before
same() {
	take "$1"
	all= differ=
	for c in $counters; do
		k=$(($(cat "$1.$c") - $(cat "$before.$c")))
		all="$all $c $k"
		[ "$(gained "$1" $c)" = $k ] || differ="$differ $c: $(gained "$1" $c)"
	done
	[ -z "$differ" ]
	ok $? "$1: iho-top counts as KVM does:$all${differ:+; it has$differ}"
	# an exit for the host's timer is counted after it was the one that traces
	h=$(shown "$1" host_timer)
	[ "$h" -ge "$(cat "$before.host_timer")" ] && [ "$h" -le "$(cat "$1.host_timer")" ]
	ok $? "$1: $h of $(cat "$1.host_timer") exits for the host's timer so far"
	with=$(gained "$1" with_exit) without=$(gained "$1" without_exit) saved=$(gained "$1" saved)
	d=$(gained "$1" deadlines) f=$(gained "$1" fired) r=$(gained "$1" recovered)
}

daemon_start shown
ok $? "ihod answers" || cat shown.ihod.err
iho-top --features | grep -E 'kvm_(direct|iho)' >features
[ "$(grep -c ' yes ' features)" = 3 ]
ok $? "the tracepoints are there: $(awk '{print $1, $2}' features | xargs)"
top_start shown

rounds="gate,$timers,$pause,gate,$timers,$pause,gate,$timers,$pause"
tenant shown "hlt:1,gate,donate,$pause,$rounds,gate,$(claim 900),gate,$(claim 1),gate,withdraw" "" \
	--no-pv-unhalt --pin 1
ok $? "the tenant waits at its gate" || cat shown.tenant.err
hold first "$(vmm_of shown)"
phase page 'gate 2'
take page
says page '"vcpus_known":1,"vcpus_on":0,"vcpus_ipi_on":0,"missing":\["apic"\]' && says page '"idle_exits":"yes"'
ok $? "it has not set up its timer, nothing is on, halts exit" || cat page.shown

before=page
phase stock 'gate 3'
same stock
[ $((with)) = $n ] && [ $((without)) = 0 ] && [ $((saved)) = 0 ]
ok $? "stock: $with timers with exits, $without without, $saved exits saved"

before=stock
tell first 'set 2' >/dev/null
phase timer 'gate 4'
same timer
w=$(exits_by $wrmsr timer)
says timer '"vcpus_on":1' && [ $((with + without + r)) = $((f)) ] &&
	[ $((with)) = $(($(gained timer given) - $(gained timer taken))) ] &&
	[ $((saved)) = $((d + without)) ] && [ $((d)) -ge $n ]
ok $? "timer, and it halts: $with with exits, as KVM was left deadlines, $without without, $r recovered; $saved saved ($w WRMSR)"

before=timer
tell first 'set 3' >/dev/null
phase both 'gate 5'
same both
w=$(exits_by $wrmsr both) h=$(exits_by 12 both)
[ $((with)) = 0 ] && [ $((without + r)) = $((f)) ] && [ $((saved)) = $((d + without)) ] && [ $((d)) -ge $n ]
ok $? "timer and HLT: $with with exits, $without without, $r recovered; $saved saved ($w WRMSR, $h HLT)"
says both '"idle_exits":"no"'
ok $? "halts do not exit"
says both '"refused":0'
ok $? "no counter of an honest tenant is refused"

# metric FAMILY LABELS: its sample
metric() { sed -n "s/^iho_vcpu_direct_$1{vm=\"shown\",vcpu=\"0\"$2} //p" metrics; }
iho-exporter --once >metrics
[ "$(metric interrupts_total ',delivery="without_exit"')" = "$(shown both without_exit)" ] &&
	[ "$(metric interrupts_total ',delivery="with_exit"')" = "$(shown both with_exit)" ] &&
	[ "$(metric saved_exits_total '')" = "$(shown both saved)" ] &&
	[ "$(metric deadlines_total '')" = "$(shown both deadlines)" ]
ok $? "iho-exporter has the same: $(metric saved_exits_total '') exits saved" || grep direct metrics

# its guest time is all work, whatever it claims; no other signal knows, here
phase idler 'gate 6'
take idler
says idler '"signal":"guest"' && ! over_half idler
ok $? "one that claims to idle is believed: $(share idler) busy, by its own account" || cat idler.shown
phase worker 'gate 7'
take worker
says worker '"signal":"guest"' && over_half worker
ok $? "one that claims to work, likewise: $(share worker)" || cat worker.shown

release KILL
phase withdrawn 'done'
poll 60 has_lines "$top_out" $(($(lines "$top_out") + 2))
tail -n 1 "$top_out" >off.shown
says off '"vcpus_on":0' && says off '"idle_exits":"yes"'
ok $? "its holder is gone: nothing is on, and halts exit again" || cat off.shown
tenant_end
kill -TERM $TOP
wait $TOP
daemon_end
