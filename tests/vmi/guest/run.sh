#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guests of the tests of introspection, by hand:
#
#	run.sh build [update]			makes what they boot from, in the cache
#	run.sh kernels				what there is
#	run.sh snapshot FOLDER KERNEL [OPTION...]
#						into FOLDER: dumps of one, and the truth
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

snapshot() { # FOLDER KERNEL [OPTION...]: appears by a rename
	local folder=$1
	shift
	rm -rf "$folder.new" "$folder.old"
	guest_start snapshot "$@"
	guest_snapshot snapshot "$folder.new"
	guest_stop snapshot
	[ ! -e "$folder" ] || mv "$folder" "$folder.old"
	mv "$folder.new" "$folder"
	rm -rf "$folder.old"
	echo "$folder: $(cat "$folder/truth/uname")"
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
	[ $# -gt 1 ] || usage
	snapshot "$@"
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
