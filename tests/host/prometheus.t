#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The real Prometheus with our rules loaded scrapes hosts from paper, whose numbers and conditions are
# known: every expression of every dashboard, rule and alert has an answer; exactly the alerts of the
# provoked conditions fire; what was served is what is stored, sample by sample.
#
# So that this takes seconds, ranges, intervals and `for:` of the rules are shortened (short.sh); their
# thresholds are the real ones. With their own times they are tested by promtool (tests/lint/dashboards.t).
. "$(dirname "$0")/../tap.sh"
command -v prometheus >/dev/null || skip_all "no prometheus"

P=tests/prometheus

# live LIMIT NAME VERB...: one test, which lists what is still wrong after LIMIT seconds
live() {
	local limit=$1 name=$2 out
	shift 2
	out=$(/usr/bin/python3 $P/live.py --limit "$limit" "http://127.0.0.1:$PORT" "$@")
	ok $? "$name" || diag "$out"
}

# A free port of loopback. Another may take it before Prometheus does: then that one ends, and we take the next.
free_port() { /usr/bin/python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
prometheus_ready() { gone "$PROMETHEUS" || curl -sf "http://127.0.0.1:$PORT/-/ready" >/dev/null; }
prometheus_start() {
	local i
	for i in 1 2 3; do
		PORT=$(free_port)
		spawn prometheus --config.file="$TMP/prometheus.yml" --storage.tsdb.path="$TMP/db$i" \
			--web.listen-address="127.0.0.1:$PORT" --log.level=warn 2>"$TMP/prometheus.err"
		PROMETHEUS=$SPAWNED
		poll 60 prometheus_ready
		gone "$PROMETHEUS" || return 0
	done
	diag "prometheus does not start:" "$(tail -5 "$TMP/prometheus.err")"
	return 1
}

spawn /usr/bin/python3 $P/fake_exporter.py --vms 2 --vcpus 2 >"$TMP/fake.port"
poll 20 test -s "$TMP/fake.port" || exit 1
FAKE=$(cat "$TMP/fake.port")

bash $P/short.sh "$TMP"
is "$(diff <(grep -hvE '^ *(interval|for):' dashboards/prometheus/iho.*.yml | sed -E 's/\[[0-9]+m\]//g') \
	<(grep -hvE '^ *(interval|for):' "$TMP"/iho.*.yml | sed -E 's/\[[0-9]+s\]//g'))" "" \
	"the shortened rules differ from the real ones in times only"
mkdir "$TMP/targets"
# port 1: nobody listens there
echo '[{"targets": ["127.0.0.1:1"], "labels": {"instance": "nobody"}}]' >"$TMP/targets/a.json"
cat >"$TMP/prometheus.yml" <<END
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [iho.rules.yml, iho.alerts.yml]
scrape_configs:
  - job_name: iho
    file_sd_configs: [{files: [targets/*.json]}]
    http_sd_configs: [{url: "http://127.0.0.1:$FAKE/sd"}]
END
prometheus_start || exit 1

live 30 "file_sd and http_sd name the hosts" targets healthy software provoked silent nobody
live 60 "every expression of every panel, variable, rule and alert has an answer" evaluate
live 60 "provoked: exactly the alerts of what was provoked" firing provoked \
	IhoCollectorRestarted IhoEventsLost IhoSlotsNearlyUsed IhoSeriesDropped IhoBillIncomplete IhoExitStorm \
	IhoUserExitStorm IhoVcpuStarved IhoInterloper IhoApicvInhibited IhoApicvFlapping IhoHaltPollWaste \
	IhoMigrationNotConverging IhoMigrationFailed
live 30 "no collector: that alert, and no other" firing silent IhoCollectorDown
live 30 "no exporter: that alert, and no other" firing nobody IhoExporterDown
live 0 "the texts of all of them are filled in" texts
live 0 "a panel that is empty on a software KVM says so" degrade software
live 10 "every rule is evaluated without an error" rules
live 0 "healthy: no alert has ever fired" silent 'instance="healthy"'
live 0 "healthy software KVM: no alert has ever fired" silent 'instance="software"'

curl -sf "http://127.0.0.1:$FAKE/freeze" >/dev/null
for i in healthy software provoked silent; do
	[ $i = silent ] && least=5 || least=100
	live 20 "$i: what is served is what is stored" stored $i "http://127.0.0.1:$FAKE/$i/metrics" $least
done
grep -vE 'level=(warn|info)' "$TMP/prometheus.err" >"$TMP/errors"
is "$(head -5 "$TMP/errors")" "" "prometheus reports no error"
done_testing
