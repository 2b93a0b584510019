/* SPDX-License-Identifier: GPL-2.0-or-later */
	.section .rodata
	.globl fake_btf, fake_btf_end
	.hidden fake_btf, fake_btf_end
	.balign 8
fake_btf:
	.incbin FAKE_BTF
fake_btf_end:
	.section .note.GNU-stack, "", @progbits
