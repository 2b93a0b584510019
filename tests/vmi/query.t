#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# iho-query on running guests of every kernel: its tables beside the guest's own words, no false alarm, its
# formats and errors, and what its worker may still do. KERNELS="6.12 7" limits it.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
need_root
make --no-print-directory -s programs >&2 || exit 1
guest_build || exit 1
Q=$B/iho-query

for kernel in ${KERNELS:-$(guest_kernels)}; do
	guest_start g "$kernel" smp=2 workload=off || exit 1
	vm=$GUEST_PID
	guest_run g 'ls /proc' | grep -E '^[0-9]+$' | sort >"$TMP/before"
	for table in processes threads credentials; do
		$Q --vm "$vm" --format json "SELECT * FROM $table" >"$TMP/$table" 2>"$TMP/$table.err"
		ok $? "$kernel: $table" || diag "$(cat "$TMP/$table.err")"
		is "$(cat "$TMP/$table.err")" "" "$kernel: $table: whole, and not torn"
	done
	is "$($Q --vm "$vm" --format csv 'SELECT name FROM kernel_modules' | tr -d '\r' | tail -n +2 | sort |
		xargs)" "$(guest_run g 'cat /proc/modules' | cut -d' ' -f1 | sort | xargs)" \
		"$kernel: the modules that the guest has"
	is "$($Q --vm "$vm" --format lines 'SELECT version FROM kernel_info' | sed -n 's/.*= //p')" \
		"$(guest_run g 'uname -r')" "$kernel: its release"
	is "$($Q --vm "$vm" --format csv "SELECT * FROM integrity WHERE verdict = 'bad'" | tail -n +2)" "" \
		"$kernel: nothing is bad in a clean guest"
	is "$(jq '[.[] | .pid] | sort | unique | length' "$TMP/processes")" "$(jq length "$TMP/processes")" \
		"$kernel: each process once"
	# who was there before and after must have been there between; the shell that says so is there once
	guest_run g 'ls /proc' | grep -E '^[0-9]+$' | sort | comm -12 - "$TMP/before" >"$TMP/stayed"
	[ "$(wc -l <"$TMP/stayed")" -gt 20 ]
	ok $? "$kernel: the guest names its processes"
	is "$(jq -r '.[].pid' "$TMP/processes" | sort | comm -13 - "$TMP/stayed")" "" \
		"$kernel: all that the guest names are found"
	[ "$kernel" = 6.12 ] || guest_stop g
	[ "$kernel" = 6.12 ] || continue

	# the worker: no user, no capabilities, seccomp
	mkfifo "$TMP/in"
	exec 7<>"$TMP/in"
	# shellcheck disable=SC2016 # for the shell that is started: what runs beside it has no input
	spawn sh -c 'exec "$@" <"$0" 7>&-' "$TMP/in" "$Q" --vm "$vm" --format csv >"$TMP/out" 2>"$TMP/err"
	echo 'SELECT 1;' >&7
	poll 60 has_line "$TMP/out" '^1'
	worker=$(pgrep -P "$SPAWNED")
	like "$(grep ^Uid: "/proc/$worker/status")" '^Uid:.65534.65534.65534.65534$' "the worker is nobody"
	like "$(grep ^CapEff "/proc/$worker/status")" '	0+$' "without capabilities"
	like "$(grep ^CapBnd "/proc/$worker/status")" '	0+$' "that no program could get again"
	like "$(cat "/proc/$worker/status")" '^Seccomp:	2' "under seccomp"
	like "$(cat "/proc/$worker/status")" '^NoNewPrivs:	1' "and will get none"
	kill -9 "$worker"
	poll 20 has_line "/proc/$worker/status" '^State:.Z'
	echo 'SELECT 2;' >&7
	poll 60 has_line "$TMP/out" '^2'
	ok $? "one that died is replaced" || diag "$(cat "$TMP/err")"
	exec 7>&-
	wait_gone "$SPAWNED" 20

	# formats, errors, exit codes
	is "$($Q --vm "$vm" --format json 'SELECT 1 a, NULL b, '"'x'"' c')" '[
 {"a": 1, "b": null, "c": "x"}
]' "JSON is an array of objects"
	is "$($Q --vm "$vm" --format json 'SELECT nowhere' 2>&1; echo $?)" '{"error": "no such column: nowhere"}
1' "an error is an object in JSON"
	is "$($Q --vm "$vm" 'DELETE FROM processes' 2>/dev/null; echo $?)" 1 "nothing but reading"
	is "$($Q --wrong 2>/dev/null; echo $?)" 2 "a wrong option: 2"
	is "$($Q --vm no-such-vm ps 2>&1; echo $?)" 'iho-query: no VM "no-such-vm" runs here
1' "no such VM: one sentence, and 1"
	like "$($Q --vm "$vm" 'WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n' 2>&1)" \
		'iho-query: .*(time|long)' "an endless statement is ended"
	guest_stop g
done
done_testing
