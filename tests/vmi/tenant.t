#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest's tasks on iho-top's Tenant screen and in its JSON, and the table task_exits, of a guest
# without exits: QEMU's TCG runs it, so there is nothing to bill, and that is said.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
need_root
make --no-print-directory -s programs >&2 || exit 1
guest_build || exit 1
guest_start g "${KERNEL:-6.12}" smp=2 workload=off || exit 1
vm=$GUEST_PID

"$B/iho-query" --vm "$vm" --format json "SELECT *, missing FROM task_exits" >"$TMP/rows"
ok $? "task_exits"
is "$(jq -c '[.[].vcpu] | unique' "$TMP/rows")" '[0,1]' "both vCPUs"
is "$(jq -c '[group_by(.vcpu)[] | map(.share) | add | . * 1000 | round] | unique' "$TMP/rows")" '[1000]' \
	"each sample of a vCPU saw one task"
is "$(jq -c '[.[] | .exits, .reason, .certain] | unique' "$TMP/rows")" '[null]' "no exits are made up"
like "$(jq -r '.[0].missing' "$TMP/rows")" 'no vCPU of this VM' "and the reason is told"

"$B/iho-top" --format json -n 1 -d 1 --demo --tenant "$vm" >"$TMP/top" 2>"$TMP/err"
ok $? "iho-top --tenant" || diag "$(cat "$TMP/err")"
"$B/iho-top" --json-schema >"$TMP/schema"
/usr/bin/python3 -c 'import json, jsonschema, sys
jsonschema.validate(json.load(open(sys.argv[1])), json.load(open(sys.argv[2])))' "$TMP/top" "$TMP/schema"
ok $? "its JSON is as the schema says"
is "$(jq -r '.tenant.error' "$TMP/top")" null "the guest is looked into"
is "$(jq -r '.tenant.tasks[] | select(.tid == 0) | .name' "$TMP/top")" idle "its idle task"
is "$(jq -c '[.tenant.tasks[].exits_per_s] | unique' "$TMP/top")" '[null]' "without exits"
is "$("$B/iho-top" --format json -n 1 -d 1 --demo --tenant nosuch 2>/dev/null | jq -r .tenant.error)" \
	'no VM "nosuch" runs here' "a VM that is not there: said in the object"
"$B/iho-top" --format csv --tenant "$vm" >/dev/null 2>&1
is $? 2 "--tenant is for the screen and for JSON"

# without iho-query beside it; and the screen itself
cp "$B/iho-top" "$B/iho-demo" "$TMP/"
like "$("$TMP/iho-top" --format json -n 1 -d 1 --demo --tenant "$vm" 2>/dev/null | jq -r .tenant.error)" \
	'iho-query is not installed' "without iho-query: said in the object"
on_screen() { tmux -L "iho-$$" capture-pane -p -t t | grep -qE "$1"; }
no_worker() { ! pgrep -P "$1" -f -- --worker >/dev/null; }
trap 'tmux -L "iho-$$" kill-server 2>/dev/null; tap_cleanup' EXIT
tmux -L "iho-$$" -f /dev/null new-session -d -s t -x 120 -y 40 \
	"XDG_CONFIG_HOME=$TMP $B/iho-top -d 0.3 --demo --tenant $vm"
poll 60 on_screen '^ +0 +0 idle '
ok $? "the screen has the idle task" || diag "$(tmux -L "iho-$$" capture-pane -p -t t)"
poll 60 on_screen 'No exits: KVM on this host runs no vCPU'
ok $? "and says why there are no exits"
top=$(pgrep -f "^$B/iho-top -d 0.3 --demo --tenant $vm")
pgrep -P "$top" -f -- --worker >/dev/null
ok $? "by a worker of its own"
tmux -L "iho-$$" send-keys -t t 1
poll 60 on_screen '^VM  '
ok $? "another screen"
poll 60 no_worker "$top"
ok $? "ends the worker"
tmux -L "iho-$$" send-keys -t t g
poll 60 on_screen '^ +0 +0 idle |Looking into'
ok $? "its key opens it again"
tmux -L "iho-$$" send-keys -t t q
guest_stop g
done_testing
