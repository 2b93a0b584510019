// SPDX-License-Identifier: GPL-2.0-or-later
#include "qemu.h"

#include <string.h>

/*
 * The value of `key` in QEMU's "a=b,c=d" (",," is a comma). `first`: the word before the first
 * comma is the value, if no key is before it.
 */
bool iho_qemu_value(const char *s, const char *key, bool first, char *buf, size_t len)
{
	size_t keylen = strlen(key);

	for (bool at_first = true; *s; at_first = false) {
		bool match = !strncmp(s, key, keylen) && s[keylen] == '=';
		size_t n = 0;

		if (match)
			s += keylen + 1;
		else if (at_first && first)
			match = true;
		for (; *s; s++) {
			if (*s == ',' && *++s != ',')
				break;
			if (match && n + 1 < len)
				buf[n++] = *s;
		}
		if (match) {
			buf[n] = '\0';
			return n;
		}
	}
	return false;
}

const char *iho_next_arg(const struct iho_cmdline *c, const char *arg)
{
	arg = arg ? arg + strlen(arg) + 1 : c->v;
	return arg < c->end ? arg : NULL;
}

/* QEMU takes its options with one dash or two. */
bool iho_qemu_is(const char *arg, const char *name)
{
	return arg[0] == '-' && !strcmp(arg + 1 + (arg[1] == '-'), name);
}

static bool chardev_path(const struct iho_cmdline *c, const char *id, char *path, size_t len)
{
	for (const char *a = iho_next_arg(c, NULL); a; a = iho_next_arg(c, a)) {
		const char *v = iho_qemu_is(a, "chardev") ? iho_next_arg(c, a) : NULL;
		char text[128];

		if (v && !strncmp(v, "socket,", 7) &&
		    iho_qemu_value(v, "id", false, text, sizeof(text)) && !strcmp(text, id))
			return iho_qemu_value(v, "path", false, path, len);
	}
	return false;
}

/* The path of the first monitor that speaks QMP over a Unix socket. */
bool iho_qemu_monitor_path(const struct iho_cmdline *c, char *path, size_t len)
{
	for (const char *a = iho_next_arg(c, NULL); a; a = iho_next_arg(c, a)) {
		const char *v = iho_next_arg(c, a);
		char text[128];

		if (!v)
			return false;
		if ((iho_qemu_is(a, "qmp") || iho_qemu_is(a, "qmp-pretty")) &&
		    !strncmp(v, "unix:", 5) && iho_qemu_value(v + 5, "path", true, path, len))
			return true;
		if (iho_qemu_is(a, "mon") && iho_qemu_value(v, "mode", false, text, sizeof(text)) &&
		    !strcmp(text, "control") &&
		    iho_qemu_value(v, "chardev", true, text, sizeof(text)) &&
		    chardev_path(c, text, path, len))
			return true;
	}
	return false;
}
