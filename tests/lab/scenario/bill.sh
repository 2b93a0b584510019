# SPDX-License-Identifier: GPL-2.0-or-later
# Known times, spent in known ways. judge bill RUN VCPU STATES RELATION MS PERCENT
poll_ns=/sys/module/kvm/parameters/halt_poll_ns
before=$(cat $poll_ns)

echo 0 >$poll_ns
counted busy "gate,busy:2000" "gate,sleep:2000"
judge exact busy
judge bill busy 0 guest+kvm+runnable+preempted = 2000 5
judge bill busy 1 userspace:KVM_EXIT_IO = 2000 5

counted unpolled "hlt:1,gate,hlt:300:5000" "hlt:1,gate,hlt:1000:50"
judge exact unpolled
judge halted unpolled
judge bill unpolled 1 halt_poll "<" 10 0

echo 200000 >$poll_ns
counted polled "hlt:1,gate,hlt:300:5000" "hlt:1,gate,hlt:2000:50"
judge exact polled
judge halted polled
echo "$before" >$poll_ns
