# SPDX-License-Identifier: GPL-2.0-or-later
# A Linux tenant of two vCPUs boots, idles, works a little and ends: every event from its birth to
# its end. Fails when it does not come to its end, which QEMU's TCG sometimes causes.
top_start linux
truth_begin
timeout 120 iho-demo --name linux --vcpus 2 --memory 256 --kernel /tenant/bzImage \
	--initrd /tenant/initrd --console linux.console \
	--append "console=ttyS0 quiet panic=-1 reboot=k mitigations=off nokaslr"
top_end
truth_end linux
grep "^tenant: end" linux.console
ended=$?
tail -n 12 linux.console
judge events linux
return $ended
