#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make dashboards-demo [PAPER=1]: Prometheus, and Grafana where it is installed, with everything of
# this folder loaded, on loopback, until Ctrl-C. They show this host, with a small demo tenant; where that
# cannot be, or with PAPER=1, also hosts from paper: one of each kind that the tests use.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
B=build
TMP=$(mktemp -d)
PIDS=()

cleanup() {
	local p
	trap - INT TERM
	for p in "${PIDS[@]}"; do kill "$p" 2>/dev/null; done
	for p in "${PIDS[@]}"; do wait "$p" 2>/dev/null; done
	rm -rf "$TMP"
}
trap cleanup EXIT
trap 'exit 0' INT TERM
die() {
	echo "dashboards-demo: $*" >&2
	exit 1
}
spawn() { # spawn LOG COMMAND...: in the background; its pid is $SPAWNED
	local log=$1
	shift
	"$@" >"$TMP/$log.out" 2>"$TMP/$log.err" &
	SPAWNED=$!
	PIDS+=("$SPAWNED")
}
poll() { # poll SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}
# The first free port from $1 on
free_port() {
	/usr/bin/python3 - "$1" <<-'END'
		import socket, sys
		for port in range(int(sys.argv[1]), int(sys.argv[1]) + 100):
		    with socket.socket() as s:
		        try:
		            s.bind(("127.0.0.1", port))
		        except OSError:
		            continue
		        print(port)
		        break
	END
}

# This host: the exporter, which asks ihod where that runs and else, as root, hosts the collector itself
here() {
	[ -x $B/iho-exporter ] || { echo "iho-exporter is not built" && return 1; }
	[ "$(id -u)" = 0 ] || [ -S /run/iho/ihod.sock ] || { echo "not root, and no ihod runs" && return 1; }
	EXPORTER=$(free_port 9978)
	spawn exporter $B/iho-exporter --listen "127.0.0.1:$EXPORTER"
	poll 30 curl -sf "http://127.0.0.1:$EXPORTER/-/healthy" || { cat "$TMP/exporter.err" && return 1; }
	TARGETS+=("{\"targets\": [\"127.0.0.1:$EXPORTER\"], \"labels\": {\"instance\": \"$(uname -n)\"}}")
	if [ -w /dev/kvm ]; then
		spawn demo $B/iho-demo --name demo --die-with-parent
	else
		echo "no demo tenant: no access to /dev/kvm"
	fi
}

paper() {
	spawn paper /usr/bin/python3 tests/prometheus/fake_exporter.py --vms 3 --vcpus 4
	poll 20 test -s "$TMP/paper.out" || die "the hosts from paper do not start"
	for kind in healthy software provoked silent; do
		TARGETS+=("{\"targets\": [\"127.0.0.1:$(cat "$TMP/paper.out")\"], \"labels\": {\"instance\":
			\"paper-$kind\", \"__metrics_path__\": \"/$kind/metrics\"}}")
	done
}

grafana() {
	local home=/usr/share/grafana
	GRAFANA=$(free_port 3000)
	export IHO_PROMETHEUS_URL=http://127.0.0.1:$PROMETHEUS IHO_DASHBOARDS=$PWD/dashboards/grafana
	export GF_SERVER_HTTP_ADDR=127.0.0.1 GF_SERVER_HTTP_PORT=$GRAFANA GF_PATHS_DATA=$TMP/grafana \
		GF_PATHS_PROVISIONING=$PWD/dashboards/grafana/provisioning GF_AUTH_ANONYMOUS_ENABLED=true \
		GF_AUTH_ANONYMOUS_ORG_ROLE=Admin GF_ANALYTICS_REPORTING_ENABLED=false \
		GF_ANALYTICS_CHECK_FOR_UPDATES=false
	[ -d "$home" ] || home=$(dirname "$(dirname "$(readlink -f "$(command -v grafana-server)")")")
	spawn grafana grafana-server --homepath "$home"
	poll 90 curl -sf "http://127.0.0.1:$GRAFANA/api/health" || { cat "$TMP/grafana.out" && return 1; }
	echo "Grafana     http://127.0.0.1:$GRAFANA/d/iho-fleet"
}

command -v prometheus >/dev/null || die "prometheus is not installed"
TARGETS=()
here || PAPER=1
[ -z "${PAPER-}" ] || paper

cp -r dashboards/prometheus "$TMP/prometheus"
(
	IFS=,
	echo "[${TARGETS[*]}]"
) >"$TMP/prometheus/targets/example.json"
# As shipped, but for the inventory, which is not there, and for the pace
sed -i -e '/http_sd_configs:/,/refresh_interval/d' -e '/relabel_configs:/,$d' -e 's/scrape_interval: 15s/scrape_interval: 5s/' \
	-e 's/evaluation_interval: 30s/evaluation_interval: 5s/' "$TMP/prometheus/prometheus.yml"
sed -i 's/interval: 30s/interval: 5s/' "$TMP/prometheus/iho.rules.yml"
PROMETHEUS=$(free_port 9090)
spawn prometheus prometheus --config.file="$TMP/prometheus/prometheus.yml" --storage.tsdb.path="$TMP/db" \
	--web.listen-address="127.0.0.1:$PROMETHEUS" --log.level=warn
poll 60 curl -sf "http://127.0.0.1:$PROMETHEUS/-/ready" || die "prometheus does not start: $(tail -3 "$TMP/prometheus.err")"
echo "Prometheus  http://127.0.0.1:$PROMETHEUS/alerts   rules and alerts loaded, scraping every 5 s"
if command -v grafana-server >/dev/null; then
	grafana || die "grafana-server does not start"
else
	echo "Grafana is not installed here (Debian has no package). In one of yours: Dashboards, New, Import, each of"
	echo "dashboards/grafana/iho-*.json; as data source a Prometheus with the rules of dashboards/prometheus."
fi
echo "Ctrl-C ends all of it"
wait
