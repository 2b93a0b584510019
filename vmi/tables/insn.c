/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "insn.h"

/* What follows an opcode. */
enum {
	NONE = 0,
	M = 1 << 0, /* ModRM */
	B = 1 << 1, /* a byte */
	Z = 1 << 2, /* 4 bytes, 2 with an operand size prefix */
	W = 1 << 3, /* 2 bytes */
	V = 1 << 4, /* 8 bytes with REX.W, else as Z */
	O = 1 << 5, /* an address of 8 bytes, 4 with an address size prefix */
	J = 1 << 6, /* the immediate is a distance; never 2 bytes in 64-bit mode */
	G = 1 << 7, /* F6, F7: an immediate only for TEST */
	X = 1 << 8, /* no instruction of 64-bit mode */
};

static unsigned int one_byte(uint8_t op)
{
	if (op < 0x40) {
		static const uint16_t alu[8] = { M, M, M, M, B, Z, X, X };

		return alu[op & 7];
	}
	if (op >= 0x70 && op <= 0x7f)
		return B | J;
	if (op >= 0xb0 && op <= 0xb7)
		return B;
	if (op >= 0xb8 && op <= 0xbf)
		return V;
	if (op >= 0xd8 && op <= 0xdf)
		return M;
	if (op >= 0x84 && op <= 0x8f)
		return M;
	switch (op) {
	case 0x63:
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
	case 0xfe:
	case 0xff:
		return M;
	case 0x69:
	case 0x81:
	case 0xc7:
		return M | Z;
	case 0x6b:
	case 0x80:
	case 0x83:
	case 0xc0:
	case 0xc1:
	case 0xc6:
		return M | B;
	case 0xf6:
		return M | B | G;
	case 0xf7:
		return M | Z | G;
	case 0x68:
	case 0xa9:
		return Z;
	case 0x6a:
	case 0xa8:
	case 0xcd:
	case 0xe4:
	case 0xe5:
	case 0xe6:
	case 0xe7:
		return B;
	case 0xa0:
	case 0xa1:
	case 0xa2:
	case 0xa3:
		return O;
	case 0xc2:
	case 0xca:
		return W;
	case 0xc8:
		return W | B;
	case 0xe0:
	case 0xe1:
	case 0xe2:
	case 0xe3:
	case 0xeb:
		return B | J;
	case 0xe8:
	case 0xe9:
		return Z | J;
	case 0x60:
	case 0x61:
	case 0x82:
	case 0x9a:
	case 0xce:
	case 0xd4:
	case 0xd5:
		return X;
	default: /* push, pop, string operations, ...; also D6 and EA, which Linux traps with */
		return NONE;
	}
}

static unsigned int two_bytes(uint8_t op)
{
	if (op >= 0x80 && op <= 0x8f)
		return Z | J;
	if ((op >= 0x30 && op <= 0x37) || (op >= 0xc8 && op <= 0xcf) || (op >= 0x05 && op <= 0x09))
		return NONE;
	switch (op) {
	case 0x0b:
	case 0x0e:
	case 0x77:
	case 0xa0:
	case 0xa1:
	case 0xa2:
	case 0xa8:
	case 0xa9:
	case 0xaa:
		return NONE;
	case 0x0f: /* 3DNow!: the opcode is behind the operands */
	case 0x70:
	case 0x71:
	case 0x72:
	case 0x73:
	case 0xa4:
	case 0xac:
	case 0xba:
	case 0xc2:
	case 0xc4:
	case 0xc5:
	case 0xc6:
		return M | B;
	case 0x04:
	case 0x0a:
	case 0x0c:
		return X;
	default:
		return M;
	}
}

struct cursor {
	const uint8_t *p;
	size_t n, at;
	bool cut;
};

static uint8_t next(struct cursor *c)
{
	if (c->at >= c->n || c->at >= VMI_INSN_MAX) {
		c->cut = true;
		return 0;
	}
	return c->p[c->at++];
}

static int64_t number(struct cursor *c, unsigned int size, uint8_t *at)
{
	uint64_t v = 0;

	*at = (uint8_t)c->at;
	for (unsigned int i = 0; i < size; i++)
		v |= (uint64_t)next(c) << (8 * i);
	if (size && size < 8 && v >> (8 * size - 1))
		v |= ~0ull << (8 * size);
	return (int64_t)v;
}

/* Legacy prefixes in any order, then REX. Returns the byte behind them. */
static uint8_t prefixes(struct cursor *c, struct vmi_insn *i, bool *addrsize)
{
	for (;;) {
		uint8_t b = next(c);

		switch (b) {
		case 0x66:
			i->opsize = true;
			break;
		case 0x67:
			*addrsize = true;
			break;
		case 0xf2:
			i->repne = true;
			break;
		case 0xf3:
			i->rep = true;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
		case 0xf0:
			break;
		default:
			if (b < 0x40 || b > 0x4f)
				return b;
			i->rex = b;
			return next(c);
		}
		if (c->cut)
			return 0;
	}
}

/* VEX (C4, C5) and EVEX (62): which opcode map, and W. Of theirs, only ModRM and imm8 follow. */
static unsigned int vex(struct cursor *c, struct vmi_insn *i, uint8_t b)
{
	i->vex = true;
	if (b == 0xc5) {
		next(c);
		i->map = 1;
	} else {
		uint8_t p = next(c), q = next(c);

		i->map = p & (b == 0x62 ? 7 : 31);
		i->rex = q & 0x80 ? 0x48 : 0x40;
		if (b == 0x62)
			next(c);
	}
	i->opcode = next(c);
	if (i->map == 1)
		return b != 0x62 && i->opcode == 0x77 ? NONE : two_bytes(i->opcode) & (M | B);
	return i->map == 3 ? M | B : M;
}

static unsigned int opcode(struct cursor *c, struct vmi_insn *i, uint8_t b)
{
	if (b == 0xc4 || b == 0xc5 || b == 0x62)
		return vex(c, i, b);
	i->opcode = b;
	if (b != 0x0f)
		return one_byte(b);
	i->opcode = next(c);
	i->map = 1;
	if (i->opcode == 0x38 || i->opcode == 0x3a) {
		i->map = i->opcode == 0x38 ? 2 : 3;
		i->opcode = next(c);
		return i->map == 2 ? M : M | B;
	}
	return two_bytes(i->opcode);
}

static void modrm(struct cursor *c, struct vmi_insn *i)
{
	uint8_t mod, rm;

	i->has_modrm = true;
	i->modrm = next(c);
	mod = i->modrm >> 6;
	rm = i->modrm & 7;
	if (mod == 3)
		return;
	if (rm == 4)
		i->sib = next(c);
	if (mod == 1)
		i->disp_size = 1;
	else if (mod == 2 || rm == 5 || (rm == 4 && (i->sib & 7) == 5))
		i->disp_size = 4;
	if (mod == 0 && rm == 5)
		i->rip_relative = true;
	i->disp = number(c, i->disp_size, &i->disp_at);
}

bool vmi_insn_decode(struct vmi_insn *out, const uint8_t *p, size_t n)
{
	struct cursor c = { .p = p, .n = n };
	bool addrsize = false;
	unsigned int what, size = 0;

	*out = (struct vmi_insn){ 0 };
	what = opcode(&c, out, prefixes(&c, out, &addrsize));
	if (what & X || c.cut)
		return false;
	if (what & M)
		modrm(&c, out);
	if (what & G && (out->modrm >> 3 & 7) > 1)
		what &= ~(unsigned int)(B | Z);
	if (what & O)
		size = addrsize ? 4 : 8;
	else if (what & V)
		size = out->rex & 8 ? 8 : out->opsize ? 2 : 4;
	else if (what & Z)
		size = out->opsize && !(what & J) ? 2 : 4;
	else
		size = (what & W ? 2 : 0) + (what & B ? 1 : 0);
	out->imm_size = (uint8_t)size;
	out->imm = number(&c, size, &out->imm_at);
	out->branch = what & J;
	out->len = (uint8_t)c.at;
	return !c.cut;
}
