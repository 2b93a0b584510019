#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Bad input and missing things: one clear sentence, exit 2 for wrong usage and 1 for failure, nothing
# left loaded.
. "$(dirname "$0")/../tap.sh"
need_root

# fails STATUS REGEX NAME COMMAND...: exits so, says so in one line on stderr, prints nothing
fails() {
	local want=$1 re=$2 name=$3 status
	shift 3
	timeout 60 "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
	status=$?
	is "$status" "$want" "$name: exit status $want"
	like "$(cat "$TMP/err")" "$re" "$name: says why"
	is "$(wc -l <"$TMP/err") $(wc -c <"$TMP/out")" "1 0" "$name: one line, and nothing on stdout"
}

fails 2 'unknown option "--nonsense"' "unknown long option" "$TOP" --nonsense
fails 2 'unknown option' "unknown short option" "$TOP" -q
fails 2 'wants a value' "option without its value" "$TOP" -d
fails 2 'unexpected argument "web"' "stray argument" "$TOP" web
for d in 0 -1 abc 1x 1e9 nan inf 0.01 ''; do
	fails 2 'not a number of seconds' "delay \"$d\"" "$TOP" -d "$d"
done
for n in 0 -1 abc 99999999999999999999999 1.5; do
	fails 2 'not a number of reports' "iterations \"$n\"" "$TOP" -n "$n"
done
fails 2 'unknown format "xml"' "unknown format" "$TOP" --format xml
fails 2 'number of vCPUs' "too many vCPUs" "$TOP" --max-vcpus 16385
fails 2 'unknown demo mode' "unknown demo mode" "$TOP" --demo=never
fails 2 'exclude each other' "--demo with --vm" "$TOP" --demo --vm x
fails 2 'exclude each other' "--features with --json-schema" "$TOP" --features --json-schema
fails 2 'take no options' "--features with -n" "$TOP" --features -n 1
fails 2 'for the screen' "--ascii in a batch" "$TOP" --ascii --format csv
fails 2 'wants a name or a pid' "empty VM" "$TOP" --vm ''
fails 1 'no VM "no-such-vm" runs' "a VM that does not exist" "$TOP" -b --vm no-such-vm

# In JSON mode an error is JSON, on stdout
"$TOP" --format json --nonsense >"$TMP/out" 2>"$TMP/err"
is $? 2 "JSON: exit status 2"
is "$(jq -r .error "$TMP/out")" 'unknown option "--nonsense"; iho-top --help lists them' "JSON: the error is an object"
is "$(wc -c <"$TMP/err")" 0 "JSON: nothing on stderr"
"$TOP" --format json --vm no-such-vm >"$TMP/out" 2>&1
is "$? $(jq -r .schema "$TMP/out")" "1 iho-top/1" "JSON: a failure is an object"

# Rights
if id nobody >/dev/null 2>&1; then
	cp "$TOP" "$DEMO" "$TMP/"
	chmod 755 "$TMP"
	fails 1 'run as root' "no rights" setpriv --reuid nobody --regid nogroup --clear-groups "$TMP/iho-top" -b
	setpriv --reuid nobody --regid nogroup --clear-groups "$TMP/iho-top" --features >"$TMP/out" 2>"$TMP/err"
	is $? 0 "--features works without rights"
	like "$(cat "$TMP/err")" 'not loaded: .*run as root' "--features says what it could not do"
	[ -e /dev/kvm ] && [ "$(stat -c %a /dev/kvm)" = 600 ] &&
		fails 1 '/dev/kvm' "demo without access to /dev/kvm" \
			setpriv --reuid nobody --regid nogroup --clear-groups "$TMP/iho-top" --demo -b
else
	skip "no user nobody" "no rights"
fi

# No /dev/kvm, no tracefs: in a mount namespace of our own
in_ns() { unshare -m --propagation private bash -c "$1"; }
fails 1 '/dev/kvm' "demo without /dev/kvm" unshare -m --propagation private \
	bash -c "mount -t tmpfs none /dev && exec $TOP --demo -b -n 1"
in_ns "umount -l /sys/kernel/tracing /sys/kernel/debug 2>/dev/null; exec $TOP --features --format json" >"$TMP/out"
is "$(jq -r '.features[]|select(.name=="tracefs").present' "$TMP/out")" false "without tracefs: --features says so"
like "$(jq -r '.features[]|select(.name=="tracefs").cost' "$TMP/out")" 'mount -t tracefs' "without tracefs: ... and what to do"
if [ -w /dev/kvm ]; then
	in_ns "umount -l /sys/kernel/tracing /sys/kernel/debug 2>/dev/null; exec $TOP --demo --format json -n 1 -d 0.5" \
		>"$TMP/out" 2>/dev/null
	is "$(jq '[.vms[]|select(.name=="demo")]|length' "$TMP/out")" 1 "without tracefs: it works all the same"
	like "$(jq -r '[.vms[]|select(.name=="demo").userspace_exits[].reason]|join(",")' "$TMP/out")" 'KVM_EXIT_IO' \
		"without tracefs: names come from the headers"
else
	skip "no access to /dev/kvm" "without tracefs: it works all the same"
fi

# A full disk must not look like success
"$TOP" --json-schema >/dev/full 2>/dev/null
is $? 1 "--json-schema on a full disk fails"

# What is asked for and answered
"$TOP" --help | grep -q '^Usage: iho-top'
ok $? "--help"
like "$("$TOP" --version)" '^iho-top [0-9]+\.[0-9]+\.[0-9]+$' "--version"

# A VM that vanishes under our eyes
if [ -w /dev/kvm ]; then
	demo fleeting --script loop --script "out:0x80:1000,hlt:10,loop" || exit 1
	spawn "$TOP" --format json -d 0.2 --vm fleeting >"$TMP/out" 2>"$TMP/err"
	top=$SPAWNED
	poll 30 test -s "$TMP/out"
	kill -9 "$DEMO_PID"
	wait_gone "$top" 30
	ok $? "a VM that is killed: a batch for it ends"
	wait "$top"
	is $? 1 "a VM that is killed: exit status 1"
	like "$(tail -n 1 "$TMP/out")" '"error":"VM \\"fleeting\\" has ended"' "a VM that is killed: said so"
	is "$(tail -n 2 "$TMP/out" | head -n 1 | jq '.vms[0].gone')" true "a VM that is killed: its last line is shown"
fi
done_testing
