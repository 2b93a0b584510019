# SPDX-License-Identifier: GPL-2.0-or-later
# Where a Linux tenant's memory lies and what is in its registers, as vmi/memory reads both from KVM's
# own structs, beside what the tenant says of itself. An AMD processor leaves all registers in the
# VMCB; of an Intel one only those are known that KVM happened to read. Fails when the tenant does not
# get up, which QEMU's TCG sometimes causes.
# needs: look
iho-demo --name memslots --vcpus 2 --memory 256 --kernel /tenant/bzImage --initrd /tenant/initrd \
	--console console --append "console=ttyS0 quiet panic=-1 nokaslr iho.truth iho.endless" &
tenant=$!
if ! poll 120 has console '^tenant: another round'; then
	tail -n 5 console
	kill $tenant
	return 1
fi

# the tenant's: "tenant: ram 00001000-0009fbff", "tenant: symbol ffffffff81e00080 T entry_SYSCALL_64"
entry=0x$(sed -n 's/^tenant: symbol \([0-9a-f]*\) . entry_SYSCALL_64.*/\1/p' console | head -n 1)
echo "read 0x100000 8" | look memslots >look.out 2>&1
cat look.out
has look.out "^layout KVM's memory slots"
ok $? "the layout comes from KVM's slots"
has look.out '^vcpus KVM'
ok $? "the registers come from KVM"
is_in() { # FIRST LAST: some region holds all of it
	while read -r key gpa bytes how; do
		[ "$key" = region ] && [ $((gpa)) -le $((0x$1)) ] &&
			[ $((gpa + bytes)) -gt $((0x$2)) ] && return 0
	done <look.out
	return 1
}
missing=
for range in $(sed -n 's/^tenant: ram \([0-9a-f-]*\).*/\1/p' console); do
	is_in "${range%-*}" "${range#*-}" || missing="$missing $range"
done
has console '^tenant: ram' && [ -z "$missing" ]
ok $? "all that the tenant takes for RAM is in a slot$missing"
[ "$(grep -c '^vcpu [01] ' look.out)" = 2 ]
ok $? "two vCPUs"
if [ $ISA = svm ]; then
	[ "$(grep -c "^vcpu .*known=0x7f .*cr0=0x80050033 .*idt=0xfffffe0000000000/.*lstar=$entry\$" look.out)" = 2 ]
	ok $? "both vCPUs' CR0, IDT and LSTAR are a Linux', whose entry_SYSCALL_64 is $entry"
fi
kill $tenant
wait $tenant
true
