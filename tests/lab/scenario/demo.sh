# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# iho-top with a Linux tenant under load, on the terminal of `make demo`; not a scenario of a trial.
iho-demo --name linux --vcpus 2 --memory 256 --kernel /tenant/bzImage --initrd /tenant/initrd \
	--console /root/linux.console --append "console=ttyS0 quiet reboot=k mitigations=off nokaslr iho.endless" &
tenant=$!
iho-top
kill $tenant
wait $tenant
