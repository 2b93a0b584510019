#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# iho-demo --kernel with files that are no kernels, and options that do not go together. That it
# boots Linux is shown where Linux can be booted: tests/lab.
. "$(dirname "$0")/../tap.sh"

# refused STATUS REGEX NAME OPTION...: one sentence, nothing else
refused() {
	local want=$1 regex=$2 name=$3 out status
	shift 3
	out=$(timeout 20 "$DEMO" "$@" 2>&1 >/dev/null </dev/null)
	status=$?
	is "$status $(grep -vc "^Try" <<<"$out")" "$want 1" "$name: exit $want, one sentence"
	like "$out" "$regex" "$name: says why"
}

head -c 100000 /dev/urandom >"$TMP/noise"
: >"$TMP/empty"
# a boot sector's marks and nothing behind them: 4 sectors of setup, "HdrS", protocol 2.15
head -c 1024 /dev/zero >"$TMP/stub"
for at in 0x1f1:'\004' 0x1fe:'\125\252' 0x202:'HdrS\017\002'; do
	printf "${at#*:}" | dd of="$TMP/stub" bs=1 seek=$((${at%%:*})) conv=notrunc status=none
done

refused 1 'No such file' "no file" --kernel "$TMP/none"
refused 1 "$TMP/empty" "an empty file" --kernel "$TMP/empty"
refused 1 "$TMP/noise" "noise" --kernel "$TMP/noise"
refused 1 "$TMP/stub" "a header with no kernel behind it" --kernel "$TMP/stub"
refused 1 "$TMP" "a folder" --kernel "$TMP"
refused 2 'script' "--script with --kernel" --kernel "$TMP/stub" --script cpuid:0:1
refused 2 'kernel' "--initrd without --kernel" --initrd "$TMP/noise"
refused 2 'memory' "no memory" --kernel "$TMP/stub" --memory 0
[ -e /dev/iho ] || refused 1 'no direct mode' "a page for a KVM that takes none" --script donate

# every deadline was waited for
report=$(timeout 60 "$DEMO" --script timer:50:200 --vcpus 1 --report)
is "$(jq -c '.vcpus[0] | [.done, .guest.timer]' <<<"$report")" '[true,50]' "timers: all of them came"
done_testing
