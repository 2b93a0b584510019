# SPDX-License-Identifier: GPL-2.0-or-later
# Interrupts that a tenant has masked reach the hypervisor all the same: its tick, 250 a second,
# ends the busy loops. The tenant does not touch RFLAGS.IF between its gate and its end. Under TCG
# many a tick is lost.
interrupted=1 # EXTERNAL_INTERRUPT
[ $ISA = svm ] && interrupted=96
tenant masked "gate,busy:2000" "gate,busy:2000" --pin 0,1
truth_begin
gate_open
tenant_done masked
ok $? "masked: the tenant ran to its end"
truth_end masked
tenant_end
sed -n "s/.* exit_reason: *$interrupted } hitcount: *//p" masked.kvm_exit >masked.hits
[ "$(awk '$1>=50' masked.hits | wc -l)" = 2 ]
ok $? "masked: in 2 s both vCPUs were interrupted at least 50 times: $(xargs <masked.hits)"
