// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SQLite reads the JSON: json_each() hands out all members of an object, also those of one name,
 * where parsers that make a tree keep the last or refuse the file.
 */
#include "pack_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <nettle/sha1.h>
#include <sqlite3.h>

#define FILE_MAX      (4u << 20)
#define QUERIES_MAX   1024
#define DISCOVERY_MAX 64

static int fail(struct vmi_error *err, int code, const char *file, const char *why)
{
	snprintf(err->text, sizeof(err->text), "the pack %.200s: %s", file, why);
	return code;
}

static char *load_text(const char *file, struct vmi_error *err)
{
	FILE *f = fopen(file, "re");
	char *text = f ? malloc(FILE_MAX + 1) : NULL;
	size_t n = text ? fread(text, 1, FILE_MAX + 1, f) : 0;

	if (!text || ferror(f))
		fail(err, 0, file, strerror(errno));
	else if (n > FILE_MAX)
		fail(err, 0, file, "it is larger than 4 MiB");
	else if (memchr(text, 0, n))
		fail(err, 0, file, "it is no text");
	else
		text[n] = 0;
	if (text && (ferror(f) || err->text[0])) {
		free(text);
		text = NULL;
	}
	if (f)
		fclose(f);
	return text;
}

/* A backslash at a line's end joins it with the next: no JSON has one there. */
static void join_lines(char *text)
{
	char *to = text;

	for (const char *p = text; *p;) {
		if (p[0] == '\\' && p[1] == '\\') {
			*to++ = *p++;
			*to++ = *p++;
		} else if (p[0] == '\\' && (p[1] == '\n' || (p[1] == '\r' && p[2] == '\n'))) {
			p += p[1] == '\n' ? 2 : 3;
		} else {
			*to++ = *p++;
		}
	}
	*to = 0;
}

/* Lines that begin with # or // become empty: a wrong place in the file keeps its number. */
static void drop_comments(char *text)
{
	for (char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		p += strspn(p, " \t\r");
		if (*p == '#' || (p[0] == '/' && p[1] == '/'))
			memset(p, ' ', strcspn(p, "\n"));
	}
}

/* ---- whom it is for ---- */

static bool is_word(const char *p, size_t n, const char *word)
{
	return n == strlen(word) && !strncasecmp(p, word, n);
}

/* "" and "null" are no restriction; several are separated by commas. */
static bool for_linux(const char *platform)
{
	static const char *const ours[] = { "linux", "posix", "any", "all", "null" };
	const char *separators = ", \t";

	if (!platform || !platform[strspn(platform, separators)])
		return true;
	for (const char *p = platform; *p;) {
		size_t n;

		p += strspn(p, separators);
		n = strcspn(p, separators);
		for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
			if (is_word(p, n, ours[i]))
				return true;
		p += n;
	}
	return false;
}

/* As osquery's getMachineShard(): the first byte of the name's SHA-1, of 255, in percent. */
static bool in_shard(sqlite3_int64 shard, const char *host)
{
	uint8_t digest[SHA1_DIGEST_SIZE];
	struct sha1_ctx c;

	if (shard <= 0)
		return true;
	sha1_init(&c);
	sha1_update(&c, strlen(host), (const uint8_t *)host);
	sha1_digest(&c, sizeof(digest), digest);
	return shard >= digest[0] * 100 / 255;
}

/* ---- members, by SQLite ---- */

/* Columns of queries_sql. */
enum { NAME, PACK_TYPE, PLATFORM, SHARD, QUERY, INTERVAL, SNAPSHOT, REMOVED, QUERY_TYPE };

static const char queries_sql[] =
	"SELECT q.key, q.type, json_extract(m, '$.platform'), "
	"CAST(ifnull(json_extract(m, '$.shard'), 0) AS INTEGER), json_extract(m, '$.query'), "
	"CAST(ifnull(json_extract(m, '$.interval'), 3600) AS INTEGER), "
	"lower(ifnull(json_extract(m, '$.snapshot'), '0')) IN ('1', 'true', 'yes', 't', 'y'), "
	"lower(ifnull(json_extract(m, '$.removed'), '1')) IN ('1', 'true', 'yes', 't', 'y'), "
	"json_type(m, '$.query') "
	"FROM (SELECT q.key, q.type, CASE q.type WHEN 'object' THEN q.value ELSE '{}' END AS m "
	"FROM json_each(?1) AS t, json_each(CASE t.type WHEN 'object' THEN t.value ELSE '{}' END) "
	"AS q "
	"WHERE t.key = 'queries' AND t.type = 'object') AS q";

static const char pack_sql[] =
	"SELECT json_extract(?1, '$.platform'), CAST(ifnull(json_extract(?1, '$.shard'), 0) AS "
	"INTEGER), (SELECT count(*) FROM json_each(?1) AS t WHERE t.key = 'queries' AND "
	"t.type = 'object')";

static const char discovery_sql[] =
	"SELECT d.type, d.value FROM json_each(?1) AS t, json_each(CASE t.type WHEN 'array' THEN "
	"t.value ELSE '[]' END) AS d WHERE t.key = 'discovery' AND t.type = 'array'";

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql, const char *text)
{
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) ||
	    sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC)) {
		sqlite3_finalize(st);
		return NULL;
	}
	return st;
}

static const char *text_at(sqlite3_stmt *st, int column)
{
	return (const char *)sqlite3_column_text(st, column);
}

/* The second of a name is called "name:2": results tell whose they are. */
static char *unique(const struct pack *p, const char *name)
{
	char *made = name ? strdup(name) : NULL;
	unsigned int nth = 1;

	for (size_t i = 0; made && i < p->n; i++) {
		if (strcmp(made, p->query[i].name))
			continue;
		free(made);
		if (asprintf(&made, "%s:%u", name, ++nth) < 0)
			made = NULL;
		i = (size_t)-1; /* the new one may be there too */
	}
	return made;
}

static int add_query(struct pack *p, sqlite3_stmt *st, const char *host)
{
	const char *sql = text_at(st, QUERY), *type = text_at(st, QUERY_TYPE);
	sqlite3_int64 interval = sqlite3_column_int64(st, INTERVAL);
	struct pack_query *q;

	if (!for_linux(text_at(st, PLATFORM)) || !in_shard(sqlite3_column_int64(st, SHARD), host)) {
		p->left_out++;
		return 0;
	}
	if (!type || strcmp(type, "text") || !sql || !*sql || interval <= 0 ||
	    interval > PACK_INTERVAL_MAX) {
		p->wrong++;
		return 0;
	}
	if (p->n == QUERIES_MAX)
		return -E2BIG;
	q = reallocarray(p->query, p->n + 1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	p->query = q;
	q += p->n;
	*q = (struct pack_query){ .name = unique(p, text_at(st, NAME)),
				  .sql = strdup(sql),
				  .interval_s = (unsigned int)interval,
				  .snapshot = sqlite3_column_int(st, SNAPSHOT),
				  .removed = sqlite3_column_int(st, REMOVED) };
	p->n++;
	return q->name && q->sql ? 0 : -ENOMEM;
}

static int add_discovery(struct pack *p, sqlite3_stmt *st)
{
	const char *sql = text_at(st, 1);
	char **d;

	if (strcmp(text_at(st, 0), "text") || !sql)
		return -EINVAL;
	if (p->n_discovery == DISCOVERY_MAX)
		return -E2BIG;
	d = reallocarray(p->discovery, p->n_discovery + 1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	p->discovery = d;
	d[p->n_discovery] = strdup(sql);
	return d[p->n_discovery++] ? 0 : -ENOMEM;
}

static int each(struct pack *p, sqlite3 *db, const char *sql, const char *text, const char *host)
{
	sqlite3_stmt *st = prepare(db, sql, text);
	int r = st ? 0 : -EINVAL, s = SQLITE_DONE;

	while (!r && (s = sqlite3_step(st)) == SQLITE_ROW)
		r = sql == queries_sql ? add_query(p, st, host) : add_discovery(p, st);
	sqlite3_finalize(st);
	return r ? r : s == SQLITE_DONE ? 0 : s == SQLITE_NOMEM ? -ENOMEM : -EINVAL;
}

static int take(struct pack *p, sqlite3 *db, const char *text, const char *host)
{
	sqlite3_stmt *st = prepare(db, pack_sql, text);
	int r = -EINVAL;

	if (st && sqlite3_step(st) == SQLITE_ROW && sqlite3_column_int(st, 2)) {
		p->elsewhere = !for_linux(text_at(st, 0)) ||
			       !in_shard(sqlite3_column_int64(st, 1), host);
		r = 0;
	}
	sqlite3_finalize(st);
	if (!r)
		r = each(p, db, discovery_sql, text, host);
	return r ? r : each(p, db, queries_sql, text, host);
}

static char *pack_name(const char *file)
{
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
	const char *dot = strrchr(base, '.');

	return dot && dot != base ? strndup(base, (size_t)(dot - base)) : strdup(base);
}

int pack_load(struct pack **out, const char *file, const char *host, struct vmi_error *err)
{
	char *text = load_text(file, err);
	struct pack *p = text ? calloc(1, sizeof(*p)) : NULL;
	sqlite3 *db = NULL;
	int r = p ? 0 : text ? -ENOMEM : -EINVAL;

	*out = NULL;
	if (!text)
		return r;
	if (!r && (sqlite3_open(":memory:", &db) || !(p->name = pack_name(file))))
		r = -ENOMEM;
	if (!r) {
		join_lines(text);
		drop_comments(text);
		r = take(p, db, text, host);
	}
	sqlite3_close(db);
	free(text);
	if (!r) {
		*out = p;
		return 0;
	}
	pack_free(p);
	return fail(err, r, file,
		    r == -ENOMEM  ? "out of memory"
		    : r == -E2BIG ? "it has too many queries"
				  : "it is no JSON object with \"queries\" (and \"discovery\", an "
				    "array of statements), with lines of comments at the most");
}

void pack_free(struct pack *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		free(p->query[i].name);
		free(p->query[i].sql);
	}
	for (size_t i = 0; i < p->n_discovery; i++)
		free(p->discovery[i]);
	free(p->query);
	free(p->discovery);
	free(p->name);
	free(p);
}
