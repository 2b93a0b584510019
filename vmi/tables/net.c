/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NET_LIST, NET_INUM, NET_DEVICES, DEV_LIST, DEV_NAME, FIELDS };

static const char *const paths[FIELDS] = {
	[NET_LIST] = "net.list",
	[NET_INUM] = "net.ns.inum",
	[NET_DEVICES] = "net.dev_base_head",
	[DEV_LIST] = "net_device.dev_list",
	[DEV_NAME] = "net_device.name",
};

static int add(struct vmi_nets *n, struct vmi_walk *w, uint64_t net)
{
	uint64_t *more;

	if (n->n == VMI_NETS_MAX)
		return vmi_walk_stop(w, VMI_STOP_LENGTH, "net.list");
	if (!(n->n & (n->n - 1))) {
		more = realloc(n->net, (n->n ? 2 * n->n : 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		n->net = more;
	}
	n->net[n->n++] = net;
	return 0;
}

static int start(struct vmi_nets *out, struct vmi_rows *r, const struct vmi_field **f)
{
	uint64_t init = vmi_sym(vmi_rows_guest(r), "init_net");

	*out = (struct vmi_nets){ 0 };
	*f = vmi_layout(vmi_rows_guest(r), paths, FIELDS);
	if (!*f)
		return -ENOMEM;
	if (!init) {
		vmi_rows_error(r, "the guest's symbols have no init_net");
		return -ENOENT;
	}
	return add(out, vmi_rows_walk(r), init);
}

int vmi_nets_all(struct vmi_nets *out, struct vmi_rows *r)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	const struct vmi_field *f;
	struct vmi_list l;
	uint64_t node, list;
	int err = start(out, r, &f);

	list = vmi_sym(w->guest, "net_namespace_list");
	if (err || !list || !f[NET_LIST].present) /* a kernel without namespaces */
		return err;
	vmi_list_start(&l, w, list, "net.list");
	while (!err && (node = vmi_list_next(&l)) != 0)
		if (node - f[NET_LIST].offset != out->net[0])
			err = add(out, w, node - f[NET_LIST].offset);
	if (err == -ENOMEM)
		vmi_nets_free(out);
	return err == -ENOMEM ? err : 0;
}

int vmi_nets_wanted(struct vmi_nets *out, struct vmi_rows *r, unsigned int column)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	const struct vmi_field *f;
	const char *text;
	char number[16];
	size_t kept = 0;
	int err;

	if (!vmi_want_str(r, column, &text))
		return start(out, r, &f);
	err = vmi_nets_all(out, r);
	for (size_t i = 0; i < out->n; i++) {
		snprintf(number, sizeof(number), "%u", vmi_net_inum(w, out->net[i]));
		if (!strcmp(number, text))
			out->net[kept++] = out->net[i];
	}
	out->n = kept;
	return err;
}

void vmi_nets_free(struct vmi_nets *n)
{
	free(n->net);
	*n = (struct vmi_nets){ 0 };
}

uint32_t vmi_net_inum(struct vmi_walk *w, uint64_t net)
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);

	return f && net ? (uint32_t)vmi_val(w, net, &f[NET_INUM]) : 0;
}

void vmi_net_column(struct vmi_rows *r, unsigned int column, uint64_t net)
{
	uint32_t inum = vmi_wants(r, column) ? vmi_net_inum(vmi_rows_walk(r), net) : 0;

	if (inum)
		vmi_strf(r, column, "%u", inum);
}

int vmi_devices_start(struct vmi_devices *d, struct vmi_rows *r, uint64_t net)
{
	const struct vmi_field *f = vmi_layout(vmi_rows_guest(r), paths, FIELDS);

	if (!f)
		return -ENOMEM;
	if (!f[NET_DEVICES].present || !f[DEV_LIST].present) {
		vmi_rows_error(r, "the guest's types have no %s", paths[NET_DEVICES]);
		return -ENOENT;
	}
	d->node = f[DEV_LIST].offset;
	vmi_list_start(&d->list, vmi_rows_walk(r), net + f[NET_DEVICES].offset,
		       "net_device.dev_list");
	return 0;
}

uint64_t vmi_devices_next(struct vmi_devices *d)
{
	uint64_t node = vmi_list_next(&d->list);

	return node ? node - d->node : 0;
}

int vmi_device_name(struct vmi_walk *w, uint64_t device, char name[IFNAMSIZ + 1])
{
	const struct vmi_field *f = vmi_layout(w->guest, paths, FIELDS);

	name[0] = 0;
	if (!f || !device || !f[DEV_NAME].present)
		return -ENOENT;
	return vmi_text_field(w, device, &f[DEV_NAME], name, IFNAMSIZ + 1);
}

const char *vmi_address(int family, const void *bytes, char text[VMI_ADDRESS_MAX])
{
	if (!inet_ntop(family, bytes, text, VMI_ADDRESS_MAX))
		text[0] = 0;
	return text;
}

void vmi_address_column(struct vmi_rows *r, unsigned int column, int family, const void *bytes)
{
	char text[VMI_ADDRESS_MAX];

	vmi_str(r, column, vmi_address(family, bytes, text));
}

void vmi_mask_column(struct vmi_rows *r, unsigned int column, int family, unsigned int bits)
{
	uint8_t mask[16] = { 0 };
	unsigned int all = family == AF_INET ? 32 : 128;

	for (unsigned int i = 0; i < all && i < bits; i++)
		mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
	vmi_address_column(r, column, family, mask);
}

void vmi_hardware_column(struct vmi_rows *r, unsigned int column, const uint8_t *bytes, size_t n)
{
	char text[3 * VMI_HARDWARE_MAX + 1] = "";

	for (size_t i = 0; i < n && i < VMI_HARDWARE_MAX; i++)
		snprintf(text + (i ? 3 * i - 1 : 0), 4, "%s%02x", i ? ":" : "", bytes[i]);
	vmi_str(r, column, text);
}
