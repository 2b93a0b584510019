/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: the shape of an x86-64 instruction (SDM vol. 2, 2 and appendix A): how
 * long it is, where its parts lie, where it branches to. Enough to step through a kernel's text; it
 * does not tell what an instruction computes.
 */
#ifndef VMI_INSN_H
#define VMI_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMI_INSN_MAX 15

struct vmi_insn {
	uint8_t len;
	uint8_t map; /* 0: one byte, 1: 0f, 2: 0f 38, 3: 0f 3a, and those of EVEX */
	uint8_t opcode;
	uint8_t rex; /* 0 = none; of VEX and EVEX, as if it were one */
	bool opsize; /* 66 */
	bool rep, repne; /* f3, f2 */
	bool vex;
	bool has_modrm;
	uint8_t modrm, sib;
	uint8_t disp_at, disp_size; /* offset in the instruction; size 0 = none */
	uint8_t imm_at, imm_size; /* the same; of a direct branch, the distance */
	int64_t disp, imm; /* sign-extended, but a 64-bit one as it is */
	bool rip_relative; /* disp is from the end of the instruction */
	bool branch; /* direct: jmp, jcc, call, loop, jrcxz; imm from the end of the instruction */
};

/* Decodes from at most `n` bytes: false: not an instruction of 64-bit mode, or cut. */
bool vmi_insn_decode(struct vmi_insn *out, const uint8_t *p, size_t n);

/* Where a direct branch at `addr` leads to. */
static inline uint64_t vmi_insn_target(const struct vmi_insn *i, uint64_t addr)
{
	return addr + i->len + (uint64_t)i->imm;
}

static inline bool vmi_insn_is_call(const struct vmi_insn *i)
{
	return !i->map && !i->vex && i->opcode == 0xe8;
}

/* jmp rel32 or rel8 */
static inline bool vmi_insn_is_jmp(const struct vmi_insn *i)
{
	return !i->map && !i->vex && (i->opcode == 0xe9 || i->opcode == 0xeb);
}

static inline bool vmi_insn_is_jcc(const struct vmi_insn *i)
{
	return !i->vex && ((!i->map && i->opcode >= 0x70 && i->opcode <= 0x7f) ||
			   (i->map == 1 && i->opcode >= 0x80 && i->opcode <= 0x8f));
}

/* ret, also "repz ret" */
static inline bool vmi_insn_is_ret(const struct vmi_insn *i)
{
	return !i->map && !i->vex && (i->opcode == 0xc3 || i->opcode == 0xc2);
}

#endif /* VMI_INSN_H */
