// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The collector: a source, two snapshots, and what must be asked of the system beside them.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "build.h"
#include "probe.h"

#define NSEC		1000000000ULL
#define KEEP_GONE_NS	(60 * NSEC) /* a VM that ended keeps its last line for a minute */
#define HOUSEKEEPING_NS (1 * NSEC)
#define REFRESH_NS	(5 * NSEC) /* names and pinning are looked at again after this */
#define REFRESH_MOST	64 /* threads looked at in one round */
#define FIND_MOST_NS	(60 * NSEC)
#define IRQ_NAMES	64

struct irq_name {
	unsigned int nr;
	char name[32];
};

struct iho_collector {
	struct iho_collector_options opts;
	struct iho_source source;
	struct iho_probe probe;
	struct iho_names *names;
	struct iho_snapshot *now, *prev; /* prev is NULL before the second report */
	struct iho_snapshot *spare;
	struct iho_arena arena;
	struct iho_report report;
	struct iho_directory dir;
	struct iho_vcpu_entry *vcpu;
	size_t vm_cap;
	unsigned int refresh_next;
	struct irq_name irq[IRQ_NAMES];
	unsigned int n_irqs;
	uint64_t housekeeping_ns;
	uint64_t find_ns, find_wait_ns;
	bool recycled; /* since the last look for vCPUs without a slot */
	struct iho_self retired; /* of dir, from the next report on */
	/* own cost */
	unsigned int reports;
	bool measuring;
	double ns_per_event, bpf_share;
	uint64_t cpu_ns;
	double start_time_s;
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

static struct iho_vm_entry *add_vm(struct iho_collector *c, const struct iho_slot *s)
{
	uint64_t key = s->vcpu_id >= 0 ? s->vm_key : 0;
	pid_t pid = s->tgid;
	struct iho_directory *d = &c->dir;
	struct iho_vm_entry *e;
	unsigned int nth = 0;

	for (size_t i = 0; i < d->n_vms; i++) {
		if (d->vm[i].pid != pid || d->vm[i].start_ns != s->process_start_ns)
			continue;
		/* the nameless first entry of the process turns out to be this VM */
		if (!d->vm[i].key) {
			d->vm[i].key = key;
			return &d->vm[i];
		}
		if (d->vm[i].nth >= nth) /* not the number of a VM that is still shown */
			nth = d->vm[i].nth + 1;
	}
	if (d->n_vms == c->vm_cap) {
		size_t cap = c->vm_cap ? 2 * c->vm_cap : 16;

		e = realloc(d->vm, cap * sizeof(*e));
		if (!e)
			return NULL;
		d->vm = e;
		c->vm_cap = cap;
	}
	e = &d->vm[d->n_vms++];
	memset(e, 0, sizeof(*e));
	e->pid = pid;
	e->start_ns = s->process_start_ns;
	e->key = key;
	e->nth = nth;
	e->seen_ns = e->refreshed_ns = c->now->now_ns;
	iho_vm_identify("/proc", "/run/libvirt/qemu", pid, &e->id);
	return e;
}

/*
 * A VM is named when its first vCPU shows up, and once more later: libvirt and exec take a
 * moment.
 */
static int refresh_vms(struct iho_collector *c)
{
	const struct iho_snapshot *s = c->now;

	for (unsigned int i = 0; i < s->n_slots; i++) {
		const struct iho_slot *slot = s->vcpu[i].slot;
		struct iho_vm_entry *e;

		if (!s->vcpu[i].used)
			continue;
		e = iho_directory_find(&c->dir, slot);
		if (!e)
			e = add_vm(c, slot);
		if (!e)
			return -ENOMEM;
		e->seen_ns = s->now_ns;
		if (slot->life == IHO_LIVE)
			e->live_ns = s->now_ns;
		else if (slot->gone_ns > e->gone_ns)
			e->gone_ns = slot->gone_ns;
		if (slot->life == IHO_LIVE && e->refreshed_ns + REFRESH_NS < s->now_ns) {
			struct iho_vm_id id;

			e->refreshed_ns = s->now_ns;
			iho_vm_identify("/proc", "/run/libvirt/qemu", slot->tgid, &id);
			if (strcmp(id.vmm, "unknown") || !strcmp(e->id.vmm, "unknown"))
				e->id = id;
		}
	}
	/* Entries whose slots are all gone. */
	for (size_t i = 0; i < c->dir.n_vms;) {
		if (c->dir.vm[i].seen_ns == s->now_ns)
			i++;
		else
			c->dir.vm[i] = c->dir.vm[--c->dir.n_vms];
	}
	return 0;
}

static void refresh_affinities(struct iho_collector *c)
{
	const struct iho_snapshot *s = c->now;
	unsigned int done = 0;

	for (unsigned int k = 0; k < s->n_slots && done < REFRESH_MOST; k++) {
		unsigned int i = c->refresh_next;
		struct iho_vcpu_entry *e = &c->vcpu[i];
		const struct iho_slot *slot = s->vcpu[i].slot;

		c->refresh_next = (i + 1) % s->n_slots;
		if (!s->vcpu[i].used || slot->life != IHO_LIVE)
			continue;
		if (e->start_ns == slot->start_ns && e->refreshed_ns + REFRESH_NS > s->now_ns)
			continue;
		e->start_ns = slot->start_ns;
		e->refreshed_ns = s->now_ns;
		e->n_cpus = iho_affinity("/proc", slot->tgid, slot->tid, e->affinity,
					 sizeof(e->affinity));
		if (e->n_cpus <= 0) {
			e->n_cpus = 0;
			e->affinity[0] = '\0';
		}
		done++;
	}
}

static bool scarce(const struct iho_snapshot *s)
{
	return s->n_used + s->n_slots / 8 >= s->n_slots;
}

/* When a thread ended; of a VM that ended, when the last one did: its lines go all at once. */
static uint64_t ended_ns(const struct iho_collector *c, const struct iho_slot *slot)
{
	const struct iho_vm_entry *e = iho_directory_find(&c->dir, slot);

	return e && e->live_ns != c->now->now_ns ? e->gone_ns : slot->gone_ns;
}

/* Slots of threads that ended go back after a minute, or at once when slots run out. */
static void recycle_slots(struct iho_collector *c)
{
	const struct iho_snapshot *s = c->now;

	for (unsigned int i = 0; i < s->n_slots; i++) {
		const struct iho_slot *slot = s->vcpu[i].slot;

		if (!s->vcpu[i].used || slot->life != IHO_GONE)
			continue;
		if (!scarce(s) && ended_ns(c, slot) + KEEP_GONE_NS >= s->now_ns)
			continue;
		c->source.recycle(&c->source, i);
		iho_self_add(&c->retired, &s->vcpu[i]);
		c->recycled = true;
	}
}

/*
 * vCPUs without a number are looked up in the kernel's list of files; ever less often if in
 * vain. So are those that found no slot, when there is room again: they may be silent since.
 */
static void find_vcpus(struct iho_collector *c)
{
	const struct iho_snapshot *s = c->now;
	bool nameless = false;

	if (c->recycled && s->loss[IHO_LOSS_NO_SLOT])
		c->source.find(&c->source);
	c->recycled = false;
	for (unsigned int i = 0; i < s->n_slots && !nameless; i++)
		nameless = s->vcpu[i].used && s->vcpu[i].slot->life == IHO_LIVE &&
			   s->vcpu[i].slot->vcpu_id < 0;
	if (!nameless) {
		c->find_wait_ns = HOUSEKEEPING_NS;
		return;
	}
	if (c->find_ns + c->find_wait_ns > s->now_ns)
		return;
	c->find_ns = s->now_ns;
	if (c->find_wait_ns < FIND_MOST_NS)
		c->find_wait_ns *= 2;
	c->source.find(&c->source);
}

/*
 * Nobody will ask for the counters of this process any more, nor add to them. `mask`: the part
 * of IHO_PROCESS that is known.
 */
static bool over(const struct iho_collector *c, uint64_t process, uint64_t mask)
{
	bool reused = false;
	char path[32];

	for (size_t i = 0; i < c->dir.n_vms; i++) {
		const struct iho_vm_entry *e = &c->dir.vm[i];

		if ((IHO_PROCESS(e->pid, e->start_ns) & mask) == process)
			return false;
		reused |= (uint32_t)e->pid == IHO_PROCESS_TGID(process);
	}
	snprintf(path, sizeof(path), "/proc/%u", IHO_PROCESS_TGID(process));
	return reused || access(path, F_OK);
}

/* Processes that ended leave their interrupt counters behind. */
static void drop_dead_counters(struct iho_collector *c)
{
	struct iho_maps *m = &c->source.maps;

	for (unsigned int i = 0; i < IHO_VMS; i++) {
		struct iho_vm *vm = &m->vms[i];

		if (vm->process && over(c, vm->process, UINT64_MAX))
			memset(vm, 0, sizeof(*vm));
	}
	for (unsigned int i = 0; i < IHO_SHARED; i++) {
		uint32_t process = IHO_SHARED_PROCESS(m->shared[i].key);

		if (!process || !over(c, process, UINT32_MAX))
			continue;
		m->shared[i].count = 0;
		__atomic_store_n(&m->shared[i].key, 0, __ATOMIC_RELEASE);
	}
}

static int housekeeping(struct iho_collector *c)
{
	int r = refresh_vms(c);

	if (r)
		return r;
	/* What is given back now is still in this snapshot. */
	c->dir.retired = c->retired;
	if (scarce(c->now))
		recycle_slots(c);
	if (c->housekeeping_ns + HOUSEKEEPING_NS > c->now->now_ns)
		return 0;
	c->housekeeping_ns = c->now->now_ns;
	refresh_affinities(c);
	if (!scarce(c->now))
		recycle_slots(c);
	find_vcpus(c);
	drop_dead_counters(c);
	return 0;
}

/* The cost of the programs is measured in one report of `stats_every`, beginning with the first. */
static void measure_cost(struct iho_collector *c, double interval_s)
{
	uint64_t ns, runs;

	if (!c->opts.stats_every)
		return;
	if (c->measuring) {
		c->measuring = false;
		if (!c->source.cost_stop(&c->source, &ns, &runs) && interval_s > 0) {
			c->ns_per_event = runs ? (double)ns / runs : 0;
			c->bpf_share = ns / 1e9 / interval_s;
		}
	}
	if (c->reports % c->opts.stats_every == 0)
		c->measuring = !c->source.cost_start(&c->source);
}

static uint64_t rss_bytes(void)
{
	unsigned long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	fclose(f);
	return (uint64_t)resident * sysconf(_SC_PAGESIZE);
}

static void fill_self(struct iho_collector *c, double interval_s, double snapshot_us)
{
	struct iho_self *self = &c->report.self;
	uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	self->cpu_share = interval_s > 0 ? (cpu - c->cpu_ns) / 1e9 / interval_s : 0;
	c->cpu_ns = cpu;
	self->start_time_s = c->start_time_s;
	self->cpu_ns = cpu;
	self->rss_bytes = rss_bytes();
	self->map_bytes = c->source.maps.bytes;
	self->bpf_ns_per_event = c->ns_per_event;
	self->bpf_share = c->bpf_share;
	self->snapshot_us = snapshot_us;
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
	c->ns_per_event = -1;
	c->bpf_share = -1;
	c->cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	c->start_time_s = clock_ns(CLOCK_REALTIME) / 1e9;
	c->source = iho_source_bpf;
	r = iho_probe_host(&c->probe, err);
	if (r)
		goto cleanup;
	r = iho_names_open(&c->names, c->probe.tracefs[0] ? c->probe.tracefs : NULL);
	if (r) {
		iho_error_set(err, r, "cannot read the kernel's names: %s", strerror(-r));
		goto cleanup;
	}
	r = c->source.open(&c->source, opts, err);
	if (r)
		goto cleanup;
	c->now = iho_snapshot_new(c->source.maps.n_slots);
	c->spare = iho_snapshot_new(c->source.maps.n_slots);
	c->vcpu = calloc(c->source.maps.n_slots, sizeof(*c->vcpu));
	if (!c->now || !c->spare || !c->vcpu) {
		r = iho_error_set(err, -ENOMEM, "out of memory");
		goto cleanup;
	}
	c->dir.vcpu = c->vcpu;
	c->dir.names = c->names;
	c->dir.irq_name = irq_name;
	c->dir.irq_arg = c;
	c->dir.apicv_param = c->probe.apicv_param;
	c->dir.vendor_module = c->probe.vendor_module;
	c->dir.hw = c->probe.hw_vmx || c->probe.hw_svm;
	c->dir.only_pid = opts->vm_pid;
	c->dir.only_name = opts->vm_name;
	/* The kernel's BTF takes megabytes, and was only needed to get here. */
	iho_probe_free(&c->probe);
	malloc_trim(0);
	*out = c;
	return 0;

cleanup:
	iho_collector_close(c);
	return r;
}

void iho_collector_close(struct iho_collector *c)
{
	if (!c)
		return;
	if (c->source.close)
		c->source.close(&c->source);
	iho_snapshot_free(c->now);
	iho_snapshot_free(c->prev);
	iho_snapshot_free(c->spare);
	iho_names_close(c->names);
	iho_probe_free(&c->probe);
	iho_arena_free(&c->arena);
	free(c->dir.vm);
	free(c->vcpu);
	free(c);
}

int iho_collector_snapshot(struct iho_collector *c)
{
	int r = iho_snapshot_take(c->now, &c->source.maps);

	return r ? r : (int)c->now->n_used;
}

int iho_collector_report(struct iho_collector *c, const struct iho_report **out,
			 struct iho_error *err)
{
	struct iho_snapshot *old = c->prev ? c->prev : c->spare;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC), end;
	double interval_s = 0;
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
	r = iho_snapshot_take(c->now, &c->source.maps);
	end = clock_ns(CLOCK_MONOTONIC);
	if (!r) {
		iho_snapshot_carry(c->now, c->prev);
		r = housekeeping(c);
	}
	if (c->prev)
		interval_s = (c->now->now_ns - c->prev->now_ns) / 1e9;
	iho_arena_reset(&c->arena);
	if (!r)
		r = iho_report_build(&c->report, &c->arena, c->prev, c->now, &c->dir);
	if (r)
		return iho_error_set(err, r, "cannot build the report: %s", strerror(-r));
	measure_cost(c, interval_s);
	c->reports++;
	c->report.time_s = clock_ns(CLOCK_REALTIME) / 1e9;
	c->report.interval_s = interval_s;
	c->report.source = c->source.name;
	fill_self(c, interval_s, (end - begin) / 1e3);
	*out = &c->report;
	return 0;
}

/* ---- features ---- */

static struct iho_feature *add_feature(struct iho_features *f, const char *name, bool present)
{
	struct iho_feature *v = realloc(f->v, (f->n + 1) * sizeof(*v));

	if (!v)
		return NULL;
	f->v = v;
	v = &f->v[f->n++];
	memset(v, 0, sizeof(*v));
	v->name = name;
	v->present = present;
	v->how = "";
	return v;
}

static void set_texts(struct iho_feature *v, const char *cost, const char *detail)
{
	if (!v)
		return;
	if (!v->present)
		snprintf(v->cost, sizeof(v->cost), "%s", cost);
	snprintf(v->detail, sizeof(v->detail), "%s", detail ? detail : "");
}

int iho_features_probe(struct iho_features *f, const struct iho_collector *c, struct iho_error *err)
{
	struct iho_probe p;
	int r = iho_probe_host(&p, err);

	f->v = NULL;
	f->n = 0;
	if (r) {
		iho_probe_free(&p);
		return r;
	}
	set_texts(add_feature(f, "dev_kvm", p.dev_kvm),
		  "no VM can run here: load kvm_intel or kvm_amd, or enable virtualization in the "
		  "firmware",
		  p.dev_kvm ? (p.dev_kvm_access ? "/dev/kvm" : "/dev/kvm, no access for this user")
			    : "");
	set_texts(add_feature(f, "kvm", p.kvm_loaded), "nothing to observe until KVM is loaded",
		  p.vendor_module);
	set_texts(add_feature(f, "btf", p.vmlinux), "nothing works without it",
		  "/sys/kernel/btf/vmlinux");
	set_texts(add_feature(f, "kvm_module_btf",
			      p.kvm || (p.event_btf[IHO_EV_kvm_exit] && !p.kvm)),
		  "exit reasons come from the slower classic tracepoint",
		  p.kvm ? "/sys/kernel/btf/kvm" : "kvm is built in");
	set_texts(add_feature(f, "tracefs", p.tracefs[0]),
		  "names of exit reasons come from the build instead of the running kernel "
		  "(mount -t tracefs tracefs /sys/kernel/tracing)",
		  p.tracefs);
	set_texts(add_feature(f, "exit_reasons", p.hw_vmx || p.hw_svm),
		  "this KVM is neither kvm_intel nor kvm_amd: it may emit no kvm_entry/kvm_exit, "
		  "then "
		  "guest and KVM time stay undivided",
		  p.vendor_module);
	set_texts(add_feature(f, "apicv", p.apicv_param == 1),
		  "interrupts and IPIs reach the guest through VM exits",
		  p.apicv_param < 0 ? "this KVM has no such parameter" : "module parameter");
	for (int i = 0; i < IHO_EV_MAX; i++) {
		struct iho_feature *v = add_feature(f, iho_event_info[i].name, p.event[i]);

		set_texts(v, iho_event_info[i].loss, iho_event_info[i].system);
		if (v && c)
			v->used = c->source.uses(&c->source, v->name, &v->how);
	}
	iho_probe_free(&p);
	return f->v ? 0 : iho_error_set(err, -ENOMEM, "out of memory");
}

void iho_features_free(struct iho_features *f)
{
	free(f->v);
	f->v = NULL;
	f->n = 0;
}
