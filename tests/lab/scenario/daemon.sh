# SPDX-License-Identifier: GPL-2.0-or-later
# One load for two readers: iho-top and a scrape read from ihod, and both agree with the histograms.
tenant fleet "hlt:1,gate,out:0x80:500,wrmsr:0x8b:200,cpuid:1:300,hlt:100" \
	"hlt:1,gate,in:0x81:700,mmio-write:0xe0000000:250,cpuid:7:100"
ok $? "fleet: the tenant waits at its gate"
before=$(programs)
daemon_start fleet
ok $? "ihod answers"
loaded=$(programs)
[ "$loaded" -gt "$before" ]
ok $? "it has loaded its programs, $((loaded - before)) BPF functions"
top_start fleet --socket /run/iho/ihod.sock
truth_begin
gate_open
tenant_done fleet
ok $? "fleet: the tenant ran to its end"
[ "$(programs)" = "$loaded" ]
ok $? "its readers load none"
top_end
truth_end fleet
iho-exporter --once --socket /run/iho/ihod.sock >fleet.prom
ok $? "iho-exporter --once"
iho-exporter --once --format json --socket /run/iho/ihod.sock >fleet.metrics.json
ok $? "iho-exporter --once --format json"
iho-top --features --socket /run/iho/ihod.sock >fleet.features
tenant_end
daemon_end
ok $? "ihod ends"
poll 10 eval '[ "$(programs)" = "$before" ]'
ok $? "and leaves nothing behind"
cat fleet.ihod.err
judge exact fleet
judge scrape fleet
