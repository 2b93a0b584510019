/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: network namespaces and devices of the guest, and addresses as texts.
 */
#ifndef VMI_NET_H
#define VMI_NET_H

#include <arpa/inet.h>
#include <net/if.h>

#include "../kernel/layout.h"
#include "table.h"

#define VMI_NETS_MAX 65536 /* network namespaces of a guest */

/* The gva of each struct net; to be freed. */
struct vmi_nets {
	uint64_t *net;
	size_t n;
};

/* All namespaces, the first one first. 0, -ENOENT (with a sentence), -ENOMEM. */
int vmi_nets_all(struct vmi_nets *out, struct vmi_rows *r);
/*
 * What a table shows that osquery has of its own namespace only: the first one, or the one whose
 * number the query wants of text column `column`.
 */
int vmi_nets_wanted(struct vmi_nets *out, struct vmi_rows *r, unsigned int column);
void vmi_nets_free(struct vmi_nets *n);

/* Its number: the inode of /proc/PID/ns/net; 0 = not known. */
uint32_t vmi_net_inum(struct vmi_walk *w, uint64_t net);
/* The same as a text, for the columns that are one. */
void vmi_net_column(struct vmi_rows *r, unsigned int column, uint64_t net);

/* Iterates the devices of a namespace; each is the gva of a struct net_device. */
struct vmi_devices {
	struct vmi_list list;
	uint32_t node;
};
/* -ENOENT with a sentence where this kernel's structs are not understood. */
int vmi_devices_start(struct vmi_devices *d, struct vmi_rows *r, uint64_t net);
uint64_t vmi_devices_next(struct vmi_devices *d);

/* "eth0"; the length or a negative errno value. */
int vmi_device_name(struct vmi_walk *w, uint64_t device, char name[IFNAMSIZ + 1]);

#define VMI_ADDRESS_MAX (INET6_ADDRSTRLEN + 1 + IFNAMSIZ)

/* AF_INET or AF_INET6: `bytes` in network order. A column of it, and a text. */
void vmi_address_column(struct vmi_rows *r, unsigned int column, int family, const void *bytes);
const char *vmi_address(int family, const void *bytes, char text[VMI_ADDRESS_MAX]);
/* The mask of a prefix of `bits`, at most 32 or 128. */
void vmi_mask_column(struct vmi_rows *r, unsigned int column, int family, unsigned int bits);
/* "52:54:00:12:34:56"; of hardware addresses of `n` bytes. */
#define VMI_HARDWARE_MAX 32 /* MAX_ADDR_LEN */
void vmi_hardware_column(struct vmi_rows *r, unsigned int column, const uint8_t *bytes, size_t n);

#endif /* VMI_NET_H */
