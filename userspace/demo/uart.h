/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A 16550A serial port that only sends: Linux's console. Its registers are those of
 * include/uapi/linux/serial_reg.h. The caller sees to it that one thread at a time is in here.
 */
#ifndef IHO_DEMO_UART_H
#define IHO_DEMO_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UART_NR_PORTS	  8
#define UART_BUFFER_BYTES 512

/**
 * struct uart - zeroed but for the first four, which the creator sets
 * @vm_fd, @irq: where its interrupt line goes, by KVM_IRQ_LINE
 * @out_fd: what is sent goes there
 * @stopping: once it is true, output that would block is given up
 */
struct uart {
	int vm_fd;
	uint32_t irq;
	int out_fd;
	const bool *stopping;

	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	bool thre_pending; /* the transmitter has become empty, and IIR has not told so yet */
	bool line;	   /* level of the interrupt line */

	char buffer[UART_BUFFER_BYTES];
	size_t nr_buffered;
};

/*
 * The guest accesses register @offset, below UART_NR_PORTS. Writing returns 0, or a negative errno
 * after one message on stderr: the output cannot be written.
 */
int uart_write(struct uart *uart, unsigned int offset, uint8_t value);
uint8_t uart_read(struct uart *uart, unsigned int offset);

/* Write out what has no newline yet. */
int uart_flush(struct uart *uart);

#endif
