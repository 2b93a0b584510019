# SPDX-License-Identifier: GPL-2.0-or-later
# Attached and detached while the tenant runs: nothing is unpaired, nothing stays behind.
iho-demo --name attach >/dev/null &
demo=$!
none=$(programs)
for _ in 1 2 3 4 5; do
	iho-top -b --format json -d 0.3 -n 2 2>>attach.err | tail -n 1 >>attach.json
done
judge attach attach 5
poll 10 eval '[ "$(programs)" = "$none" ]'
ok $? "attach: nothing of them is left after five clean ends"

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
