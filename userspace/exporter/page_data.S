/* SPDX-License-Identifier: GPL-2.0-or-later */
	.section .rodata
	.globl iho_page, iho_page_bytes, iho_page_policy
	.hidden iho_page, iho_page_bytes, iho_page_policy
iho_page:
	.incbin IHO_PAGE
0:	.byte 0
iho_page_policy:
	.incbin IHO_PAGE_POLICY
	.byte 0
	.balign 8
iho_page_bytes:
	.quad 0b - iho_page
	.section .note.GNU-stack, "", @progbits
