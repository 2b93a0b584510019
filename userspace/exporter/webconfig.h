/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The web configuration file of Prometheus's exporter-toolkit: TLS, headers, basic auth. What that
 * format knows and this server does not have is refused with a sentence that names the key, so that
 * nobody believes to be protected by a line that does nothing.
 * https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
 */
#ifndef IHO_EXPORTER_WEBCONFIG_H
#define IHO_EXPORTER_WEBCONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "collector.h"

#define IHO_WEB_HEADERS	     5
#define IHO_WEB_USERS	     256
#define IHO_WEB_CONFIG_BYTES 65536 /* of the file */

/* As in Go's crypto/tls, which the format takes its words from. */
enum iho_client_auth {
	IHO_CLIENT_NO_CERT,
	IHO_CLIENT_REQUEST,
	IHO_CLIENT_REQUIRE_ANY,
	IHO_CLIENT_VERIFY_IF_GIVEN,
	IHO_CLIENT_REQUIRE_AND_VERIFY,
};

struct iho_web_user {
	char *name;
	char *hash; /* bcrypt, its form checked */
};

struct iho_webconfig {
	bool tls;
	char *cert_file, *key_file, *client_ca_file; /* relative ones: to the file's folder */
	enum iho_client_auth client_auth;
	unsigned int min_version, max_version; /* 12 or 13; 0: not said */
	unsigned int ciphers, key_exchanges; /* bits into webconfig.c's tables; 0: not said */
	bool client_order; /* the client's order of cipher suites decides */
	char groups[128]; /* as in a GnuTLS priority string; "": not said */
	struct {
		const char *name; /* NULL: not given */
		char *value;
	} header[IHO_WEB_HEADERS];
	struct iho_web_user *users;
	size_t n_users;
};

/* `dir` is where relative paths begin. Reads no file. On error `out` is empty. */
int iho_webconfig_parse(struct iho_webconfig *out, const char *text, size_t len, const char *dir,
			struct iho_error *err);
int iho_webconfig_load(struct iho_webconfig *out, const char *path, struct iho_error *err);
void iho_webconfig_free(struct iho_webconfig *c);

/* The TLS settings as a GnuTLS priority string. */
void iho_webconfig_priorities(const struct iho_webconfig *c, char *buf, size_t len);

/* A whole file, ended by a NUL that is not counted, at most `max` bytes; the caller frees it. */
int iho_read_file(const char *path, size_t max, char **out, size_t *len, struct iho_error *err);

#endif /* IHO_EXPORTER_WEBCONFIG_H */
