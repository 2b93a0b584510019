/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The HTTP server. One thread (the caller's) holds all connections; scraping and checking
 * passwords are other threads' work. Everything a client can do is bounded: the number of
 * connections, their memory, the time for a request as a whole, its size.
 */
#ifndef IHO_EXPORTER_SERVER_H
#define IHO_EXPORTER_SERVER_H

#include "address.h"
#include "collect.h"

#define IHO_LISTEN_MAX	    8
#define IHO_CONNECTIONS_MAX 16384

struct iho_server_options {
	struct iho_address listen[IHO_LISTEN_MAX];
	size_t n_listen;
	unsigned int max_connections;
	double min_interval_s;
	const char *web_config; /* NULL: neither TLS nor passwords */
	const char *user; /* to be from the moment on that the sockets are there; NULL: stay */
	struct iho_collector_options collector;
	struct iho_metrics_options metrics;
};

/* Until SIGTERM or SIGINT; SIGHUP reads the web configuration again. */
int iho_server_run(const struct iho_server_options *o, struct iho_error *err);

#endif /* IHO_EXPORTER_SERVER_H */
