/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of a PC that KVM leaves to the VMM, as far as an ordinary Linux needs it: a serial
 * port, ACPI's fixed hardware, and what resets the machine. There is no bus: a port without a
 * device reads as ones. Interrupt controllers, timer and port 0x61 are KVM's.
 */
#ifndef IHO_DEMO_PC_H
#define IHO_DEMO_PC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc;

enum pc_outcome {
	PC_GOES_ON,
	PC_POWER_OFF,
	PC_RESET,
	PC_FAILED, /* after a message on stderr */
};

/*
 * Create the devices of @vm_fd. The console is sent to the file @console, or to stdout if that is
 * NULL. Output that would block is given up once *@stopping is true. Returns 0, or a negative errno
 * after one message on stderr.
 */
int pc_create(struct pc **pc, int vm_fd, const char *console, const bool *stopping);

/* When no vCPU runs any more. Returns false if the console's last output was lost. */
bool pc_flush(struct pc *pc);
void pc_destroy(struct pc *pc);

/* A vCPU accesses @port with @bytes of 1, 2 or 4. Any thread may call these at any time. */
enum pc_outcome pc_out(struct pc *pc, uint16_t port, const uint8_t *data, size_t bytes);
void pc_in(struct pc *pc, uint16_t port, uint8_t *data, size_t bytes);

#endif
