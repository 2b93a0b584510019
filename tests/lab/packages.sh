# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# From Debian's packages to a venue in the cache. Sourced by amd/build.sh and intel/build.sh, which
# define
#
#	venue		its name
#	inputs		files of its own that go into it
#	resolve()	writes the list of packages to stdout: 'URL' FILE SIZE HASH
#	build()		makes the venue in $new, from $cache/debs
#
# and call lab_build CACHE [update]. That leaves
#
#	CACHE/VENUE.packages	which packages, as apt resolved them; kept until `update`
#	CACHE/debs/		those packages
#	CACHE/VENUE-KEY/	made of them; KEY is the hash of the list and of $inputs
#
# and prints the folder of the last line.
#
# apt works on lists, a status and a cache of its own: nothing of this machine's is touched.
#
# Debian is taken from where this machine takes it, or from IHO_MIRROR and IHO_SECURITY_MIRROR.
. "$lab/pack.sh"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

die() {
	echo "iho: lab: $*" >&2
	exit 1
}

# The URL of the first of this machine's sources whose suite is called so
own_mirror() {
	apt-get indextargets --format '$(REPO_URI) $(SUITE) $(COMPONENT)' 'Created-By: Packages' |
		awk -v suite="$1" '$3=="main" && $2~suite {sub("/$", "", $1); print $1; exit}'
}

find_mirrors() {
	need apt-get apt
	mirror=${IHO_MIRROR:-$(own_mirror '^(bookworm|trixie|oldstable|stable)$')}
	[ -n "$mirror" ] || die "this machine's apt has no Debian mirror: set IHO_MIRROR"
	security=${IHO_SECURITY_MIRROR:-$(own_mirror '^(bookworm|trixie|oldstable|stable)-security$')}
	[ -n "$security" ] || security=$mirror-security
}

say() { echo "iho: lab: $venue: $*" >&2; }

need() {
	command -v "$1" >/dev/null || die "no $1 here: install the package $2"
}

# ---- which packages ----

# apt_use NAME SUITE...: apt_run and the others ask these suites from now on; a suite is
# "deb URL SUITE" or "deb-src URL SUITE". What $tmp/NAME.pin says is preferred.
apt_use() {
	local suite
	apt=$tmp/apt-$1
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	[ -f "$tmp/$1.pin" ] || : >"$tmp/$1.pin"
	shift
	for suite in "$@"; do
		echo "${suite%% *} [signed-by=$keyring] ${suite#* } main"
	done >"$apt/sources"
	cat >"$apt/conf" <<-EOF2
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Pre-Install-Pkgs;
		Dir::State "$apt";
		Dir::State::lists "$apt/lists";
		Dir::State::status "$apt/status";
		Dir::Cache "$apt/cache";
		Dir::Etc::sourcelist "$apt/sources";
		Dir::Etc::sourceparts "-";
		Dir::Etc::preferences "$tmp/$(basename "$apt" | cut -c5-).pin";
		Dir::Etc::preferencesparts "-";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		APT::Install-Recommends "false";
		APT::Sandbox::User "";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Debug::NoLocking "true";
	EOF2
	say "asking $mirror for the packages"
	apt_run apt-get update -o APT::Update::Error-Mode=any >/dev/null
}

apt_run() {
	local tool=$1
	shift
	"$tool" -q -c "$apt/conf" "$@" 2>"$tmp/apt.err" || {
		tail -n 15 "$tmp/apt.err" >&2
		die "$tool $* failed, for the reason above"
	}
}

bookworm() { # NAME: Debian 12 with its backports
	apt_use "$1" "deb $mirror bookworm" "deb $mirror bookworm-updates" \
		"deb $mirror bookworm-backports" "deb $security bookworm-security"
}

# newest_kernel REGEX: the name of the newest kernel package that is called so
newest_kernel() {
	local name
	apt_run apt-cache pkgnames linux- >"$tmp/names"
	name=$(grep -xE "$1" "$tmp/names" | sort -V | tail -n 1)
	[ -n "$name" ] || die "no package $1 at $mirror:" \
		"if Debian has moved bookworm to its archive, set IHO_MIRROR"
	echo "$name"
}

# Just these packages: what they depend on is for a machine that installs them
without_dependencies() { apt_run apt-get download --print-uris "$@" | grep "^'"; }

# ---- to the cache ----

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
	mv "$tmp"/debs/* "$cache/debs/"
}

# package REGEX: the file of the package whose file name begins so
package() {
	local file
	file=$(cut -d' ' -f2 "$list" | grep -E "^$1" | head -n 1)
	[ -n "$file" ] || die "no package $1 in $list: lab.sh update makes it anew"
	echo "$cache/debs/$file"
}

unpack() { # FILE FOLDER
	dpkg-deb -x "$1" "$2" || die "$1 does not unpack"
}

# kernel_image TREE RELEASE IMAGE MODULE...: busybox and these modules of an unpacked
# kernel package, with all that they need, in the order to load them
kernel_image() {
	local k=$1 release=$2 image=$3 m f
	shift 3
	mkdir -p "$image/bin" "$image/modules"
	depmod -b "$k" "$release"
	for m in "$@"; do
		modprobe -d "$k" -S "$release" --show-depends "$m" ||
			die "kernel $release has no module $m"
	done | awk '$1=="insmod" && !seen[$2]++ {print $2}' | while read -r f; do
		m=$(basename "${f%.xz}")
		case $f in
		*.xz) xz -dc "$f" >"$image/modules/$m" ;;
		*) cp "$f" "$image/modules/$m" ;;
		esac
		echo "$m" >>"$image/modules/list"
	done
	cp "$(command -v busybox)" "$image/bin/"
}

# Debian's kernel is a compressed ELF file behind a stub; QEMU boots the ELF file itself (PVH),
# which saves the emulated CPU the decompression.
cut_vmlinux() { # VMLINUZ VMLINUX
	/usr/bin/python3 - "$1" "$2" <<-'EOF2'
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
	EOF2
}

# Names what is to be built, VENUE-KEY, and says whether it is there
up_to_date() {
	[ -f "$list" ] || return 1
	goal=$venue-$(cat "$list" "$lab/packages.sh" "$lab/pack.sh" "${inputs[@]}" | sha256sum | cut -c1-16)
	[ -f "$cache/$goal/packages" ]
}

lab_build() { # CACHE [update]
	mkdir -p "$1"
	cache=$(cd "$1" && pwd)
	list=$cache/$venue.packages
	if [ "${2-}" != update ] && up_to_date; then
		echo "$cache/$goal"
		return
	fi
	SECONDS=0
	exec 9>"$cache/$venue.lock"
	flock 9
	tmp=$(mktemp -d "$cache/tmp.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 1' INT TERM
	need dpkg-deb dpkg
	need xz xz-utils
	need zstd zstd
	need depmod kmod
	need busybox busybox-static
	[ -f $keyring ] || die "no $keyring: install the package debian-archive-keyring"
	if [ "${2-}" = update ] || [ ! -f "$list" ]; then
		find_mirrors
		resolve >"$tmp/packages"
		sort -u -o "$tmp/packages" "$tmp/packages"
		mv "$tmp/packages" "$list"
	fi
	# another one may have built it while we waited
	if ! up_to_date; then
		new=$tmp/new
		mkdir "$new"
		fetch
		say "unpacking"
		build
		cut -d' ' -f2 "$list" >"$new/packages"
		mv "$new" "$cache/$goal"
	fi
	say "built in $SECONDS s"
	echo "$cache/$goal"
	# what no one has used for a week
	find "$cache" -maxdepth 1 -name "$venue-*" ! -name "$goal" -mtime +7 -exec rm -rf {} +
}
