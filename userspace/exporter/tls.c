// SPDX-License-Identifier: GPL-2.0-or-later
#include "tls.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

#define PEM_BYTES (1 << 20)

static gnutls_datum_t datum(const char *s)
{
	return (gnutls_datum_t){ (unsigned char *)s, s ? strlen(s) : 0 };
}

/* Does GnuTLS take them? It tells better than the server that is started with them. */
static int check(const struct iho_tls *t, const struct iho_webconfig *c, struct iho_error *err)
{
	gnutls_datum_t cert = datum(t->cert), key = datum(t->key), ca = datum(t->client_ca);
	gnutls_certificate_credentials_t cred;
	gnutls_priority_t priority;
	int r;

	r = gnutls_priority_init(&priority, t->priorities, NULL);
	if (r)
		return iho_fail(err, -EINVAL, "GnuTLS refuses the TLS settings: %s",
				gnutls_strerror(r));
	gnutls_priority_deinit(priority);
	if (gnutls_certificate_allocate_credentials(&cred))
		return iho_fail(err, -ENOMEM, "out of memory");
	r = gnutls_certificate_set_x509_key_mem(cred, &cert, &key, GNUTLS_X509_FMT_PEM);
	if (r < 0) {
		r = iho_fail(err, -EINVAL, "%.150s and %.150s are no certificate with its key: %s",
			     c->cert_file, c->key_file, gnutls_strerror(r));
		goto cleanup;
	}
	r = 0;
	if (ca.size && gnutls_certificate_set_x509_trust_mem(cred, &ca, GNUTLS_X509_FMT_PEM) < 1)
		r = iho_fail(err, -EINVAL, "%.300s holds no certificate", c->client_ca_file);
cleanup:
	gnutls_certificate_free_credentials(cred);
	return r;
}

int iho_tls_load(struct iho_tls *t, const struct iho_webconfig *c, struct iho_error *err)
{
	size_t len;
	int r;

	memset(t, 0, sizeof(*t));
	t->client_auth = c->client_auth;
	iho_webconfig_priorities(c, t->priorities, sizeof(t->priorities));
	r = iho_read_file(c->cert_file, PEM_BYTES, &t->cert, &len, err);
	if (!r)
		r = iho_read_file(c->key_file, PEM_BYTES, &t->key, &len, err);
	if (!r && c->client_ca_file)
		r = iho_read_file(c->client_ca_file, PEM_BYTES, &t->client_ca, &len, err);
	if (!r)
		r = check(t, c, err);
	if (r)
		iho_tls_free(t);
	return r;
}

void iho_tls_free(struct iho_tls *t)
{
	if (t->key)
		explicit_bzero(t->key, strlen(t->key));
	free(t->cert);
	free(t->key);
	free(t->client_ca);
	memset(t, 0, sizeof(*t));
}

static int verify(gnutls_session_t session)
{
	gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
					  .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT };
	unsigned int status;

	if (gnutls_certificate_type_get(session) != GNUTLS_CRT_X509)
		return -1;
	return gnutls_certificate_verify_peers(session, &purpose, 1, &status) || status ? -1 : 0;
}

static int verify_if_given(gnutls_session_t session)
{
	unsigned int n;

	return gnutls_certificate_get_peers(session, &n) ? verify(session) : 0;
}

void iho_tls_begin(const struct iho_tls *t, gnutls_session_t session)
{
	switch (t->client_auth) {
	case IHO_CLIENT_NO_CERT:
		break;
	case IHO_CLIENT_REQUEST:
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
		break;
	case IHO_CLIENT_REQUIRE_ANY:
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
		break;
	case IHO_CLIENT_VERIFY_IF_GIVEN:
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
		gnutls_session_set_verify_function(session, verify_if_given);
		break;
	case IHO_CLIENT_REQUIRE_AND_VERIFY:
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
		gnutls_session_set_verify_function(session, verify);
		break;
	}
}
