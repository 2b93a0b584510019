#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What watching costs, beside the tools that others use for it: one tenant making exits as fast as it
# can, watched by nobody and by each tool in turn, interleaved, several rounds. Figures are ratios
# within this one run; absolute speeds say something about this machine only.
#
#	make bench [ROUNDS=5] [SLICE=3]
#
# Prints a table; keeps everything in build/bench.json.
set -u
cd "$(dirname "$0")/../.." || exit 1
export LC_ALL=C
B=build
ROUNDS=${ROUNDS:-5}
SLICE=${SLICE:-3}
TMP=$(mktemp -d)
PIDS=()

cleanup() {
	local p
	for p in "${PIDS[@]}"; do kill "$p" 2>/dev/null; done
	rm -rf "$TMP"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
die() {
	echo "bench: $*" >&2
	exit 1
}
spawn() {
	"$@" &
	SPAWNED=$!
	PIDS+=("$SPAWNED")
}
poll() { # poll SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@" 2>/dev/null; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}
finish() { # finish PID [SIGNAL]: end a program of ours and wait for it
	kill -"${2:-INT}" "$1" 2>/dev/null
	wait "$1" 2>/dev/null
}

[ "$(id -u)" = 0 ] || die "needs root"
[ -w /dev/kvm ] || die "needs /dev/kvm: load kvm_intel or kvm_amd, or enable virtualization in the firmware"
[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing
make --no-print-directory $B/bench/snapshot >&2 || exit 1

# The tenant on the last core, the watchers on the first: what is measured is the path of the exit.
CORE=$(($(nproc) - 1))
SCRIPT='out:0x80:1000000,loop'
if [ -d /sys/module/kvm_intel ] || [ -d /sys/module/kvm_amd ]; then
	EXIT=kvm_exit ENTRY=kvm_entry REASON=exit_reason
else
	EXIT=kvm_userspace_exit ENTRY=kvm_fpu REASON=reason
fi

rate() { # exits per second of the tenant in one slice
	taskset -c $CORE $B/iho-demo --vcpus 1 --name bench --script "$SCRIPT" --seconds "$SLICE" --report |
		jq '[.vcpus[0].exits[]]|add as $n|$n' >"$TMP/n" || return 1
	awk -v t="$SLICE" '{printf "%.0f\n", $1/t}' "$TMP/n"
}

# Each watcher: start_NAME brings it up and returns when it listens, its pid in WATCH
start_nothing() { WATCH=; }
start_iho() {
	spawn taskset -c 0 $B/iho-top --format json -d 1 >"$TMP/iho"
	WATCH=$SPAWNED
	poll 20 test -s "$TMP/iho"
}
start_bpftrace_count() {
	spawn taskset -c 0 bpftrace -e "BEGIN{printf(\"ready\\n\");} tracepoint:kvm:$EXIT { @[args->$REASON] = count(); }" >"$TMP/bt" 2>&1
	WATCH=$SPAWNED
	poll 30 grep -q ready "$TMP/bt"
}
start_bpftrace_hist() {
	spawn taskset -c 0 bpftrace -e "BEGIN{printf(\"ready\\n\");} tracepoint:kvm:$EXIT { @t[tid] = nsecs; @r[tid] = args->$REASON; } tracepoint:kvm:$ENTRY /@t[tid]/ { @[@r[tid]] = hist(nsecs - @t[tid]); delete(@t[tid]); }" >"$TMP/bt" 2>&1
	WATCH=$SPAWNED
	poll 30 grep -q ready "$TMP/bt"
}
perf_listens() { [ "$(find "/proc/$1/fd" -lname '*perf_event*' | wc -l)" -ge 2 ]; }
start_perf_stat() {
	spawn taskset -c 0 perf stat -a -x, -o "$TMP/ps" -e kvm:$EXIT -e kvm:$ENTRY
	WATCH=$SPAWNED
	poll 20 perf_listens "$WATCH"
}
# The same events as iho-top listens to, of which these two give a count each
events() { # SEPARATOR PREFIX
	sed -n 's/^\tX(\([a-z_0-9]*\), \([a-z]*\),.*/\2:\1/p' bpf/events.h | while IFS=: read -r group name; do
		[ -d "/sys/kernel/tracing/events/$group/$name" ] && printf '%s%s:%s%s' "$2" "$group" "$name" "$1"
	done
}
start_perf_stat_all() {
	spawn taskset -c 0 perf stat -a -x, -o "$TMP/ps" -e "$(events , '' | sed 's/,$//')"
	WATCH=$SPAWNED
	poll 20 perf_listens "$WATCH" && sleep 1
}
start_bpftrace_all() {
	spawn taskset -c 0 bpftrace -e "BEGIN{printf(\"ready\\n\");} $(events , tracepoint: | sed 's/,$//') { @[probe, tid] = count(); }" >"$TMP/bt" 2>&1
	WATCH=$SPAWNED
	poll 30 grep -q ready "$TMP/bt"
}
start_perf_record() {
	spawn taskset -c 0 perf record -q -a -o "$TMP/perf.data" -e kvm:$EXIT -e kvm:$ENTRY 2>"$TMP/pr"
	WATCH=$SPAWNED
	poll 20 perf_listens "$WATCH"
}
start_kvmexit() {
	spawn taskset -c 0 kvmexit-bpfcc 1000 >"$TMP/kx" 2>&1
	WATCH=$SPAWNED
	poll 20 grep -q 'Display kvm exit reasons' "$TMP/kx" && sleep 2 && kill -0 "$WATCH" 2>/dev/null
}

declare -A OUT
NAMES=(iho perf_stat_all bpftrace_all bpftrace_hist perf_record perf_stat bpftrace_count)
WHY=
if ! command -v kvmexit-bpfcc >/dev/null; then
	WHY="bcc kvmexit: not installed"
elif start_kvmexit; then
	[ $EXIT = kvm_exit ] && NAMES+=(kvmexit) || WHY="bcc kvmexit: this KVM emits no kvm_exit, it would count nothing"
	finish "$WATCH"
else
	WHY="bcc kvmexit: does not start here: $(grep -m1 -iE 'error|unable|fail|not' "$TMP/kx" | cut -c1-100)"
fi

echo "tenant: $SCRIPT on core $CORE; $ROUNDS rounds of $SLICE s each; kernel $(uname -r); $(nproc) cores" >&2
rate >/dev/null || die "the tenant does not run"
for ((r = 1; r <= ROUNDS; r++)); do
	for n in "${NAMES[@]}"; do
		# each measurement between two of the bare tenant: the machine's drift cancels out
		b1=$(rate)
		"start_$n" || die "$n does not start: $(head -3 "$TMP/bt" "$TMP/pr" 2>/dev/null)"
		w=$(rate)
		finish "$WATCH"
		b2=$(rate)
		OUT[$n]+="$(awk -v a="$b1" -v b="$b2" -v w="$w" 'BEGIN{printf "%.5f", (a+b)/2/w}') "
		BASE="${BASE-}$b1 $b2 "
		printf '  round %d/%d %-15s bare %s, watched %s exits/s\n' "$r" "$ROUNDS" "$n" "$(((b1 + b2) / 2))" "$w" >&2
	done
done

median() { tr ' ' '\n' <<<"$1" | grep . | sort -n | awk '{v[NR]=$1}END{print (NR%2)?v[(NR+1)/2]:(v[NR/2]+v[NR/2+1])/2}'; }
spread() { tr ' ' '\n' <<<"$1" | grep . | sort -n | awk 'NR==1{a=$1}{b=$1}END{printf "%.3f-%.3f", a, b}'; }

# Our own figures: the programs' cost by bpf_stats, the snapshot, iho-top at 1 Hz
spawn taskset -c $CORE $B/iho-demo --vcpus 1 --name bench --script "$SCRIPT"
D=$SPAWNED
taskset -c 0 $B/iho-top --format json -d 2 -n 1 >"$TMP/cost"
finish "$D" TERM
NS=$(jq '.self.bpf_ns_per_event' "$TMP/cost")
EVENTS=$(jq '.self.events_delta' "$TMP/cost")
EXITS=$(jq '.vms[0].userspace_exits_delta' "$TMP/cost")
PER_EXIT=$(awk -v n="$NS" -v e="$EVENTS" -v x="$EXITS" 'BEGIN{printf "%.0f", n*e/x}')

spawn $B/iho-demo --vcpus 256 --name wide --announce --script 'mark,out:0x80:50,cpuid:0:20,wrmsr:0x8b:10,hlt:20:20000,loop:1000000' >"$TMP/wide"
D=$SPAWNED
poll 60 grep -q '^ready' "$TMP/wide" || die "256 vCPUs do not start"
sleep 3
SNAP=$($B/bench/snapshot 200)
strace -f -o "$TMP/trace" $B/bench/snapshot 1000 >/dev/null
CALLS=$(awk '/write\(-1, "end"/{on=0} on{n++} /write\(-1, "begin"/{on=1} END{print n+0}' "$TMP/trace")
finish "$D" TERM

spawn $B/iho-demo --vcpus 64 --name host64 --announce --script 'mark,out:0x80:50,cpuid:0:20,wrmsr:0x8b:10,hlt:20:20000,loop:1000000' >"$TMP/h64"
D=$SPAWNED
poll 60 grep -q '^ready' "$TMP/h64" || die "64 vCPUs do not start"
tmux -L ihobench new-session -d -x 160 -y 50 "$PWD/$B/iho-top -d 1" 2>/dev/null
poll 20 pgrep -n -f "$PWD/$B/iho-top -d 1" >/dev/null
T=$(pgrep -n -x iho-top)
sleep 3
ticks() { awk '{print $14+$15}' "/proc/$T/stat"; }
t0=$(ticks)
sleep 20
t1=$(ticks)
RSS=$(awk '/^VmRSS/{print $2}' "/proc/$T/status")
tmux -L ihobench kill-server 2>/dev/null

# The same tenant through ihod and the exporter, a scrape a second
slots_kib() { awk '/^[0-9a-f]+-/{on = /bpf-map|iho-ledger/} on && /^Rss:/{n += $2} END{print n + 0}' "/proc/$1/smaps"; }
spawn $B/ihod --socket "$TMP/ihod.sock" --libvirt off 2>"$TMP/ihod.err"
IHOD=$SPAWNED
poll 60 test -S "$TMP/ihod.sock" || die "ihod does not start: $(cat "$TMP/ihod.err")"
spawn taskset -c 0 $B/iho-exporter --listen 127.0.0.1:0 --min-interval 0 --socket "$TMP/ihod.sock" 2>"$TMP/exp.err"
EXP=$SPAWNED
poll 60 grep -q 'listening on' "$TMP/exp.err" || die "the exporter does not start: $(cat "$TMP/exp.err")"
URL=$(sed -n 's,.*listening on \(http.*\)/$,\1/metrics,p' "$TMP/exp.err")
poll 60 curl -sf -o "$TMP/scrape" "$URL"
i0=$(awk '{print $14+$15}' "/proc/$IHOD/stat")
e0=$(awk '{print $14+$15}' "/proc/$EXP/stat")
for _ in {1..30}; do
	curl -sf -o "$TMP/scrape" -w '%{time_total}\n' -H 'Accept-Encoding: gzip' "$URL"
	sleep 1
done >"$TMP/times"
i1=$(awk '{print $14+$15}' "/proc/$IHOD/stat")
e1=$(awk '{print $14+$15}' "/proc/$EXP/stat")
ZIPPED=$(stat -c %s "$TMP/scrape")
curl -sf -o "$TMP/scrape" "$URL"
SCRAPE=$(jq -n --argjson ms "$(median "$(tr '\n' ' ' <"$TMP/times")" | awk '{printf "%.1f", $1*1000}')" \
	--argjson render "$(awk '$1 == "iho_exporter_scrape_duration_seconds"{printf "%.2f", $2*1000}' "$TMP/scrape")" \
	--argjson series "$(grep -vc '^#' "$TMP/scrape")" --argjson bytes "$(stat -c %s "$TMP/scrape")" --argjson gzip "$ZIPPED" \
	--argjson rss "$(awk '/^VmRSS/{print $2}' "/proc/$EXP/status")" --argjson slots "$(slots_kib "$EXP")" \
	--argjson cpu "$(awk -v t=$((e1 - e0)) -v hz="$(getconf CLK_TCK)" 'BEGIN{printf "%.2f", t/hz/30*100}')" \
	--argjson ihod_cpu "$(awk -v t=$((i1 - i0)) -v hz="$(getconf CLK_TCK)" 'BEGIN{printf "%.2f", t/hz/30*100}')" \
	--argjson ihod_rss "$(awk '/^VmRSS/{print $2}' "/proc/$IHOD/status")" \
	'{ms:$ms,render_ms:$render,series:$series,bytes:$bytes,gzip_bytes:$gzip,rss_kib:$rss,slots_rss_kib:$slots,cpu_percent:$cpu,
	  ihod_cpu_percent:$ihod_cpu,ihod_rss_kib:$ihod_rss}')
finish "$EXP" TERM
finish "$IHOD" TERM
finish "$D" TERM
SHARE=$(awk -v a="$t0" -v b="$t1" -v hz="$(getconf CLK_TCK)" 'BEGIN{printf "%.2f", (b-a)/hz/20*100}')

label() {
	case $1 in
	iho) echo "iho-top: bill, exits, drill-down" ;;
	perf_stat_all) echo "perf stat: the same events, counted" ;;
	bpftrace_all) echo "bpftrace: the same events, by thread" ;;
	perf_stat) echo "perf stat: two events, counted" ;;
	bpftrace_count) echo "bpftrace: one event, by reason" ;;
	bpftrace_hist) echo "bpftrace: latency histogram by reason" ;;
	perf_record) echo "perf record: two events" ;;
	kvmexit) echo "bcc kvmexit: count by reason" ;;
	esac
}
bare=$(median "$BASE")
printf '\n%-40s %12s %16s\n' "watched by" "tenant slower" "rounds"
printf '%-40s %12s %16s\n' "nobody" "1.000" "$(printf '%.0f exits/s' "$bare")"
for n in "${NAMES[@]}"; do
	printf '%-40s %12.3f %16s\n' "$(label "$n")" "$(median "${OUT[$n]}")" "$(spread "${OUT[$n]}")"
done
[ -n "$WHY" ] && echo "not measured: $WHY"
echo
printf '%-52s %s\n' "BPF, ns per event (bpf_stats)" "$(printf %.0f "$NS")" \
	"BPF, ns per round trip to the VMM, all its events" "$PER_EXIT ($EVENTS events, $EXITS exits)" \
	"snapshot of 256 vCPUs" "$(jq -r '"\(.median_us) us median, \(.p99_us) us p99, \(.vcpus) vCPUs"' <<<"$SNAP")" \
	"system calls of 1000 snapshots (strace)" "$CALLS" \
	"iho-top on the screen, 1 Hz, 64 vCPUs" "$SHARE % of a core, $RSS KiB resident" \
	"a scrape, 64 vCPUs" "$(jq -r '"\(.ms) ms (\(.render_ms) ms of it rendering), \(.series) series"' <<<"$SCRAPE")" \
	"its size, plain and gzip" "$(jq -r '"\(.bytes) and \(.gzip_bytes) bytes"' <<<"$SCRAPE")" \
	"iho-exporter, a scrape a second" "$(jq -r '"\(.cpu_percent) % of a core, \(.rss_kib) KiB resident, \(.slots_rss_kib) of it the slots of ihod"' <<<"$SCRAPE")" \
	"ihod meanwhile" "$(jq -r '"\(.ihod_cpu_percent) % of a core, \(.ihod_rss_kib) KiB resident"' <<<"$SCRAPE")"

{
	for n in "${NAMES[@]}"; do
		printf '{"watcher":"%s","ratio":%s,"rounds":[%s]}\n' "$n" "$(median "${OUT[$n]}")" "$(sed 's/ $//; s/ /,/g' <<<"${OUT[$n]}")"
	done
} | jq -s --arg kernel "$(uname -r)" --argjson bare "$bare" --argjson ns "$NS" --argjson per "$PER_EXIT" \
	--argjson snap "$SNAP" --argjson calls "$CALLS" --argjson share "$SHARE" --argjson rss "$RSS" --arg why "$WHY" \
	--argjson scrape "$SCRAPE" \
	'{kernel:$kernel,bare_exits_per_s:$bare,watchers:.,not_measured:$why,bpf_ns_per_event:$ns,bpf_ns_per_exit:$per,
	  snapshot:($snap+{syscalls_of_1000:$calls}),iho_top_1hz_64_vcpus:{cpu_percent:$share,rss_kib:$rss},scrape_64_vcpus:$scrape}' >$B/bench.json
echo "kept in $B/bench.json"
