#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh CACHE [update]: the kernels of the guests that introspection is tested with, and prints
# their folder: for each KERNEL/{vmlinux,bzImage,initrd,release}. See lab/packages.sh for the cache.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lab=$(cd "$here/../../lab" && pwd)
venue=guests
inputs=("$here/build.sh")
. "$lab/packages.sh"

# NAME: the suite, and the newest package of this name there
kernels=(5.10 6.1 6.12 6.18 7)
declare -A suite=([5.10]=bullseye [6.1]=bookworm [6.12]=bookworm [6.18]=trixie [7]=trixie)
declare -A image=(
	[5.10]='linux-image-5\.10\.0-[0-9]+-amd64'
	[6.1]='linux-image-6\.1\.0-[0-9]+-amd64'
	[6.12]='linux-image-6\.12\.[0-9]+\+deb12-amd64'
	[6.18]='linux-image-6\.18\.[0-9]+\+deb13-amd64'
	[7]='linux-binary-7\.[0-9]+\.[0-9]+\+deb13-amd64'
)

# What the guest loads at boot: its devices, and modules to be found in its memory
modules=(virtio_pci virtio_console virtio_net virtio_blk ext4 overlay dummy veth bridge af_packet
	qemu_fw_cfg unix_diag inet_diag tcp_diag udp_diag raw_diag netlink_diag af_packet_diag)

resolve() {
	local s k name names
	for s in bullseye bookworm trixie; do
		case $s in
		bullseye) apt_use $s "deb $mirror $s" "deb $security $s-security" ;;
		*) apt_use $s "deb $mirror $s" "deb $mirror $s-updates" \
			"deb $mirror $s-backports" "deb $security $s-security" ;;
		esac
		names=()
		for k in "${kernels[@]}"; do
			[ "${suite[$k]}" = $s ] || continue
			name=$(newest_kernel "${image[$k]}") || exit 1
			names+=("$name")
			# of late in three packages; the last one has the lists of modules
			case $name in
			linux-binary-*)
				names+=("linux-modules-${name#linux-binary-}"
					"linux-base-${name#linux-binary-}")
				;;
			esac
		done
		without_dependencies "${names[@]}"
	done
}

add_package() { # DEB: to $k, whose /lib is part of /usr as in newer packages
	dpkg-deb --fsys-tarfile "$1" | tar x -C "$k" --keep-directory-symlink ||
		die "$1 does not unpack"
}

kernel() { # NAME
	local k=$tmp/kernel-$1 out=$new/$1 deb release vmlinuz
	mkdir -p "$out" "$k/usr/lib"
	ln -s usr/lib "$k/lib"
	deb=$(package "${image[$1]}_")
	add_package "$deb"
	case $deb in
	*/linux-binary-*)
		add_package "${deb/linux-binary-/linux-modules-}"
		add_package "${deb/linux-binary-/linux-base-}"
		;;
	esac
	release=$(ls "$k/lib/modules")
	vmlinuz=$k/boot/vmlinuz-$release
	[ -f "$vmlinuz" ] || vmlinuz=$k/lib/modules/$release/vmlinuz
	echo "$release" >"$out/release"
	cut_vmlinux "$vmlinuz" "$out/vmlinux" || die "$deb: no kernel found in it"
	cp "$vmlinuz" "$out/bzImage"
	kernel_image "$k" "$release" "$tmp/image-$1" "${modules[@]}"
	pack "$tmp/image-$1" >"$out/initrd"
	rm -rf "$k"
}

build() {
	local k
	for k in "${kernels[@]}"; do
		say "kernel $k"
		kernel "$k"
	done
}

lab_build "$@"
