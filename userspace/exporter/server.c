// SPDX-License-Identifier: GPL-2.0-or-later
#include "server.h"

#include <errno.h>
#include <malloc.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "auth.h"
#include "error.h"
#include "negotiate.h"
#include "page.h"
#include "scraper.h"
#include "tls.h"
#include "user.h"

#define NSEC		1000000000ULL
#define HEADER_NS	(10 * NSEC) /* from the first byte of a request to the end of its header */
#define REQUEST_NS	(30 * NSEC) /* from there to the last byte of the answer */
#define IDLE_S		120 /* between two requests */
#define SCRAPE_NS	(5 * NSEC) /* then the collector counts as one that does not answer */
#define SLOW_NS		(5 * NSEC) /* so long may an old body be sent that is in the way */
#define STOP_NS		(2 * NSEC) /* for answers that are under way at the end */
#define TICK_MS		250
#define LINE_MAX_BYTES	8192
#define CONNECTION_POOL 16384
#define ACCEPT_MOST	64 /* at once, before those that were there are served */
#define SEND_BUFFER	131072 /* in the kernel; without this it may grow to megabytes */
#define SPARE_FDS	64

#define TYPE_TEXT     "text/plain; charset=utf-8"
#define CLOSED_POLICY "default-src 'none'; frame-ancestors 'none'"

enum phase {
	READING, /* a request, or nothing yet on a new connection */
	IDLE, /* between two requests */
	ANSWERING,
};

/* Everything that a new web configuration replaces. */
struct site {
	struct MHD_Daemon *daemon;
	int epoll;
	struct iho_webconfig config;
	struct iho_tls tls;
	struct server *server;
	unsigned int n_connections;
};

struct connection {
	struct connection *next, **link;
	struct site *site;
	struct MHD_Connection *mhd;
	uint64_t id;
	int fd;
	enum phase phase;
	uint64_t since_ns; /* the request's first byte; of a new connection, its beginning */
	uint64_t asked_ns; /* when its body was first asked for; 0: it was not */
	uint64_t sent_ns; /* when its body was there; 0: not yet */
	unsigned int kind; /* of the body */
	uint64_t bytes; /* received when it became idle */
	bool suspended, cut, long_line;
	bool judged; /* `verdict` is there */
	enum iho_auth_verdict verdict;
};

struct server {
	const struct iho_server_options *options;
	int listener[IHO_LISTEN_MAX];
	size_t n_listeners;
	int signals, bodies, verdicts; /* file descriptors */
	struct iho_collect_counts counts;
	struct iho_scraper *scraper;
	struct iho_auth *auth;
	struct site *site, *old; /* `old`: until its last request is answered */
	struct connection *connections;
	unsigned int n_cut;
	uint64_t next_id;
	uint64_t tick_ns, accept_ns, stop_ns; /* accept_ns: not before; stop_ns: 0 or the end */
	char *page_policy, *page_gzip;
	size_t page_gzip_len;
};

/* What is read from a request's header fields, in one walk. */
struct fields {
	char accept[2048], encoding[512];
	const char *authorization;
	bool long_line, body, nameless;
};

/* -------------------------------------------------------------------------------- connections */

static struct connection *connection_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static unsigned int n_connections(const struct server *s)
{
	return s->site->n_connections + (s->old ? s->old->n_connections : 0);
}

static void count_connections(struct server *s)
{
	__atomic_store_n(&s->counts.connections, n_connections(s), __ATOMIC_RELAXED);
}

static void suspend(struct connection *c)
{
	c->suspended = true;
	MHD_suspend_connection(c->mhd);
}

static void resume(struct connection *c)
{
	c->suspended = false;
	MHD_resume_connection(c->mhd);
}

/* Ends a connection from outside: the library sees it break, and the kernel keeps nothing of it. */
static void cut(struct connection *c)
{
	struct linger at_once = { .l_onoff = 1 };

	if (c->cut)
		return;
	c->cut = true;
	c->site->server->n_cut++;
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	shutdown(c->fd, SHUT_RDWR);
	if (c->suspended)
		resume(c);
}

static void evict(struct connection *c)
{
	__atomic_add_fetch(&c->site->server->counts.evicted, 1, __ATOMIC_RELAXED);
	cut(c);
}

static void connection_begins(struct site *site, struct MHD_Connection *mhd, void **context)
{
	const union MHD_ConnectionInfo *info;
	struct connection *c = calloc(1, sizeof(*c));
	struct server *s = site->server;

	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!c) { /* without a context its requests are refused */
		shutdown(info->connect_fd, SHUT_RDWR);
		return;
	}
	c->site = site;
	c->mhd = mhd;
	c->fd = info->connect_fd;
	c->id = ++s->next_id;
	c->since_ns = iho_now_ns();
	c->next = s->connections;
	c->link = &s->connections;
	if (c->next)
		c->next->link = &c->next;
	s->connections = c;
	site->n_connections++;
	if (site->config.tls) {
		info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
		if (info && info->tls_session)
			iho_tls_begin(&site->tls, info->tls_session);
		else
			cut(c);
	}
	*context = c;
}

static void connection_ends(struct connection *c)
{
	if (!c)
		return;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->site->n_connections--;
	c->site->server->n_cut -= c->cut;
	free(c);
}

static void notify_connection(void *cls, struct MHD_Connection *mhd, void **context,
			      enum MHD_ConnectionNotificationCode code)
{
	struct site *site = cls;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		connection_begins(site, mhd, context);
	else
		connection_ends(*context);
	if (site->server->site)
		count_connections(site->server);
}

static uint64_t bytes_received(int fd)
{
	struct tcp_info t = {};
	socklen_t len = sizeof(t);

	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &len);
	return t.tcpi_bytes_received;
}

static void request_ends(void *cls, struct MHD_Connection *mhd, void **request,
			 enum MHD_RequestTerminationCode code)
{
	struct connection *c = connection_of(mhd);

	if (!c)
		return;
	c->phase = IDLE;
	c->since_ns = iho_now_ns();
	c->bytes = bytes_received(c->fd);
	c->asked_ns = c->sent_ns = 0;
	c->judged = c->long_line = false;
	if (c->site == c->site->server->old || c->site->server->stop_ns)
		cut(c);
}

/* The request line is there. */
static void *request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	struct connection *c = connection_of(mhd);

	if (!c)
		return NULL;
	if (c->phase == IDLE)
		c->since_ns = iho_now_ns();
	c->phase = READING;
	c->long_line = strlen(uri) > LINE_MAX_BYTES;
	return NULL;
}

/* Whose end harms least: who asks for nothing yet, then who reads slowest; of these, the oldest. */
static struct connection *victim(const struct server *s)
{
	struct connection *best = NULL;

	for (struct connection *c = s->connections; c; c = c->next) {
		bool asks = c->phase == ANSWERING;

		if (c->cut)
			continue;
		if (!best || (best->phase == ANSWERING) > asks ||
		    ((best->phase == ANSWERING) == asks && c->since_ns < best->since_ns))
			best = c;
	}
	return best;
}

static void check_deadline(struct connection *c, uint64_t now)
{
	if (c->phase == IDLE && bytes_received(c->fd) != c->bytes) {
		c->phase = READING;
		c->since_ns = now;
	}
	if ((c->phase == READING && now - c->since_ns > HEADER_NS) ||
	    (c->phase == ANSWERING && now - c->since_ns > REQUEST_NS))
		evict(c);
	else if (c->phase == ANSWERING && c->suspended && c->asked_ns &&
		 now - c->asked_ns > SCRAPE_NS)
		resume(c); /* it is told that the collector does not answer */
	else if (c->phase == ANSWERING && c->sent_ns && now - c->sent_ns > SLOW_NS &&
		 iho_scraper_full(c->site->server->scraper, c->kind))
		evict(c); /* else nobody would get a newer one */
}

static void tick(struct server *s)
{
	uint64_t now = iho_now_ns();
	struct connection *next;

	if (now - s->tick_ns < TICK_MS * 1000000ULL)
		return;
	s->tick_ns = now;
	for (struct connection *c = s->connections; c; c = next) {
		next = c->next;
		if (!c->cut)
			check_deadline(c, now);
	}
	if (!s->connections)
		malloc_trim(0); /* what a flood needed goes back */
}

/* ------------------------------------------------------------------------------------ answers */

static const char *policy(const struct server *s, const char *path)
{
	return strcmp(path, "/") ? CLOSED_POLICY : s->page_policy;
}

/* What every answer carries; the web configuration's word counts more than ours. */
static bool add_headers(struct MHD_Response *r, const struct site *site, const char *type,
			const char *csp)
{
	struct {
		const char *name, *value;
	} ours[] = {
		{ "Content-Security-Policy", csp },
		{ "X-Content-Type-Options", "nosniff" },
		{ "Cache-Control", "no-store" },
		{ "Content-Type", type },
	};
	bool ok = true;

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		bool theirs = false;

		for (size_t k = 0; k < IHO_WEB_HEADERS; k++)
			theirs |= site->config.header[k].name &&
				  !strcmp(site->config.header[k].name, ours[i].name);
		if (!theirs)
			ok &= MHD_add_response_header(r, ours[i].name, ours[i].value) == MHD_YES;
	}
	for (size_t k = 0; k < IHO_WEB_HEADERS; k++)
		if (site->config.header[k].name && *site->config.header[k].value)
			ok &= MHD_add_response_header(r, site->config.header[k].name,
						      site->config.header[k].value) == MHD_YES;
	return ok;
}

/* Hands the answer over, with one more header if there is a name. Takes `r`, which may be NULL. */
static enum MHD_Result send_answer(struct connection *c, unsigned int code, struct MHD_Response *r,
				   const char *name, const char *value)
{
	enum MHD_Result ok = MHD_NO;

	if (!r)
		return MHD_NO;
	if (!name || MHD_add_response_header(r, name, value) == MHD_YES)
		ok = MHD_queue_response(c->mhd, code, r);
	MHD_destroy_response(r);
	if (ok == MHD_YES)
		iho_count_request(&c->site->server->counts, code);
	return ok;
}

static enum MHD_Result say(struct connection *c, unsigned int code, const char *text,
			   const char *name, const char *value)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY);

	if (r && !add_headers(r, c->site, TYPE_TEXT, CLOSED_POLICY)) {
		MHD_destroy_response(r);
		r = NULL;
	}
	return send_answer(c, code, r, name, value);
}

static enum MHD_Result send_page(struct connection *c, const struct fields *f)
{
	struct server *s = c->site->server;
	bool gzip = iho_accept_gzip(f->encoding);
	struct MHD_Response *r;

	r = gzip ? MHD_create_response_from_buffer(s->page_gzip_len, s->page_gzip,
						   MHD_RESPMEM_PERSISTENT)
		 : MHD_create_response_from_buffer(iho_page_bytes, (void *)iho_page,
						   MHD_RESPMEM_PERSISTENT);
	if (r && (!add_headers(r, c->site, "text/html; charset=utf-8", policy(s, "/")) ||
		  MHD_add_response_header(r, "Vary", "Accept-Encoding") != MHD_YES)) {
		MHD_destroy_response(r);
		r = NULL;
	}
	return send_answer(c, MHD_HTTP_OK, r, gzip ? "Content-Encoding" : NULL, "gzip");
}

static struct MHD_Response *body_response(struct iho_body *b)
{
	struct MHD_Response *r = MHD_create_response_from_buffer_with_free_callback_cls(
		b->len, b->data, iho_body_put, b);

	if (!r)
		iho_body_put(b);
	return r;
}

/* The collector's thread is stuck: say that it does not answer, in the format that was asked for. */
static struct MHD_Response *down_response(const struct server *s, enum iho_metrics_format format)
{
	struct iho_metrics_text text;
	struct MHD_Response *r;

	if (iho_collect_render_down(&s->options->metrics, &s->counts, format, &text))
		return NULL;
	r = MHD_create_response_from_buffer(text.len, text.data, MHD_RESPMEM_MUST_COPY);
	iho_metrics_text_free(&text);
	return r;
}

static enum MHD_Result send_metrics(struct connection *c, const struct fields *f,
				    enum iho_metrics_format format)
{
	static const char *const types[] = {
		[IHO_METRICS_PROMETHEUS] = "text/plain; version=0.0.4; charset=utf-8",
		[IHO_METRICS_OPENMETRICS] =
			"application/openmetrics-text; version=1.0.0; charset=utf-8",
		[IHO_METRICS_JSON] = "application/json; charset=utf-8",
	};
	struct server *s = c->site->server;
	bool gzip = iho_accept_gzip(f->encoding);
	struct MHD_Response *r;
	struct iho_body *b;

	c->kind = iho_body_kind(format, gzip);
	if (!c->asked_ns)
		c->asked_ns = iho_now_ns();
	b = iho_scraper_get(s->scraper, c->kind, c->asked_ns);
	if (!b && iho_now_ns() - c->asked_ns <= SCRAPE_NS) {
		suspend(c);
		return MHD_YES;
	}
	c->sent_ns = iho_now_ns();
	gzip &= !!b;
	r = b ? body_response(b) : down_response(s, format);
	if (r && (!add_headers(r, c->site, types[format], CLOSED_POLICY) ||
		  MHD_add_response_header(r, "Vary", "Accept, Accept-Encoding") != MHD_YES)) {
		MHD_destroy_response(r);
		r = NULL;
	}
	return send_answer(c, MHD_HTTP_OK, r, gzip ? "Content-Encoding" : NULL, "gzip");
}

static enum MHD_Result send_ready(struct connection *c)
{
	char why[520];

	if (iho_scraper_ready(c->site->server->scraper, why, sizeof(why) - 2))
		return say(c, MHD_HTTP_OK, "The collector answers.\n", NULL, NULL);
	strcat(why, "\n");
	return say(c, MHD_HTTP_SERVICE_UNAVAILABLE, why, NULL, NULL);
}

static enum MHD_Result route(struct connection *c, const char *path, const char *method,
			     const struct fields *f)
{
	static const char *const paths[] = { "/", "/metrics", "/metrics.json", "/-/healthy",
					     "/-/ready" };
	size_t i, n = sizeof(paths) / sizeof(paths[0]);

	for (i = 0; i < n && strcmp(path, paths[i]); i++)
		;
	if (i == n)
		return say(c, MHD_HTTP_NOT_FOUND,
			   "There is /, /metrics, /metrics.json, /-/healthy and /-/ready.\n", NULL,
			   NULL);
	if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "Only GET and HEAD.\n", "Allow",
			   "GET, HEAD");
	switch (i) {
	case 0:
		return send_page(c, f);
	case 1:
		return send_metrics(c, f, iho_accept_format(f->accept));
	case 2:
		return send_metrics(c, f, IHO_METRICS_JSON);
	case 3:
		return say(c, MHD_HTTP_OK, "The exporter is alive.\n", NULL, NULL);
	default:
		return send_ready(c);
	}
}

/* ----------------------------------------------------------------------------------- requests */

static void append(char *buf, size_t size, const char *value)
{
	size_t n = strlen(buf);

	if (n + strlen(value) + 2 <= size) /* what is too long counts as not said */
		snprintf(buf + n, size - n, "%s%s", n ? "," : "", value);
}

static enum MHD_Result read_field(void *cls, enum MHD_ValueKind kind, const char *name,
				  const char *value)
{
	struct fields *f = cls;

	if (!value)
		value = "";
	f->nameless |= !*name;
	f->long_line |= strlen(name) + strlen(value) + 2 > LINE_MAX_BYTES;
	if (!strcasecmp(name, "Accept"))
		append(f->accept, sizeof(f->accept), value);
	else if (!strcasecmp(name, "Accept-Encoding"))
		append(f->encoding, sizeof(f->encoding), value);
	else if (!strcasecmp(name, "Authorization"))
		f->authorization = value;
	else if (!strcasecmp(name, "Transfer-Encoding") ||
		 (!strcasecmp(name, "Content-Length") && strcmp(value, "0")))
		f->body = true;
	return MHD_YES;
}

/* "http://host/path" is the same as "/path", RFC 9112, section 3.2.2 */
static const char *path_of(const char *url)
{
	const char *host = strstr(url, "://"), *slash;

	if (*url == '/' || !host)
		return url;
	slash = strchr(host + 3, '/');
	return slash ? slash : "/";
}

static enum MHD_Result answer(struct connection *c, const char *url, const char *method)
{
	struct server *s = c->site->server;
	struct fields f = {};

	if (c->long_line)
		return say(c, MHD_HTTP_URI_TOO_LONG, "At most 8 KiB.\n", NULL, NULL);
	MHD_get_connection_values(c->mhd, MHD_HEADER_KIND, read_field, &f);
	if (f.long_line)
		return say(c, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE,
			   "At most 8 KiB in one line.\n", NULL, NULL);
	if (f.nameless) /* the library lets it pass */
		return say(c, MHD_HTTP_BAD_REQUEST, "A field has no name.\n", NULL, NULL);
	if (!c->judged) {
		c->verdict = iho_auth_check(s->auth, f.authorization, (void *)(uintptr_t)c->id);
		c->judged = true;
	}
	switch (c->verdict) {
	case IHO_AUTH_GOOD:
		return route(c, path_of(url), method, &f);
	case IHO_AUTH_PENDING:
		suspend(c);
		return MHD_YES;
	case IHO_AUTH_LATER:
		return say(c, MHD_HTTP_TOO_MANY_REQUESTS, "Too many passwords to check at once.\n",
			   "Retry-After", "1");
	default:
		return say(c, MHD_HTTP_UNAUTHORIZED, "Name and password, please.\n",
			   "WWW-Authenticate", "Basic realm=\"iho-exporter\", charset=\"UTF-8\"");
	}
}

/* Before a body is read; an answer at this point makes the library close the connection. */
static enum MHD_Result refuse_body(struct connection *c)
{
	struct fields f = {};

	MHD_get_connection_values(c->mhd, MHD_HEADER_KIND, read_field, &f);
	if (!f.body)
		return MHD_YES;
	return say(c, MHD_HTTP_CONTENT_TOO_LARGE, "Requests have no body here.\n", NULL, NULL);
}

/*
 * Called with the header, then when the request is complete, and again after each time that the
 * connection was suspended.
 */
static enum MHD_Result handle(void *cls, struct MHD_Connection *mhd, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **request)
{
	struct connection *c = connection_of(mhd);

	if (!c || c->cut)
		return MHD_NO;
	c->phase = ANSWERING;
	if (!*request) {
		*request = c;
		return refuse_body(c);
	}
	return answer(c, url, method);
}

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
		0, NULL, NULL, handle, site, MHD_OPTION_CONNECTION_LIMIT,
		o->max_connections + ACCEPT_MOST, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_POOL, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_S,
		MHD_OPTION_NOTIFY_CONNECTION, notify_connection, site, MHD_OPTION_NOTIFY_COMPLETED,
		request_ends, site, MHD_OPTION_URI_LOG_CALLBACK, request_line, site,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
		MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
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
			cut(c);
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
	if (n_connections(s) - s->n_cut >= s->options->max_connections && (c = victim(s)))
		evict(c);
	MHD_add_connection(s->site->daemon, fd, (const struct sockaddr *)from, len);
}

static void accept_some(struct server *s, int listener)
{
	struct sockaddr_storage from;
	socklen_t len;

	for (int i = 0; i < ACCEPT_MOST; i++) {
		int fd;

		/* those that were cut must go before the library takes more */
		if (n_connections(s) >= s->options->max_connections + ACCEPT_MOST - 1)
			return;
		len = sizeof(from);
		fd = accept4(listener, (struct sockaddr *)&from, &len,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
				s->accept_ns = iho_now_ns() + TICK_MS * 1000000ULL;
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
			resume(c);
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
		resume(c);
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
	int ms = s->connections || s->old || s->accept_ns || s->stop_ns ? TICK_MS : -1;
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
	tick(s);
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
	s->page_policy = iho_page_policy(iho_page, iho_page_bytes);
	if (!s->page_policy || iho_gzip(iho_page, iho_page_bytes, &s->page_gzip, &s->page_gzip_len))
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
	free(s.page_policy);
	free(s.page_gzip);
	close_fd(s.signals);
	close_fd(s.bodies);
	close_fd(s.verdicts);
	return r;
}
