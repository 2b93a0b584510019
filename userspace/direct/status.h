/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IHO_DIRECT_STATUS_H
#define IHO_DIRECT_STATUS_H

#include "direct.h"

/* Of one VM, or of all for NULL, to stdout. Returns the exit status. */
int status_print(const char *which, bool json);

#endif /* IHO_DIRECT_STATUS_H */
