/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The live page, and the policy that lets it and nothing else run: page/build.mjs made both. */
#ifndef IHO_EXPORTER_PAGE_H
#define IHO_EXPORTER_PAGE_H

#include <stddef.h>

extern const char iho_page[];
extern const size_t iho_page_bytes;

/* The value of the page's Content-Security-Policy header, a string. */
extern const char iho_page_policy[];

#endif /* IHO_EXPORTER_PAGE_H */
