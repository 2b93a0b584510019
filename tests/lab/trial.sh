#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# trial.sh VENUE KERNEL SCENARIO...: boots one hypervisor, has it work off the scenarios, judges
# what they left. Prints TAP without numbers and without a plan: lab.t puts trials together.
#
# IHO_LIMIT   seconds for one scenario (default 1500: a slow machine needs twice the usual; it is there for what hangs)
# IHO_KVM     patched: with the modules of `make kvm-modules` instead of Debian's; another name: with
#             those that kvm-patches/build.sh -x made
LAB=$(cd "$(dirname "$0")" && pwd)
. "$LAB/../tap.sh"
. "$LAB/hypervisor.sh"
venue=$1 kernel=$2
shift 2
name=$venue-$kernel${IHO_KVM:+-$IHO_KVM}
limit=${IHO_LIMIT:-1500}
retry=0 # times that it can still be tried again

line() { # STATUS NAME
	if [ "$1" = 0 ]; then echo "ok - $name: $2"; else echo "not ok - $name: $2"; fi
	return "$1"
}

# Lines of TAP in file $1 become tests, all others diagnostics
take() {
	local l bad=0
	while IFS= read -r l; do
		case $l in
		'ok - '*) line 0 "${l#ok - }" ;;
		'not ok - '*) line 1 "${l#not ok - }" || bad=1 ;;
		*) diag "${l#\# }" ;;
		esac
	done <"$1"
	return $bad
}

trouble() { # SCENARIO...
	diag "the hypervisor's console:" "$(tail -n 20 "$run/serial.log" | tr -cd '\n\t -~')" \
		"$(tail -n 5 "$run/emulator.log")"
	[ -s "$run/share/$1/trace" ] &&
		diag "the last of the kernel's trace:" "$(tail -n 12 "$run/share/$1/trace" | cut -c1-150)"
	diag "what it left: $run/share; to repeat:"
	diag "${IHO_KVM:+IHO_KVM=$IHO_KVM }tests/lab/trial.sh $venue $kernel $*"
}

# scenario NAME SECONDS-BEFORE: fails when it did not come to its end
scenario() {
	local s=$1 ran=1 bad=0
	hv_wait "$run" "$s/status" "$limit" && [ "$(cat "$run/share/$s/status")" = 0 ] && ran=0
	[ $ran = 0 ] || [ "$retry" = 0 ] || return 1
	line $ran "$s ran" || bad=1
	[ -f "$run/share/$s/output" ] && { take "$run/share/$s/output" || bad=1; }
	/usr/bin/python3 "$LAB/compare.py" "$run/share/$s" >"$TMP/verdict" 2>&1 || {
		bad=1
		grep -q '^not ok' "$TMP/verdict" || line 1 "$s could be judged"
	}
	take "$TMP/verdict"
	diag "$name: $s took $((SECONDS - $2)) s"
	[ $bad = 0 ] || trouble "$s"
	return $ran
}

boot() { # SCENARIO...
	run=$(hv_stage "$venue" "$kernel" "${name#*-}-$1" "$@") || exit 1
	hv_start "$venue" "$kernel" "$run"
	hv_wait "$run" up 120
}

# What is loaded is what was built, and not Debian's
patched_kvm() {
	local m
	for m in kvm "kvm_$venue"; do
		cmp -s "$run/share/loaded/$m" "$run/patched/$m" || return 1
	done
}

trial() { # SCENARIO...
	local s t0=$SECONDS bad=0
	boot "$@"
	line $? "the hypervisor is up, $(cat "$run/share/up" 2>/dev/null)" || {
		trouble "$@"
		hv_end
		return
	}
	diag "$name: it took $((SECONDS - t0)) s"
	[ -z "${IHO_KVM-}" ] || {
		patched_kvm
		line $? "it has loaded the patched KVM" || bad=1
	}
	for s in "$@"; do
		t0=$SECONDS
		scenario "$s" $t0 || {
			bad=1
			break
		}
	done
	hv_end
	return $bad
}

# QEMU's TCG now and then loses a Linux tenant (see amd/qemu.sh): then it gets a new hypervisor.
# That is for a tenant that does not come to its end; what was counted wrong is wrong.
under_tcg() {
	local try
	export IHO_LAB_THREAD=multi
	for try in 1 2 3; do
		retry=$((3 - try))
		trial "$@" >"$TMP/try" && break
		diag "$name: try $try: the tenant did not come to its end"
	done
	cat "$TMP/try"
}

case "$venue $*" in
'amd linux' | 'amd memslots' | 'amd memslots tenant' | 'amd tenant' | 'amd record') under_tcg "$@" ;;
*) trial "$@" ;;
esac
