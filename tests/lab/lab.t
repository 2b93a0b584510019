#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The collector under kvm_amd and kvm_intel: every trial of the list, two at a time. A trial may begin with a
# variable of trial.sh's: IHO_KVM=patched runs KVM with the patches of kvm-patches/.
LAB=$(cd "$(dirname "$0")" && pwd)
. "$LAB/../tap.sh"

make -C "$LAB/../.." --no-print-directory -s "$B/vmi-tests/look" >&2 || exit 1
"$LAB/lab.sh" build || {
	echo "Bail out! the lab cannot be built"
	exit 1
}
"$LAB/../../kvm-patches/build.sh" >&2 || {
	echo "Bail out! the patched KVM cannot be built"
	exit 1
}
make -C "$LAB/../.." --no-print-directory -s "$B/lab-tests/iho-hold" "$B/lab-tests/load" \
	"$B/lab-tests/iho_guest.ko" >&2 || exit 1
counted='features daemon exact-1000 exact-20000 perf masked'
timed='bill attach'
# the longest first
trials=("IHO_KVM=patched intel 6.12 guest" "IHO_KVM=patched intel 6.12 saved" "intel 6.12 $counted" "intel 6.12 deadline $timed linux" "amd 6.12 $counted $timed cost"
	"IHO_KVM=patched intel 6.12 exact-1000 hlt control direct attack shown" "amd 6.1 $counted $timed" "amd 6.12 linux" "amd 6.1 linux"
	"amd 6.12 memslots tenant" "amd 6.1 memslots" "IHO_KVM=patched amd 6.12 exact-1000 hlt control")
[ $# = 0 ] || trials=("$@")

at_once=0
for i in "${!trials[@]}"; do
	if [ $at_once = 2 ]; then
		wait -n
		at_once=1
	fi
	read -ra words <<<"${trials[$i]}"
	variable=()
	[[ ${words[0]} != *=* ]] || variable=("${words[0]}")
	spawn env "${variable[@]}" "$LAB/trial.sh" "${words[@]:${#variable[@]}}" >"$TMP/$i" 2>&1
	at_once=$((at_once + 1))
done
wait
for i in "${!trials[@]}"; do
	grep -qE '^(not )?ok' "$TMP/$i" || ok 1 "${trials[$i]}: it ran"
	while IFS= read -r l; do
		case $l in
		'ok - '*) ok 0 "${l#ok - }" ;;
		'not ok - '*) ok 1 "${l#not ok - }" ;;
		*) diag "${l#\# }" ;;
		esac
	done <"$TMP/$i"
done
done_testing
