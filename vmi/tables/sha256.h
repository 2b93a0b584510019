/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: SHA-256 (FIPS 180-4). Libraries that have it bring a TLS stack or a
 * package of their own into the process that reads hostile memory, for sixty lines.
 */
#ifndef VMI_SHA256_H
#define VMI_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define VMI_SHA256_BYTES 32
#define VMI_SHA256_TEXT	 65

struct vmi_sha256 {
	uint32_t state[8];
	uint64_t bytes;
	uint8_t block[64];
};

void vmi_sha256_start(struct vmi_sha256 *s);
void vmi_sha256_add(struct vmi_sha256 *s, const void *data, size_t n);
/* As 64 hexadecimal digits. */
void vmi_sha256_text(struct vmi_sha256 *s, char text[VMI_SHA256_TEXT]);

#endif /* VMI_SHA256_H */
