#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The fuzz targets but those of vmi/, 60 s in all, and broken requests to the exporter itself. `make fuzz`
# takes longer.
. "$(dirname "$0")/../tap.sh"
need_root

make --no-print-directory fuzzers >"$TMP/build" 2>&1
ok $? "the fuzz targets build" || diag "$(tail -20 "$TMP/build")"

targets=()
for t in tests/fuzz/fuzz_*.c; do
	case $t in */fuzz_vmi*) ;; *) targets+=("$(basename "$t" .c)") ;; esac
done
n=${#targets[@]}
tests/fuzz/fuzz.sh 60 "${targets[@]}" >"$TMP/fuzz" 2>&1
ok $? "nothing was found" || diag "$(tail -60 "$TMP/fuzz")"
diag "$(cat "$TMP/fuzz")"
is "$(grep -cE '^fuzz_[a-z]*: [0-9]+ s, [1-9][0-9]{3,} inputs' "$TMP/fuzz")" "$n" "each of the $n targets tried thousands of inputs"
like "$(cat "$TMP/fuzz")" 'http_hammer: [1-9][0-9]+ connections' "the exporter took broken requests"
done_testing
