#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest's kernel, found without a profile, beside what the guest says of it: each kernel, with and
# without KASLR, five levels of page tables, page table isolation, from 256 MiB to 4 GiB, live and as a
# dump, with and without registers; and beside decoys. KERNELS="6.12 7" limits it.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
need_root
make --no-print-directory -s "$B/vmi-tests/kernel_probe" >&2 || exit 1
guest_build || exit 1
read -ra KERNELS <<<"${KERNELS:-$(guest_kernels | xargs)}"
PATH=$PATH:/usr/sbin:/sbin

# What the guest says, each as a file in $TMP: the head of /proc/kcore tells where the kernel maps RAM
truth() {
	local what
	for what in 'kallsyms:cat /proc/kallsyms' 'version:cat /proc/version' 'release:uname -r' \
		'iomem:cat /proc/iomem' 'notes:cat /sys/kernel/notes' 'btf:cat /sys/kernel/btf/vmlinux' \
		'possible:cat /sys/devices/system/cpu/possible' 'cpuinfo:cat /proc/cpuinfo' 'kcore:dd if=/proc/kcore bs=4096 count=1 2>/dev/null'; do
		guest_run k "${what#*:}" >"$TMP/${what%%:*}"
	done
	# Only shown where the kernel uses it: 5.10 of Debian cannot (CONFIG_X86_5LEVEL)
	LA57=$(grep -qw la57 "$TMP/cpuinfo" && echo 1 || echo 0)
	[ "$LA57" = 0 ] || FIVE_LEVELS=$((FIVE_LEVELS + 1))
	grep -v '\[' "$TMP/kallsyms" >"$TMP/symbols"
	bpftool -j btf dump file "$TMP/btf" >"$TMP/types"
	OFFSETS=$(offsets_of task_struct.pid task_struct.comm mm_struct.pgd | xargs)
	SIZE=$(size_of task_struct)
	TYPES=$(count_types)
}

fact() { sed -n "s/^$1 //p" "$TMP/found"; } # KEY

of_notes() { # the build id
	od -An -v -tx1 "$TMP/notes" | tr -d ' \n' | sed -nE 's/.*040000001400000003000000474e5500([0-9a-f]{40}).*/\1/p'
}

# Where the direct map is by /proc/kcore: what is there less where it is in RAM
of_kcore() {
	python3 - "$TMP/kcore" <<'EOP'
import struct, sys
b = open(sys.argv[1], 'rb').read()
off, size, n = struct.unpack_from('<Q', b, 32)[0], *struct.unpack_from('<HH', b, 54)
direct = set()
for i in range(n):
    if off + (i + 1) * size > len(b):
        break
    kind, _, _, vaddr, paddr = struct.unpack_from('<IIQQQ', b, off + i * size)
    if kind == 1 and vaddr < 0xffffffff80000000 and 0 < paddr < 1 << 40:
        direct.add(vaddr - paddr)
print(*(f'{d:016x}' for d in sorted(direct)))
EOP
}

# Offsets of members, also those in anonymous structs, as bpftool has them: STRUCT.MEMBER...
offsets_of() {
	python3 - "$TMP/types" "$@" <<'EOP'
import json, sys
types = {t['id']: t for t in json.load(open(sys.argv[1]))['types']}

def find(t, member, base):
    for m in t['members']:
        at = base + m['bits_offset'] // 8
        if m['name'] == member:
            return at
        inner = types[m['type_id']]
        if m['name'] == '(anon)' and 'members' in inner:
            found = find(inner, member, at)
            if found is not None:
                return found

for path in sys.argv[2:]:
    struct, member = path.split('.')
    print(next(find(t, member, 0) for t in types.values() if t['kind'] == 'STRUCT' and t['name'] == struct))
EOP
}

size_of() {
	python3 -c 'import json, sys
print(next(t["size"] for t in json.load(open(sys.argv[1]))["types"] if t["kind"] == "STRUCT" and t["name"] == sys.argv[2]))' \
		"$TMP/types" "$1"
}

count_types() {
	python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["types"]))' "$TMP/types"
}

# All facts of one probe: NAME KIND TARGET [OPTION]
compare() {
	local name=$1
	shift
	rm -f "$TMP/ours"
	timeout 120 "$B/vmi-tests/kernel_probe" "$1" "$2" "$TMP/ours" ${3+"$3"} >"$TMP/found" 2>&1
	is "$? $(fact level)" "0 3" "$name: all is found" || { diag "$(cat "$TMP/found")"; return; }
	is "$(fact missing)" "" "$name: nothing is missing"
	cmp -s "$TMP/symbols" "$TMP/ours"
	ok $? "$name: all $(wc -l <"$TMP/symbols") symbols are those of /proc/kallsyms" ||
		diag "$(diff "$TMP/symbols" "$TMP/ours" | head -5)"
	is "$(fact build_id)" "$(of_notes)" "$name: the build id"
	is "$(fact banner)" "$(cat "$TMP/version")" "$name: the banner"
	is "$(fact release)" "$(cat "$TMP/release")" "$name: the release"
	is "$(fact la57)" "$LA57" "$name: the levels of page tables"
	is "$(fact text)" "$(awk '$3 == "_text" { print $1 }' "$TMP/symbols")" "$name: where the text is"
	is "$((16#$(fact text_gpa)))" "$((16#$(sed -nE 's/^ *([0-9a-f]+)-.* : Kernel code$/\1/p' "$TMP/iomem")))" \
		"$name: where it is in RAM"
	is "$(fact page_offset)" "$(of_kcore)" "$name: where RAM is mapped"
	is "$(fact cpus)" "$(($(sed 's/.*-//' "$TMP/possible") + 1))" "$name: how many CPUs"
	is "$(fact types)" "$TYPES" "$name: how many types"
	is "$(fact 'size task_struct')" "$SIZE" "$name: the size of a task"
	is "$(fact 'field task_struct.pid') $(fact 'field task_struct.comm') $(fact 'field mm_struct.pgd')" \
		"$OFFSETS" "$name: where members are"
	diag "$(fact evidence)" "opened in $(fact 'opened in')"
}

one() { # KERNEL OPTION...
	local kernel=$1
	shift
	guest_start k "$kernel" workload=off "$@" || {
		ok 1 "$kernel $*: it boots"
		return
	}
	truth
	compare "$kernel, $*, live" vm "$GUEST_PID"
	compare "$kernel, $*, live without registers" vm "$GUEST_PID" --no-registers
	like "$(fact evidence)" 'page table that CPUs are started with' "$kernel: by what no process can write to"
	guest_dump k "$TMP/dump"
	compare "$kernel, $*, a dump" dump "$TMP/dump"
	rm -f "$TMP/dump"
	guest_stop k
}

FIVE_LEVELS=0
for kernel in "${KERNELS[@]}"; do
	one "$kernel" la57=on kaslr=on mem=4G smp=2
	one "$kernel" kaslr=on pti=on mem=1G memory=private
	one "$kernel" kaslr=off mem=256M boot=elf
done
if [ "${KERNELS[*]}" != 5.10 ]; then
	[ "$FIVE_LEVELS" -gt 0 ]
	ok $? "$FIVE_LEVELS kernels had five levels of page tables"
fi

# A kernel's image in the page cache, pages that look like VMCOREINFO, and a banner in a process
kernel=${KERNELS[-1]}
if guest_start k "$kernel" workload=off mem=1G; then
	truth
	python3 - "$TMP/decoys" <<'EOP'
import sys
page = b'OSRELEASE=9.9.9-decoy\nSYMBOL(swapper_pg_dir)=ffffffff82000000\nNUMBER(phys_base)=0\n'
banner = b'Linux version 9.9.9-decoy (root@decoy) #1 SMP\n'
open(sys.argv[1], 'wb').write((page.ljust(4096, b'\0') + banner.ljust(4096, b'\0')) * 2000)
EOP
	guest_put k "$TMP/decoys" /run/decoys
	guest_put k "$GUEST_LAB/$kernel/vmlinux" /run/vmlinux
	is "$(guest_run k 'cat /run/vmlinux | wc -c')" "$(stat -c %s "$GUEST_LAB/$kernel/vmlinux")" \
		"the decoys are in the guest's page cache"
	compare "$kernel beside decoys" vm "$GUEST_PID"
	compare "$kernel beside decoys, without registers" vm "$GUEST_PID" --no-registers
	guest_stop k
else
	ok 1 "$kernel: it boots for decoys"
fi
done_testing
