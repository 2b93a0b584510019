/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a client would like to have: the Accept and Accept-Encoding fields of RFC 9110, sections
 * 12.5.1 and 12.5.3. Pure; any text is allowed as input, what cannot be understood counts as
 * not said. Several fields of one name are given joined by commas, NULL stands for none.
 */
#ifndef IHO_EXPORTER_NEGOTIATE_H
#define IHO_EXPORTER_NEGOTIATE_H

#include <stdbool.h>

#include "metrics.h"

/*
 * The format of /metrics: OpenMetrics 1.0.0 where the client prefers it, or names it and likes
 * both equally; else the Prometheus text, also where neither is acceptable.
 */
enum iho_metrics_format iho_accept_format(const char *accept);

/* Does the client take gzip, and not prefer the plain body? */
bool iho_accept_gzip(const char *accept_encoding);

#endif /* IHO_EXPORTER_NEGOTIATE_H */
