#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The memory of a libvirt domain, whose monitor is libvirt's and is left to it. The domain's guest
# writes the address of each page into the page (tests/migration/guest.S).
. "$(dirname "$0")/../tap.sh"
need_root
for p in libvirtd virsh qemu-system-x86_64; do
	command -v $p >/dev/null || skip_all "no $p"
done
unshare --mount --uts --net --pid --fork true 2>/dev/null || skip_all "no namespaces"
. tests/migration/hosts.sh
trap 'hosts_kill; tap_cleanup' EXIT
LIMIT=60
make --no-print-directory -s build/migration/guest.elf "$B/vmi-tests/look" >&2 || exit 1
host_start a 1 || exit 1
tenant a vmi-tenant 64 "32 1 1000" || exit 1

pages=$(seq $((0x200000)) $((4096 * 1111)) $((0x200000 + 31 * 1048576)))
# shellcheck disable=SC2086
printf 'read %d 4\n' $pages 0x3fffff0 0x4000000 | timeout 60 "$B/vmi-tests/look" vmi-tenant >"$TMP/look" 2>&1
# shellcheck disable=SC2086
want=$(printf '%08x\n' $pages | sed 's/\(..\)\(..\)\(..\)\(..\)/\4\3\2\1/')
is "$(sed '1,/^ready$/d' "$TMP/look" | head -n -2)" "$want" "each page holds its address" || diag "$(cat "$TMP/look")"
is "$(tail -n 1 "$TMP/look")" EFAULT "behind the last page is no memory"
is "$(sed -n 's/^region //p' "$TMP/look")" "0 0x4000000 pread" "64 MiB, private to QEMU"
like "$(cat "$TMP/look")" '^layout guessed: pc' "the layout is a guess, and says so"
is "$(on a domstate vmi-tenant)" "running" "libvirt and its domain go on"
done_testing
