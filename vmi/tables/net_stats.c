/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a device counts is its driver's affair: the function that is to be asked (ndo_get_stats64)
 * tells by its name, in the kernel's symbols or in a module's. Known are the common places (the
 * device itself, a structure a CPU) and virtio_net, which most guests have.
 */
#include "net_stats.h"

#include <errno.h>
#include <string.h>

#include "modules.h"

enum {
	D_STATS,
	D_LSTATS,
	D_TSTATS,
	D_DSTATS,
	D_STAT_TYPE,
	D_CORE,
	D_RX_DROPPED,
	D_TX_DROPPED,
	D_OPS,
	D_PRIV,
	OPS_STATS64,
	OPS_STATS,
	CORE_RX_DROPPED,
	CORE_TX_DROPPED,
	L_PACKETS,
	L_BYTES,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[D_STATS] = "net_device.stats",
	[D_LSTATS] = "net_device.lstats",
	[D_TSTATS] = "net_device.tstats",
	[D_DSTATS] = "net_device.dstats",
	[D_STAT_TYPE] = "net_device.pcpu_stat_type",
	[D_CORE] = "net_device.core_stats",
	[D_RX_DROPPED] = "net_device.rx_dropped", /* these two until 5.18 */
	[D_TX_DROPPED] = "net_device.tx_dropped",
	[D_OPS] = "net_device.netdev_ops",
	[D_PRIV] = "net_device.priv",
	[OPS_STATS64] = "net_device_ops.ndo_get_stats64",
	[OPS_STATS] = "net_device_ops.ndo_get_stats",
	[CORE_RX_DROPPED] = "net_device_core_stats.rx_dropped",
	[CORE_TX_DROPPED] = "net_device_core_stats.tx_dropped",
	[L_PACKETS] = "pcpu_lstats.packets",
	[L_BYTES] = "pcpu_lstats.bytes",
};

static const char *const of_device[VMI_NET_COUNTS] = {
	[VMI_RX_PACKETS] = "net_device_stats.rx_packets",
	[VMI_TX_PACKETS] = "net_device_stats.tx_packets",
	[VMI_RX_BYTES] = "net_device_stats.rx_bytes",
	[VMI_TX_BYTES] = "net_device_stats.tx_bytes",
	[VMI_RX_ERRORS] = "net_device_stats.rx_errors",
	[VMI_TX_ERRORS] = "net_device_stats.tx_errors",
	[VMI_RX_DROPPED] = "net_device_stats.rx_dropped",
	[VMI_TX_DROPPED] = "net_device_stats.tx_dropped",
	[VMI_COLLISIONS] = "net_device_stats.collisions",
};

static const char *const of_tstats[VMI_NET_COUNTS] = {
	[VMI_RX_PACKETS] = "pcpu_sw_netstats.rx_packets",
	[VMI_TX_PACKETS] = "pcpu_sw_netstats.tx_packets",
	[VMI_RX_BYTES] = "pcpu_sw_netstats.rx_bytes",
	[VMI_TX_BYTES] = "pcpu_sw_netstats.tx_bytes",
};

static const char *const of_dstats[VMI_NET_COUNTS] = {
	[VMI_RX_PACKETS] = "pcpu_dstats.rx_packets", [VMI_TX_PACKETS] = "pcpu_dstats.tx_packets",
	[VMI_RX_BYTES] = "pcpu_dstats.rx_bytes",     [VMI_TX_BYTES] = "pcpu_dstats.tx_bytes",
	[VMI_RX_DROPPED] = "pcpu_dstats.rx_drops",   [VMI_TX_DROPPED] = "pcpu_dstats.tx_drops",
};

#define QUEUES_MAX 4096
#define NAME_MAX_  64

struct scan {
	struct vmi_walk *w;
	const struct vmi_field *f;
	uint64_t device, *count;
};

static void add_device(struct scan *s)
{
	const struct vmi_field *f = vmi_layout(s->w->guest, of_device, VMI_NET_COUNTS);

	for (int i = 0; f && i < VMI_NET_COUNTS; i++)
		s->count[i] += vmi_val(s->w, s->device + s->f[D_STATS].offset, &f[i]);
}

/* Counters a CPU, of a struct whose members `of` names. */
static int add_per_cpu(struct scan *s, int pointer, const char *const *of)
{
	const struct vmi_field *f = vmi_layout(s->w->guest, of, VMI_NET_COUNTS);
	uint64_t percpu = vmi_val(s->w, s->device, &s->f[pointer]);

	if (!f || !f[VMI_RX_PACKETS].present)
		return -ENOENT;
	for (unsigned int cpu = 0; percpu && cpu < s->w->guest->cpus; cpu++) {
		uint64_t one = vmi_per_cpu(s->w, percpu, cpu);

		for (int i = 0; one && i < VMI_NET_COUNTS; i++)
			s->count[i] += vmi_val(s->w, one, &f[i]);
	}
	return 0;
}

/* Of devices that count one direction only; loopback's is both. */
static int add_lstats(struct scan *s, bool received)
{
	uint64_t percpu = vmi_val(s->w, s->device, &s->f[D_LSTATS]);

	if (!s->f[L_PACKETS].present)
		return -ENOENT;
	for (unsigned int cpu = 0; percpu && cpu < s->w->guest->cpus; cpu++) {
		uint64_t one = vmi_per_cpu(s->w, percpu, cpu), packets, bytes;

		if (!one)
			continue;
		packets = vmi_val(s->w, one, &s->f[L_PACKETS]);
		bytes = vmi_val(s->w, one, &s->f[L_BYTES]);
		s->count[VMI_TX_PACKETS] += packets;
		s->count[VMI_TX_BYTES] += bytes;
		s->count[VMI_RX_PACKETS] += received ? packets : 0;
		s->count[VMI_RX_BYTES] += received ? bytes : 0;
	}
	return 0;
}

/* virtnet_stats() of drivers/net/virtio_net.c */
static void add_queues(struct scan *s, const struct vmi_types *t, uint64_t info)
{
	static const struct {
		const char *queues, *type, *counter;
		enum vmi_net_count what;
	} counters[] = {
		{ "virtnet_info.sq", "send_queue", "send_queue.stats.packets", VMI_TX_PACKETS },
		{ "virtnet_info.sq", "send_queue", "send_queue.stats.bytes", VMI_TX_BYTES },
		{ "virtnet_info.sq", "send_queue", "send_queue.stats.tx_timeouts", VMI_TX_ERRORS },
		{ "virtnet_info.rq", "receive_queue", "receive_queue.stats.packets",
		  VMI_RX_PACKETS },
		{ "virtnet_info.rq", "receive_queue", "receive_queue.stats.bytes", VMI_RX_BYTES },
		{ "virtnet_info.rq", "receive_queue", "receive_queue.stats.drops", VMI_RX_DROPPED },
	};
	const struct vmi_field *dev = vmi_layout(s->w->guest, of_device, VMI_NET_COUNTS);
	struct vmi_field pairs, queues, counter;
	uint64_t n;

	if (vmi_types_field(t, "virtnet_info.max_queue_pairs", &pairs) ||
	    vmi_get(s->w, info, &pairs, &n) || n > QUEUES_MAX)
		return;
	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		uint32_t size = vmi_types_size(t, counters[i].type);
		uint64_t queue;

		if (vmi_types_field(t, counters[i].queues, &queues) ||
		    vmi_types_field(t, counters[i].counter, &counter) ||
		    vmi_get(s->w, info, &queues, &queue) || !queue)
			continue;
		for (uint64_t q = 0; q < n; q++)
			s->count[counters[i].what] += vmi_val(s->w, queue + q * size, &counter);
	}
	if (dev)
		s->count[VMI_TX_DROPPED] +=
			vmi_val(s->w, s->device + s->f[D_STATS].offset, &dev[VMI_TX_DROPPED]);
}

static int add_virtio(struct scan *s)
{
	const struct vmi_guest *g = s->w->guest;
	uint64_t priv = s->f[D_PRIV].present
				? s->f[D_PRIV].offset
				: (vmi_types_size(g->types, "net_device") + 31u) & ~31u;
	struct vmi_types *own = NULL;
	const struct vmi_types *t = g->types;
	int err;

	if (!vmi_types_size(t, "virtnet_info")) {
		err = vmi_module_btf(s->w, "virtio_net", &own);
		if (err)
			return err == -ENOMEM ? err : -ENOENT;
		t = own;
	}
	add_queues(s, t, s->device + priv);
	vmi_types_close(own);
	return 0;
}

/* The name of a function of the kernel or of a module; false: none begins there. */
static bool function_name(struct vmi_walk *w, uint64_t fn, char name[NAME_MAX_])
{
	const struct vmi_symbol *sym = vmi_symbol_at(w->guest->symbols, fn);
	struct vmi_module_symbols symbols;
	struct vmi_modules modules;
	struct vmi_module m;
	bool found = false;

	if (sym && sym->addr == fn) {
		strncpy(name, sym->name, NAME_MAX_ - 1);
		return true;
	}
	if (vmi_modules_start(&modules, w))
		return false;
	while (!found && vmi_modules_next(&modules, &m)) {
		if (!vmi_module_has(&m, fn))
			continue;
		if (!vmi_module_symbols(w, &modules.t, &m, &symbols))
			for (uint32_t i = 0; !found && i < symbols.n; i++) {
				if (symbols.sym[i].st_value != fn)
					continue;
				strncpy(name, vmi_module_symbol_name(&symbols, i), NAME_MAX_ - 1);
				found = strncmp(name, "__pfx_", 6) != 0;
			}
		vmi_module_symbols_free(&symbols);
	}
	vmi_witness_reset(w);
	return found;
}

/* Without a function, the device says itself where it counts, since 6.9. */
static int add_default(struct scan *s)
{
	const struct vmi_types *t = s->w->guest->types;
	uint64_t type = vmi_val(s->w, s->device, &s->f[D_STAT_TYPE]);
	int64_t v;

	if (s->f[D_STAT_TYPE].present && vmi_sym(s->w->guest, "dev_get_dstats64") &&
	    !vmi_types_enum(t, NULL, "NETDEV_PCPU_STAT_DSTATS", &v) && type == (uint64_t)v)
		return add_per_cpu(s, D_DSTATS, of_dstats);
	add_device(s);
	if (s->f[D_STAT_TYPE].present && !vmi_types_enum(t, NULL, "NETDEV_PCPU_STAT_TSTATS", &v) &&
	    type == (uint64_t)v)
		return add_per_cpu(s, D_TSTATS, of_tstats);
	return 0;
}

static int add_driver(struct scan *s)
{
	uint64_t ops = vmi_val(s->w, s->device, &s->f[D_OPS]), fn;
	char name[NAME_MAX_] = "";

	if (!ops)
		return -ENOENT;
	fn = vmi_val(s->w, ops, &s->f[OPS_STATS64]);
	if (!fn)
		return vmi_val(s->w, ops, &s->f[OPS_STATS]) ? -ENOENT : add_default(s);
	if (!function_name(s->w, fn, name))
		return -ENOENT;
	if (!strcmp(name, "loopback_get_stats64"))
		return add_lstats(s, true);
	if (!strcmp(name, "dummy_get_stats64"))
		return add_lstats(s, false);
	if (!strcmp(name, "virtnet_stats"))
		return add_virtio(s);
	if (strcmp(name, "dev_get_tstats64") != 0 && strcmp(name, "ip_tunnel_get_stats64") != 0 &&
	    strcmp(name, "br_get_stats64") != 0)
		return -ENOENT;
	add_device(s);
	return add_per_cpu(s, D_TSTATS, of_tstats);
}

/* What the stack itself dropped. */
static void add_core(struct scan *s)
{
	uint64_t percpu = vmi_val(s->w, s->device, &s->f[D_CORE]);

	s->count[VMI_RX_DROPPED] += vmi_val(s->w, s->device, &s->f[D_RX_DROPPED]);
	s->count[VMI_TX_DROPPED] += vmi_val(s->w, s->device, &s->f[D_TX_DROPPED]);
	for (unsigned int cpu = 0; percpu && cpu < s->w->guest->cpus; cpu++) {
		uint64_t one = vmi_per_cpu(s->w, percpu, cpu);

		if (!one)
			continue;
		s->count[VMI_RX_DROPPED] += vmi_val(s->w, one, &s->f[CORE_RX_DROPPED]);
		s->count[VMI_TX_DROPPED] += vmi_val(s->w, one, &s->f[CORE_TX_DROPPED]);
	}
}

int vmi_net_stats(struct vmi_walk *w, uint64_t device, uint64_t count[VMI_NET_COUNTS])
{
	struct scan s = { .w = w, .device = device, .count = count };
	int err;

	memset(count, 0, VMI_NET_COUNTS * sizeof(*count));
	s.f = vmi_layout(w->guest, paths, FIELDS);
	if (!s.f)
		return -ENOMEM;
	if (!s.f[D_STATS].present)
		return -ENOENT;
	err = add_driver(&s);
	if (!err)
		add_core(&s);
	return err;
}
