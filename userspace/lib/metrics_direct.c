// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Families of direct mode, only of vCPUs whose counters KVM has traced: a KVM without our patches
 * has no series of them.
 */
#include "metrics_emit.h"

static bool traced(const struct iho_metrics_vcpu *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->v[i].direct.traced)
			return true;
	return false;
}

static uint64_t sum(const struct iho_metrics_vcpu *c, unsigned int counter)
{
	uint64_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += c->v[i].direct.total[counter];
	return n;
}

/* The living vCPU, if its counters are known; else NULL. */
static const struct iho_direct_report *known(const struct iho_metrics_vcpu *c)
{
	const struct iho_vcpu *v = iho_emit_living(c);

	return v && v->direct.known ? &v->direct : NULL;
}

void iho_emit_direct(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		const struct iho_direct_report *d = known(&c);

		if (d)
			iho_emit_int(e, IHO_LABELS(e->vm_label, c.label), d->on);
	}
}

void iho_emit_direct_ipi(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		const struct iho_direct_report *d = known(&c);

		if (d)
			iho_emit_int(e, IHO_LABELS(e->vm_label, c.label), d->ipi_on);
	}
}

void iho_emit_direct_missing(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		const struct iho_direct_report *d = known(&c);

		for (unsigned int i = 0; d && iho_direct_missing_key(i); i++)
			if (d->missing >> i & 1)
				iho_emit_int(e,
					     IHO_LABELS(e->vm_label, c.label,
							iho_direct_missing_key(i)),
					     1);
	}
}

static void emit_kinds(struct iho_metrics_emit *e, const unsigned int *counters,
		       const char *const *kinds, size_t n)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);)
		for (size_t i = 0; traced(&c) && i < n; i++)
			iho_emit_int(e, IHO_LABELS(e->vm_label, c.label, kinds[i]),
				     sum(&c, counters[i]));
}

void iho_emit_direct_interrupts(struct iho_metrics_emit *e)
{
	static const unsigned int counters[] = { IHO_DIRECT_WITHOUT_EXIT, IHO_DIRECT_WITH_EXIT,
						 IHO_DIRECT_RECOVERED };
	static const char *const kinds[] = { "without_exit", "with_exit", "recovered" };

	emit_kinds(e, counters, kinds, 3);
}

void iho_emit_direct_ipis(struct iho_metrics_emit *e)
{
	static const unsigned int counters[] = { IHO_DIRECT_IPIS_WITHOUT_EXIT,
						 IHO_DIRECT_IPIS_KICKED, IHO_DIRECT_IPIS_ASKED };
	static const char *const kinds[] = { "without_exit", "kicked", "asked" };

	emit_kinds(e, counters, kinds, 3);
}

/* `of` is one of enum iho_direct_counter, or of what is derived from them. */
void iho_emit_direct_counter(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);)
		if (traced(&c))
			iho_emit_int(e, IHO_LABELS(e->vm_label, c.label), sum(&c, e->metric->of));
}

void iho_emit_direct_refused(struct iho_metrics_emit *e)
{
	for (struct iho_metrics_vcpu c = {}; iho_emit_next_vcpu(e, &c);) {
		uint64_t n = 0;

		for (size_t i = 0; i < c.n; i++)
			n += c.v[i].direct.refused;
		if (traced(&c))
			iho_emit_int(e, IHO_LABELS(e->vm_label, c.label), n);
	}
}
