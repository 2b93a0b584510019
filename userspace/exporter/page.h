/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The live page, as it was built, and a policy under which it and nothing else may run. */
#ifndef IHO_EXPORTER_PAGE_H
#define IHO_EXPORTER_PAGE_H

#include <stddef.h>

extern const char iho_page[];
extern const size_t iho_page_bytes;

/*
 * The Content-Security-Policy for an HTML page: the scripts and style sheets that stand in it are
 * allowed by their hashes, requests only to where it came from. The caller frees it; NULL: no
 * memory.
 */
char *iho_page_policy(const char *html, size_t len);

#endif /* IHO_EXPORTER_PAGE_H */
