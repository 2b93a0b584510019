#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Whatever way iho-top ends, the kernel is as it was: no program, map or link of ours stays.
. "$(dirname "$0")/../tap.sh"
need_root

progs() { bpftool prog list 2>/dev/null | grep -cE ' name (on_|find_vcpus|adopt_vcpus|exit_record)'; }
maps() { bpftool map list 2>/dev/null | grep -cE ' name (slots|free_slots|cpus|shared|vms|task_refs|found_vcpus|iho\.)'; }
links() { bpftool link list 2>/dev/null | grep -c '^[0-9]'; }
objects() { echo "$(progs) $(maps) $(links)"; }
same() { [ "$(objects)" = "$BEFORE" ]; }
mem_kb() { awk '/^(MemFree|Cached|Buffers|SReclaimable):/{s+=$2}END{print s}' /proc/meminfo; }

# The kernel gives back what a program before this one held a moment after its end: wait until it stands
settled() {
	BEFORE=$(objects)
	for _ in {1..8}; do
		sleep 0.25
		same || return 1
	done
}
poll 60 settled
diag "programs, maps, links before: $BEFORE"

"$TOP" -b -n 1 -d 0.1 >/dev/null 2>&1
poll 30 same
ok $? "after an ordinary end" || diag "now: $(objects)"

"$TOP" -b --vm nothing >/dev/null 2>&1
poll 30 same
ok $? "after an error" || diag "now: $(objects)"

for sig in TERM INT SEGV; do
	spawn "$TOP" -b -d 0.1 >"$TMP/out" 2>/dev/null
	poll 30 test -s "$TMP/out"
	kill -$sig "$SPAWNED"
	wait_gone "$SPAWNED" 20
	poll 30 same
	ok $? "after SIG$sig" || diag "now: $(objects)"
done

# 200 times, killed at every moment of the start and of the run
sync
mem_before=$(mem_kb)
loaded=0
for i in $(seq 200); do
	"$TOP" -b -d 0.1 >/dev/null 2>&1 &
	pid=$!
	sleep 0."$(printf %03d $((i * 7 % 400)))"
	[ "$(progs)" = "${BEFORE%% *}" ] || loaded=$((loaded + 1))
	kill -9 $pid
	wait $pid 2>/dev/null
done
[ "$loaded" -gt 20 ]
ok $? "200 x kill -9: the programs were loaded in $loaded of them"
poll 60 same
ok $? "200 x kill -9: nothing stays" || diag "before: $BEFORE now: $(objects)"
# The kernel gives maps back a moment later. One leaked set is 9 MiB, 200 would be 1.8 GiB.
mem_back() { [ $((mem_before - $(mem_kb))) -lt 200000 ]; }
poll 60 mem_back
ok $? "200 x kill -9: the memory is back" || diag "$((mem_before - $(mem_kb))) KiB less"

# The maps' kernel memory is what we say it is
need=$("$TOP" --format json -n 1 -d 0.1 | jq .self.map_bytes)
[ "$need" -gt 1000000 ] && [ "$need" -lt 33554432 ]
ok $? "the maps take $((need / 1024)) KiB"
done_testing
