# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# How KVM's modules are built without building a kernel: a distribution's headers have all that modules
# need, and get what is KVM's own, patched, beside them. For build.sh, and for DKMS.

# What of a kernel's source the series patches, or is built
KVM_SOURCE='arch/x86/include arch/x86/kvm include/linux/kvm* include/trace/events/kvm* include/uapi/linux/kvm* virt'
KVM_MODULES='kvm kvm-intel kvm-amd'

# update FROM TO: the files of FROM to TO, without touching those that are the same
update() {
	local f
	(cd "$1" && find . -type f) | while read -r f; do
		cmp -s "$1/$f" "$2/$f" && continue
		mkdir -p "$2/${f%/*}"
		# it may be a link to the headers
		cp --remove-destination "$1/$f" "$2/$f"
	done
}

# source_tree TREE PATCHED COMMON KBUILD: the headers that all flavours share (COMMON), each a link, and
# among them what is patched; KBUILD has the folders scripts and tools
source_tree() {
	if [ ! -d "$1" ]; then
		rm -rf "$1.new"
		cp -as "$3" "$1.new"
		ln -sfn "$4"/{scripts,tools} "$1.new/"
		mv "$1.new" "$1"
	fi
	update "$2" "$1"
}

# object_tree TREE BUILD SOURCE KBUILD: the folder that a kernel was built in, as far as its headers (BUILD)
# have it, for SOURCE, which source_tree made
object_tree() {
	[ ! -d "$1" ] || return 0
	rm -rf "$1.new"
	cp -a "$2" "$1.new"
	ln -sfn "$4"/{scripts,tools} "$1.new/"
	echo "include $3/Makefile" >"$1.new/Makefile"
	mv "$1.new" "$1"
}

# make_modules OBJECT SOURCE: into SOURCE/arch/x86/kvm; what make says goes to stdout. Fails for any without
# BTF: without vmlinux's, or without pahole, kbuild goes on without.
make_modules() {
	local m
	# KVM is built without warnings; on its own: the make around us may have turned off rules
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -C "$1" -j"$(nproc)" M="$2/arch/x86/kvm" CONFIG_KVM_WERROR=y modules 2>&1 ||
		return
	for m in $KVM_MODULES; do
		readelf -SW "$2/arch/x86/kvm/$m.ko" | grep -q ' \.BTF ' || {
			echo "error: $m.ko has no BTF"
			return 1
		}
	done
}
