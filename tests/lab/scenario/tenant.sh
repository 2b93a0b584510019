# SPDX-License-Identifier: GPL-2.0-or-later
# Which of a Linux tenant's tasks causes which exits: of its two, dd reads I/O ports and yes only
# works, each on its own vCPU; the kernel of the tenant tells who is who, KVM who exits. Fails when
# the tenant does not get up, which QEMU's TCG sometimes causes.
iho-demo --name tasks --vcpus 2 --memory 256 --kernel /tenant/bzImage --initrd /tenant/initrd \
	--console console --append "console=ttyS0 quiet panic=-1 mitigations=off iho.tasks" &
tenant=$!
if ! poll 120 has console '^tenant: tasks'; then
	tail -n 5 console
	kill $tenant
	return 1
fi
# programs are loaded slowly here: once, before a statement waits for them
daemon_start tasks
ok $? "ihod answers"
# the worker has no environment that would tell where its libraries are
ln -s /lib/iho/* /lib/
IO=io
[ $ISA = vmx ] && IO=IO_INSTRUCTION
iho-query --vm tasks --format csv "SELECT name, coalesce(reason, '-') reason, sum(exits) exits,
	sum(certain) certain, max(share) share, max(isa) isa FROM task_exits WHERE handled IS NOT 'vmm'
	GROUP BY name, reason ORDER BY exits DESC" >statement 2>statement.err
ok $? "one statement about tasks and exits"
cat statement statement.err
grep -q "^dd,$IO,[1-9][0-9]*,[0-9]*,[0-9.]*,$ISA" statement
ok $? "dd's port reads exit, by the reason $IO"
awk -F, -v io=$IO '$2 == io { all += $3 } $1 == "dd" && $2 == io { dd += $3 }
	END { exit !(all > 0 && dd >= 0.8 * all) }' statement
ok $? "four fifths of the reason's exits at least are dd's"
awk -F, -v io=$IO '$1 == "yes" { seen = 1 } $1 == "yes" && $2 == io && $3 > 0 { bad = 1 }
	END { exit !seen || bad }' statement
ok $? "the quiet task is seen, and has none of them"
iho-top --format json -n 1 -d 1 --tenant tasks >top.json 2>top.err
ok $? "iho-top --tenant"
cat top.json top.err | tr '{' '\n' | grep -E '"certain_share"|error' | head -n 12
tr '{' '\n' <top.json | grep '"certain_share"' | head -n 1 | grep -q "\"dd\".*\"$IO\""
ok $? "its first task is dd, and dd's top reason $IO"
daemon_end
kill $tenant
wait $tenant
true
