/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of iho-direct share: errors, how they are told, and which VM is meant.
 */
#ifndef IHO_DIRECT_H
#define IHO_DIRECT_H

#include <stdbool.h>
#include <sys/types.h>

/* One sentence, without a full stop. */
struct direct_error {
	char text[512];
};

/* Writes it, cut to fit, and returns `r`. */
int direct_fail(struct direct_error *err, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* "iho-direct: TEXT" to stderr, or {"error": TEXT} to stdout. */
void say_error(bool json, const char *text);

struct direct_vm {
	pid_t pid;
	char name[64];
	const char *vmm; /* see vmname.h */
};

/* All digits: a process; else the name of just one VM. -ENOENT, or -ENOTUNIQ, with the reason. */
int direct_find_vm(const char *which, struct direct_vm *vm, struct direct_error *err);

/*
 * All VMs, by pid; free() them. Returns how many, at most 4096; or a negative errno value. VMs
 * that we may not look at are left out.
 */
int direct_list_vms(struct direct_vm **vms, struct direct_error *err);

/* A directory below /run/iho, which is made too; root's alone. */
int direct_make_dir(const char *dir, struct direct_error *err);

#endif /* IHO_DIRECT_H */
