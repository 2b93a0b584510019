/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which VM is this: from a process to a name that its owner knows, and to its CPUs.
 *
 * Everything comes from /proc and from libvirt's pid files. A process may end at any moment, and
 * its command line is whatever it wants it to be: nothing here waits for it, trusts it or fails.
 * `proc` is where procfs is mounted, "/proc".
 */
#ifndef IHO_VMNAME_H
#define IHO_VMNAME_H

#include <stddef.h>
#include <sys/types.h>

struct iho_vm_id {
	/*
	 * Printable: valid UTF-8, cut between characters; control characters and bytes that are no
	 * UTF-8 are '?'. Never empty. Not unique.
	 */
	char name[64];
	/*
	 * A static string: "libvirt" (QEMU of a libvirt domain), "qemu", "firecracker",
	 * "cloud-hypervisor", "crosvm", "kvmtool", "iho-demo" or "unknown".
	 */
	const char *vmm;
};

/*
 * `libvirt_run`: the directory of libvirt's pid files, "/run/libvirt/qemu"; it need not exist. A VM
 * without a name is its process: "myvmm (123)"; one that cannot be looked at is "pid 123".
 */
void iho_vm_identify(const char *proc, const char *libvirt_run, pid_t pid, struct iho_vm_id *out);

/* The static string of struct iho_vm_id for a text; "unknown" for one that is none of them. */
const char *iho_vmm_name(const char *vmm);

/*
 * Calls `fn`, unless it is NULL, for each range of a list such as "0-3,8", in its order. Returns
 * how many CPUs they are, all counted; -EINVAL if it is no such list, perhaps after some calls.
 */
int iho_cpu_ranges(const char *list, void (*fn)(unsigned int first, unsigned int last, void *arg),
		   void *arg);

/*
 * The CPUs that a thread may use, as the kernel writes them, "0-3,8"; where `len` is too small the
 * text is cut after a comma and ends in "...". Returns how many CPUs they are, all counted, or a
 * negative errno value: -ENOENT or -ESRCH when there is no such thread.
 */
int iho_affinity(const char *proc, pid_t pid, pid_t tid, char *buf, size_t len);

/*
 * How many vCPU descriptors a process holds, of all its VMs; or a negative errno value. A vCPU that
 * is not created yet is not counted, one whose descriptor was duplicated is counted twice.
 */
int iho_count_vcpus(const char *proc, pid_t pid);

/*
 * Calls `fn` for each process that holds a VM's descriptor, and returns how many these are. Those
 * that we may not look into are left out. Negative errno value: `proc` itself cannot be read.
 */
int iho_for_each_vm_process(const char *proc, void (*fn)(pid_t pid, void *arg), void *arg);

/*
 * Copies a text that may hold anything: what comes out is valid UTF-8, cut between characters to
 * fit `size` bytes; control characters and bytes that are no UTF-8 are '?'.
 */
void iho_clean_text(char *buf, size_t size, const char *text);

#endif /* IHO_VMNAME_H */
