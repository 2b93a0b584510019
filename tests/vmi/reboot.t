#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that stands still, and one that boots anew, under a session that goes on: it answers from what is there
# now. KASLR gives each boot another address of the kernel, which the guest itself says.
# shellcheck disable=SC2016 # scripts are for the guest's shell
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
need_root
make --no-print-directory -s programs >&2 || exit 1
guest_build || exit 1

guest_start g "${KERNEL:-6.12}" smp=2 workload=off
ok $? "a guest boots" || exit 1
mkfifo "$TMP/in"
exec 7<>"$TMP/in"
spawn sh -c 'exec "$@" <"$0" 7>&-' "$TMP/in" "$B/iho-query" --vm "$GUEST_PID" --format csv \
	>"$TMP/out" 2>"$TMP/err"
session=$!

# The answer to a statement of one value, or the error. Often in a subshell: a counter would stand still.
ask() {
	local n=${EPOCHREALTIME//[.,]/}
	: >"$TMP/err"
	echo "SELECT 'answer $n ' || ($1);" >&7
	poll 120 grep -qsE "^\"?answer $n " "$TMP/out" "$TMP/err" || [ -s "$TMP/err" ]
	sed -nE "s/^\"?answer $n ([^\"\r]*).*/\1/p" "$TMP/out" | tail -n 1
}
TEXT='SELECT address FROM kernel_symbols WHERE name = "_text"'
text() { guest_run g 'sed -n "s/^\([0-9a-f]*\) T _text$/0x\1/p" /proc/kallsyms'; }

first=$(text)
is "$(ask "$TEXT")" "$first" "its kernel is where the guest says"
guest_qmp g stop >/dev/null
was=$(ask 'SELECT group_concat(pid) FROM processes')
like "$was" '^1,2,' "it stands still, and is looked at"
is "$(ask 'SELECT group_concat(pid) FROM processes')" "$was" "as often as one likes: nothing has changed"
guest_qmp g cont >/dev/null

guest_qmp g set-action '{"reboot": "reset"}' >/dev/null
guest_qmp g system_reset >/dev/null
# whatever it is told while there is no kernel, or half a one
for _ in 1 2 3; do ask 'SELECT count(*) FROM processes' >/dev/null; done
poll 120 guest_run g 'cat /run/failed'
ok $? "it booted anew"
now=$(text)
[ -n "$now" ] && poll 60 eval '[ "$(ask "$TEXT")" = "$now" ]'
ok $? "the same session has its new kernel: $first, then $now" || diag "$(ask "$TEXT")" "$(cat "$TMP/err")"
pids='SELECT group_concat(pid) FROM (SELECT pid FROM processes WHERE parent = 2 ORDER BY pid)'
fresh=$("$B/iho-query" --vm "$GUEST_PID" --format csv "$pids" | tail -n 1 | tr -d '"\r')
is "$(ask "$pids")" "$fresh" "and lists what a new session lists"
kill -0 $session
ok $? "it never died"
exec 7>&-
guest_stop g
done_testing
