// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where QEMU's RAM lies when nobody can be asked: the size and the machine from the command line,
 * the mapping of that size from /proc/PID/maps, and the machine's rule for the hole below 4 GiB.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live.h"

#define MIB	  (UINT64_C(1) << 20)
#define GIB	  (UINT64_C(1) << 30)
#define DEFAULT_M (128 * MIB)

/* "4G", "512", "1.5G": in MiB where no unit stands (QEMU: qemu_strtosz_MiB). */
static bool parse_size(const char *s, uint64_t *out)
{
	char *end;
	double v = strtod(s, &end);
	double unit = MIB;

	switch (*end) {
	case 'b':
	case 'B':
		unit = 1;
		end++;
		break;
	case 'k':
	case 'K':
		unit = 1024;
		end++;
		break;
	case 'm':
	case 'M':
		end++;
		break;
	case 'g':
	case 'G':
		unit = GIB;
		end++;
		break;
	case 't':
	case 'T':
		unit = 1024.0 * GIB;
		end++;
		break;
	}
	if (end == s || *end || !(v >= 0 && v * unit < 0x1p52))
		return false;
	*out = (uint64_t)(v * unit);
	return true;
}

struct guess {
	char machine[64];
	uint64_t bytes, max_below_4g;
	const char *unknown; /* an option that may change everything */
};

static bool is_numa_memdev(const char *a, const char *v)
{
	char text[64];

	return iho_qemu_is(a, "numa") && iho_qemu_value(v, "memdev", false, text, sizeof(text));
}

/* The value of `key`, which the first word is also where it has no key. */
static bool value_or_first(const char *v, const char *key, char *buf, size_t len)
{
	return iho_qemu_value(v, key, v[strcspn(v, "=,")] != '=', buf, len);
}

/* Later options override; QEMU merges the keys of several -machine. */
static void read_cmdline(const struct iho_cmdline *c, struct guess *g)
{
	unsigned int memdevs = 0;
	char text[64];

	*g = (struct guess){ .machine = "pc", .bytes = DEFAULT_M };
	for (const char *a = iho_next_arg(c, NULL); a; a = iho_next_arg(c, a)) {
		const char *v = iho_next_arg(c, a);

		if (!v)
			break;
		if (iho_qemu_is(a, "m") && value_or_first(v, "size", text, sizeof(text)) &&
		    !parse_size(text, &g->bytes))
			g->unknown = "-m";
		if (iho_qemu_is(a, "machine") || iho_qemu_is(a, "M")) {
			value_or_first(v, "type", g->machine, sizeof(g->machine));
			if (iho_qemu_value(v, "max-ram-below-4g", false, text, sizeof(text)) &&
			    !parse_size(text, &g->max_below_4g))
				g->unknown = "max-ram-below-4g";
		}
		if (iho_qemu_is(a, "readconfig"))
			g->unknown = "-readconfig";
		if (is_numa_memdev(a, v) && ++memdevs > 1)
			g->unknown = "several -numa with memory";
	}
}

static bool is_machine(const char *machine, const char *alias, const char *versions)
{
	return !strcmp(machine, alias) || !strncmp(machine, versions, strlen(versions));
}

/*
 * QEMU: hw/i386/pc_piix.c pc_init1(), pc_q35.c pc_q35_init(), microvm.c microvm_memory_init().
 * `max_below_4g`: the machine's option, 0 = not given.
 */
size_t vmi_qemu_split(const char *machine, uint64_t bytes, uint64_t max_below_4g,
		      struct vmi_slot out[2])
{
	uint64_t low;

	if (is_machine(machine, "q35", "pc-q35-")) {
		low = bytes >= 0xb0000000 ? 0x80000000 : 0xb0000000;
		if (max_below_4g && low > max_below_4g)
			low = max_below_4g;
	} else if (is_machine(machine, "pc", "pc-i440fx-")) {
		low = max_below_4g ? max_below_4g : 0xe0000000;
		if (bytes >= low && low > 0xc0000000)
			low = 0xc0000000; /* aligned to 1 GiB */
	} else if (!strcmp(machine, "microvm")) {
		low = 0xc0000000;
	} else {
		return 0;
	}
	if (bytes <= low) {
		out[0] = (struct vmi_slot){ .gpa = 0, .bytes = bytes };
		return 1;
	}
	out[0] = (struct vmi_slot){ .gpa = 0, .bytes = low };
	out[1] = (struct vmi_slot){ .gpa = 4 * GIB, .bytes = bytes - low, .hva = low };
	return 2;
}

static bool goes_on(const struct vmi_vma *a, const struct vmi_vma *b)
{
	return a->end == b->start && a->shared == b->shared && b->readable && b->writable &&
	       a->dev == b->dev && a->inode == b->inode &&
	       (!a->inode || b->offset - a->offset == a->end - a->start);
}

/*
 * The mappings, one behind the other, that have that size together: QEMU's own calls (madvise,
 * mbind) may split RAM. Returns how many such there are; `*hva` is the last one's address.
 */
static unsigned int find_run(const struct vmi_vmas *m, uint64_t bytes, uint64_t *hva)
{
	unsigned int found = 0;
	size_t first = 0;

	for (size_t i = 0; i < m->n; i++) {
		if (!m->v[i].readable || !m->v[i].writable) {
			first = i + 1;
			continue;
		}
		if (first < i && !goes_on(&m->v[i - 1], &m->v[i]))
			first = i;
		while (first < i && m->v[i].end - m->v[first].start > bytes)
			first++;
		if (m->v[i].end - m->v[first].start == bytes) {
			*hva = m->v[first].start;
			found++;
		}
	}
	return found;
}

int vmi_guess_slots(const struct vmi_live *l, const struct vmi_vmas *m, struct vmi_slots *out,
		    char how[160])
{
	struct vmi_slot parts[2];
	struct guess g;
	uint64_t hva = 0;
	unsigned int runs;
	size_t n;
	int err;

	if (!l->qemu) {
		snprintf(how, 160, "the layout of %s cannot be guessed", l->vmm);
		return -ENOTSUP;
	}
	read_cmdline(&l->cmdline, &g);
	n = vmi_qemu_split(g.machine, g.bytes, g.max_below_4g, parts);
	if (g.unknown || !n) {
		snprintf(how, 160, "%s is not understood, so no guess",
			 g.unknown ? g.unknown : g.machine);
		return -ENOTSUP;
	}
	runs = find_run(m, g.bytes, &hva);
	if (runs != 1) {
		snprintf(how, 160, "no guess: %u mappings have the size of RAM, %" PRIu64 " MiB",
			 runs, g.bytes / MIB);
		return -ENOTSUP;
	}
	for (size_t i = 0; i < n; i++) {
		parts[i].hva += hva;
		err = vmi_slots_add(out, &parts[i]);
		if (err)
			return err;
	}
	snprintf(how, 160, "guessed: %s with %" PRIu64 " MiB, split as QEMU does", g.machine,
		 g.bytes / MIB);
	return 0;
}
