/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tenant to migrate: it starts in a moment, needs no disk, and dirties memory at a steady rate
 * for as long as it runs. A multiboot image without a kernel in it; its command line is 3 numbers:
 *
 *	FILL  MiB that are given contents once, so that there is something to send
 *	SET   MiB that are written to over and over, one word a page
 *	PAUSE ticks of the TSC between two pages
 *
 * The pause begins anew after each page, so a throttled vCPU dirties less, as a real load does.
 */
	.code32
	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002

#define BASE 0x00200000

	.bss
	.align 16
stack:	.skip 256
stack_end:

	.text
	.globl _start
_start:
	mov	$stack_end, %esp
	mov	16(%ebx), %esi		/* multiboot_info.cmdline */
1:	lodsb				/* the image's own name comes first */
	test	%al, %al
	jz	2f
	cmp	$' ', %al
	jne	1b
2:	call	number
	shl	$8, %eax		/* MiB in pages */
	mov	%eax, fill
	call	number
	shl	$8, %eax
	mov	%eax, set
	call	number
	mov	%eax, pause

	mov	$BASE, %edi
	mov	fill, %ecx
3:	mov	%edi, (%edi)
	add	$4096, %edi
	loop	3b

	mov	$0x3f8, %dx		/* a byte on the serial port: ready */
	mov	$'R', %al
	outb	%al, %dx

4:	mov	$BASE, %edi
	mov	set, %ecx
5:	incl	8(%edi)
	add	$4096, %edi
	rdtsc
	mov	%eax, %ebx
6:	rdtsc
	sub	%ebx, %eax
	cmp	pause, %eax
	jb	6b
	loop	5b
	jmp	4b

/* The next decimal number at %esi in %eax; 0 where the line ends. */
number:
	xor	%eax, %eax
	xor	%ecx, %ecx
7:	movb	(%esi), %cl
	test	%cl, %cl
	jz	9f
	inc	%esi
	cmp	$' ', %cl
	je	9f
	imul	$10, %eax, %eax
	lea	-'0'(%eax, %ecx), %eax
	jmp	7b
9:	ret

	.bss
	.align 4
fill:	.skip 4
set:	.skip 4
pause:	.skip 4
