#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# iho-direct pin and unpin, on real threads and this machine's own interrupts: where all were before,
# where they are while a VM is pinned, and that they are back after it.
. "$(dirname "$0")/../tap.sh"
need_root
need_kvm
[ "$(nproc)" -gt 1 ] && grep -q '^0-' /sys/devices/system/cpu/online || skip_all "a single CPU"
[ ! -e /run/iho/pin/undo.json ] || skip_all "a VM of this machine's is pinned: iho-direct status"
DIRECT=$B/iho-direct
UNDO=/run/iho/pin/undo.json
WORKQUEUES=/sys/devices/virtual/workqueue/cpumask
CPUSET=$TMP/cpuset

# Whatever way the test ends, this machine is as it was.
host_before=$(cat /proc/irq/*/smp_affinity_list $WORKQUEUES | paste -sd' ')
end() {
	local pid
	for pid in $(jq -r '.vms[].pid' $UNDO 2>/dev/null); do "$DIRECT" unpin "$pid"; done
	tap_cleanup_pin
}
tap_cleanup_pin() {
	[ ! -d "$CPUSET/iho-pin-$$" ] || {
		cat "$CPUSET/iho-pin-$$/cgroup.procs" >"$TMP/inside"
		while read -r pid; do kill -9 "$pid"; done <"$TMP/inside"
		poll 20 rmdir "$CPUSET/iho-pin-$$" 2>/dev/null
	}
	! mountpoint -q "$CPUSET" || umount "$CPUSET"
	tap_cleanup
}
trap end EXIT

# run NAME STATUS OPTION...: stdout in $TMP/out, stderr in $TMP/err
run() {
	local name=$1 status=$2
	shift 2
	timeout 60 "$DIRECT" "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
	is "$?" "$status" "$name: exit $status" || diag "$(cat "$TMP/out" "$TMP/err")"
}
# refused NAME STATUS WHY OPTION...: in one sentence
refused() {
	local name=$1 why=$3 lines=1
	[ "$2" = 1 ] || lines=2
	run "$name" "$2" "${@:4}"
	is "$(wc -l <"$TMP/out") $(wc -l <"$TMP/err")" "0 $lines" "$name: one sentence"
	like "$(head -n 1 "$TMP/err")" "$why" "$name: why"
}
allowed() { sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$1/status"; }
# Each thread of a process with its CPUs
threads() {
	local t
	for t in /proc/"$1"/task/*; do
		echo "$(cat "$t/comm" 2>/dev/null): $(allowed "${t##*/}")"
	done | sort
}
host() { cat /proc/irq/*/smp_affinity_list $WORKQUEUES | paste -sd' '; }
edit() { # FILTER
	jq "$1" $UNDO >"$TMP/edited" && cat "$TMP/edited" >$UNDO
}

# A VM that makes a thread when it is asked to: vm NAMES..., one for each vCPU's thread
cat >"$TMP/vm.py" <<'END'
import ctypes, fcntl, os, signal, sys, threading
kvm = os.open("/dev/kvm", os.O_RDWR)
vm = fcntl.ioctl(kvm, 0xae01, 0)            # KVM_CREATE_VM
vcpus = [fcntl.ioctl(vm, 0xae41, i) for i in range(len(sys.argv) - 1)]  # KVM_CREATE_VCPU
def run(name):
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)   # PR_SET_NAME
    print(name, threading.get_native_id(), flush=True)
    threading.Event().wait()
def more(*_):
    threading.Thread(target=run, args=("late",), daemon=True).start()
signal.signal(signal.SIGUSR2, more)
for name in sys.argv[1:]:
    threading.Thread(target=run, args=(name,), daemon=True).start()
while True:
    signal.pause()
END
vm() { # OUT NAME...
	local out=$1
	shift
	spawn python3 "$TMP/vm.py" "$@" >"$out" 2>"$out.err"
	poll 30 has_lines "$out" $#
}
has_lines() { [ "$(wc -l <"$1")" -ge "$2" ]; }

refused "which VM?" 2 "which VM" pin
refused "no list" 2 "a list" pin --cpus 1-x vm
refused "a CPU twice" 2 "each CPU once" pin --cpus 1,1 vm
refused "CPU 0" 2 "CPU 0 is the host's own" pin --cpus 0-1 vm
refused "CPUs for unpin" 2 "for pin" unpin --cpus 1 vm
refused "unpin of what is not pinned" 1 "no VM 'vm' is pinned" unpin vm

demo pinned --script 'gate' --vcpus 1 || exit 1
before=$(threads "$DEMO_PID")
refused "a CPU that is not there" 1 "CPU 8000 is not online" pin --cpus 8000 pinned
is "$(threads "$DEMO_PID"); $(host)" "$before; $host_before" "and nothing is changed"

run "pin" 0 pin --json --cpus 1 pinned
is "$(jq -c '[.pid, [.pinned[] | [.vcpu, .cpu]], .workqueues]' "$TMP/out")" "[$DEMO_PID,[[0,1]],true]" "pin: it says where"
vcpu=$(jq '.pinned[0].tid' "$TMP/out")
is "$(cat "/proc/$DEMO_PID/task/$vcpu/comm") $(allowed "$vcpu")" "CPU 0/KVM 1" "its vCPU is on CPU 1"
is "$(threads "$DEMO_PID" | sed 's/.*: //' | sort | uniq -c | awk '{print $2, $1}' | paste -sd,)" \
	"0 $(($(wc -l <<<"$before") - 1)),1 1" "and all its other threads on CPU 0"
moved=$(jq .interrupts.moved "$TMP/out")
fixed=$(jq .interrupts.fixed "$TMP/out")
reach=0
for f in /proc/irq/*/smp_affinity_list; do
	python3 - "$(cat "$f")" <<-'END' && reach=$((reach + 1))
		import sys
		r = [list(map(int, p.split("-"))) for p in sys.argv[1].split(",")]
		sys.exit(not any(p[0] <= 1 <= p[-1] for p in r))
	END
done
is "$reach" "$fixed" "$moved interrupts are off CPU 1, but for $fixed that cannot be moved"
is "$(tr -d '0,' <$WORKQUEUES)" 1 "unbound workqueues are on CPU 0"
is "$(stat -c '%a %U' /run/iho/pin $UNDO | paste -sd,)" "700 root,600 root" "what was before is root's alone to read"
run "status" 0 status --json pinned
is "$(jq -c '[.vms[0].pinned, .pins_left]' "$TMP/out")" "[[{\"vcpu\":0,\"tid\":$vcpu,\"cpu\":1}],[]]" "status says so"
run "status as text" 0 status
like "$(cat "$TMP/out")" 'pinned: vCPU 0 on CPU 1' "and as text"
run "doctor" 1 doctor --json pinned
is "$(jq -r '.checks[] | select(.check == "pinning" or .check == "workqueues") | .state' "$TMP/out" | paste -sd' ')" \
	"ok ok" "the doctor is content"
refused "pin again" 1 "is pinned already: iho-direct unpin $DEMO_PID" pin pinned

# one more wants a CPU that there is not: there are as many as vCPUs
names=()
for i in $(seq 0 "$(($(nproc) - 1))"); do names+=("CPU $i/KVM"); done
vm "$TMP/many" "${names[@]}"
many=$SPAWNED
many_before=$(threads "$many")
refused "more vCPUs than CPUs" 1 "$(nproc) vCPUs need as many CPUs.*there are $(($(nproc) - 2))" pin "$many"
refused "a list that is too short" 1 "$(nproc) vCPUs need as many CPUs, and --cpus has 1" pin --cpus 1 "$many"
is "$(threads "$many")" "$many_before" "and nothing is changed"
kill "$many"

vm "$TMP/taken" "CPU 0/KVM"
refused "a CPU that another VM has" 1 "CPU 1 is another pinned VM's" pin --cpus 1 "$SPAWNED"
kill "$SPAWNED"
vm "$TMP/unnamed" "worker"
refused "threads without names" 1 "of 0 of the 1 vCPUs" pin "$SPAWNED"
kill "$SPAWNED"

run "unpin" 0 unpin pinned
is "$(threads "$DEMO_PID")" "$before" "unpin: each thread is as it was"
is "$(host)" "$host_before" "unpin: interrupts and workqueues too"
is "$(ls /run/iho/pin)" "" "and there is nothing to undo any more"

# each its own: what was narrow before is narrow again; one that came meanwhile is as the first
taskset -pc 1 "$DEMO_PID" >/dev/null
narrow=$(threads "$DEMO_PID")
run "pin, of threads that differ" 0 pin --cpus 1 pinned
run "and unpin" 0 unpin "$DEMO_PID"
is "$(threads "$DEMO_PID")" "$narrow" "threads that differed differ again"
vm "$TMP/late" "CPU 0/KVM"
late=$SPAWNED
late_before=$(allowed "$late")
run "pin, before a thread comes" 0 pin --cpus 1 "$late"
kill -USR2 "$late"
poll 30 has_lines "$TMP/late" 2
tid=$(sed -n 's/^late //p' "$TMP/late")
is "$(allowed "$tid")" 0 "a thread that comes later is on CPU 0"
run "unpin it" 0 unpin "$late"
is "$(allowed "$tid")" "$late_before" "and has then what the first one had"
kill "$late"

# a cpuset that lacks CPU 1
mkdir "$CPUSET"
if mount -t cgroup -o cpuset cpuset "$CPUSET" 2>/dev/null ||
	{ mount -t cgroup2 cgroup2 "$CPUSET" && grep -qw cpuset "$CPUSET/cgroup.subtree_control"; }; then
	G=$CPUSET/iho-pin-$$
	mkdir "$G"
	echo 0 >"$G/cpuset.cpus"
	cat "$CPUSET"/cpuset.mems* 2>/dev/null | head -n 1 >"$G/cpuset.mems"
	vm "$TMP/caged" "CPU 0/KVM"
	caged=$SPAWNED
	caged_outside=$(threads "$caged")
	echo "$caged" >"$G/cgroup.procs"
	caged_before=$(threads "$caged")
	[ "$caged_before" != "$caged_outside" ]
	ok $? "a VM in a cpuset of CPU 0"
	tid=$(sed -n 's/^CPU 0.KVM //p' "$TMP/caged")
	refused "a cpuset" 1 "1 threads cannot be pinned.*thread $tid \\(CPU 0/KVM\\) to CPU 1.*cpuset" pin --cpus 1 "$caged"
	is "$(threads "$caged"); $(host)" "$caged_before; $host_before" "all or nothing: it is nothing"
	is "$(ls /run/iho/pin)" "" "nor is there anything to undo"
	kill "$caged"
else
	skip "no cpusets here" "a cpuset that lacks CPU 1"
fi

# the VMM is killed
demo killed --script 'gate' --vcpus 1 || exit 1
victim=$DEMO_PID
run "pin, of one that is killed then" 0 pin --cpus 1 killed
kill -KILL "$victim"
wait_gone "$victim" 20
run "status of what is left" 0 status --json
is "$(jq -c .pins_left "$TMP/out")" "[{\"pid\":$victim,\"name\":\"killed\"}]" "status names it"
run "status of it as text" 0 status
like "$(cat "$TMP/out")" "^$victim +killed +has ended, and was pinned" "and as text"
run "unpin, of one that has ended" 0 unpin killed
is "$(host)" "$host_before" "the host is as it was"

# two: CPU 1 is free again with the end of the first, and the host's part stays until the last one goes
demo first --script 'gate' --vcpus 1 || exit 1
first=$DEMO_PID
run "pin the first" 0 pin --cpus 1 first
kill -KILL "$first"
wait_gone "$first" 20
demo second --script 'gate' --vcpus 1 || exit 1
second=$(threads "$DEMO_PID")
run "pin another after its end" 0 pin --cpus 1 second
is "$(jq -c '[.vms[].name]' $UNDO)" '["second"]' "which takes its place"
run "unpin that" 0 unpin second
is "$(threads "$DEMO_PID"); $(host)" "$second; $host_before" "all is as before the first"

# the file is not believed: another's thread under a tid, another's process under the pid, anything
taskset -c 1 sleep 600 &
sleeper=$!
TAP_PIDS+=("$sleeper")
poll 20 eval '[ "$(allowed $sleeper)" = 1 ]'
run "pin, and edit the file" 0 pin --cpus 1 second
edit ".vms[0].threads += [.vms[0].threads[0] | .tid = $sleeper | .was = \"0\"]"
run "unpin, with a tid of another's" 0 unpin second
is "$(allowed "$sleeper")" 1 "a thread that began at another time is left alone"
is "$(threads "$DEMO_PID"); $(host)" "$second; $host_before" "and all else is as it was"
run "pin, and edit it again" 0 pin --cpus 1 second
pinned=$(threads "$DEMO_PID")
edit '.vms[0].start -= 1 | .vms[0].threads[].start -= 1'
run "unpin, of another VM with its pid" 0 unpin "$DEMO_PID"
is "$(threads "$DEMO_PID"); $(host)" "$pinned; $host_before" "its threads are left alone, the host is as it was"
vcpu=$(grep -l '^CPU 0/KVM' "/proc/$DEMO_PID"/task/*/comm | cut -d/ -f5)
for t in /proc/"$DEMO_PID"/task/*; do taskset -pc 0-1 "${t##*/}" >/dev/null; done
taskset -pc 1 "$vcpu" >/dev/null
for bad in '' '{' '{"version": 1}' '{"version": 1, "vms": [{}], "interrupts": [], "workqueues": null}' \
	'{"version": 1, "vms": [], "interrupts": [{"irq": -1, "was": "0"}], "workqueues": null}' \
	'{"version": 1, "vms": [], "interrupts": [{"irq": 1, "was": "x"}], "workqueues": null}' \
	'{"version": 1, "vms": [], "interrupts": [], "workqueues": "../x"}'; do
	printf '%s' "$bad" >$UNDO
	chmod 600 $UNDO
	refused "a file of '$bad'" 1 "not as iho-direct wrote it" pin --cpus 1 second
done
rm $UNDO
ln -s "$TMP/edited" $UNDO
refused "a link" 1 "cannot use" pin --cpus 1 second
rm $UNDO
cp "$TMP/edited" $UNDO
chmod 666 $UNDO
refused "one that others may write" 1 "not as iho-direct wrote it" unpin second
rm $UNDO
is "$(host)" "$host_before" "in the end this machine is as it was"

done_testing
