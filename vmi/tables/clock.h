/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: what time it is in the guest, by its timekeeper. That is brought up to
 * date by the guest's timer interrupt: while all its CPUs are idle it stands still, until one wakes
 * up.
 */
#ifndef VMI_CLOCK_H
#define VMI_CLOCK_H

#include "table.h"

struct vmi_clock {
	int64_t real_ns; /* CLOCK_REALTIME when it was last brought up to date */
	int64_t up_ns; /* CLOCK_BOOTTIME then */
	int64_t boot_ns; /* CLOCK_REALTIME at boot: /proc/stat's btime */
};

/*
 * 0; -ENOENT: this kernel's timekeeper is not understood. The row's witness is its sequence
 * counter; a clock that was just being changed makes the row torn.
 */
int vmi_clock(struct vmi_walk *w, struct vmi_clock *out);

#endif /* VMI_CLOCK_H */
