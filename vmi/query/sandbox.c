// SPDX-License-Identifier: GPL-2.0-or-later
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cap-ng.h>
#include <seccomp.h>

#define NOBODY	   65534
#define DATA_BYTES (512u << 20)
#define CPU_S	   3600 /* the parent counts a statement's time: this is for when it is gone */
#define FDS	   80 /* as many as a target can bring, and a few */

static int fail(struct vmi_error *err, int e, const char *what)
{
	snprintf(err->text, sizeof(err->text), "no sandbox: %s: %s", what, strerror(e));
	return -e;
}

/*
 * Memory is limited by RLIMIT_DATA, not RLIMIT_AS: what counts is what can be written. A guest's
 * RAM, mapped read-only, may be of any size.
 */
static int limit(struct vmi_error *err)
{
	static const struct {
		int what;
		rlim_t value;
	} limits[] = {
		{ RLIMIT_CORE, 0 },	     { RLIMIT_FSIZE, 0 },   { RLIMIT_NOFILE, FDS },
		{ RLIMIT_NPROC, 0 },	     { RLIMIT_MEMLOCK, 0 }, { RLIMIT_MSGQUEUE, 0 },
		{ RLIMIT_STACK, 8 << 20 },   { RLIMIT_CPU, CPU_S },
#ifndef __SANITIZE_ADDRESS__
		{ RLIMIT_DATA, DATA_BYTES },
#endif
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct rlimit l;

		if (getrlimit(limits[i].what, &l))
			return fail(err, errno, "getrlimit");
		if (limits[i].value < l.rlim_max)
			l.rlim_max = limits[i].value;
		l.rlim_cur = l.rlim_max;
		if (setrlimit(limits[i].what, &l))
			return fail(err, errno, "setrlimit");
	}
	return 0;
}

/*
 * As root with the power to, another user. ihod has given that power up before: its worker stays
 * user 0, which without capabilities and system calls is a number.
 */
static int drop_user(struct vmi_error *err)
{
	if (getuid() && geteuid())
		return 0;
	capng_get_caps_process();
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETUID) ||
	    !capng_have_capability(CAPNG_EFFECTIVE, CAP_SETGID))
		return 0;
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		return fail(err, errno, "cannot become another user");
	return 0;
}

/* While it may: no program that were ever started here could have one again. */
static int drop_bounds(struct vmi_error *err)
{
	capng_get_caps_process();
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		return 0;
	capng_clear(CAPNG_SELECT_BOUNDS);
	if (capng_apply(CAPNG_SELECT_BOUNDS))
		return fail(err, EPERM, "cannot give up the bounding set");
	return 0;
}

static int drop_capabilities(struct vmi_error *err)
{
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_CAPS) || capng_apply(CAPNG_SELECT_AMBIENT))
		return fail(err, EPERM, "cannot give up capabilities");
	capng_get_caps_process();
	if (capng_have_capabilities(CAPNG_SELECT_CAPS) > CAPNG_NONE)
		return fail(err, EPERM, "capabilities are left");
	return 0;
}

/* ---- system calls ---- */

/* Memory, time, what it was given, and its end. */
static const int allowed[] = {
	SCMP_SYS(read),		  SCMP_SYS(readv),
	SCMP_SYS(pread64),	  SCMP_SYS(preadv),
	SCMP_SYS(lseek),	  SCMP_SYS(fstat),
	SCMP_SYS(close),	  SCMP_SYS(poll),
	SCMP_SYS(ppoll),	  SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),	  SCMP_SYS(munmap),
	SCMP_SYS(madvise),	  SCMP_SYS(brk),
	SCMP_SYS(mremap),	  SCMP_SYS(futex),
	SCMP_SYS(clock_gettime),  SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday),	  SCMP_SYS(time),
	SCMP_SYS(getpid),	  SCMP_SYS(gettid),
	SCMP_SYS(getuid),	  SCMP_SYS(geteuid),
	SCMP_SYS(getrandom),	  SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),	  SCMP_SYS(setitimer),
	SCMP_SYS(sysinfo),	  SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),		  SCMP_SYS(exit_group),
};

/* What libraries try, and do without: they are told no. Anything else ends the process. */
static const int refused[] = {
	SCMP_SYS(open),	  SCMP_SYS(openat),	SCMP_SYS(access), SCMP_SYS(faccessat),
	SCMP_SYS(stat),	  SCMP_SYS(lstat),	SCMP_SYS(statx),  SCMP_SYS(readlink),
	SCMP_SYS(uname),  SCMP_SYS(readlinkat), SCMP_SYS(ioctl),  SCMP_SYS(fcntl),
	SCMP_SYS(getcwd), SCMP_SYS(fadvise64),	SCMP_SYS(prctl),  SCMP_SYS(sched_getaffinity),
};

static int add_conditional(scmp_filter_ctx ctx, int fd)
{
	const scmp_datum_t writable = PROT_WRITE | PROT_EXEC, exec = PROT_EXEC;
	int r = 0;

	/* Said to the parent, and to nobody else. */
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)fd));
	/* Memory of its own, never executable; of others', to read. */
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, exec, 0),
				     SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_TYPE, MAP_PRIVATE));
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, writable, 0),
				     SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_TYPE, MAP_SHARED));
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, exec, 0));
	/* fstat() of glibc */
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
				     SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH));
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(newfstatat), 1,
				     SCMP_A3(SCMP_CMP_NE, AT_EMPTY_PATH));
	/* abort() */
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	return r;
}

#ifdef __SANITIZE_ADDRESS__
/* ASan writes its reports, and looks at /proc. */
static int add_sanitizer(scmp_filter_ctx ctx)
{
	static const int more[] = { SCMP_SYS(write),	 SCMP_SYS(sched_yield),
				    SCMP_SYS(getrlimit), SCMP_SYS(prlimit64),
				    SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep) };
	int r = 0;

	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]) && !r; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, more[i], 0);
	return r;
}
#else
static int add_sanitizer(scmp_filter_ctx ctx)
{
	return 0;
}
#endif

static int filter(int fd, struct vmi_error *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && !r; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]) && !r; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), refused[i], 0);
	if (!r)
		r = add_conditional(ctx, fd);
	if (!r)
		r = add_sanitizer(ctx);
	/* a tree, not a list: reads of a dump go through it, each */
	if (!r)
		seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!r)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r ? fail(err, -r, "cannot filter system calls") : 0;
}

int sandbox_enter(int fd, struct vmi_error *err)
{
	int r = limit(err);

	if (!r)
		r = drop_bounds(err);
	if (!r)
		r = drop_user(err);
	if (!r)
		r = drop_capabilities(err);
	if (r)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return fail(err, errno, "prctl");
	return filter(fd, err);
}
