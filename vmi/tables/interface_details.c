/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network interfaces, of the first namespace or of the one that the query names. Unlike osquery's,
 * counters have 64 bits and types all 16, and what Linux does not know (last_change) is NULL.
 */
#include <errno.h>
#include <string.h>

#include "net.h"
#include "net_stats.h"

enum {
	COL_INTERFACE,
	COL_MAC,
	COL_TYPE,
	COL_MTU,
	COL_METRIC,
	COL_FLAGS,
	COL_IPACKETS,
	COL_OPACKETS,
	COL_IBYTES,
	COL_OBYTES,
	COL_IERRORS,
	COL_OERRORS,
	COL_IDROPS,
	COL_ODROPS,
	COL_COLLISIONS,
	COL_LAST_CHANGE,
	COL_LINK_SPEED,
	COL_PCI_SLOT,
	COL_NET_NAMESPACE,
	COL_IFINDEX,
	COL_DEVICE,
};

static const struct vmi_column columns[] = {
	[COL_INTERFACE] = { "interface", VMI_TEXT, "name" },
	[COL_MAC] = { "mac", VMI_TEXT, "hardware address" },
	[COL_TYPE] = { "type", VMI_INTEGER, "ARPHRD_*: Ethernet 1, loopback 772..." },
	[COL_MTU] = { "mtu", VMI_INTEGER, "largest packet, bytes" },
	[COL_METRIC] = { "metric", VMI_INTEGER, "0: Linux has none" },
	[COL_FLAGS] = { "flags", VMI_INTEGER, "IFF_*" },
	[COL_IPACKETS] = { "ipackets", VMI_INTEGER, "packets received; NULL: its driver knows" },
	[COL_OPACKETS] = { "opackets", VMI_INTEGER, "packets sent" },
	[COL_IBYTES] = { "ibytes", VMI_INTEGER, "bytes received" },
	[COL_OBYTES] = { "obytes", VMI_INTEGER, "bytes sent" },
	[COL_IERRORS] = { "ierrors", VMI_INTEGER, "errors when receiving" },
	[COL_OERRORS] = { "oerrors", VMI_INTEGER, "errors when sending" },
	[COL_IDROPS] = { "idrops", VMI_INTEGER, "received packets that were dropped" },
	[COL_ODROPS] = { "odrops", VMI_INTEGER, "packets to send that were dropped" },
	[COL_COLLISIONS] = { "collisions", VMI_INTEGER, "collisions" },
	[COL_LAST_CHANGE] = { "last_change", VMI_INTEGER, "NULL: Linux does not keep it" },
	[COL_LINK_SPEED] = { "link_speed", VMI_INTEGER, "NULL: its driver knows" },
	[COL_PCI_SLOT] = { "pci_slot", VMI_TEXT, "of the PCI device, \"0000:00:02.0\"" },
	[COL_NET_NAMESPACE] = { "net_namespace", VMI_TEXT,
				"inode of the network namespace; the first, if not asked for", true,
				true },
	[COL_IFINDEX] = { "ifindex", VMI_INTEGER, "number", .hidden = true },
	[COL_DEVICE] = { "device", VMI_TEXT, "address of its struct net_device", .hidden = true },
};

enum {
	ADDR,
	ADDR_LEN,
	TYPE,
	MTU,
	FLAGS,
	GFLAGS,
	STATE,
	OPERSTATE,
	IFINDEX,
	DEV,
	D_PARENT,
	D_BUS,
	D_NAME,
	BUS_NAME,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[ADDR] = "net_device.dev_addr",	  [ADDR_LEN] = "net_device.addr_len",
	[TYPE] = "net_device.type",	  [MTU] = "net_device.mtu",
	[FLAGS] = "net_device.flags",	  [GFLAGS] = "net_device.gflags",
	[STATE] = "net_device.state",	  [OPERSTATE] = "net_device.operstate",
	[IFINDEX] = "net_device.ifindex", [DEV] = "net_device.dev",
	[D_PARENT] = "device.parent",	  [D_BUS] = "device.bus",
	[D_NAME] = "device.kobj.name",	  [BUS_NAME] = "bus_type.name",
};

/* include/uapi/linux/if.h; not in <net/if.h> */
#define LOWER_UP     (1u << 16)
#define DORMANT	     (1u << 17)
#define OPER_UNKNOWN 0
#define OPER_UP	     6
#define PARENTS_MAX  16

/* dev_get_flags() of net/core/dev.c, with what /sys/class/net/NAME/flags has unchanged, as osquery.
 */
static uint32_t flags_of(struct vmi_walk *w, const struct vmi_field *f, uint64_t dev)
{
	const uint32_t sysfs = IFF_UP | IFF_DEBUG | IFF_NOTRAILERS | IFF_NOARP | IFF_PROMISC |
			       IFF_ALLMULTI | IFF_MULTICAST | IFF_PORTSEL | IFF_AUTOMEDIA |
			       IFF_DYNAMIC;
	uint32_t raw = (uint32_t)vmi_val(w, dev, &f[FLAGS]), flags;
	uint64_t state = vmi_val(w, dev, &f[STATE]), oper = vmi_val(w, dev, &f[OPERSTATE]);
	const struct vmi_types *t = w->guest->types;
	int64_t start, no_carrier, dormant;

	flags = raw & ~(uint32_t)(IFF_PROMISC | IFF_ALLMULTI | IFF_RUNNING) & ~LOWER_UP & ~DORMANT;
	if (!vmi_types_enum(t, NULL, "__LINK_STATE_START", &start) && state >> (start & 63) & 1) {
		if (oper == OPER_UP || oper == OPER_UNKNOWN)
			flags |= IFF_RUNNING;
		if (!vmi_types_enum(t, NULL, "__LINK_STATE_NOCARRIER", &no_carrier) &&
		    !(state >> (no_carrier & 63) & 1))
			flags |= LOWER_UP;
		if (!vmi_types_enum(t, NULL, "__LINK_STATE_DORMANT", &dormant) &&
		    state >> (dormant & 63) & 1)
			flags |= DORMANT;
	}
	return (flags & ~sysfs) | (raw & sysfs);
}

static void mac_column(struct vmi_rows *r, const struct vmi_field *f, uint64_t dev)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	uint64_t addr = vmi_val(w, dev, &f[ADDR]), len = vmi_val(w, dev, &f[ADDR_LEN]);
	uint8_t bytes[VMI_HARDWARE_MAX];

	if (addr && len && len <= sizeof(bytes) && !vmi_read(w, addr, bytes, (size_t)len))
		vmi_hardware_column(r, COL_MAC, bytes, (size_t)len);
}

/* The PCI device above it: of virtio there is one in between. */
static void pci_column(struct vmi_rows *r, const struct vmi_field *f, uint64_t dev)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	uint64_t at = vmi_val(w, dev + f[DEV].offset, &f[D_PARENT]);
	char text[64];

	for (int i = 0; at && i < PARENTS_MAX; i++) {
		uint64_t bus = vmi_val(w, at, &f[D_BUS]);

		if (bus && vmi_text(w, vmi_val(w, bus, &f[BUS_NAME]), text, sizeof(text)) > 0 &&
		    !strcmp(text, "pci")) {
			if (vmi_text(w, vmi_val(w, at, &f[D_NAME]), text, sizeof(text)) > 0)
				vmi_str(r, COL_PCI_SLOT, text);
			return;
		}
		at = vmi_val(w, at, &f[D_PARENT]);
	}
}

static void count_columns(struct vmi_rows *r, uint64_t dev)
{
	static const unsigned int column[VMI_NET_COUNTS] = {
		[VMI_RX_PACKETS] = COL_IPACKETS,   [VMI_TX_PACKETS] = COL_OPACKETS,
		[VMI_RX_BYTES] = COL_IBYTES,	   [VMI_TX_BYTES] = COL_OBYTES,
		[VMI_RX_ERRORS] = COL_IERRORS,	   [VMI_TX_ERRORS] = COL_OERRORS,
		[VMI_RX_DROPPED] = COL_IDROPS,	   [VMI_TX_DROPPED] = COL_ODROPS,
		[VMI_COLLISIONS] = COL_COLLISIONS,
	};
	uint64_t count[VMI_NET_COUNTS];
	bool wanted = false;

	for (int i = 0; i < VMI_NET_COUNTS; i++)
		wanted |= vmi_wants(r, column[i]);
	if (!wanted || vmi_net_stats(vmi_rows_walk(r), dev, count))
		return;
	for (int i = 0; i < VMI_NET_COUNTS; i++)
		vmi_int(r, column[i], (int64_t)count[i]);
}

static bool row(struct vmi_rows *r, const struct vmi_field *f, uint64_t net, uint64_t dev)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	char name[IFNAMSIZ + 1];
	int n = vmi_device_name(w, dev, name);

	if (n < 0) {
		vmi_walk_stop(w, VMI_STOP_FAULT, "net_device.name");
		return false;
	}
	vmi_row(r);
	/* Looking up a driver's functions resets the witnesses: it comes first. */
	count_columns(r, dev);
	vmi_witness(w, dev + f[IFINDEX].offset, 4, (uint32_t)vmi_val(w, dev, &f[IFINDEX]));
	vmi_strn(r, COL_INTERFACE, name, (size_t)n);
	mac_column(r, f, dev);
	vmi_int(r, COL_TYPE, (int64_t)vmi_val(w, dev, &f[TYPE]));
	vmi_int(r, COL_MTU, (int64_t)vmi_val(w, dev, &f[MTU]));
	vmi_int(r, COL_METRIC, 0);
	vmi_int(r, COL_FLAGS, flags_of(w, f, dev));
	if (vmi_wants(r, COL_PCI_SLOT))
		pci_column(r, f, dev);
	vmi_net_column(r, COL_NET_NAMESPACE, net);
	vmi_int(r, COL_IFINDEX, (int32_t)vmi_val(w, dev, &f[IFINDEX]));
	vmi_hex(r, COL_DEVICE, dev);
	return vmi_row_end(r);
}

static int rows(struct vmi_rows *r)
{
	const struct vmi_field *f = vmi_layout(vmi_rows_guest(r), paths, FIELDS);
	struct vmi_devices d;
	struct vmi_nets nets;
	bool enough = false;
	uint64_t dev;
	int err = f ? vmi_nets_wanted(&nets, r, COL_NET_NAMESPACE) : -ENOMEM;

	if (err)
		return err;
	for (size_t i = 0; !err && !enough && i < nets.n; i++) {
		err = vmi_devices_start(&d, r, nets.net[i]);
		while (!err && !enough && (dev = vmi_devices_next(&d)) != 0)
			enough = row(r, f, nets.net[i], dev);
	}
	vmi_nets_free(&nets);
	return err;
}

const struct vmi_table vmi_table_interface_details = {
	.name = "interface_details",
	.doc = "Network interfaces.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
