# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Guests with Linux kernels, under QEMU's TCG. Sourced by the *.t scripts after tap.sh, and by
# run.sh.
#
#	guest_start NAME KERNEL [OPTION...]	boots one, and returns when it is ready; its folder is
#						$GUESTS/NAME, QEMU's pid $GUEST_PID
#	guest_run NAME SCRIPT			has it execute SCRIPT; output and status are this function's
#	guest_put NAME FILE PATH		a file into it, executable
#	guest_truth NAME FOLDER			all that it says of itself: see guest/collect
#	guest_qmp NAME COMMAND [JSON]		QEMU's monitor
#	guest_dump NAME FILE [FORMAT]		its memory, as an ELF core or in QEMU's FORMAT
#	guest_freeze NAME			stops it, when it is idle
#	guest_snapshot NAME FOLDER		truth and dumps of one moment
#	guest_ftrace NAME FUNCTION, guest_kprobe NAME SYMBOL, guest_untrace NAME
#	guest_stop NAME				ends it
#
# KERNEL is one of guest_kernels. Options:
#
#	smp=N mem=SIZE		vCPUs (1), memory (512M)
#	memory=memfd|private	shared memfd, or anonymous memory of QEMU (memfd)
#	kaslr=on|off		(on)
#	la57=on|off		five levels of page tables (off)
#	pti=on|off		page table isolation (off: as on CPUs of today)
#	boot=bzimage|elf	elf has neither KASLR of the kernel's text nor la57 (bzimage)
#	workload=on|off		(on)
#	thread=multi|single	vCPUs as threads of their own, or in turns (multi). With threads a guest
#				that changes its code often has died of an INT3 that was gone
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
	for f in agent truth workload; do
		"${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static -pthread \
			-o "$root/guest/$f" "$guest_here/$f"*.c || return 1
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
	rm -f "$GUESTS/disk"
	truncate -s 8M "$GUESTS/disk"
	PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -m 0 -L iho-disk "$GUESTS/disk" || return 1
	mv "$GUESTS/overlay.new" "$GUESTS/overlay"
}

# QEMU's TCG now and then breaks a kernel that boots on several CPUs, or has it stand still: that is
# no matter of what is tested, which looks only at guests that got ready.
guest_start() {
	local try
	for try in 1 2 3; do
		guest_boot "$@" && return
		if [ $? = 2 ]; then
			echo "iho: guest: $1: it stood still while it booted, try $try of 3" >&2
		elif grep -qs 'Kernel panic' "$GUESTS/$1/console"; then
			echo "iho: guest: $1: its kernel panicked while it booted, try $try of 3" >&2
		else
			return 1
		fi
	done
	return 1
}

# 2: the guest does not answer
guest_boot() {
	local failed=1 name=$1 kernel=$2 d o cpu args=() append="console=ttyS0 quiet panic=-1"
	local smp=1 mem=512M memory=memfd kaslr=on la57=off pti=off boot=bzimage workload=on
	local vmcoreinfo=off files= thread=multi
	shift 2
	while [ $# -gt 0 ]; do
		o=$1
		shift
		case $o in
		append=*) append="$append ${o#append=}" ;;
		smp=* | mem=* | memory=* | kaslr=* | la57=* | pti=* | boot=* | workload=* | \
			vmcoreinfo=* | files=* | thread=*)
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
	memfd)
		args+=(-machine q35,memory-backend=ram
			-object "memory-backend-memfd,id=ram,size=$mem,share=on")
		;;
	private) args+=(-machine q35) ;;
	esac
	[ "$vmcoreinfo" = off ] || args+=(-device vmcoreinfo)

	qemu-system-x86_64 -name "iho-guest-$name" -accel tcg,thread="$thread" \
		-cpu "$cpu" -smp "$smp" -m "$mem" -nodefaults -no-user-config -display none -no-reboot \
		-initrd "$d/initrd" -append "$append" "${args[@]}" \
		-chardev "file,id=console,path=$d/console" -serial chardev:console \
		-qmp "unix:$d/qmp,server=on,wait=off" \
		-drive "file=$GUESTS/disk,if=virtio,format=raw,snapshot=on" \
		-netdev user,id=net,restrict=on,ipv6=off -device virtio-net-pci,netdev=net,romfile= \
		-device virtio-serial-pci -chardev "socket,id=agent,path=$d/agent,server=on,wait=off" \
		-device virtserialport,chardev=agent,name=agent "$@" >"$d/qemu.log" 2>&1 &
	GUEST_PID=$!
	GUEST_PIDS[$name]=$GUEST_PID
	[ -z "${TAP_PIDS+x}" ] || TAP_PIDS+=("$GUEST_PID")
	# seconds, but for a machine that does much else
	GUEST_LIMIT=120 "$guest_here/talk.py" run "$d/agent" 'cat /run/failed && ! [ -s /run/failed ]' || {
		[ $? != 124 ] || failed=2
		guest_die "$name did not get ready:" "$(tail -n 5 "$d/qemu.log" "$d/console")"
		guest_stop "$name"
		return $failed
	}
	rm -f "$d/initrd"
}

guest_run() { "$guest_here/talk.py" run "$GUESTS/$1/agent" "$2"; }
guest_put() { "$guest_here/talk.py" put "$GUESTS/$1/agent" "$2" "$3"; }
guest_qmp() { "$guest_here/talk.py" qmp "$GUESTS/$1/qmp" "${@:2}"; }

guest_hmp() { # NAME COMMAND: QEMU's monitor for humans
	guest_qmp "$1" human-monitor-command "{\"command-line\": \"$2\"}" |
		/usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin).replace("\r", ""), end="")'
}

guest_truth() {
	mkdir -p "$2"
	guest_run "$1" 'd=/run/truth; /guest/collect $d >/dev/null 2>&1 && tar c -C $d . && rm -rf $d' |
		tar x -C "$2"
}

guest_dump() {
	local file
	file=$(realpath "$2")
	rm -f "$file"
	guest_qmp "$1" dump-guest-memory \
		"{\"paging\": false, \"protocol\": \"file:$file\"${3:+, \"format\": \"$3\"}}" >/dev/null
}

# All vCPUs halt, in the idle loop: nothing is half-done
guest_idle() {
	local registers
	registers=$(guest_hmp "$1" "info registers -a") || return
	grep -q '^RIP=' <<<"$registers" && ! grep '^RIP=' <<<"$registers" | grep -qv 'HLT=1'
}

# guest_freeze NAME: stops it at a moment when it is idle
guest_freeze() {
	local end=$((SECONDS + 60))
	guest_qmp "$1" stop >/dev/null
	until guest_idle "$1"; do
		[ "$SECONDS" -lt "$end" ] || guest_die "$1 is never idle" || return
		guest_qmp "$1" cont >/dev/null
		sleep 0.1
		guest_qmp "$1" stop >/dev/null
	done
}

# guest_snapshot NAME FOLDER: what the guest says of itself, and its memory of that moment; then it
# stays stopped. FOLDER/{truth/,dump.elf,dump.kdump,registers,mtree}
guest_snapshot() {
	local what
	mkdir -p "$2"
	guest_truth "$1" "$2/truth" &&
		guest_freeze "$1" &&
		guest_dump "$1" "$2/dump.elf" &&
		guest_dump "$1" "$2/dump.kdump" kdump-zlib || return
	for what in registers mtree; do
		guest_hmp "$1" "info $what $([ $what = mtree ] && echo -f || echo -a)" >"$2/$what" || return
	done
	chmod 644 "$2"/dump.*
}

# The function tracer on FUNCTION, a kprobe on SYMBOL: what an honest administrator does
guest_ftrace() { # NAME FUNCTION
	guest_run "$1" "cd /sys/kernel/tracing && echo $2 >set_ftrace_filter &&
		echo function >current_tracer"
}

guest_kprobe() { # NAME SYMBOL
	guest_run "$1" "cd /sys/kernel/tracing && echo 'p:iho_$2 $2' >>kprobe_events &&
		echo 1 >events/kprobes/iho_$2/enable"
}

guest_untrace() { # NAME: neither of them any more
	guest_run "$1" 'cd /sys/kernel/tracing && echo nop >current_tracer && echo >set_ftrace_filter &&
		{ [ ! -d events/kprobes ] || echo 0 >events/kprobes/enable; } && echo >kprobe_events'
}

guest_stop() {
	kill "${GUEST_PIDS[$1]}" 2>/dev/null
	wait "${GUEST_PIDS[$1]}" 2>/dev/null
	unset "GUEST_PIDS[$1]"
}
