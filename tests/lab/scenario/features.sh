# SPDX-License-Identifier: GPL-2.0-or-later
# Every program loads and attaches to the events of this KVM.
iho-top --features >features.txt 2>features.err
ok $? "iho-top --features"
# no AVIC, no PMU and (AMD) no MPERF under emulation; all else a kernel of this age gives, but what
# only the patched KVM has
no=$(awk '$2!="yes" && $1!="apicv" && $1!="ref_cycles" && $1!="mperf" &&
	$1!~/^kvm_(iho_modes|direct_vcpu|direct_stat)$/ {print $1}' features.txt)
[ -z "$no" ]
ok $? "$(grep -c yes features.txt) features, every program among them${no:+; not: $no}"
grep '^kvm ' features.txt | grep -q "$MODULE"
ok $? "the hypervisor is $MODULE"
if [ $ISA = vmx ]; then
	grep -q '^apicv  *yes' features.txt
	ok $? "it has APICv"
fi
cat features.err
