// SPDX-License-Identifier: GPL-2.0-or-later
#include "acpi.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

/* Offsets from ACPI_TABLES; the root pointer is first, the MADT takes the rest. */
#define RSDT 0x40
#define FACS 0x80 /* 64-byte aligned */
#define DSDT 0xc0
#define FADT 0x100
#define MADT 0x200

#define LOCAL_APIC_GPA 0xfee00000
#define IO_APIC_GPA    0xfec00000
#define SCI_IRQ	       9

#define PACKED __attribute__((packed))

struct rsdp { /* 5.2.5.3, the first version: it has an RSDT only */
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
} PACKED;

struct header { /* 5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} PACKED;

struct rsdt { /* 5.2.7 */
	struct header header;
	uint32_t fadt;
	uint32_t madt;
} PACKED;

struct address { /* 5.2.3.2 */
	uint8_t space; /* 1: system I/O */
	uint8_t bits;
	uint8_t bit_offset;
	uint8_t access; /* 1: bytes */
	uint64_t address;
} PACKED;

struct fadt { /* 5.2.9, as of revision 3; the 64-bit fields are 0: those of 32 bits count */
	struct header header;
	uint32_t facs;
	uint32_t dsdt;
	uint8_t reserved0;
	uint8_t pm_profile;
	uint16_t sci_irq;
	uint32_t smi_command; /* 0: there is no mode but ACPI's */
	uint8_t smi_values[4];
	uint32_t pm1a_event, pm1b_event;
	uint32_t pm1a_control, pm1b_control;
	uint32_t pm2_control;
	uint32_t pm_timer;
	uint32_t gpe0, gpe1;
	uint8_t pm1_event_bytes;
	uint8_t pm1_control_bytes;
	uint8_t other_bytes[5];
	uint8_t cst_control;
	uint16_t c2_latency_us, c3_latency_us;
	uint16_t flush_size, flush_stride;
	uint8_t duty_offset, duty_width;
	uint8_t rtc_fields[3];
	uint16_t boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value;
	uint8_t reserved2[3];
	uint64_t x_facs, x_dsdt;
	struct address x_blocks[8];
} PACKED;

static_assert(sizeof(struct fadt) == 244, "FADT of revision 3");

/* 5.2.9.3: ISA devices there are; no VGA, no MSI, no CMOS clock, and no keyboard controller */
#define BOOT_LEGACY_DEVICES 0x1
#define BOOT_NO_VGA	    0x4
#define BOOT_NO_MSI	    0x8
#define BOOT_NO_CMOS_RTC    0x20

/* 5.2.9, table "Fixed ACPI Description Table Fixed Feature Flags" */
#define FADT_WBINVD	0x1
#define FADT_PROC_C1	0x4
#define FADT_NO_PWR	0x10 /* no power button in the fixed hardware */
#define FADT_NO_SLP	0x20 /* no sleep button either */
#define FADT_NO_RTC	0x40 /* nor the clock's wake-up */
#define FADT_RESET_REG	0x400
#define C_STATE_NONE_US 0xffff

struct facs { /* 5.2.10 */
	char signature[4];
	uint32_t length;
	uint32_t fields[6];
	uint8_t version;
	uint8_t reserved[31];
} PACKED;

static_assert(sizeof(struct facs) == 64, "FACS");

struct madt { /* 5.2.12 */
	struct header header;
	uint32_t local_apic;
	uint32_t flags;
} PACKED;

#define MADT_PCAT_COMPAT 0x1 /* 8259 interrupt controllers too */

struct madt_local_apic { /* type 0 */
	uint8_t type, length;
	uint8_t processor;
	uint8_t apic_id;
	uint32_t flags; /* 1: enabled */
} PACKED;

struct madt_io_apic { /* type 1 */
	uint8_t type, length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t first_gsi;
} PACKED;

struct madt_override { /* type 2 */
	uint8_t type, length;
	uint8_t bus;
	uint8_t irq;
	uint32_t gsi;
	uint16_t flags; /* 0xd: active high, level-triggered */
} PACKED;

static_assert(MADT + sizeof(struct madt) + ACPI_MAX_VCPUS * sizeof(struct madt_local_apic) +
			      sizeof(struct madt_io_apic) + sizeof(struct madt_override) <=
		      ACPI_TABLES_BYTES,
	      "the MADT of all vCPUs");

/* Name (\_S5, Package (4) { 5, 5, 0, 0 }), in AML (20.2): the sleep type of power-off */
static const uint8_t dsdt_aml[] = {
	0x08, '_',  'S', '5', '_', 0x12, 0x08, 0x04, 0x0a, ACPI_SLP_TYP_S5, 0x0a, ACPI_SLP_TYP_S5,
	0x00, 0x00,
};

static_assert(DSDT + sizeof(struct header) + sizeof(dsdt_aml) <= FADT, "the DSDT's room");

/* All bytes of a table sum to 0. */
static uint8_t checksum(const void *table, size_t bytes)
{
	const uint8_t *byte = table;
	uint8_t sum = 0;

	while (bytes--)
		sum += *byte++;
	return (uint8_t)-sum;
}

/* @table is complete but for its header. */
static void seal(void *table, const char *signature, uint8_t revision, size_t bytes)
{
	struct header header = {
		.length = (uint32_t)bytes,
		.revision = revision,
		.oem_revision = 1,
		.creator_revision = 1,
	};

	memcpy(header.signature, signature, sizeof(header.signature));
	memcpy(header.oem_id, "IHO   ", sizeof(header.oem_id));
	memcpy(header.oem_table_id, "IHO-DEMO", sizeof(header.oem_table_id));
	memcpy(header.creator_id, "IHO ", sizeof(header.creator_id));
	memcpy(table, &header, sizeof(header));
	header.checksum = checksum(table, bytes);
	memcpy(table, &header, sizeof(header));
}

static void build_rsdp(uint8_t *tables)
{
	struct rsdp rsdp = { .rsdt = ACPI_TABLES + RSDT };

	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	memcpy(rsdp.oem_id, "IHO   ", sizeof(rsdp.oem_id));
	rsdp.checksum = checksum(&rsdp, sizeof(rsdp));
	memcpy(tables, &rsdp, sizeof(rsdp));
}

static void build_rsdt(uint8_t *tables)
{
	struct rsdt rsdt = { .fadt = ACPI_TABLES + FADT, .madt = ACPI_TABLES + MADT };

	seal(&rsdt, "RSDT", 1, sizeof(rsdt));
	memcpy(tables + RSDT, &rsdt, sizeof(rsdt));
}

static void build_facs(uint8_t *tables)
{
	struct facs facs = { .length = sizeof(facs), .version = 1 };

	memcpy(facs.signature, "FACS", sizeof(facs.signature));
	memcpy(tables + FACS, &facs, sizeof(facs));
}

static void build_dsdt(uint8_t *tables)
{
	uint8_t *dsdt = tables + DSDT;

	memcpy(dsdt + sizeof(struct header), dsdt_aml, sizeof(dsdt_aml));
	seal(dsdt, "DSDT", 2, sizeof(struct header) + sizeof(dsdt_aml));
}

static void build_fadt(uint8_t *tables)
{
	struct fadt fadt = {
		.facs = ACPI_TABLES + FACS,
		.dsdt = ACPI_TABLES + DSDT,
		.sci_irq = SCI_IRQ,
		.pm1a_event = ACPI_PM1_EVENT,
		.pm1_event_bytes = 4,
		.pm1a_control = ACPI_PM1_CONTROL,
		.pm1_control_bytes = 2,
		.c2_latency_us = C_STATE_NONE_US,
		.c3_latency_us = C_STATE_NONE_US,
		.boot_arch = BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_MSI | BOOT_NO_CMOS_RTC,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_PWR | FADT_NO_SLP | FADT_NO_RTC |
			 FADT_RESET_REG,
		.reset = { .space = 1, .bits = 8, .access = 1, .address = ACPI_RESET_PORT },
		.reset_value = ACPI_RESET_VALUE,
	};

	seal(&fadt, "FACP", 3, sizeof(fadt));
	memcpy(tables + FADT, &fadt, sizeof(fadt));
}

/* Copies an entry to @at and returns where the next one goes. */
static uint8_t *append(uint8_t *at, const void *entry, size_t bytes)
{
	memcpy(at, entry, bytes);
	return at + bytes;
}

/* KVM's default routing: interrupt n is pin n of the I/O APIC, also for the timer. */
static void build_madt(uint8_t *tables, unsigned int nr_vcpus)
{
	const struct madt madt = { .local_apic = LOCAL_APIC_GPA, .flags = MADT_PCAT_COMPAT };
	const struct madt_io_apic io_apic = {
		.type = 1,
		.length = sizeof(io_apic),
		.address = IO_APIC_GPA,
	};
	const struct madt_override sci = {
		.type = 2,
		.length = sizeof(sci),
		.irq = SCI_IRQ,
		.gsi = SCI_IRQ,
		.flags = 0xd,
	};
	uint8_t *table = tables + MADT;
	uint8_t *end = append(table, &madt, sizeof(madt));

	for (unsigned int i = 0; i < nr_vcpus; i++) {
		const struct madt_local_apic cpu = {
			.length = sizeof(cpu),
			.processor = (uint8_t)i,
			.apic_id = (uint8_t)i,
			.flags = 1,
		};

		end = append(end, &cpu, sizeof(cpu));
	}
	end = append(end, &io_apic, sizeof(io_apic));
	end = append(end, &sci, sizeof(sci));
	seal(table, "APIC", 3, (size_t)(end - table));
}

void acpi_build(uint8_t *ram, unsigned int nr_vcpus)
{
	uint8_t *tables = ram + ACPI_TABLES;

	assert(nr_vcpus <= ACPI_MAX_VCPUS);
	build_rsdp(tables);
	build_rsdt(tables);
	build_facs(tables);
	build_dsdt(tables);
	build_fadt(tables);
	build_madt(tables, nr_vcpus);
}
