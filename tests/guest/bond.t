#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The module's bond, in guests with Debian's kernels and two network devices of one MAC: made, kept over
# unplug and plug, undone; and what an administrator has made of the devices is left alone. An e1000e is
# the VF here; one of SR-IOV by VFIO is in the lab, scenario bond.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
cache=${IHO_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/iho}
kernels=${KERNELS:-6.1 6.12}
MAC=52:54:00:00:00:20
S=/sys/kernel/iho_guest

headers=$(tests/guest/headers.sh "$cache") || {
	echo "Bail out! no kernel headers"
	exit 1
}
guest_build || exit 1

run() { guest_run "$k" "$1"; }
ask() { run "$1" | xargs; }
state() { ask "cat $S/bond"; }
becomes() { poll 120 eval "[ \"\$($1)\" = '$2' ]"; } # COMMAND WANT
driven_by() { # DRIVER: the device of our MAC
	ask "for d in /sys/class/net/*; do [ \"\$(basename \"\$(readlink \$d/device/driver)\")\" = $1 ] &&
		[ \$(cat \$d/address) = $MAC ] && basename \$d; done; true"
}
# all that is configured: devices, addresses, ports and how they are bonded
configuration() {
	run 'cd /sys/class/net; for d in *; do [ ! -d $d ] || { echo "$d $(cat $d/flags $d/mtu $d/address | xargs)" \
		"$(basename "$(readlink $d/master)") $(/sbin/ip -o addr show dev $d | cut -d" " -f2- | xargs -0)"
		[ ! -d $d/bonding ] || grep . $d/bonding/slaves $d/bonding/mode $d/bonding/primary; }; done'
}

plug() { # virtio|vf
	case $1 in
	virtio) guest_qmp "$k" device_add "{\"driver\": \"virtio-net-pci\", \"id\": \"virtio\", \"bus\": \"port1\",
		\"netdev\": \"net1\", \"mac\": \"$MAC\", \"romfile\": \"\", \"host_mtu\": 1450}" ;;
	vf) guest_qmp "$k" device_add "{\"driver\": \"e1000e\", \"id\": \"vf\", \"bus\": \"port2\",
		\"netdev\": \"net2\", \"mac\": \"$MAC\", \"romfile\": \"\"}" ;;
	esac >/dev/null
	poll 120 eval "[ -n \"\$(driven_by $(driver "$1"))\" ]"
}
driver() { [ "$1" = vf ] && echo e1000e || echo virtio_net; }
unplug() {
	guest_qmp "$k" device_del "{\"id\": \"$1\"}" >/dev/null
	poll 120 eval "[ -z \"\$(driven_by $(driver "$1"))\" ]" && poll 120 unplugged "$1"
}
# QEMU is done with it a little later than the guest
unplugged() { ! guest_qmp "$k" qom-list '{"path": "/machine/peripheral"}' | grep -q "\"name\": \"$1\""; }
load() { run "insmod /iho_guest.ko $*"; }
unload() { run 'rmmod iho_guest'; }
active() { ask 'cat /sys/class/net/iho0/bonding/active_slave'; }
pings() { ask 'ping -q -c 3 -W 20 10.0.9.2 | grep -o "[0-9] packets received"'; }
sent() { ask "cat /sys/class/net/$1/statistics/tx_packets"; }

# carries WHICH NAME
carries() {
	local dev n
	dev=$(driven_by "$(driver "$1")")
	becomes active "$dev"
	ok $? "$k: $2: $1 is active" || diag "$(active)"
	n=$(sent "$dev")
	is "$(pings)" "3 packets received" "$k: $2: pings are answered"
	n=$(($(sent "$dev") - n))
	[ $n -ge 3 ]
	ok $? "$k: $2: by $1, which sent $n packets"
}

finds_pair() {
	load
	is "$(state)" no-pair "$k: without a pair there is no bond"
	plug virtio && plug vf
	ok $? "$k: two devices of one MAC: $(driven_by virtio_net) and $(driven_by e1000e)" || return
	virtio=$(driven_by virtio_net) vf=$(driven_by e1000e)
	becomes state "$MAC failed -95"
	ok $? "$k: without a bonding driver the state says that there is none" || diag "$(state)"
	unload
	run 'insmod /modules/bonding.ko max_bonds=0'
}

made() {
	before=$(configuration)
	load
	is "$(state)" "$MAC made iho0 $virtio $vf" "$k: the bond is there when insmod returns"
	is "$(ask "cd /sys/class/net/iho0; cat address mtu bonding/mode bonding/miimon bonding/primary bonding/fail_over_mac")" \
		"$MAC 1450 active-backup 1 100 $vf active 1" "$k: of their MAC, of virtio's MTU, the VF first"
	run '/sbin/ip addr add 10.0.9.15/24 dev iho0 && /sbin/ip link set iho0 up'
	carries vf "bonded"
	unplug vf
	ok $? "$k: the VF is gone"
	carries virtio "without VF"
	is "$(state)" "$MAC made iho0 $virtio" "$k: the state says so"
	plug vf
	ok $? "$k: the VF is back"
	vf=$(driven_by e1000e)
	carries vf "with the VF again"
	is "$(state), $(ask 'cat /sys/class/net/iho0/bonding/primary')" "$MAC made iho0 $virtio $vf, $vf" \
		"$k: it is a port again"
	unload
	ok $? "$k: unloaded"
	is "$(configuration)" "$before" "$k: all is as before"
}

# left_alone NAME HOW COMMAND...: what is configured by it stays; undone by the rest
left_alone() {
	run "$3"
	local configured
	configured=$(configuration)
	load
	is "$(state)" "$MAC left-alone $2" "$k: $1: left alone"
	is "$(configuration)" "$configured" "$k: $1: nothing is changed"
	if [ "$1" = bond ]; then
		unplug vf && plug vf
		ok $? "$k: $1: the VF goes and comes back"
		vf=$(driven_by e1000e)
		is "$(state), $(ask "cat /sys/class/net/$vf/operstate; ls -d /sys/class/net/$vf/master 2>/dev/null")" \
			"$MAC left-alone $2, down" "$k: $1: the VF is left alone, too"
		run "/sbin/ip link set $vf master own"
		is "$(configuration)" "$configured" "$k: $1: its administrator can add it again"
	fi
	unload
	is "$(configuration)" "$configured" "$k: $1: nothing is changed by unloading"
	run "$4"
	is "$(configuration)" "$before" "$k: $1: and all is undone"
}

in_use() {
	left_alone "up" "$virtio up" "/sbin/ip link set $virtio up" "/sbin/ip link set $virtio down"
	left_alone "address" "$vf address" "/sbin/ip addr add 10.0.9.16/24 dev $vf" "/sbin/ip addr flush dev $vf"
	left_alone "bond" "$virtio upper" \
		"/sbin/ip link add own mtu 1450 type bond mode active-backup miimon 50 &&
		for d in $virtio $vf; do /sbin/ip link set \$d master own; done &&
		/sbin/ip addr add 10.0.9.17/24 dev own && /sbin/ip link set own up; usleep 500000" \
		"/sbin/ip link del own; /sbin/ip link set $virtio down; /sbin/ip link set $vf down"
}

by_parameter() {
	load bond=0
	is "$(state), $(ask 'ls /sys/class/net | grep iho')" "off, " "$k: bond=0: nothing is bonded"
	unload
	load
	run '/sbin/ip link del iho0'
	is "$(state)" "$MAC removed" "$k: a bond that was removed is not made again"
	unplug vf
	unload
	load bond=2
	# the guest's own device is up
	is "$(state)" "$(ask 'cat /sys/class/net/eth0/address') left-alone eth0 up $MAC made iho0 $virtio" \
		"$k: bond=2: a virtio-net alone is bonded"
	plug vf
	becomes "state | grep -o 'made.*'" "made iho0 $virtio $(driven_by e1000e)"
	ok $? "$k: bond=2: the VF comes later" || diag "$(state)"
	unload
	is "$(configuration)" "$before" "$k: all is as before"
	run 'for n in 1 2 3 4 5; do insmod /iho_guest.ko && /sbin/ip link set iho0 up && rmmod iho_guest || exit 1; done'
	ok $? "$k: again and again"
}

for k in $kernels; do
	tests/guest/build.sh "$headers/$k" guest-module "$TMP/module-$k" >"$TMP/log" || {
		ok 1 "$k: the module builds"
		diag "$(cat "$TMP/log")"
		continue
	}
	mkdir -p "$TMP/files-$k/modules"
	strip --strip-debug -o "$TMP/files-$k/iho_guest.ko" "$TMP/module-$k/iho_guest.ko"
	# not all at boot: the names are others' than those of its list
	cp "$headers/$k"/modules/*.ko "$TMP/files-$k/modules/"
	guest_start "$k" "$k" workload=off files="$TMP/files-$k" -- \
		-device pcie-root-port,id=port1,slot=1 -device pcie-root-port,id=port2,slot=2 \
		-netdev user,id=world,net=10.0.9.0/24,restrict=on,ipv6=off -netdev hubport,hubid=1,id=net0,netdev=world \
		-netdev hubport,hubid=1,id=net1 -netdev hubport,hubid=1,id=net2 || {
		ok 1 "$k: a guest with this kernel"
		continue
	}
	run 'insmod /modules/tls.ko; insmod /modules/e1000e.ko; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'
	if finds_pair; then
		made
		in_use
		by_parameter
	fi
	is "$(run "dmesg | grep -E 'WARNING|BUG|Oops|Call Trace|INFO: |UBSAN'")" "" \
		"$k: the kernel has nothing to complain of"
	[ "$TAP_BAD" = 0 ] || diag "$(run 'dmesg | tail -n 50')"
	guest_stop "$k"
done
done_testing
