/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of what /dev/iho speaks of in bits (linux/iho.h).
 */
#ifndef IHO_DIRECT_MODES_H
#define IHO_DIRECT_MODES_H

#include <stddef.h>
#include <stdint.h>

struct bit_name {
	uint32_t bit;
	const char *name; /* a word, as in options and JSON */
	const char *text; /* the rest of a sentence */
};

/* Each ends with a bit of 0. */
extern const struct bit_name direct_modes[]; /* IHO_MODE_* */
extern const struct bit_name direct_refused[]; /* IHO_REFUSED_* */
extern const struct bit_name direct_missing[]; /* IHO_MISSING_* */

/* Names with `separator` between them, bits without one as hexadecimal; "" for none. */
void bits_text(const struct bit_name *names, uint32_t bits, const char *separator, int texts,
	       char *buf, size_t len);

#endif /* IHO_DIRECT_MODES_H */
