// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The collector: two snapshots, and a host for the slots: ihod, or a keeper of our own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "look.h"
#include "keeper.h"
#include "remote.h"

#define NSEC	  1000000000ULL
#define IRQ_NAMES 64

struct irq_name {
	unsigned int nr;
	char name[32];
};

struct iho_collector {
	struct iho_collector_options opts;
	/* one of them */
	struct iho_keeper *keeper;
	struct iho_remote *remote;
	/* of whichever it is; NULL while ihod does not answer */
	const struct iho_maps *maps;
	struct iho_directory *dir;
	struct iho_snapshot *now, *prev; /* prev is NULL before the second report */
	struct iho_snapshot *spare;
	struct iho_utilisation_window *window; /* by slot number */
	struct iho_arena arena;
	struct iho_report report;
	struct iho_migrations *migrations;
	struct iho_migration_view *migration; /* of the report */
	struct irq_name irq[IRQ_NAMES];
	unsigned int n_irqs;
	unsigned int reports; /* of this host */
	uint64_t host_cpu_ns, own_cpu_ns;
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * NSEC + t.tv_nsec;
}

/*
 * The device's name behind an interrupt number, from /proc/interrupts; asked once for each
 * number.
 */
static void irq_name(void *arg, unsigned int nr, char *buf, size_t len)
{
	struct iho_collector *c = arg;
	char line[4096], want[16];
	FILE *f;

	for (unsigned int i = 0; i < c->n_irqs; i++) {
		if (c->irq[i].nr == nr) {
			snprintf(buf, len, "%s", c->irq[i].name);
			return;
		}
	}
	snprintf(buf, len, "irq %u", nr);
	f = fopen("/proc/interrupts", "re");
	if (f) {
		snprintf(want, sizeof(want), "%u:", nr);
		while (fgets(line, sizeof(line), f)) {
			char *p = line + strspn(line, " "), *last;

			if (strncmp(p, want, strlen(want)))
				continue;
			line[strcspn(line, "\n")] = '\0';
			last = strrchr(p, ' ');
			if (last && last[1])
				snprintf(buf, len, "%.31s", last + 1);
		}
		fclose(f);
	}
	if (c->n_irqs < IRQ_NAMES) {
		c->irq[c->n_irqs].nr = nr;
		snprintf(c->irq[c->n_irqs++].name, sizeof(c->irq[0].name), "%s", buf);
	}
}

/* ---- the host of the slots ---- */

static void drop_host(struct iho_collector *c)
{
	iho_keeper_close(c->keeper);
	iho_remote_close(c->remote);
	iho_snapshot_free(c->now);
	iho_snapshot_free(c->prev);
	iho_snapshot_free(c->spare);
	c->keeper = NULL;
	c->remote = NULL;
	c->maps = NULL;
	c->dir = NULL;
	c->now = c->prev = c->spare = NULL;
	free(c->window);
	c->window = NULL;
	c->reports = 0;
}

static int use_host(struct iho_collector *c, const struct iho_maps *maps, struct iho_directory *dir,
		    struct iho_error *err)
{
	c->maps = maps;
	c->dir = dir;
	c->now = iho_snapshot_new(maps->n_slots);
	c->spare = iho_snapshot_new(maps->n_slots);
	c->window = calloc(maps->n_slots, sizeof(*c->window));
	if (!c->now || !c->spare || !c->window)
		return iho_error_set(err, -ENOMEM, "out of memory");
	dir->irq_name = irq_name;
	dir->irq_arg = c;
	dir->window = c->window;
	dir->only_pid = c->opts.vm_pid;
	dir->only_name = c->opts.vm_name;
	c->host_cpu_ns = dir->cpu_ns;
	return 0;
}

static int use_daemon(struct iho_collector *c, struct iho_error *err)
{
	int r = iho_remote_open(&c->remote, c->opts.socket, err);

	if (!r)
		r = use_host(c, iho_remote_maps(c->remote), iho_remote_directory(c->remote), err);
	if (r)
		drop_host(c);
	return r;
}

static int use_own(struct iho_collector *c, struct iho_error *err)
{
	const struct iho_keeper_options ko = {
		.max_vcpus = c->opts.max_vcpus,
		.stats_every = c->opts.stats_every,
	};
	int r = iho_keeper_open(&c->keeper, &ko, err);

	if (!r)
		r = use_host(c, iho_keeper_maps(c->keeper), iho_keeper_directory(c->keeper), err);
	if (r)
		drop_host(c);
	return r;
}

/*
 * ihod is asked first: a second set of BPF programs would cost the tenants twice. Only where there
 * is none do we load our own; one that is there but refuses or is broken is an error that its
 * operator wants to see.
 */
static int find_host(struct iho_collector *c, struct iho_error *err)
{
	struct iho_error own = {};
	int r;

	if (c->opts.mode == IHO_HOST_SELF)
		return use_own(c, err);
	r = use_daemon(c, err);
	if (r != -ENOENT || c->opts.mode == IHO_HOST_DAEMON)
		return r;
	r = use_own(c, &own);
	if (r == -EPERM || r == -EACCES)
		iho_error_set(err, r, "%.250s; and %.200s", err->text, own.text);
	else
		*err = own;
	return r;
}

/* ihod watches for all its readers; not for one that was told whom to ask. */
static bool watches_itself(const struct iho_collector *c)
{
	const struct iho_migration_options *m = c->opts.migration;

	return m && (c->keeper || m->libvirt_socket || m->n_qmp);
}

int iho_collector_open(struct iho_collector **out, const struct iho_collector_options *opts,
		       struct iho_error *err)
{
	struct iho_collector *c = calloc(1, sizeof(*c));
	int r;

	*out = NULL;
	if (!c)
		return iho_error_set(err, -ENOMEM, "out of memory");
	c->opts = *opts;
	c->own_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	r = find_host(c, err);
	if (!r && watches_itself(c))
		r = iho_migrations_start(&c->migrations, opts->migration, err);
	if (r)
		iho_collector_close(c);
	else
		*out = c;
	return r;
}

void iho_collector_close(struct iho_collector *c)
{
	if (!c)
		return;
	iho_migrations_stop(c->migrations);
	iho_migration_view_free(c->migration);
	drop_host(c);
	iho_arena_free(&c->arena);
	free(c);
}

/* ---- reports ---- */

int iho_collector_snapshot(struct iho_collector *c)
{
	int r = c->maps ? iho_snapshot_take(c->now, c->maps) : -ENOTCONN;

	return r ? r : (int)c->now->n_used;
}

/*
 * The migrations of the VMs that are asked for. Where there is no answer, those of the report
 * before: an ihod that is gone is found out by the next report.
 */
static void fill_migration(struct iho_collector *c)
{
	struct iho_migration_view *v = NULL;
	struct iho_error err;
	int r = -ENOENT;

	if (c->migrations)
		r = iho_migrations_get(c->migrations, &v);
	else if (c->opts.migration && c->remote)
		r = iho_remote_migrations(c->remote, &v, &err);
	if (!r) {
		iho_migration_view_free(c->migration);
		c->migration = v;
		iho_migration_view_only(v, c->opts.vm_pid, c->opts.vm_name);
		iho_migration_view_join(v, &c->report);
	}
	c->report.migration = c->migration;
}

static void fill_self(struct iho_collector *c, double interval_s, double snapshot_us)
{
	struct iho_self *self = &c->report.self;
	uint64_t own = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	if (interval_s > 0 && c->dir->cpu_ns > c->host_cpu_ns)
		self->cpu_share = (c->dir->cpu_ns - c->host_cpu_ns) / 1e9 / interval_s;
	self->cpu_ns = c->dir->cpu_ns;
	self->start_time_s = c->now->ledger.start_realtime_ns / 1e9;
	self->rss_bytes = c->dir->rss_bytes;
	if (c->remote) {
		self->reader_cpu_share =
			interval_s > 0 ? (own - c->own_cpu_ns) / 1e9 / interval_s : 0;
		self->reader_rss_bytes = iho_rss_bytes();
	}
	c->host_cpu_ns = c->dir->cpu_ns;
	c->own_cpu_ns = own;
	self->map_bytes = c->maps->bytes;
	self->bpf_ns_per_event = c->dir->ns_per_event;
	self->bpf_share = c->dir->bpf_share;
	self->snapshot_us = snapshot_us;
}

/* The directory after the snapshot: it then knows every slot that is in it. */
static int bring_up(struct iho_collector *c, struct iho_error *err)
{
	int r;

	if (c->remote) {
		r = iho_remote_refresh(c->remote, err);
	} else {
		r = iho_keeper_tend(c->keeper, c->now);
		if (r)
			iho_error_set(err, r, "cannot keep the slots: %s", strerror(-r));
	}
	for (unsigned int i = 0; !r && i < c->dir->n_vcpus; i++)
		iho_utilisation_step(&c->window[i], &c->dir->vcpu[i].utilisation);
	return r;
}

static int take(struct iho_collector *c, double *interval_s, double *snapshot_us,
		struct iho_error *err)
{
	struct iho_snapshot *old = c->prev ? c->prev : c->spare;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC), end;
	int r;

	/*
	 * What was `now` becomes `prev`; before the first report there is nothing to compare
	 * with.
	 */
	if (c->reports) {
		c->prev = c->now;
		c->now = old;
		c->spare = NULL;
	}
	r = iho_snapshot_take(c->now, c->maps);
	end = clock_ns(CLOCK_MONOTONIC);
	if (r)
		return iho_error_set(err, r, "cannot take a snapshot: %s", strerror(-r));
	iho_snapshot_carry(c->now, c->prev);
	*snapshot_us = (end - begin) / 1e3;
	*interval_s = c->prev ? (c->now->now_ns - c->prev->now_ns) / 1e9 : 0;
	return bring_up(c, err);
}

int iho_collector_report(struct iho_collector *c, const struct iho_report **out,
			 struct iho_error *err)
{
	double interval_s, snapshot_us;
	int r = 0;

	if (!c->maps)
		r = use_daemon(c, err);
	if (!r)
		r = take(c, &interval_s, &snapshot_us, err);
	if (r == -ENOTCONN && c->remote) {
		/* Was it only restarted? */
		drop_host(c);
		r = use_daemon(c, err);
		if (!r)
			r = take(c, &interval_s, &snapshot_us, err);
	}
	if (r) {
		/* ihod is gone, restarting, or another version: the next call tries again */
		if (c->remote || !c->keeper) {
			drop_host(c);
			r = -ENOTCONN;
		}
		return r;
	}
	iho_arena_reset(&c->arena);
	r = iho_report_build(&c->report, &c->arena, c->prev, c->now, c->dir);
	if (r)
		return iho_error_set(err, r, "cannot build the report: %s", strerror(-r));
	c->reports++;
	c->report.time_s = clock_ns(CLOCK_REALTIME) / 1e9;
	c->report.interval_s = interval_s;
	c->report.source = "bpf";
	c->report.host = c->remote ? "ihod" : "self";
	fill_migration(c);
	fill_self(c, interval_s, snapshot_us);
	*out = &c->report;
	return 0;
}

/* ---- features ---- */

int iho_features_probe(struct iho_features *f, const struct iho_collector *c, struct iho_error *err)
{
	if (c && c->remote)
		return iho_remote_features(c->remote, f, err);
	return c && c->keeper ? iho_keeper_features(c->keeper, f, err)
			      : iho_features_look(f, NULL, err);
}
