/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts that others wrote, such as names from command lines, on their way into JSON. */
#ifndef IHO_TEXT_H
#define IHO_TEXT_H

#include <jansson.h>

/*
 * A new reference, or NULL: no memory. What is no UTF-8 becomes '?' byte by byte, and is cut after
 * 255 of them: it must not spoil a document.
 */
json_t *iho_text_json(const char *s);

#endif /* IHO_TEXT_H */
