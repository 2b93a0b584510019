/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS as the web configuration wants it: the files' contents, and who may come in. */
#ifndef IHO_EXPORTER_TLS_H
#define IHO_EXPORTER_TLS_H

#include <gnutls/gnutls.h>

#include "webconfig.h"

struct iho_tls {
	char *cert, *key, *client_ca; /* PEM; NULL where there is none */
	char priorities[512];
	enum iho_client_auth client_auth;
};

/* Reads and checks what the configuration names. On error `t` is empty. */
int iho_tls_load(struct iho_tls *t, const struct iho_webconfig *c, struct iho_error *err);
void iho_tls_free(struct iho_tls *t);

/* Before the handshake: asks the client for its certificate, and refuses one that will not do. */
void iho_tls_begin(const struct iho_tls *t, gnutls_session_t session);

#endif /* IHO_EXPORTER_TLS_H */
