# SPDX-License-Identifier: GPL-2.0-or-later
# A Linux tenant boots on QEMU and KVM, works a little and ends: every event from its birth to its
# end. Fails when the tenant does not come to its end, which the emulator sometimes causes.
r=/lab/root
lib=$r/usr/lib/x86_64-linux-gnu:$r/lib/x86_64-linux-gnu
top_start linux
truth_begin
export QEMU_MODULE_DIR=$r/usr/lib/x86_64-linux-gnu/qemu
timeout 120 $r/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 \
	--library-path $lib $r/usr/bin/qemu-system-x86_64 -L $r/usr/share/seabios \
	-L $r/usr/share/qemu -name linux -accel kvm -machine q35 -cpu host -smp 2 -m 384 \
	-nodefaults -display none -no-reboot -serial file:linux.serial \
	-kernel /lab/6.12/vmlinux -initrd /lab/6.12/initrd \
	-append "console=ttyS0 quiet panic=-1 mitigations=off iho.tenant"
top_end
truth_end linux
grep "tenant 10" linux.serial
ended=$?
judge events linux
return $ended
