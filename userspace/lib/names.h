/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names for the numbers that KVM and the kernel report: exit reasons, softirqs, APICv inhibits.
 *
 * They are the running kernel's own, read once from the format files of tracefs and from BTF: a
 * kernel newer than our headers knows codes that they do not. The uapi headers that the program was
 * compiled with fill the gaps.
 *
 * The name functions only read `n` and may run in several threads. They always give a
 * NUL-terminated text, cut to `len`; with `len` 0 they write nothing. `n` must not be NULL.
 */
#ifndef IHO_NAMES_H
#define IHO_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

struct iho_names;

/*
 * `tracefs`: where it is mounted, such as "/sys/kernel/tracing". NULL, a tracefs that cannot be
 * read, and a kvm module that is not loaded yet are no errors: the built-in tables are used.
 * Returns 0 or -ENOMEM. Sets libtraceevent's log level, one for the whole process, to "nothing".
 */
int iho_names_open(struct iho_names **n, const char *tracefs);

/*
 * The tables as JSON, {"vmx": [[code, name], ...], ...}, and back: readers without privileges have
 * no tracefs, so ihod gives them its own. iho_names_read() keeps a reference of `j`; -EPROTO if it
 * has not that shape, -ENOMEM.
 */
json_t *iho_names_wire(const struct iho_names *n);
int iho_names_read(struct iho_names **n, json_t *j);
void iho_names_close(struct iho_names *n);

/*
 * `isa`: enum iho_isa. An unknown code is its number, "0x1234". Bits 16 and above of a VMX exit
 * reason are flags (SDM volume 3, "Format of Exit Reason") and follow, as in
 * "INVALID_STATE|FAILED_VMENTRY". IHO_CODE_OVERFLOW is "(other reasons)".
 */
void iho_exit_name(const struct iho_names *n, uint32_t isa, uint32_t code, char *buf, size_t len);

/*
 * KVM_EXIT_*: "KVM_EXIT_IO", or "KVM_EXIT_57" for an unknown one. IHO_USER_ERROR | errno is
 * "error EFAULT", IHO_CODE_OVERFLOW is "(other reasons)".
 */
void iho_user_exit_name(const struct iho_names *n, uint32_t code, char *buf, size_t len);

/* "NET_RX", or the number. There is no uapi header to fall back on. */
void iho_softirq_name(const struct iho_names *n, uint32_t nr, char *buf, size_t len);

/*
 * A bit of the masks that kvm_apicv_inhibit_changed reports: "HYPERV", from the kernel's
 * enum kvm_apicv_inhibit; "bit 7" where the kernel has no BTF or no such bit.
 */
void iho_apicv_reason_name(const struct iho_names *n, unsigned int bit, char *buf, size_t len);

/*
 * Offset in bytes of a field, also a common one, in a tracepoint's record. -ENOENT: no such event
 * or field; other negative errno values: the format cannot be read. Parses the file at each call.
 */
int iho_names_field_offset(const struct iho_names *n, const char *system, const char *event,
			   const char *field);

/* Where the exit reasons' names come from: "kernel" or "built-in". A static string. */
const char *iho_names_source(const struct iho_names *n);

#endif /* IHO_NAMES_H */
