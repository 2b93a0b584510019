# SPDX-License-Identifier: GPL-2.0-or-later
# A guest in direct mode, without raw IPIs, that attacks its host: it writes random words all over its page, what KVM,
# the processor and the guest itself have there; it loses the page from under KVM, by its VMM; it sends every kind of IPI to
# everyone, as any guest does and as one that may send raw ones. All that between exits of every kind, while the modes go on
# and off. The guest may break, the host must not: it keeps its time, gets no interrupt, keeps no page, has nothing to
# complain of, and the next VM is as any other. One vCPU, on CPU 1.
# needs: iho-hold

# What nobody but an attacker sends here, on each CPU. What stops a CPU (0xf8) has no counter: the CPU does not answer.
rare='NMI|SPU|PMI|TRM|THR|DFR|MCE|ERR|MIS|PIW|NPI|PLT'
rare_interrupts() { grep -E "^ *($rare):" /proc/interrupts | sed 's/[A-Z][a-z].*//'; }

# The host's own timers, on its CPU and on the tenant's, come when they are due: 20 of 10 ms each, none early
host_timers() {
	for cpu in 1 2; do
		start=$(cut -d' ' -f1 /proc/uptime | tr -d .)
		taskset $cpu sh -c 'i=0; while [ $i -lt 20 ]; do usleep 10000; i=$((i + 1)); done' || return 1
		end=$(cut -d' ' -f1 /proc/uptime | tr -d .)
		[ $((end - start)) -ge 20 ] || return 1
	done
}

reported() { sed -n "s/.*\"$2\": \([0-9]*\)[,}].*/\1/p" "$1.tenant"; } # RUN FIELD
direct() { tell "$1" 'vcpu 0' | sed -n "s/.* $2=\([0-9]*\).*/\1/p"; }   # RUN FIELD

# begin NAME OPS MODES: a tenant that has donated its page, in these modes, begins with OPS
begin() {
	tenant "$1" "hlt:1,gate,donate,gate,timer:3:300,$2" "" --no-pv-unhalt --pin 1
	ok $? "$1: the tenant waits at its gate" || cat "$1.tenant.err"
	hold "$1" "$(vmm_of "$1")"
	gate_open
	poll 60 tenant_says "$1.tenant" '^gate 2$'
	[ "$(tell "$1" "set $3")" = "modes $3" ]
	ok $? "$1: modes $3"
	before=$(tell "$1" 'vcpu 0')
	gate_open
}

end() { # NAME SIGNAL
	kill -"$2" $TENANT
	exec 7>&-
	wait $TENANT
	release TERM
}

# attack NAME OPS MODES SIGNAL: a tenant does OPS for ever, in its modes and out of them, until SIGNAL
attack() {
	begin "$1" "mark,$2,loop:1000000000" "$3"
	usleep 200000
	[ "$(tell "$1" "toggle 50 $3")" = 'modes 0' ]
	ok $? "$1: 50 times on and off"
	tell "$1" "set $3" >/dev/null
	host_timers
	ok $? "$1: the host's own timers take their time"
	after=$(tell "$1" 'vcpu 0')
	[ "$before" != "$after" ]
	ok $? "$1: it did run: $after"
	end "$1" "$4"
}

rare_before=$(rare_interrupts)

attack exits 'forge:64,cpuid:0:2,out:0x80:2' 3 TERM
attack away 'forge:64,sleep:1' 3 KILL
attack halts 'forge:3,hlt:1:300' 2 TERM
attack halts-in-guest 'forge:3,hlt:1:300' 3 KILL
attack timers 'forge:1,timer:1:300' 3 TERM
attack withdraws 'forge:64,withdraw,donate' 3 KILL

# The page goes while KVM posts to it: the interrupts that end the HLTs come all the same. A timer may not: the guest's word
# for its form does not reach KVM any more
attack emptied 'discard,hlt:1:300' 3 TERM
[ "$(reported emptied discard)" -ge 20 ]
ok $? "emptied: $(reported emptied discard) times, and $(reported emptied hlt) HLTs came to their end"
attack moved 'unmap,hlt:1:300,remap' 3 TERM
[ "$(reported moved remap)" -ge 20 ]
ok $? "moved: $(reported moved remap) times, and $(reported moved hlt) HLTs came to their end"
attack stale 'discard,timer:1:300,unmap,timer:1:300' 3 KILL
begin lost 'mark,timer:1:300,discard,hlt:3:300,unmap,hlt:3:300,withdraw,remap,donate,loop:50,unmap,gate' 3
[ "$(tell lost 'toggle 50 3')" = 'modes 0' ] && [ "$(tell lost 'set 3')" = 'modes 3' ]
ok $? "lost: 50 times on and off"
poll 120 tenant_says lost.tenant '^gate 3$' && has lost.tenant '^gate 3$'
ok $? "lost: woken from each HLT, by a page that was emptied, unmapped, moved, and unmapped when the VMM is killed"
end lost KILL

# IPIs: a fixed one and an NMI reach the guest's own vCPU 0, once each a round, and a fixed one that it asks KVM for; all but
# itself, nobody; in direct form, which it is not allowed, nobody but KVM, that wakes the vCPU it is told
n=20
ipis="icr:0xf8:1,icr:0x400:1,icr:0xc00f8:1,icr:0xc0400:1,icr:0xc4500:1,icr:0xc00fa:1,icr:0xc00ff:1"
asked="icr-asked:0xf9:1,icr-asked:0xc00f8:1"
begin ipis "mark,$ipis,$asked,icr-direct:0xf8:1,icr-direct:0x400:1,icr-direct:0xc00f8:1,icr-direct:0xc0400:1,icr-direct:0xc4500:1,hlt:1:300,loop:$n,gate" 3
poll 120 tenant_says ipis.tenant '^gate 3$'
[ "$(direct ipis ipi_kicked)" = $((5 * n)) ] && [ "$(direct ipis ipi_engaged)" = 0 ]
ok $? "ipis: KVM kept the ICR: $(direct ipis ipi_kicked) writes in direct form, $(direct ipis ipi_engaged) times let through"
end ipis TERM
[ "$(reported ipis stray)" = $((3 * n)) ] && [ "$(reported ipis icr)" = $((7 * n)) ] &&
	[ "$(reported ipis icr-asked)" = $((2 * n)) ]
ok $? "ipis: of $(reported ipis icr) others and $(reported ipis icr-asked) asked for $(reported ipis stray) reached the guest itself"

attack flood 'icr:0xf8:100,icr:0xc00f8:100,icr:0x400:100,icr:0xc0400:100,icr:0xc4500:100,icr-direct:0xc00f8:100' 3 KILL

begin init 'icr:0x4500:1,gate' 3
poll 60 eval '! kill -0 $TENANT 2>/dev/null'
wait $TENANT
[ $? = 1 ] && has init.tenant.err 'KVM_EXIT'
ok $? "init: the guest's own vCPU is reset: $(tail -n 1 init.tenant.err)"
exec 7>&-
release TERM

[ "$(rare_interrupts)" = "$rare_before" ]
ok $? "no CPU of the host got one of $rare" || {
	echo "$rare_before"
	rare_interrupts
}
pinned() { awk '/^nr_foll_pin_/ {n = $2 - n} END {print n}' /proc/vmstat; }
poll 30 eval '[ "$(pinned)" = 0 ]'
ok $? "none of their pages is kept, of $(awk '/^nr_foll_pin_acquired/ {print $2}' /proc/vmstat) that were pinned"

n=200
EVENTS=kvm_exit
hlt=12 wrmsr=32
tenant after "hlt:1,gate,donate,timer:$n:1000,withdraw" "" --no-pv-unhalt --pin 1
phase after 'done'
w=$(exits_by $wrmsr after) h=$(exits_by $hlt after)
[ "$w" = $((n + 2)) ] && [ "$h" = $n ]
ok $? "after that: $w WRMSR, $h HLT, for $n timers of another VM"
tenant_end
dmesg >dmesg
! grep -E 'WARNING|BUG|stall|lockup|Oops|list_' dmesg
ok $? "the host's kernel had nothing to complain of"
