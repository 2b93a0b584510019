#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# iho-direct where KVM is not the patched one: what it says, and how. That it switches is shown
# where there is a /dev/iho: tests/lab.
. "$(dirname "$0")/../tap.sh"
need_root
need_kvm
[ ! -e /dev/iho ] || skip_all "this KVM is the patched one: see the lab"
DIRECT=$B/iho-direct

# run NAME STATUS OPTION...: stdout in $TMP/out, stderr in $TMP/err
run() {
	local name=$1 status=$2
	shift 2
	timeout 60 "$DIRECT" "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
	is "$?" "$status" "$name: exit $status"
}
wrong() { # NAME OPTION...
	local name=$1
	shift
	run "$name" 2 "$@"
	is "$(wc -l <"$TMP/out") $(wc -l <"$TMP/err")" "0 2" "$name: one sentence, and where help is"
}

wrong "no command"
wrong "another command" fly
wrong "on without a VM" on --hlt
wrong "on without a mode" on vm
wrong "modes for off" off --hlt vm
wrong "another IPI mode" on --ipi=fast vm
wrong "two VMs" status a b
wrong "an unknown option" status --colour
run "wrong usage in JSON" 2 on --json vm
is "$(jq -r 'keys[]' "$TMP/out")$(cat "$TMP/err")" error "wrong usage in JSON: an object, and nothing else"

demo direct --script 'gate' --vcpus 1 || exit 1
run "status" 0 status
like "$(cat "$TMP/out")" "not supported.*no /dev/iho" "status: why there is no direct mode"
like "$(cat "$TMP/out")" "$DEMO_PID +direct +-" "status: a VM with nothing on"
run "status in JSON" 0 status --json direct
is "$(jq -c '[.supported, .version, (.vms | length), .vms[0].pid, .vms[0].name, .vms[0].modes]' "$TMP/out")" \
	"[false,0,1,$DEMO_PID,\"direct\",[]]" "status in JSON: the same"
run "status of a VM that is not there" 1 status --json 'no
such'
is "$(jq -r .error "$TMP/out")" "there is no VM 'no?such' that this user may look at" "its name is made printable"

for what in "on --hlt" "on --timer --foreground" "on --hlt --ipi=raw"; do
	# shellcheck disable=SC2086 # words
	run "$what" 1 $what direct
	is "$(wc -l <"$TMP/err") $(grep -c 'no /dev/iho' "$TMP/err")" "1 1" "$what: one sentence, the reason"
done
run "off" 1 off "$DEMO_PID"
is "$(cat "$TMP/err")" "iho-direct: nobody holds process $DEMO_PID in direct mode" "off: of what is not on"

# a socket that nobody listens at, as a holder that was killed leaves it
mkdir -p /run/iho/direct
python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).bind(sys.argv[1])' \
	"/run/iho/direct/$DEMO_PID.sock"
run "off, of a holder that was killed" 1 off "$DEMO_PID"
like "$(cat "$TMP/err")" "nobody holds" "a socket that is left over is nobody"
rm -f "/run/iho/direct/$DEMO_PID.sock"
# one who answers anything
python3 -c '
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind(sys.argv[1]); s.listen(4); print("ready", flush=True)
for answer in (b"x", b"\xff" * 1000, b"\0" * 1000 + b"\xff" * 4000):
    c, _ = s.accept(); c.recv(64); c.send(answer); c.close()
' "/run/iho/direct/$DEMO_PID.sock" >"$TMP/liar" &
liar=$!
poll 20 grep -q ready "$TMP/liar"
for i in 1 2; do
	run "a holder's answer that is none, $i" 0 status "$DEMO_PID"
	like "$(cat "$TMP/err")" "answers in parts" "a holder's answer that is none, $i: is said"
done
kill $liar 2>/dev/null
wait $liar 2>/dev/null
rm -f "/run/iho/direct/$DEMO_PID.sock"

# a host that has all, and one that has nothing
root=$TMP/host
mkdir -p "$root"/{proc/irq/7,proc/sys/kernel,dev,sys/module/kvm_intel/parameters,sys/devices/system/cpu/smt} \
	"$root/sys/devices/virtual/workqueue" "$TMP/empty"
: >"$root/dev/iho"
for p in enable_apicv preemption_timer; do echo Y >"$root/sys/module/kvm_intel/parameters/$p"; done
echo N >"$root/sys/module/kvm_intel/parameters/enable_ipiv"
echo 0 >"$root/sys/devices/system/cpu/smt/active"
echo 0 >"$root/proc/sys/kernel/nmi_watchdog"
echo 1 >"$root/sys/devices/virtual/workqueue/cpumask"
echo 0 >"$root/proc/irq/7/effective_affinity_list"
echo 'ro nohz_full=1-3 isolcpus=managed_irq,domain,1-3 rcu_nocbs=1-3 irqaffinity=0' >"$root/proc/cmdline"
printf 'processor\t: 0\nflags\t\t: fpu constant_tsc x2apic tsc_deadline_timer\n' >"$root/proc/cpuinfo"
run "doctor of a host that has all" 0 doctor --json --sysroot "$root"
is "$(jq -c '[.state, ([.checks[] | select(.state != "ok")] | length)]' "$TMP/out")" '["ok",0]' "all is well"
echo Y >"$root/sys/module/kvm_intel/parameters/enable_ipiv"
echo 3 >"$root/proc/irq/7/effective_affinity_list"
run "doctor of one with two faults" 1 doctor --json --sysroot "$root"
is "$(jq -c '[.checks[] | select(.state != "ok") | [.check, .state, (.do | length > 0)]]' "$TMP/out")" \
	'[["ipi virtualization","missing",true],["interrupts","attention",true]]' "both are found, with what to do"
run "doctor of nothing" 1 doctor --sysroot "$TMP/empty"
like "$(cat "$TMP/out")" "missing +kvm" "nothing is no patched KVM"
run "doctor here, with a VM" 1 doctor --json direct
is "$(jq -c '[.checks[] | select(.check == "pinning") | .state]' "$TMP/out")" '["missing"]' "its vCPU is not pinned"

done_testing
