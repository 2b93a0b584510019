// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/bpf.h>

#include <bpf/bpf.h>
#include <cap-ng.h>
#include <seccomp.h>

#include "helper.h"
#include "stats.h"

/* All that the child may call: to wait, to enable statistics, to hand them over, to end. */
static int filter(void)
{
	static const int allowed[] = { SCMP_SYS(read), SCMP_SYS(sendmsg), SCMP_SYS(close),
				       SCMP_SYS(exit_group), SCMP_SYS(exit) };
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1,
				     SCMP_A0(SCMP_CMP_EQ, BPF_ENABLE_STATS));
	if (!r)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

static int confine(void)
{
	capng_clear(CAPNG_SELECT_BOTH);
	capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SYS_ADMIN);
	return capng_apply(CAPNG_SELECT_BOTH) ? -1 : filter();
}

static int enable(const void *arg)
{
	return bpf_enable_stats(BPF_STATS_RUN_TIME);
}

int stats_start(int *sock, struct iho_error *err)
{
	const struct helper h = { .name = "ihod-stats", .confine = confine, .make = enable };

	return helper_start(sock, &h, err);
}

int stats_fd(void *arg)
{
	return helper_ask(arg);
}
