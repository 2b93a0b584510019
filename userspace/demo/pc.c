// SPDX-License-Identifier: GPL-2.0-or-later
#include "pc.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "acpi.h"
#include "uart.h"

#define COM1	 0x3f8
#define COM1_IRQ 4

/* Keyboard controller: there is none, but its reset line is the oldest way to reset a PC. */
#define I8042_COMMAND 0x64
#define I8042_RESET   0xfe

/* Clock: 0 says neither "update in progress" (register A) nor "battery good" (register D). */
#define CMOS_DATA 0x71

struct pc {
	pthread_mutex_t lock; /* of all below */
	struct uart uart;
	bool own_out_fd;
	uint8_t pm1[ACPI_PM1_BYTES]; /* status, enable and control registers */
};

static int create_pit(int vm_fd)
{
	/* With the speaker's dummy KVM also serves port 0x61, by which Linux measures the TSC. */
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int ret;

	if (!ioctl(vm_fd, KVM_CREATE_PIT2, &config))
		return 0;
	ret = -errno;
	warn("Linux needs a timer: KVM_CREATE_PIT2");
	return ret;
}

int pc_create(struct pc **pc_out, int vm_fd, const char *console, const bool *stopping)
{
	struct pc *pc;
	int ret = create_pit(vm_fd);

	if (ret)
		return ret;
	pc = calloc(1, sizeof(*pc));
	if (!pc) {
		warnx("out of memory");
		return -ENOMEM;
	}
	pthread_mutex_init(&pc->lock, NULL);
	pc->uart = (struct uart){
		.vm_fd = vm_fd,
		.irq = COM1_IRQ,
		.out_fd = STDOUT_FILENO,
		.stopping = stopping,
	};
	if (console) {
		pc->uart.out_fd = open(console, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (pc->uart.out_fd < 0) {
			ret = -errno;
			warn("console: %s", console);
			pc_destroy(pc);
			return ret;
		}
		pc->own_out_fd = true;
	}
	pc->pm1[ACPI_PM1_CONTROL - ACPI_PM1_EVENT] = ACPI_SCI_EN;
	*pc_out = pc;
	return 0;
}

bool pc_flush(struct pc *pc)
{
	return !uart_flush(&pc->uart);
}

void pc_destroy(struct pc *pc)
{
	if (!pc)
		return;
	if (pc->own_out_fd)
		close(pc->uart.out_fd);
	pthread_mutex_destroy(&pc->lock);
	free(pc);
}

/* No event ever happens: the status stays 0. The enable register holds what is written. */
static enum pc_outcome write_pm1(struct pc *pc, unsigned int offset, uint8_t value)
{
	switch (offset) {
	case 2:
	case 3:
		pc->pm1[offset] = value;
		break;
	case 5:
		pc->pm1[offset] = (uint8_t)(value & ~ACPI_SLP_EN);
		if ((value & ACPI_SLP_EN) && ACPI_SLP_TYP(value) == ACPI_SLP_TYP_S5)
			return PC_POWER_OFF;
		break;
	}
	return PC_GOES_ON;
}

static enum pc_outcome write_byte(struct pc *pc, uint16_t port, uint8_t value)
{
	if (port >= COM1 && port < COM1 + UART_NR_PORTS)
		return uart_write(&pc->uart, port - COM1, value) ? PC_FAILED : PC_GOES_ON;
	if (port >= ACPI_PM1_EVENT && port < ACPI_PM1_EVENT + ACPI_PM1_BYTES)
		return write_pm1(pc, port - ACPI_PM1_EVENT, value);
	return PC_GOES_ON;
}

enum pc_outcome pc_out(struct pc *pc, uint16_t port, const uint8_t *data, size_t bytes)
{
	enum pc_outcome outcome = PC_GOES_ON;

	/* A wider write near the reset port is one to PCI's configuration ports, 0xcf8. */
	if (bytes == 1 && port == ACPI_RESET_PORT && (*data & ACPI_RESET_CPU))
		return PC_RESET;
	if (bytes == 1 && port == I8042_COMMAND && *data == I8042_RESET)
		return PC_RESET;

	pthread_mutex_lock(&pc->lock);
	for (size_t i = 0; i < bytes && outcome == PC_GOES_ON; i++)
		outcome = write_byte(pc, (uint16_t)(port + i), data[i]);
	pthread_mutex_unlock(&pc->lock);
	return outcome;
}

static uint8_t read_byte(struct pc *pc, uint16_t port)
{
	if (port >= COM1 && port < COM1 + UART_NR_PORTS)
		return uart_read(&pc->uart, port - COM1);
	if (port >= ACPI_PM1_EVENT && port < ACPI_PM1_EVENT + ACPI_PM1_BYTES)
		return pc->pm1[port - ACPI_PM1_EVENT];
	if (port == I8042_COMMAND || port == CMOS_DATA)
		return 0;
	return 0xff;
}

void pc_in(struct pc *pc, uint16_t port, uint8_t *data, size_t bytes)
{
	pthread_mutex_lock(&pc->lock);
	for (size_t i = 0; i < bytes; i++)
		data[i] = read_byte(pc, (uint16_t)(port + i));
	pthread_mutex_unlock(&pc->lock);
}
