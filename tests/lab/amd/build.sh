#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh CACHE [update]: makes CACHE/amd, the AMD venue: root/ (QEMU with its libraries and
# loader), and for each kernel KERNEL/{vmlinux,initrd,release}. See packages.sh for the cache.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lab=$(dirname "$here")
venue=amd
inputs=("$here/build.sh")
. "$lab/packages.sh"

# The newest kernels of these names. The cloud flavour has no 9p.
declare -A kernels=(
	[6.12]='linux-image-6\.12\.[0-9]+\+deb12-amd64'
	[6.1]='linux-image-6\.1\.0-[0-9]+-amd64'
)

resolve() {
	local k name names=()
	cat >"$tmp/bookworm.pin" <<-EOF2
		Package: src:qemu src:seabios
		Pin: release n=bookworm-backports
		Pin-Priority: 700
	EOF2
	bookworm bookworm
	for k in "${!kernels[@]}"; do
		name=$(newest_kernel "${kernels[$k]}") || exit 1
		names+=("$name")
	done
	apt_run apt-get install --print-uris -y qemu-system-x86 | grep "^'"
	without_dependencies "${names[@]}"
}

kernel() { # NAME DEB: $new/NAME
	local k=$tmp/kernel-$1 out=$new/$1 release
	mkdir -p "$out"
	unpack "$2" "$k"
	release=$(ls "$k/lib/modules")
	echo "$release" >"$out/release"
	cut_vmlinux "$k/boot/vmlinuz-$release" "$out/vmlinux" || die "$2: no kernel found in it"
	cp "$k/boot/vmlinuz-$release" "$out/bzImage"
	kernel_image "$k" "$release" "$tmp/image-$1" virtio_pci 9pnet_virtio 9p kvm-amd
	pack "$tmp/image-$1" >"$out/initrd"
}

build() {
	local file k
	while read -r _ file _; do
		case $file in
		linux-image-*) ;;
		*) unpack "$cache/debs/$file" "$new/root" ;;
		esac
	done <"$list"
	rm -rf "$new/root/usr/share/doc" "$new/root/usr/share/man" "$new/root/usr/share/locale"
	for k in "${!kernels[@]}"; do
		kernel "$k" "$(package "${kernels[$k]}_")"
	done
}

lab_build "$@"
