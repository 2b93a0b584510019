// SPDX-License-Identifier: GPL-2.0-or-later
/* load FILE.ko: loads a module that has no versions, as insmod -f would. */
#include <fcntl.h>
#include <linux/module.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDONLY) : -1;

	if (fd < 0) {
		perror(argc > 1 ? argv[1] : "load");
		return 1;
	}
	if (syscall(SYS_finit_module, fd, "",
		    MODULE_INIT_IGNORE_MODVERSIONS | MODULE_INIT_IGNORE_VERMAGIC)) {
		perror("finit_module");
		return 1;
	}
	return 0;
}
