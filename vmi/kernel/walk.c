/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "walk.h"

#include <errno.h>
#include <string.h>
#include <time.h>

const struct vmi_budget vmi_budget_default = {
	.steps = 20u << 20,
	.bytes = 1u << 30,
	.ns = 5ull * 1000 * 1000 * 1000,
};

static const struct {
	const char *key, *text;
} stops[] = {
	[VMI_STOP_NONE] = { "whole", "the walk is whole" },
	[VMI_STOP_STEPS] = { "steps", "the walk used up its budget of steps" },
	[VMI_STOP_BYTES] = { "bytes", "the walk used up its budget of bytes" },
	[VMI_STOP_TIME] = { "time", "the walk used up its time" },
	[VMI_STOP_CYCLE] = { "cycle", "a list leads back into itself" },
	[VMI_STOP_LENGTH] = { "length", "a list or array is longer than any real one" },
	[VMI_STOP_FAULT] = { "fault", "a pointer leads nowhere" },
	[VMI_STOP_MEMORY] = { "memory", "the result does not fit into the memory that it may use" },
	[VMI_STOP_CANCELLED] = { "cancelled", "the client ended it" },
	[VMI_STOP_ROWS] = { "rows", "the result has as many rows as are allowed" },
	[VMI_STOP_ABSENT] = { "absent", "not all pages are in the guest's memory" },
};

const char *vmi_stop_key(enum vmi_stop s)
{
	return stops[s].key;
}

const char *vmi_stop_text(enum vmi_stop s)
{
	return stops[s].text;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void vmi_walk_start(struct vmi_walk *w, struct vmi_guest *g, const struct vmi_budget *b)
{
	memset(w, 0, sizeof(*w));
	w->guest = g;
	w->left = b ? *b : vmi_budget_default;
	w->deadline_ns = now_ns() + w->left.ns;
}

int vmi_walk_stop(struct vmi_walk *w, enum vmi_stop why, const char *where)
{
	if (w->stop == VMI_STOP_NONE) {
		w->stop = why;
		strncpy(w->where, where ? where : "", sizeof(w->where) - 1);
	}
	return why == VMI_STOP_FAULT ? -EFAULT : -ETIME;
}

/* The budget is gone: whatever the walk was stopped by before, nothing is read any more. */
static int exhausted(struct vmi_walk *w, enum vmi_stop why)
{
	memset(&w->left, 0, sizeof(w->left));
	return vmi_walk_stop(w, why, "");
}

int vmi_step(struct vmi_walk *w)
{
	if (!w->left.steps)
		return exhausted(w, VMI_STOP_STEPS);
	w->left.steps--;
	w->steps++;
	/* The clock is dearer than a step. */
	if ((w->steps & 255) == 0) {
		if (w->cancel && *w->cancel)
			return exhausted(w, VMI_STOP_CANCELLED);
		if (now_ns() > w->deadline_ns)
			return exhausted(w, VMI_STOP_TIME);
	}
	return 0;
}

static int take(struct vmi_walk *w, size_t len)
{
	int err = vmi_step(w);

	if (err)
		return err;
	if (len > w->left.bytes)
		return exhausted(w, VMI_STOP_BYTES);
	w->left.bytes -= len;
	w->bytes += len;
	return 0;
}

int vmi_read_phys(struct vmi_walk *w, uint64_t gpa, void *buf, size_t len)
{
	int err = take(w, len);

	if (err) {
		memset(buf, 0, len);
		return err;
	}
	return vmi_mem_read(w->guest->mem, gpa, buf, len);
}

int vmi_read_as(struct vmi_walk *w, uint64_t pgd, uint64_t gva, void *buf, size_t len)
{
	char *to = buf;
	size_t done = 0;
	int err = take(w, len);

	if (!err && len && gva + len - 1 < gva)
		err = -EFAULT;
	while (!err && done < len) {
		uint64_t gpa, left;
		size_t n = len - done;

		err = vmi_translate(w, pgd, gva + done, &gpa, &left, NULL);
		if (err)
			break;
		if (n > left)
			n = left;
		err = vmi_mem_read(w->guest->mem, gpa, to + done, n);
		done += n;
	}
	if (err) {
		w->faults++;
		memset(buf, 0, len);
	}
	return err;
}

int vmi_read(struct vmi_walk *w, uint64_t gva, void *buf, size_t len)
{
	return vmi_read_as(w, w->guest->pgd, gva, buf, len);
}

int vmi_uint(struct vmi_walk *w, uint64_t gva, unsigned int size, uint64_t *out)
{
	/* x86 is little-endian on both sides: the low bytes of a zeroed word. */
	*out = 0;
	if (size != 1 && size != 2 && size != 4 && size != 8)
		return -EINVAL;
	return vmi_read(w, gva, out, size);
}

int vmi_ptr(struct vmi_walk *w, uint64_t gva, uint64_t *out)
{
	return vmi_uint(w, gva, 8, out);
}

int vmi_get(struct vmi_walk *w, uint64_t base, const struct vmi_field *f, uint64_t *out)
{
	unsigned int size = f->is_array ? f->elem_size : f->size;
	int err;

	*out = 0;
	if (!f->present)
		return -ENOENT;
	if (!base)
		return -EFAULT;
	err = vmi_uint(w, base + f->offset, size, out);
	if (err)
		return err;
	if (f->bits && f->bits < 64)
		*out = *out >> (f->bit & 63) & ((1ull << f->bits) - 1);
	return 0;
}

uint64_t vmi_val(struct vmi_walk *w, uint64_t base, const struct vmi_field *f)
{
	uint64_t v;

	return vmi_get(w, base, f, &v) ? 0 : v;
}

int64_t vmi_sval(struct vmi_walk *w, uint64_t base, const struct vmi_field *f)
{
	unsigned int bits = f->bits ? f->bits : 8 * (f->is_array ? f->elem_size : f->size);
	uint64_t v;

	if (vmi_get(w, base, f, &v))
		return 0;
	if (bits < 64 && v >> (bits - 1))
		v |= ~0ull << bits;
	return (int64_t)v;
}

int vmi_text(struct vmi_walk *w, uint64_t gva, char *buf, size_t size)
{
	size_t done = 0;

	if (!size)
		return -EINVAL;
	while (done < size - 1) {
		/* Not over the end of a page: what is behind the text need not be mapped. */
		size_t n = 64 - (gva + done) % 64;
		const char *end;
		int err;

		if (n > size - 1 - done)
			n = size - 1 - done;
		err = vmi_read(w, gva + done, buf + done, n);
		if (err) {
			buf[0] = 0;
			return err;
		}
		end = memchr(buf + done, 0, n);
		if (end)
			return (int)(end - buf);
		done += n;
	}
	buf[done] = 0;
	return (int)done;
}

int vmi_text_field(struct vmi_walk *w, uint64_t base, const struct vmi_field *f, char *buf,
		   size_t size)
{
	size_t n = f->size < size - 1 ? f->size : size - 1;
	int err;

	buf[0] = 0;
	if (!f->present)
		return -ENOENT;
	if (!base)
		return -EFAULT;
	err = vmi_read(w, base + f->offset, buf, n);
	buf[err ? 0 : n] = 0;
	return err ? err : (int)strlen(buf);
}

void vmi_witness(struct vmi_walk *w, uint64_t gva, unsigned int size, uint64_t value)
{
	if (w->witnesses == VMI_WITNESSES)
		return;
	w->witness[w->witnesses].gva = gva;
	w->witness[w->witnesses].size = size;
	w->witness[w->witnesses++].value = value;
}

void vmi_witness_reset(struct vmi_walk *w)
{
	w->witnesses = 0;
	w->torn = false;
}

bool vmi_witness_torn(struct vmi_walk *w)
{
	for (unsigned int i = 0; i < w->witnesses && !w->torn; i++) {
		uint64_t v;

		if (vmi_uint(w, w->witness[i].gva, w->witness[i].size, &v) ||
		    v != w->witness[i].value)
			w->torn = true;
	}
	return w->torn;
}

uint64_t vmi_per_cpu(struct vmi_walk *w, uint64_t percpu_addr, unsigned int cpu)
{
	uint64_t table = vmi_sym(w->guest, "__per_cpu_offset"), offset;

	if (!percpu_addr || cpu >= w->guest->cpus)
		return 0;
	if (!table) /* a kernel for one CPU has none */
		return cpu ? 0 : percpu_addr;
	if (vmi_ptr(w, table + 8ull * cpu, &offset))
		return 0;
	return percpu_addr + offset;
}
