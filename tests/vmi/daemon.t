#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Statements about a guest through ihod: who may ask, the same rows as without it, limits, subscriptions, the audit log,
# and what happens when a client, a worker, the VM or ihod is killed. One kernel: what ihod does is the same for all.
# shellcheck disable=SC2016 # jq has variables of its own
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
need_root
make --no-print-directory -s programs >&2 || exit 1
guest_build || exit 1
SOCK=$TMP/ihod.sock AUDIT=$TMP/audit.jsonl
# Who may not read the sources' folder needs the programs elsewhere
chmod 755 "$TMP"
cp "$B/ihod" "$B/iho-query" tests/vmi/daemon_client.py "$TMP/"
Q=$TMP/iho-query
allowed=(setpriv --reuid nobody --regid nogroup --groups "$(getent group daemon mail | cut -d: -f3 | paste -sd,)")
reader=(setpriv --reuid games --regid nogroup --groups "$(getent group daemon | cut -d: -f3)")
client() { timeout 300 /usr/bin/python3 "$TMP/daemon_client.py" "$SOCK" "$@" 2>&1; }

answers() { client status >/dev/null; }
ihod() {
	spawn "$TMP/ihod" --socket "$SOCK" --group daemon --audit "$AUDIT" --no-cost --libvirt off "$@" \
		</dev/null 2>"$TMP/ihod.err"
	IHOD=$SPAWNED
	poll 60 answers || { diag "ihod does not answer:" "$(cat "$TMP/ihod.err")"; exit 1; }
}
# the processes of ihod's introspection: launcher, brokers, their workers
launcher() { pgrep -P "$IHOD" -x ihod-launcher; }
brokers() { pgrep -P "$(launcher)"; }
worker() { pgrep -P "$(brokers | head -n 1)"; }
# logged FILTER: a line of the audit log
logged() { jq -se "any(.[]; $1)" "$AUDIT" >/dev/null; }
workers_are() { [ "$(brokers | wc -l)" = "$1" ]; }

guest_start g 6.12 || exit 1
vm=$GUEST_PID

# off by default
ihod
like "$(client query "$vm" 'SELECT 1')" '"code": "introspection-off"' "off by default"
is "$(launcher)" "" "and then nothing that could look into a guest"
ok "$(logged '.event == "refused" and .outcome == "introspection-off" and .sql == "SELECT 1" and .uid == 0'; echo $?)" \
	"and in the log all the same"
like "$("${reader[@]}" "$Q" --socket "$SOCK" --vm "$vm" ps 2>&1)" 'without --introspection' "iho-query says so"
kill "$IHOD"
wait_gone "$IHOD" 30
ihod --introspection mail

# the same rows
sql="SELECT pid, parent, name, cmdline, uid FROM processes ORDER BY pid"
guest_freeze g
"$Q" --standalone --vm "$vm" --format json "$sql" >"$TMP/direct" 2>"$TMP/err"
ok $? "without ihod" || diag "$(cat "$TMP/err")"
"${allowed[@]}" "$Q" --socket "$SOCK" --vm "$vm" --format json "$sql" >"$TMP/through" 2>"$TMP/err"
ok $? "through it, as nobody" || diag "$(cat "$TMP/err")"
[ "$(jq length "$TMP/direct")" -gt 20 ]
ok $? "the guest has processes"
is "$(cat "$TMP/through")" "$(cat "$TMP/direct")" "the same rows"
like "$("${allowed[@]}" "$Q" --socket "$SOCK" --vm "$vm" --about)" 'asked_through.*ihod' "--about says which it was"
like "$("$Q" --standalone --vm "$vm" --about)" 'asked_through.*its own' "and without ihod"
guest_qmp g cont >/dev/null
like "$(grep ^Uid: "/proc/$(worker)/status")" '^Uid:.65534' "its worker is nobody"
like "$(cat "/proc/$(worker)/status")" 'Seccomp:	2' "and under seccomp"
is "$(brokers | wc -l)" 1 "one for all of them"

# who may not
like "$("${reader[@]}" "$Q" --socket "$SOCK" --vm "$vm" ps 2>&1; echo $?)" 'does not let this user' \
	"who is not in the group is refused"
like "$("${reader[@]}" timeout 60 /usr/bin/python3 "$TMP/daemon_client.py" "$SOCK" query "$vm" 'SELECT 2')" \
	'"code": "not-allowed"' "by ihod"
ok "$(logged ".event == \"refused\" and .uid == $(id -u games) and .sql == \"SELECT 2\""; echo $?)" "and in the log"
ok "$(logged ".event == \"end\" and .uid == $(id -u nobody) and .outcome == \"ok\" and .vm == \"$vm\" and
	.rows == $(jq length "$TMP/direct") and .ms > 0"; echo $?)" "as what was answered, with its rows"
is "$(jq -rs 'map(select(.event == "asked") | .n) - map(select(.event == "end") | .n) | length' "$AUDIT")" 0 \
	"what was asked has ended"

# limits and errors
like "$(client query "$vm" 'SELECT nowhere')" '"code": "sql".*no such column' "a wrong statement"
like "$(client query "$vm" 'DELETE FROM processes')" '"code": "sql"' "nothing but reading"
like "$(client query nowhere 'SELECT 1')" '"code": "vm"' "no such VM"
like "$(client limits "$vm")" '^yes$' "rows, bytes and time can be limited; members are checked"
like "$(client crowd "$vm")" '^yes$' "four statements of one client, twelve of a user"
like "$(client cancel "$vm")" '^yes$' "a statement is cancelled, running or waiting"
like "$(client ids "$vm")" '^yes$' "identifiers"

# killed
like "$(client leave "$vm")" '^yes$' "clients that go, or read nothing, hold nobody up"
w=$(worker)
kill -9 "$w"
is "$("$Q" --socket "$SOCK" --vm "$vm" --format csv 'SELECT 3' | tail -n 1 | tr -d '\r')" 3 "a worker that died is replaced"
[ "$(worker)" != "$w" ]
ok $? "by another"

# subscriptions
spawn "$TMP/daemon_client.py" "$SOCK" subscribe "$vm" 0.2 \
	"SELECT name FROM processes WHERE name = 'newcomer'" </dev/null >"$TMP/events" 2>&1
poll 60 has_line "$TMP/events" '"event"'
ok $? "a subscription begins with what is there" || diag "$(cat "$TMP/events")"
guest_run g 'printf "#!/bin/sh\nwhile :; do sleep 1; done\n" >/run/newcomer; chmod 755 /run/newcomer
	/run/newcomer </dev/null >/dev/null 2>&1 & echo $! >/run/newcomer.pid'
poll 60 has_line "$TMP/events" '"added": \[\["newcomer"\]\]'
ok $? "a new process of the guest" || diag "$(cat "$TMP/events")"
guest_run g 'kill "$(cat /run/newcomer.pid)"'
poll 60 has_line "$TMP/events" '"removed": \[\["newcomer"\]\]'
ok $? "and its end" || diag "$(cat "$TMP/events")"
like "$(client results "$vm")" '^yes$' "each result, where that is wanted; cancelled"

# a log that cannot be written
mv "$AUDIT" "$AUDIT.old"
mkdir "$AUDIT"
like "$(client query "$vm" 'SELECT 4')" '"code": "audit"' "no log, no statement"
rmdir "$AUDIT"
like "$(client query "$vm" 'SELECT 4')" '"rows": \[\[4\]\]' "until there is one again"
truncate -s 9M "$AUDIT"
client query "$vm" 'SELECT 5' >/dev/null
is "$(stat -c %s "$AUDIT.1")" 9437184 "a large log is put aside"
ok "$(logged '.sql == "SELECT 5"'; echo $?)" "and another begun"

# the VM goes
guest_stop g
poll 60 workers_are 0
ok $? "the VM's worker ends with it"
poll 60 has_line "$TMP/events" '"code": "guest"'
ok $? "and the subscription, with an error" || diag "$(cat "$TMP/events")"
like "$(client status)" '"introspection"' "ihod answers as before"
l=$(launcher)
kill -9 "$IHOD"
poll 30 test ! -e "/proc/$l"
ok $? "ihod killed: nothing of it stays"
done_testing
