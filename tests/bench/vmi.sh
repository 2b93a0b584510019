#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What looking into a guest costs: first answer, warm statements, system calls, memory, and whether any of it
# grows with the guest's RAM; whether the guest works less while it is looked at; and drgn and crash on the
# same dump, taken in turns, where `make check-oracle` has fetched what they need. Figures are of this
# machine; the guests run under QEMU's TCG.
#
#	make bench-vmi [KERNEL=6.12] [TASKS=500]
set -u
cd "$(dirname "$0")/../.." || exit 1
export LC_ALL=C
KERNEL=${KERNEL:-6.12}
TASKS=${TASKS:-500}
QUERY=build/iho-query
TMP=$(mktemp -d)
trap 'for n in "${!GUEST_PIDS[@]}"; do guest_stop "$n"; done; rm -rf "$TMP"' EXIT
trap 'exit 1' INT TERM
die() {
	echo "bench: $*" >&2
	exit 1
}
[ "$(id -u)" = 0 ] || die "needs root"
. tests/vmi/guest/guest.sh
guest_build >&2 || die "no guests"

line() { printf '%-56s %s\n' "$1" "$2"; }
# The median of the numbers of standard input
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
# warm VM STATEMENT: its median time in ms, of 30, in one session
warm() {
	{
		echo .timer on
		for _ in $(seq 30); do echo "$2;"; done
	} | $QUERY --vm "$1" 2>&1 >/dev/null | sed -n 's/.* rows in \([0-9.]*\) ms.*/\1/p' | median
}
first() { # VM: from the start of the program to the end of its first answer, median of 5, ms
	for _ in 1 2 3 4 5; do
		s=$(date +%s%N)
		$QUERY --vm "$1" 'SELECT pid, name FROM processes' >/dev/null || die "no answer"
		echo $((($(date +%s%N) - s) / 1000000))
	done | median
}

measure() { # NAME MEMORY
	local pid worker
	guest_start "$1" "$KERNEL" mem="$2" workload=off >&2 || die "no guest"
	pid=$GUEST_PID
	guest_run "$1" "i=0; while [ \$i -lt $TASKS ]; do sleep 100000 & i=\$((i + 1)); done" >/dev/null 2>&1
	tasks=$($QUERY --vm "$pid" --format csv 'SELECT count(*) FROM processes' | tail -n 1)
	line "guest of $2, kernel $KERNEL: processes" "$tasks"
	line "  first answer" "$(first "$pid") ms"
	line "  processes, warm" "$(warm "$pid" 'SELECT pid, parent, uid, state, name FROM processes') ms"
	line "  processes with all columns, warm" "$(warm "$pid" 'SELECT * FROM processes') ms"
	line "  process_open_files of all, warm" "$(warm "$pid" 'SELECT * FROM process_open_files') ms"
	# the worker: its calls for 100 statements beyond those for one, and its memory
	for n in 1 101; do
		{ for _ in $(seq $n); do echo 'SELECT count(pid) FROM processes;'; done; } |
			strace -f -qq -c -o "$TMP/calls.$n" -e trace=pread64,process_vm_readv,readv,preadv \
				$QUERY --vm "$pid" >/dev/null 2>&1
	done
	line "  reading calls of 100 statements (strace)" \
		"$(($(calls "$TMP/calls.101") - $(calls "$TMP/calls.1")))"
	mkfifo "$TMP/in.$1"
	$QUERY --vm "$pid" <"$TMP/in.$1" >"$TMP/out.$1" 2>/dev/null &
	query=$!
	exec 7>"$TMP/in.$1"
	for _ in $(seq 5); do echo 'SELECT * FROM processes; SELECT count(*) FROM kernel_symbols;' >&7; done
	until [ "$(grep -c '^count' "$TMP/out.$1")" -ge 5 ]; do sleep 0.1; done
	worker=$(pgrep -P $query | head -n 1)
	line "  memory of the worker, without the guest's pages" \
		"$(awk '/^RssAnon/ {print $2}' "/proc/$worker/status") KiB"
	exec 7>&-
	wait $query
	guest_stop "$1"
}

# What a task of the guest gets done in three of its seconds, which begin with one
work() { # VM'S NAME
	guest_run "$1" 'busybox awk "BEGIN {
		for (t = systime(); systime() == t;)
			;
		for (t = systime() + 3; systime() < t; n++)
			;
		print n}"'
}

# The guest's own work while it is looked at ten times a second, against work without; taken in turns
disturb() {
	local query
	guest_start quiet "$KERNEL" mem=512M workload=off >&2 || die "no guest"
	for _ in 1 2 3 4 5 6; do
		work quiet >>"$TMP/alone"
		$QUERY --vm "$GUEST_PID" --watch 0.1 'SELECT pid, name, state FROM processes' >"$TMP/watch" &
		query=$!
		work quiet >>"$TMP/watched"
		kill $query
		wait $query 2>/dev/null
		[ "$(grep -c '^pid' "$TMP/watch")" -ge 20 ] || die "it was looked at too seldom"
	done
	line "guest's work while queried at 10 Hz / while not" \
		"$(paste "$TMP/watched" "$TMP/alone" | awk '{print $1 / $2}' | median)"
	line "  from round to round, not queried" \
		"$(sort -n "$TMP/alone" | sed -n '1p;$p' | xargs | awk '{print $1 / $2}')"
	guest_stop quiet
}

# ms COMMAND...
ms() {
	local s
	s=$(date +%s%N)
	"$@" >/dev/null || die "$1 failed"
	echo $((($(date +%s%N) - s) / 1000000))
}
# Its modules: of the tasks of these dumps crash 8.0.2 finds only the idle ones
crash_mod() { printf 'mod\nquit\n' | timeout 300 crash -s "$1/vmlinux" "$2"; }

# A dump's processes, from the start of the program to the end of its first answer, and again
peers() {
	local oracle dump=$TMP/dump.elf
	oracle=$(find "$GUEST_CACHE"/oracle-"$(cat "$GUEST_LAB/6.1/release")"-*/ -name vmlinux -printf '%h\n' \
		2>/dev/null | tail -n 1)
	[ -n "$oracle" ] && command -v drgn crash >/dev/null || {
		line "drgn and crash" "not measured: make check-oracle fetches what they need"
		return
	}
	guest_start dump 6.1 smp=2 vmcoreinfo=on >&2 || die "no guest"
	guest_freeze dump && guest_dump dump "$dump" || die "no dump"
	guest_stop dump
	for _ in 1 2 3; do
		ms $QUERY --dump "$dump" 'SELECT pid, parent, uid, state, name FROM processes' >>"$TMP/ours"
		ms tests/vmi/oracle/ps.py "$dump" "$oracle/vmlinux" 1 >>"$TMP/drgn"
		ms crash_mod "$oracle" "$dump" >>"$TMP/crash"
	done
	line "dump of 6.1: first answer, ours" "$(median <"$TMP/ours") ms"
	line "  drgn / ours" "$(awk "{print \$1 / $(median <"$TMP/ours")}" <<<"$(median <"$TMP/drgn")")"
	line "  crash (modules) / ours" "$(awk "{print \$1 / $(median <"$TMP/ours")}" <<<"$(median <"$TMP/crash")")"
	ours=$(
		{
			echo .timer on
			for _ in $(seq 30); do echo 'SELECT pid, parent, uid, state, name FROM processes;'; done
		} | $QUERY --dump "$dump" 2>&1 >/dev/null | sed -n 's/.* rows in \([0-9.]*\) ms.*/\1/p' | median
	)
	line "  warm: ours" "$ours ms"
	line "  warm: drgn / ours" \
		"$(tests/vmi/oracle/ps.py "$dump" "$oracle/vmlinux" 10 | median | awk "{print \$1 / $ours}")"
}
calls() { awk '$NF != "total" && $4 ~ /^[0-9]+$/ {n += $4} END {print n + 0}' "$1"; }

measure small 512M
measure large 4G
disturb
peers
