# SPDX-License-Identifier: GPL-2.0-or-later
# A Linux tenant of QEMU's, which knows nothing of direct mode, with guest-module/: its vCPUs' state is read while they run
# in direct mode, the tenant is saved into a file under load and goes on from that in another QEMU, and is reset. Its work is
# the same in every round: a timer or an IPI that was lost would end it. Two vCPUs, on CPUs 1 and 2 of three.
# needs: iho-hold qemu-system-x86_64-microvm
# files: /usr/share/qemu/bios-microvm.bin /usr/share/qemu/linuxboot_dma.bin
# tenant: iho_guest.ko
# tenant: load
# cpus: 3
deadline=1760 icr=2096 # MSRs, as the histogram has them
state=/run/state
EVENTS=kvm_msr

# qemu NAME [OPTION...]: its monitor is at file 9, and said in NAME.monitor
qemu() {
	run=$1
	shift
	mkfifo "/run/$run.monitor"
	: >"$run.console"
	qemu-system-x86_64-microvm -L /usr/share/qemu -name "$run,debug-threads=on" -M microvm,accel=kvm \
		-cpu host,kvm-pv-unhalt=off -smp 2 -m 192 -nodefaults -no-user-config -display none \
		-serial "file:$run.console" -monitor stdio -kernel /tenant/bzImage -initrd /tenant/initrd \
		-append "console=ttyS0 quiet panic=-1 reboot=t mitigations=off nokaslr iho.saved" "$@" \
		<"/run/$run.monitor" >"$run.monitor" 2>"$run.err" &
	TENANT=$!
	exec 9>"/run/$run.monitor"
}
monitor() { echo "$1" >&9; }
quit() {
	monitor quit
	exec 9>&-
	wait $TENANT
}

# Each vCPU's thread to a CPU of its own
pin() {
	for t in /proc/$TENANT/task/*; do
		case $(cat "$t/comm") in
		'CPU 0/KVM') taskset -p 2 "${t##*/}" ;;
		'CPU 1/KVM') taskset -p 4 "${t##*/}" ;;
		esac
	done
}

alive() { kill -0 $TENANT 2>/dev/null; }
said() { grep -q "^tenant: $1" $run.console 2>/dev/null || ! alive; }
rounds() { grep -c '^tenant: round' $run.console; }
# N rounds more from now on, of which the first may have begun before
goes_on() {
	to=$(($(rounds) + $1))
	poll 300 eval '[ "$(rounds)" -ge $to ] || ! alive'
	[ "$(rounds)" -ge $to ]
}
vcpu() { tell "$run" "vcpu $1" | sed -n "s/.* $2=\([0-9]*\).*/\1/p"; } # VCPU FIELD
both() { [ "$(vcpu 0 modes)" = "$1" ] && [ "$(vcpu 1 modes)" = "$1" ]; }
# What its module counts, in the last round, of both CPUs
counted_by_module() { sed -n "s/^tenant: cpu[01] .*$1=\([0-9]*\).*/\1/p" $run.console | tail -n 2 | xargs; }
msr_writes() { sed -n "s/.*ecx: *$1, write: *1 .*hitcount: *//p" "$2.kvm_msr" | awk '{n += $1} END {print n + 0}'; } # MSR PHASE

# direct: both vCPUs are in both modes, and make no exits for their timers and IPIs
direct() {
	hold "$run" $TENANT
	[ "$(tell "$run" 'set 7')" = 'modes 7' ]
	ok $? "$run: $(tail -n 1 "$run.hold")"
	poll 120 both 6
	ok $? "$run: both vCPUs are in both modes" || tell "$run" 'vcpu 0'
	goes_on 1
	truth_begin
	goes_on 2
	ok $? "$run: the tenant works"
	truth_end "$1"
	w=$(msr_writes $deadline "$1") i=$(msr_writes $icr "$1")
	[ "$w" = 0 ] && [ "$i" = 0 ]
	ok $? "$run: $w exits for deadlines and $i for IPIs in at least a round of its work"
}

qemu source
poll 400 said 'round 1'
ok $? "a tenant of QEMU's works: $(sed -n 's/^tenant: module //p' $run.console)" || tail -n 20 $run.console $run.err
pin
direct source-direct

# QEMU reads all of a vCPU's state for that
n=0 before=$(vcpu 0 drained)
while [ $n -lt 10 ]; do
	n=$((n + 1))
	monitor 'info registers'
	poll 60 eval '[ "$(grep -c "^RIP=" source.monitor)" -ge $n ]'
	usleep 50000
done
drained=$(($(vcpu 0 drained) - before))
[ "$drained" -ge 10 ]
ok $? "10 times QEMU read vCPU 0's state, which $drained times left nothing in direct mode"
poll 120 both 6
ok $? "and it is back in it"
goes_on 2
ok $? "the tenant works on"

before="$(vcpu 0 drained) $(vcpu 1 drained)"
monitor 'migrate_set_parameter max-bandwidth 1G'
monitor "migrate \"exec:cat >$state\""
completed() { monitor 'info migrate' && has source.monitor 'Migration status: completed'; }
poll 300 completed
ok $? "the tenant is saved: $(wc -c <$state) bytes" || tail -n 5 source.monitor
at=$(rounds)
both 0 && [ $(($(vcpu 0 missing) & $(vcpu 1 missing) & 64)) = 64 ]
ok $? "its vCPUs are drained, of $before times before: $(tell source 'vcpu 0')"
sed -n 's/^tenant: /# /p' source.console | tail -n 12
quit
release TERM

qemu restored -incoming "exec:cat $state"
goes_on 2
ok $? "another QEMU goes on with it, from round $at on: $(sed -n 's/^tenant: round //p' restored.console | xargs)" ||
	tail -n 20 restored.console restored.err
rm $state
[ "$(sed -n 's/^tenant: round \([0-9]*\).*/\1/p' restored.console | head -n 1)" = $((at + 1)) ]
ok $? "no round is missing"
[ "$(counted_by_module renewed)" = '1 1' ] && [ "$(counted_by_module error)" = '0 0' ]
ok $? "the module has donated its pages to this KVM"
pin
direct restored-direct
work() { # FILE ROUND
	sed -n "s/^tenant: $2-\([a-z]*: .*\)/\1/p" "$1.console" | grep -v IPIs | sed 's/, late by.*//' | tr -d '\r'
}
same=0
for r in $(seq 2 $at); do
	[ "$(work source 1)" = "$(work source $r)" ] || same=1
done
for r in $(seq $((at + 2)) $(($(rounds) + at))); do
	[ "$(work source 1)" = "$(work restored $r)" ] || same=1
done
cat source.console restored.console >round.console
[ "$(work source 1)" = "$(work round $((at + 1)))" ] || same=1
[ $same = 0 ] && [ "$(work source 1 | wc -l)" = 4 ] && ! grep -q ' [1-9][0-9]* early' round.console
ok $? "in each of $at and $(rounds) rounds it did the same work, and no sleeper came early" || {
	work source 1
	work round $((at + 1))
}

# A reset sets each APIC's state, and makes the page any page of the next kernel's
monitor system_reset
poll 400 eval '[ "$(grep -c "^tenant: module" restored.console)" = 1 ] || ! alive'
poll 120 both 6
ok $? "reset with the modes on: $(sed -n 's/^tenant: module //p' restored.console), and both vCPUs are in them again"
goes_on 2
ok $? "it works: $(counted_by_module renewed) pages renewed"
! grep '^tenant: complains' source.console restored.console
ok $? "the tenant's kernel had nothing to complain of"
quit
release TERM
pinned() { awk '/^nr_foll_pin_/ {n = $2 - n} END {print n}' /proc/vmstat; }
poll 30 eval '[ "$(pinned)" = 0 ]'
ok $? "no page is kept, of $(awk '/^nr_foll_pin_acquired/ {print $2}' /proc/vmstat) that were pinned"
dmesg >dmesg
! grep -E 'WARNING|BUG|stall|lockup|Oops|list_' dmesg
ok $? "the host's kernel had nothing to complain of"
