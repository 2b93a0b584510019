# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Two hosts, "a" and "b", each with a libvirtd of its own, and tenants that migrate between them.
# Sourced after tap.sh.

GUEST=$PWD/build/migration/guest.elf # whatever build is tested
declare -A HOST # NAME: the process whose end ends all of that host

host_start() {
	rm -rf "${TMP:?}/$1"
	spawn bash tests/migration/host.sh "$TMP" "$1" "$2" >"$TMP/$1.out" 2>&1
	HOST[$1]=$SPAWNED
	disown "$SPAWNED" # its end by SIGKILL is no news
	poll "$LIMIT" host_answers "$1" || {
		diag "libvirtd of $1 does not start:" "$(cat "$TMP/$1.out" "$TMP/$1/log" 2>&1)"
		return 1
	}
}
host_answers() { on "$1" uri >/dev/null 2>&1; }

# All of it at once, as if the power failed: the process is the parent of its pid namespace's first.
host_kill() {
	kill -KILL "${HOST[$1]}"
	wait_gone "${HOST[$1]}" 20
	unset "HOST[$1]"
}
hosts_kill() {
	local h
	for h in "${!HOST[@]}"; do host_kill "$h"; done
}

uri() { echo "qemu+unix:///system?socket=$TMP/$1/libvirt-sock"; }
# on HOST COMMAND...: virsh's, there
on() { timeout 60 virsh -q -c "$(uri "$1")" "${@:2}"; }

# The pid of this host's libvirtd, as it is seen from here
daemon_of() {
	local first p
	read -r first <"/proc/${HOST[$1]}/task/${HOST[$1]}/children"
	for p in $(cat "/proc/${first% }/task/${first% }/children"); do
		[ "$(cat "/proc/$p/comm")" != libvirtd ] || echo "$p"
	done
}

# tenant HOST NAME MIB "FILL SET PAUSE": see guest.S
tenant() {
	cat >"$TMP/$2.xml" <<-XML
		<domain type='qemu'><name>$2</name><memory unit='MiB'>$3</memory><vcpu>1</vcpu>
		<os><type arch='x86_64' machine='pc'>hvm</type><kernel>$GUEST</kernel><cmdline>$4</cmdline></os>
		<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/>
		<memballoon model='none'/><serial type='file'><source path='$TMP/$2.serial'/></serial></devices>
		</domain>
	XML
	on "$1" create "$TMP/$2.xml" >/dev/null && poll "$LIMIT" test -s "$TMP/$2.serial"
}

# migrate NAME FROM TO OPTION...: in the background; its pid is $SPAWNED, what it says $TMP/migrate.NAME
migrate() {
	spawn virsh -q -c "$(uri "$2")" migrate --live --p2p "${@:4}" \
		--migrateuri "unix://$TMP/$1.$RANDOM" "$1" "$(uri "$3")" >"$TMP/migrate.$1" 2>&1
}

# fact HOST NAME FIELD [OPTION...]: what libvirt says of the job, --completed or not
fact() { on "$1" domjobinfo --rawstats "${@:4}" "$2" 2>&1 | sed -n "s/^$3: //p"; }
