#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# sources.sh CACHE [update]: what KVM's modules are built from, and prints its folder. See
# tests/lab/packages.sh for the cache; nothing is installed.
#
#	release			6.12.N+deb12, Debian 12's newest; a kernel's release is this and -FLAVOUR
#	source/			of its source: KVM with its headers, what 6.12/core patches, checkpatch
#	source-trixie/		the same of Debian 13's newest 6.12
#	common/, kbuild/	of its headers: what all flavours share, and the tools
#	FLAVOUR/build/		of its headers: configuration, Module.symvers, BTF of vmlinux
#	FLAVOUR/stock/		Debian's kvm.ko, kvm-intel.ko, kvm-amd.ko
# shellcheck disable=SC2034,SC2154 # lab/packages.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lab=$(cd "$here/../tests/lab" && pwd)
venue=kvm
inputs=("$here/sources.sh")
. "$lab/packages.sh"

flavours='amd64 cloud-amd64'
image='linux-image-6\.12\.[0-9]+\+deb12'

resolve() {
	local release version f names=()
	bookworm kvm
	release=$(newest_kernel "$image-amd64") || exit 1
	release=${release#linux-image-}
	release=${release%-amd64}
	for f in $flavours; do
		names+=("linux-image-$release-$f" "linux-headers-$release-$f")
	done
	# the source of just these headers, whatever else there is
	version=$(apt_run apt-cache show "linux-headers-$release-common" |
		sed -n 's/^Version: //p' | head -n 1)
	without_dependencies "linux-headers-$release-common" "linux-kbuild-$release" \
		"linux-source-6.12=$version" "${names[@]}"
	apt_use trixie "deb $mirror trixie" "deb $mirror trixie-updates" \
		"deb $security trixie-security"
	without_dependencies linux-source-6.12
}

# What is patched, built or asked, of 1.4 GB
source_of() { # DEB FOLDER
	local in=linux-source-6.12
	mkdir "$2"
	dpkg-deb --fsys-tarfile "$1" | tar x -O "./usr/src/$in.tar.xz" | xz -dc |
		tar x -C "$2" --strip-components=1 --wildcards "$in"/arch/x86/{include,kvm,kernel/smp.c} \
			"$in"/include/{linux,trace/events,uapi/linux}/kvm* "$in"/virt \
			"$in"/scripts/{checkpatch.pl,spelling.txt,const_structs.checkpatch} ||
		die "$1 does not unpack"
}

build() {
	local release f m t=$tmp/headers
	source_of "$(package 'linux-source-6\.12_[^_]*(~deb12|~bpo12)')" "$new/source"
	source_of "$(package 'linux-source-6\.12_[^_~]*_')" "$new/source-trixie"
	release=$(basename "$(package "$image-amd64_")")
	release=${release#linux-image-}
	release=${release%%-amd64_*}
	echo "$release" >"$new/release"
	for f in common $flavours; do
		unpack "$(package "linux-headers-${release/+/\\+}-${f}_")" "$t"
	done
	unpack "$(package 'linux-kbuild-')" "$t"
	mv "$t/usr/src/linux-headers-$release-common" "$new/common"
	mv "$t/usr/lib/linux-kbuild-$release" "$new/kbuild"
	for f in $flavours; do
		mkdir -p "$new/$f/stock"
		mv "$t/usr/src/linux-headers-$release-$f" "$new/$f/build"
		unpack "$(package "linux-image-${release/+/\\+}-${f}_")" "$tmp/image-$f"
		for m in kvm kvm-intel kvm-amd; do
			xz -dc "$tmp/image-$f/lib/modules/$release-$f/kernel/arch/x86/kvm/$m.ko.xz" \
				>"$new/$f/stock/$m.ko"
		done
	done
}

lab_build "$@"
