#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# iho-query's short forms net and strings, on a dump of one guest whose own words are known.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
need_root
make --no-print-directory -s programs >&2 || exit 1
guest_build || exit 1

kernel=6.12
S=$TMP/snapshot
Q="$B/iho-query --dump $S/dump.elf"
guest_start g $kernel smp=2
ok $? "$kernel boots" || { done_testing; exit; }
guest_snapshot g "$S"
ok $? "it tells its truth, and is dumped"
guest_stop g
pid_of() { awk -v role="$1" '$1 == role { print $2; exit }' "$S/truth/workload"; }

# net: the ports on which the guest says that it listens, of IPv4, with the process
$Q --format json net >"$TMP/net"
ok $? "net: a table of sockets" || diag "$(cat "$TMP/net")"
awk 'NR > 1 && $4 == "0A" { split($2, a, ":"); print a[2] }' "$S/truth/net/tcp" | sort >"$TMP/ports"
[ "$(wc -l <"$TMP/ports")" -ge 2 ]
ok $? "the guest listens"
is "$(jq -r '.[] | select(.protocol == "tcp" and .state == "LISTEN") | .local' "$TMP/net" |
	while IFS=: read -r _ port; do printf '%04X\n' "$port"; done | sort)" "$(cat "$TMP/ports")" \
	"net: all of its ports, and no others"
is "$(jq -r '[.[] | select(.state == "LISTEN")] | map(.pid) | unique | .[]' "$TMP/net")" "$(pid_of sockets)" \
	"net: with the process that has them open"

# strings: what the process was started with is in its memory
pid=$(pid_of sockets)
$Q --format json strings "$pid" >"$TMP/strings" 2>"$TMP/note"
ok $? "strings: texts of a process"
tr '\0' '\n' <"$S/truth/proc/$pid/environ" | grep -E '.{4}' >"$TMP/environ"
[ -s "$TMP/environ" ]
ok $? "the guest names its environment"
jq -r '.[].value' "$TMP/strings" >"$TMP/values"
is "$(grep -vxFf "$TMP/values" "$TMP/environ")" "" "strings: the environment is among them, whole"
like "$(cat "$TMP/note")" "process_strings is not whole.*pid $pid: [0-9]+ pages of [0-9]+" \
	"strings: says how many pages are not there"
is "$($Q --format json "SELECT count(*) n FROM process_strings WHERE pid = $pid AND length < 12 AND min_length = 12" \
	2>/dev/null | jq '.[0].n')" 0 "strings: as short as was asked for"
like "$($Q 'SELECT * FROM process_strings' 2>&1)" 'needs WHERE pid' "strings: not of all processes at once"
done_testing
