/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IHO_GUEST_WORKLOAD_H
#define IHO_GUEST_WORKLOAD_H

#include <stddef.h>

#define DISK	"/mnt/disk"
#define SCRATCH "/run/w"
#define CGROUP	"/sys/fs/cgroup/iho"

/*
 * A role is a process, or several, that the tests know. It is executed under its own name, makes
 * what it is there for, says ready(), and sleeps for ever.
 */
struct role {
	const char *name;
	void (*play)(int argc, char **argv);
	/* after argv[0]; NULL: none */
	const char *const *args;
	const char *const *env;
};

/* Ends the process: the workload, and with it the guest's start, has failed */
void die(const char *what);
/* The value of a system call that must succeed; anything else is the end */
#define must(call) must_(call, #call)
long must_(long value, const char *what);

/* The role is set up. Its children forget the pipe that says so. */
void ready(void);
void forget_ready(void);
void sleep_for_ever(void) __attribute__((noreturn));
/* A child that sleeps for ever, named so unless NULL */
int sleeper(const char *name);
void write_file(const char *path, const char *text);

void play_files(int argc, char **argv);
void play_maps(int argc, char **argv);
void play_sockets(int argc, char **argv);
void play_bpf(int argc, char **argv);

#endif
