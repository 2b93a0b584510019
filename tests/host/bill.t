#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The bill: a tenant spends known times in known ways; each must be billed to the right state within
# 5 %, and the states must sum to the wall time within 1 %. iho-top runs before the tenant starts.
. "$(dirname "$0")/../tap.sh"
need_root
need_kvm

if emits_exits; then
	GUEST=guest
else
	GUEST=guest_or_kvm
fi
ms() { echo $(($1 / 1000000)); }

# run NAME SCRIPT OPTION...: one vCPU through the script, with the hook `during` while it runs; the
# last report with that VM is $TMP/NAME.json
run() {
	local name=$1 script=$2
	shift 2
	spawn "$TOP" -b --format json -d 0.2 >"$TMP/$name.top"
	TOP_PID=$SPAWNED
	poll 60 test -s "$TMP/$name.top"
	demo "$name" --vcpus 1 --script "$script" "$@"
	during "$name" "$DEMO_PID"
	demo_done "$name"
	wait_gone "$DEMO_PID" 30
	poll 30 vm_gone "$TMP/$name.top" "$name"
	kill "$TOP_PID"
	wait_gone "$TOP_PID" 20
	jq -c ".vms[]|select(.name==\"$name\")" "$TMP/$name.top" | tail -n 1 >"$TMP/$name.json"
}
vm_gone() { last_line "$1" | jq -se "any(.[].vms[]; .name==\"$2\" and .gone)" >/dev/null 2>&1; }
bill() { ms "$(jq ".vcpus[0].bill_ns.$2" "$TMP/$1.json")"; }
sums() {
	local wall sum
	wall=$(jq ".vcpus[0].wall_ns" "$TMP/$1.json")
	sum=$(jq '[.vcpus[0].bill_ns[]]|add' "$TMP/$1.json")
	within "$sum" "$wall" 1 "$1: the states sum to the wall time"
	[ "$(jq '.vcpus[0].bill_ns.unaccounted' "$TMP/$1.json")" -lt $((wall / 100)) ]
	ok $? "$1: less than 1 % unaccounted"
}
elapsed() { sed -n 's/.*"vcpu": 0,.*"elapsed_seconds": \([0-9.]*\).*/\1/p' "$TMP/$1.out" | awk '{printf "%d",$1*1000}'; }
during() { :; }

run busy busy:3000
within $(($(bill busy $GUEST) + $(bill busy preempted) + $(bill busy runnable))) 3000 5 "busy: 3 s in the guest"
sums busy
within "$(ms "$(jq .vcpus[0].wall_ns "$TMP/busy.json")")" "$(elapsed busy)" 5 "busy: the wall time is the VMM's"

run sleepy sleep:3000
within "$(bill sleepy qemu)" 3000 5 "sleep: 3 s in the VMM"
within "$(ms "$(jq .vcpus[0].qemu_asleep_ns "$TMP/sleepy.json")")" 3000 5 "sleep: the VMM slept, it did not spin"
sums sleepy

run halting hlt:100:20000
halted=$(($(bill halting halted) + $(bill halting halt_poll)))
[ "$halted" -ge 2000 ]
ok $? "halt: 100 halts of 20 ms are at least 2 s halted ($halted ms)"
rest=$(($(elapsed halting) - $(bill halting runnable) - $(bill halting preempted)))
within "$halted" "$rest" 5 "halt: the rest of its life was halted"
is "$(jq .vcpus[0].halts "$TMP/halting.json")" 100 "halt: 100 halts"
sums halting

during() {
	local t0 t1
	sleep 0.5
	t0=$(date +%s%N)
	kill -STOP "$2"
	sleep 2
	kill -CONT "$2"
	t1=$(date +%s%N)
	STOPPED_MS=$(((t1 - t0) / 1000000))
}
run stopped busy:4000
# on a busy machine the thread may wait for its core before it can stop, and after it may go on
stopped=$(bill stopped stopped)
[ "$stopped" -le $((STOPPED_MS * 102 / 100)) ] &&
	[ $((stopped + $(bill stopped runnable) + $(bill stopped preempted))) -ge $((STOPPED_MS * 95 / 100)) ]
ok $? "SIGSTOP: the time between STOP and CONT ($stopped of $STOPPED_MS ms)"
sums stopped

# Starved by a competing task on its core. The scheduler keeps its own books of the waiting time.
during() {
	local tid line cpu=$(($(nproc) - 1))
	tid=$(awk '/^ready/{print $3; exit}' "$TMP/$1.out")
	spawn taskset -c $cpu sh -c 'while :; do :; done'
	HOG=$SPAWNED
	sleep 3.5
	# two sets of books, read together: the scheduler's, and ours of the last report
	line=$(last_line "$TMP/$1.top" | jq -c ".vms[]|select(.name==\"$1\")|.vcpus[0]")
	WAITED_MS=$(($(awk '{print $2}' "/proc/$2/task/$tid/schedstat") / 1000000))
	HOG_RAN_MS=$(($(awk '{print $1}' "/proc/$HOG/schedstat") / 1000000))
	BILLED_MS=$(jq '.bill_ns|(.preempted+.runnable)/1000000|floor' <<<"$line")
	HOG_MS=$(jq "[.interlopers[]|select(.kind==\"task\" and .id==$HOG).time_ns]|add // 0|./1000000|floor" <<<"$line")
	TASKS_MS=$(jq '[.losses.interlopers_evicted_ns,(.interlopers[]|select(.kind=="task").time_ns)]|add|./1000000|floor' <<<"$line")
	kill "$HOG"
	wait_gone "$HOG" 10
}
run starved busy:8000 --pin $(($(nproc) - 1))
[ "$WAITED_MS" -gt 500 ]
ok $? "starved: the scheduler says that it waited ($WAITED_MS ms)"
# the report is up to one delay older than the scheduler's figures
within "$BILLED_MS" "$WAITED_MS" 12 "starved: preempted and runnable are the scheduler's waiting time"
within "$HOG_MS" "$HOG_RAN_MS" 12 "starved: the competing task had the core for as long as it ran"
within "$TASKS_MS" "$BILLED_MS" 10 "starved: somebody had the core whenever it waited"
final=$(($(bill starved preempted) + $(bill starved runnable) + $(bill starved $GUEST)))
within "$final" 8000 5 "starved: guest and waiting are the 8 s that the script lasts"
is "$(jq .vcpus[0].pinned "$TMP/starved.json")" true "starved: shown as pinned"
sums starved
done_testing
