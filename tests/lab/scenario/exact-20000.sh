# SPDX-License-Identifier: GPL-2.0-or-later
# Many of a kind: no event is lost in a stream of them.
counted n20000 \
	"hlt:1,gate,out:0x80:20000,wrmsr:0x8b:20000,cpuid:1:20000" \
	"hlt:1,gate,mmio-write:0xe0000000:20000,in:0x3f8:20000,rdmsr:0x8b:20000,hlt:2000:50"
judge exact n20000
