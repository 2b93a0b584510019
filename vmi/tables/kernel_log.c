/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's log (Linux 5.10 and later: kernel/printk/printk_ringbuffer.h): a ring of
 * descriptors, as many infos, and a ring of texts in which a block that would not fit before the
 * end starts anew at the beginning.
 */
#include <stdlib.h>
#include <string.h>

#include "table.h"

enum {
	COL_SEQUENCE,
	COL_TIME,
	COL_TIME_NS,
	COL_FACILITY,
	COL_LEVEL,
	COL_SEVERITY,
	COL_CALLER,
	COL_SUBSYSTEM,
	COL_DEVICE,
	COL_TEXT,
};

static const struct vmi_column columns[] = {
	[COL_SEQUENCE] = { "sequence", VMI_INTEGER, "number of the record since boot" },
	[COL_TIME] = { "time", VMI_DOUBLE, "seconds since boot" },
	[COL_TIME_NS] = { "time_ns", VMI_INTEGER, "nanoseconds since boot" },
	[COL_FACILITY] = { "facility", VMI_INTEGER, "syslog facility: 0 = kern" },
	[COL_LEVEL] = { "level", VMI_INTEGER, "0 = emerg ... 7 = debug" },
	[COL_SEVERITY] = { "severity", VMI_TEXT, "the level's name" },
	[COL_CALLER] = { "caller", VMI_TEXT, "T and a thread's id, or C and a CPU (interrupts)" },
	[COL_SUBSYSTEM] = { "subsystem", VMI_TEXT, "of the device that the record is about" },
	[COL_DEVICE] = { "device", VMI_TEXT, "that device: +pci:0000:00:1f.2, c4:64, n2" },
	[COL_TEXT] = { "text", VMI_TEXT, "the message, with all lines of it" },
};

#define DESCS_BITS_MAX 24 /* CONFIG_LOG_BUF_SHIFT is at most 25; a record has 32 bytes or more */
#define TEXT_BITS_MAX  31
#define TEXT_MAX       65535 /* printk_info.text_len is 16 bits */
#define ID_BYTES       8 /* each block starts with its descriptor's id */
#define ID_MASK	       (~(3ull << 62)) /* the state is in the top two bits */
#define CALLER_IS_CPU  0x80000000u

enum { COMMITTED = 1, FINALIZED = 2 };
enum { EMPTY = 3, LOST = -2 }; /* a logical position of an empty line; a text that is not there */

struct log {
	struct vmi_walk *w;
	uint64_t descs, infos, head, tail, data;
	unsigned int count_bits, size_bits;
	uint32_t desc_size, info_size;
	struct vmi_field state, begin, next;
	struct vmi_field seq, ts, len, facility, level, caller, subsystem, device;
	char *text; /* TEXT_MAX + 1 */
};

static int find_log(struct log *l)
{
	struct vmi_guest *g = l->w->guest;
	struct vmi_field count_bits, descs, infos, head, tail, size_bits, data;
	const struct {
		const char *path;
		struct vmi_field *field;
	} all[] = {
		{ "printk_ringbuffer.desc_ring.count_bits", &count_bits },
		{ "printk_ringbuffer.desc_ring.descs", &descs },
		{ "printk_ringbuffer.desc_ring.infos", &infos },
		{ "printk_ringbuffer.desc_ring.head_id.counter", &head },
		{ "printk_ringbuffer.desc_ring.tail_id.counter", &tail },
		{ "printk_ringbuffer.text_data_ring.size_bits", &size_bits },
		{ "printk_ringbuffer.text_data_ring.data", &data },
		{ "prb_desc.state_var.counter", &l->state },
		{ "prb_desc.text_blk_lpos.begin", &l->begin },
		{ "prb_desc.text_blk_lpos.next", &l->next },
		{ "printk_info.seq", &l->seq },
		{ "printk_info.ts_nsec", &l->ts },
		{ "printk_info.text_len", &l->len },
		{ "printk_info.facility", &l->facility },
		{ "printk_info.level", &l->level },
		{ "printk_info.caller_id", &l->caller },
		{ "printk_info.dev_info.subsystem", &l->subsystem },
		{ "printk_info.dev_info.device", &l->device },
	};
	uint64_t at = vmi_sym(g, "prb"), prb;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (vmi_field(g, all[i].path, all[i].field))
			return -1;
	}
	l->desc_size = vmi_types_size(g->types, "prb_desc");
	l->info_size = vmi_types_size(g->types, "printk_info");
	if (!at || !l->desc_size || !l->info_size || vmi_ptr(l->w, at, &prb))
		return -1;
	l->count_bits = (unsigned int)vmi_val(l->w, prb, &count_bits);
	l->size_bits = (unsigned int)vmi_val(l->w, prb, &size_bits);
	l->descs = vmi_val(l->w, prb, &descs);
	l->infos = vmi_val(l->w, prb, &infos);
	l->head = vmi_val(l->w, prb, &head) & ID_MASK;
	l->tail = vmi_val(l->w, prb, &tail) & ID_MASK;
	l->data = vmi_val(l->w, prb, &data);
	return l->descs && l->infos && l->data && l->count_bits && l->size_bits &&
			       l->count_bits <= DESCS_BITS_MAX && l->size_bits <= TEXT_BITS_MAX
		       ? 0
		       : -1;
}

/* The block's text; its length, LOST where the kernel lost it, or -1 where it was overwritten. */
static int read_text(struct log *l, uint64_t id, uint64_t begin, uint64_t next, uint32_t len)
{
	uint64_t size = 1ull << l->size_bits, at, bytes, owner;

	if (begin & 1) /* no block: an empty line, or a text that found no room */
		return begin == EMPTY ? 0 : LOST;
	if (next > begin && next - begin <= size - (begin & (size - 1))) {
		at = begin & (size - 1);
		bytes = next - begin;
	} else if (next >> l->size_bits == (begin >> l->size_bits) + 1) {
		at = 0;
		bytes = next & (size - 1);
	} else {
		return -1;
	}
	if (bytes < ID_BYTES || vmi_uint(l->w, l->data + at, 8, &owner) || owner != id)
		return -1;
	bytes -= ID_BYTES;
	if (len > bytes)
		len = (uint32_t)bytes;
	return vmi_read(l->w, l->data + at + ID_BYTES, l->text, len) ? -1 : (int)len;
}

static const char *severity(uint64_t level)
{
	static const char *const names[] = { "emerg",	"alert",  "crit", "err",
					     "warning", "notice", "info", "debug" };

	return level < 8 ? names[level] : NULL;
}

static void caller(struct vmi_rows *r, uint32_t id)
{
	vmi_strf(r, COL_CALLER, "%c%u", id & CALLER_IS_CPU ? 'C' : 'T', id & ~CALLER_IS_CPU);
}

static void device(struct log *l, struct vmi_rows *r, uint64_t info, unsigned int column,
		   const struct vmi_field *f)
{
	char text[128];

	if (vmi_text_field(l->w, info, f, text, sizeof(text)) > 0)
		vmi_str(r, column, text);
}

/* One record; false = enough of them. */
static bool record(struct log *l, struct vmi_rows *r, uint64_t id)
{
	uint64_t i = id & ((1ull << l->count_bits) - 1), state;
	uint64_t desc = l->descs + i * l->desc_size, info = l->infos + i * l->info_size;
	uint64_t level;
	int len;

	if (vmi_get(l->w, desc, &l->state, &state)) {
		vmi_walk_stop(l->w, VMI_STOP_FAULT, "printk_ringbuffer.descs");
		return true;
	}
	if ((state & ID_MASK) != id)
		return true;
	if (state >> 62 != COMMITTED && state >> 62 != FINALIZED)
		return true;
	vmi_row(r);
	vmi_witness(l->w, desc + l->state.offset, 8, state);
	vmi_int(r, COL_SEQUENCE, (int64_t)vmi_val(l->w, info, &l->seq));
	vmi_int(r, COL_TIME_NS, (int64_t)vmi_val(l->w, info, &l->ts));
	vmi_double(r, COL_TIME, (double)vmi_val(l->w, info, &l->ts) / 1e9);
	vmi_int(r, COL_FACILITY, (int64_t)vmi_val(l->w, info, &l->facility));
	level = vmi_val(l->w, info, &l->level);
	vmi_int(r, COL_LEVEL, (int64_t)level);
	vmi_str(r, COL_SEVERITY, severity(level));
	caller(r, (uint32_t)vmi_val(l->w, info, &l->caller));
	device(l, r, info, COL_SUBSYSTEM, &l->subsystem);
	device(l, r, info, COL_DEVICE, &l->device);
	len = read_text(l, id, vmi_val(l->w, desc, &l->begin), vmi_val(l->w, desc, &l->next),
			(uint32_t)vmi_val(l->w, info, &l->len));
	if (len >= 0)
		vmi_strn(r, COL_TEXT, l->text, (size_t)len);
	else if (len != LOST)
		vmi_row_torn(r);
	return !vmi_row_end(r);
}

static int rows(struct vmi_rows *r)
{
	struct log l = { .w = vmi_rows_walk(r) };

	if (find_log(&l))
		return vmi_rows_error(r,
				      "this kernel's log is not the ring buffer of 5.10 and later");
	l.text = malloc(TEXT_MAX + 1);
	if (!l.text)
		return vmi_rows_error(r, "out of memory");
	/* Ids wrap at 62 bits; there are never more than fit into the ring. */
	if (((l.head - l.tail) & ID_MASK) >> l.count_bits)
		vmi_walk_stop(l.w, VMI_STOP_LENGTH, "printk_ringbuffer.head_id");
	for (uint64_t n = 0; n < 1ull << l.count_bits; n++) {
		uint64_t id = (l.tail + n) & ID_MASK;

		if (vmi_step(l.w) || !record(&l, r, id) || id == l.head)
			break;
	}
	free(l.text);
	return 0;
}

const struct vmi_table vmi_table_kernel_log = {
	.name = "kernel_log",
	.doc = "The kernel's log, as dmesg(1) prints it, oldest first.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
