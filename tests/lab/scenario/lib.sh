# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# What the scenarios share. Runs inside the hypervisor, by busybox sh, in the scenario's own folder
# of /share; the judgement of what is left there is compare.py's, outside, by the file `judge`.
ISA=svm MODULE=kvm_amd
[ -d /sys/module/kvm_intel ] && ISA=vmx MODULE=kvm_intel
T=/sys/kernel/tracing/events/kvm
# A scenario that looks at fewer says so: each takes its time under emulation
EVENTS='kvm_exit kvm_entry kvm_userspace_exit kvm_pio kvm_mmio kvm_msr kvm_cpuid kvm_vcpu_wakeup'

# The truth: the kernel's own histogram of each event, by thread and by what tells its kinds apart
keys() {
	case $1 in
	kvm_exit) echo common_pid,exit_reason ;;
	kvm_entry) echo common_pid ;;
	kvm_userspace_exit) echo common_pid,errno,reason ;;
	kvm_pio) echo common_pid,port,rw ;;
	kvm_mmio) echo common_pid,type,gpa ;;
	kvm_msr) echo common_pid,ecx,write ;;
	kvm_cpuid) echo common_pid,function ;;
	kvm_vcpu_wakeup) echo common_pid,waited:vals=ns ;;
	esac
}

truth_begin() {
	for e in $EVENTS; do
		echo "hist:keys=$(keys $e):size=4096" >$T/$e/trigger
	done
}

truth_end() { # RUN
	echo $ISA >isa
	cat $T/kvm_exit/format >exit.format
	cat $T/kvm_userspace_exit/format >userspace_exit.format
	for e in $EVENTS; do
		cat $T/$e/hist >"$1.$e"
		echo "!hist:keys=$(keys $e):size=4096" >$T/$e/trigger
	done
}

ok() { # STATUS NAME
	if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2"; fi
	return "$1"
}

poll() { # SECONDS COMMAND...
	end=$(($(cut -d. -f1 /proc/uptime) + $1))
	shift
	until "$@"; do
		[ "$(cut -d. -f1 /proc/uptime)" -lt $end ] || return 1
		usleep 50000
	done
}

lines() { wc -l <"$1"; }
has_lines() { [ "$(lines "$1")" -ge "$2" ]; }
has() { grep -q "$2" "$1" 2>/dev/null; }

# tenant RUN SCRIPT0 SCRIPT1 [OPTION...]: returns when both vCPUs wait at their gate; without a
# SCRIPT1 there is one
tenant() {
	run=$1
	printf '%s\n' "$2" "$3" >"$run.scripts"
	rm -f "/run/$run"
	mkfifo "/run/$run"
	script0=$2 script1=$3
	shift 3
	if [ -n "$script1" ]; then
		set -- --script-vcpu "1=$script1" "$@"
	else
		set -- --vcpus 1 "$@"
	fi
	iho-demo --gate-stdin --announce --report --linger --name "$run" --script "$script0" \
		"$@" <"/run/$run" >"$run.tenant" 2>"$run.tenant.err" &
	TENANT=$!
	exec 7>"/run/$run"
	poll 60 tenant_says "$run.tenant" '^gate' && has "$run.tenant" '^gate'
}

# Said it, or will not any more
tenant_says() { has "$1" "$2" || ! kill -0 $TENANT 2>/dev/null; }

gate_open() { echo >&7; }
tenant_done() { poll 300 tenant_says "$1.tenant" '^done' && has "$1.tenant" '^done'; }

tenant_end() {
	exec 7>&-
	kill -TERM $TENANT
	wait $TENANT
}

# top_start RUN [OPTION...]: returns with its first report; under emulation it may take seconds
top_start() {
	top_out=$1.json
	shift
	iho-top -b --format json -d 0.5 "$@" >"$top_out" 2>"${top_out%.json}.top.err" &
	TOP=$!
	poll 60 test -s "$top_out" || cat "${top_out%.json}.top.err"
}

# Ends it after a report that was begun now
top_end() {
	poll 30 has_lines "$top_out" $(($(lines "$top_out") + 2))
	kill -TERM $TOP
	wait $TOP
}

# daemon_start RUN: returns when it answers; the kernel takes long to verify its programs here
daemon_start() {
	mkdir -p /run/iho
	ihod 2>"$1.ihod.err" &
	IHOD=$!
	poll 120 eval 'iho-top -b -n 1 -d 0.1 --socket /run/iho/ihod.sock >/dev/null 2>&1'
}

daemon_end() {
	kill -TERM $IHOD
	wait $IHOD
}

# counted RUN SCRIPT0 SCRIPT1: the tenant's scripts, iho-top and the histograms, from the gate on
counted() {
	tenant "$@"
	ok $? "$1: the tenant waits at its gate" || {
		cat "$1.tenant.err"
		return 1
	}
	top_start "$1"
	truth_begin
	gate_open
	tenant_done "$1"
	ok $? "$1: the tenant ran to its end"
	top_end
	truth_end "$1"
	tenant_end
}

judge() { echo "$*" >>judge; }
# BPF functions in the kernel: a program has one or more
programs() { grep -c '[[:space:]]bpf_prog_.*\[bpf\]' /proc/kallsyms; }

# hold NAME PID: a session of /dev/iho; returns when it said how it began
hold() {
	rm -f "/run/$1"
	mkfifo "/run/$1"
	iho-hold "$2" <"/run/$1" >"$1.hold" &
	HOLDER=$!
	exec 8>"/run/$1"
	poll 30 test -s "$1.hold"
}

# tell NAME COMMAND: its answer
tell() {
	was=$(lines "$1.hold")
	echo "$2" >&8
	poll 60 has_lines "$1.hold" $((was + 1))
	tail -n 1 "$1.hold"
}

release() { # SIGNAL
	kill -"$1" $HOLDER
	exec 8>&-
	wait $HOLDER
}

vmm_of() { sed -n 's/^ready \([0-9]*\).*/\1/p' "$1.tenant"; } # RUN

# exits_by REASON PHASE: how many
exits_by() { sed -n "s/.*exit_reason: *$1 .*hitcount: *//p" "$2.kvm_exit" | awk '{n += $1} END {print n + 0}'; }

# phase NAME GATE: opens the tenant's gate, and counts its exits until the next one or its end
phase() {
	truth_begin
	gate_open
	poll 300 tenant_says "$run.tenant" "^$2\$" && has "$run.tenant" "^$2\$"
	ok $? "$1: the tenant came to its end"
	truth_end "$1"
}
