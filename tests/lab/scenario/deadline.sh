# SPDX-License-Identifier: GPL-2.0-or-later
# IA32_TSC_DEADLINE reads as 0 after it fired (SDM vol. 3, "TSC-Deadline Mode"). Linux rearms it in
# its handler, where nobody can look, so that here the timer of CPU 1 gets the vector of posted
# interrupts for a while, whose handler only acknowledges. Needs x2APIC and the module msr.
msr=/dev/cpu/1/msr
rdmsr() { dd if=$msr bs=8 count=1 iflag=skip_bytes skip=$(($1)) 2>>dd.err | od -A n -t x8; }
wrmsr() { printf "$2" | dd of=$msr bs=8 conv=notrunc oflag=seek_bytes seek=$(($1)) 2>>dd.err; }
deadline=0x6e0 lvt_timer=0x832
past='\001\0\0\0\0\0\0\0'

echo "LVT timer:$(rdmsr $lvt_timer)"
wrmsr $lvt_timer '\362\0\004\0\0\0\0\0' # TSC-deadline mode, vector 0xf2
for i in 1 2 3 4 5 6 7 8 9 10; do
	wrmsr $deadline "$past"
	rdmsr $deadline
done >deadlines
wrmsr $lvt_timer '\354\0\004\0\0\0\0\0' # Linux' own 0xec
wrmsr $deadline "$past"
# Linux may have rearmed it in between; then it is in the future
grep -qx ' *0*' deadlines && ! grep -qx ' *0*1' deadlines
ok $? "IA32_TSC_DEADLINE is 0 after it fired: $(sort deadlines | uniq -c | xargs)"
