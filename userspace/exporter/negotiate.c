// SPDX-License-Identifier: GPL-2.0-or-later
#include "negotiate.h"

#include <string.h>
#include <strings.h>

#define Q_ONE 1000 /* a weight has at most three decimals */

/* A stretch of the field's text. */
struct piece {
	const char *s;
	size_t n;
};

/* How well one candidate is liked, by the most specific range that covers it. */
struct liking {
	int specific; /* 0: not mentioned */
	int q;
};

static bool is(struct piece p, const char *word)
{
	return p.n == strlen(word) && !strncasecmp(p.s, word, p.n);
}

static struct piece trim(struct piece p)
{
	while (p.n && (*p.s == ' ' || *p.s == '\t')) {
		p.s++;
		p.n--;
	}
	while (p.n && (p.s[p.n - 1] == ' ' || p.s[p.n - 1] == '\t'))
		p.n--;
	return p;
}

/* Cuts the text up to the next `sep` off its front; a separator in a quoted string is none. */
static bool next(struct piece *rest, char sep, struct piece *out)
{
	bool quoted = false;
	size_t i;

	if (!rest->s)
		return false;
	for (i = 0; i < rest->n; i++) {
		if (quoted && rest->s[i] == '\\' && i + 1 < rest->n)
			i++;
		else if (rest->s[i] == '"')
			quoted = !quoted;
		else if (rest->s[i] == sep && !quoted)
			break;
	}
	*out = trim((struct piece){ rest->s, i });
	if (i < rest->n)
		*rest = (struct piece){ rest->s + i + 1, rest->n - i - 1 };
	else
		rest->s = NULL;
	return true;
}

/* "0.75" is 750; -1: no weight */
static int weight(struct piece p)
{
	int q, scale = Q_ONE / 10;

	if (!p.n || p.n > 5 || (p.s[0] != '0' && p.s[0] != '1') || (p.n > 1 && p.s[1] != '.'))
		return -1;
	q = (p.s[0] - '0') * Q_ONE;
	for (size_t i = 2; i < p.n; i++, scale /= 10) {
		if (p.s[i] < '0' || p.s[i] > '9')
			return -1;
		q += (p.s[i] - '0') * scale;
	}
	return q <= Q_ONE ? q : -1;
}

/* Takes `;name=value` from the front of the parameters; the value without its quotes. */
static bool parameter(struct piece *rest, struct piece *name, struct piece *value)
{
	struct piece one;
	const char *eq;

	if (!next(rest, ';', &one))
		return false;
	eq = one.n ? memchr(one.s, '=', one.n) : NULL;
	*name = one;
	*value = (struct piece){ "", 0 };
	if (!eq)
		return true;
	*name = trim((struct piece){ one.s, eq - one.s });
	*value = trim((struct piece){ eq + 1, one.s + one.n - eq - 1 });
	if (value->n >= 2 && value->s[0] == '"' && value->s[value->n - 1] == '"')
		*value = (struct piece){ value->s + 1, value->n - 2 };
	return true;
}

static void like(struct liking *l, int specific, int q)
{
	if (specific > l->specific || (specific == l->specific && q > l->q))
		*l = (struct liking){ specific, q };
}

/* One media range. A version other than the one that we write is another type. */
static void accept_range(struct piece range, struct liking *text, struct liking *open)
{
	struct piece rest = range, type, name, value, version = { NULL, 0 };
	int q = Q_ONE, named;

	next(&rest, ';', &type);
	while (parameter(&rest, &name, &value)) {
		if (is(name, "q"))
			q = weight(value);
		else if (is(name, "version"))
			version = value;
	}
	if (q < 0)
		return;
	named = version.s ? 4 : 3;
	if (is(type, "*/*")) {
		like(text, 1, q);
		like(open, 1, q);
	} else if (is(type, "text/*")) {
		like(text, 2, q);
	} else if (is(type, "application/*")) {
		like(open, 2, q);
	} else if (is(type, "text/plain") && (!version.s || is(version, "0.0.4"))) {
		like(text, named, q);
	} else if (is(type, "application/openmetrics-text") &&
		   (!version.s || is(version, "1.0.0"))) {
		like(open, named, q);
	}
}

enum iho_metrics_format iho_accept_format(const char *accept)
{
	struct liking text = {}, open = {};
	struct piece rest, range;

	if (!accept)
		return IHO_METRICS_PROMETHEUS;
	rest = (struct piece){ accept, strlen(accept) };
	while (next(&rest, ',', &range))
		accept_range(range, &text, &open);
	if (open.q > text.q || (open.q && open.q == text.q && open.specific >= 3))
		return IHO_METRICS_OPENMETRICS;
	return IHO_METRICS_PROMETHEUS;
}

bool iho_accept_gzip(const char *accept_encoding)
{
	struct liking gzip = {}, identity = {};
	struct piece rest, coding, params, name, value;

	if (!accept_encoding)
		return false;
	rest = (struct piece){ accept_encoding, strlen(accept_encoding) };
	while (next(&rest, ',', &coding)) {
		int q = Q_ONE;

		params = coding;
		next(&params, ';', &coding);
		while (parameter(&params, &name, &value))
			if (is(name, "q"))
				q = weight(value);
		if (q < 0)
			continue;
		if (is(coding, "gzip") || is(coding, "x-gzip"))
			like(&gzip, 2, q);
		else if (is(coding, "*"))
			like(&gzip, 1, q);
		else if (is(coding, "identity"))
			like(&identity, 2, q);
	}
	return gzip.q && gzip.q >= identity.q;
}
