/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IHO_EXPORTER_ERROR_H
#define IHO_EXPORTER_ERROR_H

#include <stdarg.h>
#include <stdio.h>

#include "collector.h"

/* Puts the sentence into `err` and returns `code`, a negative errno value. */
__attribute__((format(printf, 3, 4))) static inline int iho_fail(struct iho_error *err, int code,
								 const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

#endif /* IHO_EXPORTER_ERROR_H */
