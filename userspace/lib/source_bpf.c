// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The BPF source: loads the programs of bpf/ that this host has tracepoints for and maps their
 * records. Nothing is pinned: whatever way this process dies, the kernel drops programs and maps
 * with it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "iho.skel.h"
#include "names.h"
#include "probe.h"
#include "source.h"
#include "vmname.h"

#define MIN_SLOTS 256
#define MAX_SLOTS 16384

struct source_bpf {
	struct iho *skel;
	struct bpf_link *links[IHO_EV_MAX];
	const char *how[IHO_EV_MAX]; /* NULL: not attached */
	struct bpf_program *progs[IHO_EV_MAX];
	int stats_fd;
	uint64_t cost_ns, cost_runs; /* when measuring started */
};

int iho_error_set(struct iho_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return code;
}

static int load_error(struct iho_error *err, int r)
{
	if (r == -EPERM || r == -EACCES)
		return iho_error_set(
			err, r,
			"not allowed to load BPF programs: run as root, or with CAP_BPF and "
			"CAP_PERFMON (%s; IHO_DEBUG=1 shows the kernel's words)",
			strerror(-r));
	if (r == -EMFILE)
		return iho_error_set(err, r, "too few open files are allowed here: ulimit -n 256");
	if (r == -ENOMEM)
		return iho_error_set(err, r,
				     "not enough memory for the BPF maps; try --max-vcpus with "
				     "a smaller number");
	return iho_error_set(err, r,
			     "the kernel refused the BPF programs: %s (IHO_DEBUG=1 shows its "
			     "words)",
			     strerror(-r));
}

static void count_vcpus(pid_t pid, void *arg)
{
	int n = iho_count_vcpus("/proc", pid);

	if (n > 0)
		*(unsigned int *)arg += n;
}

/* Room for twice what runs now, for eight vCPUs a core, for 256: whichever is most. */
static unsigned int choose_slots(unsigned int wanted, unsigned int n_cpus)
{
	unsigned int running = 0, n = MIN_SLOTS;

	if (wanted)
		return wanted;
	iho_for_each_vm_process("/proc", count_vcpus, &running);
	if (n < 8 * n_cpus)
		n = 8 * n_cpus;
	if (n < 2 * running)
		n = 2 * running;
	return n < MAX_SLOTS ? n : MAX_SLOTS;
}

static struct bpf_program *program_of(struct iho *skel, int event)
{
	char name[64];

	snprintf(name, sizeof(name), "on_%s", iho_event_info[event].name);
	return bpf_object__find_program_by_name(skel->obj, name);
}

/* Which programs are loaded, and with what knowledge. Nothing is loaded yet. */
static int configure(struct source_bpf *b, const struct iho_probe *p, unsigned int n_slots,
		     unsigned int n_cpus)
{
	struct iho *skel = b->skel;
	bool record = !p->exit_args_known && p->event[IHO_EV_kvm_exit];
	uint64_t secret;

	if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret))
		return -errno;
	skel->rodata->vm_key_secret = secret;
	skel->rodata->page_fault_code_arg = p->page_fault_code_arg;
	skel->rodata->splits_guest = p->hw_vmx || p->hw_svm;
	for (int i = 0; i < IHO_EV_MAX; i++) {
		b->progs[i] = program_of(skel, i);
		if (!b->progs[i])
			return -ENOENT;
		bpf_program__set_autoload(b->progs[i], p->event[i]);
	}
	if (record) {
		struct iho_names *names = NULL;
		int reason = -ENOENT, isa = -ENOENT;

		if (!iho_names_open(&names, p->tracefs[0] ? p->tracefs : NULL)) {
			reason = iho_names_field_offset(names, "kvm", "kvm_exit", "exit_reason");
			isa = iho_names_field_offset(names, "kvm", "kvm_exit", "isa");
			iho_names_close(names);
		}
		record = reason >= 0 && isa >= 0;
		skel->rodata->exit_record_reason = reason;
		skel->rodata->exit_record_isa = isa;
		bpf_program__set_autoload(b->progs[IHO_EV_kvm_exit], false);
		b->progs[IHO_EV_kvm_exit] = record ? skel->progs.exit_record : NULL;
	}
	bpf_program__set_autoload(skel->progs.exit_record, record);
	bpf_map__set_max_entries(skel->maps.slots, n_slots);
	bpf_map__set_max_entries(skel->maps.free_slots, n_slots);
	bpf_map__set_max_entries(skel->maps.cpus, n_cpus);
	return 0;
}

size_t iho_map_stride(size_t value_bytes)
{
	return (value_bytes + 7) & ~(size_t)7;
}

size_t iho_map_bytes(size_t value_bytes, unsigned int n)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (iho_map_stride(value_bytes) * n + page - 1) & ~(page - 1);
}

/*
 * Frozen first: from here on only BPF programs write to it. A descriptor opened read-only would not
 * do for readers: the kernel refuses to map it at all.
 */
static const void *map_records(struct iho_maps *m, struct bpf_map *map, size_t *stride)
{
	size_t size = iho_map_bytes(bpf_map__value_size(map), bpf_map__max_entries(map));
	void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, bpf_map__fd(map), 0);

	if (p == MAP_FAILED || bpf_map_freeze(bpf_map__fd(map)))
		return NULL;
	m->bytes += size;
	if (stride)
		*stride = iho_map_stride(bpf_map__value_size(map));
	return p;
}

static void unmap_records(const void *p, struct bpf_map *map)
{
	if (p)
		munmap((void *)p, iho_map_bytes(bpf_map__value_size(map),
						bpf_map__max_entries(map)));
}

static int map_all(struct iho_source *s, struct source_bpf *b)
{
	struct iho_maps *m = &s->maps;

	m->n_slots = bpf_map__max_entries(b->skel->maps.slots);
	m->n_cpus = bpf_map__max_entries(b->skel->maps.cpus);
	m->slots = map_records(m, b->skel->maps.slots, &m->slot_stride);
	m->cpus = map_records(m, b->skel->maps.cpus, &m->cpu_stride);
	m->shared = map_records(m, b->skel->maps.shared, NULL);
	m->vms = map_records(m, b->skel->maps.vms, NULL);
	return m->slots && m->cpus && m->shared && m->vms ? 0 : -errno;
}

static int push_slot(struct source_bpf *b, uint32_t idx)
{
	return bpf_map_update_elem(bpf_map__fd(b->skel->maps.free_slots), NULL, &idx, 0) ? -errno
											 : 0;
}

/*
 * The scheduler first: the others rely on its record of who runs where. An event that this host has
 * but does not let us attach to is a feature that is missing, not an error; --features names it.
 * What is short on our side is an error: the next run may have more of it.
 */
static int attach_all(struct source_bpf *b, const struct iho_probe *p, struct iho_error *err)
{
	for (int i = 0; i < IHO_EV_MAX; i++) {
		struct bpf_program *prog = b->progs[i];
		const char *name = iho_event_info[i].name;

		if (!p->event[i] || !prog)
			continue;
		if (prog == b->skel->progs.exit_record) {
			b->links[i] = bpf_program__attach_tracepoint(prog, "kvm", "kvm_exit");
			b->how[i] = "tp";
		} else if (bpf_program__type(prog) == BPF_PROG_TYPE_RAW_TRACEPOINT) {
			b->links[i] = bpf_program__attach_raw_tracepoint(prog, name);
			b->how[i] = "raw_tp";
		} else {
			b->links[i] = bpf_program__attach_trace(prog);
			b->how[i] = "tp_btf";
		}
		if (b->links[i])
			continue;
		b->how[i] = NULL;
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			return load_error(err, -errno);
		if (i == IHO_EV_sched_switch)
			return iho_error_set(err, -errno, "cannot attach to sched_switch: %s",
					     strerror(errno));
	}
	return 0;
}

static int run_iter(struct bpf_program *prog)
{
	struct bpf_link *link = bpf_program__attach_iter(prog, NULL);
	int fd, r = 0;
	char buf[64];

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0) {
		r = fd;
	} else {
		/* EAGAIN: a million objects seen and nothing printed; it goes on from there */
		while ((r = read(fd, buf, sizeof(buf))) > 0 || (r < 0 && errno == EAGAIN))
			;
		r = r < 0 ? -errno : 0;
		close(fd);
	}
	bpf_link__destroy(link);
	return r;
}

static int source_bpf_find(struct iho_source *s)
{
	struct source_bpf *b = s->priv;
	int fd = bpf_map__fd(b->skel->maps.found_vcpus);
	uint32_t key;
	int r = run_iter(b->skel->progs.find_vcpus);

	if (!r)
		r = run_iter(b->skel->progs.adopt_vcpus);
	while (!bpf_map_get_next_key(fd, NULL, &key))
		bpf_map_delete_elem(fd, &key);
	return r;
}

static void source_bpf_close(struct iho_source *s)
{
	struct source_bpf *b = s->priv;

	if (!b)
		return;
	if (b->stats_fd >= 0)
		close(b->stats_fd);
	for (int i = 0; i < IHO_EV_MAX; i++)
		bpf_link__destroy(b->links[i]);
	if (b->skel) {
		unmap_records(s->maps.slots, b->skel->maps.slots);
		unmap_records(s->maps.cpus, b->skel->maps.cpus);
		unmap_records(s->maps.shared, b->skel->maps.shared);
		unmap_records(s->maps.vms, b->skel->maps.vms);
		iho__destroy(b->skel);
	}
	free(b);
	s->priv = NULL;
}

static int source_bpf_open(struct iho_source *s, const struct iho_collector_options *o,
			   struct iho_error *err)
{
	int r, n_cpus = libbpf_num_possible_cpus();
	struct source_bpf *b = calloc(1, sizeof(*b));
	struct iho_probe probe = {};

	if (!b || n_cpus < 1) {
		free(b);
		return iho_error_set(err, -ENOMEM, "out of memory");
	}
	b->stats_fd = -1;
	s->priv = b;
	r = iho_probe_host(&probe, err);
	if (r)
		goto cleanup;
	if (!probe.event[IHO_EV_kvm_userspace_exit]) {
		r = iho_error_set(err, -ENODEV,
				  "KVM is not loaded here (no kvm tracepoints): load kvm_intel or "
				  "kvm_amd, or enable virtualization in the firmware");
		goto cleanup;
	}
	b->skel = iho__open();
	if (!b->skel) {
		r = load_error(err, -errno);
		goto cleanup;
	}
	r = configure(b, &probe, choose_slots(o->max_vcpus, n_cpus), n_cpus);
	if (!r)
		r = iho__load(b->skel);
	if (r) {
		load_error(err, r);
		goto cleanup;
	}
	r = map_all(s, b);
	for (unsigned int i = 0; !r && i < s->maps.n_slots; i++)
		r = push_slot(b, i);
	if (r) {
		load_error(err, r);
		goto cleanup;
	}
	r = attach_all(b, &probe, err);
	if (r)
		goto cleanup;
	b->skel->bss->collecting = 1;
	/* Refused, it is only the silent vCPUs that stay unseen until they make an event. */
	r = source_bpf_find(s);
	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
		load_error(err, r);
	else
		r = 0;

cleanup:
	iho_probe_free(&probe);
	if (r)
		source_bpf_close(s);
	return r;
}

static int run_clear(struct bpf_program *prog, unsigned int idx, uint64_t key)
{
	struct iho_clear ctx = { .idx = idx, .key = key };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts))
		return -errno;
	return opts.retval ? -ENOENT : 0;
}

static int source_bpf_recycle(struct iho_source *s, unsigned int idx)
{
	struct source_bpf *b = s->priv;
	int r = run_clear(b->skel->progs.clear_slot, idx, 0);

	return r ? r : push_slot(b, idx);
}

static int source_bpf_forget(struct iho_source *s, enum iho_map map, unsigned int idx, uint64_t key)
{
	struct source_bpf *b = s->priv;

	return run_clear(map == IHO_MAP_VMS ? b->skel->progs.clear_vm
					    : b->skel->progs.clear_shared,
			 idx, key);
}

static void read_cost(struct source_bpf *b, uint64_t *ns, uint64_t *runs)
{
	*ns = 0;
	*runs = 0;
	for (int i = 0; i < IHO_EV_MAX; i++) {
		struct bpf_prog_info info = {};
		uint32_t len = sizeof(info);

		if (!b->how[i])
			continue;
		if (bpf_obj_get_info_by_fd(bpf_program__fd(b->progs[i]), &info, &len))
			continue;
		*ns += info.run_time_ns;
		*runs += info.run_cnt;
	}
}

static int source_bpf_cost_start(struct iho_source *s, int fd)
{
	struct source_bpf *b = s->priv;

	b->stats_fd = fd >= 0 ? fd : bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (b->stats_fd < 0)
		return -errno;
	read_cost(b, &b->cost_ns, &b->cost_runs);
	return 0;
}

static int source_bpf_cost_stop(struct iho_source *s, uint64_t *ns, uint64_t *runs)
{
	struct source_bpf *b = s->priv;

	if (b->stats_fd < 0)
		return -EINVAL;
	close(b->stats_fd);
	b->stats_fd = -1;
	read_cost(b, ns, runs);
	*ns -= b->cost_ns;
	*runs -= b->cost_runs;
	return 0;
}

static bool source_bpf_uses(const struct iho_source *s, const char *event, const char **how)
{
	const struct source_bpf *b = s->priv;

	for (int i = 0; i < IHO_EV_MAX; i++) {
		if (strcmp(iho_event_info[i].name, event))
			continue;
		*how = b->how[i] ? b->how[i] : "";
		return b->how[i];
	}
	return false;
}

static int source_bpf_share(const struct iho_source *s, enum iho_map map)
{
	const struct source_bpf *b = s->priv;
	const struct bpf_map *maps[IHO_MAP_MAX] = {
		[IHO_MAP_SLOTS] = b->skel->maps.slots,
		[IHO_MAP_CPUS] = b->skel->maps.cpus,
		[IHO_MAP_SHARED] = b->skel->maps.shared,
		[IHO_MAP_VMS] = b->skel->maps.vms,
	};

	return bpf_map__fd(maps[map]);
}

const struct iho_source iho_source_bpf = {
	.name = "bpf",
	.open = source_bpf_open,
	.find = source_bpf_find,
	.recycle = source_bpf_recycle,
	.forget = source_bpf_forget,
	.cost_start = source_bpf_cost_start,
	.cost_stop = source_bpf_cost_stop,
	.uses = source_bpf_uses,
	.share = source_bpf_share,
	.close = source_bpf_close,
};
