# SPDX-License-Identifier: GPL-2.0-or-later
# /dev/iho of the patched KVM: HLT exits of a running tenant are switched from outside of its VMM, and
# all is as before when who switched them is gone. Counts are those of the kernel's histograms.
# needs: iho-hold
hlt=12 modes=7 not='refused 192 EOPNOTSUPP'
[ $ISA = vmx ] || hlt=120 modes=1 not='refused 8 EOPNOTSUPP'
n=200
EVENTS=kvm_exit

halts="hlt:$n:1000"
phases="hlt:1,gate,$halts,gate,$halts,gate,$halts,gate,$halts"
tenant hlt "$phases" "$phases" --no-pv-unhalt
ok $? "the tenant waits at its gate" || cat hlt.tenant.err
vmm=$(vmm_of hlt)

phase before 'gate 2'
exits=$(exits_by $hlt before)
[ "$exits" = $((2 * n)) ]
ok $? "before: HLT exits: $exits for $((2 * n))"

hold first "$vmm"
has first.hold "^attached, version 1, modes $modes\$"
ok $? "a session: $(cat first.hold)"
[ "$(tell first 'set 1')" = 'modes 1' ]
ok $? "HLT stays in the guest"
iho-hold "$vmm" <&- >second.hold
has second.hold '^IHO_ATTACH: EBUSY$'
ok $? "no second session: $(cat second.hold)"
phase held 'gate 3'
exits=$(exits_by $hlt held)
[ "$exits" = 0 ]
ok $? "held: $exits exits for $((2 * n)) HLTs"
[ "$(tell first 'set 9')" = 'refused 1 EOPNOTSUPP' ]
ok $? "a mode that there is not: $(tail -n 1 first.hold)"
[ "$(tell first 'set 3')" = "$not" ]
ok $? "timers, of a tenant that is not pinned, or not on this processor: $(tail -n 1 first.hold)"

release KILL
phase after 'gate 4'
exits=$(exits_by $hlt after)
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
exits=$(exits_by $hlt toggled)
[ "$exits" -gt 0 ] && [ "$exits" -lt $((2 * n)) ]
ok $? "some of its HLTs exited, and some did not: $exits for $((2 * n))"
tenant_end
release TERM

# a VMM that disabled the exits itself
tenant own "hlt:1,gate,$halts" "hlt:1,gate,$halts" --idle-in-guest
hold fourth "$(vmm_of own)"
tell fourth 'set 1' >/dev/null
tell fourth 'set 0' >/dev/null
release KILL
phase own 'done'
exits=$(exits_by $hlt own)
[ "$exits" = 0 ]
ok $? "what the VMM set stays: $exits exits for $((2 * n)) HLTs"
tenant_end

# a Linux, whose CPUID has what does not go together with it
iho-demo --name linux --announce --memory 256 --kernel /tenant/bzImage --initrd /tenant/initrd \
	--console linux.console --append "console=ttyS0 quiet" >linux.tenant &
TENANT=$!
poll 60 has linux.tenant '^ready'
poll 60 test -s linux.console
hold fifth "$(vmm_of linux)"
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
