// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The exporter's own parsers of what comes from outside. The first byte of an input chooses: the
 * fields of a request, the web configuration, the command line's words.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/exporter/address.h"
#include "../../userspace/exporter/auth.h"
#include "../../userspace/exporter/negotiate.h"
#include "../../userspace/exporter/options.h"
#include "../../userspace/exporter/page.h"
#include "../../userspace/exporter/webconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void authorization(const char *text)
{
	const char *user, *password;
	char buf[IHO_AUTH_BYTES];

	if (iho_auth_parse(text, buf, &user, &password))
		return;
	assert(user == buf && password > user && !strchr(user, ':'));
	assert(password + strlen(password) < buf + sizeof(buf));
}

static void web_config(const char *text, size_t size)
{
	struct iho_webconfig c;
	struct iho_error err = {};
	char priorities[512];

	if (iho_webconfig_parse(&c, text, size, "/etc", &err)) {
		assert(err.text[0] && !c.users && !c.cert_file);
		return;
	}
	iho_webconfig_priorities(&c, priorities, sizeof(priorities));
	assert(strlen(priorities) < sizeof(priorities) - 1);
	if (c.tls)
		assert(c.cert_file[0] == '/' && c.key_file[0] == '/');
	iho_webconfig_free(&c);
}

static void words(const char *text)
{
	char back[IHO_ADDRESS_TEXT];
	struct iho_address a, b;
	struct iho_error err = {};
	unsigned long n;
	double s;

	if (!iho_address_parse(text, &a, &err)) {
		iho_address_format(&a, back);
		assert(!iho_address_parse(back, &b, &err));
		assert(a.len == b.len && !memcmp(&a.ss, &b.ss, sizeof(a.ss)));
	}
	if (!iho_parse_count(text, 8, 100, &n))
		assert(n >= 8 && n <= 100);
	if (!iho_parse_seconds(text, 0.1, 60, &s))
		assert(s >= 0.1 && s <= 60);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (!size)
		return 0;
	text = malloc(size); /* exactly as long as it is: a read beyond it is found */
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	switch (data[0]) {
	case 'a':
		iho_accept_format(text);
		break;
	case 'e':
		iho_accept_gzip(text);
		break;
	case 'u':
		authorization(text);
		break;
	case 'y':
		web_config(text, size - 1);
		break;
	case 'w':
		words(text);
		break;
	}
	free(text);
	return 0;
}
