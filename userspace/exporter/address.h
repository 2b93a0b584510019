/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the exporter listens: "127.0.0.1:9978", "[::1]:9978".
 * Numbers only: a name would make the start depend on a resolver.
 */
#ifndef IHO_EXPORTER_ADDRESS_H
#define IHO_EXPORTER_ADDRESS_H

#include <sys/socket.h>

#include "collector.h"

#define IHO_ADDRESS_TEXT 64

struct iho_address {
	struct sockaddr_storage ss;
	socklen_t len;
};

int iho_address_parse(const char *text, struct iho_address *out, struct iho_error *err);

/* The same as text, for a person; `buf` has IHO_ADDRESS_TEXT bytes. */
void iho_address_format(const struct iho_address *a, char *buf);

/* A listening socket, not blocking; or a negative errno value. */
int iho_address_listen(const struct iho_address *a, struct iho_error *err);

#endif /* IHO_EXPORTER_ADDRESS_H */
