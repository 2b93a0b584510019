#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# ihod, started by hand: what it lets whom do, what it bears, and that all its readers see what the
# tenants' scripts say. Never the socket of an ihod that belongs to this host.
# shellcheck disable=SC2016 # jq has variables of its own
. "$(dirname "$0")/../tap.sh"
need_root
need_kvm

PORT=1016 PAGE=3489660928 MSR=139 # 0x3f8, 0xd0000000, 0x8b
SOCK=$TMP/ihod.sock
# Users that may not read the sources' folder need the programs elsewhere
chmod 755 "$TMP"
cp "$TOP" "$B/ihod" "$DEMO" tests/host/ihod_client.py "$TMP/"
member=(setpriv --reuid nobody --regid nogroup --groups daemon)
stranger=(setpriv --reuid nobody --regid nogroup --clear-groups)
client() { timeout 120 /usr/bin/python3 "$TMP/ihod_client.py" "$@" 2>&1; }
as() {
	local -n user=$1
	shift
	timeout 120 "${user[@]}" /usr/bin/python3 "$TMP/ihod_client.py" "$@" 2>&1
}
answers() { client "$SOCK" ask status | jq -se "any(.[]; .result)" >/dev/null 2>&1; }

# ihod [OPTION...]: its pid is $IHOD. With as few files as a service has by default.
ihod() {
	spawn prlimit --nofile=1024:4096 "$B/ihod" --socket "$SOCK" --group daemon "$@" 2>"$TMP/ihod.err"
	IHOD=$SPAWNED
	poll 60 answers || {
		diag "ihod does not answer:" "$(cat "$TMP/ihod.err")"
		exit 1
	}
}
end() {
	kill "$1"
	wait_gone "$1" 30
}
# exits_0 PID NAME: by SIGTERM
exits_0() {
	kill "$1"
	wait_gone "$1" 30
	wait "$1"
	is $? 0 "$2"
}
# reaped, and without the shell's word about it
kill9() {
	kill -9 "$1"
	wait "$1"
} 2>/dev/null

# What the kernel holds for a process
objects() { cat "/proc/$1/fdinfo/"* 2>/dev/null | awk '/^(prog|map|link)_id:/{print $1, $2}' | sort -u; }
status() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
field() { tail -n 1 "$1" | jq -c "$2"; }
holds() { head -n "$(wc -l <"$1")" "$1" | tail -n 1 | jq -se "any(.[]; $2)" >/dev/null 2>&1; }
# await FILE FILTER NAME: a report comes for which the filter is true
await() {
	poll 60 holds "$1" "$2"
	ok $? "$3" || diag "$2" "of: $(tail -n 1 "$1" | cut -c 1-1500)"
}

# ------------------------------------------------------------------------------------ usage

wrong() {
	"$B/ihod" "$@" >"$TMP/out" 2>"$TMP/err"
	is "$? $(wc -c <"$TMP/out") $(wc -l <"$TMP/err")" "2 0 1" "wrong usage: $*"
}
wrong --no-such
wrong --socket
wrong --socket relative
wrong --cpu -1
wrong --cpu 8192
wrong --cpu 1x
wrong --max-vcpus 0
wrong --max-vcpus 16385
wrong more
like "$("$B/ihod" --help)" '^Usage: ihod' "--help"
like "$("$B/ihod" --version)" '^ihod [0-9]' "--version"

# refused WHAT WORDS: the program that just ended did so with one sentence that has these words
refused() {
	is "$STATUS $(wc -l <"$TMP/err")" "1 1" "$1: exit 1, one sentence" || diag "$(cat "$TMP/err")"
	like "$(cat "$TMP/err")" "$2" "$1: ... that says why"
}
fails() {
	timeout 60 "$@" >/dev/null 2>"$TMP/err"
	STATUS=$?
}
mkdir "$TMP/nobody"
chown nobody "$TMP/nobody"
fails "${stranger[@]}" "$TMP/ihod" --socket "$TMP/nobody/sock" --group nogroup
refused "not root" 'not allowed|not permitted'
fails "$B/ihod" --socket "$TMP/none/sock" --group daemon
refused "no such folder" 'No such file'
fails "$B/ihod" --socket "$SOCK" --group no-such-group
refused "no such group" 'there is no group "no-such-group"'
fails "$B/ihod" --socket "/$(printf '%0200d' 1)" --group daemon
refused "a path that is too long" 'too long'
echo precious >"$TMP/file"
fails "$B/ihod" --socket "$TMP/file" --group daemon
refused "a file in the socket's place" 'no socket'
is "$(cat "$TMP/file")" precious "a file in the socket's place: it is still there"

# ------------------------------------------------------------------------- rights and users

ihod --cpu 0
is "$(stat -c '%a %U:%G %F' "$SOCK")" "660 root:daemon socket" "the socket's mode and group"
# linux/capability.h: CAP_SYS_PTRACE 19, CAP_SYS_ADMIN 21, CAP_PERFMON 38, CAP_BPF 39
main_caps=$(printf '%016x' $((1 << 19 | 1 << 38 | 1 << 39)))
none=$(printf '%016x' 0)
rights() { echo "$(status "$1" CapPrm) $(status "$1" CapEff) $(status "$1" CapInh) $(status "$1" CapBnd) $(status "$1" CapAmb)"; }
is "$(rights "$IHOD")" "$main_caps $main_caps $none $none $none" "capabilities: BPF, PERFMON, SYS_PTRACE and no other"
is "$(status "$IHOD" NoNewPrivs)" 1 "no_new_privs"
read -r -a children <"/proc/$IHOD/task/$IHOD/children"
is "${#children[@]}" 1 "one child"
child=${children[0]}
is "$(rights "$child")" "$(printf '%016x' $((1 << 21))) $(printf '%016x' $((1 << 21))) $none $none $none" \
	"the child's capabilities: SYS_ADMIN and no other"
is "$(status "$child" Seccomp) $(status "$child" NoNewPrivs)" "2 1" "the child is under seccomp"
is "$(status "$IHOD" Cpus_allowed_list) $(status "$child" Cpus_allowed_list)" "0 0" "--cpu 0: both on that core"

is "$(as member "$SOCK" ask hello | jq -c .id)" 1 "a member of the group may ask"
as stranger "$SOCK" ask hello >"$TMP/out"
like "$(cat "$TMP/out")" 'PermissionError' "a stranger may not even connect"
"${stranger[@]}" "$TMP/iho-top" -b -n 1 -d 0.1 --socket "$SOCK" >"$TMP/out" 2>"$TMP/err"
is "$? $(wc -c <"$TMP/out") $(wc -l <"$TMP/err")" "1 0 1" "a stranger's iho-top: exit 1, one sentence"
chmod 666 "$SOCK"
is "$(as stranger "$SOCK" forbidden)" yes "with a looser mode it may connect, and is told \"forbidden\""
is "$(as member "$SOCK" ask hello | jq -c .id)" 1 "with a looser mode a member may ask as before"
chmod 660 "$SOCK"

# These take as long as ihod's limits; meanwhile the others go on
spawn client "$SOCK" half_line >"$TMP/half_line"
half_pid=$SPAWNED
spawn client "$SOCK" never_reads >"$TMP/never_reads"
never_pid=$SPAWNED

# ------------------------------------------------------------- one load, many readers, exact

N=1000
NAME=ihod$$
demo $NAME --linger --script "gate,out:0x3f8:$N,mmio-write:0xd0000000:$N,wrmsr:0x8b:$N,cpuid:7:$N" \
	--script-vcpu "1=gate,out:0x3f8:$((2 * N)),mmio-write:0xd0000000:$N,wrmsr:0x8b:$N,cpuid:7:$N" || exit 1
tenant=$DEMO_PID
gate_wait $NAME
before=$(objects "$IHOD")
like "$before" 'prog_id' "the BPF programs are ihod's"
spawn "${member[@]}" "$TMP/iho-top" -b --format json -d 0.2 --socket "$SOCK" --vm $NAME >"$TMP/one" 2>"$TMP/one.err"
one=$SPAWNED
spawn "$TOP" -b --format json -d 0.2 --socket "$SOCK" --vm $NAME >"$TMP/two" 2>"$TMP/two.err"
two=$SPAWNED
readers=()
for i in $(seq 8); do
	spawn "$TOP" -b --format json -d 0.5 --socket "$SOCK" --vm $NAME >"$TMP/r$i" 2>&1
	readers+=("$SPAWNED")
done
read_all() {
	for i in one two r{1..8}; do
		[ -s "$TMP/$i" ] || return 1
	done
}
poll 60 read_all
ok $? "ten readers have a report" || diag "$(cat "$TMP"/*.err)"
is "$(objects "$IHOD")" "$before" "ten readers: not one program, map or link more"
is "$(for p in "$one" "$two" "${readers[@]}"; do objects "$p"; done)" "" "ten readers: none holds one of its own"
is "$(for p in "$one" "$two" "${readers[@]}"; do grep -c bpf-map "/proc/$p/maps"; done | sort -u)" 4 \
	"ten readers: each maps the four of ihod's"
is "$(grep -c 'bpf-map' "/proc/$one/maps") $(grep bpf-map "/proc/$one/maps" | grep -c ' r--s ')" "4 4" \
	"a reader's mappings cannot be written"
is "$(status "$one" CapEff)" "$none" "a member's iho-top has no capability"
is "$(field "$TMP/one" '[.host, .self.host?] | map(select(. != null))')" '["ihod"]' "the report says whose it is"
gate_open "$tenant"
demo_done $NAME
ok $? "the tenant ran to its end"

row() { jq "[.vms[0].vcpus[] | select(.id==$2) | .drill.$3[]? | select($4) | .total] | add // 0" <<<"$1"; }
for r in one two; do
	poll 30 more_lines "$TMP/$r" $(($(wc -l <"$TMP/$r") + 2))
	last=$(last_line "$TMP/$r")
	for v in 0 1; do
		is "$(row "$last" $v pio ".port==$PORT and .write")" $((N * (v + 1))) "reader $r, vCPU $v: port writes"
		is "$(row "$last" $v mmio ".page==$PAGE and .write")" $N "reader $r, vCPU $v: MMIO writes"
		is "$(row "$last" $v msr ".msr==$MSR and .write")" $N "reader $r, vCPU $v: MSR writes"
		is "$(row "$last" $v cpuid '.leaf==7')" $N "reader $r, vCPU $v: CPUIDs"
	done
	is "$(jq '[.vms[0].drill.pio[] | select(.port==1016).total] | add' <<<"$last")" $((3 * N)) "reader $r: the VM's sum"
	is "$(jq -c "[.vms[] | [.pid, .name]]" <<<"$last")" "[[$tenant,\"$NAME\"]]" "reader $r: that VM and no other"
done
for p in "${readers[@]}"; do
	kill "$p"
done
for p in "${readers[@]}"; do
	wait_gone "$p" 20
done

make --no-print-directory -s build/bench/snapshot 2>"$TMP/make.err" || diag "$(cat "$TMP/make.err")"
spawn strace -f -o "$TMP/trace" build/bench/snapshot 200 "$SOCK" >"$TMP/out" 2>&1
wait_gone "$SPAWNED" 60
like "$(cat "$TMP/out")" '"snapshots":200' "200 snapshots through ihod"
is "$(sed -n '/write(-1, "begin"/,/write(-1, "end"/p' "$TMP/trace" | grep -c .)" 2 "... without a system call" ||
	diag "$(sed -n '/write(-1, "begin"/,/write(-1, "end"/p' "$TMP/trace" | head -5)"

# ------------------------------------------------------------------------- whatever is asked

for c in malformed lengths pieces rate clients fd_hog; do
	is "$(client "$SOCK" $c)" yes "requests: $c"
done
is "$(client "$SOCK" read_only)" yes "root cannot write to what it gets"
is "$(as member "$SOCK" read_only)" yes "a member cannot write to what it gets"
is "$(as member "$SOCK" user_clients 1)" yes "one user has 16 connections at most, iho-top's too"
wait_gone "$half_pid" 90
is "$(cat "$TMP/half_line")" yes "half a line: others are answered, and it ends"
wait_gone "$never_pid" 90
is "$(cat "$TMP/never_reads")" yes "answers that nobody reads: others are answered, and it ends"
is "$(client "$SOCK" ask hello | jq .result.pid)" "$IHOD" "it is still the same ihod"
n=$(wc -l <"$TMP/one")
poll 30 more_lines "$TMP/one" $((n + 2))
ok $? "its first reader still reads"

# ----------------------------------------------------------------------- VMs that come later

demo plug --linger --hotplug-after 300 --script "gate,out:0x3f8:321" || exit 1
plug=$DEMO_PID
spawn "$TOP" -b --format json -d 0.2 --socket "$SOCK" >"$TMP/all" 2>"$TMP/all.err"
all=$SPAWNED
poll 60 has_line "$TMP/plug.out" '^hotplug 2 '
await "$TMP/all" ".vms[] | select(.pid==$plug) | [.vcpus[].id] == [0,1,2]" "hot-plug: the third vCPU is seen"
gate_open "$plug"
await "$TMP/all" ".vms[] | select(.pid==$plug) | [.vcpus[] | [.drill.pio[]? | select(.port==$PORT).total] | add] ==
	[321,321,321]" "hot-plug: each one's port writes"
end "$plug"
await "$TMP/all" ".vms[] | select(.pid==$plug) | .gone" "it ends, and is shown as gone"

# The device is root's; in a mount namespace of its own everybody may open it
cat >"$TMP/others" <<OTHERS
#!/bin/bash
exec unshare -m --propagation private bash -c 'mount -t tmpfs none /mnt && mknod -m 666 /mnt/kvm c 10 232 &&
	mount --bind /mnt/kvm /dev/kvm && exec ${stranger[*]} "$TMP/iho-demo" "\$@"' - "\$@"
OTHERS
chmod 755 "$TMP/others"
DEMO=$TMP/others demo theirs$$ --script-vcpu 0=sleep:900000 --script-vcpu 1=hlt:1:900000000 || exit 1
theirs=$(sed -n 's/^ready \([0-9]*\).*/\1/p' "$TMP/theirs$$.out")
is "$(stat -c %U "/proc/$theirs")" nobody "another user's VM: it is another user's"
await "$TMP/all" ".vms[] | select(.pid==$theirs) | [.name, .vmm, [.vcpus[].id]] == [\"theirs$$\", \"iho-demo\", [0,1]]" \
	"another user's VM is named, and its silent vCPUs numbered"
await "$TMP/all" "[.vms[] | select(.pid==$theirs) | .vcpus[].affinity] == [\"$(status "$theirs" Cpus_allowed_list)\",
	\"$(status "$theirs" Cpus_allowed_list)\"]" "another user's VM: where it may run"
end "$theirs"

# ------------------------------------------------------------------------- a sudden death

before=$(objects "$IHOD")
fails "$B/ihod" --socket "$SOCK" --group daemon
refused "a second ihod" 'another ihod has the socket'
is "$(client "$SOCK" ask hello | jq .result.pid)" "$IHOD" "a second ihod leaves the first one's socket alone"

old_start=$(field "$TMP/one" .self.start_time_s)
demo busy$$ --script "out:0x80:100,loop" || exit 1
busy=$DEMO_PID
await "$TMP/all" ".vms[] | select(.pid==$busy) | .vcpus | length == 2" "before a kill -9: a busy tenant is seen"
kill9 "$IHOD"
gone "$child" || poll 20 test ! -e "/proc/$child"
ok $? "kill -9: its child ends too"
is "$(stat -c %F "$SOCK")" socket "kill -9: the socket is left over"
still_there() { bpftool "$1" show id "$2" >/dev/null 2>&1; }
left_over() {
	local kind id
	while read -r kind id; do
		still_there "${kind%_id:}" "$id" && return 0
	done <<<"$before"
	return 1
}
none_left() { ! left_over; }
poll 60 none_left
ok $? "kill -9: all its programs, maps and links are gone"
n=$(wc -l <"$TMP/one")
cpu_time() { awk '{print $14 + $15}' "/proc/$1/stat"; }
more_cpu_time() { [ "$(cpu_time "$busy")" -gt "$1" ]; }
poll 30 more_cpu_time "$(cpu_time "$busy")"
ok $? "kill -9: the tenant runs on"
for p in "$one" "$two" "$all"; do
	gone "$p" && break
done
ok $((!$?)) "kill -9: the readers wait"
ihod --cpu any
poll 60 more_lines "$TMP/one" $((n + 2)) && poll 60 more_lines "$TMP/two" $((n + 2))
ok $? "a new ihod: the readers go on"
last=$(last_line "$TMP/one")
is "$(jq ".self.start_time_s > $old_start" <<<"$last")" true "a new ihod: its counters began later"
is "$(row "$last" 0 pio true) $(row "$last" 1 pio true)" "0 0" "a new ihod: and at 0"
await "$TMP/all" ".vms[] | select(.pid==$busy) | [.vcpus[] | [.drill.pio[]? | select(.port==128).total] | add > 0] == [true, true]" \
	"a new ihod: the busy tenant is seen again"
end "$busy"
for p in "$one" "$two" "$all"; do
	end "$p"
done
end "$tenant"

before=$(objects "$IHOD")
exits_0 "$IHOD" "SIGTERM: exit 0"
[ ! -e "$SOCK" ]
ok $? "SIGTERM: the socket is removed"
poll 60 none_left
ok $? "SIGTERM: all its programs, maps and links are gone"
is "$(cat "$TMP/ihod.err")" "" "it had nothing to complain about"

# ------------------------------------------------------------------------- scarce slots

# Fifteen vCPUs end while their VM lives; other VMs take their slots; the sums never go back
others=$(find /proc/[0-9]*/fd -lname 'anon_inode:kvm-vcpu:*' 2>/dev/null | wc -l)
args=()
for v in $(seq 15); do
	args+=(--script-vcpu "$v=gate,sleep:$((100 * v)),out:0x3f8:$((1000 + v))")
done
demo sums$$ --vcpus 16 --script-vcpu 0="gate,mark,out:0x80:1,sleep:50,loop" "${args[@]}" || exit 1
sums=$DEMO_PID
gate_wait sums$$
ihod --cpu any --max-vcpus $((18 + others))
spawn "$TOP" -b --format json -d 0.1 --socket "$SOCK" --vm sums$$ >"$TMP/sums" 2>"$TMP/sums.err"
reader=$SPAWNED
poll 60 holds "$TMP/sums" '.vms[0].vcpus | length == 16'
ok $? "scarce slots: sixteen vCPUs are seen" || diag "$(tail -n 1 "$TMP/sums" | cut -c 1-500)"
gate_open "$sums"
total=$((15 * 1000 + 15 * 16 / 2))
sum="[.vms[0].drill.pio[]? | select(.port==$PORT).total] | add // 0"
await "$TMP/sums" "($sum) == $total" "scarce slots: all that the fifteen did"
for i in 1 2 3; do
	demo "guest$i" --vcpus 8 --script "gate,out:0x3f8:7" || exit 1
	gate_wait "guest$i"
	gate_open "$DEMO_PID"
	wait_gone "$DEMO_PID" 60
	n=$(wc -l <"$TMP/sums")
	poll 30 more_lines "$TMP/sums" $((n + 2))
done
await "$TMP/sums" '.self.slots_used < (.vms[0].vcpus | length)' "scarce slots: theirs are given back" ||
	diag "$(field "$TMP/sums" '[.self.slots, .self.slots_used, (.vms[0].vcpus | length)]') others: $others"
await "$TMP/sums" "($sum) == $total" "scarce slots: ... their counts stay, and others' do not mix with them"
end "$reader"
is "$(head -n "$(wc -l <"$TMP/sums")" "$TMP/sums" | jq -s "[.[] | $sum] | . == sort")" true "scarce slots: the VM's port writes never go back"
for what in userspace_exits_total '"events".kvm_pio' '"events".kvm_userspace_exit'; do
	values=$(head -n "$(wc -l <"$TMP/sums")" "$TMP/sums" | jq -cs "[.[] | [.vms[0] | (.$what // ([.vcpus[].$what // 0] | add))] | add]")
	is "$(jq '. == sort and .[-1] > 0' <<<"$values")" true "scarce slots: nor does $what" || diag "$values"
done
end "$sums"
exits_0 "$IHOD" "SIGTERM: exit 0 again"
done_testing
