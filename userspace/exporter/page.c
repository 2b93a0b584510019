// SPDX-License-Identifier: GPL-2.0-or-later
#include "page.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SHA256 32

static const char *find(const char *from, const char *end, const char *what)
{
	return memmem(from, end - from, what, strlen(what));
}

/* " 'sha256-...'" of a text between two tags */
static int print_hash(FILE *f, const char *text, size_t len)
{
	unsigned char hash[SHA256];
	gnutls_datum_t in = { hash, sizeof(hash) }, out;

	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, text, len, hash) ||
	    gnutls_base64_encode2(&in, &out))
		return -1;
	fprintf(f, " 'sha256-%.*s'", (int)out.size, (char *)out.data);
	gnutls_free(out.data);
	return 0;
}

/* The hashes of every <TAG...>text</TAG>, or 'none'. The page is ours: its tags are lower case. */
static int print_hashes(FILE *f, const char *html, const char *end, const char *tag)
{
	char open[16], close[16];
	const char *p = html, *text, *stop;
	int n = 0;

	snprintf(open, sizeof(open), "<%s", tag);
	snprintf(close, sizeof(close), "</%s>", tag);
	while ((p = find(p, end, open))) {
		p += strlen(open);
		if (*p != '>' && *p != ' ')
			continue;
		text = memchr(p, '>', end - p);
		stop = text ? find(text, end, close) : NULL;
		if (!stop)
			break;
		if (print_hash(f, text + 1, stop - text - 1))
			return -1;
		n++;
		p = stop;
	}
	if (!n)
		fputs(" 'none'", f);
	return 0;
}

char *iho_page_policy(const char *html, size_t len)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	int r;

	if (!f)
		return NULL;
	fputs("default-src 'none'; script-src", f);
	r = print_hashes(f, html, html + len, "script");
	fputs("; style-src", f);
	r |= print_hashes(f, html, html + len, "style");
	fputs("; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
	      "frame-ancestors 'none'",
	      f);
	if (fclose(f) || r) {
		free(text);
		return NULL;
	}
	return text;
}
