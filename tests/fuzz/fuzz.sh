#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fuzz.sh SECONDS [TARGET...]: runs the fuzz targets named, or all, that long in all, two at a time; with
# fuzz_http, the exporter itself is then fed broken requests for a tenth of it. What was found stays in build/fuzz/found. Inputs that a
# run finds to be new are kept in build/fuzz/NAME, where the next run begins.
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=${1:?usage: fuzz.sh SECONDS [TARGET...]}
case $seconds in *[!0-9]* | '') echo "fuzz.sh: \"$seconds\" is no number of seconds" >&2; exit 2 ;; esac
shift

targets=("$@")
if [ $# = 0 ]; then
	for t in tests/fuzz/fuzz_*.c; do
		targets+=("$(basename "$t" .c)")
	done
fi
# two run side by side, so each may have twice its share of the time
each=$((2 * seconds / ${#targets[@]}))
[ "$each" -le "$seconds" ] || each=$seconds
[ "$each" -ge 1 ] || each=1
mkdir -p build/fuzz/found

run() {
	local t=$1 name=${1#fuzz_} dict=()
	[ -f "tests/fuzz/$name.dict" ] && dict=("-dict=tests/fuzz/$name.dict")
	mkdir -p "build/fuzz/$name"
	if build/fuzz/"$t" -max_total_time="$each" -timeout=10 -rss_limit_mb=1024 -max_len=16384 \
		-print_final_stats=1 "${dict[@]}" -artifact_prefix="build/fuzz/found/$name-" \
		"build/fuzz/$name" "tests/fuzz/$name" >"build/fuzz/$t.log" 2>&1; then
		echo "$t: $each s, $(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$t.log") inputs"
	else
		tail -n 30 "build/fuzz/$t.log"
		echo "$t: FAILED, see build/fuzz/$t.log"
		return 1
	fi
}

status=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
	pids=()
	for t in "${targets[@]:i:2}"; do
		run "$t" &
		pids+=($!)
	done
	for p in "${pids[@]}"; do
		wait "$p" || status=1
	done
done
if [ -x build/san/iho-exporter ] && [[ " ${targets[*]} " == *' fuzz_http '* ]]; then
	python3 tests/fuzz/http_hammer.py build/san/iho-exporter $((seconds / 10 > 0 ? seconds / 10 : 1)) || status=1
fi
exit $status
