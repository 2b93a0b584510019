// SPDX-License-Identifier: GPL-2.0-or-later
#include "server_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "negotiate.h"
#include "page.h"

#define TYPE_TEXT     "text/plain; charset=utf-8"
#define CLOSED_POLICY "default-src 'none'; frame-ancestors 'none'"

/* What is read from a request's header fields, in one walk. */
struct fields {
	char accept[2048], encoding[512];
	const char *authorization;
	bool long_line, body;
};

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
	if (r && (!add_headers(r, c->site, "text/html; charset=utf-8", iho_page_policy) ||
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

/* The collector's thread is stuck: say that it does not answer, in the format asked for. */
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
	if (!b && iho_now_ns() - c->asked_ns <= IHO_SCRAPE_NS) {
		iho_connection_suspend(c);
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
	f->long_line |= strlen(name) + strlen(value) + 2 > IHO_LINE_MAX_BYTES;
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
	if (!c->judged) {
		c->verdict = iho_auth_check(s->auth, f.authorization, (void *)(uintptr_t)c->id);
		c->judged = true;
	}
	switch (c->verdict) {
	case IHO_AUTH_GOOD:
		return route(c, path_of(url), method, &f);
	case IHO_AUTH_PENDING:
		iho_connection_suspend(c);
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
enum MHD_Result iho_answer(void *cls, struct MHD_Connection *mhd, const char *url,
			   const char *method, const char *version, const char *upload,
			   size_t *upload_size, void **request)
{
	struct connection *c = iho_connection_of(mhd);

	if (!c || c->cut)
		return MHD_NO;
	c->phase = ANSWERING;
	if (!*request) {
		*request = c;
		return refuse_body(c);
	}
	return answer(c, url, method);
}
