/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The threads of a VM: its VMM's, with its vCPUs', and the kernel's own that work for it.
 */
#ifndef IHO_DIRECT_THREADS_H
#define IHO_DIRECT_THREADS_H

#include <stdint.h>

#include "direct.h"

struct vcpu_thread {
	unsigned int vcpu;
	pid_t tid;
};

/*
 * The thread of each vCPU, by vCPU; free() them. KVM tells them in debugfs (since Linux 6.4);
 * without it they are known by the names that VMMs give them. Returns how many; -ENODATA with the
 * reason when not all are known, and no list.
 */
int vcpu_threads(pid_t pid, struct vcpu_thread **threads, struct direct_error *err);

/* Calls `fn` for each thread of the process. Returns how many; a negative errno value: none. */
int for_each_thread(pid_t pid, void (*fn)(pid_t tid, void *arg), void *arg);

/*
 * Calls `fn` for each thread of the kernel's that has the process in its name: vhost's, that of the
 * emulated PIT, and the one that recovers huge pages. In newer kernels most are the VMM's threads.
 */
int for_each_kernel_thread(pid_t pid, void (*fn)(pid_t tid, void *arg), void *arg);

/* When a thread began, in clock ticks since boot: that and its tid are that thread's alone. */
int thread_start(pid_t pid, pid_t tid, uint64_t *start);

/* Printable; "?" if it is not known. */
void thread_name(pid_t pid, pid_t tid, char *buf, size_t len);

#endif /* IHO_DIRECT_THREADS_H */
