// SPDX-License-Identifier: GPL-2.0-or-later
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "error.h"

int iho_become(const char *user, struct iho_error *err)
{
	const struct passwd *p;

	errno = 0;
	p = getpwnam(user);
	if (!p)
		return iho_fail(err, -ENOENT, "there is no user \"%.100s\"", user);
	if (geteuid() == p->pw_uid && getuid() == p->pw_uid)
		return 0;
	if (initgroups(user, p->pw_gid) || setgid(p->pw_gid) || setuid(p->pw_uid))
		return iho_fail(err, -errno, "cannot become user \"%.100s\": %s", user,
				strerror(errno));
	return 0;
}
