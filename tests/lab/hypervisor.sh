# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Boots an emulated hypervisor and hands it work. Sourced by lab.sh and amd.t.
#
# A run has a folder: serial.log, and share/, which the hypervisor sees as /share by 9p.
# share/root is laid over its root when it boots: our programs with their libraries, so that a
# rebuild of them is no rebuild of the lab. It then runs share/next and leaves output and status.
# hv_boot and hv_send use spawn and poll of tests/tap.sh.

lab_die() {
	echo "iho: $*" >&2
	exit 1
}

lab_cache() { echo "${IHO_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/iho}"; }
lab_dir() { readlink -f "$(lab_cache)/amd"; }
hv_kernel() { echo "${IHO_KERNELS:-6.12}" | cut -d' ' -f1; }

# hv_stage NAME: a fresh folder for a run; prints it
hv_stage() {
	local top build run p lib
	top=$(cd "$LAB/../.." && pwd)
	build=$(cd "$top" && realpath "${IHO_BUILD:-build}")
	run=$build/lab/amd-$1
	for p in iho-top iho-demo; do
		[ -x "$build/$p" ] || lab_die "no $build/$p: make it first (make -s programs)"
	done
	rm -rf "$run"
	mkdir -p "$run/share/root/bin" "$run/share/root/lib/iho"
	cp "$build/iho-top" "$build/iho-demo" "$run/share/root/bin/"
	cp -r "$LAB/scenario" "$run/share/"
	# the loader by its own path, all others into one folder
	ldd "$build/iho-top" "$build/iho-demo" | awk '$2=="=>" && $3~/^\// {print $3}' | sort -u |
		while read -r lib; do cp -L "$lib" "$run/share/root/lib/iho/"; done
	ldd "$build/iho-top" | awk '$1~/^\// {print $1}' | while read -r lib; do
		mkdir -p "$run/share/root${lib%/*}"
		cp -L "$lib" "$run/share/root$lib"
	done
	echo "$run"
}

# hv_terminfo RUN: the description of this terminal, for the screen of iho-top
hv_terminfo() {
	local d t=${TERM:-linux}
	for d in /etc/terminfo /lib/terminfo /usr/share/terminfo; do
		[ -f "$d/${t:0:1}/$t" ] || continue
		mkdir -p "$1/share/root/lib/terminfo/${t:0:1}"
		cp -L "$d/${t:0:1}/$t" "$1/share/root/lib/terminfo/${t:0:1}/"
		return 0
	done
}

# hv_boot KERNEL RUN: returns when it takes work; fails when it does not come up
hv_boot() {
	spawn timeout -k 5 "${IHO_HARD_LIMIT:-1200}" "$LAB/amd/qemu.sh" "$(lab_dir)" "$1" "$2" \
		-display none -serial "file:$2/serial.log" >"$2/qemu.log" 2>&1 </dev/null
	HV_PID=$SPAWNED
	poll 120 hv_came "$2/share/up" && [ -f "$2/share/up" ]
}

# hv_send RUN SECONDS COMMAND: fails when it has not ended within the limit
hv_send() {
	rm -f "$1/share/status" "$1/share/output"
	echo "$3" >"$1/share/next.new"
	mv "$1/share/next.new" "$1/share/next"
	poll "$2" hv_came "$1/share/status" && [ -f "$1/share/status" ]
}

hv_came() { [ -f "$1" ] || gone "$HV_PID"; }

hv_end() {
	kill "$HV_PID" 2>/dev/null
	wait_gone "$HV_PID" 10
}
