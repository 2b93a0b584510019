// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A reader and an ihod that is not as it should be: each time an error of its kind, in time, and no
 * descriptor left behind.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper.h"
#include "protocol.h"
#include "remote.h"
#include "wire.h"

#define SLOTS	 8
#define CPUS	 2
#define MOST_FDS 20
#define MOST_S	 8 /* a reader gives up after 5 s */

/* The requests of iho_remote_open(), in this order. */
enum { HELLO, NAMES, MAPS, DIRECTORY, STEPS };

enum how {
	SAY, /* `text`, with its descriptors */
	SILENCE,
	TRICKLE, /* a byte now and then, for ever */
	FLOOD, /* more than an answer may have, and no end of line */
	LEAVE,
};

struct step {
	enum how how;
	char *text; /* without the end of the line */
	int fds[MOST_FDS];
	unsigned int n_fds;
};

static char dir[] = "/tmp/iho-remote.XXXXXX";

struct server {
	char path[64];
	int fd;
	struct step step[STEPS];
	bool stays; /* after its last answer, until the reader leaves */
	pthread_t thread;
};

/* ---- the right answers ---- */

static char *answer(int id, const char *key, json_t *value)
{
	json_t *j = json_pack("{s:i, s:o}", "id", id, key, value);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	assert_non_null(text);
	json_decref(j);
	return text;
}

static json_t *right_hello(void)
{
	const struct iho_directory d = { .vendor_module = "kvm_amd", .hw = true, .apicv_param = 1 };

	return json_pack("{s:i, s:o}", "protocol", IHO_PROTOCOL_VERSION, "host", iho_wire_host(&d));
}

static json_t *right_names(void)
{
	struct iho_names *n;
	json_t *j;

	assert_int_equal(iho_names_open(&n, NULL), 0);
	j = iho_names_wire(n);
	iho_names_close(n);
	return j;
}

static json_t *right_maps(void)
{
	const struct iho_maps m = {
		.n_slots = SLOTS,
		.slot_stride = iho_map_stride(sizeof(struct iho_slot)),
		.n_cpus = CPUS,
		.cpu_stride = iho_map_stride(sizeof(struct iho_cpu)),
	};

	return iho_wire_maps(&m);
}

static json_t *right_directory(void)
{
	json_t *j = json_loads(
		"{\"vms\":[{\"pid\":7,\"start_ns\":1,\"key\":\"0x2\",\"nth\":0,\"namesake\":false,"
		"\"name\":\"web\",\"vmm\":\"qemu\"}],\"vcpus\":[],\"collector\":{\"cpu_ns\":5,"
		"\"rss_bytes\":6,\"bpf_ns_per_event\":-1,\"bpf_share\":-1}}",
		0, NULL);

	assert_non_null(j);
	return j;
}

static int memory(size_t bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	return fd;
}

static void right_fds(struct step *s)
{
	static const size_t bytes[] = {
		[IHO_FD_SLOTS] = SLOTS * sizeof(struct iho_slot) + 65536,
		[IHO_FD_CPUS] = CPUS * sizeof(struct iho_cpu) + 65536,
		[IHO_FD_SHARED] = IHO_SHARED * sizeof(struct iho_drill) + 65536,
		[IHO_FD_VMS] = IHO_VMS * sizeof(struct iho_vm) + 65536,
		[IHO_FD_LEDGER] = 0,
	};

	for (int i = 0; i < IHO_FD_MAX; i++)
		s->fds[i] = memory(i == IHO_FD_LEDGER ? iho_ledger_bytes(SLOTS) : bytes[i]);
	s->n_fds = IHO_FD_MAX;
}

/* ---- the server ---- */

static int send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		text += n;
		len -= n;
	}
	return 0;
}

static void say(int fd, const struct step *s)
{
	char control[CMSG_SPACE(MOST_FDS * sizeof(int))] = {};
	struct iovec iov = { .iov_base = s->text, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (s->n_fds) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(s->n_fds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(s->n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), s->fds, s->n_fds * sizeof(int));
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) == 1 && !send_all(fd, s->text + 1, strlen(s->text) - 1))
		send_all(fd, "\n", 1);
}

/* Until the reader has left; what it says does not matter any more. */
static void wait_for_end(int fd)
{
	char c[100];

	while (recv(fd, c, sizeof(c), 0) > 0)
		;
}

static void trickle(int fd)
{
	const struct timespec t = { .tv_nsec = 200000000 };

	while (!send_all(fd, " ", 1))
		nanosleep(&t, NULL);
}

static void flood(int fd)
{
	char spaces[4096];

	memset(spaces, ' ', sizeof(spaces));
	while (!send_all(fd, spaces, sizeof(spaces)))
		;
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->fd, NULL, NULL);

	for (int i = 0; fd >= 0 && i < STEPS; i++) {
		char c = 0;

		while (c != '\n' && recv(fd, &c, 1, 0) == 1)
			;
		if (c != '\n' || s->step[i].how == LEAVE)
			break;
		if (s->step[i].how == SAY)
			say(fd, &s->step[i]);
		else if (s->step[i].how == TRICKLE)
			trickle(fd);
		else if (s->step[i].how == FLOOD)
			flood(fd);
		else
			wait_for_end(fd);
	}
	if (fd >= 0 && s->stays)
		wait_for_end(fd);
	if (fd >= 0)
		close(fd);
	return NULL;
}

static void listen_at(struct server *s, const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(s->path, sizeof(s->path), "%s/%s", dir, name);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->fd >= 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(s->fd, 0), 0);
}

/* As it should be, until the test changes a step. */
static void prepare(struct server *s, const char *name)
{
	memset(s, 0, sizeof(*s));
	s->stays = true;
	listen_at(s, name);
	s->step[HELLO].text = answer(1, "result", right_hello());
	s->step[NAMES].text = answer(2, "result", right_names());
	s->step[MAPS].text = answer(3, "result", right_maps());
	right_fds(&s->step[MAPS]);
	s->step[DIRECTORY].text = answer(4, "result", right_directory());
}

static void set_text(struct step *s, char *text)
{
	free(s->text);
	s->text = text;
}

static void start(struct server *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void clean(struct server *s)
{
	close(s->fd);
	unlink(s->path);
	for (int i = 0; i < STEPS; i++) {
		free(s->step[i].text);
		while (s->step[i].n_fds)
			close(s->step[i].fds[--s->step[i].n_fds]);
	}
}

static void stop(struct server *s)
{
	pthread_join(s->thread, NULL);
	clean(s);
}

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Asks the server, which then ends; what is left is what was before. */
static void expect(struct server *s, int want, const char *text)
{
	struct iho_error err = {};
	struct iho_remote *r;
	int before = count_fds(), got;

	start(s);
	got = iho_remote_open(&r, s->path, &err);
	if (got != want)
		fail_msg("%d instead of %d: %s", got, want, err.text);
	assert_null(r);
	if (!strstr(err.text, text))
		fail_msg("\"%s\" does not say \"%s\"", err.text, text);
	assert_null(strchr(err.text, '\n'));
	pthread_join(s->thread, NULL);
	assert_int_equal(count_fds(), before);
	clean(s);
}

/* ---- tests ---- */

static void test_right(void **state)
{
	int before = count_fds();
	struct iho_error err = {};
	struct iho_remote *r;
	struct server s;

	prepare(&s, "right");
	start(&s);
	assert_int_equal(iho_remote_open(&r, s.path, &err), 0);
	assert_int_equal(iho_remote_maps(r)->n_slots, SLOTS);
	assert_int_equal(iho_remote_maps(r)->ledger->generation, 0);
	assert_int_equal(iho_remote_directory(r)->n_vms, 1);
	assert_string_equal(iho_remote_directory(r)->vm[0].id.name, "web");
	assert_string_equal(iho_remote_directory(r)->vendor_module, "kvm_amd");
	iho_remote_close(r);
	stop(&s);
	assert_int_equal(count_fds(), before);
}

/* It goes away between two reports: its script, and so its patience, is over. */
static void test_leaves_later(void **state)
{
	struct iho_error err = {};
	struct iho_remote *r;
	struct server s;

	prepare(&s, "later");
	s.stays = false;
	start(&s);
	assert_int_equal(iho_remote_open(&r, s.path, &err), 0);
	assert_int_equal(iho_remote_refresh(r, &err), -ENOTCONN);
	/* what it said before is still there */
	assert_int_equal(iho_remote_directory(r)->n_vms, 1);
	assert_int_equal(iho_remote_refresh(r, &err), -ENOTCONN);
	iho_remote_close(r);
	stop(&s);
}

static void test_nobody(void **state)
{
	char path[64], line[200];
	struct iho_error err = {};
	struct iho_remote *r;
	struct server s = {};

	snprintf(path, sizeof(path), "%s/nobody", dir);
	assert_int_equal(iho_remote_open(&r, path, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no ihod runs here"));
	/* a socket that is left over */
	listen_at(&s, "stale");
	close(s.fd);
	assert_int_equal(iho_remote_open(&r, s.path, &err), -ENOENT);
	strcat(s.path, "/x");
	assert_int_equal(iho_remote_open(&r, s.path, &err), -ENOENT);
	memset(line, 'x', sizeof(line));
	line[108] = '\0';
	assert_int_equal(iho_remote_open(&r, line, &err), -ENAMETOOLONG);
	assert_null(r);
}

struct reader {
	char path[64];
	struct iho_error err;
	int ret;
	pthread_t thread;
};

static void *read_one(void *arg)
{
	struct reader *r = arg;
	struct iho_remote *out;

	r->ret = iho_remote_open(&out, r->path, &r->err);
	return NULL;
}

/* None of them lets a reader wait for ever; all at once, so that the test waits only once. */
static void test_no_answer(void **state)
{
	enum { SILENT, SLOW, HALF, FULL, CASES };
	int before = count_fds(), filler[8], n_filler = 0;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct reader reader[CASES] = {};
	struct server s[CASES];
	time_t begin = time(NULL);

	prepare(&s[SILENT], "silent");
	s[SILENT].step[HELLO].how = SILENCE;
	prepare(&s[SLOW], "slow");
	s[SLOW].step[NAMES].how = TRICKLE;
	prepare(&s[HALF], "half");
	s[HALF].step[DIRECTORY].how = SILENCE;
	prepare(&s[FULL], "full"); /* so busy that it does not even accept */
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", s[FULL].path);
	while (n_filler < 8) {
		filler[n_filler] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(filler[n_filler++], (struct sockaddr *)&addr, sizeof(addr)))
			break;
	}
	assert_int_equal(errno, EAGAIN);
	for (int i = 0; i < CASES; i++) {
		strcpy(reader[i].path, s[i].path);
		if (i != FULL)
			start(&s[i]);
		assert_int_equal(pthread_create(&reader[i].thread, NULL, read_one, &reader[i]), 0);
	}
	for (int i = 0; i < CASES; i++)
		pthread_join(reader[i].thread, NULL);
	assert_true(time(NULL) - begin <= MOST_S);
	for (int i = 0; i < CASES; i++) {
		assert_int_equal(reader[i].ret, -ENOTCONN);
		assert_non_null(strstr(reader[i].err.text, "no answer in time"));
	}
	while (n_filler)
		close(filler[--n_filler]);
	start(&s[FULL]);
	shutdown(s[FULL].fd, SHUT_RDWR);
	for (int i = 0; i < CASES; i++)
		stop(&s[i]);
	assert_int_equal(count_fds(), before);
}

static void test_early_end(void **state)
{
	for (int i = 0; i < STEPS; i++) {
		struct server s;

		prepare(&s, "end");
		s.step[i].how = LEAVE;
		s.stays = false;
		expect(&s, -ENOTCONN, "it has closed the connection");
	}
}

static void test_garbage(void **state)
{
	static const char *const garbage[] = {
		"HTTP/1.1 400 Bad Request",
		"{",
		"[]",
		"null",
		"{}",
		"\x01\xff",
		"{\"id\":1}",
		"{\"id\":99,\"result\":{}}",
		"{\"id\":\"1\",\"result\":{}}",
		"{\"result\":{}}",
		"{\"id\":1,\"id\":1,\"result\":{}}",
	};

	for (int i = 0; i < STEPS; i++) {
		for (size_t k = 0; k < sizeof(garbage) / sizeof(garbage[0]); k++) {
			struct server s;

			prepare(&s, "garbage");
			set_text(&s.step[i], strdup(garbage[k]));
			expect(&s, -EPROTO, "speaks another version");
		}
	}
}

/* The right envelope, and something else in it. */
static void test_wrong_results(void **state)
{
	static const char *const results[] = { "null", "[]", "{}", "5", "\"x\"" };

	for (int i = 0; i < STEPS; i++) {
		for (size_t k = 0; k < sizeof(results) / sizeof(results[0]); k++) {
			struct server s;

			prepare(&s, "wrong");
			set_text(&s.step[i], answer(i + 1, "result",
						    json_loads(results[k], JSON_DECODE_ANY, NULL)));
			expect(&s, -EPROTO, "speaks another version");
		}
	}
}

static void test_other_version(void **state)
{
	struct server s;
	json_t *j = right_hello();

	json_object_set_new(j, "protocol", json_integer(IHO_PROTOCOL_VERSION + 1));
	prepare(&s, "version");
	set_text(&s.step[HELLO], answer(1, "result", j));
	expect(&s, -EPROTO, "greeting");

	j = right_maps();
	json_object_set_new(j, "layout", json_string("0123456789abcdef"));
	prepare(&s, "layout");
	set_text(&s.step[MAPS], answer(3, "result", j));
	expect(&s, -EPROTO, "layout of slots");

	j = right_maps();
	json_object_del(j, "layout");
	prepare(&s, "layout");
	set_text(&s.step[MAPS], answer(3, "result", j));
	expect(&s, -EPROTO, "layout of slots");
}

static void test_descriptors(void **state)
{
	static const unsigned int counts[] = { 0, 1, IHO_FD_MAX - 1 };
	struct server s;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct step *m = &s.step[MAPS];

		prepare(&s, "fds");
		while (m->n_fds > counts[i])
			close(m->fds[--m->n_fds]);
		expect(&s, -EPROTO, "speaks another version");
	}
	/* where none belong they are closed, too */
	prepare(&s, "fds");
	right_fds(&s.step[NAMES]);
	set_text(&s.step[MAPS], answer(3, "result", json_object()));
	expect(&s, -EPROTO, "speaks another version");
}

/* More descriptors than were asked for: the first are used, none is kept. */
static void test_too_many_descriptors(void **state)
{
	static const unsigned int counts[] = { IHO_FD_MAX + 1, 16, MOST_FDS };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct iho_error err = {};
		struct iho_remote *r;
		struct server s;
		struct step *m;
		int before;

		prepare(&s, "more");
		m = &s.step[MAPS];
		while (m->n_fds < counts[i])
			m->fds[m->n_fds++] = memory(1);
		before = count_fds();
		start(&s);
		assert_int_equal(iho_remote_open(&r, s.path, &err), 0);
		iho_remote_close(r);
		pthread_join(s.thread, NULL);
		assert_int_equal(count_fds(), before);
		clean(&s);
	}
}

/* A mapping that ends before its records would be a SIGBUS later. */
static void test_short_files(void **state)
{
	for (int i = 0; i < IHO_FD_MAX; i++) {
		struct server s;

		prepare(&s, "short");
		assert_int_equal(ftruncate(s.step[MAPS].fds[i], 100), 0);
		expect(&s, -EPROTO, "file of slots");
	}
}

/* What cannot be mapped at all. */
static void test_no_files(void **state)
{
	for (int i = 0; i < IHO_FD_LEDGER; i++) {
		struct server s;
		int pair[2];

		prepare(&s, "pipe");
		assert_int_equal(pipe(pair), 0);
		close(pair[1]);
		close(s.step[MAPS].fds[i]);
		s.step[MAPS].fds[i] = pair[0];
		expect(&s, -ENODEV, "cannot map the slots");
	}
}

static void test_errors(void **state)
{
	static const struct {
		const char *code, *message;
		int want;
	} errors[] = {
		{ IHO_ERR_FORBIDDEN, "only root", -EACCES },
		{ IHO_ERR_CLIENTS, "too many clients", -ENOTCONN },
		{ IHO_ERR_RATE, "too many requests", -ENOTCONN },
		{ IHO_ERR_INTERNAL, "see its log", -ENOTCONN },
		{ "something new", "whatever it is", -ENOTCONN },
	};
	struct server s;

	for (int i = 0; i < STEPS; i++) {
		for (size_t k = 0; k < sizeof(errors) / sizeof(errors[0]); k++) {
			prepare(&s, "error");
			set_text(&s.step[i], answer(i + 1, "error",
						    json_pack("{s:s, s:s}", "code", errors[k].code,
							      "message", errors[k].message)));
			expect(&s, errors[k].want, errors[k].message);
		}
	}
	prepare(&s, "error");
	set_text(&s.step[HELLO], strdup("{\"id\":null,\"error\":5}"));
	expect(&s, -ENOTCONN, "no reason given");
}

static void test_too_long(void **state)
{
	struct server s;

	prepare(&s, "flood");
	s.step[DIRECTORY].how = FLOOD;
	expect(&s, -EPROTO, "too long");
}

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/stale", dir);
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right),	      cmocka_unit_test(test_leaves_later),
		cmocka_unit_test(test_nobody),	      cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_early_end),     cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_wrong_results), cmocka_unit_test(test_other_version),
		cmocka_unit_test(test_descriptors),   cmocka_unit_test(test_too_many_descriptors),
		cmocka_unit_test(test_short_files),   cmocka_unit_test(test_no_files),
		cmocka_unit_test(test_errors),	      cmocka_unit_test(test_too_long),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
