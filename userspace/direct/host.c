// SPDX-License-Identifier: GPL-2.0-or-later
#include "host.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IRQS	   "/proc/irq"
#define WORKQUEUES "/sys/devices/virtual/workqueue/cpumask"
#define TEXT_LEN   32768 /* a list of all CPUs there can be */

static int read_text(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
	ssize_t n;

	buf[0] = 0;
	if (fd < 0)
		return -errno;
	n = read(fd, buf, len - 1);
	if (n < 0)
		r = -errno;
	buf[n > 0 ? n : 0] = 0;
	buf[strcspn(buf, "\n")] = 0;
	close(fd);
	return r;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* ---- interrupts ---- */

static void irq_path(char *path, size_t len, long long irq)
{
	snprintf(path, len, IRQS "/%lld/smp_affinity_list", irq);
}

/* The index in "interrupts"; -1: it is not there. */
static ssize_t find_irq(const json_t *undo, long long irq)
{
	json_t *e;
	size_t i;

	json_array_foreach (json_object_get(undo, "interrupts"), i, e) {
		if (json_integer_value(json_object_get(e, "irq")) == irq)
			return (ssize_t)i;
	}
	return -1;
}

/* Calls `fn` for each that may come to these CPUs; stops when it fails. */
static int for_each_irq(const struct cpus *c, int (*fn)(long long irq, const char *was, void *arg),
			void *arg)
{
	static char list[TEXT_LEN];
	struct dirent *e;
	struct cpus on;
	char path[64];
	int r = 0;
	DIR *d;

	d = opendir(IRQS);
	if (!d)
		return -errno;
	while (!r && (e = readdir(d))) {
		long long irq = atoll(e->d_name);

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		irq_path(path, sizeof(path), irq);
		if (!read_text(path, list, sizeof(list)) && !cpus_parse(list, &on) &&
		    cpus_overlap(&on, c))
			r = fn(irq, list, arg);
	}
	closedir(d);
	return r;
}

static int note_irq(long long irq, const char *was, void *arg)
{
	json_t *undo = arg;

	if (find_irq(undo, irq) >= 0)
		return 0;
	return json_array_append_new(json_object_get(undo, "interrupts"),
				     json_pack("{s:I, s:s}", "irq", (json_int_t)irq, "was", was))
		       ? -ENOMEM
		       : 0;
}

struct move {
	json_t *undo;
	struct host_moved *moved;
};

/* Per-CPU ones, and those that the kernel manages itself, refuse. One that came just now stays. */
static int move_irq(long long irq, const char *was, void *arg)
{
	struct move *m = arg;
	ssize_t at = find_irq(m->undo, irq);
	char path[64];

	if (at < 0)
		return 0;
	irq_path(path, sizeof(path), irq);
	if (!write_text(path, "0")) {
		m->moved->interrupts++;
		return 0;
	}
	m->moved->fixed++;
	json_array_remove(json_object_get(m->undo, "interrupts"), (size_t)at);
	return 0;
}

/* ---- workqueues ---- */

/* Just CPU 0, as in "00000000,00000001"? */
static bool only_first(const char *mask)
{
	mask += strspn(mask, "0,");
	return !strcmp(mask, "1");
}

static int note_workqueues(json_t *undo)
{
	char mask[TEXT_LEN];
	int r;

	if (!json_is_null(json_object_get(undo, "workqueues")))
		return 0;
	r = read_text(WORKQUEUES, mask, sizeof(mask));
	if (r || only_first(mask))
		return r == -ENOENT ? 0 : r;
	return json_object_set_new(undo, "workqueues", json_string(mask)) ? -ENOMEM : 0;
}

static int move_workqueues(struct host_moved *moved)
{
	char mask[TEXT_LEN];
	int r = read_text(WORKQUEUES, mask, sizeof(mask));

	if (!r && !only_first(mask))
		r = write_text(WORKQUEUES, "1");
	moved->workqueues = !r;
	return r == -ENOENT ? 0 : r;
}

/* ---- both ---- */

int host_note(json_t *undo, const struct cpus *c, struct direct_error *err)
{
	int r = for_each_irq(c, note_irq, undo);

	if (r)
		return direct_fail(err, r, "cannot look at " IRQS ": %s", strerror(-r));
	r = note_workqueues(undo);
	if (r)
		return direct_fail(err, r, "cannot read " WORKQUEUES ": %s", strerror(-r));
	return 0;
}

int host_move(json_t *undo, const struct cpus *c, struct host_moved *moved,
	      struct direct_error *err)
{
	struct move m = { .undo = undo, .moved = moved };
	int r = for_each_irq(c, move_irq, &m);

	if (r)
		return direct_fail(err, r, "cannot move interrupts: %s", strerror(-r));
	r = move_workqueues(moved);
	if (r)
		return direct_fail(err, r, "cannot write " WORKQUEUES ": %s", strerror(-r));
	return 0;
}

/* What is as it was needs no writing, which a fixed one would refuse. */
static int put_back(const char *path, const char *was)
{
	static char now[TEXT_LEN];
	int r = read_text(path, now, sizeof(now));

	if (!r && strcmp(now, was) != 0)
		r = write_text(path, was);
	return r == -ENOENT ? 0 : r;
}

int host_restore(const json_t *undo, const json_t *keep, struct direct_error *err)
{
	const char *mask = json_string_value(json_object_get(undo, "workqueues"));
	int r = 0, bad;
	char path[64];
	json_t *e;
	size_t i;

	json_array_foreach (json_object_get(undo, "interrupts"), i, e) {
		json_int_t irq = json_integer_value(json_object_get(e, "irq"));

		if (find_irq(keep, irq) >= 0)
			continue;
		irq_path(path, sizeof(path), irq);
		bad = put_back(path, json_string_value(json_object_get(e, "was")));
		if (bad)
			r = direct_fail(err, bad, "cannot put interrupt %lld back: %s",
					(long long)irq, strerror(-bad));
	}
	bad = mask && !json_string_value(json_object_get(keep, "workqueues"))
		      ? put_back(WORKQUEUES, mask)
		      : 0;
	if (bad)
		r = direct_fail(err, bad, "cannot put " WORKQUEUES " back: %s", strerror(-bad));
	return r;
}
