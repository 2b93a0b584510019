#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# headers.sh CACHE: what modules for the kernels of the test guests are built against, and prints its
# folder: for each KERNEL/{build,common,kbuild,release}, of just the release that vmi/guest/build.sh has;
# 6.12-cloud is the other flavour of 6.12. KERNEL/modules of the guests' kernels is what the bond is tested
# with, and a list in the order to load them. See lab/packages.sh for the cache; nothing is installed.
# shellcheck disable=SC2034,SC2154 # lab/packages.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lab=$(cd "$here/../lab" && pwd)
venue=headers
guests=$("$here/../vmi/guest/build.sh" "$1")
inputs=("$here/headers.sh")
. "$lab/packages.sh"

# Debian 12's, whose tools run here
kernels=(6.1 6.12 6.12-cloud)
booted=(6.1 6.12)
modules=(bonding e1000e)
for k in "${booted[@]}"; do
	inputs+=("$guests/$k/release")
done

release() { # KERNEL, as 6.1.0-1-amd64
	case $1 in
	*-cloud) sed 's/-amd64$/-cloud-amd64/' "$guests/${1%-cloud}/release" ;;
	*) cat "$guests/$1/release" ;;
	esac
}

# The packages of one: its headers, those of all flavours, the tools, which are all 6.1's alike
packages_of() { # KERNEL
	local r version
	r=$(release "$1")
	version=${r%-amd64}
	version=${version%-cloud}
	echo "linux-headers-$r"
	echo "linux-headers-$version-common"
	case $1 in
	6.1) echo "linux-kbuild-$1" ;;
	*) echo "linux-kbuild-$version" ;;
	esac
}

resolve() {
	local k names=()
	bookworm headers
	for k in "${kernels[@]}"; do
		mapfile -t -O ${#names[@]} names < <(packages_of "$k")
	done
	for k in "${booted[@]}"; do
		names+=("linux-image-$(release "$k")")
	done
	without_dependencies "${names[@]}"
}

kernel() { # KERNEL
	local p r t=$tmp/headers-$1 out=$new/$1
	r=$(release "$1")
	mkdir -p "$t" "$out"
	for p in $(packages_of "$1"); do
		p=${p//./\\.}
		unpack "$(package "${p//+/\\+}_")" "$t"
	done
	echo "$r" >"$out/release"
	mv "$t"/usr/src/linux-headers-*-common "$out/common"
	mv "$t/usr/src/linux-headers-$r" "$out/build"
	mv "$t"/usr/lib/linux-kbuild-* "$out/kbuild"
	# they name places where they are installed
	ln -sfn ../kbuild/scripts "$out/build/scripts"
	ln -sfn ../kbuild/tools "$out/build/tools"
	ln -sfn ../kbuild/scripts "$out/common/scripts"
	ln -sfn ../kbuild/tools "$out/common/tools"
	# the folder is renamed when all of it is there
	# shellcheck disable=SC2016 # make's
	echo 'include $(dir $(realpath $(lastword $(MAKEFILE_LIST))))../common/Makefile' \
		>"$out/build/Makefile"
}

modules() { # KERNEL
	local r t=$tmp/image-$1 p
	r=$(release "$1")
	p=linux-image-${r//./\\.}
	unpack "$(package "${p//+/\\+}_")" "$t"
	kernel_image "$t" "$r" "$tmp/modules-$1" "${modules[@]}"
	mv "$tmp/modules-$1/modules" "$new/$1/modules"
	rm -rf "$t"
}

build() {
	local k
	for k in "${kernels[@]}"; do
		say "kernel $k"
		kernel "$k"
	done
	for k in "${booted[@]}"; do
		modules "$k"
	done
}

# A list of other releases than the guests'
listed() { [ ! -f "$1/$venue.packages" ] || grep -qF " $2_" "$1/$venue.packages"; }
for k in "${kernels[@]}"; do
	listed "$1" "linux-headers-$(release "$k")" || set -- "$1" update
done
for k in "${booted[@]}"; do
	listed "$1" "linux-image-$(release "$k")" || set -- "$1" update
done
lab_build "$@"
