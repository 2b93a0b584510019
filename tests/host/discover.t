#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Which VMs are there: before us, after us, silent, ended, killed, with a reused pid, a thousand vCPUs
# wide, more than there is room for; what they are called, where they may run, and which are shown.
# shellcheck disable=SC2016 # jq has variables of its own
. "$(dirname "$0")/../tap.sh"
need_root
need_kvm

PORT=1016 # 0x3f8
NAME=silent$$ # the names that --vm asks for must be nobody else's

# Where the threads are, by the kernel's own words
thread_state() { sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/task/$2/status" 2>/dev/null; }
asleep() { [ "$(thread_state "$1" "$2")" = S ] && [[ $(cat "/proc/$1/task/$2/wchan") == *"$3"* ]]; }
all_stopped() { ! grep -hE '^State:' "/proc/$1/task/"*/status | grep -qv 'T (stopped)'; }
cpus_allowed() { sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "/proc/$1/task/$2/status"; }

# What the tenant says of itself: its vCPUs' threads, as 1,2,3
tids() { sed -n 's/^ready [0-9]* //p' "$TMP/$1.out" | tr ' ' ,; }

# The last complete report in a file
latest() { head -n "$(wc -l <"$1")" "$1" | tail -n 1; }

JQ='def vm($p): .vms[] | select(.pid == $p);
	def out($port): [.drill.pio[]? | select(.port == $port and .write) | .total] | add // 0;
	def ports: [.drill.pio[]? | [.port, .total]] | sort;
	def shown: [.vms[].vcpus[]] | length;'

# ask FILE FILTER [OPTION...]: of the last report, in one line
ask() {
	local file=$1 filter=$2
	shift 2
	latest "$file" | jq -c "$@" "$JQ $filter"
}
holds() { ask "$1" "$2" -e >/dev/null 2>&1; }

# await FILE FILTER NAME: a report comes for which the filter is true
await() {
	poll 60 holds "$1" "$2"
	ok $? "$3" || diag "$2" "of: $(ask "$1" '[.vms[] | [.pid, .name, .gone, (.vcpus[] | [.id, .tid, .state])]]' | cut -c 1-2000)"
}

# In any of the reports: under pressure a VM's last line is shown once only
ever() { head -n "$(wc -l <"$1")" "$1" | jq -en "$JQ any(inputs; $2)" >/dev/null 2>&1; }

# one FILE OPTION...: the first report of an iho-top of its own
one() {
	local file=$1
	shift
	"$TOP" --format json -n 1 -d 0.1 "$@" >"$file" 2>"$file.err" || diag "iho-top: $(cat "$file" "$file.err")"
}
# Beyond the first byte, the first report: that of 1024 vCPUs takes a while
watch() { top_start "$@" && poll 60 more_lines "$1" 1 || exit 1; }
unwatch() {
	kill "$1"
	wait_gone "$1" 20
}
end() { unwatch "$@"; }
# reaped, and without the shell's word about it
kill9() {
	kill -9 "$1"
	wait "$1"
} 2>/dev/null

# ------------------------------------------------------------------------ silent ones, before us

demo $NAME --script-vcpu 0=hlt:1:900000000 --script-vcpu 1=sleep:900000 || exit 1
silent=$DEMO_PID
IFS=, read -r tid0 tid1 <<<"$(tids $NAME)"
poll 60 asleep "$silent" "$tid0" kvm_vcpu_block && poll 60 asleep "$silent" "$tid1" futex
ok $? "silent: the kernel says that one halts and one sleeps in its VMM"
one "$TMP/o" --vm "$silent"
is "$(ask "$TMP/o" '[.vms[] | .pid, .name, .vmm, .gone]')" "[$silent,\"$NAME\",\"iho-demo\",false]" \
	"silent: in the first report"
is "$(ask "$TMP/o" '[.vms[].vcpus[] | [.id, .tid, .state]]')" "[[0,$tid0,\"halted\"],[1,$tid1,\"qemu\"]]" \
	"silent: numbers, threads and states"
is "$(ask "$TMP/o" '[.vms[].vcpus[] | .bill_ns.unaccounted, .wall_ns - .bill_ns[.state]]')" "[0,0,0,0]" \
	"silent: all its time is in these states"
kill -STOP "$silent"
poll 60 all_stopped "$silent"
ok $? "silent: the kernel says that all its threads are stopped"
one "$TMP/o" --vm $NAME
is "$(ask "$TMP/o" '[.vms[].vcpus[] | [.id, .tid, .state, .bill_ns.unaccounted]]')" \
	"[[0,$tid0,\"stopped\",0],[1,$tid1,\"stopped\",0]]" "silent and stopped: the same two, stopped"
is "$(ask "$TMP/o" '.self | [.vcpus_without_id, .lost_no_slot]')" "[0,0]" "silent and stopped: nobody is nameless or left out"

# ------------------------------------------------------------------------------ a thousand vCPUs

most=$(/usr/bin/python3 -c 'import fcntl; print(fcntl.ioctl(open("/dev/kvm"), 0xae03, 66))' 2>/dev/null) # KVM_CAP_MAX_VCPUS
if [ "${most:-1024}" -ge 1024 ] && [ "$(ulimit -Hn)" -ge 2048 ]; then
	ulimit -Sn "$(ulimit -Hn)"
	for i in $(seq 0 1023); do
		echo "--script-vcpu"
		echo "$i=gate,out:0x3f8:$((i % 7 + 1))"
	done >"$TMP/args"
	mapfile -t args <"$TMP/args"
	demo wide --linger --vcpus 1024 "${args[@]}" || exit 1
	pid=$DEMO_PID
	gate_wait wide
	watch "$TMP/wide" --vm "$pid" -d 2
	wide=$TOP_PID
	is "$(ask "$TMP/wide" "[vm($pid).vcpus[] | [.id, .tid]]")" \
		"$(jq -nc "[$(tids wide)] | to_entries | map([.key, .value])")" "1024 vCPUs: all in the first report, 0 to 1023"
	gate_open "$pid"
	demo_done wide
	await "$TMP/wide" "[vm($pid).vcpus[] | out($PORT)] == [range(1024) | . % 7 + 1]" "1024 vCPUs: each one's port writes"
	is "$(ask "$TMP/wide" '.self | [.lost_no_slot, .lost_storage, .vcpus_without_id]')" "[0,0,0]" "1024 vCPUs: none without a slot"
	unwatch "$wide"
	end "$pid"
else
	skip "this KVM allows ${most:-?} vCPUs, and this shell $(ulimit -Hn) files" "1024 vCPUs"
fi

# ---------------------------------------------------------- one watcher for all that come and go

watch "$TMP/all"
ALL_PID=$TOP_PID
kill -CONT "$silent"
await "$TMP/all" "vm($silent) | [.vcpus[].state] == [\"halted\", \"qemu\"]" "silent: runs on, and is seen to halt and to sleep"
end "$silent"
await "$TMP/all" "vm($silent) | .gone and all(.vcpus[]; .gone)" "silent: ends by SIGTERM"

# One ends by itself, one vCPU after the other
demo ends --script "gate,out:0x3f8:4321" --script-vcpu 1="gate,out:0x3f8:4321,sleep:2500" || exit 1
ends=$DEMO_PID
gate_wait ends
await "$TMP/all" "vm($ends) | .gone == false and (.vcpus | length) == 2" "one that will end: there it is"
gate_open "$ends"
wait_gone "$ends" 60
like "$(cat "$TMP/ends.out")" '"ended_by": *"scripts"' "one that ends: its scripts ended, says the tenant"
await "$TMP/all" "vm($ends) | .gone and [.vcpus[] | .gone, ports] ==
	[true, [[242,1],[244,1],[$PORT,4321]], true, [[241,1],[242,1],[244,1],[$PORT,4321]]]" \
	"one that has ended: gone, with all that it did"

# Two at the same time with the same script, but for its numbers
demo a$$ --linger --script "gate,out:0x3f8:111,cpuid:7:11" || exit 1
a=$DEMO_PID
demo b$$ --linger --script "gate,out:0x3f8:2222,cpuid:7:22" || exit 1
b=$DEMO_PID
gate_wait a$$
gate_wait b$$
await "$TMP/all" "[vm($a, $b) | [.vcpus[].tid]] | sort == ([[$(tids a$$)],[$(tids b$$)]] | sort)" \
	"two VMs that start afterwards: both, with their threads"
gate_open "$a"
gate_open "$b"
demo_done a$$
demo_done b$$
end_a="[vm($a).vcpus[] | [.id, ports, [.drill.cpuid[].total]]] == [0, 1 | [., [[242,1],[244,1],[$PORT,111]], [11]]]"
end_b="[vm($b).vcpus[] | [.id, ports, [.drill.cpuid[].total]]] == [0, 1 | [., [[242,1],[244,1],[$PORT,2222]], [22]]]"
await "$TMP/all" "$end_a" "two VMs: the first one's exits, from its first to its last, and none of the other's"
await "$TMP/all" "$end_b" "two VMs: the second one's"

# By name or by pid, only that one
for which in a$$ "$a"; do
	one "$TMP/o" --vm "$which"
	is "$(ask "$TMP/o" '[.vms[] | .pid, .name]')" "[$a,\"a$$\"]" "--vm $which: that VM and no other"
done
"$TOP" -b --format csv -n 1 -d 0.1 --vm b$$ >"$TMP/csv"
is "$(cut -d, -f 3,4,5 "$TMP/csv" | tail -n +2 | xargs)" "$b,b$$,0 $b,b$$,1" "--vm b$$: likewise in CSV"
end "$a"
end "$b"
await "$TMP/all" "[vm($a, $b).gone] == [true, true]" "two VMs: both ended"
holds "$TMP/all" "($end_a) and ($end_b)"
ok $? "two VMs: their last lines are what they were"

# A vCPU more
demo plug --linger --hotplug-after 300 --script "gate,out:0x3f8:321" || exit 1
pid=$DEMO_PID
poll 60 has_line "$TMP/plug.out" '^hotplug 2 '
new=$(sed -n 's/^hotplug 2 //p' "$TMP/plug.out")
await "$TMP/all" "[vm($pid).vcpus[] | [.id, .tid]] == ([$(tids plug),$new] | to_entries | map([.key, .value]))" \
	"hot-plug: the third vCPU is seen, beside the two"
gate_open "$pid"
demo_done plug
await "$TMP/all" "[vm($pid).vcpus[] | out($PORT)] == [321, 321, 321]" "hot-plug: as many writes on each"
end "$pid"

# One is killed: a vCPU that makes exits, one in the guest, one that halts, one in the VMM
demo killed --vcpus 4 --script-vcpu 0=out:0x80:100,loop --script-vcpu 1=busy:900000 \
	--script-vcpu 2=hlt:1:900000000 --script-vcpu 3=sleep:900000 || exit 1
killed=$DEMO_PID
await "$TMP/all" "vm($killed) | [.vcpus[].id] == [0, 1, 2, 3] and .gone == false" "one that will be killed: there it is"
kill9 "$killed"
await "$TMP/all" "vm($killed) | .gone and all(.vcpus[]; .gone)" "kill -9: gone, with all its vCPUs"
is "$(ask "$TMP/all" "[vm($killed).vcpus[].tid]")" "[$(tids killed)]" "kill -9: its last lines stay"

# A pid comes again. claim PID COMMAND...: runs it as that pid
claim() {
	local want=$1
	shift
	for _ in $(seq 100); do
		[ -e "/proc/$want" ] && break
		echo $((want - 1)) >/proc/sys/kernel/ns_last_pid
		([ "$BASHPID" = "$want" ] && exec "$@") &
		SPAWNED=$!
		[ "$SPAWNED" = "$want" ] && TAP_PIDS+=("$SPAWNED") && return
		wait "$SPAWNED"
	done
	return 1
}
# started NAME: waits for the tenant's gate, and forks nothing until then, so that its tids may come
# again as well
started() {
	local name=$1 line
	: >"$TMP/$name.out"
	while read -r -t 60 line <&"$FIFO"; do
		echo "$line" >>"$TMP/$name.out"
		[[ $line == "gate 1" ]] && return 0
	done
	diag "tenant $name did not start"
	return 1
}
mkfifo "$TMP/fifo"
exec {FIFO}<>"$TMP/fifo"
reused=("$DEMO" --name reused --announce --linger)
"${reused[@]}" --script "gate,out:0x3f8:500,hlt:5:100" >"$TMP/fifo" &
SPAWNED=$!
TAP_PIDS+=("$SPAWNED")
started old || exit 1
pid=$SPAWNED
await "$TMP/all" "[vm($pid).vcpus[].tid] == [$(tids old)]" "pid reuse: the first VM is seen"
gate_open "$pid"
# each HLT ends by one interrupt; it is a halt only if that is not pending before it (kvm_emulate_halt())
old="[.vcpus[] | out($PORT)] == [500, 500] and [.interrupts.apic_accept[]?.total] == [5, 5]"
await "$TMP/all" "vm($pid) | $old" "pid reuse: the first VM's exits and interrupts"
kill9 "$pid"
if claim "$pid" "${reused[@]}" --script "gate,out:0x3f8:70,hlt:3:100" >"$TMP/fifo" && started new; then
	await "$TMP/all" "[vm($pid) | .name, .gone] | sort == [false, true, \"reused\", \"reused\"]" \
		"pid reuse: two VMs of the same pid and name, one of them gone"
	is "$(ask "$TMP/all" "[vm($pid) | select(.gone | not) | [.vcpus[].tid], .userspace_exits_total, (.vcpus[] | ports)]")" \
		"[[$(tids new)],2,[[242,1]],[[242,1]]]" "pid reuse: the new one begins at 0"
	is "$(ask "$TMP/all" "vm($pid) | select(.gone | not) | .interrupts")" "{}" "pid reuse: ... and had no interrupt yet"
	gate_open "$pid"
	await "$TMP/all" "vm($pid) | select(.gone | not) |
		[.vcpus[] | ports] == ([[242,1],[244,1],[$PORT,70]] | [., .])" \
		"pid reuse: the new one's exits are its script's, exactly"
	is "$(ask "$TMP/all" "vm($pid) | select(.gone | not) | [.interrupts.apic_accept[]?.total]")" "[3,3]" \
		"pid reuse: its interrupts too"
	is "$(ask "$TMP/all" "vm($pid) | select(.gone) | [.vcpus[] | out($PORT)]")" "[500,500]" \
		"pid reuse: the old one's last line is what it was"
	if [ "$(tids old)" = "$(tids new)" ]; then
		is "$(ask "$TMP/all" "[vm($pid).vcpus[] | [.tid, .gone, out($PORT)]] | sort")" \
			"$(jq -nc "[[$(tids old)][] | [., false, 70], [., true, 500]] | sort")" "tid reuse: two vCPUs of each tid"
	else
		skip "another process took the tid" "tid reuse: two vCPUs of each tid"
	fi
	end "$pid"
else
	skip "another process took the pid" "pid reuse"
fi

# A vCPU's thread has ended, the vCPU is still open, and another program gets the tid: it is no vCPU.
# KVM_RUN has nothing to run here, but it notes the thread.
cat >"$TMP/left.py" <<'END'
import fcntl, os, signal, threading
vm = fcntl.ioctl(os.open("/dev/kvm", os.O_RDWR), 0xAE01)  # KVM_CREATE_VM
vcpu = fcntl.ioctl(vm, 0xAE41, 0)  # KVM_CREATE_VCPU
def run():
    print(threading.get_native_id(), flush=True)
    try:
        fcntl.ioctl(vcpu, 0xAE80, 0)  # KVM_RUN
    except OSError:
        pass
thread = threading.Thread(target=run)
thread.start()
thread.join()
print("ended", flush=True)
signal.pause()
END
spawn /usr/bin/python3 "$TMP/left.py" >"$TMP/left.out"
left=$SPAWNED
poll 60 has_line "$TMP/left.out" ended
tid=$(head -n 1 "$TMP/left.out")
if claim "$tid" sleep 900; then
	one "$TMP/o"
	is "$(ask "$TMP/o" "[vm($tid)]")" "[]" "a program with the tid of a vCPU's thread that ended is no VM"
	end "$tid"
else
	skip "another process took the tid" "a program with the tid of a vCPU's thread that ended is no VM"
fi
end "$left"

# -------------------------------------------------------------------------------------- CPUs

if [ "$(nproc)" -ge 2 ]; then
	demo pins --linger --pin 0,1 --script gate || exit 1
	pid=$DEMO_PID
	IFS=, read -r tid0 tid1 <<<"$(tids pins)"
	gate_wait pins
	await "$TMP/all" "[vm($pid).vcpus[] | [.cpu, .pinned, .affinity]] == [[0, true, \"0\"], [1, true, \"1\"]]" \
		"affinity: each vCPU on its CPU, and shown as pinned"
	taskset -cp 0,1 "$tid0" >/dev/null
	taskset -cp 0 "$tid1" >/dev/null
	want=$(cpus_allowed "$pid" "$tid0")
	await "$TMP/all" "[vm($pid).vcpus[] | [.pinned, .affinity]] == [[false, \"$want\"], [true, \"0\"]]" \
		"affinity: taskset frees one ($want) and moves the other"
	gate_open "$pid"
	await "$TMP/all" "vm($pid).vcpus[1].cpu == 0" "affinity: the other one runs on the other CPU"
	end "$pid"
else
	skip "one CPU only" "affinity"
fi

# ------------------------------------------------------------------------------------- names

# as PROGRAM NAME OPTION...: the tenant under another program's name
as() {
	local program=$1
	mkdir -p "$TMP/as"
	[ -e "$TMP/as/$program" ] || cp "$DEMO" "$TMP/as/$program"
	shift
	DEMO=$TMP/as/$program demo "$@"
}
named() { ask "$TMP/o" "vm($1) | [.name, .vmm]"; }

as myvmm unknown --script sleep:900000 || exit 1
unknown=$DEMO_PID
as qemu-system-x86_64 "guest=web2,debug-threads=on" --script sleep:900000 || exit 1
web2=$DEMO_PID
one "$TMP/o"
is "$(named "$unknown")" "[\"myvmm ($unknown)\",\"unknown\"]" "name: an unknown VMM is its process"
is "$(named "$web2")" '["web2","qemu"]' "name: QEMU's guest="
private() { unshare -m --propagation private bash -c 'mount -t tmpfs none /run && mkdir -p /run/libvirt/qemu && '"$1"; }
private "echo $web2 >/run/libvirt/qemu/domain-7.pid && echo $unknown >/run/libvirt/qemu/stale.pid &&
	exec $TOP --format json -n 1 -d 0.1" >"$TMP/o"
is "$(named "$web2")" '["domain-7","libvirt"]' "name: libvirt's domain, by its pid file"
is "$(named "$unknown")" "[\"myvmm ($unknown)\",\"unknown\"]" "name: a pid file that names no QEMU is stale"
private "echo $web2 >/run/libvirt/qemu/domain-7.pid && exec $TOP --format json -n 1 -d 0.1 --vm domain-7" >"$TMP/o"
is "$(ask "$TMP/o" '[.vms[].pid]')" "[$web2]" "name: --vm DOMAIN"
end "$unknown"
end "$web2"

if command -v qemu-system-x86_64 >/dev/null; then
	spawn qemu-system-x86_64 -accel kvm -name guest=web1,debug-threads=on -display none -nodefaults \
		-no-user-config -monitor none -serial none -m 64 2>"$TMP/qemu.err"
	qemu=$SPAWNED
	runs() { ask "$TMP/all" "vm($qemu).vcpus[0].events | length > 0" -e >/dev/null 2>&1 || gone "$qemu"; }
	poll 60 runs
	if gone "$qemu"; then
		skip "QEMU cannot use this KVM: $(tail -n 1 "$TMP/qemu.err")" "name: a real QEMU"
	else
		is "$(ask "$TMP/all" "vm($qemu) | [.name, .vmm, [.vcpus[].id]]")" '["web1","qemu",[0]]' "name: a real QEMU"
		tid=$(grep -lx 'CPU 0/KVM' "/proc/$qemu/task/"*/comm | cut -d / -f 5)
		is "$(ask "$TMP/all" "[vm($qemu).vcpus[].tid]")" "[$tid]" "a real QEMU: the thread that it calls its vCPU's"
		end "$qemu"
	fi
else
	skip "no qemu-system-x86_64" "name: a real QEMU"
fi

# ------------------------------------------------------------------------- more than there is room

# Whoever else runs VMs here needs room too
others=$(find /proc/[0-9]*/fd -lname 'anon_inode:kvm-vcpu:*' 2>/dev/null | wc -l)
room=$((8 + others))
demo crowd --linger --vcpus $((room + 8)) --script "gate,out:0x3f8:99" || exit 1
pid=$DEMO_PID
gate_wait crowd
watch "$TMP/crowd" --max-vcpus $room
crowd=$TOP_PID
is "$(ask "$TMP/crowd" '[shown, .self.slots, .self.slots_used, .self.lost_no_slot > 0]')" "[$room,$room,$room,true]" \
	"--max-vcpus 8: eight of 16 vCPUs shown, the rest counted"
lost=$(ask "$TMP/crowd" .self.lost_no_slot)
gate_open "$pid"
demo_done crowd
await "$TMP/crowd" "[vm($pid).vcpus[] | out($PORT)] | length > 0 and all(.[]; . == 99)" "--max-vcpus 8: those shown are exact"
await "$TMP/crowd" "shown == $room and .self.lost_no_slot >= $lost + 99" "--max-vcpus 8: what the others do is counted as lost"
unwatch "$crowd"
"$TOP" -b -n 1 -d 0.1 --max-vcpus $room >"$TMP/table"
like "$(cat "$TMP/table")" '  without a slot [1-9]' "--max-vcpus 8: the table says so"
like "$("$TOP" -b -n 1 -d 0.1)" '  without a slot 0$' "without --max-vcpus: room for all"
end "$pid"

# VMs that come and go in a room that is too small to remember them all
watch "$TMP/room" --max-vcpus $room
watcher=$TOP_PID
for i in $(seq 10); do
	demo "room$i" --vcpus 4 --script "gate,out:0x3f8:$i" || exit 1
	pid=$DEMO_PID
	gate_wait "room$i"
	await "$TMP/room" "[vm($pid).vcpus[] | [.id, .tid]] == ([$(tids "room$i")] | to_entries | map([.key, .value]))" \
		"scarce slots, VM $i: all its vCPUs"
	gate_open "$pid"
	wait_gone "$pid" 60
	poll 60 ever "$TMP/room" "[vm($pid).vcpus[] | [out($PORT), .gone]] == [range(4) | [$i, true]]"
	ok $? "scarce slots, VM $i: all their exits, to the end"
done
unwatch "$watcher"

# One waits silently for a place; it gets it when another one leaves
demo first --linger --vcpus $((room + 8)) --script gate || exit 1
pid=$DEMO_PID
gate_wait first
watch "$TMP/late" --max-vcpus $room
late=$TOP_PID
demo second --linger --script "gate,out:0x3f8:55" || exit 1
second=$DEMO_PID
gate_wait second
await "$TMP/late" ".self.lost_no_slot > 0" "no slot: a second VM finds none"
end "$pid"
await "$TMP/late" "[vm($second).vcpus[] | [.id, .tid]] == ([$(tids second)] | to_entries | map([.key, .value]))" \
	"no slot: when the first VM ends, the second is found, silent as it is"
gate_open "$second"
await "$TMP/late" "[vm($second).vcpus[] | out($PORT)] == [55, 55]" "no slot: ... and counted from then on"
unwatch "$late"
end "$second"

# The last line of the VM that ended long ago; most of its minute is over
await "$TMP/all" "[vm($ends) | select(.name == \"ends\")] == []" "an ended VM: its last line goes after a while"
unwatch "$ALL_PID"
jq -c "$JQ vm($ends) | select(.gone and .name == \"ends\") | [.vcpus[] | .bill_ns, .wall_ns]" "$TMP/all" >"$TMP/bills"
[ "$(wc -l <"$TMP/bills")" -gt 10 ]
ok $? "an ended VM: ... which stayed ($(wc -l <"$TMP/bills") reports)"
is "$(sort -u "$TMP/bills" | wc -l)" 1 "an ended VM: its vCPUs stayed together, and its bill did not grow any more" ||
	diag "$(sort "$TMP/bills" | uniq -c)"
done_testing
