#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs the Debian packages that a task needs: deps.sh build|check|bench|kvm
# Does nothing, quickly, where all of them are there.
set -eu

# build: clang compiles the BPF programs, bpftool makes their skeleton; the libraries are named in README.md.
build='make gcc libc6-dev pkg-config clang llvm bpftool libbpf-dev libelf-dev zlib1g-dev
	libncurses-dev libjansson-dev libtraceevent-dev linux-libc-dev
	libevent-dev libsystemd-dev libcap-ng-dev libseccomp-dev
	libmicrohttpd-dev libgnutls28-dev libyaml-dev libcrypt-dev libvirt-dev
	libsqlite3-dev libkdumpfile-dev libedit-dev libpcre2-dev nettle-dev
	liblzma-dev libzstd-dev'
# check: unit tests, TAP runner, terminal driver, schema validation, analysers, man page checks; what
# the lab is built with, and the tools that it compares with; the browser that the live page is tested in;
# last, what the Debian packages are built and judged with.
check='libcmocka-dev perl tmux python3-jsonschema valgrind cppcheck linux-perf procps util-linux
	prometheus python3-prometheus-client chromium
	strace mandoc jq libclang-rt-14-dev qemu-system-x86 git
	xz-utils zstd debian-archive-keyring kmod busybox-static g++ patch xorriso isolinux
	syslinux-common trace-cmd bpftrace curl openssl python3 python3-yaml
	libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients
	build-essential debhelper dh-dkms dkms lintian systemd iproute2 e2fsprogs'
# bench: the peers that the suite is compared with.
bench='bpftrace linux-perf bpfcc-tools python3 strace jq prometheus curl tmux'
# kvm: what patched modules of KVM are built with: the kernel's compiler, BTF, what unpacks its source.
kvm='make gcc-12 libelf-dev zlib1g-dev patch pahole xz-utils zstd kmod busybox-static debian-archive-keyring'
# The live page is put together by node, with what npm brings. Both are often there from elsewhere than
# Debian, whose packages would then conflict: only what the commands lack is asked for.
command -v node >/dev/null || build="$build nodejs"
command -v npm >/dev/null || build="$build npm"

case ${1-} in
build) want=$build ;;
check) want="$build $check $kvm" ;;
bench) want="$build $bench" ;;
kvm) want=$kvm ;;
*)
	echo "usage: deps.sh build|check|bench|kvm" >&2
	exit 2
	;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "iho: this is not a Debian system: install the equivalents of these packages yourself:" \
		$want >&2
	[ -n "${IHO_DEPS_OK-}" ] && exit 0
	echo "iho: then run make with IHO_DEPS_OK=1" >&2
	exit 1
fi

missing=
for p in $want; do
	case $(dpkg-query -W -f '${Status}' "$p" 2>/dev/null) in
	*' installed') ;;
	*) missing="$missing $p" ;;
	esac
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" != 0 ]; then
	echo "iho: packages are missing; as root: apt-get install --no-install-recommends$missing" >&2
	exit 1
fi
echo "iho: installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
opts='-y -q --no-install-recommends -o DPkg::Lock::Timeout=600'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The lists may be old: refresh them once when the install does not go through.
if ! apt-get install $opts $missing >"$log" 2>&1 &&
	! { apt-get update -q && apt-get install $opts $missing; } >"$log" 2>&1; then
	tail -n 5 "$log" >&2
	echo "iho: apt-get could not install:$missing" >&2
	exit 1
fi
