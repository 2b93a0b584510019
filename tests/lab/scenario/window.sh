# SPDX-License-Identifier: GPL-2.0-or-later
# A timer that fires when the vCPU has just left the guest is delivered to the host, which does nothing about
# it; KVM has to see that, and post it. With the modules of tests/kvm/window.patch, which make that likely, and
# can leave out the repair. IHO_KVM=window. One vCPU, on CPU 1, that halts without exits.
# needs: iho-hold
n=2000
P=/sys/module/kvm_intel/parameters
field() { sed -n "s/.* $2=\([0-9]*\).*/\1/p" "$1" | tail -n 1; } # FILE NAME

# start RUN: a tenant in direct mode, at the gate before its timers
start() {
	tenant "$1" "hlt:1,gate,donate,gate,timer:$n:1000,gate,withdraw" "" --no-pv-unhalt --pin 1
	hold "$1" "$(vmm_of "$1")"
	gate_open
	poll 60 tenant_says "$1.tenant" '^gate 2$'
	[ "$(tell "$1" 'set 3')" = 'modes 3' ]
	ok $? "$1: timers are direct, and HLT does not exit"
	gate_open
}

finish() { # RUN
	poll 300 tenant_says "$1.tenant" '^gate 3$' && has "$1.tenant" '^gate 3$'
	ok $? "$1: all of its $n timers came"
	tell "$1" 'vcpu 0'
}

finished() {
	gate_open
	tenant_done "$1"
	tenant_end
	release TERM
}

# Two looks, far longer apart than a timer takes, and there was no new deadline
stuck() { # RUN
	tell "$1" 'vcpu 0' >/dev/null
	last=$(field "$1.hold" deadlines)
	sleep 2
	tell "$1" 'vcpu 0' >/dev/null
	[ "$last" -gt 0 ] && [ "$last" -lt $n ] && [ "$(field "$1.hold" deadlines)" = "$last" ]
}

echo 100000 >$P/iho_test_window
start repaired
finish repaired
r=$(field repaired.hold recovered)
[ "$r" -gt 0 ]
ok $? "with the repair none was lost, and $r would have been"
finished repaired

echo N >$P/iho_test_repair
start lost
poll 120 stuck lost
ok $? "without the repair a timer is lost, and the tenant waits for it: $(tail -n 1 lost.hold)"
r=$(field lost.hold recovered)
[ "$r" -gt 0 ]
ok $? "it is lost at $r exits since: each sees it"
echo Y >$P/iho_test_repair
finish lost
finished lost

dmesg >dmesg
! grep -E 'WARNING|BUG|stall|lockup|Oops|list_' dmesg
ok $? "the kernel had nothing to complain of"
