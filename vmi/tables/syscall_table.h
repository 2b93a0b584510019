/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmi/tables: the system calls, for the table and for the verdicts about it. */
#ifndef VMI_SYSCALL_TABLE_H
#define VMI_SYSCALL_TABLE_H

#include "code.h"

struct vmi_syscall {
	const char *abi; /* "x64", "ia32", "x32" */
	uint32_t nr;
	const char *name; /* as in the ABI; NULL: newer than what this program knows */
	uint64_t table, dispatch; /* addresses in the table and through the switch; 0 = none */
	bool odd; /* there is a switch, but it is no tree of comparisons for this number */
	uint64_t stopped; /* then: where */
};

/* What the kernel really calls. */
static inline uint64_t vmi_syscall_addr(const struct vmi_syscall *s)
{
	return s->dispatch ? s->dispatch : s->table;
}

/*
 * Each system call of each ABI; `fn` returns true when it has enough. 0 or a negative errno value.
 */
int vmi_syscalls(struct vmi_walk *w, bool (*fn)(void *arg, const struct vmi_syscall *s), void *arg);

/* Does `symbol` fit the ABI's name for that number? 1, 0, or -1: not known. */
int vmi_syscall_expected(const struct vmi_syscall *s, const char *symbol);

#endif /* VMI_SYSCALL_TABLE_H */
