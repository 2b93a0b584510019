// SPDX-License-Identifier: GPL-2.0-or-later
/* Process trees in a temporary directory stand for /proc; two tests use the real one. */
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
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/lib/vmname.h"

#define PID 4711
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static char root[64];
static char proc[128];
static char run[128];

/* -------------------------------------------------------------------------------- the fake tree */

static void make_dirs(const char *path)
{
	char part[PATH_MAX];
	char *slash;

	snprintf(part, sizeof(part), "%s", path);
	for (slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0755))
			assert_int_equal(errno, EEXIST);
		*slash = '/';
	}
}

static void put(const char *path, const void *data, size_t len)
{
	FILE *f;

	make_dirs(path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void put_proc(int pid, const char *file, const void *data, size_t len)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%d/%s", proc, pid, file);
	put(path, data, len);
}

static void put_link(int pid, const char *file, const char *target)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%d/%s", proc, pid, file);
	make_dirs(path);
	unlink(path);
	assert_int_equal(symlink(target, path), 0);
}

static void put_run(const char *file, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", run, file);
	put(path, text, strlen(text));
}

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/iho-vmname.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(proc, sizeof(proc), "%s/proc", root);
	snprintf(run, sizeof(run), "%s/run", root);
	return mkdir(proc, 0755) || mkdir(run, 0755);
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

/* `cmdline` has all arguments' NULs but the last one. */
#define CHECK(cmdline, vmm, name) check_vm(cmdline, sizeof(cmdline), vmm, name, __LINE__)

static void check_vm(const char *cmdline, size_t len, const char *vmm, const char *name, int line)
{
	struct iho_vm_id id;

	put_proc(PID, "cmdline", cmdline, len);
	iho_vm_identify(proc, run, PID, &id);
	if (strcmp(id.vmm, vmm) || strcmp(id.name, name))
		fail_msg("line %d: got %s '%s'", line, id.vmm, id.name);
}

/* ----------------------------------------------------------------------------------- identities */

static void test_qemu(void **state)
{
	(void)state;
	put_proc(PID, "comm", "qemu-system-x86\n", 16);
	CHECK("/usr/bin/qemu-system-x86_64\0-name\0foo", "qemu", "foo");
	CHECK("qemu-system-x86_64\0-m\0" "1G\0--name\0foo\0-smp\0" "2", "qemu", "foo");
	CHECK("qemu-system-x86_64\0-name\0guest=foo,debug-threads=on", "qemu", "foo");
	CHECK("qemu-system-x86_64\0-name\0debug-threads=on,guest=foo", "qemu", "foo");
	CHECK("qemu-system-x86_64\0-name\0foo,process=bar", "qemu", "foo");
	CHECK("qemu-system-x86_64\0-name\0guest=a,,b,,,,c,process=d", "qemu", "a,b,,c");
	CHECK("qemu-system-x86_64\0-name\0a,,guest=b", "qemu", "a,guest=b");
	CHECK("qemu-system-x86_64\0-name\0a,b", "qemu", "a");
	CHECK("qemu-system-x86_64\0-name\0guest=a=b", "qemu", "a=b");
	CHECK("qemu-system-x86_64\0-name\0guest=a,guest=b,process=c", "qemu", "b");
	CHECK("qemu-system-x86_64\0-name\0foo\0-name\0process=bar", "qemu", "foo");
	CHECK("qemu-system-x86_64\0-name\0foo\0-name\0bar", "qemu", "bar");
	CHECK("qemu-system-x86_64\0-name\0two words  ", "qemu", "two words  ");
	CHECK("/usr/libexec/qemu-kvm\0-name\0foo", "qemu", "foo");
	CHECK("kvm\0-name\0foo", "qemu", "foo");
}

static void test_qemu_without_name(void **state)
{
	(void)state;
	put_proc(PID, "comm", "qemu-system-x86\n", 16);
	CHECK("qemu-system-x86_64\0-m\0" "1G", "qemu", "qemu-system-x86 (4711)");
	CHECK("qemu-system-x86_64\0-name", "qemu", "qemu-system-x86 (4711)");
	CHECK("qemu-system-x86_64\0-name\0", "qemu", "qemu-system-x86 (4711)");
	CHECK("qemu-system-x86_64\0-name\0,", "qemu", "qemu-system-x86 (4711)");
	CHECK("qemu-system-x86_64\0-name\0guest=", "qemu", "qemu-system-x86 (4711)");
	CHECK("qemu-system-x86_64\0-name\0process=bar", "qemu", "qemu-system-x86 (4711)");
	CHECK("qemu-system-x86_64\0-name\0process=a,b", "qemu", "qemu-system-x86 (4711)");
	/* The option's name is a part of another argument. */
	CHECK("qemu-system-x86_64\0-append\0x -name y", "qemu", "qemu-system-x86 (4711)");
}

static void test_other_vmms(void **state)
{
	(void)state;
	put_proc(PID, "comm", "vmm\n", 4);
	CHECK("/usr/bin/firecracker\0--id\0f-1\0--api-sock\0/x", "firecracker", "f-1");
	CHECK("./firecracker-v1.7.0-x86_64\0--id=f-2", "firecracker", "f-2");
	CHECK("firecracker\0--idx\0a\0--\0--id\0b", "firecracker", "vmm (4711)");
	CHECK("firecracker\0--id", "firecracker", "vmm (4711)");

	CHECK("cloud-hypervisor\0--api-socket\0/run/ch/vm1.sock", "cloud-hypervisor", "vm1");
	CHECK("cloud-hypervisor\0--api-socket\0path=/run/a.b.sock", "cloud-hypervisor", "a.b");
	CHECK("cloud-hypervisor-static\0--api-socket=vm3", "cloud-hypervisor", "vm3");
	CHECK("cloud-hypervisor\0--api-socket\0path=/vm4.sock,x=y", "cloud-hypervisor", "vm4");
	CHECK("cloud-hypervisor\0--api-socket\0fd=3", "cloud-hypervisor", "vmm (4711)");
	CHECK("cloud-hypervisor\0--api-socket\0/run/", "cloud-hypervisor", "vmm (4711)");
	CHECK("cloud-hypervisor\0--api-socket\0.sock", "cloud-hypervisor", ".sock");
	CHECK("cloud-hypervisor\0--kernel\0x", "cloud-hypervisor", "vmm (4711)");

	CHECK("/usr/bin/crosvm\0run\0--name\0c1", "crosvm", "c1");
	CHECK("crosvm\0run\0--name=c2", "crosvm", "c2");
	CHECK("lkvm\0run\0--name\0k1", "kvmtool", "k1");
	CHECK("lkvm-static\0run\0-n\0mode=tap\0--name=k2", "kvmtool", "k2");
	CHECK("lkvm\0run\0-n\0mode=tap", "kvmtool", "vmm (4711)");
	CHECK("./iho-demo\0--name\0d1\0--vcpus\0" "2", "iho-demo", "d1");
	CHECK("iho-demo\0--name\0d1\0--name=d2", "iho-demo", "d2");

	CHECK("/opt/myvmm\0--name\0x", "unknown", "vmm (4711)");
	CHECK("firecrackerx\0--id\0x", "unknown", "vmm (4711)");
	CHECK("qemu-system-x86_64/\0-name\0x", "unknown", "vmm (4711)");
}

static void test_program_file(void **state)
{
	(void)state;
	put_proc(PID, "comm", "vmm\n", 4);
	/* The jailer starts it as it likes; an update replaced the file. */
	put_link(PID, "exe", "/srv/jail/firecracker (deleted)");
	CHECK("whatever\0--id\0f1", "firecracker", "f1");
	CHECK("qemu-system-x86_64\0--id\0f1\0-name\0x", "firecracker", "f1");
	/* A wrapper of a name that we do not know: argv[0] tells. */
	put_link(PID, "exe", "/nix/store/.qemu-system-x86_64-wrapped");
	CHECK("/nix/store/qemu-system-x86_64\0-name\0x", "qemu", "x");
	put_link(PID, "exe", "/usr/bin/myvmm");
	CHECK("myvmm", "unknown", "vmm (4711)");
}

static void test_libvirt(void **state)
{
	char path[PATH_MAX], target[PATH_MAX];
	struct iho_vm_id id;

	(void)state;
	put_run("other.pid", "471\n");
	put_run("long.pid", "47110\n");
	put_run("text.pid", "4711 x");
	put_run("negative.pid", "-4711");
	put_run("empty.pid", "");
	put_run("web.xml", "4711");
	put_run(".pid", "4711");
	CHECK("qemu-system-x86_64\0-name\0guest=foo", "qemu", "foo");

	/* Neither may make us wait or follow. */
	snprintf(path, sizeof(path), "%s/fifo.pid", run);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(target, sizeof(target), "%s/target", root);
	put(target, "4711", 4);
	snprintf(path, sizeof(path), "%s/link.pid", run);
	assert_int_equal(symlink(target, path), 0);
	CHECK("qemu-system-x86_64\0-name\0guest=foo", "qemu", "foo");

	put_run("web.server 1.pid", "4711\n");
	CHECK("qemu-system-x86_64\0-name\0guest=foo", "libvirt", "web.server 1");
	CHECK("kvm", "libvirt", "web.server 1");
	/* The pid was reused by something that libvirt did not start. */
	CHECK("firecracker\0--id\0f1", "firecracker", "f1");

	put_proc(PID, "cmdline", "kvm\0-name\0n", 11);
	iho_vm_identify(proc, "/nonexistent", PID, &id);
	assert_string_equal(id.vmm, "qemu");
	assert_string_equal(id.name, "n");
	iho_vm_identify(proc, NULL, PID, &id);
	assert_string_equal(id.name, "n");
}

static void test_nothing_to_read(void **state)
{
	struct iho_vm_id id;

	(void)state;
	iho_vm_identify(proc, run, PID, &id);
	assert_string_equal(id.name, "pid 4711");
	assert_string_equal(id.vmm, "unknown");
	iho_vm_identify("/nonexistent", run, INT_MAX, &id);
	assert_string_equal(id.name, "pid 2147483647");

	put_proc(PID, "comm", "", 0);
	check_vm("", 0, "unknown", "pid 4711", __LINE__);
	CHECK("", "unknown", "pid 4711");
	put_proc(PID, "comm", "a\tb\n", 4);
	CHECK("", "unknown", "a?b (4711)");
}

/* --------------------------------------------------------------------------------- hostile text */

static void check_name(const char *given, const char *expected)
{
	char cmdline[1024];
	int n = snprintf(cmdline, sizeof(cmdline), "kvm%c-name%c%s", 0, 0, given);

	check_vm(cmdline, n + 1, "qemu", expected, __LINE__);
}

static void test_text(void **state)
{
	char given[256], expected[256];

	(void)state;
	check_name("a\x1b[2Jb\nc\x7f", "a?[2Jb?c?");
	check_name("gr\xc3\xbc\xc3\x9f e\xe2\x82\xac \xf0\x9f\x90\xa7",
		   "gr\xc3\xbc\xc3\x9f e\xe2\x82\xac \xf0\x9f\x90\xa7");
	/* A C1 control, a lone continuation, overlong, a surrogate, beyond Unicode, cut off. */
	check_name("\xc2\x9b" "1m", "?1m");
	check_name("\xc2\xa0", "\xc2\xa0");
	check_name("a\x80", "a?");
	check_name("\xc0\xaf", "??");
	check_name("\xe0\x80\xaf", "???");
	check_name("\xed\xa0\x80", "???");
	check_name("\xf4\x90\x80\x80", "????");
	check_name("\xff\xfe", "??");
	check_name("x\xe2\x82", "x??");

	/* 63 bytes fit; a character that does not fit as a whole is left out. */
	memset(given, 'x', sizeof(given));
	memset(expected, 'x', sizeof(expected));
	given[200] = '\0';
	expected[63] = '\0';
	check_name(given, expected);
	memcpy(given + 61, "\xe2\x82\xac", 3);
	expected[61] = '\0';
	check_name(given, expected);
	memcpy(given + 60, "\xe2\x82\xac", 4);
	memcpy(expected + 60, "\xe2\x82\xac", 4);
	check_name(given, expected);
	memset(given, '\x01', 200);
	memset(expected, '?', 63);
	check_name(given, expected);
}

static void test_huge_command_line(void **state)
{
	const size_t size = 1024 * 1024;
	char *big = malloc(size);
	char expected[64];

	(void)state;
	assert_non_null(big);
	memset(expected, 'n', 63);
	expected[63] = '\0';
	put_proc(PID, "comm", "kvm\n", 4);

	/* One argument without an end. */
	memset(big, 'n', size);
	memcpy(big, "kvm\0-name", 10);
	check_vm(big, size, "qemu", expected, __LINE__);
	/* The option lies beyond what is read. */
	memset(big, 0, size);
	memcpy(big, "kvm", 4);
	memcpy(big + size / 2, "-name\0x", 8);
	check_vm(big, size, "qemu", "kvm (4711)", __LINE__);
	/* It is the last thing that is read. */
	memcpy(big + 128 * 1024 - 5, "-name\0x", 8);
	check_vm(big, size, "qemu", "kvm (4711)", __LINE__);
	/* Only commas, only equals signs. */
	memset(big, ',', size);
	memcpy(big, "kvm\0-name", 10);
	memset(expected, ',', 63);
	check_vm(big, size, "qemu", expected, __LINE__);
	memset(big + 10, '=', size - 10);
	check_vm(big, size, "qemu", "kvm (4711)", __LINE__);
	free(big);
}

static void test_random_command_lines(void **state)
{
	static const char *const words[] = {
		"-name", "--name", "guest=", ",", ",,", "=", "kvm", "--id", "", "\xe2\x82", "\x1b",
		"path=", "fd=", "--", "--api-socket",
	};
	static const char *const programs[] = { "kvm", "firecracker", "cloud-hypervisor", "lkvm" };
	char cmdline[512];
	unsigned int seed = 1;
	struct iho_vm_id id;
	int i, j;

	(void)state;
	for (i = 0; i < 2000; i++) {
		size_t at;

		strcpy(cmdline, programs[i % 4]);
		at = strlen(cmdline) + 1;
		for (j = rand_r(&seed) % 12; j > 0; j--) {
			const char *w = words[rand_r(&seed) % ARRAY_SIZE(words)];

			at += sprintf(cmdline + at, "%s", w);
			if (rand_r(&seed) % 2)
				cmdline[at++] = rand_r(&seed);
			if (rand_r(&seed) % 2)
				cmdline[at++] = '\0';
		}
		put_proc(PID, "cmdline", cmdline, at);
		iho_vm_identify(proc, run, PID, &id);
		assert_in_range(strnlen(id.name, sizeof(id.name)), 1, sizeof(id.name) - 1);
		for (j = 0; id.name[j]; j++)
			assert_true((unsigned char)id.name[j] >= 0x20 && id.name[j] != 0x7f);
	}
}

/* ------------------------------------------------------------------------------------- affinity */

static int affinity(const char *status, char *buf, size_t len)
{
	put_proc(PID, "task/4712/status", status, strlen(status));
	return iho_affinity(proc, PID, 4712, buf, len);
}

static void test_affinity(void **state)
{
	char buf[64];

	(void)state;
	assert_int_equal(affinity("Cpus_allowed:\tff\nCpus_allowed_list:\t0-7\n", buf, 64), 8);
	assert_string_equal(buf, "0-7");
	assert_int_equal(affinity("Cpus_allowed_list:\t3\nx:\t1\n", buf, 64), 1);
	assert_string_equal(buf, "3");
	assert_int_equal(affinity("Cpus_allowed_list:\t0-3,8,10-11", buf, 64), 7);
	assert_string_equal(buf, "0-3,8,10-11");
	assert_int_equal(affinity("Cpus_allowed_list:\t\n", buf, 64), 0);
	assert_string_equal(buf, "");

	assert_int_equal(affinity("Cpus_allowed_list:\t0-3,8,10-11\n", buf, 12), 7);
	assert_string_equal(buf, "0-3,8,10-11");
	assert_int_equal(affinity("Cpus_allowed_list:\t0-3,8,10-11\n", buf, 11), 7);
	assert_string_equal(buf, "0-3,8,...");
	assert_int_equal(affinity("Cpus_allowed_list:\t0-3,8,10-11\n", buf, 8), 7);
	assert_string_equal(buf, "0-3,...");
	assert_int_equal(affinity("Cpus_allowed_list:\t0-3,8,10-11\n", buf, 7), 7);
	assert_string_equal(buf, "...");
	assert_int_equal(affinity("Cpus_allowed_list:\t0-3,8,10-11\n", buf, 2), 7);
	assert_string_equal(buf, ".");
	assert_int_equal(affinity("Cpus_allowed_list:\t0-3,8,10-11\n", NULL, 0), 7);
}

static void test_affinity_errors(void **state)
{
	static const char *const bad[] = {
		"x", "1-", "3-1", "1,", ",1", "1,,2", "1 2", "-1", "0-3/2",
		"99999999999999999999", "0-4294967295", "0-2147483646,0-2147483646",
	};
	char buf[64] = "old", status[128], *big;
	size_t i;

	(void)state;
	assert_int_equal(iho_affinity(proc, PID, PID, buf, sizeof(buf)), -ENOENT);
	assert_string_equal(buf, "");
	assert_int_equal(affinity("", buf, sizeof(buf)), -ENODATA);
	assert_int_equal(affinity("Name:\tCpus_allowed_list:\t0\n", buf, sizeof(buf)), -ENODATA);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(status, sizeof(status), "Cpus_allowed_list:\t%s\n", bad[i]);
		assert_int_equal(affinity(status, buf, sizeof(buf)), -EINVAL);
		assert_string_equal(buf, "");
	}

	/* A member of 65536 groups. */
	big = malloc(1024 * 1024);
	assert_non_null(big);
	memset(big, '7', 1024 * 1024);
	memcpy(big, "Groups:\t", 8);
	strcpy(big + 800 * 1024, "\nCpus_allowed_list:\t5\n");
	assert_int_equal(affinity(big, buf, sizeof(buf)), 1);
	assert_string_equal(buf, "5");
	free(big);
}

static void test_affinity_real(void **state)
{
	char buf[256];
	cpu_set_t set;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(iho_affinity("/proc", getpid(), gettid(), buf, sizeof(buf)),
			 CPU_COUNT(&set));
	assert_int_equal(iho_affinity("/proc", getpid(), 1, buf, sizeof(buf)), -ENOENT);
}

/* ---------------------------------------------------------------------------------- descriptors */

struct found {
	int n;
	pid_t pid[16];
};

static void note(pid_t pid, void *arg)
{
	struct found *f = arg;

	if (f->n < 16)
		f->pid[f->n] = pid;
	f->n++;
}

static bool has(const struct found *f, pid_t pid)
{
	int i;

	for (i = 0; i < f->n && i < 16; i++)
		if (f->pid[i] == pid)
			return true;
	return false;
}

static void test_descriptors(void **state)
{
	struct found f = { 0 };
	char path[PATH_MAX];

	(void)state;
	put_link(10, "fd/0", "/dev/null");
	put_link(10, "fd/3", "anon_inode:kvm-vm");
	put_link(10, "fd/4", "anon_inode:kvm-vcpu:0");
	put_link(10, "fd/5", "anon_inode:kvm-vcpu:1");
	put_link(10, "fd/6", "anon_inode:[eventfd]");
	put_link(10, "fd/7", "anon_inode:kvm-vcpu-stats:1");
	put_link(11, "fd/3", "anon_inode:kvm-vm");
	put_link(11, "fd/4", "anon_inode:kvm-vm");
	put_link(12, "fd/3", "anon_inode:kvm-vm-stats");
	put_link(12, "fd/4", "/dev/kvm");
	put_link(12, "fd/5", "/anon_inode:kvm-vm");
	put_proc(12, "fd/6", "", 0);
	put_proc(13, "comm", "gone\n", 5);
	put_proc(14, "fd", "", 0);
	put_link(0, "fd/3", "anon_inode:kvm-vm");
	snprintf(path, sizeof(path), "%s/10x/fd/3", proc);
	make_dirs(path);
	assert_int_equal(symlink("anon_inode:kvm-vm", path), 0);

	assert_int_equal(iho_for_each_vm_process(proc, note, &f), 2);
	assert_int_equal(f.n, 2);
	assert_true(has(&f, 10) && has(&f, 11));

	assert_int_equal(iho_count_vcpus(proc, 10), 2);
	assert_int_equal(iho_count_vcpus(proc, 11), 0);
	assert_int_equal(iho_count_vcpus(proc, 13), -ENOENT);
	assert_int_equal(iho_count_vcpus(proc, 14), -ENOTDIR);
	assert_int_equal(iho_for_each_vm_process("/nonexistent", note, &f), -ENOENT);
}

static void test_descriptors_real(void **state)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu[2];
	struct found f = { 0 };

	(void)state;
	if (kvm < 0) {
		print_message("skip: no /dev/kvm: %s\n", strerror(errno));
		skip();
	}
	f.n = 0;
	assert_true(iho_for_each_vm_process("/proc", note, &f) >= 0);
	assert_false(has(&f, getpid()));

	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	assert_true(vm >= 0);
	assert_int_equal(iho_count_vcpus("/proc", getpid()), 0);
	vcpu[0] = ioctl(vm, KVM_CREATE_VCPU, 0);
	vcpu[1] = ioctl(vm, KVM_CREATE_VCPU, 1);
	assert_true(vcpu[0] >= 0 && vcpu[1] >= 0);
	assert_int_equal(iho_count_vcpus("/proc", getpid()), 2);

	f.n = 0;
	assert_true(iho_for_each_vm_process("/proc", note, &f) >= 1);
	/* On a host with more VMs than `found` has room for, ours may not be among the first. */
	assert_true(has(&f, getpid()) || f.n > 16);

	close(vcpu[0]);
	close(vcpu[1]);
	close(vm);
	close(kvm);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_qemu),
		TEST(test_qemu_without_name),
		TEST(test_other_vmms),
		TEST(test_program_file),
		TEST(test_libvirt),
		TEST(test_nothing_to_read),
		TEST(test_text),
		TEST(test_huge_command_line),
		TEST(test_random_command_lines),
		TEST(test_affinity),
		TEST(test_affinity_errors),
		TEST(test_affinity_real),
		TEST(test_descriptors),
		TEST(test_descriptors_real),
	};

	return cmocka_run_group_tests_name("vmname", tests, NULL, NULL);
}
