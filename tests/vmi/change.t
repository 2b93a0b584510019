#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that changes as fast as it can while it is looked at: processes, threads, files, sockets and mappings
# come and go, a module is loaded and unloaded. Each row is true or says that it is torn; what stays is
# in each result that does not say that it is partial. KERNELS="6.12" has it be another kernel.
# shellcheck disable=SC2016 # scripts are for the guest's shell
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
need_root
make --no-print-directory -s programs >&2 || exit 1
guest_build || exit 1
FORKS=10000 # so many at least, however many statements that takes
# What makes a process is mostly memory that is filled with zeros and copied: an emulator is quicker by plain
# instructions than by repeated ones, and without a change of what may be accessed at each copy from and to a user
CPU=max,la57=off,erms=off,smap=off
APPEND="mitigations=off init_on_alloc=0"
"${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static -pthread -o "$TMP/churn" \
	tests/vmi/churn.c || exit 1

# What does not come and go, but for the shell that is asked: pid and name of each; pids of the kernel's threads,
# those of before too: one that initialises a file system ends by itself
steady() {
	guest_run g 'for p in /proc/[0-9]*; do
		if [ -z "$(head -c 1 $p/cmdline)" ]; then
			echo "kernel ${p#/proc/}"
		elif [ ${p#/proc/} != $$ ] && [ ${p#/proc/} != $PPID ]; then
			echo "steady ${p#/proc/} $(cat $p/comm)"
		fi
		done 2>/dev/null' >"$1/all"
	sed -n 's/^kernel //p' "$1/all" >>"$1/kernel"
	sed -n 's/^steady //p' "$1/all" >"$1/steady"
}

# How many there were since boot, and the guest's time in hundredths of a second
forks() { guest_run g 'echo $(sed -n "s/^processes //p" /proc/stat) $(cut -d" " -f1 /proc/uptime | tr -d .)'; }

change() { # KERNEL
	local d=$TMP/$1 file first since last=0 until n forks loads out
	mkdir "$d"
	guest_start g "$1" smp=2 workload=off append="$APPEND" -- -cpu "$CPU"
	ok $? "$1 boots" || return
	guest_put g "$TMP/churn" /guest/churn
	guest_run g 'cut -d" " -f1 /proc/modules' >"$d/modules"
	steady "$d"
	file=$(guest_run g 'grep -w "raw_diag.ko" /modules/list')
	guest_run g "/guest/churn '/modules/$file' raw_diag >/run/churn.log 2>&1 </dev/null"
	ok $? "$1: processes come and go" || return
	poll 60 guest_run g '[ "$(ls /run/stay-* | wc -l)" = 10 ]'
	read -r first since <<<"$(forks)"
	n=0
	while tests/vmi/compare_change.py ask "$d" $n "$B/iho-query" --format json --vm "$GUEST_PID"; do
		n=$((n + 1))
		read -r last until <<<"$(forks)"
		[ $n -ge 4 ] && [ $((last - first)) -ge $FORKS ] && break
		[ $n -lt 40 ] || break
	done
	[ $((last - first)) -ge $FORKS ]
	ok $? "$1: $n rounds of statements while $((last - first)) processes were forked" ||
		diag "$(guest_run g 'cat /run/churn.log')"
	guest_run g '>/run/churn.stop'
	poll 60 guest_run g '[ -s /run/churn.done ]'
	ok $? "$1: the guest was well all the time" || diag "$(guest_run g 'cat /run/churn.log')"
	read -r forks loads <<<"$(guest_run g 'cat /run/churn.done')"
	guest_run g 'head -c $(($(cut -d" " -f1 /run/churn.done) * 4)) /run/churn.pids' >"$d/pids"
	steady "$d"
	guest_stop g
	diag "while it was asked: $((last - first)) forks in $(((until - since) / 100)) s of the guest's," \
		"$(((last - first) * 100 / (until - since))) a second;" \
		"in all $forks processes and $loads loads of a module"
	[ "$loads" -gt 10 ]
	ok $? "$1: a module came and went"
	out=$(tests/vmi/compare_change.py judge "$d")
	ok $? "$1: $(tail -n 1 <<<"$out")" || diag "$(head -n 40 <<<"$out")"
	# it can fail: with pids less that were true, and with a process more that has to be there
	cp "$d/pids" "$d/all"
	head -c 400 "$d/all" >"$d/pids"
	like "$(tests/vmi/compare_change.py judge "$d" | tail -n 1)" ', [1-9][0-9]* wrong$' \
		"$1: rows that were never true are found"
	mv "$d/all" "$d/pids"
	echo '999999 missing' >>"$d/steady"
	like "$(tests/vmi/compare_change.py judge "$d" | tail -n 1)" ', [1-9][0-9]* wrong$' \
		"$1: what is missing is found"
}

for kernel in ${KERNELS:-6.1 7}; do
	change "$kernel"
done
done_testing
