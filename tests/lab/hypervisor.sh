# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Boots an emulated hypervisor that works off scenarios. Sourced by lab.sh and trial.sh, which also
# source ../tap.sh for spawn, poll and gone.
#
# A run has a folder: serial.log, emulator.log, and share/, which the hypervisor sees as /share.
# share/root is laid over its root: our programs with their libraries, so that a rebuild of them is
# no rebuild of the lab. It works off the names in share/scenarios one after the other, each in a
# folder share/NAME, which has a file `status` at last.

VENUES='amd intel'

lab_die() {
	echo "iho: $*" >&2
	exit 1
}

lab_cache() { echo "${IHO_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/iho}"; }
lab_dir() { "$LAB/$1/build.sh" "$(lab_cache)"; } # VENUE: its folder, built if need be

# hv_stage VENUE KERNEL NAME SCENARIO...: a fresh folder for a run; prints it
hv_stage() {
	local top build run p lib lab
	lab=$(lab_dir "$1") || exit 1
	top=$(cd "$LAB/../.." && pwd)
	build=$(cd "$top" && realpath "${IHO_BUILD:-build}")
	run=$build/lab/$1-$3
	for p in iho-top iho-demo; do
		[ -x "$build/$p" ] || lab_die "no $build/$p: make it first (make -s programs)"
	done
	[ -f "$lab/$2/bzImage" ] || lab_die "no kernel $2 in the venue $1"
	rm -rf "$run"
	mkdir -p "$run/share/root/bin" "$run/share/root/lib/iho" "$run/share/root/tenant"
	cp "$build/iho-top" "$build/iho-demo" "$run/share/root/bin/"
	cp "$lab/$2/bzImage" "$run/share/root/tenant/bzImage"
	cp "$lab/tenant" "$run/share/root/tenant/initrd"
	cp -r "$LAB/scenario" "$run/share/"
	# the loader by its own path, all others into one folder
	ldd "$build/iho-top" "$build/iho-demo" | awk '$2=="=>" && $3~/^\// {print $3}' | sort -u |
		while read -r lib; do cp -L "$lib" "$run/share/root/lib/iho/"; done
	ldd "$build/iho-top" | awk '$1~/^\// {print $1}' | while read -r lib; do
		mkdir -p "$run/share/root${lib%/*}"
		cp -L "$lib" "$run/share/root$lib"
	done
	echo "$run"
	shift 3
	echo "$*" >"$run/share/scenarios"
}

# hv_start VENUE KERNEL RUN: HV_PID is the emulator, what it delivers appears in RUN/share
hv_start() {
	local limit=${IHO_HARD_LIMIT:-1200} lab
	lab=$(lab_dir "$1")
	case $1 in
	amd)
		spawn timeout -k 5 "$limit" "$LAB/amd/qemu.sh" "$lab" "$2" "$3" -display none \
			-serial "file:$3/serial.log" >"$3/emulator.log" 2>&1 </dev/null
		;;
	intel)
		mkfifo "$3/deliveries"
		spawn hv_receive "$3" >/dev/null 2>"$3/receive.log"
		HV_RECEIVER=$SPAWNED
		spawn timeout -k 5 "$limit" "$LAB/intel/bochs.sh" "$lab" "$2" "$3" \
			"mode=file, dev=$3/serial.log" >"$3/deliveries" 2>"$3/emulator.log" </dev/null
		;;
	esac
	HV_PID=$SPAWNED
}

# Bochs' stdout: its banner between two lines of ====, then one tar archive after the other
hv_receive() { # RUN
	local line rules=0
	exec <"$1/deliveries"
	while [ $rules -lt 2 ] && IFS= read -r line; do
		case $line in
		====*) rules=$((rules + 1)) ;;
		esac
	done
	tar --no-same-owner --touch -xi -b1 -C "$1/share"
}

# hv_wait RUN FILE SECONDS: until share/FILE is there; fails when the emulator ends without it
hv_wait() {
	poll "$3" hv_came "$1/share/$2"
	[ -f "$1/share/$2" ]
}
hv_came() {
	[ -f "$1" ] && return
	gone "$HV_PID" || return 1
	# what the receiver still had to write
	[ -z "${HV_RECEIVER-}" ] || wait_gone "$HV_RECEIVER" 10
	return 0
}

hv_end() {
	kill "$HV_PID" 2>/dev/null
	wait_gone "$HV_PID" 10
	[ -z "${HV_RECEIVER-}" ] || wait_gone "$HV_RECEIVER" 10
}
