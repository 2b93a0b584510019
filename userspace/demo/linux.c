// SPDX-License-Identifier: GPL-2.0-or-later
#include "linux.h"

#include <assert.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <asm/bootparam.h>

#include "acpi.h"

/* Guest-physical layout; the ACPI tables are at ACPI_TABLES. */
#define BOOT_GDT	   0x1000
#define BOOT_PARAMS	   0x10000
#define BOOT_CMDLINE	   0x20000
#define BOOT_CMDLINE_BYTES 0x10000
#define BOOT_LOW_RAM_END   0x9fc00 /* as on a PC with an extended BIOS data area of 1 KiB */
#define BOOT_KERNEL	   0x100000
#define BOOT_PAGE_BYTES	   4096ULL

#define SECTOR_BYTES	    512
#define PARAGRAPH_BYTES	    16ULL
#define DEFAULT_SECTS	    4
#define BOOT_FLAG	    0xaa55
#define HEADER_MAGIC	    0x53726448 /* "HdrS" */
#define MIN_PROTOCOL	    0x20a /* the first with init_size: Linux 2.6.31 */
#define LOADER_UNREGISTERED 0xff
#define VIDEO_MODE_NORMAL   0xffff
#define E820_RAM	    1
#define E820_RESERVED	    2

/* The selectors that the protocol demands, flat segments of 4 GiB */
#define BOOT_CS 0x10
#define BOOT_DS 0x18

#define CR0_PE 0x1
#define CR0_ET 0x10

static_assert(sizeof(struct boot_params) == BOOT_PAGE_BYTES, "the zero page");

struct file {
	const char *path;
	int fd;
	uint64_t bytes;
};

static int open_file(struct file *file, const char *path)
{
	struct stat stat;
	int ret;

	file->path = path;
	/* O_NONBLOCK: a FIFO is refused below, not waited for. */
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file->fd < 0 || fstat(file->fd, &stat)) {
		ret = -errno;
		warn("%s", path);
		return ret;
	}
	if (!S_ISREG(stat.st_mode)) {
		warnx("%s: not a regular file", path);
		return -EINVAL;
	}
	file->bytes = (uint64_t)stat.st_size;
	return 0;
}

static void close_file(const struct file *file)
{
	if (file->fd >= 0)
		close(file->fd);
}

/* The file may have shrunk since its size was asked. */
static int read_file(const struct file *file, uint64_t offset, void *to, uint64_t bytes)
{
	uint8_t *at = to;

	while (bytes) {
		ssize_t got = pread(file->fd, at, bytes, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int ret = -errno;

			warn("%s", file->path);
			return ret;
		}
		if (!got) {
			warnx("%s: ends too early", file->path);
			return -EINVAL;
		}
		at += got;
		offset += (uint64_t)got;
		bytes -= (uint64_t)got;
	}
	return 0;
}

static uint64_t low_ram_bytes(const struct vmm_linux *config)
{
	return config->memory_bytes < LINUX_LOW_RAM_END ? config->memory_bytes : LINUX_LOW_RAM_END;
}

static int not_a_kernel(const struct file *file)
{
	warnx("%s: not a bzImage of Linux 2.6.31 or newer", file->path);
	return -EINVAL;
}

/* The setup header, which is also the one that the kernel gets back in its boot parameters. */
static int read_header(const struct file *file, struct setup_header *header)
{
	const uint64_t start = offsetof(struct boot_params, hdr);
	const uint64_t jump = start + offsetof(struct setup_header, jump);
	uint64_t end;

	if (file->bytes < start + sizeof(*header))
		return not_a_kernel(file);
	if (read_file(file, start, header, sizeof(*header)))
		return -EINVAL;
	if (header->boot_flag != BOOT_FLAG || header->header != HEADER_MAGIC ||
	    header->version < MIN_PROTOCOL || !(header->loadflags & LOADED_HIGH))
		return not_a_kernel(file);

	/* The header ends where its short jump goes to; what follows is code. */
	end = jump + 2 + (header->jump >> 8);
	if (end < start + sizeof(*header))
		memset((uint8_t *)header + (end - start), 0, start + sizeof(*header) - end);
	return 0;
}

/*
 * Where the memory ends that the kernel needs before it knows the memory map: init_size bytes from
 * where it unpacks itself to (boot.rst, init_size; arch/x86/boot/compressed/head_64.S). The header
 * may say anything, hence the limits. UINT64_MAX: more than there is.
 */
static uint64_t kernel_end(const struct setup_header *header, uint64_t image_bytes, uint64_t ram)
{
	uint64_t start = BOOT_KERNEL, align = header->kernel_alignment, end;

	if (header->pref_address > ram || image_bytes > ram - BOOT_KERNEL)
		return UINT64_MAX;
	if (header->relocatable_kernel && align && !(align & (align - 1)))
		start = (start + align - 1) & ~(align - 1);
	if (start < header->pref_address || !header->relocatable_kernel)
		start = header->pref_address;
	end = start + header->init_size;
	if (end < BOOT_KERNEL + image_bytes)
		end = BOOT_KERNEL + image_bytes;
	return end <= ram ? end : UINT64_MAX;
}

/* Read the kernel, and say where the memory that it needs ends. */
static int load_kernel(const struct vmm_linux *config, uint8_t *ram, struct setup_header *header,
		       uint64_t *end)
{
	struct file file;
	uint64_t setup_bytes;
	int ret = open_file(&file, config->kernel);

	if (!ret)
		ret = read_header(&file, header);
	if (ret)
		goto cleanup;

	setup_bytes = (header->setup_sects ? header->setup_sects : DEFAULT_SECTS) + 1;
	setup_bytes *= SECTOR_BYTES;
	/* Signed kernels are longer than the header says. */
	if (setup_bytes >= file.bytes ||
	    file.bytes - setup_bytes < header->syssize * PARAGRAPH_BYTES) {
		warnx("%s: the bzImage is not complete", file.path);
		ret = -EINVAL;
		goto cleanup;
	}
	*end = kernel_end(header, file.bytes - setup_bytes, low_ram_bytes(config));
	if (*end == UINT64_MAX) {
		warnx("%s: this kernel needs more memory than %" PRIu64 " MiB: see --memory",
		      file.path, config->memory_bytes >> 20);
		ret = -E2BIG;
		goto cleanup;
	}
	ret = read_file(&file, setup_bytes, ram + BOOT_KERNEL, file.bytes - setup_bytes);
cleanup:
	close_file(&file);
	return ret;
}

/* As high as memory and kernel allow, so that the kernel has room below. */
static int load_initrd(const struct vmm_linux *config, uint8_t *ram, uint64_t kernel_ends,
		       struct setup_header *header)
{
	uint64_t top = low_ram_bytes(config), at;
	struct file file;
	int ret = open_file(&file, config->initrd);

	if (ret)
		goto cleanup;
	if (!file.bytes) {
		warnx("%s: the initrd is empty", file.path);
		ret = -EINVAL;
		goto cleanup;
	}
	if (top > header->initrd_addr_max + 1ULL)
		top = header->initrd_addr_max + 1ULL;
	at = top > file.bytes ? (top - file.bytes) & ~(BOOT_PAGE_BYTES - 1) : 0;
	if (at < kernel_ends) {
		warnx("%s: an initrd of %" PRIu64 " bytes does not fit into memory behind the "
		      "kernel: see --memory",
		      file.path, file.bytes);
		ret = -E2BIG;
		goto cleanup;
	}
	header->ramdisk_image = (uint32_t)at;
	header->ramdisk_size = (uint32_t)file.bytes;
	ret = read_file(&file, 0, ram + at, file.bytes);
cleanup:
	close_file(&file);
	return ret;
}

static int load_cmdline(const struct vmm_linux *config, uint8_t *ram, struct setup_header *header)
{
	size_t bytes = strlen(config->append), max = header->cmdline_size;

	if (max > BOOT_CMDLINE_BYTES - 1)
		max = BOOT_CMDLINE_BYTES - 1;
	if (bytes > max) {
		warnx("--append: %zu characters are more than this kernel takes, %zu", bytes, max);
		return -E2BIG;
	}
	memcpy(ram + BOOT_CMDLINE, config->append, bytes + 1);
	header->cmd_line_ptr = BOOT_CMDLINE;
	return 0;
}

static void add_e820(struct boot_params *params, uint64_t start, uint64_t end, uint32_t type)
{
	if (start < end)
		params->e820_table[params->e820_entries++] =
			(struct boot_e820_entry){ start, end - start, type };
}

/* @ram is page-aligned, and so is the structure in it. */
static void build_params(const struct vmm_linux *config, uint8_t *ram,
			 const struct setup_header *header)
{
	struct boot_params *params = (struct boot_params *)(ram + BOOT_PARAMS);
	uint64_t low = low_ram_bytes(config);

	params->hdr = *header;
	params->hdr.type_of_loader = LOADER_UNREGISTERED;
	params->hdr.vid_mode = VIDEO_MODE_NORMAL;
	params->hdr.code32_start = BOOT_KERNEL;
	params->hdr.setup_data = 0;
	params->acpi_rsdp_addr = ACPI_TABLES;
	add_e820(params, 0, BOOT_LOW_RAM_END, E820_RAM);
	add_e820(params, BOOT_LOW_RAM_END, BOOT_KERNEL, E820_RESERVED);
	add_e820(params, BOOT_KERNEL, low, E820_RAM);
	add_e820(params, LINUX_HIGH_RAM, LINUX_HIGH_RAM + config->memory_bytes - low, E820_RAM);
}

int linux_load(const struct vmm_linux *config, unsigned int nr_vcpus, uint8_t *ram)
{
	static const uint64_t gdt[] = { 0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };
	struct setup_header header;
	uint64_t end = 0;
	int ret;

	ret = load_kernel(config, ram, &header, &end);
	if (ret)
		return ret;
	header.ramdisk_image = header.ramdisk_size = 0;
	if (config->initrd)
		ret = load_initrd(config, ram, end, &header);
	if (!ret)
		ret = load_cmdline(config, ram, &header);
	if (ret)
		return ret;
	build_params(config, ram, &header);
	memcpy(ram + BOOT_GDT, gdt, sizeof(gdt));
	acpi_build(ram, nr_vcpus);
	return 0;
}

void linux_start_state(struct kvm_sregs *sregs, struct kvm_regs *regs)
{
	struct kvm_segment code = {
		.limit = 0xffffffff,
		.selector = BOOT_CS,
		.type = 11,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1,
	};
	struct kvm_segment data = code;

	data.selector = BOOT_DS;
	data.type = 3;
	sregs->cs = code;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->gdt = (struct kvm_dtable){ .base = BOOT_GDT, .limit = 4 * 8 - 1 };
	sregs->cr0 = CR0_PE | CR0_ET;

	*regs = (struct kvm_regs){
		.rip = BOOT_KERNEL,
		.rsi = BOOT_PARAMS,
		.rflags = 2,
	};
}

/* reboot=MODE[,MODE]: a mode counts by its first letter (kernel/reboot.c, reboot_setup()). */
bool linux_reboots_by_triple_fault(const char *cmdline)
{
	static const char option[] = "reboot=";
	const char *at = cmdline;

	while ((at = strstr(at, option))) {
		bool whole_word = at == cmdline || at[-1] == ' ';

		at += strlen(option);
		for (const char *mode = at; whole_word; mode++) {
			if (*mode == 't')
				return true;
			mode += strcspn(mode, ", ");
			if (*mode != ',')
				break;
		}
	}
	return false;
}
