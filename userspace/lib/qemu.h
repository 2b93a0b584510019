/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's command line. It is whatever the process wants it to be: nothing here trusts it.
 */
#ifndef IHO_QEMU_H
#define IHO_QEMU_H

#include <stdbool.h>
#include <stddef.h>

/* /proc/PID/cmdline: arguments one after the other, each ended by a NUL; `end` is behind all. */
struct iho_cmdline {
	const char *v, *end;
};

/* The argument after `arg`, for NULL the first; NULL at the end. */
const char *iho_next_arg(const struct iho_cmdline *c, const char *arg);

/* Is `arg` the option -name? QEMU takes its options with one dash or two. */
bool iho_qemu_is(const char *arg, const char *name);

/*
 * The value of `key` in QEMU's "a=b,c=d" (",," is a comma). `first`: the word before the first
 * comma is the value, if no key is before it.
 */
bool iho_qemu_value(const char *s, const char *key, bool first, char *buf, size_t len);

/* The path of the first monitor that speaks QMP over a Unix socket. */
bool iho_qemu_monitor_path(const struct iho_cmdline *c, char *path, size_t len);

#endif /* IHO_QEMU_H */
