#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What --format json prints is what --json-schema promises; the other formats agree with it.
. "$(dirname "$0")/../tap.sh"
need_root
need_kvm

"$TOP" --json-schema >"$TMP/schema"
cat >"$TMP/validate.py" <<'PY'
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
errors = 0
for n, line in enumerate(open(sys.argv[2]), 1):
    for e in validator.iter_errors(json.loads(line)):
        best = jsonschema.exceptions.best_match([e])
        print(f"# line {n}: {list(best.absolute_path)}: {best.message[:200]}")
        errors += 1
sys.exit(errors > 0)
PY
validate() { /usr/bin/python3 "$TMP/validate.py" "$TMP/schema" "$1"; }

"$TOP" --format json -n 2 -d 0.2 >"$TMP/idle"
validate "$TMP/idle"
ok $? "reports without our tenant validate"

demo all --vcpus 3 --script "mark,out:0x3f8:100,in:0x3fd:10,mmio-write:0xd0000000:50,mmio-read:0xd0001000:5,wrmsr:0x8b:20,rdmsr:0x8b:20,cpuid:0:10,cpuid:7:10,hlt:20:200,sleep:1,busy:2,loop:1000000" || exit 1
"$TOP" --format json -n 3 -d 0.4 >"$TMP/busy"
validate "$TMP/busy"
ok $? "reports with a tenant that does everything validate"
is "$(wc -l <"$TMP/busy")" 3 "one line an iteration"
"$TOP" --format json --nonsense >"$TMP/err"
validate "$TMP/err"
ok $? "an error validates"
# The test can fail: a report with a field too much, or one too few, is refused
head -n 1 "$TMP/busy" | jq -c '.vms[0].vcpus[0].surprise=1' >"$TMP/bad"
! validate "$TMP/bad" >/dev/null
ok $? "an unknown field does not validate"
head -n 1 "$TMP/busy" | jq -c 'del(.vms[0].vcpus[0].tid)' >"$TMP/bad"
! validate "$TMP/bad" >/dev/null
ok $? "a missing field does not validate"

vm='.vms[]|select(.name=="all")'
last=$(tail -n 1 "$TMP/busy")
is "$(jq "$vm|.vcpus|length" <<<"$last")" 3 "three vCPUs"
is "$(jq -c "[$vm|.vcpus[].id]" <<<"$last")" '[0,1,2]' "numbered as KVM numbers them"
is "$(jq "[$vm|.vcpus[]|([.bill_ns[]]|add) - .wall_ns|fabs > (0.01*3e9)]|any" <<<"$last")" false "bills sum to the wall time"
is "$(jq "$vm|[.vcpus[].userspace_exits_total]|add" <<<"$last")" "$(jq "$vm|.userspace_exits_total" <<<"$last")" \
	"the VM's total is the sum of its vCPUs"
is "$(jq "$vm|[.vcpus[].drill.msr[].total]|add" <<<"$last")" "$(jq "$vm|[.drill.msr[].total]|add" <<<"$last")" \
	"so is its drill-down"
is "$(jq -s "[.[]|$vm|.userspace_exits_delta]|add <= (.[2]|$vm|.userspace_exits_total)" --compact-output <<<"$(cat "$TMP/busy")" 2>/dev/null ||
	jq -s '([.[]|.vms[]|select(.name=="all")|.userspace_exits_delta]|add) <= (.[-1]|.vms[]|select(.name=="all")|.userspace_exits_total)' "$TMP/busy")" \
	true "deltas never exceed the total"
is "$(jq -s '[.[]|.vms[]|select(.name=="all")|.userspace_exits_total] | . == sort' "$TMP/busy")" true "totals only grow"

# CSV: a header, a line for each vCPU and iteration, the same columns everywhere
"$TOP" --format csv -n 2 -d 0.2 --vm all >"$TMP/csv"
is "$(wc -l <"$TMP/csv")" 7 "CSV: header and 3 vCPUs twice"
is "$(awk -F, '{print NF}' "$TMP/csv" | sort -u | wc -l)" 1 "CSV: as many fields in every line"
"$TOP" -n 1 -d 0.2 --vm all | cat >"$TMP/table"
like "$(cat "$TMP/table")" '^all +[0-9]+ +2 ' "no terminal: a table, all by itself"
like "$(cat "$TMP/table")" '^self: cpu ' "table: own cost and losses"

# A name with everything in it: quotes, commas, control characters, bytes that are no UTF-8
kill "$DEMO_PID"
wait_gone "$DEMO_PID" 10
nasty=$'a"b,c\x1b[3\xff\xfe'
cp "$DEMO" "$TMP/$nasty" # an unknown VMM is named by its comm
spawn "$TMP/$nasty" --announce --script "out:0x80:100,hlt:10,loop" >"$TMP/n.out"
poll 30 has_line "$TMP/n.out" '^ready'
"$TOP" --format json -n 1 -d 0.3 --vm "$SPAWNED" >"$TMP/nasty"
validate "$TMP/nasty"
ok $? "a hostile name gives valid JSON"
is "$(jq '.vms|length' "$TMP/nasty")" 1 "... and is found by its pid"
"$TOP" --format csv -n 1 -d 0.3 --vm "$SPAWNED" >"$TMP/nasty.csv"
/usr/bin/python3 -c 'import csv,sys; r=list(csv.reader(open(sys.argv[1],errors="replace"))); sys.exit(len(set(map(len,r)))!=1 or len(r)!=3)' "$TMP/nasty.csv"
ok $? "... and valid CSV"
! grep -q $'\x1b' "$TMP/nasty.csv" && ! "$TOP" -n 1 -d 0.3 | cat | grep -q $'\x1b'
ok $? "... and no escape sequence reaches the terminal"

# --features as JSON
"$TOP" --features --format json >"$TMP/f"
is "$(jq -r .schema "$TMP/f")" iho-features/1 "--features as JSON"
is "$(jq '[.features[]|select(.present|not)|.cost==""]|any' "$TMP/f")" false "what is missing has its cost"
is "$(jq '[.features[]|select(.name=="sched_switch").used]|all' "$TMP/f")" true "what is used is said"
# every tracepoint of the one list is there
n=$(grep -c '^	X(' bpf/events.h)
is "$(jq '[.features[]|select(.detail=="kvm" or .detail=="sched" or .detail=="irq")]|length' "$TMP/f")" "$n" "all $n tracepoints are listed"
done_testing
