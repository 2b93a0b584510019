#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest's module by DKMS, for the kernels of headers.sh: what is built and found by depmod is what the compiler makes without DKMS,
# a guest loads it, a kernel that lacks what it needs is refused, and nothing is left of it after it is removed.
# DKMS' folders are this script's own, in a namespace of mounts.
if [ "$(id -u)" = 0 ] && [ -z "${IHO_OWN_MOUNTS-}" ]; then
	IHO_OWN_MOUNTS=1 exec unshare --mount --propagation private "$BASH" "$0"
fi
. "$(dirname "$0")/../tap.sh"
need_root
. tests/vmi/guest/guest.sh
cache=${IHO_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/iho}
booted=${KERNELS:-6.1 6.12}

headers=$(tests/guest/headers.sh "$cache") || {
	echo "Bail out! no kernel headers"
	exit 1
}
guest_build || exit 1
for d in /lib/modules /var/lib/dkms /usr/src; do
	mount -t tmpfs tmpfs $d || {
		echo "Bail out! no mount over $d"
		exit 1
	}
done
module=iho-guest/$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' guest-module/dkms.conf)
kernels='6.1 6.12 6.12-cloud'
release() { cat "$headers/$1/release"; }
for k in $kernels; do
	mkdir -p "/lib/modules/$(release "$k")/kernel"
	ln -s "$headers/$k/build" "/lib/modules/$(release "$k")/build"
	touch "/lib/modules/$(release "$k")"/modules.{order,builtin,builtin.modinfo}
done
# 6.1's headers once more, for a kernel that is no guest of KVM's
none=6.1.0-none-amd64
mkdir -p "/lib/modules/$none/build"
cp -as "$headers/6.1/build/." "/lib/modules/$none/build/"
sed '/^CONFIG_KVM_GUEST=/d' "$headers/6.1/build/.config" >"$TMP/config"
cp --remove-destination "$TMP/config" "/lib/modules/$none/build/.config"
everything() { find /lib/modules /var/lib/dkms /usr/src ! -name 'modules.*' ! -name 'mok.*' | sort; }
before=$(everything)

info() { modinfo -F "$1" "$2" | sort; }
symbols() { nm "$1" | awk '{print $(NF - 1), $NF}' | sort; }
make_log() { cat /var/lib/dkms/iho-guest/*/build/make.log 2>/dev/null | tail -n 20; }

cp -r guest-module "$TMP/source"
dkms add "$TMP/source" >"$TMP/log" 2>&1
ok $? "dkms add" || diag "$(cat "$TMP/log")"
for k in $kernels; do
	r=$(release "$k")
	dkms autoinstall -k "$r" >"$TMP/log" 2>&1
	ok $? "$k: dkms autoinstall" || diag "$(cat "$TMP/log")" "$(make_log)"
	is "$(dkms status -k "$r")" "$module, $r, x86_64: installed" "$k: it is installed"
	is "$(modinfo -k "$r" -n iho_guest 2>&1)" "/lib/modules/$r/updates/dkms/iho_guest.ko" "$k: modprobe finds it" ||
		continue
	tests/guest/build.sh "$headers/$k" guest-module "$TMP/want-$k" >"$TMP/log" ||
		diag "$(cat "$TMP/log")"
	got=/lib/modules/$r/updates/dkms/iho_guest.ko want=$TMP/want-$k/iho_guest.ko
	is "$(info vermagic "$got" | cut -d' ' -f1)" "$r" "$k: for this kernel"
	for i in vermagic srcversion depends parm; do
		is "$(info "$i" "$got")" "$(info "$i" "$want")" "$k: $i as without DKMS"
	done
	symbols "$got" >"$TMP/got.symbols"
	symbols "$want" >"$TMP/want.symbols"
	diff "$TMP/got.symbols" "$TMP/want.symbols" >"$TMP/diff"
	ok $? "$k: $(wc -l <"$TMP/want.symbols") symbols as without DKMS" || diag "$(head -n 20 "$TMP/diff")"
done

dkms build "$module" -k $none >"$TMP/log" 2>&1
is "$?, $(grep -c 'BUILD_EXCLUSIVE directive which does not match' "$TMP/log")" "77, 1" \
	"a kernel without CONFIG_KVM_GUEST is refused, and why is said" || diag "$(cat "$TMP/log")"

for k in $booted; do
	r=$(release "$k")
	mkdir -p "$TMP/files-$k"
	cp "/lib/modules/$r/updates/dkms/iho_guest.ko" "$TMP/files-$k/"
	guest_start "$k" "$k" workload=off files="$TMP/files-$k" || {
		ok 1 "$k: a guest with this kernel"
		continue
	}
	guest_run "$k" 'insmod /iho_guest.ko'
	ok $? "$k: a guest loads it"
	is "$(guest_run "$k" 'cat /sys/module/iho_guest/srcversion /sys/kernel/iho_guest/state' | xargs)" \
		"$(info srcversion "$TMP/files-$k/iho_guest.ko") no-kvm" "$k: it is this one, and has no host"
	guest_run "$k" 'rmmod iho_guest && ! ls -d /sys/kernel/iho_guest 2>/dev/null'
	ok $? "$k: and unloads it"
	guest_stop "$k"
done

dkms remove "$module" --all >"$TMP/log" 2>&1
ok $? "dkms remove" || diag "$(cat "$TMP/log")"
# the source, which dkms add has put there
rm -rf "/usr/src/${module/\//-}"
is "$(dkms status)" "" "DKMS knows of no module"
is "$(everything)" "$before" "no file is left"
for k in $kernels; do
	! modinfo -k "$(release "$k")" -n iho_guest >/dev/null 2>&1
	ok $? "$k: modprobe finds none"
done
done_testing
