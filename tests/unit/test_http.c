// SPDX-License-Identifier: GPL-2.0-or-later
/* The exporter's parsers: what a client may say, and what the web configuration does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/exporter/address.h"
#include "../../userspace/exporter/auth.h"
#include "../../userspace/exporter/negotiate.h"
#include "../../userspace/exporter/page.h"
#include "../../userspace/exporter/scraper.h"
#include "../../userspace/exporter/textfile.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define HASH	      "$2b$05$abcdefghijklmnopqrstuuC1N0SpDeHu6ZtT4xQy9f8o7m6l5k4j3"

static void test_accept(void **state)
{
	static const struct {
		const char *accept;
		enum iho_metrics_format format;
	} t[] = {
		{ NULL, IHO_METRICS_PROMETHEUS },
		{ "", IHO_METRICS_PROMETHEUS },
		{ ",,;q=1,", IHO_METRICS_PROMETHEUS },
		{ "*/*", IHO_METRICS_PROMETHEUS },
		{ "text/html, */*;q=0.8", IHO_METRICS_PROMETHEUS },
		{ "application/openmetrics-text", IHO_METRICS_OPENMETRICS },
		{ "APPLICATION/OpenMetrics-Text ; Version=\"1.0.0\" ; q=0.3",
		  IHO_METRICS_OPENMETRICS },
		{ "application/openmetrics-text;version=0.0.1", IHO_METRICS_PROMETHEUS },
		{ "application/openmetrics-text;version=2.0.0,text/plain;q=0.1",
		  IHO_METRICS_PROMETHEUS },
		{ "application/openmetrics-text;q=0", IHO_METRICS_PROMETHEUS },
		{ "application/openmetrics-text;q=2", IHO_METRICS_PROMETHEUS },
		{ "application/openmetrics-text;q=0.5,text/plain;q=0.5", IHO_METRICS_OPENMETRICS },
		{ "application/openmetrics-text;q=0.5,text/plain;q=0.501", IHO_METRICS_PROMETHEUS },
		{ "text/plain;q=0.5,*/*;q=0.9", IHO_METRICS_OPENMETRICS },
		{ "text/*;q=0.2,application/*;q=0.3", IHO_METRICS_OPENMETRICS },
		{ "*/*;q=0.9,application/openmetrics-text;q=0", IHO_METRICS_PROMETHEUS },
		{ "x/y;a=\"application/openmetrics-text,\"", IHO_METRICS_PROMETHEUS },
		{ "image/png", IHO_METRICS_PROMETHEUS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		if (iho_accept_format(t[i].accept) != t[i].format)
			fail_msg("Accept: %s", t[i].accept);
}

static void test_gzip_wanted(void **state)
{
	static const struct {
		const char *encoding;
		bool gzip;
	} t[] = {
		{ NULL, false },
		{ "", false },
		{ "gzip", true },
		{ "deflate, GZIP;q=0.1", true },
		{ "gzip;q=0", false },
		{ "gzip;q=0.000, *", false },
		{ "*", true },
		{ "*;q=0", false },
		{ "identity;q=1, gzip;q=0.5", false },
		{ "identity;q=0.5, gzip;q=0.5", true },
		{ "gzip;q=nonsense", false },
		{ "gzipped", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		if (iho_accept_gzip(t[i].encoding) != t[i].gzip)
			fail_msg("Accept-Encoding: %s", t[i].encoding);
}

static void test_authorization(void **state)
{
	static const char *const bad[] = {
		"",
		"Basic",
		"Basic ",
		"Basic dXNlcg==" /* no colon */,
		"Digest dXNlcjpw",
		"Basic dXNlcjpw!",
		"Basic AHU6cA==" /* a NUL */,
	};
	char buf[IHO_AUTH_BYTES], big[1024] = "Basic ";
	const char *user, *password;

	assert_int_equal(iho_auth_parse("Basic dXNlcjpwYTpzcw==", buf, &user, &password), 0);
	assert_string_equal(user, "user");
	assert_string_equal(password, "pa:ss");
	assert_int_equal(iho_auth_parse("bAsIc   Og==", buf, &user, &password), 0);
	assert_string_equal(user, "");
	assert_string_equal(password, "");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!iho_auth_parse(bad[i], buf, &user, &password))
			fail_msg("Authorization: %s", bad[i]);
	memset(big + 6, 'O', 1000);
	assert_int_not_equal(iho_auth_parse(big, buf, &user, &password), 0);
}

static void test_address(void **state)
{
	static const char *const good[] = { "127.0.0.1:9978", "0.0.0.0:0", "[::1]:65535",
					    "[::]:1" };
	static const char *const bad[] = { "",
					   ":",
					   "9978",
					   "127.0.0.1",
					   "127.0.0.1:",
					   "1.2.3:4",
					   "127.0.0.1:65536",
					   "127.0.0.1:-1",
					   "127.0.0.1: 1",
					   "::1:80",
					   "[::1]",
					   "[]:1",
					   "[127.0.0.1]:1",
					   "host:1" };
	char text[IHO_ADDRESS_TEXT];
	struct iho_error err = {};
	struct iho_address a;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(iho_address_parse(good[i], &a, &err), 0);
		iho_address_format(&a, text);
		assert_string_equal(text, good[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!iho_address_parse(bad[i], &a, &err))
			fail_msg("\"%s\" is taken", bad[i]);
}

static int parse(struct iho_webconfig *c, const char *text, struct iho_error *err)
{
	return iho_webconfig_parse(c, text, strlen(text), "/etc/iho", err);
}

static void test_config(void **state)
{
	struct iho_webconfig c;
	gnutls_priority_t p;
	struct iho_error err = {};
	char s[512];

	assert_int_equal(parse(&c, "", &err), 0);
	assert_false(c.tls);
	assert_int_equal(parse(&c,
			       "tls_server_config:\n"
			       "  cert_file: a.crt\n"
			       "  key_file: /b.key\n"
			       "  client_auth_type: VerifyClientCertIfGiven\n"
			       "  client_ca_file: ca.crt\n"
			       "  min_version: TLS12\n"
			       "  max_version: TLS12\n"
			       "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n"
			       "  prefer_server_cipher_suites: false\n"
			       "  curve_preferences: [CurveP384, X25519]\n"
			       "http_server_config:\n"
			       "  http2: false\n"
			       "  headers: { X-Frame-Options: deny }\n"
			       "basic_auth_users:\n"
			       "  alice: " HASH "\n",
			       &err),
			 0);
	assert_true(c.tls);
	assert_string_equal(c.cert_file, "/etc/iho/a.crt");
	assert_string_equal(c.key_file, "/b.key");
	assert_int_equal(c.client_auth, IHO_CLIENT_VERIFY_IF_GIVEN);
	assert_int_equal(c.n_users, 1);
	assert_string_equal(c.users[0].name, "alice");
	assert_string_equal(c.users[0].hash, HASH);
	assert_string_equal(c.header[1].name, "X-Frame-Options");
	assert_string_equal(c.header[1].value, "deny");
	iho_webconfig_priorities(&c, s, sizeof(s));
	assert_non_null(strstr(s, ":+VERS-TLS1.2"));
	assert_null(strstr(s, "TLS1.3"));
	assert_null(strstr(s, "AES-128"));
	assert_non_null(strstr(s, ":-GROUP-ALL:+GROUP-SECP384R1:+GROUP-X25519"));
	assert_null(strstr(s, "SERVER_PRECEDENCE"));
	assert_int_equal(gnutls_priority_init(&p, s, NULL), 0);
	gnutls_priority_deinit(p);
	iho_webconfig_free(&c);
}

static void test_config_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} t[] = {
		{ "[]", "wants keys" },
		{ "x: 1", "x is not supported" },
		{ "a: b\n  c: d", "no YAML" },
		{ "tls_server_config: {}", "cert_file and key_file" },
		{ "tls_server_config: { cert_file: a, cert_file: b }", "cert_file is there twice" },
		{ "tls_server_config: { cert_file: [a] }", "cert_file wants" },
		{ "tls_server_config: { cert: x }", "cert is not supported" },
		{ "tls_server_config: { cert_file: a, key_file: b, min_version: TLS13, "
		  "max_version: TLS12 }",
		  "above" },
		{ "tls_server_config: { cert_file: a, key_file: b, client_auth_type: "
		  "RequireAndVerifyClientCert }",
		  "client_ca_file" },
		{ "tls_server_config: { cert_file: a, key_file: b, client_ca_file: c }",
		  "client_ca_file" },
		{ "tls_server_config: { cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "
		  "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384] }",
		  "the same ciphers" },
		{ "http_server_config: { headers: { Set-Cookie: a } }", "Set-Cookie is not" },
		{ "http_server_config: { headers: { X-Frame-Options: \"a\\r\\nb\" } }",
		  "one line" },
		{ "basic_auth_users: { a: "
		  "$2b$17$abcdefghijklmnopqrstuuC1N0SpDeHu6ZtT4xQy9f8o7m6l5k4j3 }",
		  "bcrypt" },
		{ "basic_auth_users: { 'a:b': x }", "a name that is none" },
		{ "&a tls_server_config: *a", "" },
	};
	struct iho_webconfig c;
	struct iho_error err = {};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		err.text[0] = '\0';
		if (!parse(&c, t[i].text, &err) || !strstr(err.text, t[i].why))
			fail_msg("%s: %s", t[i].text, err.text);
		assert_null(c.users);
	}
}

static void test_textfile(void **state)
{
	char folder[] = "/tmp/iho-test.XXXXXX", path[64], command[128], got[16] = "";
	struct iho_error err = {};
	FILE *f;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/a.prom", folder);
	assert_int_equal(iho_textfile_write(path, "one\n", 4, &err), 0);
	assert_int_equal(iho_textfile_write(path, "two\n", 4, &err), 0);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fread(got, 1, sizeof(got), f), 4);
	fclose(f);
	assert_string_equal(got, "two\n");
	snprintf(path, sizeof(path), "%s/b/a.prom", folder);
	assert_int_not_equal(iho_textfile_write(path, "x", 1, &err), 0);
	assert_non_null(strstr(err.text, "cannot write"));
	snprintf(command, sizeof(command), "rm %s/a.prom && rmdir %s", folder, folder);
	assert_int_equal(system(command), 0); /* and nothing else was there */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accept),	      cmocka_unit_test(test_gzip_wanted),
		cmocka_unit_test(test_authorization), cmocka_unit_test(test_address),
		cmocka_unit_test(test_config),	      cmocka_unit_test(test_config_refused),
		cmocka_unit_test(test_textfile),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
