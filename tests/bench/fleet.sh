#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a fleet costs the Prometheus that watches it:
#
#	make bench-fleet [HOSTS=N]
#
# counts the series of a host of 64 vCPUs, and of 1,000 of them on paper; then lets the real Prometheus,
# with the rules as they are shipped, scrape as many simulated hosts as this machine bears (or HOSTS), and
# asks it the fleet's questions with and without the recording rules. Some three minutes. Figures of time and
# memory are of this machine and share it with the simulated hosts; ratios and counts travel.
# Everything is kept in build/bench-fleet.json.
set -u
cd "$(dirname "$0")/../.." || exit 1
export LC_ALL=C
command -v prometheus >/dev/null || {
	echo "bench-fleet: needs prometheus" >&2
	exit 1
}
mkdir -p build
TMP=$(mktemp -d)
PID=
cleanup() {
	[ -z "$PID" ] || kill "$PID" 2>/dev/null
	[ -z "$PID" ] || wait "$PID"
	rm -rf "$TMP"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
/usr/bin/python3 tests/bench/fleet.py --dir "$TMP" --json build/bench-fleet.json ${HOSTS:+--hosts "$HOSTS"} &
PID=$!
wait "$PID"
STATUS=$?
PID=
exit $STATUS
