#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make.sh KERNEL HEADERS: what DKMS calls, in a folder with tree.sh, apply.sh and 6.12/ beside it: builds KVM's
# modules for the kernel of that release into built/. Everything is of this machine: the headers, and the
# kernel's source as Debian's linux-source-6.12 has it, which must be of the same version.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/tree.sh"
kernel=$1
headers=$(realpath "$2")
source=/usr/src/linux-source-6.12.tar.xz

die() {
	echo "iho-kvm: $*" >&2
	exit 1
}
version() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null; }

wanted=$(version "linux-headers-$kernel") || die "the package linux-headers-$kernel is not installed"
has=$(version linux-source-6.12) && [ -f "$source" ] || die "the package linux-source-6.12 is not installed"
[ "$has" = "$wanted" ] ||
	die "linux-source-6.12 is of version $has, and the kernel $kernel of $wanted:" \
		"apt install linux-source-6.12=$wanted, then dkms autoinstall -k $kernel"

common=$(sed -n 's|^include \(/.*\)/Makefile$|\1|p' "$headers/Makefile")
kbuild=$(dirname "$(realpath "$headers/scripts")")
[ -f "$common/Makefile" ] && [ -d "$kbuild/tools" ] || die "$headers is not like Debian's headers"

rm -rf "$here/work" "$here/built"
mkdir -p "$here/work/patched" "$here/built"
read -ra parts <<<"$KVM_SOURCE"
xz -dc "$source" | tar x -C "$here/work/patched" --strip-components=1 --wildcards "${parts[@]/#/linux-source-6.12/}" ||
	die "$source does not unpack"
"$here/apply.sh" "$here/work/patched"
# Modules without a version are all the same to DKMS, which would leave the kernel's in place
ours=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$here/dkms.conf")
for f in virt/kvm/kvm_main.c arch/x86/kvm/vmx/vmx.c arch/x86/kvm/svm/svm.c; do
	echo "MODULE_VERSION(\"iho-$ours\");" >>"$here/work/patched/$f"
done
source_tree "$here/work/source" "$here/work/patched" "$common" "$kbuild"
object_tree "$here/work/object" "$headers" "$here/work/source" "$kbuild"
make_modules "$here/work/object" "$here/work/source" || die "KVM's modules do not build for $kernel"
for m in $KVM_MODULES; do
	mv "$here/work/source/arch/x86/kvm/$m.ko" "$here/built/"
done
rm -rf "$here/work"
