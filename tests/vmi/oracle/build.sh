#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh CACHE RELEASE: the vmlinux with DWARF of Debian's kernel RELEASE, from its debug package
# (about 860 MB), and prints its folder. See lab/packages.sh for the cache.
# shellcheck disable=SC2034,SC2154 # lab/packages.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lab=$(cd "$here/../../lab" && pwd)
release=$2
venue=oracle-$release
inputs=("$here/build.sh")
. "$lab/packages.sh"

resolve() {
	bookworm oracle
	without_dependencies "linux-image-$release-dbg"
}

build() {
	local deb hash
	deb=$(package "linux-image-$release-dbg_")
	# it may have been in the cache before: what was downloaded now, apt has checked
	hash=$(grep -oE 'SHA256:[0-9a-f]{64}' "$list" | cut -d: -f2)
	echo "$hash  $deb" | sha256sum --check --quiet >&2 || die "$deb is not what Debian signed"
	# tar has enough before the end, of which dpkg-deb complains
	dpkg-deb --fsys-tarfile "$deb" 2>"$tmp/dpkg.err" |
		tar x -C "$new" --transform 's|.*/||' --occurrence=1 "./usr/lib/debug/boot/vmlinux-$release" ||
		die "$deb has no vmlinux: $(cat "$tmp/dpkg.err")"
	mv "$new/vmlinux-$release" "$new/vmlinux"
}

lab_build "$1"
