#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes a folder the root of the namespaces that it runs in, and systemd their first process:
# package_boot.sh ROOT CGROUP. For package.t; what it can reach of this machine is read-only.
set -eu
cd "$1"
cgroup=$2

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --rbind /sys sys
umount -R sys/fs/cgroup
mount -o remount,bind,ro sys
mount --bind "$cgroup" sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp

# Nothing but what is asked for: no udev, no sysctl, no services of this machine.
rm -rf {lib,etc}/systemd/system/*.{wants,requires}
for t in sysinit basic; do
	printf '[Unit]\nDescription=nothing\nDefaultDependencies=no\n' >etc/systemd/system/$t.target
done
# A container's image may forbid its packages to start and stop services.
rm -f usr/sbin/policy-rc.d

mkdir tmp/old
pivot_root . tmp/old
umount -l /tmp/old
rmdir /tmp/old
export container=iho
exec /lib/systemd/systemd --system --unit=basic.target --log-target=journal --show-status=no </dev/null
