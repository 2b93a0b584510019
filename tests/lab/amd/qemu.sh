#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu.sh LAB KERNEL RUN [QEMU-OPTION...]: the emulated AMD hypervisor, in the foreground.
# LAB is what build.sh made; RUN/overlay goes over its root, RUN/share is its /share.
#
# QEMU comes from the unpacked packages, with their libraries and their loader: nothing of it is
# installed, and this machine's own libc does not matter.
set -eu
lab=$1 kernel=$2 run=$3
shift 3

[ -f "$lab/$kernel/vmlinux" ] || {
	echo "iho: no kernel $kernel in the lab, only:" "$(cd "$lab" && ls -d [0-9]*)" >&2
	exit 1
}

cat "$lab/$kernel/initrd" "$run/overlay" >"$run/initrd"

r=$lab/root
lib=$r/usr/lib/x86_64-linux-gnu:$r/lib/x86_64-linux-gnu
export QEMU_MODULE_DIR=$r/usr/lib/x86_64-linux-gnu/qemu

# One thread for all CPUs: with thread=multi QEMU 10.0 corrupts SVM guests (an event injected by
# VMRUN is delivered twice, nested page faults loop), in about every second run. A Linux tenant
# needs it all the same: with one thread its CPUs starve each other.
# mitigations=off: every retpoline is an emulated jump, and nothing here is worth protecting.
exec "$r/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" --library-path "$lib" \
	"$r/usr/bin/qemu-system-x86_64" \
	-L "$r/usr/share/seabios" -L "$r/usr/share/qemu" \
	-name iho-lab -accel "tcg,thread=${IHO_LAB_THREAD:-single}" -machine q35 -cpu EPYC-v4,+svm \
	-smp 3 -m 3072 -nodefaults -nographic -no-reboot \
	-kernel "$lab/$kernel/vmlinux" -initrd "$run/initrd" \
	-append "console=ttyS0 quiet panic=-1 mitigations=off" \
	-fsdev "local,path=$run/share,security_model=none,id=share" \
	-device virtio-9p-pci,fsdev=share,mount_tag=share "$@"
