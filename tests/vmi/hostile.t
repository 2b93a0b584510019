#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The memory of real guests, read through a reader that lies: all tables, again and again, with the
# sanitizers; and through one that shows structures built to trap a walk (crafted.c).
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
need_root
make --no-print-directory -s SAN=1 programs build/san/vmi-tests/{hostile,crafted} >&2 || exit 1
guest_build || exit 1
ROUNDS=48 SEED=20

mapfile -t tables < <(sed -n 's/^	X(\([a-z_]*\)).*/\1/p' vmi/tables/list.c)
for kernel in $(guest_kernels | sed -n '1p;$p'); do
	guest_start hostile "$kernel" workload=on || exit 1
	guest_qmp hostile stop >/dev/null
	guest_dump hostile "$TMP/dump" || exit 1
	guest_stop hostile
	timeout 600 build/san/vmi-tests/hostile "$TMP/dump" $SEED $ROUNDS >"$TMP/out" 2>&1
	ok $? "$kernel: no table crashes, or goes beyond its budget" || diag "$(tail -30 "$TMP/out")"
	is "$(sed -n 's/^\([a-z_]*\): rows.*/\1/p' "$TMP/out" | xargs)" "${tables[*]}" "$kernel: all tables were read"
	is "$(sed -n 's/.* ms [0-9]*//; / whole\| fault\| steps/p' "$TMP/out" |
		awk '{ n = 0; for (i = 2; i <= NF; i += 2) n += $i; if (n != '$ROUNDS') print }')" "" \
		"$kernel: each $ROUNDS times"
	# Lies are seen: among all these there are some of each kind
	for stop in whole fault cycle; do
		like "$(cat "$TMP/out")" " $stop [1-9]" "$kernel: some walks end with \"$stop\""
	done
	like "$(cat "$TMP/out")" ' torn [1-9]' "$kernel: some rows are torn"
	# with the sanitizer's own memory
	rss=$(sed -n 's/.* rss \([0-9]*\) KiB$/\1/p' "$TMP/out")
	ok "$([ "${rss:-9999999}" -lt 2000000 ]; echo $?)" "$kernel: memory stays within bounds" || diag "$rss KiB"
	diag "$(tail -1 "$TMP/out")"
	timeout 300 build/san/vmi-tests/crafted "$TMP/dump" >"$TMP/out" 2>&1
	ok $? "$kernel: crafted structures end their walks, with the reason" || diag "$(cat "$TMP/out")"
	# none is left out, but for a tree of mounts where they are a list
	none=
	[ "$kernel" != 5.10 ] || none=mounts_left
	is "$(sed -n 's/: none$//p' "$TMP/out" | xargs)" "$none" "$kernel: each of them was tried"
	is "$(grep -c ': ok, ' "$TMP/out")" "$(grep -cP '^\t\{ "[a-z_]+", "' tests/vmi/crafted.c |
		awk -v none="$none" '{ print $1 - (none != "") }')" "$kernel: and ended as it is to end"
	rm -f "$TMP/dump"
done
done_testing
