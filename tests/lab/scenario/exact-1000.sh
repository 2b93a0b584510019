# SPDX-License-Identifier: GPL-2.0-or-later
# 1000 of every kind of exit; the second vCPU does something else than the first.
io=out:0x80:1000,in:0x81:1000,mmio-write:0xf0000000:1000,mmio-read:0xf0001000:1000
counted n1000 \
	"hlt:1,gate,$io,wrmsr:0x8b:1000,rdmsr:0x8b:1000,cpuid:1:1000,hlt:1000" \
	"hlt:1,gate,out:0x3f8:1000,cpuid:0:1000,cpuid:7:500,hlt:1000:50,mmio-write:0xe0000000:1000"
judge exact n1000
