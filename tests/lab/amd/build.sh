#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh CACHE [update]: makes CACHE/amd, the AMD venue, from Debian's packages.
#
#   CACHE/amd.packages   which packages, as apt resolved them: URL, file, hash; kept until `update`
#   CACHE/debs/          those packages
#   CACHE/amd-KEY/       made of them: root/ (QEMU), and for each kernel vmlinux and initrd
#   CACHE/amd            link to the current one
# KEY is the hash of that list and of the lab's own files that go into it.
#
# apt works on lists, a status and a cache of its own: nothing of this machine's is touched.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cache=$(cd "$1" && pwd)
list=$cache/amd.packages
mirror=${IHO_MIRROR:-http://deb.debian.org/debian}
security=${IHO_SECURITY_MIRROR:-${mirror}-security}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# What the lab is made of: the newest kernels of these names. The cloud flavour has no 9p.
qemu='qemu-system-x86'
tools='busybox-static kmod'
declare -A kernels=(
	[6.12]='linux-image-6\.12\.[0-9]+\+deb12-amd64'
	[6.1]='linux-image-6\.1\.0-[0-9]+-amd64'
)

die() {
	echo "iho: lab: $*" >&2
	exit 1
}

say() { echo "iho: lab: $*" >&2; }

need() {
	command -v "$1" >/dev/null || die "no $1 here: install the package $2"
}

key() { cat "$list" "$here/build.sh" "$here/init" | sha256sum | cut -c1-16; }

apt_setup() {
	apt=$tmp/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	printf "deb [signed-by=$keyring] %s\n" "$mirror bookworm main" \
		"$mirror bookworm-updates main" "$mirror bookworm-backports main" \
		"$security bookworm-security main" >"$apt/sources"
	cat >"$apt/preferences" <<-EOF
		Package: src:qemu src:seabios
		Pin: release n=bookworm-backports
		Pin-Priority: 700
	EOF
	cat >"$apt/conf" <<-EOF
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Pre-Install-Pkgs;
		Dir::State "$apt";
		Dir::State::lists "$apt/lists";
		Dir::State::status "$apt/status";
		Dir::Cache "$apt/cache";
		Dir::Etc::sourcelist "$apt/sources";
		Dir::Etc::sourceparts "-";
		Dir::Etc::preferences "$apt/preferences";
		Dir::Etc::preferencesparts "-";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		APT::Install-Recommends "false";
		APT::Sandbox::User "";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Debug::NoLocking "true";
	EOF
}

apt_run() {
	local tool=$1
	shift
	"$tool" -q -c "$apt/conf" "$@" 2>"$tmp/apt.err" || {
		tail -n 15 "$tmp/apt.err" >&2
		die "$tool $* failed, for the reason above"
	}
}

# Writes the list of packages: 'URL' FILE SIZE HASH
resolve() {
	local k name names=()
	need apt-get apt
	[ -f $keyring ] || die "no $keyring: install the package debian-archive-keyring"
	say "asking $mirror for the packages"
	apt_setup
	apt_run apt-get update >/dev/null
	apt_run apt-cache pkgnames linux-image- >"$tmp/names"
	for k in "${!kernels[@]}"; do
		name=$(grep -xE "${kernels[$k]}" "$tmp/names" | sort -V | tail -n 1)
		[ -n "$name" ] || die "no package ${kernels[$k]} at $mirror:" \
			"if Debian has moved bookworm to its archive, set IHO_MIRROR"
		names+=("$name")
	done
	apt_run apt-get install --print-uris -y $qemu >"$tmp/uris"
	# a kernel's dependencies are for a machine that installs it
	apt_run apt-get download --print-uris $tools "${names[@]}" >>"$tmp/uris"
	grep "^'" "$tmp/uris" | sort -u >"$tmp/packages"
	mv "$tmp/packages" "$list"
}

# Downloads what is not there yet; the hashes are those of Debian's signed index
fetch() {
	local uri file hash jobs=()
	mkdir -p "$cache/debs" "$tmp/debs"
	while read -r uri file _ hash; do
		[ -f "$cache/debs/$file" ] && continue
		uri=${uri#\'}
		jobs+=("${uri%\'}" "$tmp/debs/$file" "$hash")
	done <"$list"
	[ ${#jobs[@]} = 0 ] && return
	say "downloading $((${#jobs[@]} / 3)) packages"
	if ! /usr/lib/apt/apt-helper -o Acquire::Retries=3 -o APT::Sandbox::User= \
		download-file "${jobs[@]}" >"$tmp/fetch.log" 2>&1; then
		grep -E '^(E|Err)' "$tmp/fetch.log" >&2 || tail -n 5 "$tmp/fetch.log" >&2
		die "no package, see above; if the mirror has a newer one by now: lab.sh update"
	fi
	mv "$tmp"/debs/*.deb "$cache/debs/"
}

unpack() { # FILE FOLDER
	dpkg-deb -x "$cache/debs/$1" "$2" || die "$1 does not unpack"
}

# Debian's kernel is a compressed ELF file behind a stub; QEMU boots the ELF file itself (PVH),
# which saves the emulated CPU the decompression.
cut_vmlinux() { # VMLINUZ VMLINUX
	/usr/bin/python3 - "$1" "$2" <<-'EOF'
		import subprocess, sys
		data = open(sys.argv[1], 'rb').read()
		for magic, tool in ((b'\x28\xb5\x2f\xfd', 'zstd'), (b'\xfd7zXZ\0', 'xz')):
		    at = data.find(magic)
		    while at >= 0:
		        # the rest of the file is no part of it: the ELF magic says if it worked
		        out = subprocess.run([tool, '-dcq'], input=data[at:],
		                             capture_output=True).stdout
		        if out[:4] == b'\x7fELF':
		            open(sys.argv[2], 'wb').write(out)
		            sys.exit()
		        at = data.find(magic, at + 1)
		sys.exit('no ELF kernel in ' + sys.argv[1])
	EOF
}

# kernel NAME DEB: $new/NAME/vmlinux, initrd and release
kernel() {
	local k=$tmp/kernel-$1 image=$tmp/image-$1 out=$new/$1 release m f
	mkdir -p "$out" "$image/bin" "$image/modules"
	unpack "$2" "$k"
	release=$(ls "$k/lib/modules")
	echo "$release" >"$out/release"
	cut_vmlinux "$k/boot/vmlinuz-$release" "$out/vmlinux" || die "$2: no kernel found in it"
	kmod depmod -b "$k" "$release"
	for m in virtio_pci 9pnet_virtio 9p kvm-amd; do
		kmod modprobe -d "$k" -S "$release" --show-depends "$m" ||
			die "$2 has no module $m"
	done | awk '$1=="insmod" && !seen[$2]++ {print $2}' | while read -r f; do
		m=$(basename "${f%.xz}")
		case $f in
		*.xz) xz -dc "$f" >"$image/modules/$m" ;;
		*) cp "$f" "$image/modules/$m" ;;
		esac
		echo "$m" >>"$image/modules/list"
	done
	cp "$new/root/bin/busybox" "$image/bin/"
	cp "$here/init" "$image/init"
	chmod 755 "$image/init"
	(cd "$image" && find . | "$new/root/bin/busybox" cpio -o -H newc 2>/dev/null) >"$out/initrd"
}

kmod() { # TOOL OPTION...: from the unpacked package
	local r=$new/root tool=$1
	shift
	"$r/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" --argv0 "$tool" \
		--library-path "$r/usr/lib/x86_64-linux-gnu:$r/lib/x86_64-linux-gnu" \
		"$r/bin/kmod" "$@"
}

build() {
	local file k
	need dpkg-deb dpkg
	need xz xz-utils
	need zstd zstd
	fetch
	say "unpacking"
	while read -r _ file _; do
		case $file in
		linux-image-*) ;;
		*) unpack "$file" "$new/root" ;;
		esac
	done <"$list"
	rm -rf "$new/root/usr/share/doc" "$new/root/usr/share/man" "$new/root/usr/share/locale"
	for k in "${!kernels[@]}"; do
		file=$(cut -d' ' -f2 "$list" | grep -E "^${kernels[$k]}_")
		kernel "$k" "$file"
	done
	cut -d' ' -f2 "$list" >"$new/packages"
}

# Names what is to be built, amd-KEY, and says whether it is there
up_to_date() {
	[ -f "$list" ] || return 1
	goal=amd-$(key)
	[ -f "$cache/$goal/packages" ]
}

link() { ln -sfn "$goal" "$cache/amd"; }

if [ "${2-}" != update ] && up_to_date; then
	link
	exit 0
fi
SECONDS=0
exec 9>"$cache/lock"
flock 9
tmp=$(mktemp -d "$cache/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
if [ "${2-}" = update ] || [ ! -f "$list" ]; then
	resolve
fi
# another one may have built it while we waited
if ! up_to_date; then
	new=$tmp/new
	mkdir "$new"
	build
	rm -rf "${cache:?}/$goal"
	mv "$new" "$cache/$goal"
fi
link
say "built in $SECONDS s: $cache/$goal, kernels" "$(cat "$cache"/amd/*/release | xargs)"
