#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The live page in a real browser: page.py, with scripted numbers, then with the real exporter and a
# tenant. `page.t --screenshot FILE URL|DOCUMENTS` takes a picture instead: see page_shot.py.
. "$(dirname "$0")/../tap.sh"

command -v chromium >/dev/null || skip_all "no chromium"
if [ "${1-}" = --screenshot ]; then
	/usr/bin/python3 tests/host/page_shot.py "$2" "$3" 1280 800 dark
	exit
fi
need_root
need_kvm

demo page --vcpus 2 --script "out:0x3f8:50,hlt:20:200,busy:2,loop" || exit 1
spawn "$B/iho-exporter" --listen 127.0.0.1:0 >"$TMP/exporter.out" 2>"$TMP/exporter.err"
listening='listening on (http://127\.0\.0\.1:[0-9]+/)'
poll 60 has_line "$TMP/exporter.err" "$listening" || {
	diag "the exporter does not listen:" "$(cat "$TMP/exporter.err")"
	exit 1
}
url=$(sed -nE "s|.*$listening.*|\1|p" "$TMP/exporter.err" | head -n 1)
/usr/bin/python3 tests/host/page.py "$B" "$url" page
