/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ACPI tables of a PC without buses: its CPUs, its I/O APIC, how to switch it off and how to
 * reset it. Section numbers are those of the ACPI specification, version 6.5.
 */
#ifndef IHO_DEMO_ACPI_H
#define IHO_DEMO_ACPI_H

#include <stdint.h>

/* The fixed hardware that the tables promise (4.8.3); pc.c has it. */
#define ACPI_PM1_EVENT	 0x600 /* 2 bytes status, 2 bytes enable */
#define ACPI_PM1_CONTROL 0x604 /* 2 bytes */
#define ACPI_PM1_BYTES	 6
#define ACPI_SCI_EN	 0x1 /* PM1 control, low byte: always in ACPI mode */
#define ACPI_SLP_EN	 0x20 /* PM1 control, high byte: go to the sleep state now */
#define ACPI_SLP_TYP(hi) ((hi) >> 2 & 0x7) /* of the high byte */
#define ACPI_SLP_TYP_S5	 5
#define ACPI_RESET_PORT	 0xcf9
#define ACPI_RESET_VALUE 0x6
#define ACPI_RESET_CPU	 0x4 /* the bit that resets */

/* Where the tables are: in the BIOS area, in which an OS looks for them (5.2.5.1). */
#define ACPI_TABLES	  0xe0000
#define ACPI_TABLES_BYTES 0x2000
#define ACPI_MAX_VCPUS	  255 /* local APIC ids of 8 bits, 0xff is broadcast */

/* Write them for @nr_vcpus vCPUs into zeroed guest memory; the root pointer is at ACPI_TABLES. */
void acpi_build(uint8_t *ram, unsigned int nr_vcpus);

#endif
