# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The Test Anything Protocol, and what the tests on this kernel share. Sourced by the *.t scripts.
#
# A test starts programs only through spawn(), so that the end of the script, whatever way it comes,
# ends them too, by pid.

set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export LC_ALL=C.UTF-8
B=${IHO_BUILD:-build}
TOP=$B/iho-top
DEMO=$B/iho-demo
TMP=$(mktemp -d "${TMPDIR:-/tmp}/iho-test.XXXXXX")
TAP_N=0
TAP_BAD=0 # the last test failed
TAP_PIDS=()

tap_cleanup() {
	local p
	for p in "${TAP_PIDS[@]}"; do
		gone "$p" || kill -CONT "$p"
		gone "$p" || kill "$p"
	done
	for p in "${TAP_PIDS[@]}"; do
		wait_gone "$p" 5 || kill -9 "$p" 2>/dev/null
	done
	rm -rf "$TMP"
}
trap tap_cleanup EXIT
trap 'exit 1' INT TERM

# Explanations; those of a failure are for the eyes of whoever runs the tests, not only for a log
diag() {
	local text
	text=$(printf '%s\n' "$*" | sed 's/^/# /')
	printf '%s\n' "$text"
	# not by the name /dev/stderr: that opens a file anew, and cuts it
	[ "$TAP_BAD" != 1 ] || printf '%s\n' "$text" >&2
}

# ok CONDITION-STATUS NAME: use as `cmd; ok $? "name"`
ok() {
	TAP_N=$((TAP_N + 1))
	TAP_BAD=0
	if [ "$1" = 0 ]; then
		echo "ok $TAP_N - $2"
	else
		TAP_BAD=1
		echo "not ok $TAP_N - $2"
		echo "# failed: $2" >&2
	fi
	return "$1"
}

# is GOT WANT NAME
is() {
	[ "$1" = "$2" ]
	ok $? "$3" || diag "got: $1" "want: $2"
}

# like GOT REGEX NAME
like() {
	grep -qE -- "$2" <<<"$1"
	ok $? "$3" || { diag "got:"; diag "$1" | head -20; diag "want: $2"; }
}

# within GOT WANT PERCENT NAME: GOT is at most PERCENT away from WANT (integers)
within() {
	local d=$(($1 - $2))
	[ $((d < 0 ? -d : d)) -le $(($2 * $3 / 100)) ]
	ok $? "$4 ($1, expected $2 within $3 %)"
}

skip() {
	TAP_N=$((TAP_N + 1))
	echo "ok $TAP_N - $2 # SKIP $1"
}

skip_all() {
	echo "1..0 # SKIP $1"
	exit 0
}

done_testing() { echo "1..$TAP_N"; }

# spawn COMMAND...: in the background; its pid is $SPAWNED
spawn() {
	"$@" &
	SPAWNED=$!
	TAP_PIDS+=("$SPAWNED")
}

# poll SECONDS COMMAND...: until it succeeds
poll() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

# Ended; the pid may be another process' by now, but that is no child of ours
gone() {
	! grep -qx "PPid:[[:space:]]*$$" "/proc/$1/status" 2>/dev/null ||
		grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}
wait_gone() { poll "$2" gone "$1"; }
has_line() { grep -qE -- "$2" "$1" 2>/dev/null; }

# Starts a tenant: demo NAME OPTION...; its output is $TMP/NAME.out, its pid $DEMO_PID, and its gate
# opens with gate_open NAME. Returns when it is ready.
demo() {
	local name=$1
	shift
	spawn "$DEMO" --name "$name" --announce --report "$@" >"$TMP/$name.out" 2>"$TMP/$name.err"
	DEMO_PID=$SPAWNED
	poll 60 has_line "$TMP/$name.out" '^ready ' || {
		diag "tenant $name did not start:" "$(cat "$TMP/$name.err")"
		return 1
	}
}

# gate_wait NAME [NTH]: all vCPUs of the tenant wait at their NTH gate
gate_wait() { poll 120 has_line "$TMP/$1.out" "^gate ${2:-1}\$"; }
gate_open() { kill -USR1 "$1"; }
demo_done() { poll "${2:-120}" has_line "$TMP/$1.out" '^done'; }

# Starts iho-top in batch mode: top_start OUT OPTION...; its pid is $TOP_PID. Returns with the first report.
top_start() {
	local out=$1
	shift
	spawn "$TOP" -b --format json -d 0.2 "$@" >"$out" 2>"$out.err"
	TOP_PID=$SPAWNED
	poll 60 test -s "$out" || {
		diag "iho-top printed nothing:" "$(cat "$out.err")"
		return 1
	}
}

# The last complete line of a file that grows
last_line() { head -n "$(wc -l <"$1")" "$1" | tail -n 1; }

# Ends it, after a report that was begun now; the last complete report is in OUT.last
top_stop() {
	local n
	n=$(wc -l <"$1")
	poll 30 more_lines "$1" $((n + 2)) || diag "iho-top stands still"
	kill "$TOP_PID"
	wait_gone "$TOP_PID" 20
	tail -n 1 "$1" >"$1.last"
}
more_lines() { [ "$(wc -l <"$1")" -ge "$2" ]; }

# Does this KVM emit kvm_exit, or is it a software KVM?
emits_exits() { [ -d /sys/module/kvm_intel ] || [ -d /sys/module/kvm_amd ]; }

need_kvm() { [ -w /dev/kvm ] || skip_all "no access to /dev/kvm"; }
need_root() { [ "$(id -u)" = 0 ] || skip_all "not root"; }
