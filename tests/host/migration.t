#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Live migrations between two hosts, each a libvirtd in namespaces of its own, and between two QEMUs
# without libvirt. What iho-top says, as JSON and on the screen, is what libvirt and QEMU say; so is
# what an exporter says that reads from an ihod.
. "$(dirname "$0")/../tap.sh"
. tests/host/tui.sh
need_root
for p in libvirtd virsh qemu-system-x86_64 tmux curl promtool; do
	command -v $p >/dev/null || skip_all "no $p"
done
unshare --mount --uts --net --pid --fork true 2>/dev/null || skip_all "no namespaces"
make --no-print-directory -s build/migration/guest.elf >&2 || exit 1
. tests/migration/hosts.sh
trap 'hosts_kill; tui_cleanup' EXIT
LIMIT=${IHO_TEST_LIMIT:-90}

# ------------------------------------------------------------------------------ looking at it

declare -A WATCH # HOST: the iho-top that watches its libvirt
watch() {
	spawn "$TOP" --standalone -b --format json -d 0.3 "${@:2}" >"$TMP/$1.json" 2>"$TMP/$1.json.err"
	WATCH[$1]=$SPAWNED
	poll "$LIMIT" test -s "$TMP/$1.json" || diag "iho-top:" "$(cat "$TMP/$1.json.err")"
}
# report HOST FILTER: of the last report
report() { last_line "$TMP/$1.json" | jq -r ".migration|$2"; }
report_is() { [ "$(report "$1" "$2")" = "$3" ]; }
# says HOST FILTER WANT NAME: by and by it does
says() {
	poll "$LIMIT" report_is "$1" "$2" "$3"
	ok $? "$4" || diag "$1: $2" "got: $(report "$1" "$2")" "want: $3" "$(report "$1" .)"
}
# newest VM [ROLE]: a filter for its last migration
newest() { echo "[.migrations[]|select(.vm==\"$1\"${2:+ and .role==\"$2\"})][0]"; }
# once HOST FILTER: true in any report so far
once() { jq -e -s "[.[]|.migration|$2]|any" "$TMP/$1.json" >/dev/null; }

# facts HOST NAME: what libvirt says of the migration when it is over, as its destination knows it
facts() { on "$1" domjobinfo --rawstats --completed --keep-completed "$2" >"$TMP/facts"; }
# same_facts FILE ROW NAME-OF-TEST: the numbers are the same, to the last byte
same_facts() {
	local facts ours
	facts=$(sed -n 's/^\W*\(memory_processed\|memory_total\|memory_normal\|memory_constant\|memory_iteration\|downtime\): /\1 /p' "$1" | sort)
	ours=$(jq -r '"memory_processed \(.transferred_bytes)","memory_total \(.total_bytes)",
		"memory_normal \(.normal_pages)","memory_constant \(.zero_pages)","memory_iteration \(.iterations)",
		"downtime \(.downtime_actual_s*1000|round)"' <<<"$2" | sort)
	is "$ours" "$facts" "$3"
	[ "$(wc -l <<<"$facts")" = 6 ]
	ok $? "... six of them" || diag "$(cat "$1")"
}

# obeys_schema HOST: what is printed; of many lines some
obeys_schema() {
	head -n -1 "$TMP/$1.json" | awk 'NR % 8 == 1' >"$TMP/some"
	"$TOP" --json-schema >"$TMP/schema"
	[ -s "$TMP/some" ] && /usr/bin/python3 - "$TMP/schema" "$TMP/some" <<-'PY'
		import json, sys, jsonschema
		validator = jsonschema.Draft7Validator(json.load(open(sys.argv[1])))
		errors = [e for line in open(sys.argv[2]) for e in validator.iter_errors(json.loads(line))]
		for e in errors[:5]:
		    print("#", list(e.absolute_path), e.message[:200])
		sys.exit(bool(errors))
	PY
}

# The screen of a host: both stay open to the end
screen() {
	start "screen-$1" 160x50 "$TOP" --standalone -d 0.3 "${@:2}"
	look '^F1Help'
	key 5
	look 'Looked at'
}

# scraped NAME LINE...: by and by all these are in what the exporter says
scrape_has() {
	local l
	curl -sf --max-time 30 "$URL" >"$TMP/scrape" || return 1
	for l in "$@"; do grep -qxF -- "$l" "$TMP/scrape" || return 1; done
}
scraped() {
	poll "$LIMIT" scrape_has "${@:2}"
	ok $? "$1" || diag "wanted:" "${@:2}" "got:" "$(grep '^iho_migration' "$TMP/scrape")"
}

host_start a 1 && host_start b 2 || { echo "Bail out! no libvirtd"; exit 1; }
for h in a b; do
	watch $h --libvirt "$TMP/$h/libvirt-sock-ro"
	screen $h --libvirt "$TMP/$h/libvirt-sock-ro"
	says $h '[.libvirt.on,.libvirt.ok,.qmp.on]|tostring' '[true,true,false]' "$h: libvirt answers, no monitor is asked"
	says $h '[(.migrations|length),(.history|length),(.totals|length)]|tostring' '[0,0,0]' "$h: no migration"
	see "$h: so says the screen" 'No migration goes on' 'libvirt answers: 0 domains run'
done

spawn "$B/ihod" --socket "$TMP/ihod.sock" --libvirt "$TMP/a/libvirt-sock-ro" --no-cost --cpu any 2>"$TMP/ihod.err"
spawn "$B/iho-exporter" --listen 127.0.0.1:0 --min-interval 0 --socket "$TMP/ihod.sock" 2>"$TMP/exporter.err"
poll "$LIMIT" has_line "$TMP/exporter.err" 'listening on'
URL=$(sed -n 's,.*listening on \(http.*\)/$,\1/metrics,p' "$TMP/exporter.err")
scraped "the exporter reads from ihod" 'iho_up 1'
is "$(grep '^iho_migration' "$TMP/scrape")" "" "... and says nothing of migrations while there are none"

# ------------------------------------------------------------------------ there, and back again

# What it dirties fits into the downtime at 8 MiB/s: it converges, however fast the guest is
tenant a conv 48 "24 1 20000" || diag "the tenant does not start"
at screen-a
migrate conv a b --bandwidth 8
says a "$(newest conv)|.phase" precopy "there: precopy"
see "there: the screen: phase, bar, numbers" '^ conv +source +precopy .*\(libvirt\)' '[0-9]+%  remaining .* of .*, transferred' \
	'iterations [0-9]+  dirty .*/s  bandwidth .*/s' 'downtime: expected .*, limit 300 ms'
says b "$(newest conv)|[.role,.phase]|tostring" '["destination","precopy"]' "there: its destination waits for it"
scraped "there: the source is in precopy, says the scrape" 'iho_migration_active{vm="conv",role="source"} 1' \
	'iho_migration_phase{vm="conv",phase="precopy"} 1' 'iho_migration_phase{vm="conv",phase="completed"} 0'
promtool check metrics <"$TMP/scrape" >"$TMP/promtool" 2>&1
is "$?/$(cat "$TMP/promtool")" 0/ "... promtool has nothing to say about it"
wait_gone "$SPAWNED" "$LIMIT"
is "$(cat "$TMP/migrate.conv")" "" "there: virsh migrate has nothing to complain about"
says a "$(newest conv)|.phase" completed "there: completed, says the source"
says b "$(newest conv)|.phase" completed "... and the destination"
is "$(on a list --name --all)/$(on b list --name)" "/conv" "... and libvirt: it is there, not here"
facts b conv
same_facts "$TMP/facts" "$(report a "$(newest conv)")" "the source's numbers are libvirt's"
is "$(report a "$(newest conv)|[.role,.via,.error,(.end_time_s>=.start_time_s)]|tostring")" '["source","libvirt","",true]' \
	"... without an error"
scraped "... so does the scrape" 'iho_migration_active{vm="conv",role="source"} 0' \
	'iho_migration_phase{vm="conv",phase="completed"} 1' 'iho_migrations_total{vm="conv",result="completed"} 1' \
	"iho_migration_bytes{vm=\"conv\",kind=\"transferred\"} $(report a "$(newest conv)|.transferred_bytes")" \
	"iho_migration_iterations{vm=\"conv\"} $(report a "$(newest conv)|.iterations")"
is "$(report a "$(newest conv)|.phases_seen-[\"setup\",\"switchover\"]|tostring")" '["precopy","completed"]' "... in order"

at screen-b
migrate conv b a --bandwidth 8
says b "$(newest conv source)|.phase" precopy "back: precopy"
see "back: the screen of what was the destination" '^ conv +source +precopy' 'remaining' '^ [0-9:]+ conv +destination +completed'
wait_gone "$SPAWNED" "$LIMIT"
for h in a b; do
	says $h '.totals|tostring' '[{"vm":"conv","completed":2,"failed":0,"cancelled":0}]' "back: $h counts both"
	says $h '[.history[]|.role]|sort|tostring' '["destination","source"]' "... and has the one and the other in its history"
	at screen-$h
	see "... as has its screen" '^ [0-9:]+ conv +source +completed' '^ [0-9:]+ conv +destination +completed'
done
is "$(report a '.history[0].role') $(report b '.history[0].role')" "destination source" "the newest is on top"
is "$(on a list --name)/$(on b list --name --all)" "conv/" "libvirt: it is here again"
scraped "the scrape counts the way there and back" 'iho_migrations_total{vm="conv",result="completed"} 2' \
	'iho_migration_active{vm="conv",role="source"} 0' 'iho_migration_active{vm="conv",role="destination"} 0'
"$TOP" -b -n 1 -d 0.1 --format json --socket "$TMP/ihod.sock" >"$TMP/late.json"
is "$(report late '[.history[]|[.vm,.role,.phase]]|tostring')" \
	'[["conv","destination","completed"],["conv","source","completed"]]' "who comes late learns the history from ihod"
is "$(report late '.totals|tostring')" "$(report a '.totals|tostring')" "... and the totals"
facts a conv
same_facts "$TMP/facts" "$(report b "$(newest conv source)")" "the numbers of the way back are libvirt's"
on a destroy conv >/dev/null

# ------------------------------------------------------------------------------------ auto-converge

# It writes to 8 MiB faster than they are sent, of which 2.4 MiB may be left: only a throttle helps
tenant a auto 32 "16 8 200000" || diag "the tenant does not start"
at screen-a
migrate auto a b --bandwidth 8 --auto-converge --auto-converge-initial 60 --auto-converge-increment 39
throttle_agrees() {
	local t
	t=$(fact a auto auto_converge_throttle)
	[ "${t:-0}" -ge 60 ] && report_is a "$(newest auto)|(.throttle_ratio//0)*100|round" "$t"
}
poll "$LIMIT" throttle_agrees
ok $? "auto-converge: the throttle is what libvirt says" || diag "$(report a "$(newest auto)")"
see "... on the screen" '^ auto +source' 'throttle [6-9][0-9]%'
wait_gone "$SPAWNED" "$LIMIT"
says a "$(newest auto)|.phase" completed "auto-converge: it completed"
facts b auto
same_facts "$TMP/facts" "$(report a "$(newest auto)")" "the numbers are libvirt's"
on b destroy auto >/dev/null

# ---------------------------------------------------------------------------------------- post-copy

tenant a post 32 "16 8 0" || diag "the tenant does not start"
# Of post-copy only the source has numbers, and keeps none: another client is told of them
spawn virsh -q -c "$(uri a)" event --domain post --event job-completed --timeout "$LIMIT" >"$TMP/told" 2>&1
told=$SPAWNED
migrate post a b --bandwidth 8 --postcopy
says a "$(newest post)|[.phase,.iterations>=6,.forecast.verdict]|tostring" '["precopy",true,"diverges"]' \
	"post-copy: it does not converge, and we say so"
see "... on the screen" '^ post +source +precopy' 'will not converge'
is "$(fact a post "Job type")" 2 "libvirt: it goes on"
on a migrate-postcopy post >/dev/null
ok $? "post-copy is ordered"
wait_gone "$SPAWNED" "$LIMIT"
wait_gone "$told" "$LIMIT"
says a "$(newest post)|.phase" completed "post-copy: it completed"
is "$(report a "$(newest post)|.forecast_error|tostring")" '[null,null,null]' "... which says nothing of a forecast of pre-copy"
says a "$(newest post)|.phases_seen-[\"setup\",\"switchover\"]|tostring" '["precopy","postcopy","completed"]' \
	"... by post-copy, says the source"
says b "$(newest post)|[.phase,(.phases_seen|index(\"postcopy\")!=null)]|tostring" '["completed",true]' "... and the destination"
poll "$LIMIT" has_line "$TMP/told" '^\W*memory_iteration'
same_facts "$TMP/told" "$(report a "$(newest post)")" "the numbers are libvirt's"
on b destroy post >/dev/null

# ------------------------------------------------------------------------------------------ aborted

tenant a stop 32 "16 8 0" || diag "the tenant does not start"
migrate stop a b --bandwidth 8
says a "$(newest stop)|[.phase,.iterations>=2]|tostring" '["precopy",true]' "abort: it goes on"
on a domjobabort stop
ok $? "... and is aborted"
wait_gone "$SPAWNED" "$LIMIT"
# in libvirt's words; or the destination's QEMU has died of the broken stream before it is told
like "$(cat "$TMP/migrate.stop")" 'cancel|abort|load of migration failed' "... says virsh migrate"
# A read-only client of libvirt is not told the reason afterwards; who looks in time sees the job
# cancelled, who does not may not claim to know
says a "$(newest stop)|.phase==\"cancelled\" or (.phase==\"failed\" and (.error|test(\"failed or was cancelled\")))" true \
	"abort: it was cancelled, or libvirt did not say whether it was"
says b "$(newest stop)|.phase" failed "... and the destination failed"
is "$(on a domstate stop)/$(on b list --name --all)" "running/" "libvirt: it runs here, and not there"
at screen-a
see "... the screen" '^ [0-9:]+ stop +source +(failed|cancelled)'
on a destroy stop >/dev/null

# ------------------------------------------------------------------------------ the destination dies

tenant a lost 32 "16 8 0" || diag "the tenant does not start"
migrate lost a b --bandwidth 8
says a "$(newest lost)|[.phase,.iterations>=2]|tostring" '["precopy",true]' "dying destination: it goes on"
says b "$(newest lost)|.phase" precopy "... on both sides"
host_kill b
wait_gone "$SPAWNED" "$LIMIT"
[ -s "$TMP/migrate.lost" ]
ok $? "virsh migrate complains"
# libvirt cancels what cannot go on, if QEMU did not notice before
says a "$(newest lost)|.phase|IN(\"failed\",\"cancelled\")" true "the source: it failed"
is "$(on a domstate lost)" running "libvirt: the guest runs where it was"
says b '.libvirt.ok' false "what watched the destination says that its libvirt is lost"
at screen-b
see "... as does its screen" 'connection to libvirt is lost|libvirt does not (answer|run)'
host_start b 2
says b '.libvirt.ok' true "the host comes back, and is seen"
says b "$(newest lost)|.phase" failed "... and what became of the migration"
for h in a b; do
	is "$(report $h '[.totals[]|[.vm,.completed,.failed+.cancelled]]|tostring')" \
		'[["auto",1,0],["conv",2,0],["lost",0,1],["post",1,0],["stop",0,1]]' "$h's totals"
done

# ---------------------------------------------------------------------------- a daemon that hangs

hung=$(daemon_of a)
like "$hung" '^[0-9]+$' "a's libvirtd"
kill -STOP "$hung"
n=$(wc -l <"$TMP/a.json")
spawn "$TOP" --standalone -b --format json -d 0.3 --libvirt "$TMP/a/libvirt-sock-ro" >"$TMP/new.json" 2>"$TMP/new.err"
new=$SPAWNED
poll "$LIMIT" more_lines "$TMP/new.json" 5
ok $? "libvirtd hangs: a new iho-top reports"
is "$(report new '[.libvirt.on,.libvirt.ok,(.libvirt.text|test("waits for libvirt"))]|tostring')" '[true,false,true]' \
	"... and says that libvirt does not answer"
poll "$LIMIT" more_lines "$TMP/a.json" $((n + 5))
ok $? "... and the old one goes on"
says a '.libvirt.ok' false "... and says so, too, when it has waited long enough"
scraped "... ihod and the exporter answer" 'iho_up 1' 'iho_migrations_total{vm="conv",result="completed"} 2' \
	'iho_migrations_total{vm="auto",result="completed"} 1' 'iho_migrations_total{vm="post",result="completed"} 1'
at screen-a
key 1
see "... the screen still takes keys" '^ iho-top +1 Overview'
key 5
see "... and shows what it knows" '^ [0-9:]+ lost +source +(failed|cancelled)' 'libvirt does not answer'
kill "$new"
wait_gone "$new" "$LIMIT"
ok $? "... and a new one ends when it shall"
kill -CONT "$hung"
says a '.libvirt.ok' true "libvirtd goes on, and is heard again"
for h in a b; do
	at screen-$h
	key q
	ended "screen of $h" 0
	quiet "screen of $h"
	kill "${WATCH[$h]}"
	wait_gone "${WATCH[$h]}" "$LIMIT"
	is "$(cat "$TMP/$h.json.err")" "" "$h: nothing on stderr"
	obeys_schema $h
	ok $? "$h: what it printed obeys the schema"
done
hosts_kill

# ------------------------------------------------------------------------------------ without libvirt

# Each with a monitor for us, and one for who drives it
qemu() {
	spawn qemu-system-x86_64 -name "$1" -machine pc -accel tcg -m 32 -nodefaults -display none -kernel "$GUEST" \
		-append "$2" -serial "file:$TMP/$1.serial" -qmp "unix:$TMP/$1.ours,server=on,wait=off" \
		-qmp "unix:$TMP/$1.theirs,server=on,wait=off" "${@:3}" >"$TMP/$1.out" 2>&1
	poll "$LIMIT" test -S "$TMP/$1.theirs" || diag "$(cat "$TMP/$1.out")"
}
qmp() { /usr/bin/python3 tests/migration/qmp.py "$TMP/$1.theirs" "${@:2}"; }
qmp_says() { qmp "$1" query-migrate | jq -r "$2"; }

qemu one "16 8 0"
qemu two "16 8 0" -incoming "unix:$TMP/wire"
poll "$LIMIT" test -s "$TMP/one.serial"
watch qmp --libvirt off --qmp "$TMP/one.ours" --qmp "$TMP/two.ours"
says qmp '[.libvirt.on,.qmp.on,.qmp.ok]|tostring' '[false,true,true]' "QMP: the monitors answer, libvirt is not asked"
screen qmp --libvirt off --qmp "$TMP/three.ours"
see "QMP: a monitor that is not there" 'three.ours: '

qmp one migrate-set-parameters '{"max-bandwidth":8388608,"downtime-limit":300}' >/dev/null
qmp one migrate "{\"uri\":\"unix:$TMP/wire\"}" >/dev/null
says qmp "$(newest one)|[.role,.via,.phase]|tostring" '["source","qmp","precopy"]' "QMP: precopy"
says qmp "$(newest two)|[.role,.phase]|tostring" '["destination","precopy"]' "QMP: the destination"
is "$(report qmp "$(newest one)|.downtime_limit_s")" 0.3 "... with its downtime limit"
is "$(qmp_says one .status)" active "query-migrate: active"
qmp one migrate_cancel >/dev/null
says qmp "$(newest one)|.phase" cancelled "QMP: cancelled"
is "$(qmp_says one .status)" cancelled "query-migrate: cancelled"
# a destination that was left ends by itself
says qmp "$(newest two)|.phase" failed "... the destination ends with it"

qemu three "16 8 0" -incoming "unix:$TMP/wire3"
at screen-qmp
see "a monitor that was named before it was there" 'three.ours answers'
qmp one migrate "{\"uri\":\"unix:$TMP/wire3\"}" >/dev/null
says qmp "$(newest one)|.phase" precopy "QMP: once more"
qmp one migrate-set-parameters '{"max-bandwidth":1073741824,"downtime-limit":2000}' >/dev/null
says qmp "$(newest one)|.phase" completed "QMP: completed"
qmp one query-migrate >"$TMP/facts"
is "$(jq -c '[.status,.ram.transferred,.ram.normal,.ram.duplicate,.ram["dirty-sync-count"],.["total-time"],.downtime]' "$TMP/facts")" \
	"$(report qmp "$(newest one)|[.phase,.transferred_bytes,.normal_pages,.zero_pages,.iterations,(.elapsed_s*1000|round),(.downtime_actual_s*1000|round)]|tostring")" \
	"... with QEMU's own numbers"
is "$(qmp three query-status | jq -r .status)" running "the guest runs there"
see "... the screen of who watches the destination" '^ [0-9:]+ three +destination +completed'
is "$(report qmp '[.totals[]|[.vm,.completed,.failed,.cancelled]]|tostring')" '[["one",1,0,1],["two",0,1,0]]' "QMP: totals"
key q
ended "screen of QMP" 0
done_testing
