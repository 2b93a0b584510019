#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# iho-query's short forms net and strings, packs and references, on a dump of one guest whose own words are known.
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

# packs: all that osquery's files may have
cat >"$TMP/our pack.conf" <<'END'

// comments begin
  # lines
{
  "platform": "linux,darwin",
  "discovery": ["SELECT pid FROM processes WHERE pid = 1"],
  "queries": {
    "first": {"query": "SELECT pid, NULL AS none, 'http://x' AS url \
        FROM processes \
        WHERE pid = 1;", "interval": "60", "description": "an interval may be a text"},
    "mac": {"query": "SELECT 1", "interval": 60, "platform": "darwin"},
    "twice": {"query": "SELECT 1 AS one", "interval": 1},
    "twice": {"query": "SELECT 2 AS two", "interval": 1, "snapshot": true},
    "moves": {"query": "SELECT abs(random()) AS r", "interval": 1},
    "grows": {"query": "SELECT abs(random()) AS r", "interval": 1, "removed": false},
    "missing": {"query": "SELECT * FROM no_such_table", "interval": 60},
    "never": {"query": "SELECT 3", "interval": 0},
    "last": {"query": "SELECT name FROM processes WHERE pid = 1", "interval": 60, "platform": "posix"}
  }
}
END
$Q --format json --pack "$TMP/our pack.conf" --once >"$TMP/log" 2>"$TMP/status"
is $? 0 "a pack runs, although one of its queries cannot"
is "$(jq -r '.name + " " + .action' "$TMP/log")" "pack/our pack/first added
pack/our pack/twice added
pack/our pack/twice:2 snapshot
pack/our pack/moves added
pack/our pack/grows added
pack/our pack/last added" "those for Linux, each once, also two of one name"
is "$(head -n 1 "$TMP/log" | jq -c '.columns')" '{"none":"","pid":"1","url":"http://x"}' "all columns are texts"
is "$(head -n 1 "$TMP/log" | jq -c 'del(.calendarTime, .unixTime, .columns)')" \
	'{"name":"pack/our pack/first","hostIdentifier":"dump.elf","epoch":0,"counter":0,"numerics":false,"decorations":{},"action":"added"}' \
	"with what osquery logs beside them"
is "$(head -n 1 "$TMP/log" | jq -r '.calendarTime')" \
	"$(date -u -d "@$(head -n 1 "$TMP/log" | jq .unixTime)" '+%a %b %e %H:%M:%S %Y UTC')" "calendarTime is unixTime"
is "$(jq -c 'select(.action == "snapshot") | .snapshot' "$TMP/log")" '[{"two":"2"}]' "a snapshot is the whole result"
is "$(jq -r '.error // empty' "$TMP/status")" "pack/our pack/missing: no such table: no_such_table" \
	"the one that failed is told"

# differences: what stays is told once
# shellcheck disable=SC2086 # it is a command with options
spawn $Q --pack "$TMP/our pack.conf" >"$TMP/log" 2>/dev/null
third() { [ "$(jq -r 'select(.counter >= 2) | .name' "$TMP/log" 2>/dev/null | sort -u | grep -cE 'moves|grows|twice:2')" -eq 3 ]; }
poll 60 third
ok $? "queries run again at their intervals"
kill "$SPAWNED"
wait_gone "$SPAWNED" 20
is "$(jq -r 'select(.name == "pack/our pack/twice") | .action' "$TMP/log")" added "a row that stays is told once"
is "$(jq -r 'select(.name == "pack/our pack/moves" and .counter == 1) | .action' "$TMP/log" | sort | xargs)" \
	"added removed" "one that changes is removed, and added"
is "$(jq -r 'select(.name == "pack/our pack/moves") | select(.counter < 2) | .columns.r' "$TMP/log" | sort | uniq -c |
	awk '{ print $1 }' | sort | xargs)" "1 2" "what is removed is what was added"
is "$(jq -r 'select(.name == "pack/our pack/grows") | .action' "$TMP/log" | sort -u)" added \
	"removed rows are not told where nobody wants them"

# a worker that dies while it makes rows: the error comes alone, without the head of a table
cat >"$TMP/endless.sql" <<'END'
WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n WHERE x < 0
END
spawn $Q "$(cat "$TMP/endless.sql")" >"$TMP/out" 2>"$TMP/err"
worker() { WORKER=$(pgrep -P "$SPAWNED"); }
poll 20 worker
busy() { [ "$(awk '{ print $14 }' "/proc/$WORKER/stat")" -gt 20 ]; }
poll 20 busy
kill -9 "$WORKER"
wait_gone "$SPAWNED" 20
is "$(cat "$TMP/out")" "" "a worker that dies leaves no half of a table"
like "$(cat "$TMP/err")" '^iho-query: .*signal 9' "and it is told"

# nothing to run, nothing to read
sed 's/pid = 1"\]/pid = -5"]/' "$TMP/our pack.conf" >"$TMP/other.conf"
is "$($Q --pack "$TMP/other.conf" --once 2>/dev/null)" "" "a pack whose discovery finds nothing does not run"
sed 's/"linux,darwin"/"windows"/' "$TMP/our pack.conf" >"$TMP/other.conf"
is "$($Q --pack "$TMP/other.conf" --once 2>/dev/null)" "" "nor one for another platform"
echo '{"queries": [' >"$TMP/other.conf"
is "$($Q --pack "$TMP/other.conf" --once >/dev/null 2>&1; echo $?)" 1 "a file that is none is refused"
is "$($Q --once 2>/dev/null; echo $?)" 2 "--once needs a pack"

# a reference: a clean kernel is as it was built; one byte of a function is found
image() { echo "$GUEST_LAB/$1/bzImage"; }
changed() { $Q --reference "$(image $kernel)" --format json 'SELECT section, changed_pages FROM kernel_text WHERE basis = "reference"' |
	jq -r '.[] | "\(.section) \(.changed_pages)"'; }
built() { $Q --reference "$(image $kernel)" --format json "SELECT verdict, subject FROM integrity WHERE evidence LIKE '%built%'" |
	jq -r '.[] | "\(.verdict) \(.subject)"'; }
is "$(changed)" "kernel .text 0
kernel .rodata 0" "a clean kernel is equal to its vmlinuz"
is "$(built)" "ok kernel .text
ok kernel .rodata" "integrity says so"
like "$($Q --reference "$(image 6.1)" 'SELECT 1' 2>&1)" 'is another kernel: its build id is' "another kernel is refused"
head -c 1000000 "$(image $kernel)" >"$TMP/cut"
like "$($Q --reference "$TMP/cut" 'SELECT 1' 2>&1)" '^iho-query: the reference: ' "so is one that is not whole"
address() { $Q --format json "SELECT address FROM kernel_symbols WHERE name = '$1' LIMIT 1" | jq -r '.[0].address'; }
text=$(awk '/Kernel code/ { split($1, a, "-"); print a[1] }' "$S/truth/iomem")
python3 - "$S/dump.elf" "$text" "$(address _text)" "$(address commit_creds)" <<'END'
import struct, sys
gpa = int(sys.argv[2], 16) + int(sys.argv[4], 16) - int(sys.argv[3], 16) + 32
with open(sys.argv[1], "r+b") as f:
    head = f.read(64)
    at, n = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
    f.seek(at)
    for kind, _, offset, _, base, size, _, _ in struct.iter_unpack("<IIQQQQQQ", f.read(56 * n)):
        if kind == 1 and base <= gpa < base + size:
            f.seek(offset + gpa - base)
            byte = f.read(1)[0]
            f.seek(-1, 1)
            f.write(bytes([byte ^ 1]))
            sys.exit(0)
sys.exit("not in the dump")
END
ok $? "a byte of commit_creds is changed"
is "$(changed)" "kernel .text 1
kernel .rodata 0" "one page differs"
like "$(built)" '^bad commit_creds' "integrity names the function"
done_testing
