#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs the tests: check.sh [unit|host|vmi|kvm|guest|lint|lab]; without an argument all of them, userspace also as an
# ASan/UBSan build. Every test is a TAP producer, under prove.
set -eu
cd "$(dirname "$0")/.."

die() {
	echo "iho: $*" >&2
	exit 1
}

mount_missing() {
	[ "$(id -u)" = 0 ] || return 0
	[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || true
}

case ${1-all} in
unit) what=unit ;;
host) what=host ;;
vmi) what=vmi ;;
kvm) what=kvm ;;
guest) what=guest ;;
lint) what=lint ;;
lab) what=lab ;;
all) what=all ;;
*) die "usage: check.sh [unit|host|vmi|kvm|guest|lint|lab]" ;;
esac
mount_missing
export CMOCKA_MESSAGE_OUTPUT=TAP

tests=() guests=()
if [ $what = unit ] || [ $what = all ]; then
	make --no-print-directory units
	make --no-print-directory units SAN=1
	for t in tests/unit/test_*.c; do
		n=$(basename "$t" .c)
		tests+=("build/tests/$n" "build/san/tests/$n")
	done
fi
if [ $what = host ] || [ $what = all ]; then
	make --no-print-directory programs
	make --no-print-directory programs SAN=1
	tests+=(tests/host/*.t)
	# the same system tests once more with the sanitizers, but for the long ones
	tests+=(tests/san/*.t)
fi
if [ $what = vmi ] || [ $what = all ]; then
	[ $what = all ] || make --no-print-directory programs
	# the longest first, so that none is left to run alone at the end
	guests+=(tests/vmi/{tables,kernel,guest}.t)
	for t in tests/vmi/*.t; do
		[[ " ${guests[*]} " == *" $t "* ]] || guests+=("$t")
	done
fi
if [ $what = kvm ] || [ $what = all ]; then
	tests+=(tests/kvm/*.t)
fi
if [ $what = guest ] || [ $what = all ]; then
	tests+=(tests/guest/*.t)
fi
if [ $what = lint ] || [ $what = all ]; then
	tests+=(tests/lint/*.t tests/data/*.t)
fi
if [ $what = lab ] || [ $what = all ]; then
	[ $what = all ] || make --no-print-directory programs
	tests+=(tests/lab/lab.t)
fi
# Guests compare states and counts with their own words, so that two may run side by side; the others
# one after the other: system tests measure shares of this machine's cores.
status=0
[ ${#guests[@]} = 0 ] || prove -j2 --timer -e '' "${guests[@]}" || status=1
[ ${#tests[@]} = 0 ] || prove --timer -e '' "${tests[@]}" || status=1
[ $status = 0 ] || echo "iho: tests failed, see above" >&2
exit $status
