# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Guests with Linux kernels, under QEMU's TCG. Sourced by the *.t scripts, after tap.sh or in its
# place by guest/run.sh.
#
#	guest_start NAME KERNEL [OPTION...]	boots one, and returns when it is ready; its folder is
#						$GUESTS/NAME, QEMU's pid $GUEST_PID
#	guest_run NAME SCRIPT			has it execute SCRIPT; output and status are this function's
#	guest_put NAME FILE PATH		a file into it, executable
#	guest_truth NAME FOLDER			all that it says of itself: see guest/collect
#	guest_qmp NAME COMMAND [JSON]		QEMU's monitor
#	guest_dump NAME FILE [FORMAT]		its memory, as an ELF core or in QEMU's FORMAT
#	guest_stop NAME				ends it
#
# KERNEL is one of guest_kernels. Options:
#
#	smp=N mem=SIZE		vCPUs (1), memory (512M)
#	memory=memfd|private	shared memfd, or anonymous memory of QEMU (memfd)
#	kaslr=on|off		(on)
#	la57=on|off		five levels of page tables (off)
#	pti=on|off		page table isolation (off: as on CPUs of today)
#	boot=bzimage|elf	elf is faster, but has neither KASLR of the kernel's text nor la57 (bzimage)
#	workload=on|off		(on)
#	vmcoreinfo=on|off	the device with which a guest tells QEMU where its VMCOREINFO is (off)
#	append=STRING		more of the kernel's command line
#	files=FOLDER		its content goes over the guest's root
#
# and more options of QEMU's after "--".

guest_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
GUESTS=${GUESTS:-${TMP:-/tmp}/guests}
GUEST_CACHE=${IHO_LAB:-$HOME/.cache/iho}
declare -A GUEST_PIDS=()

# The kernels; builds what is not in the cache yet
guest_build() { GUEST_LAB=$("$guest_here/build.sh" "$GUEST_CACHE" "$@"); }

guest_kernels() { (cd "$GUEST_LAB" && find . -name bzImage | cut -d/ -f2 | sort -V); }

guest_die() {
	echo "iho: guest: $*" >&2
	return 1
}

# What all guests have of this machine's and ours, over the kernel's modules: $GUESTS/overlay
guest_overlay() {
	local root=$GUESTS/root f tool lib
	[ -f "$GUESTS/overlay" ] && return
	rm -rf "$root"
	mkdir -p "$root/guest" "$root/sbin" "$root/lib/iho" "$root/lib64" "$root/etc"
	for f in "$guest_here"/*.c; do
		"${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static -pthread -o "$root/guest/$(basename "$f" .c)" "$f" || return 1
	done
	cp "$guest_here/collect" "$root/guest/"
	cp "$guest_here/init" "$root/"
	cp /etc/os-release "$root/etc/os-release"
	printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
	printf 'root:x:0:\n' >"$root/etc/group"
	for tool in ip ss bpftool; do
		f=$(PATH=$PATH:/usr/sbin:/sbin command -v $tool) || continue
		cp -L "$f" "$root/sbin/"
		for lib in $(ldd "$f" | grep -oE '/[^ ]+'); do
			case $lib in
			*/ld-linux*) cp -L "$lib" "$root/lib64/" ;;
			*) cp -L "$lib" "$root/lib/iho/" ;;
			esac
		done
	done
	(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$GUESTS/overlay.new"
	mv "$GUESTS/overlay.new" "$GUESTS/overlay"
}

guest_start() {
	local name=$1 kernel=$2 d o cpu args=() append="console=ttyS0 quiet panic=-1"
	local smp=1 mem=512M memory=memfd kaslr=on la57=off pti=off boot=bzimage workload=on
	local vmcoreinfo=off files=
	shift 2
	while [ $# -gt 0 ]; do
		o=$1
		shift
		case $o in
		append=*) append="$append ${o#append=}" ;;
		smp=* | mem=* | memory=* | kaslr=* | la57=* | pti=* | boot=* | workload=* | vmcoreinfo=* | files=*)
			printf -v "${o%%=*}" %s "${o#*=}"
			;;
		--) break ;;
		*) guest_die "no option $o" || return ;;
		esac
	done
	[ -n "${GUEST_LAB-}" ] || guest_build || return
	[ -f "$GUEST_LAB/$kernel/bzImage" ] ||
		guest_die "no kernel $kernel, only:" "$(guest_kernels | xargs)" || return
	d=$GUESTS/$name
	rm -rf "$d"
	mkdir -p "$d"
	guest_overlay || return
	cat "$GUEST_LAB/$kernel/initrd" "$GUESTS/overlay" >"$d/initrd"
	[ -z "$files" ] || (cd "$files" && find . | busybox cpio -o -H newc 2>/dev/null) >>"$d/initrd"

	cpu=max
	[ "$la57" = on ] || cpu=$cpu,la57=off
	[ "$kaslr" = on ] || append="$append nokaslr"
	append="$append pti=$pti"
	[ "$workload" = on ] || append="$append iho.workload=off"
	case $boot in
	bzimage) args+=(-kernel "$GUEST_LAB/$kernel/bzImage") ;;
	elf) args+=(-kernel "$GUEST_LAB/$kernel/vmlinux") ;;
	esac
	case $memory in
	memfd) args+=(-object "memory-backend-memfd,id=ram,size=$mem,share=on" -machine q35,memory-backend=ram) ;;
	private) args+=(-machine q35) ;;
	esac
	[ "$vmcoreinfo" = off ] || args+=(-device vmcoreinfo)

	qemu-system-x86_64 -name "iho-guest-$name" -accel tcg,thread=multi -cpu "$cpu" -smp "$smp" -m "$mem" \
		-nodefaults -no-user-config -display none -no-reboot \
		-initrd "$d/initrd" -append "$append" "${args[@]}" \
		-chardev "file,id=console,path=$d/console" -serial chardev:console \
		-qmp "unix:$d/qmp,server=on,wait=off" \
		-netdev user,id=net,restrict=on -device virtio-net-pci,netdev=net,romfile= \
		-device virtio-serial-pci -chardev "socket,id=agent,path=$d/agent,server=on,wait=off" \
		-device virtserialport,chardev=agent,name=agent "$@" >"$d/qemu.log" 2>&1 &
	GUEST_PID=$!
	GUEST_PIDS[$name]=$GUEST_PID
	[ -z "${TAP_PIDS+x}" ] || TAP_PIDS+=("$GUEST_PID")
	rm -f "$d/initrd.sent"
	"$guest_here/talk.py" run "$d/agent" true || {
		guest_die "$name did not get ready:" "$(tail -n 5 "$d/qemu.log" "$d/console")"
		return 1
	}
	rm -f "$d/initrd"
}

guest_run() { "$guest_here/talk.py" run "$GUESTS/$1/agent" "$2"; }
guest_put() { "$guest_here/talk.py" put "$GUESTS/$1/agent" "$2" "$3"; }
guest_qmp() { "$guest_here/talk.py" qmp "$GUESTS/$1/qmp" "${@:2}"; }

guest_truth() {
	mkdir -p "$2"
	guest_run "$1" 'd=/run/truth; /guest/collect $d >/dev/null 2>&1 && tar c -C $d . && rm -rf $d' | tar x -C "$2"
}

guest_dump() {
	local file
	file=$(realpath "$2")
	rm -f "$file"
	guest_qmp "$1" dump-guest-memory \
		"{\"paging\": false, \"protocol\": \"file:$file\"${3:+, \"format\": \"$3\"}}" >/dev/null
}

guest_stop() {
	kill "${GUEST_PIDS[$1]}" 2>/dev/null
	wait "${GUEST_PIDS[$1]}" 2>/dev/null
	unset "GUEST_PIDS[$1]"
}
