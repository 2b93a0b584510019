#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The patches of KVM: they apply to Debian's kernels, each of them builds, and what is built fits the
# stock kernel: version, symbols, types. And the patch of the kernel itself, which nobody builds a kernel with here.
. "$(dirname "$0")/../tap.sh"
patches=kvm-patches/6.12
cache=${IHO_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/iho}

mapfile -t series < <(grep -v '^#' $patches/series)
is "$(cd $patches && ls -- *.patch)" "$(printf '%s\n' "${series[@]}" | sort)" "the series has every patch"
core=("$patches"/core/*.patch)
core=("${core[@]#"$patches/"}")
[ -f "$patches/${core[0]}" ]
ok $? "there is a patch of the kernel itself: ${core[*]}"

sources=$(kvm-patches/sources.sh "$cache") || {
	echo "Bail out! no kernel sources"
	exit 1
}
debian=$(cat "$sources/release")

for p in "${series[@]}" "${core[@]}"; do
	# by its standard input: a file that git knows is taken for one of the kernel's; of new files it
	# wants an entry in MAINTAINERS, where a series that is not merged has none
	ignore=FILE_PATH_CHANGES
	# as the kernel's own tracepoints are laid out, which it has no exception for
	! grep -q '^+TRACE_EVENT(' "$patches/$p" || ignore=$ignore,OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT
	perl "$sources/source/scripts/checkpatch.pl" --strict --no-tree --quiet --ignore $ignore - <"$patches/$p" >"$TMP/checkpatch" 2>&1
	ok $? "$p: checkpatch --strict" || diag "$(cat "$TMP/checkpatch")"
	# a long line of the header goes on in the next one
	from=$(sed '/^$/,$d' "$patches/$p" | sed -z 's/\n[ \t]\+/ /g' | sed -n 's/^From: //p')
	grep -qxF "Signed-off-by: $from" "$patches/$p"
	ok $? "$p: signed off by its author" || diag "author: $from"
done

declare -A is_of=([source]='_.*~(deb12|bpo12)' [source-trixie]='_[^~]*$')
for tree in source source-trixie; do
	name=$(grep -E "^linux-source-6\.12${is_of[$tree]}" "$sources/packages")
	cp -r "$sources/$tree" "$TMP/$tree"
	kvm-patches/apply.sh "$TMP/$tree" >"$TMP/apply" 2>&1
	ok $? "the series applies without fuzz to ${name%_all.deb}" || diag "$(cat "$TMP/apply")"
	for p in "${core[@]}"; do
		patch -s -d "$TMP/$tree" -p1 --fuzz=0 --no-backup-if-mismatch -i "$PWD/$patches/$p" >"$TMP/apply" 2>&1
		ok $? "$p applies without fuzz to ${name%_all.deb}" || diag "$(cat "$TMP/apply")"
	done
	is "$(cd "$TMP/$tree" && find . -name '*.rej' -o -name '*.orig')" "" "${name%_all.deb}: nothing is left over"
done

# Each step for one flavour, the last one for all
for i in $(seq 1 $((${#series[@]} - 1))); do
	kvm-patches/build.sh -n "$i" amd64 >"$TMP/build" 2>&1
	ok $? "builds with ${series[$((i - 1))]}" || diag "$(cat "$TMP/build")"
done
kvm-patches/build.sh >"$TMP/built" 2>"$TMP/build"
ok $? "builds with the whole series" || {
	diag "$(cat "$TMP/build")"
	done_testing
	exit
}

# One file of the kernel's, as the kernel itself would have it built: not as a module
for flavour in amd64 cloud-amd64; do
	built=$(grep -x ".*/$debian-$flavour" "$TMP/built")
	mkdir "$TMP/core-$flavour"
	echo 'obj-y := smp.o' >"$TMP/core-$flavour/Kbuild"
	cp "$TMP/source/arch/x86/kernel/smp.c" "$TMP/core-$flavour/"
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -C "$built/work/object" M="$TMP/core-$flavour" KCFLAGS=-Werror \
		smp.o >"$TMP/build" 2>&1 && nm "$TMP/core-$flavour/smp.o" | grep -q ' T sysvec_reboot$'
	ok $? "$flavour: smp.o builds with ${core[*]}, without a warning" || diag "$(cat "$TMP/build")"
done

# CRC and symbol, of a Module.symvers; kvm_x86_vendor_init(), whose argument has KVM's operations, is for kvm-intel and
# kvm-amd alone, which are ours too
others() { awk '$2 != "kvm_x86_vendor_init" {print $1, $2}' | sort; }
crcs() { others <"$1"; }
field() { modinfo -F "$1" "$2"; }

for flavour in amd64 cloud-amd64; do
	built=$(grep -x ".*/$debian-$flavour" "$TMP/built")
	crcs "$sources/$flavour/build/Module.symvers" >"$TMP/kernel"
	crcs "$built/work/source/arch/x86/kvm/Module.symvers" >"$TMP/exports"
	# what our kvm.ko exports and the stock one does not is there whenever ours is
	{
		cat "$TMP/kernel"
		grep -vwFf <(cut -d' ' -f2 "$TMP/kernel") "$TMP/exports"
	} | sort >"$TMP/loaded"
	for m in kvm kvm-intel kvm-amd; do
		new=$built/$m.ko stock=$sources/$flavour/stock/$m.ko
		is "$(field vermagic "$new")" "$(field vermagic "$stock")" "$flavour $m: the kernel's vermagic"
		is "$(field depends "$new")" "$(field depends "$stock")" "$flavour $m: needs the same modules"
		is "$(field parm "$new")" "$(field parm "$stock")" "$flavour $m: has the same parameters"
		modprobe --dump-modversions "$new" | others >"$TMP/imports"
		[ "$(wc -l <"$TMP/imports")" -gt 50 ]
		ok $? "$flavour $m: has versions of what it imports ($(wc -l <"$TMP/imports"))"
		is "$(comm -23 "$TMP/imports" "$TMP/loaded")" "" "$flavour $m: they are the kernel's, or new ones of our kvm.ko"
		bpftool btf dump file "$new" -B "$sources/$flavour/build/vmlinux" >"$TMP/btf" 2>"$TMP/err"
		ok $? "$flavour $m: has BTF on top of the kernel's" || diag "$(cat "$TMP/err")"
	done
	# what other modules, as i915's, import of it
	is "$(comm -13 "$TMP/exports" <(grep x86/kvm/ "$sources/$flavour/build/Module.symvers" | others))" "" \
		"$flavour: exports what the stock modules export, with the same versions"
done
done_testing
