# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that may write to the processor's ICR (IHO_MODE_IPI_RAW) attacks its host with it; ../attack has the ops of
# iho-demo that do it. The host may not come to an end of this: what becomes of it shows outside, see ../../attacks.t, by its
# console and by iho-pulse, whose marks divide the time. Three CPUs: 0 is the host's own, 1 the guest's, on 2 is this.
# needs: iho-hold
# needs: iho-pulse
# cpus: 3
beats=50

mark() { # BEATS MARK
	echo "<3>iho: $2" >/dev/kmsg
	echo "$1 $2" >&9
	poll 300 has pulse "^$2\$"
}

interrupts() { # KIND: how many CPUs 0 and 2 have got
	awk -v kind="$1:" '$1 == kind {print "# " kind, $2, $4}' /proc/interrupts
}
all_interrupts() { for i in NMI SPU MCE THR TRM DFR PIN PIW NPI RES CAL TLB ERR MIS; do interrupts $i; done; }

# $$ is the pid of init, whose subshell this is
read -r me _ </proc/self/stat
taskset -p 4 "$me" >/dev/null
mkfifo /run/pulse
iho-pulse </run/pulse >pulse &
exec 9>/run/pulse
# warnings and worse
dmesg -n 5
# one that panics stays so
echo 0 >/proc/sys/kernel/panic
[ ! -e /reboot_ipi.ko ] || {
	insmod /reboot_ipi.ko stopping_cpu="0x$(awk '$3 == "stopping_cpu" {print $1}' /proc/kallsyms)"
	ok $? "the handler of vector 0xf8 looks at who sent it, as with the patch of the kernel itself"
}

tenant raw "hlt:1,gate,donate,timer:3:300,gate,icr-direct:0xf2:1,gate,$(cat ../attack),gate" "" --no-pv-unhalt --pin 1
ok $? "the tenant waits at its gate" || cat raw.tenant.err
hold raw "$(vmm_of raw)"
gate_open
poll 60 tenant_says raw.tenant '^gate 2$'
[ "$(tell raw 'set 7')" = 'modes 7' ]
ok $? "it may send raw IPIs: $(tail -n 1 raw.hold)"
gate_open
poll 60 tenant_says raw.tenant '^gate 3$'
tell raw 'vcpu 0' | grep -q 'ipi_engaged=1 ipi_kicked=1 '
ok $? "the processor's ICR is its own" || cat raw.hold
all_interrupts >interrupts.before
deliver raw
mark 0 start
mark $beats begin
mark 0 attack
gate_open
mark $beats running
all_interrupts >interrupts.after
has raw.tenant '^gate 4$' && tell raw 'vcpu 0' | grep -q 'ipi_engaged=1 ipi_kicked=1 '
ok $? "the guest came to the end of its attack, without an exit for the ICR"
kill -KILL $TENANT
exec 7>&-
wait $TENANT
release TERM
mark 0 ended
mark $beats still
rmmod kvm_intel
rmmod kvm
mark 0 unloaded
mark $beats over
echo '# interrupts of CPUs 0 and 2, before and while:'
diff interrupts.before interrupts.after | sed -n 's/^\([-+]\)# /# \1/p'
