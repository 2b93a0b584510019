#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guests of the tests of introspection, by hand:
#
#	run.sh build [update]			makes what they boot from, in the cache
#	run.sh kernels				what there is
#	run.sh snapshot FOLDER [KERNEL...]	of each kernel FOLDER/KERNEL: dumps, and the truth
#	run.sh start FOLDER KERNEL [OPTION...]	runs one until it is ended; FOLDER/{agent,qmp,...}
#	run.sh ask FOLDER SCRIPT		has that one execute a script
#
# For options see guest.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

usage() {
	sed -n '/^# The/,/^$/s/^# \{0,1\}//p' "$0" | sed '/^set/d' >&2
	exit 2
}

[ $# -gt 0 ] || usage
command=$1
shift

snapshot() { # FOLDER KERNEL: appears by a rename
	local new=$1/.$2.new
	rm -rf "$new"
	mkdir -p "$new"
	guest_start snapshot "$2" vmcoreinfo=on
	guest_snapshot snapshot "$new"
	guest_stop snapshot
	rm -rf "$1/.$2.old"
	[ ! -e "$1/$2" ] || mv "$1/$2" "$1/.$2.old"
	mv "$new" "$1/$2"
	rm -rf "$1/.$2.old"
	echo "$1/$2: $(cat "$1/$2/truth/uname")"
}

end() {
	local name
	for name in "${!GUEST_PIDS[@]}"; do
		guest_stop "$name"
	done
	rm -rf "$TMP"
}

case $command in
build | kernels | snapshot | start)
	TMP=$(mktemp -d "${TMPDIR:-/tmp}/iho-guest.XXXXXX")
	. "$here/guest.sh"
	trap end EXIT
	trap 'exit 1' INT TERM
	;;
esac

case $command in
build)
	guest_build "$@"
	echo "$GUEST_LAB"
	;;
kernels)
	guest_build
	for k in $(guest_kernels); do
		echo "$k $(cat "$GUEST_LAB/$k/release")"
	done
	;;
snapshot)
	[ $# -gt 0 ] || usage
	mkdir -p "$1"
	folder=$(realpath "$1")
	shift
	guest_build
	[ $# -gt 0 ] || set -- $(guest_kernels)
	for k in "$@"; do
		snapshot "$folder" "$k"
	done
	;;
start)
	[ $# -gt 1 ] || usage
	GUESTS=$(dirname "$(realpath "$1")")
	name=$(basename "$1")
	shift
	guest_start "$name" "$@"
	echo "ready: pid $GUEST_PID, $GUESTS/$name"
	wait "$GUEST_PID"
	;;
ask)
	[ $# = 2 ] || usage
	exec "$here/talk.py" run "$1/agent" "$2"
	;;
*) usage ;;
esac
