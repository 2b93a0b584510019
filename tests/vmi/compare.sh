# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Sourced by files.t and network.t, after tap.sh and guest.sh.

# compare TABLE SNAPSHOT KERNEL: the table of the dump beside the guest's own words
compare() {
	local out
	out=$(tests/vmi/compare_network.py "$1" "$2/truth" "$B/iho-query" --format json \
		--dump "$2/dump.elf" 2>&1)
	ok $? "$3: $(tail -n 1 <<<"$out")" || diag "$(head -n 40 <<<"$out")"
}

# compare_all FOLDER TABLE...: each table in a guest of each kernel. What guest/collect does not ask is
# asked before: the sizes of file systems, the PCI slots of interfaces.
compare_all() {
	local d=$1 kernel table
	shift
	for kernel in $(guest_kernels); do
		guest_start guest "$kernel"
		ok $? "$kernel boots" || continue
		guest_run guest 'cut -d" " -f2 /proc/mounts | while read -r p; do p=$(printf "%b" "$p")
			stat -f -c "%s %b %f %a %c %d %n" "$p"; done' >"$d/statfs"
		guest_run guest 'cd /sys/class/net && for i in *; do
			[ -e $i/device ] && p=$(readlink -f $i/device) && echo "$i $(basename "$(dirname "$p")")"; done' >"$d/pci"
		guest_snapshot guest "$d/$kernel"
		ok $? "$kernel: truth and dump"
		guest_stop guest
		mv "$d/statfs" "$d/pci" "$d/$kernel/truth/"
		for table in "$@"; do
			compare "$table" "$d/$kernel" "$kernel"
		done
		# That it can fail at all: with one line less of the truth, there is a row too many
		spoil "$d/$kernel/truth"
		! tests/vmi/compare_network.py "$1" "$d/$kernel/truth" "$B/iho-query" --format json \
			--dump "$d/$kernel/dump.elf" >/dev/null 2>&1
		ok $? "$kernel: $1: a row that the guest does not have is found"
		rm -rf "${d:?}/$kernel"
	done
}
