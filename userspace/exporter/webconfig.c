// SPDX-License-Identifier: GPL-2.0-or-later
#include "webconfig.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "error.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* One check of a password doubles with each step; 16 is some seconds. */
#define BCRYPT_COST_MIN 4
#define BCRYPT_COST_MAX 16
#define VALUE_MAX	4096

/* GnuTLS chooses the key exchange and the cipher one by one, Go's names hold both. */
static const struct {
	const char *go, *gnutls;
} key_exchanges[] = { { "TLS_ECDHE_RSA_WITH_", "ECDHE-RSA" },
		      { "TLS_ECDHE_ECDSA_WITH_", "ECDHE-ECDSA" } },
  ciphers[] = { { "AES_128_GCM_SHA256", "AES-128-GCM" },
		{ "AES_256_GCM_SHA384", "AES-256-GCM" },
		{ "CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305" } },
  curves[] = { { "CurveP256", "GROUP-SECP256R1" },
	       { "CurveP384", "GROUP-SECP384R1" },
	       { "CurveP521", "GROUP-SECP521R1" },
	       { "X25519", "GROUP-X25519" } };

static const char *const header_names[IHO_WEB_HEADERS] = {
	"Content-Security-Policy", "X-Frame-Options",		"X-Content-Type-Options",
	"X-XSS-Protection",	   "Strict-Transport-Security",
};

struct parse {
	struct iho_webconfig *c;
	yaml_document_t doc;
	const char *dir;
	unsigned int suites; /* bit: key exchange times ciphers plus cipher */
	struct iho_error *err;
};

struct key {
	const char *name;
	int (*set)(struct parse *p, const struct key *k, yaml_node_t *v);
	size_t offset; /* of what is set, in struct iho_webconfig */
};

static int wrong(struct parse *p, const yaml_node_t *at, const char *key, const char *what)
{
	return iho_fail(p->err, -EINVAL, "web configuration, line %zu: %.100s %s",
			at->start_mark.line + 1, key, what);
}

/* The text of a scalar; NULL for anything else, for too long a one, and with a NUL inside. */
static const char *text(const yaml_node_t *n)
{
	if (n->type != YAML_SCALAR_NODE || n->data.scalar.length > VALUE_MAX ||
	    memchr(n->data.scalar.value, '\0', n->data.scalar.length))
		return NULL;
	return (const char *)n->data.scalar.value;
}

static int set_path(struct parse *p, const struct key *k, yaml_node_t *v)
{
	const char *s = text(v);
	char **out = (char **)((char *)p->c + k->offset);
	int n;

	if (!s || !*s)
		return wrong(p, v, k->name, "wants the name of a file");
	n = *s == '/' ? asprintf(out, "%s", s) : asprintf(out, "%s/%s", p->dir, s);
	if (n < 0) {
		*out = NULL;
		return iho_fail(p->err, -ENOMEM, "out of memory");
	}
	return 0;
}

static int set_version(struct parse *p, const struct key *k, yaml_node_t *v)
{
	unsigned int *out = (unsigned int *)((char *)p->c + k->offset);
	const char *s = text(v);

	if (s && !strcmp(s, "TLS12"))
		*out = 12;
	else if (s && !strcmp(s, "TLS13"))
		*out = 13;
	else
		return wrong(p, v, k->name, "is TLS12 or TLS13; older versions are not offered");
	return 0;
}

static int set_client_auth(struct parse *p, const struct key *k, yaml_node_t *v)
{
	static const char *const names[] = {
		[IHO_CLIENT_NO_CERT] = "NoClientCert",
		[IHO_CLIENT_REQUEST] = "RequestClientCert",
		[IHO_CLIENT_REQUIRE_ANY] = "RequireAnyClientCert",
		[IHO_CLIENT_VERIFY_IF_GIVEN] = "VerifyClientCertIfGiven",
		[IHO_CLIENT_REQUIRE_AND_VERIFY] = "RequireAndVerifyClientCert",
	};
	const char *s = text(v);

	for (size_t i = 0; s && i < ARRAY_SIZE(names); i++) {
		if (!strcmp(s, names[i])) {
			p->c->client_auth = i;
			return 0;
		}
	}
	return wrong(p, v, k->name, "is not one of Go's ClientAuthType, as NoClientCert");
}

static int get_bool(struct parse *p, const struct key *k, yaml_node_t *v, bool *out)
{
	const char *s = text(v);

	if (!s || (strcmp(s, "true") && strcmp(s, "false")))
		return wrong(p, v, k->name, "is true or false");
	*out = !strcmp(s, "true");
	return 0;
}

static int set_order(struct parse *p, const struct key *k, yaml_node_t *v)
{
	bool server = true;
	int r = get_bool(p, k, v, &server);

	p->c->client_order = !server;
	return r;
}

static int refuse_http2(struct parse *p, const struct key *k, yaml_node_t *v)
{
	bool http2 = false;
	int r = get_bool(p, k, v, &http2);

	if (!r && http2)
		r = wrong(p, v, k->name, "cannot be true: this server speaks HTTP/1.1 only");
	return r;
}

static int add_suite(struct parse *p, const struct key *k, yaml_node_t *v)
{
	const char *s = text(v);

	for (size_t i = 0; s && i < ARRAY_SIZE(key_exchanges); i++) {
		size_t n = strlen(key_exchanges[i].go);

		for (size_t j = 0; j < ARRAY_SIZE(ciphers); j++) {
			if (strncmp(s, key_exchanges[i].go, n) || strcmp(s + n, ciphers[j].go))
				continue;
			p->suites |= 1u << (i * ARRAY_SIZE(ciphers) + j);
			p->c->key_exchanges |= 1u << i;
			p->c->ciphers |= 1u << j;
			return 0;
		}
	}
	return wrong(p, v, k->name,
		     "holds a suite that is not one of ECDHE with AES-GCM or ChaCha20");
}

/* GnuTLS would offer every pair of the key exchanges and the ciphers: all must have been meant. */
static int check_suites(struct parse *p, const struct key *k, yaml_node_t *v)
{
	for (size_t i = 0; i < ARRAY_SIZE(key_exchanges); i++)
		for (size_t j = 0; j < ARRAY_SIZE(ciphers); j++)
			if ((p->c->key_exchanges & 1u << i) && (p->c->ciphers & 1u << j) &&
			    !(p->suites & 1u << (i * ARRAY_SIZE(ciphers) + j)))
				return wrong(p, v, k->name,
					     "must name the same ciphers for RSA and for ECDSA, or "
					     "only one of the two");
	return 0;
}

static int add_curve(struct parse *p, const struct key *k, yaml_node_t *v)
{
	const char *s = text(v);
	char *out = p->c->groups;

	for (size_t i = 0; s && i < ARRAY_SIZE(curves); i++) {
		if (strcmp(s, curves[i].go))
			continue;
		if (strstr(out, curves[i].gnutls))
			return wrong(p, v, k->name, "names a curve twice");
		snprintf(out + strlen(out), sizeof(p->c->groups) - strlen(out), ":+%s",
			 curves[i].gnutls);
		return 0;
	}
	return wrong(p, v, k->name, "knows CurveP256, CurveP384, CurveP521 and X25519");
}

static int each(struct parse *p, const struct key *k, yaml_node_t *v,
		int (*add)(struct parse *p, const struct key *k, yaml_node_t *v))
{
	int r = 0;

	if (v->type != YAML_SEQUENCE_NODE)
		return wrong(p, v, k->name, "wants a list");
	for (yaml_node_item_t *i = v->data.sequence.items.start;
	     !r && i < v->data.sequence.items.top; i++)
		r = add(p, k, yaml_document_get_node(&p->doc, *i));
	return r;
}

static int set_suites(struct parse *p, const struct key *k, yaml_node_t *v)
{
	int r = each(p, k, v, add_suite);

	return r ? r : check_suites(p, k, v);
}

static int set_curves(struct parse *p, const struct key *k, yaml_node_t *v)
{
	return each(p, k, v, add_curve);
}

/* A mapping by a table of its keys; one that is not there, or there twice, is an error. */
static int mapping(struct parse *p, const char *name, yaml_node_t *v, const struct key *keys,
		   size_t n)
{
	uint32_t seen = 0;
	int r = 0;

	if (v->type == YAML_SCALAR_NODE && !v->data.scalar.length)
		return 0; /* "key:" with nothing behind it */
	if (v->type != YAML_MAPPING_NODE)
		return wrong(p, v, name, "wants keys with values");
	for (yaml_node_pair_t *i = v->data.mapping.pairs.start; !r && i < v->data.mapping.pairs.top;
	     i++) {
		yaml_node_t *key = yaml_document_get_node(&p->doc, i->key);
		const char *s = text(key);
		size_t k;

		for (k = 0; k < n; k++)
			if (s && !strcmp(s, keys[k].name))
				break;
		if (k == n)
			return wrong(p, key, s ? s : name, "is not supported here");
		if (seen & 1u << k)
			return wrong(p, key, s, "is there twice");
		seen |= 1u << k;
		r = keys[k].set(p, &keys[k], yaml_document_get_node(&p->doc, i->value));
	}
	return r;
}

static int set_tls(struct parse *p, const struct key *self, yaml_node_t *v)
{
	static const struct key keys[] = {
		{ "cert_file", set_path, offsetof(struct iho_webconfig, cert_file) },
		{ "key_file", set_path, offsetof(struct iho_webconfig, key_file) },
		{ "client_ca_file", set_path, offsetof(struct iho_webconfig, client_ca_file) },
		{ "client_auth_type", set_client_auth, 0 },
		{ "min_version", set_version, offsetof(struct iho_webconfig, min_version) },
		{ "max_version", set_version, offsetof(struct iho_webconfig, max_version) },
		{ "cipher_suites", set_suites, 0 },
		{ "prefer_server_cipher_suites", set_order, 0 },
		{ "curve_preferences", set_curves, 0 },
	};
	struct iho_webconfig *c = p->c;
	int r = mapping(p, self->name, v, keys, ARRAY_SIZE(keys));

	if (r || v->type != YAML_MAPPING_NODE)
		return r;
	c->tls = true;
	if (!c->cert_file || !c->key_file)
		return wrong(p, v, self->name, "wants both cert_file and key_file");
	if (c->client_auth >= IHO_CLIENT_VERIFY_IF_GIVEN && !c->client_ca_file)
		return wrong(p, v, self->name, "wants client_ca_file for this client_auth_type");
	if (c->client_ca_file && c->client_auth == IHO_CLIENT_NO_CERT)
		return wrong(p, v, self->name, "has client_ca_file, but asks no client for one");
	if (c->min_version && c->max_version && c->min_version > c->max_version)
		return wrong(p, v, self->name, "has min_version above max_version");
	return 0;
}

/* A header's value goes out as it is: nothing in it may end the line. */
static bool printable(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	return true;
}

static int set_header(struct parse *p, const struct key *k, yaml_node_t *v)
{
	const char *s = text(v);

	if (!s || !printable(s))
		return wrong(p, v, k->name, "wants one line of text");
	p->c->header[k->offset].name = k->name;
	p->c->header[k->offset].value = strdup(s);
	return p->c->header[k->offset].value ? 0 : iho_fail(p->err, -ENOMEM, "out of memory");
}

static int set_headers(struct parse *p, const struct key *self, yaml_node_t *v)
{
	struct key keys[IHO_WEB_HEADERS];

	for (size_t i = 0; i < IHO_WEB_HEADERS; i++)
		keys[i] = (struct key){ header_names[i], set_header, i };
	return mapping(p, self->name, v, keys, IHO_WEB_HEADERS);
}

static int set_http(struct parse *p, const struct key *self, yaml_node_t *v)
{
	static const struct key keys[] = { { "http2", refuse_http2, 0 },
					   { "headers", set_headers, 0 } };

	return mapping(p, self->name, v, keys, ARRAY_SIZE(keys));
}

/* "$2y$10$" and 53 characters of bcrypt's base64 */
static bool is_bcrypt(const char *s)
{
	int cost;

	if (strlen(s) != 60 || strncmp(s, "$2", 2) || !strchr("aby", s[2]) || s[3] != '$' ||
	    s[4] < '0' || s[4] > '9' || s[5] < '0' || s[5] > '9' || s[6] != '$')
		return false;
	cost = 10 * (s[4] - '0') + s[5] - '0';
	return cost >= BCRYPT_COST_MIN && cost <= BCRYPT_COST_MAX &&
	       strspn(s + 7, "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") ==
		       53;
}

static int add_user(struct parse *p, yaml_node_t *key, yaml_node_t *v)
{
	const char *name = text(key), *hash = text(v);
	struct iho_webconfig *c = p->c;
	struct iho_web_user *u;

	if (!name || !*name || strlen(name) > 128 || strchr(name, ':'))
		return wrong(p, key, "basic_auth_users", "holds a name that is none");
	if (!hash || !is_bcrypt(hash))
		return wrong(p, v, name, "wants a bcrypt hash ($2y$10$...) of a cost from 4 to 16");
	for (size_t i = 0; i < c->n_users; i++)
		if (!strcmp(c->users[i].name, name))
			return wrong(p, key, name, "is there twice");
	if (c->n_users == IHO_WEB_USERS)
		return wrong(p, key, "basic_auth_users", "holds more than 256 users");
	u = &c->users[c->n_users++];
	u->name = strdup(name);
	u->hash = strdup(hash);
	return u->name && u->hash ? 0 : iho_fail(p->err, -ENOMEM, "out of memory");
}

static int set_users(struct parse *p, const struct key *self, yaml_node_t *v)
{
	int r = 0;

	if (v->type == YAML_SCALAR_NODE && !v->data.scalar.length)
		return 0;
	if (v->type != YAML_MAPPING_NODE)
		return wrong(p, v, self->name, "wants names with bcrypt hashes");
	p->c->users = calloc(IHO_WEB_USERS, sizeof(*p->c->users));
	if (!p->c->users)
		return iho_fail(p->err, -ENOMEM, "out of memory");
	for (yaml_node_pair_t *i = v->data.mapping.pairs.start; !r && i < v->data.mapping.pairs.top;
	     i++)
		r = add_user(p, yaml_document_get_node(&p->doc, i->key),
			     yaml_document_get_node(&p->doc, i->value));
	return r;
}

static int document(struct parse *p, yaml_parser_t *parser)
{
	static const struct key keys[] = { { "tls_server_config", set_tls, 0 },
					   { "http_server_config", set_http, 0 },
					   { "basic_auth_users", set_users, 0 } };
	yaml_node_t *root;
	int r = 0;

	if (!yaml_parser_load(parser, &p->doc))
		return iho_fail(p->err, -EINVAL, "web configuration, line %zu: no YAML: %s",
				parser->problem_mark.line + 1,
				parser->problem ? parser->problem : "out of memory");
	root = yaml_document_get_root_node(&p->doc);
	if (root)
		r = mapping(p, "the file", root, keys, ARRAY_SIZE(keys));
	yaml_document_delete(&p->doc);
	return r;
}

int iho_webconfig_parse(struct iho_webconfig *out, const char *data, size_t len, const char *dir,
			struct iho_error *err)
{
	struct parse p = { .c = out, .dir = dir, .err = err };
	yaml_parser_t parser;
	int r;

	memset(out, 0, sizeof(*out));
	if (len > IHO_WEB_CONFIG_BYTES)
		return iho_fail(err, -EFBIG, "the web configuration has more than 64 KiB");
	if (!yaml_parser_initialize(&parser))
		return iho_fail(err, -ENOMEM, "out of memory");
	yaml_parser_set_input_string(&parser, (const unsigned char *)data, len);
	r = document(&p, &parser);
	yaml_parser_delete(&parser);
	if (r)
		iho_webconfig_free(out);
	return r;
}

int iho_read_file(const char *path, size_t max, char **out, size_t *len, struct iho_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r;
	char *data = malloc(max + 1), *fit;
	size_t n = 0;
	ssize_t got = 1;

	if (fd < 0 || !data) {
		r = data ? -errno : -ENOMEM;
		goto failed;
	}
	while (n <= max && (got = read(fd, data + n, max + 1 - n)) > 0)
		n += got;
	if (got < 0 || n > max) {
		r = got < 0 ? -errno : -EFBIG;
		goto failed;
	}
	close(fd);
	data[n] = '\0';
	fit = realloc(data, n + 1);
	*out = fit ? fit : data;
	*len = n;
	return 0;
failed:
	iho_fail(err, r, "cannot read %.300s: %s", path, strerror(-r));
	free(data);
	if (fd >= 0)
		close(fd);
	return r;
}

int iho_webconfig_load(struct iho_webconfig *out, const char *path, struct iho_error *err)
{
	char *data = NULL, *copy = NULL;
	size_t len;
	int r;

	memset(out, 0, sizeof(*out));
	r = iho_read_file(path, IHO_WEB_CONFIG_BYTES, &data, &len, err);
	if (r)
		return r;
	copy = strdup(path);
	r = copy ? iho_webconfig_parse(out, data, len, dirname(copy), err)
		 : iho_fail(err, -ENOMEM, "out of memory");
	free(copy);
	explicit_bzero(data, len);
	free(data);
	return r;
}

void iho_webconfig_free(struct iho_webconfig *c)
{
	free(c->cert_file);
	free(c->key_file);
	free(c->client_ca_file);
	for (size_t i = 0; i < IHO_WEB_HEADERS; i++)
		free(c->header[i].value);
	for (size_t i = 0; i < c->n_users; i++) {
		free(c->users[i].name);
		free(c->users[i].hash);
	}
	free(c->users);
	memset(c, 0, sizeof(*c));
}

void iho_webconfig_priorities(const struct iho_webconfig *c, char *buf, size_t len)
{
	unsigned int min = c->min_version ? c->min_version : 12;
	unsigned int max = c->max_version ? c->max_version : 13;
	unsigned int kx = c->key_exchanges ? c->key_exchanges : 3;
	unsigned int cipher = c->ciphers ? c->ciphers : 7;
	int n = snprintf(buf, len, "NORMAL:-VERS-ALL%s%s:-KX-ALL:-CIPHER-ALL:-MAC-ALL:+AEAD",
			 max >= 13 ? ":+VERS-TLS1.3" : "", min <= 12 ? ":+VERS-TLS1.2" : "");

	for (size_t i = 0; i < ARRAY_SIZE(key_exchanges); i++)
		if (kx & 1u << i)
			n += snprintf(buf + n, len - n, ":+%s", key_exchanges[i].gnutls);
	for (size_t i = 0; i < ARRAY_SIZE(ciphers); i++)
		if (cipher & 1u << i)
			n += snprintf(buf + n, len - n, ":+%s", ciphers[i].gnutls);
	if (c->groups[0])
		n += snprintf(buf + n, len - n, ":-GROUP-ALL%s", c->groups);
	snprintf(buf + n, len - n, "%s", c->client_order ? "" : ":%SERVER_PRECEDENCE");
}
