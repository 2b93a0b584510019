# SPDX-License-Identifier: GPL-2.0-or-later
# /dev/iho of the patched KVM: HLT exits of a running tenant are switched from outside of its VMM, and
# all is as before when who switched them is gone. Counts are those of the kernel's histograms.
# needs: iho-hold
hlt=12
[ $ISA = vmx ] || hlt=120
n=200

# hold NAME PID: a session; returns when it said how it began
hold() {
	rm -f "/run/$1"
	mkfifo "/run/$1"
	iho-hold "$2" <"/run/$1" >"$1.hold" &
	HOLDER=$!
	exec 8>"/run/$1"
	poll 30 test -s "$1.hold"
}

# tell NAME COMMAND: its answer
tell() {
	was=$(lines "$1.hold")
	echo "$2" >&8
	poll 60 has_lines "$1.hold" $((was + 1))
	tail -n 1 "$1.hold"
}

release() { # SIGNAL
	kill -"$1" $HOLDER
	exec 8>&-
	wait $HOLDER
}

# count RUN: its exits by HLT, into $exits
count() {
	exits=$(sed -n "s/.*exit_reason: *$hlt .*hitcount: *//p" "$1.kvm_exit" | awk '{n += $1} END {print n + 0}')
}

# phase NAME GATE: opens the tenant's gate, and counts its exits by HLT until the next one or its end
phase() {
	truth_begin
	gate_open
	poll 300 tenant_says "$run.tenant" "^$2\$" && has "$run.tenant" "^$2\$"
	ok $? "$1: all HLTs came to their end"
	truth_end "$1"
	count "$1"
}

halts="hlt:$n:1000"
phases="hlt:1,gate,$halts,gate,$halts,gate,$halts,gate,$halts"
tenant hlt "$phases" "$phases" --no-pv-unhalt
ok $? "the tenant waits at its gate" || cat hlt.tenant.err
vmm=$(sed -n 's/^ready \([0-9]*\).*/\1/p' hlt.tenant)

phase before 'gate 2'
[ "$exits" = $((2 * n)) ]
ok $? "before: HLT exits: $exits for $((2 * n))"

hold first "$vmm"
has first.hold '^attached, version 1, modes 1$'
ok $? "a session: $(cat first.hold)"
[ "$(tell first 'set 1')" = 'modes 1' ]
ok $? "HLT stays in the guest"
iho-hold "$vmm" <&- >second.hold
has second.hold '^IHO_ATTACH: EBUSY$'
ok $? "no second session: $(cat second.hold)"
phase held 'gate 3'
[ "$exits" = 0 ]
ok $? "held: $exits exits for $((2 * n)) HLTs"
[ "$(tell first 'set 2')" = 'refused 1 EOPNOTSUPP' ]
ok $? "a mode that there is not: $(tail -n 1 first.hold)"

release KILL
phase after 'gate 4'
[ "$exits" = $((2 * n)) ]
ok $? "after its holder was killed HLT exits again: $exits for $((2 * n))"

hold third "$vmm"
truth_begin
gate_open
[ "$(tell third 'toggle 200 1')" = 'modes 0' ]
ok $? "200 times on and off while it runs: $(tail -n 1 third.hold)"
tenant_done hlt
ok $? "the tenant ran to its end"
truth_end toggled
count toggled
[ "$exits" -gt 0 ] && [ "$exits" -lt $((2 * n)) ]
ok $? "some of its HLTs exited, and some did not: $exits for $((2 * n))"
tenant_end
release TERM

# a VMM that disabled the exits itself
tenant own "hlt:1,gate,$halts" "hlt:1,gate,$halts" --idle-in-guest
hold fourth "$(sed -n 's/^ready \([0-9]*\).*/\1/p' own.tenant)"
tell fourth 'set 1' >/dev/null
tell fourth 'set 0' >/dev/null
release KILL
phase own 'done'
[ "$exits" = 0 ]
ok $? "what the VMM set stays: $exits exits for $((2 * n)) HLTs"
tenant_end

# a Linux, whose CPUID has what does not go together with it
iho-demo --name linux --announce --memory 256 --kernel /tenant/bzImage --initrd /tenant/initrd \
	--console linux.console --append "console=ttyS0 quiet" >linux.tenant &
TENANT=$!
poll 60 has linux.tenant '^ready'
poll 60 test -s linux.console
hold fifth "$(sed -n 's/^ready \([0-9]*\).*/\1/p' linux.tenant)"
[ "$(tell fifth 'set 1')" = 'refused 4 EOPNOTSUPP' ]
ok $? "paravirtual spinlocks: $(tail -n 1 fifth.hold)"
release TERM
kill $TENANT
wait $TENANT

iho-hold none <&- >none.hold
has none.hold '^IHO_ATTACH: EINVAL$'
ok $? "no VM: $(cat none.hold)"
iho-hold 1 <&- >one.hold
has one.hold '^no VM: '
ok $? "no VMM: $(cat one.hold)"
