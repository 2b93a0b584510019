// SPDX-License-Identifier: GPL-2.0-or-later
/* Format files in a temporary directory stand for tracefs; some tests use the running kernel's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../bpf/iho.h"
#include "../../userspace/lib/names.h"

#define TRACEFS "/sys/kernel/tracing"
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* --------------------------------------------------------------------------------- format texts */

#define HEAD(name, id)                                                                            \
	"name: " name "\n"                                                                         \
	"ID: " #id "\n"                                                                            \
	"format:\n"                                                                                \
	"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"                     \
	"\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"                     \
	"\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"             \
	"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"

/* The shape of Linux 5.9 and later. Some names differ from the real ones, to tell them apart. */
#define EXIT_FIELDS                                                                               \
	HEAD("kvm_exit", 101)                                                                      \
	"\tfield:unsigned int exit_reason;\toffset:8;\tsize:4;\tsigned:0;\n"                       \
	"\tfield:unsigned long guest_rip;\toffset:16;\tsize:8;\tsigned:0;\n"                       \
	"\tfield:u32 isa;\toffset:24;\tsize:4;\tsigned:0;\n"                                       \
	"\tfield:u64 info1;\toffset:32;\tsize:8;\tsigned:0;\n"                                     \
	"\tfield:unsigned int vcpu_id;\toffset:56;\tsize:4;\tsigned:0;\n\n"

#define EXIT_PRINT                                                                                \
	"print fmt: \"vcpu %u reason %s%s%s rip 0x%lx info1 0x%016llx\", REC->vcpu_id, "           \
	"(REC->isa == 1) ? __print_symbolic(REC->exit_reason & 0xffff, "                           \
	"{ 0, \"EXCEPTION_NMI\" }, "                                                               \
	"{ 10, \"KERNEL_CPUID\" }, { 12, \"HLT\" }, { 12, \"HLT_AGAIN\" }, "                       \
	"{ 99, \"FUTURE\" }) : __print_symbolic(REC->exit_reason, "                                \
	"{ 0x000, \"read_cr0\" }, "                                                                \
	"{ 0x040 + 14, \"PF excp\" }, { 0x078, \"kernel_hlt\" }, { 0x400, \"npf\" }, "             \
	"{ 0x8000fffd, \"vmgexit_hypervisor_feature\" }, { -1, \"invalid_guest_state\" }), "       \
	"(REC->isa == 1 && REC->exit_reason & ~0xffff) ? \" \" : \"\", "                           \
	"(REC->isa == 1) ? __print_flags(REC->exit_reason & ~0xffff, \" \", "                      \
	"{ 0x80000000, \"FAILED_VMENTRY\" }, { 0x08000000, \"ENCLAVE\" }) : \"\", "                \
	"REC->guest_rip, REC->info1\n"

#define EXIT_FORMAT EXIT_FIELDS EXIT_PRINT

/* Linux 5.8 and before had neither the vCPU's number nor the flags. */
#define EXIT_FORMAT_OLD                                                                           \
	EXIT_FIELDS                                                                                \
	"print fmt: \"reason %s rip 0x%lx info %llx %llx\", (REC->isa == 1) ? "                    \
	"__print_symbolic(REC->exit_reason, { 10, \"OLD_CPUID\" }) : "                             \
	"__print_symbolic(REC->exit_reason, { 0x072, \"old_cpuid\" }), REC->guest_rip, "           \
	"REC->info1, REC->info1\n"

/* The same tables, chosen the other way round. */
#define EXIT_FORMAT_SVM_FIRST                                                                     \
	EXIT_FIELDS                                                                                \
	"print fmt: \"reason %s\", (REC->isa == 2) ? "                                             \
	"__print_symbolic(REC->exit_reason, { 0x072, \"first_cpuid\" }) : "                        \
	"__print_symbolic(REC->exit_reason, { 10, \"SECOND_CPUID\" })\n"

#define USER_FORMAT                                                                               \
	HEAD("kvm_userspace_exit", 102)                                                            \
	"\tfield:__u32 reason;\toffset:8;\tsize:4;\tsigned:0;\n"                                   \
	"\tfield:int errno;\toffset:12;\tsize:4;\tsigned:1;\n\n"                                   \
	"print fmt: \"reason %s (%d)\", REC->errno < 0 ? (REC->errno == -4 ? \"restart\" : "       \
	"\"error\") : __print_symbolic(REC->reason, { 0, \"KVM_EXIT_\" \"UNKNOWN\" }, "            \
	"{ 2, \"KVM_EXIT_\" \"KERNEL_IO\" }, { 77, \"KVM_EXIT_\" \"FUTURE\" }), "                  \
	"REC->errno < 0 ? -REC->errno : REC->reason\n"

#define SOFTIRQ_FIELDS                                                                            \
	HEAD("softirq_entry", 103)                                                                 \
	"\tfield:unsigned int vec;\toffset:8;\tsize:4;\tsigned:0;\n\n"

#define SOFTIRQ_FORMAT                                                                            \
	SOFTIRQ_FIELDS                                                                             \
	"print fmt: \"vec=%u [action=%s]\", REC->vec, __print_symbolic(REC->vec, "                 \
	"{ 0, \"HI\" }, { 1, \"TIMER\" }, { 3, \"NET_RX\" })\n"

/* An old kernel that exports enumerators by name; also numbers that are none. */
#define SOFTIRQ_FORMAT_ENUM                                                                       \
	SOFTIRQ_FIELDS                                                                             \
	"print fmt: \"vec=%u [action=%s]\", REC->vec, __print_symbolic(REC->vec, "                 \
	"{ HI_SOFTIRQ, \"HI\" }, { 0x1ffffffff, \"WIDE\" }, { 0x5UL, \"SUFFIX\" }, "               \
	"{ 6, \"\" })\n"

/* -------------------------------------------------------------------------------- the fake tree */

/* libtraceevent leaks what it made of a format before the place where it gives up. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:tep_parse_event\n";
}

static char root[64];

static void event_path(char *path, const char *event)
{
	snprintf(path, PATH_MAX, "%s/events/%s", root, event);
	if (mkdir(path, 0755))
		assert_int_equal(errno, EEXIST);
	strcat(path, "/format");
}

static void put(const char *event, const char *text, size_t len)
{
	char path[PATH_MAX];
	FILE *f;

	event_path(path, event);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	static const char *const dirs[] = { "/events", "/events/kvm", "/events/irq" };
	char path[PATH_MAX];
	size_t i;

	(void)state;
	strcpy(root, "/tmp/iho-names.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s%s", root, dirs[i]);
		if (mkdir(path, 0755))
			return -1;
	}
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct iho_names *names(const char *tracefs)
{
	struct iho_names *n;

	assert_int_equal(iho_names_open(&n, tracefs), 0);
	assert_non_null(n);
	return n;
}

/* The text that a name function writes, for comparing in one line. */
static const char *exit_name(const struct iho_names *n, uint32_t isa, uint32_t code)
{
	static char buf[64];

	iho_exit_name(n, isa, code, buf, sizeof(buf));
	return buf;
}

static const char *user_name(const struct iho_names *n, uint32_t code)
{
	static char buf[64];

	iho_user_exit_name(n, code, buf, sizeof(buf));
	return buf;
}

static const char *softirq_name(const struct iho_names *n, uint32_t nr)
{
	static char buf[64];

	iho_softirq_name(n, nr, buf, sizeof(buf));
	return buf;
}

static const char *apicv_name(const struct iho_names *n, unsigned int bit)
{
	static char buf[64];

	iho_apicv_reason_name(n, bit, buf, sizeof(buf));
	return buf;
}

/* ------------------------------------------------------------------------------ without tracefs */

static void check_builtin(const struct iho_names *n)
{
	assert_string_equal(iho_names_source(n), "built-in");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 0), "EXCEPTION_NMI");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 10), "CPUID");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 30), "IO_INSTRUCTION");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 48), "EPT_VIOLATION");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 0x80000021), "INVALID_STATE|FAILED_VMENTRY");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0), "read_cr0");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x4e), "PF excp");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x72), "cpuid");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x400), "npf");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x80000001), "vmgexit_mmio_read");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, UINT32_MAX), "invalid_guest_state");
}

static void test_builtin(void **state)
{
	struct iho_names *n = names(NULL);

	(void)state;
	check_builtin(n);
	assert_string_equal(user_name(n, KVM_EXIT_UNKNOWN), "KVM_EXIT_UNKNOWN");
	assert_string_equal(user_name(n, KVM_EXIT_IO), "KVM_EXIT_IO");
	assert_string_equal(user_name(n, KVM_EXIT_X86_BUS_LOCK), "KVM_EXIT_X86_BUS_LOCK");
	assert_string_equal(softirq_name(n, 3), "3");
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", "isa"), -ENOENT);
	iho_names_close(n);

	n = names("/nonexistent");
	check_builtin(n);
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", "isa"), -ENOENT);
	iho_names_close(n);
	n = names("");
	check_builtin(n);
	iho_names_close(n);
	iho_names_close(NULL);
}

static void test_unknown(void **state)
{
	struct iho_names *n = names(NULL);

	(void)state;
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 0x1234), "0x1234");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 0x80001234), "0x1234|FAILED_VMENTRY");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 0x0001000c), "HLT|0x10000");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, UINT32_MAX),
			    "0xffff|FAILED_VMENTRY|0x7fff0000");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x1234), "0x1234");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x80000072), "0x80000072");
	assert_string_equal(exit_name(n, IHO_ISA_NONE, 10), "0xa");
	assert_string_equal(exit_name(n, 77, 0x8000000a), "0x8000000a");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, IHO_CODE_OVERFLOW), "(other reasons)");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, IHO_CODE_OVERFLOW), "(other reasons)");

	assert_string_equal(user_name(n, 57), "KVM_EXIT_57");
	assert_string_equal(user_name(n, 0xffff), "KVM_EXIT_65535");
	assert_string_equal(user_name(n, IHO_USER_ERROR | EFAULT), "error EFAULT");
	assert_string_equal(user_name(n, IHO_USER_ERROR | EINTR), "error EINTR");
	assert_string_equal(user_name(n, IHO_USER_ERROR | 4000), "error 4000");
	assert_string_equal(user_name(n, UINT32_MAX), "error 4294901759");
	assert_string_equal(user_name(n, IHO_CODE_OVERFLOW), "(other reasons)");

	assert_string_equal(softirq_name(n, UINT32_MAX), "4294967295");
	assert_string_equal(apicv_name(n, 63), "bit 63");
	assert_string_equal(apicv_name(n, 64), "bit 64");
	assert_string_equal(apicv_name(n, UINT_MAX), "bit 4294967295");
	iho_names_close(n);
}

static void test_short_buffers(void **state)
{
	struct iho_names *n = names(NULL);
	char buf[8];
	size_t len;

	(void)state;
	for (len = 0; len < sizeof(buf); len++) {
		/* Written in full it would be longer than all of these. */
		memset(buf, '#', sizeof(buf));
		iho_exit_name(n, IHO_ISA_VMX, 0x88000021, buf, len);
		assert_int_equal(buf[len], '#');
		assert_memory_equal(buf, "INVALID_STATE", len ? len - 1 : 0);
		assert_true(!len || !buf[len - 1]);

		memset(buf, '#', sizeof(buf));
		iho_user_exit_name(n, KVM_EXIT_IO, buf, len);
		assert_int_equal(buf[len], '#');
		memset(buf, '#', sizeof(buf));
		iho_softirq_name(n, 1000000000, buf, len);
		assert_int_equal(buf[len], '#');
		memset(buf, '#', sizeof(buf));
		iho_apicv_reason_name(n, 1000000000, buf, len);
		assert_int_equal(buf[len], '#');
	}
	iho_names_close(n);
}

/* ------------------------------------------------------------------------- the kernel's formats */

static void test_kernel_formats(void **state)
{
	struct iho_names *n;

	(void)state;
	put("kvm/kvm_exit", EXIT_FORMAT, strlen(EXIT_FORMAT));
	put("kvm/kvm_userspace_exit", USER_FORMAT, strlen(USER_FORMAT));
	put("irq/softirq_entry", SOFTIRQ_FORMAT, strlen(SOFTIRQ_FORMAT));
	n = names(root);
	assert_string_equal(iho_names_source(n), "kernel");

	assert_string_equal(exit_name(n, IHO_ISA_VMX, 10), "KERNEL_CPUID");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 12), "HLT");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 99), "FUTURE");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 0x88000063), "FUTURE|ENCLAVE|FAILED_VMENTRY");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0), "read_cr0");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x4e), "PF excp");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x78), "kernel_hlt");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x8000fffd), "vmgexit_hypervisor_feature");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, UINT32_MAX), "invalid_guest_state");
	/* What the kernel leaves out comes from the headers. */
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 48), "EPT_VIOLATION");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x72), "cpuid");

	assert_string_equal(user_name(n, 0), "KVM_EXIT_UNKNOWN");
	assert_string_equal(user_name(n, 2), "KVM_EXIT_KERNEL_IO");
	assert_string_equal(user_name(n, 77), "KVM_EXIT_FUTURE");
	assert_string_equal(user_name(n, KVM_EXIT_MMIO), "KVM_EXIT_MMIO");

	assert_string_equal(softirq_name(n, 0), "HI");
	assert_string_equal(softirq_name(n, 3), "NET_RX");
	assert_string_equal(softirq_name(n, 2), "2");
	iho_names_close(n);
}

static void test_other_shapes(void **state)
{
	struct iho_names *n;

	(void)state;
	put("kvm/kvm_exit", EXIT_FORMAT_OLD, strlen(EXIT_FORMAT_OLD));
	put("irq/softirq_entry", SOFTIRQ_FORMAT_ENUM, strlen(SOFTIRQ_FORMAT_ENUM));
	n = names(root);
	assert_string_equal(iho_names_source(n), "kernel");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 10), "OLD_CPUID");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 0x8000000a), "OLD_CPUID|FAILED_VMENTRY");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x72), "old_cpuid");
	assert_string_equal(softirq_name(n, 0), "0");
	assert_string_equal(softirq_name(n, 5), "SUFFIX");
	assert_string_equal(softirq_name(n, UINT32_MAX), "4294967295");
	iho_names_close(n);

	put("kvm/kvm_exit", EXIT_FORMAT_SVM_FIRST, strlen(EXIT_FORMAT_SVM_FIRST));
	n = names(root);
	assert_string_equal(iho_names_source(n), "kernel");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 10), "SECOND_CPUID");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x72), "first_cpuid");
	iho_names_close(n);
}

static void test_field_offset(void **state)
{
	static const char broken[] = EXIT_FIELDS "print fmt: \"%s\", REC->isa ? ((( : {\n";
	struct iho_names *n;

	(void)state;
	n = names(root);
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", "isa"), -ENOENT);
	/* The module may be loaded while we run. */
	put("kvm/kvm_exit", EXIT_FORMAT, strlen(EXIT_FORMAT));
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", "isa"), 24);
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", "vcpu_id"), 56);
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", "common_pid"), 4);
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", "common_type"), 0);
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", "is"), -ENOENT);
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", ""), -ENOENT);
	assert_int_equal(iho_names_field_offset(n, "irq", "kvm_exit", "isa"), -ENOENT);
	/* Fields are readable where the text form is not. */
	put("kvm/kvm_exit", broken, strlen(broken));
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", "isa"), 24);
	put("kvm/kvm_exit", "", 0);
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", "isa"), -EINVAL);
	iho_names_close(n);
}

/* -------------------------------------------------------------------------------------- garbage */

static void check_opens_builtin(void)
{
	struct iho_names *n = names(root);

	check_builtin(n);
	iho_names_close(n);
}

static void check_bad_exit_format(const char *text, size_t len)
{
	put("kvm/kvm_exit", text, len);
	check_opens_builtin();
}

static void test_garbage(void **state)
{
	static const char *const texts[] = {
		"", "\n", "name:", "garbage", "name: kvm_exit\nID: x\n",
		EXIT_FIELDS,
		EXIT_FIELDS "print fmt: \"",
		EXIT_FIELDS "print fmt: \"%s\", (REC->isa == 1) ? "
			    "__print_symbolic(REC->exit_reason, { 0, ",
		EXIT_FIELDS "print fmt: \"%s\", (REC->isa == 1) ? \"a\" : \"b\"\n",
		EXIT_FIELDS "print fmt: \"%s\", (REC->isa == 1) ? "
			    "__print_symbolic(REC->nosuch, { 0, \"X\" }) : "
			    "__print_symbolic(REC->, { 10, \"Y\" })\n",
		/* Tables that do not say for which ISA they are. */
		EXIT_FIELDS "print fmt: \"%s\", "
			    "__print_symbolic(REC->exit_reason, { 10, \"X\" })\n",
		EXIT_FIELDS "print fmt: \"%s\", (REC->info1 == 1) ? "
			    "__print_symbolic(REC->exit_reason, { 10, \"X\" }) : "
			    "__print_symbolic(REC->exit_reason, { 10, \"Y\" })\n",
		/* Another event's format. */
		SOFTIRQ_FORMAT,
	};
	char path[PATH_MAX];
	FILE *err = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t i;

	(void)state;
	assert_non_null(err);
	assert_true(saved >= 0);
	assert_true(dup2(fileno(err), STDERR_FILENO) >= 0);
	for (i = 0; i < ARRAY_SIZE(texts); i++)
		check_bad_exit_format(texts[i], strlen(texts[i]));
	check_bad_exit_format("\0\0\0", 3);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	/* A full-screen view must not be written into. */
	assert_int_equal(lseek(fileno(err), 0, SEEK_END), 0);
	fclose(err);

	event_path(path, "kvm/kvm_exit");
	assert_int_equal(remove(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	check_opens_builtin();
	assert_int_equal(remove(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	check_opens_builtin();
}

/* A format that is cut off anywhere gives some names and no crash. */
static void test_cut_off(void **state)
{
	size_t len = strlen(EXIT_FORMAT), i;
	struct iho_names *n;

	(void)state;
	for (i = 0; i < len; i += 29) {
		put("kvm/kvm_exit", EXIT_FORMAT, i);
		n = names(root);
		assert_string_equal(exit_name(n, IHO_ISA_VMX, 48), "EPT_VIOLATION");
		assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x400), "npf");
		iho_names_close(n);
	}
}

static void test_huge(void **state)
{
	const size_t limit = 256 * 1024, size = 2 * 1024 * 1024;
	char *text = malloc(size);
	struct iho_names *n;

	(void)state;
	assert_non_null(text);
	memset(text, '\n', size);
	memcpy(text, EXIT_FORMAT, strlen(EXIT_FORMAT));
	put("kvm/kvm_exit", text, limit);
	n = names(root);
	assert_string_equal(iho_names_source(n), "kernel");
	iho_names_close(n);

	check_bad_exit_format(text, limit + 1);
	check_bad_exit_format(text, size);
	n = names(root);
	assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", "isa"), -EFBIG);
	iho_names_close(n);
	free(text);
}

/* --------------------------------------------------------------------------- the running kernel */

/* The kernel's own list of softirqs, in the order of their numbers, is in /proc/softirqs. */
static void test_running_softirqs(void **state)
{
	char line[65536], word[64];
	struct iho_names *n;
	uint32_t nr = 0;
	FILE *f;

	(void)state;
	if (access(TRACEFS "/events/irq/softirq_entry/format", R_OK)) {
		print_message("skip: cannot read " TRACEFS "\n");
		skip();
	}
	f = fopen("/proc/softirqs", "r");
	assert_non_null(f);
	n = names(TRACEFS);
	assert_non_null(fgets(line, sizeof(line), f)); /* the CPUs */
	while (fgets(line, sizeof(line), f)) {
		assert_int_equal(sscanf(line, " %63[^:]", word), 1);
		assert_string_equal(softirq_name(n, nr++), word);
	}
	assert_int_equal(nr, IHO_SOFTIRQS);
	iho_names_close(n);
	fclose(f);
}

static void test_running_exits(void **state)
{
	static const char path[] = TRACEFS "/events/kvm/kvm_exit/format";
	struct iho_names *n;
	char line[65536];
	FILE *f = fopen(path, "r");
	int fields = 0;

	(void)state;
	if (!f) {
		print_message("skip: %s: %s\n", path, strerror(errno));
		skip();
	}
	n = names(TRACEFS);
	assert_string_equal(iho_names_source(n), "kernel");
	/* Numbers of the SDM (appendix C) and the APM (appendix C). */
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 1), "EXTERNAL_INTERRUPT");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 12), "HLT");
	assert_string_equal(exit_name(n, IHO_ISA_VMX, 0x80000021), "INVALID_STATE|FAILED_VMENTRY");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x41), "DB excp");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x78), "hlt");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, 0x400), "npf");
	assert_string_equal(exit_name(n, IHO_ISA_SVM, UINT32_MAX), "invalid_guest_state");
	assert_string_equal(user_name(n, KVM_EXIT_IO), "KVM_EXIT_IO");
	assert_string_equal(user_name(n, KVM_EXIT_MMIO), "KVM_EXIT_MMIO");

	while (fgets(line, sizeof(line), f)) {
		char *semicolon = strchr(line, ';'), *field;
		int offset;

		if (!strstr(line, "field:") || !semicolon)
			continue;
		assert_int_equal(sscanf(semicolon, ";%*[ \t]offset:%d;", &offset), 1);
		*semicolon = '\0';
		field = strrchr(line, ' ') + 1;
		assert_int_equal(iho_names_field_offset(n, "kvm", "kvm_exit", field), offset);
		fields++;
	}
	assert_in_range(fields, 8, 64);
	iho_names_close(n);
	fclose(f);
}

static void test_running_apicv(void **state)
{
	struct iho_names *n = names(NULL);

	(void)state;
	if (!strcmp(apicv_name(n, 1), "bit 1")) {
		iho_names_close(n);
		print_message("skip: no enum kvm_apicv_inhibit in the kernel's BTF\n");
		skip();
	}
	/* The first two have had these places since the enum exists; the first one grew a D. */
	assert_memory_equal(apicv_name(n, 0), "DISABLE", 7);
	assert_string_equal(apicv_name(n, 1), "HYPERV");
	iho_names_close(n);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_builtin),
		TEST(test_unknown),
		TEST(test_short_buffers),
		TEST(test_kernel_formats),
		TEST(test_other_shapes),
		TEST(test_field_offset),
		TEST(test_garbage),
		TEST(test_cut_off),
		TEST(test_huge),
		TEST(test_running_softirqs),
		TEST(test_running_exits),
		TEST(test_running_apicv),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
