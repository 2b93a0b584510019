/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: the features of this host.
 */
#ifndef IHO_LOOK_H
#define IHO_LOOK_H

#include "source.h"

/* `source`: tells which events are used; NULL: nothing is loaded. */
int iho_features_look(struct iho_features *f, const struct iho_source *source,
		      struct iho_error *err);

#endif /* IHO_LOOK_H */
