/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IHO_EXPORTER_CATALOGUE_H
#define IHO_EXPORTER_CATALOGUE_H

#include <stdbool.h>
#include <stdio.h>

/* All metric families: one a line, or a JSON object. 0 or -ENOMEM; the caller looks at ferror(). */
int iho_catalogue_print(FILE *f, bool json);

#endif /* IHO_EXPORTER_CATALOGUE_H */
