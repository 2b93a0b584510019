#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that may write to the processor's ICR attacks its host: each row of the table in kvm-patches/README.md, in a
# hypervisor of its own (scenario raw), has the outcome that the table says. Not part of make check: make check-attacks.
#
#   attacks.t [ICR...]     these rows only
#
# IHO_SILENCE   seconds without a sign of life after which a host is given up (default 60)
LAB=$(cd "$(dirname "$0")" && pwd)
. "$LAB/../tap.sh"
. "$LAB/hypervisor.sh"
export IHO_KVM=patched
silence=${IHO_SILENCE:-60}
table=kvm-patches/README.md

make --no-print-directory -s "$B"/lab-tests/{iho-hold,iho-pulse,reboot_ipi.ko} >&2 && "$LAB/lab.sh" build &&
	kvm-patches/build.sh >&2 || {
	echo "Bail out! the lab cannot be built"
	exit 1
}

# The rows: attack, ICR, CPUs that run, the same after the VM's end, and without KVM, what the host says
rows() {
	sed -n '/^| attack | ICR |/,/^$/p' $table | tail -n +3 | sed 's/^| //; s/ |$//; s/ | /|/g'
}

# The beats between a mark and the next one, without the line ends that a mark brings
beats() { # MARK
	tr -d '\r' <"$run/beats" | awk -v from="=$1" '/^=/ {on = $0 == from; next} on {printf "%s", $0}'
}
marked() { tr -d '\r' <"$run/beats" | grep -qx "=$1"; }

# Which CPUs run after a mark: what one writes in a moment does not count, so those that go on when one has written 25 times
run_after() { # MARK
	marked "$1" || {
		echo unreached
		return
	}
	beats "$1" | fold -w 1 | awk '{if (++n[$1] > max) max = n[$1]; if (max > 25) on[$1] = 1}
		END {for (c = 0; c < 3; c++) if (c in on) printf "%s%d", s++ ? " " : "", c; if (!s) printf "none"}'
}

# It is over, one way or the other: the scenario came to its end, the emulator did, no CPU writes any more, or one does so
# five times as long as a mark is waited for
watch() {
	local size=0 now last since=$SECONDS
	until marked over || gone "$HV_PID"; do
		now=$(stat -c %s "$run/beats")
		[ "$now" = "$size" ] || size=$now since=$SECONDS
		[ $((SECONDS - since)) -lt "$silence" ] || return
		last=$(tr -d '\r' <"$run/beats" | sed -n 's/^=//p' | tail -n 1)
		[ "$(beats "$last" | fold -w 1 | sort | uniq -c | awk '$1 > n {n = $1} END {print n + 0}')" -lt 250 ] || return
		sleep 0.5
	done
}

# What the host's kernel had to say from the attack on, each thing once
said() {
	tr -cd '\n\t -~' <"$run/serial.log" | sed '1,/iho: attack/d; /iho: over/,$d' | sed 's/^.*\[ *[0-9.]*\] //' |
		grep -v '^iho: \|^$' | awk '!seen[$0]++'
}

attack() { # NAME ICR RUNNING ENDED UNLOADED SAYS
	local times=1 value ops message
	value=$(sed 's/^`\(0x[0-9a-f]*\)`.*/\1/' <<<"$2")
	[[ $2 != *times ]] || times=$(sed 's/.* \([0-9]*\) times/\1/' <<<"$2")
	ops=icr-direct:$value:$times
	run=$(hv_stage intel 6.12 "attack-$value" raw) || exit 1
	# no more than it needs: what comes along takes its time to boot
	rm -r "$run/share/root"
	with_libraries "$run/share/root" "$DEMO" "$B"/lab-tests/iho-{hold,pulse}
	[[ $1 != *'hardened'* ]] || cp "$B/lab-tests/reboot_ipi.ko" "$run/share/root/"
	echo "$ops" >"$run/share/attack"
	: >"$run/beats"
	hv_start intel 6.12 "$run"
	poll 600 eval 'marked attack || gone $HV_PID'
	is "$(run_after start)" "0 1 2" "$1: all CPUs run, and the guest is about to write $2" ||
		diag "$(tail -n 20 "$run/serial.log" | tr -cd '\n\t -~')"
	watch
	# "not 2": what else runs is of the moment
	if [[ $3 == not\ * ]]; then
		[[ " $(run_after attack) " != *" ${3#not } "* ]]
		ok $? "$1: CPU ${3#not } does not run" || diag "$(run_after attack)"
	else
		is "$(run_after attack)" "$3" "$1: CPUs that run"
	fi
	is "$(run_after ended)" "$4" "$1: CPUs that run after the VM's end"
	is "$(run_after unloaded)" "$5" "$1: CPUs that run without KVM"
	said >"$TMP/said"
	# what it says when it cannot go on is of the moment: only what the table quotes is demanded, or that it says nothing
	message=$(sed -n 's/^[^`]*`\([^`]*\)`.*/\1/p' <<<"$6")
	if [ -n "$message" ]; then
		grep -qF "$message" "$TMP/said"
		ok $? "$1: the host says: $message"
	elif [ "$6" = nothing ]; then
		[ ! -s "$TMP/said" ]
		ok $? "$1: the host says nothing"
	fi
	diag "$(head -n 8 "$TMP/said" | cut -c1-150)"
	! gone "$HV_PID" || marked over || diag "the emulator: $(tail -n 3 "$run/bochs.log")"
	marked over && hv_wait "$run" raw/status 60 && {
		! grep -q '^not ok' "$run/share/raw/output"
		ok $? "$1: the scenario came to its end" || diag "$(cat "$run/share/raw/output")"
		diag "$(sed -n 's/^# //p' "$run/share/raw/output")"
	}
	hv_end
}

while IFS='|' read -r name icr running ended unloaded says; do
	[ $# = 0 ] || [[ " $* " == *" $(sed 's/^`\([^`]*\)`.*/\1/' <<<"$icr") "* ]] || continue
	attack "$name" "$icr" "$running" "$ended" "$unloaded" "$says"
done < <(rows)
[ $TAP_N -gt 0 ]
ok $? "$table has such rows"
done_testing
