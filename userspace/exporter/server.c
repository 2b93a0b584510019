// SPDX-License-Identifier: GPL-2.0-or-later
#include "server_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "error.h"
#include "page.h"
#include "user.h"

#define NSEC		1000000000ULL
#define IDLE_S		120 /* between two requests */
#define STOP_NS		(2 * NSEC) /* for answers that are under way at the end */
#define CONNECTION_POOL 16384
#define ACCEPT_MOST	64 /* at once, before those that were there are served */
#define SEND_BUFFER	131072 /* in the kernel; without this it may grow to megabytes */
#define SPARE_FDS	64

/* --------------------------------------------------------------------------------------- sites */

static int start_daemon(struct site *site, struct iho_error *err)
{
	const struct iho_server_options *o = site->server->options;
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, site->tls.cert },
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, site->tls.key },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, site->tls.priorities },
		{ site->tls.client_ca ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0,
		  site->tls.client_ca },
		{ MHD_OPTION_END, 0, NULL },
	};
	const union MHD_DaemonInfo *info;

	if (!site->config.tls)
		tls[0].option = MHD_OPTION_END;
	site->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
			(site->config.tls ? MHD_USE_TLS : 0),
		0, NULL, NULL, iho_answer, site, MHD_OPTION_CONNECTION_LIMIT,
		o->max_connections + ACCEPT_MOST, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_POOL, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_S,
		MHD_OPTION_NOTIFY_CONNECTION, iho_connection_notify, site,
		MHD_OPTION_NOTIFY_COMPLETED, iho_request_ends, site, MHD_OPTION_URI_LOG_CALLBACK,
		iho_request_line, site, MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	info = site->daemon ? MHD_get_daemon_info(site->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info)
		return iho_fail(err, -EIO, "cannot start the HTTP server");
	site->epoll = info->epoll_fd;
	return 0;
}

static void free_site(struct site *site)
{
	if (!site)
		return;
	if (site->daemon)
		MHD_stop_daemon(site->daemon);
	iho_webconfig_free(&site->config);
	iho_tls_free(&site->tls);
	free(site);
}

static int new_site(struct site **out, struct server *s, struct iho_error *err)
{
	const char *path = s->options->web_config;
	struct site *site = calloc(1, sizeof(*site));
	int r = 0;

	if (!site)
		return iho_fail(err, -ENOMEM, "out of memory");
	site->server = s;
	if (path)
		r = iho_webconfig_load(&site->config, path, err);
	if (!r && site->config.tls)
		r = iho_tls_load(&site->tls, &site->config, err);
	if (!r)
		r = start_daemon(site, err);
	if (r) {
		free_site(site);
		return r;
	}
	*out = site;
	return 0;
}

/* Cuts what a site still holds; a suspended connection must have been resumed before the end. */
static void cut_site(struct server *s, struct site *site, bool all)
{
	struct connection *next;

	for (struct connection *c = s->connections; c; c = next) {
		next = c->next;
		if (c->site == site && (all || c->phase != ANSWERING))
			iho_connection_cut(c);
	}
}

static void end_site(struct server *s, struct site *site)
{
	if (!site)
		return;
	cut_site(s, site, true);
	MHD_run(site->daemon);
	free_site(site);
}

/* The old configuration answers what was asked under it; if the new one is wrong, it stays. */
static void reload(struct server *s)
{
	struct iho_error err = {};
	struct site *site;

	if (!s->options->web_config)
		return;
	if (new_site(&site, s, &err)) {
		fprintf(stderr, "iho-exporter: %s; the configuration stays as it was\n", err.text);
		return;
	}
	end_site(s, s->old);
	s->old = s->site;
	s->site = site;
	iho_auth_users(s->auth, &site->config);
	cut_site(s, s->old, false);
	fprintf(stderr, "iho-exporter: read %s again\n", s->options->web_config);
}

/* ---------------------------------------------------------------------------------------- loop */

static void accept_one(struct server *s, int fd, const struct sockaddr_storage *from, socklen_t len)
{
	int size = SEND_BUFFER;
	struct connection *c;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (iho_connections(s) - s->n_cut >= s->options->max_connections &&
	    (c = iho_connection_victim(s)))
		iho_connection_evict(c);
	MHD_add_connection(s->site->daemon, fd, (const struct sockaddr *)from, len);
}

static void accept_some(struct server *s, int listener)
{
	struct sockaddr_storage from;
	socklen_t len;

	for (int i = 0; i < ACCEPT_MOST; i++) {
		int fd;

		/* those that were cut must go before the library takes more */
		if (iho_connections(s) >= s->options->max_connections + ACCEPT_MOST - 1)
			return;
		len = sizeof(from);
		fd = accept4(listener, (struct sockaddr *)&from, &len,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
				s->accept_ns = iho_now_ns() + IHO_TICK_NS;
			return;
		}
		accept_one(s, fd, &from, len);
	}
}

static void take_bodies(struct server *s)
{
	eventfd_t n;

	eventfd_read(s->bodies, &n);
	for (struct connection *c = s->connections; c; c = c->next)
		if (c->suspended && c->asked_ns)
			iho_connection_resume(c);
}

static void take_verdicts(struct server *s)
{
	enum iho_auth_verdict verdict;
	struct connection *c;
	eventfd_t n;
	void *who;

	eventfd_read(s->verdicts, &n);
	while (iho_auth_done(s->auth, &who, &verdict)) {
		for (c = s->connections; c && c->id != (uintptr_t)who; c = c->next)
			;
		if (!c || !c->suspended)
			continue;
		c->verdict = verdict;
		iho_connection_resume(c);
	}
}

static void take_signal(struct server *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP)
		reload(s);
	else if (!s->stop_ns)
		s->stop_ns = iho_now_ns() + STOP_NS;
}

static bool answers_pending(const struct server *s)
{
	for (const struct connection *c = s->connections; c; c = c->next)
		if (c->phase == ANSWERING && !c->cut)
			return true;
	return false;
}

/* Milliseconds until something is due, -1 for never. */
static int due(const struct server *s)
{
	const struct site *sites[] = { s->site, s->old };
	int ms = s->connections || s->old || s->accept_ns || s->stop_ns
			 ? (int)(IHO_TICK_NS / 1000000)
			 : -1;
	MHD_UNSIGNED_LONG_LONG t;

	for (int i = 0; i < 2; i++)
		if (sites[i] && MHD_get_timeout(sites[i]->daemon, &t) == MHD_YES &&
		    (ms < 0 || t < (unsigned int)ms))
			ms = t;
	return ms;
}

static int turn(struct server *s)
{
	struct pollfd p[IHO_LISTEN_MAX + 5];
	nfds_t n = 0, first;
	bool may_accept;

	if (s->accept_ns && s->accept_ns <= iho_now_ns())
		s->accept_ns = 0;
	may_accept = !s->accept_ns && !s->stop_ns;
	p[n++] = (struct pollfd){ .fd = s->signals, .events = POLLIN };
	p[n++] = (struct pollfd){ .fd = s->bodies, .events = POLLIN };
	p[n++] = (struct pollfd){ .fd = s->verdicts, .events = POLLIN };
	p[n++] = (struct pollfd){ .fd = s->site->epoll, .events = POLLIN };
	p[n++] = (struct pollfd){ .fd = s->old ? s->old->epoll : -1, .events = POLLIN };
	first = n;
	for (size_t i = 0; may_accept && i < s->n_listeners; i++)
		p[n++] = (struct pollfd){ .fd = s->listener[i], .events = POLLIN };
	if (poll(p, n, due(s)) < 0 && errno != EINTR)
		return -errno;
	for (nfds_t i = first; i < n; i++)
		if (p[i].revents)
			accept_some(s, p[i].fd);
	if (p[1].revents)
		take_bodies(s);
	if (p[2].revents)
		take_verdicts(s);
	iho_connections_tick(s);
	MHD_run(s->site->daemon);
	if (s->old) {
		MHD_run(s->old->daemon);
		if (!s->old->n_connections) {
			free_site(s->old);
			s->old = NULL;
		}
	}
	if (p[0].revents)
		take_signal(s);
	return 0;
}

static int loop(struct server *s, struct iho_error *err)
{
	int r = 0;

	while (!r && (!s->stop_ns || (answers_pending(s) && iho_now_ns() < s->stop_ns)))
		r = turn(s);
	return r ? iho_fail(err, r, "cannot wait for clients: %s", strerror(-r)) : 0;
}

/* --------------------------------------------------------------------------------------- start */

static int listen_all(struct server *s, struct iho_error *err)
{
	for (size_t i = 0; i < s->options->n_listen; i++) {
		int fd = iho_address_listen(&s->options->listen[i], err);

		if (fd < 0)
			return fd;
		s->listener[s->n_listeners++] = fd;
	}
	return 0;
}

static void tell_listening(const struct server *s)
{
	char text[IHO_ADDRESS_TEXT];
	struct iho_address a;

	for (size_t i = 0; i < s->n_listeners; i++) {
		memset(&a, 0, sizeof(a));
		a.len = sizeof(a.ss);
		getsockname(s->listener[i], (struct sockaddr *)&a.ss, &a.len);
		iho_address_format(&a, text);
		fprintf(stderr, "iho-exporter: listening on http%s://%s/\n",
			s->site->config.tls ? "s" : "", text);
	}
}

/* One file for each connection and some for ourselves; else the first flood would stop us. */
static int raise_file_limit(unsigned int connections, struct iho_error *err)
{
	rlim_t want = connections + ACCEPT_MOST + SPARE_FDS;
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= want)
		return 0;
	if (l.rlim_max < want)
		return iho_fail(err, -EMFILE,
				"%u connections need a limit of %lu open files, and it is %lu",
				connections, (unsigned long)want, (unsigned long)l.rlim_max);
	l.rlim_cur = want;
	setrlimit(RLIMIT_NOFILE, &l);
	return 0;
}

static int open_signals(struct server *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	s->bodies = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->verdicts = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s->signals < 0 || s->bodies < 0 || s->verdicts < 0 ? -errno : 0;
}

static int prepare(struct server *s, struct iho_error *err)
{
	const struct iho_server_options *o = s->options;
	struct iho_collect *collect;
	int r = open_signals(s);

	if (r)
		return iho_fail(err, r, "no file descriptors: %s", strerror(-r));
	if (iho_gzip(iho_page, iho_page_bytes, &s->page_gzip, &s->page_gzip_len))
		return iho_fail(err, -ENOMEM, "out of memory");
	r = raise_file_limit(o->max_connections, err);
	if (!r)
		r = listen_all(s, err);
	if (!r)
		r = new_site(&s->site, s, err);
	if (!r && o->user)
		r = iho_become(o->user, err);
	if (!r)
		r = iho_auth_new(&s->auth, s->verdicts, err);
	if (!r)
		iho_auth_users(s->auth, &s->site->config);
	if (!r)
		r = iho_collect_new(&collect, &o->collector, &o->metrics, &s->counts, err);
	if (!r)
		r = iho_scraper_start(&s->scraper, collect, o->min_interval_s, s->bodies, err);
	return r;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

int iho_server_run(const struct iho_server_options *o, struct iho_error *err)
{
	struct server s = { .options = o, .signals = -1, .bodies = -1, .verdicts = -1 };
	int r = prepare(&s, err);

	if (!r) {
		tell_listening(&s);
		r = loop(&s, err);
	}
	for (size_t i = 0; i < s.n_listeners; i++)
		close(s.listener[i]);
	end_site(&s, s.old);
	s.old = NULL;
	end_site(&s, s.site);
	if (s.scraper)
		iho_scraper_stop(s.scraper);
	iho_auth_free(s.auth);
	free(s.page_gzip);
	close_fd(s.signals);
	close_fd(s.bodies);
	close_fd(s.verdicts);
	return r;
}
