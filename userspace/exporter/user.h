/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IHO_EXPORTER_USER_H
#define IHO_EXPORTER_USER_H

#include "collector.h"

/* Becomes this user for good, with its groups. Only root can, and before it has other threads. */
int iho_become(const char *user, struct iho_error *err);

#endif /* IHO_EXPORTER_USER_H */
