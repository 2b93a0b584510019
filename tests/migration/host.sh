#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# host.sh DIR NAME INDEX: a libvirt "host" of its own on this machine, until it is ended: libvirtd in
# new mount, UTS, network and pid namespaces, with its own /run, /etc/libvirt and state. Its sockets are
# in DIR/NAME, which is the same path inside and outside.
#
# Two of them can migrate to each other, over Unix sockets in DIR: libvirt tells hosts apart by their
# UUID and hostname, which INDEX and NAME make different.
set -eu
dir=$1 name=$2 index=$3
if [ -z "${IHO_HOST_INSIDE-}" ]; then
	mkdir -p "$dir/$name"
	exec env IHO_HOST_INSIDE=1 unshare --mount --uts --net --pid --fork --kill-child=KILL \
		--propagation private bash "$0" "$@"
fi

hostname "$name"
ip link set lo up
mount -t proc proc /proc
for d in /run /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
	mkdir -p "$d"
	mount -t tmpfs -o mode=0755 tmpfs "$d"
done
mkdir -p /run/libvirt /var/log/libvirt/qemu
cat >/etc/libvirt/libvirtd.conf <<CONF
host_uuid = "0000000$index-1111-2222-3333-444444444444"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_dir = "$dir/$name"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0777"
log_outputs = "2:file:$dir/$name/log"
CONF
cat >/etc/libvirt/qemu.conf <<'CONF'
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
max_core = 0
CONF
# Debian's libvirtd looks for its user before it reads that it is to use another one.
for f in passwd group; do
	getent $f libvirt-qemu >/dev/null && continue
	cp /etc/$f "/run/$f"
	[ $f = group ] || echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >>/run/passwd
	[ $f = passwd ] || echo 'libvirt-qemu:x:64055:' >>/run/group
	mount --bind "/run/$f" "/etc/$f"
done
# libvirtd must not be process 1 of its pid namespace: nobody would reap what it leaves, and it would
# wait for that. This shell is, and ends with it.
libvirtd -f /etc/libvirt/libvirtd.conf &
daemon=$!
echo "$daemon" >"$dir/$name/daemon"
trap 'kill "$daemon"' TERM INT
while kill -0 "$daemon" 2>/dev/null; do
	wait -n || true
done
