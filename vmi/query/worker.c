// SPDX-License-Identifier: GPL-2.0-or-later
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "channel.h"
#include "reference_file.h"
#include "sandbox.h"
#include "sender.h"

#define LOOK_US 50000 /* how often a statement that runs looks for a word from its parent */

struct worker {
	struct channel channel;
	struct vmi_target *target;
	struct vmi_mem *mem;
	struct vmi_guest *guest;
	struct vmi_engine *engine;
	struct vmi_reference *reference;
	void *image; /* of the reference */
	struct sender sender; /* of the statement that runs */
};

/* For the signal handler. */
static struct worker *running;
static volatile sig_atomic_t listening; /* what comes now is no answer to a question of ours */

static void on_look(int sig)
{
	int e = errno;

	if (listening && channel_pending(&running->channel))
		vmi_engine_cancel(running->engine);
	errno = e;
}

static void look(bool on)
{
	struct itimerval t = {};

	if (on)
		t.it_interval.tv_usec = t.it_value.tv_usec = LOOK_US;
	listening = on;
	setitimer(ITIMER_REAL, &t, NULL);
}

static int send(struct worker *w, json_t *j)
{
	return channel_send(&w->channel, j, NULL, 0, 0);
}

/* ---- what the host knows ---- */

/* The registers as they are now; the tables read them in the target. */
static void take_registers(struct worker *w, const json_t *vcpus)
{
	json_t *whole = vmi_target_to_json(w->target);
	struct vmi_target *now = NULL;
	struct vmi_error err = {};

	if (!whole)
		return;
	json_object_set_new(whole, "regions", json_array());
	json_object_set_new(whole, "kind", json_string("live"));
	json_object_set(whole, "vcpus", (json_t *)vcpus);
	if (!vmi_target_from_json(&now, whole, NULL, 0, &err)) {
		struct vmi_vcpu *v = w->target->vcpus;
		size_t n = w->target->n_vcpus;

		w->target->vcpus = now->vcpus;
		w->target->n_vcpus = now->n_vcpus;
		now->vcpus = v;
		now->n_vcpus = n;
		vmi_target_free(now);
	}
	json_decref(whole);
}

static json_t *ask_host(void *arg, const char *topic, struct vmi_error *err)
{
	struct worker *w = arg;
	json_t *answer = NULL, *result;
	int r;

	look(false);
	r = send(w, json_pack("{s:s}", "host", topic));
	if (!r)
		r = channel_receive(&w->channel, &answer, 0);
	look(true);
	if (json_object_get(answer, "cancel"))
		vmi_engine_cancel(w->engine);
	result = json_object_get(answer, "host");
	if (!json_is_array(result)) {
		const char *why = json_string_value(json_object_get(answer, "text"));

		snprintf(err->text, sizeof(err->text), "%s", why ? why : "the host did not answer");
		json_decref(answer);
		return NULL;
	}
	if (!strcmp(topic, "registers"))
		take_registers(w, result);
	json_incref(result);
	json_decref(answer);
	return result;
}

/* ---- requests ---- */

static void put_text(json_t *j, const char *key, const char *s)
{
	char clean[600];

	vmi_presentable(clean, s, strnlen(s, sizeof(clean) - 1));
	json_object_set_new(j, key, json_string(clean));
}

static json_t *about_json(const struct worker *w)
{
	const struct vmi_target *t = w->target;
	const struct vmi_guest *g = w->guest;
	static const char *const levels[] = {
		[VMI_LEVEL_MEMORY] = "memory",
		[VMI_LEVEL_BANNER] = "banner",
		[VMI_LEVEL_SYMBOLS] = "symbols",
		[VMI_LEVEL_TYPES] = "types",
	};
	json_t *j = json_object();
	size_t regions;

	vmi_mem_regions(w->mem, &regions);
	put_text(j, "name", t->name);
	json_object_set_new(j, "pid", t->pid ? json_integer(t->pid) : json_null());
	json_object_set_new(j, "ram_bytes", json_integer((json_int_t)vmi_mem_bytes(w->mem)));
	json_object_set_new(j, "ram_regions", json_integer((json_int_t)regions));
	json_object_set_new(j, "vcpus", json_integer((json_int_t)t->n_vcpus));
	put_text(j, "how_ram", t->how_ram);
	put_text(j, "how_layout", t->how_layout);
	put_text(j, "how_vcpus", t->how_vcpus);
	put_text(j, "level", levels[g->level]);
	put_text(j, "missing", g->missing);
	if (g->no_vcpu)
		json_object_set_new(j, "no_vcpu", json_true());
	put_text(j, "evidence", g->evidence);
	put_text(j, "banner", g->banner);
	put_text(j, "release", g->release);
	put_text(j, "build_id", g->build_id);
	if (g->level < VMI_LEVEL_SYMBOLS)
		return j;
	json_object_set_new(j, "page_table_levels", json_integer(g->la57 ? 5 : 4));
	json_object_set_new(j, "kaslr_offset",
			    json_sprintf("0x%llx", (unsigned long long)g->kaslr_offset));
	json_object_set_new(j, "cpus", json_integer(g->cpus));
	json_object_set_new(j, "symbols", json_integer((json_int_t)vmi_symbols_count(g->symbols)));
	put_text(j, "kallsyms", vmi_symbols_layout(g->symbols));
	if (g->level == VMI_LEVEL_TYPES)
		json_object_set_new(j, "types", json_integer(vmi_types_count(g->types)));
	return j;
}

static int open_target(struct worker *w, const json_t *request, struct vmi_error *err)
{
	struct vmi_engine_options o = { .limits = vmi_limits_default,
					.host = ask_host,
					.host_arg = w };
	int fds[CHANNEL_FDS_MAX];
	size_t n = channel_take_fds(&w->channel, fds, CHANNEL_FDS_MAX);
	int r, reference = -1;

	snprintf(err->text, sizeof(err->text), "out of memory");
	if (json_is_true(json_object_get(request, "reference")) && n)
		reference = fds[--n];
	worker_limits_from_json(&o.limits, json_object_get(request, "limits"));
	r = vmi_target_from_json(&w->target, json_object_get(request, "open"), fds, n, err);
	if (!r)
		r = vmi_target_open(w->target, &w->mem, err);
	if (!r)
		r = vmi_guest_open(&w->guest, w->target, w->mem, err);
	if (!r && reference >= 0)
		r = reference_load(&w->reference, &w->image, reference, w->guest, err);
	if (!r)
		w->guest->reference = w->reference;
	if (!r)
		r = vmi_engine_open(&w->engine, w->guest, &o, err);
	return r;
}

static int on_open(struct worker *w, const json_t *request)
{
	struct vmi_error err = {};
	int r;

	if (w->target)
		return -EPROTO;
	r = open_target(w, request, &err);
	return r ? sender_failure(&w->channel, r, err.text, NULL)
		 : send(w, json_pack("{s:o}", "opened", about_json(w)));
}

static int on_query(struct worker *w, const char *sql)
{
	struct vmi_outcome out;
	struct vmi_error err = {};
	int r;

	if (!w->engine || !sql)
		return -EPROTO;
	/* A mapping outlives the VMM: what it would show is a guest that is no more. */
	r = vmi_target_alive(w->target, &err);
	if (!r)
		r = vmi_guest_current(w->guest, &err);
	if (r)
		return sender_failure(&w->channel, r, err.text, NULL);
	sender_begin(&w->sender, &w->channel, WORKER_LINE_BYTES);
	look(true);
	r = vmi_engine_query(w->engine, sql, &w->sender.sink, &out, &err);
	look(false);
	if (sender_end(&w->sender, &out))
		return w->sender.sent;
	return r ? sender_failure(&w->channel, r, err.text, &out)
		 : send(w, json_pack("{s:o}", "done", worker_outcome_to_json(&out)));
}

static int serve(struct worker *w)
{
	for (;;) {
		json_t *request, *member;
		int r = channel_receive(&w->channel, &request, 0);

		if (r)
			return r;
		if (json_object_get(request, "open"))
			r = on_open(w, request);
		else if ((member = json_object_get(request, "query")))
			r = on_query(w, json_string_value(member));
		else if (!json_object_get(request, "cancel")) /* it came too late: fine */
			r = -EPROTO;
		json_decref(request);
		if (r)
			return r;
	}
}

int worker_main(void)
{
	struct sigaction on_alarm = { .sa_handler = on_look, .sa_flags = SA_RESTART };
	struct worker w = {};
	struct vmi_error err = {};
	int r;

	channel_init(&w.channel, WORKER_FD, WORKER_REQUEST_BYTES, CHANNEL_FDS_MAX);
	running = &w;
	sigaction(SIGALRM, &on_alarm, NULL);
	signal(SIGINT, SIG_IGN); /* of the terminal: the parent's business */
	signal(SIGQUIT, SIG_IGN);
	r = sandbox_enter(WORKER_FD, &err);
	if (r) {
		sender_failure(&w.channel, r, err.text, NULL);
		return 1;
	}
	r = serve(&w);
	vmi_engine_close(w.engine);
	vmi_guest_close(w.guest);
	vmi_reference_close(w.reference);
	free(w.image);
	vmi_mem_close(w.mem);
	vmi_target_free(w.target);
	channel_close(&w.channel);
	return r == -EPIPE ? 0 : 1;
}
