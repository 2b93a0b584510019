/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "dispatch.h"
#include "insn.h"

#define STEPS_MAX 4096 /* instructions on one path: the tree is some 10 deep */
#define ESI	  6

/*
 * cmp $imm, %esi (81 /7, 83 /7); test %esi, %esi counts as a comparison with 0; sub (/5) compares,
 * too, and changes the number.
 */
static bool compares(const struct vmi_insn *i, uint32_t *with, bool *subtracts)
{
	*subtracts = false;
	if (i->map || i->vex || i->rex || i->opsize || !i->has_modrm || i->modrm >> 6 != 3)
		return false;
	if ((i->opcode == 0x81 || i->opcode == 0x83) && i->modrm == (0xc0 | 7 << 3 | ESI)) {
		*with = (uint32_t)i->imm;
		return true;
	}
	if ((i->opcode == 0x81 || i->opcode == 0x83) && i->modrm == (0xc0 | 5 << 3 | ESI)) {
		*with = (uint32_t)i->imm;
		*subtracts = true;
		return true;
	}
	if (i->opcode == 0x85 && i->modrm == (0xc0 | ESI << 3 | ESI)) {
		*with = 0;
		return true;
	}
	return false;
}

/* The condition codes (SDM vol. 1, B) that comparing unsigned numbers gives rise to. */
static int taken(uint8_t cc, uint32_t a, uint32_t b)
{
	switch (cc) {
	case 0x2:
		return a < b;
	case 0x3:
		return a >= b;
	case 0x4:
		return a == b;
	case 0x5:
		return a != b;
	case 0x6:
		return a <= b;
	case 0x7:
		return a > b;
	case 0xc:
		return (int32_t)a < (int32_t)b;
	case 0xd:
		return (int32_t)a >= (int32_t)b;
	case 0xe:
		return (int32_t)a <= (int32_t)b;
	case 0xf:
		return (int32_t)a > (int32_t)b;
	default:
		return -1;
	}
}

int vmi_dispatch_load(struct vmi_dispatch *d, struct vmi_walk *w, const char *name)
{
	const struct vmi_symbols *all = w->guest->symbols;
	uint64_t start = vmi_sym(w->guest, name), end = 0;
	size_t lo = 0, hi = vmi_symbols_count(all);
	struct vmi_insn insn;
	uint32_t with;
	bool sub;
	int err;

	if (!start)
		return -ENOENT;
	while (lo < hi) { /* the first symbol behind it */
		size_t mid = lo + (hi - lo) / 2;

		if (vmi_symbol_nth(all, mid)->addr > start)
			hi = mid;
		else
			lo = mid + 1;
	}
	if (lo < vmi_symbols_count(all))
		end = vmi_symbol_nth(all, lo)->addr;
	if (end <= start || end - start > sizeof(d->text))
		return -EINVAL;
	d->start = start;
	d->bytes = end - start;
	d->max = 0;
	err = vmi_read(w, start, d->text, d->bytes);
	for (size_t at = 0; !err && at < d->bytes; at += insn.len) {
		if (!vmi_insn_decode(&insn, d->text + at, d->bytes - at))
			break;
		if (compares(&insn, &with, &sub) && !sub && with > d->max)
			d->max = with;
	}
	return err;
}

static bool inside(const struct vmi_dispatch *d, uint64_t addr)
{
	return addr >= d->start && addr - d->start < d->bytes;
}

/*
 * What the function begins with before its first comparison: ENDBR, the call of ftrace or its nop.
 */
static bool preamble(const struct vmi_insn *i)
{
	if (vmi_insn_is_call(i))
		return true;
	if (i->map == 1 && !i->vex && (i->opcode == 0x1e || i->opcode == 0x1f))
		/* ENDBR64 (f3 0f 1e fa), and nops: what became of it, or of the call. */
		return true;
	return !i->map && !i->vex && i->opcode == 0x90;
}

int vmi_dispatch_target(const struct vmi_dispatch *d, uint32_t nr, uint64_t *target)
{
	bool compared = false, sub;
	uint64_t at = d->start;
	struct vmi_insn i;
	uint32_t left = 0, with = 0, n;

	for (n = 0; n < STEPS_MAX; n++) {
		uint64_t off = at - d->start;

		*target = at;
		if (!vmi_insn_decode(&i, d->text + off, d->bytes - off))
			return -EINVAL;
		if (compares(&i, &with, &sub)) {
			compared = true;
			left = nr;
			nr -= sub ? with : 0;
		} else if (vmi_insn_is_jcc(&i)) {
			int yes = compared ? taken(i.opcode & 15, left, with) : -1;

			if (yes < 0)
				return -EINVAL;
			*target = vmi_insn_target(&i, at);
			if (yes && !inside(d, *target))
				return 0;
			at = yes ? *target : at + i.len;
			continue;
		} else if (vmi_insn_is_jmp(&i) || (compared && vmi_insn_is_call(&i))) {
			*target = vmi_insn_target(&i, at);
			if (!inside(d, *target))
				return 0;
			if (!vmi_insn_is_jmp(&i))
				return -EINVAL;
			at = *target;
			continue;
		} else if (compared || !preamble(&i)) {
			return -EINVAL;
		}
		at += i.len;
		if (!inside(d, at))
			return -EINVAL;
	}
	return -EINVAL;
}
