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

/*
 * Each recorded migration is told anew, sample by sample. Bound: of the forecasts that were made
 * after half and three quarters of the time, none is off by more than a quarter of the whole.
 */
static void test_recorded(void **state)
{
	static const char *const names[] = { "auto-converge", "converging", "fast-guest" };
	struct iho_forecast f;
	int made = 0;

	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		struct iho_migration m;
		double error[IHO_FORECAST_MARKS];
		char path[96];
		json_t *j;

		snprintf(path, sizeof(path), "tests/data/migrations/%s.json", names[k]);
		j = json_load_file(path, 0, NULL);
		assert_int_equal(iho_migration_from_json(j, &m), 0);
		for (size_t i = 0; i < m.n_samples; i++) {
			struct iho_migration_numbers n = m.n;

			n.remaining_bytes = m.samples[i].remaining_bytes;
			n.throttle_ratio = m.samples[i].throttle_ratio;
			iho_forecast(&f, IHO_MIGRATION_PRECOPY, &n, m.samples, i + 1);
			m.samples[i].forecast_s = f.expected_s;
			if (f.low_s >= 0 && f.expected_s >= 0)
				assert_true(f.low_s <= f.expected_s);
		}
		iho_forecast_errors(error, m.samples, m.n_samples, m.n.elapsed_s);
		print_message("# %s: %.2f %.2f %.2f\n", names[k], error[0], error[1], error[2]);
		for (int i = 1; i < IHO_FORECAST_MARKS; i++) {
			made += !isnan(error[i]);
			assert_true(isnan(error[i]) || fabs(error[i]) <= 0.25);
		}
		free(m.samples);
		json_decref(j);
	}
	assert_true(made >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qmp_active), cmocka_unit_test(test_qmp_hostile),
		cmocka_unit_test(test_qmp_endless), cmocka_unit_test(test_tracker),
		cmocka_unit_test(test_recorded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
