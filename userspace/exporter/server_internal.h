/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to the server, all in its one thread: server.c waits, accepts and reads configurations,
 * connection.c keeps the table of connections and their deadlines, answer.c answers requests.
 */
#ifndef IHO_EXPORTER_SERVER_INTERNAL_H
#define IHO_EXPORTER_SERVER_INTERNAL_H

#include <microhttpd.h>

#include "auth.h"
#include "scraper.h"
#include "server.h"
#include "tls.h"

#define IHO_SCRAPE_NS	   5000000000ULL /* then the collector counts as one that does not answer */
#define IHO_LINE_MAX_BYTES 8192
#define IHO_TICK_NS	   250000000ULL

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
	char *page_gzip;
	size_t page_gzip_len;
};

/* ------------------------------------------------------------------------------ connection.c */

/* NULL: there was no memory for it when it began; it is refused. */
struct connection *iho_connection_of(struct MHD_Connection *mhd);
unsigned int iho_connections(const struct server *s);

/* A connection that waits for another thread; it must be resumed before its site ends. */
void iho_connection_suspend(struct connection *c);
void iho_connection_resume(struct connection *c);

/* Ends it: the library finds it broken, and the kernel keeps nothing. evict: and counts it. */
void iho_connection_cut(struct connection *c);
void iho_connection_evict(struct connection *c);

/* Whose end harms least: who asks for nothing yet, then who reads slowest; of these, the oldest. */
struct connection *iho_connection_victim(const struct server *s);

/* Enforces the deadlines; does nothing when it was done within the last IHO_TICK_NS. */
void iho_connections_tick(struct server *s);

/* What the library calls; `cls` is the site */
void iho_connection_notify(void *cls, struct MHD_Connection *mhd, void **context,
			   enum MHD_ConnectionNotificationCode code);
void *iho_request_line(void *cls, const char *uri, struct MHD_Connection *mhd);
void iho_request_ends(void *cls, struct MHD_Connection *mhd, void **request,
		      enum MHD_RequestTerminationCode code);

/* ---------------------------------------------------------------------------------- answer.c */

enum MHD_Result iho_answer(void *cls, struct MHD_Connection *mhd, const char *url,
			   const char *method, const char *version, const char *upload,
			   size_t *upload_size, void **request);

#endif /* IHO_EXPORTER_SERVER_INTERNAL_H */
