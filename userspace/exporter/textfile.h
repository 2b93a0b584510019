/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For node_exporter's textfile collector: whoever opens the file sees one whole scrape. */
#ifndef IHO_EXPORTER_TEXTFILE_H
#define IHO_EXPORTER_TEXTFILE_H

#include <stddef.h>

#include "collector.h"

/* Replaces the file at once, with mode 0644, after its content has reached the disk. */
int iho_textfile_write(const char *path, const char *data, size_t len, struct iho_error *err);

#endif /* IHO_EXPORTER_TEXTFILE_H */
