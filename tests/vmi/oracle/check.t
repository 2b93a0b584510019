#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Tables of a dump of the 6.1 guest beside drgn and crash on the same dump, which have the kernel's
# DWARF, and nm on that kernel; see compare.py.
. "$(dirname "$0")/../../tap.sh"
. tests/vmi/guest/guest.sh
need_root
for tool in drgn crash; do
	command -v $tool >/dev/null || {
		echo "Bail out! no $tool here: install python3-drgn and crash"
		exit 1
	}
done
guest_build || exit 1
oracle=$(tests/vmi/oracle/build.sh "$GUEST_CACHE" "$(cat "$GUEST_LAB/6.1/release")")
ok $? "the debug package of the guest's kernel" || exit 1

guest_start guest 6.1 smp=2 vmcoreinfo=on
ok $? "6.1 boots" || exit 1
guest_freeze guest && guest_dump guest "$TMP/dump.elf"
ok $? "it is dumped" || exit 1
guest_stop guest

compare() { # TABLE [--spoil]
	tests/vmi/oracle/compare.py "$1" "$TMP/dump.elf" "$oracle/vmlinux" "$B/iho-query" \
		--format json --dump "$TMP/dump.elf" "${@:2}" 2>&1
}

for table in processes threads kernel_modules mounts process_open_files paths process_memory_map \
	process_open_sockets bpf_programs kernel_log idt crash:kernel_modules crash:vcpus \
	nm:kernel_symbols; do
	out=$(compare $table)
	ok $? "$(tail -n 1 <<<"$out")" || diag "$(head -n 40 <<<"$out")"
	out=$(compare $table --spoil)
	[ $? = 1 ] && [ "$(grep -c "^only " <<<"$out")" = 1 ] && grep -q "^only ours" <<<"$out"
	ok $? "$table: a row that the oracle does not have is found" || diag "$out"
done
done_testing
