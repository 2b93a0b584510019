#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The real Prometheus with our rules loaded scrapes hosts from paper, whose numbers and conditions are
# known: every expression of every dashboard, rule and alert has an answer; exactly the alerts of the
# provoked conditions fire; what was served is what is stored, sample by sample.
# Then two exporters of this host, real ones, with a real tenant each for what can be provoked here: its numbers
# are those of its script, its alerts fire, and a quiet tenant's never do.
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

# A view of this host: an ihod of its own, and an exporter that asks it and shows the tenants of this test:
# view_start NAME MAX-SERIES IHOD-OPTION...
declare -A IHOD EXPORTER
ihod_start() {
	local name=$1
	shift
	spawn "$B/ihod" --socket "$TMP/$name.sock" --group root "$@" 2>>"$TMP/$name.ihod"
	IHOD[$name]=$SPAWNED
}
view_start() {
	local name=$1 series=$2 at='127\.0\.0\.1:[0-9]+'
	shift 2
	ihod_start "$name" "$@"
	poll 60 test -S "$TMP/$name.sock" || diag "no ihod:" "$(cat "$TMP/$name.ihod")"
	spawn "$B/iho-exporter" --listen 127.0.0.1:0 --socket "$TMP/$name.sock" --vm "prom$$-*" \
		--max-series "$series" 2>"$TMP/$name.exporter"
	EXPORTER[$name]=$SPAWNED
	poll 60 has_line "$TMP/$name.exporter" "$at" || diag "no exporter:" "$(cat "$TMP/$name.exporter")"
	printf '[{"targets": ["%s"], "labels": {"instance": "%s"}}]\n' \
		"$(grep -oE "$at" "$TMP/$name.exporter" | head -n 1)" "$name" >"$TMP/targets/$name.json"
}
kill_hard() {
	kill -9 "$1"
	wait_gone "$1" 20
}
value() { /usr/bin/python3 $P/live.py "http://127.0.0.1:$PORT" value "$1"; }
# Prometheus has a scrape of that instance that was begun more than a second after this
scraped_since() { [ "$(value "floor(timestamp(iho_up{instance=\"$1\"}))")" -gt $(($2 + 1)) ]; }
fresh() {
	local now
	now=$(date +%s)
	poll 60 scraped_since "$1" "$now" || diag "no scrape of $1"
}

REAL=
if [ ! -x "$B/iho-exporter" ] || [ ! -x "$B/ihod" ]; then
	NO_REAL="iho-exporter and ihod are not built"
elif [ "$(id -u)" != 0 ] || [ ! -w /dev/kvm ]; then
	NO_REAL="not root, or no access to /dev/kvm"
else
	REAL=1
fi

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
if [ -n "$REAL" ]; then
	view_start real 0
	# room for one vCPU, and for few series
	view_start few 60 --max-vcpus 1
	LAST=$(($(nproc) - 1))
	# one wake-up a second, on another core than those that will be starved
	demo "prom$$-quiet" --vcpus 1 --pin 0 --script 'hlt:1000000:1000000' || exit 1
fi
prometheus_start || exit 1

live 30 "file_sd and http_sd name the hosts" targets healthy software provoked silent nobody ${REAL:+real few}
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

real_tests() {
	local quiet=prom$$-quiet exact=prom$$-exact storm=prom$$-storm starved=prom$$-starved v

	"$B/iho-exporter" --list-metrics >"$TMP/catalogue"
	live 0 "the families from paper are those of the exporter's catalogue" catalogue "$TMP/catalogue"
	fresh real
	is "$(value "count(count_over_time(iho_vcpu_state_seconds_total{instance=\"real\",vm=\"$quiet\"}[1h]) >= 5) > bool 5")" 1 \
		"real: the quiet tenant's states were scraped five times and more"
	# where others have tenants on this machine, more of them may wait for one core than are named
	live 0 "real, with a quiet tenant: no alert has ever fired" silent 'instance="real",cause!="waiters"'

	# Exactly what its script says; one OUT more for the end.
	demo "$exact" --vcpus 2 --linger --script 'mmio-write:0xd0000000:5000,out:0x3f8:7000' || return
	local pid=$DEMO_PID
	demo_done "$exact"
	fresh real
	for v in 0 1; do
		is "$(value "iho_vcpu_user_exits_total{instance=\"real\",vm=\"$exact\",vcpu=\"$v\",reason=\"KVM_EXIT_MMIO\"}")" 5000 \
			"real, vCPU $v: 5000 MMIO exits to the VMM"
		is "$(value "iho_vcpu_user_exits_total{instance=\"real\",vm=\"$exact\",vcpu=\"$v\",reason=\"KVM_EXIT_IO\"}")" 7001 \
			"real, vCPU $v: 7000 port exits to the VMM, and one for the end"
	done
	is "$(value "iho_vm_vcpus{instance=\"real\",vm=\"$exact\"}")" 2 "real: two vCPUs"
	is "$(value "count(iho_vm_info{instance=\"real\",vm=\"$exact\",pid=\"$pid\"})")" 1 "real: its process"
	kill "$pid"
	wait_gone "$pid" 20

	demo "$storm" --vcpus 1 --pin "$LAST" --script 'out:0x80:1000000,loop' || return
	pid=$DEMO_PID
	live 60 "real: a storm of exits to the VMM" fired "instance=\"real\",vm=\"$storm\"" IhoUserExitStorm
	live 30 "real: a panel that is empty on this host says so" degrade real
	kill "$pid"
	wait_gone "$pid" 20

	demo "$starved" --vcpus 1 --pin "$LAST" --script 'busy:1000,loop' || return
	for v in 1 2; do
		spawn taskset -c "$LAST" bash -c 'while :; do :; done'
	done
	live 60 "real: two busy tasks on its core starve a vCPU" fired "instance=\"real\",vm=\"$starved\"" \
		IhoVcpuStarved IhoInterloper

	live 60 "few: slots and series run out" fired 'instance="few"' IhoEventsLost IhoSlotsNearlyUsed IhoSeriesDropped
	kill_hard "${IHOD[few]}"
	ihod_start few --max-vcpus 1
	live 60 "few: a killed and restarted ihod is noticed" fired 'instance="few"' IhoCollectorRestarted
	[ $TAP_BAD = 0 ] || diag "ihod:" "$(tail -n 5 "$TMP/few.ihod")"
	kill_hard "${IHOD[few]}"
	live 60 "few: a killed ihod is noticed" fired 'instance="few"' IhoCollectorDown
	kill_hard "${EXPORTER[few]}"
	live 60 "few: a killed exporter is noticed" fired 'instance="few"' IhoExporterDown
	live 0 "real: no alert has ever fired for the quiet tenant" silent "instance=\"real\",vm=\"$quiet\""
	live 0 "real: none for the exporter and the collector" silent 'instance="real",vm="",cause!="waiters"'
}
if [ -n "$REAL" ]; then
	real_tests
else
	skip "$NO_REAL" "the real exporter"
fi

grep -vE 'level=(warn|info)' "$TMP/prometheus.err" >"$TMP/errors"
is "$(head -5 "$TMP/errors")" "" "prometheus reports no error"
done_testing
