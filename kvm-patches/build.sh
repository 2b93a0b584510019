#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh [-n COUNT] [-x PATCH] [FLAVOUR...]: KVM's modules for Debian 12's newest kernel 6.12, patched with the
# series, or only its first COUNT patches. FLAVOUR is amd64 or cloud-amd64, without one both. With a PATCH
# behind the series, for a test, they are made in a folder of their own, build/kvm-modules-NAME.
# Prints the folders, build/kvm-modules/RELEASE/, with kvm.ko, kvm-intel.ko, kvm-amd.ko.
#
# No kernel is built, see tree.sh. What was built before is kept in RELEASE/work, and make decides what is old.
#
# IHO_LAB   the cache (default ~/.cache/iho)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/tree.sh"
out=$(dirname "$here")/build/kvm-modules
cache=${IHO_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/iho}
count=999

die() {
	echo "iho: kvm-modules: $*" >&2
	exit 1
}

flavour() { # FLAVOUR
	local release work m
	[ -d "$sources/$1/build" ] || die "no flavour $1, only amd64 and cloud-amd64"
	release=$(cat "$sources/release")-$1
	work=$out/$release/work
	# other headers, other objects
	[ "$(cat "$work/sources" 2>/dev/null)" = "$sources" ] || rm -rf "$work"
	mkdir -p "$work"
	echo "$sources" >"$work/sources"
	source_tree "$work/source" "$tmp/patched" "$sources/common" "$sources/kbuild"
	object_tree "$work/object" "$sources/$1/build" "$work/source" "$sources/kbuild"
	make_modules "$work/object" "$work/source" >"$work/log" || {
		grep -E 'error|Error|\*\*\*' "$work/log" | head -n 20 >&2
		die "$release does not build; all of it is in $work/log"
	}
	for m in $KVM_MODULES; do
		strip --strip-debug -o "$out/$release/$m.ko" "$work/source/arch/x86/kvm/$m.ko"
	done
	echo "$out/$release"
}

extra=
while getopts n:x: o; do
	case $o in
	n) count=$OPTARG ;;
	x)
		extra=$(realpath "$OPTARG")
		out=$out-$(basename "$extra" .patch)
		;;
	*) die "usage: build.sh [-n COUNT] [-x PATCH] [FLAVOUR...]" ;;
	esac
done
shift $((OPTIND - 1))
[ $# != 0 ] || set -- amd64 cloud-amd64
for p in x86_64-linux-gnu-gcc-12 patch pahole; do
	command -v "$p" >/dev/null || die "no $p here: packaging/deps.sh kvm"
done
sources=$("$here/sources.sh" "$cache")
mkdir -p "$out"
tmp=$(mktemp -d "$out/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
exec 8>"$out/lock"
flock 8
mkdir "$tmp/patched"
cp -r "$sources"/source/{arch,include,virt} "$tmp/patched/"
"$here/apply.sh" "$tmp/patched" "$count"
[ -z "$extra" ] || patch -s -p1 --fuzz=0 -d "$tmp/patched" <"$extra"
for f in "$@"; do
	flavour "$f"
done
