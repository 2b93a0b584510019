// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * osquery's functions beside SQLite's own, as its packs use them (osquery: "SQL introduction",
 * additional functions). NULL in, NULL out, unless said otherwise.
 *
 * Patterns are matched by PCRE2, whose syntax covers the ECMAScript one of osquery, and which can
 * be told how much work and memory a match may take: patterns and subjects are strangers' both.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include <arpa/inet.h>
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/base64.h>
#include <nettle/md5.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <pcre2.h>

#include "engine_internal.h"

#define PATTERN_MAX   1000 /* bytes */
#define MATCH_STEPS   1000000
#define MATCH_KIB     8192
#define PATTERN_DEPTH 100 /* of parentheses */

/* Arguments of which none is NULL; else the result is NULL already. */
static bool texts(sqlite3_context *ctx, sqlite3_value **argv, int n, const char **out)
{
	for (int i = 0; i < n; i++) {
		if (sqlite3_value_type(argv[i]) == SQLITE_NULL)
			return false;
		out[i] = (const char *)sqlite3_value_text(argv[i]);
		if (!out[i]) {
			sqlite3_result_error_nomem(ctx);
			return false;
		}
	}
	return true;
}

static void result(sqlite3_context *ctx, const char *s, size_t n)
{
	sqlite3_result_text64(ctx, s, n, SQLITE_TRANSIENT, SQLITE_UTF8);
}

/* ---- split, regex_split, regex_match ---- */

/* osquery trims the parts, and empty ones do not count. True: it was the one asked for. */
static bool part(sqlite3_context *ctx, const char *s, size_t n, sqlite3_int64 *index)
{
	if (!n)
		return false;
	while (n && isspace((unsigned char)*s))
		s++, n--;
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	if ((*index)--)
		return false;
	result(ctx, s, n);
	return true;
}

/* split(text, characters, index) */
static void on_split(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	sqlite3_int64 index = sqlite3_value_int64(argv[2]);
	const char *s[2], *p;

	if (!texts(ctx, argv, 2, s) || index < 0)
		return;
	for (p = s[0]; *p;) {
		size_t n = strcspn(p, s[1]);

		if (part(ctx, p, n, &index))
			return;
		p += n;
		p += *p != 0;
	}
}

struct pattern {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *limits;
};

static void pattern_free(void *arg)
{
	struct pattern *p = arg;

	pcre2_match_context_free(p->limits);
	pcre2_match_data_free(p->data);
	pcre2_code_free(p->code);
	sqlite3_free(p);
}

static struct pattern *pattern_compile(sqlite3_context *ctx, const char *text)
{
	struct pattern *p = sqlite3_malloc(sizeof(*p));
	pcre2_compile_context *cc = pcre2_compile_context_create(NULL);
	PCRE2_UCHAR why[120];
	PCRE2_SIZE at;
	int code = 0;
	char *message;

	if (!p || !cc)
		goto nomem;
	*p = (struct pattern){};
	pcre2_set_parens_nest_limit(cc, PATTERN_DEPTH);
	pcre2_set_max_pattern_length(cc, PATTERN_MAX);
	p->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_NEVER_BACKSLASH_C,
				&code, &at, cc);
	if (!p->code) {
		pcre2_get_error_message(code, why, sizeof(why));
		message = sqlite3_mprintf("the pattern cannot be used: %s at offset %lld", why,
					  (long long)at);
		sqlite3_result_error(ctx, message ? message : "the pattern cannot be used", -1);
		sqlite3_free(message);
		goto failed;
	}
	p->data = pcre2_match_data_create_from_pattern(p->code, NULL);
	p->limits = pcre2_match_context_create(NULL);
	if (!p->data || !p->limits)
		goto nomem;
	pcre2_set_match_limit(p->limits, MATCH_STEPS);
	pcre2_set_heap_limit(p->limits, MATCH_KIB);
	pcre2_compile_context_free(cc);
	return p;

nomem:
	sqlite3_result_error_nomem(ctx);
failed:
	pcre2_compile_context_free(cc);
	if (p)
		pattern_free(p);
	return NULL;
}

/* A pattern that is the same in each row is compiled once. NULL: the result is set. */
static struct pattern *pattern_of(sqlite3_context *ctx, int arg, const char *text)
{
	struct pattern *p = sqlite3_get_auxdata(ctx, arg);

	if (p)
		return p;
	p = pattern_compile(ctx, text);
	if (!p)
		return NULL;
	sqlite3_set_auxdata(ctx, arg, p, pattern_free);
	p = sqlite3_get_auxdata(ctx, arg);
	if (!p)
		sqlite3_result_error_nomem(ctx);
	return p;
}

/* The offsets of the groups and how many there are; 0: no match; < 0: the result is set. */
static int match(sqlite3_context *ctx, struct pattern *p, const char *s, size_t n, size_t from,
		 PCRE2_SIZE **at)
{
	int r = pcre2_match(p->code, (PCRE2_SPTR)s, n, from, 0, p->data, p->limits);

	*at = pcre2_get_ovector_pointer(p->data);
	if (r == PCRE2_ERROR_NOMATCH)
		return 0;
	if (r > 0)
		return r;
	sqlite3_result_error(ctx, "matching the pattern takes too much work", -1);
	return -1;
}

/* regex_match(text, pattern, group): 0 is all of the match. */
static void on_regex_match(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	sqlite3_int64 group = sqlite3_value_int64(argv[2]);
	struct pattern *p;
	const char *s[2];
	PCRE2_SIZE *at;
	int n;

	if (!texts(ctx, argv, 2, s) || group < 0)
		return;
	p = pattern_of(ctx, 1, s[1]);
	if (!p)
		return;
	n = match(ctx, p, s[0], strlen(s[0]), 0, &at);
	/* \K can set a match's begin behind its end. */
	if (n > group && at[2 * group] != PCRE2_UNSET && at[2 * group] <= at[2 * group + 1])
		result(ctx, s[0] + at[2 * group], at[2 * group + 1] - at[2 * group]);
}

/* regex_split(text, pattern, index) */
static void on_regex_split(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	sqlite3_int64 index = sqlite3_value_int64(argv[2]);
	size_t from = 0, len;
	struct pattern *p;
	const char *s[2];
	PCRE2_SIZE *at;
	int n;

	if (!texts(ctx, argv, 2, s) || index < 0)
		return;
	p = pattern_of(ctx, 1, s[1]);
	if (!p)
		return;
	for (len = strlen(s[0]); from <= len;) {
		n = match(ctx, p, s[0], len, from, &at);
		if (n < 0)
			return;
		/* an empty match divides nothing */
		if (!n || at[1] <= from || at[0] < from || at[0] >= at[1])
			break;
		if (part(ctx, s[0] + from, at[0] - from, &index))
			return;
		from = at[1];
	}
	part(ctx, s[0] + from, len - from, &index);
}

/* X REGEXP Y is regexp(Y, X). */
static void on_regexp(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	struct pattern *p;
	const char *s[2];
	PCRE2_SIZE *at;
	int n;

	if (!texts(ctx, argv, 2, s))
		return;
	p = pattern_of(ctx, 0, s[0]);
	if (!p)
		return;
	n = match(ctx, p, s[1], strlen(s[1]), 0, &at);
	if (n >= 0)
		sqlite3_result_int(ctx, n > 0);
}

/* ---- concat, concat_ws: what is NULL is left out ---- */

static void join(sqlite3_context *ctx, const char *between, int argc, sqlite3_value **argv)
{
	sqlite3_str *s = sqlite3_str_new(sqlite3_context_db_handle(ctx));
	bool first = true;
	char *text;
	int n;

	for (int i = 0; i < argc; i++) {
		if (sqlite3_value_type(argv[i]) == SQLITE_NULL)
			continue;
		if (!first)
			sqlite3_str_appendall(s, between);
		first = false;
		sqlite3_str_appendall(s, (const char *)sqlite3_value_text(argv[i]) ?: "");
	}
	n = sqlite3_str_length(s);
	if (sqlite3_str_errcode(s)) {
		sqlite3_result_error_code(ctx, sqlite3_str_errcode(s));
		sqlite3_free(sqlite3_str_finish(s));
		return;
	}
	text = sqlite3_str_finish(s);
	sqlite3_result_text(ctx, text ? text : "", n, text ? sqlite3_free : SQLITE_STATIC);
}

static void on_concat(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	join(ctx, "", argc, argv);
}

static void on_concat_ws(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	const char *between;

	if (argc && texts(ctx, argv, 1, &between))
		join(ctx, between, argc - 1, argv + 1);
}

/* ---- addresses ---- */

/* The address as an integer, its first part on top. */
static void on_inet_aton(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	struct in_addr a;
	const char *s;

	if (texts(ctx, argv, 1, &s) && inet_pton(AF_INET, s, &a) == 1)
		sqlite3_result_int64(ctx, ntohl(a.s_addr));
}

static int parse_address(const char *s, unsigned char out[16])
{
	if (inet_pton(AF_INET, s, out) == 1)
		return 32;
	return inet_pton(AF_INET6, s, out) == 1 ? 128 : 0;
}

/* in_cidr_block('10.0.0.0/8', address) */
static void on_in_cidr_block(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	unsigned char net[16], a[16];
	const char *s[2], *slash;
	char text[64], *end;
	int width, bits;
	bool in = true;
	long len;

	if (!texts(ctx, argv, 2, s))
		return;
	slash = strchr(s[0], '/');
	if (!slash || (size_t)(slash - s[0]) >= sizeof(text))
		return;
	memcpy(text, s[0], (size_t)(slash - s[0]));
	text[slash - s[0]] = 0;
	width = parse_address(text, net);
	len = strtol(slash + 1, &end, 10);
	if (!width || !isdigit((unsigned char)slash[1]) || *end || len < 0 || len > width)
		return;
	bits = parse_address(s[1], a);
	if (!bits)
		return;
	in = bits == width;
	for (int i = 0; in && i < len; i++)
		in = !((net[i / 8] ^ a[i / 8]) >> (7 - i % 8) & 1);
	sqlite3_result_int(ctx, in);
}

/* ---- versions ---- */

/* Numbers as numbers, whatever their length; what else there is by bytes. */
static int compare_part(const char *a, size_t na, const char *b, size_t nb)
{
	int r;

	if (na && nb && isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
		while (na && *a == '0')
			a++, na--;
		while (nb && *b == '0')
			b++, nb--;
		if (na != nb)
			return na < nb ? -1 : 1;
	}
	r = memcmp(a, b, na < nb ? na : nb);
	if (!r)
		r = na < nb ? -1 : na > nb;
	return r < 0 ? -1 : r > 0;
}

static size_t version_part(const char **s)
{
	size_t n = 0;
	bool digits;

	while (**s && !isalnum((unsigned char)**s))
		(*s)++;
	digits = isdigit((unsigned char)**s);
	while (isalnum((unsigned char)(*s)[n]) && !isdigit((unsigned char)(*s)[n]) != digits)
		n++;
	return n;
}

/* version_compare(a, b): -1, 0, 1 */
static void on_version_compare(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	const char *s[2];
	int r = 0;

	if (!texts(ctx, argv, 2, s))
		return;
	while (!r) {
		size_t na = version_part(&s[0]), nb = version_part(&s[1]);

		if (!na && !nb)
			break;
		r = compare_part(s[0], na, s[1], nb);
		s[0] += na;
		s[1] += nb;
	}
	sqlite3_result_int(ctx, r);
}

/* ---- hashes, base64 ---- */

static void result_hex(sqlite3_context *ctx, const uint8_t *digest, size_t n)
{
	char text[2 * SHA256_DIGEST_SIZE + 1];

	for (size_t i = 0; i < n; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	result(ctx, text, 2 * n);
}

#define HASH(name, context, bytes)                                                                 \
	static void on_##name(sqlite3_context *ctx, int argc, sqlite3_value **argv)                \
	{                                                                                          \
		struct context h;                                                                  \
		uint8_t digest[bytes];                                                             \
                                                                                                   \
		if (sqlite3_value_type(argv[0]) == SQLITE_NULL)                                    \
			return;                                                                    \
		name##_init(&h);                                                                   \
		const void *p = sqlite3_value_blob(argv[0]);                                       \
		name##_update(&h, (size_t)sqlite3_value_bytes(argv[0]), p);                        \
		name##_digest(&h, sizeof(digest), digest);                                         \
		result_hex(ctx, digest, sizeof(digest));                                           \
	}

HASH(md5, md5_ctx, MD5_DIGEST_SIZE)
HASH(sha1, sha1_ctx, SHA1_DIGEST_SIZE)
HASH(sha256, sha256_ctx, SHA256_DIGEST_SIZE)

static void on_to_base64(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	size_t n;
	char *to;

	if (sqlite3_value_type(argv[0]) == SQLITE_NULL)
		return;
	const uint8_t *p = sqlite3_value_blob(argv[0]);

	n = (size_t)sqlite3_value_bytes(argv[0]);
	to = sqlite3_malloc64(BASE64_ENCODE_RAW_LENGTH(n) + 1);
	if (!to) {
		sqlite3_result_error_nomem(ctx);
		return;
	}
	base64_encode_raw(to, n, p);
	sqlite3_result_text64(ctx, to, BASE64_ENCODE_RAW_LENGTH(n), sqlite3_free, SQLITE_UTF8);
}

/* What is no base64 gives NULL. */
static void on_from_base64(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	struct base64_decode_ctx d;
	size_t n, len;
	const char *s;
	uint8_t *to;

	if (!texts(ctx, argv, 1, &s))
		return;
	len = strlen(s);
	n = BASE64_DECODE_LENGTH(len);
	to = sqlite3_malloc64(n + 1);
	if (!to) {
		sqlite3_result_error_nomem(ctx);
		return;
	}
	base64_decode_init(&d);
	if (base64_decode_update(&d, &n, to, len, s) && base64_decode_final(&d))
		result(ctx, (const char *)to, n);
	sqlite3_free(to);
}

int functions_register(sqlite3 *db)
{
	static const struct {
		const char *name;
		int args;
		void (*call)(sqlite3_context *, int, sqlite3_value **);
	} functions[] = {
		{ "split", 3, on_split },
		{ "regex_match", 3, on_regex_match },
		{ "regex_split", 3, on_regex_split },
		{ "regexp", 2, on_regexp },
		{ "concat", -1, on_concat },
		{ "concat_ws", -1, on_concat_ws },
		{ "inet_aton", 1, on_inet_aton },
		{ "in_cidr_block", 2, on_in_cidr_block },
		{ "version_compare", 2, on_version_compare },
		{ "md5", 1, on_md5 },
		{ "sha1", 1, on_sha1 },
		{ "sha256", 1, on_sha256 },
		{ "to_base64", 1, on_to_base64 },
		{ "from_base64", 1, on_from_base64 },
	};
	const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
	int r = SQLITE_OK;

	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]) && !r; i++)
		r = sqlite3_create_function(db, functions[i].name, functions[i].args, flags, NULL,
					    functions[i].call, NULL, NULL);
	return r;
}
