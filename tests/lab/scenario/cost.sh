# SPDX-License-Identifier: GPL-2.0-or-later
# needs: bpftrace
# What our programs cost for an exit and the entry after it, beside bpftrace asked for no more than
# a latency histogram by reason. Both listen to the same events at the same time.
stats=/proc/sys/kernel/bpf_stats_enabled
tenant cost "hlt:1,gate,cpuid:1:20000" "hlt:1,gate,cpuid:1:20000"
top_start cost
bpftrace -e 'BEGIN { printf("ready\n"); }
	tracepoint:kvm:kvm_exit { @t[tid] = nsecs; @r[tid] = args->exit_reason; }
	tracepoint:kvm:kvm_entry /@t[tid]/ { @[@r[tid]] = hist(nsecs - @t[tid]); delete(@t[tid]); }' \
	>bpftrace.out 2>&1 &
PEER=$!
poll 120 has bpftrace.out ready
ok $? "bpftrace listens"
echo 1 >$stats
truth_begin
gate_open
tenant_done cost
ok $? "cost: the tenant ran to its end"
for p in $TOP $PEER; do
	[ $p = $TOP ] && name=ours || name=peer
	for f in /proc/$p/fdinfo/*; do
		awk '/^prog_id/ {id=$2} /^run_time_ns/ {ns=$2} /^run_cnt/ {print id, ns, $2}' $f
	done 2>/dev/null | sort -u >cost.$name
done
kill -INT $PEER
wait $PEER
top_end
truth_end cost
echo 0 >$stats
tenant_end
judge exact cost
judge cost cost
