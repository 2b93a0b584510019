/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: will a pre-copy migration converge, and when. Pure.
 *
 * The model is what QEMU does. A pass sends what was dirty at its beginning until what is left can
 * be sent within the allowed downtime; then the pages that were written meanwhile are added. They
 * are D * t, never more than the guest's working set W. D, W and the bandwidth B come from the
 * samples: each is taken as it was seen most often of late, and in the better and the worse case as
 * it was seen at its best and worst. With a throttle, D shrinks as QEMU's rule says: a step of
 * 10 %, the first of 20 %, after two passes of a second or more that dirtied more than half of what
 * was sent.
 */
#ifndef IHO_FORECAST_H
#define IHO_FORECAST_H

#include "migration.h"

#define IHO_FORECAST_HORIZON_S (24 * 3600.0) /* longer is never */

/* `n` is the state at the last sample. The samples are in order of time. */
void iho_forecast(struct iho_forecast *f, enum iho_migration_phase phase,
		  const struct iho_migration_numbers *now, const struct iho_migration_sample *v,
		  size_t n);

/* Fills the errors from the forecasts that were made, for one that took `total_s`. */
void iho_forecast_errors(double error[IHO_FORECAST_MARKS], const struct iho_migration_sample *v,
			 size_t n, double total_s);

#endif /* IHO_FORECAST_H */
