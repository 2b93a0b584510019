# SPDX-License-Identifier: GPL-2.0-or-later
# needs: perf
# perf kvm stat beside us: the same exits, by reason.
tenant perf "hlt:1,gate,out:0x80:500,cpuid:1:500,wrmsr:0x8b:500,hlt:200" "hlt:1,gate,in:0x81:300,cpuid:0:700"
top_start perf
rm -f /run/ctl /run/ack
mkfifo /run/ctl /run/ack
exec 5<>/run/ctl 6<>/run/ack
perf kvm stat record -a -m 1024 -o /run/perf.data -D -1 --control=fifo:/run/ctl,/run/ack >record.out 2>&1 &
PERF=$!
echo enable >&5
read -r -t 60 answer <&6
ok $? "perf listens"
truth_begin
gate_open
tenant_done perf
ok $? "perf: the tenant ran to its end"
kill -INT $PERF
wait $PERF
top_end
truth_end perf
tenant_end
perf kvm -i /run/perf.data stat report --event=vmexit >perf.report 2>&1
ok $? "perf kvm stat report"
cat record.out perf.report
judge exact perf
judge perf_kvm_stat perf
