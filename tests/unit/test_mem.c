// SPDX-License-Identifier: GPL-2.0-or-later
/* Guest physical memory: regions, their edges, and backings that go away. */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../vmi/memory/mem.h"

#define PAGE 4096u

/* A memfd whose byte i is i * 7 >> (i / PAGE & 3). */
static unsigned char byte_at(size_t i)
{
	return (unsigned char)(i * 7 >> (i / PAGE & 3));
}

static int make_file(size_t bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	unsigned char page[PAGE];

	assert_true(fd >= 0);
	for (size_t i = 0; i < bytes; i += PAGE) {
		for (size_t k = 0; k < PAGE; k++)
			page[k] = byte_at(i + k);
		assert_int_equal(pwrite(fd, page, PAGE, (off_t)i), PAGE);
	}
	return fd;
}

static void assert_bytes(const unsigned char *buf, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], byte_at(at + i));
}

static void assert_zero(const unsigned char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], 0);
}

static const enum vmi_backing backings[] = { VMI_BACKING_MAP, VMI_BACKING_PREAD };

/* Two adjacent regions and one behind a hole, given out of order, that begin within a page. */
static void reads_across_regions(void **state)
{
	for (size_t b = 0; b < 2; b++) {
		int fd = make_file(4 * PAGE);
		struct vmi_region r[] = {
			{ .gpa = 0x100000,
			  .bytes = PAGE,
			  .backing = backings[b],
			  .fd = fd,
			  .offset = 3 * PAGE },
			{ .gpa = 0x2000,
			  .bytes = PAGE,
			  .backing = backings[b],
			  .fd = fd,
			  .offset = PAGE + 16 },
			{ .gpa = 0x1000,
			  .bytes = PAGE,
			  .backing = backings[b],
			  .fd = fd,
			  .offset = 16 },
		};
		unsigned char buf[3 * PAGE];
		const struct vmi_region *v;
		struct vmi_mem *m;
		size_t n;

		assert_int_equal(vmi_mem_open(&m, r, 3, NULL, NULL), 0);
		assert_int_equal(vmi_mem_bytes(m), 3 * PAGE);
		v = vmi_mem_regions(m, &n);
		assert_int_equal(n, 3);
		assert_int_equal(v[0].gpa, 0x1000);
		assert_int_equal(v[2].gpa, 0x100000);

		/* all of the two, every length at their seam, single bytes at all edges */
		assert_int_equal(vmi_mem_read(m, 0x1000, buf, 2 * PAGE), 0);
		assert_bytes(buf, 16, 2 * PAGE);
		for (size_t len = 1; len <= 32; len++) {
			assert_int_equal(vmi_mem_read(m, 0x2000 - len / 2, buf, len), 0);
			assert_bytes(buf, 16 + PAGE - len / 2, len);
		}
		assert_int_equal(vmi_mem_read(m, 0x100fff, buf, 1), 0);
		assert_bytes(buf, 4 * PAGE - 1, 1);
		assert_int_equal(vmi_mem_read(m, 0x1000, buf, 0), 0);

		/* before, behind, over an edge: nothing is kept of what could be read */
		memset(buf, 0xaa, sizeof(buf));
		assert_int_equal(vmi_mem_read(m, 0x2ff8, buf, 9), -EFAULT);
		assert_zero(buf, 9);
		assert_int_equal(buf[9], 0xaa);
		assert_int_equal(vmi_mem_read(m, 0xfff, buf, 2), -EFAULT);
		assert_int_equal(vmi_mem_read(m, 0xfff, buf, 1), -EFAULT);
		assert_int_equal(vmi_mem_read(m, 0x3000, buf, 1), -EFAULT);
		assert_int_equal(vmi_mem_read(m, 0x101000, buf, 1), -EFAULT);
		assert_int_equal(vmi_mem_read(m, 0, buf, 1), -EFAULT);
		vmi_mem_close(m);
		close(fd);
	}
}

static void refuses_to_wrap(void **state)
{
	int fd = make_file(PAGE);
	struct vmi_region r = { .gpa = 0, .bytes = PAGE, .backing = VMI_BACKING_MAP, .fd = fd };
	unsigned char buf[16];
	struct vmi_mem *m;

	assert_int_equal(vmi_mem_open(&m, &r, 1, NULL, NULL), 0);
	for (uint64_t d = 0; d < 32; d++) {
		memset(buf, 0xaa, sizeof(buf));
		assert_int_equal(vmi_mem_read(m, 0 - d, buf, sizeof(buf)), d ? -EFAULT : 0);
		if (d)
			assert_zero(buf, sizeof(buf));
	}
	assert_int_equal(vmi_mem_read(m, INT64_MAX, buf, 16), -EFAULT);
	assert_int_equal(vmi_mem_read(m, (1ULL << 52) - 8, buf, 16), -EFAULT);
	vmi_mem_close(m);
	close(fd);
}

static int fake_error;

/* The byte at gpa g is g * 3. */
static int fake_read(void *arg, uint64_t gpa, void *buf, size_t len)
{
	assert_string_equal(arg, "arg");
	for (size_t i = 0; i < len; i++)
		((unsigned char *)buf)[i] = (unsigned char)((gpa + i) * 3);
	return fake_error;
}

static void calls_a_decoder(void **state)
{
	struct vmi_region r = {
		.gpa = 0x1000, .bytes = PAGE, .backing = VMI_BACKING_CALL, .fd = -1
	};
	unsigned char buf[4];
	struct vmi_mem *m;

	assert_int_equal(vmi_mem_open(&m, &r, 1, NULL, NULL), -EINVAL);
	assert_int_equal(vmi_mem_open(&m, &r, 1, fake_read, (void *)"arg"), 0);
	assert_int_equal(vmi_mem_read(m, 0x1ffc, buf, 4), 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(buf[i], (unsigned char)((0x1ffc + i) * 3));
	assert_int_equal(vmi_mem_read(m, 0x1ffd, buf, 4), -EFAULT);
	/* whatever the decoder says, it is -EIO here */
	fake_error = -EPERM;
	assert_int_equal(vmi_mem_read(m, 0x1ffc, buf, 4), -EIO);
	assert_zero(buf, 4);
	fake_error = 0;
	vmi_mem_close(m);
}

static void refuses_bad_regions(void **state)
{
	int fd = make_file(PAGE);
	static const struct {
		uint64_t gpa, bytes, offset, gpa2, bytes2;
		int err;
	} cases[] = {
		{ 0, PAGE, 0, PAGE, PAGE, 0 },
		{ 0, PAGE, 0, PAGE - 1, PAGE, -EINVAL }, /* overlap by a byte */
		{ PAGE, PAGE, 0, 0, PAGE + 1, -EINVAL },
		{ PAGE, PAGE, 0, PAGE, PAGE, -EINVAL }, /* the same twice */
		{ 0, 16 * PAGE, 0, PAGE, PAGE, -EINVAL }, /* within another */
		{ 0, 0, 0, PAGE, PAGE, -EINVAL },
		{ UINT64_MAX - PAGE + 1, PAGE, 0, 0, PAGE, -EINVAL },
		{ UINT64_MAX, UINT64_MAX, 0, 0, PAGE, -EINVAL },
		{ 1ULL << 52, PAGE, 0, 0, PAGE, -EINVAL },
		{ (1ULL << 52) - PAGE, PAGE + 1, 0, 0, PAGE, -EINVAL },
		{ PAGE, PAGE, (uint64_t)INT64_MAX, 0, PAGE, -EINVAL },
		{ PAGE, PAGE, UINT64_MAX - 1, 0, PAGE, -EINVAL },
	};

	for (size_t b = 0; b < 2; b++) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct vmi_region r[] = {
				{ .gpa = cases[i].gpa,
				  .bytes = cases[i].bytes,
				  .backing = backings[b],
				  .fd = fd,
				  .offset = cases[i].offset },
				{ .gpa = cases[i].gpa2,
				  .bytes = cases[i].bytes2,
				  .backing = backings[b],
				  .fd = fd },
			};
			struct vmi_mem *m;

			assert_int_equal(vmi_mem_open(&m, r, 2, NULL, NULL), cases[i].err);
			vmi_mem_close(m);
		}
	}
	close(fd);
}

static void refuses_too_many(void **state)
{
	static struct vmi_region r[4097];
	struct vmi_mem *m;
	unsigned char byte;

	for (size_t i = 0; i < 4097; i++)
		r[i] = (struct vmi_region){ .gpa = (4096 - i) * 2 * PAGE,
					    .bytes = PAGE,
					    .backing = VMI_BACKING_CALL };
	assert_int_equal(vmi_mem_open(&m, r, 4097, fake_read, (void *)"arg"), -EINVAL);
	assert_int_equal(vmi_mem_open(&m, r, 4096, fake_read, (void *)"arg"), 0);
	for (uint64_t i = 0; i < 4097; i++) {
		assert_int_equal(vmi_mem_read(m, i * 2 * PAGE, &byte, 1), i ? 0 : -EFAULT);
		assert_int_equal(vmi_mem_read(m, i * 2 * PAGE + PAGE, &byte, 1), -EFAULT);
	}
	vmi_mem_close(m);
	assert_int_equal(vmi_mem_open(&m, NULL, 0, NULL, NULL), 0);
	assert_int_equal(vmi_mem_read(m, 0, &byte, 1), -EFAULT);
	vmi_mem_close(m);
}

/* The file becomes shorter, and longer again: -EIO and no signal, also thousands of times. */
static void survives_a_shrinking_file(void **state)
{
	for (size_t b = 0; b < 2; b++) {
		int fd = make_file(4 * PAGE);
		struct vmi_region r = {
			.gpa = 0, .bytes = 4 * PAGE, .backing = backings[b], .fd = fd
		};
		unsigned char buf[4 * PAGE];
		struct vmi_mem *m;

		assert_int_equal(vmi_mem_open(&m, &r, 1, NULL, NULL), 0);
		assert_int_equal(vmi_mem_read(m, 0, buf, sizeof(buf)), 0);
		assert_int_equal(ftruncate(fd, PAGE), 0);
		for (size_t i = 0; i < 5000; i++) {
			memset(buf, 0xaa, 64);
			assert_int_equal(vmi_mem_read(m, PAGE + i % 60, buf, 1 + i % 64), -EIO);
			assert_zero(buf, 1 + i % 64);
		}
		assert_int_equal(vmi_mem_read(m, 2 * PAGE, buf, 8), -EIO);
		/* over the new end */
		assert_int_equal(vmi_mem_read(m, PAGE - 100, buf, 200), -EIO);
		assert_zero(buf, 200);
		assert_int_equal(vmi_mem_read(m, 0, buf, PAGE), 0);
		assert_bytes(buf, 0, PAGE);
		assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
		assert_int_equal(vmi_mem_read(m, PAGE, buf, PAGE), 0);
		assert_zero(buf, PAGE);
		vmi_mem_close(m);
		close(fd);
	}
}

/* A dump's headers promise more than any address space holds: nothing is spent on what is not
 * there. */
static void believes_the_file(void **state)
{
	int fd = make_file(2 * PAGE);
	struct vmi_region r[] = {
		{ .gpa = 0, .bytes = 1ULL << 51, .backing = VMI_BACKING_MAP, .fd = fd },
		{ .gpa = 1ULL << 51, .bytes = PAGE, .backing = VMI_BACKING_MAP, .fd = fd },
	};
	unsigned char buf[PAGE];
	struct vmi_mem *m;

	r[1].offset = 64 * PAGE; /* all of it behind the end */
	assert_int_equal(vmi_mem_open(&m, r, 2, NULL, NULL), 0);
	assert_int_equal(vmi_mem_bytes(m), (1ULL << 51) + PAGE);
	assert_int_equal(vmi_mem_read(m, PAGE, buf, PAGE), 0);
	assert_bytes(buf, PAGE, PAGE);
	assert_int_equal(vmi_mem_read(m, 2 * PAGE - 4, buf, 8), -EIO);
	assert_int_equal(vmi_mem_read(m, 2 * PAGE, buf, 8), -EIO);
	assert_int_equal(vmi_mem_read(m, (1ULL << 51) - 8, buf, 16), -EIO);
	assert_int_equal(vmi_mem_read(m, 1ULL << 51, buf, 8), -EIO);
	assert_int_equal(vmi_mem_read(m, (1ULL << 51) + PAGE, buf, 8), -EFAULT);
	vmi_mem_close(m);
	close(fd);
}

static long allocated_pages(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (long)(st.st_blocks * 512 / PAGE);
}

/*
 * A guest's memory that was never used stays unused when all of it is read; what is written later,
 * into a page that was a hole when it was read, is seen.
 */
static void fills_no_holes(void **state)
{
	size_t pages = 5 * 512 + 3; /* some chunks and a bit */
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct vmi_region r = { .gpa = 0,
				.bytes = (pages - 1) * PAGE,
				.backing = VMI_BACKING_MAP,
				.fd = fd,
				.offset = PAGE };
	unsigned char *want = calloc(pages, PAGE), *got = malloc((pages - 1) * PAGE);
	struct vmi_mem *m;
	long before;

	assert_int_equal(ftruncate(fd, (off_t)(pages * PAGE)), 0);
	/* runs of one, two, three ... pages with as many holes between, and the last byte */
	for (size_t i = 1, at = 1; at + 2 * i < pages; at += 2 * i, i++)
		memset(want + at * PAGE, (int)i, i * PAGE);
	want[pages * PAGE - 1] = 1;
	for (size_t i = 0; i < pages; i++) {
		if (want[i * PAGE + PAGE - 1])
			assert_int_equal(pwrite(fd, want + i * PAGE, PAGE, (off_t)(i * PAGE)),
					 PAGE);
	}
	before = allocated_pages(fd);
	assert_int_equal(vmi_mem_open(&m, &r, 1, NULL, NULL), 0);
	for (int pass = 0; pass < 2; pass++) {
		memset(got, 0xaa, (pages - 1) * PAGE);
		for (size_t at = 0; at < (pages - 1) * PAGE; at += 3000)
			assert_int_equal(vmi_mem_read(m, at, got + at,
						      (pages - 1) * PAGE - at < 3000
							      ? (pages - 1) * PAGE - at
							      : 3000),
					 0);
		assert_memory_equal(got, want + PAGE, (pages - 1) * PAGE);
		assert_int_equal(vmi_mem_read(m, 0, got, (pages - 1) * PAGE), 0);
		assert_memory_equal(got, want + PAGE, (pages - 1) * PAGE);
	}
	assert_int_equal(allocated_pages(fd), before);
	for (size_t i = 1; i < pages; i++) {
		want[i * PAGE + i % PAGE] = 0x5a;
		assert_int_equal(pwrite(fd, "\x5a", 1, (off_t)(i * PAGE + i % PAGE)), 1);
		assert_int_equal(vmi_mem_read(m, (i - 1) * PAGE, got, PAGE), 0);
		assert_memory_equal(got, want + i * PAGE, PAGE);
	}
	vmi_mem_close(m);
	close(fd);
	free(want);
	free(got);
}

/* The same for huge pages, which must not be taken from the guest's pool. */
static void fills_no_huge_holes(void **state)
{
	const size_t huge = 2 << 20, all = 4 * huge;
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	struct vmi_region r = { .gpa = 0x1000,
				.bytes = all - 0x1000,
				.backing = VMI_BACKING_MAP,
				.fd = fd,
				.offset = 0x1000 };
	unsigned char *p, *got;
	struct vmi_mem *m;
	long before;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)all), 0);
	p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	for (size_t i = 0; i < huge; i++)
		p[huge + i] = byte_at(i) | 1;
	before = allocated_pages(fd);
	assert_int_equal(before, huge / PAGE);
	got = malloc(all);
	assert_int_equal(vmi_mem_open(&m, &r, 1, NULL, NULL), 0);
	for (int pass = 0; pass < 2; pass++) {
		memset(got, 0xaa, all);
		for (size_t at = PAGE; at < all; at += PAGE)
			assert_int_equal(vmi_mem_read(m, at, got + at, PAGE), 0);
		assert_zero(got + PAGE, huge - PAGE);
		assert_memory_equal(got + huge, p + huge, huge);
		assert_zero(got + 2 * huge, 2 * huge);
	}
	assert_int_equal(allocated_pages(fd), before);
	p[2 * huge + 77] = 9;
	assert_int_equal(vmi_mem_read(m, 2 * huge + 70, got, 8), 0);
	assert_int_equal(got[7], 9);
	vmi_mem_close(m);
	munmap(p, all);
	close(fd);
	free(got);
}

/* A SIGBUS that is none of ours must do what it would have done: here, kill. */
static int child_status(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void open_and_read(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct vmi_region r = { .gpa = 0, .bytes = PAGE, .backing = VMI_BACKING_MAP, .fd = fd };
	struct vmi_mem *m;
	char c;

	signal(SIGBUS, SIG_DFL);
	if (vmi_mem_open(&m, &r, 1, NULL, NULL) || vmi_mem_read(m, 0, &c, 1) != -EIO)
		_exit(1);
}

static void fault_elsewhere(void)
{
	int fd = memfd_create("other", MFD_CLOEXEC);
	volatile char *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	open_and_read();
	(void)p[0];
}

static void send_signal(void)
{
	open_and_read();
	raise(SIGBUS);
}

static void leaves_other_faults_alone(void **state)
{
	int status;

	assert_int_equal(child_status(open_and_read), 0);
	status = child_status(send_signal);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = child_status(fault_elsewhere);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

/* /proc/PID/mem of a process that ended reads as empty. */
static void survives_the_end_of_the_process(void **state)
{
	static volatile char page[2 * PAGE] = "witness";
	char path[64], buf[8];
	int status, fd, go[2];
	pid_t pid;
	struct vmi_mem *m;

	assert_int_equal(pipe(go), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(go[1]);
		_exit((int)read(go[0], path, 1));
	}
	close(go[0]);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);

	struct vmi_region r = { .gpa = 0x5000,
				.bytes = PAGE,
				.backing = VMI_BACKING_PREAD,
				.fd = fd,
				.offset = (uintptr_t)page };

	assert_int_equal(vmi_mem_open(&m, &r, 1, NULL, NULL), 0);
	assert_int_equal(vmi_mem_read(m, 0x5000, buf, 8), 0);
	assert_string_equal(buf, "witness");
	close(go[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(vmi_mem_read(m, 0x5000, buf, 8), -EIO);
	assert_zero((unsigned char *)buf, 8);
	vmi_mem_close(m);
	close(fd);
}

/* Are there four huge pages to be had? */
static bool huge_pages(void)
{
	const size_t all = 8 << 20;
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	void *p = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, (off_t)all))
		p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		munmap(p, all);
	if (fd >= 0)
		close(fd);
	return p != MAP_FAILED;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_across_regions),
		cmocka_unit_test(refuses_to_wrap),
		cmocka_unit_test(calls_a_decoder),
		cmocka_unit_test(refuses_bad_regions),
		cmocka_unit_test(refuses_too_many),
		cmocka_unit_test(leaves_other_faults_alone),
		cmocka_unit_test(survives_a_shrinking_file),
		cmocka_unit_test(believes_the_file),
		cmocka_unit_test(fills_no_holes),
		cmocka_unit_test(survives_the_end_of_the_process),
		cmocka_unit_test(fills_no_huge_holes),
	};
	size_t n = sizeof(tests) / sizeof(tests[0]);

	/* cmocka's skip() is "not ok" in its TAP, which no runner takes for a skip. */
	if (!huge_pages()) {
		puts("# left out: fills_no_huge_holes: vm.nr_hugepages must be 4 or more");
		n--;
	}
	return _cmocka_run_group_tests("tests", tests, n, NULL, NULL);
}
