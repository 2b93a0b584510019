# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# What iho-exporter says of two tenants for a minute and a half, into `documents`, for a picture of its
# page: lab.sh run amd tests/lab/scenario/page.sh; not a scenario of a trial.
ip link set lo up
daemon_start page
iho-exporter --min-interval 0 2>exporter.err &
exporter=$!
iho-demo --name linux --vcpus 2 --memory 256 --kernel /tenant/bzImage --initrd /tenant/initrd \
	--console linux.console --append "console=ttyS0 quiet reboot=k mitigations=off nokaslr iho.endless" &
linux=$!
poll 120 has linux.console '^tenant: another round'
iho-demo --name appliance --vcpus 1 --script "out:0x80:20,cpuid:1:30,hlt:2:5000,loop" &
appliance=$!
n=0
while [ $n -lt 45 ]; do
	wget -q -O - http://127.0.0.1:9978/metrics.json
	sleep 2
	n=$((n + 1))
done >documents
kill $linux $appliance $exporter
wait $linux $appliance $exporter
daemon_end
true
