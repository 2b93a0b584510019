#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh CACHE [update]: makes CACHE/intel, the Intel venue: bochs (with the fixes of bochs/),
# bios/, and the kernel as 6.12/{bzImage,initrd,release}. See packages.sh for the cache.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lab=$(dirname "$here")
venue=intel
inputs=("$here/build.sh" "$here"/bochs/*.patch "$here/e9.c")
. "$lab/packages.sh"

# The cloud flavour: half as many instructions to boot, and Bochs needs none of its missing drivers
kernel='linux-image-6\.12\.[0-9]+\+deb12-cloud-amd64'

resolve() {
	local name
	bookworm bookworm
	name=$(newest_kernel "$kernel") || exit 1
	without_dependencies "$name"
	# Bochs 3 came with Debian 13; its own binary has the debugger in it and not the fixes
	apt_use trixie "deb $mirror trixie" "deb-src $mirror trixie"
	without_dependencies bochsbios vgabios
	apt_run apt-get source --download-only --print-uris bochs | grep -E "^'[^']*\.orig\.tar"
}

bochs() {
	local src=$tmp/bochs p
	mkdir "$src"
	tar -C "$src" --strip-components=1 -xf "$(package 'bochs_.*\.orig\.tar')"
	for p in "$here"/bochs/*.patch; do
		patch -s -d "$src" -p1 <"$p" || die "$(basename "$p") does not apply to this Bochs"
	done
	say "compiling Bochs"
	(
		cd "$src"
		flags='-O2 -fomit-frame-pointer -pipe'
		./configure --with-nogui --enable-smp --enable-cpu-level=6 --enable-x86-64 \
			--enable-vmx=2 --enable-avx --enable-evex --enable-protection-keys \
			--enable-cet --enable-uintr --enable-amx --enable-pci \
			--enable-all-optimizations --disable-debugger --disable-docbook \
			--disable-plugins CXXFLAGS="$flags" CFLAGS="$flags"
		# its timer's signal handler takes the log's mutex: deadlock
		sed -i 's/^#define BX_SHOW_IPS 1/#define BX_SHOW_IPS 0/' config.h
		# on its own: it needs the built-in rules that the make around us may have turned off
		env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -j"$(nproc)"
	) >"$cache/bochs.log" 2>&1 || {
		tail -n 10 "$cache/bochs.log" >&2
		die "Bochs does not build; all of it is in $cache/bochs.log"
	}
	strip -o "$new/bochs" "$src/bochs"
	unpack "$(package bochsbios_)" "$tmp/bios"
	unpack "$(package vgabios_)" "$tmp/bios"
	mkdir "$new/bios"
	cp "$tmp/bios/usr/share/bochs/BIOS-bochs-latest" "$new/bios/bios"
	cp "$tmp/bios/usr/share/vgabios/vgabios.bin" "$new/bios/vgabios"
}

build() {
	local k=$tmp/kernel image=$tmp/image out=$new/6.12 release
	need g++ g++
	need patch patch
	need xorriso xorriso
	[ -f /usr/lib/ISOLINUX/isolinux.bin ] || die "no isolinux.bin here: install the package isolinux"
	bochs
	mkdir "$out"
	unpack "$(package "${kernel}_")" "$k"
	release=$(ls "$k/lib/modules")
	echo "$release" >"$out/release"
	cp "$k/boot/vmlinuz-$release" "$out/bzImage"
	kernel_image "$k" "$release" "$image" kvm-intel msr
	gcc -static -O2 -o "$image/bin/e9" "$here/e9.c"
	pack "$image" | gzip -1 >"$out/initrd"
}

lab_build "$@"
