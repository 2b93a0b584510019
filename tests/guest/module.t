#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest's module: builds for Debian's kernels, does nothing where there is no direct mode, and
# keeps to iho_para.h with a host that fake/fake_host.c plays.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
cache=${IHO_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/iho}
kernels=${KERNELS:-6.1 6.12}

headers=$(tests/guest/headers.sh "$cache") || {
	echo "Bail out! no kernel headers"
	exit 1
}
sources=$(kvm-patches/sources.sh "$cache") || {
	echo "Bail out! no kernel sources"
	exit 1
}
guest_build || exit 1

# out of the repository: checkpatch takes a file that git knows for one of the kernel's
mkdir "$TMP/style"
cp guest-module/*.[ch] tests/guest/fake/*.c "$TMP/style/"
(cd "$TMP/style" && perl "$sources/source/scripts/checkpatch.pl" --strict --no-tree --quiet \
	-f -- *.[ch]) >"$TMP/checkpatch" 2>&1
ok $? "checkpatch --strict" || diag "$(cat "$TMP/checkpatch")"
is "$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' guest-module/dkms.conf)" \
	"$(sed -n 's/^MODULE_VERSION("\(.*\)");/\1/p' guest-module/main.c)" "dkms.conf has the module's version"

# Both sides of the interface have it from one file
cp -r "$sources/source" "$TMP/patched"
kvm-patches/apply.sh "$TMP/patched" >/dev/null 2>&1
abi=$TMP/patched/arch/x86/include/uapi/asm/iho_para.h
if [ -f "$abi" ]; then
	cmp "$abi" guest-module/iho_para.h >"$TMP/cmp" 2>&1
	ok $? "iho_para.h is the one of the patches" || diag "$(cat "$TMP/cmp")"
else
	skip "no patch has it" "iho_para.h is the one of the patches"
fi

build() { # NAME FOLDER KERNEL: into $TMP/NAME-KERNEL
	KCFLAGS=-I$PWD/guest-module tests/guest/build.sh "$headers/$3" "$2" "$TMP/$1-$3" >"$TMP/log"
	ok $? "$3: $1 builds" || {
		diag "$(cat "$TMP/log")"
		return 1
	}
	# without vmlinux there is no BTF, which a kernel does not need
	is "$(grep -iE 'warning|error' "$TMP/log")" "" "$3: $1 builds without warnings"
}

is_for() { # KERNEL
	is "$(modinfo -F vermagic "$TMP/iho_guest-$1/iho_guest.ko" | cut -d' ' -f1)" \
		"$(cat "$headers/$1/release")" "$1: for the release that it is for"
}

# ask SCRIPT: in the guest $k; one line of what it says
ask() { guest_run "$k" "$1" | xargs; }
D=/sys/kernel/debug/fake_host S=/sys/kernel/iho_guest
show() { ask "cat $S/$1"; }
tell() { guest_run "$k" "echo $1 >$D"; } # COMMAND: of the fake host
answer() { ask "echo $1 >$D; sed -n 's/^answer //p' $D"; }
hosts() { ask "sed -n 's/ written=.*//p' $D"; }
plug() { guest_run "$k" "echo $1 >/sys/devices/system/cpu/cpu1/online"; }
hooks() { ask "cut -d' ' -f1 /sys/kernel/tracing/enabled_functions | sort"; }
# what a kernel says when something is not as it should be
complaints() { guest_run "$k" "dmesg | grep -E 'WARNING|BUG|Oops|Call Trace|INFO: |Spurious|UBSAN'"; }

without_host() {
	guest_run "$k" "insmod /iho_guest.ko"
	ok $? "$k: loads where there is no KVM"
	is "$(show state), timer $(show timer)" "no-kvm, timer off" "$k: its state says why it does nothing"
	is "$(ask 'dmesg | grep -c iho_guest:.no.direct.mode')" 1 "$k: the log says so once"
	is "$(hooks), $(ask "ls $S"), $(show bond)" ", bond ipi state timer, no-pair" "$k: it hooks nothing, and shares no pages"
	plug 0 && plug 1
	ok $? "$k: a CPU goes and comes back"
	guest_run "$k" 'rmmod iho_guest'
	ok $? "$k: it can be unloaded"
	is "$(ask "ls -d $S 2>/dev/null; cut -d' ' -f1 /proc/modules | grep -x iho_guest")" "" \
		"$k: nothing of it is left"
}

loaded() {
	guest_run "$k" 'insmod /fake_host.ko'
	ok $? "$k: the fake host is there" || return
	before=$(hooks)
	guest_run "$k" 'insmod /iho_guest.ko'
	ok $? "$k: loads where there is direct mode" || return
	is "$(show state), timer $(show timer)" "active, timer hooked" "$k: and takes part"
	is "$(hosts)" "cpu0 has=1 donated=1 withdrawn=0 cpu1 has=1 donated=1 withdrawn=0" \
		"$k: each vCPU donated a page"
	is "$(show 'cpu*/donated') $(show 'cpu*/error')" "1 1 0 0" "$k: sysfs has it so"
	is "$(hooks)" "$(xargs -n1 <<<"$before lapic_next_deadline lapic_timer_shutdown" | sort | xargs)" \
		"$k: two functions are hooked" || diag "before: $before"
	! guest_run "$k" 'echo 0 >/proc/sys/kernel/ftrace_enabled' >/dev/null 2>&1
	ok $? "$k: nobody can switch the hooks off"
	# next_deadline, before_shutdown, iho_timer_disarm, iho_timer_rearm
	like "$(answer watch)" '^[2-9] [01] 1 1$' "$k: all that the module writes to the MSR is seen"
}

deadlines() {
	is "$(answer 'call 0')" "writes=1 right=1 pir=0 direct=0 deadlines=0" \
		"$k: with the mode off a deadline is written in plain form"
	tell "modes 1 0"
	is "$(answer 'call 0')" "writes=1 right=1 pir=1 direct=1 deadlines=1" \
		"$k: with the mode on, in direct form"
	is "$(show cpu0/modes) $(show cpu0/generation) $(show cpu0/seen_generation)" "1 2 2" \
		"$k: the host can see that its change was acted on"
	# as with a host that booted before its guest
	tell "modes 1 18446744000000000000"
	is "$(answer 'call 1')" "writes=1 right=1 pir=1 direct=1 deadlines=1" \
		"$k: the processor's TSC is what deadlines are written by"
	is "$(answer 'shutdown 1')" "written=0 pir=0 direct=0" \
		"$k: a timer that stops leaves no deadline, and no bit"
	tell "modes 0 0"
	is "$(answer 'call 1')" "writes=1 right=1 pir=0 direct=0 deadlines=1" "$k: plain form after it is off"
	# the fake host's own 1, for nothing written
	is "$(answer 'shutdown 1')" "written=1 pir=0 direct=0" "$k: which the kernel stops as ever"
}

# Grows, as the kernel says it did in the meantime, within 20 % and 100 ms: TCG's clocks are coarse
idle_is_right() {
	local a b c d
	read -r a c < <(ask "cat $S/cpu1/idle_ns; awk '/^cpu1 /{print (\$5+\$6)*10}' /proc/stat")
	guest_run "$k" 'sleep 2'
	read -r b d < <(ask "cat $S/cpu1/idle_ns; awk '/^cpu1 /{print (\$5+\$6)*10}' /proc/stat")
	diag "cpu 1 idle: $(((b - a) / 1000000)) ms, of /proc/stat $((d - c)) ms"
	[ $(((b - a) / 1000000)) -gt $(((d - c) * 8 / 10 - 100)) ] &&
		[ $(((b - a) / 1000000)) -lt $(((d - c) * 12 / 10 + 100)) ]
}

counters() {
	local a b
	a=$(show cpu1/fired) t=$(show cpu1/updated_ns)
	guest_run "$k" 'sleep 1'
	b=$(show cpu1/fired)
	[ "$b" -gt "$a" ] && [ "$(show cpu1/updated_ns)" -gt "$t" ]
	ok $? "$k: interrupts of the timer are counted, $a to $b" || diag "updated $t, $(show cpu1/updated_ns)"
	idle_is_right
	ok $? "$k: idle time is what the guest's /proc/stat has"
	tell "modes 1 0"
	[ "$(show cpu0/spurious)" -le "$(show cpu0/fired)" ]
	ok $? "$k: spurious interrupts are some of them ($(show cpu0/spurious) of $(show cpu0/fired))"
}

comes_and_goes() {
	tell "modes 1 0"
	answer 'call 1' >/dev/null
	plug 0
	is "$(hosts)" "cpu0 has=1 donated=1 withdrawn=0 cpu1 has=0 donated=1 withdrawn=1" \
		"$k: a CPU that goes withdraws its page"
	plug 1
	is "$(hosts)" "cpu0 has=1 donated=1 withdrawn=0 cpu1 has=1 donated=2 withdrawn=1" \
		"$k: one that comes donates it again"
	is "$(show cpu1/deadlines)" 2 "$k: its counters go on"
	is "$(answer 'call 1')" "writes=1 right=1 pir=1 direct=1 deadlines=3" "$k: as do its deadlines"
	if guest_run "$k" 'echo freezer >/sys/power/pm_test && echo freeze >/sys/power/state' 2>/dev/null; then
		is "$(hosts)" "cpu0 has=1 donated=2 withdrawn=1 cpu1 has=1 donated=3 withdrawn=2" \
			"$k: over a suspend no page is the host's"
	else
		skip "kernel $k has no pm_test" "$k: suspend"
	fi
}

# Each vCPU asks from time to time, as long as nothing is on; then another KVM has no page
has_again() { [ "$(hosts | grep -o has=. | xargs)" = 'has=1 has=1' ]; }
asked() { [ "$(ask "grep -c 'again=[1-9]' $D")" = 2 ]; }
migrates() {
	local before
	tell "modes 0 0"
	poll 60 asked
	ok $? "$k: with no mode on it asks whether the host still has the pages" || diag "$(guest_run "$k" "cat $D")"
	tell "modes 1 5000"
	is "$(answer 'call 1' | grep -o direct=.)" "direct=1" "$k: a deadline in direct form is awaited"
	before=$(ask "cat $S/cpu?/renewed")
	tell "modes 0 0"
	tell migrate
	poll 60 has_again
	ok $? "$k: with another host it donates them again" || diag "$(guest_run "$k" "cat $D")"
	is "$before, $(ask "cat $S/cpu?/renewed $S/cpu?/error")" "0 0, 1 1 0 0" "$k: sysfs has it so"
	tell "modes 1 0"
	is "$(answer 'call 1' | sed 's/ deadlines.*//')" "writes=1 right=1 pir=1 direct=1" "$k: and arms its timer as before"
}

unloaded() {
	local deadline
	tell unwatch
	deadline=$(answer 'call 0')
	like "$deadline" ' direct=1 ' "$k: a deadline in direct form is awaited"
	guest_run "$k" 'rmmod iho_guest'
	ok $? "$k: it can be unloaded meanwhile"
	is "$(hosts | grep -o has=. | xargs)" "has=0 has=0" "$k: the host has no page any more" ||
		diag "$(guest_run "$k" "cat $D")"
	is "$(hooks)" "$before" "$k: no function is hooked any more"
	is "$(ask "sed -n 's/^refused //p' $D")" 0 "$k: no hypercall was a wrong one"
	guest_run "$k" 'for n in 1 2 3 4 5; do insmod /iho_guest.ko && rmmod iho_guest || exit 1; done'
	ok $? "$k: again and again"
	guest_run "$k" 'insmod /iho_guest.ko timer=0'
	is "$(show state), timer $(show timer), $(show 'cpu*/donated')" "active, timer off, 1 1" \
		"$k: timer=0: pages for the counters alone"
	guest_run "$k" 'rmmod iho_guest'
	while read -r offer state; do
		guest_run "$k" "echo $offer >/sys/module/fake_host/parameters/offer; insmod /iho_guest.ko"
		is "$(show state), $(hosts | grep -o has=. | xargs)" "$state, has=0 has=0" "$k: an offer of $offer: $state"
		guest_run "$k" 'rmmod iho_guest'
	done <<-EOF2
		-1000 no-offer
		-95 not-this-vm
		258 other-abi
	EOF2
	guest_run "$k" 'rmmod fake_host'
}

build iho_guest guest-module 6.12-cloud && is_for 6.12-cloud
for k in $kernels; do
	is "$(cat "$headers/$k/release")" "$(cat "$GUEST_LAB/$k/release")" "$k: the headers are the guest's"
	build iho_guest guest-module "$k" && build fake_host tests/guest/fake "$k" || continue
	is_for "$k"
	is "$(modinfo -F license "$TMP/iho_guest-$k/iho_guest.ko"), $(modinfo -F depends "$TMP/iho_guest-$k/iho_guest.ko")" \
		"GPL, " "$k: needs no other module"
	mkdir -p "$TMP/files-$k"
	strip --strip-debug -o "$TMP/files-$k/iho_guest.ko" "$TMP/iho_guest-$k/iho_guest.ko"
	strip --strip-debug -o "$TMP/files-$k/fake_host.ko" "$TMP/fake_host-$k/fake_host.ko"
	# a tick that never stops: see fake_host.c
	guest_start "$k" "$k" smp=2 workload=off thread=single files="$TMP/files-$k" append=nohz=off -- \
		-cpu max,la57=off,vendor=GenuineIntel || {
		ok 1 "$k: a guest with this kernel"
		continue
	}
	without_host
	if loaded; then
		deadlines
		counters
		comes_and_goes
		migrates
		unloaded
	fi
	is "$(complaints)" "" "$k: the kernel has nothing to complain of"
	guest_stop "$k"
done
done_testing
