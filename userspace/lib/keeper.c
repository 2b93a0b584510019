// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Housekeeping beside the slots. What it asks of the system it asks at most once a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "look.h"
#include "keeper.h"

#define NSEC		1000000000ULL
#define KEEP_GONE_NS	(60 * NSEC) /* a VM that ended keeps its last line for a minute */
#define HOUSEKEEPING_NS (1 * NSEC)
#define REFRESH_NS	(5 * NSEC) /* names and pinning are looked at again after this */
#define REFRESH_MOST	64 /* threads looked at in one round */
#define FIND_MOST_NS	(60 * NSEC)

struct iho_keeper {
	struct iho_keeper_options opts;
	struct iho_source source;
	struct iho_ledger *ledger; /* ledger_fd, mapped */
	int ledger_fd;
	struct iho_names *names;
	char vendor_module[32];
	struct iho_directory dir;
	struct iho_vcpu_entry *vcpu;
	struct iho_utilisation_set *utilisation;
	size_t vm_cap;
	unsigned int refresh_next;
	uint64_t housekeeping_ns;
	uint64_t find_ns, find_wait_ns;
	bool recycled; /* since the last look for vCPUs without a slot */
	/* own cost */
	unsigned int rounds;
	bool measuring;
	uint64_t cost_since_ns;
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * NSEC + t.tv_nsec;
}

/*
 * Names are labels of series that last: the VM that had a name first keeps it as long as it lives,
 * whatever others are called.
 */
static void check_name(const struct iho_keeper *k, struct iho_vm_entry *e)
{
	e->namesake = false;
	for (size_t i = 0; i < k->dir.n_vms; i++) {
		const struct iho_vm_entry *o = &k->dir.vm[i];

		if ((o->pid == e->pid && o->start_ns == e->start_ns) || o->namesake)
			continue;
		if (o->live_ns == o->seen_ns && !strcmp(o->id.name, e->id.name))
			e->namesake = true;
	}
}

static struct iho_vm_entry *add_vm(struct iho_keeper *k, const struct iho_slot *s,
				   uint64_t now_ns)
{
	uint64_t key = s->vcpu_id >= 0 ? s->vm_key : 0;
	pid_t pid = s->tgid;
	struct iho_directory *d = &k->dir;
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
	if (d->n_vms == k->vm_cap) {
		size_t cap = k->vm_cap ? 2 * k->vm_cap : 16;

		e = realloc(d->vm, cap * sizeof(*e));
		if (!e)
			return NULL;
		d->vm = e;
		k->vm_cap = cap;
	}
	e = &d->vm[d->n_vms++];
	memset(e, 0, sizeof(*e));
	e->pid = pid;
	e->start_ns = s->process_start_ns;
	e->key = key;
	e->nth = nth;
	e->seen_ns = e->refreshed_ns = now_ns;
	iho_vm_identify("/proc", "/run/libvirt/qemu", pid, &e->id);
	check_name(k, e);
	return e;
}

/*
 * A VM is named when its first vCPU shows up, and once more later: libvirt and exec take a
 * moment.
 */
static int refresh_vms(struct iho_keeper *k, const struct iho_snapshot *s)
{
	for (unsigned int i = 0; i < s->n_entries; i++) {
		const struct iho_slot *slot = s->vcpu[i].slot;
		struct iho_vm_entry *e;

		if (!s->vcpu[i].used)
			continue;
		e = iho_directory_find(&k->dir, slot);
		if (!e)
			e = add_vm(k, slot, s->now_ns);
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
			if (!strcmp(id.vmm, "unknown") && strcmp(e->id.vmm, "unknown"))
				continue;
			if (!strcmp(id.name, e->id.name) && id.vmm == e->id.vmm)
				continue;
			e->id = id;
			check_name(k, e);
		}
	}
	/* Entries whose slots are all gone. */
	for (size_t i = 0; i < k->dir.n_vms;) {
		if (k->dir.vm[i].seen_ns == s->now_ns)
			i++;
		else
			k->dir.vm[i] = k->dir.vm[--k->dir.n_vms];
	}
	return 0;
}

static void refresh_affinities(struct iho_keeper *k, const struct iho_snapshot *s)
{
	unsigned int done = 0;

	for (unsigned int n = 0; n < s->n_slots && done < REFRESH_MOST; n++) {
		unsigned int i = k->refresh_next;
		struct iho_vcpu_entry *e = &k->vcpu[i];
		const struct iho_slot *slot = s->vcpu[i].slot;

		k->refresh_next = (i + 1) % s->n_slots;
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

static void refresh_utilisation(struct iho_keeper *k, const struct iho_snapshot *s)
{
	iho_utilisation_update(k->utilisation, s);
	for (unsigned int i = 0; i < s->n_slots; i++)
		k->vcpu[i].utilisation = *iho_utilisation_get(k->utilisation, i);
}

static bool scarce(const struct iho_snapshot *s)
{
	return s->n_used + s->n_slots / 8 >= s->n_slots;
}

/* From here to change_end() readers in other processes wait, or copy once more. */
static void change_begin(struct iho_keeper *k)
{
	__atomic_store_n(&k->ledger->generation, k->ledger->generation + 1, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void change_end(struct iho_keeper *k)
{
	__atomic_store_n(&k->ledger->generation, k->ledger->generation + 1, __ATOMIC_RELEASE);
}

/* What the snapshot says a slot of a thread that ended had counted stays in the ledger. */
static void add_to_ledger(struct iho_ledger *l, const struct iho_snap_vcpu *v)
{
	struct iho_self sum = {};

	iho_self_add(&sum, v);
	l->events += sum.events;
	l->unpaired += sum.unpaired;
	l->clock_back += sum.clock_back;
	l->missed_switches += sum.missed_switches;
	l->exit_overflow += sum.exit_overflow;
	l->irq_overflow += sum.irq_overflow;
	l->drill_overflow += sum.drill_overflow;
	l->interlopers_evicted += sum.interlopers_evicted;
}

static struct iho_slot *archive_of(const struct iho_keeper *k)
{
	return (struct iho_slot *)iho_ledger_archive(k->ledger);
}

/* Where a vCPU's earlier threads are already, or a free place; NULL: there is none. */
static struct iho_slot *archive_place(struct iho_keeper *k, const struct iho_slot *slot)
{
	struct iho_slot *archive = archive_of(k), *free = NULL;

	for (unsigned int i = 0; i < k->ledger->archived; i++) {
		struct iho_slot *a = &archive[i];

		if (a->life == IHO_FREE)
			free = free ? free : a;
		else if (a->tgid == slot->tgid && a->process_start_ns == slot->process_start_ns &&
			 a->vm_key == slot->vm_key && a->vcpu_id == slot->vcpu_id)
			return a;
	}
	if (!free && k->ledger->archived < k->source.maps.n_slots)
		free = &archive[k->ledger->archived++];
	return free;
}

/*
 * A vCPU was unplugged while its VM lives on: its slot is given back, but what it counted must not
 * go from the VM's sums. Where the archive is full, too many VMs did that, it does.
 */
static void archive_slot(struct iho_keeper *k, const struct iho_snap_vcpu *v)
{
	struct iho_slot *to = archive_place(k, v->slot);

	if (!to)
		add_to_ledger(k->ledger, v);
	else if (to->life == IHO_FREE)
		*to = *v->slot;
	else
		iho_slot_merge(to, v->slot);
}

/* A slot that could not be given back is not counted twice: it is tried again, as it is. */
static void retire(struct iho_keeper *k, const struct iho_snap_vcpu *v, unsigned int idx,
		   bool vm_lives)
{
	const unsigned int n_slots = k->source.maps.n_slots;
	int r = 0;

	if (idx >= n_slots)
		memset(&archive_of(k)[idx - n_slots], 0, sizeof(struct iho_slot));
	else
		r = k->source.recycle(&k->source, idx);
	if (!r && vm_lives)
		archive_slot(k, v);
	else if (!r)
		add_to_ledger(k->ledger, v);
	k->recycled |= !r;
}

/*
 * Slots of threads that ended go back after a minute, or as soon as slots run out; of a VM that
 * ended, all at once. It is one change for the readers: between many short ones they might never
 * get a whole copy.
 */
static void recycle_slots(struct iho_keeper *k, const struct iho_snapshot *s)
{
	bool changes = false;

	for (unsigned int i = 0; i < s->n_entries; i++) {
		const struct iho_slot *slot = s->vcpu[i].slot;
		const struct iho_vm_entry *e;
		bool vm_lives;

		if (!s->vcpu[i].used || slot->life != IHO_GONE)
			continue;
		e = iho_directory_find(&k->dir, slot);
		vm_lives = e && e->live_ns == s->now_ns;
		if (vm_lives && i >= s->n_slots)
			continue;
		if (!scarce(s) &&
		    (e && !vm_lives ? e->gone_ns : slot->gone_ns) + KEEP_GONE_NS >= s->now_ns)
			continue;
		if (!changes)
			change_begin(k);
		changes = true;
		retire(k, &s->vcpu[i], i, vm_lives);
	}
	if (changes)
		change_end(k);
}

/*
 * vCPUs without a number are looked up in the kernel's list of files; ever less often if in
 * vain. So are those that found no slot, when there is room again: they may be silent since.
 */
static void find_vcpus(struct iho_keeper *k, const struct iho_snapshot *s)
{
	bool nameless = false;

	if (k->recycled && s->loss[IHO_LOSS_NO_SLOT])
		k->source.find(&k->source);
	k->recycled = false;
	for (unsigned int i = 0; i < s->n_slots && !nameless; i++)
		nameless = s->vcpu[i].used && s->vcpu[i].slot->life == IHO_LIVE &&
			   s->vcpu[i].slot->vcpu_id < 0;
	if (!nameless) {
		k->find_wait_ns = HOUSEKEEPING_NS;
		return;
	}
	if (k->find_ns + k->find_wait_ns > s->now_ns)
		return;
	k->find_ns = s->now_ns;
	if (k->find_wait_ns < FIND_MOST_NS)
		k->find_wait_ns *= 2;
	k->source.find(&k->source);
}

/*
 * Nobody will ask for the counters of this process any more, nor add to them. `mask`: the part
 * of IHO_PROCESS that is known.
 */
static bool over(const struct iho_keeper *k, uint64_t process, uint64_t mask)
{
	bool reused = false;
	char path[32];

	for (size_t i = 0; i < k->dir.n_vms; i++) {
		const struct iho_vm_entry *e = &k->dir.vm[i];

		if ((IHO_PROCESS(e->pid, e->start_ns) & mask) == process)
			return false;
		reused |= (uint32_t)e->pid == IHO_PROCESS_TGID(process);
	}
	snprintf(path, sizeof(path), "/proc/%u", IHO_PROCESS_TGID(process));
	return reused || access(path, F_OK);
}

/* Processes that ended leave their interrupt counters behind. */
static void drop_dead_counters(struct iho_keeper *k)
{
	const struct iho_maps *m = &k->source.maps;

	for (unsigned int i = 0; i < IHO_VMS; i++) {
		uint64_t process = m->vms[i].process;

		if (process && over(k, process, UINT64_MAX))
			k->source.forget(&k->source, IHO_MAP_VMS, i, process);
	}
	for (unsigned int i = 0; i < IHO_SHARED; i++) {
		uint64_t key = m->shared[i].key;
		uint32_t process = IHO_SHARED_PROCESS(key);

		if (process && over(k, process, UINT32_MAX))
			k->source.forget(&k->source, IHO_MAP_SHARED, i, key);
	}
}

/* The cost of the programs is measured in one second of `stats_every`, beginning with the first. */
static void measure_cost(struct iho_keeper *k, uint64_t now_ns)
{
	uint64_t ns, runs;
	int fd = -1;

	if (!k->opts.stats_every)
		return;
	if (k->measuring) {
		k->measuring = false;
		if (!k->source.cost_stop(&k->source, &ns, &runs) && now_ns > k->cost_since_ns) {
			k->dir.ns_per_event = runs ? (double)ns / runs : 0;
			k->dir.bpf_share = (double)ns / (now_ns - k->cost_since_ns);
		}
	}
	if (k->rounds++ % k->opts.stats_every)
		return;
	if (k->opts.stats_fd) {
		fd = k->opts.stats_fd(k->opts.arg);
		if (fd < 0)
			return;
	}
	k->measuring = !k->source.cost_start(&k->source, fd);
	k->cost_since_ns = now_ns;
}

uint64_t iho_rss_bytes(void)
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

int iho_keeper_tend(struct iho_keeper *k, const struct iho_snapshot *now)
{
	int r = refresh_vms(k, now);
	bool due = k->housekeeping_ns + HOUSEKEEPING_NS <= now->now_ns;

	if (r)
		return r;
	k->dir.cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	k->dir.rss_bytes = iho_rss_bytes();
	refresh_utilisation(k, now);
	if (due || scarce(now))
		recycle_slots(k, now);
	if (!due)
		return 0;
	k->housekeeping_ns = now->now_ns;
	refresh_affinities(k, now);
	find_vcpus(k, now);
	drop_dead_counters(k);
	measure_cost(k, now->now_ns);
	return 0;
}

static size_t archive_offset(void)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (sizeof(struct iho_ledger) + page - 1) & ~(page - 1);
}

size_t iho_ledger_bytes(unsigned int n_slots)
{
	return archive_offset() + n_slots * sizeof(struct iho_slot);
}

const struct iho_slot *iho_ledger_archive(const struct iho_ledger *l)
{
	return (const struct iho_slot *)((const char *)l + archive_offset());
}

/*
 * In a memfd, so that other processes can map it; sealed, so that they cannot write. The first
 * mapping, ours, may still. What is never written takes no memory.
 */
static int make_ledger(struct iho_keeper *k)
{
	size_t bytes = iho_ledger_bytes(k->source.maps.n_slots);
	void *p;

	k->ledger_fd = memfd_create("iho-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (k->ledger_fd < 0 || ftruncate(k->ledger_fd, bytes))
		return -errno;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, k->ledger_fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	k->ledger = p;
	if (fcntl(k->ledger_fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL))
		return -errno;
	k->ledger->start_realtime_ns = clock_ns(CLOCK_REALTIME);
	k->source.maps.ledger = k->ledger;
	k->source.maps.archive = iho_ledger_archive(k->ledger);
	return 0;
}

int iho_keeper_open(struct iho_keeper **out, const struct iho_keeper_options *o,
		    struct iho_error *err)
{
	const struct iho_collector_options co = { .max_vcpus = o->max_vcpus };
	struct iho_keeper *k = calloc(1, sizeof(*k));
	struct iho_probe probe = {};
	int r;

	*out = NULL;
	if (!k)
		return iho_error_set(err, -ENOMEM, "out of memory");
	k->opts = *o;
	k->ledger_fd = -1;
	k->dir.ns_per_event = -1;
	k->dir.bpf_share = -1;
	r = iho_probe_host(&probe, err);
	if (r)
		goto cleanup;
	r = iho_names_open(&k->names, probe.tracefs[0] ? probe.tracefs : NULL);
	if (r) {
		iho_error_set(err, r, "cannot read the kernel's names: %s", strerror(-r));
		goto cleanup;
	}
	k->source = iho_source_bpf;
	r = k->source.open(&k->source, &co, err);
	if (r)
		goto cleanup;
	r = make_ledger(k);
	if (r) {
		iho_error_set(err, r, "cannot make the ledger of the slots: %s", strerror(-r));
		goto cleanup;
	}
	k->vcpu = calloc(k->source.maps.n_slots, sizeof(*k->vcpu));
	if (!k->vcpu ||
	    iho_utilisation_open(&k->utilisation, k->source.maps.n_slots, NULL)) {
		r = iho_error_set(err, -ENOMEM, "out of memory");
		goto cleanup;
	}
	k->dir.vcpu = k->vcpu;
	k->dir.n_vcpus = k->source.maps.n_slots;
	k->dir.names = k->names;
	k->dir.apicv_param = probe.apicv_param;
	snprintf(k->vendor_module, sizeof(k->vendor_module), "%s", probe.vendor_module);
	k->dir.vendor_module = k->vendor_module;
	k->dir.hw = probe.hw_vmx || probe.hw_svm;
	*out = k;
	k = NULL;

cleanup:
	/* The kernel's BTF takes megabytes, and was only needed to get here. */
	iho_probe_free(&probe);
	iho_keeper_close(k);
	malloc_trim(0);
	return r;
}

void iho_keeper_close(struct iho_keeper *k)
{
	if (!k)
		return;
	if (k->ledger)
		munmap(k->ledger, iho_ledger_bytes(k->source.maps.n_slots));
	if (k->source.close)
		k->source.close(&k->source);
	if (k->ledger_fd >= 0)
		close(k->ledger_fd);
	iho_names_close(k->names);
	free(k->dir.vm);
	free(k->vcpu);
	iho_utilisation_close(k->utilisation);
	free(k);
}

const struct iho_maps *iho_keeper_maps(const struct iho_keeper *k)
{
	return &k->source.maps;
}

struct iho_directory *iho_keeper_directory(struct iho_keeper *k)
{
	return &k->dir;
}

int iho_keeper_share(const struct iho_keeper *k, enum iho_map map)
{
	return k->source.share(&k->source, map);
}

int iho_keeper_ledger_fd(const struct iho_keeper *k)
{
	return k->ledger_fd;
}

int iho_keeper_features(const struct iho_keeper *k, struct iho_features *f, struct iho_error *err)
{
	return iho_features_look(f, &k->source, err);
}
