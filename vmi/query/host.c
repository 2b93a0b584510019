// SPDX-License-Identifier: GPL-2.0-or-later
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../userspace/lib/collector.h"
#include "../../userspace/lib/text.h"

#define FIRST_S	  0.5 /* between the first two looks: rates need two */
#define MOMENT_NS 25000000 /* between two samples */
#define RETRY_S	  10 /* after a collector could not be had */
#define AGAIN_S	  0.2 /* a younger report serves again: the tables of a statement agree */

struct host {
	struct vmi_target *target;
	const char *socket;
	struct iho_collector *collector;
	const struct iho_report *report; /* the collector's */
	double at_s;
	double refused_s; /* when a collector was not to be had; 0 = it was */
	struct vmi_error refused;
};

int host_open(struct host **out, struct vmi_target *target, const char *socket,
	      struct vmi_error *err)
{
	struct host *h = calloc(1, sizeof(*h));

	*out = h;
	if (!h) {
		snprintf(err->text, sizeof(err->text), "out of memory");
		return -ENOMEM;
	}
	h->target = target;
	h->socket = socket;
	return 0;
}

void host_close(struct host *h)
{
	if (!h)
		return;
	if (h->collector)
		iho_collector_close(h->collector);
	free(h);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static json_t *registers(struct host *h, struct vmi_error *err)
{
	json_t *j, *vcpus;

	if (vmi_target_refresh(h->target, err))
		return NULL;
	j = vmi_target_to_json(h->target);
	vcpus = json_incref(json_object_get(j, "vcpus"));
	json_decref(j);
	if (!vcpus)
		snprintf(err->text, sizeof(err->text), "out of memory");
	return vcpus;
}

/* ---- the collector: ihod's where it runs, else BPF programs of our own ---- */

static int take_report(struct host *h, struct vmi_error *err)
{
	struct iho_error why = {};
	int r = iho_collector_report(h->collector, &h->report, &why);

	h->at_s = now_s();
	if (!r)
		return 0;
	h->report = NULL;
	snprintf(err->text, sizeof(err->text), "%s", why.text);
	return r;
}

static int begin(struct host *h, struct vmi_error *err)
{
	const struct timespec first = { .tv_nsec = (long)(FIRST_S * 1e9) };
	const struct iho_collector_options o = { .mode = IHO_HOST_AUTO, .socket = h->socket };
	struct iho_error why = {};
	int r = iho_collector_open(&h->collector, &o, &why);

	if (r) {
		snprintf(err->text, sizeof(err->text), "%s", why.text);
		h->collector = NULL;
		return r;
	}
	r = take_report(h, err);
	if (!r)
		nanosleep(&first, NULL);
	return r;
}

static int refresh(struct host *h, struct vmi_error *err)
{
	int r = 0;

	if (!h->collector)
		r = begin(h, err);
	else if (h->report && now_s() - h->at_s < AGAIN_S)
		return 0;
	return r ? r : take_report(h, err);
}

/* ---- rows ---- */

static json_t *count(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

static double seconds(const struct host *h)
{
	return h->report->interval_s > 0 ? h->report->interval_s : 1;
}

static json_t *vms(const struct host *h)
{
	json_t *a = json_array();

	for (size_t i = 0; i < h->report->n_vms; i++) {
		const struct iho_vm_report *v = &h->report->vms[i];
		json_t *o = json_object();

		if (v->gone) {
			json_decref(o);
			continue;
		}
		json_object_set_new(o, "name", iho_text_json(v->name));
		json_object_set_new(o, "pid", json_integer(v->pid));
		json_object_set_new(o, "vmm", iho_text_json(v->vmm));
		json_object_set_new(o, "vcpus", count(v->n_vcpus));
		json_object_set_new(o, "exits", count(v->exits));
		json_object_set_new(o, "exits_per_s",
				    json_real((double)v->exits_delta / seconds(h)));
		json_object_set_new(o, "userspace_exits", count(v->user_exits));
		json_object_set_new(o, "is_target",
				    json_integer(h->target->pid && v->pid == h->target->pid));
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *vcpu_row(const struct iho_vcpu *v)
{
	json_t *o = json_object();

	json_object_set_new(o, "vcpu", v->id >= 0 ? json_integer(v->id) : json_null());
	json_object_set_new(o, "thread", json_integer(v->tid));
	return o;
}

static json_t *exit_row(const struct iho_vcpu *v, const char *handled, const char *reason,
			uint64_t total)
{
	json_t *o = vcpu_row(v);

	json_object_set_new(o, "handled", json_string(handled));
	json_object_set_new(o, "reason", iho_text_json(reason));
	json_object_set_new(o, "total", count(total));
	return o;
}

static void add_exits(const struct host *h, json_t *a, const struct iho_vcpu *v)
{
	double s = seconds(h);

	for (size_t i = 0; i < v->exit_rows.n; i++) {
		const struct iho_exit_row *e = &v->exit_rows.v[i];
		json_t *o = exit_row(v, "kvm", e->reason, e->total);

		json_object_set_new(o, "per_s", json_real((double)e->delta / s));
		json_object_set_new(o, "time_ns", count(e->time_ns));
		json_object_set_new(o, "share", json_real((double)e->time_delta_ns / (s * 1e9)));
		json_object_set_new(o, "mean_ns", count(e->mean_ns));
		json_object_set_new(o, "p99_ns", count(e->p99_ns));
		json_object_set_new(o, "max_ns", count(e->max_ns));
		json_array_append_new(a, o);
	}
	for (size_t i = 0; i < v->user_rows.n; i++) {
		const struct iho_user_row *e = &v->user_rows.v[i];
		json_t *o = exit_row(v, "vmm", e->reason, e->total);

		json_object_set_new(o, "per_s", json_real((double)e->delta / s));
		json_object_set_new(o, "time_ns", count(e->time_ns));
		json_object_set_new(o, "share", json_real((double)e->time_delta_ns / (s * 1e9)));
		json_object_set_new(o, "max_ns", count(e->max_ns));
		json_array_append_new(a, o);
	}
}

static void add_bill(const struct host *h, json_t *a, const struct iho_vcpu *v)
{
	for (int i = 0; i < IHO_BILL_MAX; i++) {
		bool splits = h->report->splits_guest;
		json_t *o;

		/* States that this host cannot tell apart are one; see iho-top(8). */
		if (splits ? i == IHO_BILL_GUEST_OR_KVM : i == IHO_BILL_GUEST || i == IHO_BILL_KVM)
			continue;
		o = vcpu_row(v);
		json_object_set_new(o, "cpu", json_integer(v->cpu));
		json_object_set_new(o, "state", json_string(iho_bill_key(i)));
		json_object_set_new(o, "now",
				    json_integer(!v->gone && v->state == (enum iho_bill)i));
		json_object_set_new(o, "total_ns", count(v->bill.total[i]));
		json_object_set_new(o, "share",
				    v->bill.wall_delta ? json_real((double)v->bill.delta[i] /
								   (double)v->bill.wall_delta)
						       : json_null());
		json_array_append_new(a, o);
	}
}

/* Of the target's vCPUs only: another tenant's exits are not this one's business. */
static json_t *of_vcpus(const struct host *h,
			void (*add)(const struct host *, json_t *, const struct iho_vcpu *))
{
	json_t *a = json_array();

	for (size_t i = 0; i < h->report->n_vms; i++) {
		const struct iho_vm_report *vm = &h->report->vms[i];

		if (vm->pid != h->target->pid || vm->gone)
			continue;
		for (size_t k = 0; k < vm->n_vcpus; k++)
			if (!vm->vcpus[k].archived)
				add(h, a, &vm->vcpus[k]);
	}
	return a;
}

/* ---- samples, for task_exits ---- */

static void add_counts(const struct host *h, json_t *a, const struct iho_vcpu *v)
{
	static const char *const isa[] = { "none", "vmx", "svm" };

	for (size_t i = 0; i < v->exit_rows.n; i++) {
		const struct iho_exit_row *e = &v->exit_rows.v[i];
		json_t *o = exit_row(v, "kvm", e->reason, e->total);

		if (e->isa == IHO_ISA_VMX || e->isa == IHO_ISA_SVM)
			json_object_set_new(o, "isa", json_string(isa[e->isa]));
		json_array_append_new(a, o);
	}
	for (size_t i = 0; i < v->user_rows.n; i++) {
		const struct iho_user_row *e = &v->user_rows.v[i];

		json_array_append_new(a, exit_row(v, "vmm", e->reason, e->total));
	}
}

/* A collector that cannot be had is not tried again with every sample. */
static int counters(struct host *h, struct vmi_error *why)
{
	int r;

	if (h->refused_s > 0 && now_s() - h->refused_s < RETRY_S) {
		*why = h->refused;
		return -EAGAIN;
	}
	r = h->collector ? take_report(h, why) : begin(h, why);
	h->refused_s = r ? now_s() : 0;
	h->refused = *why;
	return r;
}

static const char *no_counters(const struct host *h)
{
	for (size_t i = 0; i < h->report->n_vms; i++)
		if (h->report->vms[i].pid == h->target->pid && !h->report->vms[i].gone)
			return h->report->splits_guest ? "" : h->report->missing;
	return "KVM on this host runs no vCPU of this VM, so there are no exits";
}

static json_t *exit_counts(struct host *h)
{
	struct vmi_error why = {};
	json_t *a = NULL, *head = json_object();
	const char *missing = why.text;

	if (!counters(h, &why)) {
		a = of_vcpus(h, add_counts);
		missing = no_counters(h);
	}
	if (!a)
		a = json_array();
	json_object_set_new(head, "missing", iho_text_json(missing));
	json_array_insert_new(a, 0, head);
	return a;
}

static json_t *moment(void)
{
	const struct timespec t = { .tv_nsec = MOMENT_NS };

	nanosleep(&t, NULL);
	return json_array();
}

json_t *host_answer(struct host *h, const char *topic, struct vmi_error *err)
{
	json_t *a = NULL;

	if (!strcmp(topic, "registers"))
		return registers(h, err);
	if (!strcmp(topic, "moment"))
		return moment();
	if (!strcmp(topic, "exit_counts") && h->target->pid)
		return exit_counts(h);
	if (strcmp(topic, "vms") && !h->target->pid) {
		snprintf(err->text, sizeof(err->text),
			 "a dump has no side of the host: %.40s is of a VM that runs", topic);
		return NULL;
	}
	snprintf(err->text, sizeof(err->text), "the host knows nothing of that name");
	if (strcmp(topic, "vms") && strcmp(topic, "vcpu_exits") && strcmp(topic, "vcpu_bill"))
		return NULL;
	if (refresh(h, err))
		return NULL;
	if (!strcmp(topic, "vms"))
		a = vms(h);
	else
		a = of_vcpus(h, strcmp(topic, "vcpu_exits") ? add_bill : add_exits);
	if (!a)
		snprintf(err->text, sizeof(err->text), "out of memory");
	return a;
}
