// SPDX-License-Identifier: GPL-2.0-or-later
#include "text.h"

json_t *iho_text_json(const char *s)
{
	json_t *j = json_string(s);
	char clean[256];
	size_t n = 0;

	if (j)
		return j;
	for (; *s && n + 1 < sizeof(clean); s++)
		clean[n++] = (unsigned char)*s < 0x80 ? *s : '?';
	clean[n] = '\0';
	return json_string(clean);
}
