#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What can be said about the tree without running it.
. "$(dirname "$0")/../tap.sh"

files() { git ls-files -co --exclude-standard -- "$@" | while read -r f; do [ -f "$f" ] && echo "$f"; done; }

mapfile -t c < <(files '*.c' '*.h' '*.S')
mapfile -t sh < <(files '*.sh' '*.t' '.ci/run' Makefile)
grep -L 'SPDX-License-Identifier: GPL-2.0' "${c[@]}" "${sh[@]}" >"$TMP/spdx"
is "$(cat "$TMP/spdx")" "" "every source file has its SPDX line"
wrong=$(files 'bpf/*.c' 'bpf/*.h' 'guest-module/*.c' | xargs grep -L 'GPL-2.0-only'; files 'userspace/*.c' 'userspace/*.h' 'vmi/*.c' 'vmi/*.h' | xargs grep -L 'GPL-2.0-or-later')
is "$wrong" "" "kernel side GPL-2.0-only, userspace GPL-2.0-or-later"
is "$(grep -nE '[[:space:]]+$' "${c[@]}" "${sh[@]}" | head -5)" "" "no white space at line ends"
is "$(for f in "${c[@]}"; do expand -t8 "$f" | grep -nE '^.{101}' | sed "s|^|$f: |"; done | head -5)" "" "no line over 100 columns"
is "$(for f in "${sh[@]}"; do case $f in Makefile) ;; *) bash -n "$f" 2>&1 ;; esac; done)" "" "shell scripts parse"
is "$(for f in $(files '*.t'); do [ -x "$f" ] || echo "$f"; done)" "" "every test can be run"

# The one list of tracepoints and the programs agree
listed=$(sed -n 's/^	X(\([a-z_]*\),.*/\1/p' bpf/events.h | sort)
have=$(grep -oE '(int on_|BPF_PROG\(on_|(DRILL|COUNT|SHARED)_PROG\()[a-z_]+' bpf/iho.bpf.c | sed -E 's/.*(on_|PROG\()//' | grep -vx event | grep . | sort -u)
is "$have" "$listed" "a program for every listed tracepoint, and none beside"

# The headers that programs are compiled with are those that the patches make
mkdir "$TMP/uapi"
grep -v '^#' kvm-patches/6.12/series | while read -r p; do
	(cd "$TMP/uapi" && git apply -p1 --include='include/uapi/linux/iho.h' --include='arch/x86/include/uapi/asm/iho_para.h' \
		"$OLDPWD/kvm-patches/6.12/$p") || echo "$p"
done >"$TMP/apply" 2>&1
is "$(cat "$TMP/apply"; diff "$TMP/uapi/include/uapi/linux/iho.h" kvm-patches/uapi/linux/iho.h
	for f in kvm-patches/uapi/asm/iho_para.h $(files guest-module/iho_para.h); do
		diff "$TMP/uapi/arch/x86/include/uapi/asm/iho_para.h" "$f"
	done)" "" "the headers of /dev/iho and of the guest's part are the patches'"

if command -v cppcheck >/dev/null; then
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=unknownMacro -D_GNU_SOURCE -Iuserspace/lib -Ikvm-patches/uapi \
		--include=tests/lint/cppcheck.h userspace vmi tests/unit >"$TMP/cppcheck" 2>&1
	ok $? "cppcheck" || diag "$(head -20 "$TMP/cppcheck")"
else
	skip "no cppcheck" cppcheck
fi
for m in $(files '*.8' '*.1'); do
	mandoc -T lint -W warning "$m" >"$TMP/man" 2>&1
	ok $? "$m: mandoc has no warning" || diag "$(cat "$TMP/man")"
	mandoc -T utf8 "$m" | col -b >"$TMP/page"
	program=$B/$(basename "${m%.*}")
	"$program" --help >"$TMP/help" 2>/dev/null
	[ -s "$TMP/help" ]
	ok $? "$m: its program is there, and has --help"
	for o in $(grep -oE -- '--[a-z-]+' "$TMP/help" | sort -u); do
		grep -qF -- "$o" "$TMP/page" || echo "$o is not described"
	done >"$TMP/opts"
	is "$(cat "$TMP/opts")" "" "$m: describes every option"
done

# The metrics of the manual are those of the program, with labels, type and meaning
"$B/iho-exporter" --list-metrics 2>/dev/null >"$TMP/metrics"
[ "$(wc -l <"$TMP/metrics")" -gt 30 ]
ok $? "iho-exporter lists its metrics"
cp userspace/exporter/iho-exporter.8 "$TMP/page.8"
userspace/exporter/manual.py "$B/iho-exporter" "$TMP/page.8"
cmp -s "$TMP/page.8" userspace/exporter/iho-exporter.8
ok $? "userspace/exporter/iho-exporter.8: METRICS is what make manual writes"
is "$(sed -n '/^\.\\" between/,/^\.\\" end of/s/^\.It //p' userspace/exporter/iho-exporter.8)" \
	"$(awk '{print $1}' "$TMP/metrics")" "userspace/exporter/iho-exporter.8: all metrics, in the catalogue's order"
done_testing
