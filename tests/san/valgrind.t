#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The collector and every batch format under valgrind: no error, no leak.
. "$(dirname "$0")/../tap.sh"
need_root
need_kvm
command -v valgrind >/dev/null || skip_all "no valgrind"

demo vg --vcpus 2 --script "mark,out:0x3f8:100,cpuid:0:10,hlt:20:200,sleep:1,loop:1000000" || exit 1
run() { # run NAME ARGS...
	local name=$1
	shift
	valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect,possible --errors-for-leak-kinds=definite,indirect \
		--error-exitcode=99 --suppressions=tests/san/valgrind.supp --log-file="$TMP/vg" "$TOP" "$@" >"$TMP/out" 2>"$TMP/err"
	local status=$?
	[ $status = 0 ] && ! grep -q '^==' "$TMP/vg" # other lines: commands of bpf(2) that it does not know
	ok $? "$name" || diag "status $status" "$(cat "$TMP/err")" "$(grep ^== "$TMP/vg" | head -40)"
}
run "table" -b -n 3 -d 0.2
run "json" --format json -n 3 -d 0.2
run "csv" --format csv -n 3 -d 0.2
run "features" --features
done_testing
