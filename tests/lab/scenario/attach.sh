# SPDX-License-Identifier: GPL-2.0-or-later
# Attached and detached, again and again, while the tenant runs: nothing is unpaired, nothing stays
# behind.
times=5
[ $ISA = vmx ] && times=2 # Bochs needs half a minute for each
iho-demo --name attach --script 'mark,out:0x80:50,cpuid:0:20,wrmsr:0x8b:10,hlt:20:20000,loop:1000000' \
	>/dev/null &
demo=$!
none=$(programs)
i=0
while [ $i -lt $times ]; do
	iho-top -b --format json -d 0.3 -n 2 2>>attach.err | tail -n 1 >>attach.json
	i=$((i + 1))
done
judge attach attach $times
poll 10 eval '[ "$(programs)" = "$none" ]'
ok $? "attach: nothing of them is left after $times clean ends"

top_start killed
poll 30 has_lines killed.json 3
running=$(programs)
[ "$running" -gt $((none + 20)) ]
ok $? "kill -9: its programs were loaded, $((running - none)) BPF functions"
kill -9 $TOP
wait $TOP 2>/dev/null
poll 10 eval '[ "$(programs)" = "$none" ]'
ok $? "kill -9: none of them is left"
[ -z "$(ls /sys/fs/bpf)" ] && [ "$(cat /proc/sys/kernel/bpf_stats_enabled)" = 0 ]
ok $? "kill -9: nothing is pinned, bpf_stats is off"
kill -TERM $demo
wait $demo
cat attach.err
