#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The lab: an emulated hypervisor on a machine that need not be one. See README.md.
#
#   lab.sh build                  make the lab in ${IHO_LAB:-~/.cache/iho}; nothing to do: no time
#   lab.sh update                 the same with the newest packages of today
#   lab.sh check [SCENARIO...]    run the scenarios on every kernel; TAP on stdout
#   lab.sh shell [amd]            a shell in a running hypervisor, on this terminal
#   lab.sh run amd SCRIPT         run SCRIPT in a hypervisor and print what it prints
#
# IHO_KERNELS   the kernels to boot (default "6.12 6.1"; shell and run take the first)
# IHO_BUILD     where iho-top and iho-demo are (default build)
# IHO_MIRROR, IHO_SECURITY_MIRROR   Debian's mirrors
set -eu
LAB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$LAB/hypervisor.sh"

usage() {
	sed -n '5,9s/^#   //p' "$LAB/lab.sh" >&2
	exit 2
}

# The one venue so far
venue() {
	[ "${1:-amd}" = amd ] || lab_die "there is no venue '$1': amd is the only one yet"
}

shell() {
	local run
	[ -t 0 ] || lab_die "a shell needs a terminal; for a script: lab.sh run amd SCRIPT"
	run=$(hv_stage shell)
	{
		echo "export TERM=${TERM:-linux}"
		stty size | { read -r rows cols && echo "stty rows $rows cols $cols"; }
	} >"$run/share/shell"
	hv_terminfo "$run"
	echo "iho: booting; exit ends it, Ctrl-A X kills it" >&2
	"$LAB/amd/qemu.sh" "$(lab_dir)" "$(hv_kernel)" "$run" -serial mon:stdio
}

run() {
	local script run rc=1
	script=$(realpath "$1")
	. "$LAB/../tap.sh"
	run=$(hv_stage run)
	cp "$script" "$run/share/script.sh"
	if hv_boot "$(hv_kernel)" "$run"; then
		hv_send "$run" "${IHO_LIMIT:-600}" "cd /share; sh /share/script.sh"
		rc=$(cat "$run/share/status" 2>/dev/null || echo 1)
		cat "$run/share/output"
	else
		tail -n 20 "$run/serial.log" >&2
	fi
	hv_end
	echo "iho: what it left in /share is in $run/share" >&2
	exit "$rc"
}

case ${1-} in
build) "$LAB/amd/build.sh" "$(lab_cache)" ;;
update) "$LAB/amd/build.sh" "$(lab_cache)" update ;;
check)
	shift
	exec "$LAB/amd.t" "$@"
	;;
shell)
	venue "${2-amd}"
	"$LAB/lab.sh" build
	shell
	;;
run)
	[ $# = 3 ] || usage
	venue "$2"
	"$LAB/lab.sh" build
	set +e
	run "$3"
	;;
*) usage ;;
esac
