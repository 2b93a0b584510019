#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Dashboards, rules and alerts, as far as they can be judged without a running Prometheus; with one:
# tests/host/prometheus.t.
. "$(dirname "$0")/../tap.sh"
command -v promtool >/dev/null || skip_all "no promtool"

D=dashboards/prometheus P=tests/prometheus

# command_ok NAME COMMAND...: one test
command_ok() {
	local name=$1
	shift
	"$@" >"$TMP/out" 2>&1
	ok $? "$name" || diag "$(head -40 "$TMP/out")"
}

command_ok "promtool: the recording rules" promtool check rules --lint=all --lint-fatal $D/iho.rules.yml
command_ok "promtool: the alert rules" promtool check rules --lint=all --lint-fatal $D/iho.alerts.yml
command_ok "promtool: the example configuration" promtool check config $D/prometheus.yml
command_ok "promtool: the federating one" promtool check config $D/federation.yml
command_ok "promtool: each alert fires above its threshold, and is silent below" promtool test rules $P/iho.test.yml
command_ok "the dashboards are what their generator writes" /usr/bin/python3 dashboards/grafana/generate.py --check
command_ok "layout, units, descriptions, links, names, runbooks, unit tests" /usr/bin/python3 $P/static.py

for kind in healthy software provoked silent; do
	/usr/bin/python3 $P/fake_exporter.py --body --kind $kind >"$TMP/body"
	promtool check metrics <"$TMP/body" >"$TMP/out" 2>&1
	ok $? "promtool: what the host from paper serves ($kind)" || diag "$(head "$TMP/out")"
	is "$(awk '/^iho_exporter_series /{print $2}' "$TMP/body")" "$(grep -vc '^#' "$TMP/body")" \
		"the host from paper ($kind) counts its own series rightly"
done
done_testing
