// SPDX-License-Identifier: GPL-2.0-or-later
#include "uart.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/kvm.h>
#include <linux/serial_reg.h>

#define STOP_CHECK_MS 100

/*
 * A pipe or terminal that no one reads must not hold up vmm_stop(): poll() first, and a write that
 * fits into what poll() promises (PIPE_BUF for a pipe), so that only poll() ever waits.
 */
static ssize_t write_some(const struct uart *uart, const char *data, size_t bytes)
{
	struct pollfd fd = { .fd = uart->out_fd, .events = POLLOUT };
	ssize_t written;

	for (;;) {
		int ready = poll(&fd, 1, STOP_CHECK_MS);

		if (ready < 0 && errno != EINTR)
			return -1;
		if (ready > 0) {
			written = write(uart->out_fd, data, bytes);
			if (written >= 0 || (errno != EINTR && errno != EAGAIN))
				return written;
		}
		if (__atomic_load_n(uart->stopping, __ATOMIC_ACQUIRE))
			return 0;
	}
}

int uart_flush(struct uart *uart)
{
	size_t done = 0;

	while (done < uart->nr_buffered) {
		ssize_t written = write_some(uart, uart->buffer + done, uart->nr_buffered - done);

		if (written < 0) {
			int ret = -errno;

			warn("writing the console");
			uart->nr_buffered = 0;
			return ret;
		}
		if (!written) {
			warnx("no one reads the console: its last %zu bytes are lost",
			      uart->nr_buffered - done);
			uart->nr_buffered = 0;
			return -EAGAIN;
		}
		done += (size_t)written;
	}
	uart->nr_buffered = 0;
	return 0;
}

static int send_byte(struct uart *uart, uint8_t value)
{
	uart->buffer[uart->nr_buffered++] = (char)value;
	if (value == '\n' || uart->nr_buffered == sizeof(uart->buffer))
		return uart_flush(uart);
	return 0;
}

/* The PC wires OUT2 so that it gates the interrupt; in loopback OUT2 does not reach the pin. */
static void update_line(struct uart *uart)
{
	bool gate = (uart->mcr & (UART_MCR_OUT2 | UART_MCR_LOOP)) == UART_MCR_OUT2;
	struct kvm_irq_level level = { .irq = uart->irq };
	bool line = gate && uart->thre_pending && (uart->ier & UART_IER_THRI);

	if (line == uart->line)
		return;
	uart->line = line;
	level.level = line;
	if (ioctl(uart->vm_fd, KVM_IRQ_LINE, &level))
		warn("KVM_IRQ_LINE of the console");
}

int uart_write(struct uart *uart, unsigned int offset, uint8_t value)
{
	bool dlab = uart->lcr & UART_LCR_DLAB;
	int ret = 0;

	switch (offset) {
	case UART_TX:
		if (dlab) {
			uart->dll = value;
			break;
		}
		/* Sent at once. In loopback it would come back: nothing is ever received here. */
		if (!(uart->mcr & UART_MCR_LOOP))
			ret = send_byte(uart, value);
		uart->thre_pending = true;
		break;
	case UART_IER:
		if (dlab) {
			uart->dlm = value;
			break;
		}
		/* Enabling the interrupt while the transmitter is empty raises it. */
		if (value & ~uart->ier & UART_IER_THRI)
			uart->thre_pending = true;
		uart->ier = value & 0xf;
		break;
	case UART_FCR:
		uart->fcr = value;
		break;
	case UART_LCR:
		uart->lcr = value;
		break;
	case UART_MCR:
		uart->mcr = value & 0x1f;
		break;
	case UART_SCR:
		uart->scr = value;
		break;
	}
	update_line(uart);
	return ret;
}

/* Reading it acknowledges the one interrupt there is. */
static uint8_t read_iir(struct uart *uart)
{
	uint8_t fifos = uart->fcr & UART_FCR_ENABLE_FIFO ? 0xc0 : 0;

	if (!uart->thre_pending || !(uart->ier & UART_IER_THRI))
		return fifos | UART_IIR_NO_INT;
	uart->thre_pending = false;
	update_line(uart);
	return fifos | UART_IIR_THRI;
}

/* In loopback the modem outputs come back as modem inputs: how drivers find the port. */
static uint8_t read_msr(const struct uart *uart)
{
	uint8_t mcr = uart->mcr;

	if (!(mcr & UART_MCR_LOOP))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
	return (mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) | (mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
	       (mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) | (mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
}

uint8_t uart_read(struct uart *uart, unsigned int offset)
{
	bool dlab = uart->lcr & UART_LCR_DLAB;

	switch (offset) {
	case UART_RX:
		return dlab ? uart->dll : 0;
	case UART_IER:
		return dlab ? uart->dlm : uart->ier;
	case UART_IIR:
		return read_iir(uart);
	case UART_LCR:
		return uart->lcr;
	case UART_MCR:
		return uart->mcr;
	case UART_LSR:
		return UART_LSR_THRE | UART_LSR_TEMT;
	case UART_MSR:
		return read_msr(uart);
	case UART_SCR:
		return uart->scr;
	}
	return 0xff;
}
