#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The collector under kvm_amd, on each kernel of the lab: amd.t [SCENARIO...]
LAB=$(cd "$(dirname "$0")" && pwd)
. "$LAB/../tap.sh"
. "$LAB/hypervisor.sh"

kernels=${IHO_KERNELS:-6.12 6.1}
scenarios=${*:-features exact-1000 exact-20000 bill attach linux}
limit=${IHO_LIMIT:-300}

# Lines of TAP in $1 become tests, all others diagnostics
take() {
	local line bad=0
	while IFS= read -r line; do
		case $line in
		'ok - '*) ok 0 "$k: ${line#ok - }" ;;
		'not ok - '*) ok 1 "$k: ${line#not ok - }" || bad=1 ;;
		*) diag "${line#\# }" ;;
		esac
	done <"$1"
	return $bad
}

trouble() {
	diag "the hypervisor's console:"
	diag "$(tail -n 20 "$run/serial.log" | tr -cd '\n\t -~')" "$(tail -n 5 "$run/qemu.log")"
	diag "what it left: $run/share; to repeat:"
	diag "IHO_KERNELS=$k tests/lab/lab.sh check $s"
}

# send: gives scenario $s to the hypervisor; fails when it fails or does not end
send() {
	mkdir "$run/share/$s"
	hv_send "$run" "$limit" "cd /share/$s && . ../scenario/lib.sh && . ../scenario/$s.sh" &&
		[ "$(cat "$run/share/status")" = 0 ]
}

# verdict STATUS SECONDS-BEFORE
verdict() {
	local bad=$1
	ok "$1" "$k: $s ran"
	[ -f "$run/share/output" ] && { take "$run/share/output" || bad=1; }
	/usr/bin/python3 "$LAB/compare.py" "$run/share/$s" >"$TMP/verdict" 2>&1 || {
		bad=1
		grep -q '^not ok' "$TMP/verdict" || ok 1 "$k: $s could be judged"
	}
	take "$TMP/verdict"
	diag "$k: $s took $((SECONDS - $2)) s"
	[ "$bad" = 0 ] || trouble
	return "$1"
}

# Tenants whose exits are known: one hypervisor for all scenarios
known() {
	local t0=$SECONDS
	s=
	run=$(hv_stage "$k") || exit 1
	hv_boot "$k" "$run"
	ok $? "$k: the hypervisor is up, $(cat "$run/share/up" 2>/dev/null)" || {
		trouble
		hv_end
		return
	}
	diag "$k: it took $((SECONDS - t0)) s"
	for s in "$@"; do
		t0=$SECONDS
		send
		verdict $? $t0 || break
	done
	hv_end
}

# A Linux tenant: in a hypervisor of its own, whose emulator now and then loses it (see qemu.sh)
linux() {
	local t0 try bad=1
	s=linux
	for try in 1 2 3; do
		t0=$SECONDS
		run=$(hv_stage "$k-linux") || exit 1
		IHO_LAB_THREAD=multi hv_boot "$k" "$run" && send && bad=0
		hv_end
		[ $bad = 0 ] && break
		diag "$k: try $try: the tenant did not come to its end"
	done
	verdict $bad "$t0"
}

"$LAB/lab.sh" build || {
	echo "Bail out! the lab cannot be built"
	exit 1
}
for k in $kernels; do
	plain=$(tr ' ' '\n' <<<"$scenarios" | grep -vx linux)
	# shellcheck disable=SC2086
	[ -z "$plain" ] || known $plain
	grep -qw linux <<<"$scenarios" && linux
done
done_testing
