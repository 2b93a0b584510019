// SPDX-License-Identifier: GPL-2.0-or-later
#include "server_internal.h"

#include <linux/tcp.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define NSEC	   1000000000ULL
#define HEADER_NS  (10 * NSEC) /* from the first byte of a request to the end of its header */
#define REQUEST_NS (30 * NSEC) /* from there to the last byte of the answer */
#define SLOW_NS	   (5 * NSEC) /* so long may an old body be sent that is in the way */

struct connection *iho_connection_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

unsigned int iho_connections(const struct server *s)
{
	return s->site->n_connections + (s->old ? s->old->n_connections : 0);
}

static void count_connections(struct server *s)
{
	__atomic_store_n(&s->counts.connections, iho_connections(s), __ATOMIC_RELAXED);
}

void iho_connection_suspend(struct connection *c)
{
	c->suspended = true;
	MHD_suspend_connection(c->mhd);
}

void iho_connection_resume(struct connection *c)
{
	c->suspended = false;
	MHD_resume_connection(c->mhd);
}

void iho_connection_cut(struct connection *c)
{
	struct linger at_once = { .l_onoff = 1 };

	if (c->cut)
		return;
	c->cut = true;
	c->site->server->n_cut++;
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	shutdown(c->fd, SHUT_RDWR);
	if (c->suspended)
		iho_connection_resume(c);
}

void iho_connection_evict(struct connection *c)
{
	__atomic_add_fetch(&c->site->server->counts.evicted, 1, __ATOMIC_RELAXED);
	iho_connection_cut(c);
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
			iho_connection_cut(c);
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

void iho_connection_notify(void *cls, struct MHD_Connection *mhd, void **context,
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

void iho_request_ends(void *cls, struct MHD_Connection *mhd, void **request,
		      enum MHD_RequestTerminationCode code)
{
	struct connection *c = iho_connection_of(mhd);

	if (!c)
		return;
	c->phase = IDLE;
	c->since_ns = iho_now_ns();
	c->bytes = bytes_received(c->fd);
	c->asked_ns = c->sent_ns = 0;
	c->judged = c->long_line = false;
	if (c->site == c->site->server->old || c->site->server->stop_ns)
		iho_connection_cut(c);
}

/* The request line is there. */
void *iho_request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	struct connection *c = iho_connection_of(mhd);

	if (!c)
		return NULL;
	if (c->phase == IDLE)
		c->since_ns = iho_now_ns();
	c->phase = READING;
	c->long_line = strlen(uri) > IHO_LINE_MAX_BYTES;
	return NULL;
}

struct connection *iho_connection_victim(const struct server *s)
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
		iho_connection_evict(c);
	else if (c->phase == ANSWERING && c->suspended && c->asked_ns &&
		 now - c->asked_ns > IHO_SCRAPE_NS)
		iho_connection_resume(c); /* it is told that the collector does not answer */
	else if (c->phase == ANSWERING && c->sent_ns && now - c->sent_ns > SLOW_NS &&
		 iho_scraper_full(c->site->server->scraper, c->kind))
		iho_connection_evict(c); /* else nobody would get a newer one */
}

void iho_connections_tick(struct server *s)
{
	uint64_t now = iho_now_ns();
	struct connection *next;

	if (now - s->tick_ns < IHO_TICK_NS)
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
