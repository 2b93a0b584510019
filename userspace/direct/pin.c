// SPDX-License-Identifier: GPL-2.0-or-later
#include "pin.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpus.h"
#include "host.h"
#include "threads.h"
#include "undo.h"
#include "vmname.h"

#define LIST_LEN    32768
#define MAX_THREADS 16384
#define MAX_ROUNDS  16 /* of looking for threads that came meanwhile */

static long long number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* ---- one thread ---- */

/* As it was noted; NULL: it was not. */
static const json_t *thread_of(const json_t *threads, pid_t tid)
{
	json_t *t;
	size_t i;

	json_array_foreach (threads, i, t) {
		if (number(t, "tid") == tid)
			return t;
	}
	return NULL;
}

/* Just these CPUs, which a cpuset may cut without saying so. */
static int set_affinity(pid_t tid, const struct cpus *c)
{
	struct cpus now = {};

	if (sched_setaffinity(tid, sizeof(*c), c->sets) ||
	    sched_getaffinity(tid, sizeof(now), now.sets) < 0)
		return -errno;
	return CPU_EQUAL_S(sizeof(now), now.sets, c->sets) ? 0 : -EINVAL;
}

/* 0 also for one that has ended. */
static int restore_thread(const json_t *t)
{
	pid_t tid = (pid_t)number(t, "tid");
	struct cpus was;
	uint64_t start;

	if (thread_start(tid, tid, &start) || (json_int_t)start != number(t, "start"))
		return 0;
	if (cpus_parse(json_string_value(json_object_get(t, "was")), &was))
		return -EINVAL;
	if (sched_setaffinity(tid, sizeof(was), was.sets) && errno != ESRCH)
		return -errno;
	return 0;
}

/* ---- pin ---- */

struct pin {
	const struct direct_vm *vm;
	json_t *undo, *threads; /* the VM's part of it */
	struct vcpu_thread *vcpus;
	unsigned int *cpus; /* of each vCPU */
	int nr_vcpus, r;
	struct cpus set; /* all of them */
	size_t pinned; /* of `threads` */
	unsigned int fixed; /* threads of the kernel's that cannot be moved */
	struct host_moved host;
	unsigned int refused;
	char refusals[384];
	struct direct_error *err;
};

static void note_thread(pid_t tid, void *arg)
{
	static char was[LIST_LEN];
	struct pin *p = arg;
	struct cpus c;
	char name[64];
	uint64_t start;
	int vcpu = -1;
	unsigned int cpu = 0;

	if (p->r || thread_of(p->threads, tid))
		return;
	/* it has just ended */
	if (thread_start(tid, tid, &start) || iho_affinity("/proc", tid, tid, was, sizeof(was)) < 0)
		return;
	if (cpus_parse(was, &c) || json_array_size(p->threads) == MAX_THREADS) {
		p->r = direct_fail(p->err, -E2BIG,
				   "process %d has more threads, or CPUs, than can be noted",
				   (int)p->vm->pid);
		return;
	}
	for (int i = 0; i < p->nr_vcpus; i++) {
		if (p->vcpus[i].tid == tid) {
			vcpu = (int)p->vcpus[i].vcpu;
			cpu = p->cpus[i];
		}
	}
	thread_name(tid, tid, name, sizeof(name));
	if (json_array_append_new(p->threads,
				  json_pack("{s:i, s:I, s:s, s:i, s:i, s:s}", "tid", (int)tid,
					    "start", (json_int_t)start, "name", name, "vcpu", vcpu,
					    "cpu", (int)cpu, "was", was)))
		p->r = direct_fail(p->err, -ENOMEM, "no memory");
}

/* What is to be pinned that was not noted before. */
static int note_threads(struct pin *p)
{
	int n = for_each_thread(p->vm->pid, note_thread, p);

	if (!p->r && n >= 0)
		for_each_kernel_thread(p->vm->pid, note_thread, p);
	if (p->r)
		return p->r;
	return n < 0 ? direct_fail(p->err, n, "process %d has ended", (int)p->vm->pid) : 0;
}

static bool is_vmms(const struct pin *p, pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)p->vm->pid, (int)tid);
	return !access(path, F_OK);
}

static void note_refusal(struct pin *p, const json_t *t, int r)
{
	size_t at = strlen(p->refusals);

	if (p->refused++ < 4)
		snprintf(p->refusals + at, sizeof(p->refusals) - at,
			 "%sthread %lld (%.16s) to CPU %lld: %s", at ? "; " : "", number(t, "tid"),
			 json_string_value(json_object_get(t, "name")), number(t, "cpu"),
			 strerror(-r));
}

/* Those that were noted last; one that ended, or is the kernel's and stays, is not kept. */
static void pin_threads(struct pin *p)
{
	while (p->pinned < json_array_size(p->threads)) {
		json_t *t = json_array_get(p->threads, p->pinned);
		pid_t tid = (pid_t)number(t, "tid");
		struct cpus c = {};
		int r;

		cpus_add(&c, (unsigned int)number(t, "cpu"));
		r = set_affinity(tid, &c);
		if (!r) {
			p->pinned++;
			continue;
		}
		if (is_vmms(p, tid) || number(t, "vcpu") >= 0) {
			note_refusal(p, t, r);
			p->pinned++;
			continue;
		}
		p->fixed += r != -ESRCH;
		json_array_remove(p->threads, p->pinned);
	}
}

static int check_vcpus(const struct pin *p)
{
	int n = 0;
	json_t *t;
	size_t i;

	json_array_foreach (p->threads, i, t)
		n += number(t, "vcpu") >= 0;
	if (n != p->nr_vcpus)
		return direct_fail(p->err, -EAGAIN, "vCPU threads of process %d come and go",
				   (int)p->vm->pid);
	return 0;
}

/* The host's part is noted and saved with the first threads; later ones have a parent that is
 * pinned. */
static int pin_all(struct pin *p, int dir)
{
	size_t before;
	int r = host_note(p->undo, &p->set, p->err);

	for (int round = 0; !r && round < MAX_ROUNDS; round++) {
		before = p->pinned;
		r = note_threads(p);
		if (r || json_array_size(p->threads) == before)
			break;
		r = undo_save(dir, p->undo, p->err);
		if (r)
			break;
		pin_threads(p);
		if (p->refused)
			return direct_fail(p->err, -EINVAL,
					   "%u threads cannot be pinned, and nothing was changed: "
					   "%s%s (a cpuset of the VM's, as libvirt has, must have "
					   "CPU 0 and the vCPUs')",
					   p->refused, p->refusals,
					   p->refused > 4 ? "; and others" : "");
	}
	if (!r)
		r = check_vcpus(p);
	if (!r)
		r = host_move(p->undo, &p->set, &p->host, p->err);
	return r ? r : undo_save(dir, p->undo, p->err);
}

/* Those of the other VMs that are pinned and alive. */
static void taken_cpus(const json_t *undo, struct cpus *taken)
{
	json_t *vm, *t;
	size_t i, j;

	memset(taken, 0, sizeof(*taken));
	json_array_foreach (json_object_get(undo, "vms"), i, vm) {
		if (!undo_vm_lives(vm))
			continue;
		json_array_foreach (json_object_get(vm, "threads"), j, t) {
			if (number(t, "vcpu") >= 0)
				cpus_add(taken, (unsigned int)number(t, "cpu"));
		}
	}
}

static int choose(struct pin *p, const char *list)
{
	struct cpus taken;
	int n = p->nr_vcpus, r;

	taken_cpus(p->undo, &taken);
	p->cpus = calloc((size_t)n, sizeof(*p->cpus));
	if (!p->cpus)
		return direct_fail(p->err, -ENOMEM, "no memory");
	if (list) {
		r = cpus_parse_order(list, p->cpus, (unsigned int)n);
		if (r < n)
			return direct_fail(p->err, -ENOSPC,
					   "%d vCPUs need as many CPUs, and "
					   "--cpus has %d",
					   n, r);
		r = cpus_check("", &taken, (unsigned int)n, p->cpus, p->err);
	} else {
		r = cpus_choose("", &taken, (unsigned int)n, p->cpus, p->err);
	}
	for (int i = 0; !r && i < n; i++)
		cpus_add(&p->set, p->cpus[i]);
	return r;
}

/* The VMs that have ended make room: nothing of theirs is left to put back. */
static int add_vm(struct pin *p)
{
	json_t *vms = json_object_get(p->undo, "vms"), *vm;
	uint64_t start;

	if (thread_start(p->vm->pid, p->vm->pid, &start))
		return direct_fail(p->err, -ESRCH, "process %d has ended", (int)p->vm->pid);
	if (undo_find_vm(p->undo, p->vm->pid, start))
		return direct_fail(p->err, -EEXIST,
				   "process %d is pinned already: iho-direct unpin %d comes first",
				   (int)p->vm->pid, (int)p->vm->pid);
	for (size_t i = json_array_size(vms); i-- > 0;)
		if (!undo_vm_lives(json_array_get(vms, i)))
			json_array_remove(vms, i);
	vm = json_pack("{s:i, s:I, s:s, s:[]}", "pid", (int)p->vm->pid, "start", (json_int_t)start,
		       "name", p->vm->name, "threads");
	p->threads = json_object_get(vm, "threads");
	if (!p->threads || json_array_append_new(vms, vm))
		return direct_fail(p->err, -ENOMEM, "no memory");
	return 0;
}

/* What cannot be put back stays noted, for unpin. */
static void undo_pin(struct pin *p, int dir, const json_t *before)
{
	struct direct_error also = {};
	json_t *t;
	size_t i;
	int bad;

	json_array_foreach (p->threads, i, t) {
		bad = restore_thread(t);
		if (bad)
			fprintf(stderr, "iho-direct: cannot put thread %lld back: %s\n",
				number(t, "tid"), strerror(-bad));
	}
	if (host_restore(p->undo, before, &also) || undo_save(dir, before, &also))
		fprintf(stderr, "iho-direct: %s\n", also.text);
}

static int pin_vm(struct pin *p, const char *list)
{
	json_t *before;
	int dir, r;

	r = undo_open(true, &dir, &p->undo, p->err);
	if (r)
		return r;
	before = json_deep_copy(p->undo);
	r = before ? vcpu_threads(p->vm->pid, &p->vcpus, p->err)
		   : direct_fail(p->err, -ENOMEM, "no memory");
	if (r > 0) {
		p->nr_vcpus = r;
		r = add_vm(p);
		if (!r)
			r = choose(p, list);
		if (!r) {
			r = pin_all(p, dir);
			if (r)
				undo_pin(p, dir, before);
		}
	}
	json_decref(before);
	/* what is told of it */
	json_incref(p->undo);
	undo_close(dir, p->undo);
	return r;
}

static void tell_pinned(const struct pin *p, bool json)
{
	unsigned int others = (unsigned int)json_array_size(p->threads) - (unsigned int)p->nr_vcpus;
	json_t *j;

	if (json) {
		j = json_pack("{s:i, s:s, s:o, s:i, s:{s:i, s:i}, s:i, s:b}", "pid",
			      (int)p->vm->pid, "name", p->vm->name, "pinned",
			      pin_vcpus_json(undo_find_vm(p->undo, p->vm->pid, 0)), "others",
			      (int)others, "interrupts", "moved", (int)p->host.interrupts, "fixed",
			      (int)p->host.fixed, "fixed_threads", (int)p->fixed, "workqueues",
			      p->host.workqueues);
		json_dumpf(j, stdout, JSON_ENSURE_ASCII);
		putchar('\n');
		json_decref(j);
		return;
	}
	printf("%s (process %d):", p->vm->name, (int)p->vm->pid);
	for (int i = 0; i < p->nr_vcpus; i++)
		printf("%s vCPU %u on CPU %u", i ? "," : "", p->vcpus[i].vcpu, p->cpus[i]);
	printf("; on CPU 0: %u other threads, %u interrupts%s\n", others, p->host.interrupts,
	       p->host.workqueues ? ", unbound workqueues" : "");
	if (p->host.fixed || p->fixed)
		printf("%u interrupts and %u threads of the kernel's cannot be moved\n",
		       p->host.fixed, p->fixed);
}

int pin_print(const struct direct_vm *vm, const char *cpus, bool json)
{
	struct direct_error err = {};
	struct pin p = { .vm = vm, .err = &err };
	int r = pin_vm(&p, cpus);

	if (r)
		say_error(json, err.text);
	else
		tell_pinned(&p, json);
	json_decref(p.undo);
	free(p.vcpus);
	free(p.cpus);
	return r != 0;
}

/* ---- unpin ---- */

/* A process by its number, also one that has ended; else the VM of that name. */
static json_t *find_pinned(const json_t *undo, const char *which, struct direct_error *err)
{
	bool is_pid = *which && strspn(which, "0123456789") == strlen(which);
	json_t *found = NULL, *vm;
	char clean[64];
	size_t i;

	if (is_pid)
		found = undo_find_vm(undo, (pid_t)strtol(which, NULL, 10), 0);
	json_array_foreach (json_object_get(undo, "vms"), i, vm) {
		if (is_pid || strcmp(json_string_value(json_object_get(vm, "name")), which) != 0)
			continue;
		if (found) {
			direct_fail(err, 0,
				    "processes %lld and %lld both were pinned with that name: name "
				    "one by its pid",
				    number(found, "pid"), number(vm, "pid"));
			return NULL;
		}
		found = vm;
	}
	iho_clean_text(clean, sizeof(clean), which);
	if (!found)
		direct_fail(err, 0, "no VM '%s' is pinned by iho-direct", clean);
	return found;
}

/* Is it where one of these was put, and nowhere else? */
static bool has_place_of(const json_t *threads, pid_t tid)
{
	struct cpus now = {};
	json_t *t;
	size_t i;

	if (sched_getaffinity(tid, sizeof(now), now.sets) < 0 ||
	    CPU_COUNT_S(sizeof(now), now.sets) != 1)
		return false;
	json_array_foreach (threads, i, t) {
		if (cpus_have(&now, (unsigned int)number(t, "cpu")))
			return true;
	}
	return false;
}

/* A thread that came later has its CPU from one that was pinned: it gets what the first one had. */
static void restore_late(pid_t tid, void *arg)
{
	const json_t *vm = arg, *threads = json_object_get(vm, "threads");
	const json_t *first = thread_of(threads, (pid_t)number(vm, "pid"));
	const json_t *noted = thread_of(threads, tid);
	struct cpus was;
	uint64_t start;

	if (!first || thread_start(tid, tid, &start) ||
	    (noted && number(noted, "start") == (json_int_t)start))
		return;
	if (has_place_of(threads, tid) &&
	    !cpus_parse(json_string_value(json_object_get(first, "was")), &was))
		sched_setaffinity(tid, sizeof(was), was.sets);
}

/* As far as it can; the last thing that could not is told. */
static int restore_vm(json_t *vm, struct direct_error *err)
{
	int r = 0, bad;
	json_t *t;
	size_t i;

	json_array_foreach (json_object_get(vm, "threads"), i, t) {
		bad = restore_thread(t);
		if (bad)
			r = direct_fail(err, bad, "cannot put thread %lld (%.16s) back: %s",
					number(t, "tid"),
					json_string_value(json_object_get(t, "name")),
					strerror(-bad));
	}
	if (undo_vm_lives(vm))
		for_each_thread((pid_t)number(vm, "pid"), restore_late, vm);
	return r;
}

static int unpin(json_t *undo, int dir, const char *which, long long *pid, struct direct_error *err)
{
	json_t *vms = json_object_get(undo, "vms"), *vm = find_pinned(undo, which, err);
	int r;

	if (!vm)
		return -ENOENT;
	*pid = number(vm, "pid");
	r = restore_vm(vm, err);
	/* the last one gives the host its own back */
	if (json_array_size(vms) == 1 && host_restore(undo, NULL, err))
		r = -EIO;
	/* what is left to do can be tried again */
	if (r)
		return r;
	for (size_t i = json_array_size(vms); i-- > 0;)
		if (json_array_get(vms, i) == vm)
			json_array_remove(vms, i);
	return undo_save(dir, undo, err);
}

int unpin_print(const char *which, bool json)
{
	struct direct_error err = {};
	long long pid = 0;
	json_t *undo;
	int dir, r;

	r = undo_open(true, &dir, &undo, &err);
	if (!r) {
		r = unpin(undo, dir, which, &pid, &err);
		undo_close(dir, undo);
	}
	if (r)
		say_error(json, err.text);
	else if (json)
		printf("{\"pid\": %lld}\n", pid);
	return r != 0;
}

json_t *pin_vcpus_json(const json_t *vm)
{
	json_t *a = json_array(), *t;
	size_t i;

	json_array_foreach (json_object_get(vm, "threads"), i, t) {
		if (number(t, "vcpu") >= 0)
			json_array_append_new(a, json_pack("{s:I, s:I, s:I}", "vcpu",
							   (json_int_t)number(t, "vcpu"), "tid",
							   (json_int_t)number(t, "tid"), "cpu",
							   (json_int_t)number(t, "cpu")));
	}
	return a;
}
