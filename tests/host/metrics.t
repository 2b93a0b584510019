#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Those who read the metrics judge them: promtool, Prometheus' own parser of OpenMetrics, jq.
. "$(dirname "$0")/../tap.sh"

make --no-print-directory -s build/tests/test_metrics >&2 || exit 1
render() { build/tests/test_metrics "$1"; }

for what in prometheus big; do
	render $what >"$TMP/$what"
	is "$(promtool check metrics <"$TMP/$what" 2>&1)" "" "$what: promtool has nothing to say"
done
like "$(cat "$TMP/prometheus")" '^iho_vm_exit_duration_seconds_bucket\{.*le="\+Inf"\} 10$' "... about what is there"
# The test can fail
sed 's/^# HELP iho_up .*//' "$TMP/prometheus" | promtool check metrics >/dev/null 2>&1
is $? 3 "promtool misses a help text"
! (cat "$TMP/prometheus" "$TMP/prometheus" | promtool check metrics >/dev/null 2>&1)
ok $? "promtool refuses families that come twice"

cat >"$TMP/parse.py" <<'PY'
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
n = 0
for family in text_string_to_metric_families(sys.stdin.read()):
    for s in family.samples:
        n += 1
        if s.name in ("iho_vcpu_exits_total", "iho_collector_cpu_seconds_total", "iho_vm_info") or s.name.endswith("_sum"):
            print(s.name, family.type, family.unit or "-", sorted(s.labels.items()), s.value)
print("samples", n)
PY
render openmetrics >"$TMP/openmetrics"
/usr/bin/python3 "$TMP/parse.py" <"$TMP/openmetrics" >"$TMP/parsed"
ok $? "the OpenMetrics parser of Prometheus accepts it"
is "$(grep -v ' unknown ' "$TMP/parsed")" "iho_collector_cpu_seconds_total counter seconds [] 1.234567891
iho_vm_info info - [('pid', '100'), ('vm', 'web'), ('vmm', 'qemu')] 1
iho_vm_info info - [('pid', '200'), ('vm', 'café \"a\\\\b\"\\n\\\\xff\\\\x1b'), ('vmm', 'qemu')] 1
iho_vm_exit_duration_seconds_sum histogram seconds [('reason', 'HLT'), ('vm', 'web')] 60.000000001
iho_vcpu_exits_total counter - [('reason', 'HLT'), ('vcpu', '0'), ('vm', 'web')] 7
iho_vcpu_exits_total counter - [('reason', 'EPT_VIOLATION'), ('vcpu', '0'), ('vm', 'web')] 3
iho_vcpu_exits_total counter - [('reason', 'HLT'), ('vcpu', '1'), ('vm', 'web')] 8
iho_vcpu_exits_total counter - [('reason', 'EPT_VIOLATION'), ('vcpu', '1'), ('vm', 'web')] 3
samples $(grep -vc '^#' "$TMP/openmetrics")" "... and reads what we wrote"
! grep -v '^# EOF' "$TMP/openmetrics" | /usr/bin/python3 "$TMP/parse.py" >/dev/null 2>&1
ok $? "... and misses the end"

render json >"$TMP/json"
is "$(jq -r .schema "$TMP/json")" iho-metrics/1 "JSON"
is "$(jq '[.families[]|.samples[]|if .buckets then (.buckets|length)+2 else 1 end]|add' "$TMP/json")" \
	"$(grep -vc '^#' "$TMP/prometheus")" "... with the series that the text has"
is "$(jq -r '.families[]|select(.name=="iho_vm_info")|.samples[1].labels.vm' "$TMP/json")" \
	$'caf\xc3\xa9 "a\\b"\n\\xff\\x1b' "... and a hostile name unharmed"
done_testing
