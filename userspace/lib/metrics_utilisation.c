// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Families of what the guests used. Of the thread that is the vCPU now: the books of one that ended
 * are not kept, so its counters begin again with the next.
 */
#include "metrics_emit.h"

void iho_emit_cpu_seconds(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		const struct iho_vcpu *v = iho_emit_living(&c);

		for (int i = 0; v && i < IHO_CPU_MAX; i++)
			if (v->cpu_times.known >> i & 1)
				iho_emit_ns(e, IHO_LABELS(e->vm_label, c.label, iho_cpu_key(i)),
					    v->cpu_times.ns[i]);
	}
}

void iho_emit_busy(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		const struct iho_vcpu *v = iho_emit_living(&c);

		for (int i = 0; v && i < IHO_BUSY_MAX; i++) {
			double share = iho_busy_share(&v->cpu_times.busy[i]);

			if (share >= 0)
				iho_emit_real(e, IHO_LABELS(e->vm_label, c.label, iho_busy_key(i)),
					      share);
		}
	}
}

void iho_emit_disagreement(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		const struct iho_vcpu *v = iho_emit_living(&c);

		if (v)
			iho_emit_int(e, IHO_LABELS(e->vm_label, c.label), v->cpu_times.disagree);
	}
}
