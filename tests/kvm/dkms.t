#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The DKMS packages, installed into an overlay over this machine's root that has Debian's headers of 6.12, of the cloud kernel, and
# its stock modules of KVM: what is built is what make kvm-modules makes and what depmod finds first; another version of the
# kernel's source is refused in words; when the packages are gone all is as before. The overlay and the mounts are this script's own.
if [ "$(id -u)" = 0 ] && [ -z "${IHO_OWN_MOUNTS-}" ]; then
	IHO_OWN_MOUNTS=1 exec unshare --mount --propagation private "$BASH" "$0"
fi
. "$(dirname "$0")/../tap.sh"
need_root
cache=${IHO_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/iho}
sources=$(kvm-patches/sources.sh "$cache") || {
	echo "Bail out! no kernel sources"
	exit 1
}
release=$(cat "$sources/release")
packaging/deb.sh "$TMP/deb" -A >"$TMP/deb.out" 2>&1
ok $? "the packages are built" || {
	diag "$(cat "$TMP/deb.out")"
	done_testing
	exit 0
}
built=$(kvm-patches/build.sh) || {
	echo "Bail out! the patched KVM cannot be built"
	exit 1
}

# Not below $TMP: what removes that must not walk into mounts. These end with the namespace.
W=/mnt
mount -t tmpfs tmpfs $W && mkdir $W/{up,work,root} &&
	mount -t overlay overlay -o lowerdir=/,upperdir=$W/up,workdir=$W/work $W/root || skip_all "no overlay over / here"
R=$W/root
in_root() { chroot "$R" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
mount --bind /proc "$R/proc"
mount --rbind /sys "$R/sys"
mount --rbind /dev "$R/dev"
mount -t tmpfs tmpfs "$R/tmp"
# as if the running kernel were none of Debian's: only those of the headers are built for
rm -rf "$R"/lib/modules/*
mkdir "$R/tmp/deb"
cp "$TMP"/deb/*.deb "$R/tmp/deb/"
# one of the two: what is built is built alike
flavours=cloud-amd64
for f in $flavours; do
	mkdir -p "$R/lib/modules/$release-$f/kernel/arch/x86/kvm"
	cp "$sources/$f"/stock/*.ko "$R/lib/modules/$release-$f/kernel/arch/x86/kvm/"
	# as Debian has them: DKMS compresses its own alike
	xz --check=crc32 "$R/lib/modules/$release-$f"/kernel/arch/x86/kvm/*.ko
	touch "$R/lib/modules/$release-$f"/modules.{order,builtin,builtin.modinfo}
done
debs() { for p; do ls "$cache"/debs/"$p"_*; done; }
# shellcheck disable=SC2046
cp $(debs "linux-headers-$release-"{cloud-amd64,common} "linux-kbuild-$release") \
	"$(ls "$cache"/debs/linux-source-6.12_*{~deb12,~bpo12}*.deb 2>/dev/null | head -n 1)" "$R/tmp/"
# linux-base is not there, whose hooks would have DKMS build for the headers: that is done below
printf '#!/bin/sh\n' >"$R/usr/bin/linux-run-hooks"
chmod +x "$R/usr/bin/linux-run-hooks"
in_root sh -c 'dpkg -i --force-depends /tmp/*.deb' >"$TMP/dpkg" 2>&1
ok $? "Debian's headers and source are installed" || diag "$(tail -n 20 "$TMP/dpkg")"

# path FLAVOUR MODULE: what modprobe would load
path() { in_root modinfo -k "$release-$1" -n "$2" 2>/dev/null | sed "s|/lib/modules/$release-$1/||"; }
info() { modinfo -F "$1" "$2" | sort; }
symbols() { nm "$1" | awk '{print $NF}' | grep -v UNIQUE_ID | sort; }
for f in $flavours; do
	in_root depmod "$release-$f"
	is "$(path "$f" kvm_intel)" kernel/arch/x86/kvm/kvm-intel.ko.xz "$f: before, Debian's KVM is what is loaded"
done
before=$(cd "$R/lib/modules" && find . ! -name 'modules.*' | sort)

in_root sh -c 'dpkg -i --force-depends /tmp/deb/*-dkms_*.deb' >"$TMP/dpkg" 2>&1
ok $? "dpkg -i" || diag "$(tail -n 40 "$TMP/dpkg")"
for f in $flavours; do
	in_root dkms autoinstall -k "$release-$f" >"$TMP/dkms" 2>&1
	ok $? "$f: dkms autoinstall" || diag "$(tail -n 20 "$TMP/dkms")"
	is "$(in_root dkms status -k "$release-$f" | sort | xargs)" \
		"iho-guest/0.1.0, $release-$f, x86_64: installed iho-kvm/0.1.0, $release-$f, x86_64: installed" "$f: both are installed" ||
		diag "$(in_root dkms status)" "$(tail -n 30 "$R"/var/lib/dkms/*/*/build/make.log 2>/dev/null)"
	ours=$(grep "/$release-$f\$" <<<"$built")
	for m in kvm kvm-intel kvm-amd; do
		is "$(path "$f" ${m/-/_})" "updates/dkms/$m.ko.xz" "$f: $m: is what is loaded next"
		new=$TMP/$f-$m.ko
		xz -dc "$R/lib/modules/$release-$f/updates/dkms/$m.ko.xz" >"$new"
		is "$(info vermagic "$new") $(info depends "$new") $(info parm "$new")" \
			"$(info vermagic "$ours/$m.ko") $(info depends "$ours/$m.ko") $(info parm "$ours/$m.ko")" \
			"$f: $m: for the same kernel, with the same parameters as that of make kvm-modules"
		is "$(info version "$new")" "iho-0.1.0" "$f: $m: has our version, by which one knows it"
		is "$(modprobe --dump-modversions "$new" | sort | md5sum)" "$(modprobe --dump-modversions "$ours/$m.ko" | sort | md5sum)" \
			"$f: $m: imports the same"
		cmp -s <(symbols "$new") <(symbols "$ours/$m.ko")
		ok $? "$f: $m: has the same symbols" || diag "$(diff <(symbols "$new") <(symbols "$ours/$m.ko") | head)"
	done
	is "$(info vermagic "$R/lib/modules/$release-$f/updates/dkms/iho_guest.ko.xz" | cut -d' ' -f1)" "$release-$f" "$f: iho_guest: for this kernel"
done

# Another kernel than the source is of
in_root dkms uninstall iho-kvm/0.1.0 -k "$release-$flavours" >/dev/null 2>&1
in_root dkms unbuild iho-kvm/0.1.0 -k "$release-$flavours" >/dev/null 2>&1
is "$(path $flavours kvm)" kernel/arch/x86/kvm/kvm.ko.xz "dkms uninstall: Debian's is what is loaded"
cp "$R/var/lib/dpkg/status" "$TMP/status"
awk '/^Package: / {p = $2} p == "linux-source-6.12" && /^Version: / {$0 = "Version: 6.12.1-1"} {print}' "$TMP/status" >"$R/var/lib/dpkg/status"
in_root dkms build iho-kvm/0.1.0 -k "$release-$flavours" >"$TMP/dkms" 2>&1
[ $? != 0 ] && grep -q 'linux-source-6.12 is of version 6.12.1-1' "$R"/var/lib/dkms/iho-kvm/0.1.0/build/make.log
ok $? "source of another version: refused, and why" || diag "$(cat "$TMP/dkms")" "$(cat "$R"/var/lib/dkms/iho-kvm/0.1.0/build/make.log)"
cp "$TMP/status" "$R/var/lib/dpkg/status"

in_root dpkg --purge iho-guest-dkms >"$TMP/dpkg" 2>&1
ok $? "dpkg --purge iho-guest-dkms" || diag "$(tail -n 20 "$TMP/dpkg")"
# the headers of a kernel that the patches are not for
other=6.1.0-1-amd64
mkdir -p "$R/lib/modules/$other/build/include"
in_root dkms build iho-kvm/0.1.0 -k $other >"$TMP/dkms" 2>&1
is "$?, $(grep -c 'BUILD_EXCLUSIVE directive which does not match' "$TMP/dkms")" "77, 1" "a kernel other than 6.12: refused, and why" ||
	diag "$(cat "$TMP/dkms")"
in_root /etc/kernel/header_postinst.d/dkms $other >"$TMP/dkms" 2>&1
ok $? "but its own installation goes on" || diag "$(cat "$TMP/dkms")"
rm -r "$R/lib/modules/$other"
in_root dpkg --purge iho-kvm-dkms >"$TMP/dpkg" 2>&1
ok $? "dpkg --purge iho-kvm-dkms" || diag "$(tail -n 20 "$TMP/dpkg")"
is "$(cd "$R/lib/modules" && find . ! -name 'modules.*' | sort)" "$before" "no module of ours is left"
is "$(in_root dkms status)" "" "nor is anything with DKMS"
for f in $flavours; do
	is "$(path "$f" kvm_intel)" kernel/arch/x86/kvm/kvm-intel.ko.xz "$f: Debian's KVM is what is loaded"
done
done_testing
