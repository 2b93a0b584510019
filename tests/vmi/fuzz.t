#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The fuzz targets of vmi/, 60 s in all: guest memory, and the files and messages that are parsed beside
# it. `make fuzz` takes longer.
. "$(dirname "$0")/../tap.sh"

make --no-print-directory fuzzers >"$TMP/build" 2>&1
ok $? "the fuzz targets build" || diag "$(tail -20 "$TMP/build")"

targets=()
for t in tests/fuzz/fuzz_vmi*.c; do
	targets+=("$(basename "$t" .c)")
done
tests/fuzz/fuzz.sh 60 "${targets[@]}" >"$TMP/fuzz" 2>&1
ok $? "nothing was found" || diag "$(tail -60 "$TMP/fuzz")"
diag "$(cat "$TMP/fuzz")"
is "$(grep -cE '^fuzz_vmi[a-z_]*: [0-9]+ s, [1-9][0-9]{2,} inputs' "$TMP/fuzz")" "${#targets[@]}" \
	"each of the ${#targets[@]} targets tried hundreds of inputs"
done_testing
