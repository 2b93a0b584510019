# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Boots an emulated hypervisor that works off scenarios. Sourced by lab.sh and trial.sh, which also
# source ../tap.sh for spawn, poll and gone.
#
# A run has a folder: serial.log, emulator.log, and share/, which the hypervisor sees as /share.
# share/root is laid over its root: our programs with their libraries, so that a change of them is
# no rebuild of the lab. It works off the names in share/scenarios one after the other, each in a
# folder share/NAME, which has a file `status` at last.

. "$LAB/pack.sh"
VENUES='amd intel'

lab_die() {
	echo "iho: $*" >&2
	exit 1
}

lab_cache() { echo "${IHO_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/iho}"; }
lab_dir() { "$LAB/$1/build.sh" "$(lab_cache)"; } # VENUE: its folder, built if need be

# with_libraries ROOT FILE...: these programs into ROOT/bin, what they are linked with into
# ROOT/lib/iho, but the loader to its own path
with_libraries() {
	local root=$1 f lib
	shift
	mkdir -p "$root/bin" "$root/lib/iho"
	cp -L "$@" "$root/bin/"
	for f in "$@"; do ldd "$f"; done | awk '$2=="=>" && $3~/^\// {print $3}' | sort -u |
		while read -r lib; do cp -L "$lib" "$root/lib/iho/"; done
	ldd "$1" | awk '$1~/^\// {print $1}' | while read -r lib; do
		mkdir -p "$root${lib%/*}"
		cp -L "$lib" "$root$lib"
	done
}

# With IHO_KVM=patched KVM's modules are those of `make kvm-modules`, with another name those that
# kvm-patches/build.sh -x made: the ones of RELEASE, by name
hv_patched() {
	local d=$LAB/../../build/kvm-modules
	[ "$IHO_KVM" = patched ] || d=$d-$IHO_KVM
	d=$d/$1
	[ -f "$d/kvm.ko" ] || lab_die "no patched KVM for the lab's kernel $1: make kvm-modules;" \
		"if that is for another release: tests/lab/lab.sh update, kvm-patches/sources.sh CACHE update"
	echo "$d"/*.ko
}

# hv_stage VENUE KERNEL NAME SCENARIO...: a fresh folder for a run; prints it
hv_stage() {
	local top build run p s m d lab patched programs=()
	lab=$(lab_dir "$1") || exit 1
	top=$(cd "$LAB/../.." && pwd)
	build=$(cd "$top" && realpath "${IHO_BUILD:-build}")
	run=$build/lab/$1-$3
	[ -f "$lab/$2/bzImage" ] || lab_die "no kernel $2 in the venue $1"
	for p in iho-top iho-demo ihod iho-exporter iho-query iho-direct; do
		[ -x "$build/$p" ] || lab_die "no $build/$p: make it first (make -s programs)"
		programs+=("$build/$p")
	done
	# programs that a scenario wants beside ours, of the tests or this machine: "# needs: perf"
	for s in "${@:4}"; do
		[ -f "$LAB/scenario/$s.sh" ] || continue
		for p in $(sed -n 's/^# needs: //p' "$LAB/scenario/$s.sh"); do
			for d in vmi-tests lab-tests; do
				[ -x "$build/$d/$p" ] || continue
				programs+=("$build/$d/$p")
				continue 2
			done
			programs+=("$(command -v "$p")") || lab_die "scenario $s needs $p: install it"
		done
	done
	rm -rf "$run"
	mkdir -p "$run/share/root/tenant"
	with_libraries "$run/share/root" "${programs[@]}"
	# and files, where they are on this machine: "# files: /usr/share/..."
	for s in "${@:4}"; do
		[ -f "$LAB/scenario/$s.sh" ] || continue
		for p in $(sed -n 's/^# files: //p' "$LAB/scenario/$s.sh"); do
			install -D -m 644 "$p" "$run/share/root$p" || lab_die "scenario $s needs $p"
		done
	done
	cp "$lab/$2/bzImage" "$run/share/root/tenant/bzImage"
	mkdir -p "$run/tenant/bin"
	cp "$(command -v busybox)" "$run/tenant/bin/"
	cp "$LAB/tenant-init" "$run/tenant/init"
	for s in "${@:4}"; do
		[ -f "$LAB/scenario/$s.sh" ] || continue
		# what its Linux tenant wants, and how many CPUs it takes, where that can be chosen
		for p in $(sed -n 's/^# tenant: //p' "$LAB/scenario/$s.sh"); do
			cp "$build/lab-tests/$p" "$run/tenant/" || lab_die "scenario $s needs $p: make $build/lab-tests/$p"
		done
		sed -n 's/^# cpus: //p' "$LAB/scenario/$s.sh" >>"$run/cpus"
	done
	pack "$run/tenant" >"$run/share/root/tenant/initrd"
	cp -r "$LAB/scenario" "$run/share/"
	if [ -n "${IHO_KVM-}" ]; then
		patched=$(hv_patched "$(cat "$lab/$2/release")") || exit 1
		mkdir -p "$run/image/modules" "$run/patched"
		for p in $patched; do
			cp "$p" "$run/image/modules/"
			m=$(basename "$p" .ko)
			objcopy -O binary -j .note.gnu.build-id "$p" "$run/patched/${m/-/_}"
		done
	fi
	echo "${*:4}" >"$run/share/scenarios"
	echo "$run"
}

# hv_overlay VENUE RUN: writes RUN/overlay, what the venue's initramfs does not have. By 9p the
# hypervisor gets the rest itself, without it all has to come along.
hv_overlay() {
	local image=$2/image
	mkdir -p "$image"
	cp "$LAB/init" "$image/init"
	if [ "$1" = intel ]; then
		cp -a "$2/share/root/." "$image/"
		cp -a "$2/share" "$image/share"
		rm -rf "$image/share/root"
	fi
	pack "$image" >"$2/overlay"
	rm -rf "$image"
}

# hv_start VENUE KERNEL RUN: HV_PID is the emulator, what it delivers appears in RUN/share
hv_start() {
	local limit=${IHO_HARD_LIMIT:-3000} lab
	lab=$(lab_dir "$1")
	hv_overlay "$1" "$3"
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
	[ -s "$1/share/$2" ]
}
hv_came() {
	[ -s "$1" ] && return
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
