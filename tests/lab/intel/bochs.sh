#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bochs.sh LAB KERNEL RUN COM1: the emulated Intel hypervisor, in the foreground.
# LAB is what build.sh made; RUN/overlay goes over its root, its /share among it;
# COM1 is how Bochs shall serve its console (com1 of bochsrc). What it delivers goes to stdout.
# Where RUN/beats is, there is a second serial port, and what it sends goes there.
set -eu
lab=$1 kernel=$2 run=$3 com1=$4
cpus=$(cat "$run/cpus")
cpus=${cpus:-2}
ips=100000000

[ -f "$lab/$kernel/bzImage" ] || {
	echo "iho: no kernel $kernel in the lab, only:" "$(cd "$lab" && ls -d [0-9]*)" >&2
	exit 1
}

# tsc_early_khz is ips / 1000, or every clock is wrong.
# aperfmperf: Bochs says it has it, and its counters stand still.
append="console=ttyS0,115200 quiet panic=-1 mitigations=off tsc=reliable
	tsc_early_khz=$((ips / 1000)) no_timer_check clearcpuid=aperfmperf raid=noautodetect audit=0
	apparmor=0 cryptomgr.notests"

# A BIOS boots, so it needs a boot loader: the kernel, the lab's initramfs and the run's, on a CD.
iso=$run/iso
rm -rf "$iso"
mkdir -p "$iso/isolinux"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$iso/isolinux/"
cp "$lab/$kernel/bzImage" "$iso/bzImage"
{
	cat "$lab/$kernel/initrd"
	gzip -1 <"$run/overlay"
} >"$iso/initrd"
cat >"$iso/isolinux/isolinux.cfg" <<EOF2
SERIAL 0 115200
DEFAULT iho
PROMPT 0
TIMEOUT 1
LABEL iho
 KERNEL /bzImage
 INITRD /initrd
 APPEND $(xargs <<<"$append")
EOF2
xorriso -as mkisofs -quiet -o "$run/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
	-no-emul-boot -boot-load-size 4 -boot-info-table "$iso" 2>"$run/xorriso.log"
rm -rf "$iso"

# MSRs that KVM or Linux touch and Bochs does not have: they read as 0.
# ADDRESS TYPE RESET_HI RESET_LO RSRVD_HI RSRVD_LO IGNRD_HI IGNRD_LO
cat >"$run/msrs" <<EOF2
0x017 0 00000000 00000000 00000000 00000000 00000000 00000000
0x0e7 0 00000000 00000000 00000000 00000000 00000000 00000000
0x0e8 0 00000000 00000000 00000000 00000000 00000000 00000000
0x1d9 0 00000000 00000000 00000000 00000000 00000000 00000000
EOF2

# Ice Lake: with Skylake X Linux drops the TSC deadline timer.
cat >"$run/bochsrc" <<EOF2
config_interface: textconfig
display_library: nogui
romimage: file=$lab/bios/bios
vgaromimage: file=$lab/bios/vgabios
cpu: model=corei7_icelake_u, count=$cpus, ips=$ips, quantum=16, reset_on_triple_fault=0, ignore_bad_msrs=1, msrs=$run/msrs
memory: guest=1024, host=1024
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$run/boot.iso, status=inserted
boot: cdrom
clock: sync=none, time0=local
com1: enabled=1, $com1
$([ ! -e "$run/beats" ] || echo "com2: enabled=1, mode=file, dev=$run/beats")
log: $run/bochs.log
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
mouse: enabled=0
port_e9_hack: enabled=1
EOF2
# What the fixes 0006 and 0009 added: the length of a CPU's turn, and a CPUID with which Linux turns on
# x2APIC.
BX_SMP_TURN=128 BX_HV=1 exec "$lab/bochs" -q -f "$run/bochsrc"
