// SPDX-License-Identifier: GPL-2.0-or-later
/* The tracker, JSON both ways, QMP from a peer that may say anything, forecasts of recorded runs */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "../../userspace/lib/forecast.h"
#include "../../userspace/lib/migration_internal.h"
#include "../../userspace/lib/qmp.h"

#define GREETING "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\n"
#define OK0	 "{\"return\":{},\"id\":0}\n"
#define RUNNING	 "{\"return\":{\"status\":\"running\"},\"id\":1}\n"
#define PARAMS	 "{\"return\":{\"downtime-limit\":300},\"id\":3}\n"

/* What the peer says is in the socket before it is asked; then it hangs up, or stays silent. */
static int ask(const char *text, size_t len, bool hang_up, struct iho_qmp_answer *a)
{
	int fd[2], size = 4 << 20, r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	assert_int_equal(send(fd[1], text, len, MSG_DONTWAIT), len);
	if (hang_up)
		shutdown(fd[1], SHUT_WR);
	r = iho_qmp_ask(fd[0], 200, a);
	close(fd[0]);
	close(fd[1]);
	return r;
}

static int say(const char *text, struct iho_qmp_answer *a)
{
	return ask(text, strlen(text), true, a);
}

static void test_qmp_active(void **state)
{
	struct iho_qmp_answer a;

	assert_int_equal(say(GREETING OK0 "{\"event\":\"STOP\"}\n" RUNNING
			     "{\"return\":{\"status\":\"active\",\"total-time\":1500,"
			     "\"expected-downtime\":30,\"cpu-throttle-percentage\":20,\"ram\":{"
			     "\"total\":1000,\"transferred\":400,\"remaining\":600,\"mbps\":8,"
			     "\"dirty-pages-rate\":5,\"page-size\":4096,\"dirty-sync-count\":2}},"
			     "\"id\":2}\n" PARAMS, &a), 0);
	assert_false(a.none);
	assert_false(a.incoming);
	assert_int_equal(a.seen.phase, IHO_MIGRATION_PRECOPY);
	assert_int_equal(a.seen.n.remaining_bytes, 600);
	assert_int_equal(a.seen.n.iterations, 2);
	assert_float_equal(a.seen.n.elapsed_s, 1.5, 1e-9);
	assert_float_equal(a.seen.n.bandwidth_bytes_per_s, 1e6, 1e-3);
	assert_float_equal(a.seen.n.dirty_bytes_per_s, 20480, 1e-3);
	assert_float_equal(a.seen.n.throttle_ratio, 0.2, 1e-9);
	assert_float_equal(a.seen.n.downtime_limit_s, 0.3, 1e-9);
}

static void test_qmp_hostile(void **state)
{
	static const struct {
		const char *text;
		int error;
	} cases[] = {
		{ "", -EPIPE },
		{ "HTTP/1.1 400 Bad Request\r\n", -EPROTO },
		{ "[]\n", -EPROTO },
		{ "{}\n", -EPROTO },
		{ "{\"QMP\":1}\n", -EPROTO },
		{ GREETING, -EPIPE },
		{ GREETING "{\"return\":{},\"id\":7}\n", -EPROTO },
		{ GREETING OK0 "{\"return\":{\"status\":5},\"id\":1}\n", -EPROTO },
		{ GREETING OK0 RUNNING "{\"return\":[],\"id\":2}\n", -EPROTO },
		{ GREETING OK0 RUNNING "{\"return\":{\"status\":\"dancing\"},\"id\":2}\n",
		  -EPROTO },
		{ GREETING "{\"error\":{\"class\":\"x\"},\"id\":0}\n", -EPROTO },
	};
	struct iho_qmp_answer a;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(say(cases[i].text, &a), cases[i].error);
	/* numbers that are none, or below zero, are not known */
	assert_int_equal(say(GREETING OK0 RUNNING
			     "{\"return\":{\"status\":\"active\",\"total-time\":-5,\"ram\":{"
			     "\"total\":\"x\",\"remaining\":-1}},\"id\":2}\n" PARAMS, &a), 0);
	assert_int_equal(a.seen.n.total_bytes, -1);
	assert_int_equal(a.seen.n.remaining_bytes, -1);
	assert_true(a.seen.n.elapsed_s < 0);
}

static void test_qmp_endless(void **state)
{
	size_t len = IHO_QMP_LINE_MAX + 1;
	struct iho_qmp_answer a;
	char *text = malloc(len), *events = malloc(300 * 16 + 100);

	memset(text, 'x', len);
	assert_int_equal(ask(text, len, false, &a), -EMSGSIZE);
	strcpy(events, GREETING);
	for (int i = 0; i < 300; i++)
		strcat(events, "{\"event\":\"E\"}\n");
	assert_int_equal(ask(events, strlen(events), false, &a), -EPROTO);
	assert_int_equal(ask(GREETING, strlen(GREETING), false, &a), -ETIMEDOUT);
	free(text);
	free(events);
}

static struct iho_migration_seen seen(enum iho_migration_phase phase, double t)
{
	struct iho_migration_seen s;

	iho_migration_seen_init(&s);
	snprintf(s.vm, sizeof(s.vm), "web");
	s.phase = phase;
	s.time_s = 1000 + t;
	s.n.elapsed_s = t;
	return s;
}

static void test_tracker(void **state)
{
	struct iho_tracker *t = calloc(1, sizeof(*t));
	struct iho_migration_view *v, *back;
	struct iho_migration_seen s;
	json_t *j;

	for (int i = 0; i < 2000; i++) {
		s = seen(i ? IHO_MIGRATION_PRECOPY : IHO_MIGRATION_SETUP, i);
		s.n.total_bytes = 5000;
		s.n.remaining_bytes = 4000 - i;
		s.n.transferred_bytes = i;
		s.n.iterations = 1;
		assert_int_equal(iho_tracker_see(t, &s), 0);
	}
	assert_int_equal(t->n_rows, 1);
	assert_true(t->rows[0]->n_samples <= IHO_MIGRATION_SAMPLES);
	s = seen(IHO_MIGRATION_SETUP, 2001); /* never back */
	iho_tracker_see(t, &s);
	assert_int_equal(t->rows[0]->phase, IHO_MIGRATION_PRECOPY);
	s = seen(IHO_MIGRATION_COMPLETED, 2002);
	iho_tracker_see(t, &s);
	assert_int_equal(t->n_history, 1);
	assert_int_equal(t->totals[0].completed, 1);
	assert_int_equal(iho_tracker_view(t, &v), 0);
	j = iho_migration_view_to_json(v, IHO_MIGRATION_SAMPLES);
	assert_int_equal(iho_migration_view_from_json(j, &back), 0);
	assert_int_equal(back->rows[0].n_samples, v->rows[0].n_samples);
	assert_int_equal(back->rows[0].n.remaining_bytes, v->rows[0].n.remaining_bytes);
	assert_int_equal(back->rows[0].phases_seen, v->rows[0].phases_seen);
	iho_migration_view_free(back);
	json_object_set_new(json_array_get(json_object_get(j, "migrations"), 0), "phase",
			    json_string("nowhere"));
	assert_int_equal(iho_migration_view_from_json(j, &back), -EINVAL);
	assert_null(back);
	json_decref(j);
	iho_migration_view_free(v);
	iho_tracker_forget_old(t, 1000 + 2002 + IHO_MIGRATION_KEEP_S + 1);
	assert_int_equal(t->n_rows, 0);
	iho_tracker_clear(t);
	free(t);
}

/* What the forecasts of one recorded migration were, each made with the samples up to then. */
struct told {
	struct iho_migration m;
	struct iho_forecast f[IHO_MIGRATION_SAMPLES]; /* one for each sample */
};

static void tell(struct told *t, const char *name)
{
	char path[96];
	json_t *j;

	snprintf(path, sizeof(path), "tests/data/migrations/%s.json", name);
	j = json_load_file(path, 0, NULL);
	assert_int_equal(iho_migration_from_json(j, &t->m), 0);
	json_decref(j);
	for (size_t i = 0; i < t->m.n_samples; i++) {
		struct iho_migration_numbers n = t->m.n;
		struct iho_forecast *f = &t->f[i];

		n.remaining_bytes = t->m.samples[i].remaining_bytes;
		n.throttle_ratio = t->m.samples[i].throttle_ratio;
		iho_forecast(f, IHO_MIGRATION_PRECOPY, &n, t->m.samples, i + 1);
		t->m.samples[i].forecast_s = f->expected_s;
		if (f->expected_s < 0)
			continue;
		assert_true(f->low_s <= f->expected_s);
		assert_true(f->high_s < 0 || f->high_s >= f->expected_s);
	}
}

/*
 * Those that the forecast was made with. Bound: of the forecasts that were made after half and
 * three quarters of the time, none is off by more than a quarter of the whole.
 */
static void test_recorded(void **state)
{
	static const char *const names[] = { "auto-converge", "converging", "fast-guest" };
	static struct told t;
	int made = 0;

	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		double error[IHO_FORECAST_MARKS];

		tell(&t, names[k]);
		iho_forecast_errors(error, t.m.samples, t.m.n_samples, t.m.n.elapsed_s);
		print_message("# %s: %.2f %.2f %.2f\n", names[k], error[0], error[1], error[2]);
		for (int i = 1; i < IHO_FORECAST_MARKS; i++) {
			made += !isnan(error[i]);
			assert_true(isnan(error[i]) || fabs(error[i]) <= 0.25);
		}
		free(t.m.samples);
	}
	assert_true(made >= 2);
}

/*
 * Those that it has not been made with: they were recorded later, and changed nothing. Each
 * forecast counts. `worst` is the bound of the error, as a share of the whole time; the truth lay
 * between the forecast's own bounds `within` times at least.
 */
static void test_held_back(void **state)
{
	static const struct {
		const char *name;
		size_t made, within; /* at least */
		double worst;
	} cases[] = {
		{ "held-slow", 9, 2, 0.05 },
		{ "held-close", 18, 9, 0.1 },
		{ "held-auto-converge", 38, 20, 0.6 },
	};
	static struct told t;

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		double worst = 0, sum = 0, total;
		size_t made = 0, within = 0;

		tell(&t, cases[k].name);
		total = t.m.n.elapsed_s;
		for (size_t i = 0; i < t.m.n_samples; i++) {
			const struct iho_forecast *f = &t.f[i];
			double real = total - t.m.samples[i].elapsed_s, off;

			if (f->expected_s < 0)
				continue;
			off = fabs(f->expected_s - real) / total;
			made++;
			sum += off;
			worst = fmax(worst, off);
			within += f->low_s <= real && (f->high_s < 0 || f->high_s >= real);
		}
		print_message("# %s: %zu forecasts in %.1f s, mean error %.1f %%, worst %.1f %%; "
			      "%zu within their bounds\n",
			      cases[k].name, made, total, 100 * sum / made, 100 * worst, within);
		assert_true(made >= cases[k].made);
		assert_true(within >= cases[k].within);
		assert_true(worst <= cases[k].worst);
		free(t.m.samples);
	}
}

/* One that went on until it was aborted: it is told in time, and nothing else is said again. */
static void test_held_back_stuck(void **state)
{
	static struct told t;
	size_t i = 0, first;

	tell(&t, "held-stuck");
	while (i < t.m.n_samples && t.f[i].verdict != IHO_FORECAST_DIVERGES)
		i++;
	assert_true(i < t.m.n_samples);
	first = i;
	for (; i < t.m.n_samples; i++)
		assert_int_equal(t.f[i].verdict, IHO_FORECAST_DIVERGES);
	print_message("# held-stuck: told after %.1f s and %d passes, and for %.1f s on\n",
		      t.m.samples[first].elapsed_s, t.m.samples[first].iterations,
		      t.m.samples[i - 1].elapsed_s - t.m.samples[first].elapsed_s);
	assert_true(t.m.samples[first].iterations <= 12);
	free(t.m.samples);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qmp_active), cmocka_unit_test(test_qmp_hostile),
		cmocka_unit_test(test_qmp_endless), cmocka_unit_test(test_tracker),
		cmocka_unit_test(test_recorded), cmocka_unit_test(test_held_back),
		cmocka_unit_test(test_held_back_stuck),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
