/* SPDX-License-Identifier: GPL-2.0-or-later */
	.section .rodata
	.globl iho_page, iho_page_end
	.hidden iho_page, iho_page_end
iho_page:
	.incbin IHO_PAGE
iho_page_end:
	.byte 0
	.section .note.GNU-stack, "", @progbits
