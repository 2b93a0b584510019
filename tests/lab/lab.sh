#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The lab: emulated hypervisors on a machine that need not be one. See README.md.
#
#   lab.sh build                     make the lab in ${IHO_LAB:-~/.cache/iho}; nothing to do: no time
#   lab.sh update                    the same with the newest packages of today
#   lab.sh check ["TRIAL"...]        run all trials, or these ("intel 6.12 exact-1000"); TAP on stdout
#   lab.sh shell amd|intel           a shell in a running hypervisor, on this terminal
#   lab.sh demo amd|intel            iho-top there, on this terminal, with a Linux tenant under load
#   lab.sh run amd|intel SCRIPT      run SCRIPT in a hypervisor and print what it prints
#   lab.sh record amd|intel          record a Linux tenant anew into tests/data
#
# IHO_KERNEL    the kernel for shell, demo and run (default 6.12; amd also has 6.1)
# IHO_BUILD     where iho-top and iho-demo are (default build)
# IHO_MIRROR, IHO_SECURITY_MIRROR   Debian's mirrors
set -eu
LAB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$LAB/hypervisor.sh"
kernel=${IHO_KERNEL:-6.12}

usage() {
	sed -n '5,11s/^#   //p' "$LAB/lab.sh" >&2
	exit 2
}

# Both venues side by side: one waits for the network while the other compiles
build() {
	local v pids=() bad=0
	for v in $VENUES; do
		"$LAB/$v/build.sh" "$(lab_cache)" "$@" >/dev/null &
		pids+=($!)
	done
	for v in "${pids[@]}"; do
		wait "$v" || bad=1
	done
	return $bad
}

venue() {
	case " $VENUES " in
	*" ${1-} "*) ;;
	*) lab_die "there is no venue '${1-}': it is one of $VENUES" ;;
	esac
}

# terminal VENUE [COMMAND]: a shell, or just this command, on this terminal
terminal() {
	local run size t=${TERM:-linux} d
	[ -t 0 ] || lab_die "this needs a terminal; for a script: lab.sh run $1 SCRIPT"
	run=$(hv_stage "$1" "$kernel" shell)
	size=$(stty size)
	cat >"$run/share/shell" <<-EOF2
		export TERM=$t
		stty rows ${size% *} cols ${size#* }
		SHELL_RUNS='${2-}'
	EOF2
	# the description of this terminal
	for d in /etc/terminfo /lib/terminfo /usr/share/terminfo; do
		[ -f "$d/${t:0:1}/$t" ] || continue
		mkdir -p "$run/share/root/lib/terminfo/${t:0:1}"
		cp -L "$d/${t:0:1}/$t" "$run/share/root/lib/terminfo/${t:0:1}/"
		break
	done
	mkdir -p "$run/share/root/usr/lib/locale"
	cp -r /usr/lib/locale/C.utf8 "$run/share/root/usr/lib/locale/"
	hv_overlay "$1" "$run"
	echo "iho: booting${3-}" >&2
	case $1 in
	amd)
		IHO_LAB_THREAD=multi "$LAB/amd/qemu.sh" "$(lab_dir amd)" "$kernel" "$run" \
			-serial mon:stdio
		;;
	intel)
		"$LAB/intel/bochs.sh" "$(lab_dir intel)" "$kernel" "$run" \
			"mode=term, dev=$(tty)" >"$run/deliveries" 2>"$run/emulator.log" || true
		stty sane
		;;
	esac
}

run() {
	local run rc=1
	. "$LAB/../tap.sh"
	run=$(hv_stage "$1" "$kernel" run script)
	cp "$2" "$run/share/scenario/script.sh"
	hv_start "$1" "$kernel" "$run"
	if hv_wait "$run" script/status "${IHO_LIMIT:-600}"; then
		rc=$(cat "$run/share/script/status")
		cat "$run/share/script/output"
	else
		tail -n 20 "$run/serial.log" >&2
	fi
	hv_end
	echo "iho: what it left is in $run/share" >&2
	exit "$rc"
}

record() {
	local out=$LAB/../data/$1.trace.dat.xz trace
	"$LAB/trial.sh" "$1" "$kernel" record || exit 1
	trace=$(ls "$LAB/../../${IHO_BUILD:-build}/lab/$1-$kernel-record/share/record/trace.dat")
	xz -9e -T1 -c "$trace" >"$out"
	ls -l "$out"
}

case ${1-} in
build) build ;;
update) build update ;;
check)
	shift
	exec "$LAB/lab.t" "$@"
	;;
shell)
	venue "${2-}"
	build
	terminal "$2" '' '; exit ends it'
	;;
demo)
	venue "${2-}"
	build
	terminal "$2" '. /share/scenario/demo.sh' ' the hypervisor and its tenant; q ends it'
	;;
run)
	[ $# = 3 ] || usage
	venue "$2"
	script=$(realpath "$3")
	build
	set +e
	run "$2" "$script"
	;;
record)
	venue "${2-}"
	build
	record "$2"
	;;
*) usage ;;
esac
