#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Clients that mean no good: slow, many, broken, half-open. The exporter stays up, small, and answers.
. "$(dirname "$0")/../tap.sh"
need_root

# as it is meant to run: counting is another process' work
spawn "$B/ihod" --socket "$TMP/ihod.sock" 2>"$TMP/ihod.log"
poll 60 test -S "$TMP/ihod.sock" || diag "$(cat "$TMP/ihod.log")"
spawn "$B/iho-exporter" --listen 127.0.0.1:0 --max-connections 256 --socket "$TMP/ihod.sock" 2>"$TMP/log"
EXP_PID=$SPAWNED
poll 30 has_line "$TMP/log" 'listening on' || exit 1
URL=$(sed -n 's,.*listening on \(http.*\)/$,\1,p' "$TMP/log")
ready() { [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 10 "$URL/-/ready")" = 200 ]; }
poll 60 ready
ok $? "the exporter is there"
curl -sS "$URL/metrics" >"$TMP/before"
python3 tests/host/exporter_hostile.py "${URL##*:}" "$EXP_PID" >"$TMP/out" 2>&1
ok $? "the clients came to their end" || diag "$(tail -20 "$TMP/out")"
# name, verdict, figure: the figures are for the reader, the time limits of the client are generous
while read -r verdict name; do
	[ "$verdict" = good ]
	ok $? "$name"
done < <(sed -n 's/^check //p' "$TMP/out")
diag "$(sed -n 's/^figure //p' "$TMP/out")"
is "$(grep -c '^check ' "$TMP/out")" 19 "all was checked"
most() { sed -n "s/^figure own resident KiB at the $1: //p" "$TMP/out"; }
if [ "$B" = build ]; then
	[ "$(most most)" -le 20480 ]
	ok $? "own resident memory at most 20 MiB, also under attack ($(most start) KiB at first, $(most most) KiB at most)"
else
	skip "the sanitizers' memory is not ours" "resident memory"
fi
gone "$EXP_PID"
[ $? = 1 ]
ok $? "the exporter is still there"
kill "$EXP_PID"
wait "$EXP_PID"
is $? 0 "and ends at SIGTERM with status 0"
done_testing
