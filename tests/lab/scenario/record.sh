# SPDX-License-Identifier: GPL-2.0-or-later
# needs: trace-cmd
# Records a Linux tenant that boots, idles and works: trace.dat. See tests/data.
# the names of all kernel functions would be two thirds of the file, and no event needs them
mount --bind /dev/null /proc/kallsyms
echo 0 >$T/enable
trace-cmd record -q --compression none -o /run/trace.dat -b 20000 -e kvm -e sched -e irq_vectors \
	timeout 120 iho-demo --name linux --vcpus 2 --memory 256 --kernel /tenant/bzImage \
	--initrd /tenant/initrd --console linux.console \
	--append "console=ttyS0 quiet panic=-1 reboot=k mitigations=off nokaslr" >record.out 2>&1
ok $? "trace-cmd recorded"
umount /proc/kallsyms
cp /run/trace.dat .
grep -q "^tenant: end" linux.console
ended=$?
ok $ended "the tenant ran to its end"
cat record.out
return $ended
