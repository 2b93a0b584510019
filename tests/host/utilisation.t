#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# True utilisation: whose code had the CPU, and how busy a guest was. The truth comes from the kernel's
# own books of each thread, from what the tenant was told to do, and from what perf can open here.
. "$(dirname "$0")/../tap.sh"
need_root
need_kvm

TICK=$((1000000000 / $(getconf CLK_TCK)))

spawn "$TOP" -b --format json -d 0.5 >"$TMP/top"
TOP_PID=$SPAWNED
poll 60 test -s "$TMP/top"

# One spins, one halts nearly always, one does everything by turns. They start when they are watched, and
# at the end their threads rest in the VMM: all books stand still.
demo shapes --vcpus 3 --linger --script-vcpu 0=busy:4000 --script-vcpu 1=hlt:300:10000 \
	--script-vcpu 2=mark,busy:10,hlt:1:10000,sleep:10,out:0x80:2000,loop:80 || exit 1
SHAPES=$DEMO_PID
read -ra tid < <(sed -n 's/^ready [0-9]* //p' "$TMP/shapes.out")

vm() { last_line "$TMP/top" | jq -c ".vms[]|select(.name==\"$1\")"; }
vcpu() { vm shapes | jq ".vcpus[]|select(.id==$1)|$2"; }
# The parts of the bill in which its thread had a CPU
AWAKE='(.bill_ns|.guest+.kvm+.guest_or_kvm+.qemu+.halt_poll)-.qemu_asleep_ns'
# All books are of the time after the end; `vcpus` of them. A report that was begun before may have met
# all of them in the VMM as well: not that one.
settled() {
	[ "$(vm "$1" | jq "[.vcpus[]|([.utilisation.cpu_ns[]|values]|add)==($AWAKE) and .state==\"qemu\"]|length==$2 and all")" = true ]
}
demo_done shapes
ok $? "the tenants ran to their end"
poll 30 more_lines "$TMP/top" $(($(wc -l <"$TMP/top") + 2))
poll 30 settled shapes 3
ok $? "the columns sum to what the bill has on the CPU, to the nanosecond" || diag "$(vm shapes | jq -c '.vcpus[]|[.bill_ns,.utilisation]')"
vm shapes >"$TMP/shapes.json"

for v in 0 1 2; do
	name=$(sed -n "$((v + 1))p" <<<$'spins\nhalts\nmixed')
	ran=$(awk '{print $1}' "/proc/$SHAPES/task/${tid[v]}/schedstat")
	read -r utime guest < <(sed 's/.*) //' "/proc/$SHAPES/task/${tid[v]}/stat" | awk '{print $12, $41}')
	sum=$(vcpu $v '[.utilisation.cpu_ns[]|values]|add')
	# The thread's life before its first KVM_RUN is not ours; interrupts on its core are, and not the kernel's.
	d=$((sum - ran))
	[ ${d#-} -le $((ran * 5 / 100 + 10000000)) ]
	ok $? "$name: the columns sum to the thread's CPU time in the scheduler's books ($((sum / 1000000)) of $((ran / 1000000)) ms)"
	user=$(vcpu $v .utilisation.cpu_ns.host_user)
	vmm=$(vcpu $v '.bill_ns.qemu-.qemu_asleep_ns')
	books=$(((utime - guest) * TICK))
	most=$((books < vmm ? books : vmm))
	# those two of its books go by ticks, and not by the same one
	[ "$user" -le $((most + 4 * TICK)) ] && [ "$user" -ge $((most - 4 * TICK)) ]
	ok $? "$name: the VMM's user time is the kernel's, as far as it was the VMM ($((user / 1000000)), $((books / 1000000)) of $((vmm / 1000000)) ms)"
	busy=$(vcpu $v '.utilisation.signals.bill.busy_ns+.bill_ns.halt_poll')
	d=$((busy - ran))
	[ ${d#-} -le $((ran * 5 / 100 + 10000000)) ]
	ok $? "$name: busy is all of it but the polling ($((busy / 1000000)) of $((ran / 1000000)) ms)"
	is "$(vcpu $v '.utilisation.signals.bill.of_ns==.wall_ns')" true "$name: as a part of the wall time"
done

# What the scripts say. The machine has other work: a vCPU that wanted to run and was not let counts beside.
part() { jq ".vcpus[]|select(.id==$1)|(.utilisation.signals.bill.busy_ns+.bill_ns.preempted+.bill_ns.runnable)/1000000|floor" "$TMP/shapes.json"; }
within "$(part 0)" 4000 5 "spins: 4 s of work"
is "$(jq '.vcpus[]|select(.id==1)|.utilisation.signals.bill.busy_ns < 300*1000000' "$TMP/shapes.json")" true \
	"halts: 300 halts in 3 s are less than 0.3 s of work"
mixed=$(part 2)
[ "$mixed" -ge 800 ]
ok $? "mixed: at least the 80 times 10 ms of its script ($mixed ms)"
is "$(jq '.vcpus[]|select(.id==2)|.utilisation.signals.bill.busy_ns < .wall_ns - .bill_ns.halted - .qemu_asleep_ns + 1' "$TMP/shapes.json")" \
	true "mixed: not its halts and sleeps"

# How the bill can know
told=$(vcpu 1 .utilisation.idle_exits)
like "$told" '^"(yes|halt_seen)"$' "who halts is seen to be idle"
if [ "$told" = '"yes"' ]; then
	is "$(vcpu 0 .utilisation.idle_exits)" '"yes"' "the kernel tells the same of one that never halts"
	is "$(vcpu 0 .utilisation.signal)" '"bill"' "... so its bill is the truth as well"
else
	is "$(vcpu 0 .utilisation.idle_exits)" '"unknown"' "one that never halts may idle unseen"
	is "$(vcpu 0 .utilisation.signals.bill)" null "... so its bill does not tell"
fi

# What this host cannot tell is null, and nothing else is
if last_line "$TMP/top" | jq -se 'any(.[]; .splits_guest)' >/dev/null; then
	is "$(vcpu 0 '.utilisation.cpu_ns|[.guest,.guest_user,.guest_system|values]|add')" "$(vcpu 0 .bill_ns.guest)" \
		"the guest's columns are its time in the bill"
else
	is "$(vcpu 0 '.utilisation.cpu_ns|[.host_system,.guest,.guest_user,.guest_system]' | jq -c .)" '[null,null,null,null]' \
		"guest and KVM undivided: neither column pretends to know"
	is "$(vcpu 0 '.utilisation.cpu_ns.guest_or_host_system > 0')" true "... they have one together"
fi

# The VM is the sum of its vCPUs
is "$(jq -c '.utilisation.cpu_ns|[.[]|values]|add' "$TMP/shapes.json")" \
	"$(jq -c '[.vcpus[].utilisation.cpu_ns[]|values]|add' "$TMP/shapes.json")" "the VM's columns are its vCPUs'"
is "$(jq -c '.utilisation.signals.bill.busy_ns' "$TMP/shapes.json")" \
	"$(jq -c 'if [.vcpus[].utilisation.signals.bill]|all then [.vcpus[].utilisation.signals.bill.busy_ns]|add else null end' "$TMP/shapes.json")" \
	"so is its busy time, if all are known"
is "$(jq -s '[.[].vms[]|select(.name=="shapes")|.vcpus[]|[.tid,.utilisation.cpu_ns]]|group_by(.[0])|
	map(map(.[1]|map_values(.//0))|. as $r|[range(1;length)|. as $i|$r[$i]|to_entries[]|.value>=$r[$i-1][.key]]|all)|all' "$TMP/top")" \
	true "no column ever ran backwards"

# A tenant whose HLT stays in the guest: its bill must not pretend.
if demo inside --vcpus 2 --idle-in-guest --script 'mark,busy:2,hlt:1:10000,loop'; then
	inside=$(sed -n 's/^ready [0-9]* \([0-9]*\).*/\1/p' "$TMP/inside.out")
	looked() {
		[ "$(vm inside | jq '.vcpus|length==2 and ([.[]|.utilisation.window_ns>0 and .wall_ns>4000000000]|all)')" = true ]
	}
	poll 60 looked
	ok $? "a tenant that idles in guest mode is watched"
	vm inside >"$TMP/inside.json"
	is "$(jq -c '[.vcpus[].utilisation.signals.bill]' "$TMP/inside.json")" '[null,null]' "its bill tells nothing"
	if [ "$told" = '"yes"' ]; then
		is "$(jq -c '[.vcpus[].utilisation.idle_exits]' "$TMP/inside.json")" '["no","no"]' "and the report says why"
	fi
	is "$(jq -c '.vcpus[0].utilisation|.busy==(.signals.ref_cycles//.signals.mperf//{share:null}).share' "$TMP/inside.json")" \
		true "its share is a counter's, or unknown"
	like "$("$TOP" -b -n 1 -d 0.3 --vm inside | grep '^inside')" \
		"$(jq -r 'if .vcpus[0].utilisation.busy!=null then "[0-9]" else " \\? " end' "$TMP/inside.json")" "the table says the same"
	# what perf can count here, we can, and nothing else
	counts() {
		if perf stat -x, -e "$1" -t "$inside" sleep 0.2 2>&1 | grep -qE 'not supported|not counted|rror|nvalid'; then
			echo false
		else
			echo true
		fi
	}
	is "$(jq '.vcpus[0].utilisation.signals.mperf!=null' "$TMP/inside.json")" "$(counts msr/mperf/)" \
		"MPERF: known where perf can count it"
	# the guest's share of them, and that needs its time apart from KVM's
	splits=$(last_line "$TMP/top" | jq .splits_guest)
	is "$(jq '.vcpus[0].utilisation.signals.ref_cycles!=null' "$TMP/inside.json")" \
		"$([ "$splits $(counts ref-cycles:G)" = "true true" ] && echo true || echo false)" \
		"reference cycles of the guest: known where perf can count them"
	is "$("$TOP" --features --format json | jq -c '[.features[]|select(.name=="ref_cycles" or .name=="mperf").present]')" \
		"[$(counts ref-cycles:G),$(counts msr/mperf/)]" "--features says what perf can count here"
else
	skip "this KVM cannot let HLT stay in the guest" "a tenant that idles in guest mode"
fi

# CSV: the same columns in every line, and empty where unknown
"$TOP" --format csv -n 2 -d 1 --vm shapes >"$TMP/csv"
is "$(awk -F, '{print NF}' "$TMP/csv" | sort -u | wc -l)" 1 "CSV: as many fields in every line"
is "$(head -n 1 "$TMP/csv" | grep -o 'busy_signal,busy_share,host_user_ns,host_system_ns,guest_user_ns,guest_system_ns,guest_ns,guest_or_host_system_ns$')" \
	"busy_signal,busy_share,host_user_ns,host_system_ns,guest_user_ns,guest_system_ns,guest_ns,guest_or_host_system_ns" \
	"CSV: signal, share and columns at the end"

# Through ihod: it looks, and its readers see the same numbers.
kill "$TOP_PID"
wait_gone "$TOP_PID" 20
spawn "$B/ihod" --socket "$TMP/ihod.sock" --no-cost 2>"$TMP/ihod.err"
poll 30 test -S "$TMP/ihod.sock"
spawn "$TOP" --socket "$TMP/ihod.sock" -b --format json -d 0.5 >"$TMP/top"
poll 60 test -s "$TMP/top"
demo far --vcpus 1 --linger --script mark,busy:10,hlt:1:1000,out:0x80:2000,loop:40 || exit 1
far=$(sed -n 's/^ready [0-9]* //p' "$TMP/far.out")
demo_done far
poll 30 more_lines "$TMP/top" $(($(wc -l <"$TMP/top") + 2))
poll 60 settled far 1
ok $? "ihod: the columns sum to what the bill has on the CPU" || diag "$(vm far)" "$(cat "$TMP/ihod.err")"
ran=$(awk '{print $1}' "/proc/$DEMO_PID/task/$far/schedstat")
sum=$(vm far | jq '[.utilisation.cpu_ns[]|values]|add')
d=$((sum - ran))
[ ${d#-} -le $((ran * 5 / 100 + 10000000)) ]
ok $? "ihod: and to the scheduler's books ($((sum / 1000000)) of $((ran / 1000000)) ms)"
is "$(vm far | jq .utilisation.idle_exits)" "$told" "ihod: how the bill knows"
done_testing
