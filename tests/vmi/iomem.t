#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Where a Linux guest says that its RAM is (/proc/iomem), and where vmi/memory finds it.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
need_root
make --no-print-directory -s "$B/vmi-tests/look" >&2 || exit 1
guest_build || exit 1
KERNEL=$(guest_kernels | tail -n 1)

# The guest's System RAM that is not in one region of ours, and the ends of RAM below and above 4 GiB
compare() {
	python3 - "$1" "$2" <<'EOP'
import re, sys
ram = [(int(a, 16), int(b, 16) + 1) for a, b in re.findall(r'^([0-9a-f]+)-([0-9a-f]+) : System RAM$', open(sys.argv[1]).read(), re.M)]
ours = [(int(a, 16), int(a, 16) + int(n, 16)) for a, n in re.findall(r'^region (\S+) (\S+)', open(sys.argv[2]).read(), re.M)]
print('missing', [f'{a:x}-{b:x}' for a, b in ram if not any(x <= a and b <= y for x, y in ours)])
for name, lo, hi in ('low', 1 << 20, 0xf0000000), ('high', 1 << 32, 1 << 52):
    mine, its = [max((e for s, e in v if lo <= e <= hi), default=0) for v in (ours, ram)]
    # firmware keeps less than 2 MiB at the top of low memory for itself
    print(name, 'same' if 0 <= mine - its < (2 << 20 if name == 'low' else 1) else f'{mine:x} {its:x}')
print('pieces above', sum(s >= 1 << 32 for s, e in ours))
EOP
}

for case in q35:4G:memfd pc:4G:private; do
	IFS=: read -r machine mem memory <<<"$case"
	guest_start iomem "$KERNEL" mem="$mem" memory="$memory" workload=off boot=elf -- -machine "$machine" || exit 1
	guest_run iomem 'cat /proc/iomem' >"$TMP/iomem"
	before=$(guest_qmp iomem query-status | jq -c .)
	timeout 60 "$B/vmi-tests/look" "$GUEST_PID" </dev/null >"$TMP/monitor" 2>&1
	is "$(compare "$TMP/iomem" "$TMP/monitor" | xargs)" "missing [] low same high same pieces above 1" \
		"$machine, $mem, $memory: the monitor's RAM is the guest's" || diag "$(cat "$TMP/iomem" "$TMP/monitor")"
	like "$(cat "$TMP/monitor")" '^layout QMP' "$machine: by its monitor"
	# its kernel's registers: 64-bit, paging, the direct map or the text
	like "$(grep '^vcpu 0' "$TMP/monitor")" 'cr0=0x80050033 .*efer=0xd01 ' "$machine: a Linux' registers"
	is "$(guest_qmp iomem query-status | jq -c .)" "$before" "$machine: the guest goes on"
	# the guess, where nobody can be asked
	python3 - "$GUESTS/iomem/qmp" "$B/vmi-tests/look" "$GUEST_PID" >"$TMP/guess" 2>&1 <<'EOP'
import socket, subprocess, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.recv(1000)
sys.exit(subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL, timeout=60).returncode)
EOP
	is "$(compare "$TMP/iomem" "$TMP/guess" | xargs)" "missing [] low same high same pieces above 1" \
		"$machine, $mem, $memory: the guess is right" || diag "$(cat "$TMP/guess")"
	like "$(cat "$TMP/guess")" '^layout guessed' "$machine: it is a guess"
	guest_stop iomem
done
done_testing
